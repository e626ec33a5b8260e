package edge

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is a name server of ours: "SRV name." and "A name.", "AAAA name." to what it answers.
type zone struct {
	srv  map[string][]dnsmessage.SRVResource
	host map[string][]string
}

// resolver gives a resolver that asks it, by real packets.
func (z zone) resolver(t testing.TB) *Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			if answer, err := z.answer(q); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return &Resolver{DNS: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}}
}

func (z zone) answer(q dnsmessage.Message) ([]byte, error) {
	ask := q.Questions[0]
	name := strings.TrimSuffix(ask.Name.String(), ".")
	a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true}, Questions: q.Questions}
	head := dnsmessage.ResourceHeader{Name: ask.Name, Type: ask.Type, Class: dnsmessage.ClassINET, TTL: 1}
	records, hosts := z.srv[name], z.host[name]
	if len(records)+len(hosts) == 0 {
		a.RCode = dnsmessage.RCodeNameError
	}
	for _, r := range records {
		if ask.Type == dnsmessage.TypeSRV {
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: head, Body: &r})
		}
	}
	for _, h := range hosts {
		switch ip := netip.MustParseAddr(h); {
		case ip.Is4() && ask.Type == dnsmessage.TypeA:
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: ip.As4()}})
		case ip.Is6() && ask.Type == dnsmessage.TypeAAAA:
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
		}
	}
	return a.Pack()
}

func TestResolve(t *testing.T) {
	ctx := testCtx(t)
	record := func(target string, priority, weight, port uint16) dnsmessage.SRVResource {
		return dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(target + ".")}
	}
	r := zone{
		srv: map[string][]dnsmessage.SRVResource{
			"_sip._udp.carrier.test":  {record("b.carrier.test", 20, 0, 5062), record("a.carrier.test", 10, 0, 5061), record("gone.carrier.test", 5, 0, 5060)},
			"_sips._tcp.carrier.test": {record("a.carrier.test", 10, 0, 5071)},
			"_sip._tcp.never.test":    {record("", 0, 0, 0)},
			"_sip._udp.weight.test":   {record("a.carrier.test", 1, 9, 1), record("b.carrier.test", 1, 1, 2)},
		},
		host: map[string][]string{
			"a.carrier.test": {"2001:db8::a", "192.0.2.10", "192.0.2.11"},
			"b.carrier.test": {"192.0.2.20"},
			"plain.test":     {"192.0.2.30", "2001:db8::30"},
			"carrier.test":   {"192.0.2.99"},
		},
	}.resolver(t)
	for _, c := range []struct {
		server, transport string
		want              []string
	}{
		{"carrier.test", "udp", []string{"udp:192.0.2.10:5061", "udp:192.0.2.11:5061", "udp:[2001:db8::a]:5061", "udp:192.0.2.20:5062"}},
		{"carrier.test", "TLS", []string{"tls:192.0.2.10:5071", "tls:192.0.2.11:5071", "tls:[2001:db8::a]:5071"}},
		{"carrier.test", "tcp", []string{"tcp:192.0.2.99:5060"}},
		{"carrier.test:5080", "udp", []string{"udp:192.0.2.99:5080"}},
		{"plain.test", "tls", []string{"tls:192.0.2.30:5061", "tls:[2001:db8::30]:5061"}},
		{"192.0.2.1", "udp", []string{"udp:192.0.2.1:5060"}},
		{"192.0.2.1:5070", "tls", []string{"tls:192.0.2.1:5070"}},
		{"2001:db8::1", "tls", []string{"tls:[2001:db8::1]:5061"}},
		{"[2001:db8::1]", "tcp", []string{"tcp:[2001:db8::1]:5060"}},
		{"[2001:db8::1]:5070", "udp", []string{"udp:[2001:db8::1]:5070"}},
	} {
		hops, err := r.Resolve(ctx, c.server, c.transport)
		if err != nil {
			t.Errorf("%s by %s: %v", c.server, c.transport, err)
			continue
		}
		var got []string
		for _, h := range hops {
			got = append(got, h.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s by %s: %v, want %v", c.server, c.transport, got, c.want)
		}
	}
	if hops, err := r.Resolve(ctx, "carrier.test", "tls"); err != nil || hops[0].Name != "carrier.test" {
		t.Errorf("the certificate would have to be for %v, want the domain asked for (%v)", hops, err)
	}
	for _, bad := range [][2]string{{"never.test", "tcp"}, {"nobody.test", "udp"}, {"", "udp"}, {"a b", "udp"}, {"x:0", "udp"}, {"x:y:z", "udp"}, {"x", "sctp"}, {"x:70000", "tcp"}} {
		if hops, err := r.Resolve(ctx, bad[0], bad[1]); err == nil {
			t.Errorf("%s by %s: %v", bad[0], bad[1], hops)
		}
	}
	first := map[string]int{}
	for range 200 {
		hops, err := r.Resolve(ctx, "weight.test", "udp")
		if err != nil {
			t.Fatal(err)
		}
		first[hops[0].Addr.Addr().String()]++
	}
	if heavy := first["192.0.2.10"] + first["192.0.2.11"]; heavy < 140 || heavy == 200 {
		t.Errorf("weights 9 and 1: %v", first)
	}
}
