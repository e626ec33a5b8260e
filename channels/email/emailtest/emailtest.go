// Package emailtest starts a real mail house for a test: dovecot with one store of mailboxes, postfix in front of it,
// delivering into the same maildirs, and a sink, an SMTP server with bad moods. All on loopback, in a temporary directory, with
// configurations of their own; nothing below /etc is read for them or written.
//
// Dovecot runs as root or as any user, postfix only as root. A test that needs a program that is not there skips by
// its name, and fails instead where PATCHBAY_CI=1.
package emailtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Password opens every mailbox of a Server.
const Password = "open-sesame"

const patience = 15 * time.Second

// Server is a running dovecot. Every address is a mailbox; it exists from the first mail or login on.
type Server struct {
	Host     string
	IMAPPort int            // plain and STARTTLS
	TLSPort  int            // IMAP over TLS
	Trust    *x509.CertPool // knows the certificate, which is for 127.0.0.1
	dir      string
	uid, gid string // who owns the maildirs
	command  *exec.Cmd
}

// need finds a program or ends the test.
func need(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	missing(t, name+" is not installed")
	return ""
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PATCHBAY_CI") == "1" {
		t.Fatalf("emailtest: %s", what)
	}
	t.Skipf("SKIPPED: %s", what)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// directory makes a short-named directory that every user may pass through: unix sockets take 107 characters.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

const dovecotConf = `protocols = imap
listen = 127.0.0.1
base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/dovecot.log
ssl = yes
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 100
passdb {
  driver = static
  args = password=%[2]s
}
userdb {
  driver = static
  args = uid=%[3]s gid=%[4]s home=%[1]s/home/%%u allow_all_users=yes
}
service imap-login {
  chroot =
  inet_listener imap {
    port = %[5]d
  }
  inet_listener imaps {
    port = %[7]d
    ssl = yes
  }
}
%[6]s`

// Start runs dovecot until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	need(t, "dovecot")
	s := &Server{Host: "127.0.0.1", IMAPPort: freePort(t), TLSPort: freePort(t), dir: directory(t)}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	mailUID, mailGID, internal := me.Uid, me.Gid, fmt.Sprintf(`default_internal_user = %[1]s
default_internal_group = %[2]s
default_login_user = %[1]s
service anvil {
  chroot =
}
service stats {
  chroot =
}
`, me.Username, group.Name)
	home := filepath.Join(s.dir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			missing(t, "the user nobody does not exist")
		}
		mailUID, mailGID, internal = nobody.Uid, nobody.Gid, ""
		uid, _ := strconv.Atoi(mailUID)
		gid, _ := strconv.Atoi(mailGID)
		if err := os.Chown(home, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	_, s.Trust = newCertificate(t, s.dir)
	config := fmt.Sprintf(dovecotConf, s.dir, Password, mailUID, mailGID, s.IMAPPort, internal, s.TLSPort)
	s.uid, s.gid = mailUID, mailGID
	if err := os.WriteFile(filepath.Join(s.dir, "dovecot.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop(t)
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.dir, "dovecot.log"))
			out, _ := os.ReadFile(filepath.Join(s.dir, "dovecot.out"))
			t.Logf("dovecot: %s%s", out, log)
		}
	})
	s.Run(t)
	return s
}

// Run starts dovecot (again).
func (s *Server) Run(t testing.TB) {
	t.Helper()
	s.command = exec.Command(need(t, "dovecot"), "-F", "-c", filepath.Join(s.dir, "dovecot.conf"))
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := os.Create(filepath.Join(s.dir, "dovecot.out")); err == nil {
		defer out.Close()
		s.command.Stdout, s.command.Stderr = out, out
	}
	if err := s.command.Start(); err != nil {
		t.Fatalf("emailtest: start dovecot: %v", err)
	}
	await(t, "dovecot's imap", s.IMAPPort, "* OK")
}

// Stop ends dovecot and its children, and with them every connection.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.command == nil {
		return
	}
	stop(t, s.command)
	s.command = nil
}

// stop ends a process group of ours.
func stop(t testing.TB, command *exec.Cmd) {
	t.Helper()
	group := -command.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	defer late.Stop()
	_ = command.Wait()
	_ = syscall.Kill(group, syscall.SIGKILL) // children that outlived their master
}

// await connects until the server greets.
func await(t testing.TB, what string, port int, greeting string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second); err == nil {
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			last, _ = bufio.NewReader(conn).ReadString('\n')
			_ = conn.Close()
			if strings.HasPrefix(last, greeting) {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("emailtest: %s does not greet on port %d (%q)", what, port, last)
		case <-tick.C:
		}
	}
}

// open signs in to a mailbox and selects its INBOX.
func (s *Server) open(t testing.TB, address string) *imapclient.Client {
	t.Helper()
	client, err := imapclient.DialInsecure(net.JoinHostPort(s.Host, strconv.Itoa(s.IMAPPort)), nil)
	if err != nil {
		t.Fatalf("emailtest: %v", err)
	}
	if err := client.Login(address, Password).Wait(); err != nil {
		t.Fatalf("emailtest: sign in: %v", err)
	}
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatalf("emailtest: select: %v", err)
	}
	return client
}

// Append puts a mail into the mailbox as it is.
func (s *Server) Append(t testing.TB, address string, raw []byte) {
	t.Helper()
	client := s.open(t, address)
	defer client.Close()
	put := client.Append("INBOX", int64(len(raw)), nil)
	if _, err := put.Write(raw); err != nil {
		t.Fatalf("emailtest: append: %v", err)
	}
	if err := put.Close(); err != nil {
		t.Fatalf("emailtest: append: %v", err)
	}
	if _, err := put.Wait(); err != nil {
		t.Fatalf("emailtest: append: %v", err)
	}
}

// Deliver hands a mail to dovecot's delivery agent, as a mail server does. sender "" is the empty envelope sender.
func (s *Server) Deliver(t testing.TB, sender, recipient string, raw []byte) {
	t.Helper()
	const agent = "/usr/lib/dovecot/dovecot-lda"
	if _, err := os.Stat(agent); err != nil {
		missing(t, "dovecot-lda is not installed")
	}
	if sender == "" {
		sender = "<>"
	}
	command := exec.Command(agent, "-c", filepath.Join(s.dir, "dovecot.conf"), "-d", recipient, "-f", sender)
	command.Stdin = bytes.NewReader(raw)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("emailtest: deliver: %v: %s", err, out)
	}
}

// Mail is one stored mail.
type Mail struct {
	UID  uint32
	Seen bool
	Raw  []byte
}

// Mails lists the mailbox.
func (s *Server) Mails(t testing.TB, address string) []Mail {
	t.Helper()
	client := s.open(t, address)
	defer client.Close()
	got, err := client.Fetch(imap.UIDSet{imap.UIDRange{Start: 1}}, &imap.FetchOptions{UID: true, Flags: true,
		BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	if err != nil {
		t.Fatalf("emailtest: fetch: %v", err)
	}
	mails := make([]Mail, 0, len(got))
	for _, m := range got {
		one := Mail{UID: uint32(m.UID)}
		for _, f := range m.Flags {
			one.Seen = one.Seen || f == imap.FlagSeen
		}
		for _, b := range m.BodySection {
			one.Raw = b.Bytes
		}
		mails = append(mails, one)
	}
	return mails
}

// AwaitMail waits until the mailbox holds count mails.
func (s *Server) AwaitMail(t testing.TB, address string, count int) []Mail {
	t.Helper()
	news := make(chan struct{}, 1)
	client, err := imapclient.DialInsecure(net.JoinHostPort(s.Host, strconv.Itoa(s.IMAPPort)), &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(*imapclient.UnilateralDataMailbox) {
			select {
			case news <- struct{}{}:
			default:
			}
		}}})
	if err != nil {
		t.Fatalf("emailtest: %v", err)
	}
	defer client.Close()
	if err := client.Login(address, Password).Wait(); err != nil {
		t.Fatalf("emailtest: sign in: %v", err)
	}
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatalf("emailtest: select: %v", err)
	}
	idle, err := client.Idle()
	if err != nil {
		t.Fatalf("emailtest: idle: %v", err)
	}
	defer idle.Close()
	late := time.After(patience)
	for {
		if mails := s.Mails(t, address); len(mails) >= count {
			return mails
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("emailtest: %s has %d mails, want %d", address, len(s.Mails(t, address)), count)
		}
	}
}

// NewValidity gives the mailbox a new UIDVALIDITY, as a restored backup does. Dovecot must be stopped.
func (s *Server) NewValidity(t testing.TB, address string) {
	t.Helper()
	if s.command != nil {
		t.Fatal("emailtest: NewValidity needs a stopped server")
	}
	dir := filepath.Join(s.dir, "home", address, "Maildir")
	for _, pattern := range []string{"dovecot*", "dovecot-uid*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	// dovecot takes the time as the new number: one in the same second would be the old one
	list := fmt.Sprintf("3 V%d N1 G%032x\n", time.Now().Unix()+1000, time.Now().UnixNano())
	path := filepath.Join(dir, "dovecot-uidlist")
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
