package speechtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Speakers are people who are none of ours: the voices of other engines, each with the command that writes what it says into a file.
var Speakers = []Speaker{
	{"flite rms", "flite", func(text, to string) []string { return []string{"-voice", "rms", "-t", text, "-o", to} }},
	{"flite slt", "flite", func(text, to string) []string { return []string{"-voice", "slt", "-t", text, "-o", to} }},
	{"flite awb", "flite", func(text, to string) []string { return []string{"-voice", "awb", "-t", text, "-o", to} }},
	{"flite kal", "flite", func(text, to string) []string { return []string{"-voice", "kal", "-t", text, "-o", to} }},
	{"espeak-ng en-us", "espeak-ng", func(text, to string) []string { return []string{"-v", "en-us", "-s", "150", "-w", to, text} }},
}

// Speaker is one of them.
type Speaker struct {
	Name    string
	program string
	args    func(text, to string) []string
}

// Present says whether the box has this speaker.
func (s Speaker) Present() bool {
	_, err := exec.LookPath(s.program)
	_, sox := exec.LookPath("sox")
	return err == nil && sox == nil
}

// Says is the sound of text, at any rate. sox brings it there.
func (s Speaker) Says(t testing.TB, text string, rate int) []int16 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "said.wav")
	if out, err := exec.Command(s.program, s.args(text, file)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", s.Name, err, out)
	}
	raw, err := exec.Command("sox", file, "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", fmt.Sprint(rate), "-").Output()
	if err != nil {
		t.Fatalf("sox: %v", err)
	}
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	return pcm
}

// Foreign is a present speaker; without any the test is skipped by name, but not in CI.
func Foreign(t testing.TB) Speaker {
	t.Helper()
	for _, s := range Speakers {
		if s.Present() {
			return s
		}
	}
	missing(t, "flite or espeak-ng, and sox, are not installed")
	return Speaker{}
}

// Folder is where deploy/models.sh has put the engines' models. Without it the test is skipped by name, but not in CI.
func Folder(t testing.TB) string {
	t.Helper()
	cache := os.Getenv("PATCHBAY_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(base, "patchbay")
	}
	dir := filepath.Join(cache, "models", "speech")
	if _, err := os.Stat(dir); err != nil {
		missing(t, fmt.Sprintf("no speech models (bash deploy/models.sh speech): %v", err))
	}
	return dir
}

// missing skips the test because of what the box lacks; where everything has to be there it fails.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PATCHBAY_CI") != "" {
		t.Fatal(what)
	}
	t.Skip("SKIPPED: " + what)
}
