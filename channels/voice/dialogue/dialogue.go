// Package dialogue is a caller's talk with the responder: it puts ear, turn and mouth together for one call.
//
//	caller's leg ─▶ speech.Ear ──▶ turn.Machine ──▶ Config.Words: up to the switchboard, as from a chat
//	      ▲                           │  ▲                             │ the responder's drafts
//	      └── mouth.Mouth ◀── Speak, Hold, Cut ◀── sentences ◀── Draft ◀┘
//
// It belongs to the call's goroutine: the call's select waits for Heard, News and Deadline and hands over what comes.
// What of an answer was really heard goes up by Config.Spoken, and that is what the timeline holds: an answer is not
// stored before it was said. The way to a person is never here alone: keys are the call's, and when ear or mouth fail
// twice, Config.Lost gives the caller back to keys and prompts.
package dialogue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/mouth"
	"patchbay/channels/voice/speech"
	"patchbay/channels/voice/spoken"
	"patchbay/channels/voice/turn"
)

// Speech is what hears and speaks; *speech.Engines does. Its engines differ from house to house.
type Speech interface {
	Hear(ctx context.Context, cfg speech.HearConfig) (*speech.Ear, error)
	Say(ctx context.Context, text string, cfg speech.SayConfig) (*speech.Utterance, error)
	Languages() []string
	Await(ctx context.Context, language string) error
}

// Config is one call's. The funcs are called on the call's goroutine, from within a verb of the Dialogue.
type Config struct {
	Speech   Speech
	Language string   // of both: "en"
	Among    []string // languages that the caller may speak instead: an ear that can tell says so (Tongue)
	Times    turn.Times
	Log      *slog.Logger

	Wish   func(words string) bool              // a person is wanted by these words: turn.Config's
	Words  func(text string)                    // the caller has said this
	Spoken func(text string, s channels.Spoken) // and has heard that of an answer
	Person func(why string)                     // the caller gets a person: turn.Silence, NoMatch, Failure
	Lost   func(owed bool, err error)           // engines failed twice: it is over; owed: an answer is waited for
	Prompt func(name string)                    // a notice could not be spoken: play it
	Plays  func(on bool)                        // we speak on the leg from now on; or have nothing to say any more
	Engine func(job speech.Job, name string)    // by it a sentence was heard, or spoken
}

// Dialogue is the talk. All verbs but Close are for the call's goroutine; a nil Dialogue has nothing to wait for.
type Dialogue struct {
	cfg  Config
	rate int
	log  *slog.Logger

	tongue string // of the caller's last words, if the ear has told it

	ear    *speech.Ear
	guard  guard     // the pacer's
	began  time.Time // of the ear's sound
	mouth  *mouth.Mouth
	turn   *turn.Machine
	leg    *media.Leg
	stop   func() // the leg's listening
	player *media.Player
	paused bool // the caller has put us on hold
	line   bool // the caller waits for a person

	earFails, mouthFails int
	then                 func() // when a notice was said
	answer               answer
	clock                stages
}

// nonsense is the confidence of words that were heard in a language in which they were not spoken: they count as not understood.
const nonsense = 0.01

// failures in a row of an engine, and the caller is back at keys and prompts.
const failures = 2

// Open begins to hear on the caller's leg. An error: there is no engine for it.
func Open(cfg Config, leg *media.Leg) (*Dialogue, error) {
	d := &Dialogue{cfg: cfg, log: cfg.Log, rate: media.Rate}
	if leg.Format().Codec.SampleRate() > media.Rate {
		d.rate = speech.Wide
	}
	ear, err := cfg.Speech.Hear(context.Background(), speech.HearConfig{Language: cfg.Language, Among: cfg.Among, Foreign: len(cfg.Among) == 0, Rate: d.rate}) // lives until Close
	if err != nil {
		return nil, fmt.Errorf("hear: %w", err)
	}
	d.ear = ear
	d.mouth = mouth.New(mouth.Config{Rate: d.rate, Sent: d.guard.sent, Words: spoken.Text,
		Say: func(ctx context.Context, language, text string) (*speech.Utterance, error) {
			return cfg.Speech.Say(ctx, text, speech.SayConfig{Language: language, Rate: d.rate})
		}})
	now := time.Now()
	d.began = now
	d.turn = turn.New(turn.Config{Language: cfg.Language, Times: cfg.Times, Wish: cfg.Wish}, now)
	d.Listen(leg)
	return d, nil
}

// Listen goes over to another leg of the same caller: its browser has come back, its telephone was replaced. nil: there
// is none for the moment.
func (d *Dialogue) Listen(leg *media.Leg) {
	if d == nil || leg == d.leg {
		return
	}
	if d.stop != nil {
		d.stop()
		d.stop = nil
	}
	d.leg, d.player = leg, nil
	d.turn.Stranger()
	if leg == nil {
		return
	}
	half := leg.Format().Codec.SampleRate() <= media.Rate && d.rate == speech.Wide
	var wide [speech.Wide / 50]int16
	ear := d.ear
	d.stop = leg.Listen(func(pcm []int16) {
		if half { // the leg before was a better one
			for i, s := range pcm {
				wide[2*i], wide[2*i+1] = s, s
			}
			pcm = wide[:2*len(pcm)]
		}
		ear.Write(d.guard.heard(pcm))
	})
}

// Change goes over to another language: of what is heard, of what is said from now on, and of what ends a turn. Without an
// ear for it all stays as it is.
func (d *Dialogue) Change(language string) error {
	if d.closed() {
		return nil
	}
	ear, err := d.cfg.Speech.Hear(context.Background(), speech.HearConfig{Language: language, Rate: d.rate}) // lives until Close
	if err != nil {
		return fmt.Errorf("hear: %w", err)
	}
	before, leg := d.ear, d.leg
	d.Listen(nil)
	d.ear, d.began, d.cfg.Language = ear, time.Now(), language
	d.turn.Language(language)
	d.Listen(leg)
	if err := before.Close(); err != nil {
		d.log.Debug("close ear", "err", err)
	}
	return nil
}

// Tongue is the language that the caller's last words were in, of Config.Among; empty: the ear does not tell.
func (d *Dialogue) Tongue() string {
	if d.closed() {
		return ""
	}
	return d.tongue
}

// Close ends the talk: nothing is heard or said any more. What of an answer was heard is told.
func (d *Dialogue) Close() {
	if d == nil || d.ear == nil {
		return
	}
	d.cutOff()
	d.Listen(nil)
	d.mouth.Close()
	if err := d.ear.Close(); err != nil {
		d.log.Debug("close ear", "err", err)
	}
	d.ear, d.then = nil, nil
}

// closed says whether the talk is over.
func (d *Dialogue) closed() bool { return d == nil || d.ear == nil }

// Heard is what OnHeard wants.
func (d *Dialogue) Heard() <-chan speech.Heard {
	if d.closed() {
		return nil
	}
	return d.ear.Events()
}

// News is what OnNews wants.
func (d *Dialogue) News() <-chan struct{} {
	if d.closed() {
		return nil
	}
	return d.mouth.News()
}

// Deadline is when OnTime is wanted; zero: not.
func (d *Dialogue) Deadline() time.Time {
	if d.closed() || d.paused {
		return time.Time{}
	}
	return d.turn.Deadline()
}

// OnTime does what is due.
func (d *Dialogue) OnTime(now time.Time) {
	if !d.closed() && !d.paused {
		d.do(d.turn.Tick(now))
	}
}

// OnHeard takes an event of the ear; ok is false when its channel is closed.
func (d *Dialogue) OnHeard(h speech.Heard, ok bool) {
	now := time.Now()
	if d.guard.echoes.Load() {
		d.turn.Echoes()
	}
	switch {
	case d.closed() || d.paused && ok:
	case !ok:
		d.lost(errors.New("the ear has closed"))
	case h.Kind == speech.Began:
		d.do(d.turn.Began(now, h.Level))
	case h.Kind == speech.Level:
		d.turn.Level(h.Level)
	case h.Kind == speech.Paused:
		d.clock.speechEnd = d.began.Add(h.To)
		d.do(d.turn.Paused(now))
	case h.Kind == speech.Partial:
		if d.foreign(h) { // these are no words, whatever they look like, and those before were none
			h.Text = ""
		}
		if h.Live {
			d.do(d.turn.Heard(now, h.Text, false, h.Confidence))
		} else {
			d.do(d.turn.Looked(now, h.Text, h.Confidence))
		}
	case h.Kind == speech.Final:
		if h.Text != "" { // nothing was heard by an engine that is away, too
			d.earFails = 0
		}
		d.clock.final, d.tongue = now, h.Language
		if d.foreign(h) {
			d.log.Info("the caller speaks another language", "language", h.Language, "heard", h.Text)
			h.Confidence = nonsense
		}
		if h.Engine != "" {
			d.cfg.Engine(speech.Hearing, h.Engine)
		}
		d.do(d.turn.Heard(now, h.Text, true, h.Confidence))
	case h.Kind == speech.Failed:
		d.log.Warn("ear failed", "err", h.Err)
		if d.earFails++; d.earFails >= failures {
			d.lost(h.Err)
			return
		}
		d.do(d.turn.Lost(now))
	}
}

// foreign says whether words were spoken in a language that this call does not know.
func (d *Dialogue) foreign(h speech.Heard) bool {
	return h.Language != "" && h.Language != d.cfg.Language && !slices.Contains(d.cfg.Among, h.Language)
}

// Key gives the talk a key of the caller; false: it is not a digit of a number that we have asked for, the menu's rules
// hold. A lone 0 goes up as such, and is a wish.
func (d *Dialogue) Key(digit byte) bool {
	if d.closed() || digit == '*' || !d.turn.WantsNumber() {
		return false
	}
	d.do(d.turn.Key(time.Now(), digit))
	return true
}

// Hold: the caller has put us on hold, or takes us back.
func (d *Dialogue) Hold(held bool) {
	if d.closed() || d.paused == held {
		return
	}
	if d.paused = held; held {
		d.mouth.Hold()
		return
	}
	d.turn.Wake(time.Now())
	if !d.mouth.Empty() {
		d.speak()
	}
}

// Speaks tells whether something is being said, or held.
func (d *Dialogue) Speaks() bool { return !d.closed() && !d.mouth.Empty() }

// Line: the caller waits for a person, or does no longer. In line nothing is asked or given up, but words are taken.
func (d *Dialogue) Line(in bool) {
	if d.closed() || d.line == in {
		return
	}
	d.line = in
	d.cutOff()
	d.answer = answer{}
	now := time.Now()
	d.turn.Drop(now)
	d.turn.Over(in, now)
}

// Hush silences the talk for something else that the caller is to hear for so long.
func (d *Dialogue) Hush(length time.Duration) {
	if d.closed() {
		return
	}
	d.then = nil
	d.cutOff()
	d.turn.Drop(time.Now().Add(length))
}

// Notice says something that no interruption drops; prompt is played where it cannot be spoken. then runs when it was
// heard, unless something else is said before.
func (d *Dialogue) Notice(text, prompt string, then func()) {
	d.cutOff()
	d.then = then
	d.mouth.Add(mouth.Piece{Text: text, Language: d.cfg.Language, Kind: uint8(turn.Notice), Note: prompt})
	d.do(d.turn.Ready(time.Now(), turn.Notice))
}

// Say says something that the caller may interrupt: our own words, no answer.
func (d *Dialogue) Say(text string) {
	for n := 0; text != "" && !d.closed(); text = text[n:] {
		n = sentence(text)
		d.say(d.cfg.Language, strings.TrimSpace(text[:n]), turn.Answer)
	}
}

// SayIn says it in another language than the talk's.
func (d *Dialogue) SayIn(language, text string) { d.say(language, text, turn.Answer) }

func (d *Dialogue) say(language, text string, kind turn.Kind) {
	d.mouth.Add(mouth.Piece{Text: text, Language: language, Kind: uint8(kind)})
	d.do(d.turn.Ready(time.Now(), kind))
}

// do does what the machine wants done.
func (d *Dialogue) do(acts []turn.Act) {
	for _, a := range acts {
		if d.closed() {
			return
		}
		switch a.Do {
		case turn.Finish:
			d.clock.over = time.Now()
			d.ear.Finish()
		case turn.Look:
			d.ear.Look()
		case turn.Take:
			if number, ok := spoken.Digits(d.cfg.Language, a.Words); ok && a.Number {
				a.Words = number
			}
			d.take(a.Words)
		case turn.Speak:
			d.speak()
		case turn.Hold:
			d.mouth.Hold()
		case turn.Resume:
			d.mouth.Resume()
		case turn.Cut:
			d.cutOff()
		case turn.Fill:
			d.say(d.cfg.Language, Phrase(d.cfg.Language, "moment"), turn.Filler)
		case turn.Again:
			d.Say(Phrase(d.cfg.Language, a.Why))
		case turn.Person:
			d.cfg.Person(a.Why)
		}
	}
}

// speak lets the mouth go on, on the leg if something else has taken it.
func (d *Dialogue) speak() {
	if d.paused || d.leg == nil {
		return
	}
	if d.player != nil {
		select {
		case <-d.player.Done():
			d.player = nil
		default:
		}
	}
	if d.player == nil {
		d.player = d.leg.Play(d.mouth.Player())
		d.cfg.Plays(true)
	}
	d.mouth.Resume()
}

// OnNews takes what the mouth has to tell.
func (d *Dialogue) OnNews() {
	if d.closed() {
		return
	}
	for _, e := range d.mouth.Events() {
		if d.closed() {
			return
		}
		switch e.Kind {
		case mouth.Began:
			d.turn.Saying(e.At, e.Piece.Text, turn.Kind(e.Piece.Kind))
			d.cfg.Engine(speech.Speaking, e.Engine)
			if e.Piece.Turn != 0 {
				d.clock.spoke(e)
			}
		case mouth.Ended:
			d.mouthFails = 0
			d.heardPart(e.Piece, e.Heard)
		case mouth.Failed:
			d.broke(e)
		case mouth.Dry:
			d.dry()
		}
	}
}

// dry: there is nothing left to say.
func (d *Dialogue) dry() {
	d.report(false)
	d.do(d.turn.Quiet(time.Now()))
	if d.closed() || !d.mouth.Empty() {
		return
	}
	if then := d.then; then != nil {
		d.then = nil
		then()
		return
	}
	d.cfg.Plays(false)
}

// broke: the engine has stopped in the middle of a sentence, or would not begin. It gets a second chance with the rest.
func (d *Dialogue) broke(e mouth.Event) {
	d.log.Warn("voice failed", "err", e.Err)
	if d.mouthFails++; d.mouthFails < failures {
		if e.Heard != "" {
			d.heardPart(e.Piece, e.Heard)
		}
		d.mouth.Again(true)
		return
	}
	if turn.Kind(e.Piece.Kind) == turn.Notice && e.Piece.Note != "" {
		note := e.Piece.Note
		defer d.cfg.Prompt(note)
	}
	d.heardPart(e.Piece, e.Heard)
	d.lost(e.Err)
}

// lost: without ears or voice there is no talk.
func (d *Dialogue) lost(err error) {
	owed := d.turn.Owes()
	d.Close()
	d.cfg.Lost(owed, err)
}
