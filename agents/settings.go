package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/channels"
)

// The line's settings: queues, skills, and what each agent answers. Mistakes are refused with the field's name, as the
// JSON calls it. Nothing is lost with a queue that is deleted: its conversations wait in another one.

// QueueSettings is a queue as an administrator sees it.
type QueueSettings struct {
	ID             int64      `json:"id"`
	Name           string     `json:"name"`
	OfferSeconds   int        `json:"offer_seconds"`   // 5 to 120
	WrapupSeconds  int        `json:"wrapup_seconds"`  // 0 to 3600
	PromiseSeconds int        `json:"promise_seconds"` // 1 to 604800: target from the wish to the first human word
	PromiseShare   int        `json:"promise_share"`   // 1 to 99 per cent of the promises that are to be kept in hours
	Strategy       string     `json:"strategy"`
	Sticky         bool       `json:"sticky"`
	Priority       int        `json:"priority"`        // 0 to 100
	AgeBonus       int        `json:"age_bonus"`       // 0 to 100 points a minute
	Weight         int        `json:"weight"`          // 1 to 100
	ChatLoad       int        `json:"chat_load"`       // 1 to 20
	EmailLoad      int        `json:"email_load"`      // 1 to 20
	AnybodySeconds *int       `json:"anybody_seconds"` // 1 to 86400; null: never
	Hours          Hours      `json:"hours"`
	ClosedUntil    *time.Time `json:"closed_until"`
	ClosedWords    string     `json:"closed_words"` // at most 500 characters
	HearEngine     string     `json:"hear_engine"`  // a speech engine's name (CheckEngines); "": the house's order
	SayEngine      string     `json:"say_engine"`
	SayVoice       string     `json:"say_voice"` // of SayEngine; "": its first
	Skills         []Step     `json:"skills"`
	Overflows      []Overflow `json:"overflows"`

	CallBack        bool `json:"call_back"`         // callers in line are offered one
	CallBackTries   int  `json:"call_back_tries"`   // 1 to 10, then a supervisor decides
	CallBackMinutes int  `json:"call_back_minutes"` // 1 to 1440, between tries
	RecallMinutes   int  `json:"recall_minutes"`    // 0 to 120: who hung up in line and calls again within it has the place
}

// Step asks for a skill's level from AfterSeconds of waiting on.
type Step struct {
	SkillID      int64 `json:"skill_id"`
	AfterSeconds int   `json:"after_seconds"` // 0 to 86400
	Level        int   `json:"level"`         // 1 to 5; 0: no longer asked for
}

// Overflow is what happens when a line takes too long.
type Overflow struct {
	Cause     string `json:"cause"`       // wait, length, nobody
	Threshold int    `json:"threshold"`   // wait, nobody: seconds of waiting; length: conversations before it
	Action    string `json:"action"`      // queue, skills, callback, message
	ToQueueID *int64 `json:"to_queue_id"` // of queue
	Words     string `json:"words"`       // of message, and of callback where the house's own words are not wanted
}

// Causes and actions of an Overflow.
const (
	CauseWait   = "wait"
	CauseLength = "length"
	CauseNobody = "nobody"

	ToQueue    = "queue"
	ToSkills   = "skills"   // what the queue asks for is dropped
	ToCallBack = "callback" // a call back is offered
	ToMessage  = "message"  // words
)

// NewQueue is what a queue begins with.
func NewQueue() QueueSettings {
	return QueueSettings{OfferSeconds: 20, WrapupSeconds: 60, PromiseSeconds: 180, PromiseShare: 95, Strategy: LongestIdle, Weight: 1, ChatLoad: 1, EmailLoad: 1,
		Hours: Hours{Week: []Span{}, Holidays: []Holiday{}}, Skills: []Step{}, Overflows: []Overflow{},
		CallBack: true, CallBackTries: 3, CallBackMinutes: 10, RecallMinutes: 10}
}

// UnmarshalJSON implements json.Unmarshaler: what is not given is as in NewQueue.
func (s *QueueSettings) UnmarshalJSON(data []byte) error {
	type plain QueueSettings
	p := plain(NewQueue())
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	*s = QueueSettings(p)
	return nil
}

// Skill is something that agents can do at levels from 1 to 5.
type Skill struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// AgentSettings is what an agent answers.
type AgentSettings struct {
	ID       int64        `json:"id"`
	Login    string       `json:"login"`
	Name     string       `json:"name"`
	Role     string       `json:"role"`
	Capacity int          `json:"capacity"` // 1 to 20
	Queues   []Membership `json:"queues"`
	Skills   []Level      `json:"skills"`
}

// Membership is an agent's place in a queue.
type Membership struct {
	QueueID  int64 `json:"queue_id"`
	Position int   `json:"position"` // 1 to 1000: top down asks the lowest first
	Weight   int   `json:"weight"`   // 1 to 100: the share by lot
}

// Level is how well an agent can do something.
type Level struct {
	SkillID int64 `json:"skill_id"`
	Level   int   `json:"level"` // 1 to 5
}

// LineSettings is all of it.
type LineSettings struct {
	Queues   []QueueSettings         `json:"queues"`
	Skills   []Skill                 `json:"skills"`
	Agents   []AgentSettings         `json:"agents"`
	Breaks   []string                `json:"breaks"`
	Engines  []channels.SpeechEngine `json:"engines"`  // what QueueSettings may name; its reader fills it in
	Defaults QueueSettings           `json:"defaults"` // what a new queue begins with
	FirstID  int64                   `json:"first_id"` // the house's own queue, which stays
}

const queueColumns = `id, name, offer_seconds, wrapup_seconds, promise_seconds, promise_share, strategy, sticky, priority, age_bonus, weight, chat_load,
	email_load, anybody_seconds, hours, closed_until, closed_words, hear_engine, say_engine, say_voice,
	call_back, call_back_tries, call_back_minutes, recall_minutes,
	coalesce((select jsonb_agg(jsonb_build_object('skill_id', skill_id, 'after_seconds', after_seconds, 'level', level) order by skill_id, after_seconds)
		from queue_skills where queue_id = queues.id), '[]') as skills,
	coalesce((select jsonb_agg(jsonb_build_object('cause', cause, 'threshold', threshold, 'action', action, 'to_queue_id', to_queue_id, 'words', words)
		order by cause, threshold, id) from queue_overflows where queue_id = queues.id), '[]') as overflows`

// ReadLineSettings reads all settings of the line.
func ReadLineSettings(ctx context.Context, q channels.Querier) (s LineSettings, err error) {
	s.Defaults = NewQueue()
	if s.Queues, err = all[QueueSettings](ctx, q, "queues", `select `+queueColumns+` from queues order by name, id`); err != nil {
		return s, err
	}
	for i := range s.Queues {
		h := &s.Queues[i].Hours // never null in JSON
		h.Week, h.Holidays = append([]Span{}, h.Week...), append([]Holiday{}, h.Holidays...)
	}
	if s.Skills, err = all[Skill](ctx, q, "skills", `select id, name from skills order by name`); err != nil {
		return s, err
	}
	if s.Agents, err = all[AgentSettings](ctx, q, "agents", `select id, login, name, role, capacity,
			coalesce((select jsonb_agg(jsonb_build_object('queue_id', queue_id, 'position', position, 'weight', weight) order by queue_id)
				from agent_queues where agent_id = a.id), '[]') as queues,
			coalesce((select jsonb_agg(jsonb_build_object('skill_id', skill_id, 'level', level) order by skill_id)
				from agent_skills where agent_id = a.id), '[]') as skills from agents a order by name, id`); err != nil {
		return s, err
	}
	if s.Breaks, err = Breaks(ctx, q); err != nil {
		return s, err
	}
	s.FirstID, err = scalar[int64](ctx, q, "first queue", `select coalesce(min(id), 0) from queues`)
	s.Skills, s.Agents = append([]Skill{}, s.Skills...), append([]AgentSettings{}, s.Agents...)
	return s, err
}

// FirstQueue returns the house's own queue, where everything waits that no rule sends elsewhere; a new house gets one.
func FirstQueue(ctx context.Context, q channels.Querier) (int64, error) {
	id, err := scalar[int64](ctx, q, "first queue", `select coalesce(min(id), 0) from queues`)
	if err != nil || id != 0 {
		return id, err
	}
	return EnsureQueue(ctx, q, "Service")
}

// SaveQueue stores a queue's settings, a new one when the id is 0. Routers and waits follow at once.
func SaveQueue(ctx context.Context, tx pgx.Tx, s *QueueSettings) error {
	s.Name = strings.Join(strings.Fields(s.Name), " ")
	if err := s.check(); err != nil {
		return err
	}
	if s.ID == 0 {
		id, err := scalar[int64](ctx, tx, "add queue", `insert into queues (name) values ($1) returning id`, s.Name)
		if err != nil {
			return refused(err)
		}
		s.ID = id
	}
	hours := []byte("{}") // always open: what OpenPromise looks for
	if len(s.Hours.Week)+len(s.Hours.Holidays) > 0 {
		var err error
		if hours, err = json.Marshal(s.Hours); err != nil {
			return fmt.Errorf("hours: %w", err)
		}
	}
	tag, err := tx.Exec(ctx, `update queues set name = $2, offer_seconds = $3, wrapup_seconds = $4, promise_seconds = $5, strategy = $6, sticky = $7,
			priority = $8, age_bonus = $9, weight = $10, chat_load = $11, email_load = $12, anybody_seconds = $13, hours = $14, closed_until = $15,
			closed_words = $16, hear_engine = $17, say_engine = $18, say_voice = $19,
			call_back = $20, call_back_tries = $21, call_back_minutes = $22, recall_minutes = $23, promise_share = $24 where id = $1`, s.ID, s.Name, s.OfferSeconds, s.WrapupSeconds, s.PromiseSeconds, s.Strategy, s.Sticky, s.Priority,
		s.AgeBonus, s.Weight, s.ChatLoad, s.EmailLoad, s.AnybodySeconds, hours, s.ClosedUntil, s.ClosedWords, s.HearEngine, s.SayEngine, s.SayVoice,
		s.CallBack, s.CallBackTries, s.CallBackMinutes, s.RecallMinutes, s.PromiseShare)
	if err != nil {
		return refused(fmt.Errorf("save queue: %w", err))
	}
	if tag.RowsAffected() == 0 {
		return channels.Fail(channels.NotFound, "There is no such queue.")
	}
	if err := s.saveSteps(ctx, tx); err != nil {
		return err
	}
	return s.saveOverflows(ctx, tx)
}

func (s *QueueSettings) saveSteps(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `delete from queue_skills where queue_id = $1`, s.ID); err != nil {
		return fmt.Errorf("save skills of queue: %w", err)
	}
	for _, n := range s.Skills {
		if _, err := tx.Exec(ctx, `insert into queue_skills (queue_id, skill_id, after_seconds, level) values ($1, $2, $3, $4)`,
			s.ID, n.SkillID, n.AfterSeconds, n.Level); err != nil {
			return refused(fmt.Errorf("save skills of queue: %w", err))
		}
	}
	return nil
}

// saveOverflows keeps the rows of rules that stay: a wait remembers by them which has acted.
func (s *QueueSettings) saveOverflows(ctx context.Context, tx pgx.Tx) error {
	kept := make([]int64, len(s.Overflows))
	for i, o := range s.Overflows {
		id, err := scalar[int64](ctx, tx, "save overflow", `insert into queue_overflows (queue_id, cause, threshold, action, to_queue_id, words)
			values ($1, $2, $3, $4, $5, $6) on conflict (queue_id, cause, threshold, action) do update
			set to_queue_id = excluded.to_queue_id, words = excluded.words returning id`, s.ID, o.Cause, o.Threshold, o.Action, o.ToQueueID, o.Words)
		if err != nil {
			return refused(err)
		}
		kept[i] = id
	}
	if _, err := tx.Exec(ctx, `delete from queue_overflows where queue_id = $1 and id <> all($2)`, s.ID, kept); err != nil {
		return fmt.Errorf("save overflows: %w", err)
	}
	return nil
}

func invalid(field, format string, args ...any) error {
	return channels.FailField(channels.Invalid, field, fmt.Sprintf(format, args...))
}

// check refuses what cannot be meant.
func (s *QueueSettings) check() error {
	if n := utf8.RuneCountInString(s.Name); n < 1 || n > 80 {
		return invalid("name", "A queue's name has 1 to 80 characters.")
	}
	if !slices.Contains(Strategies, s.Strategy) {
		return invalid("strategy", "The strategy is one of: %s.", strings.Join(Strategies, ", "))
	}
	for _, f := range []struct {
		field          string
		value, lo, hi  int
		what, unitName string
	}{
		{"offer_seconds", s.OfferSeconds, 5, 120, "An offer rings", "seconds"},
		{"wrapup_seconds", s.WrapupSeconds, 0, 3600, "Wrap-up lasts", "seconds"},
		{"promise_seconds", s.PromiseSeconds, 1, 604800, "The target is", "seconds"},
		{"promise_share", s.PromiseShare, 1, 99, "The share to keep is", "per cent"},
		{"call_back_tries", s.CallBackTries, 1, 10, "Who is called back is tried", "times"},
		{"call_back_minutes", s.CallBackMinutes, 1, 1440, "Between two tries are", "minutes"},
		{"recall_minutes", s.RecallMinutes, 0, 120, "The place is kept for", "minutes"},
		{"priority", s.Priority, 0, 100, "The priority is", "points"},
		{"age_bonus", s.AgeBonus, 0, 100, "The bonus is", "points a minute"},
		{"weight", s.Weight, 1, 100, "The weight is", ""},
		{"chat_load", s.ChatLoad, 1, 20, "A chat takes", "of an agent's capacity"},
		{"email_load", s.EmailLoad, 1, 20, "A mail takes", "of an agent's capacity"},
	} {
		if f.value < f.lo || f.value > f.hi {
			return invalid(f.field, "%s.", strings.TrimSpace(fmt.Sprintf("%s %d to %d %s", f.what, f.lo, f.hi, f.unitName)))
		}
	}
	if s.AnybodySeconds != nil && (*s.AnybodySeconds < 1 || *s.AnybodySeconds > 86400) {
		return invalid("anybody_seconds", "Anybody is asked after 1 to 86400 seconds, or never.")
	}
	if utf8.RuneCountInString(s.ClosedWords) > 500 {
		return invalid("closed_words", "At most 500 characters.")
	}
	if s.ClosedUntil != nil && time.Until(*s.ClosedUntil) > 366*24*time.Hour {
		return invalid("closed_until", "A queue is closed for a year at most. It can be closed again.")
	}
	if err := s.Hours.Check(); err != nil {
		return err
	}
	if err := checkSteps(s.Skills); err != nil {
		return err
	}
	return s.checkOverflows()
}

// checkSteps: each skill is asked for from the beginning, and every later step asks for less.
func checkSteps(steps []Step) error {
	sorted := slices.Clone(steps)
	slices.SortStableFunc(sorted, func(a, b Step) int {
		if a.SkillID != b.SkillID {
			return int(a.SkillID - b.SkillID)
		}
		return a.AfterSeconds - b.AfterSeconds
	})
	for i, n := range sorted {
		begins := i == 0 || sorted[i-1].SkillID != n.SkillID
		switch {
		case n.AfterSeconds < 0 || n.AfterSeconds > 86400:
			return invalid("skills", "A step comes after 0 to 86400 seconds.")
		case n.Level < 0 || n.Level > 5 || begins && n.Level == 0:
			return invalid("skills", "A level is 1 to 5, in later steps also 0: no longer asked for.")
		case begins && n.AfterSeconds != 0:
			return invalid("skills", "A skill's first step comes after 0 seconds.")
		case !begins && (n.AfterSeconds == sorted[i-1].AfterSeconds || n.Level >= sorted[i-1].Level):
			return invalid("skills", "Each later step asks for less than the one before.")
		}
	}
	return nil
}

func (s *QueueSettings) checkOverflows() error {
	for i, o := range s.Overflows {
		limit := 86400
		switch o.Cause {
		case CauseWait, CauseNobody:
		case CauseLength:
			limit = 100_000
		default:
			return invalid("overflows", "The cause is wait, length or nobody.")
		}
		switch {
		case o.Threshold < 0 || o.Threshold > limit || o.Cause == CauseWait && o.Threshold == 0:
			return invalid("overflows", "After 1 to 86400 seconds of waiting, after 0 to 86400 without anybody at the desk, or with 0 to 100000 conversations before it.")
		case utf8.RuneCountInString(o.Words) > 500:
			return invalid("overflows", "At most 500 characters of words.")
		case o.Action == ToQueue && o.ToQueueID == nil:
			return invalid("overflows", "Which queue?")
		case o.Action == ToQueue && *o.ToQueueID == s.ID:
			return invalid("overflows", "It is in this queue already.")
		case o.Action != ToQueue && o.ToQueueID != nil:
			return invalid("overflows", "Only the action queue leads to another queue.")
		case o.Action == ToMessage && strings.TrimSpace(o.Words) == "":
			return invalid("overflows", "What shall the customer read?")
		case !slices.Contains([]string{ToQueue, ToSkills, ToCallBack, ToMessage}, o.Action):
			return invalid("overflows", "The action is queue, skills, callback or message.")
		}
		for _, other := range s.Overflows[:i] {
			if other.Cause == o.Cause && other.Threshold == o.Threshold && other.Action == o.Action {
				return invalid("overflows", "Two of them are the same.")
			}
		}
	}
	return nil
}

// DeleteQueue deletes a queue. What is or was in it belongs to the queue to, and keeps its place by its time; in the
// timeline of each that is not closed stands why. moved is how many those are.
func DeleteQueue(ctx context.Context, tx pgx.Tx, id, to int64) (moved []int64, err error) {
	if id == to {
		return nil, channels.FailField(channels.Invalid, "to", "Its conversations must go to another queue.")
	}
	firstID, err := scalar[int64](ctx, tx, "first queue", `select coalesce(min(id), 0) from queues`)
	if err != nil {
		return nil, err
	}
	if id == firstID {
		return nil, channels.Fail(channels.Conflict, "This is the house's own queue, where everything waits that no rule sends elsewhere. Rename it instead.")
	}
	names := map[int64]string{}
	rows, err := all[Skill](ctx, tx, "lock queues", `select id, name from queues where id in ($1, $2) order by id for update`, id, to)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		names[row.ID] = row.Name
	}
	switch {
	case names[id] == "":
		return nil, channels.Fail(channels.NotFound, "There is no such queue.")
	case names[to] == "":
		return nil, channels.FailField(channels.Invalid, "to", "There is no such queue.")
	}
	list, err := all[struct{ ID int64 }](ctx, tx, "move conversations", `with moved as (
			update conversations set queue_id = $2, last_seq = last_seq + case when state = 'closed' then 0 else 1 end,
				changed_at = case when state = 'closed' then changed_at else clock_timestamp() end
			where queue_id = $1 returning id, last_seq, channel, state),
		told as (insert into messages (conversation_id, seq, author, channel, kind, body, private, data)
			select id, last_seq, 'system', channel, 'event', $3, true, jsonb_build_object('code', $4::text) from moved where state <> 'closed')
		select id from moved where state <> 'closed'`, id, to,
		fmt.Sprintf("The queue %s was deleted. It belongs to %s now and keeps its place.", names[id], names[to]), channels.CodeMoved)
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{
		`update waits set queue_id = $2 where queue_id = $1`,
		`update numbers set queue_id = $2 where queue_id = $1`,
		`delete from queue_overflows where to_queue_id = $1 and queue_id = $2`, // else it would lead to itself
		`update queue_overflows set to_queue_id = $2 where to_queue_id = $1 and queue_id <> $1`,
	} {
		if _, err := tx.Exec(ctx, sql, id, to); err != nil {
			return nil, fmt.Errorf("move queue's rows: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, `delete from queues where id = $1`, id); err != nil {
		return nil, fmt.Errorf("delete queue: %w", err)
	}
	for _, row := range list {
		moved = append(moved, row.ID)
	}
	return moved, nil
}

// refused turns a broken constraint into words.
func refused(err error) error {
	var broken *pgconn.PgError
	if errors.As(err, &broken) {
		switch broken.ConstraintName {
		case "queues_name_key":
			return channels.FailField(channels.Conflict, "name", "Another queue has this name.")
		case "skills_name_key":
			return channels.FailField(channels.Conflict, "name", "Another skill has this name.")
		case "queue_skills_skill_id_fkey", "agent_skills_skill_id_fkey":
			return invalid("skills", "There is no such skill.")
		case "queue_skills_pkey":
			return invalid("skills", "Two steps of one skill come at the same time.")
		case "queue_overflows_to_queue_id_fkey":
			return invalid("overflows", "There is no such queue.")
		case "agent_queues_queue_id_fkey":
			return invalid("queues", "There is no such queue.")
		}
	}
	return err
}
