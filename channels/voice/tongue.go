package voice

import (
	"cmp"
	"slices"
	"strings"

	"patchbay/channels/voice/dialogue"
	words "patchbay/channels/voice/spoken"
)

// In which language a caller and the responder talk: at first the number's first one; then the one whose key the caller
// presses, or that the first sentence is in, by its sound or else by its words. Only languages that the engines hear and speak now are offered.

// tongue is a call's language.
type tongue struct {
	chosen string
	sure   bool // by a key or a sentence: it is not guessed any more
}

// maxGuesses is in how many of the caller's sentences another language is looked for.
const maxGuesses = 2

// language of the talk.
func (c *call) language() string { return cmp.Or(c.tongue.chosen, c.v.cfg.Language, "en") }

// languages are those of the number that can be talked, the greeting's first.
func (c *call) languages() []string {
	if c.v.cfg.Speech == nil {
		return nil
	}
	can := c.v.cfg.Speech.Languages()
	var all []string
	for _, l := range c.tongues {
		base, _, _ := strings.Cut(l, "-")
		if !slices.Contains(can, l) {
			l = base
		}
		if slices.Contains(can, l) && !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	return all
}

// greetIn decides the greeting's language, before the talk begins.
func (c *call) greetIn() {
	if all := c.languages(); len(all) > 0 && !c.tongue.sure {
		c.tongue.chosen = all[0]
	}
}

// maybe are the languages that the caller may begin to speak.
func (c *call) maybe() []string {
	if all := c.languages(); len(all) > 1 && !c.tongue.sure {
		return all
	}
	return nil
}

// offerLanguages says in each other language which key is its own.
func (c *call) offerLanguages() {
	for i, l := range c.languages() {
		if i > 0 && c.dia != nil {
			c.dia.SayIn(l, strings.ReplaceAll(dialogue.Phrase(l, "language"), "{{key}}", string(rune('1'+i))))
		}
	}
}

// languageKey: the caller has pressed a language's key; false: it is none.
func (c *call) languageKey(digit byte) bool {
	all := c.languages()
	if n := int(digit) - '1'; c.dia != nil && len(all) > 1 && n >= 0 && n < len(all) {
		c.dia.Hush(0)
		c.speakIn(all[n])
		if c.dia != nil {
			c.dia.Say(dialogue.Phrase(c.language(), "help"))
		}
		return true
	}
	return false
}

// guessLanguage looks whether the caller's first sentences are in another language of the number.
func (c *call) guessLanguage(said string) {
	all := c.languages()
	if c.tongue.sure || len(all) < 2 || c.guesses >= maxGuesses {
		return
	}
	c.guesses++
	if l := c.dia.Tongue(); slices.Contains(all, l) { // by its sound, which is the better guide: a wrong recogniser's words are in its own language
		if l != c.language() {
			c.speakIn(l)
		}
		return
	}
	if l, sure := words.Language(said, all); sure {
		c.speakIn(l)
	}
}

// speakIn goes over to a language. Where its engine is not to be had the talk goes on as it is.
func (c *call) speakIn(l string) {
	if l == c.language() {
		c.tongue.sure = true
		return
	}
	if err := c.dia.Change(l); err != nil {
		c.log.Warn("no engine for the language", "language", l, "err", err)
		return
	}
	c.tongue = tongue{chosen: l, sure: true}
	c.log.Info("the talk's language", "language", l)
}
