package email

import (
	"regexp"
	"strings"
)

// wroteWords are the verbs that end (or nearly end) the line above a quote.
const wroteWords = `(?:wrote|writes|sent|schrieb|a écrit|ecrit|escribió|escribio|escreveu|ha scritto|scrisse|skrev|schreef|geschreven|` +
	`napisał(?:a|\(a\))?|napisal|написал(?:а|\(а\))?|писал(?:а)?|пишет|пише|написав|kirjoitti|写道|寫道|đã viết|yazdı|ezt írta|napsal(?:\(a\))?|书写|書き込み)`

var (
	// wroteAtEnd: "... wrote:" and "---- John Smith wrote ----"
	wroteAtEnd = regexp.MustCompile(`(?i)(?:^|[\s>"”)])` + wroteWords + `\s*(?:[:：]|-{2,})?\s*-*$`)
	// wroteInside: "Am 3. Mai schrieb Max <max@...>:", "... schrieb am Fr., 28. Apr. 2017 um 11:53 Uhr:"
	wroteInside = regexp.MustCompile(`(?i)\s(?:schrieb|schreef|skrev|kirjoitti)\s.{1,200}:$`)
	// datedSender: Gmail's "2013/7/20 sam via Meta <info@example.org>" and "2016-03-03 17:21 GMT+01:00 Some One"
	datedSender = regexp.MustCompile(`^\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:.{0,200}<\s*\S+@\S+\s*>:?|\s+\d{1,2}:\d\d\s+GMT[+-]\d\d:\d\d\s.{1,100})$`)
	// starter: how the line above a quote begins in the languages that begin it with a word
	starter = regexp.MustCompile(`(?i)^(?:-{2,}\s*)?(?:on|at|am|le|el|il|em|op|den|på|w dniu|dnia|vào|в|от|вт|ср|чт|пт|сб|вс|пн|(?:mon|tue|wed|thu|fri|sat|sun|kl|tir|man|ons|tor|fre|lør|søn|ke|ti|to|pe|la|su|ma|ne|po|út|st|čt|pá|so)[.,]?\s?\d*)[\s.,]`)
	// datedAddress: a date, a time, an address and a colon need no verb ("26.06.2014, 14:41, "Al" <al@example.org>:")
	datedAddress = regexp.MustCompile(`^.{0,60}\d{1,2}:\d\d.{0,120}<\s*\S+@\S+\s*>\s*:$`)
	dateFirst    = regexp.MustCompile(`^\d{1,4}[-/. ]`)
	clock        = regexp.MustCompile(`\b\d{1,2}[:.h]\d{2}\b`)
	// shared: an introduction that a careless mail program put at the end of the reply's last line
	shared = regexp.MustCompile(`^(.*?\S)\s*(?:-{2,}\s*|\s)(On \w{3}, \w{3} \d{1,2}, \d{4} at \d{1,2}:\d\d [AP]M, .{0,80}\S+@\S+ wrote:)$`)
	// signedSender: "Sent from Samsung MobileName <address@example.com> wrote:" and "Some One <a@b> wrote:"
	signedSender = regexp.MustCompile(`^.{0,100}<\s*(?:mailto:)?\S+@[^\s>]+\s*>`)
)

const introductionLines = 5

// introduction tells whether the line above a quote ("On Monday, Ana <ana@...> wrote:") begins at line i, and how many
// lines it takes: mail programs wrap it. before is the reply's own text on the same line.
func introduction(lines []string, i int) (before string, length int) {
	first := bare(lines[i])
	if !mayIntroduce(first) {
		return "", 0
	}
	if strings.HasSuffix(first, " wrote:") {
		if m := shared.FindStringSubmatch(first); m != nil {
			return strings.TrimRight(m[1], "- "), 1
		}
	}
	var joined strings.Builder
	for j, blanks := i, 0; j < len(lines) && j < i+introductionLines+1 && joined.Len() < 600; j++ {
		l := bare(lines[j])
		if l == "" {
			// only an opened "<" of an address may go on behind a blank line
			if blanks++; blanks > 1 || j+1 >= len(lines) || !strings.HasPrefix(bare(lines[j+1]), "<") {
				return "", 0
			}
			continue
		}
		if len(l) > 400 {
			return "", 0
		}
		if j > i && quoted(lines[j]) && !closesAddress.MatchString(l) {
			return "", 0
		}
		if joined.Len() > 0 {
			joined.WriteByte(' ')
		}
		joined.WriteString(l)
		if isIntroduction(joined.String(), lines, j+1) {
			for k := i + 1; k <= j; k++ {
				if l := bare(lines[k]); !starter.MatchString(l) && !dateFirst.MatchString(l) {
					continue
				}
				if _, later := introduction(lines[:j+1], k); later > 0 {
					return "", 0 // it begins further down: the lines above are the reply's
				}
			}
			return "", j + 1 - i
		}
	}
	return "", 0
}

// mayIntroduce keeps the search linear: only such first lines are joined with those below.
func mayIntroduce(line string) bool {
	return strings.ContainsAny(line, "0123456789<@") || strings.HasPrefix(line, "--")
}

// lastWords end an introduction without a colon, in ASCII; the others end in a letter beyond it.
var lastWords = map[string]bool{"wrote": true, "writes": true, "sent": true, "schrieb": true, "ecrit": true, "escribio": true, "escreveu": true, "scritto": true,
	"scrisse": true, "skrev": true, "schreef": true, "geschreven": true, "napisal": true, "napsal": true, "kirjoitti": true, "ezt": true}

// closesAddress is the rest of an address that was broken before its ">".
var closesAddress = regexp.MustCompile(`^>\s?(:|` + wroteWords + `\s*:?)`)

func isIntroduction(line string, lines []string, next int) bool {
	if line[0] >= '0' && line[0] <= '9' && datedSender.MatchString(line) {
		return true
	}
	if last := line[len(line)-1]; last != ':' && last != '-' && last < 0x80 && last != ')' {
		if word := line[strings.LastIndexByte(line, ' ')+1:]; !lastWords[strings.ToLower(word)] {
			return false // nearly every line ends here: the patterns below are dear
		}
	}
	if strings.HasSuffix(line, ":") && datedAddress.MatchString(line) {
		return true
	}
	if !wroteAtEnd.MatchString(line) && !wroteInside.MatchString(line) {
		return false
	}
	if strings.HasPrefix(line, "---") && strings.HasSuffix(line, "---") {
		return true
	}
	marked := nextIsQuoted(lines, next)
	address := strings.Contains(line, "@")
	digits := strings.ContainsAny(line, "0123456789")
	begins := starter.MatchString(line) || dateFirst.MatchString(line)
	ends := strings.HasSuffix(line, ":") || strings.HasSuffix(line, "：") || strings.HasSuffix(line, "-")
	switch {
	case marked:
		return ends && (digits || address) || begins && digits && (address || clock.MatchString(line))
	case signedSender.MatchString(line):
		return ends
	default:
		return begins && digits && ends && (address || clock.MatchString(line))
	}
}

func nextIsQuoted(lines []string, i int) bool {
	for ; i < len(lines); i++ {
		if !blank(lines[i]) {
			return quoted(lines[i])
		}
	}
	return false
}
