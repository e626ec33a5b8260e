package doctor

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Case is what a support bundle is made of. Facts are settings and figures of the server, by name; what is personal or
// secret in them is left out like everywhere else.
type Case struct {
	Trace   Trace
	Version string
	Facts   map[string]string
}

// Bundle writes a zip without anything personal: for a carrier, a router's maker, or us.
func Bundle(w io.Writer, c Case) error {
	k := newMask()
	t := k.trace(c.Trace)
	raw, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	z := zip.NewWriter(w)
	for _, f := range []struct{ name, text string }{
		{"README.txt", readme},
		{"verdicts.txt", verdictText(t)},
		{"ladder.txt", Ladder(t)},
		{"trace.json", string(raw) + "\n"},
		{"server.txt", k.facts(c)},
	} {
		file, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: t.until()})
		if err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
		if _, err := io.WriteString(file, f.text); err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
	}
	return z.Close()
}

const readme = `A telephone call, as Patchbay's call doctor saw it, for whoever helps to find out what was wrong with it.

Nothing personal is in it. Numbers, names, hosts and addresses are stand-ins: the same one stands for the same original
in all files; 10.x, 100.64.x and fd00:: stand for private addresses, 198.18.x and 2001:db8:: for public ones. Ports, times,
codes and codecs are the real ones. Passwords, keys, pressed keys, sound and the text of unknown headers were left out.

verdicts.txt  what the doctor thinks, and why
ladder.txt    the SIP messages in order, then each in full
trace.json    everything, for programs
server.txt    versions and settings of the server
`

func verdictText(t Trace) string {
	var b strings.Builder
	for _, v := range Examine(t) {
		fmt.Fprintf(&b, "[%s] %s\n%s\n", v.Grade, v.Title, v.Text)
		for _, e := range v.Evidence {
			fmt.Fprintf(&b, "  - %s\n", e)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Ladder is the messages as text: one line each, then each in full.
func Ladder(t Trace) string {
	var lines, full strings.Builder
	for i := range t.Messages {
		m := &t.Messages[i]
		told := read(m)
		arrow := "-->"
		if m.In {
			arrow = "<--"
		}
		head := fmt.Sprintf("%3d %+9.3f s  %s %s %-21s %s", i+1, m.At.Sub(t.StartedAt).Seconds(), m.Local, arrow, m.Remote, told.line())
		fmt.Fprintln(&lines, head)
		fmt.Fprintf(&full, "%s (%s)\n%s\n\n", head, m.Transport, strings.ReplaceAll(strings.TrimRight(m.Raw, "\r\n"), "\r\n", "\n"))
	}
	if t.Dropped > 0 {
		fmt.Fprintf(&lines, "    (%d more had no room)\n", t.Dropped)
	}
	return lines.String() + "\n" + full.String()
}

var (
	factValue = regexp.MustCompile(`^-?[0-9]{1,6}(\.[0-9]{1,3})?( ?(ms|s|kB|MB|%))?$`)
	version   = regexp.MustCompile(`^v?[0-9a-z.+()-]{1,40}$`)
)

// facts keeps numbers, words of the vocabulary, and addresses as stand-ins.
func (k *mask) facts(c Case) string {
	var b strings.Builder
	v := c.Version
	if !version.MatchString(v) {
		v = "unknown"
	}
	fmt.Fprintf(&b, "patchbay = %s\ngo = %s\nsystem = %s/%s\nmade = %s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH, c.Trace.until().UTC().Format(time.DateOnly))
	names := make([]string, 0, len(c.Facts))
	for name := range c.Facts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s = %s\n", name, k.fact(c.Facts[name]))
	}
	return b.String()
}

func (k *mask) fact(value string) string {
	parts := strings.Split(value, ",")
	for i, p := range parts {
		p = strings.TrimSpace(p)
		switch {
		case p == "" || factValue.MatchString(p):
		case strings.ContainsAny(p, ".:"):
			p = k.host(p)
		default:
			p = k.plain(p)
		}
		parts[i] = p
	}
	return strings.Join(parts, ", ")
}
