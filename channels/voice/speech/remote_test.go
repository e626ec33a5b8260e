package speech

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/speech/speechtest"
)

const deadline = 60 * time.Second

func withServer(t *testing.T) (*Engines, *speechtest.Server) {
	t.Helper()
	s := speechtest.New(t)
	e, err := Open(Config{Remote: []Remote{{Name: "kit", URL: s.URL + "/v1/", HearModel: "ears", SayModel: "mouth", Voice: "anna", Languages: []string{"en", "de"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, s
}

func hear(t *testing.T, e *Engines, cfg HearConfig) *Ear {
	t.Helper()
	ear, err := e.Hear(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ear.Close() })
	return ear
}

// next waits for an event of a kind and fails on Failed, unless that is wanted.
func next(t *testing.T, ear *Ear, kind HeardKind) Heard {
	t.Helper()
	timeout := time.After(deadline)
	for {
		select {
		case h, ok := <-ear.Events():
			switch {
			case !ok:
				t.Fatalf("the ear ended before %s", kind)
			case h.Kind == kind:
				return h
			case h.Kind == Failed:
				t.Fatalf("failed: %v", h.Err)
			}
		case <-timeout:
			t.Fatalf("no %s", kind)
		}
	}
}

// write gives sound to an ear as a call does, in 20 ms frames, but as fast as the ear takes it.
func write(t *testing.T, ear *Ear, pcm []int16) {
	t.Helper()
	for frame := range slices.Chunk(pcm, ear.rate/50) {
		for ear.ring.in.Load()-ear.ring.out.Load() > ringSlots/2 {
			ear.ring.knock()
		}
		ear.Write(frame)
	}
}

// telephone is what a line does to sound: a little noise, and µ-law's steps.
func telephone(pcm []int16) []int16 {
	out := make([]int16, len(pcm))
	for i, s := range pcm {
		v := int(s) + rand.IntN(60) - 30
		step := 8
		for a := max(v, -v); a > 64; a >>= 1 {
			step <<= 1
		}
		out[i] = int16(v / (step / 8) * (step / 8))
	}
	return out
}

func say(t *testing.T, e *Engines, text string, cfg SayConfig) *Utterance {
	t.Helper()
	u, err := e.Say(t.Context(), text, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

func done(t *testing.T, u *Utterance) {
	t.Helper()
	select {
	case <-u.Done():
	case <-time.After(deadline):
		t.Fatal("the utterance does not end")
	}
}

// all reads an utterance to its end.
func all(t *testing.T, u *Utterance) []int16 {
	t.Helper()
	done(t, u)
	var pcm []int16
	frame := make([]int16, u.rate/50)
	for {
		n, err := u.Read(frame)
		if err == io.EOF {
			return pcm
		}
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, frame[:n]...)
	}
}

func TestRemoteHears(t *testing.T) {
	for _, rate := range []int{Narrow, Wide} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			e, s := withServer(t)
			ear := hear(t, e, HearConfig{Language: "en", Rate: rate})
			line := slices.Concat(speechtest.Silence(1, rate), speechtest.Voice("I want to speak", rate), speechtest.Silence(0.5, rate), speechtest.Voice("about my invoice", rate), speechtest.Silence(0.5, rate))
			write(t, ear, telephone(line))
			began := next(t, ear, Began)
			if late := began.From - time.Second; late < -20*time.Millisecond || late > 40*time.Millisecond || began.To-began.From > 60*time.Millisecond {
				t.Errorf("speech begins after 1 s: told %v at %v", began.From, began.To)
			}
			paused := next(t, ear, Paused)
			if length := paused.To - paused.From; length < 900*time.Millisecond || length > time.Second {
				t.Errorf("spoke for %v", length)
			}
			if p := next(t, ear, Partial); !strings.HasPrefix(p.Text, "I want to speak") {
				t.Errorf("partial %q", p.Text)
			}
			ear.Finish()
			if f := next(t, ear, Final); f.Text != "I want to speak about my invoice" {
				t.Errorf("final %q", f.Text)
			}
			ear.Finish()
			if f := next(t, ear, Final); f.Text != "" {
				t.Errorf("nothing was said since: %q", f.Text)
			}
			if r := s.Heard(); len(r) != 2 || r[0].Language != "en" || r[0].Model != "ears" {
				t.Errorf("asked %+v", r)
			}
			if n := ear.Dropped(); n != 0 {
				t.Errorf("%d frames dropped", n)
			}
		})
	}
}

// A caller who is asked for the text in the middle of a word, and one who does not stop for a minute.
func TestRemoteCutsLongSpeech(t *testing.T) {
	e, s := withServer(t)
	ear := hear(t, e, HearConfig{Rate: Narrow})
	long := strings.TrimSpace(strings.Repeat("and so on for ever ", 50))
	write(t, ear, slices.Concat(speechtest.Silence(0.3, Narrow), speechtest.Voice(long, Narrow)))
	ear.Finish()
	f := next(t, ear, Final)
	if got, want := len(strings.Fields(f.Text)), len(strings.Fields(long)); got < want*9/10 || got > want*11/10 {
		t.Errorf("%d words of %d", got, want)
	}
	for _, r := range s.Heard() {
		if r.Length > longest+time.Second {
			t.Errorf("a piece of %v", r.Length)
		}
	}
}

// A look tells what was said so far, of a sound without words too, and cuts no word. One at a time is under way; who is done with speaking
// does not wait for it, and a busy engine is not asked.
func TestLook(t *testing.T) {
	e, s := withServer(t)
	ear := hear(t, e, HearConfig{Rate: Narrow})
	const text = "I want to speak to a person about my invoice"
	voice := speechtest.Voice(text, Narrow)
	half := len(voice) / 2
	ear.Look() // at nothing
	s.Hears(speechtest.Slow, 200*time.Millisecond)
	write(t, ear, slices.Concat(speechtest.Silence(0.3, Narrow), voice[:half]))
	next(t, ear, Began)
	ear.Look()
	write(t, ear, voice[half:half+160])
	ear.Look()
	if p := next(t, ear, Partial); p.Live || !strings.HasPrefix(p.Text, "I want to") || len(p.Text) > len(text)*2/3 {
		t.Errorf("looked at %q, live %v", p.Text, p.Live)
	}
	s.Hears(speechtest.Hangs, 0)
	ear.Look()
	write(t, ear, voice[half+160:])
	for news := s.News(); len(s.Heard()) < 1; news = s.News() { // the first look; the second hangs, or will
		<-news
	}
	s.Hears(speechtest.Right, 0)
	began := time.Now()
	write(t, ear, speechtest.Silence(0.5, Narrow))
	ear.Finish()
	if f := next(t, ear, Final); f.Text != text || time.Since(began) > patience/2 {
		t.Errorf("final %q after %v", f.Text, time.Since(began))
	}
	write(t, ear, noise(1, 0, 8000))
	ear.Look()
	if p := next(t, ear, Partial); p.Text != "" {
		t.Errorf("noise says %q", p.Text)
	}
	ear.Finish()
	next(t, ear, Final)
	answered := func() (n int) {
		for _, r := range s.Heard() {
			if !r.Gone {
				n++
			}
		}
		return n
	}
	asked := answered()
	e.remote["kit"].hearing.Add(mostUnderWay)
	write(t, ear, slices.Concat(voice, speechtest.Silence(0.1, Narrow)))
	ear.Look()
	write(t, ear, speechtest.Silence(0.5, Narrow))
	ear.Finish()
	if f := next(t, ear, Final); f.Text != text || answered() != asked+1 {
		t.Errorf("final %q after %d requests", f.Text, answered()-asked)
	}
}

func TestRemoteFailuresLoseOneTurn(t *testing.T) {
	for mood, want := range map[speechtest.Mood]string{speechtest.Refuses: "503", speechtest.Garbage: "no transcription", speechtest.Breaks: "EOF"} {
		t.Run(want, func(t *testing.T) {
			e, s := withServer(t)
			ear := hear(t, e, HearConfig{Rate: Narrow})
			s.Hears(mood, 0)
			write(t, ear, slices.Concat(speechtest.Voice("lost words", Narrow), speechtest.Silence(0.5, Narrow)))
			ear.Finish()
			if h := next(t, ear, Failed); !errors.Is(h.Err, ErrEngine) || !strings.Contains(h.Err.Error(), want) {
				t.Errorf("error %v, want %s", h.Err, want)
			}
			if d := e.Describe()[0]; d.Standing != Broken || !strings.Contains(d.Detail, want) {
				t.Errorf("describes %+v", d)
			}
			s.Hears(speechtest.Right, 0)
			write(t, ear, slices.Concat(speechtest.Voice("kept words", Narrow), speechtest.Silence(0.5, Narrow)))
			ear.Finish()
			if f := next(t, ear, Final); f.Text != "kept words" {
				t.Errorf("final %q", f.Text)
			}
			if d := e.Describe()[0]; d.Standing != Ready {
				t.Errorf("describes %+v", d)
			}
		})
	}
}

func TestRemoteSays(t *testing.T) {
	for _, rate := range []int{Narrow, Wide} {
		e, s := withServer(t)
		u := say(t, e, "Your parcel comes on Tuesday.", SayConfig{Rate: rate, Voice: "otto"})
		sound := all(t, u)
		if got := speechtest.Understand(telephone(sound), rate); got != "Your parcel comes on Tuesday." {
			t.Errorf("at %d Hz said %q", rate, got)
		}
		if r := s.Said(); r[0].Voice != "otto" || r[0].Model != "mouth" {
			t.Errorf("asked %+v", r)
		}
		whole := u.Made()
		for heard, want := range map[time.Duration]string{0: "", whole: "Your parcel comes on Tuesday.", whole / 2: "Your parcel"} {
			if got := u.Spoken(heard); got != want {
				t.Errorf("after %v of %v spoken: %q, want %q", heard, whole, got, want)
			}
		}
	}
}

func TestRemoteBreaksOffInTheSentence(t *testing.T) {
	e, s := withServer(t)
	s.Says(speechtest.Breaks, 0)
	u := say(t, e, "one two three four five six seven", SayConfig{Rate: Narrow})
	done(t, u)
	if !errors.Is(u.Err(), ErrEngine) {
		t.Errorf("error %v", u.Err())
	}
	pcm, frame := []int16(nil), make([]int16, 160)
	for {
		n, err := u.Read(frame)
		if err != nil {
			if !errors.Is(err, ErrEngine) {
				t.Errorf("read: %v", err)
			}
			break
		}
		pcm = append(pcm, frame[:n]...)
	}
	if got := speechtest.Understand(pcm, Narrow); !strings.HasPrefix(got, "one two three") {
		t.Errorf("what was made is lost: %q", got)
	}
}

func TestRemoteRefusesToSpeak(t *testing.T) {
	for _, mood := range []speechtest.Mood{speechtest.Refuses, speechtest.Garbage} {
		e, s := withServer(t)
		s.Says(mood, 0)
		u := say(t, e, "hello", SayConfig{Rate: Narrow})
		done(t, u)
		if !errors.Is(u.Err(), ErrEngine) || u.Made() != 0 {
			t.Errorf("mood %d: %v, %v made", mood, u.Err(), u.Made())
		}
	}
}

func TestCancelIsAtOnce(t *testing.T) {
	e, s := withServer(t)
	s.Says(speechtest.Hangs, 0)
	took := time.Hour
	for n := 0; n < 5 && took > 100*time.Millisecond; n++ { // a machine with other work is late now and then; a fault is late each time
		ctx, cancel := context.WithCancel(t.Context())
		u, err := e.Say(ctx, "a sentence of some length", SayConfig{Rate: Narrow})
		if err != nil {
			t.Fatal(err)
		}
		<-u.First()
		began := time.Now()
		cancel()
		<-u.Done()
		took = min(took, time.Since(began))
		if n, err := u.Read(make([]int16, 160)); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("read %d, %v", n, err)
		}
	}
	if took > 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func TestWhoCanNotIsTold(t *testing.T) {
	e, _ := withServer(t)
	for _, try := range []struct {
		engine, language, want string
	}{{"", "fr", `language "fr"`}, {"other", "fr", `language "fr"`}} {
		if _, err := e.Hear(t.Context(), HearConfig{Engine: try.engine, Language: try.language, Rate: Narrow}); !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), try.want) {
			t.Errorf("hear %+v: %v", try, err)
		}
		if _, err := e.Say(t.Context(), "hello", SayConfig{Engine: try.engine, Language: try.language, Rate: Narrow}); !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), try.want) {
			t.Errorf("say %+v: %v", try, err)
		}
	}
	if _, err := e.Hear(t.Context(), HearConfig{Rate: 44100}); err == nil {
		t.Error("44100 Hz were taken")
	}
	if _, err := e.Say(t.Context(), strings.Repeat("x", MaxText+1), SayConfig{Rate: Narrow}); err == nil {
		t.Error("an endless text was taken")
	}
	if got := e.Languages(); !slices.Equal(got, []string{"de", "en"}) {
		t.Errorf("languages %v", got)
	}
	for _, wrong := range []Remote{{}, {Name: "a", URL: "localhost:8000", HearModel: "x"}, {Name: "a", URL: "http://localhost"}, {Name: Local, URL: "http://localhost", HearModel: "x"}} {
		if _, err := Open(Config{Remote: []Remote{wrong}}); err == nil {
			t.Errorf("%+v was taken", wrong)
		}
	}
}

func TestWriteNeverWaits(t *testing.T) {
	var r ring
	r.init()
	frame := make([]int16, 160)
	if n := testing.AllocsPerRun(1000, func() { r.put(frame) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if r.dropped.Load() != 1001-ringSlots {
		t.Errorf("%d dropped", r.dropped.Load())
	}
	var at []int64
	r.drain(func(a int64, pcm []int16) { at = append(at, a) })
	if len(at) != ringSlots || at[ringSlots-1] != 160*(ringSlots-1) {
		t.Errorf("drained %v", at)
	}
	r.put(frame)
	r.drain(func(a int64, pcm []int16) {
		if a != 160*1001 {
			t.Errorf("the clock stands at %d", a)
		}
	})
}
