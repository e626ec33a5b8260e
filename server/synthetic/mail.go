package synthetic

import (
	"context"
	"fmt"
	"time"
)

// MailConfig is the test customer's pen. All fields are required.
type MailConfig struct {
	// Send sends words to the house's mailbox, by its SMTP server, from a marked contact of that name that it makes.
	Send     func(ctx context.Context, name, subject, words string) (contact int64, err error)
	Answered func(ctx context.Context, contact int64) (bool, error)
}

const (
	mailSubject = "A test by the house itself"
	mailLook    = 5 * time.Second
)

// Mail writes a mail and waits until a person's answer is on its way.
func Mail(cfg MailConfig) Door {
	return Door{"email", func(ctx context.Context, patient time.Duration) (time.Duration, error) {
		begun := time.Now()
		contact, err := cfg.Send(ctx, Name, mailSubject, wish)
		if err != nil {
			return 0, fmt.Errorf("mail: %w", err)
		}
		if err := (Asked{contact, cfg.Answered}).wait(ctx, mailLook, patient, nil); err != nil {
			return time.Since(begun), fmt.Errorf("mail: %w", err)
		}
		return time.Since(begun), nil
	}}
}
