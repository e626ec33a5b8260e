package voice

import (
	"context"
	"fmt"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/transcript"
)

// What caller and agents say to each other is written down where the queue says so: partial words go to whoever has the
// conversation open, finished ones into the timeline. As with the recording, what is said beside the caller is not in it,
// and the caller is told before, where the queue says that.

// writing is a call's transcript.
type writing struct {
	transcript *transcript.Transcript // nil: none was needed
	toldOfIt   bool                   // the caller has heard that what is said is written down
}

// writes tells whether this call is to be written down.
func (c *call) writes() bool { return c.sound != nil && c.sound.transcribe && c.v.cfg.Speech != nil }

// writeDown sets whose words are written down, as the call stands: the caller while a colleague hears them, and colleagues
// while the caller does.
func (c *call) writeDown(e ears) {
	legs := map[int64]*media.Leg{}
	if !c.ended && c.state == channels.CallBridged && c.writes() {
		for _, s := range [...]seat{agentSeat, thirdSeat} {
			p := c.who[s]
			if p == nil || p.agentID == 0 {
				continue
			}
			if e[s][callerSeat] {
				legs[0] = c.who[callerSeat].leg()
			}
			if e[callerSeat][s] {
				legs[p.agentID] = p.leg()
			}
		}
	}
	if c.transcript == nil {
		if len(legs) == 0 {
			return
		}
		c.transcript = c.newTranscript()
	}
	c.transcript.Hears(legs)
}

// endWriting: what was said last still comes, beside the call.
func (c *call) endWriting() {
	if t := c.transcript; t != nil {
		c.transcript = nil
		t.Close()
		c.beside(t.Wait)
	}
}

// newTranscript begins one. Its funcs run on its own goroutines and keep their own copies of what they need.
func (c *call) newTranscript() *transcript.Transcript {
	about := c.about(channels.Inbound{Type: channels.Transcribed})
	begun, said := time.Now().UnixMilli(), make(chan int, 1)
	said <- 0
	return transcript.New(transcript.Config{Hearing: c.speech(), Language: c.language(), Log: c.log,
		Partial: func(side int64, text string) { c.v.hearing(about, side, text) },
		Final: func(side int64, text string) {
			in := about
			in.AgentID, in.Body = side, text
			n := <-said + 1
			said <- n
			in.ClientID = fmt.Sprintf("said-%d-%d-%d", about.CallID, begun, n)
			c.v.keepWords(in)
		}})
}

// hearing tells whoever has the conversation open what somebody is saying.
func (v *Voice) hearing(about channels.Inbound, side int64, text string) {
	m := &channels.Message{ConversationID: about.ConversationID, Author: channels.ByContact, Channel: channels.Voice, Kind: channels.Transcript,
		Private: true, Body: channels.MaskCards(text), Data: channels.MessageData{CallID: about.CallID}, At: time.Now()}
	if side != 0 {
		m.Author, m.AgentID = channels.ByAgent, &side
	}
	err := v.cfg.Bus.Publish(channels.ConversationSubject(about.ConversationID), channels.Event{Type: channels.EventTranscript, ConversationID: about.ConversationID, Message: m})
	if err != nil {
		v.log.Debug("words not shown", "conversation", about.ConversationID, "err", err)
	}
}

// keepFor is how long words that were said wait for a database that is away.
const keepFor = 2 * time.Minute

// keepWords hands up what was said, again and again while the house does not answer.
func (v *Voice) keepWords(in channels.Inbound) {
	ctx, cancel := context.WithTimeout(v.callsCtx, keepFor)
	defer cancel()
	for pause := v.times.Retry; ; pause = min(2*pause, maxPause) {
		err := v.keepOnce(ctx, in)
		if err == nil {
			return
		}
		if hopeless(in, err) {
			v.log.Error("words not kept", "call", in.CallID, "err", err)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			v.log.Error("words lost: the house does not answer", "call", in.CallID, "err", err)
			return
		}
	}
}

func (v *Voice) keepOnce(ctx context.Context, in channels.Inbound) error {
	ctx, cancel := context.WithTimeout(ctx, v.times.Receive)
	defer cancel()
	_, err := v.cfg.Receive(ctx, in)
	return err
}
