package voice

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/server/bus"
)

// What the switchboard asks of the telephone (switchboard.Channel). The calls may live on any node: it is asked over the bus.

// Send has the conversation's calls say m, after the commit. An answer of the responder is none of these: it is said while it
// is written, and stored when it was heard (see talk.go).
func (v *Voice) Send(ctx context.Context, _ pgx.Tx, c *channels.Conversation, m *channels.Message) (after func(), err error) {
	if m.Private || m.Author == channels.ByContact {
		return nil, nil
	}
	sig, id, out := channels.CallSignal{Type: "say", Code: m.Data.Code, Text: m.Body, Reason: m.Data.Reason, On: m.Data.Source == channels.OwnWords}, c.ID, context.WithoutCancel(ctx)
	return func() {
		ctx, cancel := context.WithTimeout(out, v.times.Receive)
		defer cancel()
		if err := v.signal(ctx, id, sig); err != nil {
			v.log.Warn("call not told", "what", "say", "conversation", id, "err", err)
		}
	}, nil
}

// Join tells the conversation's newest call, on whichever node it lives, to expect the agent's browser. An older one may
// be a phone that died without a word; it ends by its silence.
func (v *Voice) Join(ctx context.Context, c *channels.Conversation, agentID int64) error {
	call, err := channels.LiveCall(ctx, v.cfg.Pool, c.ID)
	if err != nil || call == nil {
		return err
	}
	return v.command(ctx, call.ID, channels.CallSignal{Type: "join", AgentID: agentID})
}

// Release gives the caller back to the music: the agent has let go, the conversation is in line again.
func (v *Voice) Release(ctx context.Context, c *channels.Conversation) error {
	sig := channels.CallSignal{Type: "release"}
	if c.AgentID != nil {
		sig.AgentID = *c.AgentID
	}
	return v.signal(ctx, c.ID, sig)
}

// End hangs up the conversation's call.
func (v *Voice) End(ctx context.Context, c *channels.Conversation, reason string) error {
	return v.signal(ctx, c.ID, channels.CallSignal{Type: "end", Reason: reason})
}

// signal sends a command to every live call of a conversation. No live call, or one whose node is gone, is no error:
// then there is nothing to command.
func (v *Voice) signal(ctx context.Context, conversation int64, sig channels.CallSignal) error {
	rows, err := v.cfg.Pool.Query(ctx, `select id from calls where conversation_id = $1 and state <> 'ended' order by id`, conversation)
	if err != nil {
		return fmt.Errorf("find call: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("find call: %w", err)
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, v.command(ctx, id, sig))
	}
	return errors.Join(errs...)
}

// command sends one command to one call. A call that has ended, or whose node is gone, is no error.
func (v *Voice) command(ctx context.Context, id int64, sig channels.CallSignal) error {
	sig.CallID = id
	var reply channels.CallReply
	switch err := v.cfg.Bus.Request(ctx, channels.CallSubject(id), sig, &reply); {
	case errors.Is(err, bus.ErrNoOwner):
		return nil
	case err != nil:
		return fmt.Errorf("call %d: %w", id, err)
	case reply.Error != nil && reply.Error.Code != channels.NotFound:
		return reply.Error
	}
	return nil
}
