package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
	"patchbay/server/db/dbtest"
)

// recordedTalk brings a caller and an agent's browser together in a queue that records; both talk.
func (h *testHouse) recordedTalk(ctx context.Context, a *agentClient) *voicetest.Call {
	h.t.Helper()
	if _, err := h.pool.Exec(ctx, `update queues set record = true`); err != nil { // before the first call: nobody has read it yet
		h.t.Fatal(err)
	}
	phone := voicetest.NewPhone(h.t, "+4930777999", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	<-call.RTP.HeardSome()
	call.RTP.Press(ctx, '0')
	tab := a.picksUp(ctx, a.offer())
	a.await("that it is recorded", func(f frame) bool { return f.str("type") == "call" && f.sub("call").str("recording") == "on" })
	go call.RTP.Play(ctx, voicetest.ULaw(voiceOf(callerSeed)))
	go tab.Play(ctx, voicetest.ULaw(voiceOf(agentSeed)))
	return call
}

// sound gets a recording, or the part of it that wanted names.
func (a *agentClient) sound(id int64, wanted string) (*http.Response, []byte) {
	a.t.Helper()
	req, err := http.NewRequest("GET", fmt.Sprintf("%s/api/recordings/%d/sound", a.h.url, id), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if wanted != "" {
		req.Header.Set("Range", wanted)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp, b
}

// TestRecordingSurvivesAKilledServer: the server is killed under a recorded call. After the restart what was said until
// then can be heard, the timeline says so, and it is deleted for good by a supervisor.
func TestRecordingSurvivesAKilledServer(t *testing.T) {
	t.Parallel()
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, dbtest.URL(t), env...)
	h.start()
	h.keepPort()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	a := h.agent()
	h.recordedTalk(ctx, a)
	const talk = 13 * time.Second
	talked := time.NewTimer(talk)
	<-talked.C
	h.kill()
	h.start()
	h.eventually("the recording is recovered", `select exists (select from recordings where state = 'recovered')`)
	if s := one[float64](h, `select seconds::float8 from recordings`); s < (talk-2*time.Second).Seconds() || s > (talk+10*time.Second).Seconds() {
		t.Errorf("%.1f s are kept of %s", s, talk)
	}
	if l := one[string](h, `select body from messages where data->>'code' = 'recorded'`); len(l) < 20 || l[:17] != "Recording cut at " {
		t.Errorf("line %q", l)
	}

	a = h.signIn(h.link)
	var detail frame
	a.call("GET", "/api/recordings/1", nil, &detail)
	resp, whole := a.sound(1, "")
	sum := sha256.Sum256(whole)
	if resp.StatusCode != 200 || detail.str("sha256") != hex.EncodeToString(sum[:]) || detail.num("bytes") != int64(len(whole)) || resp.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(whole), detail.num("bytes"))
	}
	for wanted, part := range map[string][]byte{"bytes=44-1043": whole[44:1044], "bytes=1000-": whole[1000:], "bytes=-50": whole[len(whole)-50:]} {
		if resp, b := a.sound(1, wanted); resp.StatusCode != 206 || !bytes.Equal(b, part) {
			t.Errorf("%s: %d, %d bytes, %s", wanted, resp.StatusCode, len(b), resp.Header.Get("Content-Range"))
		}
	}
	if resp, _ := a.sound(1, fmt.Sprintf("bytes=%d-", len(whole)+9)); resp.StatusCode != 416 {
		t.Errorf("behind the end: %d", resp.StatusCode)
	}
	w, err := media.ReadWAV(whole)
	if err != nil || w.Missing != 0 || w.Channels != 2 {
		t.Fatalf("%+v, %v", w, err)
	}
	var left, right []int16
	for i := 0; i+1 < len(w.Samples); i += 2 {
		left, right = append(left, w.Samples[i]), append(right, w.Samples[i+1])
	}
	voicetest.Check(t, "left", left, voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))
	voicetest.Check(t, "right", right, voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))

	a.call("DELETE", "/api/recordings/1", nil, nil)
	h.eventually("the file is gone", `select state = 'deleted' and place = '' from recordings`)
	if resp, _ := a.sound(1, ""); resp.StatusCode != 404 {
		t.Errorf("played after its end: %d", resp.StatusCode)
	}
}

// TestWhoHearsRecordings: who had the conversation, and supervisors.
func TestWhoHearsRecordings(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	if _, err := h.pool.Exec(t.Context(), `insert into contacts (name) values ('Rosa');
		insert into conversations (contact_id, queue_id, channel, state) select 1, min(id), 'voice', 'closed' from queues;
		insert into calls (conversation_id, direction, from_address, to_address, state) values (1, 'in', '+49', '100', 'ended');
		insert into recordings (call_id, conversation_id, place, state) values (1, 1, 'x.wav', 'done')`); err != nil {
		t.Fatal(err)
	}
	bo := h.signIn(h.link)
	role := func(role string) {
		t.Helper()
		if _, err := h.pool.Exec(t.Context(), `update agents set role = $1`, role); err != nil {
			t.Fatal(err)
		}
	}
	role("agent")
	may := func(want int) {
		t.Helper()
		if status, body := bo.try("GET", "/api/recordings/1", nil); status != want {
			t.Errorf("%d %s, want %d", status, body, want)
		}
	}
	may(403)
	if resp, _ := bo.sound(1, ""); resp.StatusCode != 403 {
		t.Errorf("sound: %d", resp.StatusCode)
	}
	if status, _ := bo.try("DELETE", "/api/recordings/1", nil); status != 403 {
		t.Errorf("an agent deletes: %d", status)
	}
	for _, had := range []string{`update conversations set agent_id = $1`, `update calls set agent_id = $1`,
		`insert into offers (conversation_id, agent_id, expires_at, outcome) values (1, $1, now(), 'accepted')`} {
		if _, err := h.pool.Exec(t.Context(), had, bo.id); err != nil {
			t.Fatal(err)
		}
		may(200)
		if _, err := h.pool.Exec(t.Context(), `update conversations set agent_id = null; update calls set agent_id = null; delete from offers`); err != nil {
			t.Fatal(err)
		}
		may(403)
	}
	if status, _ := bo.try("GET", "/api/recordings/99", nil); status != 404 {
		t.Errorf("unknown: %d", status)
	}
	role("supervisor")
	may(200)
}
