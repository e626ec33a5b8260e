package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"regexp"
	"runtime/debug"

	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/channels"
)

// internal is the code of everything that has no words for a user.
const internal channels.Code = "internal"

// statusOf is the only place that knows which HTTP status says what.
func statusOf(code channels.Code) int {
	switch code {
	case channels.Invalid:
		return fiber.StatusBadRequest
	case channels.NotFound:
		return fiber.StatusNotFound
	case channels.Conflict:
		return fiber.StatusConflict
	case channels.Unauthorized:
		return fiber.StatusUnauthorized
	case channels.Forbidden:
		return fiber.StatusForbidden
	case channels.TooLarge:
		return fiber.StatusRequestEntityTooLarge
	case channels.TooMany:
		return fiber.StatusTooManyRequests
	case channels.Unavailable:
		return fiber.StatusServiceUnavailable
	}
	return fiber.StatusInternalServerError
}

// answerError turns every error into the one JSON form. It is the place where an error stops travelling, so it is
// logged here and nowhere else.
func (s *Server) answerError(c *fiber.Ctx, err error) error {
	status, e := 0, (*channels.Error)(nil)
	if fe := (*fiber.Error)(nil); errors.As(err, &fe) {
		status, e = fe.Code, fiberError(fe)
	} else {
		e = s.explain(err, "method", c.Method(), "path", c.Path())
		status = statusOf(e.Code)
	}
	return c.Status(status).JSON(e)
}

// explain returns what a user may be told of err, and logs what they may not.
func (s *Server) explain(err error, attrs ...any) *channels.Error {
	var e *channels.Error
	if errors.As(err, &e) {
		return e
	}
	var refused *pgconn.ConnectError
	var broken net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &refused) || errors.As(err, &broken) {
		s.log.Warn("unavailable", append(attrs, "err", err)...)
		return channels.Fail(channels.Unavailable, "That took too long or could not be reached. Try again.")
	}
	id := make([]byte, 4)
	rand.Read(id) // never fails, see crypto/rand
	name := hex.EncodeToString(id)
	s.log.Error("internal error", append(attrs, "id", name, "err", err)...)
	return channels.Fail(internal, "Something went wrong here, not with you. It is written down as "+name+".")
}

// The generated code refuses parameters with words like these.
var parameter = regexp.MustCompile(`(?:[Pp]arameter|[Aa]rgument) (\w+)`)

// fiberError finds words for what fiber and the generated code refuse by themselves.
func fiberError(fe *fiber.Error) *channels.Error {
	switch fe.Code {
	case fiber.StatusNotFound:
		return channels.Fail(channels.NotFound, "There is nothing here.")
	case fiber.StatusMethodNotAllowed:
		return channels.Fail(channels.NotFound, "There is nothing here for this method.")
	case fiber.StatusRequestEntityTooLarge:
		return channels.Fail(channels.TooLarge, "The request is too large.")
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return channels.Fail(channels.TooLarge, "The request's headers are too large.")
	case fiber.StatusUpgradeRequired:
		return channels.Fail(channels.Invalid, "This address speaks WebSocket.")
	}
	if fe.Code >= 500 {
		return channels.Fail(channels.Unavailable, "That did not work. Try again.")
	}
	if m := parameter.FindStringSubmatch(fe.Message); m != nil {
		return channels.FailField(channels.Invalid, m[1], "The parameter "+m[1]+" is missing or not of its kind.")
	}
	return channels.Fail(channels.Invalid, "The request could not be read.")
}

func (s *Server) panicked(c *fiber.Ctx, x any) {
	s.log.Error("panic", "path", c.Path(), "panic", x, "stack", string(debug.Stack()))
}
