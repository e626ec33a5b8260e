package voice

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// A cell of the matrix is a pair of real telephones (baresip) at a trunk of one transport, one kind of keys and one codec.
// What is done with them are its columns.
const (
	opIn      = "in"      // the telephone calls, right sound both ways
	opKeys    = "keys"    // pressed there (0 is a person) and, in a call out, here
	opHold    = "hold"    // by the telephone, and back: right sound both ways again
	opBlind   = "blind"   // the agent passes the caller on to the other telephone
	opConsult = "consult" // and the same after a word with it
	opOut     = "out"     // the agent calls the telephone
)

var (
	matrixOps    = []string{opIn, opKeys, opHold, opBlind, opConsult, opOut}
	matrixCodecs = map[string]string{sdp.PCMU: "PCMU/8000/1", sdp.PCMA: "PCMA/8000/1", sdp.G722: "G722/16000/1", sdp.Opus: "opus/48000/2"}
)

type cell struct{ transport, keys, codec string }

func (c cell) String() string { return c.transport + " " + c.keys + " " + c.codec }

// refused tells that our rule forbids the cell: whoever reads the SIP would have the keys (RFC 4568 section 7).
func (c cell) refused() bool { return c.keys == sdp.SDES && c.transport != "tls" }

// TestMatrix runs each value of {UDP, TCP, TLS} x {RTP, SDES, DTLS} x {PCMU, PCMA, G722, Opus} and each operation at least
// once; MATRIX=full runs every operation in every cell and prints the table.
func TestMatrix(t *testing.T) {
	t.Parallel()
	cells := map[cell][]string{
		{"udp", "", sdp.PCMA}:       {opIn, opKeys, opHold},
		{"tcp", sdp.DTLS, sdp.G722}: {opBlind},
		{"tls", sdp.SDES, sdp.Opus}: {opConsult},
		{"udp", sdp.DTLS, sdp.PCMU}: {opOut, opKeys},
		{"tcp", sdp.SDES, sdp.PCMU}: {opIn},
	}
	if os.Getenv("MATRIX") == "full" {
		for _, transport := range []string{"udp", "tcp", "tls"} {
			for _, keys := range []string{"", sdp.SDES, sdp.DTLS} {
				for codec := range matrixCodecs {
					cells[cell{transport, keys, codec}] = matrixOps
				}
			}
		}
	}
	certificate := voicetest.NewCertificate(t)
	var mu sync.Mutex
	results := map[cell]map[string]string{}
	t.Cleanup(func() { printMatrix(t, results) })
	for c, ops := range cells {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			x := &matrixCell{cell: c, t: t, certificate: certificate, done: map[string]string{}}
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				results[c] = x.done
			}()
			x.run(ops)
		})
	}
}

func printMatrix(t *testing.T, results map[cell]map[string]string) {
	var cells []cell
	for c := range results {
		cells = append(cells, c)
	}
	slices.SortFunc(cells, func(a, b cell) int { return strings.Compare(a.String(), b.String()) })
	var table strings.Builder
	count := map[string]int{}
	fmt.Fprintf(&table, "%-5s %-5s %-5s", "by", "keys", "codec")
	for _, op := range matrixOps {
		fmt.Fprintf(&table, " %-8s", op)
	}
	for _, c := range cells {
		keys := c.keys
		if keys == "" {
			keys = "rtp"
		}
		fmt.Fprintf(&table, "\n%-5s %-5s %-5s", c.transport, keys, c.codec)
		for _, op := range matrixOps {
			result := orElse(results[c][op], "-")
			count[result]++
			fmt.Fprintf(&table, " %-8s", result)
		}
	}
	t.Logf("the matrix, %d cells, %v\n%s", len(cells), count, table.String())
}

// matrixCell is one cell at work.
type matrixCell struct {
	cell
	t           *testing.T
	certificate *voicetest.Certificate
	done        map[string]string // operation: ok, refused, FAILED

	house *house
	trunk channels.Trunk
	phone *voicetest.Baresip // calls
	other *voicetest.Baresip // is called: +4940222
	news  <-chan string

	phoneWords, otherWords []int16
}

const matrixNumber = "+4940222"

func (x *matrixCell) run(ops []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if x.codec == sdp.Opus && !media.HasOpus() {
		voicetest.Need(x.t, "libopus.so.0")
	}
	x.phoneWords, x.otherWords = voicetest.Speech(301, 60*time.Second, voicetest.Rate), voicetest.Speech(302, 60*time.Second, voicetest.Rate)
	x.phone, x.other = x.telephone("alice", x.phoneWords, ""), x.telephone(matrixNumber[1:], x.otherWords, ";answermode=auto")
	x.open(ctx)
	if x.refused() {
		x.isRefused(ctx)
		return
	}
	wants := func(op string) bool { return slices.Contains(ops, op) }
	id := int64(0)
	if wants(opIn) || wants(opHold) {
		id++
		x.record(ops, []string{opIn, opKeys, opHold}, func() { x.inward(ctx, id, wants(opHold)) })
	}
	if wants(opBlind) && !x.t.Failed() {
		id++
		x.record(ops, []string{opBlind}, func() { x.blind(ctx, id) })
	}
	if wants(opConsult) && !x.t.Failed() {
		id++
		x.record(ops, []string{opConsult}, func() { x.consult(ctx, id) })
	}
	if wants(opOut) && !x.t.Failed() {
		x.record(ops, []string{opOut, opKeys}, func() { x.outward(ctx) })
	}
}

// record notes how a call went for each operation that is asked for and done in it.
func (x *matrixCell) record(asked, did []string, call func()) {
	note := func(result string) {
		for _, op := range did {
			if slices.Contains(asked, op) && x.done[op] != "FAILED" {
				x.done[op] = result
			}
		}
	}
	note("FAILED") // unless it comes to its end
	call()
	if !x.t.Failed() {
		for _, op := range did {
			delete(x.done, op)
		}
		note("ok")
	}
}

func (x *matrixCell) telephone(user string, says []int16, more string) *voicetest.Baresip {
	cfg := voicetest.BaresipConfig{User: user, Codecs: matrixCodecs[x.codec], Says: says, Account: more, Params: ";transport=" + x.transport}
	switch x.keys {
	case sdp.SDES:
		cfg.Account += ";mediaenc=srtp-mand"
	case sdp.DTLS:
		cfg.Account += ";mediaenc=dtls_srtp"
	}
	if x.transport == "tls" || x.keys == sdp.DTLS {
		cfg.Certificate = x.certificate
	}
	return voicetest.StartBaresip(x.t, cfg)
}

// open starts a house with one trunk, which is both telephones.
func (x *matrixCell) open(ctx context.Context) {
	x.t.Helper()
	db := dbtest.Pool(x.t)
	at := x.other.Addr()
	server := at.String()
	if x.transport == "tls" {
		server = fmt.Sprintf("%s:%d", at.Addr(), at.Port()+1)
	}
	x.trunk = channels.NewTrunk()
	x.trunk.Name, x.trunk.Servers, x.trunk.Sources, x.trunk.Transport = "telephones", []string{server}, []string{"127.0.0.1"}, x.transport
	x.trunk.Codecs, x.trunk.OptionsSeconds = []string{sdp.PCMU, sdp.PCMA, sdp.G722, sdp.Opus}, 0
	x.trunk.NumberFormat, x.trunk.CountryCode, x.trunk.DialOut, x.trunk.CallerNumber = "plain", "49", true, "+4930100"
	if x.keys != "" {
		x.trunk.SRTP, x.trunk.SRTPKeys = sdp.Required, x.keys
	}
	if x.refused() {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return channels.SaveTrunk(ctx, tx, &x.trunk) })
		if e := (*channels.Error)(nil); !errors.As(err, &e) || e.Field != "srtp_keys" {
			x.t.Errorf("a trunk with keys in the clear: %v", err)
		}
		x.trunk.Transport = "tls" // who comes in another way all the same is refused
	}
	if _, err := db.Exec(ctx, `insert into nodes (id, name) values ('test', 'test'); insert into queues (name) values ('Service');
		insert into agents (login, name) values ('ana', 'Ana'); insert into contacts (name) values ('Ole');
		insert into conversations (contact_id, queue_id, channel) values (1, 1, 'voice')`); err != nil {
		x.t.Fatal(err)
	}
	if err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return channels.SaveTrunk(ctx, tx, &x.trunk) }); err != nil {
		x.t.Fatal(err)
	}
	x.house = newHouse(x.t, func(cfg *Config) {
		cfg.Pool, cfg.Trunks = db, nil
		for _, transport := range []string{"tcp", "tls"} {
			cfg.ListenAlso = append(cfg.ListenAlso, edge.Listen{Transport: transport, Addr: "127.0.0.1:0"})
		}
		cfg.TLS, cfg.Roots = &tls.Config{Certificates: []tls.Certificate{x.certificate.TLS}}, &tls.Config{RootCAs: x.certificate.Roots}
	})
	x.news = x.house.agentFrames(7)
	until(x.t, ctx, "trunk read", func() bool {
		routes, err := x.house.voice.trunks.Routes("112", "", "") // goes by every trunk
		return err == nil && len(routes) == 1
	})
}

// uri is where the telephones call us.
func (x *matrixCell) uri() string {
	return fmt.Sprintf("sip:%s@%s;transport=%s", number, x.house.voice.edge.AddrFor(x.transport, loopback), x.transport)
}

// isRefused: a description that carries keys in the clear gets 488.
func (x *matrixCell) isRefused(ctx context.Context) {
	x.t.Helper()
	x.phone.Command(ctx, "dial", x.uri())
	if e := x.phone.Wait(ctx, "CALL_CLOSED"); !strings.Contains(e.Param, "488") {
		x.t.Errorf("keys in the clear: %q, want 488", e.Param)
		x.done[opIn] = "FAILED"
		return
	}
	for _, op := range matrixOps {
		x.done[op] = "refused"
	}
}

// passed waits for something that is handed up, whatever comes before.
func (x *matrixCell) passed(ctx context.Context, want channels.InboundType) channels.Inbound {
	x.t.Helper()
	for {
		if in := waitChan(x.t, ctx, x.house.inbound, string(want)); in.Type == want {
			return in
		}
	}
}

// talk has the telephone call, press 0, and an agent answer, who speaks from then on.
func (x *matrixCell) talk(ctx context.Context, id int64, seed uint64) (*voicetest.Browser, *speaker) {
	x.t.Helper()
	x.phone.Dial(ctx, x.uri())
	x.passed(ctx, channels.CallStarted)
	x.phone.Press(ctx, "0")
	if in := x.passed(ctx, channels.Wish); in.Source != "key" {
		x.t.Errorf("wish: %+v", in)
	}
	b := x.house.join(ctx, id, 7)
	return b, speak(ctx, x.t, b, seed)
}

// speaker is somebody who speaks, from a known time on.
type speaker struct {
	words []int16
	since time.Time
}

func speak(ctx context.Context, t *testing.T, b *voicetest.Browser, seed uint64) *speaker {
	s := &speaker{words: voicetest.Speech(seed, 60*time.Second, voicetest.Rate), since: time.Now()}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Play(ctx, voicetest.ULaw(s.words))
	}()
	t.Cleanup(func() { stop(); <-ended })
	return s
}

// now is how far the speaker has come.
func (s *speaker) now() int {
	return min(int(time.Since(s.since).Seconds()*voicetest.Rate), len(s.words))
}

const earful = 9 * time.Second

// inward is a call of the telephone, which holds and comes back.
func (x *matrixCell) inward(ctx context.Context, id int64, hold bool) {
	b, agent := x.talk(ctx, id, 303)
	voicetest.Check(x.t, "agent hears", b.Hear(ctx, earful), x.phoneWords, agent.words)
	held := agent.now()
	if hold {
		x.phone.Command(ctx, "hold", "")
		frame(x.t, ctx, x.news, "held by the caller", func(n callNews) bool { return n.CallerHeld })
		x.phone.Command(ctx, "resume", "")
		frame(x.t, ctx, x.news, "back", func(n callNews) bool { return !n.CallerHeld })
		voicetest.Check(x.t, "agent hears after the hold", b.Hear(ctx, earful), x.phoneWords, agent.words)
	}
	x.phone.Hangup(ctx)
	x.ended(ctx, id)
	x.heard("telephone hears", x.phone.Heard(), agent.words[:held], x.phoneWords)
	if hold { // baresip 1.0.0 writes down nothing more after a hold, so what it got is counted: twice as much as before
		const enough = int(2 * (earful - time.Second) / media.Frame)
		until(x.t, ctx, "telephone's packets, with those after the hold", func() bool { n, known := x.phone.Received(); return known && n > enough })
	}
}

// blind is a call that the agent passes on.
func (x *matrixCell) blind(ctx context.Context, id int64) {
	_, agent := x.talk(ctx, id, 306)
	x.house.must(ctx, channels.CallSignal{Type: "transfer", CallID: id, AgentID: 7, Target: &channels.CallTarget{Kind: "number", Number: matrixNumber}})
	x.passed(ctx, channels.HandedOut)
	x.other.Wait(ctx, "CALL_ESTABLISHED")
	x.together(ctx)
	x.phone.Hangup(ctx)
	x.ended(ctx, id)
	x.other.Wait(ctx, "CALL_CLOSED")
	x.heard("telephone hears the other", x.phone.Heard(), x.otherWords, x.phoneWords)
	x.heard("the other hears the telephone", x.other.Heard(), x.phoneWords, x.otherWords, agent.words)
}

// consult is a call passed on after the agent has talked with the other telephone.
func (x *matrixCell) consult(ctx context.Context, id int64) {
	b, agent := x.talk(ctx, id, 304)
	x.house.must(ctx, channels.CallSignal{Type: "consult", CallID: id, AgentID: 7, Target: &channels.CallTarget{Kind: "number", Number: matrixNumber}})
	frame(x.t, ctx, x.news, "the other talks", func(n callNews) bool { return n.Third != nil && n.Third.State == "talking" })
	asked := agent.now()
	voicetest.Check(x.t, "agent hears the other", b.Hear(ctx, earful), x.otherWords, x.phoneWords)
	x.house.must(ctx, channels.CallSignal{Type: "complete", CallID: id, AgentID: 7})
	done := agent.now()
	x.passed(ctx, channels.HandedOut)
	x.together(ctx)
	x.other.Hangup(ctx)
	x.phone.Wait(ctx, "CALL_CLOSED")
	x.ended(ctx, id)
	x.heard("the other hears the agent", x.other.Heard(), agent.words[asked:done], x.otherWords)
	x.heard("the other hears the telephone", x.other.Heard(), x.phoneWords, x.otherWords, agent.words)
	x.heard("telephone hears the other", x.phone.Heard(), x.otherWords, x.phoneWords, agent.words[asked:])
}

// outward is a call of the agent, who presses a key at the end.
func (x *matrixCell) outward(ctx context.Context) {
	o := &outside{house: x.house}
	call, refused := o.ask(ctx, matrixNumber)
	if refused != nil {
		x.t.Fatal(refused)
	}
	b := o.connect(ctx, call, 1)
	agent := speak(ctx, x.t, b, 305)
	x.other.Wait(ctx, "CALL_ESTABLISHED")
	voicetest.Check(x.t, "agent hears", b.Hear(ctx, earful), x.otherWords, agent.words)
	o.must(ctx, channels.CallSignal{Type: "dtmf", CallID: call, AgentID: 1, Digit: "5"})
	if e := x.other.Wait(ctx, "CALL_DTMF_START"); e.Param != "5" {
		x.t.Errorf("key %q, want 5", e.Param)
	}
	o.must(ctx, channels.CallSignal{Type: "hangup", CallID: call, AgentID: 1})
	x.other.Wait(ctx, "CALL_CLOSED")
	x.ended(ctx, call)
	x.heard("telephone hears", x.other.Heard(), agent.words, x.otherWords)
}

func (x *matrixCell) ended(ctx context.Context, id int64) {
	x.t.Helper()
	in := x.passed(ctx, channels.CallEndedIn)
	stats, _ := in.Stats.(callStats)
	if in.CallID != id || in.Result != completed && in.Result != "transferred" || !strings.EqualFold(stats.Codec, x.codec) {
		x.t.Errorf("ended: %+v", in)
	}
}

// together lets the two telephones talk for as long as a comparison needs.
func (x *matrixCell) together(ctx context.Context) {
	x.t.Helper()
	x.pause(ctx, earful+time.Second)
}

func (x *matrixCell) pause(ctx context.Context, d time.Duration) {
	x.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		x.t.Fatal(ctx.Err())
	}
}

// heard demands that somewhere in the sound is what right said, and nobody else at the same time.
func (x *matrixCell) heard(who string, sound, right []int16, wrong ...[]int16) {
	x.t.Helper()
	const window, step = voicetest.MinOverlap * voicetest.Rate / 50, voicetest.Rate / 2
	best, at := -1.0, 0
	for from := 0; from+window <= len(sound); from += step {
		if s, _ := voicetest.Score(voicetest.Envelope(right, voicetest.Rate), voicetest.Envelope(sound[from:from+window], voicetest.Rate)); s > best {
			best, at = s, from
		}
	}
	if best < 0 {
		x.t.Errorf("%s: only %d samples were heard", who, len(sound))
		return
	}
	voicetest.Check(x.t, who, sound[at:at+window], right, wrong...)
}
