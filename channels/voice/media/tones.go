package media

import (
	"math"
	"time"
)

// Europe's tones (ETSI TR 101 041-2, ITU-T E.180): 425 Hz.
const europeTone = 425

// Ringback is one turn of what a caller hears while the other side rings, for Loop: 1 s of tone, 4 s of silence.
func Ringback() Prompt { return tone(time.Second, 4*time.Second, 0.15, europeTone) }

// Busy is one turn of the busy tone, for Loop: half a second of tone, half a second of silence.
func Busy() Prompt { return tone(time.Second/2, time.Second/2, 0.15, europeTone) }

// KeyTone is the sound of a key (ITU-T Q.23), d long with a pause of 60 ms behind it: for a leg whose other side takes
// no telephone-events. nil: no such key.
func KeyTone(digit byte, d time.Duration) Prompt {
	if digit >= 'a' && digit <= 'd' {
		digit -= 'a' - 'A'
	}
	for i := range len(keyGrid) {
		if keyGrid[i] == digit {
			return tone(d, 60*time.Millisecond, 0.3, keyTones[i/4], keyTones[4+i%4])
		}
	}
	return nil
}

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
