package agents

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
)

// CardRead notes that the agent's screen has shown the conversation's hand-over card which had read up to the message seq. An
// older card than one noted before changes nothing, nor does a conversation that there is not.
func CardRead(ctx context.Context, pool *pgxpool.Pool, agentID, conversationID, seq int64) error {
	_, err := pool.Exec(ctx, `insert into card_reads (conversation_id, agent_id, seq) select id, $2, least($3, last_seq) from conversations where id = $1
		on conflict (conversation_id, agent_id) do update set seq = excluded.seq, at = clock_timestamp()
			where card_reads.seq < excluded.seq`, conversationID, agentID, seq)
	if err != nil {
		return fmt.Errorf("note card read: %w", err)
	}
	return nil
}

// HasRead tells whether the agent's screen has shown the conversation's hand-over card as it is now, with words of the
// customer on it. Only then may the customer be told so.
func HasRead(ctx context.Context, q channels.Querier, agentID, conversationID int64) (bool, error) {
	return scalar[bool](ctx, q, "card read", `select exists (select from card_reads r join conversations c on c.id = r.conversation_id
		where r.conversation_id = $1 and r.agent_id = $2 and r.seq >= (c.card ->> 'seq')::bigint and c.customer_seq > 0)`, conversationID, agentID)
}
