package speech

import "math"

// energyDetector takes for speech what is louder than the background: what there is without a model. Music and tones are speech
// to it.
type energyDetector struct {
	rate  int
	part  []int16 // less than a step
	now   int64   // the place behind the last whole step
	floor float64 // dB of full scale; the background
	last  float64 // the sample before, for the high-pass
	on    bool
	loud  int // steps in a row, while off; quiet ones while on
	from  int64
}

const (
	energyStep   = 100 // a second: 10 ms
	energyAbove  = 9.0 // dB over the background
	energyLeast  = -52.0
	energyOn     = 3    // loud steps that begin speech
	energyOff    = 14   // quiet ones that end it
	floorRise    = 0.05 // dB a step while quiet
	floorRiseOn  = 0.01 // and while somebody speaks
	floorFall    = 0.3  // of the way down
	floorAtStart = -60.0
)

func newEnergy(rate int) *energyDetector { return &energyDetector{rate: rate, floor: floorAtStart} }

func (d *energyDetector) hear(at int64, pcm []int16, edge func(speaking bool, at int64)) {
	d.now = at - int64(len(d.part))
	step := d.rate / energyStep
	d.part = append(d.part, pcm...)
	for len(d.part) >= step {
		d.step(d.level(d.part[:step]), int64(step), edge)
		d.part = append(d.part[:0], d.part[step:]...)
	}
}

func (d *energyDetector) step(level float64, n int64, edge func(bool, int64)) {
	d.now += n
	loud := level > max(d.floor+energyAbove, energyLeast)
	switch {
	case level < d.floor:
		d.floor += (level - d.floor) * floorFall
	case d.on:
		d.floor += floorRiseOn
	default:
		d.floor += floorRise
	}
	d.floor = max(d.floor, -80)
	if loud == d.on {
		d.loud = 0
		return
	}
	if d.loud == 0 {
		d.from = d.now - n
	}
	d.loud++
	if !d.on && d.loud >= energyOn || d.on && d.loud >= energyOff {
		d.on, d.loud = !d.on, 0
		edge(d.on, d.from)
	}
}

// level is in dB of full scale, of the differences: hum and offset weigh little.
func (d *energyDetector) level(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		v := float64(s) - 0.9*d.last
		d.last = float64(s)
		sum += v * v
	}
	return 10 * math.Log10(sum/float64(len(pcm))/(32768*32768)+1e-10)
}

func (d *energyDetector) close() {}
