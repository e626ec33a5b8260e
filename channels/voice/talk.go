package voice

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/turn"
)

// A caller's talk with the responder, as the call sees it (see package dialogue). It goes on from the greeting until a
// person has the call, in line too; where there is no engine, or it fails twice, the caller has keys and prompts
// (menu.go), and 0 is a person in either.

// Speech hears and speaks for the calls; *speech.Engines does.
type Speech = dialogue.Speech

// conversing is the talk of a call.
type conversing struct {
	dia     *dialogue.Dialogue // nil: keys and prompts
	failing bool               // engines have failed in this call: they are not tried again
	drafts  func()             // ends the subscription
	things  int                // said so far
	tongue  tongue
	tongues []string // languages of the number
	guesses int      // of the language
}

// drafted lands in the mail for each draft of the conversation's answers.
type drafted struct{ channels.Draft }

// speaks tells whether this call may be a talk.
func (c *call) speaks() bool {
	return c.v.cfg.Speech != nil && !c.failing && c.direction == channels.CallIn
}

// converse begins the talk, if there are engines; false: keys and prompts.
func (c *call) converse() bool {
	if c.dia != nil {
		return true
	}
	leg := c.who[callerSeat].leg()
	if !c.speaks() || leg == nil {
		return false
	}
	if c.drafts == nil {
		unsubscribe, err := c.v.cfg.Bus.Subscribe(channels.ConversationSubject(c.conversation), c.overhearDraft)
		if err != nil {
			c.log.Error("call without drafts: keys and prompts", "err", err)
			return false
		}
		c.drafts = unsubscribe
	}
	dia, err := dialogue.Open(dialogue.Config{Speech: c.speech(), Language: c.language(), Among: c.maybe(), Times: c.v.times.Turn, Log: c.log,
		Wish:   c.v.cfg.Wish,
		Words:  c.said,
		Spoken: c.spoke,
		Person: c.wish,
		Lost:   c.onTalkLost,
		Prompt: func(name string) { c.say(name, c.thenMusic) },
		Plays:  c.onPlays,
		Engine: c.onEngine,
	}, leg)
	if err != nil {
		c.log.Info("no talk: keys and prompts", "err", err)
		c.failing = true
		return false
	}
	c.dia = dia
	return true
}

// overhearDraft takes drafts off the bus.
func (c *call) overhearDraft(_ string, data []byte) {
	var e channels.Event
	if json.Unmarshal(data, &e) == nil && e.Type == channels.EventDraft && e.Draft != nil && e.Draft.To != 0 {
		c.post(drafted{*e.Draft})
	}
}

// welcome are the first words. A queue's own greeting comes before ours.
func (c *call) welcome() {
	c.greetIn()
	switch {
	case !c.converse():
		c.say(promptGreeting, c.listen)
	case c.sound != nil && c.sound.own[promptGreeting] != nil:
		c.say(promptGreeting, func() {
			c.playing = nil
			if c.state == channels.CallAnswered && c.dia != nil {
				c.dia.Say(dialogue.Phrase(c.language(), "hello") + " " + dialogue.Phrase(c.language(), "help"))
				c.offerLanguages()
			}
		})
	default:
		c.dia.Say(dialogue.Greeting(c.language(), c.v.cfg.Company))
		c.dia.Say(dialogue.Phrase(c.language(), "help"))
		c.offerLanguages()
	}
}

// said: the caller has said this to the responder.
func (c *call) said(words string) {
	c.inputAt = time.Time{}
	if c.spokenKey(words) {
		c.dia.Stored(0)
		return
	}
	c.guessLanguage(words)
	c.tell(c.about(channels.Inbound{Type: channels.Words, Body: words, ClientID: c.once()}))
}

// onSaid: the house has the caller's words.
func (c *call) onSaid(r channels.Receipt, err error) {
	seq := int64(0)
	waits := r.State == channels.Waiting || r.State == channels.Offered
	if err == nil && r.Message != nil && (r.State == channels.Bot || waits && c.state == channels.CallWaiting) {
		seq = r.Message.Seq
	}
	if c.dia != nil {
		c.dia.Stored(seq)
	}
	switch {
	case c.state != channels.CallAnswered && c.state != channels.CallWaiting:
	case err != nil && c.state == channels.CallAnswered: // it cannot be stored, and so not answered
		c.wish(turn.Failure)
	case err != nil:
	case r.State == channels.Bot && c.state == channels.CallWaiting:
		c.outOfLine()
	case waits:
		c.intoLine(dialogue.Phrase(c.language(), "waiting"))
	}
}

// spoke: of an answer the caller has heard that.
func (c *call) spoke(text string, s channels.Spoken) {
	c.tell(c.about(channels.Inbound{Type: channels.Said, Body: text, Spoken: &s, ClientID: c.once()}))
}

// once is an id for something said: told twice, because an answer of the house was lost, it is stored once.
func (c *call) once() string {
	c.things++
	return fmt.Sprintf("call-%d-%d", c.id, c.things)
}

// announce says something that nothing but a person drops: by voice, or the prompt that says about the same. then
// follows.
func (c *call) announce(text, prompt string, then func()) {
	if c.dia == nil || text == "" {
		c.say(prompt, then)
		return
	}
	c.dia.Notice(text, prompt, then)
}

// intoLine: the house has put the caller in line; the words say so.
func (c *call) intoLine(words string) {
	if c.state != channels.CallAnswered {
		return
	}
	c.state, c.inputAt = channels.CallWaiting, time.Time{}
	c.dia.Line(true)
	c.announce(words, promptWaiting, c.thenMusic)
	c.moved()
}

// outOfLine: the caller wants no person any more.
func (c *call) outOfLine() {
	c.state = channels.CallAnswered
	c.moved()
	if c.dia == nil {
		c.say(promptGreeting, c.listen)
		return
	}
	c.dia.Line(false)
	c.dia.Say(dialogue.Phrase(c.language(), "no_wish"))
}

// linePhrases are the house's notices that put a caller in line.
var linePhrases = map[string]string{channels.CodeWaiting: "waiting", channels.CodeNoAnswer: "no_answer", channels.CodeModelDown: "model_down"}

// toSay: the switchboard has words for the caller.
func (c *call) toSay(sig channels.CallSignal) {
	code, text := sig.Code, sig.Text
	switch phrase := linePhrases[code]; {
	case phrase != "":
		c.intoLine(dialogue.Phrase(c.language(), phrase))
	case code == channels.CodeCallback:
		c.offerCallBack(sig)
	case code == channels.CodeNobodyHere:
		c.nobodyHere(text)
	case code == channels.CodeLonger: // words of the queue's own: without a voice only what can be chosen is said
		c.tellInLine(text)
	case code == "" && c.dia != nil && !c.talks():
		c.dia.Say(text)
	}
}

// nobodyHere: the caller is in line, and hears when people are back. Without a voice the file says as much as is always true.
func (c *call) nobodyHere(text string) {
	if c.state == channels.CallAnswered {
		c.state, c.inputAt = channels.CallWaiting, time.Time{}
		c.dia.Line(true)
		c.moved()
	}
	c.tellInLine(text, promptNobodyHere)
}

// tellInLine says words of the house to who waits, and what they can do meanwhile; not into a message that is being left, or a number.
func (c *call) tellInLine(text string, files ...string) {
	if c.state != channels.CallWaiting || c.voicemail.leaving != nil || c.back.key != nil {
		return
	}
	offers := c.lineOffers()
	for _, name := range offers {
		text += " " + dialogue.Phrase(c.language(), name)
	}
	if files = append(files, offers...); len(files) > 0 {
		c.announce(text, strings.Join(files, " "), c.thenMusic)
	}
}

// onTalkLost: the engines have failed twice. Who waits for an answer gets a person, the others keys and prompts.
func (c *call) onTalkLost(owed bool, err error) {
	c.log.Warn("talk lost: keys and prompts", "err", err)
	c.dia, c.failing = nil, true
	switch {
	case c.state == channels.CallAnswered && owed:
		c.wish(turn.Failure)
	case c.state == channels.CallAnswered:
		c.say(promptGreeting, c.listen)
	case c.state == channels.CallWaiting:
		c.music()
	}
}

// endTalk: a person has the call, or it is over.
func (c *call) endTalk() {
	c.dia.Close()
	c.dia = nil
}

// onPlays: the talk has the caller's leg, or nothing more to say.
func (c *call) onPlays(on bool) {
	switch {
	case on:
		c.who[callerSeat].comfort, c.playing = spoken, nil
	case c.state != channels.CallAnswered:
		c.thenMusic()
	}
}

// goOn: the caller is with the talk again, after their hold or with another leg.
func (c *call) goOn() {
	c.dia.Listen(c.who[callerSeat].leg())
	c.dia.Hold(false)
	if !c.dia.Speaks() {
		c.onPlays(false)
	}
}
