package chat

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/channels"
)

// Call backs: a visitor in line may go, and is called instead. The place stays.

// Frames of a call back.
type (
	callTimes struct{} // when can I be called? Answered by call_times
	callMe    struct { // call me at my turn, or not before at; the same client_id again is the same wish
		ClientID string     `json:"client_id"`
		Number   string     `json:"number"`
		Name     string     `json:"name"`
		At       *time.Time `json:"at"`
	}
	noCall struct{} // "I wait here instead"
)

const maxNumber = 40

func (f *callMe) check() *channels.Error {
	switch {
	case strings.TrimSpace(f.Number) == "":
		return channels.FailField(channels.Invalid, "number", "At which number can we call you?")
	case len(f.Number) > maxNumber:
		return channels.FailField(channels.TooLarge, "number", "A phone number has 2 to 15 digits, such as +49 30 23125410.")
	case utf8.RuneCountInString(f.Name) > maxName:
		return channels.FailField(channels.TooLarge, "name", "A name has at most 100 characters.")
	case strings.ContainsFunc(f.Name, func(r rune) bool { return r < ' ' }):
		return channels.FailField(channels.Invalid, "name", "A name is one line.")
	}
	return checkID(f.ClientID)
}

// callTimes tells the page when this visitor can be called.
func (s *session) callTimes(ctx context.Context) error {
	if s.visitor.conversation == 0 || s.chat.dialsOut == nil || !s.chat.dialsOut() {
		s.refuse("", channels.Fail(channels.Unavailable, "We cannot call you right now."))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	times, err := s.chat.times(ctx, s.visitor.conversation)
	if err != nil {
		s.unavailable("")
		return err
	}
	s.push(outFrame{Type: "call_times", CallTimes: &times})
	return nil
}
