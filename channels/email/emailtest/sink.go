package emailtest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"

	"github.com/emersion/go-smtp"
)

// Received is one mail that a Sink was offered, taken or not.
type Received struct {
	From, To string
	Raw      []byte
}

// Sink is an SMTP server whose mood the test decides, mail by mail.
type Sink struct {
	Port  int // plain and STARTTLS
	Trust *x509.CertPool
	Mails chan Received // those it got to the final dot, whatever it answered
	// Moods are used one for each connection, in order; then all is well.
	Moods chan Mood
}

// Mood says how one connection goes wrong.
type Mood struct {
	AtMail, AtRcpt, AtData *smtp.SMTPError // refused with this answer at that command; AtData: after the final dot
	DropAfterData          bool            // takes the mail, then the line is dead before the 250
	Hold                   chan struct{}   // takes the mail, then answers when it is closed
}

// Refuse is an SMTP answer.
func Refuse(code int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: text}
}

// StartSink runs a sink until the test ends.
func StartSink(t testing.TB) *Sink {
	t.Helper()
	k := &Sink{Mails: make(chan Received, 100), Moods: make(chan Mood, 100)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k.Port = l.Addr().(*net.TCPAddr).Port
	server := smtp.NewServer(k)
	server.Domain = "sink.example.test"
	server.AllowInsecureAuth = true
	server.MaxLineLength = 4000
	server.ErrorLog = quiet{}
	var pair tls.Certificate
	pair, k.Trust = newCertificate(t, directory(t))
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return k
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// NewSession is go-smtp's.
func (k *Sink) NewSession(conn *smtp.Conn) (smtp.Session, error) {
	s := &sinkSession{sink: k, conn: conn.Conn()}
	select {
	case s.mood = <-k.Moods:
	default:
	}
	return s, nil
}

type sinkSession struct {
	sink *Sink
	conn net.Conn
	mood Mood
	got  Received
}

func (s *sinkSession) Mail(from string, _ *smtp.MailOptions) error {
	s.got.From = from
	if s.mood.AtMail != nil {
		return s.mood.AtMail
	}
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.got.To = to
	if s.mood.AtRcpt != nil {
		return s.mood.AtRcpt
	}
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return err
	}
	s.got.Raw = b.Bytes()
	s.sink.Mails <- s.got
	switch {
	case s.mood.DropAfterData:
		_ = s.conn.Close()
	case s.mood.Hold != nil:
		<-s.mood.Hold
	case s.mood.AtData != nil:
		return s.mood.AtData
	}
	return nil
}

func (s *sinkSession) Reset()        {}
func (s *sinkSession) Logout() error { return nil }
