package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is the Patchbay under test.
type server struct {
	program, dir string
	port         int // UDP, TCP, and UDP on ::1; TLS is the next but one

	child *exec.Cmd
	ended chan error
	err   string // file with its complaints
}

const (
	number   = "100" // that is answered
	user     = "alice"
	password = "secret"
)

// Who calls from which address. SDES keys need TLS, so .3 and .4 come by it.
const (
	trusted   = "127.0.0.1"
	challenge = "127.0.0.2"
	optional  = "127.0.0.3"
	required  = "127.0.0.4"
	telephone = "127.0.0.5"
	byDTLS    = "127.0.0.6"
	john      = "127.0.0.7" // jambonz's device
	onlyU     = "127.0.0.8" // speaks PCMU alone
)

// numbers are those that the suites' messages are for.
var numbers = []string{"16174000000", "16174000002", "16174000004", "16174000005", "2065551212", "5001", "pjsua", "sips%3Auser%40example.com"}

func (s *server) tls() string { return fmt.Sprintf("127.0.0.1:%d", s.port+2) }
func (s *server) at() string  { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// start runs the server once to have its tables, writes the trunks and telephones, and runs it again.
func (s *server) start(ctx context.Context) error {
	s.port, s.err = freePorts(), filepath.Join(s.dir, "server.log")
	if err := s.certificate(); err != nil {
		return err
	}
	if err := s.serve(ctx); err != nil {
		return err
	}
	if err := s.rows(ctx); err != nil {
		return errors.Join(err, s.stop())
	}
	if err := s.stop(); err != nil {
		return err
	}
	return s.serve(ctx)
}

// ports is how many the server and those whom it calls need.
const ports = 80

// freePorts finds them in a row, for UDP and TCP.
func freePorts() int {
	for port := 20000 + os.Getpid()%100*ports; ; port += ports {
		free := true
		for i := range ports {
			u, uerr := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port+i))
			t, terr := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i))
			if free = free && uerr == nil && terr == nil; uerr == nil {
				_ = u.Close()
			}
			if terr == nil {
				_ = t.Close()
			}
		}
		if free {
			return port
		}
	}
}

func (s *server) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(s.dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(s.dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

func (s *server) serve(ctx context.Context) error {
	cmd := exec.Command(s.program, "serve")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "PATCHBAY_DATA_DIR=" + filepath.Join(s.dir, "data"), "PATCHBAY_DEMO=true", "PATCHBAY_LOG_LEVEL=warn",
		"PATCHBAY_HTTP_LISTEN=127.0.0.1:0", "PATCHBAY_WEBRTC_UDP_PORT=0", "OLLAMA_HOST=127.0.0.1:1", "PATCHBAY_NODE_DRAIN_SECONDS=0",
		"PATCHBAY_SIP_LISTEN=" + s.at(), fmt.Sprintf("PATCHBAY_SIP_LISTEN_ALSO=tcp:%s,tls:%s,udp:[::1]:%d", s.at(), s.tls(), s.port),
		"PATCHBAY_SIP_TLS_CERT=" + filepath.Join(s.dir, "cert.pem"), "PATCHBAY_SIP_TLS_KEY=" + filepath.Join(s.dir, "key.pem"),
		"PATCHBAY_SIP_NUMBER=" + number, "PATCHBAY_SIP_TRUNKS=", "PATCHBAY_SIP_PHONES=127.0.0.5/32",
		"PATCHBAY_RTP_PORT_MIN=41000", "PATCHBAY_RTP_PORT_MAX=44999",
	}
	if v := os.Getenv("DATABASE_URL"); v != "" {
		cmd.Env = append(cmd.Env, "DATABASE_URL="+v)
	}
	stderr, err := os.OpenFile(s.err, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer stderr.Close() // the child has its own
	cmd.Stderr, cmd.SysProcAttr = stderr, &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.child, s.ended = cmd, make(chan error, 1)
	up := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "phone ") && up != nil {
				close(up)
				up = nil
			}
		}
		s.ended <- cmd.Wait()
	}()
	ready := up
	select {
	case <-ready:
	case err := <-s.ended:
		s.child = nil
		text, _ := os.ReadFile(s.err)
		return fmt.Errorf("the server ended: %w\n%s", err, text)
	case <-time.After(time.Minute):
		return errors.Join(errors.New("the server does not say that it is up"), s.stop())
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.stop())
	}
	if _, err := os.Stat(filepath.Join(s.dir, written)); err != nil {
		return nil // before its rows are there it hears nobody
	}
	for limit := time.Now().Add(time.Minute); !s.alive(trusted); {
		if time.Now().After(limit) {
			return errors.Join(errors.New("the server does not answer OPTIONS"), s.stop())
		}
	}
	return nil
}

// written is a file that says that the rows are there.
const written = "written"

// stop ends the server. It must end by itself, and well.
func (s *server) stop() error {
	if s.child == nil {
		return nil
	}
	child := s.child
	s.child = nil
	_ = syscall.Kill(child.Process.Pid, syscall.SIGTERM)
	select {
	case err := <-s.ended:
		return err
	case <-time.After(30 * time.Second):
		_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL)
		return errors.New("the server had to be killed")
	}
}

// rows writes the trunks and a telephone.
func (s *server) rows(ctx context.Context) error {
	at := os.Getenv("DATABASE_URL")
	if at == "" {
		text, err := os.ReadFile(filepath.Join(s.dir, "data", "pg", "postmaster.pid"))
		lines := strings.Split(string(text), "\n")
		if err != nil || len(lines) < 5 {
			return fmt.Errorf("own database: %w", err)
		}
		at = fmt.Sprintf("postgres://patchbay@/patchbay?sslmode=disable&port=%s&host=%s", lines[3], url.QueryEscape(lines[4]))
	}
	db, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer db.Close(context.WithoutCancel(ctx))
	trunk := `insert into trunks (name, sources, transport, codecs, srtp, srtp_keys, username, password, challenge, max_calls, dial_out, servers)
		values ($1, $2, $3, case when $1 = 'only PCMU' then '{PCMU}'::text[] else '{PCMU,PCMA,G722,opus}' end, $4, case when $1 = 'dtls' then 'dtls' else 'sdes' end, $5, $6, $5 <> '', 1000, false, '{}')`
	for _, t := range []struct {
		name, transport, srtp, user, password string
		sources                               []string
	}{
		{"trusted", "udp", "off", "", "", []string{trusted, "::1"}}, {"challenge", "udp", "off", user, password, []string{challenge}},
		{"optional", "tls", "optional", "", "", []string{optional}}, {"required", "tls", "required", "", "", []string{required}},
		{"dtls", "udp", "optional", "", "", []string{byDTLS}}, {"john", "udp", "off", "john", "1234", []string{john}},
		{"only PCMU", "udp", "off", "", "", []string{onlyU}},
	} {
		if _, err := db.Exec(ctx, trunk, t.name, t.sources, t.transport, t.srtp, t.user, t.password); err != nil {
			return fmt.Errorf("trunk %s: %w", t.name, err)
		}
	}
	if _, err := db.Exec(ctx, `insert into numbers (number) select unnest($1::text[])`, numbers); err != nil {
		return fmt.Errorf("numbers: %w", err)
	}
	if _, err := db.Exec(ctx, `insert into devices (agent_id, username, ha1) select min(id), $1, $2 from agents`, user,
		fmt.Sprintf("%x", md5.Sum([]byte(user+":patchbay:"+password)))); err != nil {
		return fmt.Errorf("telephone: %w", err)
	}
	if err := s.lines(ctx, db); err != nil {
		return fmt.Errorf("lines: %w", err)
	}
	return os.WriteFile(filepath.Join(s.dir, written), nil, 0o600)
}

// lines writes who calls out, and over which trunk: one for each line, and one for each registrar.
func (s *server) lines(ctx context.Context, db *pgx.Conn) error {
	for i := range lines {
		if _, err := db.Exec(ctx, `with a as (insert into agents (login, name) values ($1, $1) returning id)
			insert into devices (agent_id, username, ha1) select id, $1, $2 from a`, lineUser(i), fmt.Sprintf("%x", md5.Sum([]byte(lineUser(i)+":patchbay:"+password)))); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, `insert into trunks (name, servers, username, password, options_seconds, number_format, country_code, caller_number, dial_out, allowed_prefixes, max_calls_hour, max_calls_day, max_money_day, codecs)
			values ($1, $2, 'a', '1234', 0, 'plain', '49', '+4930100', true, $3, 1000, 1000, 1000, '{PCMU,PCMA}')`,
			lineUser(i), []string{fmt.Sprintf("127.0.0.1:%d", s.linePort(i))}, []string{linePrefix(i)}); err != nil {
			return err
		}
	}
	for i, name := range registrars {
		if _, err := db.Exec(ctx, `insert into trunks (name, servers, username, password, options_seconds, register, register_seconds) values ($1, $2, 'a', '1234', 0, true, 60)`,
			name, []string{fmt.Sprintf("127.0.0.1:%d", s.registrarPort(i))}); err != nil {
			return err
		}
	}
	return nil
}
