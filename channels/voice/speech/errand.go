package speech

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// An errand is one piece of work for a child: sound to be understood, or a text to be spoken. It is done by the next one when the child
// dies, as long as nothing of it has been given away, and not with a third that its work would kill.

// errand has work done, which begins a session, waits for its end and returns its number. Other errors than a dead child end it.
func (l *local) errand(ctx context.Context, work func(c *child) (uint32, error), again func() bool) error {
	var lost losses
	for {
		c, err := l.wait(ctx)
		if err != nil {
			return err
		}
		session, err := work(c)
		if err == nil || ctx.Err() != nil || c.alive() {
			return err
		}
		select {
		case <-c.buried:
		case <-ctx.Done():
			return err
		}
		if lost.children++; c.accused[session] {
			lost.thinking++
		}
		if lost.thinking >= mostThinking || lost.children >= mostChildren || !again() {
			return err
		}
	}
}

// transcribe has a piece of speech heard by a child, for an Ear whose own engine has failed.
func (l *local) transcribe(ctx context.Context, cfg HearConfig, pcm []int16) (t transcript, err error) {
	err = l.errand(ctx, func(c *child) (uint32, error) {
		ended := newOutcomes()
		id := c.open(kindHear, wireHear{HearConfig: cfg}, func(m message) {
			if w, err := readHeard(m); err != nil || w.Kind == Failed || w.Kind == Final {
				if err == nil && w.Kind == Failed {
					err = fmt.Errorf("%w: %s", ErrEngine, w.Error)
				}
				ended.put(w, err)
			}
		})
		defer c.close(id)
		for at := 0; at < len(pcm); at += slotSize {
			part := pcm[at:min(at+slotSize, len(pcm))]
			c.order(appendMessage(nil, kindSound, id, binary.LittleEndian.AppendUint64(nil, uint64(at)), appendSamples(nil, part)))
		}
		c.order(appendMessage(nil, kindFinish, id))
		w, err := ended.wait(ctx, c)
		t = transcript{text: w.Text, confidence: w.Confidence, words: w.Words}
		return id, err
	}, func() bool { return true })
	return t, err
}

// say makes sound in a child.
func (l *local) say(ctx context.Context, cfg SayConfig, text string, rate int, put func([]int16) error) error {
	var sounded atomic.Bool // by the goroutine that reads
	return l.errand(ctx, func(c *child) (uint32, error) {
		ended := newOutcomes()
		id := c.open(kindSay, sayWish{text, cfg.Language, cfg.Voice, rate}, func(m message) {
			if m.kind == kindMade {
				sounded.Store(true)
			}
			if end, err := takeMade(m, put); end {
				ended.put(wireHeard{}, err)
			}
		})
		defer c.close(id)
		_, err := ended.wait(ctx, c)
		return id, err
	}, func() bool { return !sounded.Load() })
}

// outcome is how a session with a child ended.
type outcome struct {
	heard wireHeard
	err   error
}

// outcomes holds one; what comes after it is dropped.
type outcomes chan outcome

func newOutcomes() outcomes { return make(outcomes, 1) }

func (o outcomes) put(heard wireHeard, err error) {
	select {
	case o <- outcome{heard, err}:
	default:
	}
}

func (o outcomes) wait(ctx context.Context, c *child) (wireHeard, error) {
	select {
	case is := <-o:
		return is.heard, is.err
	case <-ctx.Done():
		return wireHeard{}, ctx.Err()
	case <-c.dead:
		return wireHeard{}, fmt.Errorf("%w: %w", ErrEngine, c.last())
	}
}

// takeMade is a child's answer to kindSay; end says that no more comes.
func takeMade(m message, put func([]int16) error) (end bool, err error) {
	switch m.kind {
	case kindMade:
		pcm := samplesOf(m.body)
		if len(m.body) == 0 {
			pcm = nil // a breath is complete
		}
		err = put(pcm)
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
	limit := time.After(nextChild)
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
