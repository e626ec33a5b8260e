package voice

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/turn"
	"patchbay/channels/voice/voicetest"
)

// childLog learns from the log which process has which job.
type childLog struct {
	mu   sync.Mutex
	pids map[string]int
}

var childReady = regexp.MustCompile(`a child is ready" job=(\w+).* pid=(\d+)`)

func (l *childLog) Write(p []byte) (int, error) {
	if m := childReady.FindSubmatch(p); m != nil {
		pid, err := strconv.Atoi(string(m[2]))
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pids[string(m[1])] = pid
		return len(p), err
	}
	return len(p), nil
}

func (l *childLog) pid(job string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pids[job]
}

// kill ends the child of a job as a crash would, or stops it; back returns when the next one is there.
func (l *childLog) kill(t *testing.T, ctx context.Context, job string, with syscall.Signal) (back func()) {
	t.Helper()
	pid := l.pid(job)
	if err := syscall.Kill(pid, with); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		until(t, ctx, "a new child", func() bool { return l.pid(job) != pid })
	}
}

// realCall is a call of a Talker with a real voice, in a conversation of its own, whose greeting is over.
type realCall struct {
	*voicetest.Talker
	h            *talkHouse
	conversation int64
	other        *realCall // that runs beside it
	kept         []channels.Inbound
}

func (h *talkHouse) realCall(t *testing.T, ctx context.Context, voice func(string, int) []int16) *realCall {
	t.Helper()
	c := &realCall{Talker: &voicetest.Talker{T: t, Ctx: ctx, Voice: voice}, h: h}
	c.Call = h.dial(ctx, voicetest.Invite{})
	h.mu.Lock()
	c.conversation = 1000 + h.lastCall
	h.mu.Unlock()
	c.listened()
	return c
}

// listened lets the caller be silent until nothing is heard for half a second.
func (c *realCall) listened() {
	waitChan(c.T, c.Ctx, c.RTP.HeardSome(), "sound")
	for c.Ctx.Err() == nil {
		c.Plays(make([]int16, voicetest.Rate/2))
		if pcm, _ := c.RTP.Joined(); len(pcm) > voicetest.Rate && voicetest.RMS(pcm[len(pcm)-voicetest.Rate/2:]) < 50 {
			return
		}
	}
	c.T.Fatal("nothing but sound is heard")
}

// says speaks words and returns what the house was told.
func (c *realCall) says(pcm []int16) string {
	c.T.Helper()
	c.sort()
	c.kept = nil // what half sentences became
	c.Plays(append(slices.Clone(pcm), make([]int16, voicetest.Rate/2)...))
	return c.expect(channels.Words).Body
}

// sort gives what was told to the call that it is about.
func (c *realCall) sort() {
	for {
		select {
		case in := <-c.h.inbound:
			if in.ConversationID == c.conversation {
				c.kept = append(c.kept, in)
			} else {
				c.other.kept = append(c.other.kept, in)
			}
		default:
			return
		}
	}
}

// expect waits for what this call's conversation tells.
func (c *realCall) expect(want channels.InboundType) (found channels.Inbound) {
	c.T.Helper()
	until(c.T, c.Ctx, string(want), func() bool {
		c.sort()
		at := slices.IndexFunc(c.kept, func(in channels.Inbound) bool { return in.Type == want })
		if at >= 0 {
			found, c.kept = c.kept[at], c.kept[at+1:]
		}
		return at >= 0
	})
	return found
}

func (c *realCall) answered(seq int64, text string) {
	c.h.draftTo(c.conversation, channels.Draft{Text: text, To: seq, Ending: &channels.Ending{Mode: "model"}})
}

// killable is a house with real engines and two calls whose greetings are over.
func killable(t *testing.T) (children *childLog, one, other *realCall, voice func(string, int) []int16, understood func(*realCall) string) {
	t.Helper()
	children = &childLog{pids: map[string]int{}}
	e := voicetest.Engines(t, slog.New(slog.NewTextHandler(children, nil)))
	h := newTalkHouse(t, func(cfg *Config) {
		cfg.Speech, cfg.Times.Turn = e, turn.Times{Silence: time.Minute, Person: time.Minute} // one waits while the other speaks
	})
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	understand := voicetest.Understand(t, e)
	understood = func(c *realCall) string {
		c.listened()
		pcm, _ := c.RTP.Joined()
		return strings.ToLower(understand(pcm, voicetest.Rate))
	}
	voice = voicetest.Voice(t, e)
	one, other = h.realCall(t, ctx, voice), h.realCall(t, ctx, voice)
	one.other, other.other = other, one
	return children, one, other, voice, understood
}

const hours = "We are open from nine in the morning to five in the afternoon."

// TestTalkEarKilled: the process that hears is killed while a caller is in mid-sentence, and killed or stopped while two are. Every sentence is
// understood whole, and nobody has to say it again; in the call beside it the answer is heard to its end.
func TestTalkEarKilled(t *testing.T) {
	children, one, other, voice, understood := killable(t)
	question, order := voice("What are your opening hours?", voicetest.Rate), voice("I want to know where the parcel is that I have ordered on Monday.", voicetest.Rate)
	heard := other.says(question)
	other.Forget()
	other.answered(other.h.seq.Load(), hours)
	waitChan(t, other.Ctx, other.RTP.HeardSome(), "the answer")
	one.Forget()
	next := one.brokenAt(order, func() func() { return children.kill(t, one.Ctx, "hear", syscall.SIGKILL) })
	said := other.expect(channels.Said)
	back := understood(other)
	t.Logf("the other asked %q, was told %q and heard %q", heard, said.Body, back)
	if said.Spoken.Cut || said.Body != hours || !strings.Contains(back, "in the morning") || !strings.Contains(back, "afternoon") {
		t.Errorf("beside a killed ear: told %q (%+v), heard %q", said.Body, said.Spoken, back)
	}
	next()
	one.tells()
	for _, with := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Log(with)
		both := []*realCall{one, other}
		speaking := make(chan struct{})
		go func() {
			defer close(speaking)
			other.Plays(slices.Concat(order, make([]int16, voicetest.Rate/2)))
		}()
		next := one.brokenAt(order, func() func() { return children.kill(t, one.Ctx, "hear", with) })
		<-speaking
		next()
		for _, c := range both {
			c.tells()
		}
	}
}

// brokenAt says words, and something happens in the middle of them.
func (c *realCall) brokenAt(pcm []int16, happens func() (back func())) (back func()) {
	c.T.Helper()
	half := len(pcm) / 2
	c.Plays(pcm[:half])
	back = happens()
	c.Plays(slices.Concat(pcm[half:], make([]int16, voicetest.Rate/2)))
	return back
}

// tells: the house was told the whole order at once, and does not ask for it again.
func (c *realCall) tells() {
	c.T.Helper()
	words := strings.ToLower(c.expect(channels.Words).Body)
	if !strings.Contains(words, "want to know") || !strings.Contains(words, "order") || !strings.Contains(words, "monday") {
		c.T.Errorf("understood %q", words)
	}
	for seq := c.h.seq.Load(); seq > 0; seq-- { // of one of them, and the other call's
		c.answered(seq, hours)
	}
	said := c.expect(channels.Said)
	c.T.Logf("the house understood %q and said %q", words, said.Body)
	if said.Body != hours || said.Spoken.Cut {
		c.T.Errorf("said %q %+v", said.Body, said.Spoken)
	}
	c.listened()
}

// TestTalkVoiceKilled: the process that speaks is killed in mid-sentence. The caller hears the rest from the next one, nothing of it twice, and
// the timeline has the whole answer; the call beside it is answered.
func TestTalkVoiceKilled(t *testing.T) {
	children, one, other, voice, understood := killable(t)
	const answer = "On Monday and on Tuesday we are open from nine in the morning, and the shop for skis in the yard behind the house opens at ten and closes at four. " +
		"On Wednesday we are closed all day, but you may leave your skis and your boots with the neighbour next door. From Thursday on everything is open until eight in the evening."
	question := voice("What are your opening hours?", voicetest.Rate)
	one.says(question)
	seq := one.h.seq.Load()
	one.Forget()
	one.answered(seq, answer)
	waitChan(t, one.Ctx, one.RTP.HeardSome(), "the answer")
	back := children.kill(t, one.Ctx, "say", syscall.SIGKILL)
	heard := other.says(question)
	other.Forget()
	other.answered(other.h.seq.Load(), hours)
	back()
	said := one.expect(channels.Said)
	if said.Body != answer || said.Spoken.Cut {
		t.Errorf("the timeline has %q %+v", said.Body, said.Spoken)
	}
	got := speechtest.Words(understood(one))
	want := speechtest.Words(answer)
	t.Logf("the caller heard %q", got)
	if wrong := speechtest.Wrong(strings.Join(got, " "), answer); wrong > len(want)/3 || len(got) > len(want)+4 {
		t.Errorf("%d of %d words are wrong, %d were heard", wrong, len(want), len(got))
	}
	for _, word := range []string{"monday", "wednesday", "thursday", "evening"} {
		if n := strings.Count(strings.Join(got, " "), word); n != 1 {
			t.Errorf("%q was heard %d times", word, n)
		}
	}
	said = other.expect(channels.Said)
	if text := understood(other); said.Body != hours || said.Spoken.Cut || !strings.Contains(text, "in the morning") {
		t.Errorf("beside it: asked %q, told %q, heard %q", heard, said.Body, text)
	}
}
