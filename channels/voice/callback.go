package voice

import (
	"fmt"
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
)

// A caller in line may hang up and be called back: by a key, or when the house asks whether they want to be (their own "call me
// back", a line that takes too long). They hear the number that will be called, and type it where none is known. All of it is
// keys and files, with the engines dead; the place in line goes on meanwhile, and an agent who comes puts an end to it.

// backing is a caller on the way from the line to a call back; the call's goroutine owns it.
type backing struct {
	key    func(digit byte) // what a key means now; nil: they are asked nothing
	number string           // that is to be confirmed
	late   func()           // what it means that no key comes; nil: they stay in line
	typing bool             // a number is being typed
	timed  bool             // the call is promised for a time of their choice
	typed  []byte
	wrong  int
	by     time.Time // until when the next key is waited for
}

// Prompts of a call back; a phrase has the same name.
const (
	promptKeyBack   = "key_callback"      // to be called back, press 2
	promptShall     = "callback_offer"    // it takes longer: shall we call you back? Press 2
	promptCallAt    = "callback_at"       // we will call you at
	promptRight     = "callback_right"    // press 1 if that is right, 2 for another number, star to stay in line
	promptType      = "callback_type"     // type the number, then hash
	promptWrongType = "callback_wrong"    // that number cannot be called
	promptCallSet   = "callback_set"      // we will call you, you keep your place. Goodbye
	promptCallOpen  = "callback_set_open" // we will call you as soon as we are back
	promptCallFails = "callback_failed"   // that did not work: you are still in line
	promptKept      = "place_kept"        // you have your place in line again
)

const (
	digitPrompt = "digit_%c"
	plusPrompt  = "digit_plus"

	typingPause = 6 * time.Second  // without a key
	askingPause = 10 * time.Second // after the words
	wrongMost   = 3
	typedMost   = 18
)

// callBackPrompts are all of them.
func callBackPrompts() []string {
	names := []string{promptKeyBack, promptShall, promptCallAt, promptRight, promptType, promptWrongType, promptCallSet, promptCallOpen, promptCallFails, promptKept, plusPrompt}
	for d := '0'; d <= '9'; d++ {
		names = append(names, fmt.Sprintf(digitPrompt, d))
	}
	return append(names, slotPrompts()...)
}

// mayDial tells in which form a customer's number is called, or in words why it is not; "" asks whether any customer may be
// called. Emergency services and numbers of ours are no customers.
func (v *Voice) mayDial(number string) (string, error) {
	if number == "" {
		if !v.trunks.DialsOut() {
			return "", channels.FailField(channels.Forbidden, "number", "No trunk is set up for calls out.")
		}
		return "", nil
	}
	routes, err := v.trunks.Routes(number, "", "")
	if err != nil {
		return "", err
	}
	way := routes[0]
	if _, ours := v.trunks.Number(way.Number); ours || way.Emergency {
		return "", channels.FailField(channels.Forbidden, "number", way.Number+" is no number at which we can call you.")
	}
	return way.Number, nil
}

// DialsOut tells whether any customer can be called. Any goroutine may ask.
func (v *Voice) DialsOut() bool { return v.trunks.DialsOut() }

// mayCallBack tells whether this caller is offered it.
func (c *call) mayCallBack() bool {
	return c.direction == channels.CallIn && !c.fromPage() && c.sound != nil && c.sound.callBack && c.v.trunks.DialsOut()
}

// offerCallBack: the house asks whether they want it, for a reason, or because they have asked for it; a queue may have words of its
// own. They go on by themselves to the music.
func (c *call) offerCallBack(sig channels.CallSignal) {
	if c.state != channels.CallWaiting || c.back.key != nil || c.voicemail.leaving != nil || !c.mayCallBack() {
		return
	}
	switch {
	case sig.Reason == "":
		c.tellCaller([]string{promptKeyBack}, c.thenMusic)
	case sig.On: // a file cannot say them
		c.announce(sig.Text+" "+dialogue.Phrase(c.language(), promptKeyBack), promptShall, c.thenMusic)
	default:
		c.tellCaller([]string{promptShall}, c.thenMusic)
	}
}

// askNumber reads back the caller's own number, or asks for one.
func (c *call) askNumber() {
	c.back = backing{wrong: c.back.wrong}
	c.voicemail.order++ // one that was about to begin does not
	if number, err := c.v.mayDial(c.number); err == nil && number != "" {
		c.confirmNumber(number)
		return
	}
	c.typeNumber(promptType)
}

// confirmNumber says the number; 1 takes it.
func (c *call) confirmNumber(number string) {
	c.back.number, c.back.by = number, time.Time{}
	c.back.key = func(digit byte) {
		switch digit {
		case '1':
			c.askTimes(number)
		case '2':
			c.typeNumber(promptType)
		case '*':
			c.stayInLine(promptWaiting)
		default:
			c.confirmNumber(number)
		}
	}
	names := []string{promptCallAt}
	for _, d := range number {
		if d == '+' {
			names = append(names, plusPrompt)
		} else {
			names = append(names, fmt.Sprintf(digitPrompt, d))
		}
	}
	names = append(names, promptRight)
	language := c.language()
	text := dialogue.Phrase(language, promptCallAt) + " " + strings.Join(strings.Split(number, ""), " ") + ". " + dialogue.Phrase(language, promptRight)
	c.announce(text, strings.Join(names, " "), c.awaitKey(askingPause))
}

// typeNumber asks for a number by keys.
func (c *call) typeNumber(words string) {
	c.back = backing{wrong: c.back.wrong, key: c.typedKey, typing: true}
	c.tellCaller([]string{words}, c.awaitKey(askingPause))
}

// typedKey is one key of a number; hash or a pause ends it.
func (c *call) typedKey(digit byte) {
	switch {
	case digit == '*':
		c.stayInLine(promptWaiting)
	case digit == '#':
		c.typedAll()
	case digit >= '0' && digit <= '9' && len(c.back.typed) < typedMost:
		if len(c.back.typed) == 0 {
			c.hushed() // the words are over
		}
		c.back.typed = append(c.back.typed, digit)
		c.back.by = time.Now().Add(typingPause)
	}
}

func (c *call) typedAll() {
	number, err := c.v.mayDial(channels.CleanPhone(string(c.back.typed)))
	switch {
	case err == nil && number != "":
		c.confirmNumber(number)
	case c.back.wrong+1 >= wrongMost:
		c.stayInLine(promptCallFails)
	default:
		c.back.wrong++
		c.typeNumber(promptWrongType)
	}
}

// hushed: the words are over, whoever speaks them; music follows. (A talk whose leg is only taken would wait for their end.)
func (c *call) hushed() {
	c.dia.Hush(0)
	c.music()
}

// awaitKey gives the caller time after the words.
func (c *call) awaitKey(pause time.Duration) func() {
	return func() {
		c.music()
		if c.back.key != nil {
			c.back.by = time.Now().Add(pause)
		}
	}
}

// onBackLate: no key came. A number that was typed is read back; who says nothing stays in line.
func (c *call) onBackLate() {
	switch {
	case c.back.key == nil:
	case len(c.back.typed) > 0:
		c.typedAll()
	case c.back.late != nil:
		c.back.late()
	default:
		c.stayInLine(promptWaiting)
	}
}

// stayInLine: no call back.
func (c *call) stayInLine(words string) {
	c.back = backing{}
	c.tellCaller([]string{words}, c.thenMusic)
}

// onCallBackSet: the house has promised the call, or has words why not.
func (c *call) onCallBackSet(later bool, err error) {
	if c.state != channels.CallWaiting { // an agent was faster
		return
	}
	if err != nil {
		c.log.Info("no call back", "err", err)
		c.stayInLine(promptCallFails)
		return
	}
	words := promptCallSet
	switch {
	case c.back.timed:
		words = promptSetTime
	case later:
		words = promptCallOpen
	}
	c.tellCaller([]string{words}, func() {
		if c.state == channels.CallWaiting {
			c.end(completed, "is called back", true)
		}
	})
}
