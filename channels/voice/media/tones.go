package media

import (
	"math"
	"time"
)

// Europe's tones (ETSI TR 101 041-2, ITU-T E.180): 425 Hz.
const europeTone = 425

// Ringback is one turn of what a caller hears while the other side rings, for Loop: 1 s of tone, 4 s of silence.
func Ringback() Prompt { return tone(time.Second, 4*time.Second, 0.15, europeTone) }

// Beep is the tone after which a caller speaks a message.
func Beep() Prompt { return tone(400*time.Millisecond, 0, 0.25, 1000) }

// tone is a sum of sines, each at the level of full scale, and the silence behind it.
func tone(on, off time.Duration, level float64, hz ...float64) Prompt {
	sounding := int(ticksIn(on, Rate))
	p := make(Prompt, sounding+int(ticksIn(off, Rate)))
	for i := range p {
		v := 0.0
		if i < sounding {
			for _, f := range hz {
				v += level * math.MaxInt16 * math.Sin(2*math.Pi*f*float64(i)/Rate)
			}
		}
		p[i] = EncodeULaw(int16(v))
	}
	return p
}
