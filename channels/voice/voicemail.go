package voice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/archive"
	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/media"
	voices "patchbay/channels/voice/speech"
	"patchbay/channels/voice/transcript"
)

// A caller in line leaves a message in place of waiting: what they say after a tone, until '#', some seconds of silence, the
// limit, or the end of the call. It is recorded by itself and written down where there are engines.
//
//	key ─▶ words ─▶ Archive.Begin ─▶ tone ─▶ an end ─▶ Take.Finish, last words ─▶ VoicemailLeft ─▶ words, goodbye
//
// The house hears of it before it hears that the call is over: so the promise stands, and the conversation stays in line. A
// person who comes in the middle is put through at once; what was said until then is kept. What a dead process has left is
// handed up when the archive has repaired it (late.go).

// Ends of a voicemail that differ in what the caller hears then.
const (
	mailDone    = "done"    // '#', silence, the limit: we say goodbye
	mailStays   = "stays"   // the caller wants to wait on, or is on hold
	mailBroken  = "broken"  // the disk has refused: what there is is kept, the caller is told so and waits on
	mailPerson  = "person"  // somebody is there now
	mailHangsUp = "hang up" // nobody hears anything
)

// voicemail is a call's message as its goroutine sees it.
type voicemail struct {
	order   int // which try this is
	leaving *leaving
	end     string // how the last one has ended
}

// leaving is a message while it is spoken.
type leaving struct {
	take       *archive.Take
	leg        *media.Leg
	stop       func()                 // listening for silence
	until      time.Time              // the limit
	said       *atomic.Int64          // milliseconds of voice so far
	transcript *transcript.Transcript // nil: no engine
	words      chan string
}

// voicemailTaken lands in the mail when the recording is ready; without a take there will be none, and refused says why when
// it is the disk.
type voicemailTaken struct {
	order   int
	take    *archive.Take
	refused string
}

// voicemailQuiet lands in the mail after the seconds of silence, voicemailFailed when the disk refuses.
type (
	voicemailQuiet  struct{ of *media.Leg }
	voicemailFailed struct{ order int }
)

const (
	mailWords = 256 // utterances of one message that are written down
	unwritten = "there was nothing to write it down with"
	unheard   = "no words were understood"
)

// takesVoicemail tells whether callers can leave a message here.
func (v *Voice) takesVoicemail() bool { return v.cfg.Archive != nil }

// leaveVoicemail is the key: what to do is said, then it begins.
func (c *call) leaveVoicemail() {
	if c.voicemail.leaving != nil || c.callerHeld || !c.v.takesVoicemail() {
		return
	}
	c.voicemail.order++
	c.line.due = nil
	c.announce(dialogue.Phrase(c.language(), promptVoicemail), promptVoicemail, c.orderVoicemail)
}

// voicemailKey is a key of who is leaving a message: '#' ends it, 0 ends it and waits on, the others are taken for a slip of
// the finger. false: no message is being left.
func (c *call) voicemailKey(digit byte) bool {
	if c.voicemail.leaving == nil {
		return false
	}
	switch digit {
	case '#':
		c.endVoicemail(mailDone)
	case '0':
		c.endVoicemail(mailStays)
	}
	return true
}

// orderVoicemail has the recording made beside the call.
func (c *call) orderVoicemail() {
	n := c.voicemail.order
	order := archive.Order{Kind: archive.Voicemail, CallID: c.id, ConversationID: c.conversation, OnFail: func() { c.post(voicemailFailed{n}) }}
	if rate := c.who[callerSeat].leg().Format().Codec.SampleRate(); rate > media.Rate {
		order.Rate = 2 * media.Rate
	}
	c.beside(func() {
		m := voicemailTaken{order: n}
		var err error
		if m.take, err = c.v.cfg.Archive.Begin(c.v.callsCtx, order); err != nil {
			m.take = nil
			if errors.Is(err, archive.ErrDisk) {
				m.refused = archive.InWords(err)
			} else {
				c.log.Error("voicemail not begun", "err", err)
			}
		}
		if !c.post(m) && m.take != nil {
			m.take.Finish()
		}
	})
}

// onVoicemailTaken begins: the tone, and the caller alone from then on.
func (c *call) onVoicemailTaken(m voicemailTaken) {
	caller := c.who[callerSeat]
	if c.ended || c.state != channels.CallWaiting || m.order != c.voicemail.order || c.voicemail.leaving != nil || c.callerHeld || !caller.up {
		if m.take != nil { // somebody has come, or they have gone
			c.tellWhen(c.voicemailOf(), c.keptWhen(m.take.Finish(), nil))
		}
		return
	}
	if m.take == nil {
		if m.refused != "" {
			in := c.voicemailOf()
			in.Voicemail.Failed, in.Voicemail.Empty = m.refused, m.refused
			c.tell(in)
		}
		c.notKept()
		return
	}
	c.endTalk() // the responder does not listen in
	c.endRecord()
	c.asked = false
	l := &leaving{take: m.take, leg: caller.leg(), until: time.Now().Add(c.v.times.Voicemail), said: new(atomic.Int64), words: make(chan string, mailWords)}
	c.voicemail.leaving = l
	l.leg.SetTap(l.take.Tap())
	if c.speaks() {
		l.transcript = transcript.New(transcript.Config{Hearing: c.speech(), Language: c.language(), Log: c.log, Partial: func(int64, string) {},
			Final: func(_ int64, text string) {
				select {
				case l.words <- text:
				default:
				}
			}})
		l.transcript.Hears(map[int64]*media.Leg{0: l.leg})
	}
	l.stop = l.leg.Listen(c.hearsSilence(l))
	c.say(promptBeep, func() { l.leg.Play(media.Loop(media.Silence())) })
}

// hearsSilence ends the message when nobody speaks any more.
func (c *call) hearsSilence(l *leaving) func(pcm []int16) {
	pause, told, limit := new(voices.Pause), false, c.v.times.VoicemailQuiet
	return func(pcm []int16) { // on the pacer's goroutine: it may not wait
		said, quiet := pause.Hear(pcm)
		l.said.Store(said.Milliseconds())
		if told || quiet < limit {
			return
		}
		select {
		case c.mail <- voicemailQuiet{l.leg}:
			told = true
		default: // the next frame tries again
		}
	}
}

// endVoicemail closes the message and hands it up, before anything else is told; nothing when none is being left.
func (c *call) endVoicemail(how string) {
	l := c.voicemail.leaving
	if l == nil {
		return
	}
	c.voicemail.leaving, c.voicemail.end = nil, how
	c.voicemail.order++
	l.stop()
	l.leg.SetTap(nil)
	l.transcript.Close()
	if !c.ended && c.saying == promptBeep && c.playing != nil {
		c.playing = nil
	}
	c.tellWhen(c.voicemailOf(), c.keptWhen(l.take.Finish(), l))
}

// voicemailOf is the message that is handed up when all is known of it.
func (c *call) voicemailOf() channels.Inbound {
	return c.about(channels.Inbound{Type: channels.VoicemailLeft, Voicemail: &channels.SpokenMail{}})
}

// keptWhen waits for the file and for the last words, beside the call. false: the file could not be completed; the next
// start hands it up.
func (c *call) keptWhen(ended <-chan archive.Ended, l *leaving) func(in *channels.Inbound) bool {
	return func(in *channels.Inbound) bool {
		var e archive.Ended
		ok := false
		select {
		case e, ok = <-ended:
		case <-c.v.callsCtx.Done():
		}
		if !ok {
			return false
		}
		v := in.Voicemail
		v.RecordingID, v.Seconds, v.Cut, v.Failed, v.Empty, in.ClientID = e.ID, e.Seconds, e.Failed != "", e.Failed, emptyMail(e.Peaks), voicemailID(e.ID)
		if e.Failed != "" && v.Empty != "" { // not for want of words
			v.Empty = e.Failed
		}
		v.Unwritten = unwritten
		if l != nil && l.transcript != nil {
			l.transcript.Wait()
			if in.Body = understood(l.words); in.Body != "" {
				v.Unwritten = ""
			} else {
				v.Unwritten = unheard
			}
		}
		return true
	}
}

// voicemailID is the message's own id: handed up twice it is stored once.
func voicemailID(recording int64) string { return fmt.Sprintf("voicemail-%d", recording) }

// understood joins what was understood; the numbers of payment cards are hidden.
func understood(words chan string) string {
	var all []string
	for {
		select {
		case text := <-words:
			all = append(all, text)
		default:
			return channels.MaskCards(strings.Join(all, " "))
		}
	}
}

// A message is none in which less was said than a short word takes.
const (
	mailSlice = 50 * time.Millisecond  // of the waveform
	mailLeast = 400 * time.Millisecond // of voice
	mailLoud  = 6                      // of 255, about -33 dB of full scale: above any line's noise
)

// emptyMail says why a message is not kept; "": it is. What counts is the left side of the waveform, the caller, as it also
// stands in the row of a recording that was repaired.
func emptyMail(peaks []byte) string {
	var voiced time.Duration
	for i := 0; i+1 < len(peaks); i += 2 {
		if peaks[i] >= mailLoud {
			voiced += mailSlice
		}
	}
	switch {
	case voiced == 0:
		return "nothing was said"
	case voiced < mailLeast:
		return "hardly anything was said"
	}
	return ""
}

// onVoicemailTold: the house has the message, or has not kept it. The caller, if still alone, hears which.
func (c *call) onVoicemailTold(in channels.Inbound, r channels.Receipt, err error) {
	v := in.Voicemail
	if v.RecordingID == 0 && v.Failed != "" { // the caller has heard it already
		return
	}
	if v.Empty != "" && v.Failed == "" && v.RecordingID != 0 && err == nil {
		c.beside(func() { c.v.dropVoicemail(v.RecordingID) })
	}
	if c.ended || c.state != channels.CallWaiting {
		return
	}
	kept := err == nil && (r.Message != nil || r.Duplicate)
	c.log.Info("voicemail", "kept", kept, "seconds", v.Seconds, "empty", v.Empty, "ended", c.voicemail.end)
	switch {
	case err != nil || v.RecordingID == 0 || v.Empty == "" && !kept, v.Failed != "": // also when a part of it is kept: they shall not rely on it
		c.notKept()
	case !kept:
		c.inLineAgain(promptVoicemailEmpty)
	case c.voicemail.end == mailDone:
		c.inLineAgain("")
		c.announce(dialogue.Phrase(c.language(), promptVoicemailKept), promptVoicemailKept, func() { c.end(completed, "left a voicemail", true) })
	default:
		c.inLineAgain(promptVoicemailStays)
	}
}

// notKept: the caller hears that we do not have the message, and what else they can do.
func (c *call) notKept() {
	if c.mayCallBack() {
		c.line.due = []string{"key_callback"}
	}
	c.inLineAgain(promptVoicemailFailed)
}

// inLineAgain: the caller waits on, with the talk that they had, and hears why ("": what follows says it).
func (c *call) inLineAgain(words string) {
	if c.converse(); c.dia != nil {
		c.dia.Line(true)
	}
	if words != "" {
		c.announce(dialogue.Phrase(c.language(), words), words, c.thenMusic)
	}
}

// dropVoicemail takes the file of a message away that is none.
func (v *Voice) dropVoicemail(id int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.callsCtx), v.times.Receive)
	defer cancel()
	if err := v.cfg.Archive.Drop(ctx, id); err != nil {
		v.log.Warn("voicemail without words not deleted", "recording", id, "err", err)
	}
}

// leftVoicemail tells whether the caller who hangs up now has said something to be kept.
func (c *call) leftVoicemail() bool {
	l := c.voicemail.leaving
	return l != nil && time.Duration(l.said.Load())*time.Millisecond >= mailLeast
}
