package llm

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Reasons why a sentence of the model is not shown.
const (
	blockMarkup  = "markup"
	blockLink    = "link"
	blockPrompt  = "prompt"
	blockHuman   = "claims to be human"
	blockTool    = "tool syntax"
	blockFigure  = "figure without a source"
	blockPromise = "promise without a source"
	blockAct     = "claims an act"
	blockDenies  = "denies a person"
	blockGarbage = "garbage"
)

// verdict is what the guard says about one sentence. Text is what may be shown: plain text, Markdown removed.
type verdict struct {
	Text     string
	Block    string // "" lets it pass
	Why      string // the figure or words that decided
	HandOver bool   // it promises a connection: the promise must come true (P10)
	Unknown  bool   // it says that it does not know
	Cites    []int  // numbers of passages, from [2]
}

// guard checks an answer sentence by sentence before anything is shown (promises P6, P7, P10). It knows the passages of
// this turn and nothing of the model.
//
// What only the customer said is not a source: it may stand in a question, in a restatement ("you wrote ...") or in a
// sentence that says we cannot see it, never in a claim.
type guard struct {
	sources  sources
	stems    string // all passages' words in lower case, for promises
	links    map[string]bool
	customer sources
	prompt   map[string]bool // runs of words of the instruction part
	canary   string
	own      []string // the passages' words in order, for quotes
	tail     []string // last words of the answer so far: a leak may cross a full stop
}

// leakRun is how many words in a row make a leak of the prompt.
const leakRun = 7

func newGuard(p prompt, passages []Passage, customer string) *guard {
	g := &guard{sources: sources{}, customer: sources{}, links: map[string]bool{}, prompt: p.runs, canary: p.canary}
	var all strings.Builder
	for _, s := range passages {
		text := s.Title + "\n" + s.Heading + "\n" + s.Body
		g.sources.add(text)
		all.WriteString(strings.ToLower(text) + "\n")
		g.own = append(g.own, " "+strings.Join(tokens(s.Body), " ")+" ")
		if s.URL != "" {
			g.links[s.URL] = true
		}
		for _, l := range linkLike.FindAllString(s.Body, -1) {
			g.links[strings.TrimRight(l, ".,;:!?)")] = true
		}
	}
	g.customer.add(customer)
	g.stems = all.String()
	return g
}

var (
	markup    = regexp.MustCompile(`<[a-zA-Z/!?][^>]*>?|&#?\w+;|!\[`)
	mdLink    = regexp.MustCompile(`\[([^\]\n]{1,200})\]\(([^)\s]{1,500})\)`)
	mdMarks   = regexp.MustCompile("\\*\\*|__|~~|`+|(?m)^#{1,6} +|(?m)^> +")
	mdItalic  = regexp.MustCompile(`(^|[\s(])[*_]([^*_\n]+)[*_]`)
	citation  = regexp.MustCompile(`\s*\[(\d{1,2})\]`)
	linkLike  = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]{1,15}:[^\s,;]*[^\s,;.!?)]|(?:^|[\s(])//[^\s]+|(?:^|[\s("'])/[a-z0-9_-]+(?:/[^\s)"']*)?|\b(?:[a-z0-9-]+\.)+[a-z]{2,24}\b(?:[/:?#][^\s)]*)?|\S+@\S+`)
	scheme    = regexp.MustCompile(`(?i)^(?:https?|ftp|javascript|data|vbscript|file|mailto|tel|sips?|sms|ws|wss|blob|intent|about|view-source):`)
	toolLike  = regexp.MustCompile(`(?i)<\|?/?(?:tool|function|im_start|im_end|system|think)|\btool_calls?\b|\bfunction_call\b|\{\s*"|"\s*:\s*[{"\[]|\[/?(?:INST|TOOL)|<<SYS>>`)
	poses     = regexp.MustCompile(`(?i)\b(?:i am|i'm|i’m|this is|you(?:'re| are) (?:talking|chatting|writing|speaking) (?:to|with)) (?:actually |really |indeed |just |also )?(?:not (?:an? )?(?:ai|bot|robot|machine|computer|chatbot|language model|virtual|automated)|an? (?:real |actual |live )?(?:human|person|employee|member of (?:the|our) (?:team|staff)|representative|agent)\b)|\bmy name is\b|\bas a (?:human|person)\b|\bich bin (?:ein (?:echter |richtiger )?mensch|kein (?:bot|roboter|ki)|eine (?:echte )?person)|\bich heiße\b|\bje suis (?:un |une )?(?:vraie? )?(?:humaine?|personne)|\bsoy (?:un |una )?(?:ser )?(?:humano|humana|persona)|\bsono (?:un |una )?(?:umano|umana|persona)|\bsou (?:um |uma )?(?:humano|humana|pessoa)|\bik ben (?:een )?(?:echt )?(?:mens|persoon)|\bjestem (?:człowiekiem|prawdziw)`)
	connects  = regexp.MustCompile(`(?i)\b(?:i(?:'ll| will|'m| am|'ve| have| can now)|let me|we(?:'ll| will| are)?|you(?:'ll| will|'re| are| have been)?)\b[^.?!]{0,30}\b(?:connect|transfer|put you through|hand(?:ing)? (?:you|this|it)? ?(?:over|off)|forward|escalat|pass(?:ing)? (?:you|this|it)|get(?:ting)? (?:you )?(?:a|an|someone|somebody)\b|bring(?:ing)? in|redirect|rout)\w*\b[^.?!]{0,40}\b(?:person|human|agent|colleague|representative|someone|somebody|team|advisor|specialist|manager|staff|them)|\bich verbinde sie\b|\bich leite sie\b|\bich hole\b[^.?!]{0,30}\b(?:menschen|kolleg|mitarbeiter)|\bje vous (?:mets en relation|transfère|passe)|\ble (?:paso|comunico|transfiero) con\b|\bla metto in contatto|\bik verbind u\b|\bi?(?:'ll| will) have (?:someone|a colleague|a person|our team)\b`)
	acts      = regexp.MustCompile(`(?i)\b(?:i|we)(?:'ve|’ve| have| just| already)? (?:just |already |now |successfully )?(?:cancell?ed|refunded|booked|ordered|shipped|sent|changed|updated|created|reserved|notified|scheduled|issued|applied|processed|opened (?:a|the) (?:ticket|case)|filed|registered|credited|extended|arranged|contacted|informed)\b|\b(?:i|we)(?:'ll|’ll| will| am going to|'m going to| can) (?:now |immediately |personally )?(?:cancel|refund|book|order you|ship|send you|change your|update your|create (?:a|an) (?:ticket|order|return)|reserve|schedule|issue|apply|process your|credit|extend|arrange|compensate|waive|make an exception)\b|\byour (?:order|refund|return|booking|account|request|complaint|address) (?:has been|was|is now|is being) \w+ed\b|\bich habe\b[^.?!]{0,60}\b(?:storniert|erstattet|gebucht|bestellt|geschickt|geändert|reserviert|veranlasst)\b`)
	denies    = regexp.MustCompile(`(?i)\b(?:no|not any) (?:human|person|people|agent|agents|humans|one|body|representative|representatives|staff|colleague|colleagues)s? (?:is|are|will be|can be|here|available|there)\b|\bnobody (?:is|will|can)\b|\b(?:you|there is|there's) (?:don't|do not|no) need (?:for |to (?:talk|speak) (?:to|with) )?(?:a |an |any )?(?:human|person|agent|representative|one|someone)\b|\b(?:i )?(?:can't|cannot|can not|am not able to|'m not able to|unable to|won't|will not) (?:connect|transfer|hand|put you|get you|reach|forward|escalate|let you)\b|\b(?:human|agent|person|representative|people|humans|agents)s? (?:is|are) (?:not|n't|un)\s?(?:available|needed|necessary|possible|able)\b|\bbefore i (?:connect|transfer|get)\b|\bwhy do you (?:want|need)\b|\bi can (?:do|handle) (?:everything|anything|this) (?:a |an )?(?:human|person|agent|just as)?\b|\bkein(?:e|en)? (?:mensch|mitarbeiter|person)\w* (?:verfügbar|da|erreichbar|nötig)\b|\bniemand (?:ist|da|verfügbar)\b`)
	unknowing = regexp.MustCompile(`(?i)\bUNKNOWN\b|\bi (?:really |honestly )?(?:don't|do not|don’t) (?:know|have (?:any |that |this |enough |specific )*(?:information|details|data))|\b(?:isn't|is not|not) (?:mentioned|covered|stated|specified|included|contained) in\b|\bich weiß (?:das |es )?nicht\b|\bje ne sais pas\b|\bno lo sé\b|\bnon lo so\b|\bnão sei\b|\bik weet (?:het|dat) niet\b|\bnie wiem\b`)
	restates  = regexp.MustCompile(`(?i)^\W*(?:you (?:said|wrote|asked|mentioned|told|are asking|'re asking)|as you (?:said|wrote|mentioned)|you're right that you|sie (?:schrieben|sagten|haben geschrieben|fragen)|vous avez (?:écrit|dit))|\b(?:i|we) (?:can't|cannot|can not|don't|do not|am not able to|could not|couldn't) (?:see|find|look up|check|know|have|access|verify|confirm)\b|\bno information (?:about|on)\b|\bkann ich (?:leider )?nicht (?:sehen|finden|prüfen)\b`)
	promises  = regexp.MustCompile(`(?i)\b(guarantee|warrant|refund|reimburs|free of charge|for free|free (?:shipping|repair|return|delivery|replacement|of cost)|discount|compensat|lifetime|voucher|no cost|at no charge|money back|erstatt|kostenlos|gratis|garantie|rabatt|gutschein|rembours|gratuit|garanz|garantía|reembols|gratuito|zwrot)`)
	longWord  = regexp.MustCompile(`[^\s/]{61,}`)
)

// check judges one sentence.
func (g *guard) check(sentence string) verdict {
	v := verdict{Text: sentence}
	v.Text = citation.ReplaceAllStringFunc(v.Text, func(m string) string {
		if n := int(atoi(digits(m))); n > 0 {
			v.Cites = append(v.Cites, n)
		}
		return ""
	})
	block := func(reason, why string) verdict {
		v.Block, v.Why, v.Text = reason, why, ""
		return v
	}
	v.Text = cleaned(v.Text)
	if strings.ContainsRune(v.Text, unicode.ReplacementChar) || longWord.MatchString(v.Text) && !g.links[longWord.FindString(v.Text)] || len(v.Text) > maxSentence-10 {
		return block(blockGarbage, "not readable")
	}
	seen := decoded(v.Text)
	if m := toolLike.FindString(seen); m != "" {
		return block(blockTool, m)
	}
	if m := g.leak(seen); m != "" {
		return block(blockPrompt, m)
	}
	if m := markup.FindString(seen); m != "" {
		return block(blockMarkup, m)
	}
	if m := markup.FindString(v.Text); m != "" {
		return block(blockMarkup, m)
	}
	if m := g.badLink(seen); m != "" {
		return block(blockLink, m)
	}
	v.Text = plain(v.Text)
	seen = norm.NFKC.String(v.Text)
	if m := poses.FindString(seen); m != "" {
		return block(blockHuman, m)
	}
	if m := denies.FindString(seen); m != "" {
		return block(blockDenies, m)
	}
	if connects.MatchString(seen) && !strings.Contains(seen, "?") {
		v.HandOver = true
	} else if m := acts.FindString(seen); m != "" {
		return block(blockAct, m)
	}
	v.Unknown = unknowing.MatchString(seen)
	if m := g.ungrounded(seen); m != "" {
		return block(blockFigure, m)
	}
	question := strings.HasSuffix(strings.TrimSpace(seen), "?")
	for _, m := range promises.FindAllString(seen, -1) {
		if !question && !strings.Contains(g.stems, stem(m)) {
			return block(blockPromise, m)
		}
	}
	return v
}

// quotes tells whether the sentence stands word for word in a passage.
func (g *guard) quotes(sentence string) bool {
	words := " " + strings.Join(tokens(sentence), " ") + " "
	return slices.ContainsFunc(g.own, func(p string) bool { return strings.Contains(p, words) })
}

// ungrounded returns the first figure of the sentence that no passage holds.
func (g *guard) ungrounded(text string) string {
	theirs := strings.HasSuffix(strings.TrimSpace(text), "?") || restates.MatchString(text)
	for l := range g.links {
		text = strings.ReplaceAll(text, l, " ")
	}
	for _, f := range figures(text) {
		if !g.sources.grounded(f) && !(theirs && g.customer.grounded(f)) {
			return f.raw
		}
	}
	return ""
}

// badLink returns the first thing that looks like a link or an address and is not on the list.
func (g *guard) badLink(text string) string {
	for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
		if !g.links[m[2]] {
			return m[0]
		}
	}
	text = mdLink.ReplaceAllString(text, "$1 ")
	for _, m := range linkLike.FindAllString(text, -1) {
		l := strings.TrimRight(strings.TrimLeft(m, " \t\n(\"'"), ".,;:!?)\"'")
		if g.links[l] || strings.Contains(g.stems, strings.ToLower(l)) && !scheme.MatchString(l) {
			continue
		}
		if scheme.MatchString(l) || strings.HasPrefix(l, "//") || strings.Contains(l, "@") || strings.HasPrefix(l, "/") || strings.HasPrefix(strings.ToLower(l), "www.") || hasDomain(l) {
			return l
		}
	}
	return ""
}

// hasDomain tells "evil.com" from a missing space ("boots.We") and from abbreviations.
func hasDomain(l string) bool {
	host := l
	if i := strings.IndexAny(l, "/:?#"); i >= 0 {
		host = l[:i]
		if i > 0 && l[i] == ':' && !strings.Contains(host, ".") {
			return false
		}
	}
	labels := strings.Split(host, ".")
	if len(labels) < 2 || neverEnds[strings.ToLower(host)] || abbreviations[strings.ToLower(host)] {
		return false
	}
	top := labels[len(labels)-1]
	return len(top) >= 2 && (top == strings.ToLower(top) || top == strings.ToUpper(top))
}

// leak finds the canary and long runs of words out of the instruction part.
func (g *guard) leak(text string) string {
	if g.canary != "" && strings.Contains(strings.ToLower(alnum(text)), strings.ToLower(alnum(g.canary))) {
		return "canary"
	}
	all := append(g.tail, tokens(text)...)
	for i := 0; i+leakRun <= len(all); i++ {
		if run := strings.Join(all[i:i+leakRun], " "); g.prompt[run] {
			return run
		}
	}
	g.tail = append([]string(nil), all[max(0, len(all)-leakRun+1):]...)
	return ""
}

// wordRuns are all runs of leakRun words in text.
func wordRuns(text string) map[string]bool {
	out := map[string]bool{}
	all := tokens(text)
	for i := 0; i+leakRun <= len(all); i++ {
		out[strings.Join(all[i:i+leakRun], " ")] = true
	}
	return out
}

// cleaned drops what no reader sees: controls, zero-width and direction marks.
func cleaned(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r', unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), r >= 0xE0000 && r <= 0xE0FFF:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// decoded shows what a browser or a reader would make of s: entities, percent signs, wide letters.
func decoded(s string) string {
	for range 3 {
		next := html.UnescapeString(s)
		if u, err := url.PathUnescape(next); err == nil {
			next = u
		}
		if next == s {
			break
		}
		s = next
	}
	return cleaned(norm.NFKC.String(s))
}

// plain removes Markdown's emphasis; lists keep their dash.
func plain(s string) string {
	s = mdLink.ReplaceAllString(s, "$1 ($2)")
	s = mdMarks.ReplaceAllString(s, "")
	s = mdItalic.ReplaceAllString(s, "$1$2")
	return strings.Trim(s, "\t")
}

func stem(s string) string {
	s = strings.ToLower(s)
	if len(s) > 7 && !strings.Contains(s, " ") {
		s = s[:7]
	}
	return s
}

func atoi(s string) (n int64) {
	for _, c := range s {
		if c < '0' || c > '9' || n > 1e6 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
