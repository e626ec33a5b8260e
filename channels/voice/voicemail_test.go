package voice

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// mailHouse is a house where messages can be left; it keeps those that are none of nothing.
func mailHouse(t *testing.T, change func(*Config)) (*house, *pgxpool.Pool, string) {
	t.Helper()
	h, pool, dir := recordingHouse(t, func(cfg *Config) {
		cfg.Times.VoicemailQuiet, cfg.Times.LateVoicemail = 1500*time.Millisecond, 50*time.Millisecond
		if change != nil {
			change(cfg)
		}
	})
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) { return h.keeps(in) })
	return h, pool, dir
}

// keeps is a switchboard that stores a message.
func (h *house) keeps(in channels.Inbound) (channels.Receipt, error) {
	r, err := h.agree(in)
	if in.Type == channels.VoicemailLeft && in.Voicemail.Empty == "" {
		r.Message = &channels.Message{Seq: 7}
	}
	return r, err
}

// atTheTone is a caller in line who has pressed 3 and hears the tone.
func atTheTone(t *testing.T, ctx context.Context, h *house) *voicetest.Call {
	t.Helper()
	c := h.waitingCall(ctx, voicetest.Invite{})
	presses(t, ctx, c)
	return c
}

func presses(t *testing.T, ctx context.Context, c *voicetest.Call) {
	t.Helper()
	c.RTP.Press(ctx, '3')
	until(t, ctx, "what to do is said", func() bool { return heardPrompt(t, c, promptVoicemail) })
	until(t, ctx, "the tone", func() bool {
		heard := voicetest.FromULaw(c.RTP.Heard())
		return len(heard) > 1600 && voicetest.Tone(heard[len(heard)-1600:], voicetest.Rate, 1000) > 0.5
	})
}

// voicemailRow is the newest recording of a message.
func voicemailRow(t *testing.T, ctx context.Context, pool *pgxpool.Pool) (r recordedRow) {
	t.Helper()
	if err := pool.QueryRow(ctx, `select state, place, seconds, coalesce((select string_agg(body, '|' order by seq) from messages where data->>'code' = 'recorded'), '')
		from recordings where kind = 'voicemail' order by id desc limit 1`).Scan(&r.state, &r.place, &r.seconds, &r.line); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestVoicemail: what the caller says after the tone is the message, however it ends; the house has it before it hears of the
// call's end, and the caller who is still there is told so and let go.
func TestVoicemail(t *testing.T) {
	t.Parallel()
	speech := voicetest.Speech(77, 9*time.Second, voicetest.Rate)
	for name, c := range map[string]struct {
		change func(*Config)
		end    func(context.Context, *voicetest.Call)
		told   bool
	}{
		"hash": {nil, func(ctx context.Context, c *voicetest.Call) { c.RTP.Press(ctx, '#') }, true},
		"silence": {nil, func(ctx context.Context, c *voicetest.Call) {
			c.RTP.Play(ctx, voicetest.ULaw(speechtest.Silence(3, voicetest.Rate)))
		}, true},
		"limit": {func(cfg *Config) { cfg.Times.Voicemail = 8500 * time.Millisecond }, func(context.Context, *voicetest.Call) {}, true},
		"hang-up": {nil, func(ctx context.Context, c *voicetest.Call) {
			if err := c.Bye(ctx); err != nil {
				t.Error(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, pool, dir := mailHouse(t, c.change)
			ctx := testCtx(t)
			call := atTheTone(t, ctx, h)
			call.RTP.Play(ctx, voicetest.ULaw(speech))
			c.end(ctx, call)
			in := h.expect(ctx, channels.VoicemailLeft)
			if v := in.Voicemail; v.Empty != "" || v.RecordingID == 0 || v.Seconds < 8 || v.Unwritten == "" || in.Body != "" || in.CallID != 1 || in.ConversationID != 1001 {
				t.Errorf("%+v: %+v", in, v)
			}
			row := voicemailRow(t, ctx, pool)
			if row.state != "done" || row.line != "" {
				t.Errorf("%+v", row)
			}
			left, _ := sides(t, filepath.Join(dir, row.place))
			voicetest.Check(t, "the message", left, speech, voicetest.Speech(78, 9*time.Second, voicetest.Rate))
			if c.told {
				until(t, ctx, "goodbye", func() bool { return heardPrompt(t, call, promptVoicemailKept) })
				waitChan(t, ctx, call.Ended(), "we hang up")
			}
			if end := h.expect(ctx, channels.CallEndedIn); end.Result != completed {
				t.Errorf("the call ended as %s: %s", end.Result, end.Reason)
			}
		})
	}
}

// TestVoicemailWithoutWords: who says nothing, or hangs up at once, leaves no message: the house hears why, the file goes, and
// the caller stays in line and may try again.
func TestVoicemailWithoutWords(t *testing.T) {
	t.Parallel()
	h, pool, dir := mailHouse(t, nil)
	ctx := testCtx(t)
	c := atTheTone(t, ctx, h)
	if in := h.expect(ctx, channels.VoicemailLeft); in.Voicemail.Empty != "nothing was said" {
		t.Errorf("%+v", in.Voicemail)
	}
	until(t, ctx, "told so", func() bool { return heardPrompt(t, c, promptVoicemailEmpty) })
	gone := func() bool {
		row := voicemailRow(t, ctx, pool)
		_, err := os.Stat(filepath.Join(dir, row.place))
		return row.state == "deleted" && os.IsNotExist(err) || row.place == ""
	}
	until(t, ctx, "the file is gone", gone)
	c.RTP.Forget()
	presses(t, ctx, c)
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	if in := h.expect(ctx, channels.VoicemailLeft); in.Voicemail.Empty == "" {
		t.Errorf("%+v", in.Voicemail)
	}
	if end := h.expect(ctx, channels.CallEndedIn); end.Result != abandoned {
		t.Errorf("the call ended as %s", end.Result)
	}
}

// TestVoicemailAndAPerson: who accepts in the middle is put through at once; what was said is kept, and nobody speaks into it.
func TestVoicemailAndAPerson(t *testing.T) {
	t.Parallel()
	h, _, _ := mailHouse(t, func(cfg *Config) {
		cfg.Expect = func(context.Context, int64) (int, time.Duration, time.Duration, bool) { return 1, 0, 0, false }
		cfg.Times.LineFirst, cfg.Times.LineAgain, cfg.Times.LineLook = 50*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
		cfg.Times.VoicemailQuiet = time.Minute
	})
	ctx := testCtx(t)
	c := h.waitingCall(ctx, voicetest.Invite{})
	until(t, ctx, "the key is offered", func() bool { return heardPrompt(t, c, promptVoicemailOffer) })
	presses(t, ctx, c)
	c.RTP.Forget()
	c.RTP.Play(ctx, voicetest.ULaw(voicetest.Speech(5, 2*time.Second, voicetest.Rate)))
	if heardPrompt(t, c, "place_1") {
		t.Error("the place is said into the message")
	}
	h.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	b := h.connect(ctx, 1, 7)
	hears(t, ctx, c, b)
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	kept := 0
	for in := range h.inbound {
		if in.Type == channels.VoicemailLeft && in.Voicemail.Empty == "" {
			kept++
		}
		if in.Type == channels.CallEndedIn {
			break
		}
	}
	if kept != 1 {
		t.Errorf("%d messages handed up", kept)
	}
}

// TestVoicemailDiskRefuses: it is said in words, the timeline has it, and the caller stays in line.
func TestVoicemailDiskRefuses(t *testing.T) {
	t.Parallel()
	h, pool, dir := mailHouse(t, nil)
	ctx := testCtx(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := h.waitingCall(ctx, voicetest.Invite{})
	c.RTP.Press(ctx, '3')
	until(t, ctx, "told so", func() bool { return heardPrompt(t, c, promptVoicemailFailed) })
	if row := voicemailRow(t, ctx, pool); row.state != "failed" || !strings.Contains(row.line, "A voicemail could not be recorded: the disk has failed. The caller stays in line.") {
		t.Errorf("%+v", row)
	}
	if in := h.expect(ctx, channels.VoicemailLeft); in.Voicemail.Failed != "the disk has failed" || in.Voicemail.RecordingID != 0 {
		t.Errorf("%+v", in.Voicemail)
	}
	b := h.join(ctx, 1, 7)
	hears(t, ctx, c, b)
}

// diskRefuses are ways in which a real disk refuses in the middle of a file of more than 64 kB, about 2 s of a message. Where this
// process may not mount, the other one is left.
var diskRefuses = map[string]func(t *testing.T, dir string){
	"full": func(t *testing.T, dir string) {
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); errors.Is(err, syscall.EPERM) {
			t.Skip("this process may not mount")
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	},
	"no file so long": func(t *testing.T, _ string) {
		var before syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
		now := before
		now.Cur = 64 << 10
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &now); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
				t.Error(err)
			}
		})
	},
}

// TestVoicemailDiskRefusesInTheMiddle: the caller hears at once that we do not have the message and what else they can do; the
// house hears it before it hears of the call's end, with what was written until then; and a person gets the caller. The tests
// beside it stand still meanwhile: one of the disks is this process' own.
func TestVoicemailDiskRefusesInTheMiddle(t *testing.T) {
	for name, refuse := range diskRefuses {
		t.Run(name, func(t *testing.T) {
			h, pool, dir := mailHouse(t, nil)
			ctx := testCtx(t)
			refuse(t, dir)
			c := atTheTone(t, ctx, h)
			c.RTP.Forget()
			go c.RTP.Play(ctx, voicetest.ULaw(voicetest.Speech(77, 9*time.Second, voicetest.Rate)))
			in := h.expect(ctx, channels.VoicemailLeft)
			if v := in.Voicemail; v.Failed != "the disk is full" || !v.Cut || v.Empty != "" || v.Seconds < 1 || v.Seconds > 3 {
				t.Errorf("%+v", v)
			}
			until(t, ctx, "told so", func() bool { return heardPrompt(t, c, promptVoicemailFailed) })
			for _, lie := range []string{promptVoicemailKept, promptVoicemailStays, promptVoicemailEmpty} {
				if heardPrompt(t, c, lie) {
					t.Errorf("the caller hears %s", lie)
				}
			}
			if row := voicemailRow(t, ctx, pool); row.state != "recovered" {
				t.Errorf("%+v", row)
			}
			b := h.join(ctx, 1, 7)
			hears(t, ctx, c, b)
		})
	}
}

// TestVoicemailIsWrittenDown: the engines that hear callers write the message down.
func TestVoicemailIsWrittenDown(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	if _, err := pool.Exec(t.Context(), `insert into nodes (id, name) values ('test', 'test'); insert into contacts (name) values ('Rosa'); insert into queues (name) values ('Service');
		insert into conversations (id, contact_id, queue_id, channel, state) overriding system value values (1001, 1, 1, 'voice', 'bot');
		insert into calls (conversation_id, direction, from_address, to_address) values (1001, 'in', '+49', '100')`); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := newTalkHouse(t, func(cfg *Config) { recordsTo(t, cfg, pool, dir) })
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) { return h.keeps(in) })
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	c.RTP.Press(ctx, '3')
	c.Hears("after the tone")
	until(t, ctx, "the tone", func() bool {
		heard := voicetest.FromULaw(c.RTP.Heard())
		return len(heard) > 1600 && voicetest.Tone(heard[len(heard)-1600:], voicetest.Rate, 1000) > 0.5
	})
	c.Forget()
	c.Says("my stove leaks")
	c.RTP.Press(ctx, '#')
	for {
		in := waitChan(t, ctx, h.inbound, "voicemail")
		if in.Type == channels.Words {
			t.Errorf("the responder has listened in: %q", in.Body)
		}
		if in.Type == channels.VoicemailLeft {
			if in.Body != "my stove leaks" || in.Voicemail.Unwritten != "" {
				t.Errorf("%q, %+v", in.Body, in.Voicemail)
			}
			break
		}
	}
	c.Hears("a person will answer it")
	waitChan(t, ctx, c.Ended(), "we hang up")
	h.expect(ctx, channels.CallEndedIn)
}

// TestVoicemailOfADeadProcess: the archive has repaired the file, the call's row has ended: it is handed up once.
func TestVoicemailOfADeadProcess(t *testing.T) {
	t.Parallel()
	h, pool, _ := mailHouse(t, func(cfg *Config) { cfg.Times.LateVoicemail = time.Hour }) // by news alone
	ctx := testCtx(t)
	h.script(func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
		if _, err := pool.Exec(ctx, `update recordings set handed_at = now() where id = $1`, in.Voicemail.RecordingID); err != nil {
			return channels.Receipt{}, err
		}
		return h.keeps(in)
	})
	loud, quiet := strings.Repeat("4000", 40), strings.Repeat("0000", 40)
	if _, err := pool.Exec(ctx, `update calls set state = 'ended', result = 'lost', from_address = '+4930777888';
		insert into recordings (call_id, conversation_id, node_id, place, kind, state, seconds, peaks)
		values (1, 1001, 'test', 'a.wav', 'voicemail', 'recovered', 4, decode('`+loud+`', 'hex')), (1, 1001, 'test', 'b.wav', 'voicemail', 'recovered', 4, decode('`+quiet+`', 'hex')),
			(1, 1001, 'test', 'c.wav', 'call', 'recovered', 4, ''), (1, 1001, 'test', 'd.wav', 'voicemail', 'recording', 4, '')`); err != nil {
		t.Fatal(err)
	}
	if err := h.bus.Publish(channels.VoicemailSubject, struct{}{}); err != nil {
		t.Fatal(err)
	}
	first, second := h.expect(ctx, channels.VoicemailLeft), h.expect(ctx, channels.VoicemailLeft)
	if first.Voicemail.Empty != "" { // they are handed up at once
		first, second = second, first
	}
	if v := first.Voicemail; !v.Cut || v.Seconds != 4 || v.Empty != "" || v.Unwritten != cutOff || first.From.Value != "+4930777888" {
		t.Errorf("%+v: %+v", first, v)
	}
	if second.Voicemail.Empty != "nothing was said" {
		t.Errorf("%+v", second.Voicemail)
	}
	h.stop()
	if len(h.inbound) != 0 {
		t.Errorf("and %d more", len(h.inbound))
	}
}

// TestVoicemailOfADeadProcessIsWrittenDown: the file that a killed process has left is repaired, and its words are written down as
// a living call's are.
func TestVoicemailOfADeadProcessIsWrittenDown(t *testing.T) {
	t.Parallel()
	pool, dir := dbtest.Pool(t), t.TempDir()
	if _, err := pool.Exec(t.Context(), `insert into nodes (id, name) values ('test', 'test'); insert into contacts (name) values ('Rosa'); insert into queues (name) values ('Service');
		insert into conversations (id, contact_id, queue_id, channel, state) overriding system value values (1001, 1, 1, 'voice', 'waiting');
		insert into calls (conversation_id, direction, from_address, to_address, state, result) values (1001, 'in', '+49', '100', 'ended', 'lost');
		insert into recordings (call_id, conversation_id, node_id, place, kind, state) values (1, 1001, 'test', 'a.wav', 'voicemail', 'recording')`); err != nil {
		t.Fatal(err)
	}
	spoken := append(speechtest.Voice("my stove leaks", voicetest.Rate), speechtest.Silence(2, voicetest.Rate)...)
	spoken = append(spoken, speechtest.Voice("it is order seven", voicetest.Rate)...)
	wav := media.WAV{Rate: voicetest.Rate, Channels: 2}
	for _, s := range spoken {
		wav.Samples = append(wav.Samples, s, 0)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.wav"), wav.Encode()[:44+4*len(spoken)-3], 0o600); err != nil { // cut off in a sample
		t.Fatal(err)
	}
	h := newTalkHouse(t, func(cfg *Config) {
		recordsTo(t, cfg, pool, dir)
		cfg.Times.LateVoicemail = 50 * time.Millisecond // its news are the archive's, which has a bus of its own here
	})
	h.script(func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
		if _, err := pool.Exec(ctx, `update recordings set handed_at = now() where id = $1`, in.Voicemail.RecordingID); err != nil {
			return channels.Receipt{}, err
		}
		return h.keeps(in)
	})
	in := h.expect(testCtx(t), channels.VoicemailLeft)
	if v := in.Voicemail; in.Body != "my stove leaks it is order seven" || v.Unwritten != "" || !v.Cut || v.Empty != "" {
		t.Errorf("%q, %+v", in.Body, v)
	}
}

func TestEmptyMail(t *testing.T) {
	peaks := func(loud, quiet int) []byte {
		return append([]byte(strings.Repeat("\x20\x00", loud)), strings.Repeat("\x03\xff", quiet)...)
	}
	for _, c := range []struct {
		loud, quiet int
		want        string
	}{
		{0, 0, "nothing was said"}, {0, 100, "nothing was said"}, {7, 100, "hardly anything was said"}, {8, 0, ""}, {100, 20, ""},
	} {
		if got := emptyMail(peaks(c.loud, c.quiet)); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestNobodyHereOffersAMessage: who asks for a person outside hours hears so, also when their key was faster, and that a
// message can be left.
func TestNobodyHereOffersAMessage(t *testing.T) {
	t.Parallel()
	h, _, _ := mailHouse(t, nil)
	ctx := testCtx(t)
	c := h.waitingCall(ctx, voicetest.Invite{})
	h.must(ctx, channels.CallSignal{Type: "say", CallID: 1, Code: channels.CodeNobodyHere, Text: "Nobody is here right now. A person answers tomorrow by 11:00, Berlin time."})
	for _, prompt := range []string{promptNobodyHere, promptVoicemailOffer, promptMusic} {
		if prompt == promptMusic {
			hearsMusic(t, ctx, "then the music", phoneEar(t, ctx, c))
			continue
		}
		until(t, ctx, prompt, func() bool { return heardPrompt(t, c, prompt) })
	}
	c.RTP.Forget() // an overflow's words offer it as well
	h.must(ctx, channels.CallSignal{Type: "say", CallID: 1, Code: channels.CodeLonger, Text: "It takes longer than we like."})
	until(t, ctx, "the offer", func() bool { return heardPrompt(t, c, promptVoicemailOffer) })
}
