package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"patchbay/channels"
)

// How rows and news reach the page: listen first, then read, so that what happens in between is heard; then every
// message once and in order.

// attach makes conversation the one of this socket and sends what the page has not seen. welcome is nil when that was
// sent before the conversation began.
func (s *session) attach(ctx context.Context, conversation int64, welcome *outFrame) error {
	moved := s.listening != 0
	s.stopListening()
	if err := s.listen(channels.ConversationSubject(conversation)); err != nil {
		s.log.Error("chat: listen", "err", err) // pings heal it
	}
	s.listening = conversation
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	now, err := s.chat.stand(ctx, conversation)
	if err == nil && now == nil {
		err = fmt.Errorf("conversation %d is gone", conversation)
	}
	if err != nil {
		if welcome != nil {
			s.visitor = nil // the page may say hello again
			s.stopListening()
		}
		s.unavailable("")
		return err
	}
	if welcome != nil {
		welcome.ConversationID, welcome.Seq = conversation, now.LastSeq
		welcome.State, welcome.AgentName, welcome.Waiting = now.State, now.AgentName, now.place()
		welcome.Call = now.news()
		s.shown = now
		s.push(*welcome)
	}
	if moved || s.last > now.LastSeq { // what the page has is of another conversation, or of a database that was put back
		s.last = 0
		s.push(outFrame{Type: "resync"})
	}
	return s.send(ctx, now)
}

// catchUp reads where the conversation stands and sends what the page lacks.
func (s *session) catchUp(ctx context.Context) error {
	if s.visitor == nil || s.visitor.conversation == 0 {
		return nil
	}
	if s.listening != s.visitor.conversation {
		return s.attach(ctx, s.visitor.conversation, nil)
	}
	if len(s.unlisten) == 0 { // the bus was away
		if err := s.listen(channels.ConversationSubject(s.listening)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	now, err := s.chat.stand(ctx, s.visitor.conversation)
	if err != nil || now == nil {
		return err
	}
	return s.send(ctx, now)
}

// send brings the page up to now: messages first, then the state that they have led to.
func (s *session) send(ctx context.Context, now *standing) error {
	s.readAt = time.Now()
	for s.last < now.LastSeq {
		list, err := s.chat.page(ctx, s.listening, s.last, now.LastSeq)
		if err != nil {
			return err
		}
		for i := range list {
			s.push(outFrame{Type: "message", Message: forVisitor(&list[i])})
			s.last = list[i].Seq
		}
		if len(list) < pageSize {
			s.last = now.LastSeq
		}
	}
	if !now.same(s.shown) {
		s.push(outFrame{Type: "state", ConversationID: s.listening, State: now.State, AgentName: now.AgentName, place: now.place()})
	}
	if s.shown == nil && now.live() || s.shown != nil && !now.callStanding.same(s.shown.callStanding) {
		s.push(outFrame{Type: "call", Call: now.news()})
	}
	s.shown = now
	return nil
}

// news handles one event of the bus. Events may be lost, doubled, and of two nodes out of order.
func (s *session) news(ctx context.Context, data []byte) error {
	var e channels.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if s.visitor.conversation == 0 { // another tab of this visitor has begun
		s.visitor.conversation = e.ConversationID
		return s.attach(ctx, e.ConversationID, nil)
	}
	if e.ConversationID != s.listening {
		return nil
	}
	switch e.Type {
	case channels.EventMessage:
		return s.messageNews(ctx, &e)
	case channels.EventState, channels.EventCall:
		return s.catchUp(ctx)
	case channels.EventDraft:
		// A person has it: the model's words are not for the visitor any more. On the phone they are spoken instead.
		byPerson := s.shown != nil && (s.shown.State == channels.Agent || s.shown.State == channels.Wrapup)
		elsewhere := s.shown != nil && s.shown.Channel != channels.Chat
		if e.Draft != nil && (e.Draft.Done || !byPerson && !elsewhere) {
			s.push(outFrame{Type: "draft", Text: &e.Draft.Text, Done: e.Draft.Done})
		}
	case channels.EventTyping:
		if e.Message == nil || e.Message.Author == channels.ByAgent {
			s.push(outFrame{Type: "typing"})
		}
	}
	return nil
}

func (s *session) messageNews(ctx context.Context, e *channels.Event) error {
	switch m := e.Message; {
	case m == nil || m.Seq > s.last+1:
		return s.catchUp(ctx)
	case m.Seq == s.last+1:
		s.last = m.Seq
		if visible(m) {
			s.push(outFrame{Type: "message", Message: forVisitor(m)})
			if s.shown != nil {
				s.shown.Channel = channels.Chat
			}
		}
	}
	return nil
}

// listen hears a subject; events without room become one reading of the rows.
func (s *session) listen(subject string) error {
	cancel, err := s.chat.bus.Subscribe(subject, func(_ string, data []byte) {
		select {
		case s.events <- data:
		default:
			select {
			case s.missed <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	s.unlisten = append(s.unlisten, cancel)
	return nil
}

func (s *session) stopListening() {
	for _, cancel := range s.unlisten {
		cancel()
	}
	s.unlisten = nil
	s.listening = 0
}
