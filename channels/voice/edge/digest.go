package edge

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// Algorithm of a digest. An account has one: phones break when they see another beside their own.
type Algorithm string

// What we challenge with.
const (
	MD5    Algorithm = "MD5"
	SHA256 Algorithm = "SHA-256"
)

// Account is who may log in.
type Account struct {
	User      string
	Algorithm Algorithm
	HA1       string // of that algorithm; see HA1
}

// HA1 is what is stored instead of a password (RFC 7616 section 3.4.2).
func HA1(a Algorithm, user, realm, password string) string {
	return a.sum(user, realm, password)
}

func (a Algorithm) sum(parts ...string) string {
	text := []byte(strings.Join(parts, ":"))
	if a == SHA256 {
		s := sha256.Sum256(text)
		return hex.EncodeToString(s[:])
	}
	s := md5.Sum(text)
	return hex.EncodeToString(s[:])
}

const (
	nonceTerm  = 5 * time.Minute
	maxNonces  = 20_000 // in use at once
	nonceBytes = 4 + 4 + 12
)

// Digest is the server's side of digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760). A nonce carries its
// own proof, so nothing is kept for who only asks; its counter is kept from its first use until it is too old.
type Digest struct {
	realm  string
	lookup func(user string) (Account, bool)
	key    [32]byte
	now    func() time.Time

	mu      sync.Mutex // guards the two below
	counts  map[string]int
	forgot  uint32 // counters of nonces issued up to this second may be gone: those are too old
	oldest  time.Time
	strange [2]Algorithm
}

// NewDigest makes one. Lookup is asked for each login and each challenge, also by the gate: it must answer from memory.
func NewDigest(realm string, lookup func(user string) (Account, bool)) (*Digest, error) {
	if realm == "" || strings.ContainsAny(realm, "\"\\\r\n") {
		return nil, fmt.Errorf("digest realm %q: a name without quotes expected", realm)
	}
	d := &Digest{realm: realm, lookup: lookup, now: time.Now, counts: make(map[string]int), strange: [2]Algorithm{MD5, MD5}}
	if _, err := rand.Read(d.key[:]); err != nil {
		return nil, fmt.Errorf("digest key: %w", err)
	}
	return d, nil
}

// account finds a user's account. Who is unknown gets one as well, always the same and with a password that nobody has:
// the answer and its cost are those of a known one.
func (d *Digest) account(user string) (a Account, known bool) {
	mac := hmac.New(sha256.New, d.key[:])
	mac.Write([]byte(user))
	sum := mac.Sum(nil)
	if a, known = d.lookup(user); known {
		if a.Algorithm == SHA256 {
			d.mu.Lock()
			d.strange[1] = SHA256 // from now on some of the unknown ones have it too
			d.mu.Unlock()
		} else {
			a.Algorithm = MD5
		}
		return a, true
	}
	d.mu.Lock()
	algorithm := d.strange[sum[0]&1]
	d.mu.Unlock()
	return Account{User: user, Algorithm: algorithm, HA1: hex.EncodeToString(sum)}, false
}

// challenge is the value of a WWW-Authenticate header.
func (d *Digest) challenge(user string, ip netip.Addr, stale bool) string {
	a, _ := d.account(user)
	text := `Digest realm="` + d.realm + `", nonce="` + d.nonce(ip) + `", algorithm=` + string(a.Algorithm) + `, qop="auth"`
	if stale {
		text += ", stale=true"
	}
	return text
}

// nonce is time, noise, and a proof that both are ours and for this address.
func (d *Digest) nonce(ip netip.Addr) string {
	var b [nonceBytes]byte
	binary.BigEndian.PutUint32(b[:], uint32(d.now().Unix()))
	_, _ = rand.Read(b[4:8]) // never fails (crypto/rand)
	copy(b[8:], d.proof(b[:8], ip))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (d *Digest) proof(b []byte, ip netip.Addr) []byte {
	mac := hmac.New(sha256.New, d.key[:])
	mac.Write(b)
	a := ip.As16()
	mac.Write(a[:])
	return mac.Sum(nil)[:nonceBytes-8]
}

// recognises tells whether a nonce is ours and this address's, and whether it is fresh.
func (d *Digest) recognises(nonce string, ip netip.Addr) (known, fresh bool) {
	var b [nonceBytes]byte
	if base64.RawURLEncoding.DecodedLen(len(nonce)) != len(b) {
		return false, false
	}
	if n, err := base64.RawURLEncoding.Decode(b[:], []byte(nonce)); err != nil || n != len(b) {
		return false, false
	}
	if !hmac.Equal(b[8:], d.proof(b[:8], ip)) {
		return false, false
	}
	issued := time.Unix(int64(binary.BigEndian.Uint32(b[:])), 0)
	age := d.now().Sub(issued)
	return true, age < nonceTerm && age > -nonceTerm
}

// count takes a nonce's counter: it must rise (RFC 7616 section 3.4.5). False: it did not, or nobody remembers.
func (d *Digest) count(nonce string, nc int) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != nonceBytes {
		return false
	}
	issued := binary.BigEndian.Uint32(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	last, used := d.counts[nonce]
	if !used && issued <= d.forgot {
		return false
	}
	if nc <= last {
		return false
	}
	if !used && len(d.counts) >= maxNonces {
		d.forget()
	}
	d.counts[nonce] = nc
	return true
}

// forget drops the counters of nonces that are too old. When all are young it drops them all, and with them the right to
// use what was issued until now: clients get stale=true and go on with a new one.
func (d *Digest) forget() {
	now := d.now()
	for nonce := range d.counts {
		b, err := base64.RawURLEncoding.DecodeString(nonce)
		if err != nil || now.Sub(time.Unix(int64(binary.BigEndian.Uint32(b)), 0)) >= nonceTerm {
			delete(d.counts, nonce)
		}
	}
	if len(d.counts) >= maxNonces*3/4 {
		clear(d.counts)
		d.forgot = uint32(now.Unix())
	}
}

var errNoLogin = errors.New("no login")

// login is the outcome of one check.
type login struct {
	account Account
	stale   bool  // right but for the nonce's age: to be asked again
	err     error // nil: logged in; errNoLogin: nothing to judge by
}

// check judges a request's Authorization.
func (d *Digest) check(req *sip.Request, ip netip.Addr) login {
	c := d.credentials(req)
	if c == nil {
		user := ""
		if f := req.From(); f != nil {
			user = f.Address.User
		}
		return login{account: Account{User: user}, err: errNoLogin}
	}
	a, exists := d.account(c.Username)
	out := login{account: a}
	known, fresh := d.recognises(c.Nonce, ip)
	if !known { // of our life before, or of another server
		out.err, out.stale = errNoLogin, true
		return out
	}
	algorithm := Algorithm(strings.ToUpper(c.Algorithm))
	if algorithm == "" {
		algorithm = MD5
	}
	want := a.Algorithm.sum(a.HA1, c.Nonce, fmt.Sprintf("%08x", c.Nc), c.Cnonce, "auth", a.Algorithm.sum(string(req.Method), c.URI))
	same := subtle.ConstantTimeCompare([]byte(strings.ToLower(c.Response)), []byte(want)) == 1
	switch {
	case !same || !exists:
		out.err = errors.New("wrong password or no such account")
	case algorithm != a.Algorithm || c.QOP != "auth" || c.Nc < 1 || c.Cnonce == "":
		out.err = errors.New("not the digest that was asked for")
	case !d.names(c.URI, req):
		out.err = errors.New("digest for another address")
	case !fresh || !d.count(c.Nonce, c.Nc):
		out.err, out.stale = errNoLogin, true
	}
	return out
}

// credentials are those for our realm; a request that came by a proxy may carry others.
func (d *Digest) credentials(req *sip.Request) *digest.Credentials {
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for _, h := range req.GetHeaders(name) {
			if c, err := digest.ParseCredentials(h.Value()); err == nil && c.Realm == d.realm {
				return c
			}
		}
	}
	return nil
}

// names: the digest must be for who is called, or somebody on the way could send an honest login elsewhere. Some phones
// name our host alone.
func (d *Digest) names(uri string, req *sip.Request) bool {
	var u sip.Uri
	return sip.ParseUri(uri, &u) == nil && (u.User == "" || u.User == req.Recipient.User)
}

// Authenticate checks who sends a request, by digest. Nil: it is account's. Otherwise the refusal is the answer, with a
// challenge; failed logins are counted against the address, a good one makes its address known to the gate.
func (e *Edge) Authenticate(req *sip.Request) (Account, *Refusal) {
	d := e.gate.digest
	src, err := netip.ParseAddrPort(req.Source())
	if d == nil || err != nil {
		return Account{}, Refuse(403, "Forbidden")
	}
	ip := bare(src.Addr())
	l := d.check(req, ip)
	switch {
	case l.err == nil:
		e.gate.welcome(ip)
		return l.account, nil
	case !errors.Is(l.err, errNoLogin):
		e.AuthFailed(ip, l.account.User)
	}
	return Account{}, Refuse(401, "Unauthorized", sip.NewHeader("WWW-Authenticate", d.challenge(l.account.User, ip, l.stale)))
}

// Login answers challenges as a client.
type Login struct {
	User, Password string

	mu    sync.Mutex
	nonce string
	count int
}

// strengths of what we can answer; RFC 8760 section 2.3 leaves the choice to us.
var strengths = map[string]int{"": 1, "MD5": 1, "SHA-256": 2, "SHA-512-256": 3, "SHA-512": 3}

// Answer adds to req the answer to the strongest of all challenges in a 401 or 407. The caller raises CSeq and changes
// the branch. It fails when no challenge can be answered.
func (l *Login) Answer(req *sip.Request, res *sip.Response) error {
	ask, reply := "WWW-Authenticate", "Authorization"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		ask, reply = "Proxy-Authenticate", "Proxy-Authorization"
	}
	var best *digest.Challenge
	for _, h := range res.GetHeaders(ask) {
		c, err := digest.ParseChallenge(h.Value())
		if err != nil || !digest.CanDigest(c) || len(c.QOP) > 0 && !c.SupportsQOP("auth") {
			continue
		}
		if best == nil || strengths[strings.ToUpper(c.Algorithm)] > strengths[strings.ToUpper(best.Algorithm)] {
			best = c
		}
	}
	if best == nil {
		return fmt.Errorf("%s: no challenge that we can answer", ask)
	}
	l.mu.Lock()
	if l.nonce != best.Nonce {
		l.nonce, l.count = best.Nonce, 0
	}
	l.count++
	count := l.count
	l.mu.Unlock()
	c, err := digest.Digest(best, digest.Options{Method: string(req.Method), URI: req.Recipient.Addr(), Count: count, Username: l.User, Password: l.Password})
	if err != nil {
		return fmt.Errorf("answer challenge: %w", err)
	}
	req.RemoveHeader(reply)
	req.AppendHeader(sip.NewHeader(reply, c.String()))
	return nil
}
