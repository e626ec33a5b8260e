package media

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// Suite is how SRTP protects packets; its name is the one SDP gives it (RFC 4568 section 6.2, RFC 7714 section 14.2).
type Suite uint8

const (
	NoSuite    Suite = iota
	AESCM128         // AES_CM_128_HMAC_SHA1_80
	AESCM128x4       // AES_CM_128_HMAC_SHA1_32: a tag of 4 bytes on RTP, of 10 on RTCP
	AESGCM128        // AEAD_AES_128_GCM: a third of the CPU of the two above
	AESGCM256        // AEAD_AES_256_GCM
)

var suites = [...]struct {
	name    string
	profile srtp.ProtectionProfile
	key     int
	salt    int
}{
	NoSuite:    {"none", 0, 0, 0},
	AESCM128:   {"AES_CM_128_HMAC_SHA1_80", srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
	AESCM128x4: {"AES_CM_128_HMAC_SHA1_32", srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14},
	AESGCM128:  {"AEAD_AES_128_GCM", srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
	AESGCM256:  {"AEAD_AES_256_GCM", srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
}

// ParseSuite finds a suite by its name in SDP.
func ParseSuite(name string) (Suite, bool) {
	for s := AESCM128; int(s) < len(suites); s++ {
		if suites[s].name == name {
			return s, true
		}
	}
	return NoSuite, false
}

func (s Suite) String() string { return suites[s].name }

// KeySize is how many bytes the inline key of a=crypto has: the master key, then the master salt.
func (s Suite) KeySize() int { return suites[s].key + suites[s].salt }

// Security is how a leg's packets are protected; the zero value is not at all.
type Security struct {
	SDES *SDES
	DTLS *DTLS
}

// SDES is keys that came with the SDP (RFC 4568); the signalling must have been private.
type SDES struct {
	Suite  Suite
	Local  []byte // what we send with: key, then salt
	Remote []byte // what they send with; nil = their answer has not come, nothing is heard or sent before
}

// SetSecurity protects the leg from now on: after each negotiation, also when nothing changed. Keys that stay keep
// their packet counters; new ones from a re-INVITE replace the old, and for 5 s packets on their way under the old
// remote key are still heard. With DTLS nothing is heard or sent before the handshake has succeeded; call SetRemote
// first.
func (l *UDPLeg) SetSecurity(s Security) error {
	l.securing.Lock()
	defer l.securing.Unlock()
	switch {
	case s.SDES != nil:
		next, err := l.cipher.Load().renew(s.SDES.Suite, s.SDES.Local, s.SDES.Remote)
		if err != nil {
			return err
		}
		l.endDTLS()
		l.cipher.Store(next)
	case s.DTLS != nil:
		return l.startDTLS(*s.DTLS)
	default:
		l.endDTLS()
		l.cipher.Store(nil)
	}
	return nil
}

// Secured names what protects the leg: SDES, DTLS, or "" for nothing.
func (l *UDPLeg) Secured() string {
	switch {
	case l.dtls.Load() != nil:
		return "DTLS"
	case l.cipher.Load() != nil:
		return "SDES"
	}
	return ""
}

// oldKey is how long a replaced remote key is still good.
const oldKey = 5 * time.Second

// cipher protects a leg in both directions. Either direction is nil before its key is known: then nothing passes.
type cipher struct {
	out     *sealer
	in      *opener
	old     *opener // the one before, until ...
	oldGoes time.Time
}

// renew is a cipher with these keys; what did not change goes on as it is. The receiver may be nil.
func (c *cipher) renew(suite Suite, local, remote []byte) (*cipher, error) {
	if int(suite) >= len(suites) || suite == NoSuite {
		return nil, fmt.Errorf("srtp suite %d: unknown", suite)
	}
	if len(local) != suite.KeySize() || remote != nil && len(remote) != suite.KeySize() {
		return nil, fmt.Errorf("srtp key for %s: %d and %d bytes, must be %d", suite, len(local), len(remote), suite.KeySize())
	}
	if c == nil {
		c = &cipher{}
	}
	next := &cipher{out: c.out, in: c.in, old: c.old, oldGoes: c.oldGoes}
	if remote == nil {
		next.out, next.in = nil, nil
		return next, nil
	}
	if c.out == nil || !c.out.is(suite, local) {
		ctx, err := newContext(suite, local)
		if err != nil {
			return nil, err
		}
		next.out = &sealer{keyed: keyed{suite, bytes.Clone(local)}, ctx: ctx}
	}
	if c.in == nil || !c.in.is(suite, remote) {
		ctx, err := newContext(suite, remote)
		if err != nil {
			return nil, err
		}
		next.in = &opener{keyed: keyed{suite, bytes.Clone(remote)}, ctx: ctx}
		next.old, next.oldGoes = c.in, time.Now().Add(oldKey)
	}
	return next, nil
}

// srtpWindow is how late a packet may come before it counts as a replay (RFC 3711 section 3.3.2: at least 64).
const srtpWindow = 128

func newContext(suite Suite, key []byte) (*srtp.Context, error) {
	s := suites[suite]
	ctx, err := srtp.CreateContext(key[:s.key], key[s.key:], s.profile,
		srtp.SRTPReplayProtection(srtpWindow), srtp.SRTCPReplayProtection(srtpWindow))
	if err != nil {
		return nil, fmt.Errorf("srtp %s: %w", suite, err)
	}
	return ctx, nil
}

// keyed knows the key of one direction.
type keyed struct {
	suite Suite
	key   []byte
}

func (k keyed) is(suite Suite, key []byte) bool { return k.suite == suite && bytes.Equal(k.key, key) }

// sealer protects what we send.
type sealer struct {
	keyed
	mu     sync.Mutex // RTP by the output, RTCP by its own goroutine
	ctx    *srtp.Context
	header rtp.Header
	buf    [MaxPacket + 32]byte // the RTP packet's protected form; the output's lock guards it after mu is free
}

// opener checks and opens what we hear.
type opener struct {
	keyed
	mu     sync.Mutex
	ctx    *srtp.Context
	header rtp.Header
	buf    [MaxPacket]byte
}

var errNoKey = errors.New("no key yet")

// sealRTP protects a packet; the result is good until the next call.
func (c *cipher) sealRTP(b []byte) ([]byte, error) {
	s := c.out
	if s == nil {
		return nil, errNoKey
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header.Extensions = s.header.Extensions[:0]
	return s.ctx.EncryptRTP(s.buf[:], b, &s.header)
}

func (c *cipher) sealRTCP(b []byte) ([]byte, error) {
	s := c.out
	if s == nil {
		return nil, errNoKey
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx.EncryptRTCP(nil, b, nil)
}

// openRTP opens a packet in place. false = nobody with the key has sent it, or it came before.
func (c *cipher) openRTP(b []byte, now time.Time) (n int, ok bool) {
	if c.in == nil {
		return 0, false
	}
	if c.old == nil || now.After(c.oldGoes) {
		return c.in.open(b, b)
	}
	if n, ok = c.in.open(c.in.buf[:], b); ok { // not in place: a failure would leave nothing for the old key
		return copy(b, c.in.buf[:n]), true
	}
	return c.old.open(b, b)
}

func (o *opener) open(dst, b []byte) (n int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.header.Extensions = o.header.Extensions[:0]
	out, err := o.ctx.DecryptRTP(dst, b, &o.header)
	return len(out), err == nil
}

func (c *cipher) openRTCP(b []byte, now time.Time) ([]byte, bool) {
	for _, o := range []*opener{c.in, c.old} {
		if o == nil || o == c.old && now.After(c.oldGoes) {
			continue
		}
		o.mu.Lock()
		out, err := o.ctx.DecryptRTCP(nil, b, nil)
		o.mu.Unlock()
		if err == nil {
			return out, true
		}
	}
	return nil, false
}
