package voice

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/media"
)

// queueSound is what a queue's callers hear, and whether they are recorded. Calls share it; it does not change.
type queueSound struct {
	record, announce bool

	transcribe, announceIt bool // what is said is written down
	whisper                bool // the hand-over card is spoken to the agent first
	callBack               bool // callers in line are offered a call back

	hear, say, voice string // the engines that it has chosen; "": the house's order

	own prompts // in place of the house's, by name
}

// queueSounds keeps them until the telephone's settings change: a call reads its queue's when it begins, and again whenever
// an agent takes or leaves it: it may be another queue's by then.
type queueSounds struct {
	mu      sync.Mutex
	byQueue map[int64]*queueSound
	changes int
}

// forget has every queue read anew.
func (q *queueSounds) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.byQueue, q.changes = nil, q.changes+1
}

// of reads a queue's sound; it asks the database when nobody has since the last change.
func (q *queueSounds) of(ctx context.Context, pool *pgxpool.Pool, queueID int64) (*queueSound, error) {
	q.mu.Lock()
	known, changes := q.byQueue[queueID], q.changes
	q.mu.Unlock()
	if known != nil {
		return known, nil
	}
	read, err := readQueueSound(ctx, pool, queueID)
	if err != nil {
		return nil, fmt.Errorf("sound of queue %d: %w", queueID, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changes == changes { // else it may be old already
		if q.byQueue == nil {
			q.byQueue = map[int64]*queueSound{}
		}
		q.byQueue[queueID] = read
	}
	return read, nil
}

func readQueueSound(ctx context.Context, pool *pgxpool.Pool, queueID int64) (*queueSound, error) {
	var music, greeting []byte
	s := &queueSound{own: prompts{}}
	err := pool.QueryRow(ctx, `select record, record_announce, transcribe, transcribe_announce, whisper, hear_engine, say_engine, say_voice, call_back, m.sound, g.sound from queues q
		left join prompts m on m.id = q.music_id left join prompts g on g.id = q.greeting_id where q.id = $1`, queueID).
		Scan(&s.record, &s.announce, &s.transcribe, &s.announceIt, &s.whisper, &s.hear, &s.say, &s.voice, &s.callBack, &music, &greeting)
	if err != nil {
		return nil, err
	}
	for name, sound := range map[string][]byte{promptMusic: music, promptGreeting: greeting} {
		if len(sound) < 2 {
			continue
		}
		pcm := make([]int16, len(sound)/2)
		for i := range pcm {
			pcm[i] = int16(binary.LittleEndian.Uint16(sound[2*i:]))
		}
		s.own[name] = media.NewPrompt(pcm)
	}
	return s, nil
}

// houseSound is that of a call without a queue.
var houseSound = &queueSound{}

// soundOf reads what a call's queue sounds like; 0: the queue of the conversation. A database that does not answer costs
// music and recording, never the call.
func (v *Voice) soundOf(ctx context.Context, queueID, conversation int64) *queueSound {
	if v.cfg.Pool == nil {
		return houseSound
	}
	if queueID == 0 {
		err := v.cfg.Pool.QueryRow(ctx, `select coalesce((select queue_id from conversations where id = $1), 0)`, conversation).Scan(&queueID)
		if err != nil {
			v.log.Error("call without its queue's settings: it is not recorded", "conversation", conversation, "err", err)
		}
	}
	if queueID == 0 {
		return houseSound
	}
	sound, err := v.sounds.of(ctx, v.cfg.Pool, queueID)
	if err != nil {
		v.log.Error("call without its queue's settings: it is not recorded", "conversation", conversation, "err", err)
		return houseSound
	}
	return sound
}

// soundNow reads what the queue of a call's conversation sounds like now; nil: unknown, all stays as it is.
func (v *Voice) soundNow(ctx context.Context, callID int64) *queueSound {
	if v.cfg.Pool == nil {
		return nil
	}
	var queueID int64
	err := v.cfg.Pool.QueryRow(ctx, `select c.queue_id from calls k join conversations c on c.id = k.conversation_id where k.id = $1`, callID).Scan(&queueID)
	if err == nil {
		var sound *queueSound
		if sound, err = v.sounds.of(ctx, v.cfg.Pool, queueID); err == nil {
			return sound
		}
	}
	v.log.Warn("call keeps the settings it has", "call", callID, "err", err)
	return nil
}

// prompt is what this call's people hear by that name.
func (c *call) prompt(name string) media.Prompt {
	if c.sound != nil {
		if own := c.sound.own[name]; own != nil {
			return own
		}
	}
	return c.v.prompts[name]
}

// watchSounds forgets what it knows as soon as the settings change.
func (v *Voice) watchSounds() (stop func(), err error) {
	return v.cfg.Bus.Subscribe(channels.TrunkSubject, func(string, []byte) { v.sounds.forget() })
}
