package channels

import (
	"strings"
	"time"
	"unicode"
)

// Card is the hand-over: what the next person must know before their first word. Code makes it from rows (llm.Card), so
// that it holds with the model dead and cannot say what was not said. Each line names the messages it comes from.
type Card struct {
	Seq     int64        `json:"seq"` // the conversation's last message when it was made
	At      time.Time    `json:"at"`
	Lines   []CardLine   `json:"lines"`             // in the order in which they are read
	Summary *CardSummary `json:"summary,omitempty"` // a model's, below: never instead
}

// CardLine is one fact of a Card.
type CardLine struct {
	Kind    string     `json:"kind"`              // one of the Card constants
	Text    string     `json:"text"`              // for people; the customer's and the responder's words in quotes
	Value   string     `json:"value,omitempty"`   // of identity, language (ISO 639-1) and mood: the state
	Address string     `json:"address,omitempty"` // of who: how the contact is reached
	By      Author     `json:"by,omitempty"`      // of tried and promised: ai or agent
	Source  string     `json:"source,omitempty"`  // of tried: what the answer of the AI rested on; or the agent's first name
	Claim   bool       `json:"claim,omitempty"`   // somebody says so: nothing of ours proves it
	DueAt   *time.Time `json:"due_at,omitempty"`  // of promised
	Seqs    []int64    `json:"seqs"`              // the messages it comes from, oldest first; none: it comes from the contact's row
}

// CardSummary is what a model wrote about the conversation.
type CardSummary struct {
	Text  string `json:"text"`
	Model string `json:"model"`
}

// WrapUpDraft is what a model proposes to an agent who wraps up. It is stored nowhere.
type WrapUpDraft struct {
	Summary     string `json:"summary"`
	Disposition string `json:"disposition"` // "": it proposes none
	Model       string `json:"model"`
	Why         string `json:"why"` // without a summary: why there is none
}

// Kinds of CardLine, in their order. matter, tried and promised may stand more than once.
const (
	CardWho      = "who"
	CardIdentity = "identity"
	CardLanguage = "language"
	CardMood     = "mood"
	CardWish     = "wish"   // how a person was asked for
	CardMatter   = "matter" // the words before the wish: the first, and the last when they differ
	CardTried    = "tried"
	CardPromised = "promised"
	CardQuestion = "question" // what nobody has answered yet
)

// Identity is how far we know who speaks. Text, names and caller numbers never make it verified.
type Identity string

const (
	Unknown  Identity = "unknown"
	Claimed  Identity = "claimed"
	Verified Identity = "verified"
)

// Find returns the first line of a kind; nil: there is none.
func (c *Card) Find(kind string) *CardLine {
	for i := range c.Lines {
		if c.Lines[i].Kind == kind {
			return &c.Lines[i]
		}
	}
	return nil
}

// Masked is the card for who has not taken the conversation yet: the address is only hinted at.
func (c *Card) Masked() *Card {
	if c == nil {
		return nil
	}
	masked := *c
	masked.Lines = append([]CardLine(nil), c.Lines...)
	for i := range masked.Lines {
		masked.Lines[i].Address = MaskAddress(masked.Lines[i].Address)
	}
	return &masked
}

// MaskAddress leaves of a phone number its beginning and its last three digits, of a mail address the first letter and the
// domain.
func MaskAddress(address string) string {
	if name, domain, ok := strings.Cut(address, "@"); ok {
		for _, first := range name {
			return string(first) + "•••@" + domain
		}
		return "•••@" + domain
	}
	digits := 0
	for _, r := range address {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	if digits < 6 {
		return address
	}
	seen := 0
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			if seen++; seen > 3 && seen <= digits-3 {
				return '•'
			}
		}
		return r
	}, address)
}

// MaskCards hides the numbers of payment cards: 13 to 19 digits, in groups or not, that fit Luhn's sum. The last four stay.
func MaskCards(text string) string {
	runes := []rune(text)
	for i := 0; i < len(runes); {
		at, end := digitRun(runes, i)
		if at == nil {
			i = end
			continue
		}
		if len(at) >= 13 && len(at) <= 19 && luhn(runes, at) {
			for _, j := range at[:len(at)-4] {
				runes[j] = '•'
			}
		}
		i = end
	}
	return string(runes)
}

// digitRun finds the digits from i on that are parted by at most one space or hyphen; end is where to go on.
func digitRun(runes []rune, i int) (at []int, end int) {
	if runes[i] < '0' || runes[i] > '9' {
		return nil, i + 1
	}
	for ; i < len(runes); i++ {
		switch r := runes[i]; {
		case r >= '0' && r <= '9':
			at = append(at, i)
		case (r == ' ' || r == '-' || r == '\u00a0') && i+1 < len(runes) && runes[i+1] >= '0' && runes[i+1] <= '9':
		default:
			return at, i
		}
	}
	return at, i
}

// luhn is ISO/IEC 7812-1, annex B.
func luhn(runes []rune, at []int) bool {
	sum := 0
	for i := range at {
		d := int(runes[at[len(at)-1-i]] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// spokenRunes is what can be said in ten seconds and a little.
const spokenRunes = 220

// Spoken is the card for an agent's ear, in one breath: who, what is open, what was tried; "" when nothing was said.
func (c *Card) Spoken() string {
	if c == nil || c.Find(CardMatter) == nil {
		return ""
	}
	var out []string
	add := func(kind, before string) {
		if l := c.Find(kind); l != nil && l.Text != "" {
			text := strings.TrimRight(strings.NewReplacer("“", "", "”", "").Replace(l.Text), " .!")
			if r := []rune(text); len(r) > spokenRunes/2 {
				text = string(r[:spokenRunes/2])
			}
			if !strings.HasSuffix(text, "?") {
				text += "."
			}
			out = append(out, before+text)
		}
	}
	add(CardWho, "")
	if l := c.Find(CardIdentity); l != nil && l.Value == string(Verified) {
		out = append(out, "Verified.")
	} else {
		out = append(out, "Not verified.")
	}
	if l := c.Find(CardLanguage); l != nil && l.Value != "en" {
		add(CardLanguage, "Speaks ")
	}
	if l := c.Find(CardMood); l != nil && (l.Value == "upset" || l.Value == "danger") {
		mood, _, _ := strings.Cut(l.Text, ":")
		out = append(out, mood+".")
	}
	if c.Find(CardQuestion) != nil {
		add(CardQuestion, "Asks: ")
	} else {
		add(CardMatter, "Said: ")
	}
	add(CardTried, "Was told: ")
	said := []rune(strings.Join(out, " "))
	if len(said) > spokenRunes {
		said = append(said[:spokenRunes-1], '…')
	}
	return string(said)
}
