// Package switchboard is the flow: the one place where a conversation's whole life can be read.
//
//	channels ── Receive ──▶ switchboard ── Answer ──▶ llm          (state bot)
//	   ▲                        │  ├──── promise, line ──▶ agents   (waiting, offered)
//	   └── Send, Join, End ─────┘  └◀─── Accept, Reply, End ── api  (agent, wrapup)
//
// Every verb is one transaction: the message, the change of state and the promise are committed together, and only
// then the news goes out over the bus. A verb that finds the conversation in another state than it needs changes
// nothing and says so. The way to a person never waits for the model: human.Read is plain code inside Receive, and the
// transaction that stores the wish opens the promise.
//
// Goroutines: one loop for each conversation that the responder is answering (loop.go), and Run's sweep (recover.go).
package switchboard

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/sentences"
	"patchbay/llm"
	"patchbay/llm/human"
	"patchbay/server/bus"
)

// Channel is what the flow needs of a way in and out. Voice, email and chat implement it.
type Channel interface {
	// Send runs inside the transaction that stores m: words of the responder or an agent, or a public event. What must
	// not be lost is written in tx. The returned func, if any, runs after the commit.
	Send(ctx context.Context, tx pgx.Tx, c *channels.Conversation, m *channels.Message) (after func(), err error)
	// Join tells a live session that an agent has accepted and will connect. After the commit.
	Join(ctx context.Context, c *channels.Conversation, agentID int64) error
	// Release tells a live session that the agent of c has let go: the customer is back in line. After the commit; it says
	// nothing about an agent who has taken over since.
	Release(ctx context.Context, c *channels.Conversation) error
	// End ends the live part of the conversation (a call is hung up). After the commit.
	End(ctx context.Context, c *channels.Conversation, reason string) error
}

// Config is what the flow needs. All fields are required but Now.
type Config struct {
	Pool      *pgxpool.Pool
	Bus       *bus.Bus
	NodeID    string
	Log       *slog.Logger
	Responder func() *llm.Responder // the one in force; it changes when a model becomes ready
	Channels  map[channels.Kind]Channel
	QueueID   int64 // where conversations wait that no rule sends elsewhere

	MaxTurns  int           // answers of the responder in a row before a person comes; default 12
	AgentGone time.Duration // how long an agent may be without a socket while a customer's words are unanswered; default 60 s
}

// Switchboard is the flow. Its verbs may be called from any goroutine.
type Switchboard struct {
	Config
	loops  loops
	places places
	steady time.Time // since when this node's heartbeats reach the database; of Run alone
}

// New builds the flow; Run starts its sweep.
func New(cfg Config) *Switchboard {
	if cfg.MaxTurns == 0 {
		cfg.MaxTurns = 12
	}
	if cfg.AgentGone == 0 {
		cfg.AgentGone = time.Minute
	}
	human.Load()
	s := &Switchboard{Config: cfg}
	s.loops = loops{running: map[int64]*loop{}, wg: &sync.WaitGroup{}}
	return s
}

// change is one transaction on one conversation and the news that goes out after its commit.
type change struct {
	s     *Switchboard
	tx    pgx.Tx
	c     *channels.Conversation
	fresh bool                // c was begun here
	lines []*channels.Message // private lines, stored together before the next message or the commit
	news  []func()
	undo  []func() // what is to be given back when there is no commit
	late  error    // what went wrong after the commit, for who has asked

	mail *callMail      // what the mail that is received says about a call
	more sentences.Said // to tell with the notice that a person comes
	said string         // the customer's words that are received, if they are in writing

	entered bool // it has come into line here
	carded  bool // the conversation is on its way to a person: its hand-over card is made at the end (card.go)
}

// change runs do in one transaction; the news follows the commit, in order. do gets a change without a conversation
// when id is 0 and sets it itself.
func (s *Switchboard) change(ctx context.Context, id int64, do func(ch *change) error) error {
	ch := &change{s: s}
	err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) (err error) {
		ch.tx = tx
		if id != 0 {
			if err := ch.take(ctx, id); err != nil {
				return err
			}
		}
		if err := do(ch); err != nil {
			return err
		}
		return ch.finish(ctx)
	})
	if err != nil {
		for _, give := range ch.undo {
			give()
		}
		return err
	}
	for _, tell := range ch.news {
		tell()
	}
	if ch.entered {
		s.summarise(ch.c.ID)
	}
	return ch.late
}

// take locks the conversation for this change.
func (ch *change) take(ctx context.Context, id int64) (err error) {
	ch.c, err = channels.Lock(ctx, ch.tx, id)
	if err != nil {
		return fmt.Errorf("lock conversation: %w", err)
	}
	if ch.c == nil {
		return channels.Fail(channels.NotFound, "There is no such conversation.")
	}
	return nil
}

func (ch *change) after(f func()) { ch.news = append(ch.news, f) }

// move changes the state; false when the table or a faster one forbids it.
func (ch *change) move(ctx context.Context, to channels.State) (bool, error) {
	if ch.c.State == to {
		return true, nil
	}
	c, err := channels.Move(ctx, ch.tx, ch.c.ID, to)
	if err != nil {
		return false, fmt.Errorf("move to %s: %w", to, err)
	}
	if c == nil {
		return false, nil
	}
	ch.c = c
	ch.after(func() {
		ch.s.publish(channels.ConversationSubject(c.ID), channels.Event{
			Type: channels.EventState, ConversationID: c.ID, Seq: c.LastSeq, State: c.State})
		ch.s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: c.ID})
	})
	return true, nil
}

// append stores m in this conversation and tells who watches it.
func (ch *change) append(ctx context.Context, m *channels.Message) (dup bool, err error) {
	if err := ch.flush(ctx); err != nil {
		return false, err
	}
	m.ConversationID = ch.c.ID
	if m.Channel == "" {
		m.Channel = ch.c.Channel
	}
	if dup, err = channels.Append(ctx, ch.tx, m); err != nil || dup {
		return dup, err
	}
	ch.stored(m)
	return false, nil
}

// stored tells who watches that m is in the timeline.
func (ch *change) stored(m *channels.Message) {
	ch.c.LastSeq = m.Seq
	told := *m
	ch.after(func() {
		ch.s.publish(channels.ConversationSubject(told.ConversationID), channels.Event{
			Type: channels.EventMessage, ConversationID: told.ConversationID, Seq: told.Seq, Message: &told})
		ch.s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: told.ConversationID})
	})
}

// flush stores the lines that have gathered.
func (ch *change) flush(ctx context.Context) error {
	lines := ch.lines
	ch.lines = nil
	if err := channels.AppendEvents(ctx, ch.tx, ch.cID(), lines); err != nil {
		return err
	}
	for _, m := range lines {
		ch.stored(m)
	}
	return nil
}

func (ch *change) cID() int64 {
	if ch.c == nil {
		return 0
	}
	return ch.c.ID
}

// send stores m and carries it to the customer on m's channel.
func (ch *change) send(ctx context.Context, m *channels.Message) (dup bool, err error) {
	if dup, err = ch.append(ctx, m); err != nil || dup {
		return dup, err
	}
	way, ok := ch.s.Channels[m.Channel]
	if !ok {
		return false, nil
	}
	after, err := way.Send(ctx, ch.tx, ch.c, m)
	if err != nil {
		return false, fmt.Errorf("send by %s: %w", m.Channel, err)
	}
	if after != nil {
		ch.after(after)
	}
	return false, nil
}

// line writes a private line of the timeline: what happened, for the desk. It is stored with the next message, or at the
// end of the change.
func (ch *change) line(code, words string, data channels.MessageData) {
	data.Code = code
	ch.lines = append(ch.lines, &channels.Message{ConversationID: ch.c.ID, Channel: ch.c.Channel, Author: channels.BySystem,
		Kind: channels.Happened, Body: words, Private: true, Data: data})
}

// notice stores a line that the customer sees too and sends it.
func (ch *change) notice(ctx context.Context, code string, words sentences.Said, data channels.MessageData) error {
	lang, err := ch.language(ctx)
	if err != nil {
		return err
	}
	data.Code = code
	_, err = ch.send(ctx, &channels.Message{Author: channels.BySystem, Kind: channels.Happened, Body: words.In(lang), Data: data})
	return err
}

// language is the one in which the customer writes, by their last words. On the telephone the call speaks its own sentences in
// the caller's; what stands in its timeline is for the desk.
func (ch *change) language(ctx context.Context) (string, error) {
	if ch.c.Channel == channels.Voice {
		return "en", nil
	}
	said := ""
	err := ch.tx.QueryRow(ctx, `select coalesce(string_agg(body, E'\n'), '') from (select left(body, 500) as body from messages
		where conversation_id = $1 and author = 'contact' and kind = 'text' order by seq desc limit 3) last`, ch.c.ID).Scan(&said)
	if err != nil {
		return "", fmt.Errorf("customer's language: %w", err)
	}
	return human.Language(ch.said+"\n"+said, sentences.Languages()), nil
}

func (ch *change) exec(ctx context.Context, what, sql string, args ...any) error {
	if _, err := ch.tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// publish sends news. A failure costs freshness only: readers re-read from their last sequence number.
func (s *Switchboard) publish(subject string, v any) {
	if err := s.Bus.Publish(subject, v); err != nil {
		s.Log.Warn("news not sent", "subject", subject, "err", err)
	}
}

// wakeRouters tells them, after the commit, that the conversation waits or that the agent who had it (nil: nobody) has less in hand.
func (ch *change) wakeRouters(had *int64) {
	news := channels.RouteNews{Line: true}
	if had != nil {
		news.Agents = []int64{*had}
	}
	ch.after(func() { ch.s.publish(channels.RouteSubject, news) })
}

// live runs a command on the conversation's running call, if it has one.
func (s *Switchboard) live(ctx context.Context, c *channels.Conversation, what string, do func(Channel) error) {
	way, ok := s.Channels[channels.Voice]
	if !ok {
		return
	}
	if err := do(way); err != nil {
		s.Log.Warn("call not told", "what", what, "conversation", c.ID, "err", err)
	}
}
