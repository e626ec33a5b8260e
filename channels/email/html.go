package email

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// htmlText turns a mail's HTML into the text that a person would read, quotes marked by "> " as in a plain mail. It is
// a tokenizer's pass without a tree: a nesting of 100,000 tables costs no stack.
func htmlText(source string) string {
	w := textWriter{}
	z := html.NewTokenizer(strings.NewReader(source))
	z.SetMaxBuf(8 << 20)
	var hidden atom.Atom // inside <style>, <script>, <head>: until its end
	for {
		switch z.Next() {
		case html.ErrorToken:
			return w.String()
		case html.TextToken:
			if hidden == 0 {
				w.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			tag := atom.Lookup(name)
			if hidden != 0 {
				break
			}
			attrs := attributes(z, more)
			switch tag {
			case atom.Style, atom.Script, atom.Title, atom.Template, atom.Noscript:
				hidden = tag
			case atom.Br:
				w.newline()
			case atom.Hr:
				w.block()
				w.text("________________________________")
				w.block()
			case atom.Blockquote:
				w.block()
				w.depth++
			case atom.Img:
				if alt := attrs["alt"]; alt != "" && len(alt) < 200 && attrs["src"] != "" {
					w.text(alt)
				}
			case atom.Li:
				w.block()
				w.text("- ")
			case atom.Pre, atom.Textarea:
				w.block()
				w.pre++
			case atom.Td, atom.Th:
				w.text(" ")
			case atom.P:
				w.paragraph()
			default:
				if breaks(tag) {
					w.block()
				}
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			tag := atom.Lookup(name)
			if hidden != 0 {
				if tag == hidden {
					hidden = 0
				}
				break
			}
			switch tag {
			case atom.Blockquote:
				w.block()
				w.depth = max(w.depth-1, 0)
			case atom.Pre, atom.Textarea:
				w.block()
				w.pre = max(w.pre-1, 0)
			case atom.P:
				w.paragraph()
			default:
				if breaks(tag) {
					w.block()
				}
			}
		}
	}
}

func attributes(z *html.Tokenizer, more bool) map[string]string {
	var attrs map[string]string
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		if attrs == nil {
			attrs = make(map[string]string, 4)
		}
		attrs[string(key)] = string(value)
	}
	return attrs
}

func breaks(tag atom.Atom) bool {
	switch tag {
	case atom.Div, atom.Table, atom.Tr, atom.Ul, atom.Ol, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Body, atom.Html,
		atom.Section, atom.Article, atom.Header, atom.Footer, atom.Center, atom.Form, atom.Fieldset, atom.Dl, atom.Dt, atom.Dd, atom.Address:
		return true
	}
	return false
}

// textWriter collects lines; white space is folded as a browser folds it.
type textWriter struct {
	out      strings.Builder
	line     strings.Builder
	depth    int // open quotes
	pre      int
	blanks   int // blank lines at the end of out
	gap      bool
	started  bool
	newlines int
}

func (w *textWriter) text(s string) {
	if w.pre > 0 {
		for i, l := range strings.Split(s, "\n") {
			if i > 0 {
				w.newline()
			}
			w.line.WriteString(l)
		}
		return
	}
	s = strings.ReplaceAll(s, "\u00a0", " ")
	if s == "" {
		return
	}
	lead := strings.IndexFunc(s, func(r rune) bool { return r != ' ' && r != '\n' && r != '\t' && r != '\r' && r != '\f' }) != 0
	fields := strings.Fields(s)
	if (lead || len(fields) == 0) && w.line.Len() > 0 {
		w.gap = true
	}
	for i, f := range fields {
		if (w.gap || i > 0) && w.line.Len() > 0 {
			w.line.WriteByte(' ')
		}
		w.gap = false
		w.line.WriteString(f)
	}
	if len(fields) > 0 {
		if last := s[len(s)-1]; last == ' ' || last == '\n' || last == '\t' || last == '\r' {
			w.gap = true
		}
	}
}

// newline ends the line, also an empty one.
func (w *textWriter) newline() {
	line := strings.TrimRight(w.line.String(), " \t")
	w.line.Reset()
	w.gap = false
	if line == "" {
		if w.blanks >= 2 || !w.started {
			return
		}
		w.blanks++
	} else {
		w.blanks, w.started = 0, true
	}
	if w.depth > 0 {
		w.out.WriteString(strings.Repeat(">", min(w.depth, 20)) + " ")
	}
	w.out.WriteString(line)
	w.out.WriteByte('\n')
}

// block ends the line if it holds something.
func (w *textWriter) block() {
	if strings.TrimSpace(w.line.String()) != "" {
		w.newline()
	}
	w.line.Reset()
	w.gap = false
}

func (w *textWriter) paragraph() {
	w.block()
	if w.blanks == 0 && w.started {
		w.newline()
	}
}

func (w *textWriter) String() string {
	w.block()
	return strings.TrimRight(w.out.String(), "\n ")
}
