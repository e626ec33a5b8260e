package speech

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ebitengine/purego"

	"patchbay/channels/voice/speech/speechtest"
)

// What is taken for hung depends on the sound, on the machine's speed, and on the time that the code was really given.
func TestPace(t *testing.T) {
	for name, test := range map[string]struct {
		pieces []time.Duration // that a second of sound took before
		sound  time.Duration
		beat   time.Duration // between our looks
		queued float64       // of the time, waiting for a processor
		want   time.Duration // found by then
	}{
		"nothing is known":               {nil, 5 * time.Second, beat, 0, limitLeast},
		"a fast machine":                 {[]time.Duration{50 * time.Millisecond}, 9 * time.Second, beat, 0, 3500 * time.Millisecond},
		"a slow machine":                 {[]time.Duration{time.Second}, 9 * time.Second, beat, 0, 22500 * time.Millisecond},
		"slow once, then fast":           {append([]time.Duration{time.Second}, slices.Repeat([]time.Duration{50 * time.Millisecond}, 100)...), 9 * time.Second, beat, 0, 3500 * time.Millisecond},
		"a machine that stands still":    {[]time.Duration{time.Minute}, time.Minute, beat, 0, limitMost},
		"a starved process":              {nil, 0, 2 * time.Second, 0, 5 * limitLeast},
		"a thread that gets half of one": {nil, 0, beat, 0.5, 2 * limitLeast},
	} {
		t.Run(name, func(t *testing.T) {
			var late time.Duration
			p := newPace()
			p.queued = func(int) time.Duration { return time.Duration(test.queued * float64(late)) }
			for _, took := range test.pieces {
				p.learn(time.Second, took)
			}
			start := time.Now()
			if hung := p.look(start); hung != "" {
				t.Fatal(hung)
			}
			p.watch(test.sound, func() {
				for p.look(start.Add(late)) == "" {
					if late += test.beat; late > time.Minute {
						t.Fatal("it is not found")
					}
				}
			})
			if off := late - test.want; off < 0 || off > 5*beat && off > 2*test.beat {
				t.Errorf("found after %v, want %v", late, test.want)
			}
			if hung := p.look(start.Add(2 * time.Minute)); hung != "" {
				t.Errorf("it has come back, and: %s", hung)
			}
		})
	}
}

// hangVariable has the path of a folder: the native code of a child that was started with hangingArgument takes a file of its name away
// there, and hangs.
const (
	hangingArgument = "speech that hangs"
	hangVariable    = "PATCHBAY_TEST_HANGS"
)

// loadHanging loads the engines, which hang in the C library.
func loadHanging(s *server, job Job, models shelf) (offer, error) {
	o, err := s.load(job, models)
	if err != nil {
		return o, err
	}
	libc, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW)
	if err != nil {
		return o, err
	}
	pause, err := purego.Dlsym(libc, "pause")
	if err != nil {
		return o, err
	}
	hang := func(at string) {
		if os.Remove(filepath.Join(os.Getenv(hangVariable), at)) == nil {
			for { // a signal of the Go runtime's ends it
				purego.SyscallN(pause)
			}
		}
	}
	for l, r := range s.ears {
		s.ears[l] = func(pcm []float32) (transcript, error) {
			hang("recogniser")
			return r(pcm)
		}
	}
	if open := s.detector; open != nil {
		s.detector = func(rate int) (detector, error) {
			d, err := open(rate)
			return hangingDetector{d, hang}, err
		}
	}
	for i, v := range s.voices {
		s.voices[i].speak = func(text string) ([]int16, int) {
			hang("voice")
			return v.speak(text)
		}
	}
	return o, nil
}

type hangingDetector struct {
	detector
	hang func(at string)
}

func (d hangingDetector) hear(at int64, pcm []int16, edge func(speaking bool, at int64)) {
	d.hang("detector")
	d.detector.hear(at, pcm, edge)
}

// Native code that does not come back is found out although its child gives signs of life, and nobody loses a word: not who was
// being heard, nor who has begun to speak meanwhile.
func TestHungNativeCode(t *testing.T) {
	dir := models(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	hangs := t.TempDir()
	t.Setenv(hangVariable, hangs)
	e, err := Open(Config{Models: dir, Command: []string{self, hangingArgument}, Threads: 2, Hang: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	const text = "i want to cancel the order that i made on monday"
	sound := speechtest.Louder(all(t, say(t, e, "I want to cancel the order that I made on Monday.", SayConfig{Rate: Narrow})), 12000)
	script := func(at string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(hangs, at), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found := func(job Job, do func()) {
		t.Helper()
		l := e.local[job]
		l.mu.Lock()
		c := l.child
		l.mu.Unlock()
		start := time.Now()
		do()
		select {
		case <-c.dead:
		case <-time.After(deadline):
			t.Fatal("the child lives")
		}
		took := time.Since(start)
		t.Logf("found out after %v: %v", took.Round(time.Millisecond), c.last())
		if took > 2*hungAfter {
			t.Errorf("found out after %v", took)
		}
	}
	for _, at := range []string{"recogniser", "detector"} {
		t.Run(at, func(t *testing.T) {
			ears := map[string]*Ear{"has said all": nil, "says all at the same time": nil, "speaks when it hangs": nil}
			for name := range ears {
				ears[name] = hear(t, e, HearConfig{Rate: Narrow})
			}
			line := slices.Concat(make([]int16, Narrow), sound, make([]int16, Narrow))
			found(Hearing, func() {
				script(at)
				for name, ear := range ears {
					if name != "speaks when it hangs" {
						write(t, ear, line)
						ear.Finish()
					}
				}
				speak(ears["speaks when it hangs"], line)
				ears["speaks when it hangs"].Finish()
			})
			for name, ear := range ears {
				if f := next(t, ear, Final); speechtest.Wrong(f.Text, text) > 1 {
					t.Errorf("who %s: heard %q", name, f.Text)
				}
			}
			standing(t, e, Hearing, Ready)
		})
	}
	t.Run("voice", func(t *testing.T) {
		var u *Utterance
		found(Speaking, func() {
			script("voice")
			u = say(t, e, "I want to cancel the order that I made on Monday.", SayConfig{Rate: Narrow})
		})
		if again := all(t, u); len(again) < len(sound)*9/10 {
			t.Errorf("%d samples are made, %d were expected", len(again), len(sound))
		}
	})
}
