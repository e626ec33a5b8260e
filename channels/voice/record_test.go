package voice

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/archive"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

// recordingHouse is a house whose one queue records, with rows for its first call.
func recordingHouse(t *testing.T, change func(*Config)) (*house, *pgxpool.Pool, string) {
	t.Helper()
	pool, dir := dbtest.Pool(t), t.TempDir()
	_, err := pool.Exec(t.Context(), `
		insert into nodes (id, name) values ('test', 'test');
		insert into queues (name, record) values ('Service', true);
		insert into contacts (name) values ('Rosa');
		insert into conversations (id, contact_id, queue_id, channel, state) overriding system value values (1001, 1, 1, 'voice', 'bot');
		insert into calls (conversation_id, direction, from_address, to_address) values (1001, 'in', '+49', '100')`)
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(cfg *Config) {
		recordsTo(t, cfg, pool, dir)
		if change != nil {
			change(cfg)
		}
	})
	return h, pool, dir
}

// recordsTo has a house record.
func recordsTo(t *testing.T, cfg *Config, pool *pgxpool.Pool, dir string) {
	cfg.Pool, cfg.Archive = pool, runArchive(t, archive.Config{Dir: dir, Pool: pool, NodeID: "test", NodeName: "test", Log: cfg.Log, Reserve: 1})
}

// runArchive runs an archive that outlives the telephone.
func runArchive(t *testing.T, cfg archive.Config) *archive.Archive {
	t.Helper()
	own, err := bus.Open(context.Background(), "", cfg.Log) // the house's is closed before this
	if err != nil {
		t.Fatal(err)
	}
	cfg.Bus = own
	a, err := archive.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

type recordedRow struct {
	state, place, marks, line string
	seconds                   float64
	peaks                     int
}

// recordedCall waits until the call's recording has ended.
func recordedCall(t *testing.T, ctx context.Context, pool *pgxpool.Pool) (r recordedRow) {
	t.Helper()
	until(t, ctx, "the recording is done", func() bool {
		err := pool.QueryRow(ctx, `select state, place, marks::text, seconds, length(peaks),
			coalesce((select string_agg(body, '|' order by seq) from messages where data->>'code' = 'recorded'), '') from recordings`).
			Scan(&r.state, &r.place, &r.marks, &r.seconds, &r.peaks, &r.line)
		return err == nil && r.state != "recording"
	})
	return r
}

// sides reads a recording's left and right.
func sides(t *testing.T, path string) (left, right []int16) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := media.ReadWAV(b)
	if err != nil {
		t.Fatal(err)
	}
	if w.Channels != 2 || w.Rate != 8000 || w.Missing != 0 {
		t.Fatalf("%d channels, %d Hz, %d bytes missing", w.Channels, w.Rate, w.Missing)
	}
	for i := 0; i+1 < len(w.Samples); i += 2 {
		left, right = append(left, w.Samples[i]), append(right, w.Samples[i+1])
	}
	return left, right
}

// TestRecordedCall: caller on the left, who speaks to them on the right, through hold, pause, consultation and transfer.
func TestRecordedCall(t *testing.T) {
	t.Parallel()
	var given atomic.Int64
	h, pool, dir := recordingHouse(t, colleagues(&given))
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	news := h.agentFrames(7)
	c := h.waitingCall(ctx, voicetest.Invite{})
	announcement := len(promptSamples(t, promptWaiting)) + len(promptSamples(t, promptRecorded))
	until(t, ctx, "the caller is told", func() bool { return len(c.RTP.Heard()) > announcement })
	const long = 60 * time.Second
	speech := map[string][]int16{}
	for i, who := range []string{"caller", "agent", "colleague"} {
		speech[who] = voicetest.Speech(uint64(41+i), long, voicetest.Rate)
	}
	a := h.join(ctx, 1, 7)
	frame(t, ctx, news, "recorded", func(n callNews) bool { return n.Recording == "on" })
	begun := time.Now()
	phase := func(d time.Duration) (from, to time.Duration) {
		from = time.Since(begun)
		waitChan(t, ctx, time.After(d), "")
		return from, time.Since(begun)
	}
	go c.RTP.Play(ctx, voicetest.ULaw(speech["caller"]))
	go a.Play(ctx, voicetest.ULaw(speech["agent"]))
	spoken := time.Since(begun)
	_, talked := phase(10 * time.Second)

	act := func(sig channels.CallSignal) {
		t.Helper()
		sig.CallID, sig.AgentID = 1, 7
		h.must(ctx, sig)
	}
	act(channels.CallSignal{Type: "hold", On: true})
	held, unheld := phase(2 * time.Second)
	act(channels.CallSignal{Type: "hold"})
	phase(time.Second)
	act(channels.CallSignal{Type: "record"})
	frame(t, ctx, news, "paused", func(n callNews) bool { return n.Recording == "paused" })
	paused, _ := phase(2 * time.Second)
	act(channels.CallSignal{Type: "record", On: true})
	frame(t, ctx, news, "recorded again", func(n callNews) bool { return n.Recording == "on" })

	act(channels.CallSignal{Type: "consult", Target: &channels.CallTarget{Kind: "agent", AgentID: 9}})
	b := h.connect(ctx, 1, 9)
	go b.Play(ctx, voicetest.ULaw(speech["colleague"]))
	frame(t, ctx, news, "the colleague talks", func(n callNews) bool { return n.Third != nil && n.Third.State == "talking" })
	consulted, joined := phase(2 * time.Second)
	act(channels.CallSignal{Type: "complete"})
	passed, _ := phase(10 * time.Second)
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}

	row := recordedCall(t, ctx, pool)
	t.Logf("%+v", row)
	if row.state != "done" || !strings.Contains(row.line, "The call was recorded, 0:") || !strings.Contains(row.line, "The caller was told.") {
		t.Errorf("%+v", row)
	}
	if want := int(row.seconds*20) * 2; row.peaks < want || row.peaks > want+2 {
		t.Errorf("%d bytes of waveform for %.2f s", row.peaks, row.seconds)
	}
	var marks []media.Mark
	if err := json.Unmarshal([]byte(row.marks), &marks); err != nil || len(marks) != 2 || marks[0].What != "paused" || marks[1].What != "resumed" {
		t.Fatalf("marks %s, %v", row.marks, err)
	}
	left, right := sides(t, filepath.Join(dir, row.place))
	cut := func(side []int16, from, to time.Duration) []int16 {
		at := func(d time.Duration) int { return min(int(d.Seconds()*voicetest.Rate), len(side)) }
		return side[at(from):at(to)]
	}
	voicetest.Check(t, "left, talking", cut(left, 0, talked), speech["caller"], speech["agent"], speech["colleague"])
	voicetest.Check(t, "right, talking", cut(right, 0, talked), speech["agent"], speech["caller"], speech["colleague"])
	voicetest.Check(t, "left, passed on", cut(left, passed, long), speech["caller"], speech["agent"], speech["colleague"])
	voicetest.Check(t, "right, passed on", cut(right, passed, long), speech["colleague"], speech["caller"], speech["agent"])
	const edge = 300 * time.Millisecond
	voicetest.CheckSilent(t, "right, on hold", cut(right, held+edge, unheld-edge))
	voicetest.CheckSilent(t, "right, in the consultation", cut(right, consulted+edge, joined-edge))
	// The recording's own marks: our clock begins when the news has come, some 10 ms after the recorder's, more on a busy machine.
	pausedAt, resumedAt := time.Duration(marks[0].At*float64(time.Second)), time.Duration(marks[1].At*float64(time.Second))
	if off := pausedAt - paused; off < -2*time.Second || off > 2*time.Second {
		t.Errorf("paused at %v by our clock and at %v in the recording", paused, pausedAt)
	}
	voicetest.CheckSilent(t, "left, paused", cut(left, pausedAt, resumedAt))
	voicetest.CheckSilent(t, "right, paused", cut(right, pausedAt, resumedAt))
	if rms := voicetest.RMS(cut(left, held, unheld)); rms < 100 {
		t.Errorf("left, on hold: level %.0f; the caller goes on", rms)
	}
	// both began to speak at the same time: they lie beside each other, before and after all that
	lag := func(side []int16, who string, from, to time.Duration) int {
		_, lag := voicetest.Score(voicetest.Envelope(speech[who], voicetest.Rate), voicetest.Envelope(cut(side, from, to), voicetest.Rate))
		return lag
	}
	l, r := lag(left, "caller", 0, talked), lag(right, "agent", 0, talked)
	if l-r < -3 || l-r > 3 {
		t.Errorf("caller and agent are %d frames apart (spoken from %s on)", l-r, spoken)
	}
}

// TestRecordingIsAnnounced: nobody hears the caller before they were told; an agent who is quicker waits for the words.
func TestRecordingIsAnnounced(t *testing.T) {
	t.Parallel()
	for _, announce := range []bool{true, false} {
		t.Run(fmt.Sprint(announce), func(t *testing.T) {
			t.Parallel()
			h, pool, _ := recordingHouse(t, nil)
			ctx := testCtx(t)
			if _, err := pool.Exec(ctx, `update queues set record_announce = $1`, announce); err != nil {
				t.Fatal(err)
			}
			c := h.waitingCall(ctx, voicetest.Invite{}) // "We are getting a person" is being said
			c.RTP.Forget()
			h.join(ctx, 1, 7)
			heard := said(t, c.RTP)
			h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
			row := recordedCall(t, ctx, pool)
			score := likeness(heard, promptSamples(t, promptRecorded))
			t.Logf("likeness %.2f in %d samples", score, len(heard))
			if told := score > 0.9; told != announce || strings.Contains(row.line, "told") != announce {
				t.Errorf("told: %v, line %q", told, row.line)
			}
		})
	}
}

// likeness is the best correlation of words with any piece of what was said.
func likeness(heard, words []int16) (best float64) {
	for from := 0; from+len(words) <= len(heard); from++ {
		var product, a, b float64
		for i, w := range words {
			x, y := float64(w), float64(heard[from+i])
			product, a, b = product+x*y, a+x*x, b+y*y
		}
		best = max(best, product/math.Sqrt(a*b+1))
	}
	return best
}

// TestQueueSounds: a queue's own greeting and music; a change reaches the next call.
func TestQueueSounds(t *testing.T) {
	t.Parallel()
	h, pool, _ := recordingHouse(t, nil)
	ctx := testCtx(t)
	pcm := func(hz float64) []byte {
		var b []byte
		for _, s := range voicetest.Sine(hz, 2*time.Second, voicetest.Rate) {
			b = append(b, byte(s), byte(uint16(s)>>8))
		}
		return b
	}
	hears := func(what string, c *voicetest.Call, hz float64) {
		t.Helper()
		hearsOnly(t, ctx, what, phoneEar(t, ctx, c), hz)
	}
	set := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
		if err := h.bus.Publish(channels.TrunkSubject, nil); err != nil {
			t.Fatal(err)
		}
	}
	set(`insert into prompts (name, kind, sound, seconds) values ('hello', 'greeting', $1, 2), ('song', 'music', $2, 2)`, pcm(callerTone), pcm(agentTone))
	set(`update queues set greeting_id = 1, music_id = 2, record = false`)
	first := h.dial(ctx, voicetest.Invite{})
	hears("greeting", first, callerTone)
	first.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	hears("music in line", first, agentTone)
	set(`update queues set greeting_id = null`)
	set(`insert into conversations (id, contact_id, queue_id, channel, state) overriding system value values (1002, 1, 1, 'voice', 'bot')`)
	until(t, ctx, "settings forgotten", func() bool {
		h.voice.sounds.mu.Lock()
		defer h.voice.sounds.mu.Unlock()
		return len(h.voice.sounds.byQueue) == 0
	})
	second := h.dial(ctx, voicetest.Invite{})
	hearsMusic(t, ctx, "the house's greeting", phoneEar(t, ctx, second))
}

// TestRecordingRefused: a disk that refuses costs the recording, with an alarm, never the call.
func TestRecordingRefused(t *testing.T) {
	t.Parallel()
	h, pool, dir := recordingHouse(t, func(cfg *Config) { cfg.Times.Retry = time.Millisecond })
	ctx := testCtx(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder was: also root cannot write below it
		t.Fatal(err)
	}
	c, b := h.bridgedCall(ctx, voicetest.Invite{})
	row := recordedCall(t, ctx, pool)
	if row.state != "failed" || !strings.Contains(row.line, "This call is not recorded: the disk has failed. The call goes on.") {
		t.Errorf("%+v", row)
	}
	go c.RTP.Play(ctx, tone(callerTone))
	hearsOnly(t, ctx, "agent", tabEar(ctx, b), callerTone)
	if r, err := h.command(ctx, channels.CallSignal{Type: "record", CallID: 1, AgentID: 7}); err != nil || r.Error == nil || r.Error.Code != channels.Conflict {
		t.Errorf("pause of what is not recorded: %+v, %v", r, err)
	}
}

// TestAnotherQueue: a call that is passed on to another queue has that queue's settings: its recording and its music.
func TestAnotherQueue(t *testing.T) {
	t.Parallel()
	h, pool, _ := recordingHouse(t, nil)
	ctx := testCtx(t)
	var song []byte
	for _, s := range voicetest.Sine(supervisorTone, 2*time.Second, voicetest.Rate) {
		song = append(song, byte(s), byte(uint16(s)>>8))
	}
	if _, err := pool.Exec(ctx, `insert into prompts (name, kind, sound, seconds) values ('song', 'music', $1, 2)`, song); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `insert into queues (name, music_id) values ('Quiet', 1)`); err != nil {
		t.Fatal(err)
	}
	c := h.waitingCall(ctx, voicetest.Invite{})
	h.join(ctx, 1, 7)
	until(t, ctx, "recorded", func() bool {
		var n int
		return pool.QueryRow(ctx, `select count(*) from recordings where state = 'recording'`).Scan(&n) == nil && n == 1
	})
	pass := func(queue, agent int64) {
		t.Helper()
		if _, err := pool.Exec(ctx, `update conversations set queue_id = $1 where id = 1001`, queue); err != nil {
			t.Fatal(err)
		}
		h.must(ctx, channels.CallSignal{Type: "release", CallID: 1, AgentID: agent})
	}
	pass(2, 7)
	if r := recordedCall(t, ctx, pool); r.state != "done" {
		t.Errorf("the recording is %s in a queue that wants none", r.state)
	}
	hearsOnly(t, ctx, "in line there", phoneEar(t, ctx, c), supervisorTone)
	h.join(ctx, 1, 8)
	pass(1, 8)
	h.join(ctx, 1, 7)
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	until(t, ctx, "both recordings are done", func() bool {
		var n int
		return pool.QueryRow(ctx, `select count(*) from recordings where state = 'done'`).Scan(&n) == nil && n == 2
	})
}
