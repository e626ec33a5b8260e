package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// TestBrowserRecording: a call of a queue that records: the agent sees it, pauses for card data, and plays it afterwards
// in the timeline, by mouse and keys; where they were survives a reload.
func TestBrowserRecording(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, microphone(t))
	h := open(t, env...)
	if _, err := h.pool.Exec(t.Context(), `update queues set record = true`); err != nil {
		t.Fatal(err)
	}
	h.openDesk(b, "ana", frame{"raw": true})
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	phone := voicetest.NewPhone(t, "+4930111333", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	<-call.RTP.HeardSome()
	call.RTP.Press(ctx, '0')
	b.desk("ana", "acceptOffer")
	b.desk("ana", "waitForPhone", "call")
	go call.RTP.Play(ctx, voicetest.ULaw(voiceOf(callerSeed)))
	wait := func(d time.Duration) { <-time.NewTimer(d).C } // a recording takes its time
	b.see("ana", "Recorded")
	b.shot("ana", "recording-on")
	wait(5 * time.Second)
	b.click("ana", "button", "Pause for card data")
	b.see("ana", "Paused for card data")
	b.shot("ana", "recording-paused")
	wait(2 * time.Second)
	b.do("evaluate", frame{"page": "ana", "js": `document.querySelector('.pad.rec').click()`})
	wait(4 * time.Second)
	if err := call.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.eventually("the recording is done", `select exists (select from recordings where state = 'done')`)
	const player = `document.querySelector('.callplay')`
	b.do("until", frame{"page": "ana", "js": player + ` && ` + player + `.querySelectorAll('.wave path').length === 4`})
	b.see("ana", "The call was recorded")
	b.clean("ana")
	b.shot("ana", "recording-done")
	b.click("ana", "button", "Play the recording")
	const audio = `document.querySelector('.callplay audio')`
	b.do("until", frame{"page": "ana", "js": audio + `.currentTime > 1.5 && !` + audio + `.paused`})
	b.click("ana", "button", "Speed 1, next 1.5")
	b.do("until", frame{"page": "ana", "js": audio + `.playbackRate === 1.5`})
	b.shot("ana", "recording-playing")
	b.click("ana", "button", "Pause")
	b.do("until", frame{"page": "ana", "js": audio + `.paused`})
	b.do("evaluate", frame{"page": "ana", "js": `(() => { const r = document.querySelector('.callplay input'); r.focus(); window.__was = document.querySelector(".callplay audio").currentTime;
		r.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true, cancelable: true })) })()`})
	b.do("until", frame{"page": "ana", "js": `Math.abs(` + audio + `.currentTime - window.__was - 5) < 0.3`})
	var position string
	if err := json.Unmarshal(b.do("evaluate", frame{"page": "ana", "js": `document.querySelector('.callplay input').getAttribute('aria-valuetext')`}), &position); err != nil || !strings.Contains(position, " of 0:1") {
		t.Errorf("position %q, %v", position, err)
	}
	b.do("reload", frame{"page": "ana"})
	b.do("until", frame{"page": "ana", "js": `document.querySelector('.callplay input')?.getAttribute('aria-valuetext') === ` + string(must(json.Marshal(position)))})
	b.shot("ana", "recording-reloaded")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
