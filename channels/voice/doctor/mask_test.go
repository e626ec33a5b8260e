package doctor

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// personal is everything personal in a rich call.
type personal struct {
	number, ours, third, name, agent, host, callID, key, password, extension string
	phone, lan, far6                                                         netip.Addr
}

func drawPersonal(t *rapid.T) (p personal) {
	digits := rapid.StringMatching(`[1-9][0-9]{7,13}`)
	word := rapid.StringMatching(`[A-Z][a-z]{6,10}q`) // no word of the vocabulary ends so
	p = personal{number: "+" + digits.Draw(t, "number"), ours: digits.Draw(t, "ours"), third: "00" + digits.Draw(t, "third"), name: word.Draw(t, "name") + " " + word.Draw(t, "surname"),
		agent: word.Draw(t, "agent"), host: strings.ToLower(word.Draw(t, "host")) + ".example", callID: rapid.StringMatching(`[a-f0-9]{16}`).Draw(t, "call-id"),
		key: rapid.StringMatching(`[A-Za-z0-9+/]{40}`).Draw(t, "key"), password: rapid.StringMatching(`[a-f0-9]{32}`).Draw(t, "digest"), extension: rapid.StringMatching(`[a-z]{5,9}q`).Draw(t, "extension")}
	b := rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "address")
	p.phone = netip.AddrFrom4([4]byte{91, b[0], b[1], 200 + b[2]%50})
	p.lan = netip.AddrFrom4([4]byte{172, 16 + b[0]%16, b[1], 200 + b[2]%50})
	p.far6 = netip.MustParseAddr(fmt.Sprintf("2a02:8109:%x::%x", 0x1000+int(b[0]), 0x1000+int(b[1])))
	return p
}

// all are the strings that may stand in no file.
func (p personal) all() []string {
	list := []string{p.number, strings.TrimPrefix(p.number, "+"), p.ours, p.third, strings.TrimLeft(p.third, "0"), p.host, p.callID, p.key, p.password, p.extension,
		p.phone.String(), p.lan.String(), p.far6.String(), p.agent}
	return append(list, strings.Fields(p.name)...)
}

// rich is a call with all of it in every place where it may stand, and in some where it may not.
func (p personal) rich(t *rapid.T) Trace {
	c := goodCall()
	c.Number, c.Ours, c.Name, c.Node, c.Reason = p.number, p.ours, p.name, p.host, "refused by "+p.name+" "+p.number
	c.Result, c.State = "failed "+p.name, "ended"
	l := &c.Legs[0]
	l.SIPCallID, l.Number, l.Name, l.Source, l.Announced, l.Seen = p.callID+"@"+p.lan.String(), p.number, p.name, netip.AddrPortFrom(p.phone, 5060), netip.AddrPortFrom(p.lan, 40000), netip.AddrPortFrom(p.phone, 40112)
	l.SendsTo, l.End = l.Seen, &End{after(1), ByThem, 486, p.name + " is at " + p.third}
	l.Latch = []Decision{{At: after(1), From: l.Announced, To: l.Seen, Why: "their packets come from here " + p.name}}
	l.Slices[3].LostPercent = 20
	c.Legs[1].Name, c.Legs[1].Pair = p.agent, &Pair{Local: Candidate{netip.AddrPortFrom(p.far6, 1), "host " + p.name, "udp"}, Remote: Candidate{l.Seen, "srflx", p.key}}
	c.Events = append(c.Events, Event{after(3), 1, Asked, "transfer to " + p.third + " for " + p.name}, Event{after(3), 0, p.name, "key " + p.number})
	body := in("v=0", "o="+p.extension+" "+p.ours+" 2 IN IP4 "+p.lan.String(), "s="+p.name, "i="+p.number, "u=http://"+p.host, "e="+p.name+" <x@"+p.host+">", "p="+p.number,
		"c=IN IP4 "+p.lan.String(), "t="+p.ours+" 0", "m=audio 40000 RTP/SAVP 0 101", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+p.key+"|2^20", "a=rtpmap:101 telephone-event/8000",
		"a=rtpmap:97 "+p.extension+"/8000", "a=fmtp:101 0-16", "a=fmtp:97 x="+p.number, "a=ice-ufrag:"+p.extension, "a=ice-pwd:"+p.key, "a=fingerprint:sha-256 "+p.key,
		"a=candidate:1 1 UDP 2130706431 "+p.lan.String()+" 40000 typ host", "a=candidate:2 1 UDP 1 "+p.host+" 1 typ host", "a=rtcp:40001 IN IP4 "+p.phone.String(), "a="+p.extension+":"+p.name,
		"a=ssrc:1 cname:"+p.name, p.extension, "b="+p.ours, "k=clear:"+p.key, "")
	headers := []string{"Via: SIP/2.0/UDP " + p.lan.String() + ":5060;branch=z9hG4bK" + p.callID + ";received=" + p.phone.String() + ";rport=40000;" + p.extension + "=" + p.name, "v: SIP/2.0/TCP " + p.host + ";branch=" + p.number,
		`From: "` + p.name + `, \"x" <sip:` + p.number + ":" + p.password + "@" + p.host + ";user=phone;x=" + p.name + ">;tag=" + p.extension, "To: " + p.name + " <sip:" + p.ours + "@[" + p.far6.String() + "]:5060>",
		"i: " + p.callID + "@" + p.lan.String(), "CSeq: " + p.ours + " INVITE", "m: <sip:" + p.extension + "@" + p.lan.String() + ":5060;+sip.instance=\"<urn:" + p.key + ">\">;expires=60, sip:" + p.number + "@" + p.host + ";x=" + p.name,
		`Authorization: Digest username="` + p.extension + `", realm="` + p.host + `", response="` + p.password + `"`, "Proxy-Authenticate: Digest nonce=\"" + p.key + "\"", "User-Agent: " + p.name + "'s phone",
		"Server: Asterisk/18 " + p.host, "P-Asserted-Identity: \"" + p.name + "\" <tel:" + p.number + ";x=" + p.name + ">", "Diversion: <sip:" + p.third + "@" + p.host + ">;reason=" + p.extension, "Subject: " + p.name, "X-" + p.extension + ": " + p.number,
		"Refer-To: <sip:" + p.third + "@" + p.host + "?Replaces=" + p.callID + ">", "Replaces: " + p.callID + "@" + p.lan.String() + ";to-tag=" + p.extension, "Reason: Q.850;cause=16;text=\"" + p.name + "\"", "Reason: SIP;cause=" + p.ours,
		"Supported: 100rel, " + p.extension, "Allow: INVITE, " + p.extension, "RSeq: " + p.ours, "RAck: " + p.ours + " 1 " + p.extension, "Max-Forwards: " + p.number, "Session-Expires: 1800;refresher=" + p.extension,
		"Content-Type: application/sdp; x=" + p.name, "Content-Length: " + p.ours, " " + p.name, p.extension, "Warning: 399 " + p.host + " \"" + p.name + "\"", "Date: " + p.name, "Call-Info: <http://" + p.host + ">", "Event: " + p.extension}
	headers = rapid.Permutation(headers).Draw(t, "order")
	first := rapid.SampledFrom([]string{"INVITE sip:" + p.ours + "@" + p.host + " SIP/2.0", "SIP/2.0 486 " + p.name, "SIP/2.0 200 " + p.number, p.extension + " " + p.number + " SIP/2.0", "INVITE tel:" + p.number + " SIP/2.0", "SIP/2.0 " + p.number, p.name}).Draw(t, "first")
	kind := rapid.SampledFrom([]string{body, "Signal=" + p.ours + "\r\n", p.name, "<xml>" + p.number + "</xml>"}).Draw(t, "body")
	end := rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "end")
	c.Messages = append(c.Messages, Message{At: after(5), In: true, Transport: p.extension, Local: netip.AddrPortFrom(p.far6, 5060), Remote: l.Source, CallID: l.SIPCallID, Raw: strings.Join(append([]string{first}, headers...), end) + end + end + kind})
	return c
}

// files are what the bundle holds.
func files(t interface{ Fatal(...any) }, c Case) map[string]string {
	var b bytes.Buffer
	if err := Bundle(&b, c); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = string(text)
	}
	return all
}

// TestBundleHoldsNothingPersonal: no number, name, host, address, digit, key or digest of a call is in any file.
func TestBundleHoldsNothingPersonal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPersonal(t)
		facts := map[string]string{"sip.listen": p.phone.String() + ":5060", "sip.external_ip": p.far6.String(), "trunk.server": p.host + ":5061", "trunk.secret": p.password, "trunk.codecs": "PCMU, PCMA, " + p.extension, "calls": "12", "x": p.name}
		for name, text := range files(t, Case{Trace: p.rich(t), Version: p.name, Facts: facts}) {
			low := strings.ToLower(text)
			for _, secret := range p.all() {
				if i := strings.Index(low, strings.ToLower(secret)); i >= 0 {
					t.Fatalf("%s holds %q: …%s…", name, secret, text[max(0, i-60):min(len(text), i+60)])
				}
			}
		}
	})
}

// TestBundleStillTells: what helps is there, and the same original has the same stand-in.
func TestBundleStillTells(t *testing.T) {
	c := goodCall()
	l := &c.Legs[0]
	l.Announced, l.Seen, l.SendsTo = ap("192.168.1.4:40000"), ap("91.2.3.4:40112"), ap("91.2.3.4:40112")
	c.Messages[0] = invite(0, inner, 40000)
	if before := Examine(c); slices.ContainsFunc(before, func(v Verdict) bool { return v.Code == "alg" }) {
		t.Fatalf("%+v", before)
	}
	got := files(t, Case{Trace: c, Version: "v1.2.3", Facts: map[string]string{"rtp.port_min": "16384", "sip.trunks": "91.2.3.4, 10.1.1.1"}})
	if want := []string{"README.txt", "ladder.txt", "server.txt", "trace.json", "verdicts.txt"}; !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Errorf("files %v", slices.Sorted(maps.Keys(got)))
	}
	for _, want := range []struct{ file, text string }{
		{"verdicts.txt", "The telephone network sends from 198.18.0.3:40112, the SDP announced 10.0.0.1:40000"},
		{"ladder.txt", "INVITE"}, {"ladder.txt", "m=audio 40000 RTP/AVP 0 8 101"}, {"ladder.txt", `From: "name-1" <sip:number-1@host-1.invalid>;tag=tag-1`},
		{"ladder.txt", "c=IN IP4 10.0.0.1"}, {"ladder.txt", "CSeq: 1 INVITE"}, {"ladder.txt", "Reason: Q.850;cause=16"},
		{"trace.json", `"number": "number-1"`}, {"trace.json", `"announced": "10.0.0.1:40000"`}, {"trace.json", "a key was pressed (event)"},
		{"server.txt", "patchbay = v1.2.3"}, {"server.txt", "rtp.port_min = 16384"}, {"server.txt", "sip.trunks = 198.18.0.3, 10.0.0.2"},
	} {
		if !strings.Contains(got[want.file], want.text) {
			t.Errorf("%s lacks %q:\n%s", want.file, want.text, got[want.file])
		}
	}
	if strings.Contains(got["verdicts.txt"], "ALG") {
		t.Error("the mask has made the messages look rewritten")
	}
	if c.Number != "+493023125410" || c.Legs[0].Announced != ap("192.168.1.4:40000") || !strings.Contains(c.Messages[0].Raw, "Rosa") {
		t.Error("the trace itself was changed")
	}
}

// TestMaskKeepsShape: legs, messages, headers, codes, ports stay, and private addresses stay private.
func TestMaskKeepsShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawPersonal(t).rich(t)
		m := newMask().trace(c)
		if len(m.Messages) != len(c.Messages) || len(m.Legs) != len(c.Legs) || len(m.Events) != len(c.Events) {
			t.Fatal("something was left out")
		}
		for i := range c.Messages {
			a, b := read(&c.Messages[i]), read(&m.Messages[i])
			if a.code != b.code || len(a.headers) != len(b.headers) {
				t.Fatalf("message %d: %d headers became %d, code %d %d", i, len(a.headers), len(b.headers), a.code, b.code)
			}
			if private(a.Remote.Addr()) != private(b.Remote.Addr()) || a.Remote.Port() != b.Remote.Port() {
				t.Fatalf("%s became %s", a.Remote, b.Remote)
			}
		}
	})
}
