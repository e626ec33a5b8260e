package email

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func notOurs(string) bool { return false }

func TestBounceCorpus(t *testing.T) {
	dir := corpora(t, "bounces")
	table, err := os.ReadFile(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	type want struct {
		status []string
		reason string
		hard   string
	}
	expected := map[string]*want{}
	for _, line := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		f := strings.Split(line, "\t")
		if expected[f[0]] == nil {
			expected[f[0]] = &want{reason: f[4], hard: f[5]}
		}
		expected[f[0]].status = append(expected[f[0]].status, f[2])
	}
	files := func(sub string) []string {
		list, err := filepath.Glob(filepath.Join(dir, "maildir", sub, "*.eml"))
		if err != nil || len(list) == 0 {
			t.Fatal("no mails in ", sub, err)
		}
		return list
	}
	show := os.Getenv("SHOW_BOUNCES") != ""
	for _, sub := range []string{"bsd", "dos", "mac"} {
		auto, all, reports, failures, right, hardRight, withIDs, reasons := 0, 0, 0, 0, 0, 0, 0, 0
		for _, f := range files(sub) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			l := parse(raw)
			all++
			if automatic(&l, notOurs) != "" {
				auto++
			} else if show {
				t.Logf("not automatic: %s from %q subject %q", filepath.Base(f), l.From, l.Subject)
			}
			w := expected[filepath.Base(f)]
			if w == nil || w.reason == "feedback" || w.reason == "vacation" || w.reason == "delivered" {
				continue
			}
			failures++
			b, ok := readBounce(&l)
			if ok {
				reports++
			} else if show {
				t.Logf("no bounce: %s %q", filepath.Base(f), l.Subject)
			}
			if len(b.IDs) > 0 {
				withIDs++
			}
			if b.Reason != "" {
				reasons++
			}
			if statusRight(b.Status, w.status) {
				right++
			} else if show {
				t.Logf("status: %s got %q want %v (%s) reason %.120q", filepath.Base(f), b.Status, w.status, w.reason, b.Reason)
			}
			for _, s := range w.status {
				if s != "" && b.Status != "" && (b.Final == (s[0] == '5')) {
					hardRight++
					break
				}
			}
		}
		t.Logf("%s: automatic %d of %d; failures %d: read as report %d, status %d (%.1f %%), final or not %d, with ids %d, with reason %d", sub, auto, all,
			failures, reports, right, 100*float64(right)/float64(failures), hardRight, withIDs, reasons)
		if auto*100 < all*97 {
			t.Errorf("%s: automatic %d of %d", sub, auto, all)
		}
		if right*100 < failures*88 {
			t.Errorf("%s: status right %d of %d", sub, right, failures)
		}
		if reports*100 < failures*97 {
			t.Errorf("%s: read as report %d of %d", sub, reports, failures)
		}
	}
	for _, f := range files("not") {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		l := parse(raw)
		// the third one is a machine's mail all the same: it says so in its header
		why := automatic(&l, notOurs)
		if strings.HasPrefix(filepath.Base(f), "is-not") && why != "" {
			t.Errorf("%s is a person's mail, not automatic by %q", filepath.Base(f), why)
		}
	}
}

// statusRight: Sisimai's own numbers (5.0.9xx) and those without detail count by their class.
func statusRight(got string, want []string) bool {
	for _, w := range want {
		if got == w || got != "" && w != "" && got[0] == w[0] && (strings.HasPrefix(w[1:], ".0.")) {
			return true
		}
	}
	return false
}

func TestBounces(t *testing.T) {
	files, err := filepath.Glob("testdata/bounces/*.eml")
	if err != nil || len(files) < 12 {
		t.Fatal(len(files), err)
	}
	table, err := os.ReadFile("testdata/bounces/expected.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		l, name := parse(raw), filepath.Base(f)
		why := automatic(&l, notOurs)
		if personal := strings.HasPrefix(name, "is-not"); personal != (why == "") {
			t.Errorf("%s: automatic by %q", name, why)
		}
		want := []string{}
		for _, line := range strings.Split(string(table), "\n") {
			if row := strings.Split(line, "\t"); row[0] == name {
				want = append(want, row[2])
			}
		}
		if b, ok := readBounce(&l); len(want) > 0 && (!ok || !statusRight(b.Status, want)) {
			t.Errorf("%s: status %q, want %v", name, b.Status, want)
		}
	}
}

func TestMIMESmall(t *testing.T) { torture(t, "testdata/mime", 20) }

func TestAutomaticOrNot(t *testing.T) {
	own := (&Channel{Config: Config{Address: "help@example.test", User: "help@example.test"}}).own
	with := func(headers ...string) []byte { return mailFrom(ana, "Re: your answer", "Some words.", headers...) }
	for name, raw := range map[string][]byte{
		"Auto-Submitted":           with("Auto-Submitted: auto-generated"),
		"Auto-Submitted, extended": with("Auto-Submitted: auto-replied; owner-email=x@y"),
		"empty return path":        with("Return-Path: <>"),
		"list":                     with("List-Id: <x.example.org>"),
		"newsletter":               with("List-Unsubscribe: <https://example.org/u>"),
		"bulk":                     with("Precedence: bulk"),
		"junk":                     with("PRECEDENCE: Junk"),
		"suppress":                 with("X-Auto-Response-Suppress: All"),
		"report":                   with("Content-Type: multipart/report; report-type=delivery-status; boundary=x"),
		"daemon":                   mailFrom("MAILER-DAEMON@x.test", "Undelivered", "x"),
		"daemon, named":            mailFrom(`"Mail Delivery Subsystem" <mailer-daemon@googlemail.com>`, "x", "x"),
		"no-reply":                 mailFrom("no-reply@shop.test", "Your order", "x"),
		"do-not-reply":             mailFrom("Do_Not_Reply@shop.test", "Your order", "x"),
		"bounce address":           mailFrom("bounces+123@shop.test", "x", "x"),
		"ourselves":                mailFrom("HELP@example.test", "x", "x"),
		"ourselves with a tag":     mailFrom("help+17@example.test", "x", "x"),
		"no sender":                []byte("Subject: x\r\n\r\nx\r\n"),
		"calendar reply":           mailFrom(ana, "Accepted: Meeting", "BEGIN:VCALENDAR\nMETHOD:REPLY\nEND:VCALENDAR", "Content-Type: text/calendar; method=REPLY"),
		"vacation, English":        mailFrom(ana, "Automatic reply: Parcel", "I am away."),
		"vacation, OOO":            mailFrom(ana, "Out of Office: Re: Parcel", "x"),
		"vacation, German":         mailFrom(ana, "=?utf-8?q?Automatische_Antwort:_Paket?=", "Ich bin nicht da."),
		"vacation, German note":    mailFrom(ana, "Abwesenheit Re: Paket", "Ich bin bis zum 3. Mai nicht im Büro. In dringenden Fällen hilft Frau Maier."),
		"vacation, French":         mailFrom(ana, "=?utf-8?q?R=C3=A9ponse_automatique_:_colis?=", "Je suis absent."),
		"vacation, Spanish":        mailFrom(ana, "=?utf-8?q?Respuesta_autom=C3=A1tica:_paquete?=", "x"),
		"vacation, Russian":        mailFrom(ana, "=?utf-8?q?=D0=90=D0=B2=D1=82=D0=BE=D0=BE=D1=82=D0=B2=D0=B5=D1=82:_x?=", "x"),
		"vacation, no mark at all": mailFrom(ana, "Re: Parcel (on vacation)", "I'm currently out of office with limited access to email."),
	} {
		l := parse(raw)
		if automatic(&l, own) == "" {
			t.Errorf("%s: taken for a person's mail", name)
		}
	}
	for name, raw := range map[string][]byte{
		"plain":                     with(),
		"Auto-Submitted: no":        with("Auto-Submitted: no"),
		"return path":               with("Return-Path: <ana@customer.test>"),
		"suppress none":             with("X-Auto-Response-Suppress: None"),
		"hours":                     mailFrom(ana, "Out of office hours: when are you open?", "I wonder when you are open."),
		"holiday":                   mailFrom(ana, "On holiday next week, can you deliver later?", "Please deliver after the 12th."),
		"away":                      mailFrom(ana, "I am away on Monday", "Can we move the appointment?"),
		"delivery":                  mailFrom(ana, "Delivery problem", "My parcel was not delivered. Order 550 from may, see a@b.test"),
		"delivery failed":           mailFrom(ana, "Delivery failed again!", "The driver says the address is unknown. I am angry."),
		"returned":                  mailFrom(ana, "Returned message light on my phone", "It blinks 554 times."),
		"automatic":                 mailFrom(ana, "Automatic door answer is wrong", "x"),
		"urlaub":                    mailFrom(ana, "Urlaubsbuchung 4711", "Ich bin am 3. Mai angereist und das Zimmer war laut."),
		"absence":                   mailFrom(ana, "Absence of instructions in the box", "There was no manual."),
		"invitation":                mailFrom(ana, "Meeting", "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR", "Content-Type: text/calendar; method=REQUEST"),
		"complaints office":         mailFrom("complaints@council.test", "Your invoice", "x"),
		"nora":                      mailFrom("nora.reply@customer.test", "x", "x"),
		"auto":                      mailFrom("autohaus@customer.test", "Antwort", "x"),
		"our domain":                mailFrom("boss@example.test", "x", "x"),
		"help elsewhere":            mailFrom("help@other.test", "x", "x"),
		"failure notice":            mailFrom(ana, "Failure notice on the display", "My washing machine shows E5."),
		"abuse report by a person":  mailFrom(ana, "Abuse report", "Somebody used my card at your shop."),
		"subject about auto reply":  mailFrom(ana, "Your automatic reply was wrong", "I did not ask for that."),
		"customer quoting vacation": mailFrom(ana, "Question", "Can I return it?\n\nOn 3 May 2026 at 10:00, Bob <b@x.test> wrote:\n> I am out of office"),
	} {
		l := parse(raw)
		if why := automatic(&l, own); why != "" {
			t.Errorf("%s: taken for automatic by %q", name, why)
		}
	}
}

func TestMIMETorture(t *testing.T) {
	dir := corpora(t, "mime")
	torture(t, dir, 150)
}

// torture parses every file below dir: no panic, something to show, in good time.
func torture(t *testing.T, dir string, atLeast int) {
	t.Helper()
	count, asBroken := 0, 0
	var slowest time.Duration
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".md") || strings.HasSuffix(path, ".tsv") || e.Name() == "LICENSE" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		count++
		begin := time.Now()
		l := parse(raw)
		if d := time.Since(begin); d > slowest {
			slowest = d
			if d > 2*time.Second {
				t.Errorf("%s took %v", path, d)
			}
		}
		if l.Broken {
			asBroken++
			t.Logf("shown raw: %s", filepath.Base(path))
		}
		if len(raw) > 0 && strings.TrimSpace(l.Body()) == "" {
			t.Errorf("%s: nothing is shown", path)
		}
		if len(raw) > 0 && l.Body() == "(empty mail)" {
			t.Logf("no text: %s subject %q", filepath.Base(path), l.Subject)
		}
		if strings.ContainsRune(l.Body()+l.Full()+l.Subject+l.From+l.FromName, 0) {
			t.Errorf("%s: NUL", path)
		}
		_ = automatic(&l, notOurs)
		_, _ = readBounce(&l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d mails, %d shown raw, slowest %v", count, asBroken, slowest)
	if count < atLeast {
		t.Errorf("only %d mails", count)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("From: a@b\r\nSubject: x\r\n\r\nbody\r\n"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a--"))
	f.Add([]byte("Content-Type: text/html\n\n<blockquote><p>On 3 May 2024 at 10:00 a@b wrote:<div>x"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := parse(raw)
		if len(raw) > 0 && l.Body() == "" {
			t.Error("nothing is shown")
		}
		automatic(&l, notOurs)
		readBounce(&l)
	})
}

func FuzzVisible(f *testing.F) {
	f.Add("reply\n\nOn 3 May 2024 at 10:00, Bob <b@x.org> wrote:\n> quote\n-- \nsig")
	f.Add("From: a@b.c\nSent: 3 May 2024 10:00\nTo: x\nSubject: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(Visible(text), "") > strings.Count(text, "")+1 {
			t.Error("more than there was")
		}
	})
}
