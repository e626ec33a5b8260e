package switchboard

import (
	"slices"
	"strings"
	"testing"

	"patchbay/agents"
	"patchbay/channels"
)

func (f *flow) card(id int64) (c *channels.Card) {
	f.t.Helper()
	if err := f.Pool.QueryRow(f.t.Context(), `select card from conversations where id = $1`, id).Scan(&c); err != nil {
		f.t.Fatal(err)
	}
	return c
}

func kinds(c *channels.Card) (all []string) {
	for _, l := range c.Lines {
		all = append(all, l.Kind)
	}
	return all
}

// The card is in the rows with the commit that puts the conversation in line, with every line's messages, and goes on with
// what the customer writes while waiting.
func TestHandoverCard(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("My stove leaks at the valve, what can I do?")
	if c := f.card(id); c != nil {
		t.Fatalf("nobody waits yet: %+v", c)
	}
	f.says(id, "I want to talk to a person")
	c := f.card(id)
	if c == nil {
		t.Fatal("no card")
	}
	if got := strings.Join(kinds(c), " "); got != "who identity language mood wish matter promised question" {
		t.Error(got)
	}
	history, err := channels.History(t.Context(), f.Pool, id, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if last := history[len(history)-1].Seq; c.Seq != last {
		t.Errorf("the card has read up to %d of %d", c.Seq, last)
	}
	bySeq := map[int64]channels.Message{}
	for _, m := range history {
		bySeq[m.Seq] = m
	}
	for _, l := range c.Lines {
		if l.Kind != channels.CardIdentity && len(l.Seqs) == 0 {
			t.Errorf("%s is linked to nothing", l.Kind)
		}
		for _, seq := range l.Seqs {
			if _, ok := bySeq[seq]; !ok {
				t.Errorf("%s is linked to %d", l.Kind, seq)
			}
		}
	}
	if m := bySeq[c.Find(channels.CardMatter).Seqs[0]]; !strings.HasPrefix(m.Body, "My stove leaks") {
		t.Errorf("matter: %+v", m)
	}
	if p := c.Find(channels.CardPromised); p.DueAt == nil || bySeq[p.Seqs[0]].Data.Code != channels.CodeWaiting {
		t.Errorf("promised: %+v", p)
	}
	if i := c.Find(channels.CardIdentity); i.Value != string(channels.Unknown) || i.Text != "Not verified" {
		t.Errorf("identity: %+v", i)
	}

	f.says(id, "AND NOW IT IS ON FIRE!!")
	c = f.card(id)
	if q := c.Find(channels.CardQuestion); q == nil || q.Text != "“AND NOW IT IS ON FIRE!!”" {
		t.Errorf("after more words: %+v", q)
	}
}

// A transfer's card tells what the colleague said, noted and promised.
func TestHandoverCardOfATransfer(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("I want a human, my stove leaks.")
	if err := f.Take(t.Context(), f.ana, id); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reply(t.Context(), f.ana, id, "client-1", "We'll send a valve on Friday.", false); err != nil {
		t.Fatal(err)
	}
	to := channels.CallTarget{Kind: channels.TargetQueue, QueueID: f.QueueID}
	if err := f.Transfer(t.Context(), f.ana, id, to, "Needs the manual, too"); err != nil {
		t.Fatal(err)
	}
	c := f.card(id)
	var text []string
	for _, l := range c.Lines {
		text = append(text, l.Kind+": "+l.Text)
	}
	for _, want := range []string{"wish: Passed on by a colleague", "tried: “We'll send a valve on Friday.”", "tried: Note: “Needs the manual, too”", "promised: “We'll send a valve on Friday.”"} {
		if !slices.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

// The customer hears that somebody has read their words only when a screen has shown them.
func TestThroughSaysWhatIsTrue(t *testing.T) {
	f := newFlow(t)
	for _, c := range []struct {
		name string
		read func(id, seq int64) error
		want string
	}{
		{"never shown", func(int64, int64) error { return nil }, "You're through to Ana."},
		{"an older card", func(id, seq int64) error { return agents.CardRead(t.Context(), f.Pool, f.ana, id, seq-1) }, "You're through to Ana."},
		{"a colleague's screen", func(id, seq int64) error { return agents.CardRead(t.Context(), f.Pool, f.bo, id, seq) }, "You're through to Ana."},
		{"shown", func(id, seq int64) error { return agents.CardRead(t.Context(), f.Pool, f.ana, id, seq) }, "You're through to Ana, who has read your messages."},
		{"a number that is too large", func(id, seq int64) error { return agents.CardRead(t.Context(), f.Pool, f.ana, id, 1<<40) }, "You're through to Ana, who has read your messages."},
	} {
		id := f.visitor("I want a human, my stove leaks.")
		if err := c.read(id, f.card(id).Seq); err != nil {
			t.Fatal(err)
		}
		if err := f.Take(t.Context(), f.ana, id); err != nil {
			t.Fatal(err)
		}
		history, err := channels.History(t.Context(), f.Pool, id, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got := history[len(history)-1].Body; got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
