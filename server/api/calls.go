package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"patchbay/channels"
	"patchbay/channels/voice/doctor"
	"patchbay/server/bus"
	"patchbay/server/report"
)

// The call doctor: which calls there were, what became of each, and a bundle for whoever helps.

// callDetail is the API's CallDetail.
type callDetail struct {
	Call     report.CallRow   `json:"call"`
	Trace    *doctor.Trace    `json:"trace"` // null: there is none
	Verdicts []doctor.Verdict `json:"verdicts"`
	Ending   string           `json:"ending"`

	Turns []channels.TurnTimes `json:"turns"`
}

// ListCalls shows agents their own calls and supervisors all.
func (s *Server) ListCalls(ctx context.Context, req ListCallsRequestObject) (ListCallsResponseObject, error) {
	p, me := req.Params, who(ctx)
	f := report.CallFilter{Before: orZero(p.Before), Agent: orZero(p.AgentID), State: string(orZero(p.State)), Direction: string(orZero(p.Direction)),
		Poor: orZero(p.Poor), Number: strings.TrimSpace(orZero(p.Number)), Limit: 50}
	if me.Role == "agent" {
		f.Agent = me.AgentID
	}
	list, err := report.Calls(ctx, s.cfg.Pool, f)
	return ListCalls200JSONResponse(list), err
}

func (s *Server) GetCall(ctx context.Context, req GetCallRequestObject) (GetCallResponseObject, error) {
	row, trace, err := s.callOf(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	d := callDetail{Call: *row, Trace: trace, Verdicts: []doctor.Verdict{}}
	if d.Turns, err = report.CallTurns(ctx, s.cfg.Pool, req.ID); err != nil {
		return nil, err
	}
	if trace != nil {
		d.Verdicts, d.Ending = doctor.Examine(*trace), doctor.Ending(*trace)
	}
	return GetCall200JSONResponse(d), nil
}

// GetCallBundle is a zip without anything personal.
func (s *Server) GetCallBundle(ctx context.Context, req GetCallBundleRequestObject) (GetCallBundleResponseObject, error) {
	_, trace, err := s.callOf(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	if trace == nil {
		return nil, channels.Fail(channels.NotFound, "The call doctor has no record of this call.")
	}
	facts := maps.Clone(s.cfg.Facts)
	if facts == nil {
		facts = map[string]string{}
	}
	nodes, err := report.LivingNodes(ctx, s.cfg.Pool)
	if err != nil {
		return nil, err
	}
	facts["nodes"] = fmt.Sprint(len(nodes))
	trunk, err := channels.GetTrunk(ctx, s.cfg.Pool, trace.TrunkID)
	if err != nil && channels.CodeOf(err) != channels.NotFound { // the settings' trunk has no row, or it is gone
		return nil, err
	}
	maps.Copy(facts, trunkFacts(trunk))
	var zip bytes.Buffer
	if err := doctor.Bundle(&zip, doctor.Case{Trace: *trace, Version: s.cfg.Version, Facts: facts}); err != nil {
		return nil, err
	}
	s.log.Info("call bundle made", "call", req.ID, "agent", who(ctx).AgentID, "peer", peerOf(ctx))
	name := fmt.Sprintf(`attachment; filename="call-%d.zip"`, req.ID)
	return GetCallBundle200ApplicationZipResponse{Body: &zip, ContentLength: int64(zip.Len()),
		Headers: GetCallBundle200ResponseHeaders{ContentDisposition: &name}}, nil
}

// trunkFacts are a trunk's settings that matter for calls, without its name, its login and its numbers; nil: no trunk.
func trunkFacts(t *channels.Trunk) map[string]string {
	if t == nil {
		return nil
	}
	list := func(l []string) string { return strings.Join(l, ", ") }
	facts := map[string]string{}
	for name, value := range map[string]any{
		"enabled": t.Enabled, "servers": list(t.Servers), "transport": t.Transport, "domain": t.Domain, "sources": list(t.Sources), "challenge": t.Challenge, "digest": t.Digest,
		"login": t.Username != "", "register": t.Register, "register_seconds": t.RegisterSeconds, "options_seconds": t.OptionsSeconds,
		"codecs": list(t.Codecs), "srtp": t.SRTP, "srtp_keys": t.SRTPKeys, "signal_ip": t.SignalIP, "media_ip": t.MediaIP, "latch": t.Latch, "force_rport": t.ForceRport,
		"number_format": t.NumberFormat, "country_code": t.CountryCode, "national_prefix": t.NationalPrefix, "caller_header": t.CallerHeader, "called_header": t.CalledHeader,
		"may_refer": t.MayRefer, "may_redirect": t.MayRedirect, "dial_out": t.DialOut, "international": t.International,
		"max_calls": t.MaxCalls, "max_calls_out": t.MaxCallsOut, "max_calls_hour": t.MaxCallsHour, "max_calls_day": t.MaxCallsDay,
	} {
		facts["trunk."+name] = fmt.Sprint(value)
	}
	return facts
}

// callOf reads a call that the asking agent may see, with its record: the stored one, or a running call's so far.
func (s *Server) callOf(ctx context.Context, id int64) (*report.CallRow, *doctor.Trace, error) {
	if me := who(ctx); me.Role == "agent" {
		mine, err := report.TookPart(ctx, s.cfg.Pool, id, me.AgentID)
		if err != nil {
			return nil, nil, err
		}
		if !mine {
			return nil, nil, channels.Fail(channels.NotFound, "There is no such call.") // or none of theirs
		}
	}
	row, raw, err := report.OneCall(ctx, s.cfg.Pool, id)
	if err != nil {
		return nil, nil, err
	}
	if raw == nil {
		if raw, err = s.runningTrace(ctx, id); err != nil || raw == nil {
			return row, nil, err
		}
	}
	t := new(doctor.Trace)
	if err := json.Unmarshal(raw, t); err != nil {
		return nil, nil, fmt.Errorf("call %d: trace: %w", id, err)
	}
	return row, t, nil
}

// runningTrace asks the node that has the call; nil: nobody has.
func (s *Server) runningTrace(ctx context.Context, id int64) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	var reply channels.CallReply
	err := s.cfg.Bus.Request(ctx, channels.CallSubject(id), channels.CallSignal{Type: "trace", CallID: id}, &reply)
	if errors.Is(err, bus.ErrNoOwner) {
		return nil, nil
	}
	return reply.Trace, err
}
