package media

import (
	"sync/atomic"
	"time"
)

// Prompt is sound ready to be sent: µ-law, 8 kHz, mono. It is shared by everybody who plays it and never changed.
type Prompt []byte

// Length is how long the prompt speaks.
func (p Prompt) Length() time.Duration { return time.Duration(len(p)) * time.Second / Rate }

// Silence is one frame of nothing, for Loop.
func Silence() Prompt { return silentFrame }

var silentFrame = func() Prompt {
	p := make(Prompt, FrameSamples)
	for i := range p {
		p[i] = ULawSilence
	}
	return p
}()

// Player speaks prompts through one output, once. Play hands it to an output; Done tells the end, by itself or because
// somebody else took the output.
type Player struct {
	parts    []Prompt
	loop     bool
	part     int // of parts, being spoken; the output's lock guards these
	pos      int
	used     bool
	encoded  *encodedLoop // of the output's codec; nil = not needed
	stream   *stream      // in place of parts
	played   atomic.Int64 // samples
	finished atomic.Bool
	done     chan struct{}
}

// NewPlayer speaks the prompts one after the other.
func NewPlayer(parts ...Prompt) *Player { return &Player{parts: parts, done: make(chan struct{})} }

// Loop speaks the prompts again and again until it is stopped: music, silence.
func Loop(parts ...Prompt) *Player {
	p := NewPlayer(parts...)
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	p.loop = n > 0
	return p
}

// stream is sound that is made while it is played.
type stream struct {
	rate int
	read func(pcm []int16) (int, error)
	pcm  [frameMax]int16
}

// Stream speaks what read gives, a frame of 20 ms at a time, at a rate of 8000 or 16000: nothing is queued ahead of the
// packet that is sent. 0, nil is silence for that frame, which does not count as played; io.EOF is the end, another error
// an interruption. read runs on the pacer's goroutine with the output locked: it must not block and must not call the
// leg.
func Stream(rate int, read func(pcm []int16) (n int, err error)) *Player {
	return &Player{stream: &stream{rate: rate, read: read}, done: make(chan struct{})}
}

// next is the stream's next frame.
func (p *Player) next() ([]int16, error) {
	s := p.stream
	frame := s.pcm[:s.rate/framesPerSecond]
	n, err := s.read(frame)
	if n == 0 && err != nil {
		return nil, err
	}
	if n > 0 {
		p.played.Add(FrameSamples)
	}
	clear(frame[n:])
	return frame, nil
}

// Done is closed when the last sample has had its time, or when the player was interrupted.
func (p *Player) Done() <-chan struct{} { return p.done }

// Finished says, once Done is closed, whether everything was spoken; false means interrupted.
func (p *Player) Finished() bool { return p.finished.Load() }

// Played is how much was sent so far: after an interruption, what the other side has heard.
func (p *Player) Played() time.Duration { return time.Duration(p.played.Load()) * time.Second / Rate }

// frame fills dst with the next samples and pads the last frame with silence. 0 means nothing is left.
func (p *Player) frame(dst []byte) int {
	n := 0
	for n < len(dst) {
		if p.part == len(p.parts) {
			if !p.loop {
				break
			}
			p.part = 0
		}
		c := copy(dst[n:], p.parts[p.part][p.pos:])
		n += c
		p.pos += c
		if p.pos == len(p.parts[p.part]) {
			p.part, p.pos = p.part+1, 0
		}
	}
	if n == 0 {
		return 0
	}
	p.played.Add(int64(n))
	for i := n; i < len(dst); i++ {
		dst[i] = ULawSilence
	}
	return n
}

// turn is the next frame of a loop of one part and of so many frames.
func (p *Player) turn(frames int) int {
	i := p.pos / FrameSamples % frames
	p.part, p.pos = 0, (i+1)%frames*FrameSamples
	p.played.Add(FrameSamples)
	return i
}

func (p *Player) end(finished bool) {
	p.finished.Store(finished)
	close(p.done)
}
