package voice

import (
	"context"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	voices "patchbay/channels/voice/speech"
	words "patchbay/channels/voice/spoken"
)

// Where the queue says so, the hand-over card is whispered into the agent's ear before the caller is through; the caller hears
// music meanwhile. Any key of the agent ends it. What cannot be said in time is not waited for.

// briefing is what an agent is told; the call's goroutine owns it.
type briefing struct {
	utterance *voices.Utterance
	player    *media.Player
	heard     <-chan struct{} // it was said, or broke off; nil: nothing is being said
	by        time.Time       // when it is looked whether it still speaks
	until     time.Time       // when it is no longer waited for
	played    time.Duration   // when it was looked last
}

const (
	briefStall = 2 * time.Second  // without a sound of the engine's
	briefWhole = 20 * time.Second // for all of it
)

// cardText lands in the mail: what the agent is to hear.
type cardText struct {
	agentID int64
	text    string
}

// askCard reads the card beside the call.
func (c *call) askCard(agentID int64) {
	if c.sound == nil || !c.sound.whisper || c.v.cfg.Speech == nil || c.v.cfg.Pool == nil || c.direction != channels.CallIn {
		return
	}
	c.beside(func() {
		ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
		defer cancel()
		var card *channels.Card
		err := c.v.cfg.Pool.QueryRow(ctx, `select c.card from calls k join conversations c on c.id = k.conversation_id where k.id = $1`, c.id).Scan(&card)
		if err != nil {
			c.log.Warn("no card to whisper", "agent", agentID, "err", err)
			return
		}
		if text := card.Spoken(); text != "" {
			c.post(cardText{agentID, text})
		}
	})
}

func (c *call) onCardText(m cardText) {
	if a := c.agent(); a != nil && a.agentID == m.agentID {
		a.brief = m.text
	}
}

// whisperFirst says the card to the agent; true: the bridge waits for it.
func (c *call) whisperFirst() bool {
	a := c.agent()
	switch {
	case c.briefing.heard != nil:
		return true
	case a.brief == "" || a.done || c.withPerson:
		return false
	}
	text := a.brief
	a.brief = ""
	leg, rate := a.leg(), media.Rate
	if leg.Format().Codec.SampleRate() > media.Rate {
		rate = voices.Wide
	}
	u, err := c.speech().Say(c.v.callsCtx, words.Text(c.language(), text), voices.SayConfig{Language: c.language(), Rate: rate})
	if err != nil {
		c.log.Info("card not whispered", "err", err)
		return false
	}
	a.comfort = spoken
	player := leg.Play(media.Stream(rate, u.Read))
	c.briefing = briefing{utterance: u, player: player, heard: player.Done(), by: time.Now().Add(briefStall), until: time.Now().Add(briefWhole)}
	c.news("")
	return true
}

// onBriefLate: the engine has stopped in the middle, or does not end.
func (c *call) onBriefLate() {
	if now, played := time.Now(), c.briefing.player.Played(); played > c.briefing.played && now.Before(c.briefing.until) {
		c.briefing.by, c.briefing.played = now.Add(briefStall), played
		return
	}
	c.briefed()
}

// briefed: the agent has heard enough, or will hear no more.
func (c *call) briefed() {
	c.endBriefing()
	c.news("")
	c.bridge()
}

// endBriefing says no more to the agent.
func (c *call) endBriefing() {
	if c.briefing.heard == nil {
		return
	}
	u := c.briefing.utterance
	c.briefing = briefing{}
	if err := u.Close(); err != nil {
		c.log.Debug("close utterance", "err", err)
	}
	if a := c.agent(); a.leg() != nil {
		a.comfort = none // patch, or the words to the caller, say what they hear next
		a.leg().Stop()
	}
}
