package voice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/archive"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/transcript"
)

// Voicemails whose process died before the house had them: the archive has made their files whole, and any node hands them
// up, written down as those of living calls are. A call that lives does it by itself, before it is over.

const (
	lateMost    = 50 // a round
	lateAtOnce  = 4  // are written down
	cutOff      = "our server failed while it was spoken"
	engineReady = 20 * time.Second // for the engines of a process that has just begun
	lastWord    = 30 * time.Second // for what is still to be understood when all sound of a voicemail is with the engine
)

// handLate hands them up until ctx ends: at the start, when the archive or the switchboard has news of one, and every now and
// then, as news may be lost.
func (v *Voice) handLate(ctx context.Context) {
	if !v.takesVoicemail() || v.cfg.Pool == nil {
		return
	}
	news := make(chan struct{}, 1)
	unbus, err := v.cfg.Bus.Subscribe(channels.VoicemailSubject, func(string, []byte) {
		select {
		case news <- struct{}{}:
		default:
		}
	})
	if err != nil {
		v.log.Error("news of voicemails are not heard: they are looked for", "err", err)
	} else {
		defer unbus()
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
		case <-news:
		case <-tick.C:
		}
	}
}

// late is such a voicemail.
type late struct {
	ID, CallID, ConversationID int64
	State, Error               string // Error: what the disk has refused
	Seconds                    float64
	Bytes                      int64
	Peaks                      []byte
	Number, Language           string // Language: the number's first; "": the house's
}

func (v *Voice) handLateOnce(ctx context.Context) error {
	list, err := v.findLate(ctx)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	room, errs := make(chan struct{}, lateAtOnce), make([]error, len(list))
	for i, l := range list {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			errs[i] = v.handUpLate(ctx, l)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (v *Voice) findLate(ctx context.Context) ([]late, error) {
	ctx, cancel := context.WithTimeout(ctx, v.times.Receive)
	defer cancel()
	rows, err := v.cfg.Pool.Query(ctx, `select r.id, r.call_id, r.conversation_id, r.state, r.error, r.seconds::float8 as seconds, r.bytes, r.peaks, k.from_address as number,
			coalesce((select languages[1] from numbers where number = k.to_address), '') as language
		from recordings r join calls k on k.id = r.call_id
		where r.kind = $1 and r.handed_at is null and r.state in ('done', 'recovered', 'failed') and k.state = 'ended' order by r.id limit $2`, archive.Voicemail, lateMost)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[late])
}

func (v *Voice) handUpLate(ctx context.Context, l late) (err error) {
	defer func() {
		if r := recover(); r != nil {
			v.panics.Add(1)
			v.log.Error("late voicemail panic", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("late voicemail %d: panic: %v", l.ID, r)
		}
	}()
	mail := &channels.SpokenMail{RecordingID: l.ID, Seconds: l.Seconds, Cut: l.State == "recovered", Failed: l.Error, Empty: emptyMail(l.Peaks), Unwritten: cutOff}
	if l.Error != "" && mail.Empty != "" {
		mail.Empty = l.Error
	}
	var words string
	if mail.Empty == "" && v.cfg.Speech != nil {
		if words, err = v.wordsOf(ctx, l); err != nil {
			v.log.Warn("voicemail of a dead process is not written down", "recording", l.ID, "err", err)
		} else if mail.Unwritten = ""; words == "" {
			mail.Unwritten = unheard
		}
	}
	ctx, cancel := context.WithTimeout(ctx, v.times.Receive)
	defer cancel()
	_, err = v.cfg.Receive(ctx, channels.Inbound{Type: channels.VoicemailLeft, Channel: channels.Voice, ConversationID: l.ConversationID, CallID: l.CallID,
		From: channels.Address{Kind: channels.Phone, Value: l.Number}, ClientID: voicemailID(l.ID), Body: words, Voicemail: mail})
	if err == nil && mail.Empty != "" && mail.Failed == "" {
		v.dropVoicemail(l.ID)
	}
	v.log.Warn("voicemail of a dead process", "recording", l.ID, "conversation", l.ConversationID, "empty", mail.Empty, "written", words != "", "err", err)
	return err
}

// wordsOf has the engines that hear callers write it down.
func (v *Voice) wordsOf(ctx context.Context, l late) (string, error) {
	language := cmp.Or(l.Language, v.cfg.Language, "en")
	if err := v.hears(ctx, language); err != nil {
		return "", err
	}
	sound, err := v.cfg.Archive.Sound(ctx, l.ID, 0, l.Bytes)
	if err != nil {
		return "", err
	}
	file, err := io.ReadAll(sound)
	if err := errors.Join(err, sound.Close()); err != nil {
		return "", err
	}
	wav, err := media.ReadWAV(file)
	if err != nil {
		return "", err
	}
	caller := make([]int16, 0, len(wav.Samples)/wav.Channels)
	for i := 0; i < len(wav.Samples); i += wav.Channels { // the left side
		caller = append(caller, wav.Samples[i])
	}
	hearing := Speech(v.cfg.Speech)
	if q := v.soundOf(ctx, 0, l.ConversationID); q != nil {
		hearing = queueSpeech{hearing, q.hear, q.say, q.voice}
	}
	words := make(chan string, mailWords)
	err = transcript.Recorded(ctx, transcript.Config{Hearing: hearing, Language: language, Log: v.log, Partial: func(int64, string) {},
		Final: func(_ int64, text string) {
			select {
			case words <- text:
			default:
			}
		}}, wav.Rate, caller, lastWord)
	return understood(words), err
}

// hears waits until callers of this language can be heard: the engines of a process that has just begun load their models.
func (v *Voice) hears(ctx context.Context, language string) error {
	ctx, cancel := context.WithTimeout(ctx, engineReady)
	defer cancel()
	return v.cfg.Speech.Await(ctx, language)
}
