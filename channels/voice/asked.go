package voice

import (
	"context"
	"encoding/json"
	"time"

	"patchbay/channels"
)

// trunkTestLimit is how long a trunk may take to answer the page's test.
const trunkTestLimit = 7 * time.Second

// asked answers what is asked of this node before there is a call (channels.VoiceSubject), on a goroutine of the bus.
func (v *Voice) asked(data []byte) (any, error) {
	var req channels.VoiceRequest
	if err := json.Unmarshal(data, &req); err != nil {
		return channels.CallReply{Error: channels.Fail(channels.Invalid, "This is not a request to the telephone.")}, nil
	}
	switch req.Type {
	case "dial":
		return answered("", v.dialOut(req))
	case "may_dial":
		number, err := v.mayDial(req.Number)
		if err != nil {
			return answered("", err)
		}
		return channels.CallReply{Number: number}, nil
	case "trunk_test":
		ctx, cancel := context.WithTimeout(v.callsCtx, trunkTestLimit)
		defer cancel()
		state, err := v.trunks.Test(ctx, req.TrunkID)
		if err != nil {
			return answered("", err)
		}
		return channels.CallReply{Trunk: state}, nil
	case "echo":
		return answered(v.echo(req))
	case "web":
		reply, err := v.webCall(req)
		if err == nil {
			return reply, nil
		}
		return answered("", err)
	}
	return channels.CallReply{Error: errUnknown}, nil
}

// hold takes a place among what must end before the house does; false: the house is closing. The one who got it calls
// v.running.Done.
func (v *Voice) hold() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return false
	}
	v.running.Add(1)
	return true
}
