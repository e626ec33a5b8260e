package speech

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestMessagesComeBack(t *testing.T) {
	b := appendMessage(nil, kindSound, 7, []byte{1, 0, 0, 0, 0, 0, 0, 0}, appendSamples(nil, []int16{-1, 300}))
	b = appendJSON(b, kindHeard, 8, wireHeard{Kind: Final, Text: "größe"})
	b = appendMessage(b, kindFinish, 0)
	in := messages{from: bytes.NewReader(b)}
	m, err := in.next()
	if err != nil || m.kind != kindSound || m.session != 7 {
		t.Fatalf("%+v, %v", m, err)
	}
	if at, pcm, err := m.sound(); at != 1 || !slices.Equal(pcm, []int16{-1, 300}) || err != nil {
		t.Errorf("sound %d %v %v", at, pcm, err)
	}
	if m, _ = in.next(); m.session != 8 {
		t.Errorf("%+v", m)
	} else if h, err := readHeard(m); h.Text != "größe" || err != nil {
		t.Errorf("%+v %v", h, err)
	}
	if m, err = in.next(); m.kind != kindFinish || err != nil {
		t.Errorf("%+v %v", m, err)
	}
	if _, err = in.next(); err != io.EOF {
		t.Errorf("at the end %v", err)
	}
}

// Whatever the other side writes: no panic, no memory beyond a message, and what is read is what it says.
func FuzzMessages(f *testing.F) {
	f.Add(appendMessage(nil, kindSound, 7, make([]byte, 28)))
	f.Add(appendJSON(nil, kindHeard, 8, wireHeard{Kind: Partial, Text: "hello"}))
	f.Add(appendJSON(nil, kindEnded, 8, wireEnd{"no"}))
	f.Add([]byte{255, 255, 255, 255, 1, 0, 0, 0, 0})
	f.Add([]byte{5, 0, 0, 0, 99, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := messages{from: bytes.NewReader(b)}
		for {
			m, err := in.next()
			if err != nil {
				break
			}
			if len(m.body) > maxMessage {
				t.Fatalf("%d bytes", len(m.body))
			}
			m.sound()
			readHeard(m)
			takeMade(m, func([]int16) error { return nil })
		}
		if cap(in.body) > maxMessage {
			t.Errorf("%d bytes kept", cap(in.body))
		}
	})
}

func FuzzMoonshineTokens(f *testing.F) {
	f.Add([]byte("\x05<unk>\x02\xe2\x96"))
	f.Add([]byte{200, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := moonshineTokens(b)
		if err == nil && bytes.Count(list, []byte("\n")) > len(b) {
			t.Error("more tokens than bytes")
		}
	})
}

// The sizes here and the manifest's are one list.
func TestSizesAreTheManifests(t *testing.T) {
	b, err := os.ReadFile("../../../deploy/models.tsv")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for row := range strings.Lines(string(b)) {
		f := strings.Split(row, "\t")
		if name, ok := strings.CutPrefix(f[min(1, len(f)-1)], "speech/"); ok && !strings.HasSuffix(name, "/") {
			seen++
			if got := sizes[name]; f[2] != "" && f[2] != strconv.FormatInt(got, 10) {
				t.Errorf("%s has %d bytes here and %s in deploy/models.tsv", name, got, f[2])
			}
		}
	}
	if seen != len(sizes) {
		t.Errorf("%d files here, %d in deploy/models.tsv", len(sizes), seen)
	}
}

// A model that is missing, cut in half or no model: which file, which command, and a call finds no engine; nothing crashes.
func TestModelsThatAreNotWhole(t *testing.T) {
	whole := models(t)
	for _, try := range []struct {
		name, file string
		job        Job
		content    func(b []byte) []byte // nil: removed
		want       string
	}{
		{"library missing", fileSherpa, Hearing, nil, "is missing"},
		{"recogniser missing", "ears/en-moonshine-tiny/" + fileDecoder, Hearing, nil, "is missing"},
		{"recogniser cut in half", "ears/en-moonshine-tiny/" + fileEncoder, Hearing, func(b []byte) []byte { return b[:len(b)/2] }, "is not whole: it has 6640800 bytes, 13281600 were expected"},
		{"voice cut in half", "voices/en_US-joe-medium.onnx", Speaking, func(b []byte) []byte { return b[:len(b)/2] }, "is not whole"},
		{"voice's card is something else", "voices/en_US-joe-medium.onnx.json", Speaking, func(b []byte) []byte { return bytes.Repeat([]byte(" "), len(b)) }, "is no description of a Piper voice"},
		{"pronunciation missing", fileEspeak, Speaking, nil, "is missing"},
	} {
		t.Run(try.name, func(t *testing.T) {
			dir := t.TempDir()
			lend(t, whole, dir, try.file)
			if try.content != nil {
				b, err := os.ReadFile(filepath.Join(whole, try.file))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, try.file), try.content(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e := openLocal(t, dir)
			d := standing(t, e, try.job, Missing)
			if !strings.Contains(d.Detail, filepath.Base(try.file)) || !strings.Contains(d.Detail, try.want) || !strings.Contains(d.Detail, fetch) {
				t.Errorf("told: %s", d.Detail)
			}
			var err error
			if try.job == Hearing {
				_, err = e.Hear(t.Context(), HearConfig{Rate: Narrow})
			} else {
				_, err = e.Say(t.Context(), "hello", SayConfig{Rate: Narrow})
			}
			if !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), fetch) {
				t.Errorf("a call is told %v", err)
			}
		})
	}
}

// A file of the right length that is no model kills a child, not us; when the right one comes it is taken up.
func TestModelThatIsNone(t *testing.T) {
	whole := models(t)
	dir := t.TempDir()
	lend(t, whole, dir, fileSilero)
	file := filepath.Join(dir, fileSilero)
	if err := os.WriteFile(file, make([]byte, sizes[fileSilero]), 0o600); err != nil {
		t.Fatal(err)
	}
	e := openLocal(t, dir)
	if d := standing(t, e, Hearing, Broken); !strings.Contains(d.Detail, "onnxruntime") {
		t.Errorf("told: %s", d.Detail)
	}
	if _, err := e.Hear(t.Context(), HearConfig{Rate: Narrow}); !errors.Is(err, ErrNoEngine) {
		t.Errorf("a call is told %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(whole, fileSilero), file); err != nil {
		t.Fatal(err)
	}
	standing(t, e, Hearing, Ready)
}

// lend makes dir a models' folder of links, without one file.
func lend(t *testing.T, whole, dir, without string) {
	t.Helper()
	err := filepath.WalkDir(whole, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(whole, path)
		switch {
		case err != nil || name == without || d.IsDir() && (name == "derived" || name == "whisper"): // what takes seconds to make
			if d.IsDir() {
				return filepath.SkipDir
			}
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		}
		return os.Symlink(path, filepath.Join(dir, name))
	})
	if err != nil {
		t.Fatal(err)
	}
}
