package chat

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Synthetic makes a visitor who is our own test customer, and gives the token to come in by like any other. Its contact is
// marked, which no visitor can do by itself: agents see it, and what it waits for is counted apart.
func (c *Chat) Synthetic(ctx context.Context, name string) (token string, err error) {
	v := &visitor{token: newToken()}
	at := v.address()
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `insert into contacts (name, synthetic) values ($1, true) returning id`, name).Scan(&v.contact); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into addresses (contact_id, kind, value) values ($1, $2, $3)`, v.contact, at.Kind, at.Value); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into visitors (token_hash, contact_id) values ($1, $2)`, v.hash(), v.contact)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("synthetic visitor: %w", err)
	}
	return v.token, nil
}
