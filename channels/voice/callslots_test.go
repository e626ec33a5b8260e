package voice

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

func TestSlotsOf(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(day, hour, minute int) time.Time {
		return time.Date(2026, 11, day, hour, minute, 0, 0, berlin).UTC()
	}
	day := func(d int, from, to float64) (list []time.Time) { // every half hour
		for h := from; h < to; h += 0.5 {
			list = append(list, at(d, int(h), int(h*60)%60))
		}
		return list
	}
	now := at(22, 22, 0) // a Sunday
	for name, c := range map[string]struct {
		times channels.CallTimes
		want  string
	}{
		"tomorrow":            {channels.CallTimes{Times: append(day(23, 9, 18), day(24, 9, 18)...)}, "callback_opening day_tomorrow hour_9, day_tomorrow hour_10, day_tomorrow hour_14"},
		"a crooked opening":   {channels.CallTimes{Times: append([]time.Time{at(24, 8, 45)}, day(24, 9, 18)...)}, "callback_opening day_2, day_2 hour_10, day_2 hour_14"},
		"only the morning":    {channels.CallTimes{Times: append(day(23, 8, 12), day(24, 8, 12)...)}, "callback_opening day_tomorrow hour_8, day_tomorrow hour_9, day_2 hour_11"},
		"only the afternoon":  {channels.CallTimes{Times: day(23, 14, 18)}, "callback_opening day_tomorrow hour_14, day_tomorrow hour_15, day_tomorrow hour_16"},
		"today":               {channels.CallTimes{Times: day(22, 23, 24)}, "callback_opening day_today hour_23"},
		"two hours":           {channels.CallTimes{Times: day(23, 9, 11)}, "callback_opening day_tomorrow hour_9, day_tomorrow hour_10"},
		"a week and more off": {channels.CallTimes{Times: day(30, 9, 18)}, ""},
		"open now":            {channels.CallTimes{Open: true, Times: day(23, 9, 18)}, ""},
		"never":               {channels.CallTimes{}, ""},
	} {
		c.times.Zone = "Europe/Berlin"
		var got []string
		for _, s := range slotsOf(c.times, now) {
			got = append(got, strings.Join(s.names, " "))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
	for _, s := range slotsOf(channels.CallTimes{Zone: "No/Where", Times: day(23, 9, 18)}, now) {
		t.Errorf("an unknown zone: %v", s)
	}
}

// closedAt are the hours of a queue that opens tomorrow at nine, in UTC.
func closedAt() channels.CallTimes {
	opening := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1).Add(9 * time.Hour)
	t := channels.CallTimes{Zone: "UTC", Tries: 3, Minutes: 10}
	for i := range 16 {
		t.Times = append(t.Times, opening.Add(time.Duration(i)*30*time.Minute))
	}
	return t
}

// callsBack is what a house needs to call customers back: a trunk that dials out, a queue that offers it, and times.
func callsBack(t *testing.T, cfg *Config, times channels.CallTimes) {
	t.Helper()
	cfg.Pool = dbtest.Pool(t)
	if _, err := cfg.Pool.Exec(t.Context(), `insert into nodes (id, name) values ('test', 'test'); insert into queues (name) values ('Service'); insert into contacts (name) values ('Ole');
		insert into conversations (id, contact_id, queue_id, channel, state) overriding system value values (1001, 1, 1, 'voice', 'bot')`); err != nil {
		t.Fatal(err)
	}
	x := channels.NewTrunk()
	x.Name, x.Servers, x.DialOut, x.CountryCode, x.CallerNumber, x.OptionsSeconds = "Fjordtel", []string{"127.0.0.1:5999"}, true, "49", "+4930100", 0
	if err := pgx.BeginFunc(t.Context(), cfg.Pool, func(tx pgx.Tx) error { return channels.SaveTrunk(t.Context(), tx, &x) }); err != nil {
		t.Fatal(err)
	}
	cfg.CallTimes = func(_ context.Context, id int64) (channels.CallTimes, error) {
		if id != 1001 {
			return times, fmt.Errorf("asked for conversation %d", id)
		}
		return times, nil
	}
}

// callsBackHouse is a house without any engine.
func callsBackHouse(t *testing.T, times channels.CallTimes) *house {
	t.Helper()
	h := newHouse(t, func(cfg *Config) { callsBack(t, cfg, times) })
	until(t, testCtx(t), "the trunk is read", h.voice.DialsOut)
	return h
}

// digitPrompts are the files of a number.
func digitPrompts(number string) (names []string) {
	for _, d := range number {
		if d == '+' {
			names = append(names, plusPrompt)
			continue
		}
		names = append(names, fmt.Sprintf(digitPrompt, d))
	}
	return names
}

// TestOverflowCallBackByEar: the overflow's offer, all that follows, and the outcome are heard from files, with no engine at all;
// who had asked for the call themselves does not hear that it takes long.
func TestOverflowCallBackByEar(t *testing.T) {
	t.Parallel()
	h := callsBackHouse(t, channels.CallTimes{Open: true, Zone: "UTC"})
	ctx := testCtx(t)
	c := h.waitingCall(ctx, voicetest.Invite{From: "+4940222"})
	hearsPrompts(t, ctx, c, promptWaiting)
	h.must(ctx, channels.CallSignal{Type: "say", CallID: 1, Code: channels.CodeCallback, Text: "Shall we call you?"})
	hearsPrompts(t, ctx, c, promptKeyBack)
	if heardPrompt(t, c, promptShall) {
		t.Error("it takes longer, though nobody said so")
	}
	hearsMusic(t, ctx, "after the offer", phoneEar(t, ctx, c))
	h.must(ctx, channels.CallSignal{Type: "say", CallID: 1, Code: channels.CodeCallback, Text: "Words of the queue.", Reason: "wait", On: true})
	hearsPrompts(t, ctx, c, promptShall)
	c.RTP.Press(ctx, '2')
	hearsPrompts(t, ctx, c, append(append([]string{promptCallAt}, digitPrompts("+4940222")...), promptRight)...)
	c.RTP.Press(ctx, '1')
	if in := h.expect(ctx, channels.CallMe); in.To != "+4940222" || in.At != nil {
		t.Errorf("asked for %+v", in)
	}
	hearsPrompts(t, ctx, c, promptCallSet)
	waitChan(t, ctx, c.Ended(), "let go")
	if in := h.expect(ctx, channels.CallEndedIn); in.Result != completed || in.Reason != "is called back" {
		t.Errorf("ended: %+v", in)
	}
}

// TestChoosesATime: outside hours the caller hears three times in the queue's own clock, chooses one, has it read back, another,
// and is promised it.
func TestChoosesATime(t *testing.T) {
	t.Parallel()
	times := closedAt()
	h := callsBackHouse(t, times)
	ctx := testCtx(t)
	c := h.waitingCall(ctx, voicetest.Invite{From: "+4940222"})
	c.RTP.Press(ctx, '2')
	c.RTP.Press(ctx, '1')
	hearsPrompts(t, ctx, c, promptWhen, promptOpening, dayTomorrow, "hour_9", "press_1", "hour_10", "press_2", "hour_14", "press_3", promptStay)
	c.RTP.Press(ctx, '2')
	hearsPrompts(t, ctx, c, promptThen, promptAgainIf)
	c.RTP.Forget()
	c.RTP.Press(ctx, '2') // another
	hearsPrompts(t, ctx, c, promptWhen)
	c.RTP.Press(ctx, '3')
	hearsPrompts(t, ctx, c, promptThen, dayTomorrow, "hour_14", promptAgainIf)
	c.RTP.Press(ctx, '1')
	if in := h.expect(ctx, channels.CallMe); in.To != "+4940222" || in.At == nil || !in.At.Equal(times.Times[10]) {
		t.Errorf("asked for %+v, want %s", in, times.Times[10])
	}
	hearsPrompts(t, ctx, c, promptSetTime)
	waitChan(t, ctx, c.Ended(), "let go")
}

// TestChoosesNoTime: star stays in line; who says nothing more is called at the opening.
func TestChoosesNoTime(t *testing.T) {
	t.Parallel()
	h := callsBackHouse(t, closedAt())
	ctx := testCtx(t)
	c := h.waitingCall(ctx, voicetest.Invite{From: "+4940222"})
	for _, key := range []byte{'2', '1', '*'} {
		c.RTP.Press(ctx, key)
	}
	c.RTP.Forget()
	hearsMusic(t, ctx, "in line again", phoneEar(t, ctx, c))
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		r, err := h.agree(in)
		r.Later = in.Type == channels.CallMe
		return r, err
	})
	c.RTP.Press(ctx, '2')
	c.RTP.Press(ctx, '1')
	hearsPrompts(t, ctx, c, promptStay)
	if in := h.expect(ctx, channels.CallMe); in.At != nil {
		t.Errorf("asked for %+v", in)
	}
	hearsPrompts(t, ctx, c, promptCallOpen)
}

// TestCallBackByVoice: with an engine all of it is said in words, the queue's own among them, and a key's number may be said.
func TestCallBackByVoice(t *testing.T) {
	t.Parallel()
	times := closedAt()
	h := newTalkHouse(t, func(cfg *Config) { callsBack(t, cfg, times) })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // all is said at the pace of speech
	defer cancel()
	until(t, ctx, "the trunk is read", h.voice.DialsOut)
	c := h.call(t, ctx)
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	c.Hears("I am getting a person for you.")
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		return h.store(in, channels.Waiting)
	})
	h.must(ctx, channels.CallSignal{Type: "say", CallID: 1, Code: channels.CodeCallback, Text: "It is a busy day.", Reason: "wait", On: true})
	c.Hears("It is a busy day. To be called back without losing your place in line, press two.")
	c.RTP.Press(ctx, '2')
	c.Hears("Please type the number at which we can call you")
	c.Says("zero four zero five five five one two three four")
	c.Hears("If that is right, press one.")
	c.Says("one")
	c.Hears("When shall we call you? As soon as we are back, tomorrow at nine in the morning, press one. tomorrow at ten in the morning, press two.")
	c.Says("two please")
	c.Hears("We will call you tomorrow at ten in the morning. If that is right, press one.")
	c.Says("is there a person")
	if in := h.expect(ctx, channels.Words); in.Body != "is there a person" {
		t.Errorf("other words are not the house's: %+v", in)
	}
	c.RTP.Press(ctx, '1')
	if in := h.expect(ctx, channels.CallMe); in.To != "+49405551234" || in.At == nil || !in.At.Equal(times.Times[2]) {
		t.Errorf("asked for %+v, want %s", in, times.Times[2])
	}
	c.Hears("We will call you then. Goodbye.")
}

// TestCallBackPromptsAreAll: whatever a choice says has a file and a phrase.
func TestCallBackPromptsAreAll(t *testing.T) {
	names := callBackPrompts()
	for at := closedAt().Times[0]; at.Before(time.Now().AddDate(0, 0, 7)); at = at.Add(time.Hour) {
		if day := dayOf(at, time.Now().UTC()); day != "" {
			for _, name := range sayWhen(at, day) {
				if !slices.Contains(names, name) {
					t.Errorf("no prompt %s", name)
				}
			}
		}
	}
}
