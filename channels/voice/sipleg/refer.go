package sipleg

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// referral is a transfer on its way: one they asked of us, one we asked of them (RFC 3515).
type referral struct {
	asked     *request  // a REFER that the owner has not decided on
	transfer  *transfer // one that was taken: how it goes is told
	telling   *transfer // whose last word is on its way
	leaving   *Ended    // after that
	referring bool      // ours was sent, NOTIFYs come
}

// transfer is the subscription that a REFER makes.
type transfer struct {
	id      uint32 // the REFER's CSeq
	silent  bool   // Refer-Sub: false (RFC 4488)
	sending bool
	queue   []int
}

// onRefer hands a transfer to the owner.
func (l *Leg) onRefer(m request) {
	values := m.GetHeaders("refer-to")
	if len(values) != 1 {
		l.refuse(m, edge.Refuse(400, "One Refer-To Expected"))
		return
	}
	to, ok := parseReferTo(values[0].Value())
	switch {
	case !ok:
		l.refuse(m, edge.Refuse(400, "Bad Refer-To"))
		return
	case l.state != up:
		l.answer(m, 603, nil)
		return
	case l.asked != nil || l.transfer != nil: // one at a time
		l.refuse(m, pending())
		return
	}
	e := Referred{To: to.uri, By: headerValue(m, "referred-by"), Header: to.replaces,
		Answer: func(code int) { l.post(func() { l.answerRefer(m, code) }) }}
	if to.replaces != "" {
		r, _ := parseReplaces(to.replaces)
		if e.Replaces = l.stack.holder(r); e.Replaces == nil {
			e.Foreign = true
		}
	}
	l.asked = &m
	l.emit(e)
}

// answerRefer is the owner's decision.
func (l *Leg) answerRefer(m request, code int) {
	if l.asked == nil || l.asked.Request != m.Request {
		return
	}
	l.asked = nil
	if code >= 300 {
		l.answer(m, code, nil)
		return
	}
	silent := strings.EqualFold(strings.TrimSpace(headerValue(m, "refer-sub")), "false")
	l.transfer = &transfer{id: m.CSeq().SeqNo, silent: silent}
	if silent {
		l.answer(m, 202, nil, sip.NewHeader("Refer-Sub", "false"))
		return
	}
	l.answer(m, 202, nil)
	l.notify(100)
}

// Notify tells whoever asked us for a transfer how it goes: the code that the new leg got. From 200 it is the last word.
func (l *Leg) Notify(code int) { l.post(func() { l.notify(code) }) }

func (l *Leg) notify(code int) {
	t := l.transfer
	if t == nil || l.state != up {
		return
	}
	if code >= 200 && t.silent {
		l.transfer = nil
	}
	if !t.silent {
		t.queue = append(t.queue, code)
		l.pumpNotify()
	}
}

// notifying tells whether the last word about a transfer is still to be said, or not answered yet.
func (l *Leg) notifying() bool {
	return l.telling != nil || l.transfer != nil && slices.ContainsFunc(l.transfer.queue, func(code int) bool { return code >= 200 })
}

// pumpNotify sends one NOTIFY at a time: they must not overtake each other.
func (l *Leg) pumpNotify() {
	t := l.transfer
	if t == nil || t.sending || len(t.queue) == 0 || l.state != up {
		return
	}
	code := t.queue[0]
	t.queue = t.queue[1:]
	req, err := l.dialog.request(sip.NOTIFY)
	if err != nil {
		l.log.Warn("notify", "err", err)
		return
	}
	status := "active;expires=180"
	if code >= 200 {
		status = "terminated;reason=noresource"
	}
	req.AppendHeader(sip.NewHeader("Event", "refer;id="+strconv.FormatUint(uint64(t.id), 10)))
	req.AppendHeader(sip.NewHeader("Subscription-State", status))
	req.AppendHeader(sip.NewHeader("Content-Type", edge.TypeFragment+";version=2.0"))
	req.SetBody(fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", code, reasonOf(code)))
	if t.sending = true; code >= 200 { // that was all
		l.transfer, l.telling = nil, t
	}
	l.do(req, 0, func(res *sip.Response, err error) {
		if t.sending = false; l.telling == t {
			l.telling = nil
		}
		if l.leaving != nil && !l.notifying() {
			l.hangup(*l.leaving)
			return
		}
		if err != nil || res.StatusCode >= 300 { // nobody wants to know
			if l.transfer == t {
				l.transfer = nil
			}
			return
		}
		l.pumpNotify()
	})
}

// do sends a request inside the dialog, with credentials when they are asked for, and hands its final answer on.
func (l *Leg) do(req outbound, tries int, then func(*sip.Response, error)) {
	l.stack.beside(func() {
		ctx, cancel := context.WithTimeout(l.stack.ctx, 64*l.stack.times.T1)
		defer cancel()
		res, err := l.stack.transact(ctx, req)
		l.post(func() {
			if l.state == ended {
				return
			}
			if err == nil && (res.StatusCode == 401 || res.StatusCode == 407) && tries < 2 && l.out != nil {
				if h := l.out.credentials(req.Request, res); h != nil {
					l.dialog.localSeq++
					req.Request = retry(req.Request, l.dialog.localSeq, h)
					l.do(req, tries+1, then)
					return
				}
			}
			then(res, err)
		})
	})
}

// Refer asks the other side to call to instead of us (blind transfer), or, with a leg, to take that leg's place with
// whom it is connected to (consulted transfer); then to may be "". How it goes comes as ReferProgress.
func (l *Leg) Refer(to string, replaces *Leg) { l.post(func() { l.refer(to, replaces) }) }

func (l *Leg) refer(to string, other *Leg) {
	if l.state != up || l.referring {
		l.emit(ReferProgress{Code: 491, Done: true})
		return
	}
	if other != nil {
		named := other.names.Load()
		if named == nil {
			l.emit(ReferProgress{Code: 481, Done: true})
			return
		}
		if to == "" {
			to = named.target
		}
		to += "?Replaces=" + url.QueryEscape(named.String())
	}
	req, err := l.dialog.request(sip.REFER)
	if err != nil || !edge.Clean(to) || strings.ContainsAny(to, "<> \"") {
		l.emit(ReferProgress{Code: 400, Done: true})
		return
	}
	req.AppendHeader(sip.NewHeader("Refer-To", "<"+to+">"))
	req.AppendHeader(sip.NewHeader("Referred-By", "<"+l.dialog.contact.Address.String()+">"))
	l.describe(req.Request)
	l.referring = true
	l.do(req, 0, func(res *sip.Response, err error) {
		switch {
		case err != nil:
			l.referring = false
			l.emit(ReferProgress{Code: 408, Done: true})
		case res.IsSuccess():
			if strings.EqualFold(strings.TrimSpace(headerValue(res, "refer-sub")), "false") {
				l.referring = false // nothing more will be told
				l.emit(ReferProgress{Code: 202, Done: true})
			}
		default:
			l.referring = false
			l.emit(ReferProgress{Code: res.StatusCode, Done: true})
		}
	})
}

// onNotify is news of a transfer that we asked for.
func (l *Leg) onNotify(m request) {
	event, _, _ := strings.Cut(headerValue(m, "event"), ";")
	if !l.referring || !strings.EqualFold(strings.TrimSpace(event), "refer") {
		l.refuse(m, unknownDialog())
		return
	}
	l.answer(m, 200, nil)
	code := fragmentCode(m.Body())
	status, _, _ := strings.Cut(headerValue(m, "subscription-state"), ";")
	over := strings.EqualFold(strings.TrimSpace(status), "terminated")
	if code == 0 && !over {
		return
	}
	if code >= 200 || over {
		l.referring = false
	}
	l.emit(ReferProgress{Code: code, Done: !l.referring})
}

// fragmentCode reads "SIP/2.0 200 OK"; 0 when it is none.
func fragmentCode(body []byte) int {
	line, _, _ := strings.Cut(string(body), "\r\n")
	f := strings.Fields(line)
	if len(f) < 2 || !strings.EqualFold(f[0], "SIP/2.0") {
		return 0
	}
	code, err := strconv.Atoi(f[1])
	if err != nil || code < 100 || code > 699 {
		return 0
	}
	return code
}

// holder is the leg that a Replaces names; nil: none of ours.
func (s *Stack) holder(r replaces) *Leg {
	l := s.leg(dialogKey{r.callID, r.toTag})
	if l == nil {
		return nil
	}
	if n := l.names.Load(); n == nil || n.toTag != r.fromTag {
		return nil
	}
	return l
}

// replaced looks at the Replaces of an INVITE (RFC 3891 section 3). Both nil: it has none.
func (s *Stack) replaced(req *sip.Request) (*Leg, *edge.Refusal) {
	values := req.GetHeaders("replaces")
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > 1 {
		return nil, edge.Refuse(400, "Repeated Replaces")
	}
	r, ok := parseReplaces(values[0].Value())
	if !ok {
		return nil, edge.Refuse(400, "Bad Replaces")
	}
	l := s.holder(r)
	switch {
	case l == nil:
		return nil, unknownDialog()
	case l.answered.Load() && r.earlyOnly:
		return nil, edge.Refuse(486, "Busy Here")
	case !l.answered.Load() && l.info.Inbound: // an early dialog that we did not begin
		return nil, unknownDialog()
	}
	return l, nil
}

// Replaces is the leg whose place this inbound one takes, by its INVITE's Replaces; nil: none.
func (l *Leg) Replaces() *Leg {
	if l.in == nil {
		return nil
	}
	return l.in.replaces
}

// Replace tells this leg's owner that by asks to take its place; who admits calls says it, after it has admitted by.
func (l *Leg) Replace(by *Leg) { l.post(func() { l.emit(Replaced{by}) }) }
