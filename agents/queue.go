package agents

import (
	"context"
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
	Load           int
	Rings          bool
	OnCall         bool
	WrapsUp        bool
	Queues         []int64 // with the three after it: a place in each
	Positions      []int32
	Weights        []int32
	OfferedAt      []time.Time
	Skills         []int64
	Levels         []int32
}

// whom says which agents atTheDesk is to read.
type whom struct {
	Only   []int64 // nil: all
	Absent bool    // also who is not at the desk
	Free   bool    // only who can be asked
}

const (
	// inHand are conversations in an agent's hands; a condition on c.agent_id follows.
	inHand = `select c.agent_id, case c.channel when 'chat' then q.chat_load when 'email' then q.email_load else 1 end as load,
			c.state = 'wrapup' and c.channel = 'voice' as wraps_up
		from conversations c join queues q on q.id = c.queue_id where c.state in ('agent', 'wrapup')`
	callsInHand = ` from calls l join conversations c on c.id = l.conversation_id where `
	callsBeside = ` from call_parties p join calls l on l.id = p.call_id where `
)

// deskOfAll and deskOfSome read agents with what each has in hand: of all of them at once, of some for each by itself. They are written so
// that no plan reads for one what all have, though the planner may believe that nobody works: offset 0 is one by one, and the
// conversations in hand are brought to their agents by a sum over both, not by a join of many with what it takes for none.
var (
	deskOfAll = deskSQL(`a.id in (select s.agent_id from agent_sockets s join nodes n on n.id = s.node_id where `+living+`)`,
		`a.id in (select c.agent_id`+callsInHand+`l.state <> 'ended' and (c.state in ('agent', 'wrapup')) is true and c.agent_id is not null
			union all select p.agent_id`+callsBeside+`l.state <> 'ended')`,
		`a.id in (select agent_id from offers where outcome is null)`,
		`join (select agent_id, sum(load)::int as load, bool_or(wraps_up) as wraps_up
			from (`+inHand+` and c.agent_id is not null union all select id, 0, false from agents) h group by agent_id) w on w.agent_id = a.id`)
	deskOfSome = deskSQL(atDesk,
		`(exists (select`+callsInHand+`c.agent_id = a.id and c.state in ('agent', 'wrapup') and (l.state <> 'ended') is true offset 0)
			or exists (select`+callsBeside+`p.agent_id = a.id and (l.state <> 'ended') is true offset 0))`,
		`exists (select from offers where agent_id = a.id and outcome is null offset 0)`,
		`cross join lateral (select coalesce(sum(load), 0)::int as load, coalesce(bool_or(wraps_up), false) as wraps_up from (`+inHand+` and c.agent_id = a.id) h) w where a.id = any($3)`)
)

// deskSQL: queues and skills come last, as of a thousand agents few are free.
func deskSQL(online, onCall, rings, hands string) string {
	return `with there as (
			select a.id, a.name, a.presence, a.presence_reason, a.capacity, a.idle_since, a.next_presence is not null as leaving,
				` + online + ` as online, ` + onCall + ` as on_call, ` + rings + ` as rings, w.load, w.wraps_up
			from agents a ` + hands + `)
		select t.*, m.queues, m.positions, m.weights, m.offered_at, k.skills, k.levels from there t
		cross join lateral (select array_agg(queue_id) as queues, array_agg(position) as positions, array_agg(weight) as weights,
			array_agg(coalesce(offered_at, 'epoch')) as offered_at from agent_queues where agent_id = t.id) m
		cross join lateral (select array_agg(skill_id) as skills, array_agg(level) as levels from agent_skills where agent_id = t.id) k
		where ($1 or t.presence = 'available' and t.online)
			and (not $2 or not t.rings and not t.on_call and not t.wraps_up and not t.leaving and t.load < t.capacity)
		order by t.id`
}

// atTheDesk reads who is present.
func atTheDesk(ctx context.Context, q channels.Querier, of whom) ([]candidate, error) {
	sql, args := deskOfAll, []any{of.Absent, of.Free}
	if of.Only != nil {
		sql, args = deskOfSome, append(args, of.Only)
	}
	rows, err := all[deskRow](ctx, q, "who is at the desk", sql, args...)
	desk := make([]candidate, len(rows))
	for i, row := range rows {
		desk[i] = candidate{ID: row.ID, Name: row.Name, Capacity: row.Capacity, Load: row.Load, IdleSince: row.IdleSince}
		desk[i].Busy, desk[i].Absent = row.busy()
		for n, id := range row.Queues {
			desk[i].Queues = append(desk[i].Queues, member{QueueID: id, Position: int(row.Positions[n]), Weight: int(row.Weights[n]), OfferedAt: row.OfferedAt[n]})
		}
		desk[i].Skills = make(map[int64]int, len(row.Skills))
		for n, id := range row.Skills {
			desk[i].Skills[id] = int(row.Levels[n])
		}
	}
	return desk, err
}

// servingNow counts who is at the desk of each of these queues, busy or not.
func servingNow(ctx context.Context, q channels.Querier, queues []int64) (map[int64]int, error) {
	rows, err := all[struct {
		QueueID int64
		People  int
	}](ctx, q, "who serves", `select m.queue_id, count(*)::int as people from agent_queues m join agents a on a.id = m.agent_id
		where m.queue_id = any($1) and a.presence = 'available'
		and a.id in (select s.agent_id from agent_sockets s join nodes n on n.id = s.node_id where `+living+`) group by m.queue_id`, queues)
	serving := make(map[int64]int, len(rows))
	for _, row := range rows {
		serving[row.QueueID] = row.People
	}
	return serving, err
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
	CallBack
}

func (r lineRow) waiting() waiting {
	return waiting{CallBack: r.CallBack, ID: r.ID, QueueID: r.QueueID, Channel: r.Channel, Front: r.Front, ReturnCall: r.ReturnCall, Since: r.Since,
		AnySkill: r.AnySkill, Wanted: r.Wanted, PassedBy: r.PassedBy, LastAgent: r.LastAgent}
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
		where k.contact_id = c.contact_id and o.outcome = 'accepted' order by o.id desc limit 1), 0) else 0 end as last_agent, ` + callBackColumns

// lineTables are where lineColumns come from, besideLine those of them that stand beside the conversation c.
const (
	lineTables = ` conversations c` + besideLine
	besideLine = ` join queues q on q.id = c.queue_id
		left join lateral (select * from promises where conversation_id = c.id and closed_at is null offset 0) p on true` // offset 0: one by one, never all
)

// stillInLine is true in SQL for a conversations row c that waits, of those that are named by their ids: written so, a planner to whom
// nobody waits yet does not read all who wait to find them.
const stillInLine = `(c.state = 'waiting') is true`

// placeColumns are what lineColumns needs of a conversation.
const placeColumns = `id, queue_id, contact_id, channel, front, return_call, waiting_since, state_at, not_before, wanted_agent_id, passed_by_id`

// head reads the first conversations in line of each queue, so many by each channel, since a mail may not fit where a call
// does, as many calls back whose time has come, and those that a transfer has for one of the free agents. ends are the last of those
// that have, or may have, others behind them. Each part is a walk along an index (0013_heads.sql) that ends with its last row, however long the line is; what
// a transfer has is found by the agent first and then asked whether it waits, so that no plan reads the line for it.
func head(ctx context.Context, q channels.Querier, queues []int64, limits []int, free []int64) (line []waiting, ends map[int64]bool, err error) {
	rows, err := all[lineRow](ctx, q, "waiting line", `with passed as materialized (select `+placeColumns+`, state from conversations
			where wanted_agent_id = any($3) or passed_by_id = any($3))
		select `+lineColumns+` from (
			select w.* from unnest($1::bigint[], $2::int[]) f (queue_id, most) cross join unnest(array['voice', 'chat', 'email']) k (channel)
			cross join lateral (
				(select `+placeColumns+` from conversations where queue_id = f.queue_id and channel = k.channel and state = 'waiting'
					and not_before is null order by front desc, return_call desc, waiting_since, id limit f.most)
				union all
				(select `+placeColumns+` from conversations where queue_id = f.queue_id and channel = k.channel and state = 'waiting'
					and not_before <= statement_timestamp() order by front desc, return_call desc, waiting_since, id limit f.most)) w
			union all select `+placeColumns+` from passed where state = 'waiting') c`+besideLine, queues, limits, free)
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	// what a transfer has for somebody may be among the first, too
	slices.SortFunc(rows, func(a, b lineRow) int { return a.turn().compare(b.turn()) })
	rows = slices.CompactFunc(rows, func(a, b lineRow) bool { return a.ID == b.ID })
	type part struct {
		queue   int64
		channel channels.Kind
		timed   bool
	}
	seen := map[part]int{}
	most := make(map[int64]int, len(queues))
	for i, id := range queues {
		most[id] = limits[i]
	}
	ends = map[int64]bool{}
	for _, row := range rows {
		p := part{row.QueueID, row.Channel, row.NotBefore != nil}
		if seen[p]++; seen[p] == most[row.QueueID] {
			ends[row.ID] = true
		}
	}
	line, err = withRefusals(ctx, q, rows)
	return line, ends, err
}

func (r lineRow) turn() turn {
	return turn{ID: r.ID, Front: r.Front, ReturnCall: r.ReturnCall, Since: r.Since}
}

func withRefusals(ctx context.Context, q channels.Querier, rows []lineRow) ([]waiting, error) {
	line := make([]waiting, len(rows))
	ids := make([]int64, len(rows))
	byID := make(map[int64]*waiting, len(rows))
	for i, row := range rows {
		line[i] = row.waiting()
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

// freeQueues lists the queues in which somebody is free, how many are, and who.
func freeQueues(desk []candidate) (queues []int64, people []int, free []int64) {
	in := map[int64]int{}
	for _, c := range desk {
		if c.Busy == "" {
			free = append(free, c.ID)
			for _, m := range c.Queues {
				in[m.QueueID]++
			}
		}
	}
	for id := range in {
		queues = append(queues, id)
	}
	slices.Sort(queues)
	for _, id := range queues {
		people = append(people, in[id])
	}
	return queues, people, free
}

// claim takes those of the picked conversations and agents that are still to be had, for this transaction; what is in
// other hands is left out. All conversations come before all agents, as everywhere.
func claim(ctx context.Context, tx pgx.Tx, picked []assignment) ([]assignment, error) {
	conversations, people := make([]int64, len(picked)), make([]int64, len(picked))
	for i, a := range picked {
		conversations[i], people[i] = a.ConversationID, a.AgentID
	}
	rows, err := all[struct{ ID, QueueID int64 }](ctx, tx, "claim conversations",
		`select id, queue_id from conversations c where id = any($1) and `+stillInLine+` order by id for update skip locked`, conversations)
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
