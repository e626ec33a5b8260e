package media

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"
)

// DTLS is keys agreed on over the leg's own socket (DTLS-SRTP, RFC 5763 and 5764).
type DTLS struct {
	Certificate tls.Certificate // ours; NewCertificate makes one
	Client      bool            // we begin: a=setup made us the active side
	Hash        string          // of the peer's a=fingerprint: sha-256, sha-384 or sha-512
	Fingerprint []byte          // what the peer's certificate must have
	// Done is called once, from the handshake's goroutine: nil = the media is protected, else why it never will be.
	// A leg that was closed meanwhile says nothing. It must not wait for Close.
	Done func(error)
}

// dtlsTimeout is how long a handshake may take; its packets are repeated after 1, 2 and 4 s.
const dtlsTimeout = 10 * time.Second

var (
	errFingerprint = errors.New("dtls: the certificate does not have the fingerprint of the SDP")
	errNoProfile   = errors.New("dtls: no srtp profile in common")
)

// dtlsProfiles are offered and taken in this order.
var dtlsProfiles = []dtls.SRTPProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AES128_CM_HMAC_SHA1_32,
}

// NewCertificate makes a certificate that says nothing: one for the life of the process is enough, what counts is its
// fingerprint in the SDP.
func NewCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("media certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("media certificate: %w", err)
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "media"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(10 * 365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("media certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Fingerprint is what a=fingerprint says of a certificate: "sha-256 AB:CD:...".
func Fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return "sha-256 " + strings.Join(pairs, ":")
}

// fingerprintHashes are those that are safe of what RFC 8122 section 5 lists.
var fingerprintHashes = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-384": sha512.New384, "sha-512": sha512.New}

// association is one DTLS conversation. It is the net.PacketConn the DTLS library reads and writes: the leg's reader
// puts packets in, what goes out takes the leg's socket.
type association struct {
	leg    *UDPLeg
	cfg    DTLS
	in     *packetio.Buffer
	cancel context.CancelFunc
	to     netip.AddrPort                 // announced when it began
	peer   atomic.Pointer[netip.AddrPort] // who answers; nil = send to the leg's target
	agreed atomic.Bool
}

// startDTLS begins a handshake unless the same peer has been agreed with at the same address, or is being; at a new one
// (not 0.0.0.0, a hold) it shakes hands anew (RFC 5763 section 6.6). The leg's securing is locked.
func (l *UDPLeg) startDTLS(cfg DTLS) error {
	h := fingerprintHashes[cfg.Hash]
	if h == nil {
		return fmt.Errorf("dtls: fingerprint by %q: must be sha-256, sha-384 or sha-512", cfg.Hash)
	}
	if size := h().Size(); len(cfg.Fingerprint) != size {
		return fmt.Errorf("dtls: fingerprint of %d bytes, must be %d", len(cfg.Fingerprint), size)
	}
	l.mu.Lock()
	to := l.latch.announced
	l.mu.Unlock()
	if a := l.dtls.Load(); a != nil && a.cfg.Client == cfg.Client && bytes.Equal(a.cfg.Fingerprint, cfg.Fingerprint) &&
		(a.to == to || !to.IsValid() || to.Addr().IsUnspecified()) {
		return nil
	}
	l.endDTLS()
	l.cipher.Store(&cipher{})
	ctx, cancel := context.WithCancel(context.Background())
	a := &association{leg: l, cfg: cfg, in: packetio.NewBuffer(), cancel: cancel, to: to}
	a.in.SetLimitCount(32)
	l.dtls.Store(a)
	if l.closing.Load() {
		a.end()
		return ErrClosed
	}
	l.done.Add(1)
	go a.run(ctx)
	return nil
}

// endDTLS forgets the association; its goroutine ends by itself. The leg's securing is locked.
func (l *UDPLeg) endDTLS() {
	if a := l.dtls.Swap(nil); a != nil {
		a.end()
	}
}

func (a *association) end() {
	a.cancel()
	_ = a.in.Close()
}

// run shakes hands, and stays to answer a peer that missed the last word, until the leg is closed or keyed anew.
func (a *association) run(ctx context.Context) {
	defer a.leg.done.Done()
	defer a.leg.caught("dtls")
	defer a.end()
	conn, err := a.shake(ctx)
	if ctx.Err() != nil {
		return
	}
	if a.cfg.Done != nil {
		a.cfg.Done(err)
	}
	if err != nil {
		return
	}
	var b [MaxPacket]byte
	for err == nil { // nobody has anything to say here; an alert ends it, the keys stay good
		_, err = conn.Read(b[:])
	}
	_ = conn.Close()
}

// shake is the handshake and what follows from it.
func (a *association) shake(ctx context.Context) (*dtls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dtlsTimeout)
	defer cancel()
	options := []dtls.Option{
		dtls.WithCertificates(a.cfg.Certificate), dtls.WithSRTPProtectionProfiles(dtlsProfiles...),
		dtls.WithInsecureSkipVerify(true), // the fingerprint says who it is, no authority does
		dtls.WithVerifyPeerCertificate(a.verify),
		dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}),
	}
	var conn *dtls.Conn
	var err error
	if a.cfg.Client {
		var client []dtls.ClientOption
		for _, o := range options {
			client = append(client, o)
		}
		conn, err = dtls.ClientWithOptions(a, a.RemoteAddr(), client...)
	} else {
		server := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range options {
			server = append(server, o)
		}
		conn, err = dtls.ServerWithOptions(a, a.RemoteAddr(), server...)
	}
	if err != nil {
		return nil, fmt.Errorf("dtls: %w", err)
	}
	if err = conn.HandshakeContext(ctx); err == nil {
		err = a.agree(conn)
	} else {
		err = fmt.Errorf("dtls handshake: %w", err)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (a *association) verify(certificates [][]byte, _ [][]*x509.Certificate) error {
	if len(certificates) == 0 {
		return errFingerprint
	}
	h := fingerprintHashes[a.cfg.Hash]()
	h.Write(certificates[0])
	if !bytes.Equal(h.Sum(nil), a.cfg.Fingerprint) {
		return errFingerprint
	}
	return nil
}

// agree takes the keys (RFC 5764 section 4.2) and the address they were agreed on with.
func (a *association) agree(conn *dtls.Conn) error {
	chosen, ok := conn.SelectedSRTPProtectionProfile()
	state, known := conn.ConnectionState()
	if !ok || !known {
		return errNoProfile
	}
	cfg := srtp.Config{Profile: srtp.ProtectionProfile(chosen)}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, a.cfg.Client); err != nil {
		return fmt.Errorf("dtls keys: %w", err)
	}
	suite := NoSuite
	for s := range suites {
		if s != int(NoSuite) && suites[s].profile == cfg.Profile {
			suite = Suite(s)
		}
	}
	k := cfg.Keys
	next, err := (*cipher)(nil).renew(suite, append(k.LocalMasterKey, k.LocalMasterSalt...), append(k.RemoteMasterKey, k.RemoteMasterSalt...))
	if err != nil {
		return err
	}
	l := a.leg
	l.securing.Lock()
	defer l.securing.Unlock()
	if l.dtls.Load() != a {
		return ErrClosed
	}
	a.agreed.Store(true)
	l.cipher.Store(next)
	if peer := a.peer.Load(); peer != nil {
		l.mu.Lock()
		l.latch.trust(*peer)
		l.aim(time.Now())
		l.mu.Unlock()
	}
	return nil
}

// takeDTLS hands a packet to the association. Before the handshake the announced address is heard, or, where the latch
// may take another, the first that speaks; what it says must still carry the fingerprint.
func (l *UDPLeg) takeDTLS(b []byte, src netip.AddrPort) {
	a := l.dtls.Load()
	if a == nil {
		l.malformed.Add(1)
		return
	}
	l.mu.Lock()
	peer := a.peer.Load()
	known := peer != nil && *peer == src
	if !known && !a.agreed.Load() && (src == l.latch.announced || peer == nil && l.latch.on()) {
		a.peer.Store(&src)
		known = true
	}
	if !known {
		l.refuse(src, whyStranger, time.Now())
	}
	l.mu.Unlock()
	if known {
		_, _ = a.in.Write(b) // full: it is sent again
	}
}

// isDTLS tells DTLS from everything else on the port (RFC 7983 section 7).
func isDTLS(b []byte) bool { return len(b) > 0 && b[0] >= 20 && b[0] <= 63 }

func (a *association) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := a.in.Read(b)
	return n, a.RemoteAddr(), err
}

func (a *association) WriteTo(b []byte, _ net.Addr) (int, error) {
	to := a.peer.Load()
	if to == nil {
		to = a.leg.target.Load()
	}
	if to == nil {
		return len(b), nil // held, or their SDP has not come: it is sent again
	}
	return a.leg.pair.RTP.WriteToUDPAddrPort(b, *to)
}

// RemoteAddr is a name only: where packets go is the leg's to know.
func (a *association) RemoteAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.leg.ports.IP(), a.leg.pair.port))
}

func (a *association) LocalAddr() net.Addr                { return a.RemoteAddr() }
func (a *association) Close() error                       { return a.in.Close() }
func (a *association) SetDeadline(t time.Time) error      { return a.in.SetReadDeadline(t) }
func (a *association) SetReadDeadline(t time.Time) error  { return a.in.SetReadDeadline(t) }
func (a *association) SetWriteDeadline(_ time.Time) error { return nil }
