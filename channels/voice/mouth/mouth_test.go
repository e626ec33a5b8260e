package mouth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"patchbay/channels/voice/speech"
	"patchbay/channels/voice/speech/speechtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const rate = 8000

// bench is a mouth whose pacer is the test: each frame is asked for until it has sound or a reason not to have any.
type bench struct {
	*Mouth
	t      *testing.T
	server *speechtest.Server
	sound  []int16
	events []Event
}

func newBench(t *testing.T) *bench {
	server := speechtest.New(t)
	engines, err := speech.Open(speech.Config{Remote: []speech.Remote{{Name: "test", URL: server.URL + "/v1", SayModel: "m", Languages: []string{"en"}}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, server: server}
	b.Mouth = New(Config{Rate: rate, Stall: 300 * time.Millisecond, Say: func(ctx context.Context, _, text string) (*speech.Utterance, error) {
		return engines.Say(ctx, text, speech.SayConfig{Rate: rate})
	}})
	t.Cleanup(func() {
		b.Close()
		_ = engines.Close()
	})
	return b
}

// until takes frames, in real time while there is no sound yet, until an event of this kind or enough sound. A frame for which
// the engine was too slow is silence on a leg and left out here: it would cut a word of the code in two.
func (b *bench) until(kind EventKind, length time.Duration) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		frame := make([]int16, rate/50)
		n, err := b.Read(frame)
		if err != nil {
			b.t.Fatal(err)
		}
		if n > 0 {
			b.sound = append(b.sound, frame...)
		}
		select {
		case <-b.News():
			for _, e := range b.Events() {
				b.events = append(b.events, e)
				if e.Kind == kind {
					return
				}
			}
		default:
		}
		if length > 0 && time.Duration(len(b.sound))*time.Second/rate >= length {
			return
		}
		if n == 0 {
			select {
			case <-tick.C:
			case <-deadline:
				b.t.Fatalf("no event %d: %+v", kind, b.events)
			}
		}
	}
}

func (b *bench) heard() string { return speechtest.Understand(b.sound, rate) }

const never = EventKind(99)

func TestMouthSaysPieces(t *testing.T) {
	b := newBench(t)
	b.Add(Piece{Text: "We have tents.", Turn: 7})
	b.Add(Piece{Text: "Many of them.", Turn: 7})
	b.Add(Piece{Text: "And lamps too."})
	b.until(Dry, 0)
	if got := b.heard(); got != "We have tents. Many of them. And lamps too." {
		t.Errorf("heard %q", got)
	}
	var kinds []EventKind
	for _, e := range b.events {
		kinds = append(kinds, e.Kind)
		if e.Kind == Began && (e.Made.Before(e.Asked) || e.At.Before(e.Made)) {
			t.Errorf("times: %+v", e)
		}
	}
	if len(kinds) != 7 || b.events[0].Piece.Turn != 7 || b.events[1].Heard != "We have tents." {
		t.Errorf("events: %+v", b.events)
	}
}

// TestMouthPauses: between two sentences there is a pause; what comes to be said when it has passed is said at once.
func TestMouthPauses(t *testing.T) {
	b := newBench(t)
	frame := make([]int16, rate/50)
	silent := func() (frames int) {
		for ; frames < 3*pause; frames++ {
			if n, _ := b.Read(frame); n > 0 {
				return frames
			}
		}
		return frames
	}
	made := func() {
		t.Helper()
		b.mu.Lock()
		sound := b.queue[0].sound
		b.mu.Unlock()
		select {
		case <-sound.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("no sound is made")
		}
	}
	b.Add(Piece{Text: "We have tents."})
	b.Add(Piece{Text: "Many of them."})
	b.until(Ended, 0)
	made()
	if n := silent(); n != pause {
		t.Errorf("%d frames between two sentences, want %d", n, pause)
	}
	b.until(Dry, 0)
	for range pause {
		if n, _ := b.Read(frame); n > 0 {
			t.Fatal("there is nothing to say")
		}
	}
	b.Add(Piece{Text: "And lamps."})
	made()
	if n := silent(); n != 0 {
		t.Errorf("the next answer waits for %d frames", n)
	}
}

// TestMouthHolds: held it is silent within a frame; it goes on at the gap before the word in which it stopped.
func TestMouthHolds(t *testing.T) {
	b := newBench(t)
	b.Add(Piece{Text: "We have tents and lamps and knives and stoves."})
	b.until(Began, 0)
	b.until(never, time.Duration(len(b.sound))*time.Second/rate+900*time.Millisecond)
	b.Hold()
	frame := make([]int16, rate/50)
	if n, _ := b.Read(frame); n == 0 || frame[60] != 0 {
		t.Error("no fade")
	}
	for range 5 {
		if n, _ := b.Read(frame); n != 0 {
			t.Error("sound while held")
		}
	}
	before := b.heard()
	b.sound = nil
	b.Resume()
	b.until(Dry, 0)
	after := b.heard()
	t.Logf("%q, then %q", before, after)
	all := strings.Fields("We have tents and lamps and knives and stoves.")
	first := strings.Fields(after)
	if len(first) == 0 || !strings.HasSuffix(strings.Join(all, " "), after) {
		t.Errorf("goes on with %q", after)
	}
	if n := len(all) - len(first); n > len(strings.Fields(before)) {
		t.Errorf("words are missing between %q and %q", before, after)
	}
}

// TestMouthCut: what is unsaid is forgotten, and what was said is told to the word.
func TestMouthCut(t *testing.T) {
	b := newBench(t)
	b.Add(Piece{Text: "We have tents and lamps and knives and stoves.", Turn: 3})
	b.Add(Piece{Text: "Never said."})
	b.until(Began, 0)
	b.until(never, time.Duration(len(b.sound))*time.Second/rate+1200*time.Millisecond)
	p, heard := b.Cut()
	told := strings.Fields(heard)
	if p.Turn != 3 || len(told) < 2 || !strings.HasPrefix(b.heard(), strings.Join(told[:len(told)-1], " ")) {
		t.Errorf("told %q, heard %q", heard, b.heard())
	}
	if !b.Empty() {
		t.Error("something is left")
	}
	b.Add(Piece{Text: "New words."})
	b.sound = nil
	b.until(Dry, 0)
	if b.heard() != "New words." {
		t.Errorf("heard %q", b.heard())
	}
}

// TestMouthFails: an engine that breaks off, hangs or refuses is told with what was heard, and the rest is said when it
// can again.
func TestMouthFails(t *testing.T) {
	for name, mood := range map[string]speechtest.Mood{"breaks": speechtest.Breaks, "hangs": speechtest.Hangs, "refuses": speechtest.Refuses, "garbage": speechtest.Garbage} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.server.Says(mood, 0)
			b.Add(Piece{Text: "We have tents and lamps and knives and stoves."})
			b.until(Failed, 0)
			e := b.events[len(b.events)-1]
			if e.Err == nil {
				t.Error("no error")
			}
			b.server.Says(speechtest.Right, 0)
			b.sound = nil
			b.Again(true)
			b.until(Dry, 0)
			t.Logf("%v: heard %q, then %q", e.Err, e.Heard, b.heard())
			if got := strings.TrimSpace(e.Heard + " " + b.heard()); got != "We have tents and lamps and knives and stoves." {
				t.Errorf("heard %q", got)
			}
		})
	}
	b := newBench(t)
	b.cfg.Say = func(context.Context, string, string) (*speech.Utterance, error) { return nil, errors.New("no engine") }
	b.Add(Piece{Text: "We have tents."})
	b.until(Failed, 0)
	b.Again(false)
	b.until(Dry, 0)
}

func TestShare(t *testing.T) {
	for _, x := range []struct{ text, words, said, want string }{
		{"We open at 9:00.", "We open at nine o'clock.", "We open at nine o'clock.", "We open at 9:00."},
		{"We open at 9:00.", "We open at nine o'clock.", "", ""},
		{"One two three.", "One two three.", "One two", "One two"},
		{"It is 5 kg and blue.", "It is five kilograms and blue.", "It is five kilograms", "It is 5 kg"},
		{"It takes 3 to 5 working days and costs 9.90 EUR.", "It takes three to five working days and costs nine euros ninety.", "It takes three to five working days and costs nine euros", "It takes 3 to 5 working days and costs"},
		{"On 2026-11-22 it is closed.", "On the twenty-second of November twenty twenty-six it is closed.", "On the twenty-second of", "On"},
	} {
		say := strings.NewReplacer("9:00", "nine o'clock", "5 kg", "five kilograms", "9.90 EUR", "nine euros ninety", "9.90", "nine point nine zero", "3 to 5", "three to five", "3 to", "three to", "3", "three",
			"2026-11-22", "the twenty-second of November twenty twenty-six").Replace
		if got := share(x.text, x.words, x.said, say); got != x.want {
			t.Errorf("%q of %q: %q", x.said, x.text, got)
		}
	}
}
