package media

import "time"

// Source says where a packet that a leg sends has come from.
type Source uint8

const (
	Relayed Source = iota // another leg
	Spoken                // a prompt or the responder
	Music                 // a loop: music, silence, ringing
	Mixed                 // a Room
)

func (s Source) String() string { return [...]string{"relayed", "spoken", "music", "mixed"}[s] }

// Tap sees everything a leg hears and says. Both verbs run on the hot path: they must not block and must not keep the
// packet or the bytes. Said is called with the output locked and must not call the leg. Heard gets sound, comfort
// noise and keys; Said only sound, with its timestamp by the codec's clock.
type Tap interface {
	Heard(p *Packet)
	Said(c Codec, payload []byte, ts uint32, at time.Time, kind Source)
}

// SetTap puts a tap on the leg in place of the one before; nil takes it off. At most the packet being handled at this
// moment still goes to the old one.
func (l *Leg) SetTap(t Tap) {
	if t == nil {
		l.out.tap.Store(nil)
		return
	}
	l.out.tap.Store(&t)
}
