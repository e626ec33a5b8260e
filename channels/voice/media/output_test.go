package media

import (
	"context"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// wire is what an output has sent.
type wire struct {
	pkts []rtp.Packet
	got  chan rtp.Packet // when set, also here
}

func (w *wire) send(b []byte) error {
	var p rtp.Packet
	if err := p.Unmarshal(append([]byte(nil), b...)); err != nil {
		return err
	}
	w.pkts = append(w.pkts, p)
	if w.got != nil {
		w.got <- p
	}
	return nil
}

func sound(ssrc uint32, seq uint16, ts uint32, at time.Time) *Packet {
	p := &Packet{SSRC: ssrc, Seq: seq, TS: ts, Arrived: at}
	p.Payload = p.buf[:FrameSamples]
	return p
}

func TestOutputKeepsOneStream(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Send: w.send})
	at := time.Unix(1000, 0)
	for i := range 3 {
		o.Write(sound(1, 65534+uint16(i), 1000+uint32(i)*160, at))
		at = at.Add(Frame)
	}
	at = at.Add(time.Second) // the agent takes a second to come
	o.Write(sound(2, 9, 50, at))
	o.Write(sound(2, 11, 370, at.Add(2*Frame))) // one lost
	o.Write(sound(2, 10, 210, at.Add(2*Frame))) // and late
	o.Write(sound(2, 8, 0, at.Add(2*Frame)))    // from before it took over: its place is taken
	if len(w.pkts) != 6 {
		t.Fatalf("%d packets", len(w.pkts))
	}
	first := w.pkts[0]
	wantSeq := []uint16{0, 1, 2, 3, 5, 4}
	wantTS := []uint32{0, 160, 320, 320 + 8160, 8480 + 320, 8480 + 160}
	for i, p := range w.pkts {
		if p.SSRC != o.SSRC() {
			t.Errorf("packet %d: another SSRC", i)
		}
		if p.SequenceNumber-first.SequenceNumber != wantSeq[i] || p.Timestamp-first.Timestamp != wantTS[i] {
			t.Errorf("packet %d: seq +%d, ts +%d; want %d, %d", i, p.SequenceNumber-first.SequenceNumber, p.Timestamp-first.Timestamp, wantSeq[i], wantTS[i])
		}
		if p.Marker != (i == 0 || i == 3) {
			t.Errorf("packet %d: marker %v", i, p.Marker)
		}
	}
}

func TestOutputChangesLawAndEventType(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Format: Format{Codec: PCMA, Events: 96}, Send: w.send})
	p := sound(1, 1, 160, time.Unix(1000, 0))
	for i := range p.Payload {
		p.Payload[i] = byte(i)
	}
	o.Write(p)
	e := sound(1, 2, 320, time.Unix(1000, 0))
	e.PayloadType, e.Event, e.Marker, e.Payload = 101, true, true, e.Payload[:4]
	o.Write(e)
	if len(w.pkts) != 2 || w.pkts[0].PayloadType != TypePCMA || w.pkts[1].PayloadType != 96 || !w.pkts[1].Marker {
		t.Fatalf("%+v", w.pkts)
	}
	for i, b := range w.pkts[0].Payload {
		if b != EncodeALaw(decodeULaw(byte(i))) {
			t.Fatalf("sample %d", i)
		}
	}
}

func TestOutputWithoutEventsLeavesNoHole(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Send: w.send})
	at := time.Unix(1000, 0)
	o.Write(sound(1, 1, 0, at))
	for i := range uint16(3) {
		e := sound(1, 2+i, 160, at)
		e.Event = true
		o.Write(e)
	}
	o.Write(sound(1, 5, 640, at))
	if len(w.pkts) != 2 || w.pkts[1].SequenceNumber-w.pkts[0].SequenceNumber != 1 {
		t.Fatalf("%+v", w.pkts)
	}
	if err := o.SendDTMF('1', 0); err != ErrNoEvents {
		t.Error(err)
	}
}

// ticks runs n frames of a pacer without its clock.
func ticks(o *Output, from int64, n int, at time.Time) (more bool) {
	for i := range n {
		more = o.tick(from+int64(i), at.Add(time.Duration(i)*Frame))
	}
	return more
}

func TestPlayer(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Pacer: NewPacer(), Send: w.send})
	at := time.Unix(1000, 0)
	o.Write(sound(1, 1, 0, at))
	p := o.Play(NewPlayer(make(Prompt, 200), make(Prompt, 200)))
	o.Write(sound(1, 2, 160, at.Add(Frame))) // silenced
	if !ticks(o, 100, 3, at.Add(2*Frame)) || ticks(o, 103, 1, at.Add(5*Frame)) {
		t.Error("the pacer must be needed for three frames and let go after")
	}
	select {
	case <-p.Done():
	default:
		t.Fatal("not done")
	}
	if !p.Finished() || p.Played() != 50*time.Millisecond {
		t.Errorf("finished %v, played %v", p.Finished(), p.Played())
	}
	o.Write(sound(1, 9, 1280, at.Add(6*Frame)))
	if len(w.pkts) != 5 {
		t.Fatalf("%d packets", len(w.pkts))
	}
	for i, ts := range []uint32{0, 320, 480, 640, 960} {
		q := w.pkts[i]
		if q.SequenceNumber-w.pkts[0].SequenceNumber != uint16(i) || q.Timestamp-w.pkts[0].Timestamp != ts || q.Marker != (i == 0 || i == 1 || i == 4) {
			t.Errorf("packet %d: %v", i, q.Header)
		}
	}
	if tail := w.pkts[3].Payload; tail[79] != 0 || tail[80] != ULawSilence || len(tail) != 160 {
		t.Error("the last frame must be padded with silence")
	}
}

func TestPlayerInterrupted(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Pacer: NewPacer(), Send: w.send})
	at := time.Unix(1000, 0)
	music := o.Play(Loop(Silence()))
	ticks(o, 1, 10, at)
	words := o.Play(NewPlayer(make(Prompt, 8000)))
	select {
	case <-music.Done():
	default:
		t.Fatal("not done")
	}
	if music.Finished() || music.Played() != 200*time.Millisecond {
		t.Errorf("finished %v, played %v", music.Finished(), music.Played())
	}
	ticks(o, 11, 2, at.Add(10*Frame))
	o.tick(15, at.Add(14*Frame)) // two frames skipped by a late pacer
	if d := w.pkts[12].Timestamp - w.pkts[11].Timestamp; d != 3*160 || w.pkts[12].SequenceNumber-w.pkts[11].SequenceNumber != 1 {
		t.Errorf("after a skip ts +%d", d)
	}
	o.Play(words) // used: nothing happens
	if words.Finished() {
		t.Error("finished")
	}
	o.close()
	<-words.Done()
	if words.Finished() || words.Played() != 60*time.Millisecond {
		t.Errorf("finished %v, played %v", words.Finished(), words.Played())
	}
	<-o.Play(NewPlayer(make(Prompt, 8000))).Done() // a closed output ends it at once
	<-o.Play(Loop(nil)).Done()
}

func TestSendDTMF(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Format: Format{Events: 101}, Pacer: NewPacer(), Send: w.send})
	at := time.Unix(1000, 0)
	o.Write(sound(1, 1, 0, at))
	if err := o.SendDTMF('5', 60*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := o.SendDTMF('#', 60*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := o.SendDTMF('x', 0); err == nil {
		t.Error("x is no key")
	}
	for i := range 16 {
		now := at.Add(time.Duration(i+1) * Frame)
		more := o.tick(int64(i), now)
		if want := i < 11; more != want {
			t.Errorf("frame %d: more %v", i, more)
		}
		o.Write(sound(1, uint16(i+2), uint32(i+1)*160, now)) // the agent goes on speaking
	}
	var events, audio []rtp.Packet
	for i, p := range w.pkts {
		if p.SequenceNumber-w.pkts[0].SequenceNumber != uint16(i) {
			t.Errorf("packet %d: seq +%d", i, p.SequenceNumber-w.pkts[0].SequenceNumber)
		}
		if i > 0 && int32(p.Timestamp-w.pkts[i-1].Timestamp) < 0 {
			t.Errorf("packet %d: clock goes back", i)
		}
		if p.PayloadType == 101 {
			events = append(events, p)
		} else {
			audio = append(audio, p)
			if d := p.Timestamp - w.pkts[0].Timestamp; d%160 != 0 {
				t.Errorf("packet %d: sound has lost its clock: +%d", i, d)
			}
		}
	}
	if len(events) != 10 {
		t.Fatalf("%d event packets", len(events))
	}
	for k, code := range []byte{5, 11} {
		for i, e := range events[k*5 : k*5+5] {
			duration := binary.BigEndian.Uint16(e.Payload[2:])
			if e.Payload[0] != code || duration != uint16(min(i+1, 3)*160) || e.Payload[1]&0x80 != 0 != (i >= 2) ||
				e.Marker != (i == 0) || e.Timestamp != events[k*5].Timestamp {
				t.Errorf("key %d packet %d: %v % x", k, i, e.Header, e.Payload)
			}
		}
	}
	if events[0].Timestamp-w.pkts[0].Timestamp != 160 || len(audio) != 9 {
		t.Errorf("key began at +%d, %d packets of sound", events[0].Timestamp-w.pkts[0].Timestamp, len(audio))
	}
}

// TestPacer runs the real clock: three players on three legs, one of them ended early.
func TestPacer(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	pacer, ended := NewPacer(), make(chan error, 1)
	go func() { ended <- pacer.Run(ctx) }()
	var outs [3]*Output
	var players [3]*Player
	var wires [3]wire
	for i := range outs {
		wires[i].got = make(chan rtp.Packet, 100)
		outs[i] = newOutput(LegConfig{Pacer: pacer, Send: wires[i].send})
		players[i] = outs[i].Play(NewPlayer(make(Prompt, 160*(5+i))))
	}
	start := time.Now()
	<-wires[2].got
	outs[2].Play(nil)
	for i, p := range players {
		<-p.Done()
		if p.Finished() != (i < 2) {
			t.Errorf("player %d: finished %v", i, p.Finished())
		}
	}
	if d := time.Since(start); d < 90*time.Millisecond {
		t.Errorf("six frames in %v: a burst", d)
	}
	if n := len(wires[0].got); n != 5 {
		t.Errorf("%d packets of 5", n)
	}
	again := outs[0].Play(NewPlayer(make(Prompt, 160))) // from idle
	<-again.Done()
	cancel()
	<-ended
}

// TestStream: what is made while it is played goes out frame by frame, late frames are silence that is not counted, and
// the end and a failure are told apart.
func TestStream(t *testing.T) {
	for _, codec := range []Codec{PCMU, PCMA, G722} {
		var w wire
		o := newOutput(LegConfig{Format: Format{Codec: codec}, Send: w.send})
		frames := 0
		ended := io.EOF
		read := func(pcm []int16) (int, error) {
			switch frames++; frames {
			case 2:
				return 0, nil // not made yet
			case 4:
				return 0, ended
			}
			for i := range pcm {
				pcm[i] = 4000
			}
			return len(pcm), nil
		}
		p := o.Play(Stream(2*Rate, read))
		for f := range int64(5) {
			o.tick(f, time.Unix(0, 0).Add(time.Duration(f)*Frame))
		}
		if len(w.pkts) != 3 || p.Played() != 2*Frame || !p.Finished() {
			t.Fatalf("%s: %d packets, played %s, finished %v", codec, len(w.pkts), p.Played(), p.Finished())
		}
		for i, pkt := range w.pkts {
			if pkt.Timestamp-w.pkts[0].Timestamp != uint32(i)*160 || len(pkt.Payload) != 160 {
				t.Errorf("%s: packet %d at %d, %d bytes", codec, i, pkt.Timestamp-w.pkts[0].Timestamp, len(pkt.Payload))
			}
		}
		frames, ended = 0, io.ErrUnexpectedEOF
		p = o.Play(Stream(Rate, read))
		for f := range int64(5) {
			o.tick(10+f, time.Unix(1, 0).Add(time.Duration(f)*Frame))
		}
		select {
		case <-p.Done():
		default:
			t.Fatal("a stream that failed goes on")
		}
		if p.Finished() {
			t.Error("a stream that failed has not finished")
		}
	}
}
