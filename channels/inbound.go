package channels

import (
	"context"
	"time"
)

// InboundType says what a channel hands up.
type InboundType string

const (
	Words         InboundType = "words"          // the customer wrote or said something
	Wish          InboundType = "wish"           // the customer asked for a person by a button, a key, a reply word
	NoWish        InboundType = "no_wish"        // "I no longer need a person", by a button
	CallStarted   InboundType = "call_started"   // a phone call was answered
	CallMoved     InboundType = "call_moved"     // the call's state changed: bridged, connecting
	CallEndedIn   InboundType = "call_ended"     // the call is over, with Result and Reason
	Spoke         InboundType = "spoke"          // the customer has heard the agent AgentID speak, for the first time since they were joined
	AgentLost     InboundType = "agent_lost"     // the agent's leg did not come back: the caller goes to the front of the line
	HandedOn      InboundType = "handed_on"      // the caller now talks with the colleague AgentID, who has the conversation from here
	HandedOut     InboundType = "handed_out"     // the caller now talks with an outside number (To); the agent is done
	PassFailed    InboundType = "pass_failed"    // passing the caller on failed after the agent (AgentID) had gone; Reason says why
	OfferTaken    InboundType = "offer_taken"    // the agent AgentID has answered the offer OfferID on a telephone
	OfferDeclined InboundType = "offer_declined" // and here declined it
	DialOut       InboundType = "dial_out"       // the agent AgentID has dialled To on a telephone
	PassOn        InboundType = "pass_on"        // and here passes the caller of CallID on to Target, by the telephone's own button
	Said          InboundType = "said"           // on the telephone: of the answer to Spoken.To the caller has heard Body
	Transcribed   InboundType = "transcribed"    // in a call a machine has heard the customer, or the agent AgentID, say Body: written down, never read as a wish
	MessageLeft   InboundType = "message_left"   // a visitor leaves a message (Body, perhaps said before): the answer goes by mail to ReplyTo
	VoicemailLeft InboundType = "voicemail_left" // a caller has spoken a message: Voicemail
	Left          InboundType = "left"           // a visitor closed the conversation by its own button
	CallMe        InboundType = "call_me"        // the customer wants to be called at To, at their turn or not before At, and keeps the place
	NoCall        InboundType = "no_call"        // and here waits where they are again
)

// Inbound is what a channel hands to switchboard.Receive. The channel fills what it knows.
type Inbound struct {
	Type    InboundType
	Channel Kind
	From    Address // names the contact; needed when ConversationID is 0
	Name    string  // display name: a claim, used only for a contact without a name
	To      string  // dialled number, mailbox

	// ConversationID is set when the channel already knows it by its own right (a visitor's token, a mail thread whose
	// sender belongs to it, a running call). 0: by contact.
	ConversationID int64

	Body     string // Words: the customer's own visible words
	Full     string // a mail's whole text with quotes, when it differs; shown in the desk, never read for a wish
	Subject  string
	ClientID string // the sender's id of this message; receiving it twice stores it once
	Source   string // of a Wish: button, key, mail, silence

	ReplyTo string // MessageLeft: the visitor's mail address, a claim

	Automatic bool // a mail that must not get an automatic answer (RFC 3834)
	MailInID  int64

	CallID    int64       // CallMoved, CallEnded, AgentLost, and Wish from a call
	SIPCallID string      // CallStarted
	Media     string      // CallStarted: sip or web
	Talks     bool        // CallStarted: the caller could talk with the responder, if it has a place
	At        *time.Time  // CallMe: an appointment; nil: as soon as it is their turn
	QueueID   int64       // CallStarted: the queue of the number that was called; 0: the house's
	AgentID   int64       // Spoke, HandedOn, PassFailed, OfferTaken, OfferDeclined, DialOut, PassOn
	OfferID   int64       // OfferTaken, OfferDeclined
	Target    *CallTarget // PassOn: a colleague
	CallState string      // CallMoved
	Spoken    *Spoken     // Said
	Voicemail *SpokenMail // VoicemailLeft
	Result    string      // CallEnded: completed, abandoned, lost, failed
	Reason    string
	Stats     any // CallEnded: JSON
}

// Spoken is how far an answer of the responder came on the telephone.
type Spoken struct {
	To     int64  // the seq of the words it answers
	Cut    bool   // the caller has interrupted it, or it could not be said to its end
	Ending Ending // of a whole answer
	Times  *TurnTimes
}

// SpokenMail is a message that a caller has left; its words are the Inbound's Body.
type SpokenMail struct {
	RecordingID int64
	Seconds     float64
	Cut         bool   // a failure has cut it, the rest is kept
	Failed      string // the disk has refused, and why: what was said before is kept, or nothing is (Empty); "": it has not
	Empty       string // why it is not kept: nothing was said, the disk was full ...; "": it is
	Unwritten   string // why it has no words; "": Body is them
}

// TurnTimes is when the stages of a turn came, in milliseconds since the caller's last sound.
type TurnTimes struct {
	At            time.Time `json:"at" db:"at"`                         // that sound's end
	TurnEnd       int       `json:"turn_end_ms" db:"turn_end_ms"`       // the turn was held to be over
	FinalText     int       `json:"final_text_ms" db:"final_text_ms"`   // its words were understood
	Stored        int       `json:"stored_ms" db:"stored_ms"`           // and stored
	FirstToken    int       `json:"first_token_ms" db:"first_token_ms"` // of the model
	FirstSentence int       `json:"first_sentence_ms" db:"first_sentence_ms"`
	FirstAudio    int       `json:"first_audio_ms" db:"first_audio_ms"` // its first sound was sent
	Own           int       `json:"own_ms" db:"own_ms"`                 // of all that: neither ear nor model nor voice, nor the patience before the turn's end
	Cut           bool      `json:"cut" db:"cut"`
}

// Receipt says what became of an Inbound; by then it is committed.
type Receipt struct {
	ContactID      int64
	ConversationID int64
	CallID         int64 // CallStarted
	QueueID        int64 // CallStarted: whose music, recording and hours apply
	Later          bool  // CallMe: nobody is here now, they are called at the opening
	Kept           bool  // CallStarted: they hung up in line a moment ago and have their place again
	Busy           bool  // CallStarted: the responder has no place for the call; it is in line for a person
	State          State
	Message        *Message // the stored message, nil when the Inbound stores none
	Duplicate      bool     // ClientID was stored before; Message is the first one
}

// Receive is the one call that goes up: main hands switchboard.Receive to every channel. It returns after the commit.
// Errors are *Error where the customer may be told why.
type Receive func(ctx context.Context, in Inbound) (Receipt, error)
