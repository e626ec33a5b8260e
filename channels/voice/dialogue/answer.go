package dialogue

import (
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/mouth"
	"patchbay/channels/voice/turn"
)

// answer is the responder's answer to the caller's last words, while it comes in and is said.
type answer struct {
	to      int64            // the words it answers: their seq; 0: not stored yet, or none
	waiting bool             // for the seq
	early   *channels.Draft  // came before it
	drafted string           // of it so far
	queued  int              // bytes of it that went to the mouth
	ending  *channels.Ending // nothing more comes
	full    bool             // more than is said on the telephone
	heard   []string
	told    bool // what was heard went up
}

// maxSaid is how much of an answer is said, in bytes: some forty seconds. Nobody keeps more in mind.
const maxSaid = 700

// take hands up what the caller has said.
func (d *Dialogue) take(words string) {
	d.report(true)
	d.answer = answer{waiting: true}
	d.clock.taken = time.Now()
	d.cfg.Words(words)
}

// Stored: the words are in the timeline under this seq; drafts with it answer them. 0: they are not, and nobody answers.
func (d *Dialogue) Stored(seq int64) {
	if d.closed() || !d.answer.waiting {
		return
	}
	d.answer.waiting, d.answer.to = false, seq
	d.clock.stored = time.Now()
	if seq == 0 {
		d.do(d.turn.Settled(time.Now()))
		return
	}
	if early := d.answer.early; early != nil {
		d.answer.early = nil
		d.Draft(*early)
	}
}

// Draft takes an answer while it is written.
func (d *Dialogue) Draft(draft channels.Draft) {
	if d.closed() || draft.To == 0 {
		return
	}
	a := &d.answer
	switch {
	case a.waiting:
		a.early = &draft
		return
	case draft.To != a.to || a.told:
		return // of words that the caller has spoken over
	}
	if rest, ok := strings.CutPrefix(draft.Text, a.drafted); ok && rest != "" && !a.full {
		if a.drafted == "" {
			d.clock.drafted(draft)
		}
		a.drafted = draft.Text
	}
	a.ending = draft.Ending
	d.queue()
	if a.ending != nil {
		if d.OnNews(); d.closed() { // the last sentence may have been said by now
			return
		}
		d.report(false)
		d.do(d.turn.Settled(time.Now()))
	}
}

// queue gives the mouth the sentences that are whole.
func (d *Dialogue) queue() {
	a := &d.answer
	for !a.full {
		rest := a.drafted[a.queued:]
		n := sentence(rest)
		if n == 0 || n == len(rest) && strings.TrimSpace(rest) == "" {
			return
		}
		a.queued += n
		text := strings.TrimSpace(rest[:n])
		if a.queued > maxSaid {
			a.full = true
			text = Phrase(d.cfg.Language, "long")
		}
		d.mouth.Add(mouth.Piece{Text: text, Language: d.cfg.Language, Kind: uint8(turn.Answer), Turn: a.to})
		d.do(d.turn.Ready(time.Now(), turn.Answer))
		if d.closed() {
			return
		}
	}
}

// heardPart notes what the caller has heard of the answer.
func (d *Dialogue) heardPart(p mouth.Piece, text string) {
	if p.Turn != 0 && p.Turn == d.answer.to && text != "" {
		d.answer.heard = append(d.answer.heard, text)
	}
}

// report tells what of the answer was heard, once: when it was said to its end, or was cut off.
func (d *Dialogue) report(cut bool) {
	a := &d.answer
	text := strings.Join(a.heard, " ")
	switch {
	case a.told || a.to == 0:
		return
	case cut && text == "":
		return // not begun: the next words are answered together with those
	case !cut && (a.ending == nil || !d.mouth.Empty()):
		return
	}
	a.told = true
	s := channels.Spoken{To: a.to, Cut: cut, Times: d.clock.times(cut)}
	if a.ending != nil {
		s.Ending = *a.ending
	}
	d.cfg.Spoken(text, s)
}

// cutOff silences us and tells what was heard until here.
func (d *Dialogue) cutOff() {
	for _, e := range d.mouth.Events() { // sentences that ended a moment ago
		if e.Kind == mouth.Ended {
			d.heardPart(e.Piece, e.Heard)
		}
		if e.Kind == mouth.Began && e.Piece.Turn != 0 {
			d.clock.spoke(e)
		}
	}
	whole := d.mouth.Empty()
	d.heardPart(d.mouth.Cut())
	d.report(!(whole && d.answer.ending != nil))
}
