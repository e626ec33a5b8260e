package llm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"patchbay/channels"
)

// Budgets of one answer beside the token budget that Ollama keeps; a server that ignores it is stopped here.
const (
	maxAnswer   = 1500 // bytes shown
	maxThinking = 4000 // bytes thought
	maxSame     = 2    // how often the same sentence may come
)

// run is one turn with the model: its clocks go from the question, over the waiting for a place and a second try.
type run struct {
	r        *Responder
	t        Turn
	emit     func(Progress)
	passages []Passage
	guard    *guard

	start                          time.Time
	bridge, first, sentence, total *time.Timer
	visit                          *visit  // at the host whose turn it is now
	tried                          []*host // hosts that could not
	times                          Answer  // its times

	shown    []string // sentences released
	cites    []int
	blocked  int
	handOver bool
	unknown  bool
}

// errStop ends a draft that has said enough.
var errStop = errors.New("enough")

// errBlocked ends a draft whose sentence was blocked.
var errBlocked = errors.New("blocked")

// errAllDown: every host's breaker is open.
var errAllDown = errors.New("no model answers")

// byHost is an answer and whether its model is a weak one.
type byHost struct {
	Answer
	weak bool
}

// byModel lets the least loaded host write the answer. A host that dies before its first token is not the customer's
// affair: another one goes on, as long as the clocks run.
func (r *Responder) byModel(ctx context.Context, t Turn, passages []Passage, emit func(Progress), start time.Time) (byHost, error) {
	left := func(d time.Duration) *time.Timer { return time.NewTimer(d - time.Since(start)) }
	bridge := r.gate.aim[classOf(t.Channel)]
	run := &run{
		r: r, t: t, emit: emit, passages: passages, start: start,
		bridge: left(bridge), first: left(r.cfg.FirstToken), sentence: left(r.cfg.FirstSentence), total: left(r.cfg.Total),
	}
	defer run.bridge.Stop()
	defer run.first.Stop()
	defer run.sentence.Stop()
	defer run.total.Stop()
	var failed error
	for {
		if err := run.place(ctx); err != nil {
			if failed != nil && (errors.Is(err, errAllDown) || ctx.Err() == nil) {
				err = failed // that nobody took over is no news
			}
			return byHost{Answer: run.timed(Answer{})}, err
		}
		h := run.visit.h
		a, err := run.at(ctx)
		if ctx.Err() == nil {
			r.note(h, err)
		}
		var f *Failure
		if !errors.As(err, &f) || !f.fault() || run.times.FirstToken > 0 || ctx.Err() != nil || time.Since(start) > r.cfg.FirstToken {
			return byHost{run.timed(a), h.Weak}, err
		}
		failed, run.tried = err, append(run.tried, h)
	}
}

// at is the visit of one host: a draft, and one more when a sentence was blocked.
func (u *run) at(ctx context.Context) (Answer, error) {
	err := u.draft(ctx, false)
	if errors.Is(err, errBlocked) {
		err = u.draft(ctx, true)
	}
	first := time.Duration(0)
	if u.times.FirstSentence > 0 {
		first = u.times.FirstSentence - u.visit.began.Sub(u.start)
	}
	var f *Failure
	u.r.gate.done(u.visit, first, errors.As(err, &f) && f.Reason == "slow")
	return u.finish(err)
}

func (u *run) timed(a Answer) Answer {
	a.Own, a.Waited, a.FirstToken, a.FirstSentence, a.Model = u.times.Own, u.times.Waited, u.times.FirstToken, u.times.FirstSentence, u.times.Model
	return a
}

// place waits for a free place at a model; the clocks are running.
func (u *run) place(ctx context.Context) error {
	g := &u.r.gate
	if len(u.tried) == 0 {
		u.times.Own = time.Since(u.start)
	}
	w, busy := g.enter(classOf(u.t.Channel), u.tried)
	switch {
	case busy:
		return &Failure{Reason: "busy", Err: errors.New("no place at the model")}
	case w == nil:
		return errAllDown
	}
	entered, late := time.Now(), time.NewTimer(time.Until(w.until))
	defer late.Stop()
	if len(w.got) > 0 {
		late.Stop()
	}
	for {
		select {
		case v := <-w.got:
			if v == nil {
				return errAllDown
			}
			u.visit, u.times.Model = v, v.h.Model
			u.times.Waited += time.Since(entered)
			return nil
		case <-ctx.Done():
			g.leave(w)
			return ctx.Err()
		case <-u.bridge.C:
			u.emit(Progress{Bridging: true})
		case <-late.C:
			g.leave(w)
			return &Failure{Reason: "busy", Err: errors.New("no place at the model in time")}
		}
	}
}

// draft lets the model write one answer. All ways it can end stand in its select.
func (u *run) draft(ctx context.Context, again bool) error {
	ctx, cancel := context.WithCancel(ctx)
	chunks, done := make(chan chunk), make(chan error, 1)
	messages := u.r.prompt.messages(u.t, u.passages, again)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- &Failure{Reason: "garbage", Err: fmt.Errorf("panic: %v", p)}
			}
		}()
		done <- u.visit.h.ollama.chat(ctx, messages, answerTokens, func(c chunk) error {
			select {
			case chunks <- c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	running := true
	defer func() { // the stream to Ollama is closed before anybody hears of the end
		cancel()
		if running {
			<-done
		}
	}()
	u.guard = newGuard(u.r.prompt, u.passages, u.customerWords())
	stall := time.NewTimer(time.Hour)
	defer stall.Stop()
	hop := time.NewTimer(u.r.hop(u.visit.h))
	defer hop.Stop()
	w := writer{}
	for {
		first, sentence := u.first.C, u.sentence.C
		if w.said || len(u.shown) > 0 {
			first = nil
		}
		if len(u.shown) > 0 {
			sentence = nil
		}
		select {
		case c := <-chunks:
			stall.Reset(u.r.cfg.Stall)
			if u.times.FirstToken == 0 && c.text+c.thinking != "" {
				u.times.FirstToken = time.Since(u.start)
				u.r.gate.heard(u.visit, time.Since(u.visit.began))
			}
			if err := u.take(&w, c); err != nil {
				return err
			}
		case err := <-done:
			running = false
			if err != nil {
				return err
			}
			return u.end(&w)
		case <-u.bridge.C:
			if len(u.shown) == 0 {
				u.emit(Progress{Bridging: true})
			}
		case <-hop.C:
			if u.times.FirstToken == 0 && u.r.gate.other(u.visit.class, append(u.tried, u.visit.h)) {
				return &Failure{Reason: "slow", Err: errors.New("no word yet, and another host is free")}
			}
		case <-first:
			return w.late("first word")
		case <-sentence:
			return w.late("first sentence")
		case <-stall.C:
			return &Failure{Reason: "slow", Err: errors.New("stream stands still")}
		case <-u.total.C:
			return &Failure{Reason: "slow", Err: errors.New("whole answer")}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hop is how long a host may be silent before its turn goes to another one that is free: three times its usual silence.
func (r *Responder) hop(h *host) time.Duration {
	r.gate.mu.Lock()
	usual := h.token.safe(r.cfg.FirstToken)
	r.gate.mu.Unlock()
	return min(max(3*usual, r.cfg.FirstToken/8), r.cfg.FirstToken/2)
}

// writer is the state of one draft.
type writer struct {
	split    splitter
	think    thoughts
	thinking int
	said     bool
	tools    int
	cut      bool
	bytes    int
	seen     map[string]int
}

// late is what missing a clock means: a model that only thinks loops, a silent one is slow.
func (w *writer) late(what string) error {
	if w.thinking > 0 && !w.said {
		return &Failure{Reason: "looping", Err: errors.New("only thoughts until the limit of the " + what)}
	}
	return &Failure{Reason: "slow", Err: errors.New(what)}
}

// take takes one chunk of the stream.
func (u *run) take(w *writer, c chunk) error {
	w.tools += c.tools
	w.cut = w.cut || c.cut
	before := w.think.hidden
	text := w.think.add(c.text)
	w.thinking += len(c.thinking) + w.think.hidden - before
	if w.thinking > maxThinking || w.tools > 5 {
		return &Failure{Reason: "looping", Err: errors.New("thoughts or tool calls without end")}
	}
	if strings.TrimSpace(text) != "" {
		w.said = true
	}
	if w.bytes += len(text); w.bytes > maxAnswer*2 {
		return &Failure{Reason: "too_long"}
	}
	for _, s := range w.split.add(text) {
		if err := u.release(w, s); err != nil {
			return err
		}
	}
	return nil
}

// end handles what is left when the stream has ended properly. Half a sentence, cut by the token budget, is not shown.
func (u *run) end(w *writer) error {
	for _, s := range w.split.add(w.think.flush()) {
		if err := u.release(w, s); err != nil {
			return err
		}
	}
	if rest := w.split.flush(); strings.TrimSpace(rest) != "" {
		if w.cut && !strings.ContainsAny(rest[len(rest)-1:], ".!?") {
			if len(u.shown) == 0 {
				return &Failure{Reason: "too_long"}
			}
			return nil
		}
		if err := u.release(w, rest); err != nil {
			return err
		}
	}
	switch {
	case len(u.shown) > 0 || u.unknown:
		return nil
	case w.tools > 0:
		return &Failure{Reason: "garbage", Err: errors.New("only tool calls")}
	case w.thinking > 0:
		return &Failure{Reason: "looping", Err: errors.New("only thoughts")}
	}
	return &Failure{Reason: "empty"}
}

// release shows one sentence if the guard lets it.
func (u *run) release(w *writer, sentence string) error {
	if strings.TrimSpace(sentence) == "" {
		return nil
	}
	key := strings.Join(tokens(sentence), " ")
	if w.seen == nil {
		w.seen = map[string]int{}
	}
	if w.seen[key]++; key != "" && w.seen[key] > maxSame || stutters(key) {
		return &Failure{Reason: "looping", Err: errors.New("the same again and again")}
	}
	v := u.guard.check(sentence)
	if v.Block != "" {
		u.r.log.Warn("sentence blocked", "conversation", u.t.ConversationID, "rule", v.Block, "by", short(v.Why, 80))
		if u.blocked++; u.blocked > 1 {
			return &Failure{Reason: "ungrounded", Err: errors.New(v.Block)}
		}
		return errBlocked
	}
	if u.visit.h.Weak && (v.Unknown || !u.guard.quotes(v.Text)) {
		if len(u.shown) > 0 {
			return errStop
		}
		return &Failure{Reason: "ungrounded", Err: errors.New("not a passage's own words")}
	}
	if v.Unknown && len(u.shown) == 0 || strings.Contains(v.Text, "UNKNOWN") {
		u.unknown = true
		return errStop
	}
	u.cites = append(u.cites, v.Cites...)
	if strings.TrimSpace(v.Text) == "" || w.seen[key] > 1 || u.wasShown(v.Text) {
		return nil
	}
	if u.times.FirstSentence == 0 {
		u.times.FirstSentence = time.Since(u.start)
	}
	u.shown = append(u.shown, v.Text)
	if len(u.text()) > maxAnswer {
		return &Failure{Reason: "too_long"}
	}
	u.emit(Progress{Text: u.text(), FirstToken: u.times.FirstToken})
	if v.HandOver {
		u.handOver = true
		return errStop
	}
	return nil
}

func (u *run) text() string { return strings.TrimSpace(strings.Join(u.shown, "")) }

// wasShown keeps a second try from saying again what the first had said.
func (u *run) wasShown(text string) bool {
	if u.blocked == 0 {
		return false
	}
	mine := set(strings.Join(tokens(text), " "))
	for _, s := range u.shown {
		theirs, both := set(strings.Join(tokens(s), " ")), 0
		for w := range mine {
			if theirs[w] {
				both++
			}
		}
		if both*10 >= len(mine)*6 {
			return true
		}
	}
	return false
}

// stutters finds one sentence that runs in circles.
func stutters(key string) bool {
	all := strings.Fields(key)
	count := map[string]int{}
	for i := 0; i+4 <= len(all); i++ {
		run := strings.Join(all[i:i+4], " ")
		if count[run]++; count[run] > 3 {
			return true
		}
	}
	return false
}

// finish turns the end of the draft into an answer.
func (u *run) finish(err error) (Answer, error) {
	if errors.Is(err, errStop) {
		err = nil
	}
	a := Answer{Text: u.text(), Mode: ModeModel}
	if len(u.shown) > 0 {
		a.Sources = u.sources()
	}
	var f *Failure
	switch {
	case err == nil && u.unknown && len(u.shown) == 0:
		a.Text, a.Unknown = saysUnknown.In(language(u.t.Question)), true
		u.times.FirstSentence = time.Since(u.start)
		u.emit(Progress{Text: a.Text})
	case err == nil && u.handOver:
		a.HandOver, a.Reason = true, "model"
	case errors.As(err, &f) && f.Reason == "ungrounded" && len(u.shown) > 0:
		// what was shown is true; the rest must come from a person, and the words say so
		a.Text += " " + saysRest.In(language(u.t.Question))
		a.HandOver, a.Reason = true, f.Reason
		u.emit(Progress{Text: a.Text})
		return a, nil
	}
	return a, err
}

// sources are the passages that the model cites, else those that share the answer's figures and words best.
func (u *run) sources() []channels.Source {
	var out []channels.Source
	add := func(p Passage) {
		for _, s := range out {
			if s.URL == p.URL && s.Title == p.Title {
				return
			}
		}
		out = append(out, p.source())
	}
	for _, n := range u.cites {
		if n >= 1 && n <= len(u.passages) {
			add(u.passages[n-1])
		}
	}
	if len(out) > 0 {
		return out
	}
	mine := set(strings.Join(tokens(u.text()), " "))
	best, most := 0, -1
	for i, p := range u.passages {
		shared := 0
		for w := range set(strings.Join(tokens(p.Heading+" "+p.Body), " ")) {
			if mine[w] && len(w) > 2 || mine[w] && isNumber(w) {
				shared++
			}
		}
		if shared > most {
			best, most = i, shared
		}
	}
	add(u.passages[best])
	return out
}

// customerWords is all that the customer said, for restatements.
func (u *run) customerWords() string {
	var b strings.Builder
	for _, m := range u.t.History {
		if m.Author == channels.ByContact {
			b.WriteString(bounded(m.Body, questionRunes) + "\n")
		}
	}
	b.WriteString(bounded(u.t.Question, questionRunes))
	return b.String()
}

const thinkOpen, thinkClose = "<think>", "</think>"
