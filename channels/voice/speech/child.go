package speech

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

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
	alives chan struct{}  // signs of life

	box     *blackBox
	buried  chan struct{}   // closed when the process is gone, and
	accused map[uint32]bool // these are the sessions that it was at work for

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
		if os.Getenv(servesVariable) != strconv.Itoa(os.Getpid()) { // else the child would be one more of the whole program
			return nil, errors.New("a program that wants local engines calls speech.Serve first, a test in its TestMain")
		}
		command = []string{self, childArgument}
	}
	c := &child{queue: make(chan []byte, backlog), dead: make(chan struct{}), buried: make(chan struct{}), sessions: map[uint32]func(message){}, alives: make(chan struct{}, 1)}
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Env = append(os.Environ(), childVariable+"=1", "GOMEMLIMIT=200MiB")
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said // native code prints on both
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.out = r
	if c.box, err = newBlackBox(); err == nil {
		c.cmd.ExtraFiles = []*os.File{w, c.box.file}
		if c.in, err = c.cmd.StdinPipe(); err == nil {
			err = c.cmd.Start()
		}
	}
	w.Close()
	if err != nil {
		r.Close()
		if c.box != nil {
			c.box.file.Close()
		}
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
	c.accused = c.box.accused()
	c.box.file.Close()
	close(c.buried)
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
		select {
		case c.alives <- struct{}{}:
		default:
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
		case kindAlive:
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

// watch returns when the child has given no sign of life. Where we ourselves come late, the machine is starved, and
// the child is not to blame.
func (c *child) watch(ctx context.Context, hang time.Duration) error {
	step := hang / 6
	tick := time.NewTicker(step)
	defer tick.Stop()
	heard, last := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.dead:
			return nil
		case <-c.alives:
			heard = time.Now()
		case <-tick.C:
			now := time.Now()
			if late := now.Sub(last) - step; late > step {
				heard = heard.Add(late)
			}
			if last = now; now.Sub(heard) > hang {
				return fmt.Errorf("the child gave no sign of life for %s", hang)
			}
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
