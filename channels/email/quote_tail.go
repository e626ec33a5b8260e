package email

import (
	"regexp"
	"strings"
)

// ruler is a line of nothing but drawing: dashes, stars, underscores.
var rulerLine = regexp.MustCompile(`^\*?[-–—*#~=_+]{2,}\*?$`)

func ruler(line string) bool {
	l := bare(line)
	return rulerLine.MatchString(l) || l == "" && line != "" && !strings.ContainsAny(line, " \t\u00a0")
}

// trimRule takes the rulers away that stand between the reply and the mail cut from below it.
func trimRule(lines []string) []string {
	for len(lines) > 0 && (blank(lines[len(lines)-1]) || ruler(lines[len(lines)-1])) {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// mobileLine are the advertisements of mail programs; a whole line, at the end only.
var mobileLine = regexp.MustCompile(`(?i)^[\[(<]*(?:` + strings.Join([]string{
	`sent (?:from|via|with|using) (?:my |a |the )?(?:mobile|phone|cell|i(?:phone|pad|pod)|android|samsung|galaxy|htc|nokia|lg|sony|xperia|motorola|moto|pixel|huawei|oneplus|xiaomi|redmi|alcatel|wiko|blackberry|verizon|windows|outlook|yahoo|gmail|mail|mailbox|airmail|spark|sparrow|proton|typeapp|acompli|aol|ti-|k-9|boxer|nine|newton|polymail|zimbra|thunderbird|tablet|smartphone)\b.{0,90}`,
	`sent from \[?mail\]?.{0,90}`,
	`sent by galaxy.{0,20}`,
	`from my (?:iphone|ipad|android|mobile|phone|blackberry|samsung).{0,20}`,
	`\S{1,20} from mobile`,
	`get \[?outlook for (?:ios|android|windows|mac).{0,80}`,
	`envoy(?:é|e) (?:depuis|de|à partir de) (?:mon|ma|l['’])\s?.{1,60}`,
	`von meinem (?:iphone|ipad|handy|smartphone|mobil\S*|android\S*|samsung\S*|tablet).{0,30}gesendet.{0,10}`,
	`gesendet (?:von|mit) .{0,12}(?:iphone|ipad|mail|handy|gmx|web\.de|samsung|smartphone|outlook|android).{0,60}`,
	`diese nachricht wurde von meinem .{1,60} gesendet\.?`,
	`verzonden (?:met|vanaf|via) .{1,50}`, `verstuurd vanaf mijn .{1,40}`,
	`enviado (?:desde|do|a partir d[oe]) (?:mi|meu|mim)\s.{1,40}`, `inviato d(?:a|al) .{0,6}(?:iphone|ipad|cellulare|samsung|android|outlook).{0,30}`,
	`send[te] fra min .{1,30}`, `skickat från min .{1,30}`, `skickat från .{0,10}(?:iphone|ipad|mobil).{0,20}`,
	`lähetetty .{0,20}(?:iphone|puhelimesta|ipad).{0,20}`, `wysłan[eo] z .{1,40}`, `отправлено с .{1,40}`, `надіслано з .{1,40}`,
	`從我的 ?\S+ 傳送`, `从我的 ?\S+ ?发送`, `发自我的 ?\S+`, `iphone ?から送信`, `나의 \S+에서 보냄`,
}, "|") + `)[\])>]*$`)

func mobile(line string) bool {
	l := bare(line)
	return len(l) < 200 && mobileLine.MatchString(l)
}

// signatureLines is how long a block under "-- " may be to pass for a signature. A longer one is shown.
const signatureLines = 10

// trimTail takes away what may stand under the customer's words. quotes tells whether a quote without an introduction
// may go as well; it may not where a quoted mail was already cut, because then it is part of the reply.
func trimTail(lines []string, quotes bool) []string {
	lines = cutSignature(lines)
	for {
		lines = trimBlank(lines)
		if len(lines) == 0 {
			return lines
		}
		last := lines[len(lines)-1]
		switch {
		case ruler(last), mobile(last):
			lines = lines[:len(lines)-1]
		case quotes && quoted(last):
			own := len(lines)
			for own > 0 && (quoted(lines[own-1]) || blank(lines[own-1])) {
				own--
			}
			if own == 0 {
				return lines // nothing but a quote: then it is all there is to show
			}
			lines, quotes = lines[:own], false
		default:
			return lines
		}
	}
}

// cutSignature cuts at the first of the last "-- " lines (RFC 3676, section 4.3), if what is below each is short and
// asks nothing.
func cutSignature(lines []string) []string {
	count, end := 0, len(lines)
	for i := len(lines) - 1; i >= 0 && count <= signatureLines; i-- {
		l := bare(lines[i])
		if l == "--" {
			count, end = 0, i
			continue
		}
		if strings.HasSuffix(l, "?") || strings.HasSuffix(l, "？") || len(l) > 200 {
			break
		}
		if l != "" {
			count++
		}
	}
	if len(trimBlank(lines[:end])) == 0 {
		return lines
	}
	return lines[:end]
}
