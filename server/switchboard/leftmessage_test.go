package switchboard

import (
	"testing"

	"patchbay/channels"
)

// withMail gives the flow a mailbox that writes down what is sent.
func withMail(t *testing.T) (*flow, *record) {
	f, mail := newFlow(t), &record{}
	f.Channels[channels.Email] = mail
	return f, mail
}

// whole reads all of a conversation.
func (f *flow) whole(id int64) *channels.Conversation {
	f.t.Helper()
	c, err := channels.Get(f.t.Context(), f.Pool, id)
	if err != nil || c == nil {
		f.t.Fatalf("conversation %d: %v", id, err)
	}
	return c
}

func (f *flow) leaves(id int64, body, to, clientID string) error {
	_, err := f.Receive(f.t.Context(), channels.Inbound{Type: channels.MessageLeft, Channel: channels.Chat, ConversationID: id, Body: body, ReplyTo: to, ClientID: clientID})
	return err
}

// TestMessageByMail: who leaves a message keeps place and promise, is answered by mail, also when they add to it or close the
// page, and the promise is kept by the answer and by nothing else.
func TestMessageByMail(t *testing.T) {
	f, mail := withMail(t)
	id := f.visitor("My stove leaks. I want to talk to a person!")
	before := f.whole(id)
	f.ok(f.leaves(id, "Order 4711.", "Ole@Customer.test", "left-0001"))
	f.ok(f.leaves(id, "Order 4711.", "Ole@Customer.test", "left-0001")) // sent twice
	c := f.whole(id)
	if c.State != channels.Waiting || !c.WaitingSince.Equal(*before.WaitingSince) || c.Channel != channels.Email || c.LeftMessage != channels.ByMail || c.ReplyTo != "ole@customer.test" {
		t.Errorf("%+v", c)
	}
	if n := f.promises(id, ""); n != 1 {
		t.Errorf("%d open promises", n)
	}
	var words, notices int
	if err := f.Pool.QueryRow(t.Context(), `select count(*) filter (where body = 'Order 4711.'), count(*) filter (where data->>'code' = 'message_left' and channel = 'chat' and not private)
		from messages where conversation_id = $1`, id).Scan(&words, &notices); err != nil || words != 1 || notices != 1 {
		t.Errorf("stored %d times, told %d times (%v)", words, notices, err)
	}
	if len(mail.done) != 0 {
		t.Errorf("mailed before a person has answered: %v", mail.done)
	}

	f.says(id, "And the valve is loose.")
	f.receive(channels.Inbound{Type: channels.Left, Channel: channels.Chat, ConversationID: id})
	if c = f.whole(id); c.State != channels.Waiting || c.Channel != channels.Email || f.promises(id, "") != 1 {
		t.Errorf("after the page was closed: %+v", c)
	}

	f.ok(f.Take(t.Context(), f.ana, id))
	if f.promises(id, "") != 1 || f.whole(id).LeftMessage != channels.ByMail {
		t.Error("taking it is no answer")
	}
	m, err := f.Reply(t.Context(), f.ana, id, "client-0001", "We send you a valve.", false)
	f.ok(err)
	if m.Channel != channels.Email || mail.has("send ") != 1 {
		t.Errorf("answered by %s, mailed %v", m.Channel, mail.done)
	}
	if f.promises(id, "agent") != 1 || f.whole(id).LeftMessage != "" {
		t.Error("the promise is not kept")
	}

	// the address was a claim; a mail from it, that could only come by our answer, proves it
	f.address(id, 0)
	f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, ConversationID: id, From: channels.Address{Kind: channels.Mail, Value: "ole@customer.test"}, Body: "Thank you!"})
	f.address(id, 1)
}

// address demands how many mail addresses the contact has.
func (f *flow) address(id int64, want int) {
	f.t.Helper()
	var n int
	if err := f.Pool.QueryRow(f.t.Context(), `select count(*) from addresses a join conversations c on c.contact_id = a.contact_id where c.id = $1 and a.kind = 'email'`, id).Scan(&n); err != nil || n != want {
		f.t.Errorf("%d mail addresses, want %d (%v)", n, want, err)
	}
}

// TestMessageWithoutAWish: a message is a wish: it opens the promise, from wherever the conversation stands.
func TestMessageWithoutAWish(t *testing.T) {
	f, _ := withMail(t)
	r := f.receive(channels.Inbound{Type: channels.MessageLeft, Channel: channels.Chat, From: channels.Address{Kind: channels.Visitor, Value: "new"}, Body: "Call me Ole.", ReplyTo: "ole@customer.test"})
	f.state(r.ConversationID, channels.Waiting)
	answered := f.visitor("What does a tent cost?")
	f.ok(f.leaves(answered, "", "ole@customer.test", "left-0001")) // what was said is the message
	f.state(answered, channels.Waiting)
	for _, id := range []int64{r.ConversationID, answered} {
		if n := f.promises(id, ""); n != 1 {
			t.Errorf("conversation %d: %d open promises", id, n)
		}
	}
}

// TestMessageRefused: bad input is told with its field, and changes nothing.
func TestMessageRefused(t *testing.T) {
	f, _ := withMail(t)
	id := f.visitor("What does a tent cost?")
	f.refused(f.leaves(id, "Hello", "not an address", "left-0001"), channels.Invalid)
	fresh := channels.Inbound{Type: channels.MessageLeft, Channel: channels.Chat, From: channels.Address{Kind: channels.Visitor, Value: "new"}, ReplyTo: "ole@customer.test", Body: " "}
	_, err := f.Receive(t.Context(), fresh)
	f.refused(err, channels.Invalid)
	delete(f.Channels, channels.Email)
	f.refused(f.leaves(id, "Hello", "ole@customer.test", "left-0001"), channels.Unavailable)
	f.state(id, channels.Bot)
	var n int
	if err := f.Pool.QueryRow(t.Context(), `select (select count(*) from conversations) + (select count(*) from promises)`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, want the one conversation (%v)", n, err)
	}
}

// voicemailer is a call in line, with a recording of its voicemail.
func (f *flow) voicemailer() (id, call, recording int64) {
	f.t.Helper()
	r := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+4930777888"}, To: "100", SIPCallID: "sip-1"})
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Source: "key"})
	if err := f.Pool.QueryRow(f.t.Context(), `insert into recordings (call_id, conversation_id, node_id, place, kind, state) values ($1, $2, 'node-1', 'x.wav', 'voicemail', 'done') returning id`,
		r.CallID, r.ConversationID).Scan(&recording); err != nil {
		f.t.Fatal(err)
	}
	return r.ConversationID, r.CallID, recording
}

func spokenMail(id, call, recording int64, empty string) channels.Inbound {
	return channels.Inbound{Type: channels.VoicemailLeft, Channel: channels.Voice, ConversationID: id, CallID: call, Body: "my stove leaks",
		Voicemail: &channels.SpokenMail{RecordingID: recording, Seconds: 7.6, Empty: empty}}
}

// TestVoicemailIsOwed: after a voicemail the caller goes and the conversation stays in line, promise and place with it; the
// first word of a person keeps the promise.
func TestVoicemailIsOwed(t *testing.T) {
	f, mail := withMail(t)
	id, call, recording := f.voicemailer()
	before := f.whole(id)
	if r := f.receive(spokenMail(id, call, recording, "")); r.Message == nil || r.Message.Kind != channels.Voicemail || r.Message.Data.RecordingID != recording || r.Message.Data.Seconds != 8 {
		t.Errorf("%+v", r.Message)
	}
	if r := f.receive(spokenMail(id, call, recording, "")); !r.Duplicate { // the call and the repair after a crash may both know of it
		t.Error("stored twice")
	}
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: call, Result: "completed", Reason: "voicemail left"})
	c := f.whole(id)
	if c.State != channels.Waiting || c.LeftMessage != channels.ByVoicemail || !c.WaitingSince.Equal(*before.WaitingSince) || c.LastWords != "Voicemail: my stove leaks" || f.promises(id, "") != 1 {
		t.Errorf("%+v, %d promises", c, f.promises(id, ""))
	}

	// calls again and hangs up: the voicemail is owed all the same
	again := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+4930777888"}, To: "100", SIPCallID: "sip-2"})
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: again.CallID, Result: "abandoned"})
	if again.ConversationID != id || f.promises(id, "") != 1 {
		t.Errorf("called again: conversation %d, %d promises", again.ConversationID, f.promises(id, ""))
	}

	f.ok(f.Take(t.Context(), f.ana, id))
	_, err := f.Reply(t.Context(), f.ana, id, "client-0001", "We send you a valve.", false)
	f.refused(err, channels.Invalid) // there is nowhere to write to
	if err := f.AddAddress(t.Context(), f.ana, c.ContactID, channels.Address{Kind: channels.Mail, Value: "ole@customer.test"}); err != nil {
		t.Fatal(err)
	}
	m, err := f.Reply(t.Context(), f.ana, id, "client-0002", "We send you a valve.", false)
	f.ok(err)
	if m.Channel != channels.Email || mail.has("send ") != 1 || f.promises(id, "agent") != 1 || f.whole(id).LeftMessage != "" {
		t.Errorf("answered by %s, mailed %v, %d promises kept", m.Channel, mail.done, f.promises(id, "agent"))
	}
}

// TestEmptyVoicemail: what is not kept is said, and the caller who hangs up then has left the line, as any other.
func TestEmptyVoicemail(t *testing.T) {
	f, _ := withMail(t)
	id, call, recording := f.voicemailer()
	if r := f.receive(spokenMail(id, call, recording, "nothing was said")); r.Message != nil {
		t.Errorf("%+v", r.Message)
	}
	if f.promises(id, "") != 1 || f.whole(id).LeftMessage != "" {
		t.Error("the promise does not stand")
	}
	var line string
	if err := f.Pool.QueryRow(t.Context(), `select body from messages where conversation_id = $1 and data->>'code' = 'no_message'`, id).Scan(&line); err != nil || line != "No voicemail was kept: nothing was said." {
		t.Errorf("%q, %v", line, err)
	}
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: call, Result: "abandoned"})
	f.state(id, channels.Closed)
}

// TestVoicemailThatTheDiskRefuses: who has spoken into a disk that refuses is owed an answer though there is nothing to be heard,
// also after they hang up, and there is one alarm. Where it was not even begun, and the caller has heard so, nothing is left.
func TestVoicemailThatTheDiskRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoken, part bool
		words        string
		left         channels.State
	}{
		"not begun":   {false, false, "A voicemail could not be kept: the disk is full.", channels.Closed},
		"lost":        {true, false, "A voicemail could not be kept: the disk is full.", channels.Waiting},
		"cut in half": {true, true, "A voicemail was cut after 7 seconds: the disk is full.", channels.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := withMail(t)
			id, call, recording := f.voicemailer()
			in := spokenMail(id, call, recording, "the disk is full")
			in.Voicemail.Failed = "the disk is full"
			if !c.spoken {
				in.Voicemail.RecordingID = 0
			}
			if c.part {
				in.Voicemail.Empty, in.Voicemail.Cut = "", true
			}
			if r := f.receive(in); (r.Message != nil) != c.part {
				t.Errorf("%+v", r.Message)
			}
			f.receive(in) // presses the key again, or it is handed up twice
			if alarms := text(f, `select string_agg(kind || ': ' || words, '|') from alarms`); alarms != "voicemail_failed: "+c.words {
				t.Errorf("alarms: %s", alarms)
			}
			f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: call, Result: "abandoned"})
			f.state(id, c.left)
			if open := f.promises(id, "") == 1; open != c.spoken {
				t.Errorf("the promise is open: %v", open)
			}
		})
	}
}

// TestVoicemailOfADeadNode: the call died with its node, the voicemail comes out of the repaired file later, also to a
// conversation that somebody has closed meanwhile: it is owed an answer.
func TestVoicemailOfADeadNode(t *testing.T) {
	f, _ := withMail(t)
	id, call, recording := f.voicemailer()
	f.ok(f.loseCall(t.Context(), call))
	f.receive(spokenMail(id, call, recording, ""))
	if c := f.whole(id); c.State != channels.Waiting || !c.Front || c.LeftMessage != channels.ByVoicemail || f.promises(id, "") != 1 {
		t.Errorf("%+v", c)
	}

	f.receive(channels.Inbound{Type: channels.NoWish, Channel: channels.Voice, ConversationID: id})
	again, call, recording := f.voicemailer()
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: again, CallID: call, Result: "abandoned"})
	f.state(again, channels.Closed)
	f.receive(spokenMail(again, call, recording, ""))
	f.state(again, channels.Waiting)
	if f.promises(again, "") != 1 {
		t.Error("nothing is promised for a voicemail of a closed conversation")
	}
}
