package voice

import (
	"errors"
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/archive"
	"patchbay/channels/voice/media"
)

// A call's recording. It begins when a person first hears the caller, and hears what the caller's leg hears and says: so
// it goes on through every transfer and conference, and what is said beside the caller (a consultation, a whisper) is not
// in it. Where the queue says so the caller is told before, while still alone.

// record is the recording as the call's goroutine sees it.
type record struct {
	sound  *queueSound // of the call's queue; nil until the house knows the call
	told   bool        // the caller has heard that they are recorded
	tells  string      // what they are being told
	asked  bool        // the recording was ordered
	paused bool
	taken  chan *archive.Take // the take on its way here
	take   *archive.Take      // nil: nothing is recorded
	tapped *media.Leg         // whose sound it takes
}

// recordFailed lands in the mail when the disk refuses in mid-call.
type recordFailed struct{}

var errNotRecorded = channels.Fail(channels.Conflict, "This call is not recorded.")

// recorded tells whether this call is to be recorded.
func (c *call) recorded() bool { return c.sound != nil && c.sound.record && c.v.cfg.Archive != nil }

// untold are the prompts that the caller must hear before anybody hears them.
func (c *call) untold() (names []string) {
	if !c.told && c.recorded() && c.sound.announce {
		names = append(names, promptRecorded)
	}
	if !c.toldOfIt && c.writes() && c.sound.announceIt {
		names = append(names, promptTranscribed)
	}
	return names
}

// tellFirst has the caller told that they are recorded, and what they say written down, before anybody hears them; true: not
// yet, wait. The announcement's end tries again.
func (c *call) tellFirst() bool {
	names := c.untold()
	if len(names) == 0 {
		return false
	}
	if c.callerHeld || c.announcing() { // their hold's end tries again
		return true
	}
	c.tells = strings.Join(names, " ")
	c.say(c.tells, c.announced)
	return true
}

// announcing: the caller is being told.
func (c *call) announcing() bool { return c.playing != nil && c.saying == c.tells }

func (c *call) announced() {
	c.told = c.told || strings.Contains(c.tells, promptRecorded)
	c.toldOfIt = c.toldOfIt || strings.Contains(c.tells, promptTranscribed)
	if c.agent().here() {
		c.bridge()
		return
	}
	c.music()
}

// thenMusic is what follows the words on the way into the line.
func (c *call) thenMusic() {
	if !c.talks() && c.tellFirst() || c.sayPlace() {
		return
	}
	c.music()
}

// order has the recording made, once; the disk and the database are waited for beside the call. A database that is away
// is asked again as long as the call goes on.
func (c *call) order() {
	if c.asked || !c.recorded() {
		return
	}
	c.asked, c.taken = true, make(chan *archive.Take)
	order := archive.Order{CallID: c.id, ConversationID: c.conversation, Told: c.told, OnFail: func() { c.post(recordFailed{}) }}
	if rate := c.who[callerSeat].leg().Format().Codec.SampleRate(); rate > media.Rate {
		order.Rate = 2 * media.Rate
	}
	taken := c.taken
	c.v.running.Add(1) // the call itself is one of v.running
	go func() {
		defer c.v.running.Done()
		take := c.beginTake(order)
		select {
		case taken <- take:
		case <-c.gone:
			if take != nil {
				take.Finish()
			}
		}
	}()
}

// beginTake returns nil when the disk refuses, or the call is over.
func (c *call) beginTake(order archive.Order) *archive.Take {
	for pause := c.v.times.Retry; ; pause = min(2*pause, maxPause) {
		take, err := c.v.cfg.Archive.Begin(c.v.callsCtx, order)
		if err == nil || errors.Is(err, archive.ErrDisk) {
			return take
		}
		c.log.Error("recording not begun, trying again", "err", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-c.gone:
		case <-c.v.callsCtx.Done():
		}
		timer.Stop()
		return nil
	}
}

// onTaken: the recording is ready; nil: there will be none.
func (c *call) onTaken(take *archive.Take) {
	c.taken = nil
	if take == nil {
		return
	}
	if c.ended || !c.asked {
		take.Finish()
		return
	}
	if c.take = take; c.paused {
		take.Pause()
	}
	c.tap()
	c.news("")
}

// tap puts the recording on the leg that the caller has now.
func (c *call) tap() {
	leg := c.who[callerSeat].leg()
	if c.take == nil || leg == nil || leg == c.tapped {
		return
	}
	c.tapped = leg
	leg.SetTap(c.take.Tap())
}

// changeSound: another queue has the call, or its settings have changed. A recording that the new one does not want ends
// here; one that it wants begins with the next bridge.
func (c *call) changeSound(now *queueSound) {
	if now == nil || now == c.sound {
		return
	}
	c.sound = now
	if c.asked && !c.recorded() {
		c.endRecord()
		c.asked, c.paused = false, false
	}
}

// setRecord pauses the recording, or goes on.
func (c *call) setRecord(on bool) *channels.Error {
	switch {
	case !c.asked || c.take == nil && c.taken == nil:
		return errNotRecorded
	case c.take == nil: // it is on its way
	case on:
		c.take.Resume()
	default:
		c.take.Pause()
	}
	c.paused = !on
	return nil
}

// endRecord closes the file beside the call.
func (c *call) endRecord() {
	if c.tapped != nil {
		c.tapped.SetTap(nil)
		c.tapped = nil
	}
	if c.take != nil {
		c.take.Finish()
		c.take = nil
	}
}

// recording is LiveCall.recording.
func (c *call) recording() string {
	switch {
	case c.take == nil:
		return "off"
	case c.paused:
		return "paused"
	}
	return "on"
}
