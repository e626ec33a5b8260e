package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// Who is in the house and what they can: skills, agents, the reasons for a break.

// SaveSkill adds a skill, or renames the one with that id.
func SaveSkill(ctx context.Context, tx pgx.Tx, s *Skill) error {
	s.Name = strings.Join(strings.Fields(s.Name), " ")
	if n := utf8.RuneCountInString(s.Name); n < 1 || n > 80 {
		return invalid("name", "A skill's name has 1 to 80 characters.")
	}
	sql, args := `insert into skills (name) values ($1) returning id`, []any{s.Name}
	if s.ID != 0 {
		sql, args = `update skills set name = $1 where id = $2 returning id`, append(args, s.ID)
	}
	id, err := scalar[int64](ctx, tx, "save skill", sql, args...)
	if errors.Is(err, pgx.ErrNoRows) {
		return channels.Fail(channels.NotFound, "There is no such skill.")
	}
	s.ID = id
	return refused(err)
}

// DeleteSkill deletes a skill; refused while a queue asks for it, as conversations would then go to anybody.
func DeleteSkill(ctx context.Context, tx pgx.Tx, id int64) error {
	used, err := all[struct{ Name string }](ctx, tx, "who asks for it", `select name from queues q where exists
		(select from queue_skills where queue_id = q.id and skill_id = $1) order by name limit 1`, id)
	if err != nil {
		return err
	}
	if len(used) > 0 {
		return channels.Fail(channels.Conflict, "The queue "+used[0].Name+" asks for it.")
	}
	tag, err := tx.Exec(ctx, `delete from skills where id = $1`, id)
	if err == nil && tag.RowsAffected() == 0 {
		return channels.Fail(channels.NotFound, "There is no such skill.")
	}
	return err
}

// SaveAgent stores what an agent answers; login, name and role stay.
func SaveAgent(ctx context.Context, tx pgx.Tx, s *AgentSettings) error {
	if s.Capacity < 1 || s.Capacity > 20 {
		return invalid("capacity", "An agent's capacity is 1 to 20.")
	}
	for _, m := range s.Queues {
		if m.Position < 1 || m.Position > 1000 || m.Weight < 1 || m.Weight > 100 {
			return invalid("queues", "A position is 1 to 1000, a weight 1 to 100.")
		}
	}
	for _, l := range s.Skills {
		if l.Level < 1 || l.Level > 5 {
			return invalid("skills", "A level is 1 to 5.")
		}
	}
	row, err := one[struct{ Login, Name, Role string }](ctx, tx, "save agent", `update agents set capacity = $2 where id = $1 returning login, name, role`, s.ID, s.Capacity)
	if err != nil {
		return err
	}
	if row == nil {
		return noSuchAgent()
	}
	s.Login, s.Name, s.Role = row.Login, row.Name, row.Role
	queues, skills := make([]int64, len(s.Queues)), make([]int64, len(s.Skills))
	for i, m := range s.Queues { // the turn of round robin stays with who stays
		queues[i] = m.QueueID
		if _, err := tx.Exec(ctx, `insert into agent_queues (agent_id, queue_id, position, weight) values ($1, $2, $3, $4)
			on conflict (agent_id, queue_id) do update set position = excluded.position, weight = excluded.weight`, s.ID, m.QueueID, m.Position, m.Weight); err != nil {
			return refused(fmt.Errorf("save agent's queues: %w", err))
		}
	}
	for i, l := range s.Skills {
		skills[i] = l.SkillID
		if _, err := tx.Exec(ctx, `insert into agent_skills (agent_id, skill_id, level) values ($1, $2, $3)
			on conflict (agent_id, skill_id) do update set level = excluded.level`, s.ID, l.SkillID, l.Level); err != nil {
			return refused(fmt.Errorf("save agent's skills: %w", err))
		}
	}
	if _, err := tx.Exec(ctx, `delete from agent_queues where agent_id = $1 and queue_id <> all($2)`, s.ID, queues); err != nil {
		return fmt.Errorf("save agent's queues: %w", err)
	}
	if _, err := tx.Exec(ctx, `delete from agent_skills where agent_id = $1 and skill_id <> all($2)`, s.ID, skills); err != nil {
		return fmt.Errorf("save agent's skills: %w", err)
	}
	return nil
}

// DeleteAgent deletes an agent who has nothing in hand (conflict while it has), and nobody who is needed: by itself, or
// the last administrator.
func DeleteAgent(ctx context.Context, tx pgx.Tx, by, id int64) error {
	if by == id {
		return channels.Fail(channels.Conflict, "Somebody else must delete you.")
	}
	if err := lockAgent(ctx, tx, id); err != nil {
		return err
	}
	inHand, err := scalar[bool](ctx, tx, "agent's work", `select exists (select from conversations where agent_id = $1 and state in ('agent', 'wrapup'))
		or exists (select from offers where agent_id = $1 and outcome is null)
		or exists (select from call_parties p join calls l on l.id = p.call_id where p.agent_id = $1 and l.state <> 'ended')`, id)
	if err != nil {
		return err
	}
	if inHand {
		return channels.Fail(channels.Conflict, "This agent has work in hand.")
	}
	admins, err := scalar[int64](ctx, tx, "administrators", `select count(*) from agents where role = 'admin' and id <> $1`, id)
	if err != nil {
		return err
	}
	if admins == 0 {
		return channels.Fail(channels.Conflict, "This is the last administrator.")
	}
	tag, err := tx.Exec(ctx, `delete from agents where id = $1`, id)
	if err == nil && tag.RowsAffected() == 0 {
		err = noSuchAgent()
	}
	return err
}

// Breaks lists the reasons that agents choose from when they go away.
func Breaks(ctx context.Context, q channels.Querier) ([]string, error) {
	rows, err := all[struct{ Name string }](ctx, q, "breaks", `select name from break_reasons order by position, name`)
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = row.Name
	}
	return names, err
}

// SaveBreaks replaces the reasons; agents who are away keep theirs.
func SaveBreaks(ctx context.Context, tx pgx.Tx, names []string) ([]string, error) {
	var clean []string
	for _, n := range names {
		n = strings.Join(strings.Fields(n), " ")
		switch {
		case n == "" || utf8.RuneCountInString(n) > 80:
			return nil, invalid("breaks", "A reason has 1 to 80 characters.")
		case n == MissedReason:
			return nil, invalid("breaks", "%q is what the house writes itself.", n)
		case slices.Contains(clean, n):
			return nil, invalid("breaks", "%q stands there twice.", n)
		}
		clean = append(clean, n)
	}
	if len(clean) == 0 || len(clean) > 30 {
		return nil, invalid("breaks", "1 to 30 reasons.")
	}
	if _, err := tx.Exec(ctx, `delete from break_reasons`); err != nil {
		return nil, fmt.Errorf("save breaks: %w", err)
	}
	_, err := tx.Exec(ctx, `insert into break_reasons (name, position) select * from unnest($1::text[]) with ordinality`, clean)
	if err != nil {
		return nil, fmt.Errorf("save breaks: %w", err)
	}
	return clean, nil
}
