package media

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	loudLeft  = 0x10 // µ-law bytes that are easily told apart
	loudRight = 0x30
)

// tape is a recorder under a clock that only runs when nothing else does.
type tape struct {
	*Recorder
	t    *testing.T
	path string
	leg  *Leg
}

// onTape runs f in a bubble with a recorder on a leg.
func onTape(t *testing.T, cfg RecorderConfig, f func(*tape)) {
	t.Helper()
	cfg.Path = filepath.Join(t.TempDir(), "call.wav")
	synctest.Test(t, func(t *testing.T) {
		r, err := NewRecorder(cfg)
		if err != nil {
			t.Fatal(err)
		}
		leg := NewLeg(LegConfig{Send: func([]byte) error { return nil }})
		leg.SetTap(r)
		f(&tape{r, t, cfg.Path, leg})
		leg.SetTap(nil)
		if _, err := r.Close(); err != nil && cfg.OnFail == nil {
			t.Error(err)
		}
	})
}

func loud(b byte) []byte { return bytes.Repeat([]byte{b}, FrameSamples) }

// hear has the caller say packet n of stream ssrc now.
func (r *tape) hear(ssrc uint32, n int) { r.hearAt(ssrc, n, uint32(n)*FrameSamples, false) }

func (r *tape) hearAt(ssrc uint32, n int, ts uint32, marker bool) {
	r.leg.Deliver(&Packet{SSRC: ssrc, Seq: uint16(n), TS: ts, Marker: marker, Payload: loud(loudLeft), Arrived: time.Now()})
}

// say has another leg's packet n relayed to the caller now.
func (r *tape) say(n int) {
	r.leg.Out().Write(&Packet{SSRC: 9, Seq: uint16(n), TS: uint32(n) * FrameSamples, Payload: loud(loudRight), Arrived: time.Now()})
}

// sides closes the recording and returns both sides; the file must be what the summary says.
func (r *tape) sides() (left, right []int16, s Summary) {
	r.t.Helper()
	s, err := r.Close()
	if err != nil {
		r.t.Fatal(err)
	}
	left, right = readSides(r.t, r.path, s, r.cfg.Rate)
	return left, right, s
}

func readSides(t testing.TB, path string, s Summary, rate int) (left, right []int16) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ReadWAV(b)
	if err != nil {
		t.Fatal(err)
	}
	if w.Channels != 2 || w.Rate != rate || int64(len(b)) != s.Bytes || sha256.Sum256(b) != s.SHA256 {
		t.Errorf("%d channels, %d Hz, %d bytes; summary %+v", w.Channels, w.Rate, len(b), s.Bytes)
	}
	if got := float64(len(w.Samples)/2) / float64(rate); got != s.Seconds {
		t.Errorf("%v s, summary says %v", got, s.Seconds)
	}
	if want := (len(w.Samples)/2*peaksPerSecond + rate - 1) / rate * 2; len(s.Peaks) != want {
		t.Errorf("%d peaks, want %d", len(s.Peaks), want)
	}
	for i := 0; i < len(w.Samples); i += 2 {
		left, right = append(left, w.Samples[i]), append(right, w.Samples[i+1])
	}
	return left, right
}

// spans is where there is sound, in milliseconds.
func spans(side []int16, rate int) (s []int) {
	on := false
	for i, v := range side {
		if (v != 0) != on {
			on = !on
			s = append(s, i*1000/rate)
		}
	}
	if on {
		s = append(s, len(side)*1000/rate)
	}
	return s
}

func TestRecorderPlacesByRTPTime(t *testing.T) {
	for name, c := range map[string]struct {
		play  func(r *tape)
		left  []int
		right []int
	}{
		"both sides": {func(r *tape) {
			time.Sleep(100 * time.Millisecond)
			for n := range 50 {
				r.hear(1, n)
				if n >= 10 {
					r.say(n)
				}
				time.Sleep(Frame)
			}
		}, []int{100, 1100}, []int{300, 1100}},
		"loss and jitter": {func(r *tape) {
			for n := range 50 {
				if n < 20 || n >= 25 {
					r.hear(1, n)
				}
				time.Sleep(Frame + time.Duration(n%2*2-1)*10*time.Millisecond)
			}
		}, []int{0, 400, 500, 1000}, nil},
		"a network that stops for 300 ms and sends all at once": {func(r *tape) {
			for n := range 50 {
				if n == 20 {
					time.Sleep(300 * time.Millisecond)
				}
				r.hear(1, n)
				if n < 20 || n >= 35 {
					time.Sleep(Frame)
				}
			}
			time.Sleep(500 * time.Millisecond)
		}, []int{0, 1000}, nil},
		"late and twice": {func(r *tape) {
			for _, n := range []int{0, 1, 3, 2, 3, 4} {
				time.Sleep(Frame)
				r.hear(1, n)
			}
			time.Sleep(Frame)
		}, []int{20, 120}, nil},
		"another source": {func(r *tape) {
			for n := range 10 {
				r.hear(1, n)
				time.Sleep(Frame)
			}
			time.Sleep(100 * time.Millisecond)
			for n := range 10 {
				r.hear(2, 5000+n)
				time.Sleep(Frame)
			}
		}, []int{0, 200, 300, 500}, nil},
		"a clock that stood still while nobody spoke": {func(r *tape) {
			for n := range 10 {
				r.hear(1, n)
				time.Sleep(Frame)
			}
			time.Sleep(time.Second)
			for n := range 10 {
				r.hearAt(1, 10+n, uint32(10+n)*FrameSamples, n == 0)
				time.Sleep(Frame)
			}
		}, []int{0, 200, 1200, 1400}, nil},
		"the same, and no marker tells": {func(r *tape) {
			n := 0
			talk := func() {
				for range 40 {
					r.hear(1, n)
					n++
					time.Sleep(Frame)
				}
			}
			talk()
			for _, pause := range []time.Duration{300, 600, 1500} {
				time.Sleep(pause * time.Millisecond)
				talk()
			}
		}, []int{0, 800, 1100, 1900, 2500, 3300, 4800, 5600}, nil},
		"music is silence, words are not": {func(r *tape) {
			pacer := NewPacer()
			r.leg.Out().pacer = pacer
			tick := func(n int) {
				for range n {
					r.leg.Out().tick(time.Now().UnixNano()/int64(Frame), time.Now())
					time.Sleep(Frame)
				}
			}
			r.leg.Play(Loop(Prompt(loud(loudRight))))
			tick(10)
			r.leg.Play(NewPlayer(Prompt(bytes.Repeat([]byte{loudRight}, 10*FrameSamples))))
			tick(10)
		}, nil, []int{200, 400}},
	} {
		t.Run(name, func(t *testing.T) {
			onTape(t, RecorderConfig{}, func(r *tape) {
				c.play(r)
				left, right, s := r.sides()
				if got := spans(left, Rate); !slices.Equal(got, c.left) {
					t.Errorf("left %v, want %v", got, c.left)
				}
				if got := spans(right, Rate); !slices.Equal(got, c.right) {
					t.Errorf("right %v, want %v", got, c.right)
				}
				if s.Gaps != 0 || len(s.Marks) != 0 {
					t.Errorf("%+v", s.Marks)
				}
			})
		})
	}
}

// TestRecorderCodecs: each codec at both rates lies where it belongs and sounds like itself; the agent's side changes its
// codec in mid-call.
func TestRecorderCodecs(t *testing.T) {
	for codec := PCMU; codec <= Opus; codec++ {
		for _, rate := range []int{Rate, wideRate} {
			if codec == Opus && !HasOpus() {
				continue
			}
			onTape(t, RecorderConfig{Rate: rate}, func(r *tape) {
				e, err := newEncoder(codec)
				if err != nil {
					t.Fatal(err)
				}
				r.leg.SetFormat(Format{Codec: codec})
				tone := make([]int16, codec.pcmRate()/framesPerSecond) // 500 Hz
				for i := range tone {
					tone[i] = int16(8000 * math.Sin(2*math.Pi*500*float64(i)/float64(codec.pcmRate())))
				}
				buf := make([]byte, MaxPacket)
				time.Sleep(100 * time.Millisecond)
				for n := range 100 {
					payload := buf[:e.encode(buf, tone, codec.pcmRate())]
					ts := uint32(n) * codec.frameTicks()
					r.leg.Deliver(&Packet{PayloadType: codecs[codec].static, SSRC: 1, Seq: uint16(n), TS: ts, Payload: payload, Arrived: time.Now()})
					if n < 50 {
						r.Said(codec, payload, ts, time.Now(), Mixed)
					} else {
						r.Said(PCMA, bytes.Repeat([]byte{0x80}, FrameSamples), uint32(n)*FrameSamples, time.Now(), Spoken)
					}
					time.Sleep(Frame)
				}
				left, right, _ := r.sides()
				for name, side := range map[string][]int16{"left": left, "right": right} {
					if loudness(side[:rate*90/1000]) != 0 {
						t.Errorf("%v at %d: %s: sound before the first packet", codec, rate, name)
					}
					if l := loudness(side[rate*200/1000 : rate]); l < 4500 || l > 6500 { // 8000/sqrt 2 = 5657
						t.Errorf("%v at %d: %s: loudness %.0f", codec, rate, name, l)
					}
				}
				if got := crossings(left[rate*200/1000 : rate*1200/1000]); got < 990 || got > 1010 {
					t.Errorf("%v at %d: %d crossings in a second of 500 Hz", codec, rate, got)
				}
				if l := loudness(right[rate*12/10 : rate*2]); l < 1000 {
					t.Errorf("%v at %d: the second codec: loudness %.0f", codec, rate, l)
				}
			})
		}
	}
}

func loudness(side []int16) float64 {
	sum := 0.0
	for _, s := range side {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(len(side)))
}

func crossings(side []int16) (n int) {
	for i := 1; i < len(side); i++ {
		if (side[i] < 0) != (side[i-1] < 0) {
			n++
		}
	}
	return n
}

// TestRecorderFollowsADriftingClock: a phone whose clock is 1 % fast or slow never strays further than 40 ms and a
// settling time.
func TestRecorderFollowsADriftingClock(t *testing.T) {
	for _, step := range []time.Duration{19800 * time.Microsecond, 20200 * time.Microsecond} {
		onTape(t, RecorderConfig{}, func(r *tape) {
			for n := range 1500 {
				r.hear(1, n)
				time.Sleep(step)
			}
			left, _, s := r.sides()
			got := spans(left, Rate)
			end := got[len(got)-1]
			if want := int(1000 * s.Seconds); end < want-80 || end > want {
				t.Errorf("step %v: sound ends at %d ms, the call at %d", step, end, want)
			}
		})
	}
}

// TestRecorderPause: no sound of a pause, none on its way into or out of one, and the clock goes on.
func TestRecorderPause(t *testing.T) {
	onTape(t, RecorderConfig{}, func(r *tape) {
		speak := func(from, to int) {
			for n := from; n < to; n++ {
				r.hear(1, n)
				r.say(n)
				time.Sleep(Frame)
			}
		}
		speak(0, 48)
		time.Sleep(2 * Frame)
		r.hear(1, 55) // of a sender whose clock is ahead: its place is in the pause
		r.Pause()
		r.Pause()
		speak(48, 80) // the first two have a place before it
		speak(90, 100)
		time.Sleep(200 * time.Millisecond)
		r.Resume()
		r.Resume()
		speak(80, 90) // held up by the network: said in the pause
		time.Sleep(100 * time.Millisecond)
		speak(117, 142)
		left, right, s := r.sides()
		want := []int{0, 960, 2340, 2840}
		if got := spans(left, Rate); !slices.Equal(got, want) {
			t.Errorf("left %v, want %v", got, want)
		}
		if got := spans(right, Rate); !slices.Equal(got, want) {
			t.Errorf("right %v, want %v", got, want)
		}
		if want := []Mark{{1, MarkPaused}, {2.34, MarkResumed}}; !slices.Equal(s.Marks, want) {
			t.Errorf("%v, want %v", s.Marks, want)
		}
		if again, err := r.Close(); err != nil || again.SHA256 != s.SHA256 {
			t.Error("the second Close says something else")
		}
	})
}

// TestRecorderGap: packets that come while the writer is held up longer than the ring lasts are a counted gap, and the
// sound after it lies where it belongs.
func TestRecorderGap(t *testing.T) {
	onTape(t, RecorderConfig{}, func(r *tape) {
		for n := range 400 { // 8 s before the writer's first step
			r.leg.Deliver(&Packet{Seq: uint16(n), TS: uint32(n) * FrameSamples, Payload: loud(loudLeft), Arrived: r.start.Add(time.Duration(n) * Frame)})
		}
		time.Sleep(8 * time.Second)
		for n := range 100 {
			r.hear(0, 400+n)
			time.Sleep(Frame)
		}
		left, _, s := r.sides()
		held := recordRing / (tapedSize + FrameSamples) * 20
		if got, want := spans(left, Rate), []int{0, held, 8000, 10000}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if want := []Mark{{float64(held) / 1000, MarkGap}}; s.Gaps != 1 || !slices.Equal(s.Marks, want) {
			t.Errorf("%d gaps, %v, want %v", s.Gaps, s.Marks, want)
		}
	})
}

// TestRecorderKilled: what a killed process leaves behind is made whole.
func TestRecorderKilled(t *testing.T) {
	if path := os.Getenv("RECORDER_TEST_PATH"); path != "" {
		recordUntilKilled(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "call.wav")
	cmd := exec.Command(os.Args[0], "-test.run=^TestRecorderKilled$")
	cmd.Env = append(os.Environ(), "RECORDER_TEST_PATH="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "recorded\n" {
		t.Errorf("child says %q, %v", line, err)
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte{1, 2, 3}) // the write that was cut
	_ = f.Close()
	s, err := Repair(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Bytes != int64(len(b)) || s.Seconds < 0.5 {
		t.Errorf("%d bytes, %v s; the child wrote %d", s.Bytes, s.Seconds, len(b))
	}
	left, right := readSides(t, path, s, Rate)
	if spans(left, Rate) == nil || spans(right, Rate) != nil {
		t.Error("not what the child recorded")
	}
	if s.Peaks[0] != level(int(-fromULaw[loudLeft])) || s.Peaks[1] != 0 {
		t.Errorf("peaks %v", s.Peaks[:2])
	}
	if again, err := Repair(path); err != nil || again.SHA256 != s.SHA256 || !slices.Equal(again.Peaks, s.Peaks) {
		t.Errorf("repaired twice: %v", err)
	}
}

func recordUntilKilled(t *testing.T, path string) {
	r, err := NewRecorder(RecorderConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint32(200) {
		r.Heard(&Packet{Seq: uint16(n), TS: n * FrameSamples, Payload: loud(loudLeft), Arrived: r.start.Add(time.Duration(n) * Frame)})
	}
	waitFor(t, func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() > 16000
	})
	fmt.Println("recorded")
	select {}
}

func TestRepairRefuses(t *testing.T) {
	dir := t.TempDir()
	mono := (&WAV{Rate: Rate, Channels: 1, Samples: make([]int16, 100)}).Encode()
	for name, b := range map[string][]byte{
		"empty": nil, "short": []byte("RIFF"), "mono": mono, "zeros": make([]byte, 4096), "text": bytes.Repeat([]byte("no sound "), 100),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Repair(path); !errors.Is(err, ErrNoRecording) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, b) {
			t.Errorf("%s: a file that is no recording was changed", name)
		}
	}
	if _, err := Repair(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzRepair(f *testing.F) {
	whole := (&WAV{Rate: Rate, Channels: 2, Samples: make([]int16, 1000)}).Encode()
	for _, b := range [][]byte{whole, whole[:1001], whole[:44], whole[:43], append(slices.Clone(whole), 1, 2, 3), nil} {
		f.Add(b)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, fmt.Sprint(os.Getpid()))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Repair(path)
		if err != nil {
			return
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := ReadWAV(after)
		if err != nil || w.Channels != 2 || int64(len(after)) != s.Bytes || len(w.Samples)*2+wavHeaderSize != len(after) {
			t.Errorf("%v: %d bytes", err, len(after))
		}
	})
}

func TestRecorderRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewRecorder(RecorderConfig{Path: filepath.Join(dir, "a.wav"), Rate: 44100}); err == nil {
		t.Error("44100 Hz taken")
	}
	path := filepath.Join(dir, "old.wav")
	if err := os.WriteFile(path, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewRecorder(RecorderConfig{Path: path}); !errors.Is(err, os.ErrExist) {
		t.Errorf("over an old recording: %v", err)
	}
}

// TestRecorderDiskFull: the call goes on, the owner hears of it once, and the file is as good as it can be.
func TestRecorderDiskFull(t *testing.T) {
	failed := make(chan error, 2)
	onTape(t, RecorderConfig{OnFail: func(err error) { failed <- err }}, func(r *tape) {
		for n := range 100 {
			r.hear(1, n)
			time.Sleep(Frame)
		}
		_ = r.file.f.Close() // the disk is gone
		for n := range 100 {
			r.hear(1, 100+n)
			time.Sleep(Frame)
		}
		if err := <-failed; !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		s, err := r.Close()
		if err == nil || len(failed) != 0 {
			t.Errorf("%v, told %d times more", err, len(failed))
		}
		if len(s.Marks) != 1 || s.Marks[0].What != MarkFailed || s.Seconds == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// BenchmarkRecorderTap is what the hot path pays for one packet.
func BenchmarkRecorderTap(b *testing.B) {
	r, err := NewRecorder(RecorderConfig{Path: filepath.Join(b.TempDir(), "call.wav")})
	if err != nil {
		b.Fatal(err)
	}
	p := &Packet{Payload: loud(loudLeft), Arrived: time.Now()}
	b.ReportAllocs()
	for n := uint32(0); b.Loop(); n++ {
		if n%200 == 0 { // the writer's part
			r.mu.Lock()
			r.ring = r.ring[:0]
			r.mu.Unlock()
		}
		p.Seq, p.TS = uint16(n), n*FrameSamples
		r.Heard(p)
	}
	if _, err := r.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCallsRecorded is 200 calls between two SIP legs each in real time for 10 s, through real sockets, the one who
// sends the packets included: the share of one core without and with a recording of each call.
func BenchmarkCallsRecorded(b *testing.B) {
	const calls, seconds = 200, 10
	for _, recorded := range []bool{false, true} {
		b.Run(fmt.Sprintf("recorded=%v", recorded), func(b *testing.B) {
			ports, dir := newPorts(b), b.TempDir()
			from := newPeer(b, ports)
			type call struct {
				caller, agent *UDPLeg
				recorder      *Recorder
			}
			for b.Loop() {
				var all []call
				for i := range calls {
					c := call{caller: newUDPLeg(b, Config{Ports: ports, Remote: Remote{Addr: from.addr}}),
						agent: newUDPLeg(b, Config{Ports: ports, Remote: Remote{Addr: from.addr}})}
					c.caller.SDPSent()
					c.agent.SDPSent()
					bridge(c.caller.Leg, c.agent.Leg)
					if recorded {
						var err error
						if c.recorder, err = NewRecorder(RecorderConfig{Path: filepath.Join(dir, fmt.Sprint(b.N, i, time.Now().UnixNano()))}); err != nil {
							b.Fatal(err)
						}
						c.caller.SetTap(c.recorder)
					}
					all = append(all, c)
				}
				before := cpuTime()
				frames := time.NewTicker(Frame)
				for n := range uint32(seconds * 50) {
					<-frames.C
					for i, c := range all {
						from.say(b, c.caller.LocalAddr(), TypePCMU, uint16(n), n*FrameSamples, uint32(i), loud(loudLeft))
						from.say(b, c.agent.LocalAddr(), TypePCMU, uint16(n), n*FrameSamples, uint32(i), loud(loudRight))
					}
				}
				frames.Stop()
				b.ReportMetric(float64(cpuTime()-before)/float64(seconds*time.Second)*100, "%core")
				lost := int64(0)
				for _, c := range all {
					lost += c.caller.Stats().Lost + c.agent.Stats().Lost
					if c.recorder != nil {
						if s, err := c.recorder.Close(); err != nil || s.Gaps != 0 {
							b.Fatal(err, s.Gaps)
						}
					}
					_ = c.caller.Close()
					_ = c.agent.Close()
				}
				b.ReportMetric(float64(lost)/(2*calls*seconds*50)*100, "%lost")
			}
		})
	}
}

// BenchmarkRecorders is 200 recordings of both sides in real time for 10 s: the share of one core, tap, decoding,
// writing and (apart) closing with the checksum.
func BenchmarkRecorders(b *testing.B) {
	const calls, seconds = 200, 10
	dir := b.TempDir()
	payload := loud(loudLeft)
	for b.Loop() {
		var recorders []*Recorder
		for i := range calls {
			r, err := NewRecorder(RecorderConfig{Path: filepath.Join(dir, fmt.Sprint(b.N, i, time.Now().UnixNano()))})
			if err != nil {
				b.Fatal(err)
			}
			recorders = append(recorders, r)
		}
		before := cpuTime()
		frames := time.NewTicker(Frame)
		p := &Packet{Payload: payload}
		for n := range uint32(seconds * 50) {
			now := <-frames.C
			p.Seq, p.TS, p.Arrived = uint16(n), n*FrameSamples, now
			for _, r := range recorders {
				r.Heard(p)
				r.Said(PCMU, payload, p.TS, now, Relayed)
			}
		}
		frames.Stop()
		run := cpuTime() - before
		for _, r := range recorders {
			if s, err := r.Close(); err != nil || s.Gaps != 0 {
				b.Fatal(err, s.Gaps)
			}
		}
		b.ReportMetric(float64(run)/float64(seconds*time.Second)*100, "%core")
		b.ReportMetric(float64(cpuTime()-before-run)/calls/1e6, "ms-close/call")
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
