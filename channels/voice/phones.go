package voice

import (
	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// The agents' SIP telephones: who they are (package devices), and how they come into calls.

// account is who may log in: trunks that must, and telephones.
func (v *Voice) account(user string) (edge.Account, bool) {
	if a, ok := v.trunks.account(user); ok || v.phones == nil {
		return a, ok
	}
	return v.phones.Account(user)
}

// outside answers what belongs to no call.
func (v *Voice) outside(req *sip.Request) *edge.Refusal {
	if req.Method != sip.REGISTER || v.phones == nil || len(v.cfg.Phones) == 0 {
		return nil
	}
	return v.phones.Register(req)
}
