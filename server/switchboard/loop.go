package switchboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"patchbay/channels"
	"patchbay/channels/sentences"
	"patchbay/llm"
	"patchbay/llm/human"
)

// The responder's loop: one goroutine owns one conversation while the responder answers it. It lives only as long as
// a customer's words are unanswered; an idle conversation is rows. The row's owner_id says which node works on it; a
// dead node's conversations are taken over by the sweep.

// reasonOffered marks an answer that ends by offering a person, so that "yes please" is understood.
const reasonOffered = "offered"

// sourceBusy: the promise was given because the responder had no place free. llm's reason is the same word.
const sourceBusy = "busy"

const (
	maxFailedTurns = 2 // unknown answers in a row before a person comes
	historyLimit   = 30
)

// passing are events that change no row which the loop reads.
var passing = []string{channels.EventDraft, channels.EventTyping, channels.EventCard, channels.EventTranscript}

type loops struct {
	mu      sync.Mutex // guards the register only; the flow itself has no lock
	running map[int64]*loop
	wg      *sync.WaitGroup
	ctx     context.Context // of Run; nil before it
}

type loop struct {
	s    *Switchboard
	id   int64
	poke chan struct{} // something changed: read the row again
}

// beside does something for a conversation that nobody waits for, while the house runs; failed names it in the log.
func (s *Switchboard) beside(failed string, id int64, do func(ctx context.Context, id int64) error) {
	s.loops.mu.Lock()
	ctx := s.loops.ctx
	if ctx == nil || ctx.Err() != nil {
		s.loops.mu.Unlock()
		return
	}
	s.loops.wg.Add(1)
	s.loops.mu.Unlock()
	go func() {
		defer s.loops.wg.Done()
		defer func() {
			if p := recover(); p != nil {
				s.Log.Error(failed, "conversation", id, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		if err := do(ctx, id); err != nil && ctx.Err() == nil {
			s.Log.Info(failed, "conversation", id, "err", err)
		}
	}()
}

// wake makes sure that a loop looks at the conversation: the one running here, a new one here, or another node's.
func (s *Switchboard) wake(id int64) {
	s.loops.mu.Lock()
	defer s.loops.mu.Unlock()
	if l := s.loops.running[id]; l != nil {
		select {
		case l.poke <- struct{}{}:
		default: // poked already
		}
		return
	}
	ctx := s.loops.ctx
	if ctx == nil || ctx.Err() != nil {
		return // not running (yet, any more): the sweep of this or another node finds the row
	}
	l := &loop{s: s, id: id, poke: make(chan struct{}, 1)}
	s.loops.running[id] = l
	s.loops.wg.Add(1)
	go func() {
		defer s.loops.wg.Done()
		l.run(ctx)
	}()
}

// done takes the loop off the register unless it was poked meanwhile.
func (l *loop) done() bool {
	l.s.loops.mu.Lock()
	defer l.s.loops.mu.Unlock()
	select {
	case <-l.poke:
		return false
	default:
		delete(l.s.loops.running, l.id)
		return true
	}
}

func (l *loop) drop() {
	l.s.loops.mu.Lock()
	defer l.s.loops.mu.Unlock()
	delete(l.s.loops.running, l.id)
}

func (l *loop) run(ctx context.Context) {
	log := l.s.Log.With("conversation", l.id)
	defer func() {
		if p := recover(); p != nil { // one conversation's answer, never the server
			log.Error("responder loop panicked", "panic", p, "stack", string(debug.Stack()))
			l.drop()
		}
	}()
	stop, err := l.s.Bus.Subscribe(channels.ConversationSubject(l.id), func(_ string, data []byte) {
		var e channels.Event
		if json.Unmarshal(data, &e) == nil && !slices.Contains(passing, e.Type) {
			select {
			case l.poke <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		log.Error("subscribe", "err", err)
		l.drop()
		return
	}
	defer stop()
	for {
		worked, err := l.turn(ctx)
		if err != nil && ctx.Err() == nil {
			log.Error("responder turn", "err", err)
			l.drop() // the sweep takes it up again
			return
		}
		if ctx.Err() != nil || (!worked && l.done()) {
			if ctx.Err() != nil {
				l.drop()
			}
			return
		}
	}
}

// answerable: the responder has the conversation, or passes the time with a caller who waits for a person.
const answerable = `(state = 'bot' or state in ('waiting', 'offered') and channel = 'voice')`

// claim makes this node the owner if the conversation needs an answer and no living node works on it.
const claimSQL = `update conversations c set owner_id = $2 where id = $1 and ` + answerable + ` and customer_seq > answered_seq
	and (owner_id is null or owner_id = $2 or not exists (
		select from nodes n where n.id = c.owner_id and n.stopped_at is null and n.seen_at > now() - interval '10 s'))`

// releaseSQL gives it back. A conversation that got new words meanwhile stays claimed: the loop goes on.
const releaseSQL = `update conversations set owner_id = null where id = $1 and owner_id = $2
	and (not ` + answerable + ` or customer_seq <= answered_seq)`

// turn answers what is unanswered. It reports whether there was anything to do.
func (l *loop) turn(ctx context.Context) (bool, error) {
	tag, err := l.s.Pool.Exec(ctx, claimSQL, l.id, l.s.NodeID)
	if err != nil {
		return false, fmt.Errorf("claim: %w", err)
	}
	if tag.RowsAffected() == 0 {
		_, err := l.s.Pool.Exec(ctx, releaseSQL, l.id, l.s.NodeID)
		return false, err
	}
	history, err := channels.History(ctx, l.s.Pool, l.id, 0, historyLimit)
	if err != nil {
		return false, fmt.Errorf("history: %w", err)
	}
	c, err := channels.Get(ctx, l.s.Pool, l.id)
	if err != nil || c == nil {
		return false, fmt.Errorf("read: %w", err)
	}
	t := llm.Turn{ConversationID: l.id, History: history}
	if t.Question, t.Channel = unanswered(history, c.AnsweredSeq); t.Question == "" {
		// nothing in words to answer (all of it older than the history): do not spin on it
		_, err := l.s.Pool.Exec(ctx, `update conversations set answered_seq = $2 where id = $1 and owner_id = $3`, l.id, c.CustomerSeq, l.s.NodeID)
		return true, err
	}
	answer, shown, err := l.ask(ctx, t, c.CustomerSeq, c.State != channels.Bot)
	if t.Channel == channels.Voice && (err == nil || errors.Is(err, errSuperseded)) {
		return true, nil // what was heard of it settles it (see said)
	}
	if ctx.Err() != nil {
		return true, nil // this node stops; the row stays unanswered and is taken up by another or the next start
	}
	return true, l.settle(ctx, t.Channel, c.CustomerSeq, answer, shown, err)
}

// noteTimes stores when the stages of a turn came. Its failure costs a figure in a report and nothing else.
func (l *loop) noteTimes(ctx context.Context, t llm.Turn, a llm.Answer, failed error) {
	if ctx.Err() != nil {
		return
	}
	outcome := llm.Outcome(a, failed)
	if errors.Is(failed, errSuperseded) {
		outcome = "superseded"
	}
	came := func(d time.Duration) *int64 {
		if d <= 0 {
			return nil
		}
		ms := d.Milliseconds()
		return &ms
	}
	if _, err := l.s.Pool.Exec(ctx, `insert into answer_times (conversation_id, channel, model, outcome, own_ms, waited_ms, first_token_ms, first_sentence_ms)
		values ($1, $2, $3, $4, $5, $6, $7, $8)`, l.id, t.Channel, a.Model, outcome, a.Own.Milliseconds(), a.Waited.Milliseconds(), came(a.FirstToken), came(a.FirstSentence)); err != nil {
		l.s.Log.Warn("answer's times", "conversation", l.id, "err", err)
	}
}

// unanswered joins the customer's words since the last answer, and tells where the last of them came from: there the
// answer goes, also when the customer has phoned meanwhile.
func unanswered(history []channels.Message, answered int64) (words string, way channels.Kind) {
	for _, m := range history {
		if m.Seq > answered && m.Author == channels.ByContact && m.Kind == channels.Text && !m.Data.Automatic {
			if words != "" {
				words += "\n"
			}
			words += m.Body
			way = m.Channel
		}
	}
	return words, way
}

// errSuperseded: the customer went on writing, asked for a person, left, or a person took over.
var errSuperseded = errors.New("superseded")

// errNothingToSay: to who waits for a person, and would only hear that we do not know.
var errNothingToSay = errors.New("nothing to say")

// ask lets the responder answer and shows its draft. It stops at once when the row says that the answer is not wanted
// any more. On the telephone it returns only then: the answer is wanted until it was heard.
//
// Who waits for a person already is answered with what is known, or not at all.
func (l *loop) ask(ctx context.Context, t llm.Turn, upTo int64, waits bool) (answer llm.Answer, shown string, err error) {
	running := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type result struct {
		answer llm.Answer
		err    error
	}
	answered := make(chan result, 1)
	began, byVoice := time.Now(), t.Channel == channels.Voice
	go func() {
		defer func() {
			if p := recover(); p != nil {
				l.s.Log.Error("responder panicked", "panic", p, "stack", string(debug.Stack()))
				answered <- result{err: fmt.Errorf("responder panicked: %v", p)}
			}
		}()
		a, err := l.s.Responder().Answer(ctx, t, func(p llm.Progress) {
			if ctx.Err() != nil {
				return
			}
			switch {
			case byVoice && !p.Bridging && !waits:
				l.speak(upTo, p, began, nil)
			case byVoice: // that it takes a moment, the call says by itself
			case p.Bridging && p.Text == "":
				l.draft(wordsMoment.In(human.Language(t.Question, sentences.Languages())), false)
			default:
				shown = p.Text
				l.draft(shown, false)
			}
		})
		answered <- result{a, err}
	}()
	for {
		select {
		case r := <-answered:
			if context.Cause(ctx) == errSuperseded {
				r.err = errSuperseded
			}
			if !byVoice || r.err != nil {
				l.noteTimes(running, t, r.answer, r.err)
				return r.answer, shown, r.err
			}
			if waits && (r.answer.Unknown || r.answer.HandOver) {
				return r.answer, "", errNothingToSay
			}
			answered = nil // until it was heard
			l.speak(upTo, llm.Progress{Text: r.answer.Text}, began, &channels.Ending{Sources: r.answer.Sources, Mode: r.answer.Mode,
				HandOver: r.answer.HandOver, Unknown: r.answer.Unknown})
			l.noteTimes(running, t, r.answer, nil)
		case <-l.poke:
			wanted, err := l.stillWanted(ctx, upTo)
			if err != nil {
				l.s.Log.Warn("responder turn", "conversation", l.id, "err", err)
			}
			if !wanted {
				cancel(errSuperseded)
				if answered == nil {
					return answer, "", errSuperseded
				}
			}
		case <-ctx.Done():
			if answered == nil {
				return answer, "", ctx.Err()
			}
		}
	}
}

func (l *loop) stillWanted(ctx context.Context, upTo int64) (wanted bool, err error) {
	err = l.s.Pool.QueryRow(ctx, `select exists (select from conversations where id = $1 and `+answerable+` and owner_id = $2
		and customer_seq = $3 and answered_seq < $3)`, l.id, l.s.NodeID, upTo).Scan(&wanted)
	return wanted || err != nil, err
}

func (l *loop) draft(text string, done bool) {
	l.s.publish(channels.ConversationSubject(l.id), channels.Event{Type: channels.EventDraft, ConversationID: l.id,
		Draft: &channels.Draft{Text: text, Done: done}})
}

// speak gives the conversation's call as much of the answer as there is.
func (l *loop) speak(to int64, p llm.Progress, began time.Time, ending *channels.Ending) {
	l.s.publish(channels.ConversationSubject(l.id), channels.Event{Type: channels.EventDraft, ConversationID: l.id, Draft: &channels.Draft{
		Text: p.Text, To: to, Ending: ending, TokenMS: p.FirstToken.Milliseconds(), SentenceMS: time.Since(began).Milliseconds()}})
}

// settle stores what became of the turn, guarded: only while the conversation is still the responder's.
func (l *loop) settle(ctx context.Context, way channels.Kind, upTo int64, a llm.Answer, shown string, failed error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	l.draft("", true)
	return l.s.change(ctx, l.id, func(ch *change) error {
		if (ch.c.State == channels.Waiting || ch.c.State == channels.Offered) && ch.c.CustomerSeq == upTo {
			return ch.exec(ctx, "answered", `update conversations set answered_seq = $2 where id = $1`, ch.c.ID, upTo) // a person comes anyway
		}
		if ch.c.State != channels.Bot || ch.c.OwnerID == nil || *ch.c.OwnerID != l.s.NodeID {
			return nil // a person has it, or will: the responder is silent, its draft is gone
		}
		if errors.Is(failed, errSuperseded) || ch.c.CustomerSeq != upTo {
			if shown == "" {
				return nil
			}
			// the customer has read half an answer and gone on writing: what was shown stays, marked as cut
			_, err := ch.append(ctx, &channels.Message{Author: channels.ByAI, Channel: way, Body: shown, Data: channels.MessageData{Cut: true}})
			return err
		}
		if err := ch.exec(ctx, "answered", `update conversations set answered_seq = $2 where id = $1`, ch.c.ID, upTo); err != nil {
			return err
		}
		if failed != nil {
			return l.fail(ctx, ch, way, shown, failed)
		}
		return l.answered(ctx, ch, way, a)
	})
}

func (l *loop) answered(ctx context.Context, ch *change, way channels.Kind, a llm.Answer) error {
	end := channels.Ending{Sources: a.Sources, Mode: a.Mode, HandOver: a.HandOver, Unknown: a.Unknown}
	if m := answerMessage(way, a.Text, end); m.Body != "" {
		if _, err := ch.send(ctx, m); err != nil {
			return err
		}
	}
	return l.s.afterAnswer(ctx, ch, end)
}

// answerMessage is an answer in the timeline.
func answerMessage(way channels.Kind, text string, end channels.Ending) *channels.Message {
	m := &channels.Message{Author: channels.ByAI, Channel: way, Body: text, Data: channels.MessageData{Sources: end.Sources, Mode: end.Mode}}
	if end.Unknown {
		m.Data.Reason = reasonOffered
	}
	return m
}

// afterAnswer counts an answer, and gets a person when it was one too many, or said so.
func (s *Switchboard) afterAnswer(ctx context.Context, ch *change, end channels.Ending) error {
	misses := 0
	if end.Unknown {
		misses = ch.c.FailedTurns + 1
	}
	if err := ch.exec(ctx, "turns", `update conversations set bot_turns = bot_turns + 1, failed_turns = $2 where id = $1`, ch.c.ID, misses); err != nil {
		return err
	}
	switch {
	case end.HandOver:
		return s.toPeople(ctx, ch, "model", channels.CodeWaiting, wordsWaiting)
	case misses >= maxFailedTurns:
		return s.toPeople(ctx, ch, "unknown", channels.CodeNoAnswer, wordsNoAnswer)
	case ch.c.BotTurns+1 >= s.MaxTurns:
		return s.toPeople(ctx, ch, "turns", channels.CodeWaiting, wordsWaiting)
	}
	return nil
}

// fail tells the truth and gets a person, in one transaction.
func (l *loop) fail(ctx context.Context, ch *change, way channels.Kind, shown string, failed error) error {
	reason := "failed"
	var f *llm.Failure
	if errors.As(failed, &f) {
		reason = f.Reason
	}
	l.s.Log.Warn("responder failed", "conversation", l.id, "reason", reason, "err", failed)
	if shown != "" { // half an answer was on the screen: it stays, marked
		if _, err := ch.append(ctx, &channels.Message{Author: channels.ByAI, Channel: way, Body: shown, Data: channels.MessageData{Cut: true}}); err != nil {
			return err
		}
	}
	code, words := channels.CodeModelDown, wordsModelDown
	if reason == "ungrounded" || reason == "looping" || reason == "too_long" { // it answers, but not so that it may be shown
		code, words = channels.CodeNoAnswer, wordsNoAnswer
	}
	if reason == sourceBusy { // it is well, and others were first
		return l.s.toPeople(ctx, ch, sourceBusy, channels.CodeWaiting, wordsBusy)
	}
	return l.s.toPeople(ctx, ch, "failure", code, words)
}
