package voice

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"golang.org/x/time/rate"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
)

// rules: what this telephone serves.
var rules = edge.Rules{Methods: []sip.RequestMethod{sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.INFO, sip.UPDATE}}

// serve takes every request that sipgo has a transaction for, each on its own goroutine. sipgo ends the transaction
// when a handler returns without a final answer, so whoever answers later keeps serve waiting.
func (v *Voice) serve(req *sip.Request, tx sip.ServerTransaction) {
	defer func() {
		if r := recover(); r != nil {
			v.panics.Add(1)
			v.log.Error("sip handler panic", "method", req.Method, "panic", r, "stack", string(debug.Stack()))
			if req.Method != sip.ACK {
				v.reject(req, tx, edge.Refuse(500, "Server Internal Error"))
			}
		}
	}()
	if req.Method == sip.ACK { // never answered (RFC 3261 section 17)
		if req.CallID() != nil && req.From() != nil && req.To() != nil && req.CSeq() != nil {
			if c := v.find(req); c != nil {
				c.post(request{req: req})
			}
		}
		return
	}
	if r := edge.Validate(req, rules); r != nil {
		v.reject(req, tx, r)
		return
	}
	_, inDialog := req.To().Params.Get("tag")
	switch {
	case req.Method == sip.CANCEL:
		v.cancel(req, tx)
	case inDialog:
		c := v.find(req)
		if c == nil {
			v.reject(req, tx, edge.Refuse(481, "Call/Transaction Does Not Exist"))
			return
		}
		c.serve(req, tx)
	case req.Method == sip.INVITE:
		v.invite(req, tx)
	case req.Method == sip.OPTIONS:
		v.options(req, tx)
	default: // BYE, INFO, UPDATE outside a dialog
		v.reject(req, tx, edge.Refuse(481, "Call/Transaction Does Not Exist"))
	}
}

// cancel takes a CANCEL that matches no transaction: those that do are handled inside sipgo. Some peers give it a branch of
// its own; then Call-ID, From tag and CSeq still say which INVITE is meant (RFC 2543).
func (v *Voice) cancel(req *sip.Request, tx sip.ServerTransaction) {
	from, _ := req.From().Params.Get("tag")
	v.mu.Lock()
	c := v.invites[inviteKey{req.CallID().Value(), from, req.CSeq().SeqNo}]
	v.mu.Unlock()
	if c == nil {
		v.reject(req, tx, edge.Refuse(481, "Call/Transaction Does Not Exist"))
		return
	}
	v.reject(req, tx, edge.Refuse(200, "OK")) // before the 487
	c.post(cancelled{})
}

// reject answers a request outside any call.
func (v *Voice) reject(req *sip.Request, tx sip.ServerTransaction, r *edge.Refusal) {
	res := newResponse(req, r.Code, r.Reason, nil)
	for _, h := range r.Headers {
		res.AppendHeader(h)
	}
	v.send(tx, res)
}

func (v *Voice) send(tx sip.ServerTransaction, res *sip.Response) {
	if err := tx.Respond(res); err != nil && !errors.Is(err, sip.ErrTransactionCanceled) {
		v.log.Debug("sip answer", "code", res.StatusCode, "err", err)
	}
}

// options tells a peer what we can, and that we are alive.
func (v *Voice) options(req *sip.Request, tx sip.ServerTransaction) {
	if v.isClosing() {
		v.reject(req, tx, busy())
		return
	}
	v.reject(req, tx, edge.Refuse(200, "OK", rules.Allow(), sip.NewHeader("Accept", edge.TypeSDP),
		sip.NewHeader("Accept-Encoding", "identity"), sip.NewHeader("Accept-Language", "en"), sip.NewHeader("Supported", "")))
}

func busy() *edge.Refusal {
	return edge.Refuse(503, "Service Unavailable", sip.NewHeader("Retry-After", "5"))
}

func (v *Voice) isClosing() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closing
}

// find looks a dialog up by Call-ID and both tags, never by request URI.
func (v *Voice) find(req *sip.Request) *call {
	to, _ := req.To().Params.Get("tag")
	v.mu.Lock()
	c := v.calls[dialogKey{req.CallID().Value(), to}]
	v.mu.Unlock()
	if c == nil {
		return nil
	}
	if from, _ := req.From().Params.Get("tag"); from != c.remoteTag {
		return nil
	}
	return c
}

// invite checks a new call and runs it; it returns when the call is over.
func (v *Voice) invite(req *sip.Request, tx sip.ServerTransaction) {
	v.send(tx, newResponse(req, 100, "Trying", nil)) // at once: sipgo waits 200 ms
	a, r := v.arrival(req)
	if r != nil {
		v.reject(req, tx, r)
		return
	}
	offer, r := described(req)
	if r != nil {
		v.reject(req, tx, r)
		return
	}
	defer a.trunk.begin()()
	c := newCall(v, req, tx, a, offer)
	if r := v.enter(c); r != nil {
		v.reject(req, tx, r)
		return
	}
	defer v.leave(c)
	c.run()
}

// arrival is who calls, whom, and by which trunk; one that must log in does so first.
func (v *Voice) arrival(req *sip.Request) (arrival, *edge.Refusal) {
	from, err := netip.ParseAddrPort(req.Source())
	if err != nil {
		return arrival{}, edge.Refuse(403, "Forbidden")
	}
	a, r := v.trunks.arrive(from.Addr().Unmap(), req)
	if r != nil || !a.login {
		return a, r
	}
	account, r := v.edge.Authenticate(req)
	if r == nil && account.User != a.trunk.login() {
		r = edge.Refuse(403, "Forbidden")
	}
	return a, r
}

// described reads the description that a request carries. Both nil: it has none.
func described(req *sip.Request) (*sdp.Session, *edge.Refusal) {
	kind := ""
	if h := req.ContentType(); h != nil {
		kind = h.Value()
	}
	body, err := sdp.FromBody(kind, req.Body())
	if err == nil && body == nil {
		return nil, nil
	}
	var s *sdp.Session
	if err == nil {
		s, err = sdp.Parse(body)
	}
	if err != nil {
		return nil, refuseSDP(err)
	}
	return s, nil
}

// refuseSDP is the answer to a description that we cannot read, or not take.
func refuseSDP(err error) *edge.Refusal {
	if errors.Is(err, sdp.ErrNotAcceptable) {
		return edge.Refuse(488, "Not Acceptable Here", sip.NewHeader("Warning", `305 patchbay "`+headerText(err.Error())+`"`))
	}
	return edge.Refuse(400, "Unreadable SDP", sip.NewHeader("Warning", `399 patchbay "`+headerText(err.Error())+`"`))
}

// enter registers a call, or says why it may not begin.
func (v *Voice) enter(c *call) *edge.Refusal {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.invites[c.invite] != nil: // the same request by another way (RFC 3261 section 8.2.2.2)
		return edge.Refuse(482, "Loop Detected")
	case v.closing || len(v.calls) >= v.cfg.MaxCalls:
		return busy()
	}
	v.calls[c.key] = c
	v.invites[c.invite] = c
	v.running.Add(1)
	return nil
}

func (v *Voice) leave(c *call) {
	v.mu.Lock()
	delete(v.calls, c.key)
	delete(v.invites, c.invite)
	v.mu.Unlock()
	v.running.Done()
}

// dialled is the number called: the request URI's, or that of To where a trunk sends all calls to one address.
func dialled(req *sip.Request) string {
	uri := req.Recipient
	if raw := uri.Raw(); raw != "" {
		return raw
	}
	if uri.User == "" {
		return req.To().Address.User
	}
	return uri.User
}

// bareNumber makes numbers comparable: +49 30 1, 0049301 and 49301 are the same.
func bareNumber(s string) string {
	return strings.TrimPrefix(normalNumber(s), "+")
}

// bye sends our BYE and forgets the dialog whatever comes back (RFC 3261 section 15). It runs on its own goroutine: a
// dead peer takes 64*T1 to be given up.
func (v *Voice) bye(d *dialog, log *slog.Logger, reason string) {
	req, err := d.request(sip.BYE)
	if err != nil {
		log.Warn("bye", "err", err)
		return
	}
	req.AppendHeader(sip.NewHeader("Reason", `SIP;cause=200;text="`+headerText(reason)+`"`)) // RFC 3326
	v.running.Add(1)                                                                         // the caller is one of v.running itself
	go func() {
		defer v.running.Done()
		ctx, cancel := context.WithTimeout(v.callsCtx, 64*v.times.T1)
		defer cancel()
		local := v.Addr()
		req.Laddr = sip.Addr{IP: local.Addr().AsSlice(), Port: int(local.Port())}
		if _, err := v.transact(ctx, req); err != nil {
			log.Info("bye without answer", "err", err)
		}
	}()
}

// request sends a request outside any call to a hop and waits for its final answer.
func (v *Voice) request(ctx context.Context, req *sip.Request, to edge.Hop) (*sip.Response, error) {
	if _, err := v.edge.Route(ctx, req, to); err != nil {
		return nil, err
	}
	here := v.hereFor(to, "")
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: req.Transport(), Host: here.Addr().String(), Port: int(here.Port())}
	via.Params.Add("branch", sip.GenerateBranch())
	via.Params.Add("rport", "")
	req.PrependHeader(via)
	return v.transact(ctx, req)
}

// transact sends a request and waits for its final answer.
func (v *Voice) transact(ctx context.Context, req *sip.Request) (*sip.Response, error) {
	tx, err := v.ua.TransactionLayer().Request(ctx, req)
	if err != nil {
		return nil, err
	}
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done():
			return nil, tx.Err()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// headerText makes words of ours safe inside a quoted string.
func headerText(s string) string {
	return strings.NewReplacer(`"`, "'", `\`, "/").Replace(edge.Plain(s))
}

// keyOfInfo reads a key from an INFO body: "Signal=5" (dtmf-relay) or just "5" (dtmf).
func keyOfInfo(kind string, body []byte) (byte, bool) {
	text := strings.TrimSpace(string(body))
	if kind == edge.TypeRelay {
		found := ""
		for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' }) {
			if name, value, ok := strings.Cut(line, "="); ok && strings.EqualFold(strings.TrimSpace(name), "signal") {
				found = strings.TrimSpace(value)
			}
		}
		text = found
	}
	switch text {
	case "10":
		text = "*"
	case "11":
		text = "#"
	}
	if len(text) != 1 || strings.IndexByte("0123456789*#ABCD", text[0]) < 0 {
		return 0, false
	}
	return text[0], true
}

// remoteOf is what the peer's SDP means to a leg.
func remoteOf(t sdp.Terms) media.Remote {
	codec, _ := media.ParseCodec(t.Codec) // the names are the same
	return media.Remote{Addr: t.Remote, RTCP: t.RTCP,
		Format: media.Format{Codec: codec, PayloadType: t.PayloadType, Events: t.Events, Comfort: t.Comfort}}
}

// quiet is the log that sipgo gets: what it calls info is debug for us, broken packets are sampled and come without
// their data, which are other people's words.
type quiet struct {
	slog.Handler
	limit *rate.Limiter
}

func newQuiet(h slog.Handler) slog.Handler {
	return quiet{h, rate.NewLimiter(rate.Every(time.Second), 5)}
}

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if !q.Handler.Enabled(ctx, slog.LevelWarn) || !q.limit.Allow() {
		return nil
	}
	out := slog.NewRecord(r.Time, min(r.Level, slog.LevelWarn), "sipgo: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if text := a.Value.String(); a.Key != "data" && a.Key != "req" && len(text) < 200 {
			out.AddAttrs(slog.String(a.Key, strconv.QuoteToASCII(text)))
		}
		return true
	})
	return q.Handler.Handle(ctx, out)
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a), q.limit} }
func (q quiet) WithGroup(n string) slog.Handler      { return quiet{q.Handler.WithGroup(n), q.limit} }
