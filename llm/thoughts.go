package llm

import "strings"

// thoughts takes <think>...</think> out of a stream, also when a tag is cut into tokens.
type thoughts struct {
	rest   string
	inside bool
	hidden int // bytes of thought so far
}

func (t *thoughts) add(token string) string {
	t.rest += token
	var out strings.Builder
	for {
		tag := thinkOpen
		if t.inside {
			tag = thinkClose
		}
		i := strings.Index(t.rest, tag)
		keep := 0
		if i < 0 { // hold back what may be the beginning of a tag
			for keep = min(len(tag)-1, len(t.rest)); keep > 0 && !strings.HasSuffix(t.rest, tag[:keep]); keep-- {
			}
			i = len(t.rest) - keep
			tag = ""
		}
		if t.inside {
			t.hidden += i
		} else {
			out.WriteString(t.rest[:i])
		}
		t.rest = t.rest[i+len(tag):]
		if tag == "" {
			return out.String()
		}
		t.inside = !t.inside
	}
}

func (t *thoughts) flush() string {
	rest := t.rest
	t.rest = ""
	if t.inside {
		t.hidden += len(rest)
		return ""
	}
	return rest
}
