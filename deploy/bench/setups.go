package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const setupRate = 500 // calls a second

// setups: every call is INVITE, ACK, BYE from a number that was never heard of, at a fixed rate. The server finds or
// makes a contact, a conversation and a call for each before it answers.
func (b *bench) setups(ctx context.Context) error {
	if b.sip == "" {
		return fmt.Errorf("%w: no telephone line", errSkipped)
	}
	span := quickly(b, 10*time.Second, 4*time.Second)
	b.table.section(fmt.Sprintf("call set-ups: %d a second for %s", setupRate, span))
	t, err := newTrunk(b.sip, b.server != "")
	if err != nil {
		return err
	}
	defer t.close()
	ear, err := net.ListenUDP("udp4", &net.UDPAddr{IP: t.addr().Addr().AsSlice()}) // the greeting goes there and is not heard
	if err != nil {
		return err
	}
	defer ear.Close()
	before, err := b.callRows(ctx)
	if err != nil {
		return err
	}
	var (
		answered, whole times
		busy, failed    atomic.Int64
		first           atomic.Pointer[error]
		open            sync.WaitGroup
	)
	profiled := b.profiled(ctx, "setups", span)
	cpu := b.spent()
	began := time.Now()
	for n := range int(span.Seconds() * setupRate) {
		due := began.Add(time.Duration(n) * time.Second / setupRate)
		if d := time.Until(due); d > 0 {
			wait(ctx, d)
		}
		p := t.phone(b.number(), ear.LocalAddr().(*net.UDPAddr).AddrPort())
		open.Go(func() {
			limit, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			err := p.dial(limit)
			if err == nil {
				answered.add(time.Since(due))
				if err = p.hangUp(limit); err == nil {
					whole.add(time.Since(due))
				}
			}
			switch {
			case errors.Is(err, errBusy):
				busy.Add(1)
			case err != nil:
				failed.Add(1)
				first.CompareAndSwap(nil, &err)
			}
		})
	}
	open.Wait()
	took := time.Since(began)
	used := b.since(cpu)
	<-profiled
	b.table.row("whole calls (INVITE, 200, ACK, BYE, 200)", "%.0f calls/s   target 500/s", float64(whole.count())/took.Seconds())
	b.table.row("INVITE due -> 200", "%s", &answered)
	b.table.row("INVITE due -> BYE answered", "%s", &whole)
	b.table.row("refused as busy (503), failed, requests repeated, answers repeated", "%d, %d, %d, %d", busy.Load(), failed.Load(), t.again.Load(), t.repeated.Load())
	b.table.row("CPU meanwhile", "%s", used)
	b.table.row("memory (RSS)", "%.0f MB", b.rss("VmRSS"))
	if err := first.Load(); err != nil {
		b.table.note("first failure: %v", *err)
	}
	if err := b.callsEnded(ctx, before+answered.count()); err != nil {
		return err
	}
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d calls failed", n)
	}
	return nil
}

// number is one that was never heard of, also not by an earlier run on the same database.
func (b *bench) number() string {
	b.callers++
	return fmt.Sprintf("+49%05d%05d", b.area, b.callers)
}

func (b *bench) callRows(ctx context.Context) (n int, err error) {
	if b.rows == nil {
		return 0, nil
	}
	err = b.rows.QueryRow(ctx, `select count(*) from calls`).Scan(&n)
	return n, err
}

// callsEnded demands a row for each call that was answered, and that it has ended.
func (b *bench) callsEnded(ctx context.Context, want int) error {
	if b.rows == nil {
		return nil
	}
	var rows, running int
	for began := time.Now(); ; wait(ctx, 100*time.Millisecond) {
		if err := b.rows.QueryRow(ctx, `select count(*), count(*) filter (where state <> 'ended') from calls`).Scan(&rows, &running); err != nil {
			return err
		}
		if rows >= want && running == 0 {
			return nil
		}
		if time.Since(began) > 10*time.Second {
			return fmt.Errorf("%d answered calls have %d rows, %d of them still running", want, rows, running)
		}
	}
}
