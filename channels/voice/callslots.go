package voice

import (
	"context"
	"fmt"
	"strings"
	"time"

	"patchbay/channels"
	words "patchbay/channels/voice/spoken"
)

// Outside hours a caller who wants to be called chooses when: as soon as somebody is back, or one of two later hours of the queue's
// own clock, by key, or by saying the key's number where there is an ear. The choice is read back. Who says nothing is called at
// the opening: they have confirmed their number.

// Prompts of the choice; a phrase has the same name. hour_0 ... hour_23 and the days are said after each other.
const (
	promptWhen    = "callback_when"     // when shall we call you?
	promptOpening = "callback_opening"  // as soon as we are back,
	promptStay    = "callback_stay"     // to stay in line, press star
	promptThen    = "callback_then"     // we will call you
	promptAgainIf = "callback_again"    // press 1 if that is right, 2 for another time, star to stay in line
	promptSetTime = "callback_set_time" // we will call you then. Goodbye
	pressPrompt   = "press_%d"
	hourPrompt    = "hour_%d"
	dayPrompt     = "day_%d" // of time.Weekday
	dayToday      = "day_today"
	dayTomorrow   = "day_tomorrow"

	slotsOffered = 3
	slotGap      = time.Hour // a later choice is at least so much later
	afternoon    = 14        // the hour from which the third one is looked for
)

// slotPrompts are all of them.
func slotPrompts() []string {
	names := []string{promptWhen, promptOpening, promptStay, promptThen, promptAgainIf, promptSetTime, dayToday, dayTomorrow}
	for i := range slotsOffered {
		names = append(names, fmt.Sprintf(pressPrompt, i+1))
	}
	for i := range 7 {
		names = append(names, fmt.Sprintf(dayPrompt, i))
	}
	for i := range 24 {
		names = append(names, fmt.Sprintf(hourPrompt, i))
	}
	return names
}

// slot is a time that the caller can choose, and its words.
type slot struct {
	at    time.Time
	names []string
}

// slotsOf picks what is offered on the telephone of a queue that is closed now: the opening, an hour soon after it, and one in the
// afternoon, else later or on another day. Only full hours are said, the opening's where it is one. Fewer than two: nothing is asked.
func slotsOf(times channels.CallTimes, now time.Time) (list []slot) {
	loc, err := time.LoadLocation(times.Zone)
	if err != nil || times.Open || len(times.Times) == 0 {
		return nil
	}
	opening := times.Times[0]
	day := dayOf(opening.In(loc), now.In(loc))
	if day == "" {
		return nil
	}
	list = append(list, slot{opening, append([]string{promptOpening}, sayWhen(opening.In(loc), day)...)})
	third := -1
	var later []slot
	for _, at := range times.Times[1:] {
		local := at.In(loc)
		if day = dayOf(local, now.In(loc)); day == "" || local.Minute() != 0 || at.Sub(opening) < slotGap {
			continue
		}
		if len(later) > 0 && at.Sub(later[0].at) >= slotGap && local.Hour() >= afternoon && third < 0 {
			third = len(later)
		}
		later = append(later, slot{at, sayWhen(local, day)})
	}
	if len(later) > 0 {
		list = append(list, later[0])
	}
	if third < 0 && len(later) > 1 {
		third = len(later) - 1
	}
	if third > 0 {
		list = append(list, later[third])
	}
	return list
}

// dayOf names the day of a moment; "": it is too far away to be said.
func dayOf(at, now time.Time) string {
	midnight := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
	switch n := int(midnight(at).Sub(midnight(now)).Hours() / 24); {
	case n == 0:
		return dayToday
	case n == 1:
		return dayTomorrow
	case n < 0 || n > 6:
		return ""
	}
	return fmt.Sprintf(dayPrompt, at.Weekday())
}

func sayWhen(local time.Time, day string) []string {
	if local.Minute() != 0 {
		return []string{day}
	}
	return []string{day, fmt.Sprintf(hourPrompt, local.Hour())}
}

// timesAsked is the house's answer.
type timesAsked struct {
	number string
	times  channels.CallTimes
	err    error
}

// askTimes asks the house when this number can be called; it is promised at once when there is no choice.
func (c *call) askTimes(number string) {
	c.back = backing{number: number, key: func(byte) {}}
	c.hushed()
	if c.v.cfg.CallTimes == nil {
		c.promiseCall(number, nil)
		return
	}
	c.beside(func() {
		ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
		defer cancel()
		a := timesAsked{number: number}
		a.times, a.err = c.v.cfg.CallTimes(ctx, c.conversation)
		c.post(a)
	})
}

func (c *call) onTimes(a timesAsked) {
	if c.ended || c.state != channels.CallWaiting || c.back.number != a.number || c.back.key == nil { // an agent was faster
		return
	}
	if a.err != nil {
		c.log.Warn("no times to choose from", "err", a.err)
	}
	if slots := slotsOf(a.times, time.Now()); len(slots) > 1 {
		c.askSlot(a.number, slots)
		return
	}
	c.promiseCall(a.number, nil)
}

// askSlot offers the times; the number is confirmed.
func (c *call) askSlot(number string, slots []slot) {
	names, text := []string{promptWhen}, c.phrases(promptWhen)
	for i, s := range slots {
		press := fmt.Sprintf(pressPrompt, i+1)
		names = append(append(names, s.names...), press)
		text += " " + c.phrases(s.names...) + ", " + c.phrases(press)
	}
	c.back = backing{number: number, late: func() { c.promiseCall(number, nil) }}
	c.back.key = func(digit byte) {
		switch n := int(digit - '1'); {
		case digit == '*':
			c.stayInLine(promptWaiting)
		case n >= 0 && n < len(slots):
			c.confirmSlot(number, slots, slots[n])
		default:
			c.askSlot(number, slots)
		}
	}
	c.announce(text+" "+c.phrases(promptStay), strings.Join(append(names, promptStay), " "), c.awaitKey(askingPause))
}

// confirmSlot says the time; 1 takes it, and so does silence: it was chosen.
func (c *call) confirmSlot(number string, slots []slot, chosen slot) {
	at := &chosen.at
	if at.Equal(slots[0].at) {
		at = nil // the opening, whenever it is by then
	}
	c.back = backing{number: number, late: func() { c.promiseCall(number, at) }}
	c.back.key = func(digit byte) {
		switch digit {
		case '1':
			c.promiseCall(number, at)
		case '2':
			c.askSlot(number, slots)
		case '*':
			c.stayInLine(promptWaiting)
		default:
			c.confirmSlot(number, slots, chosen)
		}
	}
	names := append([]string{promptThen}, chosen.names...)
	c.announce(c.phrases(names...)+". "+c.phrases(promptAgainIf), strings.Join(append(names, promptAgainIf), " "), c.awaitKey(askingPause))
}

// promiseCall tells the house; its answer goes to onCallBackSet.
func (c *call) promiseCall(number string, at *time.Time) {
	c.back = backing{number: number, key: func(byte) {}, timed: at != nil}
	c.hushed()
	c.tell(c.about(channels.Inbound{Type: channels.CallMe, To: number, At: at}))
}

// spokenKey: who is asked for a key says its number instead, or the whole number that they are asked for; false: they have said something else, which is the house's.
func (c *call) spokenKey(heard string) bool {
	if c.back.key == nil || c.state != channels.CallWaiting {
		return false
	}
	digits, ok := words.Digits(c.language(), heard)
	if !ok || len(digits) > typedMost {
		return false
	}
	switch {
	case c.back.typing && len(digits) > 1: // a whole number at once
		c.back.typed = []byte(strings.TrimPrefix(digits, "+"))
		if digits[0] == '+' {
			c.back.typed = append([]byte("00"), c.back.typed...)
		}
		c.typedAll()
	case len(digits) > 1:
		return false
	default:
		c.back.key(digits[0])
	}
	return true
}
