package synthetic

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/sipleg"
)

// PhoneConfig is the test customer's telephone. All fields are required.
type PhoneConfig struct {
	From   netip.Addr     // its own address: the house must let it call
	Server netip.AddrPort // the house's SIP
	Number string         // that is called
	// Open makes the marked contact whose number is user.
	Open     func(ctx context.Context, user, name string) (contact int64, err error)
	Answered func(ctx context.Context, contact int64) (bool, error)
	Log      *slog.Logger
}

// Loopback is an address for the telephone: on this machine all of 127.0.0.0/8 is ours, and this one nobody else's by
// chance. Who may send from it is on this machine already.
func Loopback() netip.Addr {
	b := make([]byte, 3)
	_, _ = rand.Read(b)                                                  // never fails (crypto/rand)
	return netip.AddrFrom4([4]byte{127, 64 | b[0], b[1], b[2]&0x7f + 1}) // not 127.0.0.1, no network's end
}

// Phone calls, presses 0, and hangs up when a person has spoken.
func Phone(cfg PhoneConfig) Door {
	return Door{"voice", func(ctx context.Context, patient time.Duration) (time.Duration, error) {
		user := "synthetic-" + strings.ToLower(rand.Text())
		contact, err := cfg.Open(ctx, user, Name)
		if err != nil {
			return 0, err
		}
		p, err := pickUp(cfg)
		if err != nil {
			return 0, fmt.Errorf("phone: %w", err)
		}
		waited, err := p.call(ctx, user, Asked{contact, cfg.Answered}, patient)
		if err = errors.Join(err, p.putDown()); err != nil {
			err = fmt.Errorf("phone: %w", err)
		}
		return waited, err
	}}
}

// telephone is a SIP stack of one line, of the same parts as the house's own.
type telephone struct {
	cfg    PhoneConfig
	edge   *edge.Edge
	ports  *media.Ports
	stack  *sipleg.Stack
	stop   context.CancelFunc
	parts  sync.WaitGroup
	served error
}

func pickUp(cfg PhoneConfig) (*telephone, error) {
	p := &telephone{cfg: cfg, ports: media.NewPorts(cfg.From, 0, 0)}
	house := netip.PrefixFrom(cfg.Server.Addr(), cfg.Server.Addr().BitLen())
	var err error
	if p.edge, err = edge.Open(edge.Config{Listen: []edge.Listen{{Transport: "udp", Addr: netip.AddrPortFrom(cfg.From, 0).String()}},
		Policy: edge.Policy{Trusted: []netip.Prefix{house}}, Log: cfg.Log}); err != nil {
		return nil, errors.Join(err, p.ports.Close())
	}
	pacer := media.NewPacer()
	if p.stack, err = sipleg.Open(sipleg.Config{Edge: p.edge, Ports: p.ports, Pacer: pacer, Log: cfg.Log, Most: 1,
		OnInvite: func(l *sipleg.Leg) { l.Refuse(486, "") }}); err != nil {
		return nil, errors.Join(err, p.edge.Close(), p.ports.Close())
	}
	ctx, stop := context.WithCancel(context.Background()) // until putDown
	p.stop = stop
	p.parts.Go(func() { _ = pacer.Run(ctx) }) // returns its ctx's error
	p.parts.Go(func() { p.served = p.stack.Run(ctx) })
	return p, nil
}

// settle is for sipgo's goroutines, which nobody can wait for (see voice.Close).
const settle = 20 * time.Millisecond

func (p *telephone) putDown() error {
	p.stack.Refuse()
	p.stack.Wait()
	p.edge.Deafen()
	<-time.After(settle)
	err := errors.Join(p.stack.Close(), p.edge.Close())
	p.stop()
	p.parts.Wait()
	return errors.Join(err, p.served, p.ports.Close())
}

const (
	phoneLook  = 500 * time.Millisecond
	keyTwice   = 5 * time.Second // a key that was lost on the way is pressed again, as people do
	farewell   = 5 * time.Second
	courtesies = time.Second // from the person's first word to our hanging up
)

// call asks for a person by key and waits until one has spoken.
func (p *telephone) call(ctx context.Context, user string, asked Asked, patient time.Duration) (waited time.Duration, err error) {
	answered, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	leg, err := p.stack.Dial(sipleg.Dial{Hops: []edge.Hop{{Transport: "udp", Addr: p.cfg.Server}}, URI: fmt.Sprintf("sip:%s@%s", p.cfg.Number, p.cfg.Server),
		From: fmt.Sprintf("sip:%s@%s", user, p.cfg.From), Name: Name, Prefs: sdp.Prefs{Codecs: []string{sdp.PCMU, sdp.PCMA}}, NoAnswer: greet,
		Tell: func(e sipleg.Event) {
			switch e := e.(type) {
			case sipleg.Answered:
				once.Do(func() { close(answered) })
			case sipleg.Ended:
				ended <- fmt.Errorf("%d %s", e.Code, e.Reason)
			}
		}})
	if err != nil {
		return 0, err
	}
	select {
	case <-answered:
	case err := <-ended:
		return 0, fmt.Errorf("not answered: %w", err)
	case <-ctx.Done(): // putDown ends the leg
		leg.Hangup("test over")
		return 0, ctx.Err()
	}
	sound := leg.Media()
	sound.Play(media.Loop(media.Silence())) // a telephone always sends
	begun := time.Now()
	leg.SendKey('0')
	again := time.AfterFunc(keyTwice, func() { leg.SendKey('0') })
	defer again.Stop()
	err = asked.wait(ctx, phoneLook, patient, ended)
	waited = time.Since(begun)
	if err == nil {
		select { // the person hears that somebody is there, and then that they have gone
		case <-time.After(courtesies):
		case <-ended:
			return waited, deaf(sound)
		}
		err = deaf(sound)
	}
	leg.Hangup("test over")
	select {
	case <-ended:
	case <-time.After(farewell):
	}
	return waited, err
}

// deaf: a call in which nothing was heard has reached nobody, whatever the books say.
func deaf(sound *media.UDPLeg) error {
	if sound.Stats().PacketsIn == 0 {
		return errors.New("no sound came")
	}
	return nil
}
