package sipleg

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/time/rate"
)

// quiet is the log that sipgo gets: what it calls info is debug for us, broken packets are sampled and come without
// their data, which are other people's words.
type quiet struct {
	slog.Handler
	limit *rate.Limiter
}

func newQuiet(h slog.Handler) slog.Handler {
	return quiet{h, rate.NewLimiter(rate.Every(time.Second), 5)}
}

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if !q.Handler.Enabled(ctx, slog.LevelWarn) || !q.limit.Allow() {
		return nil
	}
	out := slog.NewRecord(r.Time, min(r.Level, slog.LevelWarn), "sipgo: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if text := a.Value.String(); a.Key != "data" && a.Key != "req" && len(text) < 200 {
			out.AddAttrs(slog.String(a.Key, strconv.QuoteToASCII(text)))
		}
		return true
	})
	return q.Handler.Handle(ctx, out)
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a), q.limit} }
func (q quiet) WithGroup(n string) slog.Handler      { return quiet{q.Handler.WithGroup(n), q.limit} }
