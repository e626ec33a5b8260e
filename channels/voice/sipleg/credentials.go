package sipleg

import (
	"github.com/emiago/sipgo/sip"
)

// credentials is a request's answer to the challenge of a 401 or 407; nil: there is none that we can answer, or our
// answer was refused.
func (o *outgoing) credentials(req *sip.Request, res *sip.Response) sip.Header {
	reply := "Authorization"
	if res.StatusCode == 407 {
		reply = "Proxy-Authorization"
	}
	if o.login.User == "" || len(req.GetHeaders(reply)) > 0 {
		return nil
	}
	again := req.Clone()
	if err := o.login.Answer(again, res); err != nil {
		o.leg.log.Info("challenge", "err", err)
		return nil
	}
	return again.GetHeader(reply)
}

// retry is a request sent again: another branch, another number, other credentials.
func retry(req *sip.Request, seq uint32, credentials ...sip.Header) *sip.Request {
	again := req.Clone()
	via := again.Via().Clone()
	via.Params.Add("branch", sip.GenerateBranch())
	again.ReplaceHeader(via)
	again.ReplaceHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: req.Method})
	for _, h := range credentials {
		again.RemoveHeader(h.Name())
		again.AppendHeader(h)
	}
	return again
}
