package speech

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// local is the engines of one job in a child, and the goroutine that keeps a child alive.
type local struct {
	job     Job
	models  shelf
	command []string
	threads int
	hang    time.Duration
	log     *slog.Logger

	mu      sync.Mutex
	child   *child                // nil while none is ready
	why     error                 // while none is
	missing bool                  // and why is a missing file
	last    offer                 // of the last child
	members map[*distant]struct{} // Ears that use whichever child there is
	change  chan struct{}         // closed when child or why changes
}

const (
	hangDefault = 1500 * time.Millisecond // without a word from a child
	loadLimit   = 60 * time.Second        // for the models
	lookAgain   = 2 * time.Second         // for missing models
	shortLife   = 10 * time.Second        // a child that ends sooner is not started again at once
	longestWait = 10 * time.Second        // between two starts
	backlog     = 2048                    // messages to a child
)

var errStarting = errors.New("starting")

func newLocal(job Job, cfg Config) *local {
	threads := cfg.Threads
	if threads == 0 {
		threads = max(1, runtime.NumCPU()-1)
	}
	return &local{job: job, models: shelf(cfg.Models), command: cfg.Command, threads: threads, hang: cmp.Or(cfg.Hang, hangDefault), log: cfg.Log,
		why: errStarting, members: map[*distant]struct{}{}, change: make(chan struct{})}
}

// run starts one child after the other until ctx ends.
func (l *local) run(ctx context.Context) {
	wait := time.Duration(0)
	for {
		if err := l.check(); err != nil {
			l.become(nil, err, true)
			wait = lookAgain
		} else {
			began := time.Now()
			err := l.live(ctx)
			if ctx.Err() == nil {
				l.log.Error("speech: a child ended", "job", l.job, "after", time.Since(began).Round(time.Millisecond), "error", err)
			}
			l.become(nil, err, false)
			if wait = min(max(100*time.Millisecond, 2*wait), longestWait); time.Since(began) > shortLife {
				wait = 0
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// check looks whether the files are there.
func (l *local) check() error {
	var err error
	if l.job == Hearing {
		_, err = l.models.ears()
	} else {
		_, err = l.models.voices()
	}
	return err
}

// become says which child there is now, to all who use one.
func (l *local) become(c *child, why error, missing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	had := l.child
	if l.child, l.why, l.missing = c, why, missing; c != nil {
		l.last = c.offer
	}
	for m := range l.members {
		switch {
		case c != nil:
			m.attach(c)
		case had != nil:
			m.detach(fmt.Errorf("%w: %w", ErrEngine, why))
		}
	}
	close(l.change)
	l.change = make(chan struct{})
}

// join makes m hear of the next children, and returns the present one.
func (l *local) join(m *distant) *child {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[m] = struct{}{}
	return l.child
}

func (l *local) leave(m *distant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.members, m)
}

// describe is the job's state.
func (l *local) describe() Description {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Description{Engine: Local, Job: l.job, Languages: l.last.Languages, Voices: l.last.Voices}
	switch {
	case l.child != nil && l.child.alive():
		d.Standing, d.Detail = Ready, l.last.Engine
	case l.missing:
		d.Standing, d.Detail = Missing, l.why.Error()
	case l.child != nil || l.why == errStarting:
		d.Standing, d.Detail = Starting, "the models are being loaded"
	default:
		d.Standing, d.Detail = Broken, l.why.Error()
	}
	return d
}

// can says whether a language, and a voice, are offered, by the present child or by the one that is being started.
func (l *local) can(language, voice string) bool {
	d := l.describe()
	if d.Standing == Missing || d.Standing == Broken && d.Languages == nil {
		return false
	}
	if d.Standing == Starting {
		return true
	}
	return (language == "" || slices.Contains(d.Languages, language)) && (voice == "" || slices.Contains(d.Voices, voice))
}

// live is a child's life, from its start to its end.
func (l *local) live(ctx context.Context) error {
	c, err := l.start()
	if err != nil {
		return err
	}
	defer c.bury()
	ready := make(chan offer, 1)
	go func() { c.fail(c.read(ready)) }()
	go func() { c.fail(c.write()) }()
	var o offer
	select {
	case o = <-ready:
	case <-c.dead:
	case <-time.After(loadLimit):
		c.fail(fmt.Errorf("the models were not loaded within %s", loadLimit))
	case <-ctx.Done():
		c.fail(ctx.Err())
	}
	if o.Error != "" {
		c.fail(errors.New(o.Error))
	}
	if c.alive() {
		c.offer = o
		l.become(c, nil, false)
		l.log.Info("speech: a child is ready", "job", l.job, "languages", o.Languages, "voices", o.Voices, "pid", c.cmd.Process.Pid)
		c.fail(c.watch(ctx, l.hang))
	}
	return c.last()
}

// child is one process.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File
	queue  chan []byte
	dead   chan struct{}
	offer  offer
	said   tail
	ends   sync.WaitGroup // reader and writer
	ponged chan struct{}

	mu       sync.Mutex
	why      error
	next     uint32
	sessions map[uint32]func(m message) // run on the reader's goroutine; must not block
}

func (l *local) start() (*child, error) {
	command := l.command
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(filepath.Base(self), ".test") {
			return nil, errors.New("a test that wants local engines calls speech.Serve in its TestMain and sets Config.Command")
		}
		command = []string{self, childArgument}
	}
	c := &child{queue: make(chan []byte, backlog), dead: make(chan struct{}), sessions: map[uint32]func(message){}, ponged: make(chan struct{}, 1)}
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Env = append(os.Environ(), childVariable+"=1", "GOMEMLIMIT=200MiB")
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said // native code prints on both
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.out = r
	c.cmd.ExtraFiles = []*os.File{w}
	if c.in, err = c.cmd.StdinPipe(); err == nil {
		err = c.cmd.Start()
	}
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	c.ends.Add(2)
	c.send(appendJSON(nil, kindSetup, 0, setup{l.job, string(l.models), l.threads}))
	return c, nil
}

func (c *child) alive() bool {
	select {
	case <-c.dead:
		return false
	default:
		return true
	}
}

// fail ends the child for a reason, the first of which counts.
func (c *child) fail(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == nil {
		c.why = why
		close(c.dead)
	}
}

// bury kills what may still live and waits for the goroutines.
func (c *child) bury() {
	c.fail(ErrClosed)
	c.cmd.Process.Kill() // it may be gone
	c.in.Close()
	c.ends.Wait()
	c.out.Close()
	c.cmd.Wait() // killed: its exit code says nothing
}

// last is why the child ended, with its own last words.
func (c *child) last() error {
	<-c.dead
	c.mu.Lock()
	defer c.mu.Unlock()
	if words := c.said.String(); words != "" {
		return fmt.Errorf("%w (%s)", c.why, words)
	}
	return c.why
}

// send queues a message; false means that there is no room: the child does not read.
func (c *child) send(b []byte) bool {
	select {
	case c.queue <- b:
		return true
	default:
		return false
	}
}

// order is send for what must not be lost.
func (c *child) order(b []byte) {
	if !c.send(b) {
		c.fail(errors.New("the child does not read"))
	}
}

func (c *child) write() error {
	defer c.ends.Done()
	to := bufio.NewWriterSize(c.in, 1<<16)
	for {
		var b []byte
		select {
		case b = <-c.queue:
		case <-c.dead:
			return nil
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
		if len(c.queue) == 0 {
			if err := to.Flush(); err != nil {
				return err
			}
		}
	}
}

func (c *child) read(ready chan<- offer) error {
	defer c.ends.Done()
	in := messages{from: bufio.NewReaderSize(c.out, 1<<16)}
	for {
		m, err := in.next()
		if err != nil {
			return fmt.Errorf("the child ended: %w", err)
		}
		switch m.kind {
		case kindReady:
			var o offer
			if err := json.Unmarshal(m.body, &o); err != nil {
				return fmt.Errorf("the child's offer: %w", err)
			}
			select {
			case ready <- o:
			default:
				return errors.New("the child is ready twice")
			}
		case kindPong:
			select {
			case c.ponged <- struct{}{}:
			default:
			}
		case kindHeard, kindMade, kindEnded:
			c.mu.Lock()
			take := c.sessions[m.session]
			c.mu.Unlock()
			if take != nil { // else it is closed already
				take(m)
			}
		default:
			return fmt.Errorf("the child sent a message of kind %d", m.kind)
		}
	}
}

// watch asks the child for a sign of life, and returns why there is none.
func (c *child) watch(ctx context.Context, hang time.Duration) error {
	tick := time.NewTicker(hang / 4)
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.dead:
			return nil
		case <-c.ponged:
			heard = time.Now()
		case now := <-tick.C:
			if now.Sub(heard) > hang {
				return fmt.Errorf("the child gave no sign of life for %s", hang)
			}
			c.order(appendMessage(nil, kindPing, 0))
		}
	}
}

// open begins a session.
func (c *child) open(k kind, ask any, take func(message)) uint32 {
	c.mu.Lock()
	c.next++
	id := c.next
	c.sessions[id] = take
	c.mu.Unlock()
	c.order(appendJSON(nil, k, id, ask))
	return id
}

func (c *child) close(id uint32) {
	c.mu.Lock()
	delete(c.sessions, id)
	c.mu.Unlock()
	c.order(appendMessage(nil, kindClose, id))
}

// tail keeps the last words of a child.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 400

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b = append(t.b, b...); len(t.b) > tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.Join(bytes.Fields(t.b), []byte(" ")))
}

// distant is hearing by a child: frames go there, and what it heard comes back.
type distant struct {
	ear     *Ear
	local   *local
	cfg     HearConfig
	results chan func()

	child    *child // of the Ear's goroutine, like all below
	session  uint32
	said     bool // something was heard since the last Final
	speaking bool
	ended    int // Finishes that wait
}

func newDistant(ear *Ear, l *local, cfg HearConfig) *distant {
	d := &distant{ear: ear, local: l, cfg: cfg, results: make(chan func(), 64)}
	if c := l.join(d); c != nil {
		d.open(c)
	}
	return d
}

// post runs something on the Ear's goroutine.
func (d *distant) post(do func()) {
	select {
	case d.results <- do:
	case <-d.ear.ctx.Done():
	}
}

func (d *distant) work() <-chan func() { return d.results }

func (d *distant) attach(c *child) { d.post(func() { d.open(c) }) }

// open begins a session with a child; frames go there from now on.
func (d *distant) open(c *child) {
	if c == d.child || !c.alive() {
		return
	}
	d.child = c
	d.session = c.open(kindHear, d.cfg, func(m message) {
		if w, err := readHeard(m); err == nil {
			d.post(func() { d.heard(c, w) })
		} else {
			c.fail(err)
		}
	})
}

func (d *distant) detach(err error) { d.post(func() { d.lose(err) }) }

func readHeard(m message) (wireHeard, error) {
	var w wireHeard
	if m.kind == kindEnded {
		var e wireEnd
		err := json.Unmarshal(m.body, &e)
		return wireHeard{Kind: Failed, Error: e.Error}, err
	}
	if err := json.Unmarshal(m.body, &w); err != nil || m.kind != kindHeard || w.Kind < Began || w.Kind > Failed {
		return w, fmt.Errorf("the child heard %.100q: %v", m.body, err)
	}
	return w, nil
}

func (d *distant) heard(c *child, w wireHeard) {
	if c != d.child { // from one that is gone
		return
	}
	h := Heard{Kind: w.Kind, Text: w.Text, Confidence: w.Confidence, From: w.From, To: w.To, Words: w.Words}
	switch w.Kind {
	case Began:
		d.said, d.speaking = true, true
	case Paused:
		d.speaking = false
	case Final:
		d.said = d.speaking
		d.ended = max(0, d.ended-1)
	case Failed:
		d.ended = max(0, d.ended-1)
		h.Err = fmt.Errorf("%w: %s", ErrEngine, w.Error)
	}
	d.ear.tell(h)
}

// lose tells what went with the child; a caller who said nothing has lost nothing.
func (d *distant) lose(err error) {
	if d.child = nil; !d.said && d.ended == 0 {
		return
	}
	if d.speaking {
		d.ear.tell(Heard{Kind: Paused, To: d.ear.after(d.ear.ring.taken)})
	}
	for range max(1, d.ended) {
		d.ear.tell(Heard{Kind: Failed, Err: err, To: d.ear.after(d.ear.ring.taken)})
	}
	d.said, d.speaking, d.ended = false, false, 0
}

func (d *distant) frame(at int64, pcm []int16) {
	if d.child == nil {
		return
	}
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, headSize+8+2*len(pcm)), uint64(at))
	if !d.child.send(appendMessage(nil, kindSound, d.session, appendSamples(b, pcm))) {
		d.ear.ring.dropped.Add(1)
	}
}

func (d *distant) finish() {
	d.ended++
	if d.child == nil {
		d.lose(fmt.Errorf("%w: no child is ready", ErrEngine))
		return
	}
	d.child.order(appendMessage(nil, kindFinish, d.session))
}

func (d *distant) close() {
	d.local.leave(d)
	if d.child != nil {
		d.child.close(d.session)
	}
}

// speaker makes sound in a child.
func (l *local) speaker(cfg SayConfig) maker {
	return func(ctx context.Context, text string, rate int, put func([]int16) error) error {
		c, err := l.wait(ctx)
		if err != nil {
			return err
		}
		ended := make(chan error, 1)
		id := c.open(kindSay, sayWish{text, cfg.Language, cfg.Voice, rate}, func(m message) {
			if end, err := takeMade(m, put); end {
				select {
				case ended <- err:
				default: // it ended already
				}
			}
		})
		defer c.close(id)
		select {
		case err = <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-c.dead:
			return fmt.Errorf("%w: %w", ErrEngine, c.last())
		}
	}
}

// takeMade is a child's answer to kindSay; end says that no more comes.
func takeMade(m message, put func([]int16) error) (end bool, err error) {
	switch m.kind {
	case kindMade:
		err = put(samplesOf(m.body))
		return err != nil, err
	case kindEnded:
		var e wireEnd
		if err := json.Unmarshal(m.body, &e); err != nil {
			return true, fmt.Errorf("%w: %w", ErrEngine, err)
		}
		if e.Error != "" {
			return true, fmt.Errorf("%w: %s", ErrEngine, e.Error)
		}
		return true, nil
	}
	return true, fmt.Errorf("%w: a message of kind %d in place of sound", ErrEngine, m.kind)
}

// wait for a child that is being started.
func (l *local) wait(ctx context.Context) (*child, error) {
	limit := time.After(3 * time.Second)
	for {
		l.mu.Lock()
		c, why, change := l.child, l.why, l.change
		l.mu.Unlock()
		if c != nil && c.alive() {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit:
			return nil, fmt.Errorf("%w: %w", ErrEngine, cmp.Or(why, errStarting))
		case <-change:
		}
	}
}
