package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"patchbay/llm/llmtest"
)

// browser is a Chromium driven by webui/e2e/driver.mjs.
type browser struct {
	t     testing.TB
	in    io.WriteCloser
	mu    sync.Mutex
	n     int
	waits map[int]chan browserAnswer
	gone  chan struct{}
}

type browserAnswer struct {
	ID    int
	OK    bool
	Error string
	Value json.RawMessage
}

// needs names what the box lacks: a skip, or with PATCHBAY_CI=1 a failure.
func needs(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("PATCHBAY_CI") == "1" {
			t.Fatalf("%s is missing", tool)
		}
		t.Skipf("SKIP: %s is missing on this box", tool)
	}
}

// chromium starts a browser whose fake microphone plays that wav (48 kHz), "" for the built-in beeps.
func chromium(t testing.TB, microphone string) *browser {
	t.Helper()
	if os.Getenv("PATCHBAY_TEST_BROWSER") == "" {
		t.Skip("SKIP: browser tests run by deploy/browser-test.sh")
	}
	needs(t, "node", "chromium")
	cmd := exec.Command("node", "e2e/driver.mjs")
	cmd.Dir = "../webui"
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, in: in, waits: map[int]chan browserAnswer{}, gone: make(chan struct{})}
	go b.read(out)
	t.Cleanup(func() {
		in.Close()
		select {
		case <-b.gone:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
	})
	b.do("launch", frame{"microphone": microphone})
	return b
}

func (b *browser) read(r io.Reader) {
	defer close(b.gone)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a browserAnswer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue
		}
		b.mu.Lock()
		w := b.waits[a.ID]
		delete(b.waits, a.ID)
		b.mu.Unlock()
		if w != nil {
			w <- a
		}
	}
}

// do runs one command of the driver and fails the test when it fails.
func (b *browser) do(what string, with frame) json.RawMessage {
	b.t.Helper()
	b.mu.Lock()
	b.n++
	w := make(chan browserAnswer, 1)
	b.waits[b.n] = w
	c := frame{"id": b.n, "do": what}
	for k, v := range with {
		c[k] = v
	}
	line, err := json.Marshal(c)
	if err == nil {
		_, err = b.in.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		b.t.Fatal(err)
	}
	select {
	case a := <-w:
		if !a.OK {
			if page, ok := with["page"].(string); ok && what != "shot" {
				b.keep(page)
			}
			b.t.Fatalf("browser: %s %v: %s", what, with, a.Error)
		}
		return a.Value
	case <-b.gone:
		b.t.Fatalf("browser: gone in %s", what)
	}
	return nil
}

// keep saves what the page shows when a test fails, for the person who reads it.
func (b *browser) keep(page string) {
	if dir := os.Getenv("PATCHBAY_TEST_SHOTS"); dir != "" {
		path := filepath.Join(dir, fmt.Sprintf("failed-%d-%s.png", time.Now().Unix(), page))
		b.mu.Lock()
		b.n++
		c, _ := json.Marshal(frame{"id": b.n, "do": "shot", "page": page, "path": path})
		_, _ = b.in.Write(append(c, '\n'))
		b.mu.Unlock()
		b.t.Logf("picture: %s", path)
	}
}

// shot saves a picture for a person's eyes when PATCHBAY_TEST_SHOTS names a folder.
func (b *browser) shot(page, name string) {
	if dir := os.Getenv("PATCHBAY_TEST_SHOTS"); dir != "" {
		b.do("shot", frame{"page": page, "path": filepath.Join(dir, name+".png")})
	}
}

// picture checks a state of the page with axe, and keeps a picture of it as it is.
func (b *browser) picture(page, name string) {
	b.t.Helper()
	b.clean(page)
	b.shot(page, name)
}

// dark shows the desk in the dark from now on.
func (b *browser) dark(page string) {
	b.t.Helper()
	b.do("evaluate", frame{"page": page, "js": `document.documentElement.dataset.theme = 'dark'`})
}

// look checks a state of the page with axe, and keeps pictures of it in the light and in the dark.
func (b *browser) look(page, name string) {
	b.t.Helper()
	b.clean(page)
	if dir := os.Getenv("PATCHBAY_TEST_SHOTS"); dir != "" {
		b.do("look", frame{"page": page, "path": filepath.Join(dir, name)})
	}
}

func (b *browser) page(name, url string, with frame) {
	b.t.Helper()
	f := frame{"page": name, "url": url}
	for k, v := range with {
		f[k] = v
	}
	b.do("page", f)
}

func (b *browser) click(page, role, name string) {
	b.t.Helper()
	b.do("click", frame{"page": page, "role": role, "name": name})
}

// fill writes into a field, found by its selector.
func (b *browser) fill(page, css, text string) {
	b.t.Helper()
	b.do("fill", frame{"page": page, "css": css, "value": text})
}

// choose takes an option, found by the label of its list.
func (b *browser) choose(page, label, option string) {
	b.t.Helper()
	b.do("select", frame{"page": page, "label": label, "value": option})
}

func (b *browser) see(page, text string) {
	b.t.Helper()
	b.do("see", frame{"page": page, "text": text})
}

// clean checks the page for axe's findings and for errors in its console.
func (b *browser) clean(page string) {
	b.t.Helper()
	var found []string
	if err := json.Unmarshal(b.do("axe", frame{"page": page}), &found); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range found {
		b.t.Errorf("axe on %s: %s", page, f)
	}
}

// heard ends the recording that "hear" began: 8 kHz samples.
func (b *browser) heard(page string) []int16 {
	b.t.Helper()
	var text string
	if err := json.Unmarshal(b.do("heard", frame{"page": page}), &text); err != nil {
		b.t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		b.t.Fatal(err)
	}
	samples := make([]int16, len(raw)/2)
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	return samples
}

// TestBrowserSuites runs the pages' own end-to-end suites against the real house.
func TestBrowserSuites(t *testing.T) {
	if os.Getenv("PATCHBAY_TEST_BROWSER") == "" {
		t.Skip("SKIP: browser tests run by deploy/browser-test.sh")
	}
	needs(t, "node", "chromium")
	for _, suite := range []string{"visitor", "desk-live"} {
		t.Run(suite, func(t *testing.T) {
			_, env := ollama(t, llmtest.Oracle)
			h := open(t, env...)
			cmd := exec.Command("node", "--test", "e2e/"+suite+".test.mjs")
			cmd.Dir = "../webui"
			cmd.Env = append(os.Environ(), "BASE_URL="+h.url, "DESK_LINK="+h.url+"/desk/#link="+h.link)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			} else {
				t.Logf("%s", out[max(0, len(out)-300):])
			}
		})
	}
}
