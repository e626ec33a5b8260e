package dialogue

import (
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/mouth"
)

// stages are the moments of one turn.
type stages struct {
	speechEnd time.Time // the caller's last sound
	over      time.Time // the turn was held to be over: the ear was asked for the last words
	final     time.Time // they came
	taken     time.Time
	stored    time.Time     // the switchboard has them
	sentence  time.Time     // the first of the answer was here
	token     time.Duration // the model's first, since the responder was asked
	model     time.Duration // and its first sentence
	asked     time.Time     // the voice was asked for it
	made      time.Time     // its first sound was there
	audio     time.Time     // and was sent
}

// drafted: the first sentence of the answer is here.
func (s *stages) drafted(d channels.Draft) {
	s.sentence = time.Now()
	s.token, s.model = time.Duration(d.TokenMS)*time.Millisecond, time.Duration(d.SentenceMS)*time.Millisecond
	s.asked, s.made, s.audio = time.Time{}, time.Time{}, time.Time{}
}

// spoke: the first sound of a piece of the answer was sent.
func (s *stages) spoke(e mouth.Event) {
	if s.audio.IsZero() {
		s.asked, s.made, s.audio = e.Asked, e.Made, e.At
	}
}

// ready is how late the caller's words may be taken that end a turn; what is later has waited for the turn's end.
const ready = 20 * time.Millisecond

// times are those stages in milliseconds since the caller's last sound; nil: the turn had no answer that was heard.
func (s *stages) times(cut bool) *channels.TurnTimes {
	if s.speechEnd.IsZero() || s.audio.IsZero() || s.sentence.IsZero() || s.audio.Before(s.speechEnd) {
		return nil
	}
	ms := func(t time.Time) int { return max(0, int(t.Sub(s.speechEnd).Milliseconds())) }
	between := func(from, to time.Time) time.Duration { return max(0, to.Sub(from)) }
	over, final := s.over, s.final
	if between(s.final, s.taken) > ready { // the words were there before the turn was over
		over, final = s.taken, s.taken
	}
	own := between(s.taken, s.stored) + between(s.stored, s.sentence) - min(s.model, between(s.stored, s.sentence)) + between(s.sentence, s.asked) + between(s.made, s.audio)
	return &channels.TurnTimes{At: s.speechEnd, TurnEnd: ms(over), FinalText: ms(final), Stored: ms(s.stored), FirstToken: ms(s.sentence.Add(s.token - s.model)),
		FirstSentence: ms(s.sentence), FirstAudio: ms(s.audio), Own: int(own.Milliseconds()), Cut: cut}
}
