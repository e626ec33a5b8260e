package speech

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"patchbay/channels/voice/speech/speechtest"
)

// models is the folder that deploy/models.sh fills. Without it the local engines' tests are skipped, but not in CI.
func models(t testing.TB) string {
	t.Helper()
	dir := speechtest.Folder(t)
	_, err := shelf(dir).ears()
	_, err2 := shelf(dir).voices()
	if err = errors.Join(err, err2); err != nil {
		if os.Getenv("PATCHBAY_CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return dir
}

func openLocal(t testing.TB, dir string) *Engines {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(Config{Models: dir, Command: []string{self, childArgument}, Threads: 2, Hang: 4 * time.Second, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// standing waits until an engine's job is in a state.
func standing(t testing.TB, e *Engines, job Job, want Standing) Description {
	t.Helper()
	l, limit := e.local[job], time.After(deadline)
	for {
		change := l.changes()
		d := l.describe()
		if d.Standing == want {
			return d
		}
		select {
		case <-change:
		case <-limit:
			t.Fatalf("%s is %s (%s), not %s", job, d.Standing, d.Detail, want)
		}
	}
}

func TestLocalSpeaksAndHears(t *testing.T) {
	e := openLocal(t, models(t))
	for _, job := range []Job{Hearing, Speaking} {
		if d := standing(t, e, job, Ready); !slices.Contains(d.Languages, "en") {
			t.Errorf("%s describes itself as %+v", job, d)
		}
	}
	if got := e.Languages(); !slices.Contains(got, "en") {
		t.Errorf("languages %v", got)
	}
	for _, rate := range []int{Narrow, Wide} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			u := say(t, e, "Could you tell me when my parcel will be delivered?", SayConfig{Language: "en", Rate: rate})
			sound := all(t, u)
			ear := hear(t, e, HearConfig{Language: "en", Rate: rate})
			write(t, ear, slices.Concat(make([]int16, rate), telephone(sound), make([]int16, rate)))
			began := next(t, ear, Began)
			paused := next(t, ear, Paused)
			if began.From < 900*time.Millisecond || began.From > 1150*time.Millisecond || began.To-began.From > 90*time.Millisecond || paused.To-paused.From < u.Made()-500*time.Millisecond {
				t.Errorf("%v of speech after 1 s: began %v, told %v, ended %v", u.Made(), began.From, began.To, paused.To)
			}
			ear.Finish()
			f := next(t, ear, Final)
			if speechtest.Wrong(f.Text, "could you tell me when my parcel will be delivered") > 1 {
				t.Errorf("heard %q", f.Text)
			}
		})
	}
}

// A real caller's number, read out in groups, at 8 kHz.
func TestLocalHearsDigits(t *testing.T) {
	e := openLocal(t, models(t))
	standing(t, e, Hearing, Ready)
	ear := hear(t, e, HearConfig{Rate: Narrow, Expect: "digits"})
	write(t, ear, slices.Concat(make([]int16, Narrow), soundFile(t, "testdata/digits.wav"), make([]int16, Narrow)))
	ear.Finish()
	const said = "one zero zero zero one nine o two one o zero one eight zero three"
	if f := next(t, ear, Final); speechtest.Wrong(f.Text, said) > 1 {
		t.Errorf("heard %q", f.Text)
	}
}

// A remote recogniser gets speech only: what is speech is for our own child to tell, where there is one.
func TestRemoteIsSparedNoise(t *testing.T) {
	s := speechtest.New(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(Config{Models: models(t), Command: []string{self, childArgument}, Hang: 4 * time.Second, Prefer: "kit",
		Remote: []Remote{{Name: "kit", URL: s.URL + "/v1", HearModel: "ears"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	words := all(t, say(t, e, "I have a question.", SayConfig{Engine: Local, Rate: Narrow}))
	s.Script("I have a question.")
	ear := hear(t, e, HearConfig{Rate: Narrow})
	write(t, ear, speechtest.Line(slices.Concat(noise(2, 0, 3000), toneOf(2, 440, 480), make([]int16, Narrow)), 0, 1))
	speak(ear, speechtest.Line(slices.Concat(speechtest.Louder(words, 12000), make([]int16, Narrow)), 0, 2))
	if b := next(t, ear, Began); b.From < 4900*time.Millisecond {
		t.Errorf("speech is heard at %v, where noise or a tone is", b.From)
	}
	next(t, ear, Paused)
	ear.Finish()
	if f := next(t, ear, Final); f.Text != "I have a question." || len(s.Heard()) != 1 {
		t.Errorf("final %q after %d requests", f.Text, len(s.Heard()))
	}
	kill(t, e, Hearing, syscall.SIGKILL) // loudness must do until the next child comes
	for e.local[Hearing].describe().Standing == Ready {
		ear.Write(make([]int16, 160))
	}
	s.Script("Again.")
	speak(ear, slices.Concat(make([]int16, Narrow), speechtest.Louder(words, 12000), make([]int16, Narrow)))
	ear.Finish()
	if f := next(t, ear, Final); f.Text != "Again." {
		t.Errorf("final %q", f.Text)
	}
}

// speak writes sound in the time that it takes.
func speak(ear *Ear, pcm []int16) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for frame := range slices.Chunk(pcm, ear.rate/50) {
		<-tick.C
		ear.Write(frame)
	}
}

func kill(t *testing.T, e *Engines, job Job, with syscall.Signal) {
	t.Helper()
	l := e.local[job]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.child == nil {
		t.Fatal("there is no child")
	}
	if err := l.child.cmd.Process.Signal(with); err != nil {
		t.Fatal(err)
	}
}

// A child that is killed, crashes or hangs costs nobody a word: the next one hears again what was said, before the child's end and after
// it, and nothing is told twice.
func TestChildEndsInTheSentence(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGSTOP} {
		t.Run(signal.String(), func(t *testing.T) {
			e := openLocal(t, models(t))
			standing(t, e, Hearing, Ready)
			standing(t, e, Speaking, Ready)
			const text = "i want to cancel the order that i made on monday"
			sound := speechtest.Louder(all(t, say(t, e, "I want to cancel the order that I made on Monday.", SayConfig{Rate: Narrow})), 12000)
			half := len(sound) / 2
			early, mid, asked, idle := hear(t, e, HearConfig{Rate: Narrow}), hear(t, e, HearConfig{Rate: Narrow}), hear(t, e, HearConfig{Rate: Narrow}), hear(t, e, HearConfig{Rate: Narrow})
			quiet := make([]int16, Narrow)
			write(t, early, slices.Concat(quiet, sound, quiet)) // has said all, and nobody has asked for it yet
			next(t, early, Paused)
			write(t, mid, slices.Concat(quiet, sound[:half]))
			next(t, mid, Began)
			write(t, asked, slices.Concat(quiet, sound, quiet))
			next(t, asked, Paused)
			write(t, idle, quiet)
			start := time.Now()
			kill(t, e, Hearing, signal)
			asked.Finish()
			for e.local[Hearing].describe().Standing == Ready { // in the time that it takes: a stopped one is found out late
				speak(idle, quiet[:Narrow/50])
			}
			write(t, mid, slices.Concat(sound[half:], quiet))
			write(t, idle, slices.Concat(sound, quiet))
			standing(t, e, Hearing, Ready)
			t.Logf("a new child is ready after %v", time.Since(start).Round(time.Millisecond))
			for name, who := range map[string]*Ear{"had said all": early, "was in mid-sentence": mid, "was being answered": asked, "had said nothing": idle} {
				edges, speaking := 0, name == "was in mid-sentence"
				for h := range soon(t, who) {
					if h.Kind == Began || h.Kind == Paused {
						if edges++; speaking == (h.Kind == Began) {
							t.Errorf("%s: %v is told twice", name, h.Kind)
						}
						if speaking = h.Kind == Began; !speaking && name != "was being answered" {
							who.Finish()
						}
						if off := h.To - who.after(int64(Narrow+len(sound))); !speaking && name != "had said nothing" && max(off, -off) > time.Second {
							t.Errorf("%s: the end of their speech is told %v off", name, off)
						}
					}
					if h.Kind == Failed {
						t.Errorf("%s: %v", name, h.Err)
						break
					}
					if h.Kind == Final && h.Text != "" {
						if speechtest.Wrong(h.Text, text) > 1 {
							t.Errorf("%s: heard %q", name, h.Text)
						}
						break
					}
				}
				t.Logf("%s: %d edges were told", name, edges)
			}
		})
	}
}

// soon are an ear's events, which must go on to come.
func soon(t *testing.T, ear *Ear) iter.Seq[Heard] {
	return func(yield func(Heard) bool) {
		t.Helper()
		timeout := time.After(deadline)
		for {
			select {
			case h, ok := <-ear.Events():
				if !ok {
					t.Fatal("the ear ended")
				}
				if !yield(h) {
					return
				}
			case <-timeout:
				t.Fatal("nothing more is heard")
			}
		}
	}
}

// thinks says whether a child thinks about an Ear's sound now. It may be on its way to another child.
func thinks(l *local, ear *Ear) (*child, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := range l.members {
		if d.ear != ear || l.child == nil {
			continue
		}
		session := make(chan uint32, 1)
		select {
		case d.results <- func() { session <- d.session }:
		default:
			return nil, false
		}
		all, id := make([]byte, boxEntries*boxEntry), <-session
		if _, err := l.child.box.file.ReadAt(all, 0); err != nil {
			return nil, false
		}
		for e := range slices.Chunk(all, boxEntry) {
			if binary.LittleEndian.Uint32(e) == id && e[deedThinks] > 0 {
				return l.child, true
			}
		}
	}
	return nil, false
}

// Sound that has killed two children is not given to a third: it alone is lost, the words of others are kept, even if they were thought
// about at the same time when the first child died.
func TestDeadlySound(t *testing.T) {
	e := openLocal(t, models(t))
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	const text = "i want to cancel the order that i made on monday"
	sound := speechtest.Louder(all(t, say(t, e, "I want to cancel the order that I made on Monday.", SayConfig{Rate: Narrow})), 12000)
	deadly, other, third := hear(t, e, HearConfig{Rate: Narrow}), hear(t, e, HearConfig{Rate: Narrow}), hear(t, e, HearConfig{Rate: Narrow})
	for _, ear := range []*Ear{deadly, other, third} {
		write(t, ear, slices.Concat(sound, make([]int16, Narrow)))
		ear.Finish()
	}
	l, last, limit := e.local[Hearing], (*child)(nil), time.Now().Add(deadline)
	for range mostThinking {
		for time.Now().Before(limit) {
			if c, on := thinks(l, deadly); on && c != last {
				if err := c.cmd.Process.Signal(syscall.SIGSEGV); err != nil {
					t.Fatal(err)
				}
				last = c
				break
			}
		}
	}
	for h := range soon(t, deadly) {
		if h.Kind == Final {
			t.Fatalf("heard %q of it", h.Text)
		}
		if h.Kind == Failed {
			if !errors.Is(h.Err, ErrEngine) || !strings.Contains(h.Err.Error(), "ended 2 children") {
				t.Errorf("error %v", h.Err)
			}
			break
		}
	}
	for _, ear := range []*Ear{other, third} {
		if f := next(t, ear, Final); speechtest.Wrong(f.Text, text) > 1 {
			t.Errorf("beside it: heard %q", f.Text)
		}
	}
	write(t, deadly, slices.Concat(sound, make([]int16, Narrow))) // a new sentence, which kills nobody
	next(t, deadly, Paused)
	deadly.Finish()
	if f := next(t, deadly, Final); speechtest.Wrong(f.Text, text) > 1 {
		t.Errorf("afterwards: heard %q", f.Text)
	}
}

func TestChildEndsWhileItSpeaks(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		e := openLocal(t, models(t))
		standing(t, e, Speaking, Ready)
		u := say(t, e, strings.Repeat("This is one of many sentences. ", 60), SayConfig{Rate: Narrow})
		<-u.First()
		kill(t, e, Speaking, signal)
		done(t, u)
		if !errors.Is(u.Err(), ErrEngine) {
			t.Errorf("error %v", u.Err())
		}
		if all := u.Spoken(u.Made()); all == "" || len(all) == len(u.text) || !strings.HasPrefix(u.text, all) { // exact where a breath ended, else about so much
			t.Errorf("spoken until the end: %q", all)
		}
		standing(t, e, Speaking, Ready)
		if pcm := all(t, say(t, e, "I am back.", SayConfig{Rate: Narrow})); len(pcm) < Narrow/3 {
			t.Errorf("%d samples", len(pcm))
		}
	}
}

// Who speaks for long without a pause is heard to the end: the recogniser, which takes so much at once, gets it in pieces.
func TestLocalHearsLongSpeech(t *testing.T) {
	e := openLocal(t, models(t))
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	const text = "i ordered a small green tent in your shop on the second of march and it has arrived with a broken pole and two missing pegs so i want to send it back to you and " +
		"get my money for it because we go on a trip next week and i need to talk to a person who can help me with that today"
	u := say(t, e, text, SayConfig{Rate: Narrow})
	sound := all(t, u)
	if u.Made() < 11*time.Second {
		t.Fatalf("spoken in %v: that is no long speech", u.Made())
	}
	ear := hear(t, e, HearConfig{Rate: Narrow})
	go func() {
		speak(ear, slices.Concat(make([]int16, Narrow/2), telephone(sound), make([]int16, Narrow)))
		ear.Finish()
	}()
	f := next(t, ear, Final)
	wrong := speechtest.Wrong(f.Text, text)
	t.Logf("%v: %d of %d words are wrong: %q", u.Made(), wrong, len(speechtest.Words(text)), f.Text)
	if wrong > len(speechtest.Words(text))/4 || !strings.Contains(f.Text, "talk to a person") {
		t.Errorf("%d words are wrong: heard %q", wrong, f.Text)
	}
}

// A telephone that sends nothing is an idle line, and nobody speaks on it, however long: the model alone hears a voice in that
// noise once in a while. A caller far from the telephone is heard.
func TestIdleLine(t *testing.T) {
	e := openLocal(t, models(t))
	standing(t, e, Hearing, Ready)
	for _, rate := range []int{Narrow, Wide} {
		noise, seed := make([]int16, 60*rate), uint32(1)
		for i := range noise { // as a leg makes it: media, jitter.hiss
			seed = seed*1664525 + 1013904223
			noise[i] = int16(float64(int32(seed)) / (1 << 31) * 12)
		}
		ear := hear(t, e, HearConfig{Language: "en", Rate: rate})
		faint := all(t, say(t, e, "Could you tell me when my parcel will be delivered?", SayConfig{Language: "en", Rate: rate}))
		write(t, ear, slices.Concat(make([]int16, rate), noise, speechtest.Louder(faint, 800), make([]int16, rate)))
		if began := next(t, ear, Began); began.From < 61*time.Second {
			t.Errorf("%d Hz: a voice after %v, in an idle line", rate, began.From)
		}
		ear.Finish()
		if f := next(t, ear, Final); speechtest.Wrong(f.Text, "could you tell me when my parcel will be delivered") > 2 {
			t.Errorf("%d Hz: heard %q", rate, f.Text)
		}
	}
}
