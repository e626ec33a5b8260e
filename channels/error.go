package channels

import "errors"

// Code classifies what a user may be told; only server/api and the channels translate it to their wire.
type Code string

const (
	Invalid      Code = "invalid"      // a field is wrong: Field says which, Text what was expected
	NotFound     Code = "not_found"    // also for "not yours"
	Conflict     Code = "conflict"     // somebody was faster, or the state does not allow it
	Unauthorized Code = "unauthorized" // sign in first
	Forbidden    Code = "forbidden"
	TooLarge     Code = "too_large"
	TooMany      Code = "too_many"    // slow down; nothing was stored
	Unavailable  Code = "unavailable" // try again: database or a node away
)

// Error is the one error type with words for a user. Everything else is "internal" to them.
type Error struct {
	Code  Code   `json:"code"`
	Field string `json:"field,omitempty"`
	Text  string `json:"message"`

	// Fields are all that is wrong with a form, the first of them Field and Text; nil: there is no other.
	Fields []Fault `json:"fields,omitempty"`
}

// Fault is one wrong field of a form.
type Fault struct {
	Field string `json:"field"`
	Text  string `json:"message"`
}

func (e *Error) Error() string {
	if e.Field != "" {
		return string(e.Code) + ": " + e.Field + ": " + e.Text
	}
	return string(e.Code) + ": " + e.Text
}

// Errorf-free constructors: the sentence is for people.
func Fail(code Code, text string) *Error { return &Error{Code: code, Text: text} }
func FailField(code Code, field, text string) *Error {
	return &Error{Code: code, Field: field, Text: text}
}

// CodeOf returns the code of err, "" when it has no words for a user.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
