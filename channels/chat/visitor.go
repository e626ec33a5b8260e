package chat

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

const queryLimit = 5 * time.Second

// visitor is whom a token stands for. Without a row yet, contact and conversation are 0.
type visitor struct {
	token        string
	contact      int64
	conversation int64
}

func newToken() string {
	key := make([]byte, 32)
	rand.Read(key) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(key)
}

func wellFormed(token string) bool {
	key, err := base64.RawURLEncoding.Strict().DecodeString(token)
	return err == nil && len(key) == 32
}

func (v *visitor) hash() []byte {
	sum := sha256.Sum256([]byte(v.token))
	return sum[:]
}

// address is the contact's address. It is made of the token, so that the commit of the first message alone is enough
// to find its visitor again; and by another hash than the key's, so that an agent who sees it learns nothing.
func (v *visitor) address() channels.Address {
	sum := sha256.Sum256([]byte("visitor address\x00" + v.token))
	return channels.Address{Kind: channels.Visitor, Value: hex.EncodeToString(sum[:16])}
}

// subject tells the visitor's other tabs which conversation the first message has opened.
func (v *visitor) subject() string { return "chat.visitor." + v.address().Value }

// find reads whom the token stands for. A token without any row is one that was handed out and not used yet: that
// is nobody else's, so it may begin.
func (c *Chat) find(ctx context.Context, v *visitor) error {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	var conversation *int64
	err := c.pool.QueryRow(ctx, `update visitors set seen_at = now() where token_hash = $1
		returning contact_id, conversation_id`, v.hash()).Scan(&v.contact, &conversation)
	if errors.Is(err, pgx.ErrNoRows) {
		return c.findByAddress(ctx, v)
	}
	if err != nil {
		return fmt.Errorf("find visitor: %w", err)
	}
	if conversation != nil {
		v.conversation = *conversation
	}
	return nil
}

// findByAddress repairs what a process has left that died between the commit of a first message and remember.
func (c *Chat) findByAddress(ctx context.Context, v *visitor) error {
	err := c.pool.QueryRow(ctx, `select a.contact_id, c.id from addresses a
		join conversations c on c.contact_id = a.contact_id
		where a.kind = $1 and a.value = $2 order by (c.state <> 'closed') desc, c.changed_at desc limit 1`,
		channels.Visitor, v.address().Value).Scan(&v.contact, &v.conversation)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find visitor's address: %w", err)
	}
	return c.remember(ctx, v)
}

// remember stores the token's row.
func (c *Chat) remember(ctx context.Context, v *visitor) error {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	_, err := c.pool.Exec(ctx, `insert into visitors (token_hash, contact_id, conversation_id) values ($1, $2, $3)
		on conflict (token_hash) do update set contact_id = $2, conversation_id = $3, seen_at = now()`,
		v.hash(), v.contact, v.conversation)
	if err != nil {
		return fmt.Errorf("remember visitor: %w", err)
	}
	return nil
}

// standing is what a visitor may know of a conversation beside its messages.
type standing struct {
	State     channels.State `db:"state"`
	Channel   channels.Kind  `db:"channel"`
	LastSeq   int64          `db:"last_seq"`
	AgentName string         `db:"agent_name"`
	Since     *time.Time     `db:"waiting_since"`
	DueAt     *time.Time     `db:"due_at"`
	CallBack  string         `db:"call_back"`
	CallAt    *time.Time     `db:"call_at"`
	MayCall   bool           `db:"may_call"`
	Ahead     int            `db:"-"`
	Low       int            `db:"-"` // minutes, see place
	High      int            `db:"-"`
	AnswerTo  string         `db:"answer_to"` // of a message that was left
	callStanding
}

// stand reads where a conversation stands; nil when there is none any more.
func (c *Chat) stand(ctx context.Context, conversation int64) (*standing, error) {
	s, err := c.readStanding(ctx, conversation)
	if err != nil || s == nil || s.State != channels.Waiting {
		return s, err
	}
	place, low, high, ok := c.expect(ctx, conversation)
	if place == 0 { // it has left the line between the two readings, or nothing is known
		if s, err = c.readStanding(ctx, conversation); err == nil && s != nil && s.State == channels.Waiting {
			err = fmt.Errorf("the place in line of conversation %d cannot be told", conversation)
		}
		return s, err
	}
	s.Ahead = place - 1
	if ok { // in whole minutes, outwards: it is no railway
		s.Low, s.High = int(low/time.Minute), int((high+time.Minute-1)/time.Minute)
	}
	return s, nil
}

func (c *Chat) readStanding(ctx context.Context, conversation int64) (*standing, error) {
	rows, err := c.pool.Query(ctx, `select c.state, c.channel, c.last_seq, coalesce(a.name, '') as agent_name,
			c.waiting_since, p.due_at, case when c.left_message = 'email' then c.reply_to else '' end as answer_to,
			coalesce(p.number, '') as call_back, case when isfinite(c.not_before) then c.not_before end as call_at, q.call_back as may_call,
			coalesce(k.id, 0) as call_id, coalesce(k.state, '') as call_state, k.bridged_at as call_since, coalesce(k.reason, '') as call_reason
		from conversations c join queues q on q.id = c.queue_id
		left join agents a on a.id = c.agent_id and c.state in ('agent', 'wrapup')
		left join promises p on p.conversation_id = c.id and p.closed_at is null
		left join lateral (select id, state, bridged_at, reason from calls
			where conversation_id = c.id and media = 'web' order by id desc limit 1) k on true
		where c.id = $1`, conversation)
	if err != nil {
		return nil, fmt.Errorf("read standing: %w", err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[standing])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read standing: %w", err)
	}
	s.MayCall = s.MayCall && c.dialsOut != nil && c.dialsOut()
	s.AgentName, _, _ = strings.Cut(s.AgentName, " ") // the visitor sees the first name
	return s, nil
}

// place is nil when nobody waits. Who rings at an agent is next.
func (s *standing) place() *place {
	if s.State != channels.Waiting && s.State != channels.Offered {
		return nil
	}
	return &place{Position: s.Ahead + 1, Ahead: s.Ahead, Since: s.Since, DueAt: s.DueAt, Low: s.Low, High: s.High, AnswerTo: channels.MaskAddress(s.AnswerTo),
		MayCall: s.MayCall, CallBack: s.CallBack, CallAt: s.CallAt}
}

// same tells whether a visitor would see a difference.
func (s *standing) same(o *standing) bool {
	at := func(t *time.Time) int64 {
		if t == nil {
			return 0
		}
		return t.UnixMicro()
	}
	return o != nil && s.State == o.State && s.AgentName == o.AgentName && s.Ahead == o.Ahead && s.Low == o.Low && s.High == o.High && s.AnswerTo == o.AnswerTo &&
		at(s.Since) == at(o.Since) && at(s.DueAt) == at(o.DueAt) && s.MayCall == o.MayCall && s.CallBack == o.CallBack && at(s.CallAt) == at(o.CallAt)
}

const pageSize = 200

// page reads the next visible messages with after < seq <= upTo; upTo is a last_seq that was read before, so nothing
// below it can be committed later.
func (c *Chat) page(ctx context.Context, conversation, after, upTo int64) ([]channels.Message, error) {
	rows, err := c.pool.Query(ctx, `select id, conversation_id, seq, author, agent_id, channel, kind, body, private, client_id, data, at
		from messages where conversation_id = $1 and seq > $2 and seq <= $3
		and channel = 'chat' and not private and kind <> 'note' order by seq limit $4`,
		conversation, after, upTo, pageSize)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[channels.Message])
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	return list, nil
}
