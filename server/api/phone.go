package api

import (
	"context"
	"fmt"

	"patchbay/channels"
	"patchbay/server/report"
)

// Calling out, and what a softphone has to know.

// Dial implements StrictServerInterface, as all that follow.
func (s *Server) Dial(ctx context.Context, req DialRequestObject) (DialResponseObject, error) {
	var conversation int64
	if req.Body.ConversationID != nil {
		conversation = *req.Body.ConversationID
	}
	if s.cfg.Flow.Dial == nil {
		return nil, errNoPhone
	}
	call, conversation, err := s.cfg.Flow.Dial(ctx, who(ctx).AgentID, req.Body.Number, text(req.Body.From), conversation)
	if err != nil {
		return nil, err
	}
	return Dial200JSONResponse{CallID: call, ConversationID: conversation}, nil
}

var errNoPhone = channels.Fail(channels.Unavailable, "This server has no telephone line.")

func (s *Server) GetPhone(ctx context.Context, _ GetPhoneRequestObject) (GetPhoneResponseObject, error) {
	p, err := s.phone(ctx)
	if err != nil {
		return nil, err
	}
	return GetPhone200JSONResponse(p), nil
}

func (s *Server) SetPhone(ctx context.Context, req SetPhoneRequestObject) (SetPhoneResponseObject, error) {
	if _, err := s.cfg.Pool.Exec(ctx, `update agents set phone = $2 where id = $1`, who(ctx).AgentID, req.Body.Phone); err != nil {
		return nil, fmt.Errorf("set phone: %w", err)
	}
	p, err := s.phone(ctx)
	if err != nil {
		return nil, err
	}
	return SetPhone200JSONResponse(p), nil
}

func (s *Server) phone(ctx context.Context) (Phone, error) {
	id := who(ctx).AgentID
	p, err := report.PhoneOf(ctx, s.cfg.Pool, id)
	if err != nil {
		return Phone{}, err
	}
	p.ICEServers = []channels.ICEServer{}
	if s.cfg.ICE != nil {
		p.ICEServers = s.cfg.ICE(fmt.Sprintf("agent-%d", id))
	}
	return p, nil
}
