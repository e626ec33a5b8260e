package main

import (
	"testing"

	"patchbay/llm/llmtest"
)

// TestBrowserAnswerTimes: a supervisor sees what the model does now, how long answers took, by stage and hour, and in the
// call doctor each turn of a call.
func TestBrowserAnswerTimes(t *testing.T) {
	model, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, env...)
	h.openShop(b, "nora", nil)
	b.visitor("nora", "write", "How much does the Skarv 2 tent weigh?")
	b.see("nora", "1.9 kg")
	h.eventually("the answer's times are stored", `select count(*) = 1 from answer_times where channel = 'chat' and outcome = 'model' and first_token_ms is not null and first_sentence_ms >= first_token_ms`)
	// a very long call: what the telephone stores, as it stores it
	exec := func(sql string) {
		t.Helper()
		if _, err := h.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into calls (conversation_id, direction, from_address, to_address, sip_call_id, node_id, state, media, result, started_at, ended_at)
		select id, 'in', '+49301', '100', 'past', (select id from nodes limit 1), 'ended', 'sip', 'completed', now() - interval '21 hours', now() from conversations`)
	exec(`insert into call_turns (call_id, seq, at, turn_end_ms, final_text_ms, stored_ms, first_token_ms, first_sentence_ms, first_audio_ms, own_ms, cut)
		select k.id, n, now() - n * interval '20 minutes', 350, 420 + n, 431 + n, 700 + 5 * n, 880 + 9 * n, 1010 + 12 * n, 30 + n, n = 3 from calls k, generate_series(1, 60) n`)

	h.openDesk(b, "ana", nil)
	b.click("ana", "link", "^Calls$")
	b.click("ana", "link", "Answer times")
	b.see("ana", model.Model)
	b.see("ana", "Voice to voice")
	b.see("ana", "60 answers")
	b.see("ana", "To the first sentence")
	b.see("ana", "1 answered")
	b.choose("ana", "Answers of the last", "7 days")
	b.see("ana", "60 answers")
	for _, theme := range []string{"light", "dark"} {
		b.do("evaluate", frame{"page": "ana", "js": `document.documentElement.dataset.theme = '` + theme + `'`})
		b.clean("ana")
		b.shot("ana", "times-"+theme)
	}
	b.click("ana", "link", "^Calls$")
	b.click("ana", "link", "From")
	b.see("ana", "Turns with the responder")
	b.see("ana", "interrupted")
	b.clean("ana")
	b.shot("ana", "times-call")
}
