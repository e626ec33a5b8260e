package devices

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
)

// wish is what a REGISTER asks for.
type wish struct {
	all      bool // Contact: *
	contacts []binding
}

// binding is one of its contacts; no seconds: forget it.
type binding struct {
	instance, uri string
	seconds       int
}

// Register answers a REGISTER (RFC 3261 section 10.3).
func (r *Registrar) Register(req *sip.Request) *edge.Refusal {
	account, refused := r.cfg.Authenticate(req)
	if refused != nil {
		return refused
	}
	d, ok := r.Device(account)
	if !ok || !strings.EqualFold(req.To().Address.User, d.Username) {
		return edge.Refuse(403, "Not Your Address")
	}
	w, refused := r.read(req)
	if refused != nil {
		return refused
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.times.Request)
	defer cancel()
	held, err := r.apply(ctx, d, w, req)
	switch {
	case errors.Is(err, errOrder):
		return edge.Refuse(500, "CSeq Out Of Order")
	case errors.Is(err, errMany):
		return edge.Refuse(403, "Too Many Contacts")
	case err != nil:
		r.cfg.Log.Warn("telephone not registered", "device", d.Username, "err", err)
		return edge.Refuse(503, "Service Unavailable", sip.NewHeader("Retry-After", "5"))
	}
	headers := make([]sip.Header, 0, len(held)+1)
	for _, h := range held {
		value := "<" + h.Contact + ">;expires=" + strconv.Itoa(int(math.Ceil(time.Until(h.ExpiresAt).Seconds())))
		if strings.HasPrefix(h.Instance, "urn:") {
			value += `;+sip.instance="<` + h.Instance + `>"`
		}
		headers = append(headers, sip.NewHeader("Contact", value))
	}
	// Telephones without a clock of their own take ours.
	headers = append(headers, sip.NewHeader("Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")))
	return edge.Refuse(200, "OK", headers...)
}

// read reads the contacts.
func (r *Registrar) read(req *sip.Request) (w wish, refused *edge.Refusal) {
	usual := int(r.times.Usual.Seconds())
	if h := req.GetHeader("Expires"); h != nil {
		usual = secondsOf(h.Value(), usual)
	}
	for _, h := range req.GetHeaders("Contact") {
		c, ok := h.(*sip.ContactHeader)
		if !ok {
			return w, edge.Refuse(400, "Bad Contact")
		}
		if c.Address.Wildcard {
			w.all = true
			continue
		}
		b := binding{uri: c.Address.String(), seconds: usual}
		if len(b.uri) > maxURI || !edge.Clean(b.uri) || strings.ContainsAny(b.uri, "<> \"") || c.Address.Host == "" {
			return w, edge.Refuse(400, "Bad Contact")
		}
		if own, ok := c.Params.Get("expires"); ok {
			b.seconds = secondsOf(own, usual)
		}
		if least := int(r.times.Least.Seconds()); b.seconds > 0 && b.seconds < least {
			return w, edge.Refuse(423, "Interval Too Brief", sip.NewHeader("Min-Expires", strconv.Itoa(least)))
		}
		b.seconds = min(b.seconds, int(r.times.Most.Seconds()))
		b.instance = instanceOf(c)
		w.contacts = append(w.contacts, b)
	}
	if w.all && (len(w.contacts) > 0 || len(req.GetHeaders("Contact")) > 1 || usual != 0) { // step 6
		return w, edge.Refuse(400, "Contact * Stands Alone And With Expires 0")
	}
	if len(w.contacts) > maxContacts {
		return w, edge.Refuse(403, "Too Many Contacts")
	}
	return w, nil
}

// instanceOf tells one telephone of an account from another, also when its address changes (RFC 5626 section 4.1).
func instanceOf(c *sip.ContactHeader) string {
	if id, ok := c.Params.Get("+sip.instance"); ok {
		if id = strings.ToLower(strings.Trim(id, `"<> `)); strings.HasPrefix(id, "urn:") && len(id) <= 100 && edge.Clean(id) && !strings.ContainsAny(id, `"<>`) {
			return id
		}
	}
	return c.Address.User + "@" + c.Address.Host + ":" + strconv.Itoa(c.Address.Port)
}

// secondsOf reads an expiry; what cannot be read counts as usual (RFC 3261 section 10.2.1.1).
func secondsOf(value string, usual int) int {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
	if err != nil {
		return usual
	}
	return int(min(n, math.MaxInt32))
}

// apply does all of it or nothing, and returns what holds then. A request that was overtaken by a later one of the same
// Call-ID changes nothing (steps 6 and 7).
func (r *Registrar) apply(ctx context.Context, d channels.Device, w wish, req *sip.Request) (held []channels.Registration, err error) {
	callID, seq := req.CallID().Value(), int64(req.CSeq().SeqNo)
	source, err := netip.ParseAddrPort(req.Source())
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
	agent := ""
	if h := req.GetHeader("User-Agent"); h != nil {
		agent = edge.Plain(strings.ToValidUTF8(h.Value(), ""))
		agent = agent[:min(len(agent), maxUserAgent)]
	}
	err = pgx.BeginFunc(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		// two requests of one telephone wait for each other
		if _, err := tx.Exec(ctx, `select from devices where id = $1 for update`, d.ID); err != nil {
			return fmt.Errorf("lock telephone: %w", err)
		}
		before, err := channels.Registrations(ctx, tx, d.ID)
		if err != nil {
			return err
		}
		touched := func(instance string) bool {
			for _, b := range w.contacts {
				if b.instance == instance {
					return true
				}
			}
			return w.all
		}
		for _, old := range before {
			if touched(old.Instance) && old.CallID == callID && old.CSeq >= seq {
				return errOrder
			}
		}
		if w.all {
			return channels.DeleteRegistrations(ctx, tx, d.ID, "")
		}
		for _, b := range w.contacts {
			if b.seconds == 0 {
				if err := channels.DeleteRegistrations(ctx, tx, d.ID, b.instance); err != nil {
					return err
				}
				continue
			}
			if _, err := channels.SaveRegistration(ctx, tx, channels.Registration{DeviceID: d.ID, Instance: b.instance, Contact: b.uri,
				Source: source.String(), Transport: strings.ToLower(req.Transport()), CallID: callID, CSeq: seq, UserAgent: agent, NodeID: r.cfg.NodeID,
				ExpiresAt: time.Now().Add(time.Duration(b.seconds) * time.Second)}); err != nil {
				return err
			}
		}
		if held, err = channels.Registrations(ctx, tx, d.ID); err == nil && len(held) > maxContacts {
			err = errMany
		}
		return err
	})
	if err == nil && len(w.contacts) > 0 {
		r.cfg.Log.Info("telephone registered", "device", d.Username, "source", source, "transport", req.Transport(), "contacts", len(held))
	}
	return held, err
}
