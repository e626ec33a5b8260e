package voice

import (
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/turn"
)

// menu is the caller's side: what is played to them and what their keys mean.
type menu struct {
	playing    <-chan struct{} // the prompt being spoken; nil for music and silence
	saying     string          // its name
	player     *media.Player
	then       func() // when it was spoken to its end
	greeted    bool
	inLine     bool // the conversation waits for a person already: no menu
	busy       bool // because the responder had no place
	kept       bool // they hung up in line a moment ago
	withPerson bool // it is with one, in writing
	misses     int  // prompts without an answer
	wrong      int  // keys without a meaning
	inputAt    time.Time

	callerHeld bool      // they have put us on hold: nothing is played
	resumedAt  time.Time // and taken us back
}

const (
	maxMisses = 2
	maxWrong  = 2
)

// say speaks a prompt, or several whose names are joined by spaces; what was spoken before is cut off.
func (c *call) say(name string, then func()) {
	c.inputAt = time.Time{}
	caller := c.who[callerSeat]
	if c.callerHeld || !caller.up {
		c.playing = nil
		return // onHold and callerHere speak again
	}
	caller.comfort = spoken
	c.player = caller.leg().Play(media.NewPlayer(c.prompts(strings.Fields(name))...))
	c.playing, c.saying, c.then = c.player.Done(), name, then
}

// music plays until something else does.
func (c *call) music() {
	c.playing = nil
	if caller := c.who[callerSeat]; !c.callerHeld && caller.up && caller.comfort != music {
		caller.comfort = music
		caller.leg().Play(media.Loop(c.musicOnHold()))
	}
}

func (c *call) onPlayed() {
	c.playing = nil
	if c.player.Finished() && c.then != nil {
		c.then()
	}
}

// greet begins when the caller has acknowledged the answer: before that its phone may not play yet.
func (c *call) greet() {
	if c.state != channels.CallAnswered || c.greeted {
		return
	}
	c.greeted = true
	if c.withPerson { // the chat's agent: no menu before them
		c.wish("button")
		return
	}
	c.greetIn()
	if c.inLine {
		c.state = channels.CallWaiting
		c.converse()
		if c.dia != nil {
			c.dia.Line(true)
		}
		phrase, prompt := "waiting", promptWaiting
		switch {
		case c.kept:
			phrase, prompt = promptKept, promptKept
		case c.busy:
			phrase = "busy"
		}
		c.announce(dialogue.Phrase(c.language(), phrase), prompt, c.thenMusic)
		c.moved()
		return
	}
	c.welcome()
}

// listen gives the caller time to press a key.
func (c *call) listen() {
	if c.state == channels.CallAnswered && c.dia == nil { // the talk has its own clock
		c.inputAt = time.Now().Add(c.v.times.NoInput)
	}
}

func (c *call) onNoInput() {
	if c.state != channels.CallAnswered {
		return
	}
	if c.misses++; c.misses >= maxMisses {
		c.wish("silence")
		return
	}
	c.say(promptAgain, c.listen)
}

// onKey is one key of the caller.
func (c *call) onKey(digit byte) {
	switch c.state {
	case channels.CallAnswered:
		if !c.dia.Key(digit) && !c.languageKey(digit) {
			c.choose(digit)
		}
	case channels.CallWaiting:
		c.lineKey(digit)
	case channels.CallBridged:
		c.v.publish(c.agentID(), keyNews{Type: "call_dtmf", CallID: c.id, ConversationID: c.conversation, Digit: string(digit)})
	}
}

// keyNews tells the agent which key the caller pressed.
type keyNews struct {
	Type           string `json:"type"`
	CallID         int64  `json:"call_id"`
	ConversationID int64  `json:"conversation_id"`
	Digit          string `json:"digit"`
}

// choose is the menu.
func (c *call) choose(digit byte) {
	c.greeted = true // whoever presses a key before the greeting needs none
	prompt := c.v.cfg.Keys[string(digit)]
	c.dia.Hush(c.prompt(orElse(prompt, promptUnknown)).Length())
	switch {
	case digit == '0':
		c.wish("key")
	case digit == '*':
		c.misses = 0
		c.welcome()
	case prompt != "":
		c.misses = 0
		c.say(prompt, c.listen)
	default:
		if c.wrong++; c.wrong >= maxWrong {
			c.wish("no_match")
			return
		}
		c.say(promptUnknown, c.listen)
	}
}

// wish: the caller gets a person. The words of it are tried until the house has heard them; meanwhile there is music.
func (c *call) wish(source string) {
	c.inputAt = time.Time{}
	c.state = channels.CallWaiting
	c.log.Info("caller asks for a person", "source", source)
	phrase := "waiting"
	if source == turn.Failure {
		phrase = "model_down"
	}
	c.dia.Line(true)
	c.announce(dialogue.Phrase(c.language(), phrase), promptWaiting, c.thenMusic)
	c.tell(c.about(channels.Inbound{Type: channels.Wish, Source: source}))
	c.moved()
}

// onHold and its end: the caller's own hold, by re-INVITE or UPDATE.
func (c *call) onHold(held bool) {
	if held == c.callerHeld {
		return
	}
	caller := c.who[callerSeat]
	c.callerHeld, caller.heldUs = held, held
	if held {
		c.endVoicemail(mailStays)
		c.dia.Hold(true)
	}
	if held {
		c.playing, c.inputAt = nil, time.Time{}
	} else {
		c.resumedAt = time.Now()
	}
	switch {
	case c.talks():
		c.patch()
	case !held && c.agent().here() && c.who[callerSeat].answered():
		c.bridge()
	case held:
		caller.comfort = nothing
		caller.leg().Stop()
	case c.dia != nil:
		c.goOn()
	case c.state == channels.CallAnswered:
		c.say(promptGreeting, c.listen)
	default:
		c.music()
	}
	c.news("")
}

// validDigit tells whether an agent may send s as a key.
func validDigit(s string) bool {
	return len(s) == 1 && strings.Contains("0123456789*#ABCD", s)
}
