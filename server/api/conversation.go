package api

import (
	"context"
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/server/report"
)

// Lists, one conversation, and what an agent does to it.

const messagesByDefault = 200

func (s *Server) ListConversations(ctx context.Context, req ListConversationsRequestObject) (ListConversationsResponseObject, error) {
	id := who(ctx).AgentID
	rows, err := report.List(ctx, s.cfg.Pool, report.View(req.Params.View), id, req.Params.Before)
	if err != nil {
		return nil, err
	}
	counts, err := report.Count(ctx, s.cfg.Pool, id)
	if err != nil {
		return nil, err
	}
	return ListConversations200JSONResponse{Rows: rows, Counts: counts[id], Now: time.Now().UTC()}, nil
}

func (s *Server) GetConversation(ctx context.Context, req GetConversationRequestObject) (GetConversationResponseObject, error) {
	d, err := report.Detail(ctx, s.cfg.Pool, req.ID)
	if err != nil {
		return nil, err
	}
	return GetConversation200JSONResponse(*d), nil
}

func (s *Server) ListMessages(ctx context.Context, req ListMessagesRequestObject) (ListMessagesResponseObject, error) {
	limit := messagesByDefault
	if req.Params.Limit != nil {
		limit = *req.Params.Limit
	}
	list, err := report.Messages(ctx, s.cfg.Pool, req.ID, req.Params.After, req.Params.Before, limit)
	return ListMessages200JSONResponse(list), err
}

func (s *Server) PostMessage(ctx context.Context, req PostMessageRequestObject) (PostMessageResponseObject, error) {
	if strings.TrimSpace(req.Body.Body) == "" {
		return nil, channels.FailField(channels.Invalid, "body", "The message is empty.")
	}
	m, err := s.cfg.Flow.Reply(ctx, who(ctx).AgentID, req.ID, req.Body.ClientID, req.Body.Body, req.Body.Note != nil && *req.Body.Note)
	if err != nil {
		return nil, err
	}
	return PostMessage200JSONResponse(*m), nil
}

func (s *Server) TakeConversation(ctx context.Context, req TakeConversationRequestObject) (TakeConversationResponseObject, error) {
	if err := s.cfg.Flow.Take(ctx, who(ctx).AgentID, req.ID); err != nil {
		return nil, err
	}
	d, err := report.Detail(ctx, s.cfg.Pool, req.ID)
	if err != nil {
		return nil, err
	}
	return TakeConversation200JSONResponse(*d), nil
}

func (s *Server) TransferConversation(ctx context.Context, req TransferConversationRequestObject) (TransferConversationResponseObject, error) {
	to := channels.CallTarget{Kind: channels.TargetQueue}
	switch queue, agent := req.Body.QueueID, req.Body.AgentID; {
	case (queue == nil) == (agent == nil):
		return nil, channels.FailField(channels.Invalid, "queue_id", "Either a queue or a colleague.")
	case queue != nil:
		to.QueueID = *queue
	default:
		to = channels.CallTarget{Kind: channels.TargetAgent, AgentID: *agent}
	}
	err := s.cfg.Flow.Transfer(ctx, who(ctx).AgentID, req.ID, to, strings.TrimSpace(text(req.Body.Note)))
	return TransferConversation204Response{}, err
}

func (s *Server) EndConversation(ctx context.Context, req EndConversationRequestObject) (EndConversationResponseObject, error) {
	return EndConversation204Response{}, s.cfg.Flow.End(ctx, who(ctx).AgentID, req.ID)
}

func (s *Server) DecideCallBack(ctx context.Context, req DecideCallBackRequestObject) (DecideCallBackResponseObject, error) {
	decide := s.cfg.Flow.CallNow
	if req.Body.Act == CallBackDecisionActCancel {
		decide = s.cfg.Flow.CancelCall
	}
	return DecideCallBack204Response{}, decide(ctx, who(ctx).AgentID, req.ID)
}

func (s *Server) CloseConversation(ctx context.Context, req CloseConversationRequestObject) (CloseConversationResponseObject, error) {
	err := s.cfg.Flow.Close(ctx, who(ctx).AgentID, req.ID, string(req.Body.Disposition), strings.TrimSpace(text(req.Body.Note)))
	return CloseConversation204Response{}, err
}

func (s *Server) GetWrapUpDraft(ctx context.Context, req GetWrapUpDraftRequestObject) (GetWrapUpDraftResponseObject, error) {
	d, err := s.cfg.Flow.WrapUpDraft(ctx, who(ctx).AgentID, req.ID)
	if err != nil {
		return nil, err
	}
	return GetWrapUpDraft200JSONResponse(*d), nil
}

func (s *Server) AcceptOffer(ctx context.Context, req AcceptOfferRequestObject) (AcceptOfferResponseObject, error) {
	id, err := s.cfg.Flow.Accept(ctx, who(ctx).AgentID, req.ID)
	if err != nil {
		return nil, err
	}
	d, err := report.Detail(ctx, s.cfg.Pool, id)
	if err != nil {
		return nil, err
	}
	return AcceptOffer200JSONResponse(*d), nil
}

func (s *Server) DeclineOffer(ctx context.Context, req DeclineOfferRequestObject) (DeclineOfferResponseObject, error) {
	return DeclineOffer204Response{}, s.cfg.Flow.Decline(ctx, who(ctx).AgentID, req.ID)
}

func (s *Server) SetPeopleOnly(ctx context.Context, req SetPeopleOnlyRequestObject) (SetPeopleOnlyResponseObject, error) {
	return SetPeopleOnly204Response{}, s.cfg.Flow.PeopleOnly(ctx, who(ctx).AgentID, req.ID, req.Body.PeopleOnly)
}

func (s *Server) AddAddress(ctx context.Context, req AddAddressRequestObject) (AddAddressResponseObject, error) {
	if err := s.cfg.Flow.AddAddress(ctx, who(ctx).AgentID, req.ID, *req.Body); err != nil {
		return nil, err
	}
	list, err := report.Addresses(ctx, s.cfg.Pool, req.ID)
	return AddAddress200JSONResponse(list), err
}
