package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What SIP itself tells.

// refusedLogin: a password was asked for and never accepted.
func refusedLogin(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		var asked *told
		taken, tried := false, false
		for _, m := range r.of(l) {
			switch {
			case m.code == 401 || m.code == 407:
				asked = &m
			case asked != nil && m.code == 0 && m.get("authorization")+m.get("proxy-authorization") != "":
				tried = true
			case asked != nil && m.code >= 180 && m.code < 300 && m.answers("INVITE"):
				taken = true
			}
		}
		if asked == nil || taken {
			continue
		}
		v := Verdict{Code: "login-refused", Grade: Fault, Title: "The login was refused", Leg: l.ID, Evidence: []string{r.quote(*asked)}}
		switch {
		case asked.In && tried:
			v.Text = "The trunk asked for a password and did not take ours. Check the trunk's user name and password."
		case asked.In:
			v.Text = "The trunk asked for a password, and none was sent: the trunk's settings hold none, or a way of asking that we do not know."
		default:
			v.Text = l.theirs() + " was asked for a password and did not give the right one."
		}
		found = append(found, v)
	}
	return found
}

// refusedCodecs: 488, 606 or 415 to an INVITE.
func refusedCodecs(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		if v, ok := refusedFor(r, l, false); ok {
			found = append(found, v)
		}
	}
	return found
}

// refusedEncryption: the same, and one side wanted SRTP.
func refusedEncryption(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		if v, ok := refusedFor(r, l, true); ok {
			found = append(found, v)
			continue
		}
		if l.End != nil && strings.Contains(l.End.Reason, "not protected") {
			found = append(found, Verdict{Code: "encryption-failed", Grade: Fault, Title: "The sound could not be encrypted", Leg: l.ID,
				Text: "The keys for " + l.who() + " were agreed on and could not be used."})
		}
	}
	return found
}

func refusedFor(r *record, l *Leg, encrypted bool) (v Verdict, ok bool) {
	var offers []spoken
	var no *told
	for _, m := range r.of(l) {
		if s := m.sound(); s.ok {
			offers = append(offers, s)
		}
		if m.answers("INVITE") && slices.Contains([]int{488, 606, 415, 494}, m.code) {
			no = &m
		}
	}
	if no == nil {
		return v, false
	}
	secured := slices.ContainsFunc(offers, func(s spoken) bool { return s.secured })
	if secured != encrypted {
		return v, false
	}
	v = Verdict{Code: "codecs", Grade: Fault, Title: "No codec in common", Leg: l.ID, Evidence: []string{r.quote(*no)}}
	offered := "an offer that cannot be read"
	if len(offers) > 0 {
		offered = strings.Join(offers[0].codecs, ", ")
	}
	side, other := "they", "us"
	if no.In {
		side, other = "we", "them"
	}
	v.Text = fmt.Sprintf("What %s offered (%s) was refused by %s. The trunk's codecs must have one of the other side's.", side, offered, other)
	if encrypted {
		v.Code, v.Title = "encryption", "Encryption was refused"
		v.Text = fmt.Sprintf("The sound was to be encrypted (SRTP, offered with %s); the other side refused. Compare the trunk's encryption setting with the carrier's: off, optional or required, and SDES (needs TLS) or DTLS.", offered)
	}
	return v, true
}

// lostACK: our answer was repeated and nobody acknowledged it.
func lostACK(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		answers, acked := 0, false
		var last told
		for _, m := range r.of(l) {
			switch {
			case !m.In && m.answers("INVITE") && m.code/100 == 2:
				answers, last = answers+1, m
			case m.In && m.request("ACK"):
				acked = true
			}
		}
		ended := l.End != nil && l.End.Reason == "no ACK"
		if !ended && (answers < 3 || acked) {
			continue
		}
		v := Verdict{Code: "no-ack", Grade: Fault, Title: "Our answer was never acknowledged", Leg: l.ID}
		v.Text = fmt.Sprintf("We answered %d times and no ACK came. Our answer, or their ACK to the address in our Contact, is lost on the way: a firewall, or an announced address that cannot be reached from there.", answers)
		if last.Message != nil {
			v.Evidence = []string{r.quote(last), "our Contact: " + last.get("contact")}
		}
		found = append(found, v)
	}
	return found
}

// rewritten: something between changed the signalling: a router's SIP ALG.
func rewritten(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		if why := altered(r, l); len(why) > 0 {
			found = append(found, Verdict{Code: "alg", Grade: Warning, Title: "A router rewrites the signalling", Leg: l.ID, Evidence: why,
				Text: "Something between us and " + l.who() + " changes SIP messages on the way (\"SIP ALG\"), and not all of each. Switch SIP ALG off in the router there; TLS keeps it out, too."})
		}
	}
	return found
}

func altered(r *record, l *Leg) (why []string) {
	sent := map[string]string{} // branch -> host of our Via
	note := func(text string) {
		if !slices.Contains(why, text) && len(why) < 6 {
			why = append(why, text)
		}
	}
	for _, m := range r.of(l) {
		via := m.get("via")
		branch := paramOf(via, "branch")
		host := viaHost(via)
		switch {
		case !m.In && m.code == 0:
			sent[branch] = host
		case m.In && m.code != 0 && sent[branch] != "" && sent[branch] != host:
			note("we wrote Via " + sent[branch] + ", it came back as " + host)
		}
		if !m.In {
			continue
		}
		if n, err := strconv.Atoi(m.get("content-length")); err == nil && m.Transport == "udp" && n != len(m.body) && len(m.Raw) < 8<<10 {
			note(fmt.Sprintf("Content-Length says %d bytes, the body has %d", n, len(m.body)))
		}
		s := m.sound()
		contact := hostOf(m.get("contact"))
		if s.ok && !private(s.addr.Addr()) && s.addr.Addr() == m.Remote.Addr() && (private(s.origin) && private(contact)) {
			note(fmt.Sprintf("the SDP announces %s, but its origin is %s and the Contact %s", s.addr.Addr(), s.origin, contact))
		}
		if s.ok && private(s.addr.Addr()) && contact.IsValid() && !private(contact) && contact == m.Remote.Addr() && private(s.origin) {
			note(fmt.Sprintf("the Contact was made %s, while the SDP still announces %s", contact, s.addr.Addr()))
		}
	}
	return why
}

func paramOf(value, name string) string {
	for _, p := range strings.Split(value, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

func viaHost(via string) string {
	_, rest, _ := strings.Cut(via, " ")
	host, _, _ := strings.Cut(rest, ";")
	return strings.TrimSpace(host)
}

// sessionTimer: calls that end at a quarter or half an hour to the second.
func sessionTimer(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		if l.End == nil || l.UpAt == nil {
			continue
		}
		lasted := l.End.At.Sub(*l.UpAt)
		if l.End.Reason == "session not refreshed" || strings.Contains(l.End.Reason, "refresh") {
			found = append(found, Verdict{Code: "session-timer", Grade: Fault, Title: "The session timer ran out", Leg: l.ID,
				Text: fmt.Sprintf("After %s nobody refreshed the call (%s). Our refresh, or theirs, is lost on the way.", sinceText(lasted), l.End.Reason)})
			continue
		}
		for _, limit := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour} {
			if off := lasted - limit; l.End.By == ByThem && off > -3*time.Second && off < 5*time.Second {
				found = append(found, Verdict{Code: "session-timer", Grade: Warning, Title: "Cut after exactly " + sinceText(limit), Leg: l.ID,
					Text: "They hung up " + sinceText(lasted) + " after the answer. People rarely stop at such a time: carriers cut calls whose session timer they do not see refreshed. Look for UPDATE or re-INVITE half-way in the ladder."})
			}
		}
	}
	return found
}

// otherWay: servers that did not answer, and where the call went then.
func otherWay(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		if l.Inbound {
			continue
		}
		var tried []netip.AddrPort
		answered := map[netip.AddrPort]bool{}
		for _, m := range r.of(l) {
			settingUp := l.UpAt == nil || m.At.Before(*l.UpAt) // later ones are re-INVITEs
			switch {
			case !m.In && m.request("INVITE") && settingUp && !slices.Contains(tried, m.Remote):
				tried = append(tried, m.Remote)
			case m.In && m.answers("INVITE"):
				answered[m.Remote] = true
			}
		}
		for i, server := range tried {
			switch {
			case answered[server]:
			case i+1 < len(tried):
				found = append(found, Verdict{Code: "fail-over", Grade: Warning, Title: "A trunk server did not answer", Leg: l.ID,
					Text:     fmt.Sprintf("%s did not answer; the call went on by %s.", server, tried[i+1]),
					Evidence: []string{fmt.Sprintf("INVITE sent to %s, nothing came back", server)}})
			case l.UpAt == nil:
				found = append(found, Verdict{Code: "no-answer", Grade: Fault, Title: "The trunk does not answer", Leg: l.ID,
					Text: fmt.Sprintf("%s did not answer our INVITE at all: it is down, or does not know our address, or a firewall is in between.", server)})
			}
		}
	}
	for i := 1; i < len(r.Legs); i++ {
		was, now := r.Legs[i-1], r.Legs[i]
		if was.Role == now.Role && was.By == "sip" && now.By == "sip" && !was.Inbound && was.UpAt == nil && was.End != nil && (was.End.Code >= 500 || was.End.Code == 408) {
			found = append(found, Verdict{Code: "fail-over", Grade: Warning, Title: "The first way out failed", Leg: was.ID,
				Text: "The call was tried again by another way: the first said " + codeText(was.End.Code) + "."})
		}
	}
	return found
}
