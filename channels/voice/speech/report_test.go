package speech

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/speech/speechtest"
)

// sentences are what customers say.
var sentences = []string{
	"I would like to change my appointment to next Tuesday afternoon.", "My order has not arrived yet and I am getting worried.",
	"Could you please tell me when my parcel will be delivered?", "I was charged twice for the same invoice.", "How do I reset the password of my account?",
	"I want to cancel my subscription at the end of the month.", "Can I talk to a real person, please?", "The washing machine makes a loud noise and stops in the middle.",
	"Do you have this jacket in a larger size?", "I need a copy of the receipt for my tax return.", "What are your opening hours on Sunday?",
	"My name is Sarah Johnson and I live in Manchester.", "The payment was declined but the money left my bank account.", "Please send the replacement to my office address.",
	"I have been waiting for an answer for two weeks.", "Is it possible to pay by credit card or bank transfer?", "Yes, that would be fine, thank you.", "No, that is not what I meant.",
	"How much does the shipping cost to Germany?", "The box was damaged and one of the glasses is broken.",
}

// TestReport prints what deploy/decisions.md has of the local engines; deploy/speech-bench.sh runs it.
func TestReport(t *testing.T) {
	if os.Getenv("PATCHBAY_TEST_SPEECH_REPORT") == "" {
		t.Skip("takes minutes: bash deploy/speech-bench.sh")
	}
	e := openLocal(t, models(t))
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	reportFalse(t, e)
	reportVoice(t, e)
	reportWords(t, e)
	for _, job := range []Job{Hearing, Speaking} {
		_, rss := spent(t, e, job)
		fmt.Printf("memory of the child that can %s: %d MB\n", job, rss>>20)
	}
}

// spent is a child's processor time and memory.
func spent(t *testing.T, e *Engines, job Job) (cpu time.Duration, rss int) {
	t.Helper()
	l := e.local[job]
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.child.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system, pages int
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &system)
	fmt.Sscan(f[21], &pages)
	return time.Duration(user+system) * 10 * time.Millisecond, pages * os.Getpagesize()
}

// reportFalse counts the Begans of what is no speech.
func reportFalse(t *testing.T, e *Engines) {
	const seconds = 60
	for _, sound := range []struct {
		name string
		pcm  []int16
	}{
		{"silence", make([]int16, seconds*Narrow)},
		{"white noise", noise(seconds, 0, 600)},
		{"loud white noise", noise(seconds, 0, 5000)},
		{"street rumble", noise(seconds, 0.95, 20000)},
		{"ringing", slices.Repeat(slices.Concat(toneOf(1, 440, 480), make([]int16, 2*Narrow)), seconds/3)},
		{"busy", slices.Repeat(slices.Concat(toneOf(0.5, 425), make([]int16, Narrow/2)), seconds)},
		{"keys", slices.Repeat(slices.Concat(toneOf(0.1, 770, 1336), make([]int16, Narrow/5), toneOf(0.1, 941, 1209), make([]int16, Narrow*3/5)), seconds)},
		{"fax", fax(seconds)},
		{"music", slices.Repeat(soundFile(t, "../prompts/music.wav"), 2)},
	} {
		ear := hear(t, e, HearConfig{Rate: Narrow})
		go func() {
			write(t, ear, speechtest.Line(sound.pcm, 0, 1))
			ear.Finish()
		}()
		began := 0
		for h := range ear.Events() {
			if h.Kind == Began {
				began++
			}
			if h.Kind == Failed {
				t.Error(h.Err)
				break
			}
			if h.Kind == Final {
				fmt.Printf("false begins in %.0f s of %s: %d %q\n", float64(len(sound.pcm))/Narrow, sound.name, began, h.Text)
				break
			}
		}
		ear.Close()
	}
}

// reportVoice measures our voice: the first sound, the making, and how well it is understood on a line.
func reportVoice(t *testing.T, e *Engines) {
	var first, share []float64
	errors, total := 0, 0
	before, _ := spent(t, e, Speaking)
	length := time.Duration(0)
	for _, text := range sentences {
		began := time.Now()
		u := say(t, e, text, SayConfig{Rate: Narrow})
		<-u.First()
		first = append(first, float64(time.Since(began).Milliseconds()))
		pcm := all(t, u)
		share = append(share, float64(time.Since(began))/float64(u.Made()))
		length += u.Made()
		f := heardOf(t, e, pcm)
		errors, total = errors+speechtest.Wrong(f.Text, text), total+len(speechtest.Words(text))
	}
	after, _ := spent(t, e, Speaking)
	fmt.Printf("voice: first sound after %s ms, made in %s of its length, processor %.3f of its length, read back with %.1f %% wrong words\n", percentiles(first, "%.0f"), percentiles(share, "%.2f"),
		float64(after-before)/float64(length), 100*float64(errors)/float64(total))
}

func heardOf(t *testing.T, e *Engines, pcm []int16) Heard {
	t.Helper()
	ear := hear(t, e, HearConfig{Rate: Narrow})
	defer ear.Close()
	write(t, ear, speechtest.Line(slices.Concat(make([]int16, Narrow/2), speechtest.Louder(pcm, 12000), make([]int16, Narrow/2)), 0.02, 5))
	ear.Finish()
	return next(t, ear, Final)
}

// reportWords measures hearing, in the time that the sound takes, as many callers at once as there are voices.
func reportWords(t *testing.T, e *Engines) {
	type said struct {
		voice, text string
		pcm         []int16
	}
	var all []said
	for _, speaker := range speechtest.Speakers {
		if !speaker.Present() {
			fmt.Printf("no voice %s\n", speaker.Name)
			continue
		}
		for _, text := range sentences {
			all = append(all, said{speaker.Name, text, speaker.Says(t, text, Narrow)})
		}
	}
	all = append(all, said{"a real reader", "but with full ravishment the hours of prime singing received they in the midst of leaves that ever bore a burden to their rhymes", soundFile(t, "testdata/reader.wav")},
		said{"real digits", "one zero zero zero one nine o two one o zero one eight zero three", soundFile(t, "testdata/digits.wav")})
	before, _ := spent(t, e, Hearing)
	began := map[string][2]int{}
	var late, final []float64
	length := 0.0
	lanes := make(chan struct{}, 4)
	type result struct {
		said
		text        string
		late, final float64
	}
	results := make(chan result)
	for _, s := range all {
		go func() {
			lanes <- struct{}{}
			defer func() { <-lanes }()
			text, late, final := call(t, e, s.pcm)
			results <- result{s, text, late, final}
		}()
	}
	for range all {
		r := <-results
		n := began[r.voice]
		began[r.voice] = [2]int{n[0] + speechtest.Wrong(r.text, r.said.text), n[1] + len(speechtest.Words(r.said.text))}
		late, final, length = append(late, r.late), append(final, r.final), length+float64(len(r.pcm))/Narrow+2
	}
	after, _ := spent(t, e, Hearing)
	for voice, n := range began {
		fmt.Printf("wrong words of %s: %.1f %%\n", voice, 100*float64(n[0])/float64(n[1]))
	}
	fmt.Printf("speech is told after %s ms; the final text %s ms after Finish; processor %.3f of the call's time\n", percentiles(late, "%.0f"), percentiles(final, "%.0f"), (after-before).Seconds()/length)
}

// call is one turn in real time: a second of the line's noise, the words, and Finish 400 ms after the Paused, as the dialogue does it.
func call(t *testing.T, e *Engines, pcm []int16) (text string, late, final float64) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ear, err := e.Hear(ctx, HearConfig{Rate: Narrow})
	if err != nil {
		t.Error(err)
		return "", 0, 0
	}
	defer ear.Close()
	pcm = speechtest.Louder(pcm, 12000)
	start := slices.IndexFunc(pcm, func(s int16) bool { return s > 600 || s < -600 })
	sound := speechtest.Line(slices.Concat(make([]int16, Narrow), pcm, make([]int16, 3*Narrow)), 0.02, uint64(len(pcm)))
	onset := time.Second + time.Duration(start)*time.Second/Narrow
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late = -1
	var quiet, finished time.Time
	for {
		select {
		case <-tick.C:
			if len(sound) >= 160 {
				ear.Write(sound[:160])
				sound = sound[160:]
			}
			if !quiet.IsZero() && finished.IsZero() && time.Since(quiet) > 400*time.Millisecond && len(sound) < Narrow*5/2 {
				finished = time.Now()
				ear.Finish()
			}
		case h, ok := <-ear.Events():
			switch {
			case !ok:
				t.Error("the ear ended")
				return "", 0, 0
			case h.Kind == Began:
				if late < 0 {
					late = float64((h.To - onset).Milliseconds())
				}
				quiet = time.Time{}
			case h.Kind == Paused:
				quiet = time.Now()
			case h.Kind == Final:
				return h.Text, late, float64(time.Since(finished).Milliseconds())
			case h.Kind == Failed:
				t.Error(h.Err)
				return "", 0, 0
			}
		}
	}
}

// percentiles of values, p50 and p95.
func percentiles(v []float64, format string) string {
	slices.Sort(v)
	return fmt.Sprintf("p50 "+format+", p95 "+format, v[len(v)/2], v[len(v)*95/100])
}
