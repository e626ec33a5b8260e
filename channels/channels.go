// Package channels holds the nouns of the house and their rows: contact, conversation, message, call, and the one
// table of states. It has no goroutine and no network; every function that writes takes the caller's transaction, so
// that the rooms above can put a message, a state change and a promise into one commit.
//
// Who may change what: switchboard appends and moves; agents moves waiting <-> offered; voice, email and chat only
// hand an Inbound up and read. After the commit the writer publishes an Event (see event.go) on the bus.
package channels

import (
	"encoding/json"
	"time"
)

// Kind is a way in and out.
type Kind string

const (
	Voice Kind = "voice"
	Chat  Kind = "chat"
	Email Kind = "email"
)

// Address is one way to reach a contact.
type Address struct {
	Kind  string `json:"kind"` // phone, email, visitor
	Value string `json:"value"`
}

const (
	Phone   = "phone"
	Mail    = "email"
	Visitor = "visitor"
)

// Contact is a customer with many addresses.
type Contact struct {
	ID        int64     `json:"id" db:"id"`
	Name      string    `json:"name" db:"name"`
	CreatedAt time.Time `json:"created_at" db:"created_at"`
	// PeopleOnly says who wants this contact to be served by people only, on every channel: contact (said so), agent, "" = nobody.
	PeopleOnly string `json:"people_only" db:"people_only"`
	Fresh      bool   `json:"-" db:"-"` // made just now by OpenContact: it has no conversation yet
}

// Conversation is one matter with one contact, over any channels, one timeline.
type Conversation struct {
	ID           int64      `json:"id" db:"id"`
	ContactID    int64      `json:"contact_id" db:"contact_id"`
	QueueID      int64      `json:"queue_id" db:"queue_id"`
	State        State      `json:"state" db:"state"`
	Channel      Kind       `json:"channel" db:"channel"` // where the contact was heard last
	AgentID      *int64     `json:"agent_id" db:"agent_id"`
	Subject      string     `json:"subject" db:"subject"`
	Summary      string     `json:"summary" db:"summary"`
	LastWords    string     `json:"last_words" db:"last_words"`
	LastAuthor   Author     `json:"last_author" db:"last_author"`
	CreatedAt    time.Time  `json:"created_at" db:"created_at"`
	StateAt      time.Time  `json:"state_at" db:"state_at"`
	ChangedAt    time.Time  `json:"changed_at" db:"changed_at"`
	WaitingSince *time.Time `json:"waiting_since" db:"waiting_since"`
	Front        bool       `json:"front" db:"front"`
	ReturnCall   bool       `json:"return_call" db:"return_call"`
	// LeftMessage says how the customer has left a message instead of waiting: by voicemail or email; "": has not.
	LeftMessage string     `json:"left_message" db:"left_message"`
	ReplyTo     string     `json:"-" db:"reply_to"` // where answers in writing go, as the customer said; a claim
	WrapupUntil *time.Time `json:"wrapup_until" db:"wrapup_until"`
	Disposition string     `json:"disposition" db:"disposition"`
	LastSeq     int64      `json:"last_seq" db:"last_seq"`
	CustomerSeq int64      `json:"-" db:"customer_seq"`
	AnsweredSeq int64      `json:"-" db:"answered_seq"`
	BotTurns    int        `json:"-" db:"bot_turns"`
	FailedTurns int        `json:"-" db:"failed_turns"`
	OwnerID     *string    `json:"-" db:"owner_id"`
}

// How a customer leaves a message: Conversation.LeftMessage.
const (
	ByVoicemail = "voicemail"
	ByMail      = "email"
)

// Author says who speaks in a message.
type Author string

const (
	ByContact Author = "contact"
	ByAI      Author = "ai"
	ByAgent   Author = "agent"
	BySystem  Author = "system"
)

// Message kinds.
const (
	Text     = "text"  // said or written
	Note     = "note"  // an agent's private note
	Happened = "event" // a line of the timeline that nobody said; Data.Code tells which
	// Transcript is what a machine heard people say to each other in a call: private, and never read as a wish.
	Transcript = "transcript"
	// Voicemail is a message that a caller has spoken: Data.RecordingID is its sound, the body what a machine heard.
	Voicemail = "voicemail"
)

// Message is one thing said, written or done in a conversation. Seq counts 1, 2, 3 without a gap in each conversation.
type Message struct {
	ID             int64       `json:"id" db:"id"`
	ConversationID int64       `json:"conversation_id" db:"conversation_id"`
	Seq            int64       `json:"seq" db:"seq"`
	Author         Author      `json:"author" db:"author"`
	AgentID        *int64      `json:"agent_id" db:"agent_id"`
	Channel        Kind        `json:"channel" db:"channel"`
	Kind           string      `json:"kind" db:"kind"`
	Body           string      `json:"body" db:"body"`
	Private        bool        `json:"private" db:"private"`
	ClientID       *string     `json:"client_id" db:"client_id"`
	Data           MessageData `json:"data" db:"data"`
	At             time.Time   `json:"at" db:"at"`
}

// MessageData is what a message carries beside its words; every field is optional.
type MessageData struct {
	Code      string     `json:"code,omitempty"`       // of an event, see the Code constants
	AgentName string     `json:"agent_name,omitempty"` // the first name that the customer sees
	Sources   []Source   `json:"sources,omitempty"`    // what an answer rests on
	Mode      string     `json:"mode,omitempty"`       // of an answer: model or quote
	Cut       bool       `json:"cut,omitempty"`        // the answer was stopped here; what stands is what was shown
	CallID    int64      `json:"call_id,omitempty"`
	Seconds   int        `json:"seconds,omitempty"`   // of a call's end, or of a voicemail: how long it was
	Subject   string     `json:"subject,omitempty"`   // of a mail
	Full      string     `json:"full,omitempty"`      // of a mail: the whole text with quotes, when it differs from Body
	Automatic bool       `json:"automatic,omitempty"` // a mail that no person wrote
	MailInID  int64      `json:"mail_in_id,omitempty"`
	Source    string     `json:"source,omitempty"` // of a wish: words, button, key, mail, failure, turns, model, silence, lost; queue: the words are a queue's own
	Reason    string     `json:"reason,omitempty"`
	DueAt     *time.Time `json:"due_at,omitempty"` // of a promise

	RecordingID int64 `json:"recording_id,omitempty"` // of a voicemail
}

// OwnWords is the Source of an offer of a call back in a queue's own words.
const OwnWords = "queue"

// Source is a passage that an answer rests on.
type Source struct {
	PassageID int64  `json:"passage_id"`
	Title     string `json:"title"`
	URL       string `json:"url"`
}

// Codes of events. Those with (private) are for the desk alone.
const (
	CodeHello       = "hello"          // you are writing with an AI
	CodeWaiting     = "waiting"        // we are getting a person
	CodeModelDown   = "model_down"     // the truth about a model that does not answer; waiting follows in the same words
	CodeNoAnswer    = "no_answer"      // I don't know that; getting a person
	CodeNobodyHere  = "nobody_here"    // nobody answers now: when a person will
	CodeOverflow    = "overflow"       // (private) the line took too long, and what was done about it
	CodeCallback    = "callback"       // shall we call you? You keep your place
	CodeCallSet     = "call_set"       // we call you then, at that number
	CodeNoCall      = "no_call"        // you wait here again
	CodeNotReached  = "not_reached"    // we called and did not reach you
	CodeTried       = "call_tried"     // (private) what became of a try of a call back
	CodePlaceKept   = "place_kept"     // you hung up in line and have your place again
	CodeLonger      = "longer"         // words of the queue while the customer waits
	CodeMoved       = "moved"          // (private) it belongs to another queue now
	CodeMessageLeft = "message_left"   // the customer does not wait here: the answer goes by mail, or by a call back
	CodeNoMessage   = "no_message"     // (private) a voicemail without words was not kept
	CodeThrough     = "through"        // you're through to Ana
	CodeBackInLine  = "back_in_line"   // the agent was lost; you are first in line
	CodeMissed      = "missed"         // (private) an offer was not answered
	CodeDeclined    = "declined"       // (private)
	CodeTransfer    = "transfer"       // passed on
	CodeEnded       = "ended"          // the agent has ended the conversation
	CodeClosed      = "closed"         // (private) wrap-up done
	CodeReopened    = "reopened"       // (private)
	CodeCallStart   = "call_started"   // (private)
	CodeCallEnd     = "call_ended"     // (private)
	CodeCallLost    = "call_lost"      // (private) the server died under it
	CodeLeft        = "left"           // (private) the customer left the line
	CodeHandedOn    = "handed_on"      // (private) the caller now talks with a colleague
	CodeHandedOut   = "handed_out"     // (private) the caller now talks with an outside number
	CodePassFailed  = "pass_failed"    // passing the caller on failed
	CodeDialled     = "dialled"        // (private) an agent calls out
	CodeRecorded    = "recorded"       // (private) what became of a recording
	CodeDelivery    = "delivery"       // (private) a mail could not be delivered, or it is unsure
	CodeBroken      = "promise_broken" // (private) a promise is late, or ended without a word
	CodePeopleFirst = "people_first"   // (private) the responder steps back while too many promises are broken
)

// Call is one voice session. It lives and dies with the node that answered it.
type Call struct {
	ID             int64           `json:"id" db:"id"`
	ConversationID int64           `json:"conversation_id" db:"conversation_id"`
	Direction      string          `json:"direction" db:"direction"`
	From           string          `json:"from_address" db:"from_address"`
	To             string          `json:"to_address" db:"to_address"`
	SIPCallID      string          `json:"-" db:"sip_call_id"`
	NodeID         *string         `json:"-" db:"node_id"`
	AgentID        *int64          `json:"agent_id" db:"agent_id"`
	Media          string          `json:"media" db:"media"` // the customer's side: sip or web
	State          string          `json:"state" db:"state"` // dialling, ringing, answered, waiting, connecting, bridged, ended
	StartedAt      time.Time       `json:"started_at" db:"started_at"`
	BridgedAt      *time.Time      `json:"bridged_at" db:"bridged_at"`
	EndedAt        *time.Time      `json:"ended_at" db:"ended_at"`
	Result         string          `json:"result" db:"result"` // completed, abandoned, lost, failed
	Reason         string          `json:"reason" db:"reason"`
	Stats          json.RawMessage `json:"stats" db:"stats"`
}

// Directions of a call.
const (
	CallIn  = "in"
	CallOut = "out"
)

// The customer's side of a call.
const (
	BySIP = "sip"
	ByWeb = "web" // from the web page
)

// Call states.
const (
	CallDialling   = "dialling"   // outward: the agent's sound is being connected, the other side not yet called
	CallRinging    = "ringing"    // outward: it rings there
	CallAnswered   = "answered"   // greeting, keys
	CallWaiting    = "waiting"    // music, in line
	CallConnecting = "connecting" // an agent has accepted, the browser's leg is not up yet (or is coming back)
	CallBridged    = "bridged"
	CallEnded      = "ended"
)
