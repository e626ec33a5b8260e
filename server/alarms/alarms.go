// Package alarms carries alarms to a web hook: a broken promise must be heard of where no desk is open.
//
//	switchboard ── row in alarms, with the promise ──▶ Run ── POST, signed ──▶ the hook
//
// A row is delivered until it is taken (2xx), with longer and longer pauses, for a day; the desk shows what became of it.
// Several nodes may run at once: each row is leased. A hook may hear of an alarm twice (it answered too late): the id says so.
//
// The address is a setting, but what it names may change: every connection's address is looked at after DNS, and only public
// ones are dialled, or those on the administrator's list. Redirects are not followed.
package alarms

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Config is what the hook needs. Pool and Bus are required.
type Config struct {
	Pool   *pgxpool.Pool
	Bus    *bus.Bus
	Log    *slog.Logger
	URL    string         // "": nobody is told
	Secret string         // signs what is sent; "": unsigned
	Allow  []netip.Prefix // addresses inside that may be dialled
	Pause  time.Duration  // after the first failure; it doubles up to an hour; default 5 s
}

const (
	patience  = 10 * time.Second // for one delivery
	sweepEach = 5 * time.Second  // news by the bus may be lost
	longest   = time.Hour
	giveUp    = 24 * time.Hour
	answerMax = 4 << 10
)

// Hook delivers.
type Hook struct {
	Config
	client *http.Client
}

// New makes a hook; Run delivers.
func New(cfg Config) *Hook {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Pause == 0 {
		cfg.Pause = 5 * time.Second
	}
	h := &Hook{Config: cfg}
	dialer := &net.Dialer{Timeout: patience / 2, Control: func(_, address string, _ syscall.RawConn) error { return h.may(address) }}
	h.client = &http.Client{Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: patience / 2,
			ResponseHeaderTimeout: patience, MaxResponseHeaderBytes: 16 << 10}} // no Proxy: it would dial for us
	return h
}

var errInside = errors.New("an address inside; the setting alarm.webhook_allow may name it")

// may tells whether that address may be dialled: the last word after DNS, whatever a name said before.
func (h *Hook) may(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(h.Allow, func(p netip.Prefix) bool { return p.Contains(ip) }) || Public(ip) {
		return nil
	}
	return fmt.Errorf("%s: %w", ip, errInside)
}

// inside are networks that are not the public Internet, beside those that netip knows (RFC 6890 and its successors).
var inside = func() (list []netip.Prefix) {
	for _, p := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"240.0.0.0/4", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10"} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}()

// Public tells whether an address is one of the public Internet.
func Public(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() &&
		!slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// Run delivers until ctx ends.
func (h *Hook) Run(ctx context.Context) error {
	if h.URL == "" {
		return nil
	}
	news := make(chan struct{}, 1)
	unbus, err := h.Bus.Subscribe(channels.AlarmSubject, func(string, []byte) {
		select {
		case news <- struct{}{}:
		default: // it will be looked at anyway
		}
	})
	if err != nil {
		return fmt.Errorf("alarms: %w", err)
	}
	defer unbus()
	sweep := time.NewTicker(min(sweepEach, h.Pause))
	defer sweep.Stop()
	for {
		for {
			more, err := h.next(ctx)
			if err != nil && ctx.Err() == nil {
				h.Log.Error("alarm", "err", err)
			}
			if !more || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		case <-sweep.C:
		}
	}
}

// Alarm is what the hook gets.
type Alarm struct {
	ID             int64     `json:"id"` // the same for every delivery of it
	At             time.Time `json:"at"`
	Kind           string    `json:"kind"` // promise_broken, people_first, people_first_over
	ConversationID *int64    `json:"conversation_id"`
	Queue          string    `json:"queue"`
	Channel        string    `json:"channel"`
	Words          string    `json:"words"`
}

// next delivers one that is due. A lease is its next time: who dies with it leaves it to others.
func (h *Hook) next(ctx context.Context) (more bool, err error) {
	var a Alarm
	var attempts int
	err = h.Pool.QueryRow(ctx, `update alarms set attempts = attempts + 1, next_at = clock_timestamp() + interval '30 s' where id = (
			select id from alarms where delivered_at is null and given_up_at is null and next_at <= clock_timestamp()
			order by next_at for update skip locked limit 1)
		returning id, at, kind, conversation_id, queue_name, channel, words, attempts`).
		Scan(&a.ID, &a.At, &a.Kind, &a.ConversationID, &a.Queue, &a.Channel, &a.Words, &attempts)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	failed := h.post(ctx, a)
	if failed == nil {
		_, err = h.Pool.Exec(ctx, `update alarms set delivered_at = clock_timestamp(), error = '' where id = $1`, a.ID)
		return true, err
	}
	h.Log.Warn("web hook not told", "alarm", a.ID, "attempt", attempts, "err", failed)
	_, err = h.Pool.Exec(ctx, `update alarms set error = $2, next_at = clock_timestamp() + make_interval(secs => $3),
		given_up_at = case when at < clock_timestamp() - make_interval(secs => $4) then clock_timestamp() end where id = $1`,
		a.ID, failed.Error(), h.pause(attempts).Seconds(), giveUp.Seconds())
	return true, err
}

func (h *Hook) pause(attempts int) time.Duration {
	return min(h.Pause<<min(attempts-1, 12), longest)
}

// Sign is the signature of a body sent at a time: the hook's owner computes the same, and refuses what is old.
func Sign(secret string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.", at.Unix())
	mac.Write(body)
	return "t=" + strconv.FormatInt(at.Unix(), 10) + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

func (h *Hook) post(ctx context.Context, a Alarm) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Patchbay-Alarm", strconv.FormatInt(a.ID, 10))
	if h.Secret != "" {
		req.Header.Set("Patchbay-Signature", Sign(h.Secret, time.Now(), body))
	}
	res, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, answerMax)) // what it says is not ours to act on
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("answered %d", res.StatusCode)
	}
	return nil
}
