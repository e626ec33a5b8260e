package channels

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// OpenSynthetic makes the contact of a visit of our own test customer, known by an address that nobody had before and nobody
// can guess. What a synthetic contact waits for is counted apart; no customer can get the mark by anything they send.
func OpenSynthetic(ctx context.Context, tx pgx.Tx, a Address, name string) (contactID int64, err error) {
	err = tx.QueryRow(ctx, `with c as (insert into contacts (name, synthetic) values ($1, true) returning id)
		insert into addresses (contact_id, kind, value) select id, $2, $3 from c returning contact_id`, name, a.Kind, a.Value).Scan(&contactID)
	if err != nil {
		return 0, fmt.Errorf("synthetic contact: %w", err)
	}
	return contactID, nil
}
