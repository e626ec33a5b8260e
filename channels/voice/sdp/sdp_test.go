package sdp

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var here = netip.MustParseAddrPort("198.51.100.1:7000")

// lines makes a description of the session lines that each one has, and more.
func lines(more ...string) []byte {
	head := []string{"v=0", "o=x 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"}
	return []byte(strings.Join(append(append(head, more...), ""), "\r\n"))
}

func parsed(t testing.TB, body []byte) *Session {
	t.Helper()
	s, err := Parse(body)
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return s
}

var same = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreFields(Crypto{}, "said")}

// after gives the lines of a description behind the t-line.
func after(body []byte) []string {
	_, rest, _ := strings.Cut(string(body), "t=0 0\r\n")
	return strings.Split(strings.TrimSuffix(rest, "\r\n"), "\r\n")
}

var both = Prefs{Codecs: []string{PCMU, PCMA}}

// TestAnswer: what an offer is answered with, line by line, and what is agreed on.
func TestAnswer(t *testing.T) {
	theirs := netip.MustParseAddrPort("192.0.2.1:4000")
	base := Terms{Codec: PCMU, Ptime: 20, Remote: theirs, RTCP: netip.MustParseAddrPort("192.0.2.1:4001"), Dir: SendRecv}
	terms := func(change func(*Terms)) Terms {
		c := base
		change(&c)
		return c
	}
	all := Prefs{Codecs: []string{Opus, G722, PCMU, PCMA}, Comfort: true, Mux: true}
	for name, c := range map[string]struct {
		prefs Prefs
		offer []string
		want  []string
		terms Terms
	}{
		"static": {both, []string{"m=audio 4000 RTP/AVP 0"},
			[]string{"m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"}, base},
		"our order": {both, []string{"m=audio 4000 RTP/AVP 18 8 0"},
			[]string{"m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"}, base},
		"keys at 8000": {both, []string{"m=audio 4000 RTP/AVP 8 96 97", "a=rtpmap:96 telephone-event/48000", "a=rtpmap:97 TELEPHONE-EVENT/8000", "a=fmtp:97 0-15"},
			[]string{"m=audio 7000 RTP/AVP 8 97", "a=rtpmap:8 PCMA/8000", "a=rtpmap:97 telephone-event/8000", "a=fmtp:97 0-16", "a=ptime:20", "a=sendrecv"},
			terms(func(t *Terms) { t.Codec, t.PayloadType, t.Events, t.EventsClock = PCMA, 8, 97, 8000 })},
		"opus, keys at 48000": {all, []string{"m=audio 4000 RTP/AVP 0 9 111 101 110 13", "a=rtpmap:111 OPUS/48000/2", "a=fmtp:111 minptime=10; useinbandfec=1",
			"a=rtpmap:101 telephone-event/8000", "a=rtpmap:110 telephone-event/48000"},
			[]string{"m=audio 7000 RTP/AVP 111 110", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 useinbandfec=1", "a=rtpmap:110 telephone-event/48000",
				"a=fmtp:110 0-16", "a=ptime:20", "a=sendrecv"},
			terms(func(t *Terms) {
				t.Codec, t.PayloadType, t.Events, t.EventsClock, t.FEC = Opus, 111, 110, 48000, true
			})},
		"opus, keys at 8000 only": {all, []string{"m=audio 4000 RTP/AVP 96 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000"},
			[]string{"m=audio 7000 RTP/AVP 96 101", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=sendrecv"},
			terms(func(t *Terms) { t.Codec, t.PayloadType, t.Events, t.EventsClock = Opus, 96, 101, 8000 })},
		"g722, comfort, mux": {all, []string{"m=audio 4000 RTP/AVPF 0 9 13", "a=rtpmap:9 G722/8000", "a=rtcp-mux", "a=ptime:30"},
			[]string{"m=audio 7000 RTP/AVPF 9 13", "a=rtpmap:9 G722/8000", "a=rtpmap:13 CN/8000", "a=ptime:20", "a=rtcp-mux", "a=sendrecv"},
			terms(func(t *Terms) {
				t.Codec, t.PayloadType, t.Comfort, t.Mux, t.RTCP, t.Ptime = G722, 9, 13, true, theirs, 30
			})},
		"comfort not understood": {both, []string{"m=audio 4000 RTP/AVP 0 13"},
			[]string{"m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"}, base},
		"dynamic G.711": {both, []string{"m=audio 4000 RTP/AVP 99", "a=rtpmap:99 PCMU/8000/1"},
			[]string{"m=audio 7000 RTP/AVP 99", "a=rtpmap:99 PCMU/8000", "a=ptime:20", "a=sendrecv"}, terms(func(t *Terms) { t.PayloadType = 99 })},
		"static number with another meaning": {both, []string{"m=audio 4000 RTP/AVP 0 8", "a=rtpmap:0 foo/8000"},
			[]string{"m=audio 7000 RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=ptime:20", "a=sendrecv"}, terms(func(t *Terms) { t.Codec, t.PayloadType = PCMA, 8 })},
		"every stream in its place": {both, []string{"a=sendonly", "m=video 5000 RTP/AVP 31", "m=audio 4000/2 RTP/AVP 0", "c=IN IP4 192.0.2.2", "m=audio 4002 RTP/AVP 0", "m=image 1 udptl t38", "m=x 9 y"},
			[]string{"m=video 0 RTP/AVP 31", "m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=recvonly", "m=audio 0 RTP/AVP 0", "m=image 0 UDPTL t38", "m=x 0 Y 0"},
			terms(func(t *Terms) {
				t.Remote, t.RTCP = netip.MustParseAddrPort("192.0.2.2:4000"), netip.MustParseAddrPort("192.0.2.2:4001")
				t.Held, t.Dir = true, RecvOnly
			})},
		"rtcp elsewhere": {both, []string{"m=audio 4000 RTP/AVP 0", "a=rtcp:5001 IN IP4 192.0.2.7"},
			[]string{"m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"},
			terms(func(t *Terms) { t.RTCP = netip.MustParseAddrPort("192.0.2.7:5001") })},
		"maxptime": {both, []string{"m=audio 4000 RTP/AVP 0", "a=ptime:40", "a=maxptime:35"},
			[]string{"m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"}, terms(func(t *Terms) { t.Ptime = 30 })},
		"IPv6 in brackets": {both, []string{"m=audio 4000 RTP/AVP 0", "c=IN IP6 [2001:db8::1]"},
			[]string{"m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"},
			terms(func(t *Terms) {
				t.Remote, t.RTCP = netip.MustParseAddrPort("[2001:db8::1]:4000"), netip.MustParseAddrPort("[2001:db8::1]:4001")
			})},
		"IPv6": {both, []string{"m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"},
			[]string{"m=audio 7000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"},
			terms(func(t *Terms) {
				t.Remote, t.RTCP = netip.MustParseAddrPort("[2001:db8::1]:4000"), netip.MustParseAddrPort("[2001:db8::1]:4001")
			})},
	} {
		t.Run(name, func(t *testing.T) {
			body, got, err := NewLocal(here).Answer(parsed(t, lines(c.offer...)), c.prefs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, after(body)); diff != "" {
				t.Errorf("answer: %s", diff)
			}
			if diff := cmp.Diff(c.terms, got, same); diff != "" {
				t.Errorf("terms: %s", diff)
			}
		})
	}
}

// TestDirections: every form of hold, and what we would like ourselves.
func TestDirections(t *testing.T) {
	for _, c := range []struct {
		theirs, addr, ours string
		dir                string
		held               bool
	}{
		{SendRecv, "IN IP4 192.0.2.1", "", SendRecv, false}, {SendOnly, "IN IP4 192.0.2.1", "", RecvOnly, true},
		{RecvOnly, "IN IP4 192.0.2.1", "", SendOnly, false}, {Inactive, "IN IP4 192.0.2.1", "", Inactive, true},
		{SendRecv, "IN IP4 0.0.0.0", "", RecvOnly, true}, {SendOnly, "IN IP4 0.0.0.0", "", RecvOnly, true},
		{Inactive, "IN IP4 0.0.0.0", "", Inactive, true}, {RecvOnly, "IN IP6 ::", "", Inactive, true}, {SendRecv, "IN IP6 ::", "", RecvOnly, true},
		{SendRecv, "IN IP4 192.0.2.1", SendOnly, SendOnly, false}, {RecvOnly, "IN IP4 192.0.2.1", RecvOnly, Inactive, false},
		{SendOnly, "IN IP4 192.0.2.1", Inactive, Inactive, true},
	} {
		for _, place := range []string{"stream", "session"} {
			offer := []string{"c=" + c.addr, "m=audio 4000 RTP/AVP 0", "a=" + c.theirs}
			if place == "session" {
				offer = []string{"c=" + c.addr, "a=" + strings.ToUpper(c.theirs), "m=audio 4000 RTP/AVP 0"}
			}
			body, got, err := NewLocal(here).Answer(parsed(t, lines(offer...)), Prefs{Codecs: []string{PCMU}, Dir: c.ours})
			if err != nil {
				t.Fatal(err)
			}
			if got.Dir != c.dir || got.Held != c.held || !slices.Contains(after(body), "a="+c.dir) {
				t.Errorf("%s %s, we %q (%s): %s held=%v, want %s %v\n%s", c.theirs, c.addr, c.ours, place, got.Dir, got.Held, c.dir, c.held, body)
			}
		}
	}
}

// TestVersion rises when we say something else, and only then; refused offers leave no trace in Again.
func TestVersion(t *testing.T) {
	l := NewLocal(here)
	version := func(body []byte) string {
		return strings.Fields(string(body[strings.Index(string(body), "o="):]))[2]
	}
	offer := parsed(t, lines("m=video 1 RTP/AVP 31", "m=audio 4000 RTP/AVP 0 120", "a=rtpmap:120 telephone-event/8000"))
	hold := parsed(t, lines("m=video 1 RTP/AVP 31", "m=audio 4000 RTP/AVP 0 120", "a=rtpmap:120 telephone-event/8000", "a=sendonly"))
	answer := func(s *Session) []byte {
		body, _, err := l.Answer(s, both)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	first := answer(offer)
	if again := answer(offer); version(first) != "1" || string(again) != string(first) || string(l.Again()) != string(first) {
		t.Errorf("the same once more:\n%s\n%s", first, again)
	}
	if v := version(answer(hold)); v != "2" {
		t.Errorf("hold has version %s", v)
	}
	if v := version(answer(offer)); v != "3" {
		t.Errorf("resume has version %s", v)
	}
	standing := string(l.Again())
	ours, err := l.Offer(both)
	if err != nil {
		t.Fatal(err)
	}
	// Number and place of the streams stay, and the number of the keys.
	if want := []string{"m=video 0 RTP/AVP 31", "m=audio 7000 RTP/AVP 0 8 120"}; !slices.Equal(after(ours)[:2], want) || version(ours) != "4" {
		t.Errorf("our offer:\n%s", ours)
	}
	if string(l.Again()) != standing {
		t.Errorf("an offer that nobody has accepted is taken for agreed:\n%s", l.Again())
	}
	if twice, _ := l.Offer(both); string(twice) != string(ours) {
		t.Errorf("the same offer again:\n%s", twice)
	}
	if _, err := l.Accept(parsed(t, lines("m=video 0 RTP/AVP 31", "m=audio 4000 RTP/AVP 0"))); err != nil || string(l.Again()) != string(ours) {
		t.Errorf("accepted: %v\n%s", err, l.Again())
	}
}

// TestOfferAccept: our offers, and the answers to them that are one and those that are none.
func TestOfferAccept(t *testing.T) {
	wide := Prefs{Codecs: []string{Opus, G722, PCMA}, Comfort: true, Mux: true}
	l := NewLocal(netip.MustParseAddrPort("[2001:db8::5]:7000"))
	if _, err := l.Accept(parsed(t, lines("m=audio 4000 RTP/AVP 0"))); err == nil {
		t.Error("an answer without an offer is accepted")
	}
	body, err := l.Offer(wide)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"m=audio 7000 RTP/AVP 96 9 8 101 13 102", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1", "a=rtpmap:9 G722/8000", "a=rtpmap:8 PCMA/8000",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=rtpmap:13 CN/8000", "a=rtpmap:102 telephone-event/48000", "a=fmtp:102 0-16", "a=ptime:20", "a=rtcp-mux", "a=sendrecv"}, after(body)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(body), "c=IN IP6 2001:db8::5\r\n") {
		t.Errorf("address:\n%s", body)
	}
	for name, c := range map[string]struct {
		answer []string
		want   string // of the error; "" = accepted
		codec  string
		events uint8
	}{
		"first of ours":    {[]string{"m=audio 4000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000"}, "", PCMA, 101},
		"one beside ours":  {[]string{"m=audio 4000 RTP/AVP 0 9"}, "", G722, 0},
		"their numbers":    {[]string{"m=audio 4000 RTP/AVP 111 112", "a=rtpmap:111 opus/48000/2", "a=rtpmap:112 telephone-event/48000"}, "", Opus, 112},
		"other codec":      {[]string{"m=audio 4000 RTP/AVP 0"}, "no codec that we offered", "", 0},
		"more streams":     {[]string{"m=audio 4000 RTP/AVP 8", "m=video 1 RTP/AVP 31"}, "1 streams offered, 2 answered", "", 0},
		"refused":          {[]string{"m=audio 0 RTP/AVP 8"}, "refuses sound", "", 0},
		"something else":   {[]string{"m=image 4000 udptl t38"}, "image over UDPTL answered", "", 0},
		"only keys":        {[]string{"m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"}, "no codec", "", 0},
		"secure, no keys":  {[]string{"m=audio 4000 RTP/SAVP 8"}, "no keys", "", 0},
		"host name":        {[]string{"m=audio 4000 RTP/AVP 8", "c=IN IP4 host.example"}, "no IP address", "", 0},
		"multicast":        {[]string{"m=audio 4000 RTP/AVP 8", "c=IN IP4 224.2.1.1/127"}, "no single host", "", 0},
		"without a c-line": {nil, "no c-line", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			answer := lines(c.answer...)
			if c.answer == nil {
				answer = []byte("v=0\r\nm=audio 4000 RTP/AVP 8\r\n")
			}
			got, err := l.Accept(parsed(t, answer))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			if err != nil || got.Codec != c.codec || got.Events != c.events {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	if _, err := l.Offer(Prefs{Codecs: []string{"GSM"}}); !errors.Is(err, ErrNotAcceptable) {
		t.Errorf("an offer without codecs: %v", err)
	}
	// We hold by description: that they mirror us is no hold of theirs.
	if _, err := l.Offer(Prefs{Codecs: wide.Codecs, Dir: Inactive}); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Accept(parsed(t, lines("m=audio 4000 RTP/AVP 8", "a=inactive"))); err != nil || got.Held || got.Dir != Inactive {
		t.Errorf("%+v %v", got, err)
	}
}

// TestRefusedOffers: what we cannot take, with its words.
func TestRefusedOffers(t *testing.T) {
	for want, offer := range map[string][]string{
		"no common codec":   {"m=audio 4000 RTP/AVP 18 96", "a=rtpmap:96 iLBC/8000"},
		"no sound":          {"m=video 4000 RTP/AVP 31", "m=audio 0 RTP/AVP 0"},
		"only encrypted":    {"m=audio 4000 RTP/SAVP 0"},
		"no IP address":     {"m=video 1 RTP/AVP 31", "m=audio 4000 RTP/AVP 0", "c=IN IP4 host.example"},
		"no single host":    {"m=audio 4000 RTP/AVP 0", "c=IN IP4 255.255.255.255"},
		"no sound is offer": {"m=audio 4000 RTP/XAVP 0"},
	} {
		l := NewLocal(here)
		_, _, err := l.Answer(parsed(t, lines(offer...)), both)
		if !errors.Is(err, ErrNotAcceptable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if l.Again() != nil || l.version != 0 {
			t.Error("a refused offer leaves a trace")
		}
	}
}

func TestUnreadable(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "noise": "hello\r\nworld", "version": "v=1\r\nm=audio 1 RTP/AVP 0\r\n", "no version": "m=audio 1 RTP/AVP 0\r\n",
		"no streams": string(lines()), "port": string(lines("m=audio 65536 RTP/AVP 0")), "negative port": string(lines("m=audio -1 RTP/AVP 0")),
		"short": string(lines("m=audio 4000")), "network": string(lines("c=AF IP4 192.0.2.1", "m=audio 4000 RTP/AVP 0")), "family": string(lines("c=IN IP7 192.0.2.1", "m=audio 4000 RTP/AVP 0")),
		"too long": string(lines("m=audio 1 RTP/AVP 0", "a="+strings.Repeat("x", maxSDP))), "streams": string(lines(strings.Repeat("m=audio 1 RTP/AVP 0\r\n", maxStreams+1))),
		"control": string(lines("m=audio 1 RTP/\x01AVP 0")),
	} {
		if _, err := Parse([]byte(body)); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFromBody(t *testing.T) {
	body := "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 0\r\n\r\n--b--\r\n"
	found, err := FromBody("multipart/mixed;boundary=b", []byte(body))
	if err != nil || !strings.HasPrefix(string(found), "v=0\r\nm=audio") {
		t.Errorf("%q %v", found, err)
	}
	if _, err := FromBody("multipart/mixed;boundary=c", []byte(body)); !errors.Is(err, ErrNoDescription) {
		t.Error("no error for a multipart without a description")
	}
	for kind, want := range map[string]string{"": "x", "application/sdp": "x", "application/sdp;=": "x", "text/plain": ""} {
		if found, err := FromBody(kind, []byte("x")); err != nil || string(found) != want {
			t.Errorf("%q: %q %v", kind, found, err)
		}
	}
}

const testKey = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz" // of RFC 4568 section 6.1

func crypto(tag, suite, behind string) string {
	return "a=crypto:" + tag + " " + suite + " inline:" + testKey + behind
}

// TestSecureAnswer: offers with keys, under every policy.
func TestSecureAnswer(t *testing.T) {
	const cm80, cm32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
	gcm := "a=crypto:3 AEAD_AES_128_GCM inline:" + base64.StdEncoding.EncodeToString(make([]byte, 28))
	print256 := "a=fingerprint:SHA-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
	print384 := "a=fingerprint:sha-384 " + strings.TrimSuffix(strings.Repeat("0C:", 48), ":")
	sha1 := "a=fingerprint:sha-1 " + strings.TrimSuffix(strings.Repeat("AB:", 20), ":")
	prefs := func(srtp, keys string, tls bool) Prefs {
		p := Prefs{Codecs: []string{PCMU}, SRTP: srtp, Keys: keys, Secure: tls}
		if keys == DTLS {
			p.Fingerprint = "sha-256 00:11"
		}
		return p
	}
	for name, c := range map[string]struct {
		prefs Prefs
		offer []string
		want  []string // lines that must be there; those with "!" must not
		err   string
	}{
		"off, AVP with keys":              {prefs(Off, SDES, true), []string{"m=audio 4000 RTP/AVP 0", crypto("1", cm80, "")}, []string{"m=audio 7000 RTP/AVP 0", "!a=crypto"}, ""},
		"off, SAVP":                       {prefs(Off, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, "")}, nil, "only encrypted"},
		"off, both":                       {prefs(Off, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, ""), "m=audio 4002 RTP/AVP 0"}, []string{"m=audio 0 RTP/SAVP 0", "m=audio 7000 RTP/AVP 0", "!a=crypto"}, ""},
		"optional, both":                  {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/SAVP 0", crypto("1", cm80, "")}, []string{"m=audio 0 RTP/AVP 0", "m=audio 7000 RTP/SAVP 0", "a=crypto:1 " + cm80}, ""},
		"optional, AVP with keys":         {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", crypto("1", cm80, "")}, []string{"m=audio 7000 RTP/AVP 0", "a=crypto:1 " + cm80}, ""},
		"optional, AVP":                   {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0"}, []string{"m=audio 7000 RTP/AVP 0", "!a=crypto"}, ""},
		"optional, unknown suite":         {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", crypto("1", "F8_128_HMAC_SHA1_80", "")}, []string{"!a=crypto"}, ""},
		"optional, outside TLS":           {prefs(Optional, SDES, false), []string{"m=audio 4000 RTP/AVP 0", crypto("1", cm80, "")}, []string{"!a=crypto"}, ""},
		"required, outside TLS":           {prefs(Required, SDES, false), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, "")}, nil, "outside TLS"},
		"optional, SAVP outside TLS":      {prefs(Optional, SDES, false), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, "")}, nil, "outside TLS"},
		"required, AVP":                   {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/AVP 0"}, nil, "no usable keys"},
		"required, AVP with keys":         {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/AVP 0", crypto("1", cm80, "")}, []string{"a=crypto:1 " + cm80}, ""},
		"required, SAVP without keys":     {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0"}, nil, "no usable keys"},
		"best suite, their spelling":      {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVPF 0", crypto("1", "aes_cm_128_hmac_sha1_32", ""), crypto("007", "aEs_Cm_128_hmac_sha1_80", "")}, []string{"a=crypto:7 aEs_Cm_128_hmac_sha1_80"}, ""},
		"GCM first":                       {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, ""), gcm}, []string{"a=crypto:3 AEAD_AES_128_GCM"}, ""},
		"tag zero":                        {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("0", cm80, "")}, []string{"a=crypto:0 "}, ""},
		"lifetime":                        {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, "|2^31 WSH=128 -X")}, []string{"a=crypto:1 "}, ""},
		"key identifier":                  {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, "|2^31|1:4")}, nil, "no usable keys"},
		"key identifier on one line":      {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, "|2^31|1:4"), crypto("2", cm32, "")}, []string{"a=crypto:2 " + cm32}, ""},
		"several keys":                    {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, "|1:4;inline:"+testKey+"|2:4")}, nil, "no usable keys"},
		"session parameter":               {prefs(Required, SDES, true), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", cm80, " UNENCRYPTED_SRTP")}, nil, "no usable keys"},
		"tag twice":                       {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", crypto("1", cm80, ""), crypto("1", cm32, "")}, nil, "tag of"},
		"tag no number":                   {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", crypto("x", cm80, "")}, nil, "tag of"},
		"no key":                          {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", "a=crypto:1 " + cm80}, nil, "without a key"},
		"empty key":                       {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", "a=crypto:1 " + cm80 + " inline:"}, nil, "key of"},
		"key too long":                    {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", crypto("1", cm80, "AAAA")}, nil, "key of"},
		"key of another method":           {prefs(Optional, SDES, true), []string{"m=audio 4000 RTP/AVP 0", "a=crypto:1 " + cm80 + " outline:" + testKey}, nil, "key of"},
		"DTLS, they may choose":           {prefs(Required, DTLS, false), []string{"m=audio 4000 UDP/TLS/RTP/SAVPF 0", print256, "a=setup:actpass"}, []string{"m=audio 7000 UDP/TLS/RTP/SAVPF 0", "a=setup:passive", "a=fingerprint:sha-256 00:11"}, ""},
		"DTLS, they wait":                 {prefs(Required, DTLS, false), []string{"a=setup:passive", print256, "m=audio 4000 UDP/TLS/RTP/SAVP 0"}, []string{"a=setup:active"}, ""},
		"DTLS, they begin":                {prefs(Optional, DTLS, false), []string{"m=audio 4000 RTP/SAVP 0", print384, print256, "a=setup:active"}, []string{"a=setup:passive"}, ""},
		"DTLS, opportunistic":             {prefs(Optional, DTLS, false), []string{"m=audio 4000 RTP/AVP 0", print256, "a=setup:actpass"}, []string{"m=audio 7000 RTP/AVP 0", "a=fingerprint:sha-256 00:11"}, ""},
		"DTLS on hold":                    {prefs(Required, DTLS, false), []string{"m=audio 4000 UDP/TLS/RTP/SAVP 0", print256, "a=setup:holdconn"}, nil, "no usable keys"},
		"DTLS with SHA-1":                 {prefs(Required, DTLS, false), []string{"m=audio 4000 UDP/TLS/RTP/SAVP 0", sha1, "a=setup:actpass"}, nil, "no usable keys"},
		"DTLS without a certificate":      {prefs(Required, SDES, true), []string{"m=audio 4000 UDP/TLS/RTP/SAVP 0", print256}, nil, "no usable keys"},
		"both kinds of keys, DTLS wanted": {Prefs{Codecs: []string{PCMU}, SRTP: Optional, Keys: DTLS, Fingerprint: "sha-256 00:11", Secure: true}, []string{"m=audio 4000 RTP/SAVP 0", print256, crypto("1", cm80, "")}, []string{"a=fingerprint:sha-256 00:11", "!a=crypto"}, ""},
		"both kinds of keys, SDES wanted": {Prefs{Codecs: []string{PCMU}, SRTP: Optional, Keys: SDES, Fingerprint: "sha-256 00:11", Secure: true}, []string{"m=audio 4000 RTP/SAVP 0", print256, crypto("1", cm80, "")}, []string{"a=crypto:1", "!a=fingerprint"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body, got, err := NewLocal(here).Answer(parsed(t, lines(c.offer...)), c.prefs)
			if c.err != "" {
				if !errors.Is(err, ErrNotAcceptable) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range c.want {
				no, text := strings.HasPrefix(line, "!"), strings.TrimPrefix(line, "!")
				if strings.Contains(string(body), "\r\n"+text) == no {
					t.Errorf("%q:\n%s", line, body)
				}
			}
			if got.Encrypted() != (strings.Contains(string(body), "a=crypto") || strings.Contains(string(body), "a=fingerprint")) {
				t.Errorf("%+v says something else than\n%s", got, body)
			}
		})
	}
}

// TestSecureBetweenUs: our offers answered by ourselves: both sides hold the same keys, crossed; roles of DTLS differ and
// stay; what must be encrypted is never answered in the clear.
func TestSecureBetweenUs(t *testing.T) {
	prefs := func(srtp, keys string) Prefs {
		return Prefs{Codecs: []string{PCMU}, SRTP: srtp, Keys: keys, Secure: true,
			Fingerprint: "sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":")}
	}
	a, b := NewLocal(here), NewLocal(netip.MustParseAddrPort("192.0.2.1:4000"))
	exchange := func(from, to *Local, p, q Prefs) (Terms, Terms) {
		t.Helper()
		offer, err := from.Offer(p)
		if err != nil {
			t.Fatal(err)
		}
		answer, theirs, err := to.Answer(parsed(t, offer), q)
		if err != nil {
			t.Fatalf("%v\n%s", err, offer)
		}
		ours, err := from.Accept(parsed(t, answer))
		if err != nil {
			t.Fatalf("%v\n%s", err, answer)
		}
		return ours, theirs
	}
	ours, theirs := exchange(a, b, prefs(Optional, SDES), prefs(Required, SDES))
	if ours.SDES == nil || string(ours.SDES.Local) != string(theirs.SDES.Remote) || string(ours.SDES.Remote) != string(theirs.SDES.Local) || len(ours.SDES.Local) != 28 || ours.SDES.Suite != "AEAD_AES_128_GCM" {
		t.Errorf("%+v %+v", ours.SDES, theirs.SDES)
	}
	again, _ := exchange(b, a, prefs(Required, SDES), prefs(Optional, SDES))
	if string(again.SDES.Local) != string(theirs.SDES.Local) {
		t.Error("a second exchange has another key")
	}
	// What we answered is said again to refresh the session: the answer to it has their tag, which is not one of our offers'.
	odd := NewLocal(here)
	said, first, err := odd.Answer(parsed(t, lines("m=audio 4000 RTP/SAVP 0", crypto("9", "AES_CM_128_HMAC_SHA1_80", ""))), prefs(Required, SDES))
	if err != nil || string(odd.Again()) != string(said) {
		t.Fatal(err)
	}
	if again, err := odd.Accept(parsed(t, lines("m=audio 4000 RTP/SAVP 0", crypto("9", "AES_CM_128_HMAC_SHA1_80", "")))); err != nil || string(again.SDES.Local) != string(first.SDES.Local) {
		t.Errorf("a refresh: %v %+v", err, again.SDES)
	}
	if _, err := odd.Accept(parsed(t, lines("m=audio 4000 RTP/SAVP 0", crypto("8", "AES_CM_128_HMAC_SHA1_80", "")))); err == nil {
		t.Error("another tag is taken")
	}
	if offer, err := a.Offer(prefs(Off, SDES)); err != nil || !strings.Contains(string(offer), "a=crypto") {
		t.Errorf("encryption falls away in a session: %v\n%s", err, offer)
	}
	a, b = NewLocal(here), NewLocal(netip.MustParseAddrPort("192.0.2.1:4000"))
	ours, theirs = exchange(a, b, prefs(Required, DTLS), prefs(Optional, DTLS))
	if ours.DTLS == nil || theirs.DTLS == nil || !ours.DTLS.Client || theirs.DTLS.Client || ours.DTLS.Hash != "sha-256" || len(ours.DTLS.Sum) != 32 {
		t.Errorf("%+v %+v", ours.DTLS, theirs.DTLS)
	}
	if theirs, ours = exchange(b, a, prefs(Optional, DTLS), prefs(Required, DTLS)); !ours.DTLS.Client || theirs.DTLS.Client {
		t.Errorf("the roles change in a session: %+v %+v", ours.DTLS, theirs.DTLS)
	}
	for name, c := range map[string]struct {
		prefs  Prefs
		answer []string
		want   string
	}{
		"plain":          {prefs(Required, SDES), []string{"m=audio 4000 RTP/AVP 0"}, "no keys"},
		"plain to DTLS":  {prefs(Required, DTLS), []string{"m=audio 4000 RTP/AVP 0"}, "no keys"},
		"tag of another": {prefs(Required, SDES), []string{"m=audio 4000 RTP/SAVP 0", crypto("1", "AES_CM_128_HMAC_SHA1_80", "")}, "not one that we offered"},
		"two":            {prefs(Optional, SDES), []string{"m=audio 4000 RTP/AVP 0", crypto("3", "AES_CM_128_HMAC_SHA1_80", ""), crypto("4", "AES_CM_128_HMAC_SHA1_32", "")}, "not one that we offered"},
		"fingerprint":    {prefs(Optional, DTLS), []string{"m=audio 4000 RTP/AVP 0", "a=fingerprint:sha-256 AB"}, "fingerprint"},
	} {
		l := NewLocal(here)
		if _, err := l.Offer(c.prefs); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Accept(parsed(t, lines(c.answer...))); !errors.Is(err, ErrNotAcceptable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := NewLocal(here).Offer(Prefs{Codecs: []string{PCMU}, SRTP: Required, Keys: SDES}); err == nil {
		t.Error("SDES keys are offered outside TLS")
	}
	if offer, err := NewLocal(here).Offer(Prefs{Codecs: []string{PCMU}, SRTP: Optional, Keys: SDES}); err != nil || strings.Contains(string(offer), "crypto") {
		t.Errorf("SDES keys are offered outside TLS: %v\n%s", err, offer)
	}
}
