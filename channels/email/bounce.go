package email

import (
	"regexp"
	"strings"
)

// bounce is what a delivery report says about one mail of ours.
type bounce struct {
	Status string // RFC 3463: 5.1.1; "" when the report does not say
	Reason string // the receiving server's own words, one line
	IDs    []string
	Final  bool // refused for good; else only delayed
	Failed bool // it reports a failure at all (not a success, a reading receipt or a complaint)
}

var (
	statusField   = regexp.MustCompile(`(?im)^\s*status:\s*([245]\.\d{1,3}\.\d{1,3})`)
	actionField   = regexp.MustCompile(`(?im)^\s*action:\s*(failed|delayed|delivered|relayed|expanded)`)
	diagnostic    = regexp.MustCompile(`(?im)^\s*diagnostic-code:\s*(?:[\w.-]+\s*;\s*)?(.*(?:\n[ \t]+.*)*)`)
	enhanced      = regexp.MustCompile(`(?:^|[^\d.])([45]\.[0-7]\.\d{1,3})(?:[^\d.]|\.\s|\.$|$)`)
	smtpReply     = regexp.MustCompile(`(?:^|[\s:'"(<#])([45][0-5]\d)(?:[\s-]+[#(]?\d\.\d\.\d|[\s-]+\S)`)
	originalField = regexp.MustCompile(`(?im)^[ \t>]*(?:message-id|x-ms-exchange-original-message-id|original-message-id|references|in-reply-to)\s*:[ \t]*((?:[^\n]*\n?[ \t]+)?[^\n]*<[^<>\s]+@[^<>\s]+>)`)
	// plain is what a server says in words where its number says nothing (5.0.0): the kinds that matter to an agent.
	plain = []struct {
		words  *regexp.Regexp
		status string
		loose  bool
	}{
		{regexp.MustCompile(`(?i)user (is )?unknown|unknown (user|recipient|address|local)|no such (user|mailbox|recipient|address|account|person)|(user|recipient|address|account|mailbox|email)\b.{0,60}(not found|does ?n[o']t exist|unknown|invalid|not exist|no longer|not listed|isn't)|invalid (recipient|user|mailbox|address)|no mailbox here|not a valid (user|mailbox|recipient)|nobody|not our customer|recipient.{0,20}reject|user not|no account|宛先.{0,20}見つかり|存在し`), "5.1.1", false},
		{regexp.MustCompile(`(?i)(mailbox|quota|storage|disk).{0,40}(full|exceed|over|limit)|over ?quota|out of (storage|space)|not enough (storage|disk|space)|insufficient (disk|system|storage)|mailbox is full`), "5.2.2", false},
		{regexp.MustCompile(`(?i)(account|mailbox|user|recipient|address).{0,30}(disabled|inactive|suspended|locked|deactivated|expired)`), "5.2.1", false},
		{regexp.MustCompile(`(?i)(message|mail|size).{0,40}(too (large|big)|exceeds|size limit|maximum size)`), "5.3.4", false},
		{regexp.MustCompile(`(?i)host (or domain name )?(unknown|not found)|domain.{0,30}(not found|does ?n.t exist|unknown)|name (service|server) error|no such (host|domain)|unrouteable|nxdomain|unable to look ?up|cannot find.{0,30}(host|domain)`), "5.1.2", false},
		{regexp.MustCompile(`(?i)spam|blocked|black ?list|reputation|blocklist|\brbl\b|policy|dmarc|spf|relay(ing)? denied|relay access|access denied|not (allowed|permitted|authorized)|virus|content`), "5.7.1", true},
		{regexp.MustCompile(`(?i)timed? ?out|connection (refused|lost|reset)|too many hops|could not connect|no route|retry time|delayed|temporar|try again|greylist|rate limit`), "4.4.1", true},
	}
)

// readBounce reads a delivery report: RFC 3464 where the sender keeps to it, else the words. ok is false for a mail
// that reports on no delivery.
func readBounce(l *letter) (b bounce, ok bool) {
	text := l.Whole
	report := l.status
	if report == "" && l.mediaType != "multipart/report" && !bounceSubject.MatchString(l.Subject) && !systemSenderOf(l) && !looksBounced(l) {
		return b, false
	}
	if strings.Contains(strings.ToLower(l.header.get("content-type")), "disposition-notification") || strings.Contains(strings.ToLower(l.header.get("content-type")), "feedback-report") {
		return b, false
	}
	if m := diagnostic.FindStringSubmatch(report + "\n" + text); m != nil {
		b.Reason = oneLine(m[1])
	}
	action := ""
	if m := actionField.FindStringSubmatch(report + "\n" + text); m != nil {
		action = strings.ToLower(m[1])
	}
	if m := statusField.FindStringSubmatch(report + "\n" + text); m != nil {
		b.Status = m[1]
	}
	if said := enhanced.FindAllStringSubmatch(b.Reason, -1); said != nil && !vague(said[len(said)-1][1]) {
		b.Status = said[len(said)-1][1] // the far server's own number, where the near one sums up
	} else if vague(b.Status) {
		b.Status = betterStatus(b.Status, b.Reason, text)
	}
	b.Failed = action == "failed" || action == "delayed" || action == "" && (b.Status == "" || b.Status[0] != '2')
	b.Final = action == "failed" || action == "" && !strings.HasPrefix(b.Status, "4")
	if b.Reason == "" {
		b.Reason = reasonLine(text)
	}
	for _, source := range []string{l.original, report, text} {
		for _, m := range originalField.FindAllStringSubmatch(source, 50) {
			b.IDs = append(b.IDs, messageIDs(m[1])...)
		}
	}
	b.IDs = append(b.IDs, l.References...)
	return b, true
}

func systemSenderOf(l *letter) bool {
	local, _, _ := strings.Cut(l.From, "@")
	return systemSender.MatchString(local)
}

// vague numbers say only "failed": the words then say more.
func vague(status string) bool { return status == "" || strings.HasSuffix(status, ".0.0") }

func betterStatus(status, reason, text string) string {
	for _, source := range []string{reason, text} {
		if m := enhanced.FindStringSubmatch(source); m != nil && !vague(m[1]) {
			return m[1]
		}
	}
	for _, p := range plain {
		if p.words.MatchString(reason) {
			return p.status
		}
	}
	for _, p := range plain { // a whole text has too many words for the looser ones
		if !p.loose && p.words.MatchString(text) {
			return p.status
		}
	}
	if status != "" {
		return status
	}
	if m := smtpReply.FindStringSubmatch(text); m != nil {
		return m[1][:1] + ".0.0"
	}
	return "5.0.0"
}

// reasonLine finds the line of a report that a person would read out.
func reasonLine(text string) string {
	for _, line := range strings.Split(text, "\n") {
		if smtpReply.MatchString(line) || enhanced.MatchString(line) {
			return clip(oneLine(strings.TrimSpace(line)), 300)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if bouncedWords.MatchString(line) {
			return clip(oneLine(strings.TrimSpace(line)), 300)
		}
	}
	return ""
}
