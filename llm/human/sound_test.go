package human

import (
	"os"
	"strings"
	"testing"

	"patchbay/channels"
)

// onThePhone reads a table as words that were heard, and reports each line that is judged wrongly.
func onThePhone(t *testing.T, name string) (wishes, reached, asked, none, alarms, vain int) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		mark, text, ok := strings.Cut(line, " ")
		if !ok || line[0] != '+' && line[0] != '-' {
			continue
		}
		w := Read(text, Context{Channel: channels.Voice})
		switch {
		case mark == "+":
			wishes++
			if w.Yes {
				reached++
			} else if w.Unsure {
				asked++
			}
		case line[0] == '-':
			none++
			if w.Rule == "sound" && w.Yes {
				alarms++
				t.Logf("false alarm: %s", line)
			} else if w.Rule == "sound" {
				vain++
			}
		}
	}
	return wishes, reached, asked, none, alarms, vain
}

// TestHeard reads what the recogniser of server/talk_wish_test.go wrote down of wishes in whose words nothing is left of them, and of
// other matters.
func TestHeard(t *testing.T) {
	wishes, reached, asked, none, alarms, vain := onThePhone(t, "testdata/heard.txt")
	t.Logf("%d of %d reach a person, %d are asked; of %d other matters the sound takes %d for a wish and asks %d", reached, wishes, asked, none, alarms, vain)
	if reached*100 < wishes*leastHeard || alarms > 0 || vain*50 > none {
		t.Errorf("at least %d %% of %d should reach a person, none of the others, and hardly any be asked", leastHeard, wishes)
	}
}

// leastHeard is in percent, and may only rise.
const leastHeard = 38

// TestSoundAlarms: nothing that customers wrote without a wish has the sound of one.
func TestSoundAlarms(t *testing.T) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		_, _, _, none, alarms, vain := onThePhone(t, "testdata/"+f.Name())
		lines += none
		if alarms > 0 || vain*50 > none {
			t.Errorf("%s: of %d lines %d are taken for a wish, %d are asked", f.Name(), none, alarms, vain)
		}
	}
	if lines < 6000 {
		t.Errorf("only %d lines", lines)
	}
}

// TestSoundsLike holds what decides: the frame, the noun, what forbids, and the channel.
func TestSoundsLike(t *testing.T) {
	for text, want := range map[string]Wish{
		"Gat me your manager.":                               {Yes: true},
		"Blade me, talked her a human,":                      {Yes: true},
		"Talked two representatives.":                        {Yes: true},
		"Trans. For me. Please.":                             {Yes: true}, // cut in three
		"And somebody call me Jack,":                         {Yes: true}, // its beginning is cut off
		"I don't want to talk to Mashim,":                    {Yes: true},
		"It does not work. Blade me, talked her a human,":    {Yes: true}, // another sentence forbids nothing
		"Percent, Please.":                                   {Unsure: true},
		"Ten percent, please.":                               {},
		"Upper heater.":                                      {Yes: true},
		"The stove is broken. Upper heater.":                 {}, // beside other words it may be what is broken
		"Parcel, please.":                                    {},
		"I want a tent.":                                     {},
		"My son wrote: gat me your manager.":                 {},
		"Never gat me your manager.":                         {},
		"I don't want to take the machine.":                  {},
		"The man I saw had a represented attitude, I think.": {},
	} {
		got := Read(text, Context{Channel: channels.Voice})
		if got.Yes != want.Yes || got.Unsure != want.Unsure || (want.Yes || want.Unsure) && got.Rule != "sound" {
			t.Errorf("%q: %+v", text, got)
		}
		if w := Read(text, Context{Channel: channels.Chat}); w.Rule == "sound" {
			t.Errorf("%q was written, not heard: %+v", text, w)
		}
	}
}

func TestReadSounds(t *testing.T) {
	for file, wrong := range map[string]string{
		"person human":                           "no colon",
		"wish 20 30: nobody":                     `no set "nobody"`,
		"a: an\nwish many 30: a":                 "expected integer",
		"a: an\nwish 20 30: a@b":                 "invalid syntax",
		"# x\n\na: an | -\nwhole ask 20 30: a@5": "",
	} {
		_, err := readSounds(file)
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func FuzzSound(f *testing.F) {
	for _, s := range []string{"Blade me, talked her a human,", "\xff , .", strings.Repeat("a", 500), strings.Repeat("talk, ", 100), "Ünï ghgh xq"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if w := soundsLike(text); w != soundsLike(text) || w.Yes && w.Unsure {
			t.Errorf("%q: %+v", text, w)
		}
	})
}

func BenchmarkSound(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		soundsLike("My tent has a hole. I want to know what it costs to repair it and when.")
	}
}
