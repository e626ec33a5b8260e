package speech

import (
	"encoding/binary"
	"os"
	"sync"
)

// blackBox tells, when a child is dead, for whom it was at work. It is a file without a name that both sides hold open: the child notes in it
// who is being heard, thought about or spoken for, and the server reads it when nobody writes any more. What was written survives
// whatever ends the child.
type blackBox struct {
	file *os.File
	mu   sync.Mutex
	free []int // entries that nobody has
}

// An entry has the session's number in four bytes, then how many goroutines hear its sound, and how many think about it.
const (
	boxEntries = 512 // who comes when all are taken is not noted
	boxEntry   = 8
	deedHears  = 4
	deedThinks = 5
)

// newBlackBox makes the file; for the server.
func newBlackBox() (*blackBox, error) {
	f, err := os.CreateTemp("", "patchbay-speech-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &blackBox{file: f}, f.Truncate(boxEntries * boxEntry)
}

// accused are the sessions for which the dead child was at work: those it thought about, else those it heard.
func (b *blackBox) accused() map[uint32]bool {
	all := make([]byte, boxEntries*boxEntry)
	if _, err := b.file.ReadAt(all, 0); err != nil {
		return nil // nobody is accused
	}
	for _, deed := range []int{deedThinks, deedHears} {
		found := map[uint32]bool{}
		for at := 0; at < len(all); at += boxEntry {
			if all[at+deed] > 0 {
				found[binary.LittleEndian.Uint32(all[at:])] = true
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// openBlackBox is the child's side.
func openBlackBox(f *os.File) *blackBox {
	b := &blackBox{file: f}
	for i := range boxEntries {
		b.free = append(b.free, i)
	}
	return b
}

// entry is one session's; nil notes nothing.
type entry struct {
	box *blackBox
	no  int

	mu    sync.Mutex
	deeds [boxEntry]byte
	left  bool
	back  bool // somebody else may have it
}

func (b *blackBox) enter(session uint32) *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.free)
	if n == 0 {
		return nil
	}
	e := &entry{box: b, no: b.free[n-1]}
	b.free = b.free[:n-1]
	binary.LittleEndian.PutUint32(e.deeds[:], session)
	e.write()
	return e
}

// leave is when nothing new is done for the session; native code may still be at it.
func (e *entry) leave() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = true
	e.done()
}

// done gives the entry back when it is not needed any more. The lock is held.
func (e *entry) done() {
	if !e.left || e.back || e.deeds[deedHears] > 0 || e.deeds[deedThinks] > 0 {
		return
	}
	e.deeds, e.back = [boxEntry]byte{}, true
	e.write()
	e.box.mu.Lock()
	defer e.box.mu.Unlock()
	e.box.free = append(e.box.free, e.no)
}

// note that one more does it, or one less. Work that waited behind a suspect may begin when the session is over.
func (e *entry) note(deed int, by int) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.back {
		return
	}
	e.deeds[deed] += byte(by)
	e.write()
	e.done()
}

func (e *entry) write() {
	_, _ = e.box.file.WriteAt(e.deeds[:], int64(e.no)*boxEntry) // a note that cannot be written costs a suspicion
}
