package api

import (
	"context"

	"github.com/jackc/pgx/v5"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/report"
)

// The waiting line: why somebody still waits, and the settings of queues, skills and agents. What each may hold is decided
// in agents; here stand who may and who has.

func (s *Server) ListWaits(ctx context.Context, _ ListWaitsRequestObject) (ListWaitsResponseObject, error) {
	list, err := report.List(ctx, s.cfg.Pool, report.Waiting, who(ctx).AgentID, nil)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(list))
	for i, row := range list {
		ids[i] = row.ID
	}
	waits, err := agents.Waits(ctx, s.cfg.Pool, ids)
	return ListWaits200JSONResponse(append([]agents.Wait{}, waits...)), err
}

func (s *Server) GetWait(ctx context.Context, req GetWaitRequestObject) (GetWaitResponseObject, error) {
	waits, err := agents.Waits(ctx, s.cfg.Pool, []int64{req.ID})
	if err != nil {
		return nil, err
	}
	reasons, err := agents.WaitReasons(ctx, s.cfg.Pool, req.ID)
	if err != nil {
		return nil, err
	}
	d := GetWait200JSONResponse{Reasons: append([]agents.WaitReason{}, reasons...)}
	if len(waits) > 0 {
		d.Wait = &waits[0]
	}
	return d, nil
}

func (s *Server) ListForecasts(ctx context.Context, _ ListForecastsRequestObject) (ListForecastsResponseObject, error) {
	list, err := report.Forecasts(ctx, s.cfg.Pool)
	return ListForecasts200JSONResponse(list), err
}

func (s *Server) ListBreaks(ctx context.Context, _ ListBreaksRequestObject) (ListBreaksResponseObject, error) {
	list, err := agents.Breaks(ctx, s.cfg.Pool)
	return ListBreaks200JSONResponse(list), err
}

func (s *Server) GetLineSettings(ctx context.Context, _ GetLineSettingsRequestObject) (GetLineSettingsResponseObject, error) {
	settings, err := agents.ReadLineSettings(ctx, s.cfg.Pool)
	settings.Engines = s.cfg.Engines()
	return GetLineSettings200JSONResponse(settings), err
}

// settleLine does a change of the line's settings, wakes the routers, and writes down who did it.
func (s *Server) settleLine(ctx context.Context, act string, change func(tx pgx.Tx) (about []any, err error)) error {
	if err := s.settle(ctx, act, change); err != nil {
		return err
	}
	if err := s.cfg.Bus.Publish(channels.RouteSubject, nil); err != nil {
		s.log.Warn("routers not told", "act", act, "err", err) // their sweep finds it
	}
	return nil
}

func (s *Server) AddQueue(ctx context.Context, req AddQueueRequestObject) (AddQueueResponseObject, error) {
	q := *req.Body
	q.ID = 0
	if err := q.CheckEngines(s.cfg.Engines()); err != nil {
		return nil, err
	}
	err := s.settleLine(ctx, "add queue", func(tx pgx.Tx) ([]any, error) {
		err := agents.SaveQueue(ctx, tx, &q)
		return []any{"queue", q.ID}, err
	})
	return AddQueue200JSONResponse(q), err
}

func (s *Server) ChangeQueue(ctx context.Context, req ChangeQueueRequestObject) (ChangeQueueResponseObject, error) {
	q := *req.Body
	q.ID = req.ID
	if err := q.CheckEngines(s.cfg.Engines()); err != nil {
		return nil, err
	}
	err := s.settleLine(ctx, "change queue", func(tx pgx.Tx) ([]any, error) {
		return []any{"queue", q.ID}, agents.SaveQueue(ctx, tx, &q)
	})
	return ChangeQueue200JSONResponse(q), err
}

func (s *Server) DeleteQueue(ctx context.Context, req DeleteQueueRequestObject) (DeleteQueueResponseObject, error) {
	moved, err := s.cfg.Flow.RemoveQueue(ctx, req.ID, req.Params.To)
	if err != nil {
		return nil, err
	}
	s.log.Info("queue deleted", "queue", req.ID, "to", req.Params.To, "moved", moved, "agent", who(ctx).AgentID, "peer", peerOf(ctx))
	return DeleteQueue200JSONResponse{Moved: moved}, s.cfg.Bus.Publish(channels.TrunkSubject, nil)
}

func (s *Server) AddSkill(ctx context.Context, req AddSkillRequestObject) (AddSkillResponseObject, error) {
	k, err := s.saveSkill(ctx, agents.Skill{Name: req.Body.Name})
	return AddSkill200JSONResponse(k), err
}

func (s *Server) RenameSkill(ctx context.Context, req RenameSkillRequestObject) (RenameSkillResponseObject, error) {
	k, err := s.saveSkill(ctx, agents.Skill{ID: req.ID, Name: req.Body.Name})
	return RenameSkill200JSONResponse(k), err
}

func (s *Server) saveSkill(ctx context.Context, k agents.Skill) (agents.Skill, error) {
	err := s.settleLine(ctx, "save skill", func(tx pgx.Tx) ([]any, error) {
		err := agents.SaveSkill(ctx, tx, &k)
		return []any{"skill", k.ID}, err
	})
	return k, err
}

func (s *Server) DeleteSkill(ctx context.Context, req DeleteSkillRequestObject) (DeleteSkillResponseObject, error) {
	return DeleteSkill204Response{}, s.settleLine(ctx, "delete skill", func(tx pgx.Tx) ([]any, error) {
		return []any{"skill", req.ID}, agents.DeleteSkill(ctx, tx, req.ID)
	})
}

func (s *Server) ChangeAgent(ctx context.Context, req ChangeAgentRequestObject) (ChangeAgentResponseObject, error) {
	a := agents.AgentSettings{ID: req.ID, Capacity: req.Body.Capacity, Queues: req.Body.Queues, Skills: req.Body.Skills}
	err := s.settleLine(ctx, "change agent", func(tx pgx.Tx) ([]any, error) {
		return []any{"changed", a.ID}, agents.SaveAgent(ctx, tx, &a)
	})
	if err != nil {
		return nil, err
	}
	// its desk shows other queues now
	return ChangeAgent200JSONResponse(a), s.cfg.Bus.Publish(channels.AgentSubject(a.ID), LiveOut{Type: LiveOutTypePresence})
}

func (s *Server) DeleteAgent(ctx context.Context, req DeleteAgentRequestObject) (DeleteAgentResponseObject, error) {
	returned, err := s.cfg.Flow.RemoveAgent(ctx, who(ctx).AgentID, req.ID)
	if err != nil {
		return nil, err
	}
	s.log.Info("agent deleted", "deleted", req.ID, "returned", returned, "agent", who(ctx).AgentID, "peer", peerOf(ctx))
	s.hub.recheck()
	return DeleteAgent200JSONResponse{Moved: returned}, s.cfg.Bus.Publish(channels.RouteSubject, nil)
}

func (s *Server) SaveBreaks(ctx context.Context, req SaveBreaksRequestObject) (SaveBreaksResponseObject, error) {
	var list []string
	err := s.settleLine(ctx, "save breaks", func(tx pgx.Tx) (_ []any, err error) {
		list, err = agents.SaveBreaks(ctx, tx, req.Body.Breaks)
		return nil, err
	})
	return SaveBreaks200JSONResponse(list), err
}
