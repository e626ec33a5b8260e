package channels

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kinds of Prompt.
const (
	MusicPrompt        = "music"        // on hold and in line
	GreetingPrompt     = "greeting"     // the first words
	AnnouncementPrompt = "announcement" // everything else that is said
)

// Prompt is an uploaded sound. Its samples are apart: 16 bit PCM, little endian, 8 kHz, mono.
type Prompt struct {
	ID         int64     `json:"id" db:"id"`
	Name       string    `json:"name" db:"name"`
	Kind       string    `json:"kind" db:"kind"`
	Seconds    float64   `json:"seconds" db:"seconds"`
	UploadedBy *int64    `json:"uploaded_by" db:"uploaded_by"`
	CreatedAt  time.Time `json:"created_at" db:"created_at"`
}

const promptRate = 8000

// Clean checks every field.
func (p *Prompt) Clean() (err error) {
	if p.Name, err = label("name", p.Name, 1); err != nil {
		return err
	}
	return oneOf("kind", p.Kind, MusicPrompt, GreetingPrompt, AnnouncementPrompt)
}

const promptColumns = `id, name, kind, seconds, uploaded_by, created_at`

// Prompts reads all sounds without their samples.
func Prompts(ctx context.Context, q Querier) ([]Prompt, error) {
	return all[Prompt](ctx, q, "prompts", `select `+promptColumns+` from prompts order by kind, name`)
}

// PromptSound reads a sound's samples; NotFound when there is none.
func PromptSound(ctx context.Context, q Querier, id int64) ([]byte, error) {
	type sound struct{ Sound []byte }
	row, err := get[sound](ctx, q, "sound", `select sound from prompts where id = $1`, id)
	if err != nil {
		return nil, err
	}
	return row.Sound, nil
}

// AddPrompt stores a new sound and makes p what is stored. Invalid names the field; Conflict: the name is taken. The
// caller publishes TrunkSubject after the commit.
func AddPrompt(ctx context.Context, tx pgx.Tx, p *Prompt, sound []byte) error {
	if err := p.Clean(); err != nil {
		return err
	}
	if len(sound) == 0 || len(sound)%2 != 0 {
		return fmt.Errorf("add prompt: %d bytes are no 16 bit samples", len(sound))
	}
	saved, err := one[Prompt](ctx, tx, `insert into prompts (name, kind, sound, seconds, uploaded_by) values ($1, $2, $3, $4, $5)
		returning `+promptColumns, p.Name, p.Kind, sound, float64(len(sound)/2)/promptRate, p.UploadedBy)
	if err != nil {
		return refused(err, "add prompt")
	}
	*p = *saved
	return nil
}

// DeletePrompt removes a sound. Conflict: a queue uses it; NotFound.
func DeletePrompt(ctx context.Context, tx pgx.Tx, id int64) error {
	// The lock keeps a queue from taking it meanwhile: a foreign key needs a share of this row.
	if _, err := get[Prompt](ctx, tx, "sound", `select `+promptColumns+` from prompts where id = $1 for update`, id); err != nil {
		return err
	}
	queues, err := all[struct{ Name string }](ctx, tx, "queues of sound",
		`select name from queues where music_id = $1 or greeting_id = $1 order by name`, id)
	if err != nil {
		return err
	}
	if len(queues) > 0 {
		names := make([]string, len(queues))
		for i, q := range queues {
			names[i] = q.Name
		}
		return Fail(Conflict, "It is in use by "+strings.Join(names, ", ")+": choose another sound there first.")
	}
	return remove(ctx, tx, "sound", `delete from prompts where id = $1`, id)
}

// QueueSound is what callers of a queue hear, whether they are recorded and written down, and what its agents hear first.
type QueueSound struct {
	QueueID        int64  `json:"queue_id" db:"queue_id"`
	QueueName      string `json:"queue_name" db:"queue_name"`
	Record         bool   `json:"record" db:"record"`
	RecordAnnounce bool   `json:"record_announce" db:"record_announce"` // says so before the first person hears the caller

	Transcribe         bool `json:"transcribe" db:"transcribe"`                   // what caller and agent say is written into the timeline
	TranscribeAnnounce bool `json:"transcribe_announce" db:"transcribe_announce"` // says so before the first person hears the caller
	Whisper            bool `json:"whisper" db:"whisper"`                         // the hand-over card is spoken into the agent's ear first

	MusicID    *int64 `json:"music_id" db:"music_id"`       // nil: the built-in music
	GreetingID *int64 `json:"greeting_id" db:"greeting_id"` // nil: the settings' greeting
}

const queueSoundColumns = `id as queue_id, name as queue_name, record, record_announce, transcribe, transcribe_announce, whisper, music_id, greeting_id`

// QueueSounds reads the telephone settings of all queues.
func QueueSounds(ctx context.Context, q Querier) ([]QueueSound, error) {
	return all[QueueSound](ctx, q, "queue sounds", `select `+queueSoundColumns+` from queues order by id`)
}

// SaveQueueSound changes a queue's telephone settings and makes s what is stored. Invalid names the field; NotFound.
func SaveQueueSound(ctx context.Context, tx pgx.Tx, s *QueueSound) error {
	for _, use := range []struct {
		field string
		id    *int64
		music bool
	}{{"music_id", s.MusicID, true}, {"greeting_id", s.GreetingID, false}} {
		if use.id == nil {
			continue
		}
		p, err := one[Prompt](ctx, tx, `select `+promptColumns+` from prompts where id = $1`, *use.id)
		switch {
		case err != nil:
			return wrapped(err, "read sound")
		case p == nil:
			return invalid(use.field, "There is no such sound.")
		case use.music != (p.Kind == MusicPrompt):
			return invalid(use.field, "The sound %s is of the kind %s.", quoted(p.Name), p.Kind)
		}
	}
	saved, err := one[QueueSound](ctx, tx, `update queues set record = $2, record_announce = $3, music_id = $4, greeting_id = $5,
		transcribe = $6, transcribe_announce = $7, whisper = $8 where id = $1 returning `+queueSoundColumns,
		s.QueueID, s.Record, s.RecordAnnounce, s.MusicID, s.GreetingID, s.Transcribe, s.TranscribeAnnounce, s.Whisper)
	if err != nil {
		return refused(err, "save queue sound")
	}
	if saved == nil {
		return Fail(NotFound, "There is no such queue.")
	}
	*s = *saved
	return nil
}
