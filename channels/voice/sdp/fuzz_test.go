package sdp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var fuzzPrefs = Prefs{Codecs: []string{Opus, G722, PCMU, PCMA}, Comfort: true, Mux: true, SRTP: Optional, Keys: SDES, Secure: true,
	Fingerprint: "sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":")}

// FuzzAnswer: no description breaks us. What we answer can be read again, has as many streams, accepts nothing that was
// not offered, and says the same when asked again; and no answer to an offer of ours breaks Accept.
func FuzzAnswer(f *testing.F) {
	f.Add(lines("m=audio 4000 RTP/AVP 0 8 101", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=sendrecv"))
	f.Add([]byte("v=0\r\nc=IN IP6 ::1\r\nm=audio 1 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\na=inactive\r\nm=x 0 y\r\n"))
	f.Add(lines("m=audio 4000 RTP/SAVP 111 9", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 useinbandfec=1", crypto("1", "AES_CM_128_HMAC_SHA1_80", "|2^31|1:4;inline:x")))
	f.Add(lines("a=setup:actpass", "a=fingerprint:"+fuzzPrefs.Fingerprint, "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=rtcp:1 IN IP4 192.0.2.9", "a=rtcp-mux", "a=maxptime:10"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := Parse(body)
		if err != nil {
			return
		}
		ours := NewLocal(here)
		if _, err := ours.Offer(fuzzPrefs); err != nil {
			t.Fatal(err)
		}
		_, _ = ours.Accept(s)
		l := NewLocal(here)
		answer, terms, err := l.Answer(s, fuzzPrefs)
		if err != nil {
			return
		}
		if again, same, err := l.Answer(s, fuzzPrefs); err != nil || string(again) != string(answer) || same.Codec != terms.Codec {
			t.Fatalf("%v\n%s\n%s", err, answer, again)
		}
		if len(answer) > maxSDP {
			return
		}
		back, err := Parse(answer)
		if err != nil {
			t.Fatalf("our answer cannot be read: %v\n%s", err, answer)
		}
		if len(back.streams) != len(s.streams) {
			t.Fatalf("%d streams answered with %d", len(s.streams), len(back.streams))
		}
		open := 0
		for i, b := range back.streams {
			if b.kind != s.streams[i].kind || b.protocol != s.streams[i].protocol {
				t.Fatalf("stream %d: %s %s", i, b.kind, b.protocol)
			}
			if b.port == 0 {
				continue
			}
			open++
			for _, f := range b.formats {
				if !slices.Contains(s.streams[i].formats, f) {
					t.Fatalf("format %s was not offered:\n%s", f, answer)
				}
			}
		}
		if open != 1 {
			t.Fatalf("%d streams are open", open)
		}
	})
}

// FuzzAgree: two of us always agree, whatever each wants, on the same codec, numbers and keys; or both see no way.
func FuzzAgree(f *testing.F) {
	f.Add(uint16(0x0123), uint16(0x4567))
	f.Fuzz(func(t *testing.T, x, y uint16) {
		wants := func(bits uint16) Prefs {
			p := fuzzPrefs
			p.Codecs = nil
			for i, c := range []string{PCMA, Opus, PCMU, G722} {
				if bits>>i&1 == 1 {
					p.Codecs = append(p.Codecs, c)
				}
			}
			p.Comfort, p.Mux, p.Secure = bits>>4&1 == 1, bits>>5&1 == 1, bits>>6&1 == 1
			p.Dir = []string{SendRecv, SendOnly, RecvOnly, Inactive}[bits>>7&3]
			p.SRTP = []string{Off, Optional, Required, ""}[bits>>9&3]
			p.Keys = []string{SDES, DTLS}[bits>>11&1]
			if bits>>12&1 == 1 {
				p.Fingerprint = ""
			}
			return p
		}
		a, b := NewLocal(here), NewLocal(netip.MustParseAddrPort("[2001:db8::1]:4000"))
		p, q := wants(x), wants(y)
		for turn := range 3 {
			body, err := a.Offer(p)
			if err != nil {
				return
			}
			offer, err := Parse(body)
			if err != nil {
				t.Fatalf("%v\n%s", err, body)
			}
			reply, theirs, err := b.Answer(offer, q)
			if err != nil {
				return
			}
			answer, err := Parse(reply)
			if err != nil {
				t.Fatalf("%v\n%s", err, reply)
			}
			ours, err := a.Accept(answer)
			if err != nil {
				t.Fatalf("turn %d: %v\n%s\n%s", turn, err, body, reply)
			}
			if ours.Encrypted() != theirs.Encrypted() || ours.SDES != nil && string(ours.SDES.Local) != string(theirs.SDES.Remote) ||
				ours.DTLS != nil && ours.DTLS.Client == theirs.DTLS.Client {
				t.Fatalf("turn %d: keys %+v %+v\n%s\n%s", turn, ours, theirs, body, reply)
			}
			if sends(ours.Dir) != receives(theirs.Dir) || receives(ours.Dir) != sends(theirs.Dir) {
				t.Fatalf("turn %d: %s and %s\n%s\n%s", turn, ours.Dir, theirs.Dir, body, reply)
			}
			pick := func(t Terms) []any {
				return []any{t.Codec, t.PayloadType, t.Events, t.EventsClock, t.Comfort, t.FEC, t.Mux, t.Ptime}
			}
			if diff := cmp.Diff(pick(ours), pick(theirs)); diff != "" {
				t.Fatalf("turn %d: %s\n%s\n%s", turn, diff, body, reply)
			}
			a, b, p, q = b, a, q, p
		}
	})
}
