package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"
)

// talker is a caller's telephone: it speaks or is silent, packet by packet, and notes how loud each packet is that it hears.
type talker struct {
	line *line
	once sync.Once

	mu      sync.Mutex
	queue   [][]byte  // to be spoken
	noise   [][]byte  // while nothing is: again and again; nil: silence
	place   int       // in it
	from    time.Time // of what is being spoken: its first packet
	last    time.Time // and its last
	changed chan struct{}
	packets []packet
}

type packet struct {
	at     time.Time
	rms    float64
	filler bool
}

func newTalker() (*talker, error) {
	l, err := newLine(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		return nil, err
	}
	return &talker{line: l, changed: make(chan struct{})}, nil
}

func (c *talker) addr() netip.AddrPort { return c.line.addr() }

func (c *talker) close() { c.once.Do(func() { _ = c.line.conn.Close() }) }

// note does something under the lock and wakes who waits.
func (c *talker) note(do func()) {
	c.mu.Lock()
	do()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

// begin speaks and hears until ctx ends; without words there is silence, as of a telephone.
func (c *talker) begin(ctx context.Context, to netip.AddrPort) {
	c.line.remote.Store(&to)
	go c.hear()
	go func() {
		still := make([]byte, frameBytes)
		for i := range still {
			still[i] = 0xff // silence in mu-law
		}
		tick := time.NewTicker(frameTime)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			frame := still
			c.note(func() {
				if len(c.queue) == 0 {
					if len(c.noise) > 0 {
						frame, c.place = c.noise[c.place%len(c.noise)], c.place+1
					}
					return
				}
				frame, c.queue = c.queue[0], c.queue[1:]
				if c.last = time.Now(); c.from.IsZero() {
					c.from = c.last
				}
			})
			c.line.speak(frame)
		}
	}()
}

func (c *talker) hear() {
	buf, oob := make([]byte, 1500), make([]byte, oobSize)
	for {
		n, m, _, _, err := c.line.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		if n <= 12 || buf[0]>>6 != 2 || buf[1]&0x7f != 0 {
			continue
		}
		rms, crossings, before := 0.0, 0, 0
		for _, u := range buf[12:n] {
			v := linear(u)
			rms += float64(v) * float64(v)
			if (v < 0) != (before < 0) {
				crossings++
			}
			before = v
		}
		p := packet{at: time.Unix(0, arrival(oob[:m])), rms: math.Sqrt(rms / float64(n-12))}
		p.filler = crossings > (n-12)*2*(voiceTone+fillerTone)/2/8000
		c.note(func() { c.packets = append(c.packets, p) })
	}
}

// linear is G.711's mu-law.
func linear(u byte) int {
	u = ^u
	v := (int(u&0x0f)<<3 + 0x84) << (u >> 4 & 7)
	if u&0x80 != 0 {
		return 0x84 - v
	}
	return v - 0x84
}

// say begins the question and returns when its first packet goes out.
func (c *talker) say() time.Time {
	c.note(func() {
		c.from = time.Time{}
		for i := 0; i+frameBytes <= len(question); i += frameBytes {
			c.queue = append(c.queue, question[i:i+frameBytes])
		}
	})
	for {
		c.mu.Lock()
		from, changed := c.from, c.changed
		c.mu.Unlock()
		if !from.IsZero() {
			return from
		}
		<-changed
	}
}

// until waits for something to hold.
func (c *talker) until(ctx context.Context, ok func() bool) error {
	for {
		c.mu.Lock()
		done, changed := ok(), c.changed
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// spoken waits for the question's end and returns when it was: the last packet's last sample.
func (c *talker) spoken(ctx context.Context) (end time.Time, err error) {
	err = c.until(ctx, func() bool { end = c.last.Add(frameTime); return len(c.queue) == 0 })
	return end, err
}

// hears waits for the first loud packet after a time, which is no filler when those are counted apart.
func (c *talker) hears(ctx context.Context, after time.Time, fillers *times) (at time.Time, err error) {
	filled := false
	err = c.until(ctx, func() bool {
		for _, p := range c.packets {
			if p.at.Before(after) || p.rms < loud {
				continue
			}
			if p.filler && fillers != nil {
				if !filled {
					filled = true
					fillers.add(p.at.Sub(after))
				}
				continue
			}
			at = p.at
			return true
		}
		return false
	})
	c.note(func() { // what was heard before is over
		c.packets = append(c.packets[:0:0], c.packets[max(0, len(c.packets)-10):]...)
	})
	return at, err
}

// around sets what is heard from where the caller is while they say nothing.
func (c *talker) around(noise [][]byte) { c.note(func() { c.noise = noise }) }

// greeted waits for the greeting's end.
func (c *talker) greeted(ctx context.Context) error {
	if _, err := c.hears(ctx, time.Now(), nil); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := c.quiet(ctx, 900*time.Millisecond); err != nil {
		return fmt.Errorf("greeting's end: %w", err)
	}
	return nil
}

// quiet waits until nothing loud was heard for so long.
func (c *talker) quiet(ctx context.Context, span time.Duration) error {
	began := time.Now()
	return c.until(ctx, func() bool {
		for i := len(c.packets) - 1; i >= 0; i-- {
			if c.packets[i].rms >= loud {
				return time.Since(c.packets[i].at) >= span
			}
		}
		return time.Since(began) >= span
	})
}

// lastLoud is when the sound that goes on at began ended: its last loud packet within a time.
func (c *talker) lastLoud(began time.Time, within time.Duration) time.Time {
	time.Sleep(time.Until(began.Add(within)))
	c.mu.Lock()
	defer c.mu.Unlock()
	end := began
	for _, p := range c.packets {
		if p.rms >= loud && p.at.After(end) && p.at.Before(began.Add(within)) {
			end = p.at
		}
	}
	return end
}
