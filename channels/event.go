package channels

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Event is news on the bus, sent after the commit. A lost one costs freshness, never truth: whoever sees a gap in Seq
// reads the rows again.
type Event struct {
	Type           string   `json:"type"` // one of the Event constants
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

	// For a call, where the answer is stored only when it was heard.
	To         int64   `json:"to,omitempty"`          // the customer's words that it answers: their seq
	Ending     *Ending `json:"ending,omitempty"`      // nothing more comes
	TokenMS    int64   `json:"token_ms,omitempty"`    // the model's first token, since the responder was asked
	SentenceMS int64   `json:"sentence_ms,omitempty"` // its first sentence
}

// Ending is what goes with a whole answer.
type Ending struct {
	Sources  []Source `json:"sources,omitempty"`
	Mode     string   `json:"mode,omitempty"`
	HandOver bool     `json:"hand_over,omitempty"` // a person must come
	Unknown  bool     `json:"unknown,omitempty"`   // it says that it does not know, and offers a person
}

const (
	EventMessage = "message" // Message was stored
	EventState   = "state"   // State has changed
	EventDraft   = "draft"
	EventTyping  = "typing"
	EventCard    = "card" // the hand-over card says more: a model has written below it
	// EventTranscript is what somebody in a call is saying: Message, not stored and without a Seq, holds who and the words
	// so far; without words it is withdrawn. The stored message follows. For the desk only.
	EventTranscript = "transcript"
	EventCall       = "call" // a call from the web page has begun, moved or ended
)

// Subjects on the bus.
const (
	// DeskSubject carries a DeskNews for every change of a conversation, offer or call that a list may show.
	DeskSubject = "desk"
	// RouteSubject wakes every router: somebody waits, or an agent became free. It carries RouteNews.
	RouteSubject = "route"
	// AlarmSubject says that an alarm was raised, or that promises are better kept again. No payload: readers read again.
	AlarmSubject = "alarm"

	// TrunkSubject says that telephone settings have changed: trunks, numbers, devices, prompts or queues. No payload:
	// read again what you use.
	TrunkSubject = "trunks"
	// OfferSubject carries an OfferNews for each offer that begins or ends: a call rings at its agent's telephones.
	OfferSubject = "offers"
	// VoicemailSubject says that a voicemail of a dead process may be ready to be handed up: its file is whole again, or its
	// call's end is written. No payload.
	VoicemailSubject = "voicemails"
	// TrunkStateSubject says that what a node knows of a trunk has changed. No payload.
	TrunkStateSubject = "trunk_states"
	// TrunkAlarmSubject carries a TrunkAlarm that has just been raised; no payload: one was seen.
	TrunkAlarmSubject = "trunk_alarms"
)

// DeskNews says which conversation's row to read again.
type DeskNews struct {
	ConversationID int64 `json:"conversation_id"`
}

// RouteNews says what has changed for the routers, so that of a thousand agents only these are looked at. The zero value, and no
// payload: anything may have.
type RouteNews struct {
	Line   bool    `json:"line,omitempty"`   // somebody waits; nobody has become free by it
	Agents []int64 `json:"agents,omitempty"` // what these have in hand has changed
}

// OfferNews says that an offer has begun, or ("" before) how it has ended.
type OfferNews struct {
	OfferID        int64  `json:"offer_id"`
	ConversationID int64  `json:"conversation_id"`
	AgentID        int64  `json:"agent_id"`
	Outcome        string `json:"outcome,omitempty"` // accepted, declined, missed, withdrawn
}

// OfferAccepted is the outcome that an agent wants.
const OfferAccepted = "accepted"

// ConversationSubject carries that conversation's Events.
func ConversationSubject(id int64) string { return "conversation." + strconv.FormatInt(id, 10) }

// AgentSubject carries frames for one agent's tabs (offer, offer_ended, presence, call ...): JSON objects with a
// "type", forwarded to the tabs as they are.
func AgentSubject(id int64) string { return "agent." + strconv.FormatInt(id, 10) }

// CallSubject answers requests of agents' tabs to the node that owns the call (CallSignal -> CallReply).
func CallSubject(id int64) string { return "call." + strconv.FormatInt(id, 10) }

// VoiceSubject answers requests that no call exists for yet, on that node: dial (an agent calls out), may_dial (whether a
// customer may be called at a number: the reply holds it, or why not), web (a customer
// calls from the web page), echo (a test call), trunk_test (OPTIONS to that trunk now; the reply holds its TrunkState).
func VoiceSubject(nodeID string) string { return "voice." + Token(nodeID) }

// Token makes an id fit to be one word of a subject.
func Token(id string) string {
	return strings.NewReplacer(".", "_", "*", "_", ">", "_", " ", "_").Replace(id)
}

// CallSignal is one command to a running call.
//
// From a tab of the agent who has it: connect (with the browser's offer), restart (a new offer of the same
// connection, after a change of network), hangup, hold, mute, dtmf; transfer (to Target, and go), consult (call Target,
// the caller hears music), swap, complete (join caller and consulted, and go), cancel (back to the caller), merge
// (three-way), record (On false = pause). From a supervisor's tab: supervise (Mode, SDP), unsupervise. From the
// consulted agent's tab: connect, decline, hangup. From the web page of the customer: restart, hangup, dtmf, mute.
// From the API: trace (the call doctor's record so far). From the switchboard: join (an agent has accepted: expect its connect), release (the agent has let go: back to the
// line), end (hang up), say (Text, or what Code stands for).
type CallSignal struct {
	Type    string      `json:"type"`
	CallID  int64       `json:"call_id"`
	AgentID int64       `json:"agent_id"`
	Name    string      `json:"name,omitempty"` // the agent's, from their tab
	Tab     string      `json:"tab,omitempty"`
	SDP     string      `json:"sdp,omitempty"`
	On      bool        `json:"on,omitempty"`    // hold, mute, record; say: in a queue's own words
	Digit   string      `json:"digit,omitempty"` // dtmf: one of 0-9 * # A-D
	Reason  string      `json:"reason,omitempty"`
	Text    string      `json:"text,omitempty"` // say
	Code    string      `json:"code,omitempty"` // say: of an event
	Target  *CallTarget `json:"target,omitempty"`
	Mode    string      `json:"mode,omitempty"` // listen, whisper, barge
	Visitor bool        `json:"visitor,omitempty"`
}

// CallTarget is whom an agent calls, or passes a caller on to.
type CallTarget struct {
	Kind    string `json:"kind"` // agent, queue, number
	AgentID int64  `json:"agent_id,omitempty"`
	QueueID int64  `json:"queue_id,omitempty"`
	Number  string `json:"number,omitempty"`
	From    string `json:"from,omitempty"` // number of ours to show; "" = the trunk's
}

// Kinds of CallTarget.
const (
	TargetAgent  = "agent"
	TargetQueue  = "queue"
	TargetNumber = "number"
)

// VoiceRequest is what VoiceSubject answers, with a CallReply.
type VoiceRequest struct {
	Type           string `json:"type"` // dial, may_dial, web, echo, trunk_test
	AgentID        int64  `json:"agent_id,omitempty"`
	ConversationID int64  `json:"conversation_id,omitempty"`
	CallID         int64  `json:"call_id,omitempty"` // dial: the row that the switchboard has opened
	Number         string `json:"number,omitempty"`  // may_dial: "" asks whether any number may be called
	From           string `json:"from,omitempty"`
	SDP            string `json:"sdp,omitempty"` // web, echo
	Name           string `json:"name,omitempty"`
	Visitor        string `json:"visitor,omitempty"` // web: the visitor's address value
	TrunkID        int64  `json:"trunk_id,omitempty"`
}

// CallReply answers a CallSignal; Error is set when it was refused.
type CallReply struct {
	CallID int64           `json:"call_id,omitempty"`
	SDP    string          `json:"sdp,omitempty"`
	Number string          `json:"number,omitempty"` // of may_dial: in the form in which it is called
	Trunk  *TrunkState     `json:"trunk,omitempty"`  // of trunk_test
	Trace  json.RawMessage `json:"trace,omitempty"`  // of trace: what the call doctor knows of a running call
	Error  *Error          `json:"error,omitempty"`
}
