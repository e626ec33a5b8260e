package emailtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Postfix is a running postfix that takes mail on loopback and delivers it to a Server.
type Postfix struct {
	Port int
	dir  string
}

const mainConf = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/mail.log
maillog_file_prefixes = %[1]s
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.example.test
mydestination =
virtual_mailbox_domains = static:all
virtual_mailbox_base = %[2]s/home
virtual_mailbox_maps = texthash:%[1]s/etc/mailboxes
smtpd_reject_unlisted_recipient = no
virtual_uid_maps = static:%[3]s
virtual_gid_maps = static:%[4]s
virtual_minimum_uid = 1
virtual_transport = virtual
recipient_delimiter = +
transport_maps =
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtputf8_enable = no
queue_run_delay = 2s
minimal_backoff_time = 2s
`

const masterConf = `127.0.0.1:%d inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
`

// StartPostfix runs postfix in front of s until the test ends. It knows only these mailboxes; mail to any other address
// is taken too, and comes back as a bounce.
func StartPostfix(t testing.TB, s *Server, mailboxes ...string) *Postfix {
	t.Helper()
	program := need(t, "postfix")
	if os.Getuid() != 0 {
		missing(t, "postfix starts only as root")
	}
	p := &Postfix{Port: freePort(t), dir: directory(t)}
	for _, sub := range []string{"queue", "data", "etc"} {
		if err := os.Mkdir(filepath.Join(p.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		missing(t, "the user postfix does not exist")
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown(filepath.Join(p.dir, "data"), uid, -1); err != nil {
		t.Fatal(err)
	}
	etc := filepath.Join(p.dir, "etc")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("main.cf", fmt.Sprintf(mainConf, p.dir, s.dir, s.uid, s.gid))
	list := ""
	for _, m := range mailboxes {
		list += m + " " + m + "/Maildir/\n"
	}
	write("mailboxes", list)
	write("master.cf", fmt.Sprintf(masterConf, p.Port))
	command := exec.Command(program, "-c", etc, "start-fg")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Env = append(os.Environ(), "MAIL_CONFIG="+etc)
	if err := command.Start(); err != nil {
		t.Fatalf("emailtest: start postfix: %v", err)
	}
	t.Cleanup(func() {
		_ = exec.Command(program, "-c", etc, "abort").Run()
		stop(t, command)
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.dir, "mail.log"))
			t.Logf("postfix: %s", log)
		}
	})
	await(t, "postfix", p.Port, "220")
	return p
}
