package media

import "sync"

// loops keeps the packets of the loops that are being played on a codec that costs something to encode: a hundred
// callers who wait with the same music have it encoded once. A loop is kept while somebody plays it.
type loops struct {
	mu     sync.Mutex
	active map[loopKey]*encodedLoop
}

// loopKey tells loops apart by where their prompt lies: prompts are shared and never changed.
type loopKey struct {
	prompt *byte
	length int
	codec  Codec
}

// encodedLoop is one turn of a loop, in packets; the last one is filled up with silence. The lock of loops guards it.
type encodedLoop struct {
	key    loopKey
	users  int
	prompt Prompt
	enc    *encoder
	frames [][]byte // nil = not encoded yet
}

// acquire finds or makes a loop; nil: the codec cannot be had. Whoever gets one must release it.
func (l *loops) acquire(prompt Prompt, c Codec) *encodedLoop {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := loopKey{&prompt[0], len(prompt), c}
	e := l.active[key]
	if e == nil {
		enc, err := newEncoder(c)
		if err != nil {
			return nil
		}
		e = &encodedLoop{key: key, prompt: prompt, enc: enc, frames: make([][]byte, (len(prompt)+FrameSamples-1)/FrameSamples)}
		if l.active == nil {
			l.active = map[loopKey]*encodedLoop{}
		}
		l.active[key] = e
	}
	e.users++
	return e
}

func (l *loops) release(e *encodedLoop) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.users--; e.users == 0 {
		delete(l.active, e.key)
	}
}

// frame copies a packet's payload to dst; the first to come there has it encoded.
func (l *loops) frame(e *encodedLoop, i int, dst []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.frames[i] == nil {
		part := e.prompt[i*FrameSamples : min((i+1)*FrameSamples, len(e.prompt))]
		clear(e.enc.prompt[:])
		DecodeULaw(e.enc.prompt[:len(part)], part)
		var b [MaxPacket]byte
		n := e.enc.encode(b[:], e.enc.prompt[:], Rate)
		e.frames[i] = append(make([]byte, 0, n), b[:n]...)
	}
	return copy(dst, e.frames[i])
}
