package doctor

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCollectorKeepsACall(t *testing.T) {
	c := NewCollector(CollectorConfig{Messages: 9})
	for i := range 20 {
		c.Add(Message{At: after(time.Duration(i) * time.Second), CallID: "a", Raw: fmt.Sprint(i)})
		c.Add(Message{At: after(time.Duration(i)*time.Second + 1), CallID: "b", Raw: "b"})
	}
	got, dropped := c.Messages("a")
	var all []string
	for _, m := range got {
		all = append(all, m.Raw)
	}
	if want := "0 1 2 14 15 16 17 18 19"; strings.Join(all, " ") != want || dropped != 11 {
		t.Errorf("%v, %d dropped; want %s", all, dropped, want)
	}
	if both, _ := c.Messages("a", "b", "none"); len(both) != 18 || both[1].Raw != "b" {
		t.Errorf("two legs are not in order: %d", len(both))
	}
	c.Drop("a", "b")
	if ids, bytes, _ := c.Size(); ids != 0 || bytes != 0 {
		t.Errorf("%d Call-IDs, %d bytes after both were dropped", ids, bytes)
	}
}

// TestCollectorForgets: what nobody claims goes after a while, what a call has claimed stays.
func TestCollectorForgets(t *testing.T) {
	c := NewCollector(CollectorConfig{Unclaimed: 40 * time.Second})
	for i := range 100 {
		c.Add(Message{At: after(0), CallID: fmt.Sprint("options-", i)})
	}
	c.Add(Message{At: after(0), CallID: "call"})
	c.Claim("call", after(time.Second))
	c.Claim("out", after(time.Second)) // before its first message
	for i := range 100 {
		c.Add(Message{At: after(41 * time.Second), CallID: fmt.Sprint("later-", i%3)})
	}
	if ids, _, _ := c.Size(); ids != 5 {
		t.Errorf("%d Call-IDs are kept, want the call's two and three new ones", ids)
	}
	if got, _ := c.Messages("call"); len(got) != 1 {
		t.Error("the call's message is gone")
	}
}

// TestCollectorBounded: a flood of unknown Call-IDs costs a fixed memory and no call's messages.
func TestCollectorBounded(t *testing.T) {
	c := NewCollector(CollectorConfig{Bytes: 100_000})
	c.Claim("call", after(0))
	raw := strings.Repeat("x", 840)
	for i := range 1000 {
		c.Add(Message{At: after(0), CallID: fmt.Sprint(i), Raw: raw})
		if i%50 == 0 {
			c.Add(Message{At: after(0), CallID: "call", Raw: raw})
		}
	}
	_, bytes, _ := c.Size()
	if got, dropped := c.Messages("call"); bytes > 100_000 || len(got) != 20 || dropped != 0 {
		t.Errorf("%d bytes, the call has %d messages, lost %d", bytes, len(got), dropped)
	}
	for range 1000 {
		c.Add(Message{At: after(0), CallID: "call", Raw: raw})
	}
	if _, bytes, dropped := c.Size(); bytes > 100_000 || dropped == 0 {
		t.Errorf("%d bytes, %d dropped: calls alone must not go beyond it", bytes, dropped)
	}
}

func TestCollectorRace(t *testing.T) {
	c := NewCollector(CollectorConfig{Bytes: 50_000})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 500 {
				id := fmt.Sprint(g, i%20)
				c.Add(Message{At: time.Now(), CallID: id, Raw: "x"})
				c.Claim(id, time.Now())
				c.Messages(id)
				if i%3 == 0 {
					c.Drop(id)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkCollector: a call's eight messages, claimed and dropped: what tracing costs one set-up.
func BenchmarkCollector(b *testing.B) {
	c := NewCollector(CollectorConfig{})
	raw := strings.Repeat("x", 800)
	now := time.Now()
	b.ReportAllocs()
	for i := range b.N {
		id := fmt.Sprint(i)
		for range 8 {
			c.Add(Message{At: now, CallID: id, Raw: raw})
		}
		c.Claim(id, now)
		c.Messages(id)
		c.Drop(id)
	}
}
