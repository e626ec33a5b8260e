package api

import (
	"context"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/report"
)

// Signing in and out, and what an agent says about itself.

const cookieFor = 12 * time.Hour

// signedIn sets the cookie beside the answer.
type signedIn struct {
	me     Me
	cookie *fiber.Cookie
}

func (r signedIn) VisitSignInResponse(c *fiber.Ctx) error { c.Cookie(r.cookie); return c.JSON(r.me) }
func (r signedIn) VisitSignInByLinkResponse(c *fiber.Ctx) error {
	c.Cookie(r.cookie)
	return c.JSON(r.me)
}

// SignIn implements StrictServerInterface, as all that follow.
func (s *Server) SignIn(ctx context.Context, req SignInRequestObject) (SignInResponseObject, error) {
	token, agentID, err := s.login.SignIn(ctx, req.Body.Login, req.Body.Password, peerOf(ctx))
	if err != nil {
		return nil, err
	}
	return s.signedIn(ctx, token, agentID)
}

func (s *Server) SignInByLink(ctx context.Context, req SignInByLinkRequestObject) (SignInByLinkResponseObject, error) {
	token, agentID, err := s.login.SignInByLink(ctx, req.Body.Token, peerOf(ctx))
	if err != nil {
		return nil, err
	}
	return s.signedIn(ctx, token, agentID)
}

func (s *Server) signedIn(ctx context.Context, token string, agentID int64) (signedIn, error) {
	me, err := s.me(ctx, agentID)
	if err != nil {
		return signedIn{}, err
	}
	return signedIn{me: *me, cookie: s.sessionCookie(token, time.Now().Add(cookieFor))}, nil
}

type signedOut struct{ cookie *fiber.Cookie }

func (r signedOut) VisitSignOutResponse(c *fiber.Ctx) error {
	c.Cookie(r.cookie)
	return c.SendStatus(fiber.StatusNoContent)
}

func (s *Server) SignOut(ctx context.Context, _ SignOutRequestObject) (SignOutResponseObject, error) {
	if err := s.login.SignOut(ctx, who(ctx)); err != nil {
		return nil, err
	}
	s.hub.recheck()
	return signedOut{s.sessionCookie("", time.Unix(0, 0))}, nil
}

func (s *Server) SetPassword(ctx context.Context, req SetPasswordRequestObject) (SetPasswordResponseObject, error) {
	if err := s.login.SetPassword(ctx, who(ctx), text(req.Body.Current), req.Body.Password, peerOf(ctx)); err != nil {
		return nil, err
	}
	s.hub.recheck()
	return SetPassword204Response{}, nil
}

func (s *Server) GetMe(ctx context.Context, _ GetMeRequestObject) (GetMeResponseObject, error) {
	me, err := s.me(ctx, who(ctx).AgentID)
	if err != nil {
		return nil, err
	}
	return GetMe200JSONResponse(*me), nil
}

// SetPresence: who goes away while something rings has declined it.
func (s *Server) SetPresence(ctx context.Context, req SetPresenceRequestObject) (SetPresenceResponseObject, error) {
	id := who(ctx).AgentID
	reason := strings.Join(strings.Fields(text(req.Body.Reason)), " ")
	if err := agents.SetPresence(ctx, s.cfg.Pool, s.cfg.Bus, id, req.Body.Presence, reason); err != nil {
		return nil, err
	}
	if req.Body.Presence != agents.Available {
		offer, err := agents.OpenOffer(ctx, s.cfg.Pool, id)
		if err != nil {
			return nil, err
		}
		if offer != nil {
			if err := s.cfg.Flow.Decline(ctx, id, offer.ID); err != nil && channels.CodeOf(err) == "" {
				return nil, err // an offer that has ended meanwhile is all right
			}
		}
	}
	me, err := s.me(ctx, id)
	if err != nil {
		return nil, err
	}
	return SetPresence200JSONResponse(*me), nil
}

func (s *Server) SetNextPresence(ctx context.Context, req SetNextPresenceRequestObject) (SetNextPresenceResponseObject, error) {
	id := who(ctx).AgentID
	reason := strings.Join(strings.Fields(text(req.Body.Reason)), " ")
	if err := agents.SetNextPresence(ctx, s.cfg.Pool, s.cfg.Bus, id, req.Body.Presence, reason); err != nil {
		return nil, err
	}
	me, err := s.me(ctx, id)
	if err != nil {
		return nil, err
	}
	return SetNextPresence200JSONResponse(*me), nil
}

func (s *Server) ListAgents(ctx context.Context, _ ListAgentsRequestObject) (ListAgentsResponseObject, error) {
	list, err := report.Colleagues(ctx, s.cfg.Pool)
	return ListAgents200JSONResponse(list), err
}

func (s *Server) ListQueues(ctx context.Context, _ ListQueuesRequestObject) (ListQueuesResponseObject, error) {
	list, err := report.Queues(ctx, s.cfg.Pool)
	return ListQueues200JSONResponse(list), err
}

// me joins what report and agents know of an agent.
func (s *Server) me(ctx context.Context, agentID int64) (*Me, error) {
	p, call, err := report.Me(ctx, s.cfg.Pool, agentID)
	if err != nil {
		return nil, err
	}
	offer, err := agents.OpenOffer(ctx, s.cfg.Pool, agentID)
	if err != nil {
		return nil, err
	}
	me := &Me{ID: p.ID, Login: p.Login, Name: p.Name, Role: MeRole(p.Role), Presence: agents.Presence(p.Presence),
		PresenceReason: p.PresenceReason, PresenceAt: p.PresenceAt, QueueIds: p.QueueIDs, HasPassword: p.HasPassword, Offer: offer}
	if p.NextPresence != "" {
		next := agents.Presence(p.NextPresence)
		me.NextPresence, me.NextReason = &next, &p.NextReason
	}
	if call != nil {
		role, way := LiveCallRole(call.Role), LiveCallDirection(call.Direction)
		customer, ours := &call.From, &call.To
		if call.Direction == channels.CallOut {
			customer, ours = ours, customer
		}
		me.Call = &LiveCall{CallID: call.ID, ConversationID: call.ConversationID, State: LiveCallState(call.State), From: customer, To: ours,
			Role: &role, Direction: &way, StartedAt: &call.StartedAt, BridgedAt: call.BridgedAt}
	}
	return me, nil
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
