package voice

import "slices"

// What a caller in line can choose by a key. The words that offer a choice follow the place each time it is said; the key
// works at any time, also before its words. A choice is one row of the table below.

// lineChoice is one row.
type lineChoice struct {
	key    byte
	prompt string      // the words that offer it, a file of prompts/ and a phrase of that name; "": it is not offered in words
	has    func() bool // whether this caller has it now
	choose func()
}

// lineChoices is the table, in the order of the words.
func (c *call) lineChoices() []lineChoice {
	always := func() bool { return true }
	return []lineChoice{
		{'2', promptKeyBack, c.mayCallBack, c.askNumber},
		{'3', promptVoicemailOffer, c.v.takesVoicemail, c.leaveVoicemail},
		{'*', "", always, c.placeAgain},
	}
}

// lineKey is a key of a caller in line; one without a meaning changes nothing.
func (c *call) lineKey(digit byte) {
	if c.voicemailKey(digit) {
		return
	}
	if c.back.key != nil { // they are being asked something
		c.back.key(digit)
		return
	}
	for _, row := range c.lineChoices() {
		if row.key == digit && row.has() {
			row.choose()
			return
		}
	}
}

// lineOffers are the words of what this caller may choose.
func (c *call) lineOffers() (names []string) {
	for _, row := range c.lineChoices() {
		if row.prompt != "" && row.has() && !slices.Contains(names, row.prompt) {
			names = append(names, row.prompt)
		}
	}
	return names
}

// placeAgain says the place as soon as the house has said it.
func (c *call) placeAgain() {
	if c.v.cfg.Expect != nil && !c.line.asking {
		c.line.place = 0
		c.lookAtLine()
	}
}
