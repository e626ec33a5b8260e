package chat

import (
	"context"
	"errors"
	"time"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Calls from the web page. The sound goes between the browser and the telephone (channels/voice); here pass the offers
// and answers, and how the call stands, which is read from its row like everything that a page sees. The call belongs to
// the same conversation as the chat; neither ends the other.

// Frames of a call. The page asks for the phone first, to build its connection with the servers it gets, and sends its
// offer with call; again says that the page has had this call before (it was loaded anew).
type (
	phone struct{}
	call  struct {
		ClientID string `json:"client_id"`
		SDP      string `json:"sdp"`
		Again    bool   `json:"again"`
	}
	callRestart struct { // after a change of network, on the same connection
		ClientID string `json:"client_id"`
		SDP      string `json:"sdp"`
	}
	callKey struct {
		Digit string `json:"digit"`
	}
	callEnd struct{}
)

// callStanding is what a visitor may know of their newest call: of stand's row, and of the frames welcome and call.
type callStanding struct {
	ID     int64      `db:"call_id" json:"call_id"`
	State  string     `db:"call_state" json:"state"` // answered, waiting, connecting, bridged, ended
	Since  *time.Time `db:"call_since" json:"since,omitempty"`
	Reason string     `db:"call_reason" json:"reason,omitempty"`
}

func (c callStanding) live() bool { return c.ID != 0 && c.State != channels.CallEnded }

func (c callStanding) same(o callStanding) bool { return c.ID == o.ID && c.State == o.State }

// news is nil when there is nothing to tell.
func (c callStanding) news() *callStanding {
	if c.ID == 0 {
		return nil
	}
	return &c
}

var (
	errNoPhone  = channels.Fail(channels.Unavailable, "We cannot be called from this page right now. Write to us instead.")
	errInCall   = channels.Fail(channels.Conflict, "You are in a call already, in another tab.")
	errCallOver = channels.Fail(channels.NotFound, "The call is over.")
)

// phone hands out what the page needs for its connection.
func (s *session) phone() {
	if !s.chat.calls {
		s.refuse("", errNoPhone)
		return
	}
	servers := []channels.ICEServer{}
	if s.chat.ice != nil {
		servers = s.chat.ice("visitor-" + s.visitor.address().Value)
	}
	s.push(outFrame{Type: "phone", ICEServers: &servers})
}

// call begins a call, or gives a running one back to its page.
func (s *session) call(ctx context.Context, f *call) error {
	if !s.chat.calls {
		s.refuse(f.ClientID, errNoPhone)
		return nil
	}
	running, err := s.running(ctx)
	switch {
	case err != nil:
		s.unavailable(f.ClientID)
		return err
	case running != 0 && f.Again:
		return s.command(ctx, f.ClientID, channels.CallSignal{Type: "connect", CallID: running, SDP: f.SDP})
	case running != 0:
		s.refuse(f.ClientID, errInCall)
		return nil
	case f.Again:
		s.refuse(f.ClientID, errCallOver)
		return nil
	case !s.chat.limits.mayCall(s.visitor.address().Value, s.ip):
		s.refuse(f.ClientID, channels.Fail(channels.TooMany, "You have called several times in a row. Try again in a minute."))
		return nil
	}
	var reply channels.CallReply
	if !s.ask(ctx, f.ClientID, channels.VoiceSubject(s.chat.node), channels.VoiceRequest{Type: "web", ConversationID: s.visitor.conversation,
		SDP: f.SDP, Name: s.name, Visitor: s.visitor.address().Value}, &reply) {
		return nil
	}
	s.push(outFrame{Type: "call_answer", ClientID: f.ClientID, SDP: reply.SDP})
	if s.visitor.conversation != 0 {
		return nil
	}
	if err := s.chat.findByAddress(ctx, s.visitor); err != nil { // the call has begun the conversation
		return err
	}
	if err := s.chat.bus.Publish(s.visitor.subject(), channels.Event{ConversationID: s.visitor.conversation}); err != nil {
		s.log.Warn("chat: other tabs", "err", err)
	}
	return s.attach(ctx, s.visitor.conversation, nil)
}

// running is the visitor's call, 0 without one.
func (s *session) running(ctx context.Context) (int64, error) {
	if s.visitor.conversation == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	now, err := s.chat.stand(ctx, s.visitor.conversation)
	if err != nil || now == nil || !now.live() {
		return 0, err
	}
	return now.callStanding.ID, nil
}

// ofCall sends a command to the visitor's running call.
func (s *session) ofCall(ctx context.Context, id string, sig channels.CallSignal) error {
	running, err := s.running(ctx)
	if err != nil {
		s.unavailable(id)
		return err
	}
	if running == 0 {
		s.refuse(id, errCallOver)
		return nil
	}
	sig.CallID = running
	return s.command(ctx, id, sig)
}

// command sends it; the answer to an offer goes to the page.
func (s *session) command(ctx context.Context, id string, sig channels.CallSignal) error {
	sig.Visitor = true
	var reply channels.CallReply
	if s.ask(ctx, id, channels.CallSubject(sig.CallID), sig, &reply) && reply.SDP != "" {
		s.push(outFrame{Type: "call_answer", ClientID: id, SDP: reply.SDP})
	}
	return nil
}

// ask asks the telephone; false: the page was told why not.
func (s *session) ask(ctx context.Context, id, subject string, request any, reply *channels.CallReply) bool {
	ctx, cancel := context.WithTimeout(ctx, receiveLimit)
	defer cancel()
	switch err := s.chat.bus.Request(ctx, subject, request, reply); {
	case errors.Is(err, bus.ErrNoOwner):
		s.refuse(id, errNoPhone)
	case err != nil:
		s.log.Error("chat: call", "err", err)
		s.unavailable(id)
	case reply.Error != nil:
		s.refuse(id, reply.Error)
	default:
		return true
	}
	return false
}
