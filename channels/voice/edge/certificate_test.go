package edge

import (
	"crypto/tls"
	"os"
	"testing"
	"time"

	"patchbay/channels/voice/voicetest"
)

// TestCertificateRenewed: a new file serves from the next handshake, a broken one does not.
func TestCertificateRenewed(t *testing.T) {
	certFile, keyFile := voicetest.NewCertificate(t).Files(t)
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
	otherCert, otherKey := voicetest.NewCertificate(t).Files(t)
	cert, _ := os.ReadFile(otherCert)
	key, _ := os.ReadFile(otherKey)
	if change(cert, key, 2*time.Minute) == first {
		t.Error("the new one does not serve")
	}
	if _, err := ServerTLS("nowhere", "nowhere"); err == nil {
		t.Error("no certificate is an error at the start")
	}
}
