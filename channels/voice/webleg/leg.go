package webleg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"patchbay/channels/voice/media"
)

// Event is what happens to a browser's connection.
type Event string

const (
	Connected    Event = "connected"    // sound can flow, also again after Disconnected
	Disconnected Event = "disconnected" // nothing heard for 5 s; may come back
	Failed       Event = "failed"       // will not come back
	Closed       Event = "closed"       // last event; the channel is closed behind it
)

// Leg is somebody's browser in a call.
type Leg struct {
	*media.Leg
	pc     *webrtc.PeerConnection
	track  *track
	like   media.Codec // what it is to speak
	log    *slog.Logger
	events chan Event

	malformed atomic.Uint64
	mu        sync.Mutex // guards what follows, and sending on events against closing it
	closed    bool
	readers   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Answer makes a leg for a browser's offer, with the codec that its other side in the call speaks, if the browser and we
// have it, else G.711. The answer holds all our candidates. The leg lives until Close; Events tells
// what becomes of its connection.
func (s *Stack) Answer(ctx context.Context, offer string, like media.Codec) (_ *Leg, answer string, err error) {
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{Certificates: s.certs})
	if err != nil {
		return nil, "", fmt.Errorf("browser leg: %w", err)
	}
	l := &Leg{pc: pc, like: like, log: s.log, events: make(chan Event, 16)}
	l.track = &track{leg: l}
	l.Leg = media.NewLeg(media.LegConfig{Pacer: s.pacer, Send: l.track.send})
	defer func() {
		if err != nil {
			_ = l.Close()
		}
	}()
	pc.OnConnectionStateChange(l.connectionState)
	pc.OnTrack(l.read)
	sender, err := pc.AddTrack(l.track)
	if err != nil {
		return nil, "", fmt.Errorf("browser leg: %w", err)
	}
	l.readers.Add(1)
	go l.readReports(sender.Read)
	if answer, err = l.answer(ctx, offer); err != nil {
		return nil, "", err
	}
	return l, answer, nil
}

// Restart answers an ICE restart after a change of network; it goes on with the same connection.
func (l *Leg) Restart(ctx context.Context, offer string) (answer string, err error) {
	return l.answer(ctx, offer)
}

// Events tells what happens to the connection; it is closed behind Closed.
func (l *Leg) Events() <-chan Event { return l.events }

// Way is the way through the network that ICE has chosen; nil: none yet.
func (l *Leg) Way() *webrtc.ICECandidatePair {
	senders := l.pc.GetSenders()
	if len(senders) == 0 || senders[0].Transport() == nil {
		return nil
	}
	chosen, err := senders[0].Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil {
		return nil
	}
	return chosen
}

func (l *Leg) answer(ctx context.Context, offerSDP string) (string, error) {
	if len(offerSDP) > maxOffer {
		return "", ErrTooLong
	}
	if !hasG711(offerSDP) {
		return "", ErrNoSound
	}
	offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offerSDP}
	if err := l.pc.SetRemoteDescription(offer); err != nil {
		l.log.Debug("browser offer", "err", err)
		return "", ErrOffer
	}
	for _, t := range l.pc.GetTransceivers() {
		if err := t.SetCodecPreferences(ordered(t.Sender().GetParameters().Codecs, l.like)); err != nil {
			return "", fmt.Errorf("browser leg: %w", err)
		}
	}
	answer, err := l.pc.CreateAnswer(nil)
	if err != nil {
		l.log.Debug("browser answer", "err", err)
		return "", ErrNoAnswer
	}
	gathered := webrtc.GatheringCompletePromise(l.pc)
	if err := l.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("browser leg: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("browser leg: %w", ctx.Err())
	}
	local := l.pc.LocalDescription()
	if local == nil || !hasG711(local.SDP) {
		return "", ErrNoSound
	}
	return local.SDP, nil
}

// hasG711 says whether a description takes an audio stream with G.711; a refused one has port 0 (RFC 3264 section 6).
// The offer is asked too: to one that shares only telephone-event with us pion answers with all we have.
func hasG711(sdp string) bool {
	for line := range strings.Lines(sdp) {
		rest, ok := strings.CutPrefix(line, "m=audio ")
		f := strings.Fields(rest) // port, protocol, formats
		if ok && len(f) > 2 && f[0] != "0" && (slices.Contains(f[2:], "0") || slices.Contains(f[2:], "8")) {
			return true
		}
	}
	return false
}

// connectionState runs on pion's goroutine.
func (l *Leg) connectionState(s webrtc.PeerConnectionState) {
	var e Event
	switch s {
	case webrtc.PeerConnectionStateConnected:
		e = Connected
	case webrtc.PeerConnectionStateDisconnected:
		e = Disconnected
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed: // closed by the browser's DTLS alert
		e = Failed
	default:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.events <- e:
	default: // sixteen events unread: the reader has gone
	}
}

// read is the leg's one reader of sound; pion gives it a goroutine of its own.
func (l *Leg) read(t *webrtc.TrackRemote, from *webrtc.RTPReceiver) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.readers.Add(2)
	l.mu.Unlock()
	go l.readReports(from.Read)
	defer l.readers.Done()
	defer func() {
		if r := recover(); r != nil {
			l.log.Error("panic", "where", "browser reader", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	p := new(media.Packet)
	for {
		n, _, err := t.Read(p.Buffer())
		if errors.Is(err, io.ErrShortBuffer) {
			l.malformed.Add(1)
			continue
		}
		if err != nil {
			return
		}
		p.Arrived = time.Now()
		if p.Parse(n) != nil {
			l.malformed.Add(1)
			continue
		}
		l.Deliver(p)
	}
}

// readReports reads the browser's RTCP, about our sound or beside theirs. The interceptors see on this way what their own reports must answer.
func (l *Leg) readReports(read func([]byte) (int, interceptor.Attributes, error)) {
	defer l.readers.Done()
	b := make([]byte, media.MaxPacket)
	for {
		n, _, err := read(b)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(b[:n])
		if err != nil {
			l.malformed.Add(1)
			continue
		}
		for _, p := range packets {
			var reports []rtcp.ReceptionReport // there is one source of ours in the connection
			switch r := p.(type) {
			case *rtcp.ReceiverReport:
				reports = r.Reports
			case *rtcp.SenderReport:
				reports = r.Reports
			}
			for _, r := range reports {
				l.Reported(r, time.Now())
			}
		}
	}
}

// Stats adds what the leg itself counts.
func (l *Leg) Stats() media.Stats {
	s := l.Leg.Stats()
	s.Malformed = l.malformed.Load()
	return s
}

// Close ends the connection and waits for its goroutines; not from a Sink or a pion callback. It may be called
// twice.
func (l *Leg) Close() error {
	l.closeOnce.Do(func() {
		l.CloseOutput()
		l.Swap(media.Discard)
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.closeErr = l.pc.GracefulClose()
		l.readers.Wait()
		select {
		case l.events <- Closed:
		default:
		}
		close(l.events)
	})
	return l.closeErr
}

// track is the sound we send to the browser. Sequence and timestamp are the Output's; pion's own
// TrackLocalStaticRTP would also force the codec's payload type on telephone-events.
type track struct {
	leg *Leg

	mu     sync.Mutex // bind and unbind against send, which the output serialises
	out    webrtc.TrackLocalWriter
	ssrc   uint32
	header rtp.Header
}

var errUnbound = errors.New("browser leg not connected")

// Bind is pion's: what was negotiated.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	list := ordered(c.CodecParameters(), t.leg.like) // pion gives them in the offer's order
	format, codec, err := formatOf(list)
	if err != nil {
		return webrtc.RTPCodecParameters{}, err
	}
	t.leg.SetFormat(format)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out, t.ssrc = c.WriteStream(), uint32(c.SSRC())
	return list[codec], nil
}

// Unbind is pion's: the connection ends.
func (t *track) Unbind(webrtc.TrackLocalContext) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = nil
	return nil
}

// send puts one packet of the Output on the wire.
func (t *track) send(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == nil {
		return errUnbound
	}
	h := &t.header
	h.Version, h.SSRC = 2, t.ssrc
	h.Marker, h.PayloadType = b[1]&0x80 != 0, b[1]&0x7f
	h.SequenceNumber = uint16(b[2])<<8 | uint16(b[3])
	h.Timestamp = uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
	_, err := t.out.WriteRTP(h, b[12:])
	return err
}

func (t *track) ID() string                { return "call" }
func (t *track) RID() string               { return "" }
func (t *track) StreamID() string          { return "patchbay" }
func (t *track) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeAudio }
