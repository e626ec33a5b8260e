package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/media"
)

// cleanSubject says that a recording was deleted: whoever has its file removes it. No payload.
const cleanSubject = "recordings.clean"

// most is how many recordings one round of anything takes.
const most = 500

// kept is a recording as the rounds see it.
type kept struct {
	ID, CallID, ConversationID int64
	Place, Kind                string
	NodeID                     *string
	Name                       string // of that node
}

func (a *Archive) find(ctx context.Context, where string, args ...any) ([]kept, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	rows, err := a.cfg.Pool.Query(ctx, `select r.id, r.call_id, r.conversation_id, r.place, r.kind, r.node_id, coalesce(n.name, '') as name
		from recordings r left join nodes n on n.id = r.node_id where `+where+fmt.Sprint(` order by r.id limit `, most), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[kept])
}

// keep is one round: takes over, repairs, deletes.
func (a *Archive) keep(ctx context.Context) error {
	return errors.Join(wrap("take over", a.takeOver(ctx)), wrap("repair", a.repair(ctx)), wrap("expire", a.expire(ctx)),
		wrap("remove", a.remove(ctx)), wrap("sweep", a.sweepUploaded(ctx)))
}

// takeOver makes ours what a dead process has left on this disk: one of this name, or of another whose files are here.
func (a *Archive) takeOver(ctx context.Context) error {
	left, err := a.find(ctx, `r.place <> '' and r.node_id <> $1 and (n.name = $2 and n.stopped_at is not null or n.stopped_at < now() - interval '1 minute')`,
		a.cfg.NodeID, a.cfg.NodeName)
	if err != nil {
		return err
	}
	for _, k := range left {
		if k.Name != a.cfg.NodeName && !a.here(k.Place) {
			continue
		}
		if _, e := a.cfg.Pool.Exec(ctx, `update recordings set node_id = $2 where id = $1 and node_id = $3`, k.ID, a.cfg.NodeID, k.NodeID); e != nil {
			return errors.Join(err, e)
		}
	}
	return nil
}

// here tells whether a place is on this disk.
func (a *Archive) here(place string) bool {
	path, err := a.path(place)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// repair makes whole what a killed process was writing.
func (a *Archive) repair(ctx context.Context) error {
	open, err := a.find(ctx, `r.state = 'recording' and r.node_id = $1`, a.cfg.NodeID)
	all := err
	for _, k := range open {
		if a.holds(k.ID) {
			continue
		}
		e := a.repairOne(ctx, k)
		if all = errors.Join(all, e); e == nil && k.Kind == Voicemail {
			a.publish(channels.VoicemailSubject, struct{}{})
		}
	}
	return all
}

func (a *Archive) repairOne(ctx context.Context, k kept) error {
	path, err := a.path(k.Place)
	if err != nil {
		return err
	}
	sum, err := media.Repair(path)
	switch {
	case err == nil:
		a.log.Warn("recording repaired", "recording", k.ID, "call", k.CallID, "seconds", sum.Seconds)
		nudge(a.wake)
		return a.complete(ctx, k.ID, k.ConversationID, k.CallID, "recovered", Order{Kind: k.Kind}.line(cutLine(sum)), sum)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, media.ErrNoRecording):
		a.log.Error("recording lost", "recording", k.ID, "call", k.CallID, "err", err)
		return a.fail(ctx, k.ID, k.ConversationID, k.CallID, lostLine(k.Kind, InWords(err)), InWords(err), false)
	}
	return err
}

// expire deletes what has been kept long enough; any node does it.
func (a *Archive) expire(ctx context.Context) error {
	old, err := a.find(ctx, `r.keep_until < now() and r.state in ('done', 'recovered')`)
	all := err
	for _, k := range old {
		_, e := a.discard(ctx, k, "The recording was deleted: its time was over.")
		all = errors.Join(all, e)
	}
	if len(old) > 0 {
		a.publish(cleanSubject, struct{}{})
	}
	return all
}

// Delete takes a recording away for good; by is named in the timeline. NotFound; Conflict while it still runs.
func (a *Archive) Delete(ctx context.Context, id int64, by string) error {
	list, err := a.find(ctx, `r.id = $1`, id)
	if err != nil {
		return wrap("find recording", err)
	}
	if len(list) == 0 {
		return channels.Fail(channels.NotFound, "There is no such recording.")
	}
	done, err := a.discard(ctx, list[0], by+" deleted the recording.")
	switch {
	case err != nil:
		return err
	case !done:
		return channels.Fail(channels.Conflict, "This recording is still running, or was deleted before.")
	}
	a.publish(cleanSubject, struct{}{})
	return nil
}

// Drop takes away a recording in which nobody hears anything: a voicemail without words. No line tells of it.
func (a *Archive) Drop(ctx context.Context, id int64) error {
	list, err := a.find(ctx, `r.id = $1`, id)
	if err != nil || len(list) == 0 {
		return wrap("find recording", err)
	}
	if _, err := a.discard(ctx, list[0], ""); err != nil {
		return err
	}
	a.publish(cleanSubject, struct{}{})
	return nil
}

// discard marks a recording as deleted, with its line; the file goes by remove. false: it is not there to be deleted.
func (a *Archive) discard(ctx context.Context, k kept, line string) (done bool, err error) {
	err = a.change(ctx, k.ConversationID, k.CallID, func(tx pgx.Tx) (string, error) {
		tag, err := tx.Exec(ctx, `update recordings set state = 'deleted', peaks = '', marks = '[]' where id = $1 and state in ('done', 'recovered', 'failed')`, k.ID)
		if done = err == nil && tag.RowsAffected() == 1; !done {
			return "", wrap("delete recording", err)
		}
		return line, nil
	})
	return done, err
}

// remove deletes the files of deleted recordings: those on this disk, and those in S3. A place that is empty is done.
func (a *Archive) remove(ctx context.Context) error {
	unwanted, err := a.find(ctx, `r.state = 'deleted' and r.place <> '' and (r.node_id = $1 or r.node_id is null and $2)`, a.cfg.NodeID, a.store != nil)
	all := err
	for _, k := range unwanted {
		e := a.removeFile(k.Place)
		if a.store != nil { // also one of ours: an upload may have been under way
			e = errors.Join(e, a.store.remove(ctx, k.Place))
		}
		if e == nil {
			_, e = a.cfg.Pool.Exec(ctx, `update recordings set place = '' where id = $1`, k.ID)
		}
		all = errors.Join(all, e)
	}
	return all
}

func (a *Archive) removeFile(place string) error {
	path, err := a.path(place)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
