package media

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	wideRate = 16000

	recordEvery = 500 * time.Millisecond // the writer's step
	recordSizes = 5 * time.Second        // and how often it brings the header up to date
	recordOpen  = 500 * time.Millisecond // how long the last moments wait for late packets
	recordSpan  = 2 * time.Second        // the window: recordOpen, a step, and what a sender's clock may be ahead
	recordRing  = 48 << 10               // 2 s of both sides, G.711 or G.722, in packets of 10 ms

	// recordDrift is how far a sender's clock may stray from ours before its packets are put right.
	recordDrift = 40 * time.Millisecond
	// recordSettle is how long the least delay is looked for: what all packets of that time are late is no jitter.
	recordSettle = 500 * time.Millisecond
	// recordJump is a delay that no network makes: the sender's clock stood still. So it did when a packet is recordStood later
	// than the one before and those behind it are not: a network that was held up sends all at once.
	recordJump  = 2 * time.Second
	recordStood = 150 * time.Millisecond
	recordNext  = 100 * time.Millisecond // a packet is not waited for any longer

	// pauseGuard keeps the silence after Resume until what was said before has come through network, jitter buffer
	// (200 ms at most) and mixer.
	pauseGuard = 300 * time.Millisecond
	maxMarks   = 1000
)

// RecorderConfig says where a recording goes.
type RecorderConfig struct {
	Path string // of the file to be made; there must be none
	Rate int    // 8000, or 16000 where the leg's codec is wideband; 0 = 8000
	Log  *slog.Logger
	// OnFail is called once, from the writer's goroutine, when the disk refuses: the call goes on unrecorded.
	OnFail func(error)
}

// Recorder writes what a leg hears (left) and what it is told (right) to a stereo WAV file. Put on the caller's leg it
// has the caller on the left and whoever speaks to him on the right, through every transfer, conference and hold;
// music is silence. It is a Tap: the hot path only copies bytes into a buffer, a goroutine of its own decodes and
// writes. A disk that stops for more than 2 s costs a gap in the recording, never a packet of the call.
//
// Packets lie where their RTP time puts them, anchored to the first one's arrival: jitter is evened out, what was lost
// or never sent is silence, and one clock (ours) rules both sides.
type Recorder struct {
	cfg   RecorderConfig
	start time.Time
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex // taps and verbs against the writer, which takes it only to swap the buffers
	ring   []byte     // what the taps have copied; never grows
	full   bool
	deaf   bool // closed, or the disk has failed
	paused bool
	pauses []pause
	marks  []Mark
	gaps   int
	end    time.Duration

	// The writer's own.
	file    *recording
	drained []byte
	muted   []pause
	sides   [2]track
	waits   [2]waiting
	sized   time.Duration
	err     error
	summary Summary
}

// pause is a time in which nothing may be recorded.
type pause struct{ from, to time.Duration }

// NewRecorder makes the file and begins: the clock of the recording runs from now. Put it on a leg with SetTap and
// take it off before Close.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Rate == 0 {
		cfg.Rate = Rate
	}
	if cfg.Rate != Rate && cfg.Rate != wideRate {
		return nil, fmt.Errorf("recorder: rate %d: must be 8000 or 16000", cfg.Rate)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	file, err := createRecording(cfg.Path, cfg.Rate, int(recordSpan*time.Duration(cfg.Rate)/time.Second))
	if err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	r := &Recorder{
		cfg: cfg, start: time.Now(), stop: make(chan struct{}), done: make(chan struct{}), file: file,
		ring: make([]byte, 0, recordRing), drained: make([]byte, 0, recordRing),
	}
	go r.run()
	return r, nil
}

// Heard makes Recorder a Tap: the left side.
func (r *Recorder) Heard(p *Packet) {
	if !p.Event && !p.Comfort {
		r.keep(taped{side: 0, codec: p.Codec, marker: p.Marker, ssrc: p.SSRC, ts: p.TS, at: p.Arrived.Sub(r.start)}, p.Payload)
	}
}

// Said makes Recorder a Tap: the right side.
func (r *Recorder) Said(c Codec, payload []byte, ts uint32, at time.Time, kind Source) {
	if kind != Music {
		r.keep(taped{side: 1, codec: c, ts: ts, at: at.Sub(r.start)}, payload)
	}
}

// Pause keeps silence until Resume, on both sides: card numbers. Nothing that arrives from now on reaches the file, and
// nothing that is on its way with a place after now. The recording's clock goes on. The mark is the one of the summary;
// false: it was paused, or is over.
func (r *Recorder) Pause() (Mark, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused || r.deaf {
		return Mark{}, false
	}
	now := time.Since(r.start)
	r.paused = true
	r.pauses = append(r.pauses, pause{now, math.MaxInt64})
	return r.mark(now, MarkPaused), true
}

// Resume ends a Pause; sound is back as soon as nothing said before can still be on its way. The answer is as Pause's.
func (r *Recorder) Resume() (Mark, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.paused || r.deaf {
		return Mark{}, false
	}
	r.paused = false
	p := &r.pauses[len(r.pauses)-1]
	p.to = time.Since(r.start) + pauseGuard
	return r.mark(p.to, MarkResumed), true
}

// Close writes what is left and returns what the file holds; the error says what could not be written. It waits for
// the disk. It may be called twice.
func (r *Recorder) Close() (Summary, error) {
	r.once.Do(func() {
		r.mu.Lock()
		r.end, r.deaf = time.Since(r.start), true
		r.mu.Unlock()
		close(r.stop)
	})
	<-r.done
	return r.summary, r.err
}

// mark notes what happened. The lock is held.
func (r *Recorder) mark(at time.Duration, what string) Mark {
	m := Mark{At: at.Seconds(), What: what}
	if len(r.marks) < maxMarks {
		r.marks = append(r.marks, m)
	}
	return m
}

// taped is what is known of a copied packet; it lies before the payload in the ring.
type taped struct {
	side   uint8
	codec  Codec
	marker bool
	ssrc   uint32
	ts     uint32
	at     time.Duration // arrived, since the recording began
}

const tapedSize = 21

func (t taped) put(b []byte, payload int) {
	binary.LittleEndian.PutUint16(b, uint16(payload))
	b[2], b[3], b[4] = t.side, byte(t.codec), 0
	if t.marker {
		b[4] = 1
	}
	binary.LittleEndian.PutUint32(b[5:], t.ssrc)
	binary.LittleEndian.PutUint32(b[9:], t.ts)
	binary.LittleEndian.PutUint64(b[13:], uint64(t.at))
}

// nextTaped takes the first packet off b.
func nextTaped(b []byte) (t taped, payload, rest []byte) {
	n := tapedSize + int(binary.LittleEndian.Uint16(b))
	return taped{
		side: b[2], codec: Codec(b[3]), marker: b[4] != 0,
		ssrc: binary.LittleEndian.Uint32(b[5:]), ts: binary.LittleEndian.Uint32(b[9:]),
		at: time.Duration(binary.LittleEndian.Uint64(b[13:])),
	}, b[tapedSize:n], b[n:]
}

// keep copies a packet for the writer.
func (r *Recorder) keep(t taped, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused || r.deaf {
		return
	}
	n := len(r.ring)
	if n+tapedSize+len(payload) > cap(r.ring) {
		if !r.full {
			r.full = true
			r.gaps++
			r.mark(t.at, MarkGap)
		}
		return
	}
	r.ring = r.ring[:n+tapedSize+len(payload)]
	t.put(r.ring[n:], len(payload))
	copy(r.ring[n+tapedSize:], payload)
}

// run is the writer. Each recording has its own, so that a file the disk holds up holds up nobody else's: 200 cost 3.9 %
// of a core (BenchmarkRecorders), with one goroutine for all it was 3.1 %.
func (r *Recorder) run() {
	defer close(r.done)
	defer func() {
		if p := recover(); p != nil {
			r.cfg.Log.Error("panic", "where", "recorder", "panic", p, "stack", string(debug.Stack()))
			r.fail(fmt.Errorf("recorder: %v", p))
			_ = r.file.f.Close() // Repair makes it whole
		}
	}()
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.step()
		case <-r.stop:
			r.finish()
			return
		}
	}
}

// drain takes the ring's packets and says up to when they are complete.
func (r *Recorder) drain() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.start)
	r.ring, r.drained = r.drained[:0], r.ring
	r.full = false
	r.muted = append(r.muted[:0], r.pauses...)
	old := r.time(r.file.written) - 2*recordJump
	r.pauses = slices.DeleteFunc(r.pauses, func(p pause) bool { return p.to < old })
	return now
}

// step writes everything but the last moments.
func (r *Recorder) step() {
	now := r.drain()
	if r.err != nil {
		return
	}
	r.decode(now)
	r.write(now - recordOpen)
	if r.err == nil && now-r.sized >= recordSizes {
		r.sized = now
		if err := r.file.size(); err != nil {
			r.fail(err)
		}
	}
}

// finish writes the rest and sums up.
func (r *Recorder) finish() {
	r.drain()
	if r.err == nil {
		r.decode(r.end + recordOpen)
		r.write(r.end)
	}
	var err error
	if r.summary, err = r.file.finish(); r.err == nil {
		r.err = err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.marks {
		r.marks[i].At = min(r.marks[i].At, r.summary.Seconds)
	}
	r.summary.Marks, r.summary.Gaps = r.marks, r.gaps
}

// fail ends the recording where it is; its leg goes on.
func (r *Recorder) fail(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	r.mu.Lock()
	r.deaf = true
	r.mark(r.time(r.file.written), MarkFailed)
	r.mu.Unlock()
	if r.cfg.OnFail != nil {
		r.cfg.OnFail(err)
	}
}

// decode puts the drained packets into the window, each when the next one of its side is here, or should be.
func (r *Recorder) decode(now time.Duration) {
	for b := r.drained; len(b) > 0 && r.err == nil; {
		var t taped
		var payload []byte
		t, payload, b = nextTaped(b)
		r.lay(t.side, t.at)
		w := &r.waits[t.side]
		w.is, w.taped, w.payload = true, t, append(w.payload[:0], payload...)
	}
	for side := range r.waits {
		if w := &r.waits[side]; w.is && now-w.at > recordNext && r.err == nil {
			r.lay(uint8(side), now)
		}
	}
}

// waiting is a side's newest packet.
type waiting struct {
	is bool
	taped
	payload []byte
}

// lay puts the packet that waits into the window; the next one of its side came at next. What a network has held up comes all
// at once.
func (r *Recorder) lay(of uint8, next time.Duration) {
	t, side := &r.waits[of], &r.sides[of]
	if !t.is {
		return
	}
	t.is = false
	pos := side.place(t.taped, r.position(t.at), r.cfg.Rate, r.resumed(t.at), next-t.at > Frame/2)
	pcm := side.decode(t.codec, t.payload, r.cfg.Rate)
	if pos+int64(len(pcm)) > r.file.end() { // the writer was held up
		r.write(t.at - recordOpen)
	}
	r.file.place(int(of), pos, pcm)
}

// write moves the file on to a time. What lies in a pause is silenced here, last of all: it may have been placed before
// the pause was known.
func (r *Recorder) write(to time.Duration) {
	for _, p := range r.muted {
		r.file.mute(r.position(p.from), r.position(p.to))
	}
	if err := r.file.write(r.position(to)); err != nil {
		r.fail(err)
	}
}

// resumed says that a pause ended a moment ago: what comes late may have been said in it and must keep its place.
func (r *Recorder) resumed(at time.Duration) bool {
	return slices.ContainsFunc(r.muted, func(p pause) bool { return at >= p.from && at-recordJump < p.to })
}

func (r *Recorder) position(d time.Duration) int64 {
	return int64(d/time.Second)*int64(r.cfg.Rate) + int64(d%time.Second)*int64(r.cfg.Rate)/int64(time.Second)
}

func (r *Recorder) time(pos int64) time.Duration {
	return time.Duration(pos) * time.Second / time.Duration(r.cfg.Rate)
}

// track knows where one side's packets belong, and how they sound. A new source begins a new one.
type track struct {
	begun    bool
	codec    Codec
	ssrc, ts uint32 // of the newest packet ...
	pos      int64  // ... and its place
	late     int64  // what every packet since was late
	last     int64  // and the newest one
	since    time.Duration

	decoder        *decoder // made with the first packet
	resampler      *resampler
	pcm, resampled []int16
}

// place is where a packet that arrived at the position at belongs. still: the clocks must not be put right now; inTime: what
// follows it was not held up with it.
func (t *track) place(p taped, at int64, rate int, still, inTime bool) int64 {
	samples := func(d time.Duration) int64 { return int64(d) * int64(rate) / int64(time.Second) }
	pos := t.pos + int64(int32(p.ts-t.ts))*int64(rate)/int64(p.codec.ClockRate())
	late := at - pos
	stray := late > samples(recordDrift) || late < -samples(recordDrift)
	stood := p.marker && stray || late > samples(recordJump) || inTime && late-t.last > samples(recordStood)
	t.last = late
	switch {
	case !t.begun, p.ssrc != t.ssrc, p.codec != t.codec, !still && stood:
		if p.ssrc != t.ssrc || p.codec != t.codec {
			*t = track{}
		}
		t.begun, t.codec, t.ssrc, t.ts, t.pos = true, p.codec, p.ssrc, p.ts, at
		t.late, t.last, t.since = 0, 0, p.at
		return at
	case still:
		t.late, t.since = late, p.at
	default:
		t.late = min(t.late, late)
		if p.at-t.since < recordSettle {
			break
		}
		if t.late > samples(recordDrift) || t.late < -samples(recordDrift) {
			pos, late = pos+t.late, late-t.late
			t.ts, t.pos, t.last = p.ts, pos, late
		}
		t.late, t.since = late, p.at
	}
	if int32(p.ts-t.ts) > 0 {
		t.ts, t.pos = p.ts, pos
	}
	return pos
}

// decode is the sound of a payload at the file's rate, good until the next call; nothing when it cannot be read.
func (t *track) decode(codec Codec, payload []byte, rate int) []int16 {
	if t.decoder == nil {
		var err error
		if t.decoder, err = newDecoder(codec); err != nil {
			return nil
		}
		t.pcm = make([]int16, maxSamples)
		if codec.pcmRate() != rate {
			t.resampler = newResampler(codec.pcmRate(), rate)
			t.resampled = make([]int16, 0, maxSamples)
		}
	}
	pcm := t.pcm[:t.decoder.decode(t.pcm, payload)]
	if t.resampler != nil {
		pcm = t.resampler.run(t.resampled[:0], pcm)
	}
	return pcm
}
