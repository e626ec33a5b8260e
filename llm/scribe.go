package llm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"patchbay/channels"
)

// The model as the agents' scribe: it drafts, people decide. What it writes passes a guard of its own: no figure, link or
// pledge that does not stand in the conversation.

// Draft is what the model wrote about a conversation.
type Draft struct {
	Text        string
	Disposition string // one of Dispositions, or "": it proposed none
	Model       string
}

// Dispositions are the ways a conversation ends.
var Dispositions = []string{"solved", "follow_up", "wrong_number", "spam", "other"}

const (
	draftRunes = 600
	draftBytes = 4000 // that a model may write
	toldRunes  = 3600 // of the conversation that are told: with the instruction they fit ctxTokens
	eachRunes  = 240  // of one message
)

// Wrapup drafts the note and the disposition of a conversation that has ended. The errors are *Failure: no model, it is
// busy, or what it wrote may not be shown.
func (r *Responder) Wrapup(ctx context.Context, history []channels.Message) (Draft, error) {
	return r.write(ctx, "wrapup", history)
}

// Brief says in a sentence or two what the conversation is about; errors as Wrapup.
func (r *Responder) Brief(ctx context.Context, history []channels.Message) (Draft, error) {
	d, err := r.write(ctx, "brief", history)
	d.Disposition = ""
	return d, err
}

func (r *Responder) write(ctx context.Context, instruction string, history []channels.Message) (Draft, error) {
	told := retold(history)
	if told == "" {
		return Draft{}, &Failure{Reason: "empty", Err: errors.New("nothing was said")}
	}
	if len(r.gate.hosts) == 0 {
		return Draft{}, &Failure{Reason: "missing", Err: errQuoteMode}
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Total)
	defer cancel()
	ctx, h, back := r.gate.lend(ctx)
	if h == nil {
		return Draft{}, &Failure{Reason: "busy", Err: errNeeded}
	}
	defer back()
	company := r.cfg.Company
	if company == "" {
		company = "a company"
	}
	text, err := r.scribble(ctx, h, strings.ReplaceAll(file(instruction), "{{company}}", company), told)
	switch {
	case errors.Is(context.Cause(ctx), errNeeded):
		return Draft{}, &Failure{Reason: "busy", Err: errNeeded}
	case errors.Is(err, context.DeadlineExceeded):
		return Draft{}, &Failure{Reason: "slow", Err: err}
	case err != nil:
		return Draft{}, err
	}
	d := Draft{Model: h.Model}
	d.Text, d.Disposition = r.checked(text, told, file(instruction))
	if d.Text == "" {
		return Draft{}, &Failure{Reason: "ungrounded", Err: fmt.Errorf("nothing of %d bytes may be shown", len(text))}
	}
	return d, nil
}

// scribble lets the model write, thoughts left out.
func (r *Responder) scribble(ctx context.Context, h *host, instruction, told string) (string, error) {
	var out strings.Builder
	var t thoughts
	thought := 0
	err := h.ollama.chat(ctx, []said{{"system", instruction}, {"user", told}}, answerTokens, func(c chunk) error {
		out.WriteString(t.add(c.text))
		thought += len(c.thinking)
		if out.Len() > draftBytes || t.hidden+thought > maxThinking || c.tools > 0 {
			return &Failure{Reason: "looping", Err: errors.New("it does not end")}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return out.String() + t.flush(), nil
}

// retold is the conversation as the model reads it: the beginning and the newest words.
func retold(history []channels.Message) string {
	var all []string
	names := map[channels.Author]string{channels.ByContact: "Customer", channels.ByAI: "AI", channels.ByAgent: "Agent"}
	for _, m := range history {
		if names[m.Author] == "" || m.Kind != channels.Text && m.Kind != channels.Transcript || strings.TrimSpace(m.Body) == "" {
			continue
		}
		all = append(all, names[m.Author]+": "+short(channels.MaskCards(cleaned(m.Body)), eachRunes))
	}
	if len(all) == 0 {
		return ""
	}
	size := len([]rune(all[0]))
	from := len(all)
	for from > 1 && size+len([]rune(all[from-1])) < toldRunes {
		from--
		size += len([]rune(all[from]))
	}
	return strings.Join(append([]string{all[0]}, all[from:]...), "\n")
}

// checked keeps the sentences that the conversation bears out.
func (r *Responder) checked(text, told, instruction string) (kept, disposition string) {
	known := sources{}
	known.add(told)
	low, runs := strings.ToLower(told), wordRuns(instruction)
	text = strings.ToValidUTF8(strings.ReplaceAll(cleaned(text), "\x00", ""), "")
	var lines []string
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(plain(line), ":"); ok && strings.EqualFold(strings.TrimSpace(name), "disposition") {
			if value = strings.ToLower(strings.Trim(value, " .\n\"'“”")); slices.Contains(Dispositions, value) {
				disposition = value
			}
			continue
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	var good []string
	for s := range sentencesOf(strings.Join(lines, " ")) {
		s = strings.TrimSpace(plain(s))
		if s != "" && bearable(s, known, low) && !leaks(s, runs) && !strings.Contains(instruction, s) && !slices.Contains(good, s) {
			good = append(good, s)
		}
	}
	return short(strings.Join(good, " "), draftRunes), disposition
}

// bearable: no figure, link, pledge or markup that does not stand in the conversation.
func bearable(sentence string, known sources, told string) bool {
	if markup.MatchString(sentence) || poses.MatchString(sentence) || toolLike.MatchString(sentence) || longWord.MatchString(sentence) || strings.ContainsAny(sentence, "<>{}\uFFFD") {
		return false
	}
	for _, l := range linkLike.FindAllString(sentence, -1) {
		if l = strings.Trim(l, " \t\n(\"'.,;:!?)"); (scheme.MatchString(l) || strings.ContainsAny(l, "@/") || hasDomain(l)) && !strings.Contains(told, strings.ToLower(l)) {
			return false
		}
	}
	for _, p := range promises.FindAllString(sentence, -1) {
		if !strings.Contains(told, strings.ToLower(p)) {
			return false
		}
	}
	for _, f := range figures(sentence) {
		if !known.grounded(f) {
			return false
		}
	}
	return true
}

func leaks(sentence string, runs map[string]bool) bool {
	for run := range wordRuns(sentence) {
		if runs[run] {
			return true
		}
	}
	return false
}
