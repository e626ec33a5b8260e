package speech

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// The sound since the last Final comes back as it was, each Finish at its place, and no more than a turn's.
func TestMemory(t *testing.T) {
	frame := func(v int16) []int16 { return slices.Repeat([]int16{v}, Narrow/50) }
	told := func(m *memory) (all []string) {
		m.replay(20*time.Millisecond, func(at int64, pcm []int16) { all = append(all, fmt.Sprintf("%d:%d", at, pcm[0])) }, func() { all = append(all, "finish") })
		return all
	}
	m := newMemory(Narrow)
	m.keep(1000, frame(1))
	m.keep(1160, frame(2))
	m.ends = append(m.ends, m.end())
	m.keep(1480, frame(3)) // one frame was dropped
	if got, want := told(m), []string{"1000:1", "1160:2", "finish", "1320:0", "1480:3"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	m.settled()
	if got, want := told(m), []string{"1320:0", "1480:3"}; !slices.Equal(got, want) {
		t.Errorf("after a Final: %v, want %v", got, want)
	}
	m.settled()
	if got := told(m); len(got) != 0 || m.end() != 1640 {
		t.Errorf("after the next: %v, %d", got, m.end())
	}
	for i := range int64(remembered/(20*time.Millisecond)) + 1 {
		m.keep(1640+160*i, frame(4))
	}
	if !m.short || len(m.pcm) > m.samples(remembered) || m.end() != 1640+160*(int64(remembered/(20*time.Millisecond))+1) {
		t.Errorf("of too much: short %v, %d samples to %d", m.short, len(m.pcm), m.end())
	}
	m.idle(time.Second)
	if m.short || len(m.pcm) != Narrow {
		t.Errorf("idle: short %v, %d samples", m.short, len(m.pcm))
	}
	m.keep(1<<40, frame(5)) // after hours on hold
	if got := told(m); !m.short || !slices.Equal(got, []string{fmt.Sprintf("%d:5", 1<<40)}) {
		t.Errorf("after hours: short %v, %v", m.short, got)
	}
}

// A dead child's box names whom it thought about, else whom it heard; who has left is not named, and there is room for the next.
func TestBlackBox(t *testing.T) {
	server, err := newBlackBox()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.file.Close() })
	if _, err := os.Stat(server.file.Name()); !os.IsNotExist(err) {
		t.Errorf("the file has a name: %v", err)
	}
	child := openBlackBox(server.file)
	named := func() (all []uint32) {
		for s := range server.accused() {
			all = append(all, s)
		}
		slices.Sort(all)
		return all
	}
	one, two := child.enter(71), child.enter(72)
	if got := named(); got != nil {
		t.Errorf("at rest: %v", got)
	}
	one.note(deedHears, 1)
	two.note(deedHears, 1)
	if got := named(); !slices.Equal(got, []uint32{71, 72}) {
		t.Errorf("while it hears: %v", got)
	}
	two.note(deedThinks, 1)
	if got := named(); !slices.Equal(got, []uint32{72}) {
		t.Errorf("while it thinks: %v", got)
	}
	two.leave() // while native code is still at it
	two.note(deedHears, -1)
	if got := named(); !slices.Equal(got, []uint32{72}) {
		t.Errorf("after its end: %v", got)
	}
	two.note(deedThinks, -1)
	one.note(deedHears, -1)
	one.leave()
	if got := named(); got != nil || len(child.free) != boxEntries {
		t.Errorf("after all: %v, %d entries are free", got, len(child.free))
	}
	three := child.enter(73)          // has one's entry now
	for _, by := range []int{1, -1} { // one's work had waited, and begins when one is gone
		one.note(deedThinks, by)
		if got := named(); got != nil {
			t.Errorf("who is gone thinks: %v", got)
		}
	}
	if three.leave(); len(child.free) != boxEntries {
		t.Errorf("%d entries are free of %d", len(child.free), boxEntries)
	}
	for i := range boxEntries {
		child.enter(uint32(i))
	}
	crowded := child.enter(9)
	crowded.note(deedThinks, 1)
	crowded.leave()
}
