package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestExamine: one thing goes wrong in a good call, and the doctor names it.
func TestExamine(t *testing.T) {
	phone := func(t *Trace) *Leg { return &t.Legs[0] }
	failed := func(t *Trace) {
		l := phone(t)
		t.AnsweredAt, t.BridgedAt, t.Result, t.Legs = nil, nil, "failed", t.Legs[:1]
		l.UpAt, l.Counts, l.Slices, l.Overall = nil, Counts{}, nil, Quality{}
	}
	cases := []struct {
		name   string
		break_ func(*Trace)
		code   string
		grade  Grade
		words  []string
	}{
		{"nothing", func(*Trace) {}, "all-well", Good, []string{"MOS 4.3", "0.0 %"}},
		{"behind a NAT", func(t *Trace) {
			phone(t).Announced, phone(t).Seen, phone(t).SendsTo = ap("192.168.1.4:40000"), ap("203.0.113.7:40112"), ap("203.0.113.7:40112")
		}, "nat", Note, []string{"The telephone network sends from 203.0.113.7:40112, the SDP announced 192.168.1.4:40000", "we follow the packets"}},
		{"behind a NAT, not followed", func(t *Trace) {
			phone(t).Announced, phone(t).Seen, phone(t).SendsTo = ap("203.0.113.7:40000"), ap("203.0.113.7:40112"), ap("203.0.113.7:40000")
		}, "nat", Warning, []string{"ours still go to 203.0.113.7:40000"}},
		{"a private address, nothing heard", func(t *Trace) {
			l := phone(t)
			l.Announced, l.Seen, l.SendsTo, l.Counts.In, l.Slices = ap("192.168.1.4:40000"), ap("0.0.0.0:0"), ap("192.168.1.4:40000"), 0, nil
		}, "no-rtp", Fault, []string{"192.168.1.4:40000", "inside its own network"}},
		{"only strangers", func(t *Trace) {
			l := phone(t)
			l.Counts.In, l.Counts.Strangers = 0, 900
			l.Latch = append(l.Latch, Decision{At: after(3 * time.Second), From: ap("203.0.113.9:7000"), Why: "refused: only the announced address may send"})
		}, "no-rtp", Fault, []string{"900 packets", "203.0.113.9:7000", "latch"}},
		{"a wrong key", func(t *Trace) { phone(t).Counts = Counts{Out: 3000, Unauthenticated: 3000} }, "no-rtp", Fault, []string{"none could be decrypted"}},
		{"no microphone", func(t *Trace) { t.Legs[1].Counts.In, t.Legs[1].Slices = 0, nil }, "no-rtp", Fault, []string{"the agent's browser", "microphone"}},
		{"nothing sent", func(t *Trace) { phone(t).Counts.Out = 0 }, "one-way", Fault, []string{"Nothing was sent"}},
		{"they hear nothing", func(t *Trace) {
			for i := range phone(t).Slices {
				phone(t).Slices[i].FarLostPercent = 99.6
			}
		}, "one-way", Fault, []string{"does not arrive"}},
		{"an address that cannot be sent to", func(t *Trace) {
			phone(t).Announced, phone(t).Seen, phone(t).SendsTo = ap("192.168.1.4:40000"), ap("192.168.1.4:40000"), ap("192.168.1.4:40000")
		}, "one-way", Fault, []string{"they cannot hear us"}},
		{"ALG changed the SDP only", func(t *Trace) {
			m := invite(0, inner, 40000)
			m.Raw = strings.Replace(m.Raw, "c=IN IP4 "+inner, "c=IN IP4 203.0.113.7", 1)
			t.Messages[0] = m
		}, "alg", Warning, []string{"SIP ALG"}},
		{"ALG changed our Via", func(t *Trace) {
			t.Messages = append(t.Messages, request(50*time.Second, false, "OPTIONS", "9"), message(51*time.Second, true, "SIP/2.0 200 OK", "Via: SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bK9", "CSeq: 9 OPTIONS", "", ""))
		}, "alg", Warning, []string{"SIP ALG"}},
		{"a wrong length", func(t *Trace) { t.Messages[0].Raw += "xx" }, "alg", Warning, nil},
		{"no ACK", func(t *Trace) {
			t.Messages = []Message{t.Messages[0], t.Messages[1], answer(3*time.Second, false, 200, "OK", "1 INVITE"), answer(5*time.Second, false, 200, "OK", "1 INVITE")}
			phone(t).End = &End{after(34 * time.Second), ByFault, 0, "no ACK"}
		}, "no-ack", Fault, []string{"answered 3 times"}},
		{"no codec", func(t *Trace) {
			failed(t)
			m := invite(0, "203.0.113.7", 40000)
			m.Raw = strings.Replace(m.Raw, "RTP/AVP 0 8 101", "RTP/AVP 18 101", 1)
			t.Messages = []Message{m, answer(time.Second, false, 488, "Not Acceptable Here", "1 INVITE")}
		}, "codecs", Fault, []string{"they offered (G729)", "refused by us"}},
		{"encryption refused", func(t *Trace) {
			failed(t)
			phone(t).Inbound = false
			m := invite(0, "192.0.2.1", 40000)
			m.In, m.Raw = false, strings.Replace(m.Raw, "RTP/AVP", "RTP/SAVP", 1)
			t.Messages = []Message{m, answer(time.Second, true, 488, "Not Acceptable Here", "1 INVITE")}
		}, "encryption", Fault, []string{"SRTP", "SDES"}},
		{"keys that do not work", func(t *Trace) { phone(t).End = &End{after(time.Second), ByFault, 0, "media not protected"} }, "encryption-failed", Fault, nil},
		{"a wrong password", func(t *Trace) {
			failed(t)
			phone(t).Inbound = false
			t.Messages = []Message{request(0, false, "INVITE", "1"), answer(0, true, 407, "Auth", "1 INVITE"), request(time.Second, false, "INVITE", "2", "Proxy-Authorization: Digest x"), answer(time.Second, true, 407, "Auth", "2 INVITE")}
		}, "login-refused", Fault, []string{"did not take ours"}},
		{"cut at 15 minutes", func(t *Trace) {
			phone(t).End = &End{after(15*time.Minute + 2*time.Second), ByThem, 0, "hung up"}
		}, "session-timer", Warning, []string{"15:00 min"}},
		{"not refreshed", func(t *Trace) { phone(t).End = &End{after(20 * time.Minute), ByFault, 0, "session not refreshed"} }, "session-timer", Fault, nil},
		{"a server is down", func(t *Trace) {
			phone(t).Inbound = false
			first := request(0, false, "INVITE", "1")
			first.Remote = ap("203.0.113.6:5060")
			t.Messages = []Message{first, request(time.Second, false, "INVITE", "2"), answer(time.Second, true, 200, "OK", "2 INVITE")}
		}, "fail-over", Warning, []string{"203.0.113.6:5060 did not answer", "went on by 203.0.113.7:5060"}},
		{"another way", func(t *Trace) {
			t.Legs = append([]Leg{{ID: 9, Role: Customer, By: "sip", End: &End{after(time.Second), ByThem, 503, ""}}}, t.Legs...)
			t.Legs[1].Inbound = false
		}, "fail-over", Warning, []string{"503"}},
		{"the trunk is dead", func(t *Trace) {
			failed(t)
			phone(t).Inbound = false
			t.Messages = []Message{request(0, false, "INVITE", "1")}
		}, "no-answer", Fault, []string{"203.0.113.7:5060"}},
		{"loss from half-way", func(t *Trace) {
			for i := 6; i < 12; i++ {
				phone(t).Slices[i].LostPercent = 12
			}
		}, "loss", Fault, []string{"30 of 60 seconds", "after 32 s", "up to 12 %"}},
		{"loss on their side", func(t *Trace) { phone(t).Slices[3].FarLostPercent = 5 }, "loss-far", Warning, []string{"hears of us"}},
		{"jitter", func(t *Trace) { phone(t).Slices[3].JitterMS = 80 }, "jitter", Warning, []string{"80 ms"}},
		{"only TCP", func(t *Trace) { t.Legs[1].Pair.Local.Protocol, t.Legs[1].Pair.Remote.Protocol = "tcp", "tcp" }, "ice-detour", Note, []string{"TCP only"}},
		{"only TURN", func(t *Trace) { t.Legs[1].Pair.Remote.Kind = "relay" }, "ice-detour", Note, []string{"TURN"}},
		{"strangers", func(t *Trace) { phone(t).Counts.Strangers = 12 }, "strangers", Note, []string{"12 packets"}},
		{"a codec nobody agreed on", func(t *Trace) { phone(t).Counts.Foreign = 900 }, "foreign", Warning, []string{"900 of 3000"}},
		{"their clock", func(t *Trace) {
			l := phone(t)
			l.Slices = slicesOf(60, Quality{MOS: 4.3})
			for i := range l.Slices {
				l.Slices[i].Packets++
			}
		}, "drift", Note, []string{"0.40 % faster"}},
		{"our own load", func(t *Trace) { t.Late = Late{Frames: 40, Seconds: 9} }, "our-load", Warning, []string{"40 frames"}},
		{"BYE unanswered", func(t *Trace) {
			t.Messages = append(t.Messages[:3:3], request(60*time.Second, false, "BYE", "3"), request(61*time.Second, false, "BYE", "3"), request(62*time.Second, false, "BYE", "3"))
		}, "binding-lost", Warning, []string{"no longer answered our BYE"}},
		{"silence in the middle", func(t *Trace) {
			for i := 5; i < 12; i++ {
				phone(t).Slices[i] = Slice{At: phone(t).Slices[i].At, Seconds: 5}
			}
			t.Reason, phone(t).End = "no RTP", &End{after(62 * time.Second), ByUs, 0, "no RTP"}
		}, "binding-lost", Fault, []string{"From 27 s"}},
		{"an exchange's own reason", func(t *Trace) {
			t.Messages[3].Raw = strings.Replace(t.Messages[3].Raw, "cause=16", "cause=38", 1)
		}, "ending", Note, []string{"the network is out of order", "1:00 min after it was answered"}},
		{"busy", func(t *Trace) {
			failed(t)
			t.Reason, phone(t).End = "busy", &End{after(time.Second), ByThem, 486, "Busy Here"}
		}, "ending", Warning, []string{"486: busy"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			found := Examine(with(goodCall(), c.break_))
			i := slices.IndexFunc(found, func(v Verdict) bool { return v.Code == c.code })
			if i < 0 {
				t.Fatalf("no %s in %+v", c.code, found)
			}
			if v := found[i]; v.Grade != c.grade {
				t.Errorf("grade %s, want %s: %+v", v.Grade, c.grade, v)
			}
			text := found[i].Text + found[i].Title + strings.Join(found[i].Evidence, "\n")
			for _, w := range c.words {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in %s", w, text)
				}
			}
			bad := slices.ContainsFunc(found, func(v Verdict) bool { return v.Grade == Fault || v.Grade == Warning })
			if well := slices.ContainsFunc(found, func(v Verdict) bool { return v.Grade == Good }); well == bad {
				t.Errorf("well %v, bad %v: %+v", well, bad, found)
			}
			if !slices.IsSortedFunc(found, func(a, b Verdict) int { return slices.Index(grades, a.Grade) - slices.Index(grades, b.Grade) }) {
				t.Error("the worst does not stand first")
			}
			for _, v := range found {
				if v.Evidence == nil || v.Title == "" || v.Text == "" {
					t.Errorf("incomplete: %+v", v)
				}
			}
		})
	}
}

// TestExamineAnything: whatever a trace holds, the doctor does not fall over.
func TestExamineAnything(t *testing.T) {
	Examine(Trace{})
	for _, raw := range []string{"", "\r\n", "SIP/2.0", "SIP/2.0 x", "INVITE", "INVITE sip:x SIP/2.0\r\n folded\r\nVia\r\n: \r\n\r\nm=\r\nc=\r\n"} {
		Examine(Trace{Legs: []Leg{{By: "sip", SIPCallID: "a"}}, Messages: []Message{{CallID: "a", Raw: raw}, {CallID: "a", In: true, Raw: raw}}})
	}
}
