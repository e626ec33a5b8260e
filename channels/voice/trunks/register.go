package trunks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/icholy/digest"
	"patchbay/channels/voice/edge"
)

// registration is what a trunk's REGISTERs have in common (RFC 3261 section 10.2.4).
type registration struct {
	shelf  *Shelf
	trunk  *Trunk
	callID string
	seq    uint32
	asks   int // seconds; more when the carrier wants more (423)
	server *server
	hop    edge.Hop // where it holds
	login  edge.Login
}

// register keeps a trunk registered until ctx ends: again at half time, at the next server when one fails, and gone
// when we go.
func (sh *Shelf) register(ctx context.Context, t *Trunk) {
	r := &registration{shelf: sh, trunk: t, callID: sip.GenerateTagN(24), asks: t.RegisterSeconds,
		login: edge.Login{User: t.Login(), Password: string(t.Password)}}
	failures := 0
	for {
		holds, err := r.anywhere(ctx)
		if ctx.Err() != nil {
			break
		}
		pause := holds / 2
		switch a := (answer{}); {
		case err == nil:
			failures = 0
		case errors.As(err, &a) && a.code >= 400 && a.code < 500 && a.code != 408: // it does not want us: asking again soon brings a ban
			failures, pause = failures+1, sh.times.Longest
		default:
			failures++
			pause = sh.pause(failures)
		}
		t.holds(r.server, err)
		sh.store(t)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	if r.server == nil {
		return
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), sh.times.Grace)
	defer cancel()
	if _, err := r.at(bye, r.hop, 0); err != nil {
		sh.log.Info("not unregistered", "trunk", t.Name, "err", err)
	}
}

// holds notes the outcome.
func (t *Trunk) holds(s *server, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.registered, t.registrar, t.refused = err == nil, "", ""
	if err != nil {
		t.refused = "not registered: " + err.Error()
		return
	}
	t.registrar = s.name
}

// anywhere registers at the first server that takes us, the last one that did before the others.
func (r *registration) anywhere(ctx context.Context) (time.Duration, error) {
	err := errors.New("no server has an address")
	for _, c := range r.trunk.registrars(r.server) {
		var holds time.Duration
		if holds, err = r.at(ctx, c.hop, r.asks); err == nil {
			r.server, r.hop = c.server, c.hop
			return holds, nil
		}
		err = fmt.Errorf("%s: %w", c.server.name, err)
		if ctx.Err() != nil {
			return 0, err
		}
	}
	r.server = nil
	return 0, err
}

type registrar struct {
	server *server
	hop    edge.Hop
}

// registrars are where to register: the server that has us, then the others in order, then those that are down.
func (t *Trunk) registrars(last *server) []registrar {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ranks [3][]registrar
	for _, s := range t.servers {
		rank := 1
		switch {
		case s == last:
			rank = 0
		case s.down:
			rank = 2
		}
		for _, h := range s.hops {
			ranks[rank] = append(ranks[rank], registrar{s, h})
		}
	}
	return append(append(ranks[0], ranks[1]...), ranks[2]...)
}

// at registers at one hop for so many seconds; 0 ends it. It answers what the carrier asks for on the way: a password,
// more time, a fresh nonce.
func (r *registration) at(ctx context.Context, h edge.Hop, seconds int) (holds time.Duration, err error) {
	var challenge *sip.Response
	for range 5 {
		req := r.request(h, seconds)
		if challenge != nil {
			if err := r.login.Answer(req, challenge); err != nil {
				return 0, err
			}
		}
		res, err := r.shelf.ask(ctx, req, h)
		if err != nil {
			return 0, err
		}
		refusal := answer{res.StatusCode, res.Reason}
		switch {
		case res.IsSuccess():
			return granted(res, req.Contact().Address, seconds), nil
		case res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired:
			if challenge != nil && !isStale(res) {
				return 0, refusal
			}
			challenge = res
		case res.StatusCode == 423 && seconds > 0:
			least, err := strconv.Atoi(strings.TrimSpace(valueOf(res, "min-expires")))
			if err != nil || least <= seconds || least > 86400 {
				return 0, refusal
			}
			r.asks, seconds = least, least
		default:
			return 0, refusal
		}
	}
	return 0, errors.New("it asks for the password again and again")
}

func (r *registration) request(h edge.Hop, seconds int) *sip.Request {
	t := r.trunk
	host, port := t.domain()
	here := r.shelf.cfg.Here(h, t.SignalIP)
	req := t.outside(sip.REGISTER, sip.Uri{Scheme: "sip", Host: host, Port: port}, here.String())
	r.seq++
	id := sip.CallIDHeader(r.callID)
	req.ReplaceHeader(&id)
	req.ReplaceHeader(&sip.CSeqHeader{SeqNo: r.seq, MethodName: sip.REGISTER})
	expires := sip.ExpiresHeader(uint32(seconds))
	req.AppendHeader(&expires)
	return req
}

// outside is a request of ours outside any call, but for its Via. here is our address as the trunk sees it.
func (t *Trunk) outside(method sip.RequestMethod, to sip.Uri, here string) *sip.Request {
	req := sip.NewRequest(method, to)
	host, port := t.domain()
	us := sip.Uri{Scheme: "sip", User: t.Username, Host: host, Port: port}
	from := &sip.FromHeader{Address: us}
	from.Params.Add("tag", sip.GenerateTagN(16))
	target := us
	if method != sip.REGISTER {
		target = to
	}
	contact := &sip.ContactHeader{}
	if err := sip.ParseUri("sip:"+t.Username+"@"+here, &contact.Address); err != nil || t.Username == "" {
		_ = sip.ParseUri("sip:patchbay@"+here, &contact.Address) // an address and a port
	}
	if t.Transport != "udp" {
		contact.Address.UriParams.Add("transport", t.Transport)
	}
	id, hops := sip.CallIDHeader(sip.GenerateTagN(24)), sip.MaxForwardsHeader(70)
	for _, h := range []sip.Header{from, &sip.ToHeader{Address: target}, &id, &sip.CSeqHeader{SeqNo: 1, MethodName: method}, &hops, contact} {
		req.AppendHeader(h)
	}
	req.SetBody(nil)
	return req
}

// granted is how long a registration holds: what the carrier says of our Contact, else of all, else what we asked for.
func granted(res *sip.Response, ours sip.Uri, asked int) time.Duration {
	seconds := asked
	if n, err := strconv.Atoi(strings.TrimSpace(valueOf(res, "expires"))); err == nil {
		seconds = n
	}
	for _, h := range res.GetHeaders("contact") {
		c, ok := h.(*sip.ContactHeader)
		if !ok || c.Address.User != ours.User || c.Address.Host != ours.Host || c.Address.Port != ours.Port {
			continue
		}
		if text, ok := c.Params.Get("expires"); ok {
			if n, err := strconv.Atoi(text); err == nil {
				seconds = n
			}
		}
	}
	return time.Duration(min(max(seconds, 2), 86400)) * time.Second // a carrier that grants less is not asked more than once a second
}

func valueOf(m interface{ GetHeader(string) sip.Header }, name string) string {
	if h := m.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// isStale tells whether a challenge only wants a fresh nonce (RFC 7616 section 3.3).
func isStale(res *sip.Response) bool {
	for _, h := range append(res.GetHeaders("www-authenticate"), res.GetHeaders("proxy-authenticate")...) {
		if c, err := digest.ParseChallenge(h.Value()); err == nil && c.Stale {
			return true
		}
	}
	return false
}
