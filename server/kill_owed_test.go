package main

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"patchbay/channels/voice/voicetest"
)

// owedUnderFire is people who do not wait here while everything is killed: they leave a message for an answer by mail, ask to be
// called back, or speak after the tone. What they were told of must be there once, with its place and its promise. Who was told
// nothing asks again, as the page does, and must not be there twice.
type owedUnderFire struct {
	h     *testHouse
	left  []*owedOne
	calls []*owedOne
	said  []*voiceMail
	again int // asked again, as nothing was told, or though it was
}

// owedOne is one who is owed an answer, and what their page sends.
type owedOne struct {
	token string
	ask   frame
	tries int
	told  bool
	since *time.Time // the place, as soon as it was told; nil: not known
}

// asks brings one who leaves a message and one who wants to be called, at a time of their own or, now and then, at their turn;
// and lets those ask again who were told nothing.
func (o *owedUnderFire) asks(round int) {
	o.left = append(o.left, &owedOne{ask: frame{"type": "leave", "client_id": fmt.Sprintf("left-%d", round), "email": oleMail, "body": fmt.Sprintf("My stove leaks, it is order %d.", round)}})
	call := &owedOne{ask: frame{"type": "call_me", "client_id": fmt.Sprintf("call-%d", round), "number": fmt.Sprintf("+4940555%04d", round)}}
	if round%10 != 0 {
		call.ask["at"] = time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)
	}
	o.calls = append(o.calls, call)
	for _, list := range [][]*owedOne{o.left, o.calls} {
		for i, one := range list {
			if last := i == len(list)-1; !one.told || !last && i == round/2 { // some though they were told: their page was loaded again
				o.ask(one)
			}
		}
	}
}

func (o *owedUnderFire) ask(one *owedOne) {
	if one.tries++; one.tries > 1 {
		o.again++
	}
	var err error
	one.token, err = o.h.exchange(context.Background(), one.token, one.ask, acknowledged(one.ask.str("client_id")))
	if err == nil && !one.told {
		one.told, one.since = true, o.h.place(one.token)
	}
}

// voiceMail is a caller who speaks a message.
type voiceMail struct {
	number string
	call   *voicetest.Call
	cut    bool // the server dies while they speak
	since  time.Time
}

// speaks has somebody call, wait in line, and begin to speak after the tone.
func (o *owedUnderFire) speaks(round int) {
	s := &voiceMail{number: fmt.Sprintf("+4930777%04d", round), cut: round%3 == 0}
	ctx, cancel := context.WithTimeout(o.h.t.Context(), 2*patience)
	defer cancel()
	s.call = o.h.inLine(ctx, s.number, o.dials(ctx, s.number))
	s.since = one[time.Time](o.h, `select waiting_since from conversations c join calls k on k.conversation_id = c.id where k.from_address = $1`, s.number)
	s.call.RTP.Press(ctx, '3')
	o.h.eventually("the recording runs", `select exists (select from recordings r join calls k on k.id = r.call_id where k.from_address = $1 and r.state = 'recording')`, s.number)
	s.call.RTP.Play(ctx, voicetest.ULaw(voiceOf(callerSeed)[:3*voicetest.Rate]))
	o.said = append(o.said, s)
}

// dials as people do who were refused: once more. The house has only just come back.
func (o *owedUnderFire) dials(ctx context.Context, number string) *voicetest.Call {
	phone := voicetest.NewPhone(o.h.t, number, loopback)
	call := phone.Invite(netip.MustParseAddrPort(o.h.sip), "100", voicetest.Invite{})
	if res, err := call.Answer(ctx); err == nil && res.StatusCode == 200 {
		return call
	} else if err == nil {
		o.h.t.Logf("a caller was refused: %d %s", res.StatusCode, res.Reason)
	}
	return phone.Dial(ctx, netip.MustParseAddrPort(o.h.sip), "100", voicetest.Invite{})
}

// finishes has this round's caller press the key and wait for our goodbye, or be cut off.
func (o *owedUnderFire) finishes(round int) {
	if round%20 != 3 {
		return
	}
	s := o.said[len(o.said)-1]
	if s.cut {
		return
	}
	ctx, cancel := context.WithTimeout(o.h.t.Context(), patience)
	defer cancel()
	s.call.RTP.Press(ctx, '#')
	select {
	case <-s.call.Ended():
	case <-ctx.Done():
		o.h.t.Errorf("round %d: the caller was never told that the message is kept", round)
	}
}

func (o *owedUnderFire) String() string {
	return fmt.Sprintf("%d messages left, %d calls back, %d voicemails (%d asked again)", len(o.left), len(o.calls), len(o.said), o.again)
}

// check asks who was told nothing until now a last time, and looks whether all of them stand where they must.
func (o *owedUnderFire) check(t *testing.T) {
	t.Helper()
	for _, list := range [][]*owedOne{o.left, o.calls} {
		for _, one := range list {
			if !one.told {
				o.ask(one)
			}
		}
		o.inOrder(t, list)
	}
	for _, one := range o.left {
		id := one.ask.str("client_id")
		if n := o.count(`select count(*) from messages where client_id = $1`, id); n != 1 {
			t.Errorf("%s: the message is stored %d times", id, n)
		}
		if n := o.count(`select count(*) from messages where client_id = $1 || '-left'`, id); n != 1 {
			t.Errorf("%s: they were told %d times that we have it", id, n)
		}
		if n := o.count(`select count(*) from conversations c join messages m on m.conversation_id = c.id and m.client_id = $1
			where reply_to = $2 and (select count(*) = 1 from promises p where p.conversation_id = c.id)
				and (state in ('waiting', 'offered') and left_message = 'email' and exists (select from promises p where p.conversation_id = c.id and p.closed_at is null)
					or state in ('agent', 'wrapup', 'closed') and not exists (select from promises p where p.conversation_id = c.id and p.closed_by not in ('', 'agent')))`, id, oleMail); n != 1 {
			t.Errorf("%s: it is not owed any more", id)
		}
	}
	for _, one := range o.calls {
		number := one.ask.str("number")
		if n := o.count(`select count(*) from promises p join conversations c on c.id = p.conversation_id where p.number = $1 and p.closed_at is null and c.state in ('waiting', 'offered')`, number); n != 1 {
			t.Errorf("%s is to be called %d times", number, n)
		}
		if at := one.ask.str("at"); at != "" && o.count(`select count(*) from promises p join conversations c on c.id = p.conversation_id where p.number = $1 and c.not_before = $2::timestamptz`, number, at) != 1 {
			t.Errorf("%s is not to be called at %s", number, at)
		}
	}
	for _, s := range o.said { // what was cut comes when the next server has repaired it
		o.h.eventually(s.number+" is owed one voicemail, in their place", `select count(*) = 1 from messages m join conversations c on c.id = m.conversation_id
			join calls k on k.conversation_id = c.id and k.from_address = $1
			where m.kind = 'voicemail' and (m.data->>'seconds')::int between 2 and 10 and coalesce(m.data->>'cut' = 'true', false) = $2
				and c.state in ('waiting', 'offered') and c.left_message = 'voicemail' and c.waiting_since = $3
				and (select count(*) = 1 from promises p where p.conversation_id = c.id and p.closed_at is null)`, s.number, s.cut, s.since)
	}
	if len(o.left) == 0 || len(o.calls) == 0 || len(o.said) == 0 {
		t.Errorf("%v: too few to prove anything", o)
	}
}

// inOrder: who was told at once stands behind those who were told before, and where they stood then.
func (o *owedUnderFire) inOrder(t *testing.T, list []*owedOne) {
	t.Helper()
	var before time.Time
	for _, one := range list {
		if !one.told {
			t.Errorf("%s is never told", one.ask.str("client_id"))
			continue
		}
		now := o.h.place(one.token)
		if now == nil { // a person has answered
			continue
		}
		if one.since != nil && !now.Equal(*one.since) {
			t.Errorf("%s stands in line since %v, was %v", one.ask.str("client_id"), now, one.since)
		}
		if one.tries == 1 {
			if now.Before(before) {
				t.Errorf("%s stands before who came earlier", one.ask.str("client_id"))
			}
			before = *now
		}
	}
}

func (o *owedUnderFire) count(sql string, args ...any) int { return one[int](o.h, sql, args...) }
