package speech

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"patchbay/channels/voice/speech/speechtest"
)

// hall opens two servers, "near" before "far" in the house's order.
func hall(t *testing.T) (e *Engines, near, far *speechtest.Server) {
	t.Helper()
	near, far = speechtest.New(t), speechtest.New(t)
	e, err := Open(Config{Remote: []Remote{
		{Name: "near", URL: near.URL + "/v1", HearModel: "ears", SayModel: "mouth", Voice: "anna"},
		{Name: "far", URL: far.URL + "/v1", HearModel: "ears", SayModel: "mouth", Voice: "bo"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, near, far
}

// heard lets a caller say a few words, and tells what came of them.
func heard(t *testing.T, ear *Ear, words string) Heard {
	t.Helper()
	write(t, ear, slices.Concat(speechtest.Voice(words, Narrow), speechtest.Silence(0.5, Narrow)))
	ear.Finish()
	return next(t, ear, Final)
}

// The named engine hears and speaks; the others are left alone, and its voice is asked of nobody else.
func TestTheNamedEngineComesFirst(t *testing.T) {
	e, near, far := hall(t)
	for _, name := range []string{"far", "near", ""} {
		want := name
		if name == "" {
			want = "near" // the house's first
		}
		if h := heard(t, hear(t, e, HearConfig{Engine: name, Rate: Narrow}), "good morning"); h.Text != "good morning" || h.Engine != want {
			t.Errorf("%q: heard %q by %q", name, h.Text, h.Engine)
		}
		u := say(t, e, "Good morning.", SayConfig{Engine: name, Voice: "zoe", Rate: Narrow})
		if all(t, u); u.Engine() != want {
			t.Errorf("%q: spoken by %q", name, u.Engine())
		}
	}
	if len(near.Heard()) != 2 || len(far.Heard()) != 1 || len(near.Said()) != 2 || len(far.Said()) != 1 {
		t.Errorf("near heard %d and said %d, far %d and %d", len(near.Heard()), len(near.Said()), len(far.Heard()), len(far.Said()))
	}
	near.Says(speechtest.Refuses, 0)
	all(t, say(t, e, "Good night.", SayConfig{Engine: "near", Voice: "zoe", Rate: Narrow}))
	if said := far.Said(); said[len(said)-1].Voice != "bo" {
		t.Errorf("another engine was asked for the voice %q", said[len(said)-1].Voice)
	}
}

// Whatever is wrong with the named engine, or with its name: the next one hears the same words and speaks the same sentence,
// and the one that failed is left alone for a while.
func TestTheNextEngineIsAsked(t *testing.T) {
	for mood, name := range map[speechtest.Mood]string{speechtest.Refuses: "refuses", speechtest.Garbage: "garbage", speechtest.Breaks: "breaks", speechtest.Hangs: "hangs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, near, far := hall(t)
			far.Hears(mood, 0)
			ear := hear(t, e, HearConfig{Engine: "far", Rate: Narrow})
			if h := heard(t, ear, "first words"); h.Text != "first words" || h.Engine != "near" {
				t.Errorf("heard %q by %q", h.Text, h.Engine)
			}
			asked := len(far.Heard())
			if h := heard(t, ear, "more words"); h.Text != "more words" || h.Engine != "near" || len(far.Heard()) != asked || len(near.Heard()) != 2 {
				t.Errorf("then heard %q by %q; far was asked %d times more", h.Text, h.Engine, len(far.Heard())-asked)
			}
			if mood == speechtest.Hangs || mood == speechtest.Breaks {
				return // its sound stops in the middle of a sentence: that is lost (TestABrokenSentence)
			}
			far.Says(mood, 0)
			u := say(t, e, "A whole sentence.", SayConfig{Engine: "far", Rate: Narrow})
			if got := speechtest.Understand(all(t, u), Narrow); got != "A whole sentence." || u.Engine() != "near" {
				t.Errorf("spoken %q by %q", got, u.Engine())
			}
		})
	}
	e, near, _ := hall(t)
	if h := heard(t, hear(t, e, HearConfig{Engine: "gone", Rate: Narrow}), "hello"); h.Text != "hello" || h.Engine != "near" {
		t.Errorf("with an unknown name: heard %q by %q", h.Text, h.Engine)
	}
	near.Close() // nobody listens there any more
	u := say(t, e, "Still here.", SayConfig{Engine: "near", Rate: Narrow})
	if all(t, u); u.Engine() != "far" {
		t.Errorf("spoken by %q", u.Engine())
	}
}

// A sentence that has begun to sound is not begun again by another voice; the next one is spoken by it.
func TestABrokenSentence(t *testing.T) {
	e, near, far := hall(t)
	near.Says(speechtest.Breaks, 0)
	u := say(t, e, "one two three four five six seven", SayConfig{Rate: Narrow})
	done(t, u)
	if !errors.Is(u.Err(), ErrEngine) || u.Engine() != "near" || len(far.Said()) != 0 {
		t.Errorf("%v by %q; far said %d", u.Err(), u.Engine(), len(far.Said()))
	}
	u = say(t, e, "five six seven", SayConfig{Rate: Narrow})
	if got := speechtest.Understand(all(t, u), Narrow); got != "five six seven" || u.Engine() != "far" {
		t.Errorf("then %q by %q", got, u.Engine())
	}
}

// Who has failed is tried first again after a rest.
func TestAnEngineRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(Remote{Name: "near", HearModel: "ears"})
		_ = r.note(t.Context(), Hearing, ErrEngine)
		if !r.ill(Hearing) || r.ill(Speaking) {
			t.Error("it failed to hear, not to speak")
		}
		time.Sleep(rest)
		if r.ill(Hearing) {
			t.Error("it rests for ever")
		}
	})
}

// With nobody else the failure is the caller's, as it was.
func TestAllEnginesDown(t *testing.T) {
	e, near, far := hall(t)
	near.Hears(speechtest.Refuses, 0)
	far.Hears(speechtest.Garbage, 0)
	ear := hear(t, e, HearConfig{Rate: Narrow})
	write(t, ear, slices.Concat(speechtest.Voice("lost words", Narrow), speechtest.Silence(0.5, Narrow)))
	ear.Finish()
	h := next(t, ear, Failed)
	for _, want := range []string{"near", "503", "far", "no transcription"} {
		if !errors.Is(h.Err, ErrEngine) || !strings.Contains(h.Err.Error(), want) {
			t.Errorf("%q is not in %v", want, h.Err)
		}
	}
}

// Our own engine takes the words over that a remote one has lost.
func TestOurOwnEngineHelpsOut(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := speechtest.New(t)
	e, err := Open(Config{Models: models(t), Command: []string{self, childArgument}, Hang: 4 * time.Second,
		Remote: []Remote{{Name: "kit", URL: s.URL + "/v1", HearModel: "ears", SayModel: "mouth"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	words := all(t, say(t, e, "I have a question.", SayConfig{Engine: Local, Voice: "nobody", Rate: Narrow}))
	s.Hears(speechtest.Refuses, 0)
	s.Says(speechtest.Refuses, 0)
	ear := hear(t, e, HearConfig{Engine: "kit", Language: "en", Rate: Narrow})
	speak(ear, slices.Concat(make([]int16, Narrow), speechtest.Louder(words, 12000), make([]int16, Narrow)))
	ear.Finish()
	if h := next(t, ear, Final); speechtest.Wrong(h.Text, "i have a question") > 0 || h.Engine != Local || len(s.Heard()) == 0 {
		t.Errorf("heard %q by %q", h.Text, h.Engine)
	}
	u := say(t, e, "Yes?", SayConfig{Engine: "kit", Voice: "anna", Language: "en", Rate: Narrow})
	if all(t, u); u.Engine() != Local {
		t.Errorf("spoken by %q", u.Engine())
	}
}

// When our own engine dies in a call, the others hear the sentence that it has not understood yet.
func TestOthersHelpOurOwnEngineOut(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := speechtest.New(t)
	e, err := Open(Config{Models: models(t), Command: []string{self, childArgument}, Hang: 4 * time.Second,
		Remote: []Remote{{Name: "kit", URL: s.URL + "/v1", HearModel: "ears", SayModel: "mouth"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	ear := hear(t, e, HearConfig{Language: "en", Rate: Narrow})
	words := speechtest.Louder(all(t, say(t, e, "I have a question.", SayConfig{Rate: Narrow})), 12000)
	write(t, ear, words)
	next(t, ear, Began)
	s.Script("I have a question.")
	kill(t, e, Hearing, syscall.SIGKILL)
	for e.local[Hearing].describe().Standing == Ready {
		speak(ear, make([]int16, Narrow/50))
	}
	write(t, ear, make([]int16, Narrow))
	next(t, ear, Paused)
	ear.Finish()
	if h := next(t, ear, Final); h.Text != "I have a question." || h.Engine != "kit" {
		t.Errorf("heard %q by %q", h.Text, h.Engine)
	}
	if all := s.Heard(); len(all) != 1 || all[0].Length < ear.after(int64(len(words)*3/4)) {
		t.Errorf("the other engine was given %d pieces: %+v", len(all), all)
	}
}

func TestAnyLanguage(t *testing.T) {
	e, err := Open(Config{Remote: []Remote{{Name: "ears", URL: "http://127.0.0.1:9", HearModel: "x"},
		{Name: "mouth", URL: "http://127.0.0.1:9", SayModel: "x", Languages: []string{"de", "en"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if got := e.Languages(); !slices.Equal(got, []string{"de", "en"}) {
		t.Errorf("who hears any and speaks two: %v", got)
	}
}

// Who waits for an engine is told when our own child has come, and at once where there is a server to be asked, or nothing ever comes.
func TestAwait(t *testing.T) {
	e, _ := withServer(t)
	for language, want := range map[string]bool{"en": true, "de-AT": true, "fr": false} {
		if err := e.Await(t.Context(), language); (err == nil) != want || err != nil && !errors.Is(err, ErrNoEngine) {
			t.Errorf("a server of English and German: %s: %v", language, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(Hearing, Config{Models: t.TempDir()})
		e := &Engines{names: []string{Local}, local: map[Job]*local{Hearing: l}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		told := make(chan error, 2)
		for _, language := range []string{"en-GB", "fr"} {
			go func() { told <- e.Await(ctx, language) }()
		}
		synctest.Wait()
		l.become(nil, errors.New("broken"), false)
		synctest.Wait()
		if len(told) > 0 {
			t.Fatalf("told %v before there is a child", <-told)
		}
		began := time.Now()
		l.become(&child{offer: offer{Languages: []string{"en"}}, dead: make(chan struct{})}, nil, false)
		if err := <-told; err != nil || time.Since(began) > 0 {
			t.Errorf("English: %v after %v", err, time.Since(began))
		}
		if err := <-told; !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrNoEngine) {
			t.Errorf("French: %v", err)
		}
	})
}
