// Package archive keeps recorded calls: a row in recordings and a file below a folder for each, and what becomes of them.
//
//	Begin ──▶ row "recording" ──▶ file ──▶ media.Recorder on the caller's leg          (voice)
//	Finish ─▶ row "done": seconds, bytes, checksum, waveform, the day it may be kept until
//	Run ────▶ uploads to S3, deletes what is old or unwanted, and repairs what a dead process has left ("recovered")
//	Sound ──▶ bytes of it: from this node's disk, from S3, or from the node whose disk has it  (api)
//
// The row comes before the first byte, so that no file exists that nobody knows. A recording has one place, the same on
// disk and in S3; node_id says whose disk has it, null means S3. A local file goes only after S3 has proven to hold the
// same bytes. A disk that refuses costs the recording, never the call: it is logged as an error and stands in the
// conversation's timeline.
package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Config says where recordings go. All is required but S3, KeepDays and the fields with a default.
type Config struct {
	Dir      string // made when it is not there
	KeepDays int    // deleted after so many days; 0: when somebody deletes it
	S3       S3     // takes finished recordings; Endpoint "": they stay in Dir

	Pool     *pgxpool.Pool
	Bus      *bus.Bus
	NodeID   string // has a row in nodes
	NodeName string // the same after a restart: what this name has left behind is ours
	Log      *slog.Logger

	Reserve uint64        // bytes that stay free on the disk: below it nothing is recorded; default 256 MB
	Sweep   time.Duration // how often what is old goes, and what failed is tried again; default 1 min
	Retry   time.Duration // first pause after a failed upload or write, doubling to Sweep; default 1 s
}

// Archive is the place of all recordings. Its verbs may be called from any goroutine.
type Archive struct {
	cfg   Config
	log   *slog.Logger
	store *store // nil: no S3

	mu      sync.Mutex // guards active
	active  map[int64]bool
	closing sync.WaitGroup // takes on their way to the row
	stopped chan struct{}  // Run's patience is over: try a last time
	wake    chan struct{}  // something is to be uploaded
	clean   chan struct{}  // something is to be deleted
}

// ErrDisk is why a call is not recorded although the database is well: the alarm has been given, trying again is useless.
var ErrDisk = errors.New("recordings cannot be written")

const (
	queryTime = 5 * time.Second
	// farewell is how long Run waits for takes that are being closed.
	farewell = 10 * time.Second
)

// Open looks at the folder. One that cannot be written is no error, but an alarm: calls go on unrecorded.
func Open(cfg Config) (*Archive, error) {
	if cfg.Dir == "" || cfg.Pool == nil || cfg.Bus == nil || cfg.NodeID == "" {
		return nil, errors.New("archive: Dir, Pool, Bus and NodeID are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 256 << 20
	}
	if cfg.Sweep == 0 {
		cfg.Sweep = time.Minute
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	a := &Archive{cfg: cfg, log: cfg.Log.With("room", "archive"), active: map[int64]bool{}, stopped: make(chan struct{}),
		wake: make(chan struct{}, 1), clean: make(chan struct{}, 1)}
	if cfg.S3.Endpoint != "" {
		var err error
		if a.store, err = openStore(cfg.S3); err != nil {
			return nil, err
		}
	}
	if err := a.writable(); err != nil {
		a.log.Error("recordings cannot be written: calls go on unrecorded", "dir", cfg.Dir, "err", err)
	}
	return a, nil
}

// Run keeps the archive until ctx ends: end it after the last Finish. It first takes over what an older process of this
// node has left.
func (a *Archive) Run(ctx context.Context) error {
	unbus, err := a.cfg.Bus.Respond(soundSubject(a.cfg.NodeID), a.piece)
	if err != nil {
		return fmt.Errorf("archive's bus: %w", err)
	}
	defer unbus()
	unwatch, err := a.cfg.Bus.Subscribe(cleanSubject, func(string, []byte) { nudge(a.clean) })
	if err != nil {
		return fmt.Errorf("archive's bus: %w", err)
	}
	defer unwatch()
	var parts sync.WaitGroup
	parts.Go(func() { a.loop(ctx, "keep", a.clean, a.keep) })
	if a.store != nil {
		parts.Go(func() { a.loop(ctx, "upload", a.wake, a.upload) })
	}
	parts.Wait()
	close(a.stopped)
	closed := make(chan struct{})
	go func() { a.closing.Wait(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(farewell):
		a.log.Error("recordings are not closed: they are repaired at the next start")
	}
	return nil
}

// loop does a round now, when woken and each Sweep; a failed one is tried again sooner.
func (a *Archive) loop(ctx context.Context, name string, wake <-chan struct{}, round func(context.Context) error) {
	pause := a.cfg.Retry
	for {
		next, woken := a.cfg.Sweep, wake
		switch err := a.guarded(ctx, name, round); {
		case ctx.Err() != nil:
			return
		case err != nil:
			if pause == a.cfg.Retry {
				a.log.Error("recordings: "+name+", trying again", "err", err)
			}
			next, pause, woken = pause, min(2*pause, a.cfg.Sweep), nil
		default:
			pause = a.cfg.Retry
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// guarded turns a panic of a round into an error: the others go on.
func (a *Archive) guarded(ctx context.Context, name string, round func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			a.log.Error("panic", "where", "recordings: "+name, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return round(ctx)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// writable makes the folder and proves that a file can be made in it.
func (a *Archive) writable() error {
	if err := os.MkdirAll(a.cfg.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(a.cfg.Dir, ".try")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// path is where a place lies on this node's disk.
func (a *Archive) path(place string) (string, error) {
	if !filepath.IsLocal(place) {
		return "", fmt.Errorf("recording's place %q is not below its folder", place)
	}
	return filepath.Join(a.cfg.Dir, filepath.FromSlash(place)), nil
}

// change does do in one transaction, with the line that it returns in the conversation's timeline ("": none), and tells
// who watches. The conversation's row is locked first, as everywhere.
func (a *Archive) change(ctx context.Context, conversation, call int64, do func(tx pgx.Tx) (line string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var told []*channels.Message
	err := pgx.BeginFunc(ctx, a.cfg.Pool, func(tx pgx.Tx) error {
		c, err := channels.Lock(ctx, tx, conversation)
		if err != nil {
			return fmt.Errorf("lock conversation: %w", err)
		}
		line, err := do(tx)
		if err != nil || line == "" || c == nil {
			return err
		}
		told = []*channels.Message{{ConversationID: conversation, Channel: c.Channel, Author: channels.BySystem, Kind: channels.Happened,
			Body: line, Private: true, Data: channels.MessageData{Code: channels.CodeRecorded, CallID: call}}}
		return channels.AppendEvents(ctx, tx, conversation, told)
	})
	if err != nil {
		return err
	}
	for _, m := range told {
		a.publish(channels.ConversationSubject(conversation), channels.Event{Type: channels.EventMessage, ConversationID: conversation, Seq: m.Seq, Message: m})
	}
	a.publish(channels.DeskSubject, channels.DeskNews{ConversationID: conversation})
	return nil
}

// publish sends news. A failure costs freshness only.
func (a *Archive) publish(subject string, v any) {
	if err := a.cfg.Bus.Publish(subject, v); err != nil {
		a.log.Warn("news not sent", "subject", subject, "err", err)
	}
}
