package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
)

// The responder on the phone: callers who speak, and hear when it begins to answer. Their question is a recording of 2.4 s
// (question.ulaw: Debian's flite, voice rms, "What are your opening hours on Saturday?", 8 kHz mu-law); what they hear is
// judged by its loudness, packet by packet, with the kernel's time. Model and engines take fixed times, so that what is
// above them is the house's. With MODELS=folder (deploy/models.sh speech prints it) the server's own engines hear and speak instead.
//
//go:embed question.ulaw
var question []byte

const (
	modelFirst = 150 * time.Millisecond // the scripted model's first token while this part runs
	modelToken = 10 * time.Millisecond
	earTime    = 120 * time.Millisecond // the scripted recogniser
	voiceTime  = 80 * time.Millisecond  // the scripted voice's first sound
	voiceRate  = 24000                  // as OpenAI's
	letterTime = 40 * time.Millisecond  // of its speech
	fillerTone = 900                    // Hz, of "one moment"; all else is voiceTone
	voiceTone  = 400

	heardText   = "What are your opening hours on Saturday?"
	loud        = 300 // RMS of a packet that is speech; comfort noise and silence are far below
	turnsEach   = 6   // of a caller; every other answer is interrupted
	talkTarget  = 1500 * time.Millisecond
	ownTarget   = 150 * time.Millisecond
	quietTarget = 200 * time.Millisecond
)

// responder measures voice to voice with more and more calls at once.
func (b *bench) responder(ctx context.Context) error {
	b.table.section("the responder on the phone")
	if b.sip == "" || b.rows == nil || b.child == nil {
		return fmt.Errorf("%w: it needs a server of its own with a telephone line", errSkipped)
	}
	if realEngines() {
		b.table.note("with the server's own engines; model %v to the first token, %v a token", modelFirst, modelToken)
	} else {
		b.table.note("recogniser %v, model %v to the first token and %v a token, voice %v to its first sound", earTime, modelFirst, modelToken, voiceTime)
	}
	b.pace.set(modelFirst, modelToken)
	defer b.pace.set(0, 0)
	if err := b.enginesReady(ctx); err != nil {
		return err
	}
	t, err := newTrunk(b.sip, true)
	if err != nil {
		return err
	}
	defer t.close()
	if b.leak > 0 {
		return b.leaks(ctx, t)
	}
	idle := b.rss("VmRSS")
	most := 0
	for _, n := range quickly(b, []int{1, 4, 8, 16, 32}, []int{1, 4}) {
		good, err := b.talkers(ctx, t, n, idle)
		if err != nil {
			return err
		}
		if !good {
			break
		}
		most = n
	}
	b.table.row("calls at once with voice to voice p95 in time", "%d   target p95 < %.1f s", most, talkTarget.Seconds())
	return b.disturbances(ctx, t)
}

// talkers lets n callers talk at once; good: all were served, and in time.
func (b *bench) talkers(ctx context.Context, t *trunk, n int, idle float64) (good bool, err error) {
	began, cpu := time.Now(), b.spent()
	var answer, silence, filler times
	var failed atomic.Int64
	var first atomic.Pointer[error]
	var open sync.WaitGroup
	fillers, again := &filler, 1
	if realEngines() {
		fillers = nil
	}
	if n == 1 {
		again = quickly(b, 4, 1) // one call's turns are too few for a p95
	}
	for i := range n {
		number := b.number()
		open.Go(func() {
			wait(ctx, time.Duration(i)*300*time.Millisecond)
			for range again {
				limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
				if err := talkOnce(limit, t, number, &answer, &silence, fillers); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
				cancel()
			}
		})
	}
	memory := make(chan float64, 1)
	over := make(chan struct{})
	go func() { // in the middle, when all talk
		half := time.NewTimer(time.Duration(n)*300*time.Millisecond + 10*time.Second)
		defer half.Stop()
		select {
		case <-half.C:
		case <-over:
		}
		memory <- b.rss("VmRSS")
	}()
	open.Wait()
	close(over)
	calls := fmt.Sprintf("%d at once: ", n)
	b.table.row(calls+"voice to voice, heard by the caller", "p50 %.0f ms   p95 %.0f ms   (%d)", ms(answer.at(50)), ms(answer.at(95)), answer.count())
	if err := b.parts95(ctx, calls, began); err != nil {
		return false, err
	}
	b.table.row(calls+"interruption to silence", "p50 %.0f ms   p95 %.0f ms   (%d)   target p95 < %.0f ms", ms(silence.at(50)), ms(silence.at(95)), silence.count(), ms(quietTarget))
	used := b.spent()
	b.table.row(calls+"CPU per call: server, what hears and speaks; memory per call", "%.1f %% and %.1f %% of a core, %.1f MB",
		used.serverSince(cpu)/float64(n), used.speechSince(cpu)/float64(n), max(0, (<-memory)-idle)/float64(n))
	if realEngines() {
		if err := b.wrongWords(ctx, calls, began); err != nil {
			return false, err
		}
	}
	var refused int
	if err := b.rows.QueryRow(ctx, `select count(*) from promises where source = 'busy' and opened_at >= $1`, began).Scan(&refused); err != nil {
		return false, err
	}
	b.table.row(calls+"sent to people at once for want of a place, failed, fillers heard", "%d, %d, %d", refused, failed.Load(), filler.count())
	if err := first.Load(); err != nil {
		b.table.note("first failure: %v", *err)
	}
	if failed.Load() > 0 && n == 1 {
		return false, errors.New("a lone caller was not answered")
	}
	return failed.Load() == 0 && refused == 0 && answer.at(95) <= talkTarget, nil
}

// wrongWords says how the server heard the callers' question.
func (b *bench) wrongWords(ctx context.Context, calls string, since time.Time) error {
	rows, err := b.rows.Query(ctx, `select body from messages where author = 'contact' and channel = 'voice' and kind = 'text' and at >= $1`, since)
	if err != nil {
		return err
	}
	heard, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	wrong, said := 0, strings.Fields(plain(heardText))
	for _, text := range heard {
		wrong += distance(said, strings.Fields(plain(text)))
	}
	b.table.row(calls+"wrong words of the question, as the server heard it", "%.1f %%   (%d times)", 100*float64(wrong)/float64(max(1, len(heard)*len(said))), len(heard))
	return nil
}

// plain is a text without case and stops.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPunct(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// distance is how many words must be changed, added or left out (Levenshtein).
func distance(a, b []string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		before := row[0]
		row[0] = i + 1
		for j, y := range b {
			change := before
			if x != y {
				change++
			}
			before, row[j+1] = row[j+1], min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// parts95 are the stages that the server has stored since then.
func (b *bench) parts95(ctx context.Context, calls string, since time.Time) error {
	rows, err := b.rows.Query(ctx, `select s.stage, round(percentile_cont(0.5) within group (order by s.took))::int, round(percentile_cont(0.95) within group (order by s.took))::int
		from call_turns t, unnest(array['  end of the turn', '  final text', '  stored', '  first token', '  first sentence', '  first sound', '  our own code''s share'],
			array[turn_end_ms, final_text_ms - turn_end_ms, stored_ms - final_text_ms, first_token_ms - stored_ms, first_sentence_ms - first_token_ms,
			first_audio_ms - first_sentence_ms, own_ms]) with ordinality as s (stage, took, place)
		where t.at >= $1 group by s.stage, s.place order by s.place`, since)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var stage string
		var half, most int
		if err := rows.Scan(&stage, &half, &most); err != nil {
			return err
		}
		target := ""
		if strings.Contains(stage, "own") {
			target = fmt.Sprintf("   target p95 < %.0f ms", ms(ownTarget))
		}
		b.table.row(calls+stage, "p50 %d ms   p95 %d ms%s", half, most, target)
	}
	return rows.Err()
}

// talkOnce is one call: greeting, then question after question, every other answer interrupted by the next one. With real
// engines nobody can tell a filler from an answer by its tone: filler is nil then.
func talkOnce(ctx context.Context, t *trunk, number string, answer, silence, filler *times) error {
	return talking(ctx, t, number, func(ctx context.Context, c *talker) error {
		if err := c.greeted(ctx); err != nil {
			return err
		}
		for turn := range turnsEach {
			if turn%2 == 1 { // into the answer before
				began := c.say()
				end := c.lastLoud(began.Add(letterTime), time.Second)
				silence.add(max(0, end.Sub(began)))
			} else {
				c.say()
			}
			spoken, err := c.spoken(ctx)
			if err != nil {
				return err
			}
			at, err := c.hears(ctx, spoken.Add(50*time.Millisecond), filler)
			if err != nil {
				return fmt.Errorf("answer %d: %w", turn+1, err)
			}
			answer.add(at.Sub(spoken))
			if turn%2 == 0 {
				wait(ctx, 400*time.Millisecond) // the next turn interrupts this answer
				continue
			}
			if err := c.quiet(ctx, 600*time.Millisecond); err != nil {
				return fmt.Errorf("answer's end: %w", err)
			}
		}
		return nil
	})
}

// talking is a call whose caller does something; then they hang up.
func talking(ctx context.Context, t *trunk, number string, do func(ctx context.Context, c *talker) error) error {
	c, err := newTalker()
	if err != nil {
		return err
	}
	defer c.close()
	p := t.phone(number, c.addr())
	if err := p.dial(ctx); err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		_ = p.hangUp(end)
		cancel()
	}()
	ctx, hungUp := context.WithCancelCause(ctx)
	defer hungUp(nil)
	context.AfterFunc(ctx, c.close)
	go func() {
		select {
		case <-p.ended:
			hungUp(errors.New("the server hung up"))
		case <-ctx.Done():
		}
	}()
	c.begin(ctx, p.remote)
	return do(ctx, c)
}
