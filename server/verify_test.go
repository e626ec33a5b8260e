package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchbay/server/report"
)

// TestVerify: the command says whose report it is, and refuses one in which a figure was changed.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	key, err := report.OpenKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := (&report.Proof{Rows: []report.ProofRow{{QueueName: "Service", Kept: 3}}}).JSON(key, "Fjord")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"kept": 3`, `"kept": 4`, 1)
	for _, c := range []struct {
		args  []string
		stdin string
		code  int
		says  string
	}{
		{[]string{"verify", file}, "", 0, "good: unchanged since it was signed by " + key.Public()},
		{[]string{"verify", file, "--key", key.Public()}, "", 0, "good"},
		{[]string{"verify", file, "--key", "other"}, "", 1, "signed, but with the key"},
		{[]string{"verify", "-"}, changed, 1, "was changed"},
		{[]string{"verify", filepath.Join(dir, "nothing")}, "", 1, "no such file"},
	} {
		var out, wrong bytes.Buffer
		if code := command(t.Context(), c.args, nil, strings.NewReader(c.stdin), &out, &wrong); code != c.code || !strings.Contains(out.String()+wrong.String(), c.says) {
			t.Errorf("%v: %d\n%s%s", c.args[:1], code, out.String(), wrong.String())
		}
	}
}
