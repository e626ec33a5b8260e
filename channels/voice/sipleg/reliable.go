package sipleg

import (
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// reliable is the called side's half of RFC 3262: provisional answers that are repeated until the caller has
// acknowledged them.
type reliable struct {
	ask       bool          // the caller knows it, or demands it
	seq       uint32        // of the last one; 0: none yet
	open      *sip.Response // not yet acknowledged
	sound     bool          // it has a description of ours
	asks      bool          // which is an offer: the PRACK must bring the answer
	wait      time.Duration
	queue     []func() // what must wait for the PRACK
	answering bool     // the 200 waits
	settled   bool     // offer and answer are through: the 200 has no description
	confirmed bool
}

// sendReliable sends one, and repeats it until its PRACK.
func (l *Leg) sendReliable(res *sip.Response, sound, offer bool) {
	in := l.in
	if in.seq == 0 {
		in.seq = l.stack.randomSeq()
	} else {
		in.seq++
	}
	res.AppendHeader(sip.NewHeader("Require", "100rel"))
	res.AppendHeader(sip.NewHeader("RSeq", strconv.FormatUint(uint64(in.seq), 10)))
	in.open, in.sound, in.asks, in.wait = res, sound, offer, l.stack.times.T1
	l.stack.respond(in.tx, res)
	l.clock.set(alarmRepeatRel, in.wait)
	l.clock.set(alarmNoPRACK, 64*l.stack.times.T1)
}

func (l *Leg) repeatReliable() {
	if l.in.open != nil {
		l.stack.respond(l.in.tx, l.in.open)
		l.in.wait *= 2
		l.clock.set(alarmRepeatRel, l.in.wait)
	}
}

// onPRACK: a reliable answer of ours has arrived. It may answer our offer, or bring one of its own (section 5).
func (l *Leg) onPRACK(m request) {
	values := m.GetHeaders("rack")
	if len(values) == 0 {
		l.refuse(m, edge.Refuse(400, "Missing RAck"))
		return
	}
	ack, ok := parseRAck(values[0].Value())
	if !ok || len(values) > 1 {
		l.refuse(m, edge.Refuse(400, "Bad RAck"))
		return
	}
	in := l.in
	if in == nil || in.open == nil || ack.rseq != in.seq || ack.cseq != in.req.CSeq().SeqNo || ack.method != string(sip.INVITE) {
		l.refuse(m, unknownDialog())
		return
	}
	body, r := offered(m.Request)
	switch {
	case r != nil:
	case in.asks && body == nil:
		r = edge.Refuse(400, "No SDP In PRACK")
	case in.asks:
		r = l.accept(body)
	}
	if r != nil {
		l.refuse(m, r)
		return
	}
	l.clock.stop(alarmRepeatRel, alarmNoPRACK)
	in.open = nil
	if in.sound {
		in.settled, in.confirmed = true, true
	}
	if body != nil && !in.asks { // a new offer on top of the answer
		reply, r := l.reply(body)
		if r != nil {
			l.refuse(m, r)
			return
		}
		l.answer(m, 200, reply)
	} else {
		l.answer(m, 200, nil)
	}
	if len(in.queue) > 0 && !in.answering {
		next := in.queue[0]
		in.queue = in.queue[1:]
		next()
	}
	if in.answering {
		in.answering = false
		l.take()
	}
}
