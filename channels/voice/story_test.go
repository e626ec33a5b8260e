package voice

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/doctor"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// storyHouse has a database that knows the calls.
func storyHouse(t *testing.T, change func(*Config)) (*house, *pgxpool.Pool) {
	t.Helper()
	pool := dbtest.Pool(t)
	if _, err := pool.Exec(testCtx(t), `insert into nodes (id, name, seen_at) values ('test', 'test', now() + interval '1 hour'); insert into contacts (name) values ('Ana');
		insert into queues (name) values ('Service'); insert into conversations (contact_id, queue_id, state, channel) values (1, 1, 'bot', 'voice');
		insert into numbers (number, kind) values ('7777', 'echo')`); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(c *Config) {
		c.Pool = pool
		if change != nil {
			change(c)
		}
	})
	h.script(func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
		r, err := h.agree(in)
		if err == nil && in.Type == channels.CallStarted {
			_, err = pool.Exec(ctx, `insert into calls (conversation_id, direction, from_address, to_address, state) values (1, 'in', $1, '100', 'answered')`, in.From.Value)
		}
		return r, err
	})
	return h, pool
}

// stored waits for a call's trace.
func stored(t testing.TB, ctx context.Context, pool *pgxpool.Pool, call int64) (tr doctor.Trace, raw string) {
	t.Helper()
	until(t, ctx, "the call's trace", func() bool {
		return pool.QueryRow(ctx, `select trace::text from call_traces where call_id = $1`, call).Scan(&raw) == nil
	})
	if err := json.Unmarshal([]byte(raw), &tr); err != nil {
		t.Fatal(err)
	}
	return tr, raw
}

func hasEvent(tr doctor.Trace, kind, text string) bool {
	return slices.ContainsFunc(tr.Events, func(e doctor.Event) bool { return e.Kind == kind && strings.Contains(e.Text, text) })
}

// TestStory: a caller whose SDP lies about the port, an agent's browser, a hold: all of it is in the running call's
// record and in the one that is stored, and the doctor says the sentence.
func TestStory(t *testing.T) {
	t.Parallel()
	h, pool := storyHouse(t, nil)
	ctx := testCtx(t)
	rtp := voicetest.NewRTP(t, loopback)
	lie := netip.AddrPortFrom(loopback, 1)
	c := h.dial(ctx, voicetest.Invite{RTP: rtp, SDP: voicetest.Offer(lie, 1, "sendrecv")})
	c.RTP.Play(ctx, voicetest.ULaw(voicetest.Speech(2, 200*time.Millisecond, 8000)))
	waitChan(t, ctx, rtp.HeardSome(), "the greeting, at the address that sends")
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	b := h.join(ctx, 1, 7)
	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7, On: true})
	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7})
	go b.Play(ctx, voicetest.ULaw(voicetest.Speech(1, time.Second, 8000)))
	c.RTP.Play(ctx, voicetest.ULaw(voicetest.Speech(2, time.Second, 8000)))

	reply := h.must(ctx, channels.CallSignal{Type: "trace", CallID: 1})
	var running doctor.Trace
	if err := json.Unmarshal(reply.Trace, &running); err != nil {
		t.Fatal(err)
	}
	if running.Ended() || len(running.Legs) != 2 || len(running.Messages) < 4 || running.State != channels.CallBridged {
		t.Errorf("the running call: %d legs, %d messages, state %q", len(running.Legs), len(running.Messages), running.State)
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.expect(ctx, channels.CallEndedIn)
	tr, raw := stored(t, ctx, pool, 1)

	var lines []string
	for _, m := range tr.Messages {
		line, _, _ := strings.Cut(m.Raw, "\r\n")
		if f := strings.Fields(line); f[0] == "SIP/2.0" {
			line = f[1]
		} else {
			line = f[0]
		}
		lines = append(lines, fmt.Sprint(m.In, " ", line))
	}
	if got := strings.Join(slices.Compact(lines), ", "); got != "true INVITE, false 180, false 200, true ACK, true BYE, false 200" &&
		got != "true INVITE, false 100, false 180, false 200, true ACK, true BYE, false 200" {
		t.Errorf("the ladder is %s", got)
	}
	if !tr.Ended() || tr.Result != "completed" || tr.Reason != "caller hung up" || tr.AnsweredAt == nil || tr.BridgedAt == nil || tr.Number != "alice" || tr.Ours != number {
		t.Errorf("the call: %+v", tr)
	}
	phone, browser := tr.Legs[0], tr.Legs[1]
	if phone.Role != doctor.Customer || phone.By != "sip" || phone.Announced != lie || phone.Seen != rtp.Addr() || phone.SendsTo != rtp.Addr() || phone.Codec != "PCMU" || phone.Counts.In == 0 || phone.Counts.Out == 0 ||
		len(phone.Latch) < 2 || len(phone.Slices) == 0 || phone.End == nil || phone.End.By != doctor.ByThem || phone.UpAt == nil || phone.PartedAt == nil || phone.Overall.MOS < 3 {
		t.Errorf("the caller's leg: %+v", phone)
	}
	if browser.Role != doctor.Agent || browser.AgentID != 7 || browser.By != "web" || browser.Pair == nil || browser.Pair.Local.Protocol != "udp" || !browser.Pair.Remote.Addr.IsValid() || browser.Secured != "DTLS" || browser.Counts.In == 0 {
		t.Errorf("the browser's leg: %+v", browser)
	}
	for _, want := range [][2]string{{doctor.LegJoined, "customer"}, {doctor.LegJoined, "agent"}, {doctor.LegUp, "by ice"}, {doctor.StateMoved, "bridged"}, {doctor.Hears, "customer hears agent, agent hears customer"},
		{doctor.Held, "put the customer on hold"}, {doctor.Held, "took the customer back"}, {doctor.KeyPressed, "a key was pressed"}, {doctor.Asked, "hold"}, {doctor.LegEnded, "the other side ended it"}, {doctor.LegParted, "agent"}} {
		if !hasEvent(tr, want[0], want[1]) {
			t.Errorf("no event %v in %v", want, tr.Events)
		}
	}
	if strings.Contains(raw, `"0"`) {
		t.Error("the pressed key stands in the record")
	}
	found := doctor.Examine(tr)
	i := slices.IndexFunc(found, func(v doctor.Verdict) bool { return v.Code == "nat" })
	if want := fmt.Sprintf("sends from %s, the SDP announced %s", rtp.Addr(), lie); i < 0 || !strings.Contains(found[i].Text, want) {
		t.Errorf("no verdict %q in %+v", want, found)
	}
	if ids, _, _ := h.voice.collector.Size(); ids != 0 {
		t.Errorf("%d Call-IDs are still kept", ids)
	}
}

// logWatch has the lines of a log, as many as it holds.
type logWatch chan string

func (w logWatch) Write(line []byte) (int, error) {
	select {
	case w <- string(line):
	default:
	}
	return len(line), nil
}

// TestStoryWithoutDatabase: a call ends while the database is away; its record is written when it is back.
func TestStoryWithoutDatabase(t *testing.T) {
	t.Parallel()
	refused := make(logWatch, 100)
	h, pool := storyHouse(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(refused, nil)) })
	ctx := testCtx(t)
	c := h.dial(ctx, voicetest.Invite{})
	if _, err := pool.Exec(ctx, `alter table call_traces rename to away`); err != nil {
		t.Fatal(err)
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.expect(ctx, channels.CallEndedIn)
	for line := ""; !strings.Contains(line, "call traces not stored"); {
		line = waitChan(t, ctx, refused, "a failed attempt")
	}
	if _, err := pool.Exec(ctx, `alter table away rename to call_traces`); err != nil {
		t.Fatal(err)
	}
	if tr, _ := stored(t, ctx, pool, 1); tr.Result != "completed" || len(tr.Messages) < 5 {
		t.Errorf("%+v", tr)
	}
}

// TestStoryAtTheEnd: what is still to be written when the server stops is written.
func TestStoryAtTheEnd(t *testing.T) {
	t.Parallel()
	h, pool := storyHouse(t, nil)
	ctx := testCtx(t)
	h.dial(ctx, voicetest.Invite{SDP: strings.Replace(voicetest.Offer(netip.AddrPortFrom(loopback, 9), 1, "sendrecv"), "s=", "s=\x00\xff", 1)})
	h.stop()
	if tr, _ := stored(t, ctx, pool, 1); tr.Reason != "server stopped" || !strings.Contains(tr.Messages[0].Raw, "s=\u2400\uFFFD") {
		t.Errorf("%+v", tr)
	}
}

// TestEchoNumber: a telephone that calls an echo number hears the words, then itself a second later, and is hung up on.
func TestEchoNumber(t *testing.T) {
	t.Parallel()
	words := time.Duration(len(promptSamples(t, promptEcho))) * time.Second / 8000
	h, _ := storyHouse(t, func(c *Config) { c.Times.Echo = words + 13*time.Second })
	ctx := testCtx(t)
	until(t, ctx, "the numbers", func() bool { _, ok := h.voice.trunks.Number("7777"); return ok })
	c := h.phone().Dial(ctx, h.voice.Addr(), "7777", voicetest.Invite{})
	said, nobody := voicetest.Speech(1, 11*time.Second, 8000), voicetest.Speech(2, 11*time.Second, 8000)
	hear(t, ctx, c.RTP, words-20*time.Millisecond)
	c.RTP.Forget()
	c.RTP.Play(ctx, voicetest.ULaw(said))
	voicetest.Check(t, "echo", voicetest.FromULaw(c.RTP.Heard()), said, nobody)
	waitChan(t, ctx, c.Ended(), "the end of its time")
	if h.voice.Calls() != 0 {
		t.Error("a test call is no call")
	}
}
