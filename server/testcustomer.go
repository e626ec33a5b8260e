package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/report"
	"patchbay/server/synthetic"
)

// testCustomer ties our own test customer to the doors that this house has.
func (h *house) testCustomer() synthetic.Config {
	cfg := synthetic.Config{Every: time.Duration(h.cfg.Synthetic.EveryMinutes) * time.Minute, Patient: synthetic.Patience, Log: h.log}
	answered := func(ctx context.Context, contact int64) (bool, error) {
		return agents.Answered(ctx, h.db.Pool, contact)
	}
	cfg.Doors = append(cfg.Doors, synthetic.Chat("ws://"+h.web.Addr().String()+"/chat/socket", h.chat.Synthetic))
	if h.testPhone.IsValid() {
		server := h.voice.Addr()
		if server.Addr().IsUnspecified() {
			server = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), server.Port())
		}
		cfg.Doors = append(cfg.Doors, synthetic.Phone(synthetic.PhoneConfig{From: h.testPhone, Server: server, Number: h.cfg.SIP.Number, Answered: answered, Log: h.log,
			Open: func(ctx context.Context, user, name string) (contact int64, err error) {
				err = pgx.BeginFunc(ctx, h.db.Pool, func(tx pgx.Tx) (err error) {
					contact, err = channels.OpenSynthetic(ctx, tx, channels.Address{Kind: channels.Phone, Value: user}, name)
					return err
				})
				return contact, err
			}}))
	}
	if h.mail != nil {
		cfg.Doors = append(cfg.Doors, synthetic.Mail(synthetic.MailConfig{Send: h.mail.Synthetic, Answered: answered}))
	}
	return cfg
}

// testPhoneAddress is where the test customer's telephone will call from; invalid: it cannot call.
func (c *Config) testPhoneAddress() (a netip.Addr) {
	at, err := netip.ParseAddrPort(c.SIP.Listen)
	if c.Synthetic.EveryMinutes == 0 || err != nil || !at.Addr().Unmap().Is4() {
		return a
	}
	return synthetic.Loopback()
}

// unmeasured are the channels by which the test customer does not come, and why: a page without their times must not look
// as if all were well there.
func (c *Config) unmeasured() []report.Unmeasured {
	var list []report.Unmeasured
	add := func(channel channels.Kind, why string) {
		list = append(list, report.Unmeasured{Channel: string(channel), Why: why})
	}
	const never = "The setting synthetic.every_minutes is 0."
	if c.Synthetic.EveryMinutes == 0 {
		add(channels.Chat, never)
	}
	switch at, err := netip.ParseAddrPort(c.SIP.Listen); {
	case c.SIP.Listen == "":
		add(channels.Voice, "There is no telephone: sip.listen is empty.")
	case c.Synthetic.EveryMinutes == 0:
		add(channels.Voice, never)
	case err != nil || !at.Addr().Unmap().Is4():
		add(channels.Voice, "sip.listen is no IPv4 address.")
	}
	switch {
	case c.Mail.IMAPHost == "":
		add(channels.Email, "There is no mailbox: mail.imap_host is empty.")
	case c.Synthetic.EveryMinutes == 0:
		add(channels.Email, never)
	}
	return list
}
