package llm

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"patchbay/channels"
	"patchbay/channels/voice/spoken"
	"patchbay/llm/human"
)

// The hand-over card is code: the same rows give the same card, with the model dead. What the customer says stands in
// quotes and is marked as a claim; every line names the messages it was read from.

// Facts are the rows that a card is made of.
type Facts struct {
	Contact  channels.Contact
	Address  channels.Address   // how they are reached now; its Value may be empty
	Identity channels.Identity  // what code knows of who they are
	Due      *time.Time         // of the open promise of a person
	History  []channels.Message // newest last
	Now      time.Time
}

// Bounds of what stands on a card: it is read in ten seconds.
const (
	cardRunes   = 6000 // of a message that are looked at
	cardMatter  = 140
	cardQuoted  = 90
	cardTries   = 3 // lines
	cardPledges = 2
	cardSeqs    = 4 // messages a line points to
)

// Card makes the hand-over card. It reads what was said since the conversation was last closed.
func Card(f Facts) channels.Card {
	c := channels.Card{At: f.Now, Lines: []channels.CardLine{}}
	if n := len(f.History); n > 0 {
		c.Seq = f.History[n-1].Seq
	}
	r := readCard(sinceClosed(f.History))
	add := func(lines ...channels.CardLine) {
		for _, l := range lines {
			if l.Text == "" && l.Address == "" && l.DueAt == nil {
				continue
			}
			if l.Seqs = slices.Compact(slices.Sorted(slices.Values(l.Seqs))); len(l.Seqs) > cardSeqs {
				l.Seqs = l.Seqs[len(l.Seqs)-cardSeqs:]
			}
			l.Seqs = append([]int64{}, l.Seqs...) // [] in JSON
			c.Lines = append(c.Lines, l)
		}
	}
	add(r.who(f), r.identity(f), r.language(), r.mood(), r.wish())
	add(r.matter()...)
	add(r.tried()...)
	add(r.promised(f)...)
	add(r.question())
	return c
}

// reading is a history with its messages sorted by what they mean for a card.
type reading struct {
	all     []channels.Message
	first   []int64            // where the contact was heard first
	said    []channels.Message // everything the customer said
	matters []channels.Message // of that, what is about something
	wished  *channels.Message  // the notice of the newest hand-over
	lastAns int64              // seq of the last answer that rests on something
}

func readCard(history []channels.Message) *reading {
	r := &reading{all: history}
	for i, m := range history {
		switch {
		case m.Kind == channels.Happened:
			if m.Data.Source != "" {
				r.wished = &history[i]
			}
			if m.Data.Code == channels.CodeCallStart && r.first == nil {
				r.first = []int64{m.Seq}
			}
		case m.Kind != channels.Text && m.Kind != channels.Voicemail || m.Private:
		case m.Author == channels.ByContact && strings.TrimSpace(m.Body) != "" && !m.Data.Automatic:
			if r.first == nil {
				r.first = []int64{m.Seq}
			}
			r.said = append(r.said, m)
			if !emptyWords(m.Body) {
				r.matters = append(r.matters, m)
			}
		case m.Author == channels.ByAgent, m.Author == channels.ByAI && len(m.Data.Sources) > 0:
			r.lastAns = m.Seq
		}
	}
	return r
}

// sinceClosed leaves out what belongs to the time before the conversation was closed.
func sinceClosed(history []channels.Message) []channels.Message {
	for i, m := range slices.Backward(history) {
		if m.Kind == channels.Happened && m.Data.Code == channels.CodeClosed {
			return history[i+1:]
		}
	}
	return history
}

func (r *reading) who(f Facts) channels.CardLine {
	l := channels.CardLine{Kind: channels.CardWho, Text: strings.TrimSpace(f.Contact.Name), Claim: f.Identity != channels.Verified, Seqs: r.first}
	if f.Address.Kind != channels.Visitor {
		l.Address = f.Address.Value
	}
	if l.Text == "" && l.Address == "" {
		l.Text = "A visitor of the website"
	}
	return l
}

func (r *reading) identity(f Facts) channels.CardLine {
	l := channels.CardLine{Kind: channels.CardIdentity, Value: string(f.Identity), Text: "Not verified"}
	if f.Identity == channels.Verified {
		l.Text = "Verified"
		return l
	}
	var claims []string
	for _, m := range r.said {
		if name := claimedName(m.Body); name != "" {
			claims, l.Seqs = append(claims, "the name "+quoted(name, 40)), append(l.Seqs, m.Seq)
		}
		for _, id := range idPiece.FindAllString(bounded(m.Body, cardRunes), 2) {
			if letters := strings.TrimRightFunc(strings.ToLower(id), func(c rune) bool { return !unicode.IsLetter(c) }); units[letters] == "" {
				claims, l.Seqs = append(claims, "the number "+quoted(id, 40)), append(l.Seqs, m.Seq)
			}
		}
	}
	if len(claims) > 0 {
		slices.Sort(claims)
		claims = slices.Compact(claims)
		l.Claim, l.Text = true, "Not verified. Says "+strings.Join(claims[:min(3, len(claims))], ", ")+"."
		l.Value = string(channels.Claimed)
	}
	return l
}

// claimedName is what follows "my name is".
func claimedName(text string) string {
	low := strings.ToLower(text)
	for _, says := range phrases("card", "name") {
		i := strings.Index(low, says.text)
		if i < 0 || len(low) != len(text) { // lower case may change the length of a letter: then nothing is cut out
			continue
		}
		rest := strings.FieldsFunc(text[i+len(says.text):], func(c rune) bool { return strings.ContainsRune(".,;:!?\n()", c) })
		if len(rest) == 0 {
			continue
		}
		words := strings.Fields(rest[0])
		n := 0
		for n < len(words) && n < 3 && (n == 0 || unicode.IsUpper([]rune(words[n])[0])) {
			n++
		}
		return strings.Join(words[:n], " ")
	}
	return ""
}

func (r *reading) language() channels.CardLine {
	var text strings.Builder
	var seqs []int64
	for _, m := range r.said {
		text.WriteString(m.Body + "\n")
		seqs = append(seqs, m.Seq)
	}
	code := spoken.Tongue(text.String())
	return channels.CardLine{Kind: channels.CardLanguage, Value: code, Text: tongueNames[code], Seqs: seqs}
}

// Moods of a card. They describe the conversation, never a person.
const (
	moodDanger   = "danger"
	moodUpset    = "upset"
	moodFriendly = "friendly"
	moodCalm     = "calm"
)

// mood reads plain signs: words, capitals, exclamation marks, the same said twice.
func (r *reading) mood() channels.CardLine {
	found := map[string][]string{}
	seqs := map[string][]int64{}
	note := func(mood, why string, m channels.Message) {
		found[mood], seqs[mood] = append(found[mood], why), append(seqs[mood], m.Seq)
	}
	seen := map[string]bool{}
	for _, m := range r.said {
		all := tokens(bounded(m.Body, cardRunes))
		key := strings.Join(all, " ")
		if human.Read(m.Body, human.Context{}).Rule == "safety" {
			note(moodDanger, "words of danger", m)
		}
		for _, mood := range []string{moodUpset, moodFriendly} {
			for _, p := range phrases("mood", mood) {
				if strings.Contains(" "+key+" ", " "+p.key+" ") {
					note(mood, quoted(p.text, 40), m)
					break
				}
			}
		}
		for sentence := range sentencesOf(bounded(m.Body, cardRunes)) {
			if shouts(sentence) {
				note(moodUpset, "capitals", m)
				break
			}
		}
		if strings.Contains(m.Body, "!!") {
			note(moodUpset, "“!!”", m)
		}
		if len(all) > 2 && seen[key] {
			note(moodUpset, "says the same again", m)
		}
		seen[key] = true
	}
	l := channels.CardLine{Kind: channels.CardMood}
	for _, mood := range []string{moodDanger, moodUpset, moodFriendly} {
		if why := found[mood]; len(why) > 0 {
			slices.Sort(why)
			why = slices.Compact(why)
			l.Value, l.Seqs = mood, seqs[mood]
			l.Text = map[string]string{moodDanger: "In danger or need", moodUpset: "Upset", moodFriendly: "Friendly"}[mood] + ": " + strings.Join(why[:min(3, len(why))], ", ")
			return l
		}
	}
	if len(r.said) == 0 {
		return l // nothing was said: nothing is known
	}
	l.Value, l.Text, l.Seqs = moodCalm, "Calm", []int64{r.said[len(r.said)-1].Seq}
	return l
}

// shouts: mostly capitals, and more than an abbreviation.
func shouts(text string) bool {
	upper, letters := 0, 0
	for _, c := range text {
		if unicode.IsLetter(c) {
			letters++
			if unicode.IsUpper(c) {
				upper++
			}
		}
	}
	return letters >= 10 && upper*10 >= letters*7
}

// wishes say how the conversation came to people.
var wishes = map[string]string{
	"button": "By the button", "key": "By the key 0", "mail": "By mail", "silence": "Said nothing: a person is got", "no_match": "Pressed keys without a meaning",
	"failure": "The AI did not answer", "unknown": "The AI did not know", "turns": "Too many answers of the AI", "model": "The AI handed over",
	"people_only": "Wants people only", "lost": "The connection to the agent was lost", "transfer": "Passed on by a colleague", "pass_failed": "Passing on did not work",
}

func (r *reading) wish() channels.CardLine {
	l := channels.CardLine{Kind: channels.CardWish}
	if r.wished == nil {
		return l
	}
	l.Text, l.Seqs = wishes[r.wished.Data.Source], []int64{r.wished.Seq}
	if source := r.wished.Data.Source; source == "words" || source == "safety" || l.Text == "" {
		for _, m := range slices.Backward(r.said) {
			if m.Seq < r.wished.Seq {
				l.Text, l.Claim, l.Seqs = quoted(m.Body, cardQuoted), true, append(l.Seqs, m.Seq)
				break
			}
		}
		l.Text = cmp.Or(l.Text, "Asked for a person")
	}
	return l
}

func (r *reading) matter() []channels.CardLine {
	if len(r.matters) == 0 {
		return nil
	}
	line := func(m channels.Message) channels.CardLine {
		return channels.CardLine{Kind: channels.CardMatter, Text: quoted(m.Body, cardMatter), Claim: true, Seqs: []int64{m.Seq}}
	}
	first, last := r.matters[0], r.matters[len(r.matters)-1]
	if first.Body == last.Body {
		return []channels.CardLine{line(first)}
	}
	return []channels.CardLine{line(first), line(last)}
}

// tried is what was answered, with what it rests on, and what the AI did not know; the newest few.
func (r *reading) tried() []channels.CardLine {
	var lines []channels.CardLine
	asked := int64(0)
	from := func(m channels.Message) []int64 {
		if asked == 0 {
			return []int64{m.Seq}
		}
		return []int64{asked, m.Seq}
	}
	for _, m := range r.all {
		switch {
		case m.Kind == channels.Note:
			lines = append(lines, channels.CardLine{Kind: channels.CardTried, Text: "Note: " + quoted(m.Body, cardMatter), By: channels.ByAgent, Source: m.Data.AgentName, Seqs: []int64{m.Seq}})
		case m.Kind != channels.Text || m.Private:
		case m.Author == channels.ByContact:
			asked = m.Seq
		case m.Author == channels.ByAgent:
			lines = append(lines, channels.CardLine{Kind: channels.CardTried, Text: quoted(m.Body, cardQuoted), By: channels.ByAgent, Source: m.Data.AgentName, Seqs: from(m)})
		case m.Author == channels.ByAI && len(m.Data.Sources) > 0:
			lines = append(lines, channels.CardLine{Kind: channels.CardTried, Text: quoted(firstSentence(m.Body), cardQuoted), By: channels.ByAI, Source: m.Data.Sources[0].Title, Seqs: from(m)})
		case m.Author == channels.ByAI && m.Data.Reason == "offered":
			lines = append(lines, channels.CardLine{Kind: channels.CardTried, Text: "The AI did not know", By: channels.ByAI, Seqs: from(m)})
		}
	}
	return lines[max(0, len(lines)-cardTries):]
}

func (r *reading) promised(f Facts) []channels.CardLine {
	var lines []channels.CardLine
	for _, m := range slices.Backward(r.all) {
		if m.Author != channels.ByAgent || m.Kind != channels.Text || len(lines) == cardPledges {
			continue
		}
		for s := range sentencesOf(m.Body) {
			key := " " + strings.Join(tokens(s), " ") + " "
			if slices.ContainsFunc(phrases("card", "pledge"), func(p phraseText) bool { return strings.Contains(key, " "+p.key+" ") }) {
				lines = append(lines, channels.CardLine{Kind: channels.CardPromised, Text: quoted(s, cardQuoted), By: channels.ByAgent, Source: m.Data.AgentName, Seqs: []int64{m.Seq}})
				break
			}
		}
	}
	slices.Reverse(lines)
	if f.Due != nil {
		l := channels.CardLine{Kind: channels.CardPromised, Text: "A person answers", DueAt: f.Due}
		for _, m := range r.all {
			if m.Kind == channels.Happened && m.Data.DueAt != nil {
				l.Seqs = []int64{m.Seq}
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// question is the last thing asked that nobody has answered.
func (r *reading) question() channels.CardLine {
	l := channels.CardLine{Kind: channels.CardQuestion}
	for _, m := range slices.Backward(r.matters) {
		if m.Seq < r.lastAns {
			break
		}
		open := m.Body
		for s := range sentencesOf(m.Body) {
			if strings.ContainsAny(s, "?？؟") {
				open = s
			}
		}
		return channels.CardLine{Kind: channels.CardQuestion, Text: quoted(open, cardMatter), Claim: true, Seqs: []int64{m.Seq}}
	}
	return l
}

// NothingSaid is the summary of somebody who has said nothing besides their wish.
const NothingSaid = "The customer asks for a person and has said nothing else yet."

const summaryRunes = 300

// Summary is a card in one or two sentences, for lists.
func Summary(c channels.Card) string {
	var said []string
	answers, source := 0, ""
	for _, l := range c.Lines {
		switch {
		case l.Kind == channels.CardMatter:
			said = append(said, l.Text)
		case l.Kind == channels.CardTried && l.By == channels.ByAI && l.Source != "":
			answers, source = answers+1, l.Source
		}
	}
	if len(said) == 0 {
		return NothingSaid
	}
	out := "Says: " + requoted(said[0], 120) + "."
	if len(said) > 1 {
		out += " Last: " + requoted(said[1], 80) + "."
	}
	switch {
	case answers == 1:
		out += " AI answered from “" + short(source, 50) + "”."
	case answers > 1:
		out += " AI answered, last from “" + short(source, 50) + "”."
	default:
		out += " Not answered yet."
	}
	return short(out, summaryRunes)
}

// quoted is somebody's words as a card shows them: one line, bounded, without numbers of payment cards.
func quoted(text string, runes int) string {
	return "“" + short(channels.MaskCards(cleaned(text)), runes) + "”"
}

func requoted(text string, runes int) string {
	return "“" + short(strings.Trim(text, "“”"), runes) + "”"
}

func sentencesOf(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		var s splitter
		for _, one := range append(s.add(text), s.flush()) {
			if one = strings.TrimSpace(one); one != "" && !yield(one) {
				return
			}
		}
	}
}

func firstSentence(text string) string {
	for s := range sentencesOf(text) {
		return s
	}
	return text
}

// emptyWords are messages without a matter: greetings, yes and no, and the bare wish for a person.
func emptyWords(text string) bool {
	all := tokens(text)
	if len(all) == 0 {
		return true
	}
	if _, ok := heard()[strings.Join(all, " ")]; ok || human.Refused(text) || human.Agreed(text) {
		return true
	}
	w := human.Read(text, human.Context{})
	return len(all) <= 8 && w.Yes && w.Rule != "safety" && !strings.Contains(text, ".")
}

// phraseText is a phrase of a prompts file: as it stands there, and as tokens.
type phraseText struct{ text, key string }

var phraseFiles = sync.OnceValue(func() map[string][]phraseText {
	out := map[string][]phraseText{}
	for _, name := range []string{"card", "mood"} {
		for key, value := range lines(name) {
			_, kind, _ := strings.Cut(key, ".")
			for p := range strings.SplitSeq(value, "|") {
				out[name+"."+kind] = append(out[name+"."+kind], phraseText{p, strings.Join(tokens(p), " ")})
			}
		}
	}
	for _, list := range out { // lines comes in no order
		slices.SortFunc(list, func(a, b phraseText) int {
			return cmp.Or(cmp.Compare(len(b.text), len(a.text)), cmp.Compare(a.text, b.text))
		})
	}
	return out
})

// phrases are those of a kind in all languages, the longest first.
func phrases(name, kind string) []phraseText { return phraseFiles()[name+"."+kind] }

// tongueNames are the languages that are told apart, as a desk shows them.
var tongueNames = map[string]string{
	"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese", "nl": "Dutch", "pl": "Polish",
	"ru": "Russian", "uk": "Ukrainian", "el": "Greek", "ar": "Arabic", "he": "Hebrew", "hi": "Hindi", "th": "Thai", "zh": "Chinese", "ja": "Japanese", "ko": "Korean",
}
