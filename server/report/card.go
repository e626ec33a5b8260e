package report

import (
	"context"

	"patchbay/channels"
)

// Card reads a conversation's hand-over card; nil when none was made.
func Card(ctx context.Context, q channels.Querier, conversationID int64) (*channels.Card, error) {
	list, err := rows[struct {
		Card *channels.Card `db:"card"`
	}](ctx, q, "hand-over card", `select card from conversations where id = $1`, conversationID)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0].Card, nil
}
