package report

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"patchbay/channels"
)

// Recording is what is known of a call's recording, without its sound.
type Recording struct {
	ID        int64           `json:"id" db:"id"`
	CallID    int64           `json:"call_id" db:"call_id"`
	Kind      string          `json:"kind" db:"kind"`   // call, voicemail
	State     string          `json:"state" db:"state"` // recording, done, recovered, failed, deleted
	StartedAt time.Time       `json:"started_at" db:"started_at"`
	Seconds   float64         `json:"seconds" db:"seconds"`
	Marks     json.RawMessage `json:"marks" db:"marks"`
	KeepUntil *time.Time      `json:"keep_until" db:"keep_until"`
	Error     string          `json:"error" db:"error"`
}

// RecordingDetail is a recording that somebody is about to play.
type RecordingDetail struct {
	Recording Recording `json:"recording"`
	Peaks     []byte    `json:"peaks"` // pairs (caller, who speaks to them), 20 a second
	Bytes     int64     `json:"bytes"`
	SHA256    string    `json:"sha256"`
}

const recordingColumns = `r.id, r.call_id, r.kind, r.state, r.started_at, r.seconds, r.marks, r.keep_until, r.error`

// RecordingFor reads a recording for somebody who wants to hear it: supervisors and admins, and who had the conversation
// or the call. NotFound; Forbidden.
func RecordingFor(ctx context.Context, q channels.Querier, agentID, id int64) (*RecordingDetail, error) {
	list, err := rows[struct {
		Recording
		Peaks  []byte `db:"peaks"`
		Bytes  int64  `db:"bytes"`
		SHA256 []byte `db:"sha256"`
		May    bool   `db:"may"`
	}](ctx, q, "recording", `select `+recordingColumns+`, r.peaks, r.bytes, r.sha256,
			exists (select from agents where id = $2 and role <> 'agent')
			or exists (select from conversations where id = r.conversation_id and agent_id = $2)
			or exists (select from calls where id = r.call_id and $2 in (agent_id, dialled_by))
			or exists (select from offers where conversation_id = r.conversation_id and agent_id = $2 and outcome = 'accepted') as may
		from recordings r where r.id = $1`, id, agentID)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, channels.Fail(channels.NotFound, "There is no such recording.")
	case !list[0].May:
		return nil, channels.Fail(channels.Forbidden, "Who had this conversation may hear the recording, and supervisors.")
	}
	r := list[0]
	return &RecordingDetail{Recording: r.Recording, Peaks: r.Peaks, Bytes: r.Bytes, SHA256: hex.EncodeToString(r.SHA256)}, nil
}
