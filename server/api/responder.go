package api

import (
	"context"
	"time"

	"patchbay/channels"
	"patchbay/server/report"
)

// responderReport is the API's ResponderReport.
type responderReport struct {
	Now      channels.ModelState    `json:"now"`
	Since    time.Time              `json:"since"`
	Channels []report.ChannelStages `json:"channels"`
}

// reportHours is how far back GetResponder looks without being told.
const reportHours = 24

// GetResponder shows what the models do now (this node's) and how long answers took (every node's).
func (s *Server) GetResponder(ctx context.Context, req GetResponderRequestObject) (GetResponderResponseObject, error) {
	hours := orZero(req.Params.Hours)
	if hours == 0 {
		hours = reportHours
	}
	r := responderReport{Now: channels.ModelState{Hosts: []channels.ModelHost{}}, Since: time.Now().Add(-time.Duration(hours) * time.Hour).Truncate(time.Hour)}
	if s.cfg.Model != nil {
		r.Now = s.cfg.Model()
	}
	var err error
	r.Channels, err = report.Stages(ctx, s.cfg.Pool, r.Since)
	return GetResponder200JSONResponse(r), err
}
