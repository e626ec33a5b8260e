package api

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"patchbay/agents"
	"patchbay/channels"
)

// permission says who may do an operation.
type permission int

const (
	nobody     permission = iota // an operation without an entry
	everybody                    // not signed in, too
	anAgent                      // whoever is signed in
	supervisor                   // supervisors and admins
	admin
)

// access is the whole table: operation -> who. A test fails for an operation without an entry.
var access = map[string]permission{
	"SignIn":               everybody,
	"SignInByLink":         everybody,
	"SignOut":              anAgent,
	"GetMe":                anAgent,
	"SetPresence":          anAgent,
	"SetPassword":          anAgent,
	"ListAgents":           anAgent,
	"ListQueues":           anAgent,
	"SetNextPresence":      anAgent,
	"ListBreaks":           anAgent,
	"SaveBreaks":           admin,
	"ListWaits":            anAgent, // of its waiting list: report
	"GetWait":              anAgent,
	"GetLineSettings":      supervisor,
	"AddQueue":             admin,
	"ChangeQueue":          admin,
	"DeleteQueue":          admin,
	"AddSkill":             admin,
	"RenameSkill":          admin,
	"DeleteSkill":          admin,
	"ChangeAgent":          admin,
	"DeleteAgent":          admin,
	"ListForecasts":        supervisor,
	"ListConversations":    anAgent,
	"GetConversation":      anAgent,
	"ListMessages":         anAgent,
	"PostMessage":          anAgent, // a reply only by the agent who has it: the flow
	"TakeConversation":     anAgent,
	"TransferConversation": anAgent, // as PostMessage
	"EndConversation":      anAgent, // as PostMessage
	"CloseConversation":    anAgent, // as PostMessage
	"DecideCallBack":       supervisor,
	"GetWrapUpDraft":       anAgent, // as PostMessage
	"AcceptOffer":          anAgent, // only its own: the flow
	"DeclineOffer":         anAgent, // only its own: the flow
	"AddAddress":           anAgent,
	"SetPeopleOnly":        anAgent,
	"Dial":                 anAgent, // the dial policy decides: voice
	"GetPhone":             anAgent,
	"SetPhone":             anAgent,
	"ListCalls":            anAgent, // its own: the handler
	"GetCall":              anAgent, // its own: the handler
	"GetCallBundle":        anAgent, // its own: the handler
	"GetResponder":         supervisor,
	"ListTrunks":           supervisor,
	"AddTrunk":             admin,
	"ChangeTrunk":          admin,
	"DeleteTrunk":          admin,
	"TestTrunk":            admin,
	"ListAlarms":           supervisor,
	"SeeAlarm":             supervisor,
	"ListNumbers":          supervisor,
	"SaveNumber":           admin,
	"DeleteNumber":         admin,
	"ListDevices":          supervisor,
	"AddDevice":            admin,
	"ChangeDevice":         admin,
	"ResetDevice":          admin,
	"DeleteDevice":         admin,
	"ListPrompts":          supervisor,
	"AddPrompt":            admin,
	"DeletePrompt":         admin,
	"GetPromptSound":       supervisor,
	"GetRecording":         anAgent, // who had it: report
	"GetRecordingSound":    anAgent, // as GetRecording
	"DeleteRecording":      supervisor,
	"GetProof":             supervisor,
	"ListLatePromises":     supervisor,
	"ListPromiseAlarms":    supervisor,
	"GetProofKey":          supervisor,
	"GetProofCSV":          supervisor,
	"GetProofSigned":       supervisor,
	"ListQueueSounds":      supervisor,
	"SaveQueueSound":       admin,
}

const cookie = "patchbay"

type (
	sessionKey struct{}
	peerKey    struct{}
)

// who returns the signed-in agent of a request.
func who(ctx context.Context) agents.Session {
	s, _ := ctx.Value(sessionKey{}).(agents.Session)
	return s
}

// peerOf returns the address that a request comes from.
func peerOf(ctx context.Context) string {
	ip, _ := ctx.Value(peerKey{}).(string)
	return ip
}

// guard lets a request below /api pass when it comes from our own page and, unless the operation is for everybody,
// with a living session. What has no route needs one too: a stranger cannot tell what there is.
func (s *Server) guard(c *fiber.Ctx) error {
	c.SetUserContext(context.WithValue(c.UserContext(), peerKey{}, s.peer(c)))
	if !safe(c.Method()) && !s.sameOrigin(c) {
		return channels.Fail(channels.Forbidden, "This request does not come from our own page.")
	}
	op := s.spec.fixed[c.Method()+" "+strings.TrimSuffix(c.Path(), "/")]
	if len(c.Request().Body()) > bodyLimit && (op == nil || op.file == "") { // a file's limit is its header's: see routes
		return fiber.ErrRequestEntityTooLarge
	}
	if op != nil && access[op.name] == everybody {
		return c.Next()
	}
	token := c.Cookies(cookie)
	if token == "" {
		return channels.Fail(channels.Unauthorized, "Sign in first.")
	}
	session, err := s.login.Session(c.UserContext(), token)
	if err != nil {
		return err
	}
	c.SetUserContext(context.WithValue(c.UserContext(), sessionKey{}, session))
	return c.Next()
}

// permit holds an operation against the table.
func permit(next StrictHandlerFunc, operation string) StrictHandlerFunc {
	return func(c *fiber.Ctx, args any) (any, error) {
		session := who(c.UserContext())
		allowed := false
		switch access[operation] {
		case everybody:
			allowed = true
		case anAgent:
			allowed = session.AgentID != 0
		case supervisor:
			allowed = supervises(session)
		case admin:
			allowed = session.AgentID != 0 && session.Role == "admin"
		}
		if !allowed {
			return nil, channels.Fail(channels.Forbidden, "Your role does not allow this.")
		}
		return next(c, args)
	}
}

func supervises(session agents.Session) bool { return session.AgentID != 0 && session.Role != "agent" }

func safe(method string) bool {
	return method == fiber.MethodGet || method == fiber.MethodHead || method == fiber.MethodOptions
}

// sameOrigin tells whether the page that sends this request is ours. Browsers send Origin with every unsafe method and
// every WebSocket; a request without it is not from a page.
func (s *Server) sameOrigin(c *fiber.Ctx) bool {
	origin, err := url.Parse(c.Get("Origin"))
	if err != nil || origin.Host == "" {
		return false
	}
	if s.public != nil && origin.Host == s.public.Host {
		return origin.Scheme == s.public.Scheme
	}
	return origin.Host == string(c.Context().Host()) && (origin.Scheme == "http" || origin.Scheme == "https")
}

func (s *Server) sessionCookie(token string, ends time.Time) *fiber.Cookie {
	return &fiber.Cookie{Name: cookie, Value: token, Path: "/", Expires: ends, HTTPOnly: true, SameSite: fiber.CookieSameSiteLaxMode,
		Secure: s.public != nil && s.public.Scheme == "https"}
}
