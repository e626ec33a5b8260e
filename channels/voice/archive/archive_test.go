package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// kit is a database with one call, a bus, and what the log says at level error.
type kit struct {
	t    *testing.T
	pool *pgxpool.Pool
	bus  *bus.Bus
	dir  string
	log  *slog.Logger
	said *alarms
}

type alarms struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (a *alarms) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.b.Write(p)
}

func (a *alarms) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.b.String()
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{t: t, pool: dbtest.Pool(t), dir: filepath.Join(t.TempDir(), "recordings"), said: &alarms{}}
	k.log = slog.New(slog.NewTextHandler(k.said, &slog.HandlerOptions{Level: slog.LevelError}))
	k.exec(`insert into queues (name) values ('Service'); insert into contacts (name) values ('Rosa');
		insert into conversations (contact_id, queue_id, channel, state) values (1, 1, 'voice', 'agent');
		insert into calls (conversation_id, direction, from_address, to_address) values (1, 'in', '+49', '100')`)
	var err error
	if k.bus, err = bus.Open(t.Context(), "", k.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *kit) exec(sql string, args ...any) {
	k.t.Helper()
	if _, err := k.pool.Exec(context.Background(), sql, args...); err != nil {
		k.t.Fatal(err)
	}
}

func one[T any](k *kit, sql string, args ...any) T {
	k.t.Helper()
	rows, err := k.pool.Query(context.Background(), sql, args...)
	if err != nil {
		k.t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		k.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func (k *kit) lines() string {
	return one[string](k, `select coalesce(string_agg(body, '|' order by seq), '') from messages where data->>'code' = 'recorded' and private`)
}

// until waits for what a round of the archive brings about.
func (k *kit) until(what, sql string, args ...any) {
	k.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !one[bool](k, sql, args...); {
		select {
		case <-tick.C:
		case <-limit:
			k.t.Fatalf("%s: not in time; %s; log: %s", what, k.lines(), k.said)
		}
	}
}

// open makes an archive of a node; a second one of the same name is that node after a restart.
func (k *kit) open(node, name string, change func(*Config)) *Archive {
	k.t.Helper()
	k.exec(`update nodes set stopped_at = now() where name = $1 and stopped_at is null`, name)
	k.exec(`insert into nodes (id, name) values ($1, $2)`, node, name)
	cfg := Config{Dir: k.dir, Pool: k.pool, Bus: k.bus, NodeID: node, NodeName: name, Log: k.log, Sweep: 50 * time.Millisecond, Retry: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	a, err := Open(cfg)
	if err != nil {
		k.t.Fatal(err)
	}
	return a
}

// run lets it live; stop waits for its end.
func (k *kit) run(a *Archive) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			k.t.Error(err)
		}
	})
	k.t.Cleanup(stop)
	return stop
}

func (k *kit) begin(a *Archive) *Take {
	k.t.Helper()
	take, err := a.Begin(context.Background(), Order{CallID: 1, ConversationID: 1})
	if err != nil {
		k.t.Fatal(err)
	}
	return take
}

// speak taps packets of a loud tone on the caller's side.
func speak(take *Take, packets int) {
	loud := bytes.Repeat([]byte{0x80, 0x00}, media.FrameSamples/2)
	for i := range packets {
		take.Tap().Heard(&media.Packet{Codec: media.PCMU, SSRC: 7, Seq: uint16(i), TS: uint32(i * media.FrameSamples), Payload: loud, Arrived: time.Now()})
	}
}

// recorded is a finished recording of a moment.
func (k *kit) recorded(a *Archive) (place string) {
	k.t.Helper()
	take := k.begin(a)
	speak(take, 10)
	timer := time.NewTimer(250 * time.Millisecond) // what a recording holds is what the clock passes
	<-timer.C
	take.Finish()
	k.until("done", `select bool_and(state <> 'recording') from recordings`)
	return take.place
}

func read(t *testing.T, a *Archive, id, from, n int64) ([]byte, error) {
	t.Helper()
	r, err := a.Sound(t.Context(), id, from, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestRecording(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", func(c *Config) { c.KeepDays = 30 })
	k.run(a)
	place := k.recorded(a)
	b, err := os.ReadFile(filepath.Join(k.dir, place))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if !one[bool](k, `select state = 'done' and sha256 = $1 and bytes = $2 and seconds > 0.2 and length(peaks) >= 8 and get_byte(peaks, 0) > 200
		and node_id = 'n1/x' and keep_until between now() + interval '29 days' and now() + interval '31 days' from recordings`, sum[:], len(b)) {
		t.Errorf("row: %s", one[string](k, `select r::text from recordings r`))
	}
	if l := k.lines(); l != "The call was recorded, 0:00." {
		t.Errorf("line %q", l)
	}
	if got, err := read(t, a, 1, 10, 100); err != nil || !bytes.Equal(got, b[10:110]) {
		t.Errorf("a part: %d bytes, %v", len(got), err)
	}
	if _, err := read(t, a, 99, 0, 1); channels.CodeOf(err) != channels.NotFound {
		t.Errorf("unknown: %v", err)
	}
	if info, err := os.Stat(filepath.Join(k.dir, place)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
}

// TestRepair: a process that was killed left a file with an old header and half a sample, one without a file, and one
// that never got its header.
func TestRepair(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", nil)
	take := k.begin(a)
	speak(take, 10)
	take.Pause()
	take.Pause() // no second mark
	take.Resume()
	k.until("its marks are noted while it runs", `select jsonb_array_length(marks) = 2 from recordings where id = 1`)
	path := filepath.Join(k.dir, take.place)
	header, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take.recorder.Close(); err != nil { // the goroutine must end; its file is put back to what a kill leaves
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(header[:44:44], bytes.Repeat([]byte{1, 0x20}, 8001)...), 0o600); err != nil {
		t.Fatal(err)
	}
	k.exec(`insert into recordings (call_id, conversation_id, node_id, place) values (1, 1, 'n1/x', '2026/gone.wav'), (1, 1, 'n1/x', 'empty.wav')`)
	if err := os.WriteFile(filepath.Join(k.dir, "empty.wav"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	b := k.open("n1/y", "n1", nil)
	k.run(b)
	k.until("repaired", `select bool_and(state <> 'recording') from recordings`)
	if got := one[string](k, `select string_agg(state || ' ' || seconds || ' ' || node_id || ' ' || error, '|' order by id) from recordings`); got !=
		"recovered 0.50 n1/y |failed 0.00 n1/y its file is gone|failed 0.00 n1/y its file holds no sound" {
		t.Errorf("rows: %s", got)
	}
	if l := k.lines(); l != "Recording cut at 0:00, the rest is kept.|The recording of this call is lost: its file is gone.|The recording of this call is lost: its file holds no sound." {
		t.Errorf("lines: %s", l)
	}
	if got := one[string](k, `select string_agg(m->>'what', ' ' order by n) from recordings, jsonb_array_elements(marks) with ordinality x(m, n) where id = 1`); got != "paused resumed" {
		t.Errorf("marks: %s", got)
	}
	whole, err := read(t, b, 1, 0, 1<<20)
	if err != nil || len(whole) != 44+16000 || binary.LittleEndian.Uint32(whole[40:]) != 16000 {
		t.Errorf("%d bytes, %v", len(whole), err)
	}
	sum := sha256.Sum256(whole)
	if !one[bool](k, `select sha256 = $1 from recordings where id = 1`, sum[:]) {
		t.Error("the checksum is not the file's")
	}
}

// TestRunningIsNotRepaired: rounds go by while a call is recorded.
func TestRunningIsNotRepaired(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", nil)
	k.run(a)
	take := k.begin(a)
	if err := a.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := one[string](k, `select state from recordings`); s != "recording" {
		t.Errorf("state %s", s)
	}
	take.Finish()
	k.until("done", `select state = 'done' from recordings`)
}

func TestDeleteAndExpire(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", nil)
	running := k.begin(a)
	if err := a.Delete(t.Context(), 1, "Mira Solheim"); channels.CodeOf(err) != channels.Conflict {
		t.Errorf("delete of a running one: %v", err)
	}
	k.run(a)
	running.Finish()
	k.until("done", `select state = 'done' from recordings`)
	place := k.recorded(a)
	if err := a.Delete(t.Context(), 1, "Mira Solheim"); err != nil {
		t.Fatal(err)
	}
	k.exec(`update recordings set keep_until = now() - interval '1 second' where id = 2`)
	k.until("both deleted, files gone", `select bool_and(state = 'deleted' and place = '' and peaks = '') from recordings`)
	if _, err := os.Stat(filepath.Join(k.dir, place)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if l := k.lines(); !strings.HasSuffix(l, "Mira Solheim deleted the recording.|The recording was deleted: its time was over.") {
		t.Errorf("lines: %s", l)
	}
	if err := a.Delete(t.Context(), 1, "Mira Solheim"); channels.CodeOf(err) != channels.Conflict {
		t.Errorf("deleted twice: %v", err)
	}
	if err := a.Delete(t.Context(), 9, "Mira Solheim"); channels.CodeOf(err) != channels.NotFound {
		t.Errorf("deleted unknown: %v", err)
	}
	if _, err := read(t, a, 1, 0, 1); channels.CodeOf(err) != channels.NotFound {
		t.Errorf("played after its end: %v", err)
	}
}

// TestOtherNode: a recording on another node's disk is read over the bus; that node gone, the words say where it is; a
// recording is deleted on the disk that has it.
func TestOtherNode(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", nil)
	stop := k.run(a)
	place := k.recorded(a)
	path := filepath.Join(k.dir, place)
	long := append([]byte(nil), make([]byte, 700_000)...) // several pieces
	for i := range long {
		long[i] = byte(i * i >> 7)
	}
	if err := os.WriteFile(path, long, 0o600); err != nil {
		t.Fatal(err)
	}
	other := k.open("n2/x", "n2", func(c *Config) { c.Dir = t.TempDir() })
	k.run(other)
	if got, err := read(t, other, 1, 5, 699_000); err != nil || !bytes.Equal(got, long[5:699_005]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := other.Delete(t.Context(), 1, "Mira"); err != nil {
		t.Fatal(err)
	}
	k.until("removed by its owner", `select place = '' from recordings`)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	k.recorded(a)
	stop()
	if _, err := read(t, other, 2, 0, 10); channels.CodeOf(err) != channels.Unavailable || !strings.Contains(err.Error(), "n1") {
		t.Errorf("its node is gone: %v", err)
	}
	for _, place := range []string{"../../etc/passwd", "/etc/passwd", ""} {
		if _, err := a.piece([]byte(`{"place":"` + place + `","bytes":10}`)); err == nil {
			t.Errorf("place %q was read", place)
		}
	}
}

// TestDiskFull: nothing is begun on a full disk; the alarm says so.
func TestDiskFull(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", func(c *Config) { c.Reserve = 1 << 60 })
	k.run(a)
	if _, err := a.Begin(t.Context(), Order{CallID: 1, ConversationID: 1}); !errors.Is(err, ErrDisk) {
		t.Fatalf("begun on a full disk: %v", err)
	}
	if l := k.lines(); l != "This call is not recorded: the disk is full. The call goes on." {
		t.Errorf("line %q", l)
	}
	if !strings.Contains(k.said.String(), "call is not recorded") {
		t.Errorf("alarm: %s", k.said)
	}
	if got := one[string](k, `select state || ', ' || error from recordings`); got != "failed, the disk is full" {
		t.Errorf("row: %s", got)
	}
}

// TestDatabaseAway: a recording that ends while the database is away is stored when it is back.
func TestDatabaseAway(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", nil)
	stop := k.run(a)
	take := k.begin(a)
	k.exec(`alter table recordings rename to away`)
	take.Finish()
	k.until("tried in vain", `select true`)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(k.said.String(), "not stored") {
		<-tick.C
	}
	k.exec(`alter table away rename to recordings`)
	k.until("stored", `select state = 'done' from recordings`)
	stop()
}
