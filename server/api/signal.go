package api

import (
	"context"
	"errors"

	"patchbay/channels"
	"patchbay/server/bus"
)

// signal brings a command about a call to the node that owns the call, and its answer back.
func (t *tab) signal(in LiveIn) error {
	if err := wellFormed(in); err != nil {
		return err
	}
	if in.Type == LiveInTypeEcho {
		return t.ask(in, channels.VoiceSubject(t.hub.s.cfg.NodeID), channels.VoiceRequest{Type: "echo", AgentID: t.session.AgentID, SDP: text(in.Sdp)})
	}
	id, err := need("call_id", in.CallID)
	if err != nil {
		return err
	}
	switch in.Type {
	case LiveInTypeTransfer:
		if in.Target.Kind != channels.TargetNumber { // who has the conversation is the flow's
			return t.passOn(in, id)
		}
	case LiveInTypeSupervise:
		if t.session.Role == "agent" {
			return channels.Fail(channels.Forbidden, "Only supervisors listen to other people's calls.")
		}
	case LiveInTypeConnect:
		if !t.hub.hasPhone(t) { // the newest tab that wants the phone has it
			if err := t.hub.claimPhone(t.session.AgentID, t.id); err != nil {
				return err
			}
		}
	}
	return t.ask(in, channels.CallSubject(id), channels.CallSignal{Type: string(in.Type), CallID: id, AgentID: t.session.AgentID, Name: t.name, Tab: t.id,
		SDP: text(in.Sdp), On: in.On != nil && *in.On, Digit: text(in.Digit), Target: in.Target, Mode: string(orZero(in.Mode))})
}

// wellFormed names the field that a command lacks.
func wellFormed(in LiveIn) error {
	lacks := ""
	switch in.Type {
	case LiveInTypeDtmf:
		if in.Digit == nil {
			lacks = "digit"
		}
	case LiveInTypeConnect, LiveInTypeRestart, LiveInTypeEcho:
		if text(in.Sdp) == "" {
			lacks = "sdp"
		}
	case LiveInTypeTransfer, LiveInTypeConsult:
		if in.Target == nil {
			lacks = "target"
		}
	case LiveInTypeSupervise:
		if in.Mode == nil {
			lacks = "mode"
		}
	}
	if lacks == "" {
		return nil
	}
	return channels.FailField(channels.Invalid, lacks, "The field "+lacks+" is missing.")
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// passOn gives the conversation of a call to a colleague or a queue.
func (t *tab) passOn(in LiveIn, call int64) error {
	if t.hub.s.cfg.Flow.TransferCall == nil {
		return errNoPhone
	}
	ctx, cancel := context.WithTimeout(t.ctx, queryLimit)
	defer cancel()
	if err := t.hub.s.cfg.Flow.TransferCall(ctx, t.session.AgentID, call, *in.Target); err != nil {
		return err
	}
	t.done(in)
	return nil
}

// ask sends a command over the bus and answers the tab: with an SDP when one came back, else that it is done.
func (t *tab) ask(in LiveIn, subject string, command any) error {
	ctx, cancel := context.WithTimeout(t.ctx, queryLimit)
	defer cancel()
	var answer channels.CallReply
	switch err := t.hub.s.cfg.Bus.Request(ctx, subject, command, &answer); {
	case errors.Is(err, bus.ErrNoOwner) && in.Type == LiveInTypeEcho:
		return errNoPhone
	case errors.Is(err, bus.ErrNoOwner):
		return channels.Fail(channels.NotFound, "The call is over.")
	case err != nil:
		return err
	case answer.Error != nil:
		return answer.Error
	}
	if answer.SDP == "" {
		t.done(in)
		return nil
	}
	id := orZero(in.CallID)
	t.send(encode(LiveOut{Type: LiveOutTypeCallAnswer, Ref: in.Ref, CallID: &id, Sdp: &answer.SDP}))
	return nil
}
