package agents

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
)

const (
	sessionFor   = 12 * time.Hour
	linkFor      = 24 * time.Hour
	failuresFor  = 15 * time.Minute
	loginTries   = 5  // wrong passwords for one login in failuresFor
	addressTries = 20 // and from one address
	hashesAtOnce = 2  // each takes 19 MiB
)

// hashing is OWASP's second choice for argon2id: 19 MiB, two passes, one lane.
var hashing = argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// nobody is the hash of a random password that was thrown away; unknown logins are compared with it, so that they take
// as long as known ones.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$jW4nHsRCWoI00t86Xu4CHg$xwC+acSPOcyiyiNMgWrkNWWoGSt88UGSgGmiDGpR4Ww"

// Session is a signed-in browser.
type Session struct {
	Hash      []byte // SHA-256 of the cookie's token; the token itself is nowhere
	AgentID   int64
	Role      string
	ExpiresAt time.Time
}

// Login is the door: passwords, one-time links and sessions. Its limits are rows, shared by all nodes.
type Login struct {
	pool  *pgxpool.Pool
	slots chan struct{} // bounds the memory of concurrent password hashing
}

// NewLogin builds the door.
func NewLogin(pool *pgxpool.Pool) *Login {
	return &Login{pool: pool, slots: make(chan struct{}, hashesAtOnce)}
}

// SignIn checks the password and opens a session; token goes into the cookie. An unknown login and a wrong password
// get the same answer after the same time: unauthorized; too many of either: too_many.
func (l *Login) SignIn(ctx context.Context, name, password, ip string) (token string, agentID int64, err error) {
	name = login(name)
	try, err := l.countTry(ctx, name, ip)
	if err != nil {
		return "", 0, err
	}
	found, err := one[struct {
		ID           int64
		PasswordHash string
	}](ctx, l.pool, "find login", `select id, password_hash from agents where login = $1`, name)
	if err != nil {
		return "", 0, err
	}
	hash := nobody
	if found != nil && found.PasswordHash != "" {
		hash = found.PasswordHash
	}
	match, err := l.compare(ctx, password, hash)
	if err != nil {
		return "", 0, err
	}
	if !match || found == nil || hash == nobody {
		return "", 0, channels.Fail(channels.Unauthorized, "The login or the password is wrong.")
	}
	if err := l.forgive(ctx, name, try); err != nil {
		return "", 0, err
	}
	token, err = l.open(ctx, l.pool, found.ID)
	return token, found.ID, err
}

// SignInByLink trades a one-time token for a session.
func (l *Login) SignInByLink(ctx context.Context, link, ip string) (token string, agentID int64, err error) {
	try, err := l.countTry(ctx, "", ip)
	if err != nil {
		return "", 0, err
	}
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `update sign_in_links set used_at = clock_timestamp()
			where token_hash = $1 and used_at is null and expires_at > clock_timestamp() returning agent_id`, digest(link)).Scan(&agentID)
		if errors.Is(err, pgx.ErrNoRows) {
			return channels.Fail(channels.Unauthorized, "This link has been used or has run out. Ask for a new one.")
		}
		if err != nil {
			return fmt.Errorf("use link: %w", err)
		}
		token, err = l.open(ctx, tx, agentID)
		return err
	})
	if err != nil {
		return "", 0, err
	}
	return token, agentID, l.forgive(ctx, "", try)
}

// SignInLink makes a one-time link's token for the agent, good for a day.
func SignInLink(ctx context.Context, pool *pgxpool.Pool, agentID int64) (token string, err error) {
	token = random()
	_, err = pool.Exec(ctx, `insert into sign_in_links (token_hash, agent_id, expires_at) values ($1, $2, clock_timestamp() + $3::interval)`,
		digest(token), agentID, linkFor)
	if err != nil {
		return "", fmt.Errorf("make sign-in link: %w", err)
	}
	return token, nil
}

// Session returns who holds token and moves its end to 12 hours from now; unauthorized when it has none.
func (l *Login) Session(ctx context.Context, token string) (Session, error) {
	hash := digest(token)
	s, err := one[struct {
		AgentID   int64
		Role      string
		ExpiresAt time.Time
		Old       bool
	}](ctx, l.pool, "read session", `select s.agent_id, a.role, s.expires_at,
			s.expires_at < clock_timestamp() + $2::interval - interval '1 minute' as old
		from sessions s join agents a on a.id = s.agent_id where s.token_hash = $1 and s.expires_at > clock_timestamp()`, hash, sessionFor)
	if err != nil {
		return Session{}, err
	}
	if s == nil {
		return Session{}, channels.Fail(channels.Unauthorized, "Sign in first.")
	}
	if s.Old { // at most one write a minute
		if err := l.Extend(ctx, [][]byte{hash}); err != nil {
			return Session{}, err
		}
	}
	return Session{Hash: hash, AgentID: s.AgentID, Role: s.Role, ExpiresAt: s.ExpiresAt}, nil
}

// Extend moves the end of these sessions to 12 hours from now; an ended one stays ended.
func (l *Login) Extend(ctx context.Context, hashes [][]byte) error {
	_, err := l.pool.Exec(ctx, `update sessions set expires_at = clock_timestamp() + $2::interval
		where token_hash = any($1) and expires_at > clock_timestamp()`, hashes, sessionFor)
	if err != nil {
		return fmt.Errorf("extend session: %w", err)
	}
	return nil
}

// Alive returns those of the sessions that have not ended.
func (l *Login) Alive(ctx context.Context, hashes [][]byte) ([][]byte, error) {
	rows, err := l.pool.Query(ctx, `select token_hash from sessions where token_hash = any($1) and expires_at > clock_timestamp()`, hashes)
	if err == nil {
		var alive [][]byte
		if alive, err = pgx.CollectRows(rows, pgx.RowTo[[]byte]); err == nil {
			return alive, nil
		}
	}
	return nil, fmt.Errorf("living sessions: %w", err)
}

// SignOut ends the session.
func (l *Login) SignOut(ctx context.Context, s Session) error {
	if _, err := l.pool.Exec(ctx, `delete from sessions where token_hash = $1`, s.Hash); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// SetPassword sets the agent's password, ends its other sessions and its unused links. Whoever has a password must
// name it; who came by a link and has none need not.
func (l *Login) SetPassword(ctx context.Context, s Session, current, password, ip string) error {
	if n := utf8.RuneCountInString(password); n < 10 || n > 1000 {
		return channels.FailField(channels.Invalid, "password", "A password has at least 10 characters.")
	}
	name, err := scalar[string](ctx, l.pool, "find login", `select login from agents where id = $1`, s.AgentID)
	if err != nil {
		return err
	}
	old, err := scalar[string](ctx, l.pool, "read password", `select password_hash from agents where id = $1`, s.AgentID)
	if err != nil {
		return err
	}
	if old != "" { // guessing here is as limited as at the door
		try, err := l.countTry(ctx, name, ip)
		if err != nil {
			return err
		}
		match, err := l.compare(ctx, current, old)
		if err != nil {
			return err
		}
		if !match {
			return channels.FailField(channels.Invalid, "current", "That is not the current password.")
		}
		if err := l.forgive(ctx, name, try); err != nil {
			return err
		}
	}
	hash, err := l.hash(ctx, password)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update agents set password_hash = $2 where id = $1 and password_hash = $3`, s.AgentID, hash, old)
		if err != nil {
			return fmt.Errorf("set password: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return channels.Fail(channels.Conflict, "The password was changed a moment ago.")
		}
		if _, err := tx.Exec(ctx, `delete from sessions where agent_id = $1 and token_hash <> $2`, s.AgentID, s.Hash); err != nil {
			return fmt.Errorf("end other sessions: %w", err)
		}
		if _, err := tx.Exec(ctx, `delete from sign_in_links where agent_id = $1`, s.AgentID); err != nil {
			return fmt.Errorf("drop links: %w", err)
		}
		return nil
	})
}

// Sweep deletes sessions, links and counted tries that no longer matter. Once an hour is enough.
func (l *Login) Sweep(ctx context.Context) error {
	for _, sql := range []string{
		`delete from sessions where expires_at < clock_timestamp()`,
		`delete from sign_in_links where expires_at < clock_timestamp()`,
		`delete from sign_in_failures where at < clock_timestamp() - interval '1 day'`,
	} {
		if _, err := l.pool.Exec(ctx, sql); err != nil {
			return fmt.Errorf("sweep logins: %w", err)
		}
	}
	return nil
}

func (l *Login) open(ctx context.Context, q channels.Querier, agentID int64) (token string, err error) {
	token = random()
	_, err = scalar[int64](ctx, q, "open session", `insert into sessions (token_hash, agent_id, expires_at)
		values ($1, $2, clock_timestamp() + $3::interval) returning agent_id`, digest(token), agentID, sessionFor)
	return token, err
}

// countTry counts a try before it is checked, so that many at once cannot slip through, and refuses when there were
// too many. It returns the try's own mark, with which forgive finds it again.
func (l *Login) countTry(ctx context.Context, name, ip string) (mark time.Time, err error) {
	subjects := []string{"ip:" + ip} // always locked in this order
	if name != "" {
		subjects = append(subjects, "login:"+name)
	}
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		for i, subject := range subjects {
			if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, subject); err != nil {
				return fmt.Errorf("lock tries: %w", err)
			}
			n, err := scalar[int64](ctx, tx, "count tries",
				`select count(*) from sign_in_failures where subject = $1 and at > clock_timestamp() - $2::interval`, subject, failuresFor)
			if err != nil {
				return err
			}
			if n >= []int64{addressTries, loginTries}[i] {
				return channels.Fail(channels.TooMany, "Too many tries. Wait a quarter of an hour.")
			}
		}
		mark, err = scalar[time.Time](ctx, tx, "count try", `with m as (select clock_timestamp() as at), i as (
			insert into sign_in_failures (subject, at) select s, m.at from unnest($1::text[]) s, m)
			select at from m`, subjects)
		return err
	})
	return mark, err
}

// forgive forgets the tries for a login that has just been signed in, and the one at mark from its address.
func (l *Login) forgive(ctx context.Context, name string, mark time.Time) error {
	_, err := l.pool.Exec(ctx, `delete from sign_in_failures where $1 <> '' and subject = 'login:' || $1
		or subject like 'ip:%' and at = $2`, name, mark)
	if err != nil {
		return fmt.Errorf("forgive tries: %w", err)
	}
	return nil
}

func (l *Login) slot(ctx context.Context) (release func(), err error) {
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, channels.Fail(channels.Unavailable, "Too many people are signing in. Try again.")
	}
}

func (l *Login) compare(ctx context.Context, password, hash string) (bool, error) {
	release, err := l.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return match, nil
}

func (l *Login) hash(ctx context.Context, password string) (string, error) {
	release, err := l.slot(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	hash, err := argon2id.CreateHash(password, &hashing)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// login is how a login is stored and compared.
func login(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func random() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

func digest(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}
