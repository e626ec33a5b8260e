package email

import (
	"regexp"
	"strings"
)

// This file tells what the customer wrote now from what a mail program repeated below or above it. It folds, it never
// deletes: the whole text stays beside the visible one. Two mistakes are possible and they are not alike: showing a
// quote too much is ugly, cutting a sentence of the customer's may hide a wish for a person. So every rule wants proof
// (an address, a time of day, a second header line), and where there is doubt the text is shown. Quotes that stay
// visible keep their ">" so that a reader of wishes can pass them over.

// Visible returns the customer's own words in text: without quoted mails, forwarded mails and signatures.
func Visible(text string) string {
	lines := splitLines(text)
	lines, cut := cutQuotedMail(lines)
	lines = trimTail(lines, !cut)
	return strings.Join(trimBlank(lines), "\n")
}

// invisible characters that mail programs leave at a line's start or end: they must not hide a marker from a rule.
var strayRunes = strings.NewReplacer("\u00a0", " ", "\u200b", "", "\u200e", "", "\u200f", "", "\ufeff", "", "\u202a", "", "\u202c", "",
	"\u202f", " ", "\u1427", "")

func splitLines(text string) []string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	return strings.Split(text, "\n")
}

func bare(line string) string { return strings.TrimSpace(strayRunes.Replace(line)) }

func blank(line string) bool { return bare(line) == "" }

func trimBlank(lines []string) []string {
	for len(lines) > 0 && blank(lines[0]) {
		lines = lines[1:]
	}
	for len(lines) > 0 && blank(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// quoteMark matches "> text" and the older "AB> text" with the writer's initials.
var quoteMark = regexp.MustCompile(`^[ \t]{0,4}[A-Z]{0,2}>`)

// falseMark are lines that begin with > and are no quote: arrows around a link, an autolink's wrapped end.
var falseMark = regexp.MustCompile(`^\s*>{2,}.*<{2,}`)

func quoted(line string) bool {
	return quoteMark.MatchString(line) && !falseMark.MatchString(line)
}

// cutQuotedMail walks down the text to the first line that begins another mail and takes that mail out. It goes on
// behind a quote of > lines, because people also write below and between.
func cutQuotedMail(lines []string) (kept []string, cut bool) {
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if blank(line) {
			kept = append(kept, line)
			continue
		}
		if quoted(line) {
			if begin := startsQuotedMail(lines, i); begin {
				end := quoteEnd(lines, i)
				if rest(lines, end) {
					kept = append(kept, lines[i:end]...)
				} else {
					cut = true
				}
				i = end - 1
				continue
			}
			for ; i < len(lines) && quoted(lines[i]); i++ {
				kept = append(kept, lines[i])
			}
			i--
			continue
		}
		if separator(line) || headerBlock(lines, i) {
			return trimRule(kept), true
		}
		before, length := introduction(lines, i)
		if length == 0 {
			kept = append(kept, line)
			continue
		}
		if before != "" {
			kept = append(kept, before)
		}
		next := i + length
		for next < len(lines) && blank(lines[next]) {
			next++
		}
		if next == len(lines) || !quoted(lines[next]) {
			if len(trimBlank(kept)) == 0 {
				i = next - 1 // nothing stands above it: the words may well be below, so they are shown
				continue
			}
			return trimRule(kept), true // the quoted mail has no marks: all that follows is it
		}
		end := quoteEnd(lines, next)
		if answersBetween(lines[end:]) {
			// One who answers point by point is not understood without the points.
			kept = append(kept, lines[next:end]...)
		}
		cut = true
		i = end - 1
	}
	return kept, cut
}

// startsQuotedMail tells whether the quote at i carries its own introduction ("> On ... wrote:"): Apple Mail and
// others put the mark before it.
func startsQuotedMail(lines []string, i int) bool {
	inner := make([]string, 0, 4)
	for j := i; j < len(lines) && j < i+4 && quoted(lines[j]); j++ {
		inner = append(inner, strings.TrimSpace(quoteMark.ReplaceAllString(lines[j], "")))
	}
	if len(inner) == 0 || inner[0] == "" {
		return false
	}
	_, length := introduction(inner, 0)
	return length > 0 || separator(inner[0])
}

// quoteEnd returns the index behind the quote that begins at i: > lines, blank lines between them and up to two
// unmarked lines that a mail program wrapped out of the quote.
func quoteEnd(lines []string, i int) int {
	end := i
	for j, stray := i, 0; j < len(lines) && stray <= 2; j++ {
		switch {
		case quoted(lines[j]):
			end, stray = j+1, 0
		case blank(lines[j]):
			if stray > 0 {
				return end
			}
		case wrappedOut(lines, j):
			stray++
		default:
			return end
		}
	}
	return end
}

// wrappedOut tells whether line j stands inside a quote only because a long link or address was broken there: it
// directly follows a quoted line and holds a piece of a link or an address.
func wrappedOut(lines []string, j int) bool {
	if j == 0 || blank(lines[j-1]) {
		return false
	}
	line := lines[j]
	return strings.Contains(line, "://") || strings.HasSuffix(bare(line), ">") && strings.Contains(line, "@") ||
		(!strings.ContainsRune(bare(line), ' ') && strings.ContainsAny(line, "=/)"))
}

// answersBetween tells whether text and another quote follow: an answer point by point.
func answersBetween(lines []string) bool {
	words := false
	for _, l := range lines[:min(len(lines), 500)] {
		if quoted(l) && words {
			return true
		}
		if !blank(l) {
			words = true
		}
	}
	return false
}

func rest(lines []string, from int) bool {
	for _, l := range lines[from:] {
		if !blank(l) && !ruler(l) && !mobile(l) {
			if strings.HasPrefix(bare(l), "--") {
				return false
			}
			return true
		}
	}
	return false
}

// separatorWords are the words for "original message" and "forwarded message" between two rows of dashes.
var separatorLine = regexp.MustCompile(`(?i)^\*?\s*[-_=]{2,}\s*(` + strings.Join([]string{
	"original message", "original appointment", "reply message", "forwarded message", "begin forwarded message", "forwarded by .{1,80}",
	"urspr(ü|u)ngliche nachricht", "antwort nachricht", "weitergeleitete nachricht", "originalnachricht",
	"message d['’]origine", "message original", "message transf(é|e)r(é|e)", "oprindelig (meddelelse|besked)", "videresendt (meddelelse|besked)",
	"mensaje original", "mensaje reenviado", "mensagem original", "mensagem encaminhada", "messaggio originale", "messaggio inoltrato",
	"oorspronkelijk bericht", "origineel bericht", "doorgestuurd bericht", "originalmeddelande", "ursprungligt meddelande", "vidarebefordrat meddelande",
	"opprinnelig melding", "videresendt melding", "alkuper(ä|a)inen viesti", "wiadomo(ś|s)(ć|c) oryginalna", "oryginalna wiadomo(ś|s)(ć|c)",
	"исходное сообщение", "пересылаемое сообщение", "пересланное сообщение", "оригінальне повідомлення", "p(ů|u)vodn(í|i) zpr(á|a)va", "eredeti (ü|u)zenet", "orijinal mesaj",
	"原始邮件", "原始郵件", "元のメッセージ", "원본 메시지",
}, "|") + `)\s*[-_=]{2,}\s*\*?$`)

// beginForward is Apple Mail's line, without dashes.
var beginForward = regexp.MustCompile(`(?i)^(begin forwarded message|anfang der weitergeleiteten (nachricht|e-mail)|début du message (réexpédié|transféré)|inicio del mensaje reenviado|inizio messaggio inoltrato)\s*:$`)

// headerInOneLine is a quoted mail's head whose line breaks were lost.
var headerInOneLine = regexp.MustCompile(`(?i)^\*?(?:from|von|de)\s*:\*?\s.{0,80}@.{1,80}\s\*?(?:date|sent|datum|gesendet|envoyé)\s*:\*?\s.{0,30}\b(?:19|20)\d\d\b`)

func separator(line string) bool {
	l := bare(line)
	if len(l) > 400 || l == "" || !strings.ContainsAny(l, ":-_=") {
		return false
	}
	return separatorLine.MatchString(l) || beginForward.MatchString(l) || headerInOneLine.MatchString(l)
}

// headerLine matches "From: x", "*Von:* x", "De : x".
var headerLine = func() *regexp.Regexp {
	names := []string{
		"from", "von", "de", "da", "van", "från", "fra", "od", "от", "від", "lähettäjä", "发件人", "寄件者", "差出人", "feladó", "kimden",
		"date", "sent", "datum", "gesendet", "gesendet am", "envoyé", "envoyé le", "enviado", "enviado el", "enviada em", "fecha", "data", "inviato", "verzonden", "skickat", "sendt", "dato", "wysłano", "отправлено", "дата", "надіслано", "lähetetty", "päivämäärä", "发送时间", "寄件日期", "日期", "elküldve", "gönderildi",
		"to", "an", "à", "a", "para", "per", "aan", "till", "til", "do", "кому", "vastaanottaja", "收件人", "宛先", "címzett", "kime",
		"cc", "kopie", "kopi", "kopia", "copie à", "копия", "копія", "kopio", "抄送", "副本",
		"subject", "betreff", "objet", "asunto", "assunto", "oggetto", "onderwerp", "ämne", "emne", "temat", "тема", "aihe", "主题", "主旨", "件名", "tárgy", "konu",
		"reply-to", "antwort an", "répondre à", "responder a", "risposta", "bcc", "mailing-list",
	}
	return regexp.MustCompile(`(?i)^[ \t]*\*?(` + strings.Join(names, "|") + `)[ \t]*\*?[ \t]*[:：]\*?(.*)$`)
}()

var headerKinds = []struct {
	kind  string
	names string
}{
	{"from", " from von de da van från fra od от від lähettäjä 发件人 寄件者 差出人 feladó kimden "},
	{"date", " date sent datum gesendet envoyé enviado fecha data inviato verzonden skickat sendt dato wysłano отправлено дата надіслано lähetetty päivämäärä 发送时间 寄件日期 日期 elküldve gönderildi enviada "},
	{"to", " to an à a para per aan till til do кому vastaanottaja 收件人 宛先 címzett kime "},
	{"subject", " subject betreff objet asunto assunto oggetto onderwerp ämne emne temat тема aihe 主题 主旨 件名 tárgy konu "},
}

func headerKind(name string) string {
	name = " " + strings.Fields(strings.ToLower(name))[0] + " "
	for _, k := range headerKinds {
		if strings.Contains(k.names, name) {
			return k.kind
		}
	}
	return "other"
}

// sentWord: only a mail's header says "Sent:"; a booking says "Date:".
var sentWord = regexp.MustCompile(`(?i)^(sent|gesendet|envoyé|enviado|enviada|inviato|verzonden|skickat|sendt|wysłano|отправлено|надіслано|lähetetty|发送时间)`)

var year = regexp.MustCompile(`\b(19|20)\d\d\b`)

// headerBlock tells whether the head of a quoted mail begins at line i. A customer may well write "From: Berlin, To:
// Hamburg, Date: 3 May": so it takes an address on the sender's or recipient's line, or a subject and two more.
func headerBlock(lines []string, i int) bool {
	if len(lines[i]) > 600 || !strings.ContainsAny(lines[i], ":：") {
		return false
	}
	first := headerLine.FindStringSubmatch(bare(lines[i]))
	if first == nil {
		return false
	}
	if k := headerKind(first[1]); k != "from" && k != "date" {
		return false
	}
	kinds := map[string]bool{}
	address, dated, sent, misses := false, false, false, 0
	for j := i; j < len(lines) && j < i+12 && misses < 2; j++ {
		l := bare(lines[j])
		if l == "" {
			if len(kinds) >= 2 || j > i+2 {
				break
			}
			continue
		}
		m := headerLine.FindStringSubmatch(l)
		if m == nil {
			misses++ // a wrapped line
			address = address || strings.Contains(l, "@") && kinds["from"]
			continue
		}
		misses = 0
		k := headerKind(m[1])
		kinds[k] = true
		if k == "from" || k == "to" {
			address = address || strings.Contains(m[2], "@")
		}
		if k == "date" {
			dated = dated || year.MatchString(m[2]) || clock.MatchString(m[2])
			sent = sent || sentWord.MatchString(m[1])
		}
	}
	switch {
	case address && dated && (kinds["from"] || kinds["to"]):
		return true
	case address && kinds["from"] && (kinds["subject"] || kinds["date"]):
		return true
	default:
		return kinds["from"] && (kinds["subject"] || sent && dated) && (kinds["date"] && kinds["to"] || kinds["subject"] && (kinds["date"] || kinds["to"]))
	}
}
