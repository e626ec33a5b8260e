package media

import (
	"math"
	"time"
)

// jitter makes an even stream of samples of one leg's packets: it is where the packet plane ends and the PCM plane
// begins. It waits for as long as 95 of 100 packets need, puts them in order, bridges what is lost, and plays quiet
// noise where the other side pauses. All times are handed in; it has no clock and no lock of its own.
//
// Time is kept by the source's timestamps. at is the timestamp of the next sample to be decoded and moves on with every
// frame that is pulled, whether a packet was there or not, so that a pause lasts as long as it lasted. How far playing
// is behind is then the time now, minus when the sample at that timestamp could have been here at the earliest:
//
//	delay = now - (earliest + timestamp/clock)      earliest = least (arrival - timestamp/clock) of the last 5-10 s
//
// When the delay is off the target, a frame is dropped or inserted where nobody speaks. That follows the network, and
// a source whose clock runs faster or slower than ours.
type jitter struct {
	rate int // of the samples it gives, 8 or 16 kHz

	heard bool // the fields below are of a source
	ssrc  uint32
	codec Codec
	dec   *decoder
	conv  *resampler // to rate, when the codec's is another
	slots [jitterSlots]slot
	held  int
	next  uint16 // to be played
	last  uint16 // newest in the buffer
	at    uint32
	pcm   []int16 // decoded, not pulled yet
	begun bool    // playing; else still filling up
	quiet bool    // the source has said that it pauses
	empty int     // ticks since the buffer ran dry
	noise float64 // level of the quiet noise
	still bool    // it stays that quiet, whatever level the source asks for: who listens must know that nobody speaks
	loud  float64 // level of speech, slowly forgotten
	seed  uint32

	now      time.Time     // of this pull
	epoch    time.Time     // of all times below
	ref      uint32        // a timestamp ...
	refTime  time.Duration // ... and its time in the source's clock
	earliest [2]time.Duration
	bucket   time.Duration // when earliest[0] began
	spread   [jitterBins]float32
	target   time.Duration

	block  [maxSamples]int16
	counts jitterCounts
}

// slot holds one packet; its bytes are kept for the next one.
type slot struct {
	full    bool
	kind    slotKind
	seq     uint16
	ts      uint32
	payload []byte
}

type slotKind uint8

const (
	soundSlot slotKind = iota
	comfortSlot
	keySlot
)

// jitterCounts is what happened, for tests and the call doctor.
type jitterCounts struct {
	late, lost, dropped, inserted, starved int // packets, packets' worth of frames, frames, frames, frames
}

const (
	jitterSlots = 64
	jitterBins  = 50
	jitterBin   = 5 * time.Millisecond
	// jitterForget is what the newest packet weighs in the distribution: it follows within some 4 s.
	jitterForget = 0.005

	minDelay = 40 * time.Millisecond
	maxDelay = 200 * time.Millisecond
	// delaySlack is how far the delay may be off before a frame is dropped or inserted.
	delaySlack    = 25 * time.Millisecond
	earliestEvery = 5 * time.Second
	clockJump     = 2 * time.Second // between arrival and timestamp: the source set its clock anew

	quietNoise = 12 // -68 dBov: as a phone's line, so that a pause does not sound like a dead line
	loudestCN  = 200
)

func newJitter(rate int) *jitter {
	j := &jitter{rate: rate, target: minDelay, noise: quietNoise, seed: 1, pcm: make([]int16, 0, 2*maxSamples)}
	j.spread[(minDelay-Frame)/jitterBin-1] = 1
	return j
}

// setRate changes what pull gives.
func (j *jitter) setRate(rate int) {
	if rate != j.rate {
		j.rate, j.conv, j.pcm = rate, nil, j.pcm[:0]
	}
}

func (j *jitter) frame() int { return j.rate / framesPerSecond }

// put takes a packet as it arrives; it is copied.
func (j *jitter) put(p *Packet) {
	sound := !p.Event && !p.Comfort
	ahead := int16(p.Seq - j.next)
	switch {
	case !j.heard || p.SSRC != j.ssrc || sound && p.Codec != j.codec || ahead > maxDropout || ahead < -maxDropout:
		if !sound || !j.begin(p) {
			return
		}
	case ahead < 0:
		j.counts.late++
		if sound {
			j.measure(p)
		}
		return
	case ahead >= jitterSlots: // a burst too long to be held: go on from here
		j.forget()
		j.next, j.last, j.at = p.Seq, p.Seq, p.TS
	}
	s := &j.slots[p.Seq%jitterSlots]
	if s.full {
		return // twice
	}
	if sound && (!j.measure(p) || j.stood(p)) {
		j.forget()
		j.next, j.last, j.at, j.begun = p.Seq, p.Seq, p.TS, false
	}
	s.full, s.kind, s.seq, s.ts = true, soundSlot, p.Seq, p.TS
	if p.Comfort {
		s.kind = comfortSlot
	} else if p.Event {
		s.kind = keySlot
	}
	s.payload = append(s.payload[:0], p.Payload...)
	if j.held == 0 || int16(p.Seq-j.last) > 0 {
		j.last = p.Seq
	}
	j.held++
}

// begin starts over with a new source; false: its codec cannot be had.
func (j *jitter) begin(p *Packet) bool {
	dec, err := newDecoder(p.Codec)
	if err != nil {
		return false
	}
	j.forget()
	j.heard, j.ssrc, j.codec, j.dec, j.conv = true, p.SSRC, p.Codec, dec, nil
	j.next, j.last, j.at, j.begun, j.quiet, j.empty = p.Seq, p.Seq, p.TS, false, false, 0
	j.setClock(p)
	return true
}

func (j *jitter) setClock(p *Packet) {
	j.epoch, j.ref, j.refTime, j.bucket = p.Arrived, p.TS, 0, 0
	j.earliest = [2]time.Duration{0, math.MaxInt64}
}

func (j *jitter) forget() {
	for i := range j.slots {
		j.slots[i].full = false
	}
	j.held, j.pcm = 0, j.pcm[:0]
}

// mediaTime is a timestamp in the source's own time.
func (j *jitter) mediaTime(ts uint32) time.Duration {
	return j.refTime + tickTime(int64(int32(ts-j.ref)), j.codec.ClockRate())
}

func (j *jitter) early() time.Duration { return min(j.earliest[0], j.earliest[1]) }

// measure learns from a packet's time of arrival; false: the source set its clock anew and all was forgotten.
func (j *jitter) measure(p *Packet) bool {
	arrived, media := p.Arrived.Sub(j.epoch), j.mediaTime(p.TS)
	transit := arrived - media
	if d := transit - j.early(); d > clockJump || d < -clockJump {
		j.setClock(p)
		return false
	}
	if int32(p.TS-j.ref) > 0 {
		j.ref, j.refTime = p.TS, media
	}
	if arrived-j.bucket > earliestEvery {
		j.bucket, j.earliest[1], j.earliest[0] = arrived, j.earliest[0], transit
	}
	j.earliest[0] = min(j.earliest[0], transit)
	bin := min(int((transit-j.early())/jitterBin), jitterBins-1)
	sum, left := float32(0), -1
	for i := jitterBins - 1; i >= 0; i-- {
		j.spread[i] *= 1 - jitterForget
		if i == bin {
			j.spread[i] += jitterForget
		}
		if sum += j.spread[i]; left < 0 && sum > 0.05 {
			left = i
		}
	}
	// The upper edge of the bin, and a frame: that is how far apart pulls are.
	j.target = min(max(time.Duration(left+1)*jitterBin+Frame, minDelay), maxDelay)
	return true
}

// stood says whether the source's clock stood still while it sent nothing, and counts from this packet then. RFC 3550 section
// 5.1 wants it to go on; telephones exist that do otherwise, and all that they say from then on would be an old backlog.
// After a stalled network what stalled follows at once, and shows by how much this packet was late.
func (j *jitter) stood(p *Packet) bool {
	if j.held > 0 || p.Arrived.Sub(j.epoch)-j.mediaTime(p.TS)-j.early() <= maxDelay {
		return false
	}
	j.setClock(p)
	return true
}

// delay is how far playing is behind what could be played.
func (j *jitter) delay(now time.Time) time.Duration {
	buffered := tickTime(int64(len(j.pcm)), j.rate)
	return now.Sub(j.epoch) - j.early() - j.mediaTime(j.at) + buffered
}

// pull gives the next frame: dst holds 20 ms at the buffer's rate.
func (j *jitter) pull(dst []int16, now time.Time) {
	if !j.heard {
		clear(dst)
		return
	}
	j.now = now
	delay := j.delay(now)
	if !j.begun {
		if delay < j.target {
			j.hiss(dst)
			return
		}
		j.begun = true
	}
	for range jitterSlots { // an old backlog: nobody wants to hear it
		if delay <= maxDelay+delaySlack || j.held == 0 {
			break
		}
		j.fill()
		j.skip()
		delay = j.delay(now)
	}
	j.fill()
	silent := j.silent(j.pcm[:len(dst)])
	switch {
	case silent && delay > j.target+delaySlack && (j.held > 0 || j.empty > 0):
		j.skip()
		j.fill()
	case silent && delay < j.target-delaySlack:
		j.counts.inserted++
		copy(dst, j.pcm)
		return
	}
	copy(dst, j.pcm)
	j.pcm = j.pcm[:copy(j.pcm, j.pcm[len(dst):])]
}

func (j *jitter) skip() {
	j.pcm = j.pcm[:copy(j.pcm, j.pcm[j.frame():])]
	j.counts.dropped++
}

// silent says whether nobody speaks in pcm: far below what speech was lately.
func (j *jitter) silent(pcm []int16) bool {
	power := 0.0
	for _, s := range pcm {
		power += float64(s) * float64(s)
	}
	level := math.Sqrt(power / float64(len(pcm)))
	j.loud = max(level, j.loud*0.995)
	return level < max(60, j.loud/20)
}

// fill decodes until a frame is there.
func (j *jitter) fill() {
	for len(j.pcm) < j.frame() {
		j.more()
	}
}

// more adds the next piece of sound: a packet's, or something for the hole where one should be.
func (j *jitter) more() {
	s := j.first()
	if s == nil {
		j.counts.starved++
		j.empty += int(j.codec.frameTicks())
		j.bridge(int(j.codec.frameTicks()), nil)
		return
	}
	gap := int(int32(s.ts - j.at))
	lost := s.seq != j.next
	switch {
	case s.kind != soundSlot:
		j.quiet = true
		if s.kind == comfortSlot && len(s.payload) > 0 && !j.still { // RFC 3389 section 3: -dBov
			j.noise = min(math.MaxInt16*math.Pow(10, -float64(s.payload[0]&0x7f)/20), loudestCN)
		}
		j.take(s)
		return
	case gap > 0:
		piece := min(gap, int(j.codec.frameTicks()))
		var next []byte
		if lost {
			j.counts.lost++
			if piece == gap {
				next = s.payload
			}
		} else {
			j.quiet = true // nothing is missing: the source has paused
		}
		j.bridge(piece, next)
		return
	case j.held > 1 && gap <= -int(j.codec.ticks(s.payload)) && j.delay(j.now) >= j.target:
		j.counts.late++ // its time has passed and what follows it is here
		j.take(s)
		return
	}
	// What else is behind its time is played, and the delay grows by that.
	n := j.dec.decode(j.block[:], s.payload)
	if n == 0 { // unreadable
		j.take(s)
		return
	}
	j.quiet, j.empty = false, 0
	j.at = s.ts + uint32(n*j.codec.ClockRate()/j.codec.pcmRate())
	j.take(s)
	j.add(j.block[:n])
}

// first is the oldest packet held.
func (j *jitter) first() *slot {
	if j.held == 0 {
		return nil
	}
	for seq := j.next; ; seq++ {
		if s := &j.slots[seq%jitterSlots]; s.full {
			return s
		}
	}
}

func (j *jitter) take(s *slot) {
	s.full = false
	j.held--
	j.next = s.seq + 1
}

// bridge plays something for n ticks that no packet covers: noise in a pause, else what the codec makes of it.
func (j *jitter) bridge(n int, next []byte) {
	j.at += uint32(n)
	samples := n * j.codec.pcmRate() / j.codec.ClockRate()
	if samples == 0 {
		return
	}
	b := j.block[:samples]
	if j.quiet || j.empty > j.codec.ClockRate()/10 {
		j.hiss(b)
	} else {
		j.dec.conceal(b, next)
	}
	j.add(b)
}

// add appends samples at the codec's rate.
func (j *jitter) add(b []int16) {
	from := j.codec.pcmRate()
	if from == j.rate {
		j.pcm = append(j.pcm, b...)
		return
	}
	if j.conv == nil {
		j.conv = newResampler(from, j.rate)
	}
	j.pcm = j.conv.run(j.pcm, b)
}

// hiss is quiet noise.
func (j *jitter) hiss(dst []int16) {
	for i := range dst {
		j.seed = j.seed*1664525 + 1013904223
		dst[i] = int16(float64(int32(j.seed)) / (1 << 31) * j.noise)
	}
}
