package media

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	recordFrame = 4 // bytes of a stereo sample: left, right
	// peaksPerSecond is how fine the waveform is; a pair of bytes each.
	peaksPerSecond = 20
)

// ErrNoRecording: the file does not begin with the header a Recorder writes.
var ErrNoRecording = errors.New("not a recording: stereo WAV of 16 bits at 8 or 16 kHz expected")

// Summary is what is known of a finished recording.
type Summary struct {
	Seconds float64
	Bytes   int64 // of the whole file
	SHA256  [sha256.Size]byte
	Peaks   []byte // the waveform: pairs (left, right) of 0..255, 20 a second
	Marks   []Mark
	Gaps    int // times the disk was too slow; each has a mark
}

// Mark is something that happened while it was recorded.
type Mark struct {
	At   float64 `json:"at"`   // seconds from the beginning
	What string  `json:"what"` // one of the Mark... words
}

// What a Mark says.
const (
	MarkPaused  = "paused"
	MarkResumed = "resumed"
	MarkGap     = "gap"    // packets came faster than the disk took them: silence instead
	MarkFailed  = "failed" // the disk refused: the file ends here
)

// recording is the file behind a Recorder: a window that lies open for late packets, and what has been written before
// it. One goroutine uses it.
type recording struct {
	f       *os.File
	rate    int
	written int64  // stereo samples in the file
	window  []byte // the samples after them: silence until placed
	peaks   waveform
}

func createRecording(path string, rate int, window int) (*recording, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := &recording{f: f, rate: rate, window: make([]byte, window*recordFrame), peaks: newWaveform(rate)}
	if err := w.size(); err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return w, nil
}

// place puts samples of one side (0 left, 1 right) at pos, counted from the beginning of the file. What lies before
// the window comes too late and is dropped; what lies behind its end as well: write makes room first.
func (w *recording) place(side int, pos int64, samples []int16) {
	at := pos - w.written
	if at < 0 {
		samples = samples[min(-at, int64(len(samples))):]
		at = 0
	}
	room := int64(len(w.window)/recordFrame) - at
	samples = samples[:min(max(room, 0), int64(len(samples)))]
	for i, s := range samples {
		binary.LittleEndian.PutUint16(w.window[(int(at)+i)*recordFrame+2*side:], uint16(s))
	}
}

// mute silences both sides between two positions, as far as they are not written yet.
func (w *recording) mute(from, to int64) {
	end := int64(len(w.window) / recordFrame)
	from, to = min(max(from-w.written, 0), end), min(max(to-w.written, 0), end)
	if from < to {
		clear(w.window[from*recordFrame : to*recordFrame])
	}
}

// write moves the window on to pos.
func (w *recording) write(pos int64) error {
	for w.written < pos {
		n := min(int(pos-w.written)*recordFrame, len(w.window))
		b := w.window[:n]
		w.peaks.add(b)
		if _, err := w.f.WriteAt(b, wavHeaderSize+w.written*recordFrame); err != nil {
			return fmt.Errorf("write recording: %w", err)
		}
		w.written += int64(n / recordFrame)
		clear(w.window[copy(w.window, w.window[n:]):])
	}
	return nil
}

// size writes the header for what is in the file now.
func (w *recording) size() error {
	var h [wavHeaderSize]byte
	putWAVHeader(h[:], w.rate, 2, w.written*recordFrame)
	if _, err := w.f.WriteAt(h[:], 0); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return nil
}

// finish sets the sizes, brings the file to the disk and sums it up. It is the only time the disk is waited for: while
// a call runs the kernel writes back as it likes (30 s at most), for an fsync of 200 files every few seconds would cost
// more than the last seconds of a call are worth after a power cut; a killed process loses none of it.
func (w *recording) finish() (Summary, error) {
	err := w.size()
	if e := w.f.Sync(); e != nil {
		err = errors.Join(err, fmt.Errorf("sync recording: %w", e))
	}
	s := Summary{
		Seconds: float64(w.written) / float64(w.rate), Bytes: wavHeaderSize + w.written*recordFrame, Peaks: w.peaks.done(),
	}
	if e := sum(w.f, &s, nil); e != nil {
		err = errors.Join(err, e)
	}
	if e := w.f.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("close recording: %w", e))
	}
	return s, err
}

// sum reads the whole file for its checksum, and for its waveform when peaks is given.
func sum(f *os.File, s *Summary, peaks *waveform) error {
	h := sha256.New()
	body := io.NewSectionReader(f, 0, s.Bytes)
	b := make([]byte, 64<<10+wavHeaderSize)
	skip := wavHeaderSize
	for {
		n, err := io.ReadFull(body, b[:64<<10+skip]) // whole samples each time
		h.Write(b[:n])
		if peaks != nil {
			peaks.add(b[min(skip, n):n])
		}
		skip = 0
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read recording: %w", err)
		}
	}
	h.Sum(s.SHA256[:0])
	return nil
}

// Repair makes a recording whole whose writer was killed: it cuts off half a sample, sets the header's sizes from the
// file's length and computes waveform and checksum. Marks are lost with the process. A whole recording stays as it is.
func Repair(path string) (Summary, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return Summary{}, fmt.Errorf("repair: %w", err)
	}
	s, err := repair(f)
	return s, errors.Join(err, f.Close())
}

func repair(f *os.File) (Summary, error) {
	info, err := f.Stat()
	if err != nil {
		return Summary{}, fmt.Errorf("repair: %w", err)
	}
	var head, want [wavHeaderSize]byte
	if _, err := f.ReadAt(head[:], 0); err == io.EOF {
		return Summary{}, ErrNoRecording
	} else if err != nil {
		return Summary{}, fmt.Errorf("repair: %w", err)
	}
	rate := int(binary.LittleEndian.Uint32(head[24:]))
	putWAVHeader(want[:], rate, 2, (info.Size()-wavHeaderSize)/recordFrame*recordFrame)
	sized := head
	copy(sized[4:8], want[4:8])
	copy(sized[40:44], want[40:44])
	if sized != want || rate != Rate && rate != wideRate { // something else than the two sizes differs
		return Summary{}, ErrNoRecording
	}
	s := Summary{Bytes: wavHeaderSize + (info.Size()-wavHeaderSize)/recordFrame*recordFrame}
	s.Seconds = float64((s.Bytes-wavHeaderSize)/recordFrame) / float64(rate)
	if head != want || s.Bytes != info.Size() {
		_, err := f.WriteAt(want[:], 0)
		if err = errors.Join(err, f.Truncate(s.Bytes), f.Sync()); err != nil {
			return Summary{}, fmt.Errorf("repair: %w", err)
		}
	}
	peaks := newWaveform(rate)
	if err := sum(f, &s, &peaks); err != nil {
		return Summary{}, err
	}
	s.Peaks = peaks.done()
	return s, nil
}

// waveform keeps the loudest sample of each 50 ms and side.
type waveform struct {
	every, n int
	max      [2]int
	pairs    []byte
}

func newWaveform(rate int) waveform { return waveform{every: rate / peaksPerSecond} }

// add takes whole stereo samples.
func (w *waveform) add(b []byte) {
	left, right, n := w.max[0], w.max[1], w.n
	for ; len(b) >= recordFrame; b = b[recordFrame:] {
		l, r := int(int16(binary.LittleEndian.Uint16(b))), int(int16(binary.LittleEndian.Uint16(b[2:])))
		left, right = max(left, l, -l), max(right, r, -r)
		if n++; n == w.every {
			w.pairs = append(w.pairs, level(left), level(right))
			left, right, n = 0, 0, 0
		}
	}
	w.max, w.n = [2]int{left, right}, n
}

// done is the waveform with what the last, shorter piece had.
func (w *waveform) done() []byte {
	if w.n > 0 {
		w.pairs = append(w.pairs, level(w.max[0]), level(w.max[1]))
		w.n, w.max = 0, [2]int{}
	}
	return w.pairs
}

func level(sample int) byte { return byte(min(sample>>7, 255)) }

// end is where the window ends.
func (w *recording) end() int64 { return w.written + int64(len(w.window)/recordFrame) }
