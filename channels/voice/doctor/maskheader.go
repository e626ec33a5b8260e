package doctor

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var methods = []string{"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "PUBLISH"}

// phrases are the standard's own: what stands behind a code on the wire may be anything.
var phrases = map[int]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 200: "OK", 202: "Accepted", 204: "No Notification",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service",
	400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
	407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 413: "Request Entity Too Large", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
	420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief", 480: "Temporarily Unavailable",
	481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
	488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable", 494: "Security Agreement Required",
	500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
}

// canonical header names, by what is done with them.
var (
	people   = names("From To Contact P-Asserted-Identity P-Preferred-Identity Remote-Party-ID P-Called-Party-ID Diversion History-Info Route Record-Route Path Service-Route Refer-To Referred-By Reply-To P-Associated-URI")
	numbers  = names("Max-Forwards Content-Length Expires Min-Expires Min-SE Retry-After")
	tokens   = names("Allow Supported Require Proxy-Require Unsupported Accept Accept-Encoding Content-Encoding Event Allow-Events Subscription-State Privacy Refer-Sub Content-Disposition Session-Expires")
	software = names("User-Agent Server")
	secrets  = names("Authorization Proxy-Authorization WWW-Authenticate Proxy-Authenticate Authentication-Info Identity")
)

func names(list string) map[string]string {
	m := map[string]string{}
	for _, n := range strings.Fields(list) {
		m[strings.ToLower(n)] = n
	}
	return m
}

// options are the tokens of extensions, packages and the like that may stay.
var options = names(`100rel timer replaces path outbound gruu norefersub join from-change histinfo tdialog eventlist precondition early-session sec-agree
	ice sip-ice answermode resource-priority uui application/sdp application/dtmf-relay application/dtmf message/sipfrag multipart/mixed application/pidf+xml application/simple-message-summary
	refer message-summary presence dialog reg talk hold conference check-sync keep-alive active pending terminated session render none id user header critical gzip identity text/plain
	reason=noresource reason=timeout refresher=uac refresher=uas handling=optional handling=required true false ` + strings.ToLower(strings.Join(methods, " ")))

// header keeps what a header says about the protocol and puts stand-ins for whom it names. Unknown ones lose even their
// name: it may be anything.
func (k *mask) header(h header) string {
	switch {
	case people[h.name] != "":
		return people[h.name] + ": " + k.each(h.value, k.person)
	case numbers[h.name] != "":
		if small.MatchString(h.value) {
			return numbers[h.name] + ": " + h.value
		}
		return numbers[h.name] + ": (left out)"
	case tokens[h.name] != "":
		return tokens[h.name] + ": " + k.each(h.value, k.token)
	case software[h.name] != "":
		return software[h.name] + ": " + product(h.value)
	case secrets[h.name] != "":
		return secrets[h.name] + ": Digest (left out)"
	}
	switch h.name {
	case "via":
		return "Via: " + k.each(h.value, k.via)
	case "call-id":
		return "Call-ID: " + k.as("call", h.value)
	case "cseq":
		number, m, _ := strings.Cut(h.value, " ")
		return "CSeq: " + k.count("cseq", number) + " " + method(strings.TrimSpace(m))
	case "rseq":
		return "RSeq: " + k.count("rseq", h.value)
	case "rack":
		f := strings.Fields(h.value)
		if len(f) != 3 {
			return "RAck: (left out)"
		}
		return "RAck: " + k.count("rseq", f[0]) + " " + k.count("cseq", f[1]) + " " + method(f[2])
	case "content-type":
		return "Content-Type: " + k.kind(h.value)
	case "reason":
		if cause := causeOf(h.value); cause != 0 && cause < 128 {
			return "Reason: Q.850;cause=" + strconv.Itoa(cause)
		}
		return "Reason: (left out)"
	case "replaces", "target-dialog", "in-reply-to":
		id, _, _ := strings.Cut(h.value, ";")
		return "Replaces: " + k.as("call", strings.TrimSpace(id))
	}
	return "X-Left-Out: (left out)"
}

// count is a sequence number by its order: 1 for the first that was seen.
func (k *mask) count(kind, number string) string {
	return strings.TrimPrefix(k.as(kind, strings.TrimSpace(number)), kind+"-")
}

// kind is a content type, without its parameters.
func (k *mask) kind(value string) string {
	kind, _, _ := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if options[kind] != "" && strings.Contains(kind, "/") {
		return kind
	}
	return "other/left-out"
}

// each masks what stands between commas, outside of quotes and brackets.
func (k *mask) each(list string, one func(string) string) string {
	var parts []string
	begin, quoted, deep := 0, false, 0
	for i := 0; i <= len(list); i++ {
		switch {
		case i == len(list):
		case quoted && list[i] == '\\':
			i++
			continue
		case list[i] == '"':
			quoted = !quoted
			continue
		case !quoted && list[i] == '<':
			deep++
			continue
		case !quoted && list[i] == '>':
			deep--
			continue
		case quoted || deep > 0 || list[i] != ',':
			continue
		}
		if i > len(list) {
			i = len(list)
		}
		parts = append(parts, one(strings.TrimSpace(list[begin:i])))
		begin = min(i+1, len(list))
	}
	return strings.Join(parts, ", ")
}

// token keeps known words and numbers of seconds.
func (k *mask) token(s string) string {
	parts := strings.Split(s, ";")
	for i, p := range parts {
		p = strings.TrimSpace(p)
		name, value, has := strings.Cut(p, "=")
		switch {
		case options[strings.ToLower(p)] != "", small.MatchString(p):
		case has && slices.Contains([]string{"expires", "retry-after", "q"}, strings.ToLower(name)) && small.MatchString(strings.ReplaceAll(value, ".", "")):
		default:
			p = "x"
		}
		parts[i] = p
	}
	return strings.Join(parts, ";")
}

var productToken = regexp.MustCompile(`^[A-Za-z]{2,20}(/[0-9]{1,3}(\.[0-9]{1,4}){0,3})?$`)

// known makers of telephones and exchanges; anybody else's product could be anybody's name.
var makers = names(`asterisk freeswitch kamailio opensips baresip linphone yealink snom grandstream polycom poly cisco avaya mitel gigaset fritz avm panasonic fanvil
	aastra zoiper microsip bria pjsua pjsip sipp sipsak patchbay lancom auerswald agfeo audiocodes ribbon sonus oracle starface 3cx telekom twilio sipgate twinkle jitsi groundwire acrobits freepbx sip ua pbx`)

// product keeps the first word of User-Agent when it names a known maker.
func product(value string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	name, _, _ := strings.Cut(first, "/")
	switch {
	case makers[strings.ToLower(name)] == "":
		return "(left out)"
	case productToken.MatchString(first):
		return first
	}
	return name
}

// uri keeps scheme, transport and port.
func (k *mask) uri(s string) string {
	scheme, rest, ok := strings.Cut(s, ":")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "sip" && scheme != "sips" && scheme != "tel" {
		return "(left out)"
	}
	rest, _, _ = strings.Cut(rest, "?")
	if scheme == "tel" {
		user, _, _ := strings.Cut(rest, ";")
		return "tel:" + k.number(user)
	}
	userinfo, hostport := "", rest
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		userinfo, hostport = rest[:i], rest[i+1:]
	}
	hostport, params, _ := strings.Cut(hostport, ";")
	out := scheme + ":"
	if userinfo != "" {
		user, _, _ := strings.Cut(userinfo, ":")
		user, _, _ = strings.Cut(user, ";")
		out += k.number(user) + "@"
	}
	out += k.host(hostport)
	for p := range strings.SplitSeq(params, ";") {
		if p = strings.ToLower(p); slices.Contains([]string{"transport=udp", "transport=tcp", "transport=tls", "lr", "ob", "user=phone"}, p) {
			out += ";" + p
		}
	}
	return out
}

// person is one entry of From, Contact, Diversion and their like.
func (k *mask) person(s string) string {
	name, uri, after := "", s, ""
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		name = strings.Trim(strings.TrimSpace(s[:i]), `"`)
		uri, after, _ = strings.Cut(s[i+1:], ">")
	} else {
		uri, after, _ = strings.Cut(s, ";")
		after = ";" + after
	}
	if s == "*" {
		return s
	}
	out := "<" + k.uri(strings.TrimSpace(uri)) + ">"
	if name != "" {
		out = `"` + k.as("name", name) + `" ` + out
	}
	for p := range strings.SplitSeq(after, ";") {
		n, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch n = strings.ToLower(n); {
		case n == "tag":
			out += ";tag=" + k.as("tag", v)
		case n == "expires" && small.MatchString(v):
			out += ";expires=" + v
		case n == "reason" && slices.Contains([]string{"user-busy", "no-answer", "unconditional", "deflection", "unavailable", "unknown"}, strings.ToLower(v)):
			out += ";reason=" + strings.ToLower(v)
		}
	}
	return out
}

// via keeps the way, with stand-ins for hosts and branches.
func (k *mask) via(s string) string {
	way, rest, _ := strings.Cut(s, " ")
	way = strings.ToUpper(way)
	if !slices.Contains([]string{"SIP/2.0/UDP", "SIP/2.0/TCP", "SIP/2.0/TLS", "SIP/2.0/WS", "SIP/2.0/WSS"}, way) {
		way = "SIP/2.0/X"
	}
	host, params, _ := strings.Cut(rest, ";")
	out := way + " " + k.host(strings.TrimSpace(host))
	for p := range strings.SplitSeq(params, ";") {
		n, v, has := strings.Cut(strings.TrimSpace(p), "=")
		switch n = strings.ToLower(n); {
		case n == "branch":
			out += ";branch=" + k.as("branch", v)
		case n == "received":
			out += ";received=" + k.host(v)
		case n == "rport" && has && small.MatchString(v):
			out += ";rport=" + v
		case n == "rport" && !has:
			out += ";rport"
		}
	}
	return out
}
