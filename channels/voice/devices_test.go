package voice

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/devices"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// desks is a house where telephones may register. The trunk is elsewhere: the telephones' address has no rights of its
// own.
type desks struct {
	*house
	pool      *pgxpool.Pool
	passwords map[string]string
}

var outsideAddr = netip.MustParseAddr("127.0.0.9")

func newDesks(t testing.TB, change func(*Config)) *desks {
	t.Helper()
	o := &desks{pool: dbtest.Pool(t), passwords: map[string]string{}}
	o.sql(t, `insert into nodes (id, name) values ('test', 'test')`)
	o.house = newHouse(t, func(cfg *Config) {
		cfg.Pool, cfg.Phones = o.pool, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		cfg.PhoneTimes = devices.Times{Least: 2 * time.Second, Alive: 300 * time.Millisecond, Answer: 200 * time.Millisecond}
		cfg.Trunks = []netip.Prefix{netip.PrefixFrom(outsideAddr, 32)}
		if change != nil {
			change(cfg)
		}
	})
	return o
}

func (o *desks) sql(t testing.TB, text string, args ...any) {
	t.Helper()
	if _, err := o.pool.Exec(context.Background(), text, args...); err != nil {
		t.Fatal(err)
	}
}

// agent is a person whose calls ring on a telephone of that user name.
func (o *desks) agent(id int64, username, digest string) {
	o.t.Helper()
	o.sql(o.t, `insert into agents (id, login, name, phone) overriding system value values ($1, $2, $2, 'device')`, id, username)
	password := "pass-" + username
	o.passwords[username] = password
	o.sql(o.t, `insert into devices (agent_id, label, username, digest, ha1) values ($1, '', $2, $3, $4)`, id, username, digest,
		string(channels.HA1(digest, username, password)))
	if err := o.bus.Publish(channels.TrunkSubject, nil); err != nil {
		o.t.Fatal(err)
	}
	until(o.t, testCtx(o.t), "the telephone's account", func() bool { _, ok := o.voice.account(username); return ok })
}

// registered are the contacts of all telephones.
func (o *desks) registered() []channels.Registration {
	o.t.Helper()
	list, err := channels.Registrations(context.Background(), o.pool, 0)
	if err != nil {
		o.t.Fatal(err)
	}
	return list
}

// registering is a telephone that only registers: our own client.
type registering struct {
	t      testing.TB
	conn   net.Conn
	server netip.AddrPort
	user   string
	login  edge.Login
	callID string
	seq    uint32
}

func (o *desks) handset(user, password string) *registering {
	o.t.Helper()
	conn, err := net.Dial("udp", o.voice.Addr().String())
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = conn.Close() })
	return &registering{t: o.t, conn: conn, server: o.voice.Addr(), user: user, login: edge.Login{User: user, Password: password},
		callID: fmt.Sprintf("%s-%s", user, conn.LocalAddr())}
}

// register sends one REGISTER, and again with the answer to a challenge.
func (h *registering) register(headers ...string) *sip.Response {
	h.t.Helper()
	res := h.send("", headers)
	if res.StatusCode != 401 {
		return res
	}
	req := sip.NewRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: h.server.Addr().String(), Port: int(h.server.Port())})
	if err := h.login.Answer(req, res); err != nil {
		h.t.Fatal(err)
	}
	return h.send(req.GetHeader("Authorization").String()+"\r\n", headers)
}

func (h *registering) send(authorization string, headers []string) *sip.Response {
	h.t.Helper()
	h.seq++
	return h.exchange(h.seq, authorization, headers)
}

func (h *registering) exchange(seq uint32, authorization string, headers []string) *sip.Response {
	h.t.Helper()
	text := fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=%[2]s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%[3]s@%[1]s>;tag=%[4]s\r\nTo: <sip:%[3]s@%[1]s>\r\nCall-ID: %[4]s\r\nCSeq: %[5]d REGISTER\r\nUser-Agent: a telephone for tests, by us\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, REFER, NOTIFY, INFO, UPDATE, MESSAGE\r\n%[6]s%[7]sContent-Length: 0\r\n\r\n",
		h.server, sip.GenerateBranch(), h.user, h.callID, seq, authorization, strings.Join(append(headers, ""), "\r\n"))
	if _, err := h.conn.Write([]byte(text)); err != nil {
		h.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		_ = h.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := h.conn.Read(buf)
		if err != nil {
			h.t.Fatalf("no answer to REGISTER: %v", err)
		}
		m, err := sip.ParseMessage(buf[:n])
		if err != nil {
			h.t.Fatal(err)
		}
		if res, ok := m.(*sip.Response); ok && res.CSeq().SeqNo == seq && res.CSeq().MethodName == sip.REGISTER {
			return res
		}
	}
}

// TestRegisterAtTheStart: while the accounts are not read yet nobody is heard. A telephone that was told that its right
// password is wrong would count as a cracker; unanswered, it asks again.
func TestRegisterAtTheStart(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	pool := dbtest.Pool(t)
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := pool.Exec(ctx, `insert into agents (id, login, name) overriding system value values (7, 'ana', 'Ana')`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `insert into devices (agent_id, username, ha1) values (7, 'ana', $1)`, string(channels.HA1("md5", "ana", "secret"))); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `lock table devices in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	o := newDesks(t, func(cfg *Config) {
		cfg.Pool = pool
		o := desks{pool: pool}
		o.sql(t, `insert into nodes (id, name) values ('test', 'test')`)
	})
	answered := make(chan *sip.Response, 1)
	ana := o.handset("ana", "secret")
	go func() { answered <- ana.register("Contact: <sip:ana@127.0.0.1:5060>") }()
	until(t, ctx, "the accounts are asked for", func() bool {
		var waits bool
		err := pool.QueryRow(ctx, `select exists (select from pg_locks where relation = 'devices'::regclass and not granted)`).Scan(&waits)
		return err == nil && waits
	})
	select {
	case res := <-answered:
		t.Errorf("answered %d before the accounts were read", res.StatusCode)
	case <-time.After(100 * time.Millisecond):
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if res := <-answered; res.StatusCode != 200 {
		t.Errorf("registered: %d", res.StatusCode)
	}
}

// TestRegister: the rules of RFC 3261 section 10.3, with either algorithm.
func TestRegister(t *testing.T) {
	t.Parallel()
	for _, digest := range []string{"md5", "sha256"} {
		t.Run(digest, func(t *testing.T) {
			t.Parallel()
			o := newDesks(t, nil)
			o.agent(7, "ana", digest)
			h := o.handset("ana", o.passwords["ana"])
			if res := h.send("", nil); res.StatusCode != 401 || !strings.Contains(res.GetHeader("WWW-Authenticate").Value(), map[string]string{"md5": "algorithm=MD5", "sha256": "algorithm=SHA-256"}[digest]) {
				t.Fatalf("without a password:\n%s", res)
			}
			first := `Contact: <sip:ana@10.1.2.3:5070;line=x>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000001>";expires=120`
			second := `Contact: <sip:ana@10.1.2.4>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000002>"`
			res := h.register(first, second, "Expires: 7200")
			contacts := res.GetHeaders("Contact")
			if res.StatusCode != 200 || len(contacts) != 2 || res.GetHeader("Date") == nil {
				t.Fatalf("two contacts:\n%s", res)
			}
			all := contacts[0].Value() + contacts[1].Value()
			for _, want := range []string{"expires=120", "expires=3600", "line=x", "uuid:00000000-0000-0000-0000-000000000002"} {
				if !strings.Contains(all, want) {
					t.Errorf("contacts lack %s: %s", want, all)
				}
			}
			rows := o.registered()
			if len(rows) != 2 || rows[0].Source != h.conn.LocalAddr().String() || rows[0].NodeID != "test" || rows[0].Transport != "udp" {
				t.Errorf("rows %+v, want the address that the packets came from, %s", rows, h.conn.LocalAddr())
			}
			if res := h.register(); res.StatusCode != 200 || len(res.GetHeaders("Contact")) != 2 {
				t.Errorf("asked what holds:\n%s", res)
			}
			if res := h.register(`Contact: <sip:ana@10.1.2.3:5070>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000001>";expires=0`); res.StatusCode != 200 || len(res.GetHeaders("Contact")) != 1 {
				t.Errorf("one taken back:\n%s", res)
			}
			if res := h.register("Contact: <sip:ana@10.1.2.4>", "Expires: 1"); res.StatusCode != 423 || res.GetHeader("Min-Expires").Value() != "2" {
				t.Errorf("too short:\n%s", res)
			}
			for what, headers := range map[string][]string{"* without Expires": {"Contact: *"}, "* for a while": {"Contact: *", "Expires: 60"},
				"* and another": {"Contact: *", "Contact: <sip:ana@10.1.2.4>", "Expires: 0"}} {
				if res := h.register(headers...); res.StatusCode != 400 {
					t.Errorf("%s: %d", what, res.StatusCode)
				}
			}
			h.seq -= 2                                                                // an old one, come late
			if res := h.register("Contact: *", "Expires: 0"); res.StatusCode != 200 { // no contact has so high a number
				t.Errorf("forgotten all: %d", res.StatusCode)
			}
			if rows := o.registered(); len(rows) != 0 {
				t.Errorf("still registered: %+v", rows)
			}
		})
	}
}

// TestRegisterOrder: a request that was overtaken by a later one changes nothing.
func TestRegisterOrder(t *testing.T) {
	t.Parallel()
	o := newDesks(t, nil)
	o.agent(7, "ana", "md5")
	h := o.handset("ana", o.passwords["ana"])
	h.seq = 100
	if res := h.register("Contact: <sip:ana@10.1.2.3>", "Expires: 60"); res.StatusCode != 200 {
		t.Fatal(res)
	}
	h.seq = 50
	if res := h.register("Contact: <sip:ana@10.1.2.3>", "Expires: 0"); res.StatusCode != 500 {
		t.Errorf("an old REGISTER: %d", res.StatusCode)
	}
	if res := h.register("Contact: *", "Expires: 0"); res.StatusCode != 500 {
		t.Errorf("an old one of all: %d", res.StatusCode)
	}
	if len(o.registered()) != 1 {
		t.Error("it has taken the registration away")
	}
	again := o.handset("ana", o.passwords["ana"]) // started anew: another Call-ID
	if res := again.register("Contact: <sip:ana@10.1.2.3>", "Expires: 60"); res.StatusCode != 200 || len(o.registered()) != 1 {
		t.Errorf("after a restart: %d, %d contacts", res.StatusCode, len(o.registered()))
	}
	other := o.handset("ana", o.passwords["ana"])
	other.user = "bo"
	if res := other.register("Contact: <sip:bo@10.1.2.3>"); res.StatusCode != 403 {
		t.Errorf("another's address: %d", res.StatusCode)
	}
	for i := range 10 {
		again.register(fmt.Sprintf("Contact: <sip:ana@10.1.3.%d>", i))
	}
	if res := again.register("Contact: <sip:ana@10.1.4.1>"); res.StatusCode != 403 || len(o.registered()) > 10 {
		t.Errorf("an eleventh contact: %d, %d", res.StatusCode, len(o.registered()))
	}
}

// TestTelephoneGone: one that says nothing to three OPTIONS is registered no more.
func TestTelephoneGone(t *testing.T) {
	t.Parallel()
	o := newDesks(t, nil)
	o.agent(7, "ana", "md5")
	ctx := testCtx(t)
	if res := o.handset("ana", o.passwords["ana"]).register("Contact: <sip:ana@10.1.2.3>", "Expires: 600"); res.StatusCode != 200 {
		t.Fatal(res)
	}
	phone := o.baresip("ana", "", nil)
	until(t, ctx, "the silent one is gone, the other is not", func() bool {
		rows := o.registered()
		return len(rows) == 1 && strings.Contains(rows[0].UserAgent, "baresip")
	})
	phone.Close() // it takes its registration back
	until(t, ctx, "nobody is registered", func() bool { return len(o.registered()) == 0 })
}

// baresip is a real telephone that registers; more is put to the address (";transport=tcp").
func (o *desks) baresip(user, more string, says []int16) *voicetest.Baresip {
	o.t.Helper()
	before := len(o.registered())
	at := o.voice.Addr()
	if tcp := o.voice.edge.Addr("tcp"); strings.Contains(more, "tcp") {
		at = tcp
	}
	b := voicetest.StartBaresip(o.t, voicetest.BaresipConfig{User: user, Says: says, Registrar: at, Params: more,
		Account: ";regint=60;auth_user=" + user + ";auth_pass=" + o.passwords[user]})
	until(o.t, testCtx(o.t), "registered", func() bool { return len(o.registered()) > before })
	return b
}

// TestRegisterScenarios: sipp's telephones, with the password.
func TestRegisterScenarios(t *testing.T) {
	t.Parallel()
	// A trunk's address: their requests are so small that the gate would not challenge a stranger's, lest its answer were
	// larger than what it answers.
	o := newDesks(t, func(cfg *Config) { cfg.Trunks = cfg.Phones })
	o.agent(7, "ana", "md5")
	ctx := testCtx(t)
	for _, c := range []struct {
		name string
		left int
	}{{"auth_register", 1}, {"register_multiple", 3}, {"register_wildcard", 0}} {
		xml, err := os.ReadFile("testdata/sipp/devices/" + c.name + ".xml")
		if err != nil {
			t.Fatal(err)
		}
		res := runSIPp(ctx, t, voicetest.SIPpConfig{Scenario: string(xml), Target: o.voice.Addr(), Service: "ana",
			Args: []string{"-m", "1", "-au", "ana", "-ap", o.passwords["ana"]}})
		if res.Code != 0 {
			t.Fatalf("%s: sipp %d\n%s", c.name, res.Code, last(res.Output, 3000))
		}
		if n := len(o.registered()); n != c.left {
			t.Errorf("%s: %d contacts, want %d", c.name, n, c.left)
		}
	}
}

// TestCrackers: sipvicious learns neither a password nor a name, and is shut out.
func TestCrackers(t *testing.T) {
	t.Parallel()
	for tool, args := range map[string][]string{
		"svcrack": {"-u", "ana", "-d", "words"},
		"svwar":   {"-d", "words", "-m", "REGISTER"},
	} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			o := newDesks(t, nil)
			o.agent(7, "ana", "md5")
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "words"), []byte("bo\nana\nmira\npass-ana\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(testCtx(t), 8*time.Second) // they do not end when nobody answers
			defer cancel()
			cmd := exec.CommandContext(ctx, voicetest.Need(t, tool), append(args, "-p", fmt.Sprint(o.voice.Addr().Port()), "127.0.0.1")...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
			out, _ := cmd.CombinedOutput()
			if text := string(out); strings.Contains(text, "pass-ana") || strings.Contains(text, "| ana") {
				t.Errorf("%s learned something:\n%s", tool, text)
			}
			if c := o.voice.edge.Counts(); c.Bans[edge.Scanner] == 0 {
				t.Errorf("not banned: %+v", c)
			}
		})
	}
}
