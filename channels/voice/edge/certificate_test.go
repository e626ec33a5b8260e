package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func pemPair(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestCertificateRenewed: a new file serves from the next handshake, a broken one does not.
func TestCertificateRenewed(t *testing.T) {
	certFile, keyFile := pemPair(t)
	c, err := ServerTLS(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.GetCertificate(nil); err != nil || again != first {
		t.Error("read twice without need")
	}
	change := func(cert, key []byte, later time.Duration) *tls.Certificate {
		t.Helper()
		for name, b := range map[string][]byte{certFile: cert, keyFile: key} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(certFile, time.Time{}, time.Now().Add(later)); err != nil {
			t.Fatal(err)
		}
		got, err := c.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if change([]byte("half"), []byte("half"), time.Minute) != first {
		t.Error("the old one must serve while the new one is being written")
	}
	otherCert, otherKey := pemPair(t)
	cert, _ := os.ReadFile(otherCert)
	key, _ := os.ReadFile(otherKey)
	if change(cert, key, 2*time.Minute) == first {
		t.Error("the new one does not serve")
	}
	if _, err := ServerTLS("nowhere", "nowhere"); err == nil {
		t.Error("no certificate is an error at the start")
	}
}
