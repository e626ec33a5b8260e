package speech

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

// whisper is OpenAI's recogniser of that name, which knows a hundred languages. One model serves all; any number of threads may use it
// at once. The features are ours (mel.go), the graphs too (whispermodel.go), and what follows is its decoding: always the likeliest token.
type whisper struct {
	onnx             *onnx
	encoder, decoder uintptr
	layers, heads    int
	tokens           []string // what each stands for, in the writing of its vocabulary
	languages        map[string]int64
	never            []bool // tokens that are no words
	names            whisperNames

	start, end, transcribe, plain int64
}

// whisperNames are those of the graphs' inputs and outputs.
type whisperNames struct{ encoderIn, encoderOut, decoderIn, decoderOut [][]byte }

const (
	whisperTail    = 4 * Wide // silence behind the sound: with less it says the last words again and again, with more it is only slower
	whisperMost    = 28 * Wide
	whisperPerWord = 5 // tokens a second that nobody says more of
)

// openWhisper makes the graphs of the model when it is used first; that takes some seconds.
func openWhisper(o *onnx, models shelf) (*whisper, error) {
	w := &whisper{onnx: o}
	encoder, decoder, err := w.graphs(models)
	if err != nil {
		return nil, err
	}
	if err := w.readTokens(models); err != nil {
		return nil, err
	}
	for i := range w.layers {
		n := &w.names
		n.encoderOut = append(n.encoderOut, cstring(heardKey(i)), cstring(heardValue(i)))
		n.decoderIn = append(n.decoderIn, cstring(pastKey(i)), cstring(pastValue(i)))
		n.decoderOut = append(n.decoderOut, cstring(nowKey(i)), cstring(nowValue(i)))
	}
	w.names.encoderIn = [][]byte{cstring("mel"), cstring("places")}
	w.names.decoderIn = slices.Concat(w.names.decoderIn, w.names.encoderOut, [][]byte{cstring("tokens"), cstring("places"), cstring("mask")})
	w.names.decoderOut = append(w.names.decoderOut, cstring("logits"))
	if w.encoder, err = o.session(encoder); err != nil {
		return nil, err
	}
	if w.decoder, err = o.session(decoder); err != nil {
		return nil, err
	}
	_, err = w.text(make([]float32, Wide), "en") // a file that is another model is found out now, and the first run makes the buffers
	return w, err
}

// graphs are the two files derived of the weights.
func (w *whisper) graphs(models shelf) (encoder, decoder string, err error) {
	f, err := os.Open(models.path(fileWhisper))
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_PRIVATE) // most of it is only read once in a lifetime
	if err != nil {
		return "", "", err
	}
	defer syscall.Munmap(b)
	all, err := readCT2(b)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w: %s", models.path(fileWhisper), err, fetchTongues)
	}
	m := newWhisperMaker(all)
	w.layers, w.heads = m.layers("decoder"), m.heads
	made := func(part string, build func(*whisperMaker) ([]byte, error)) (string, error) {
		return models.derived(fmt.Sprintf("whisper_%s_%d.onnx", part, whisperMade), anySize, func(to io.Writer) error {
			graph, err := build(newWhisperMaker(all))
			if err != nil {
				return fmt.Errorf("%s: %w: %s", models.path(fileWhisper), err, fetchTongues)
			}
			_, err = to.Write(graph)
			return err
		})
	}
	if encoder, err = made("encoder", (*whisperMaker).encoder); err != nil {
		return "", "", err
	}
	decoder, err = made("decoder", (*whisperMaker).decoder)
	return encoder, decoder, err
}

// whisperMade counts the ways in which the graphs were made so far: old ones are not used.
const whisperMade = 1

// readTokens reads the vocabulary: what the tokens stand for, which are languages, and which are never heard.
func (w *whisper) readTokens(models shelf) error {
	b, err := os.ReadFile(models.path(fileWhisperTokens))
	if err != nil {
		return err
	}
	w.languages = map[string]int64{}
	place := map[string]int64{}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		t, n := lines.Text(), int64(len(w.tokens))
		w.tokens = append(w.tokens, t)
		if strings.HasPrefix(t, "<|") && strings.HasSuffix(t, "|>") {
			place[t] = n
			if l := t[2 : len(t)-2]; len(l) == 2 || len(l) == 3 {
				w.languages[l] = n
			}
		}
	}
	for name, to := range map[string]*int64{"<|startoftranscript|>": &w.start, "<|endoftext|>": &w.end, "<|transcribe|>": &w.transcribe, "<|notimestamps|>": &w.plain} {
		if *to = place[name]; *to == 0 {
			return fmt.Errorf("%s has no %s: %s", models.path(fileWhisperTokens), name, fetchTongues)
		}
	}
	b, err = os.ReadFile(models.path(fileWhisperCard))
	if err != nil {
		return err
	}
	var card struct {
		Never []int `json:"suppress_ids"`
	}
	if err := json.Unmarshal(b, &card); err != nil {
		return fmt.Errorf("%s: %w: %s", models.path(fileWhisperCard), err, fetchTongues)
	}
	w.never = make([]bool, len(w.tokens))
	for i := w.end + 1; i < int64(len(w.never)); i++ { // languages, tasks, times
		w.never[i] = true
	}
	for _, i := range card.Never {
		if i >= 0 && i < len(w.never) {
			w.never[i] = true
		}
	}
	return nil
}

// bench is the values of one run, lent memory and the runtime's.
type bench struct {
	onnx *onnx
	pin  runtime.Pinner
	made []uintptr
	err  error
}

func onBench[T any](b *bench, data []T, of int, shape ...int64) uintptr {
	if cap(data) == 0 {
		data = make([]T, 0, 1)
	}
	first := unsafe.SliceData(data)
	b.pin.Pin(first)
	value, err := b.onnx.tensor(unsafe.Pointer(first), len(data)*int(unsafe.Sizeof(*first)), shape, of)
	b.made, b.err = append(b.made, value), cmp.Or(b.err, err)
	return value
}

func (b *bench) close() {
	for _, v := range b.made {
		b.onnx.release(ortReleaseValue, v)
	}
	b.pin.Unpin()
}

func counted(from, n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(from + i)
	}
	return all
}

// heard is what the encoder makes of sound: the values that the decoder attends to.
func (w *whisper) heard(b *bench, pcm []float32) ([]uintptr, error) {
	pcm = pcm[:min(len(pcm), whisperMost)]
	sound := make([]float32, (len(pcm)+whisperTail+2*melHop-1)/(2*melHop)*2*melHop) // an even number of frames
	copy(sound, pcm)
	mel := logMel(sound)
	frames := len(mel) / melBands
	in := []uintptr{onBench(b, mel, ortFloat, 1, melBands, int64(frames)), onBench(b, counted(0, frames/2), ortInt64, int64(frames/2))}
	if b.err != nil {
		return nil, b.err
	}
	out := make([]uintptr, 2*w.layers)
	err := w.onnx.run(w.encoder, w.names.encoderIn, in, w.names.encoderOut, out)
	b.made = append(b.made, out...)
	return out, err
}

// spoken is the decoder in the middle of a text.
type spoken struct {
	model  *whisper
	heard  []uintptr
	past   []uintptr // of the last step
	at     int
	logits []float32
}

func (w *whisper) begin(b *bench, heard []uintptr) *spoken {
	s := &spoken{model: w, heard: heard, logits: make([]float32, len(w.tokens))}
	for range w.layers {
		s.past = append(s.past, onBench(b, []float32{}, ortFloat, 1, int64(w.heads), whisperHead, 0), onBench(b, []float32{}, ortFloat, 1, int64(w.heads), 0, whisperHead))
	}
	return s
}

// step gives the decoder the next tokens; logits is then what may follow.
func (s *spoken) step(tokens ...int64) error {
	w, n := s.model, len(tokens)
	b := bench{onnx: w.onnx}
	defer b.close()
	mask := make([]float32, n*(s.at+n))
	for i := range n {
		for j := s.at + i + 1; j < s.at+n; j++ {
			mask[i*(s.at+n)+j] = -1e9
		}
	}
	in := slices.Concat(s.past, s.heard)
	in = append(in, onBench(&b, tokens, ortInt64, int64(n)), onBench(&b, counted(s.at, n), ortInt64, int64(n)), onBench(&b, mask, ortFloat, 1, 1, int64(n), int64(s.at+n)))
	out := append(make([]uintptr, 2*w.layers), onBench(&b, s.logits, ortFloat, 1, int64(len(s.logits))))
	if b.err != nil {
		return b.err
	}
	err := w.onnx.run(w.decoder, w.names.decoderIn, in, w.names.decoderOut, out)
	s.release()
	s.past, s.at = out[:2*w.layers], s.at+n
	return err
}

// release gives back the past that the runtime has made.
func (s *spoken) release() {
	if s.at > 0 {
		for _, v := range s.past {
			s.model.onnx.release(ortReleaseValue, v)
		}
	}
	s.past = nil
}

// text of sound at 16 kHz in a language.
func (w *whisper) text(pcm []float32, language string) (t transcript, err error) {
	tongue, ok := w.languages[language]
	if !ok {
		return t, fmt.Errorf("whisper does not know the language %q", language)
	}
	b := &bench{onnx: w.onnx}
	defer b.close()
	heard, err := w.heard(b, pcm)
	if err != nil {
		return t, err
	}
	s := w.begin(b, heard)
	defer s.release()
	if err := errors.Join(b.err, s.step(w.start, tongue, w.transcribe, w.plain)); err != nil {
		return t, err
	}
	var said []int64
	sum := 0.0
	most := whisperPerWord * (2 + len(pcm)/Wide)
	for {
		token, likely := s.likeliest(len(said) == 0)
		sum += likely
		if token == w.end || len(said) >= most {
			break
		}
		said = append(said, token)
		if again := repeated(said); again > 0 { // it dreams on after the words
			said = said[:len(said)-again]
			break
		}
		if err := s.step(token); err != nil {
			return t, err
		}
	}
	t.text = w.written(said)
	t.confidence = math.Exp(sum / float64(len(said)+1))
	return t, nil
}

// tongue is the likeliest of some languages to be spoken in sound at 16 kHz, with its likelihood among them.
func (w *whisper) tongue(pcm []float32, among []string) (language string, likely float64, err error) {
	b := &bench{onnx: w.onnx}
	defer b.close()
	heard, err := w.heard(b, pcm)
	if err != nil {
		return "", 0, err
	}
	s := w.begin(b, heard)
	defer s.release()
	if err := errors.Join(b.err, s.step(w.start)); err != nil {
		return "", 0, err
	}
	sum, best := 0.0, math.Inf(-1)
	for _, l := range among {
		token, ok := w.languages[l]
		if !ok {
			continue
		}
		v := float64(s.logits[token])
		if v > best {
			language, sum, best = l, sum*math.Exp(best-v), v
		}
		sum += math.Exp(v - best)
	}
	if language == "" {
		return "", 0, fmt.Errorf("whisper knows none of %v", among)
	}
	return language, 1 / sum, nil
}

// likeliest is the best next token with the logarithm of its likelihood.
func (s *spoken) likeliest(first bool) (token int64, likely float64) {
	best := math.Inf(-1)
	for i, v := range s.logits {
		if float64(v) > best && !s.model.never[i] && !(first && int64(i) == s.model.end) {
			best, token = float64(v), int64(i)
		}
	}
	sum := 0.0
	for _, v := range s.logits {
		sum += math.Exp(float64(v) - best)
	}
	return token, -math.Log(sum)
}

// repeated is how many tokens at the end say once more what stands before them: a sentence for the second time, some words for the third,
// a word or two for the eighth (a number may be such).
func repeated(said []int64) int {
	for n := 1; 2*n <= len(said); n++ {
		times := 2
		if n <= 2 {
			times = 8
		} else if n <= 8 {
			times = 3
		}
		again := 1
		for again < times && (again+1)*n <= len(said) && slices.Equal(said[len(said)-n:], said[len(said)-(again+1)*n:len(said)-again*n]) {
			again++
		}
		if again == times {
			return (times - 1) * n
		}
	}
	return 0
}

// written is what tokens stand for. In the vocabulary each byte of a text is a letter: the visible ones are themselves, the others stand
// from 256 on, as GPT-2 began it.
func (w *whisper) written(tokens []int64) string {
	var out []byte
	for _, t := range tokens {
		for _, r := range w.tokens[t] {
			if b := byteOf(r); b >= 0 {
				out = append(out, byte(b))
			}
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(out), ""))
}

func byteOf(r rune) int {
	visible := func(b int) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae && b <= 0xff }
	if r < 256 {
		return int(r)
	}
	n := rune(256)
	for b := range 256 {
		if visible(b) {
			continue
		}
		if n == r {
			return b
		}
		n++
	}
	return -1
}
