package switchboard

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/llm"
	"patchbay/llm/llmtest"
)

// withModel gives the flow a scripted model and lets its loops run.
func (f *flow) withModel(mood llmtest.Mood) *llmtest.Server {
	f.t.Helper()
	srv := llmtest.New(f.t, mood)
	r, err := llm.New(llm.Config{Pool: f.Pool, Hosts: []llm.Host{{URL: srv.URL, Model: srv.Model}}, Total: 2 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	ran := make(chan error, 2)
	go func() { ran <- r.Run(ctx) }()
	f.Responder = func() *llm.Responder { return r }
	go func() { ran <- f.Run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ran; err != nil {
				f.t.Error(err)
			}
		}
	})
	for until := time.After(10 * time.Second); ; {
		f.loops.mu.Lock()
		running := f.loops.ctx != nil
		f.loops.mu.Unlock()
		if running {
			return srv
		}
		select {
		case <-until:
			f.t.Fatal("the flow does not run")
		case <-time.After(time.Millisecond):
		}
	}
}

// A model's summary stands below the card, marked with the model's name; more words of the customer keep it, and a new wait
// begins without it.
func TestSummaryBelowTheCard(t *testing.T) {
	f := newFlow(t)
	srv := f.withModel(llmtest.Oracle)
	told := make(chan channels.Event, 100)
	id := f.visitor("I want a human.")
	cancel, err := f.Bus.Subscribe(channels.ConversationSubject(id), func(_ string, data []byte) {
		if e := eventOf(data); e.Type == channels.EventCard {
			told <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	if err := f.summary(t.Context(), id); err != nil || f.card(id).Summary != nil {
		t.Errorf("one sentence is its own summary: %+v, %v", f.card(id).Summary, err)
	}
	f.says(id, "My stove leaks at the valve.")
	if err := f.Take(t.Context(), f.ana, id); err != nil {
		t.Fatal(err)
	}
	if err := f.Transfer(t.Context(), f.ana, id, channels.CallTarget{Kind: channels.TargetQueue, QueueID: f.QueueID}, ""); err != nil {
		t.Fatal(err)
	}
	c := f.card(id)
	for limit := time.After(20 * time.Second); c.Summary == nil; c = f.card(id) { // one that was begun before the transfer may be told first
		select {
		case <-told:
		case <-limit:
			t.Fatal("no summary")
		}
	}
	if c.Summary.Text != "The customer wrote: I want a human." || c.Summary.Model != srv.Model {
		t.Fatalf("%+v", c.Summary)
	}
	f.says(id, "And it is cold.")
	if c := f.card(id); c.Summary == nil || c.Find(channels.CardQuestion).Text != "“And it is cold.”" {
		t.Errorf("%+v", c)
	}
}

// The draft of a wrap-up: for who has the conversation, stored nowhere, and the truth when the model is dead.
func TestWrapUpDraft(t *testing.T) {
	f := newFlow(t)
	srv := f.withModel(llmtest.Oracle)
	id := f.visitor("I want a human, my stove leaks.")
	if err := f.Take(t.Context(), f.ana, id); err != nil {
		t.Fatal(err)
	}
	if err := f.End(t.Context(), f.ana, id); err != nil {
		t.Fatal(err)
	}
	draft := func() *channels.WrapUpDraft {
		t.Helper()
		d, err := f.WrapUpDraft(t.Context(), f.ana, id)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := f.lastSeq(id)
	if d := draft(); d.Summary != "The customer wrote: I want a human, my stove leaks." || d.Disposition != "follow_up" || d.Model != srv.Model || d.Why != "" {
		t.Errorf("%+v", d)
	}
	for mood, why := range map[llmtest.Mood]string{llmtest.Error500: "The model did not answer.", llmtest.Hang: "The model took too long.",
		llmtest.Liar: "What the model wrote did not stand in the conversation."} {
		srv.SetMood(mood)
		if d := draft(); d.Summary != "" || d.Disposition != "" || d.Why != why {
			t.Errorf("%s: %+v", mood, d)
		}
	}
	if after := f.lastSeq(id); after != before {
		t.Errorf("a draft was stored: %d messages, %d before", after, before)
	}
	if _, err := f.WrapUpDraft(t.Context(), f.bo, id); channels.CodeOf(err) != channels.Conflict {
		t.Errorf("a colleague's: %v", err)
	}
	if _, err := f.WrapUpDraft(t.Context(), f.ana, 4711); channels.CodeOf(err) != channels.NotFound {
		t.Error(err)
	}
}

func (f *flow) lastSeq(id int64) (seq int64) {
	f.t.Helper()
	if err := f.Pool.QueryRow(f.t.Context(), `select last_seq from conversations where id = $1`, id).Scan(&seq); err != nil {
		f.t.Fatal(err)
	}
	return seq
}

func eventOf(data []byte) (e channels.Event) {
	_ = json.Unmarshal(data, &e)
	return e
}
