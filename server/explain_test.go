package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplainHuman(t *testing.T) {
	env := environment(t)
	in := strings.Join([]string{
		"en\tchat\tI want to talk to a human",
		"\t\thow much is the tent?",
		"",
		`{"lang":"de","channel":"chat","dialog":[{"author":"customer","text":"hm"},{"author":"ai","text":"Shall I get a person?"}],"text":"ja bitte"}`,
		`{"lang":"de","channel":"chat","text":"ja bitte"}`,
		"en chat no tabs",
		"en\tpigeon\tagent",
		`{"text":`,
		"en\temail\tonly the price please",
		`{"channel":"email","text":"thanks, solved\n\nOn Mon, 3 Nov 2025 at 10:00, Ana <ana@example.com> wrote:\n> I want to talk to a human"}`,
		"en\tchat\t" + strings.Repeat("a ", maxLine),
		"\xef\xbb\xbfen\tvoice\toperator",
	}, "\n")
	var out, errs strings.Builder
	if code := command(t.Context(), []string{"explain", "human"}, env, strings.NewReader(in), &out, &errs); code != 1 {
		t.Errorf("code %d", code)
	}
	var verdicts string
	for line := range strings.Lines(out.String()) {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || fields[1] == "" || strings.TrimSpace(fields[2]) == "" {
			t.Errorf("line %q", line)
		}
		verdicts += fields[0]
	}
	if verdicts != "1010001" {
		t.Errorf("verdicts %s\n%s", verdicts, out.String())
	}
	for _, says := range []string{"line 6: want language<TAB>channel<TAB>text", "line 7: channel: want voice, chat or email", "line 8: not JSON", "line 11: longer than 4 MB", "4 bad lines"} {
		if !strings.Contains(errs.String(), says) {
			t.Errorf("no %q in %s", says, errs.String())
		}
	}
}

func TestExplainHumanReadsAFile(t *testing.T) {
	env, name := environment(t), filepath.Join(t.TempDir(), "lines.tsv")
	if err := os.WriteFile(name, []byte("en\tchat\toperator\nen\tchat\tthanks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if code := command(t.Context(), []string{"explain", "human", name}, env, strings.NewReader(""), &out, io.Discard); code != 0 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("code %d, %s", code, out.String())
	}
	if code := command(t.Context(), []string{"explain", "human", name + "x"}, env, strings.NewReader(""), &out, &out); code != 1 || !strings.Contains(out.String(), "no such file") {
		t.Errorf("code %d, %s", code, out.String())
	}
}
