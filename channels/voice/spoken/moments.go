package spoken

import "strings"

// dates in figures and with the month's name.
func (t *tongue) dates(rule add) {
	say := func(f found, d, m int, year string) (string, bool) {
		if d < 1 || d > 31 || m < 1 || m > 12 || !f.whole() {
			return "", false
		}
		words := ""
		if y := atoi(year); y >= 0 {
			if len(year) == 2 {
				y += 2000
			}
			words = t.year(int64(y))
		}
		stop := ""
		if strings.HasSuffix(f.m[0], ".") && strings.TrimSpace(f.after) == "" {
			stop = "."
		}
		return t.date(d, m, words, f.word()) + stop, true
	}
	days := keys(t.weekdays)
	rule(`\b(`+days+`)\.?( ?(?:-|–|bis|to|a|à) ?)(`+days+`)\b\.?`, func(f found) (string, bool) {
		if isLetterByte(firstByte(f.after)) || isLetterByte(lastByte(f.before)) {
			return "", false
		}
		return t.weekdays[f.m[1]] + " " + t.w["to"] + " " + t.weekdays[f.m[3]], true
	})
	rule(`\b(`+days+`)(\.,?|,|:) ?`, func(f found) (string, bool) {
		if isLetterByte(lastByte(f.before)) || !t.dateFollows(f.after) {
			return "", false
		}
		return t.weekdays[f.m[1]] + ", ", true
	})
	rule(`(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?`, func(f found) (string, bool) {
		words, ok := say(f, atoi(f.m[3]), atoi(f.m[2]), f.m[1])
		if h, m := atoi(f.m[4]), atoi(f.m[5]); ok && h >= 0 && h < 24 && m < 60 {
			words += ", " + t.clock(h, m, "", "")
		}
		return words, ok
	})
	rule(`(\d{1,2})([./-])(\d{1,2})([./-])(\d{4}|\d{2})`, func(f found) (string, bool) {
		a, b := atoi(f.m[1]), atoi(f.m[3])
		if f.m[2] != f.m[4] {
			return "", false
		}
		if !t.dayFirst && f.m[2] != "." && b <= 31 && a <= 12 || b > 12 {
			a, b = b, a
		}
		return say(f, a, b, f.m[5])
	})
	if t.comma {
		rule(`\b(\d{1,2})\.(\d{1,2})\.`, func(f found) (string, bool) { return say(f, atoi(f.m[1]), atoi(f.m[2]), "") })
	}
	rule(`\b((?:1[1-9]|20)\d0)s\b`, func(f found) (string, bool) {
		words := t.year(int64(atoi(f.m[1])))
		return strings.TrimSuffix(words, "y") + "ies", strings.HasSuffix(words, "y") && f.whole()
	})
	months := keys(t.months)
	rule(`(?i)\b(\d{1,2})(?:st|nd|rd|th|er|º|o|\.)?,? (?:of |de )?(`+months+`)\b\.?(?:,? (?:del? )?(\d{4})\b)?`, func(f found) (string, bool) {
		if isLetterByte(firstByte(f.after)) || t.months[strings.ToLower(f.m[2])] == 0 {
			return "", false
		}
		return say(f, atoi(f.m[1]), t.months[strings.ToLower(f.m[2])], f.m[3])
	})
	rule(`(?i)\b(`+months+`)\.? (\d{1,2})(?:st|nd|rd|th)?\b(?:,? (\d{4})\b)?`, func(f found) (string, bool) {
		if firstByte(f.m[1]) > 'Z' || isAlnum(lastByte(f.before)) || t.code != "en" { // "may 5": the month has a capital
			return "", false
		}
		return say(f, atoi(f.m[2]), t.months[strings.ToLower(f.m[1])], f.m[3])
	})
	rule(`(?i)\b(`+keys(t.months)+`)\.? (?:de )?(\d{4})\b`, func(f found) (string, bool) {
		m := t.months[strings.ToLower(f.m[1])]
		if m == 0 || isLetterByte(lastByte(f.before)) || !f.whole() {
			return "", false
		}
		of := " "
		if strings.Contains(f.m[0], " de ") {
			of = " de "
		}
		return t.monthName[m] + of + t.year(int64(atoi(f.m[2]))), true
	})
}

// dateFollows says that a date or a time of the day comes next.
func (t *tongue) dateFollows(after string) bool {
	word, _, _ := strings.Cut(strings.ToLower(after), " ")
	return isDigit(firstByte(after)) || t.months[strings.TrimRight(word, ".,")] > 0
}

func isLetterByte(b byte) bool { return isAlnum(b) && !isDigit(b) }

// times of the day.
func (t *tongue) times(rule add) {
	half := `(?: ?([aApP])\.? ?[mM]\b\.?)`
	say := func(f found, h, m int, which string) (string, bool) {
		if h < 0 || h > 24 || m > 59 || !f.whole() || which != "" && h > 12 {
			return "", false
		}
		switch strings.ToLower(which) {
		case "a":
			which = "am"
		case "p":
			which = "pm"
		}
		stop := ""
		if which != "" && strings.HasSuffix(f.m[0], ".") && strings.TrimSpace(f.after) == "" {
			stop = "."
		}
		return t.clock(h, max(m, 0), which, f.word()) + stop, true
	}
	clockTime := `(\d{1,2})(?::(\d{2})(?::\d{2})?)?`
	rule(`(\d{1,2})(?::(\d{2}))? ?(?:-|–|to|bis) ?(\d{1,2})(?::(\d{2}))?(?: ?(Uhr|h)\b|`+half+`)`, func(f found) (string, bool) {
		from, to := atoi(f.m[1]), atoi(f.m[3])
		if from > 24 || to > 24 || f.m[5] == "" && f.m[6] == "" || f.m[5] == "h" && f.m[2] == "" && f.m[4] == "" {
			return "", false
		}
		end, ok := say(f, to, atoi(f.m[4]), f.m[6])
		begin := t.cardinal(int64(from))
		if f.m[2] != "" && atoi(f.m[2]) > 0 {
			begin = strings.TrimSuffix(strings.TrimSuffix(t.clock(from, atoi(f.m[2]), map[bool]string{true: "am"}[f.m[6] != ""], ""), " A M"), " P M")
		}
		return begin + " " + t.w["to"] + " " + end, ok
	})
	rule(clockTime+half, func(f found) (string, bool) { return say(f, atoi(f.m[1]), atoi(f.m[2]), f.m[3]) })
	rule(`(\d{1,2})[.](\d{2})`+half, func(f found) (string, bool) { return say(f, atoi(f.m[1]), atoi(f.m[2]), f.m[3]) })
	rule(`(\d{1,2})(?:[:.](\d{2}))? ?(?:Uhr|uhr)\b`, func(f found) (string, bool) { return say(f, atoi(f.m[1]), atoi(f.m[2]), "") })
	rule(`(\d{1,2}):(\d{2})(?::\d{2})?(?: ?(?:h|hrs|heures)\b)?`, func(f found) (string, bool) {
		if atoi(f.m[1]) == 24 && atoi(f.m[2]) > 0 {
			return "", false
		}
		return say(f, atoi(f.m[1]), atoi(f.m[2]), "")
	})
	if t.code == "fr" { // 14h30 is a time of the day, 24 h a while; both are said alike
		rule(`(\d{1,2}) ?h ?(\d{2})?\b`, func(f found) (string, bool) { return say(f, atoi(f.m[1]), atoi(f.m[2]), "") })
	} else {
		rule(`(\d{1,2}) ?h ?(\d{1,2})(?: ?(?:m|min)\b)?`, func(f found) (string, bool) {
			h, _ := t.amount(f.m[1], t.units["h"].feminine)
			m, _ := t.amount(f.m[2], t.units["min"].feminine)
			return join(h, plural(int64(atoi(f.m[1])), t.units["h"].one, t.units["h"].many), m, plural(int64(atoi(f.m[2])), t.units["min"].one, t.units["min"].many)), f.whole()
		})
	}
}
