package emailtest

import (
	"net/smtp"
	"strconv"
	"strings"
	"testing"
)

func TestPostfixDeliversToDovecotAndBounces(t *testing.T) {
	s := Start(t)
	p := StartPostfix(t, s, "ana@customer.test", "help@example.test")
	for _, to := range []string{"ana@customer.test", "nobody@customer.test"} {
		mail := "From: help@example.test\r\nTo: " + to + "\r\nSubject: Hello\r\nMessage-ID: <1@example.test>\r\n\r\nHello\r\n"
		if err := smtp.SendMail("127.0.0.1:"+strconv.Itoa(p.Port), nil, "help@example.test", []string{to}, []byte(mail)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.AwaitMail(t, "ana@customer.test", 1); !strings.Contains(string(got[0].Raw), "Subject: Hello") {
		t.Errorf("delivered: %s", got[0].Raw)
	}
	if got := s.AwaitMail(t, "help@example.test", 1); !strings.Contains(string(got[0].Raw), "multipart/report") {
		t.Errorf("came back: %s", got[0].Raw)
	}
}

func TestNewValidity(t *testing.T) {
	s := Start(t)
	s.Append(t, "a@example.test", []byte("Subject: one\r\n\r\nbody\r\n"))
	s.Stop(t)
	s.NewValidity(t, "a@example.test")
	s.Run(t)
	if got := s.Mails(t, "a@example.test"); len(got) != 1 {
		t.Errorf("%d mails after it", len(got))
	}
}
