package voicetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BaresipConfig is a baresip phone; the zero value is a caller with PCMU.
type BaresipConfig struct {
	User       string  // "" = alice
	Codecs     string  // "" = PCMU/8000/1; with another rate only one
	Says       []int16 // 8 kHz; the call ends with it. nil = 60 s of silence
	AutoAnswer bool
	Account    string // more parameters of the account, ";..."

	Registrar netip.AddrPort // whose telephone it is; invalid: its own
	Params    string         // of the account's address, ";transport=tcp"

	Certificate *Certificate // of its own, which also tells whom it believes; nil: no TLS
}

// Baresip is a running baresip, in its own directory, driven over its control port.
type Baresip struct {
	t      testing.TB
	dir    string
	user   string
	rate   int // of its codec
	wide   int // its channels
	spoken int // so often
	sip    netip.AddrPort
	cmd    *exec.Cmd
	conn   net.Conn
	events chan Event
	output *syncBuffer
	exited chan struct{}
	once   sync.Once

	mu      sync.Mutex
	tokens  int
	answers map[string]chan Event
}

// Event is a message on baresip's control port: an event (Type) or an answer (Token, OK, Data).
type Event struct {
	Event    bool   `json:"event"`
	Type     string `json:"type"`
	Class    string `json:"class"`
	Param    string `json:"param"`
	PeerURI  string `json:"peeruri"`
	ID       string `json:"id"`
	Response bool   `json:"response"`
	OK       bool   `json:"ok"`
	Data     string `json:"data"`
	Token    string `json:"token"`
}

// StartBaresip runs a phone until the test ends.
func StartBaresip(t testing.TB, cfg BaresipConfig) *Baresip {
	t.Helper()
	program := Need(t, "baresip")
	if cfg.User == "" {
		cfg.User = "alice"
	}
	if cfg.Codecs == "" {
		cfg.Codecs = "PCMU/8000/1"
	}
	if cfg.Says == nil {
		cfg.Says = make([]int16, 60*Rate)
	}
	b := &Baresip{
		t: t, dir: t.TempDir(), user: cfg.User, events: make(chan Event, 256), output: &syncBuffer{}, exited: make(chan struct{}),
		answers: map[string]chan Event{},
	}
	b.sip = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t))
	control := netip.AddrPortFrom(b.sip.Addr(), freePort(t))
	b.writeFiles(cfg, control)
	b.cmd = exec.Command(program, "-f", b.dir, "-v")
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ready := b.output.waitFor("baresip is ready")
	b.cmd.Stdout, b.cmd.Stderr = b.output, b.output
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.exited)
		_ = b.cmd.Wait()
	}()
	t.Cleanup(b.Close)
	select {
	case <-ready:
	case <-b.exited:
		t.Fatalf("baresip ended:\n%s", b.output)
	case <-time.After(15 * time.Second):
		t.Fatalf("baresip is not ready:\n%s", b.output)
	}
	conn, err := net.Dial("tcp", control.String())
	if err != nil {
		t.Fatalf("baresip control: %v\n%s", err, b.output)
	}
	b.conn = conn
	go b.listen()
	return b
}

// freePort finds a port that is free for UDP and TCP, with the one above (baresip takes TLS there).
func freePort(t testing.TB) uint16 {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		above, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		udp, uerr := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		_ = l.Close()
		if err == nil {
			_ = above.Close()
		}
		if uerr == nil {
			_ = udp.Close()
		}
		if err == nil && uerr == nil {
			return uint16(port)
		}
	}
	t.Fatal("no free port")
	return 0
}

func (b *Baresip) writeFiles(cfg BaresipConfig, control netip.AddrPort) {
	heard := filepath.Join(b.dir, "heard")
	if err := os.Mkdir(heard, 0o700); err != nil {
		b.t.Fatal(err)
	}
	says, null := filepath.Join(b.dir, "says.wav"), filepath.Join(b.dir, "null.wav")
	b.rate, b.wide = codecRate(b.t, cfg.Codecs)
	WriteWAV(b.t, null, nil, b.rate)
	writeWAV(b.t, says, atRate(cfg.Says, b.rate, b.wide), b.rate, b.wide)
	var tls []string
	if cfg.Certificate != nil {
		file := filepath.Join(b.dir, "certificate.pem")
		if err := os.WriteFile(file, cfg.Certificate.PEM, 0o600); err != nil {
			b.t.Fatal(err)
		}
		tls = []string{"sip_certificate " + file, "sip_cafile " + file}
	}
	rtp := freePort(b.t) &^ 1
	config := strings.Join(append([]string{
		"poll_method epoll", "sip_listen " + b.sip.String(), "net_interface " + b.sip.Addr().String(),
		"audio_source aufile," + says, "audio_player aufile," + null, "audio_alert aufile," + null,
		fmt.Sprintf("rtp_ports %d-%d", rtp, rtp+40), "rtp_stats yes",
		"module_path /usr/lib/baresip/modules",
		"module g711.so", "module g722.so", "module opus.so", "module aufile.so", "module sndfile.so", "module srtp.so", "module dtls_srtp.so",
		"module_tmp uuid.so", "module_tmp account.so", "module_app menu.so", "module_app ctrl_tcp.so",
		"ctrl_tcp_listen " + control.String(), "snd_path " + heard,
	}, append(tls, "")...), "\n")
	domain, regint := b.sip, ";regint=0"
	if cfg.Registrar.IsValid() {
		domain, regint = cfg.Registrar, ""
	}
	account := fmt.Sprintf("<sip:%s@%s%s>%s;audio_codecs=%s", cfg.User, domain, cfg.Params, regint, cfg.Codecs)
	if cfg.AutoAnswer {
		account += ";answermode=auto"
	}
	for name, text := range map[string]string{"config": config, "accounts": account + cfg.Account + "\n", "contacts": ""} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// codecRate is what "opus/48000/2" says of the sound's rate and channels: baresip takes no other file beside it.
func codecRate(t testing.TB, codec string) (rate, wide int) {
	t.Helper()
	parts := strings.Split(codec, "/")
	if len(parts) < 3 {
		t.Fatalf("name/rate/channels was expected, not %s", codec)
	}
	rate, err := strconv.Atoi(parts[1])
	wide, wideErr := strconv.Atoi(strings.Split(parts[2], ",")[0])
	if err != nil || wideErr != nil || rate%Rate != 0 {
		t.Fatalf("name/rate/channels was expected, not %s", codec)
	}
	return rate, wide
}

// atRate repeats samples of 8 kHz up to a rate and a number of channels. The envelope, by which sound is compared, stays.
func atRate(samples []int16, rate, wide int) []int16 {
	times := rate / Rate * wide
	out := make([]int16, 0, len(samples)*times)
	for _, s := range samples {
		for range times {
			out = append(out, s)
		}
	}
	return out
}

// Wait reads events until one of the type comes.
func (b *Baresip) Wait(ctx context.Context, eventType string) Event {
	b.t.Helper()
	for {
		select {
		case e, ok := <-b.events:
			if !ok {
				b.t.Fatalf("baresip has gone, waited for %s:\n%s", eventType, b.output)
			}
			if e.Type == eventType {
				return e
			}
		case <-ctx.Done():
			b.t.Fatalf("baresip: no %s: %v\n%s", eventType, ctx.Err(), b.output)
		}
	}
}

// Command runs a command of baresip's menu and returns its answer.
func (b *Baresip) Command(ctx context.Context, command, params string) Event {
	b.t.Helper()
	b.mu.Lock()
	b.tokens++
	token := strconv.Itoa(b.tokens)
	answer := make(chan Event, 1)
	b.answers[token] = answer
	body, err := json.Marshal(map[string]string{"command": command, "params": params, "token": token})
	if err == nil {
		_, err = fmt.Fprintf(b.conn, "%d:%s,", len(body), body)
	}
	b.mu.Unlock()
	if err != nil {
		b.t.Fatalf("baresip %s: %v", command, err)
	}
	select {
	case e := <-answer:
		return e
	case <-b.exited:
		b.t.Fatalf("baresip ended at %s:\n%s", command, b.output)
	case <-ctx.Done():
		b.t.Fatalf("baresip %s: %v\n%s", command, ctx.Err(), b.output)
	}
	return Event{}
}

// Dial calls and waits until the call stands.
func (b *Baresip) Dial(ctx context.Context, uri string) {
	b.t.Helper()
	b.Command(ctx, "dial", uri)
	b.Wait(ctx, "CALL_ESTABLISHED")
}

// Addr is where the phone is called.
func (b *Baresip) Addr() netip.AddrPort { return b.sip }

// Hangup ends the call and waits until it is over; Heard is complete then.
func (b *Baresip) Hangup(ctx context.Context) {
	b.t.Helper()
	b.Command(ctx, "hangup", "")
	b.Wait(ctx, "CALL_CLOSED")
}

// Press sends keys by telephone-event.
func (b *Baresip) Press(ctx context.Context, digits string) {
	b.t.Helper()
	for _, d := range digits {
		b.Command(ctx, "sndcode", string(d))
	}
}

// Says speaks into the call, in place of what was said before, and is silent from then on. It returns when it was said.
func (b *Baresip) Says(ctx context.Context, pcm []int16) {
	b.t.Helper()
	b.spoken++
	file := filepath.Join(b.dir, fmt.Sprintf("says-%d.wav", b.spoken))
	writeWAV(b.t, file, atRate(slices.Concat(pcm, make([]int16, 120*Rate)), b.rate, b.wide), b.rate, b.wide)
	b.Command(ctx, "ausrc", "aufile,"+file)
	said := time.NewTimer(time.Duration(len(pcm)) * time.Second / Rate)
	defer said.Stop()
	select {
	case <-said.C:
	case <-ctx.Done():
		b.t.Fatalf("baresip speaks: %v", ctx.Err())
	}
}

// Listened waits until the phone has heard a pause of a second.
func (b *Baresip) Listened(ctx context.Context) {
	b.t.Helper()
	for quiet := 0; quiet < 4; quiet++ {
		if RMS(b.Listen(ctx, 250*time.Millisecond)) > 30 {
			quiet = -1
		}
	}
}

// Heard is what the phone heard in its calls so far, 8 kHz; complete once Close has returned or the call has ended.
func (b *Baresip) Heard() []int16 {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, "heard", "dump-*-dec.wav"))
	if err != nil {
		b.t.Fatal(err)
	}
	var all []int16
	for _, f := range files {
		s, rate := ReadWAV(b.t, f)
		all = append(all, toRate(s, rate)...)
	}
	return all
}

// Listen is what the phone hears for that long from now.
func (b *Baresip) Listen(ctx context.Context, d time.Duration) []int16 {
	b.t.Helper()
	const header = 44 // the recorder's; sizes in it are right only at the end
	size := func() (newest string, n int64) {
		files, _ := filepath.Glob(filepath.Join(b.dir, "heard", "dump-*-dec.wav"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && f > newest { // named by time
				newest, n = f, info.Size()
			}
		}
		return newest, max(n, header) &^ 1
	}
	file, from := size()
	want := 2 * int64(d.Seconds()*Rate)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		now, n := size()
		if now != file {
			file, from = now, header
		}
		if n-from >= want {
			break
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			b.t.Fatalf("baresip heard %d of %d bytes: %v", n-from, want, ctx.Err())
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	heard := make([]int16, want/2)
	if _, err := binary.Decode(raw[from:from+want], binary.LittleEndian, heard); err != nil {
		b.t.Fatal(err)
	}
	return heard
}

// Received is how many packets of sound the last call that has ended brought; false: its count is not out yet.
func (b *Baresip) Received() (packets int, known bool) {
	text := b.output.String()
	at := strings.LastIndex(text, "packets:")
	if at < 0 {
		return 0, false
	}
	fields := strings.Fields(text[at:])
	if len(fields) < 3 {
		return 0, false
	}
	packets, err := strconv.Atoi(fields[2])
	return packets, err == nil
}

// toRate brings sound to 8 kHz by leaving samples out, which keeps its envelope.
func toRate(samples []int16, rate int) []int16 {
	step := max(rate/Rate, 1)
	out := make([]int16, 0, len(samples)/step+1)
	for i := 0; i < len(samples); i += step {
		out = append(out, samples[i])
	}
	return out
}

// Close quits the phone, with force after 3 s. It may be called twice.
func (b *Baresip) Close() {
	b.once.Do(func() {
		if b.conn != nil {
			_, _ = fmt.Fprint(b.conn, `18:{"command":"quit"},`)
		}
		select {
		case <-b.exited:
		case <-time.After(3 * time.Second):
			_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
			<-b.exited
		}
		if b.conn != nil {
			_ = b.conn.Close()
			for range b.events { // until its reader has ended
			}
		}
	})
}

// listen reads netstrings of JSON.
func (b *Baresip) listen() {
	defer close(b.events)
	r := bufio.NewReader(b.conn)
	for {
		head, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.Trim(head, ":,\n"))
		if err != nil || n > 1<<20 {
			return
		}
		body := make([]byte, n+1) // with the comma
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var e Event
		if json.Unmarshal(body[:n], &e) != nil {
			continue
		}
		if e.Response {
			b.mu.Lock()
			answer := b.answers[e.Token]
			delete(b.answers, e.Token)
			b.mu.Unlock()
			if answer != nil {
				answer <- e
			}
			continue
		}
		select {
		case b.events <- e:
		default:
		}
	}
}

// syncBuffer keeps a program's output and tells when a word has come.
type syncBuffer struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	word  string
	found chan struct{}
}

func (s *syncBuffer) waitFor(word string) <-chan struct{} {
	s.word, s.found = word, make(chan struct{})
	return s.found
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.buf.Write(p)
	if s.word != "" && bytes.Contains(s.buf.Bytes(), []byte(s.word)) {
		s.word = ""
		close(s.found)
	}
	return n, err
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := slices.DeleteFunc(strings.FieldsFunc(s.buf.String(), func(r rune) bool { return r == '\n' || r == '\r' }), func(line string) bool {
		return strings.Contains(line, "(bit/s)") // a line each 100 ms of a call
	})
	return strings.Join(lines, "\n")
}
