package sipleg

import (
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// credentials answers the strongest challenge of a 401 or 407 (RFC 8760 section 2.3 lets us choose: sipgo reads only
// the first); nil: there is none that we can answer, or our answer was refused.
func (o *outgoing) credentials(req *sip.Request, res *sip.Response) sip.Header {
	if o.dial.User == "" {
		return nil
	}
	return Credentials(req, res, o.dial.User, o.dial.Password)
}

// Credentials makes the header by which req, refused with res, may be sent again; nil when no challenge in it can be
// answered, or when req carried an answer already and the nonce was not stale.
func Credentials(req *sip.Request, res *sip.Response, user, password string) sip.Header {
	ask, reply := "www-authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, reply = "proxy-authenticate", "Proxy-Authorization"
	}
	var best *digest.Challenge
	for _, h := range res.GetHeaders(ask) {
		c, err := digest.ParseChallenge(h.Value())
		if err == nil && strength(c) > 0 && (best == nil || strength(c) > strength(best)) {
			best = c
		}
	}
	if best == nil || len(req.GetHeaders(reply)) > 0 && !best.Stale {
		return nil
	}
	c, err := digest.Digest(best, digest.Options{Method: req.Method.String(), URI: req.Recipient.String(), Username: user, Password: password})
	if err != nil {
		return nil
	}
	return sip.NewHeader(reply, c.String())
}

// strength orders the algorithms; 0: not ours.
func strength(c *digest.Challenge) int {
	if !digest.CanDigest(c) || len(c.QOP) > 0 && !c.SupportsQOP("auth") {
		return 0
	}
	switch strings.ToUpper(c.Algorithm) {
	case "", "MD5":
		return 1
	case "SHA-256":
		return 2
	}
	return 3 // SHA-512, SHA-512-256
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
