package voice

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/archive"
)

// Voicemails whose process died before the house had them: the archive has made their files whole, and any node hands them
// up. A call that lives does it by itself, before it is over.

const (
	lateMost = 50 // a round
	cutOff   = "our server failed while it was spoken"
)

// handLate hands them up until ctx ends.
func (v *Voice) handLate(ctx context.Context) {
	if !v.takesVoicemail() || v.cfg.Pool == nil {
		return
	}
	tick := time.NewTicker(v.times.LateVoicemail)
	defer tick.Stop()
	for {
		if err := v.handLateOnce(ctx); err != nil && ctx.Err() == nil {
			v.log.Error("voicemails of a dead process, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// late is such a voicemail.
type late struct {
	ID, CallID, ConversationID int64
	State, Error               string // Error: what the disk has refused
	Seconds                    float64
	Peaks                      []byte
	Number                     string
}

func (v *Voice) handLateOnce(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			v.panics.Add(1)
			v.log.Error("late voicemail panic", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, v.times.Receive)
	defer cancel()
	rows, err := v.cfg.Pool.Query(ctx, `select r.id, r.call_id, r.conversation_id, r.state, r.error, r.seconds::float8 as seconds, r.peaks, k.from_address as number
		from recordings r join calls k on k.id = r.call_id
		where r.kind = $1 and r.handed_at is null and r.state in ('done', 'recovered', 'failed') and k.state = 'ended' order by r.id limit $2`, archive.Voicemail, lateMost)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[late])
	for _, l := range list {
		if e := v.handUpLate(ctx, l); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (v *Voice) handUpLate(ctx context.Context, l late) error {
	empty := emptyMail(l.Peaks)
	if l.Error != "" && empty != "" {
		empty = l.Error
	}
	_, err := v.cfg.Receive(ctx, channels.Inbound{Type: channels.VoicemailLeft, Channel: channels.Voice, ConversationID: l.ConversationID, CallID: l.CallID,
		From: channels.Address{Kind: channels.Phone, Value: l.Number}, ClientID: voicemailID(l.ID),
		Voicemail: &channels.SpokenMail{RecordingID: l.ID, Seconds: l.Seconds, Cut: l.State == "recovered", Failed: l.Error, Empty: empty, Unwritten: cutOff}})
	if err == nil && empty != "" && l.Error == "" {
		v.dropVoicemail(l.ID)
	}
	v.log.Warn("voicemail of a dead process", "recording", l.ID, "conversation", l.ConversationID, "empty", empty, "err", err)
	return err
}
