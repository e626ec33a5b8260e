package report

import (
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/server/db/dbtest"
)

// TestStages: a call's turns and a chat's answers, taken apart; what is older than asked for does not count.
func TestStages(t *testing.T) {
	pool := dbtest.Pool(t)
	q := func(sql string, args ...any) (id int64) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), sql+" returning id", args...).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	at := time.Now().Add(-30 * time.Minute)
	queue := q(`insert into queues (name) values ('Service')`)
	contact := q(`insert into contacts (name) values ('Nora')`)
	conversation := q(`insert into conversations (contact_id, queue_id, channel) values ($1, $2, 'voice')`, contact, queue)
	if _, err := pool.Exec(t.Context(), `insert into nodes (id, name) values ('n', 'n')`); err != nil {
		t.Fatal(err)
	}
	call := q(`insert into calls (conversation_id, direction, from_address, to_address, sip_call_id, node_id, state, media) values ($1, 'in', 'a', 'b', 'c', 'n', 'ended', 'sip')`, conversation)
	for i := range 20 { // 100 ms to 2 s voice to voice
		q(`insert into call_turns (call_id, seq, at, turn_end_ms, final_text_ms, stored_ms, first_token_ms, first_sentence_ms, first_audio_ms, own_ms, cut)
			values ($1, $2, $3, 10, 20, 25, 40, 60, $4, 15, false)`, call, i, at, 100*(i+1))
	}
	q(`insert into call_turns (call_id, seq, at, turn_end_ms, final_text_ms, stored_ms, first_token_ms, first_sentence_ms, first_audio_ms, own_ms, cut)
		values ($1, 99, $2, 10, 20, 25, 40, 60, 90000, 15, true)`, call, at.Add(-48*time.Hour))
	for _, outcome := range []string{"model", "model", "quote"} {
		q(`insert into answer_times (conversation_id, channel, at, model, outcome, own_ms, waited_ms, first_token_ms, first_sentence_ms)
			values ($1, 'chat', $2, 'm', $3, 10, 200, 500, 800)`, conversation, at, outcome)
	}
	q(`insert into answer_times (conversation_id, channel, at, model, outcome, own_ms, waited_ms) values ($1, 'chat', $2, 'm', 'busy', 10, 0)`, conversation, at)

	list, err := Stages(t.Context(), pool, time.Now().Add(-24*time.Hour))
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	voice, chat := list[0], list[1]
	want := map[string][2]int{"turn_end": {10, 10}, "final_text": {10, 10}, "stored": {5, 5}, "first_token": {15, 15}, "first_sentence": {20, 20}, "first_audio": {990, 1845},
		"whole": {1050, 1905}, "own": {15, 15}}
	if voice.Channel != channels.Voice || voice.Turns != 20 || len(voice.Stages) != len(want) || voice.Stages[0].Stage != "turn_end" || voice.Stages[7].Stage != "own" {
		t.Errorf("%+v", voice)
	}
	for _, s := range voice.Stages {
		if got := [2]int{s.P50, s.P95}; got != want[s.Stage] {
			t.Errorf("%s: %v, want %v", s.Stage, got, want[s.Stage])
		}
	}
	if len(voice.Hours) != 1 || voice.Hours[0].Turns != 20 || voice.Hours[0].WholeP95 != 1905 || voice.Hours[0].OwnP95 != 15 {
		t.Errorf("%+v", voice.Hours)
	}
	if len(chat.Stages) != 5 || chat.Stages[2] != (Stage{"first_token", 290, 290}) || chat.Stages[4] != (Stage{"whole", 800, 800}) || chat.Turns != 3 {
		t.Errorf("%+v", chat)
	}
	if len(chat.Outcomes) != 3 || chat.Outcomes[0] != (StageOutcome{"model", 2}) {
		t.Errorf("%+v", chat.Outcomes)
	}
	turns, err := CallTurns(t.Context(), pool, call)
	if err != nil || len(turns) != 21 || !turns[0].Cut || turns[1].FirstAudio != 100 {
		t.Errorf("%d turns, %v", len(turns), err)
	}
}
