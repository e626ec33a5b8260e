package llm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/llm/llmtest"
)

// aConversation is a conversation with figures: 2 poles, 19.90 EUR, NL-20418.
func aConversation() []channels.Message {
	heard := byContact("Please send it to Bergen, and call me a taxi on 2026-11-24")
	heard.Kind, heard.Private = channels.Transcript, true
	note := byAna("password 99887766")
	note.Kind, note.Private = channels.Note, true
	return numbered(byContact("Hello, order NL-20418: 2 poles are broken"), byAI("A pole costs 19.90 EUR.", "Spare parts"), heard, note, byAna("I will send them on Monday."))
}

func TestWrapup(t *testing.T) {
	h := newHouse(t, nil, llmtest.Oracle)
	d, err := h.Wrapup(t.Context(), aConversation())
	if err != nil || d.Text != "The customer wrote: Hello, order NL-20418: 2 poles are broken." || d.Disposition != "follow_up" || d.Model != h.srv.Model {
		t.Errorf("%+v, %v", d, err)
	}
	b, err := h.Brief(t.Context(), aConversation())
	if err != nil || b.Text != d.Text || b.Disposition != "" {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := h.Wrapup(t.Context(), numbered(event(channels.CodeWaiting, "key"))); reasonOf(err) != "empty" {
		t.Error(err)
	}
	quote, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quote.Wrapup(t.Context(), aConversation()); reasonOf(err) != "missing" {
		t.Error(err)
	}
}

func reasonOf(err error) string {
	var f *Failure
	if errors.As(err, &f) {
		return f.Reason
	}
	return ""
}

// Whatever the model does: a draft within the time whose figures all stand in the conversation, without links, markup and
// our instructions, or a Failure that says why.
func TestWrapupInEveryMood(t *testing.T) {
	h := newHouse(t, nil, llmtest.Oracle)
	known := sources{}
	known.add(retold(aConversation()))
	for _, mood := range llmtest.Moods {
		h.srv.SetMood(mood)
		start := time.Now()
		d, err := h.Wrapup(t.Context(), aConversation())
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %s", mood, took)
		}
		if err != nil {
			if reasonOf(err) == "" || d.Text != "" {
				t.Errorf("%s: %+v, %v", mood, d, err)
			}
			t.Logf("%s: %v", mood, err)
			continue
		}
		t.Logf("%s: %q %s", mood, d.Text, d.Disposition)
		if !bearable(d.Text, known, strings.ToLower(retold(aConversation()))) || strings.Contains(d.Text, "You help an agent") || strings.Contains(d.Text, "evil") || len([]rune(d.Text)) > draftRunes {
			t.Errorf("%s: %q", mood, d.Text)
		}
		if mood == llmtest.Liar || mood == llmtest.HTML {
			t.Errorf("%s: %q", mood, d.Text)
		}
	}
}

// The model is the customers' first: a draft begins only while nobody needs it, and the first turn cuts it off.
func TestDraftsYield(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Hang)
	written := make(chan error, 1)
	go func() {
		_, err := h.Wrapup(t.Context(), aConversation())
		written <- err
	}()
	if err := h.srv.Wait(t.Context(), "/api/chat", func(all []llmtest.Request) bool { return len(all) == 1 }); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Wrapup(t.Context(), aConversation()); reasonOf(err) != "busy" {
		t.Errorf("two drafts at once: %v", err)
	}
	h.srv.SetMood(llmtest.Oracle)
	if a := h.ask(t.Context(), "How much does the Skarv 2 weigh?"); a.err != nil || a.Mode != ModeModel {
		t.Errorf("%+v", a)
	}
	if err := <-written; reasonOf(err) != "busy" {
		t.Errorf("a draft went on beside a customer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Wrapup(ctx, aConversation()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
