package chat

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// Synthetic makes a visitor who is our own test customer, and gives the token to come in by like any other. Its contact is
// marked, which no visitor can do by itself: agents see it, and what it waits for is counted apart.
func (c *Chat) Synthetic(ctx context.Context, name string) (token string, err error) {
	v := &visitor{token: newToken()}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) (err error) {
		if v.contact, err = channels.OpenSynthetic(ctx, tx, v.address(), name); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into visitors (token_hash, contact_id) values ($1, $2)`, v.hash(), v.contact)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("synthetic visitor: %w", err)
	}
	return v.token, nil
}
