package agents

import (
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

func withPassword(h *house, l *Login, id int64, password string) {
	h.Helper()
	link, err := SignInLink(h.ctx, h.pool, id)
	h.ok(err)
	token, _, err := l.SignInByLink(h.ctx, link, "::1")
	h.ok(err)
	s, err := l.Session(h.ctx, token)
	h.ok(err)
	h.ok(l.SetPassword(h.ctx, s, "", password, "::1"))
}

func TestSignIn(t *testing.T) {
	h := newHouse(t)
	mira := h.agent("Mira")
	l := NewLogin(h.pool)
	withPassword(h, l, mira, "correct horse")

	_, _, wrong := l.SignIn(h.ctx, "mira", "wrong horse", "::1")
	_, _, unknown := l.SignIn(h.ctx, "nobody", "wrong horse", "::1")
	refusedWith(t, wrong, channels.Unauthorized, "The login or the password is wrong.")
	if wrong.Error() != unknown.Error() {
		t.Errorf("the answers differ: %v, %v", wrong, unknown)
	}
	token, id, err := l.SignIn(h.ctx, " MIRA ", "correct horse", "::1")
	h.ok(err)
	s, err := l.Session(h.ctx, token)
	h.ok(err)
	if id != mira || s.AgentID != mira || s.Role != "agent" {
		t.Errorf("%d, %+v", id, s)
	}
	if n := ask[int64](h, `select count(*) from sign_in_failures where subject = 'login:mira'`); n != 0 {
		t.Errorf("%d failures stay after a sign-in", n)
	}
	if n := ask[int64](h, `select count(*) from sign_in_failures where subject = 'ip:::1'`); n != 2 {
		t.Errorf("%d failures of the address, want 2", n)
	}
	h.ok(l.SignOut(h.ctx, s))
	_, err = l.Session(h.ctx, token)
	refusedWith(t, err, channels.Unauthorized, "")
}

// The time of a refusal must not tell whether the login exists. Medians of interleaved tries, wide margins: the point
// is that both hash, which takes some 30 ms, and that neither answers in one.
func TestRefusalTakesTheSameTime(t *testing.T) {
	h := newHouse(t)
	l := NewLogin(h.pool)
	withPassword(h, l, h.agent("Mira"), "correct horse")
	times := map[string][]time.Duration{}
	for range 5 {
		for _, name := range []string{"mira", "nobody"} {
			h.exec(`delete from sign_in_failures`)
			start := time.Now()
			if _, _, err := l.SignIn(h.ctx, name, "wrong horse", "::1"); err == nil {
				t.Fatal("signed in")
			}
			times[name] = append(times[name], time.Since(start))
		}
	}
	median := func(d []time.Duration) time.Duration {
		sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
		return d[len(d)/2]
	}
	known, unknown := median(times["mira"]), median(times["nobody"])
	if ratio := float64(known) / float64(unknown); ratio < 0.5 || ratio > 2 {
		t.Errorf("known %s, unknown %s", known, unknown)
	}
	p, _, _, err := argon2id.DecodeHash(nobody)
	h.ok(err)
	if *p != hashing {
		t.Errorf("the dummy hash costs %+v, real ones %+v", *p, hashing)
	}
}

func TestTooManyTries(t *testing.T) {
	h := newHouse(t)
	l := NewLogin(h.pool)
	withPassword(h, l, h.agent("Mira"), "correct horse")
	var wg sync.WaitGroup
	refused := make(chan channels.Code, 12)
	for range 12 { // at once: none may slip through
		wg.Go(func() {
			_, _, err := l.SignIn(h.ctx, "mira", "wrong horse", "::1")
			refused <- channels.CodeOf(err)
		})
	}
	wg.Wait()
	close(refused)
	count := map[channels.Code]int{}
	for code := range refused {
		count[code]++
	}
	if count[channels.Unauthorized] != 5 || count[channels.TooMany] != 7 {
		t.Errorf("%v, want 5 checked and 7 refused", count)
	}
	_, _, err := l.SignIn(h.ctx, "mira", "correct horse", "::2")
	refusedWith(t, err, channels.TooMany, "")
	h.exec(`update sign_in_failures set at = at - interval '15 minutes'`)
	_, _, err = l.SignIn(h.ctx, "mira", "correct horse", "::1")
	h.ok(err)

	for range 20 {
		if _, _, err = l.SignInByLink(h.ctx, "guess", "::3"); channels.CodeOf(err) != channels.Unauthorized {
			t.Fatal(err)
		}
	}
	_, _, err = l.SignInByLink(h.ctx, "guess", "::3")
	refusedWith(t, err, channels.TooMany, "")
}

func TestLinkWorksOnceAndNotForEver(t *testing.T) {
	h := newHouse(t)
	l := NewLogin(h.pool)
	mira := h.agent("Mira")
	link, err := SignInLink(h.ctx, h.pool, mira)
	h.ok(err)
	_, id, err := l.SignInByLink(h.ctx, link, "::1")
	if err != nil || id != mira {
		t.Fatal(id, err)
	}
	_, _, err = l.SignInByLink(h.ctx, link, "::1")
	refusedWith(t, err, channels.Unauthorized, "")
	link, err = SignInLink(h.ctx, h.pool, mira)
	h.ok(err)
	h.exec(`update sign_in_links set expires_at = now()`)
	_, _, err = l.SignInByLink(h.ctx, link, "::1")
	refusedWith(t, err, channels.Unauthorized, "")
}

func TestSessionSlidesAndEnds(t *testing.T) {
	h := newHouse(t)
	l := NewLogin(h.pool)
	mira := h.agent("Mira")
	token, err := l.open(h.ctx, h.pool, mira)
	h.ok(err)
	h.exec(`update sessions set expires_at = now() + interval '1 hour'`)
	s, err := l.Session(h.ctx, token)
	h.ok(err)
	if left := ask[float64](h, `select extract(epoch from expires_at - now())::float8 from sessions`); left < 11.9*3600 {
		t.Errorf("%.0f s left", left)
	}
	alive, err := l.Alive(h.ctx, [][]byte{s.Hash, digest("other")})
	if err != nil || len(alive) != 1 {
		t.Errorf("%d alive, %v", len(alive), err)
	}
	h.exec(`update sessions set expires_at = now()`)
	h.ok(l.Extend(h.ctx, [][]byte{s.Hash}))
	_, err = l.Session(h.ctx, token)
	refusedWith(t, err, channels.Unauthorized, "")
	h.ok(l.Sweep(h.ctx))
	if n := ask[int64](h, `select count(*) from sessions`); n != 0 {
		t.Errorf("%d sessions after the sweep", n)
	}
}

func TestPasswordEndsOtherSessions(t *testing.T) {
	h := newHouse(t)
	l := NewLogin(h.pool)
	mira := h.agent("Mira")
	mine, err := l.open(h.ctx, h.pool, mira)
	h.ok(err)
	other, err := l.open(h.ctx, h.pool, mira)
	h.ok(err)
	s, err := l.Session(h.ctx, mine)
	h.ok(err)
	refusedWith(t, l.SetPassword(h.ctx, s, "", "short", "::1"), channels.Invalid, "")
	h.ok(l.SetPassword(h.ctx, s, "", "correct horse", "::1"))
	if _, err := l.Session(h.ctx, mine); err != nil {
		t.Error(err)
	}
	_, err = l.Session(h.ctx, other)
	refusedWith(t, err, channels.Unauthorized, "")
	refusedWith(t, l.SetPassword(h.ctx, s, "wrong horse", "another horse", "::1"), channels.Invalid, "")
	h.ok(l.SetPassword(h.ctx, s, "correct horse", "another horse", "::1"))
}

func TestPromise(t *testing.T) {
	h := newHouse(t)
	mira := h.agent("Mira")
	id := h.waits(channels.Chat)
	in := func(do func(tx pgx.Tx) error) { h.Helper(); h.ok(pgx.BeginFunc(h.ctx, h.pool, do)) }
	var due time.Time
	in(func(tx pgx.Tx) (err error) {
		var opened bool
		if due, opened, err = OpenPromise(h.ctx, tx, id, "words"); !opened {
			t.Error("not opened")
		}
		return err
	})
	if left := time.Until(due); left < 170*time.Second || left > 190*time.Second {
		t.Errorf("due in %s, want 180 s", left)
	}
	in(func(tx pgx.Tx) error {
		again, opened, err := OpenPromise(h.ctx, tx, id, "button")
		if opened || !again.Equal(due) {
			t.Errorf("asked twice: %v, %s, was %s", opened, again, due)
		}
		return err
	})
	in(func(tx pgx.Tx) error { return KeepPromise(h.ctx, tx, id, mira) })
	in(func(tx pgx.Tx) error { return ClosePromiseByContact(h.ctx, tx, id) })
	if s := ask[string](h, `select format('%s %s', closed_by, agent_id = $1) from promises where closed_at is not null`, mira); s != "agent t" {
		t.Errorf("promise: %s", s)
	}
}
