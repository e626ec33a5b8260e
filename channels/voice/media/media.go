// Package media carries sound: RTP packets in, RTP packets out, and the sources that make packets of their own. It
// knows addresses, payload types and clocks; it knows no SIP, no SDP and no database. channels/voice builds the legs
// from what was negotiated and swaps pointers here; nothing in this package ever asks back.
//
//	           reader goroutine                            mutex of the output
//	socket ->  (SRTP) -> latch -> count -> digits -> Sink  ->  Output -> (SRTP) -> socket
//	           (UDPLeg, or webleg's)             ^swap        ^ Player, by the Pacer
//
// A Leg is one side of a conversation: what it hears goes to its Sink, what it says comes from its Output. Joining two
// legs is two swaps (Bridge), holding is a swap and a Player (Hold); the caller's SDP is never touched. An Output keeps
// one SSRC, one sequence and one clock for the life of the leg, whoever speaks through it.
//
// That is the packet plane. Where the two sides' codecs differ the Output transcodes by itself. The PCM plane begins
// where somebody needs samples: a Room, which mixes three or more legs, and Leg.Listen. There each leg has a jitter
// buffer, which the packet plane has not.
//
//	Deliver -> Tap (recorder)                       Room: jitter buffers -> sums -> limiter -> Output of each seat
//	        -> jitter buffer -> Listen              all of it by the Pacer, 20 ms a turn
//
// The relay path allocates nothing and holds no buffer: a packet lives in its leg's one Packet until Sink.Write
// returns.
package media

import (
	"errors"
	"time"
)

// What prompts are made of, and the step of every clock here.
const (
	Rate         = 8000
	Frame        = 20 * time.Millisecond
	FrameSamples = 160

	framesPerSecond = 50
)

var (
	// ErrNoPorts: every pair of the range is in use.
	ErrNoPorts = errors.New("no free media port")
	// ErrNoEvents: the other side has not negotiated telephone-event.
	ErrNoEvents = errors.New("no telephone-event negotiated")
	errKey      = errors.New("no such key")
	errKeys     = errors.New("too many keys waiting")
	// ErrClosed: the leg has been closed.
	ErrClosed = errors.New("leg closed")
	// ErrPacket: not an RTP packet.
	ErrPacket = errors.New("not an RTP packet")
)

// Sink takes the packets a leg has heard. Write must not block and must not keep the packet or its payload: the
// buffer is used again for the next packet as soon as Write returns.
type Sink interface {
	Write(p *Packet)
}

// SinkFunc is a Sink made of a function.
type SinkFunc func(p *Packet)

func (f SinkFunc) Write(p *Packet) { f(p) }

// Discard is where a leg's sound goes when nobody listens.
var Discard Sink = SinkFunc(func(*Packet) {})
