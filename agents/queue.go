package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// The line as the database sees it: what pick is shown, and how its picks are claimed.

type ruleRow struct {
	ID             int64
	Name           string
	Strategy       string
	Sticky         bool
	Priority       int
	AgeBonus       int
	Weight         int
	ChatLoad       int
	EmailLoad      int
	AnybodySeconds int
	OfferSeconds   int
	Hours          Hours
	ClosedUntil    *time.Time
	Needs          []stepRow
}

// stepRow is a need as the settings hold it.
type stepRow struct {
	SkillID      int64  `json:"skill_id"`
	Name         string `json:"name"`
	AfterSeconds int    `json:"after_seconds"`
	Level        int    `json:"level"`
}

// readRules reads how every queue's line works.
func readRules(ctx context.Context, q channels.Querier) (map[int64]*rule, error) {
	rows, err := all[ruleRow](ctx, q, "rules of the line", `select id, name, strategy, sticky, priority, age_bonus, weight, chat_load, email_load,
			coalesce(anybody_seconds, 0) as anybody_seconds, offer_seconds, hours, closed_until, `+stepsSQL+` as needs from queues`)
	rules := make(map[int64]*rule, len(rows))
	for _, row := range rows {
		r := &rule{ID: row.ID, Name: row.Name, Strategy: row.Strategy, Sticky: row.Sticky, Priority: row.Priority, AgeBonus: row.AgeBonus,
			Weight: row.Weight, ChatLoad: row.ChatLoad, EmailLoad: row.EmailLoad, Anybody: seconds(row.AnybodySeconds),
			OfferTime: seconds(row.OfferSeconds), Hours: row.Hours}
		if row.ClosedUntil != nil {
			r.Hours.ClosedUntil = *row.ClosedUntil
		}
		if len(r.Hours.Week)+len(r.Hours.Holidays) > 0 {
			r.Hours.loc = r.Hours.location()
		}
		for _, n := range row.Needs {
			r.Needs = append(r.Needs, need{Skill: n.SkillID, Name: n.Name, After: seconds(n.AfterSeconds), Level: n.Level})
		}
		rules[row.ID] = r
	}
	return rules, err
}

// stepsSQL is what a queues row asks for, by skill, then by time.
const stepsSQL = `coalesce((select jsonb_agg(jsonb_build_object('skill_id', k.id, 'name', k.name, 'after_seconds', n.after_seconds, 'level', n.level)
	order by k.name, n.after_seconds) from queue_skills n join skills k on k.id = n.skill_id where n.queue_id = queues.id), '[]')`

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// deskRow is a candidate as the database sees it.
type deskRow struct {
	ID             int64
	Name           string
	Presence       Presence
	PresenceReason string
	Online         bool
	Leaving        bool
	Capacity       int
	IdleSince      time.Time
	Queues         json.RawMessage
	Skills         json.RawMessage
	Load           int
	Rings          bool
	OnCall         bool
	WrapsUp        bool
}

// whom says which agents readDesk is to read.
type whom struct {
	Only   []int64 // nil: all
	Absent bool    // also who is not at the desk
}

// atTheDesk reads who is present, with what each has in hand.
func atTheDesk(ctx context.Context, q channels.Querier, of whom) ([]candidate, error) {
	rows, err := all[deskRow](ctx, q, "who is at the desk", `with there as (
			select a.id, a.name, a.presence, a.presence_reason, a.capacity, a.idle_since, a.next_presence is not null as leaving, `+atDesk+` as online
			from agents a where ($1::bigint[] is null or a.id = any($1)) and ($2 or a.presence = 'available' and `+atDesk+`)),
		work as (
			select c.agent_id, sum(case c.channel when 'chat' then q.chat_load when 'email' then q.email_load else 1 end)::int as load,
				bool_or(c.state = 'wrapup' and c.channel = 'voice') as wraps_up,
				bool_or(exists (select from calls l where l.conversation_id = c.id and l.state <> 'ended')) as on_call
			from there t join conversations c on c.agent_id = t.id and c.state in ('agent', 'wrapup') join queues q on q.id = c.queue_id
			group by c.agent_id),
		parties as (select distinct p.agent_id from call_parties p join calls l on l.id = p.call_id where l.state <> 'ended'),
		ringing as (select agent_id from offers where outcome is null),
		queues as (select m.agent_id, json_agg(json_build_object('QueueID', m.queue_id, 'Position', m.position, 'Weight', m.weight,
				'OfferedAt', coalesce(m.offered_at, 'epoch'::timestamptz))) as list
			from there t join agent_queues m on m.agent_id = t.id group by m.agent_id),
		skilled as (select k.agent_id, json_object_agg(k.skill_id, k.level) as list from there t join agent_skills k on k.agent_id = t.id group by k.agent_id)
		select t.id, t.name, t.presence, t.presence_reason, t.online, t.leaving, t.capacity, t.idle_since,
			coalesce(queues.list, '[]') as queues, coalesce(skilled.list, '{}') as skills, coalesce(work.load, 0) as load,
			ringing.agent_id is not null as rings, coalesce(work.on_call, false) or parties.agent_id is not null as on_call,
			coalesce(work.wraps_up, false) as wraps_up
		from there t left join work on work.agent_id = t.id left join parties on parties.agent_id = t.id left join ringing on ringing.agent_id = t.id
		left join queues on queues.agent_id = t.id left join skilled on skilled.agent_id = t.id order by t.id`, of.Only, of.Absent)
	desk := make([]candidate, len(rows))
	for i, row := range rows {
		desk[i] = candidate{ID: row.ID, Name: row.Name, Capacity: row.Capacity, Load: row.Load, IdleSince: row.IdleSince}
		desk[i].Busy, desk[i].Absent = row.busy()
		if err := json.Unmarshal(row.Queues, &desk[i].Queues); err != nil {
			return nil, fmt.Errorf("agent's queues: %w", err)
		}
		if err := json.Unmarshal(row.Skills, &desk[i].Skills); err != nil {
			return nil, fmt.Errorf("agent's skills: %w", err)
		}
	}
	return desk, err
}

// busy says in words why the agent cannot be asked.
func (r deskRow) busy() (why string, absent bool) {
	switch {
	case !r.Online || r.Presence == Offline:
		return "not at the desk", true
	case r.Presence == Away && r.PresenceReason == "break":
		return "on a break", true
	case r.Presence == Away && r.PresenceReason != "":
		return "away (" + r.PresenceReason + ")", true
	case r.Presence == Away:
		return "away", true
	case r.OnCall:
		return "on a call", false
	case r.Rings:
		return "being asked", false
	case r.WrapsUp:
		return "in wrap-up", false
	case r.Leaving:
		return "leaving after the work in hand", false
	case r.Load >= r.Capacity:
		return fmt.Sprintf("full (%d of %d)", r.Load, r.Capacity), false
	}
	return "", false
}

// tally adds what some strategies compare: what the agents who can be asked have done in the last twelve hours.
func tally(ctx context.Context, q channels.Querier, rules map[int64]*rule, desk []candidate) error {
	var calls, talk bool
	for _, r := range rules {
		calls = calls || r.Strategy == FewestCalls
		talk = talk || r.Strategy == LeastTalk
	}
	if !calls && !talk {
		return nil
	}
	byID := map[int64]*candidate{}
	var ids []int64
	for i := range desk {
		if desk[i].Busy == "" {
			byID[desk[i].ID], ids = &desk[i], append(ids, desk[i].ID)
		}
	}
	rows, err := all[struct {
		AgentID int64
		Taken   int
		Talk    float64
	}](ctx, q, "what agents have done", `select a.id as agent_id,
			case when $2 then (select count(*) from offers o where o.agent_id = a.id and o.outcome = 'accepted'
				and o.ended_at > clock_timestamp() - interval '12 hours') else 0 end::int as taken,
			case when $3 then (select coalesce(sum(extract(epoch from l.ended_at - l.bridged_at)), 0) from calls l where l.agent_id = a.id
				and l.bridged_at is not null and l.ended_at > clock_timestamp() - interval '12 hours') else 0 end::float8 as talk
		from unnest($1::bigint[]) a (id)`, ids, calls, talk)
	for _, row := range rows {
		c := byID[row.AgentID]
		c.Taken, c.Talk = row.Taken, time.Duration(row.Talk*float64(time.Second))
	}
	return err
}

// lineRow is a conversation in line as the database sees it.
type lineRow struct {
	ID         int64
	QueueID    int64
	Channel    channels.Kind
	Front      bool
	ReturnCall bool
	Since      time.Time
	AnySkill   bool
	Wanted     int64
	PassedBy   int64
	LastAgent  int64
}

type refusalRow struct {
	ConversationID int64
	AgentID        int64
	At             time.Time
	Rang           bool
}

const lineColumns = `c.id, c.queue_id, c.channel, c.front, c.return_call, coalesce(c.waiting_since, c.state_at) as since,
	exists (select from overflows_done d join queue_overflows o on o.id = d.overflow_id
		where d.conversation_id = c.id and d.waiting_since = c.waiting_since and o.action = 'skills') as any_skill,
	coalesce(c.wanted_agent_id, 0) as wanted, coalesce(c.passed_by_id, 0) as passed_by,
	case when q.sticky then coalesce((select o.agent_id from conversations k join offers o on o.conversation_id = k.id
		where k.contact_id = c.contact_id and o.outcome = 'accepted' order by o.id desc limit 1), 0) else 0 end as last_agent`

// head reads the first conversations in line of each queue, limit by each channel, since a mail may not fit where a call
// does, and those that a transfer has for one of the free agents. more tells that a queue has others behind these.
func head(ctx context.Context, q channels.Querier, queues, free []int64, limit int) (line []waiting, more bool, err error) {
	rows, err := all[lineRow](ctx, q, "waiting line", `select `+lineColumns+`
		from (select w.* from unnest($1::bigint[]) f (queue_id) cross join unnest(array['voice', 'chat', 'email']) k (channel)
				cross join lateral (select * from conversations w where w.queue_id = f.queue_id and w.channel = k.channel and w.state = 'waiting'
					order by w.front desc, w.return_call desc, w.waiting_since, w.id limit $2) w
			union select w.* from conversations w where w.state = 'waiting' and (w.wanted_agent_id = any($3) or w.passed_by_id = any($3))) c
		join queues q on q.id = c.queue_id`, queues, limit, free)
	if err != nil || len(rows) == 0 {
		return nil, false, err
	}
	count := map[string]int{}
	for _, row := range rows {
		key := fmt.Sprint(row.QueueID, row.Channel)
		if count[key]++; count[key] >= limit {
			more = true
		}
	}
	line, err = withRefusals(ctx, q, rows)
	return line, more, err
}

func withRefusals(ctx context.Context, q channels.Querier, rows []lineRow) ([]waiting, error) {
	line := make([]waiting, len(rows))
	ids := make([]int64, len(rows))
	byID := make(map[int64]*waiting, len(rows))
	for i, row := range rows {
		line[i] = waiting{ID: row.ID, QueueID: row.QueueID, Channel: row.Channel, Front: row.Front, ReturnCall: row.ReturnCall, Since: row.Since,
			AnySkill: row.AnySkill, Wanted: row.Wanted, PassedBy: row.PassedBy, LastAgent: row.LastAgent}
		ids[i], byID[row.ID] = row.ID, &line[i]
	}
	refusals, err := all[refusalRow](ctx, q, "refusals", `select distinct on (conversation_id, agent_id) conversation_id, agent_id,
			ended_at as at, shared and outcome = 'missed' as rang from offers
		where conversation_id = any($1) and outcome in ('declined', 'missed') and ended_at > clock_timestamp() - $2::interval
		order by conversation_id, agent_id, ended_at desc`, ids, refusedFor)
	for _, row := range refusals {
		w := byID[row.ConversationID]
		if w.Refused == nil {
			w.Refused, w.Rang = map[int64]time.Time{}, map[int64]bool{}
		}
		w.Refused[row.AgentID], w.Rang[row.AgentID] = row.At, row.Rang
	}
	return line, err
}

// freeQueues lists the queues in which somebody is free, and who is.
func freeQueues(desk []candidate) (queues, free []int64) {
	for _, c := range desk {
		if c.Busy == "" {
			free = append(free, c.ID)
			for _, m := range c.Queues {
				queues = append(queues, m.QueueID)
			}
		}
	}
	slices.Sort(queues)
	return slices.Compact(queues), free
}

// claim takes those of the picked conversations and agents that are still to be had, for this transaction; what is in
// other hands is left out. All conversations come before all agents, as everywhere.
func claim(ctx context.Context, tx pgx.Tx, picked []assignment) ([]assignment, error) {
	conversations, people := make([]int64, len(picked)), make([]int64, len(picked))
	for i, a := range picked {
		conversations[i], people[i] = a.ConversationID, a.AgentID
	}
	rows, err := all[struct{ ID, QueueID int64 }](ctx, tx, "claim conversations",
		`select id, queue_id from conversations where id = any($1) and state = 'waiting' order by id for update skip locked`, conversations)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	queueOf := make(map[int64]int64, len(rows))
	for _, row := range rows {
		queueOf[row.ID] = row.QueueID
	}
	locked, err := all[struct{ ID int64 }](ctx, tx, "claim agents", `select id from agents where id = any($1) order by id for update skip locked`, people)
	if err != nil || len(locked) == 0 {
		return nil, err
	}
	ids := make([]int64, len(locked))
	for i, row := range locked {
		ids[i] = row.ID
	}
	desk, err := atTheDesk(ctx, tx, whom{Only: ids}) // what they were before the lock may have passed
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]*candidate, len(desk))
	for i := range desk {
		byID[desk[i].ID] = &desk[i]
	}
	return slices.DeleteFunc(slices.Clone(picked), func(a assignment) bool {
		c, queue := byID[a.AgentID], queueOf[a.ConversationID]
		return c == nil || c.Busy != "" || queue != a.QueueID || !a.Favoured && c.in(queue).QueueID != queue || c.Load > a.Load
	}), nil
}
