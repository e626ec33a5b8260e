package email

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	idleFor     = 20 * time.Minute // RFC 2177 asks for less than 29
	pollEvery   = 30 * time.Second // of a server without IDLE
	leaseEvery  = 5 * time.Second  // how often the lease's connection is proved alive
	answerLimit = 60 * time.Second // for the server's answer to one command
	fetchLimit  = 10 * time.Minute // for one mail
	// lookBack: what lay unread in the mailbox before the first start is taken if it is not older than this. A mailbox
	// with years of old mail must not get years of answers.
	lookBack = 7 * 24 * time.Hour
)

// fetchLoop holds the mailbox, if no other process does, and fetches from it; it comes back when either is lost.
func (c *Channel) fetchLoop(ctx context.Context) {
	pause := c.Reconnect
	for ctx.Err() == nil {
		began := time.Now()
		held, err := c.withLease(ctx, c.fetch)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.Log.Warn("mail: mailbox lost, connecting again", "mailbox", c.mailbox, "err", err, "pause", pause)
		}
		if time.Since(began) > time.Minute || !held {
			pause = c.Reconnect
		}
		wait := pause
		if !held {
			wait = c.Sweep
		} else {
			pause = min(2*pause, time.Minute)
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool { return wait(ctx, nil, d) }

// withLease runs work while this process alone holds the mailbox: an advisory lock on a connection of its own, which
// Postgres frees when the process dies. held is false when another process has it.
func (c *Channel) withLease(ctx context.Context, work func(context.Context, *pgxpool.Conn) error) (held bool, err error) {
	conn, err := c.Pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("connection for the mailbox: %w", err)
	}
	defer conn.Release()
	key := "patchbay mailbox " + c.mailbox
	if err := conn.QueryRow(ctx, `select pg_try_advisory_lock(hashtextextended(current_schema() || $1, 0))`, key).Scan(&held); err != nil || !held {
		return false, err
	}
	defer func() {
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(out, `select pg_advisory_unlock(hashtextextended(current_schema() || $1, 0))`, key); err != nil {
			_ = conn.Conn().Close(out) // the lock goes with the connection
		}
	}()
	return true, work(ctx, conn)
}

// session is one IMAP connection with the mailbox selected. Its methods belong to fetch's goroutine.
type session struct {
	c        *Channel
	client   *imapclient.Client
	news     chan struct{}
	validity uint32
	idle     bool
}

// fetch connects and keeps the rows up to date until the connection or the lease is lost.
func (c *Channel) fetch(ctx context.Context, lease *pgxpool.Conn) error {
	s := &session{c: c, news: make(chan struct{}, 1)}
	if err := s.connect(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.client.Close() })
	defer func() {
		stop()
		_ = s.client.Close()
	}()
	c.Log.Info("mail: mailbox open", "mailbox", c.mailbox, "uidvalidity", s.validity, "idle", s.idle)
	for whole := true; ; {
		if err := s.sync(ctx, whole); err != nil {
			return err
		}
		var err error
		if whole, err = s.wait(ctx, lease); err != nil {
			return err
		}
	}
}

func (s *session) connect(ctx context.Context) error {
	options := &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				signal(s.news)
			}
		}}}
	addr := net.JoinHostPort(s.c.IMAPHost, strconv.Itoa(s.c.IMAPPort))
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("reach imap: %w", err)
	}
	switch s.c.IMAPTLS {
	case TLSFull:
		conn = tls.Client(conn, s.c.tlsFor(s.c.IMAPHost))
		s.client = imapclient.New(conn, options)
	case TLSStart:
		options.TLSConfig = s.c.tlsFor(s.c.IMAPHost)
		stop := time.AfterFunc(answerLimit, func() { _ = conn.Close() })
		s.client, err = imapclient.NewStartTLS(conn, options)
		stop.Stop()
		if err != nil {
			return fmt.Errorf("imap starttls: %w", err)
		}
	default:
		s.client = imapclient.New(conn, options)
	}
	err = s.open(ctx)
	if err != nil {
		_ = s.client.Close()
	}
	return err
}

func (c *Channel) tlsFor(host string) *tls.Config {
	if c.TLSConfig == nil {
		return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
	config := c.TLSConfig.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	return config
}

func (s *session) open(ctx context.Context) error {
	return s.within(ctx, answerLimit, func() error {
		if err := s.client.WaitGreeting(); err != nil {
			return fmt.Errorf("imap greeting: %w", err)
		}
		if err := s.client.Login(s.c.User, s.c.Password).Wait(); err != nil {
			return fmt.Errorf("imap login: %w", err)
		}
		selected, err := s.client.Select(s.c.Mailbox, nil).Wait()
		if err != nil {
			return fmt.Errorf("select %s: %w", s.c.Mailbox, err)
		}
		s.validity = selected.UIDValidity
		s.idle = s.client.Caps().Has(imap.CapIdle)
		return nil
	})
}

// within ends a command by closing the connection when the server does not answer in time: the library waits for ever.
func (s *session) within(ctx context.Context, limit time.Duration, command func() error) error {
	late := time.AfterFunc(limit, func() { _ = s.client.Close() })
	defer late.Stop()
	stop := context.AfterFunc(ctx, func() { _ = s.client.Close() })
	defer stop()
	return command()
}

// sync stores every mail that has no row yet. whole also looks below the newest row: for one that failed, was flagged
// unread again, or appeared while this house was down.
func (s *session) sync(ctx context.Context, whole bool) error {
	var newest int64
	err := s.c.Pool.QueryRow(ctx, `select coalesce(max(uid), 0) from mails_in where mailbox = $1 and uidvalidity = $2`,
		s.c.mailbox, int64(s.validity)).Scan(&newest)
	if err != nil {
		return fmt.Errorf("newest mail: %w", err)
	}
	known := map[imap.UID]bool{imap.UID(newest): true} // "5:*" finds 4 when there is no 5 (RFC 3501, section 9, seq-range)
	var uids []imap.UID
	if whole || newest == 0 {
		if known, err = s.known(ctx); err != nil {
			return err
		}
		uids, err = s.searchAll(ctx, known)
	} else {
		uids, err = s.search(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{{imap.UIDRange{Start: imap.UID(newest) + 1}}}})
	}
	if err != nil {
		return err
	}
	for _, uid := range uids {
		if known[uid] {
			continue
		}
		if err := s.take(ctx, uid); err != nil {
			return err
		}
	}
	return nil
}

// searchAll lists what a first look or a look after a break must take. Three cases: a mailbox never seen (only what is
// unread and young), one seen under this UIDVALIDITY (all since its first row), one whose UIDVALIDITY has changed (all
// since the first row's day; digests tell which were received already).
func (s *session) searchAll(ctx context.Context, known map[imap.UID]bool) ([]imap.UID, error) {
	var first *time.Time
	err := s.c.Pool.QueryRow(ctx, `select min(stored_at) from mails_in where mailbox = $1`, s.c.mailbox).Scan(&first)
	if err != nil {
		return nil, fmt.Errorf("first mail: %w", err)
	}
	since := time.Now().Add(-lookBack)
	if first != nil {
		since = first.Add(-lookBack)
	}
	uids, err := s.search(ctx, &imap.SearchCriteria{Since: since, NotFlag: []imap.Flag{imap.FlagSeen}})
	if err != nil || first == nil {
		return uids, err
	}
	criteria := &imap.SearchCriteria{Since: first.Add(-24 * time.Hour)}
	if oldest := lowest(known); oldest > 0 {
		criteria = &imap.SearchCriteria{UID: []imap.UIDSet{{imap.UIDRange{Start: oldest}}}}
	}
	more, err := s.search(ctx, criteria)
	if err != nil {
		return nil, err
	}
	set := imap.UIDSetNum(append(uids, more...)...) // sorts
	all, _ := set.Nums()
	return all, nil
}

func lowest(known map[imap.UID]bool) (oldest imap.UID) {
	for uid := range known {
		if oldest == 0 || uid < oldest {
			oldest = uid
		}
	}
	return oldest
}

func (s *session) search(ctx context.Context, criteria *imap.SearchCriteria) (uids []imap.UID, err error) {
	err = s.within(ctx, answerLimit, func() error {
		found, err := s.client.UIDSearch(criteria, nil).Wait()
		if err != nil {
			return fmt.Errorf("imap search: %w", err)
		}
		uids = found.AllUIDs()
		return nil
	})
	return uids, err
}

func (s *session) known(ctx context.Context) (map[imap.UID]bool, error) {
	rows, err := s.c.Pool.Query(ctx, `select uid from mails_in where mailbox = $1 and uidvalidity = $2`, s.c.mailbox, int64(s.validity))
	if err != nil {
		return nil, fmt.Errorf("known mails: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("known mails: %w", err)
	}
	known := make(map[imap.UID]bool, len(list))
	for _, uid := range list {
		known[imap.UID(uid)] = true
	}
	return known, nil
}

// take stores one mail, commits, and only then marks it as read in the mailbox. Of a mail larger than the limit it
// stores one byte more than the limit, which is how inbound.go knows.
func (s *session) take(ctx context.Context, uid imap.UID) error {
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: 0, Size: s.c.Largest + 1}}
	var raw []byte
	found := false
	err := s.within(ctx, fetchLimit, func() error {
		got, err := s.client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			return fmt.Errorf("fetch mail %d: %w", uid, err)
		}
		for _, m := range got {
			for _, b := range m.BodySection {
				raw, found = b.Bytes, true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !found {
		return nil // gone since the search
	}
	if err := s.c.store(ctx, s.validity, uid, raw); err != nil {
		return err
	}
	signal(s.c.parsed)
	return s.within(ctx, answerLimit, func() error {
		err := s.client.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close()
		var refused *imap.Error
		if errors.As(err, &refused) {
			s.c.Log.Warn("mail: flag refused", "uid", uid, "err", err) // a read-only mailbox works all the same
			return nil
		}
		return err
	})
}

// store commits the raw mail. When the mailbox got a new UIDVALIDITY (RFC 3501, 2.3.1.1) every mail comes again under
// new numbers: one with the digest of an older row is that mail, not another. The Message-ID has no say in it.
func (c *Channel) store(ctx context.Context, validity uint32, uid imap.UID, raw []byte) error {
	digest := sha256.Sum256(raw)
	_, err := c.Pool.Exec(ctx, `insert into mails_in (mailbox, uidvalidity, uid, digest, raw, verdict, handled_at, conversation_id)
		select $1, $2, $3, $4, $5, case when t.id is null then '' else 'twin' end, case when t.id is not null then now() end, t.conversation_id
		from (select 1) one left join lateral (
			select id, conversation_id from mails_in where digest = $4 and mailbox = $1 and uidvalidity <> $2 order by id limit 1) t on true
		on conflict (mailbox, uidvalidity, uid) do nothing`, c.mailbox, int64(validity), int64(uid), digest[:], raw)
	if err != nil {
		return fmt.Errorf("store mail %d: %w", uid, err)
	}
	return nil
}

// wait blocks until the server tells of a new mail or it is time to look; whole tells which.
func (s *session) wait(ctx context.Context, lease *pgxpool.Conn) (whole bool, err error) {
	limit := idleFor
	if s.idle {
		var idle *imapclient.IdleCommand
		err := s.within(ctx, answerLimit, func() (err error) { idle, err = s.client.Idle(); return err })
		if err != nil {
			return false, fmt.Errorf("idle: %w", err)
		}
		defer func() {
			if done := s.within(ctx, answerLimit, func() error { return errors.Join(idle.Close(), idle.Wait()) }); err == nil && done != nil {
				err = fmt.Errorf("idle: %w", done)
			}
		}()
	} else {
		limit = pollEvery
	}
	look := time.NewTimer(limit)
	defer look.Stop()
	proof := time.NewTicker(leaseEvery)
	defer proof.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-s.client.Closed():
			return false, errors.New("imap connection closed")
		case <-s.news:
			return false, nil
		case <-look.C:
			return true, nil
		case <-proof.C:
			// Without its connection the lock is gone and another process may fetch already.
			ping, cancel := context.WithTimeout(ctx, leaseEvery)
			err := lease.Ping(ping)
			cancel()
			if err != nil {
				return false, fmt.Errorf("mailbox lease: %w", err)
			}
		}
	}
}

// signal wakes who waits on c, if it does not already know.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
