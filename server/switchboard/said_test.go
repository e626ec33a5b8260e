package switchboard

import (
	"testing"
	"time"

	"patchbay/channels"
)

// talks is a caller who has said these words to the responder.
func (f *flow) talks(words string) (conversation, call, seq int64) {
	f.t.Helper()
	f.visitors++
	r := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+49301110" + string(rune('0'+f.visitors))},
		To: "100", SIPCallID: f.t.Name() + string(rune('0'+f.visitors))})
	w := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Body: words})
	return r.ConversationID, r.CallID, w.Message.Seq
}

func (f *flow) saysTo(id, call, seq int64, text string, s channels.Spoken) {
	f.t.Helper()
	s.To = seq
	f.receive(channels.Inbound{Type: channels.Said, Channel: channels.Voice, ConversationID: id, CallID: call, Body: text, Spoken: &s})
}

// newest is the newest thing said or written.
func (f *flow) newest(id int64) (m channels.Message) {
	f.t.Helper()
	all, err := channels.History(f.t.Context(), f.Pool, id, 0, 50)
	f.ok(err)
	for _, x := range all {
		if x.Kind == channels.Text {
			m = x
		}
	}
	return m
}

// TestSaid: the timeline holds what was heard of an answer, and only that settles the caller's words.
func TestSaid(t *testing.T) {
	f := newFlow(t)
	id, call, seq := f.talks("what are your hours")
	c, err := channels.Get(t.Context(), f.Pool, id)
	f.ok(err)
	if c.AnsweredSeq >= seq {
		t.Fatal("settled before a word was heard")
	}
	end := channels.Ending{Mode: "model", Sources: []channels.Source{{Title: "Hours"}}}
	f.saysTo(id, call, seq, "From nine to", channels.Spoken{Cut: true, Ending: end, Times: &channels.TurnTimes{At: time.Now(), TurnEnd: 350, FirstAudio: 700, Own: 40}})
	m := f.newest(id)
	if m.Body != "From nine to" || m.Author != channels.ByAI || !m.Data.Cut || m.Data.CallID != call || len(m.Data.Sources) != 1 || m.Channel != channels.Voice {
		t.Errorf("stored %+v", m)
	}
	c, err = channels.Get(t.Context(), f.Pool, id)
	f.ok(err)
	if c.AnsweredSeq != seq || c.BotTurns != 1 || c.State != channels.Bot {
		t.Errorf("conversation %+v", c)
	}
	var own, firstAudio int
	f.ok(f.Pool.QueryRow(t.Context(), `select own_ms, first_audio_ms from call_turns where call_id = $1 and seq = $2`, call, m.Seq).Scan(&own, &firstAudio))
	if own != 40 || firstAudio != 700 {
		t.Errorf("own %d, first audio %d", own, firstAudio)
	}
}

// TestSaidAfterTheCallerWentOn: what was heard stays, but it settles no words that came later.
func TestSaidAfterTheCallerWentOn(t *testing.T) {
	f := newFlow(t)
	id, call, seq := f.talks("what are your hours")
	f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Voice, ConversationID: id, CallID: call, Body: "and on sunday"})
	f.saysTo(id, call, seq, "From nine", channels.Spoken{Cut: true})
	c, err := channels.Get(t.Context(), f.Pool, id)
	f.ok(err)
	if c.AnsweredSeq >= seq || f.newest(id).Body != "From nine" {
		t.Errorf("conversation %+v", c)
	}
}

// TestSaidHandsOver: the answer's own hand-over, two unknown answers and the turn cap get a person, as in a chat; a wish
// that came while it was said is not undone by it.
func TestSaidHandsOver(t *testing.T) {
	f := newFlow(t)
	id, call, seq := f.talks("book me a table")
	f.saysTo(id, call, seq, "I will get a colleague.", channels.Spoken{Ending: channels.Ending{HandOver: true}})
	f.state(id, channels.Waiting)
	if f.promises(id, "") != 1 {
		t.Error("no promise")
	}

	id, call, seq = f.talks("what is the meaning of it")
	f.saysTo(id, call, seq, "I don't know. Shall I get a person?", channels.Spoken{Ending: channels.Ending{Unknown: true}})
	f.state(id, channels.Bot)
	w := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Voice, ConversationID: id, CallID: call, Body: "yes please"})
	if w.State != channels.Waiting {
		t.Errorf("yes to the offer: %s", w.State)
	}
	f.saysTo(id, call, w.Message.Seq, "Still", channels.Spoken{Cut: true})
	f.state(id, channels.Waiting)
	if f.newest(id).Body != "Still" {
		t.Error("what was heard is lost")
	}
}

// TestTalksOnInLine: the wish itself is a person's to answer, by word or key; what the caller says after it, in line, the
// responder may answer, and that ends neither the wish nor the wait.
func TestTalksOnInLine(t *testing.T) {
	f := newFlow(t)
	claims := func(id int64) int64 {
		t.Helper()
		tag, err := f.Pool.Exec(t.Context(), claimSQL, id, f.NodeID)
		f.ok(err)
		return tag.RowsAffected()
	}
	id, call, _ := f.talks("what are your hours")
	if claims(id) != 1 {
		t.Error("the question is not answered")
	}
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: id, CallID: call, Source: "key"})
	f.state(id, channels.Waiting)
	if claims(id) != 0 {
		t.Error("an answer goes on after the wish")
	}
	r := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Voice, ConversationID: id, CallID: call, Body: "do you have tents"})
	if r.State != channels.Waiting || claims(id) != 1 {
		t.Errorf("state %s; who waits is not answered", r.State)
	}
	f.saysTo(id, call, r.Message.Seq, "We have many.", channels.Spoken{Ending: channels.Ending{HandOver: true}})
	f.state(id, channels.Waiting)
	if claims(id) != 0 || f.promises(id, "") != 1 || f.newest(id).Body != "We have many." {
		t.Error("the wait has changed")
	}
	f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Voice, ConversationID: id, CallID: call, Body: "i want to talk to a person"})
	if claims(id) != 0 {
		t.Error("a second wish is put to the model")
	}
}
