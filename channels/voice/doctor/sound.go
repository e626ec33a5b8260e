package doctor

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
)

// What the sound tells: addresses, packets, quality.

// heardEnough is how long a leg must have been up before silence on it means something.
const heardEnough = 3 * time.Second

// addresses: packets come from another place than their SDP says. The one sentence people look for.
func addresses(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		if !l.Seen.IsValid() || !l.Announced.IsValid() || l.Seen == l.Announced || l.Counts.In == 0 {
			continue
		}
		v := Verdict{Code: "nat", Grade: Note, Title: "The sound comes from another address than announced", Leg: l.ID, Evidence: latchWords(r, l)}
		v.Text = fmt.Sprintf("%s sends from %s, the SDP announced %s", l.theirs(), l.Seen, l.Announced)
		switch {
		case l.SendsTo != l.Seen:
			v.Grade, v.Title = Warning, "NAT in the way"
			v.Text += fmt.Sprintf("; ours still go to %s. Switch the trunk's address learning (latch) on.", l.SendsTo)
		case private(l.Announced.Addr()) && !private(l.Seen.Addr()):
			v.Title = "NAT, and we cope with it"
			v.Text += ", an address inside their own network; we follow the packets."
		case l.Seen.Addr() == l.Announced.Addr():
			v.Text += ": the same host, another port; we follow the packets."
		default:
			v.Text += "; we follow the packets."
		}
		found = append(found, v)
	}
	return found
}

func latchWords(r *record, l *Leg) (words []string) {
	for _, d := range l.Latch {
		switch {
		case len(words) == 8:
			return words
		case d.To.IsValid():
			words = append(words, fmt.Sprintf("%s: we send to %s (%s)", r.at(d.At), d.To, d.Why))
		case d.From.IsValid():
			words = append(words, fmt.Sprintf("%s: packets from %s %s", r.at(d.At), d.From, d.Why))
		}
	}
	return words
}

// noSound: a leg was up and not one packet came.
func noSound(r *record) (found []Verdict) {
	for i := range r.Legs {
		l := &r.Legs[i]
		if l.Counts.In > 0 || r.lasted(l) < heardEnough {
			continue
		}
		v := Verdict{Code: "no-rtp", Grade: Fault, Title: "Nothing was heard from " + l.who(), Leg: l.ID, Evidence: latchWords(r, l)}
		switch {
		case l.By == "web":
			v.Text = "Not one packet of sound came from " + l.who() + ": the microphone is blocked or gone, or the network lets nothing through."
		case l.Counts.Unauthenticated > 0:
			v.Text = fmt.Sprintf("%d packets came and none could be decrypted: the two sides use different keys, or one does not encrypt.", l.Counts.Unauthenticated)
		case l.Counts.Strangers > 0:
			v.Text = fmt.Sprintf("%d packets came, from an address that is not the call's%s, and were dropped. When that is their real address, switch the trunk's address learning (latch) on.", l.Counts.Strangers, refusedFrom(l))
		case private(l.Announced.Addr()):
			v.Text = fmt.Sprintf("Your provider (or telephone) announced %s, an address inside its own network, and sent nothing: our sound to it is lost, and theirs never left. Their router or SIP ALG must announce the public address.", l.Announced)
		default:
			v.Text = fmt.Sprintf("Not one packet came to %s. Check that the firewall lets UDP in to our RTP ports, and that the address we announce is ours as seen from there.", l.Local)
		}
		if a := ourAddress(r, l); private(a.Addr()) && l.Source.IsValid() && !private(l.Source.Addr()) {
			v.Text += fmt.Sprintf(" We announced %s, which cannot be reached from %s: set the external address.", a, l.Source.Addr())
		}
		found = append(found, v)
	}
	return found
}

func refusedFrom(l *Leg) string {
	for _, d := range l.Latch {
		if !d.To.IsValid() && d.From.IsValid() {
			return " (" + d.From.String() + ")"
		}
	}
	return ""
}

// ourAddress is what we told them, by the messages.
func ourAddress(r *record, l *Leg) netip.AddrPort {
	for _, m := range r.of(l) {
		if s := m.sound(); !m.In && s.ok {
			return s.addr
		}
	}
	return netip.AddrPort{}
}

// oneWay: we hear them; they report that they hear little or nothing of us, or nothing was sent.
func oneWay(r *record) (found []Verdict) {
	for i := range r.Legs {
		l := &r.Legs[i]
		if l.Counts.In == 0 || r.lasted(l) < heardEnough {
			continue
		}
		if l.Counts.Out == 0 {
			found = append(found, Verdict{Code: "one-way", Grade: Fault, Title: "Nothing was sent to " + l.who(), Leg: l.ID,
				Text: "We heard them and had no address, or nothing, to send back."})
			continue
		}
		deaf := 0
		for _, s := range l.Slices {
			if s.FarLostPercent >= 90 {
				deaf++
			}
		}
		if deaf*2 > len(l.Slices) && deaf > 0 {
			found = append(found, Verdict{Code: "one-way", Grade: Fault, Title: "One-way sound", Leg: l.ID, Evidence: latchWords(r, l),
				Text: fmt.Sprintf("We hear %s, but by its own reports our sound does not arrive there. We send to %s.", l.who(), l.SendsTo)})
			continue
		}
		private := private(l.Announced.Addr()) && l.SendsTo == l.Announced && l.Source.IsValid() && !private(l.Source.Addr())
		if private {
			found = append(found, Verdict{Code: "one-way", Grade: Fault, Title: "One-way sound", Leg: l.ID, Evidence: latchWords(r, l),
				Text: fmt.Sprintf("The SDP announced %s, an address inside their own network, and we send there: they cannot hear us.", l.Announced)})
		}
	}
	return found
}

// lostBinding: sound or signalling stopped in the middle, without a goodbye.
func lostBinding(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		var unanswered told
		repeats := map[string]int{}
		for _, m := range r.of(l) {
			key := m.method + " " + m.cseq
			switch {
			case !m.In && m.code == 0 && m.method != "ACK" && m.method != "INVITE":
				if repeats[key]++; repeats[key] >= 3 {
					unanswered = m
				}
			case m.In && m.code != 0:
				repeats[key] = -1000
				if unanswered.Message != nil && unanswered.method == m.method && unanswered.cseq == m.cseq {
					unanswered = told{}
				}
			}
		}
		if unanswered.Message != nil {
			found = append(found, Verdict{Code: "binding-lost", Grade: Warning, Title: "They could no longer be reached", Leg: l.ID, Evidence: []string{r.quote(unanswered)},
				Text: fmt.Sprintf("%s no longer answered our %s at %s. A NAT or firewall in between has closed the path, or the other side has died.", l.theirs(), unanswered.method, unanswered.Remote)})
		}
		if since, silent := silentTail(l); silent && l.End != nil && l.Counts.In > 0 && (l.End.By == ByFault || strings.Contains(r.Reason, "no RTP")) {
			found = append(found, Verdict{Code: "binding-lost", Grade: Fault, Title: "The sound stopped in the middle", Leg: l.ID,
				Text: fmt.Sprintf("From %s nothing more came from %s, without a goodbye: its network is gone, or a NAT has forgotten the way.", strings.TrimPrefix(r.at(since), "after "), l.Seen)})
		}
	}
	return found
}

// silentTail tells since when nothing was heard to the end.
func silentTail(l *Leg) (since time.Time, silent bool) {
	for i := len(l.Slices) - 1; i >= 0 && l.Slices[i].Packets == 0; i-- {
		since, silent = l.Slices[i].At, l.Slices[i].Seconds >= 4 || silent
	}
	return since, silent
}

// Limits of what people notice: ITU-T G.107 with G.711 falls below "fair" near 2 to 3 % of loss.
const (
	lossNoticed   = 2.0 // per cent
	lossBad       = 8.0
	jitterNoticed = 40.0 // ms: beyond what jitter buffers begin with
)

// rough: loss and jitter, of which side and since when.
func rough(r *record) (found []Verdict) {
	for i := range r.Legs {
		l := &r.Legs[i]
		found = append(found, heardBadly(r, l, "What we hear from "+l.who(), "loss", "our line, or theirs towards us", func(s Slice) (float64, float64) { return s.LostPercent, s.JitterMS })...)
		found = append(found, heardBadly(r, l, "What "+l.who()+" hears of us, by its own reports,", "loss-far", "the way from us to them", func(s Slice) (float64, float64) {
			if s.FarLostPercent >= 90 { // oneWay's
				return 0, 0
			}
			return s.FarLostPercent, s.FarJitterMS
		})...)
	}
	return found
}

func heardBadly(r *record, l *Leg, what, code, where string, of func(Slice) (lost, jitter float64)) []Verdict {
	var first time.Time
	var worstLoss, worstJitter, bad, seconds float64
	for _, s := range l.Slices {
		lost, jitter := of(s)
		if s.Packets == 0 || s.Seconds < 1 {
			continue
		}
		seconds += s.Seconds
		if lost < lossNoticed && jitter < jitterNoticed {
			continue
		}
		if first.IsZero() {
			first = s.At
		}
		bad += s.Seconds
		worstLoss, worstJitter = max(worstLoss, lost), max(worstJitter, jitter)
	}
	if first.IsZero() {
		return nil
	}
	v := Verdict{Code: code, Grade: Warning, Title: "Sound was lost on the way", Leg: l.ID}
	if worstLoss < lossNoticed {
		v.Code, v.Title = strings.Replace(code, "loss", "jitter", 1), "Sound came unevenly"
	}
	if worstLoss >= lossBad && bad > 10 {
		v.Grade = Fault
	}
	v.Text = fmt.Sprintf("%s was bad for %.0f of %.0f seconds, first %s: up to %.0f %% lost, jitter up to %.0f ms. Look at %s.", what, bad, seconds, r.at(first), worstLoss, worstJitter, where)
	return []Verdict{v}
}

// relayed: a browser that got through by TCP or TURN only.
func relayed(r *record) (found []Verdict) {
	for i := range r.Legs {
		l := &r.Legs[i]
		if l.Pair == nil {
			continue
		}
		relay := l.Pair.Remote.Kind == "relay" || l.Pair.Local.Kind == "relay"
		tcp := l.Pair.Local.Protocol == "tcp" || l.Pair.Remote.Protocol == "tcp"
		if !relay && !tcp {
			continue
		}
		v := Verdict{Code: "ice-detour", Grade: Note, Title: "A detour through the network", Leg: l.ID,
			Evidence: []string{fmt.Sprintf("%s %s %s to %s %s %s", l.Pair.Local.Protocol, l.Pair.Local.Kind, l.Pair.Local.Addr, l.Pair.Remote.Protocol, l.Pair.Remote.Kind, l.Pair.Remote.Addr)}}
		switch {
		case tcp:
			v.Text = l.theirs() + " got through by TCP only: its network lets no UDP out. Sound waits for every lost packet there; let UDP through for a better one."
		default:
			v.Text = l.theirs() + " got through by the relay (TURN): its network lets nothing else out. That costs some delay and is no fault."
		}
		found = append(found, v)
	}
	return found
}

// strangers: somebody else's packets at the call's port.
func strangers(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		if l.Counts.Strangers == 0 || l.Counts.In == 0 {
			continue
		}
		found = append(found, Verdict{Code: "strangers", Grade: Note, Title: "Packets from strangers were dropped", Leg: l.ID, Evidence: latchWords(r, l),
			Text: fmt.Sprintf("%d packets came from elsewhere%s: the end of another call, or somebody who tries to listen in or break in. They were neither heard nor answered.", l.Counts.Strangers, refusedFrom(l))})
	}
	return found
}

// notOurs: packets that came and were of no use.
func notOurs(r *record) (found []Verdict) {
	for i := range r.Legs {
		l := &r.Legs[i]
		if l.Counts.In > 0 && l.Counts.Foreign*20 > l.Counts.In {
			found = append(found, Verdict{Code: "foreign", Grade: Warning, Title: "They send a codec that was not agreed on", Leg: l.ID,
				Text: fmt.Sprintf("%d of %d packets had a payload type that nobody negotiated; agreed was %s.", l.Counts.Foreign, l.Counts.In, l.Codec)})
		}
		if l.Counts.In > 0 && l.Counts.Unauthenticated*20 > l.Counts.In {
			found = append(found, Verdict{Code: "keys", Grade: Warning, Title: "Packets that could not be decrypted", Leg: l.ID,
				Text: fmt.Sprintf("%d packets did not fit the keys agreed on (%s).", l.Counts.Unauthenticated, l.Secured)})
		}
	}
	return found
}

const (
	driftSlices  = 24    // two minutes of whole slices
	driftNoticed = 0.002 // a packet in ten seconds
)

// drift: their clock runs faster or slower than ours. Only talk without pauses tells: 20 ms packets, all slices full.
func drift(r *record) (found []Verdict) {
	for _, l := range r.phones() {
		var packets, seconds float64
		n := 0
		for _, s := range l.Slices {
			all := float64(s.Packets) + float64(s.Missing)
			if s.Seconds < 5 || math.Abs(all/s.Seconds-50) > 1 {
				continue
			}
			packets, seconds, n = packets+all, seconds+s.Seconds, n+1
		}
		if n < driftSlices || n*10 < len(l.Slices)*9 {
			continue
		}
		off := packets/seconds/50 - 1
		if math.Abs(off) < driftNoticed {
			continue
		}
		word := "faster"
		if off < 0 {
			word = "slower"
		}
		found = append(found, Verdict{Code: "drift", Grade: Note, Title: "Their clock runs " + word, Leg: l.ID,
			Text: fmt.Sprintf("%s sends %.2f %% %s than it should. Where sound is mixed or recorded, pieces are dropped or repeated; elsewhere it does no harm.", l.theirs(), 100*math.Abs(off), word)})
	}
	return found
}

// ourLoad: this machine itself was late.
func ourLoad(r *record) []Verdict {
	if r.Late.Frames == 0 {
		return nil
	}
	v := Verdict{Code: "our-load", Grade: Note, Title: "This server was late itself", Text: fmt.Sprintf(
		"In %d seconds of the call %d frames of sound (20 ms each) were left out because the machine had no time for them.", max(r.Late.Seconds, 1), r.Late.Frames)}
	if r.Late.Seconds > 3 {
		v.Grade = Warning
		v.Text += " It has too much to do: fewer calls, or more cores."
	}
	return []Verdict{v}
}
