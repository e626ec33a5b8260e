package channels

import "strconv"

// Event is news on the bus, sent after the commit. A lost one costs freshness, never truth: whoever sees a gap in Seq
// reads the rows again.
type Event struct {
	Type           string   `json:"type"` // message, state, draft
	ConversationID int64    `json:"conversation_id"`
	Seq            int64    `json:"seq"` // conversation's last_seq after the change
	State          State    `json:"state,omitempty"`
	Message        *Message `json:"message,omitempty"`
	Draft          *Draft   `json:"draft,omitempty"`
}

// Draft is an answer while it is written; never stored. The stored message that follows replaces it.
type Draft struct {
	Text string `json:"text"` // all of it so far
	Done bool   `json:"done"` // withdrawn or finished: remove it
}

const (
	EventMessage = "message" // Message was stored
	EventState   = "state"   // State has changed
	EventDraft   = "draft"
	EventTyping  = "typing"
)

// Subjects on the bus.
const (
	// DeskSubject carries a DeskNews for every change of a conversation, offer or call that a list may show.
	DeskSubject = "desk"
	// RouteSubject wakes every router: somebody waits, or an agent became free. No payload.
	RouteSubject = "route"
)

// DeskNews says which conversation's row to read again.
type DeskNews struct {
	ConversationID int64 `json:"conversation_id"`
}

// ConversationSubject carries that conversation's Events.
func ConversationSubject(id int64) string { return "conversation." + strconv.FormatInt(id, 10) }

// AgentSubject carries frames for one agent's tabs (offer, offer_ended, presence, call ...): JSON objects with a
// "type", forwarded to the tabs as they are.
func AgentSubject(id int64) string { return "agent." + strconv.FormatInt(id, 10) }

// CallSubject answers requests of agents' tabs to the node that owns the call (CallSignal -> CallReply).
func CallSubject(id int64) string { return "call." + strconv.FormatInt(id, 10) }

// CallSignal is one command to a running call. From a tab: connect, hangup, hold, mute, dtmf. From the switchboard:
// join (an agent has accepted: expect its connect), release (the agent has let go: back to the line), end (hang up).
type CallSignal struct {
	Type    string `json:"type"`
	CallID  int64  `json:"call_id"`
	AgentID int64  `json:"agent_id"`
	Tab     string `json:"tab,omitempty"`
	SDP     string `json:"sdp,omitempty"`   // connect: the browser's offer
	On      bool   `json:"on,omitempty"`    // hold, mute
	Digit   string `json:"digit,omitempty"` // dtmf: one of 0-9 * # A-D
	Reason  string `json:"reason,omitempty"`
}

// CallReply answers a CallSignal; Error is set when it was refused.
type CallReply struct {
	SDP   string `json:"sdp,omitempty"`
	Error *Error `json:"error,omitempty"`
}
