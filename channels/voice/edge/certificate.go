package edge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// ServerTLS shows the certificate of these PEM files, TLS 1.2 at least. They are read again when they have changed: a
// certificate is renewed while we run.
func ServerTLS(certFile, keyFile string) (*tls.Config, error) {
	c := &pemFiles{certFile: certFile, keyFile: keyFile}
	if _, err := c.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// ClientTLS trusts, beside the system's authorities, those of a PEM file.
func ClientTLS(rootsFile string) (*tls.Config, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(rootsFile)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authorities: %s holds no certificate", rootsFile)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}

type pemFiles struct {
	certFile, keyFile string

	mu      sync.Mutex
	changed time.Time
	loaded  *tls.Certificate
}

func (c *pemFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.certFile)
	if err == nil && c.loaded != nil && info.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	pair, perr := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	switch err := errors.Join(err, perr); {
	case err == nil:
		c.loaded, c.changed = &pair, info.ModTime()
	case c.loaded == nil: // else it is being replaced at this moment: the old one serves
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c.loaded, nil
}
