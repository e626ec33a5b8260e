package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Offer is a conversation shown to one agent with a deadline. It is a lease in the database: it ends even if every
// server dies meanwhile.
type Offer struct {
	ID             int64         `json:"id" db:"id"`
	ConversationID int64         `json:"conversation_id" db:"conversation_id"`
	Channel        channels.Kind `json:"channel" db:"channel"`
	QueueName      string        `json:"queue_name" db:"queue_name"`
	ContactName    string        `json:"contact_name" db:"contact_name"`
	Subject        string        `json:"subject" db:"subject"`
	Summary        string        `json:"summary" db:"summary"`
	LastWords      string        `json:"last_words" db:"last_words"`
	WaitingSince   time.Time     `json:"waiting_since" db:"waiting_since"`
	OfferedAt      time.Time     `json:"offered_at" db:"offered_at"`
	ExpiresAt      time.Time     `json:"expires_at" db:"expires_at"`
	Seconds        int           `json:"seconds" db:"seconds"` // the whole countdown
	Why            string        `json:"why" db:"why"`
	Waited         string        `json:"waited" db:"waited"` // why it waited until now; "": it did not
	Shared         bool          `json:"shared" db:"shared"` // it rings at others too, the first takes it
	ReturnCall     bool          `json:"return_call" db:"return_call"`
	LeftMessage    string        `json:"left_message" db:"left_message"` // voicemail, email: they have left one and do not wait here
	Callee         string        `json:"call_back" db:"call_back"`       // a call back: the number that is called as soon as it is accepted

	Card *channels.Card `json:"card" db:"card"` // masked: nobody has accepted yet; nil: none was made
}

// How an offer ends.
const (
	Accepted  = channels.OfferAccepted
	Declined  = "declined"
	Missed    = "missed"
	Withdrawn = "withdrawn" // the customer left, or somebody took the conversation
)

const offerSQL = `select o.id, o.conversation_id, c.channel, q.name as queue_name,
		coalesce(nullif(ct.name, ''), (select a.value from addresses a where a.contact_id = ct.id and a.kind in ('phone', 'email')
			order by a.kind desc, a.id limit 1), 'Visitor ' || ct.id) as contact_name,
		c.subject, c.summary, c.last_words, coalesce(c.waiting_since, o.offered_at) as waiting_since, o.offered_at, o.expires_at,
		round(extract(epoch from o.expires_at - o.offered_at))::int as seconds, o.why, o.waited, o.shared, c.return_call, c.left_message,
		coalesce((select number from promises where conversation_id = c.id and closed_at is null), '') as call_back, c.card
	from offers o join conversations c on c.id = o.conversation_id join queues q on q.id = c.queue_id
	join contacts ct on ct.id = c.contact_id where o.outcome is null`

// OpenOffer reads what rings at the agent now; nil when nothing does.
func OpenOffer(ctx context.Context, q channels.Querier, agentID int64) (*Offer, error) {
	o, err := one[Offer](ctx, q, "open offer", offerSQL+` and o.agent_id = $1 and o.expires_at > clock_timestamp()`, agentID)
	if o != nil {
		o.Card = o.Card.Masked()
	}
	return o, err
}

// Accept ends the agent's own open offer as accepted and holds the conversation's row until tx ends; the caller moves
// it to agent. Where it rang at others too, theirs are withdrawn: the first wins. Refused with not_found for a foreign
// offer and with conflict for one that has ended. after tells the tabs; it runs after the commit.
func Accept(ctx context.Context, tx pgx.Tx, b *bus.Bus, offerID, agentID int64) (conversationID int64, after func(), err error) {
	if conversationID, err = end(ctx, tx, offerID, agentID, Accepted); err != nil {
		return 0, nil, err
	}
	if err := waitEnds(ctx, tx, conversationID); err != nil {
		return 0, nil, err
	}
	others, err := Withdraw(ctx, tx, b, conversationID)
	if err != nil {
		return 0, nil, err
	}
	mine := ended(b, channels.OfferNews{OfferID: offerID, ConversationID: conversationID, AgentID: agentID, Outcome: Accepted})
	after = func() {
		mine()
		if others != nil {
			others()
		}
	}
	return conversationID, after, Idle(ctx, tx, agentID)
}

// Decline ends the agent's own open offer as declined; the caller moves the conversation to waiting, unless it still
// rings at others. Otherwise as Accept.
func Decline(ctx context.Context, tx pgx.Tx, b *bus.Bus, offerID, agentID int64) (conversationID int64, rings bool, after func(), err error) {
	if conversationID, err = end(ctx, tx, offerID, agentID, Declined); err != nil {
		return 0, false, nil, err
	}
	rings, err = scalar[bool](ctx, tx, "other offers", `select exists (select from offers where conversation_id = $1 and outcome is null)`, conversationID)
	return conversationID, rings, ended(b, channels.OfferNews{OfferID: offerID, ConversationID: conversationID, AgentID: agentID, Outcome: Declined}), err
}

// OfferedTo returns the conversation's open offer when it is the agent's own; conflict when it rings at a colleague, 0
// when it rings nowhere.
func OfferedTo(ctx context.Context, q channels.Querier, conversationID, agentID int64) (offerID int64, err error) {
	o, err := one[struct {
		ID      int64
		AgentID int64
		Name    string
	}](ctx, q, "open offer", `select o.id, o.agent_id, a.name from offers o join agents a on a.id = o.agent_id
		where o.conversation_id = $1 and o.outcome is null order by (o.agent_id = $2) desc limit 1`, conversationID, agentID)
	switch {
	case err != nil || o == nil:
		return 0, err
	case o.AgentID != agentID:
		return 0, channels.Fail(channels.Conflict, "It rings at "+o.Name+" right now.")
	}
	return o.ID, nil
}

// TakenByHand notes that the agent took the conversation without being asked, so that the list of offers tells how
// each conversation came to its agent.
func TakenByHand(ctx context.Context, tx pgx.Tx, conversationID, agentID int64) error {
	_, err := tx.Exec(ctx, `insert into offers (conversation_id, agent_id, expires_at, why, outcome, ended_at)
		values ($1, $2, clock_timestamp(), 'Taken by hand', 'accepted', clock_timestamp())`, conversationID, agentID)
	if err != nil {
		return fmt.Errorf("note taking: %w", err)
	}
	if err := waitEnds(ctx, tx, conversationID); err != nil {
		return err
	}
	return Idle(ctx, tx, agentID)
}

// Withdraw ends the conversation's open offers, if there are any: the customer has left, or somebody takes it. The
// caller has locked the conversation and moves it. after, if any, tells the agents' tabs; it runs after the commit.
func Withdraw(ctx context.Context, tx pgx.Tx, b *bus.Bus, conversationID int64) (after func(), err error) {
	open, err := all[struct{ ID, AgentID int64 }](ctx, tx, "withdraw offers", `update offers set outcome = 'withdrawn',
		ended_at = clock_timestamp() where conversation_id = $1 and outcome is null returning id, agent_id`, conversationID)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	return func() {
		for _, o := range open {
			ended(b, channels.OfferNews{OfferID: o.ID, ConversationID: conversationID, AgentID: o.AgentID, Outcome: Withdrawn})()
		}
	}, nil
}

// ended lets the agent's tabs and telephones put the offer away and the routers look again. News that cannot be sent is not worth a
// word: a tab sees the offer end by its own countdown, the routers by their sweep.
func ended(b *bus.Bus, news channels.OfferNews) func() {
	return func() {
		_ = b.Publish(channels.AgentSubject(news.AgentID), frame{Type: "offer_ended", OfferID: news.OfferID, Outcome: news.Outcome})
		_ = b.Publish(channels.OfferSubject, news)
		_ = b.Publish(channels.RouteSubject, channels.RouteNews{Agents: []int64{news.AgentID}})
	}
}

func end(ctx context.Context, tx pgx.Tx, offerID, agentID int64, outcome string) (int64, error) {
	var conversationID int64
	err := tx.QueryRow(ctx, `select conversation_id from offers where id = $1 and agent_id = $2`, offerID, agentID).Scan(&conversationID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, channels.Fail(channels.NotFound, "There is no such offer.")
	}
	if err != nil {
		return 0, fmt.Errorf("read offer: %w", err)
	}
	if _, err := channels.Lock(ctx, tx, conversationID); err != nil {
		return 0, fmt.Errorf("lock conversation: %w", err)
	}
	tag, err := tx.Exec(ctx, `update offers set outcome = $2, ended_at = clock_timestamp()
		where id = $1 and outcome is null and expires_at > clock_timestamp()`, offerID, outcome)
	if err != nil {
		return 0, fmt.Errorf("end offer: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return 0, tooLate(ctx, tx, offerID)
	}
	return conversationID, nil
}

// tooLate says why an offer can no longer be answered.
func tooLate(ctx context.Context, q channels.Querier, offerID int64) error {
	o, err := one[struct {
		Outcome string
		TakenBy string
	}](ctx, q, "ended offer", `select coalesce(o.outcome, '') as outcome,
		coalesce((select a.name from conversations c join agents a on a.id = c.agent_id
			where c.id = o.conversation_id and c.state = 'agent'), '') as taken_by
		from offers o where o.id = $1`, offerID)
	if err != nil {
		return err
	}
	text := "The offer has run out."
	switch {
	case o == nil:
		text = "The offer is gone."
	case o.Outcome == Accepted:
		text = "You have accepted this offer already."
	case o.Outcome == Declined:
		text = "You have declined this offer."
	case o.TakenBy != "":
		text = "Taken by " + o.TakenBy + "."
	case o.Outcome == Withdrawn:
		text = "The customer has left the line."
	}
	return channels.Fail(channels.Conflict, text)
}
