package archive

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels/voice/media"
)

// Kinds of recordings.
const (
	Call      = "call"
	Voicemail = "voicemail" // what a caller alone has said, for a message
)

// Order is a recording that is wanted.
type Order struct {
	Kind                   string // Call when empty
	CallID, ConversationID int64
	Rate                   int  // 8000, or 16000 for a wideband caller
	Told                   bool // the caller has been told
	// OnFail is called once when the disk refuses in mid-call, from a goroutine of the recorder's.
	OnFail func()
}

// Take is a running recording. Put Tap on the caller's leg, take it off before Finish.
type Take struct {
	a        *Archive
	id       int64
	order    Order
	place    string
	recorder *media.Recorder
}

// Begin makes the row and then the file. An ErrDisk has been told to everybody; any other error passes.
func (a *Archive) Begin(ctx context.Context, o Order) (*Take, error) {
	t := &Take{a: a, order: o, place: fmt.Sprintf("%s/%s-%d-%s.wav", time.Now().UTC().Format("2006/01/02"), cmp.Or(o.Kind, Call), o.CallID, strings.ToLower(rand.Text()[:8]))}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	err := a.cfg.Pool.QueryRow(ctx, `insert into recordings (call_id, conversation_id, node_id, place, kind) values ($1, $2, $3, $4, $5) returning id`,
		o.CallID, o.ConversationID, a.cfg.NodeID, t.place, cmp.Or(o.Kind, Call)).Scan(&t.id)
	if err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	a.hold(t.id)
	if err = t.open(); err == nil {
		return t, nil
	}
	defer a.release(t.id)
	words := InWords(err)
	a.log.Error("call is not recorded", "call", o.CallID, "err", err)
	line := "This call is not recorded: " + words + ". The call goes on."
	if o.Kind == Voicemail {
		line = "A voicemail could not be recorded: " + words + ". The caller stays in line."
	}
	if e := a.fail(ctx, t.id, o.ConversationID, o.CallID, line, words, true); e != nil {
		a.log.Error("recording not noted as failed", "recording", t.id, "err", e)
	}
	return nil, fmt.Errorf("%w: %w", ErrDisk, err)
}

// open begins the file.
func (t *Take) open() error {
	path, err := t.a.path(t.place)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(t.a.cfg.Dir, &disk); err == nil && disk.Bavail*uint64(disk.Bsize) < t.a.cfg.Reserve {
		return syscall.ENOSPC
	}
	t.recorder, err = media.NewRecorder(media.RecorderConfig{Path: path, Rate: t.order.Rate, Log: t.a.log, OnFail: t.failed})
	return err
}

// failed: the disk has refused in mid-call. What is written is kept; the rest is Finish's.
func (t *Take) failed(err error) {
	o := t.order
	t.a.log.Error("recording stopped, the call goes on", "call", o.CallID, "recording", t.id, "err", err)
	if o.OnFail != nil {
		o.OnFail()
	}
	words := InWords(err)
	if e := t.a.change(context.Background(), o.ConversationID, o.CallID, func(tx pgx.Tx) (string, error) {
		_, err := tx.Exec(context.Background(), `update recordings set error = $2 where id = $1`, t.id, words)
		return o.line("The recording stopped: " + words + ". The call goes on."), err
	}); e != nil {
		t.a.log.Error("stopped recording not noted", "recording", t.id, "err", e)
	}
}

// Tap is what the caller's leg gets.
func (t *Take) Tap() media.Tap { return t.recorder }

// Pause keeps silence until Resume: card numbers.
func (t *Take) Pause() { t.note(t.recorder.Pause()) }

// Resume ends a Pause.
func (t *Take) Resume() { t.note(t.recorder.Resume()) }

// note writes a mark into the row at once, beside the caller: where card numbers were left out must be known also of a
// recording whose process dies. The end of the recording writes all of them anew.
func (t *Take) note(m media.Mark, happened bool) {
	if !happened {
		return
	}
	t.a.closing.Add(1)
	go func() {
		defer t.a.closing.Done()
		ctx, cancel := context.WithTimeout(context.Background(), queryTime)
		defer cancel()
		_, err := t.a.cfg.Pool.Exec(ctx, `update recordings set marks = marks || $2::jsonb where id = $1 and state = 'recording'`, t.id, []media.Mark{m})
		if err != nil {
			t.a.log.Warn("mark of a recording not stored before its end", "recording", t.id, "err", err)
		}
	}()
}

// line is what the timeline reads of a call's recording. A voicemail is a message itself.
func (o Order) line(words string) string {
	if o.Kind == Voicemail {
		return ""
	}
	return words
}

// Ended is what became of a recording.
type Ended struct {
	ID      int64
	Seconds float64
	Peaks   []byte // as in media.Summary
	Failed  string // the disk has refused, and why, in words: what was written before is kept, or nothing is (Lost); "": it has not
	Lost    bool   // there is nothing to be heard
}

// Finish closes the file and completes the row, beside the caller; once. What it gives says what became of it; it is closed
// without that when the row could not be completed before the end of the process: the next start does.
func (t *Take) Finish() <-chan Ended {
	ended := make(chan Ended, 1)
	t.a.closing.Add(1)
	go func() {
		defer t.a.closing.Done()
		defer t.a.release(t.id)
		defer close(ended)
		sum, err := t.recorder.Close()
		pause := t.a.cfg.Retry
		for {
			became, e := t.a.finished(t, sum, err)
			if e == nil {
				nudge(t.a.wake)
				ended <- became
				return
			}
			t.a.log.Error("recording not stored, trying again", "recording", t.id, "err", e)
			select {
			case <-t.a.stopped:
				t.a.log.Error("recording left for the next start", "recording", t.id)
				return
			case <-time.After(pause):
				pause = min(2*pause, t.a.cfg.Sweep)
			}
		}
	}()
	return ended
}

// finished completes the row. A file that could not be written to its end is repaired as far as it goes.
func (a *Archive) finished(t *Take, sum media.Summary, broken error) (Ended, error) {
	ctx, o := context.Background(), t.order
	if broken == nil {
		line := "The call was recorded, " + minutes(sum.Seconds) + "."
		if o.Told {
			line = "The call was recorded, " + minutes(sum.Seconds) + ". The caller was told."
		}
		return Ended{ID: t.id, Seconds: sum.Seconds, Peaks: sum.Peaks}, a.complete(ctx, t.id, o.ConversationID, o.CallID, "done", o.line(line), sum)
	}
	path, err := a.path(t.place)
	if err != nil {
		return Ended{}, err
	}
	marks := sum.Marks
	if sum, err = media.Repair(path); err != nil {
		words := InWords(broken)
		a.log.Error("recording lost", "recording", t.id, "err", errors.Join(broken, err))
		return Ended{ID: t.id, Failed: words, Lost: true}, a.fail(ctx, t.id, o.ConversationID, o.CallID, lostLine(o.Kind, words), words, false)
	}
	sum.Marks = marks
	return Ended{ID: t.id, Seconds: sum.Seconds, Peaks: sum.Peaks, Failed: InWords(broken)}, a.complete(ctx, t.id, o.ConversationID, o.CallID, "recovered", o.line(cutLine(sum)), sum)
}

// complete writes what is known of a whole file.
func (a *Archive) complete(ctx context.Context, id, conversation, call int64, state, line string, sum media.Summary) error {
	var marks []byte // nil: those that were noted while it ran
	if sum.Marks != nil || state == "done" {
		var err error
		if marks, err = json.Marshal(append([]media.Mark{}, sum.Marks...)); err != nil {
			return fmt.Errorf("marks: %w", err)
		}
	}
	return a.change(ctx, conversation, call, func(tx pgx.Tx) (string, error) {
		tag, err := tx.Exec(ctx, `update recordings set state = $2, seconds = $3, bytes = $4, sha256 = $5, peaks = $7,
			marks = coalesce($6::jsonb, (select jsonb_agg(m order by (m->>'at')::float8) from jsonb_array_elements(marks) m), '[]'),
			keep_until = case when $8 > 0 then now() + make_interval(days => $8) end where id = $1 and state = 'recording'`,
			id, state, sum.Seconds, sum.Bytes, sum.SHA256[:], marks, append([]byte{}, sum.Peaks...), a.cfg.KeepDays)
		if err != nil || tag.RowsAffected() == 0 {
			line = ""
		}
		return line, wrap("complete recording", err)
	})
}

// fail notes that there is nothing to be heard, and why. never: it was not begun, so that nobody has spoken a voicemail that the
// house must hear of.
func (a *Archive) fail(ctx context.Context, id, conversation, call int64, line, why string, never bool) error {
	return a.change(ctx, conversation, call, func(tx pgx.Tx) (string, error) {
		tag, err := tx.Exec(ctx, `update recordings set state = 'failed', error = $2, handed_at = case when kind = 'voicemail' and $3 then clock_timestamp() end where id = $1 and state = 'recording'`, id, why, never)
		if err != nil || tag.RowsAffected() == 0 {
			line = ""
		}
		return line, wrap("fail recording", err)
	})
}

func (a *Archive) hold(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active[id] = true
}

func (a *Archive) release(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.active, id)
}

func (a *Archive) holds(id int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.active[id]
}

func lostLine(kind, why string) string {
	if kind == Voicemail {
		return "A voicemail is lost: " + why + "."
	}
	return "The recording of this call is lost: " + why + "."
}

func cutLine(sum media.Summary) string {
	return "Recording cut at " + minutes(sum.Seconds) + ", the rest is kept."
}

// minutes is 3:12.
func minutes(seconds float64) string {
	s := int(seconds)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// InWords is what a disk's error means to people.
func InWords(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return "the disk is full"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "the recordings folder cannot be written"
	case errors.Is(err, fs.ErrNotExist):
		return "its file is gone"
	case errors.Is(err, media.ErrNoRecording):
		return "its file holds no sound"
	}
	return "the disk has failed"
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
