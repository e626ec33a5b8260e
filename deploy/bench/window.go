package main

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"
)

// window is one measurement of many calls.
type window struct {
	share, postgres, others float64 // per cent of a core: the server or relay, its Postgres, and whoever else works here
	span                    time.Duration
	ways                    [2]*heardBy
}

// callPackets is what a call brings in a second, both ways.
const callPackets = 100

// perPacket is the CPU time of one packet, in seconds: unlike a share it is the same when the generator was held up by
// others and sent less.
func (w window) perPacket() float64 {
	if n := w.ways[0].sent + w.ways[1].sent; n > 0 {
		return (w.share + w.postgres) / 100 * w.span.Seconds() / float64(n)
	}
	return 0
}

// window says what was used between two readings.
func (h *house) window(before, after usage) window {
	span := float64(after.at.Sub(before.at))
	server, postgres, bench := after.server-before.server, after.postgres-before.postgres, after.bench-before.bench
	return window{
		span:  after.at.Sub(before.at),
		share: 100 * float64(server) / span, postgres: 100 * float64(postgres) / span,
		others: max(0, 100*float64(after.machine-before.machine-server-postgres-bench)/span),
	}
}

// median of what all of them say.
func median[T cmp.Ordered](all []window, of func(window) T) T {
	values := make([]T, len(all))
	for i, w := range all {
		values[i] = of(w)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// windows prints the sum of losses and the medians of delays. The delays are from the sender's clock to the arrival at
// the receiver's socket.
func (t table) windows(what string, names []string, all []window) {
	for k, name := range names {
		var sent, heard int
		for _, w := range all {
			sent, heard = sent+w.ways[k].sent, heard+w.ways[k].heard
		}
		at := func(p float64) float64 {
			return median(all, func(w window) float64 { return ms(w.ways[k].delay.at(p)) })
		}
		t.row(what+", "+name, "loss %.3f %% (%d of %d)   delay p50 %.1f ms   p99 %.1f ms   max %.1f ms", 100*float64(sent-heard)/float64(max(1, sent)),
			sent-heard, sent, at(50), at(99), at(100))
	}
	t.row(what+", CPU", "%.0f %%, Postgres %.0f %%, others on this machine %.0f %%, of %d %% (median of %d)", median(all, func(w window) float64 { return w.share }),
		median(all, func(w window) float64 { return w.postgres }), median(all, func(w window) float64 { return w.others }), 100*runtime.NumCPU(), len(all))
}

const (
	calmShare = 40 // per cent of a core that others may take
	calmLimit = 5 * time.Second
)

// calm waits a while for the machine to be left to us.
func calm(ctx context.Context) {
	for began := time.Now(); time.Since(began) < calmLimit && ctx.Err() == nil; {
		before := (&house{}).spent()
		wait(ctx, time.Second)
		after := (&house{}).spent()
		if used := (after.machine - before.machine) - (after.bench - before.bench); 100*float64(used) < calmShare*float64(after.at.Sub(before.at)) {
			return
		}
	}
}
