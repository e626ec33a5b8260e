package main

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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

// serveSpeech runs engines that speak OpenAI's audio API in fixed times, until ctx ends.
func serveSpeech(ctx context.Context) (root string, err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/audio/transcriptions", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		wait(r.Context(), earTime)
		_ = json.NewEncoder(w).Encode(map[string]any{"text": heardText})
	})
	mux.HandleFunc("POST /v1/audio/speech", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Input string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		tone := voiceTone
		if strings.Contains(strings.ToLower(in.Input), "moment") {
			tone = fillerTone
		}
		wait(r.Context(), voiceTime)
		sound := make([]byte, 2*int(letterTime.Seconds()*voiceRate*float64(len(in.Input))))
		for i := 0; i+1 < len(sound); i += 2 {
			v := 8000 * math.Sin(2*math.Pi*float64(tone)*float64(i/2)/voiceRate)
			binary.LittleEndian.PutUint16(sound[i:], uint16(int16(v)))
		}
		_, _ = w.Write(sound)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("scripted engines: %w", err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(l) }()
	return "http://" + l.Addr().String() + "/v1", nil
}

// engines are the server's settings for this part.
func (b *bench) engines(ctx context.Context) error {
	if models := os.Getenv("MODELS"); models != "" {
		b.env = append(b.env, "PATCHBAY_SPEECH_MODELS="+models)
		return nil
	}
	root, err := serveSpeech(ctx)
	if err != nil {
		return err
	}
	b.env = append(b.env, "PATCHBAY_SPEECH_REMOTE_URL="+root, "PATCHBAY_SPEECH_REMOTE_HEAR_MODEL=ear", "PATCHBAY_SPEECH_REMOTE_SAY_MODEL=mouth",
		"PATCHBAY_SPEECH_REMOTE_VOICE=bench", fmt.Sprintf("PATCHBAY_SPEECH_REMOTE_RATE=%d", voiceRate))
	return nil
}

// responder measures voice to voice with more and more calls at once.
func (b *bench) responder(ctx context.Context) error {
	b.table.section("the responder on the phone")
	if b.sip == "" || b.rows == nil || b.child == nil {
		return fmt.Errorf("%w: it needs a server of its own with a telephone line", errSkipped)
	}
	if os.Getenv("MODELS") != "" {
		b.table.note("with the server's own engines; model %v to the first token, %v a token", modelFirst, modelToken)
	} else {
		b.table.note("recogniser %v, model %v to the first token and %v a token, voice %v to its first sound", earTime, modelFirst, modelToken, voiceTime)
	}
	b.pace.set(modelFirst, modelToken)
	defer b.pace.set(0, 0)
	t, err := newTrunk(b.sip, true)
	if err != nil {
		return err
	}
	defer t.close()
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
	return nil
}

// talkers lets n callers talk at once; good: all were served, and in time.
func (b *bench) talkers(ctx context.Context, t *trunk, n int, idle float64) (good bool, err error) {
	began, cpu := time.Now(), b.spent()
	var answer, silence, filler times
	var failed atomic.Int64
	var first atomic.Pointer[error]
	var open sync.WaitGroup
	for i := range n {
		number := b.number()
		open.Go(func() {
			wait(ctx, time.Duration(i)*300*time.Millisecond)
			limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			if err := talkOnce(limit, t, number, &answer, &silence, &filler); err != nil {
				failed.Add(1)
				first.CompareAndSwap(nil, &err)
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
	b.table.row(calls+"CPU of the server per call, memory per call", "%.1f %% of a core, %.1f MB", used.serverSince(cpu)/float64(n), max(0, (<-memory)-idle)/float64(n))
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

// talkOnce is one call: greeting, then question after question, every other answer interrupted by the next one.
func talkOnce(ctx context.Context, t *trunk, number string, answer, silence, filler *times) error {
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
	if _, err := c.hears(ctx, time.Now(), nil); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := c.quiet(ctx, 900*time.Millisecond); err != nil {
		return fmt.Errorf("greeting's end: %w", err)
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
}

// talker is a caller's telephone: it speaks or is silent, packet by packet, and notes how loud each packet is that it hears.
type talker struct {
	line *line
	once sync.Once

	mu      sync.Mutex
	queue   [][]byte  // to be spoken
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
