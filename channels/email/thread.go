package email

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// thread finds the conversation that a mail answers: by the ids in In-Reply-To and References, and only if the
// sender's address is one of that conversation's contact, or the one that its answers go to. A stranger who quotes our Message-ID, or got our mail
// forwarded, begins a conversation of his own (0). Numbers in a subject have no say at all: anybody can write one.
func thread(ctx context.Context, tx pgx.Tx, l *letter) (int64, error) {
	if l.From == "" || len(l.References) == 0 {
		return 0, nil
	}
	var id int64
	err := tx.QueryRow(ctx, `select c.id from mail_ids i
		join conversations c on c.id = i.conversation_id
		where i.rfc_id = any($1) and (c.reply_to = $2
			or exists (select from addresses a where a.contact_id = c.contact_id and a.kind = 'email' and a.value = $2))
		order by array_position($1, i.rfc_id), c.id desc limit 1`, l.References, l.From).Scan(&id)
	if err == pgx.ErrNoRows {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("thread: %w", err)
	}
	return id, nil
}

// remember lets later mails find the conversation by this mail's id.
func remember(ctx context.Context, tx pgx.Tx, rfcID string, conversationID int64) error {
	if rfcID == "" {
		return nil
	}
	if _, err := tx.Exec(ctx, `insert into mail_ids (rfc_id, conversation_id) values ($1, $2) on conflict do nothing`, rfcID, conversationID); err != nil {
		return fmt.Errorf("remember mail id: %w", err)
	}
	return nil
}
