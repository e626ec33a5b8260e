package channels

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The rows. Every function that writes takes the caller's transaction: see the package comment.

// columns of conversations in the order of the struct's db tags do not matter: rows are collected by name.
const conversationColumns = `id, contact_id, queue_id, state, channel, agent_id, subject, summary, last_words, last_author, created_at,
	state_at, changed_at, waiting_since, front, return_call, left_message, reply_to, wrapup_until, disposition, last_seq, customer_seq,
	answered_seq, bot_turns, failed_turns, owner_id`

const messageColumns = `id, conversation_id, seq, author, agent_id, channel, kind, body, private, client_id, data, at`

const callColumns = `id, conversation_id, direction, from_address, to_address, sip_call_id, node_id, agent_id, media, state,
	started_at, bridged_at, ended_at, result, reason, stats`

// Querier is what a read needs: a pool or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func one[T any](ctx context.Context, q Querier, sql string, args ...any) (*T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return v, err
}

// get is one for a row that must be there: NotFound names what was looked for.
func get[T any](ctx context.Context, q Querier, what, sql string, args ...any) (*T, error) {
	row, err := one[T](ctx, q, sql, args...)
	if err == nil && row == nil {
		return nil, Fail(NotFound, "There is no such "+what+".")
	}
	return row, wrapped(err, "read "+what)
}

func all[T any](ctx context.Context, q Querier, what, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err == nil {
		var list []T
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByName[T]); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

func remove(ctx context.Context, tx pgx.Tx, what, sql string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return wrapped(err, "delete "+what)
	}
	if tag.RowsAffected() == 0 {
		return Fail(NotFound, "There is no such "+what+".")
	}
	return nil
}

func wrapped(err error, what string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// refusals are broken constraints in words.
var refusals = map[string]*Error{
	"trunks_name_key":         FailField(Conflict, "name", "Another trunk has this name."),
	"prompts_name_key":        FailField(Conflict, "name", "Another sound has this name."),
	"devices_username_key":    FailField(Conflict, "username", "Another telephone has this user name."),
	"devices_agent_id_fkey":   FailField(Invalid, "agent_id", "There is no such agent."),
	"numbers_queue_id_fkey":   FailField(Invalid, "queue_id", "There is no such queue."),
	"numbers_trunk_id_fkey":   FailField(Invalid, "trunk_id", "There is no such trunk."),
	"queues_music_id_fkey":    FailField(Invalid, "music_id", "There is no such sound."),
	"queues_greeting_id_fkey": FailField(Invalid, "greeting_id", "There is no such sound."),
}

// refused turns a broken constraint into words, everything else into an internal error.
func refused(err error, what string) error {
	var broken *pgconn.PgError
	if errors.As(err, &broken) {
		if e := refusals[broken.ConstraintName]; e != nil {
			return e
		}
	}
	return wrapped(err, what)
}

// Get reads a conversation; nil when there is none.
func Get(ctx context.Context, q Querier, id int64) (*Conversation, error) {
	return one[Conversation](ctx, q, `select `+conversationColumns+` from conversations where id = $1`, id)
}

// Lock reads a conversation and holds its row until tx ends: whoever appends or decides by what it read does this
// first. nil when there is none.
func Lock(ctx context.Context, tx pgx.Tx, id int64) (*Conversation, error) {
	return one[Conversation](ctx, tx, `select `+conversationColumns+` from conversations where id = $1 for update`, id)
}

// Latest locks the contact's newest conversation, an open one before closed ones; nil when it has none. The contact
// must be locked by OpenContact, else two first messages could open two conversations.
func Latest(ctx context.Context, tx pgx.Tx, contactID int64) (*Conversation, error) {
	return one[Conversation](ctx, tx, `select `+conversationColumns+` from conversations
		where contact_id = $1 order by (state <> 'closed') desc, changed_at desc limit 1 for update`, contactID)
}

// Begin opens a conversation in state new.
func Begin(ctx context.Context, tx pgx.Tx, contactID, queueID int64, channel Kind, subject string) (*Conversation, error) {
	return one[Conversation](ctx, tx, `insert into conversations (contact_id, queue_id, channel, subject)
		values ($1, $2, $3, $4) returning `+conversationColumns, contactID, queueID, channel, subject)
}

// BeginCall opens the conversation of a caller who has none: the responder has it at once (new -> bot in one row).
func BeginCall(ctx context.Context, tx pgx.Tx, contactID, queueID int64) (*Conversation, error) {
	return one[Conversation](ctx, tx, `insert into conversations (contact_id, queue_id, channel, state)
		values ($1, $2, 'voice', 'bot') returning `+conversationColumns, contactID, queueID)
}

// moveSQL is the guarded UPDATE of a change of state: $1 the conversations, $2 the new state, $3 the states it may come from (is true:
// they are found by their ids, never by reading all who are in that state).
const moveSQL = `update conversations set
		state = $2, state_at = clock_timestamp(), changed_at = clock_timestamp(),
		waiting_since = case when $2 = 'waiting' then coalesce(waiting_since, clock_timestamp())
		                     when $2 = 'offered' then waiting_since end,
		front = front and $2 in ('waiting', 'offered'),
		not_before = case when $2 in ('waiting', 'offered') then not_before end,
		left_at = case when $2 = 'closed' then left_at end,
		wanted_agent_id = case when $2 in ('waiting', 'offered') then wanted_agent_id end,
		passed_by_id = case when $2 in ('waiting', 'offered') then passed_by_id end,
		return_call = return_call and $2 in ('waiting', 'offered', 'agent', 'wrapup'),
		left_message = case when $2 in ('waiting', 'offered', 'agent', 'wrapup') then left_message else '' end,
		agent_id = case when $2 in ('new', 'bot', 'waiting') then null else agent_id end,
		wrapup_until = null,
		bot_turns = case when $2 = 'bot' then 0 else bot_turns end,
		failed_turns = case when $2 = 'bot' then 0 else failed_turns end
		where id = any($1) and (state = any($3)) is true returning ` + conversationColumns

// Move changes the state by one guarded UPDATE (only from states that the table allows). nil: somebody was faster, or
// the move is not allowed. waiting keeps the place in line of a conversation that comes back; bot and closed clear it.
func Move(ctx context.Context, tx pgx.Tx, id int64, to State) (*Conversation, error) {
	return one[Conversation](ctx, tx, moveSQL, []int64{id}, to, Sources(to))
}

// MoveAll is Move for several, which the caller has locked; those that may not move are left out.
func MoveAll(ctx context.Context, tx pgx.Tx, ids []int64, to State) ([]Conversation, error) {
	return all[Conversation](ctx, tx, "move conversations", moveSQL, ids, to, Sources(to))
}

// Append stores a message at the end of its conversation's timeline and fills ID, Seq and At. The caller has locked
// the conversation in tx. A ClientID that the conversation knows already stores nothing: dup is true and m becomes the
// first one.
func Append(ctx context.Context, tx pgx.Tx, m *Message) (dup bool, err error) {
	data, err := json.Marshal(m.Data)
	if err != nil {
		return false, fmt.Errorf("message data: %w", err)
	}
	if m.Kind == "" {
		m.Kind = Text
	}
	spoken, shown := m.Kind == Text, m.Body
	if m.Kind == Voicemail {
		shown = "Voicemail: " + cmp.Or(m.Body, fmt.Sprintf("%d:%02d", m.Data.Seconds/60, m.Data.Seconds%60))
	}
	heard := (spoken || m.Kind == Voicemail) && m.Author == ByContact && !m.Data.Automatic
	got, err := one[Message](ctx, tx, `with moved as (
			update conversations set last_seq = last_seq + 1, changed_at = clock_timestamp(),
				last_words = case when $9 then $10 else last_words end,
				last_author = case when $9 then $2 else last_author end,
				customer_seq = case when $11 then last_seq + 1 else customer_seq end,
				channel = case when $2 = 'contact' then $4 else channel end
			where id = $1 and not exists (
				select from messages where conversation_id = $1 and client_id = $7)
			returning last_seq)
		insert into messages (conversation_id, seq, author, agent_id, channel, kind, body, client_id, data, private)
		select $1, last_seq, $2, $3, $4, $5, $6, $7, $8, $12 from moved
		returning `+messageColumns,
		m.ConversationID, m.Author, m.AgentID, m.Channel, m.Kind, m.Body, m.ClientID, data,
		spoken || m.Kind == Voicemail, preview(shown), heard, m.Private)
	if err != nil {
		return false, fmt.Errorf("append message: %w", err)
	}
	if got == nil {
		if m.ClientID == nil {
			return false, fmt.Errorf("append message: conversation %d does not exist", m.ConversationID)
		}
		if got, err = one[Message](ctx, tx, `select `+messageColumns+` from messages
			where conversation_id = $1 and client_id = $2`, m.ConversationID, *m.ClientID); err != nil || got == nil {
			return false, fmt.Errorf("append message: conversation %d: %w", m.ConversationID, err)
		}
		dup = true
	}
	*m = *got
	return dup, nil
}

// AppendEvents stores lines that nobody said (Kind Happened, Author BySystem) at the end of a conversation's timeline, in one
// statement, and fills their ID, Seq and At. The caller has locked the conversation in tx.
func AppendEvents(ctx context.Context, tx pgx.Tx, conversationID int64, events []*Message) error {
	if len(events) == 0 {
		return nil
	}
	bodies, data, private, kinds := make([]string, len(events)), make([]string, len(events)), make([]bool, len(events)), make([]string, len(events))
	for i, m := range events {
		raw, err := json.Marshal(m.Data)
		if err != nil {
			return fmt.Errorf("event data: %w", err)
		}
		bodies[i], data[i], private[i], kinds[i] = m.Body, string(raw), m.Private, string(m.Channel)
	}
	rows, err := tx.Query(ctx, `with moved as (
			update conversations set last_seq = last_seq + cardinality($2::text[]), changed_at = clock_timestamp()
			where id = $1 returning last_seq - cardinality($2::text[]) as before)
		insert into messages (conversation_id, seq, author, channel, kind, body, data, private)
		select $1, before + n, 'system', channel, 'event', body, data::jsonb, private
		from moved, unnest($2::text[], $3::text[], $4::bool[], $5::text[]) with ordinality e (body, data, private, channel, n) order by n
		returning `+messageColumns, conversationID, bodies, data, private, kinds)
	if err != nil {
		return fmt.Errorf("append events: %w", err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByName[Message])
	if err != nil {
		return fmt.Errorf("append events: %w", err)
	}
	if len(got) != len(events) {
		return fmt.Errorf("append events: conversation %d does not exist", conversationID)
	}
	slices.SortFunc(got, func(a, b Message) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range got {
		*events[i] = got[i]
	}
	return nil
}

// preview is what a list shows of a message: one line, at most 200 characters.
func preview(body string) string {
	s := strings.Join(strings.Fields(body), " ")
	if utf8.RuneCountInString(s) > 200 {
		s = string([]rune(s)[:199]) + "…"
	}
	return s
}

// History reads the newest limit messages with seq <= upTo (0: all), oldest first.
func History(ctx context.Context, q Querier, conversationID, upTo int64, limit int) ([]Message, error) {
	rows, err := q.Query(ctx, `select * from (select `+messageColumns+` from messages
		where conversation_id = $1 and ($2::bigint = 0 or seq <= $2) order by seq desc limit $3) m order by seq`, conversationID, upTo, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Message])
}

// OpenContact finds the contact with that address or makes one, and locks it until tx ends. name is a claim: it is
// kept only for a contact that has none.
func OpenContact(ctx context.Context, tx pgx.Tx, a Address, name string) (*Contact, error) {
	if a.Kind == "" || a.Value == "" {
		return nil, errors.New("open contact: no address")
	}
	// Not "for update": a conversation that is changed twice in one transaction looks at its contact again (its foreign key), and
	// would wait for us while we wait for the conversation.
	find := func() (*Contact, error) {
		return one[Contact](ctx, tx, `select c.id, c.name, c.created_at, c.people_only from contacts c join addresses a on a.contact_id = c.id
			where a.kind = $1 and a.value = $2 for no key update of c`, a.Kind, a.Value)
	}
	c, err := find()
	if err != nil {
		return nil, fmt.Errorf("find contact: %w", err)
	}
	if c == nil {
		made, err := one[struct {
			Contact
			Added bool `db:"added"`
		}](ctx, tx, `with c as (insert into contacts (name) values ($1) returning id, name, created_at, people_only),
			a as (insert into addresses (contact_id, kind, value) select id, $2, $3 from c on conflict (kind, value) do nothing returning 1)
			select c.*, exists (select from a) as added from c`, name, a.Kind, a.Value)
		if err != nil || made == nil {
			return nil, fmt.Errorf("make contact: %w", err)
		}
		if made.Added {
			made.Fresh = true
			return &made.Contact, nil
		}
		// another transaction made it meanwhile: theirs counts
		if _, err := tx.Exec(ctx, `delete from contacts where id = $1`, made.ID); err != nil {
			return nil, fmt.Errorf("drop twin contact: %w", err)
		}
		if c, err = find(); err != nil || c == nil {
			return nil, fmt.Errorf("find contact: %w", err)
		}
		return c, nil
	}
	if c.Name == "" && name != "" {
		c.Name = name
		if _, err := tx.Exec(ctx, `update contacts set name = $2 where id = $1`, c.ID, name); err != nil {
			return nil, fmt.Errorf("name contact: %w", err)
		}
	}
	return c, nil
}

// PeopleOnly says whether the contact is to be served by people only.
func PeopleOnly(ctx context.Context, tx pgx.Tx, contactID int64) (bool, error) {
	var by string
	if err := tx.QueryRow(ctx, `select people_only from contacts where id = $1`, contactID).Scan(&by); err != nil {
		return false, fmt.Errorf("people only: %w", err)
	}
	return by != "", nil
}

// SetPeopleOnly marks the contact by contact or agent, or takes the mark away with "". It reports whether anything changed: a
// contact who takes a wish back takes back only an own mark, and does not make an agent's mark their own.
func SetPeopleOnly(ctx context.Context, tx pgx.Tx, contactID int64, by string, own bool) (bool, error) {
	tag, err := tx.Exec(ctx, `update contacts set people_only = $2 where id = $1 and people_only <> $2 and (not $3 or people_only <> 'agent')`, contactID, by, own)
	if err != nil {
		return false, fmt.Errorf("set people only: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// AddAddress gives the contact one more address; false when the address belongs to a contact already.
func AddAddress(ctx context.Context, tx pgx.Tx, contactID int64, a Address) (bool, error) {
	tag, err := tx.Exec(ctx, `insert into addresses (contact_id, kind, value) values ($1, $2, $3)
		on conflict (kind, value) do nothing`, contactID, a.Kind, a.Value)
	if err != nil {
		return false, fmt.Errorf("add address: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// OpenCall stores a call that node has answered, or one that an agent (AgentID) begins.
func OpenCall(ctx context.Context, tx pgx.Tx, c Call) (*Call, error) {
	return one[Call](ctx, tx, `insert into calls (conversation_id, direction, from_address, to_address, sip_call_id, node_id, state, media, agent_id, dialled_by)
		values ($1, $2, $3, $4, $5, $6, coalesce(nullif($7, ''), 'answered'), coalesce(nullif($8, ''), 'sip'), $9, $9) returning `+callColumns,
		c.ConversationID, c.Direction, c.From, c.To, c.SIPCallID, c.NodeID, c.State, c.Media, c.AgentID)
}

// MoveCall changes the state of a call that has not ended; nil when it has.
func MoveCall(ctx context.Context, tx pgx.Tx, id int64, state string, agentID *int64) (*Call, error) {
	return one[Call](ctx, tx, `update calls set state = $2, agent_id = coalesce($3, agent_id),
		bridged_at = case when $2 = 'bridged' then coalesce(bridged_at, clock_timestamp()) else bridged_at end,
		ringing_at = case when $2 = 'ringing' then coalesce(ringing_at, clock_timestamp()) else ringing_at end,
		answered_at = case when $2 = 'bridged' then coalesce(answered_at, clock_timestamp()) else answered_at end
		where id = $1 and state <> 'ended' returning `+callColumns, id, state, agentID)
}

// EndedCall is a call that has just ended.
type EndedCall struct {
	Call
	Others int `db:"others"` // calls of the same conversation that still run
}

// EndCall ends a call once; nil when it has ended before.
func EndCall(ctx context.Context, tx pgx.Tx, id int64, result, reason string, stats any) (*EndedCall, error) {
	raw, err := json.Marshal(stats)
	if err != nil || stats == nil {
		raw = []byte("{}")
	}
	return one[EndedCall](ctx, tx, `update calls k set state = 'ended', ended_at = clock_timestamp(), result = $2, reason = $3, stats = $4::jsonb,
		mos = ($4::jsonb #>> '{worst,mos}')::numeric, lost_percent = ($4::jsonb #>> '{worst,lost_percent}')::numeric,
		jitter_ms = round(($4::jsonb #>> '{worst,jitter_ms}')::numeric)::int
		where id = $1 and state <> 'ended' returning `+callColumns+`,
		(select count(*) from calls o where o.conversation_id = k.conversation_id and o.id <> k.id and o.state <> 'ended') as others`, id, result, reason, raw)
}

// CallOf reads a node's running call by its SIP Call-ID; nil when there is none.
func CallOf(ctx context.Context, q Querier, nodeID, sipCallID string) (*Call, error) {
	return one[Call](ctx, q, `select `+callColumns+` from calls where node_id = $1 and sip_call_id = $2 and state <> 'ended'
		order by id desc limit 1`, nodeID, sipCallID)
}

// LiveCall reads the conversation's running call; nil when there is none.
func LiveCall(ctx context.Context, q Querier, conversationID int64) (*Call, error) {
	return one[Call](ctx, q, `select `+callColumns+` from calls where conversation_id = $1 and state <> 'ended'
		order by id desc limit 1`, conversationID)
}
