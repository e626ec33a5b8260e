package sdp

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// How keys are agreed.
const (
	SDES = "sdes" // RFC 4568: the keys stand in the description, so only inside TLS
	DTLS = "dtls" // RFC 5763: a handshake on the media path, the certificate named by its fingerprint
)

// Whether sound is encrypted.
const (
	Off      = "off"
	Optional = "optional"
	Required = "required"
)

// Crypto is a pair of SDES keys: each a master key with its salt behind it, as long as the suite wants.
type Crypto struct {
	Tag    int
	Suite  string // AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32, AEAD_AES_128_GCM, AEAD_AES_256_GCM
	Local  []byte // what we send is sealed with it
	Remote []byte // what comes is opened with it
	said   string // the suite as they spell it
}

// Fingerprint says whose handshake to believe, and who begins it.
type Fingerprint struct {
	Hash   string // sha-256, sha-384, sha-512
	Sum    []byte // of the other side's certificate
	Client bool   // we begin (a=setup:active)
}

// suites we speak, the best first: GCM costs a third of the others' CPU. The value is the length of key and salt.
var suites = []struct {
	name   string
	length int
}{
	{"AEAD_AES_128_GCM", 16 + 12}, {"AEAD_AES_256_GCM", 32 + 12}, // RFC 7714
	{"AES_CM_128_HMAC_SHA1_80", 16 + 14}, {"AES_CM_128_HMAC_SHA1_32", 16 + 14}, // RFC 4568 section 6.2
}

// cryptos reads a stream's a=crypto lines: those whose suite we speak. A broken line is an error: who wrote it meant to
// be encrypted, and plain sound is not what they expect.
func (s *stream) readCryptos() ([]Crypto, error) {
	var list []Crypto
	seen := map[int]bool{}
	for _, line := range s.cryptos {
		f := strings.Fields(line)
		if len(f) < 3 {
			return nil, fmt.Errorf("%w: a=crypto without a key", ErrNotAcceptable)
		}
		tag, err := strconv.ParseUint(f[0], 10, 30)
		if err != nil || seen[int(tag)] {
			return nil, fmt.Errorf("%w: tag of a=crypto", ErrNotAcceptable)
		}
		seen[int(tag)] = true
		c := Crypto{Tag: int(tag), said: f[1]}
		length := 0
		for _, suite := range suites {
			if strings.EqualFold(f[1], suite.name) {
				c.Suite, length = suite.name, suite.length
			}
		}
		if length == 0 {
			continue
		}
		key, usable, err := inlineKey(f[2], length)
		if err != nil {
			return nil, err
		}
		if c.Remote = key; usable && plainParams(f[3:]) {
			list = append(list, c)
		}
	}
	return list, nil
}

// inlineKey reads "inline:KEY|2^31|1:4", perhaps several behind ";" (RFC 4568 section 6.1). The lifetime is longer than
// any call. With a key identifier (MKI) each packet carries it, and several keys need one: we do not speak that, the
// line is readable but not usable.
func inlineKey(text string, length int) (key []byte, usable bool, err error) {
	usable = true
	for i, part := range strings.Split(text, ";") {
		method, info, _ := strings.Cut(part, ":")
		fields := strings.Split(info, "|")
		k, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(fields[0], "="))
		if !strings.EqualFold(method, "inline") || err != nil || len(k) != length || len(fields) > 3 {
			return nil, false, fmt.Errorf("%w: key of a=crypto", ErrNotAcceptable)
		}
		if i == 0 {
			key = k
		}
		for _, f := range fields[1:] {
			usable = usable && !strings.Contains(f, ":")
		}
		usable = usable && i == 0
	}
	return key, usable, nil
}

// plainParams tells whether we can do what stands behind the key: a line with a session parameter that is not understood
// must not be used, unless it begins with "-" (RFC 4568 section 6.3.7). WSH only hints.
func plainParams(params []string) bool {
	return !slices.ContainsFunc(params, func(p string) bool {
		return !strings.HasPrefix(p, "-") && !strings.HasPrefix(strings.ToUpper(p), "WSH=")
	})
}

// key is our key for a suite, the same one through the whole session: another would break what is on its way.
func (l *Local) key(suite string) []byte {
	if k, ok := l.keys[suite]; ok {
		return k
	}
	for _, s := range suites {
		if s.name == suite {
			k := make([]byte, s.length)
			rand.Read(k) // never fails
			l.keys[suite] = k
		}
	}
	return l.keys[suite]
}

func cryptoLine(tag int, suite string, key []byte) string {
	return fmt.Sprintf("a=crypto:%d %s inline:%s", tag, suite, base64.StdEncoding.EncodeToString(key))
}

// readFingerprint takes the strongest of a stream's fingerprints that we can check; nil: there is none.
func (s *stream) readFingerprint() *Fingerprint {
	var best *Fingerprint
	for _, line := range s.prints {
		name, digits, _ := strings.Cut(line, " ")
		name = strings.ToLower(name)
		sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(digits), ":", ""))
		length := map[string]int{"sha-256": 32, "sha-384": 48, "sha-512": 64}[name]
		if err != nil || length == 0 || len(sum) != length {
			continue
		}
		if best == nil || len(sum) > len(best.Sum) {
			best = &Fingerprint{Hash: name, Sum: sum}
		}
	}
	return best
}

// protocol families: which keys a stream's transport may have. AVP with keys is opportunistic (RFC 8643).
func (s *stream) secureProtocol() (known, secure bool) {
	switch s.protocol {
	case "RTP/AVP", "RTP/AVPF":
		return true, false
	case "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF":
		return true, true
	}
	return false, false
}

// secure settles the keys of an offered stream: SDES, DTLS, or neither.
func (l *Local) secure(s *stream, p Prefs, t *Terms) error {
	_, must := s.secureProtocol()
	if p.SRTP == Off || p.SRTP == "" {
		if must {
			return fmt.Errorf("%w: only encrypted sound is offered", ErrNotAcceptable)
		}
		return nil
	}
	order := []func() error{func() error { return l.secureSDES(s, p, t) }, func() error { l.secureDTLS(s, p, t); return nil }}
	if p.Keys == DTLS {
		slices.Reverse(order)
	}
	for _, try := range order {
		if err := try(); err != nil {
			return err
		}
		if t.Encrypted() {
			return nil
		}
	}
	switch {
	case len(s.cryptos) > 0 && !p.Secure && (must || p.SRTP == Required):
		return fmt.Errorf("%w: SDES keys outside TLS", ErrNotAcceptable)
	case must || p.SRTP == Required:
		return fmt.Errorf("%w: no usable keys for encrypted sound", ErrNotAcceptable)
	}
	return nil
}

func (l *Local) secureSDES(s *stream, p Prefs, t *Terms) error {
	if !p.Secure {
		return nil
	}
	list, err := s.readCryptos()
	if err != nil {
		return err
	}
	for _, suite := range suites {
		for _, c := range list {
			if c.Suite == suite.name && t.SDES == nil {
				c.Local = l.key(c.Suite)
				t.SDES = &c
			}
		}
	}
	return nil
}

// secureDTLS takes a fingerprint. Who offers actpass is left to begin: behind NAT only their packets find the way. In a
// session that runs the roles stay (RFC 8842 section 5.3).
func (l *Local) secureDTLS(s *stream, p Prefs, t *Terms) {
	print := s.readFingerprint()
	if print == nil || p.Fingerprint == "" || s.setup == "holdconn" {
		return
	}
	print.Client = s.setup == "passive" || s.setup == "actpass" && l.isClient
	t.DTLS = print
}

// offers tells whether an offer of ours has a key of that tag and suite. It may be an answer of ours that was said again.
func (o *proposal) offers(c Crypto) bool {
	ours, err := Parse(o.body)
	if err != nil {
		return false
	}
	list, err := ours.streams[o.index].readCryptos()
	return err == nil && slices.ContainsFunc(list, func(x Crypto) bool { return x.Tag == c.Tag && x.Suite == c.Suite })
}

// answered settles the keys of the answer to our offer.
func (l *Local) answered(s *stream, o *proposal, t *Terms) error {
	_, must := s.secureProtocol()
	switch {
	case o.keys == SDES && len(s.cryptos) > 0:
		list, err := s.readCryptos()
		if err != nil {
			return err
		}
		if len(list) != 1 || !o.offers(list[0]) {
			return fmt.Errorf("%w: the answer's a=crypto is not one that we offered", ErrNotAcceptable)
		}
		c := list[0]
		c.Local = l.key(c.Suite)
		t.SDES = &c
	case o.keys == DTLS && len(s.prints) > 0:
		print := s.readFingerprint()
		if print == nil {
			return fmt.Errorf("%w: the answer's fingerprint", ErrNotAcceptable)
		}
		print.Client = s.setup == "passive"
		t.DTLS = print
	case must || o.must:
		return fmt.Errorf("%w: the answer has no keys for encrypted sound", ErrNotAcceptable)
	}
	return nil
}
