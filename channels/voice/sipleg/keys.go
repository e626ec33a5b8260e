package sipleg

import (
	"strings"
	"time"

	"patchbay/channels/voice/edge"
)

// keySource is the way a key came.
type keySource uint8

const (
	byEvent keySource = iota + 1 // RFC 4733
	byInfo
	byTone
)

// keyTwice is how long the same key by another way is the same press.
const keyTwice = 500 * time.Millisecond

// keys tells presses from echoes: phones and gateways like to send one press by several ways. The first way seen wins;
// the same digit by another within keyTwice is dropped.
type keys struct {
	digit byte
	from  keySource
	at    time.Time
}

// press tells whether this is a press of its own.
func (k *keys) press(digit byte, from keySource, now time.Time) bool {
	if k.digit == digit && k.from != from && now.Sub(k.at) < keyTwice {
		return false
	}
	k.digit, k.from, k.at = digit, from, now
	return true
}

// keyOfInfo reads a key from an INFO body: "Signal=5" (dtmf-relay) or just "5" (dtmf).
func keyOfInfo(kind string, body []byte) (byte, bool) {
	text := strings.TrimSpace(string(body))
	if kind == edge.TypeRelay {
		found := ""
		for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' }) {
			if name, value, ok := strings.Cut(line, "="); ok && strings.EqualFold(strings.TrimSpace(name), "signal") {
				found = strings.TrimSpace(value)
			}
		}
		text = found
	}
	switch text {
	case "10":
		text = "*"
	case "11":
		text = "#"
	}
	if len(text) != 1 || strings.IndexByte("0123456789*#ABCD", text[0]) < 0 {
		return 0, false
	}
	return text[0], true
}
