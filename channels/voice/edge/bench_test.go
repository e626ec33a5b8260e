package edge

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
)

// BenchmarkAdmit: what the gate costs a message, by who sends it.
func BenchmarkAdmit(b *testing.B) {
	g := newGate(Config{Log: slog.New(slog.DiscardHandler), Digest: accounts(b), Policy: Policy{Trusted: []netip.Prefix{home}, Phones: []netip.Prefix{netip.MustParsePrefix("127.1.0.0/16")}}})
	text := []byte(request("REGISTER", "100", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5060}, "UDP"))
	for name, from := range map[string]func(i int) netip.Addr{
		"trunk":    func(int) netip.Addr { return home.Addr() },
		"stranger": func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) },
		"knocker":  func(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				g.admit(text, netip.AddrPortFrom(from(i), 5060), true)
			}
		})
	}
}
