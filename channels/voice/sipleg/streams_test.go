package sipleg

import (
	"crypto/tls"
	"strings"
	"testing"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/voicetest"
)

// TestTransports: two stacks call each other by UDP, TCP and TLS, by both families, in the clear and with keys of either
// kind; a key is pressed both ways, each holds a description of its family, and a hold goes through.
func TestTransports(t *testing.T) {
	certificate := voicetest.NewCertificate(t)
	listen := func(s *setup) {
		for _, ip := range []string{"127.0.0.1:0", "[::1]:0"} {
			for _, tr := range []string{"udp", "tcp", "tls"} {
				s.listen = append(s.listen, edge.Listen{Transport: tr, Addr: ip})
			}
		}
		s.listen = s.listen[1:]
		s.tls, s.roots = &tls.Config{Certificates: []tls.Certificate{certificate.TLS}}, &tls.Config{RootCAs: certificate.Roots}
	}
	for _, c := range []struct {
		transport, ip, srtp, keys string
	}{
		{"udp", "127.0.0.1", "", ""}, {"tcp", "127.0.0.1", "", ""}, {"tls", "127.0.0.1", "", ""},
		{"udp", "::1", "", ""}, {"tcp", "::1", "", ""},
		{"tls", "127.0.0.1", sdp.Required, sdp.SDES}, {"udp", "127.0.0.1", sdp.Required, sdp.DTLS}, {"tls", "::1", sdp.Optional, sdp.DTLS},
	} {
		t.Run(strings.Join([]string{c.transport, c.ip, c.srtp, c.keys}, " "), func(t *testing.T) {
			ctx := testCtx(t)
			prefs := sdp.Prefs{Codecs: []string{sdp.PCMU}, SRTP: c.srtp, Keys: c.keys, Mux: true}
			b, heard := newOffice(t, func(s *setup) {
				listen(s)
				s.accept = func(a *Accept) { a.Prefs = prefs }
			})
			a, _ := newOffice(t, listen)
			at := b.edge.AddrFor(c.transport, netipOf(c.ip))
			out, hear := a.dial(at, func(d *Dial) {
				d.Hops, d.Prefs = []edge.Hop{{Transport: c.transport, Addr: at}}, prefs
			})
			in := b.called(ctx)
			in.Ring()
			next[Ringing](t, ctx, hear)
			in.Answer()
			next[Answered](t, ctx, hear)
			next[Acked](t, ctx, heard)
			if got := in.Info(); got.Transport != strings.ToUpper(c.transport) {
				t.Errorf("came by %s", got.Transport)
			}
			in.Refresh() // by UPDATE, over the connection that the call came by
			out.SendKey('7')
			if k := next[Key](t, ctx, heard); k.Digit != '7' {
				t.Errorf("key %c", k.Digit)
			}
			in.SendKey('#')
			if k := next[Key](t, ctx, hear); k.Digit != '#' {
				t.Errorf("key %c", k.Digit)
			}
			in.Hangup("done")
			if e := next[Ended](t, ctx, hear); e.By != ByPeer {
				t.Errorf("%+v", e)
			}
			next[Ended](t, ctx, heard)
		})
	}
}

// TestLarge: what is too long for a datagram goes by TCP where the peer takes it, and by UDP where it does not.
func TestLarge(t *testing.T) {
	ctx := testCtx(t)
	long := func(d *Dial) {
		d.LargeByTCP = true
		d.Headers = [][2]string{{"X-Long", strings.Repeat("x", 1300)}}
	}
	b, heard := newOffice(t, func(s *setup) { s.listen = append(s.listen, edge.Listen{Transport: "tcp", Addr: s.listen[0].Addr}) })
	_ = heard
	a, _ := newOffice(t, func(s *setup) { s.listen = append(s.listen, edge.Listen{Transport: "tcp", Addr: "127.0.0.1:0"}) })
	out, hear := a.dial(b.edge.Addr("tcp"), long)
	in := b.called(ctx)
	if in.Info().Transport != "TCP" {
		t.Errorf("came by %s", in.Info().Transport)
	}
	in.Refuse(486, "")
	next[Ended](t, ctx, hear)
	_ = out
	_, hear = a.dial(b.edge.Addr("udp"), long) // nobody there by TCP
	in = b.called(ctx)
	if in.Info().Transport != "UDP" {
		t.Errorf("came by %s", in.Info().Transport)
	}
	in.Refuse(486, "")
	next[Ended](t, ctx, hear)
}
