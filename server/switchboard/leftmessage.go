package switchboard

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
)

// Who does not want to wait leaves a message: spoken on the telephone, or written on the page with an address to answer to.
// It is owed work of the line like any other: the promise stays open until a person's first word, and the place in line is
// kept, though the customer has gone.

const (
	// sourceMessage is the wish of who leaves a message without having asked for a person before.
	sourceMessage = "message"

	wordsByMail = "We have your message. A person answers it by e-mail to %s."
)

// leaveMessage: a visitor gives an address and goes; the conversation goes on by e-mail. The address is what they say it
// is: it becomes one of the contact's only when a mail from it answers ours (see owned).
func (s *Switchboard) leaveMessage(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	if _, ok := s.Channels[channels.Email]; !ok {
		return channels.Fail(channels.Unavailable, "We cannot answer by e-mail. Stay in line, or come back later: your place is kept.")
	}
	to, err := channels.CleanAddress(channels.Address{Kind: channels.Mail, Value: in.ReplyTo})
	var wrong *channels.Error
	if errors.As(err, &wrong) {
		return channels.FailField(wrong.Code, "email", wrong.Text)
	}
	said, err := ch.leftWords(ctx, in, r)
	if err != nil || r.Duplicate {
		return err
	}
	if !said {
		return channels.FailField(channels.Invalid, "body", "Tell us what it is about.")
	}
	if err := s.owe(ctx, ch); err != nil {
		return err
	}
	lang, err := ch.language(ctx)
	if err != nil {
		return err
	}
	words := sentences.Say(wordsByMail, to.Value).In(lang)
	notice := &channels.Message{Author: channels.BySystem, Channel: channels.Chat, Kind: channels.Happened, Body: words,
		Data: channels.MessageData{Code: channels.CodeMessageLeft}}
	if in.ClientID != "" {
		id := in.ClientID + "-left"
		notice.ClientID = &id
	}
	if _, err := ch.send(ctx, notice); err != nil {
		return err
	}
	if err := agents.AcknowledgePromise(ctx, ch.tx, ch.c.ID); err != nil {
		return err
	}
	return ch.left(ctx, channels.ByMail, channels.Email, to.Value)
}

// leftWords stores what the visitor leaves; said is whether the contact has ever said anything here.
func (ch *change) leftWords(ctx context.Context, in channels.Inbound, r *channels.Receipt) (said bool, err error) {
	if strings.TrimSpace(in.Body) != "" {
		m := &channels.Message{Author: channels.ByContact, Channel: in.Channel, Body: in.Body}
		if in.ClientID != "" {
			m.ClientID = &in.ClientID
		}
		r.Duplicate, err = ch.append(ctx, m)
		r.Message = m
		return true, err
	}
	err = ch.tx.QueryRow(ctx, `select exists (select from messages where conversation_id = $1 and author = 'contact')`, ch.c.ID).Scan(&said)
	if err != nil {
		err = fmt.Errorf("said before: %w", err)
	}
	return said, err
}

// owe puts the conversation in line, if nobody has it and it is not there yet, and opens the promise.
func (s *Switchboard) owe(ctx context.Context, ch *change) error {
	switch ch.c.State {
	case channels.Agent:
		return nil
	case channels.Waiting, channels.Offered:
		ch.carded = true
	default:
		if err := s.intoLine(ctx, ch); err != nil {
			return err
		}
	}
	if _, _, err := agents.OpenPromise(ctx, ch.tx, ch.c.ID, sourceMessage); err != nil {
		return err
	}
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	return nil
}

// left notes how the message was left, and where the answer goes.
func (ch *change) left(ctx context.Context, by string, channel channels.Kind, replyTo string) error {
	ch.c.LeftMessage, ch.c.Channel = by, channel
	if replyTo != "" {
		ch.c.ReplyTo = replyTo
	}
	id, seq, state := ch.c.ID, ch.c.LastSeq, ch.c.State
	ch.after(func() {
		ch.s.publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventState, ConversationID: id, Seq: seq, State: state})
		ch.s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: id})
	})
	return ch.exec(ctx, "message left", `update conversations set left_message = $2, channel = $3, reply_to = $4 where id = $1`, id, by, channel, ch.c.ReplyTo)
}

// stillByMail: what a visitor adds on the page to a message that they have left belongs to it; the answer goes to their
// mail all the same, as they were told.
func (ch *change) stillByMail(ctx context.Context) error {
	if ch.c.LeftMessage != channels.ByMail || ch.c.Channel != channels.Chat || ch.c.State != channels.Waiting && ch.c.State != channels.Offered {
		return nil
	}
	ch.c.Channel = channels.Email
	return ch.exec(ctx, "still by mail", `update conversations set channel = 'email' where id = $1`, ch.c.ID)
}

// owned: a mail from the address that was claimed has answered ours, whose id only its owner has seen: it is theirs.
func (ch *change) owned(ctx context.Context, in channels.Inbound) error {
	if in.Channel != channels.Email || ch.c.ReplyTo == "" || in.From.Value != ch.c.ReplyTo {
		return nil
	}
	_, err := channels.AddAddress(ctx, ch.tx, ch.c.ContactID, in.From)
	return err
}

// voicemail stores what a caller has spoken. One that is empty is not stored; that is said, and whatever was owed before
// still is.
func (s *Switchboard) voicemail(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	v := in.Voicemail
	handed, err := ch.tx.Exec(ctx, `update recordings set handed_at = clock_timestamp() where id = $1 and handed_at is null`, v.RecordingID)
	if err != nil {
		return fmt.Errorf("voicemail handed up: %w", err)
	}
	if v.RecordingID != 0 && handed.RowsAffected() == 0 {
		r.Duplicate = true
		return nil
	}
	if v.Failed != "" {
		if err := s.voicemailFailed(ctx, ch, in); err != nil {
			return err
		}
	}
	if v.Empty != "" {
		ch.line(channels.CodeNoMessage, "No voicemail was kept: "+v.Empty+".", channels.MessageData{CallID: in.CallID, Reason: v.Empty})
		if v.Failed == "" || v.RecordingID == 0 {
			return nil
		}
		// They have spoken, and who hangs up then believes that we have it: the answer is owed as if we had.
		return s.owesVoicemail(ctx, ch)
	}
	m := &channels.Message{Author: channels.ByContact, Channel: channels.Voice, Kind: channels.Voicemail, Body: in.Body,
		Data: channels.MessageData{CallID: in.CallID, RecordingID: v.RecordingID, Seconds: int(v.Seconds + 0.5), Cut: v.Cut, Reason: v.Unwritten}}
	if in.ClientID != "" {
		m.ClientID = &in.ClientID
	}
	if r.Duplicate, err = ch.append(ctx, m); err != nil || r.Duplicate {
		return err
	}
	r.Message = m
	return s.owesVoicemail(ctx, ch)
}

// owesVoicemail: the answer to what was spoken is owed.
func (s *Switchboard) owesVoicemail(ctx context.Context, ch *change) error {
	if err := s.owe(ctx, ch); err != nil {
		return err
	}
	if ch.c.State == channels.Agent { // a person has come in the middle of it
		return nil
	}
	return ch.left(ctx, channels.ByVoicemail, channels.Voice, "")
}

// voicemailFailed raises the alarm that the disk refuses voicemails; once, though the caller may try again and again.
func (s *Switchboard) voicemailFailed(ctx context.Context, ch *change, in channels.Inbound) error {
	var told bool
	if err := ch.tx.QueryRow(ctx, `select exists (select from alarms where kind = $1 and conversation_id = $2 and at > clock_timestamp() - interval '10 minutes')`,
		agents.VoicemailFailed, ch.c.ID).Scan(&told); err != nil || told {
		return err
	}
	queue, err := agents.QueueName(ctx, ch.tx, ch.c.QueueID)
	if err != nil {
		return err
	}
	words := "A voicemail could not be kept: " + in.Voicemail.Failed + "."
	if in.Voicemail.Empty == "" {
		words = fmt.Sprintf("A voicemail was cut after %d seconds: %s.", int(in.Voicemail.Seconds), in.Voicemail.Failed)
	}
	s.Log.Error("voicemail failed", "conversation", ch.c.ID, "call", in.CallID, "why", in.Voicemail.Failed)
	if err := agents.Raise(ctx, ch.tx, agents.Alarm{Kind: agents.VoicemailFailed, ConversationID: ch.c.ID, QueueName: queue, Channel: channels.Voice, Words: words}); err != nil {
		return err
	}
	ch.after(func() { s.publish(channels.AlarmSubject, struct{}{}) })
	return nil
}
