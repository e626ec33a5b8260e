package speech

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// What goes between the server and a child: a length of four bytes (of what follows it), a kind, a session of four bytes, and a body.
// Numbers are little endian. Either side takes an ill-formed message for the other's end.
//
//	to the child                                     from the child
//	setup   JSON setup; the first, session 0         ready   JSON offer; once, session 0
//	hear    JSON wireHear: opens a session           heard   JSON wireHeard
//	say     JSON sayWish: opens a session            made    samples of 16 bit; none: one of the text's breaths is complete
//	sound   eight bytes of place, then samples       ended   JSON wireEnd: of a say, or of a session that could not open
//	finish  nothing                                  alive   nothing, session 0; five times a second
//	close   nothing: ends a session
type kind byte

const (
	kindSetup kind = iota + 1
	kindHear
	kindSay
	kindSound
	kindFinish
	kindClose
	kindReady
	kindHeard
	kindMade
	kindEnded
	kindAlive
)

// maxMessage is the longest message: 8 seconds of wide sound, and more than any text.
const maxMessage = 1 << 18

// message is one of them; its body is valid until the next is read.
type message struct {
	kind    kind
	session uint32
	body    []byte
}

type setup struct {
	Job     Job
	Models  string
	Threads int
}

// offer is what a child can do.
type offer struct {
	Engine    string
	Languages []string
	Voices    []string
	Error     string // why it can not
}

type wireHear struct {
	HearConfig
	DetectOnly bool  // no text is wanted
	Again      int64 // sound before this place is heard again, as fast as it comes; 0: none
	Told       bool  // it is known that the caller speaks
	Suspect    bool  // a child has died while it heard this sound
}

type sayWish struct {
	Text, Language, Voice string
	Rate                  int
}

type wireHeard struct {
	Kind       HeardKind
	Text       string
	Confidence float64
	From, To   time.Duration
	Level      float64
	Words      []Word
	Language   string
	Live       bool
	Error      string
}

type wireEnd struct{ Error string }

const headSize = 9

// appendMessage appends a message's bytes.
func appendMessage(b []byte, k kind, session uint32, body ...[]byte) []byte {
	n := 5
	for _, part := range body {
		n += len(part)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = append(b, byte(k))
	b = binary.LittleEndian.AppendUint32(b, session)
	for _, part := range body {
		b = append(b, part...)
	}
	return b
}

func appendJSON(b []byte, k kind, session uint32, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil { // these structs hold what JSON can say, but for a confidence that is no number
		body = []byte(`{"Error":"unspeakable"}`)
	}
	return appendMessage(b, k, session, body)
}

func appendSamples(b []byte, pcm []int16) []byte {
	for _, s := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

// messages reads them one by one.
type messages struct {
	from io.Reader
	head [headSize]byte
	body []byte
}

// next is io.EOF only between two messages.
func (m *messages) next() (message, error) {
	if _, err := io.ReadFull(m.from, m.head[:]); err != nil {
		return message{}, err
	}
	n := binary.LittleEndian.Uint32(m.head[:])
	if n < 5 || n > maxMessage {
		return message{}, fmt.Errorf("a message of %d bytes: 5 to %d were expected", n, maxMessage)
	}
	k := kind(m.head[4])
	if k < kindSetup || k > kindAlive {
		return message{}, fmt.Errorf("a message of the unknown kind %d", k)
	}
	if n -= 5; int(n) > cap(m.body) {
		m.body = make([]byte, n)
	}
	m.body = m.body[:n]
	if _, err := io.ReadFull(m.from, m.body); err != nil {
		return message{}, fmt.Errorf("a message of kind %d cut off: %w", k, err)
	}
	return message{k, binary.LittleEndian.Uint32(m.head[5:]), m.body}, nil
}

// sound reads the body of kindSound.
func (m message) sound() (at int64, pcm []int16, err error) {
	if len(m.body) < 8 || len(m.body)%2 != 0 {
		return 0, nil, fmt.Errorf("sound of %d bytes", len(m.body))
	}
	at = int64(binary.LittleEndian.Uint64(m.body))
	if at < 0 || at > 1<<50 {
		return 0, nil, fmt.Errorf("sound at the place %d", at)
	}
	return at, samplesOf(m.body[8:]), nil
}
