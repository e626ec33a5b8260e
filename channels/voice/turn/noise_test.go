package turn

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestAnHourOfNoise: we speak for an hour to somebody who says nothing, and sound without a word comes from where they are:
// clicks, coughs, a street, music. Nothing of ours is dropped, nobody is asked or given up, and most of the time we are heard.
// An ear that tells no partial words looks what a long sound is.
func TestAnHourOfNoise(t *testing.T) {
	const hour, answers = time.Hour, 12 * time.Second
	for name, c := range map[string]struct {
		cfg         Config
		least, most time.Duration // of a sound
		apart       time.Duration // on average
		silent      float64       // of the time, at most
	}{
		"clicks":                              {Config{Partial: true}, 5 * time.Millisecond, 35 * time.Millisecond, time.Second, 0},
		"coughs":                              {Config{Partial: true}, 150 * time.Millisecond, 600 * time.Millisecond, 4 * time.Second, 0.12},
		"a street":                            {Config{Partial: true}, time.Second, 9 * time.Second, 3 * time.Second, 0.25},
		"music that does not end":             {Config{Partial: true}, time.Minute, 2 * time.Minute, time.Second, 0.15},
		"coughs, an ear without partial text": {Config{}, 150 * time.Millisecond, 600 * time.Millisecond, 4 * time.Second, 0.12},
		"a street, the same ear":              {Config{}, time.Second, 9 * time.Second, 3 * time.Second, 0.25},
		"music that does not end, the same":   {Config{}, time.Minute, 2 * time.Minute, time.Second, 0.15},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			c.cfg.Language = "en"
			start := time.Unix(0, 0)
			m := New(c.cfg, start)
			var heldSince time.Time
			var silent time.Duration
			say := start
			var finish, look []time.Time // the ear answers then
			note := func(at time.Time, acts []Act) {
				for _, a := range acts {
					switch a.Do {
					case Finish:
						finish = append(finish, at.Add(120*time.Millisecond))
					case Look:
						look = append(look, at.Add(500*time.Millisecond))
					case Hold:
						heldSince = at
					case Resume:
						silent, heldSince = silent+at.Sub(heldSince), time.Time{}
					case Speak:
					default:
						t.Fatalf("after %v: %s %s%s", at.Sub(start), a.Do, a.Words, a.Why)
					}
				}
			}
			next := func() time.Duration { return time.Duration(float64(2*c.apart) * r.Float64()) }
			edge, on := start.Add(next()), false
			for now := start; now.Before(start.Add(hour)); now = now.Add(10 * time.Millisecond) {
				if !now.Before(say) { // one answer after the other
					if now.After(start) {
						note(now, m.Quiet(now))
						note(now, m.Settled(now))
					}
					note(now, m.Ready(now, Answer))
					m.Saying(now, "We are open from nine to five on weekdays.", Answer)
					say = now.Add(answers)
					heldSince = time.Time{}
				}
				if len(finish) > 0 && !now.Before(finish[0]) {
					finish = finish[1:]
					note(now, m.Heard(now, "", true, 0))
				}
				if len(look) > 0 && !now.Before(look[0]) {
					look = look[1:]
					note(now, m.Looked(now, "", 0))
				}
				if !now.Before(edge) {
					if on = !on; on {
						edge = now.Add(c.least + time.Duration(float64(c.most-c.least)*r.Float64()))
						note(now, m.Began(now, 0))
					} else {
						edge = now.Add(next())
						note(now, m.Paused(now))
					}
				}
				if d := m.Deadline(); !d.IsZero() && !d.After(now) {
					note(now, m.Tick(now))
				}
			}
			if share := float64(silent) / float64(hour); share > c.silent {
				t.Errorf("silent for %.0f %% of the time, %.0f %% at most", 100*share, 100*c.silent)
			}
		})
	}
}
