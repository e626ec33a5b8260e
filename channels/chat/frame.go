package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/channels"
)

const (
	maxFrame = 64 << 10 // bytes of one frame from a page
	maxBody  = 4000     // characters of one message
	maxName  = 100
	maxID    = 64
	maxMail  = 254
	maxOffer = 20_000
)

// Frames that come in, one JSON object each. Every type has its own fields; any other field is an error that names
// it. No frame carries a conversation's id: the token alone says which one is meant.
type (
	// hello is the first frame. An empty token asks for a new one. After is the last sequence number that was seen.
	hello struct {
		Token string `json:"token"`
		After int64  `json:"after"`
	}
	// say is a message. The same client_id again is the same message.
	say struct {
		ClientID string `json:"client_id"`
		Body     string `json:"body"`
	}
	// person is the button: a person, please. It works with the model stopped and before the first message.
	person struct {
		ClientID string `json:"client_id"`
	}
	// identify says who somebody claims to be; nothing is shown or opened because of it.
	identify struct {
		Name string `json:"name"`
	}
	// leave is a message that is answered by mail; without a body what was said before is the message. The same client_id
	// again is the same message.
	leave struct {
		ClientID string `json:"client_id"`
		Email    string `json:"email"`
		Body     string `json:"body"`
	}
	noPerson struct{} // "I no longer need a person"
	typing   struct{}
	end      struct{} // the visitor closes the conversation; a call goes on
	ping     struct{}
)

// outFrame is a frame that goes out. Type says which fields count:
//
//	welcome  token (only when it is new), conversation_id (0: none yet), seq, state, company, agent_name, waiting, calls (we
//	         can be called from this page), messages (one can be left that is answered by mail), call
//	message  message; every visible one after the hello's After, in order, then live
//	ack      client_id, seq and message of what is stored now (a person's wish may store none), conversation_id
//	draft    text (all of it so far), done; a stored message follows and replaces it
//	state    state, agent_name, conversation_id and, while waiting, position, ahead, since, due_at, and low, high when an expected wait can be told; answer_to when a
//	         message was left: the answer goes there
//	typing   the agent types
//	phone    ice_servers: what a call's connection is built with
//	call_answer  sdp, client_id of the offer
//	call     call: how the visitor's call stands
//	call_times  call_times: when the visitor can be called back
//	error    code, field, message, client_id
//	resync   forget all messages: what follows is a whole conversation
//	pong
type outFrame struct {
	Type           string         `json:"type"`
	Token          string         `json:"token,omitempty"`
	ConversationID int64          `json:"conversation_id,omitempty"`
	ClientID       string         `json:"client_id,omitempty"`
	Seq            int64          `json:"seq,omitempty"`
	State          channels.State `json:"state,omitempty"`
	Company        string         `json:"company,omitempty"`
	AgentName      string         `json:"agent_name,omitempty"`
	Waiting        *place         `json:"waiting,omitempty"`
	*place                        // of a state frame
	Message        any            `json:"message,omitempty"` // *message, or an error's sentence
	Text           *string        `json:"text,omitempty"`
	Done           bool           `json:"done,omitempty"`
	Code           channels.Code  `json:"code,omitempty"`
	Field          string         `json:"field,omitempty"`

	CallTimes *channels.CallTimes `json:"call_times,omitempty"`

	Calls      bool                  `json:"calls,omitempty"`
	Messages   bool                  `json:"messages,omitempty"`
	Call       *callStanding         `json:"call,omitempty"`
	ICEServers *[]channels.ICEServer `json:"ice_servers,omitempty"`
	SDP        string                `json:"sdp,omitempty"`
}

// place is where a waiting visitor stands in line, and what was promised.
type place struct {
	Position int        `json:"position"`
	Ahead    int        `json:"ahead"`
	Since    *time.Time `json:"since,omitempty"`
	DueAt    *time.Time `json:"due_at,omitempty"`
	Low      int        `json:"low,omitempty"`       // minutes from now: half of all waits like this one end
	High     int        `json:"high,omitempty"`      // between low and high; 0: nothing honest can be said
	AnswerTo string     `json:"answer_to,omitempty"` // a message was left, the answer goes to this mail address, of which this is a hint

	MayCall  bool       `json:"may_call,omitempty"`  // a call back can be asked for
	CallBack string     `json:"call_back,omitempty"` // the number that is to be called
	CallAt   *time.Time `json:"call_at,omitempty"`   // not before then; without: at their turn
}

// message is what a visitor may know of a channels.Message.
type message struct {
	Seq       int64           `json:"seq"`
	Author    channels.Author `json:"author"`
	Kind      string          `json:"kind"`
	Body      string          `json:"body"`
	At        time.Time       `json:"at"`
	ClientID  *string         `json:"client_id,omitempty"` // of the visitor's own
	Code      string          `json:"code,omitempty"`
	AgentName string          `json:"agent_name,omitempty"`
	Sources   []source        `json:"sources,omitempty"`
	Mode      string          `json:"mode,omitempty"`
	Cut       bool            `json:"cut,omitempty"`
	DueAt     *time.Time      `json:"due_at,omitempty"`
}

type source struct {
	Title string `json:"title"`
	URL   string `json:"url,omitempty"`
}

// visible is the one rule for what may leave towards a visitor; page says the same in SQL.
func visible(m *channels.Message) bool {
	return m.Channel == channels.Chat && !m.Private && m.Kind != channels.Note
}

func forVisitor(m *channels.Message) *message {
	out := &message{
		Seq: m.Seq, Author: m.Author, Kind: m.Kind, Body: m.Body, At: m.At,
		Code: m.Data.Code, AgentName: m.Data.AgentName, Mode: m.Data.Mode, Cut: m.Data.Cut, DueAt: m.Data.DueAt,
	}
	if m.Author == channels.ByContact {
		out.ClientID = m.ClientID
	}
	for _, s := range m.Data.Sources {
		out.Sources = append(out.Sources, source{Title: s.Title, URL: s.URL})
	}
	return out
}

// parse reads one frame. The error is for the page; id is the frame's client_id as far as it could be read, so that
// the page knows which of its messages was refused.
func parse(data []byte) (in any, id string, err *channels.Error) {
	if !utf8.Valid(data) { // RFC 6455 8.1 wants it, our WebSocket library does not look, encoding/json would repair it
		return nil, "", channels.Fail(channels.Invalid, "The frame is not valid UTF-8.")
	}
	var head struct {
		Type     string `json:"type"`
		ClientID string `json:"client_id"`
	}
	if e := json.Unmarshal(data, &head); e != nil {
		return nil, "", jsonError(e)
	}
	if in = blank(head.Type); in == nil {
		return nil, head.ClientID, channels.FailField(channels.Invalid, "type", "There is no frame of this type.")
	}
	if e := strict(data, in); e != nil {
		return nil, head.ClientID, jsonError(e)
	}
	return in, head.ClientID, check(in)
}

func blank(kind string) any {
	switch kind {
	case "hello":
		return &hello{}
	case "say":
		return &say{}
	case "person":
		return &person{}
	case "identify":
		return &identify{}
	case "leave":
		return &leave{}
	case "call_times":
		return &callTimes{}
	case "call_me":
		return &callMe{}
	case "no_call":
		return &noCall{}
	case "no_person":
		return &noPerson{}
	case "typing":
		return &typing{}
	case "end":
		return &end{}
	case "ping":
		return &ping{}
	case "phone":
		return &phone{}
	case "call":
		return &call{}
	case "call_restart":
		return &callRestart{}
	case "call_key":
		return &callKey{}
	case "call_end":
		return &callEnd{}
	}
	return nil
}

// strict decodes into in and refuses unknown fields.
func strict(data []byte, in any) error {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	delete(fields, "type")
	rest, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(rest))
	dec.DisallowUnknownFields()
	return dec.Decode(in)
}

func jsonError(err error) *channels.Error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return channels.FailField(channels.Invalid, wrong.Field, "This is not a "+wrong.Type.String()+".")
	}
	// encoding/json has no type for it, only this text.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return channels.FailField(channels.Invalid, strings.Trim(field, `"`), "A frame of this type has no such field.")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return channels.Fail(channels.Invalid, "The frame is not whole.")
	}
	return channels.Fail(channels.Invalid, "The frame is not a JSON object.")
}

func check(in any) *channels.Error {
	switch f := in.(type) {
	case *hello:
		if f.After < 0 {
			return channels.FailField(channels.Invalid, "after", "This cannot be negative.")
		}
		if f.Token != "" && !wellFormed(f.Token) {
			return unknownToken()
		}
	case *say:
		if strings.TrimSpace(f.Body) == "" {
			return channels.FailField(channels.Invalid, "body", "The message is empty.")
		}
		if err := checkBody(f.Body); err != nil {
			return err
		}
		return checkID(f.ClientID)
	case *callMe:
		return f.check()
	case *leave:
		return checkLeave(f)
	case *person:
		return checkID(f.ClientID)
	case *call:
		return checkOffer(f.ClientID, f.SDP)
	case *callRestart:
		return checkOffer(f.ClientID, f.SDP)
	case *callKey:
		if len(f.Digit) != 1 || !strings.Contains("0123456789*#", f.Digit) {
			return channels.FailField(channels.Invalid, "digit", "This must be one of 0-9 * #.")
		}
	case *identify:
		if utf8.RuneCountInString(f.Name) > maxName {
			return channels.FailField(channels.TooLarge, "name", "A name has at most 100 characters.")
		}
		if strings.ContainsFunc(f.Name, func(r rune) bool { return r < ' ' }) {
			return channels.FailField(channels.Invalid, "name", "A name is one line.")
		}
	}
	return nil
}

func checkBody(body string) *channels.Error {
	if utf8.RuneCountInString(body) > maxBody {
		return channels.FailField(channels.TooLarge, "body", "A message has at most 4,000 characters.")
	}
	if strings.ContainsRune(body, 0) { // Postgres keeps none
		return channels.FailField(channels.Invalid, "body", "A message cannot hold the character NUL.")
	}
	return nil
}

// checkLeave wants an address that a mail server of the world could take (RFC 5321 section 4.5.3.1: 254 bytes). Whose it
// is nobody knows.
func checkLeave(f *leave) *channels.Error {
	f.Email = strings.TrimSpace(f.Email)
	if f.Email == "" {
		return channels.FailField(channels.Invalid, "email", "Where shall we write to? The address is missing.")
	}
	local, domain, found := strings.Cut(f.Email, "@")
	if !found || local == "" || !strings.Contains(strings.Trim(domain, "."), ".") || strings.ContainsAny(f.Email, " <>,;\"()[]") || strings.Contains(domain, "@") {
		return channels.FailField(channels.Invalid, "email", "A mail address looks like name@example.org.")
	}
	if len(f.Email) > maxMail {
		return channels.FailField(channels.TooLarge, "email", "A mail address has at most 254 characters.")
	}
	if err := checkBody(f.Body); err != nil {
		return err
	}
	return checkID(f.ClientID)
}

func checkOffer(id, sdp string) *channels.Error {
	if sdp == "" {
		return channels.FailField(channels.Invalid, "sdp", "The offer is missing.")
	}
	if len(sdp) > maxOffer {
		return channels.FailField(channels.TooLarge, "sdp", "An offer has at most 20,000 bytes.")
	}
	return checkID(id)
}

// checkID wants the page's own id of its message, without which sending twice would be two messages.
func checkID(id string) *channels.Error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return channels.FailField(channels.Invalid, "client_id", "This must have 1 to 64 letters, digits, - or _.")
	}
	return nil
}

func unknownToken() *channels.Error {
	return channels.FailField(channels.Unauthorized, "token", "We do not know this token. Say hello without one.")
}
