package dialogue

import (
	"math"
	"sync/atomic"
)

// guard keeps our own voice, as it comes back from a loudspeaker or a two-wire line, from being taken for the caller's. It
// compares how loud we were with how loud the line is, 20 ms at a time: where one follows the other, some frames later
// and by a steady factor, that is the echo's way, and a frame that is no louder than it explains is our own. The caller
// speaking over it is louder, or comes where we pause. Most lines have no echo, and then nothing is touched. It takes a
// second or two of our speech to know the line; until then our own words are known by the turn machine.
//
// It is the pacer's: sent and heard are called on its goroutine alone; others may ask
// echoes.
type guard struct {
	out   [echoFrames]float64 // what we sent
	in    [echoFrames]float64 // what was heard
	n     int                 // frames heard so far
	spoke int                 // of them while we spoke
	known bool                // there is an echo
	guess int                 // a lag that was found once, and 1; 0: none
	lag   int                 // frames
	gain  float64
	level float64 // of the frame that was sent since the last one heard
	quiet []int16

	echoes atomic.Bool // known, for others
}

const (
	echoFrames = 64
	echoWindow = 20 // frames that are compared: 400 ms
	echoLags   = 20 // up to 400 ms later
	echoLike   = 0.9
	echoMargin = 1.6 // louder than that by this is the caller
	echoLeast  = 60.0
)

// sent notes a frame of ours; between two that are heard without one is silence.
func (g *guard) sent(pcm []int16) { g.level = loudness(pcm) }

// heard returns the frame, or silence in its place when it is our own.
func (g *guard) heard(pcm []int16) []int16 {
	at := g.n % echoFrames
	g.out[at], g.in[at] = g.level, loudness(pcm)
	g.n++
	if g.level > echoLeast {
		if g.spoke++; g.spoke%echoWindow == 0 && !g.known {
			g.learn()
		}
	}
	g.level = 0
	if !g.ours() {
		return pcm
	}
	if cap(g.quiet) < len(pcm) {
		g.quiet = make([]int16, len(pcm))
	}
	return g.quiet[:len(pcm)]
}

// ours says whether the newest frame is an echo.
func (g *guard) ours() bool {
	if !g.known {
		return false
	}
	loud := 0.0
	for lag := max(0, g.lag-1); lag <= g.lag+2; lag++ { // an echo has a tail
		loud = max(loud, g.outAgo(lag))
	}
	in := g.in[(g.n-1)%echoFrames]
	return loud > echoLeast && in <= g.gain*loud*echoMargin
}

func (g *guard) outAgo(frames int) float64 {
	if frames >= g.n {
		return 0
	}
	return g.out[(g.n-1-frames)%echoFrames]
}

// learn looks for the echo's way in the last frames.
func (g *guard) learn() {
	if g.n < echoWindow+echoLags {
		return
	}
	best, lag, gain := 0.0, 0, 0.0
	for l := range echoLags {
		if like, by := g.compare(l); like > best {
			best, lag, gain = like, l, by
		}
	}
	before := g.guess
	g.guess = 0
	if best < echoLike || gain >= 1 { // louder than we were is somebody else
		return
	}
	g.guess = lag + 1
	if off := g.guess - before; before > 0 && off >= -1 && off <= 1 { // twice is no chance
		g.known, g.lag, g.gain = true, lag, gain
		g.echoes.Store(true)
	}
}

// compare is how much alike both are at a lag (Pearson), and by which factor the line is the quieter.
func (g *guard) compare(lag int) (like, gain float64) {
	var x, y, xx, yy, xy float64
	for i := range echoWindow {
		a := g.outAgo(i + lag)
		b := g.in[(g.n-1-i)%echoFrames]
		x, y, xx, yy, xy = x+a, y+b, xx+a*a, yy+b*b, xy+a*b
	}
	const n = echoWindow
	varX, varY := xx-x*x/n, yy-y*y/n
	if varX < n*echoLeast*echoLeast || varY <= 0 || y < n*echoLeast/2 {
		return 0, 0
	}
	return (xy - x*y/n) / math.Sqrt(varX*varY), math.Sqrt(yy / xx)
}

// loudness is the RMS of a frame.
func loudness(pcm []int16) float64 {
	if len(pcm) == 0 {
		return 0
	}
	sum := 0.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(len(pcm)))
}
