package spoken

import (
	"strconv"
	"strings"
	"unicode"
)

// amounts are money, and numbers with a unit.
func (t *tongue) amounts(rule add) {
	signs, codes, scales, units := keys(coinSigns), keys(t.coins), keys(t.scales), keys(t.units)
	words := keys(t.coinWords)
	rule(`([-–]?)(`+signs+`|\b(?:`+codes+`)) ?(-?)(`+num+`)(?:(?:,|\.)(?:-|–)+)?(?: ?(`+scales+`)\b)?`, func(f found) (string, bool) {
		return t.coin(f, f.m[1]+f.m[3], f.m[4], f.m[5], f.m[2])
	})
	rule(`(?i)([-–]?)(`+num+`)(?:(?:,|\.)(?:-|–)+)? ?(?:(`+scales+`) ?)?(`+signs+`|(?:`+codes+`|`+words+`)\b)`, func(f found) (string, bool) {
		return t.coin(f, f.m[1], f.m[2], f.m[3], f.m[4])
	})
	rule(`(`+num+`) ?(?:-|–|x|×) ?(`+num+`) ?(`+units+`)`, func(f found) (string, bool) { // 10-15 kg, 20 x 30 cm
		if !f.unitEnds(f.m[3]) || !f.startsAlone() {
			return "", false
		}
		between := t.w["to"]
		if strings.ContainsAny(f.m[0][len(f.m[1]):len(f.m[0])-len(f.m[2])-len(f.m[3])], "x×") {
			between = t.w["by"]
		}
		return t.number(f.m[1]) + " " + between + " " + t.number(f.m[2]) + " " + t.units[f.m[3]].many, true
	})
	rule(`(-?)(`+num+`) ?(`+units+`)`, func(f found) (string, bool) {
		u := t.units[f.m[3]]
		if !f.unitEnds(f.m[3]) || !f.startsAlone() || len(f.m[3]) == 1 && isLetterByte(f.m[3][0]) && strings.ToUpper(f.m[3]) == f.m[3] && !strings.Contains(f.m[0], " ") && strings.Trim(f.m[2], "0123456789") == "" && f.m[3] != "W" && f.m[3] != "V" && f.m[3] != "L" {
			return "", false
		}
		words, one := t.amount(f.m[2], u.feminine)
		if f.m[1] == "-" {
			if !sign(f.before) {
				return "", false
			}
			words = t.w["minus"] + " " + words
		}
		noun := u.many
		if one {
			noun = u.one
		}
		after := ""
		if rest := firstByte(f.after); rest == '/' && len(f.after) > 1 && isLetterByte(f.after[1]) {
			after = " " + t.w["per"] + " "
		}
		return words + " " + noun + after, true
	})
	rule(`([-]?)(`+num+`) ?(`+scales+`)\b`, func(f found) (string, bool) {
		if !f.startsAlone() || len(f.m[3]) == 1 && f.m[3] != "k" && f.m[3] != "K" {
			return "", false
		}
		words, _ := t.scaled(f.m[2], f.m[3])
		if f.m[1] == "-" && sign(f.before) {
			words = t.w["minus"] + " " + words
		}
		return words, true
	})
}

// unitEnds says that the unit is not the beginning of a word.
func (f found) unitEnds(unit string) bool {
	last := lastByte(unit)
	a := firstByte(f.after)
	return !isLetterByte(last) || !isAlnum(a) && !(a == '-' && isLetterByte(firstByte(f.after[1:])) && len(unit) == 1) && a != '\'' && !strings.HasPrefix(f.after, "’")
}

// startsAlone says that the number is not the end of something longer.
func (f found) startsAlone() bool {
	b := lastByte(f.before)
	return !isAlnum(b) && !((b == '.' || b == ',' || b == ':' || b == '/' || b == '-') && len(f.before) > 1 && isAlnum(f.before[len(f.before)-2]))
}

// sign says that a hyphen at this place is a minus.
func sign(before string) bool {
	return before == "" || strings.HasSuffix(before, " ") || strings.HasSuffix(before, "(")
}

// scaled is "five million", with the grammar that a noun behind it wants.
func (t *tongue) scaled(n, name string) (words, of string) {
	s := t.scales[name]
	if s.one == "" {
		s = t.scales[strings.ToLower(name)]
	}
	words, one := t.amount(n, s.feminine)
	noun := s.one
	if s.many != "" && !one {
		noun = s.many
	}
	return words + " " + noun, s.of
}

func (t *tongue) coin(f found, minus, n, name, sign string) (string, bool) {
	code, ok := coinSigns[sign]
	if !ok {
		code = strings.ToUpper(sign)
		if word, ok := t.coinWords[strings.ToLower(sign)]; ok {
			code = word
		}
	}
	if b := lastByte(f.before); isAlnum(b) || minus == "" && b == '-' && len(f.before) > 1 && isDigit(f.before[len(f.before)-2]) {
		return "", false
	}
	c, ok := t.coins[code]
	if !ok {
		c = coin{one: t.spell(code), many: t.spell(code), cent: t.spell(code), cents: t.spell(code)}
	}
	whole, decimals, ok := t.value(n)
	switch {
	case !ok:
		return "", false
	case len(decimals) == 3 && name == "": // no coin has three decimals: 1,299 EUR
		whole, _ = strconv.ParseInt(nonDigits.ReplaceAllString(n, ""), 10, 64)
		decimals = ""
	}
	words := ""
	switch {
	case name != "":
		w, of := t.scaled(n, name)
		if of == "de" && t.code == "fr" && strings.ContainsRune("aeiouhé", rune(c.many[0])) {
			words = w + " d'" + c.many
		} else {
			words = join(w, of, c.many)
		}
	case len(decimals) > 2:
		words = t.number(n) + " " + c.many
	default:
		cents := int64(0)
		if decimals != "" {
			cents, _ = strconv.ParseInt((decimals + "0")[:2], 10, 64)
		}
		words = t.money(whole, cents, c)
	}
	if minus != "" {
		words = t.w["minus"] + " " + words
	}
	if rest := firstByte(f.after); rest == '/' && len(f.after) > 1 && isLetterByte(f.after[1]) {
		words += " " + t.w["per"] + " "
	}
	return words, true
}

// codes are order ids, product codes and the like: letters and figures one by one.
func (t *tongue) codes(rule add) {
	asked := `(?i)\b((?:order|ticket|customer|invoice|booking|reference|tracking|case|account|confirmation|serial|code|pin|id|zip|card|room|flight|` +
		`bestell|kunden|rechnungs|vorgangs|artikel|sendungs|buchungs|auftrags|ticket|serien|konto)?(?:nummer|number|code|pin|id|no\.?|nr\.?|num\.?|número|numéro|` +
		`order|ticket|invoice|booking|reference|pedido|factura|commande|facture|código|bestellung|rechnung|auftrag|n°|nº|n\.º|n\.o|no)\b:? ?)(#?)(\d{1,20})\b`
	rule(asked, func(f found) (string, bool) {
		if !f.whole() {
			return "", false
		}
		lead := strings.TrimRight(f.m[1], " ")
		switch l := strings.ToLower(lead); l {
		case "no.", "nr.", "nr", "n°", "nº", "n.º", "n.o", "num.":
			lead = t.w["number"]
		case "no": // "No 5" is a number, "no 5" may be words
			if lead != "No" || lastByte(f.before) != ' ' {
				return "", false
			}
			lead = t.w["number"]
		default:
			if len(f.m[3]) < 3 {
				return "", false
			}
			if f.m[2] != "" {
				lead += " " + t.w["number"]
			}
		}
		return lead + " " + t.short(f.m[3]), true
	})
	rule(`(?i)\b(?:Nos?|Nr|n)[.°º] ?(\d+)`, func(f found) (string, bool) { return t.w["number"] + " " + t.short(f.m[1]), true })
	rule(`#(\d[\d-]*)`, func(f found) (string, bool) { return t.w["number"] + " " + t.short(f.m[1]), true })
	rule(`#?\b(?:[A-Za-z]{1,8}[-_/.]?\d|\d+[-_/]?[A-Z])[A-Za-z0-9]*(?:[-_/.][A-Za-z0-9]+)*`, func(f found) (string, bool) {
		s := strings.TrimPrefix(f.m[0], "#")
		if isLetterByte(lastByte(f.before)) || isLetterByte(firstByte(f.after)) {
			return "", false // a letter beyond ASCII belongs to it
		}
		return t.mixed(s)
	})
}

// short reads a short number as one, a longer one figure by figure.
func (t *tongue) short(s string) string {
	if len(s) < 3 {
		return t.number(s)
	}
	return t.groups(s)
}

// mixed spells what mixes letters and figures. Words in it stay words: COVID-19, Nexus-5.
func (t *tongue) mixed(s string) (string, bool) {
	lower := strings.ToUpper(s) != s
	var out []string
	for _, part := range runs(s) {
		switch {
		case isDigit(part[0]) && len(part) <= 2 && part[0] != '0' && len(runs(s)) == 2:
			out = append(out, t.cardinal(int64(atoi(part))))
		case isDigit(part[0]):
			out = append(out, t.groups(part))
		case len(part) >= 4 && strings.ContainsAny(strings.ToLower(part), "aeiou"), lower && len(part) >= 2 && strings.ToUpper(part) != part:
			out = append(out, part)
		default:
			out = append(out, t.spell(part))
		}
	}
	if len(out) > 2 {
		return strings.Join(out, ", "), true
	}
	return strings.Join(out, " "), true
}

// runs cuts into letters and figures.
func runs(s string) (out []string) {
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && isAlnum(s[j]) && isDigit(s[j]) == isDigit(s[i]) {
			j++
		}
		if j > i {
			out = append(out, s[i:j])
		}
		i = max(j, i+1)
	}
	return out
}

// numbers is what is left.
func (t *tongue) numbers(rule add) {
	rule(`(?i)\b(\d{1,4})(st|nd|rd|th|er|re|ère|ème|eme|e|º|ª|\.º|\.ª|\.?o|\.?a|\.?er)\b`, func(f found) (string, bool) {
		english := t.code == "en"
		ending := strings.TrimPrefix(strings.ToLower(f.m[2]), ".")
		if isLetterByte(firstByte(f.after)) || english != (ending == "st" || ending == "nd" || ending == "rd" || ending == "th") || t.code == "de" {
			return "", false
		}
		return t.ordinal(int64(atoi(f.m[1])), f.word(), ending), f.startsAlone()
	})
	if t.code == "de" {
		rule(`\b(\d{1,3})\. (Stock|Etage|Mal|Tag|Woche|Monat|Jahr|Platz|Halbjahr|Quartal|Stelle|Klasse|Person|Versuch|Schritt|Mahnung|Rate|Jahrhundert|Obergeschoss|Geburtstag)`,
			func(f found) (string, bool) { return t.ordinal(int64(atoi(f.m[1])), f.word(), "") + " " + f.m[2], true })
	}
	rule(`\b(\d{1,3})/(\d{1,3})\b`, func(f found) (string, bool) {
		if !f.whole() {
			return "", false
		}
		if part := t.parts[f.m[0]]; part != "" {
			if b := strings.TrimRight(f.before, " "); t.code == "en" && b != "" && isDigit(lastByte(b)) {
				return "and a " + strings.TrimPrefix(part, "a "), true // 4 1/2
			}
			return part, true
		}
		return t.number(f.m[1]) + " " + t.w["of"] + " " + t.number(f.m[2]), true
	})
	rule(`\d+(?:\.\d+){2,}`, func(f found) (string, bool) { // versions, internet addresses; 1.299.000 is a number
		if groupsOfThree(f.m[0]) || !f.whole() {
			return "", false
		}
		var out []string
		for part := range strings.SplitSeq(f.m[0], ".") {
			out = append(out, t.number(part))
		}
		return strings.Join(out, " "+t.w["dot"]+" "), true
	})
	rule(`(`+num+`) ?(?:-|–) ?(`+num+`)`, func(f found) (string, bool) {
		if !f.whole() {
			return "", false
		}
		return t.plain(f.m[1]) + " " + t.w["to"] + " " + t.plain(f.m[2]), true
	})
	rule(`\b(\d{5})( [A-ZÄÖÜÉÁ]\pL+)`, func(f found) (string, bool) { // a post code and its town
		if !f.startsAlone() || t.code == "en" {
			return "", false
		}
		return t.spell(f.m[1]) + f.m[2], true
	})
	rule(`\b([A-Z]{2}),? (\d{5})(?:-(\d{4}))?\b`, func(f found) (string, bool) {
		if !f.whole() {
			return "", false
		}
		return t.spell(f.m[1]) + ", " + join(t.spell(f.m[2]), t.spell(f.m[3])), true
	})
	rule(`([-]?)(`+num+`)`, func(f found) (string, bool) {
		words := t.plain(f.m[2])
		if f.m[1] == "-" && sign(f.before) {
			words = t.w["minus"] + " " + words
		} else if f.m[1] == "-" {
			words = " " + words
		}
		return words, true
	})
}

// plain reads a bare number: a year, an amount, or figures when it is too long to be an amount.
func (t *tongue) plain(s string) string {
	if len(s) == 4 && strings.Trim(s, "0123456789") == "" && (s[:2] == "19" || s[:2] == "20") {
		return t.year(int64(atoi(s)))
	}
	if len(s) >= 7 && strings.Trim(s, "0123456789") == "" && strings.Trim(s[1:], "0") != "" {
		return t.groups(s)
	}
	return t.number(s)
}

func groupsOfThree(s string) bool {
	for i, part := range strings.Split(s, ".") {
		if i > 0 && len(part) != 3 || len(part) > 3 {
			return false
		}
	}
	return true
}

// digitValue is -1 for what is no figure.
func digitValue(r rune) int {
	if r >= '0' && r <= '9' {
		return int(r - '0')
	}
	if !unicode.Is(unicode.Nd, r) {
		return -1
	}
	for _, block := range unicode.Nd.R16 { // every script's figures stand in runs of ten that begin with its zero
		if r >= rune(block.Lo) && r <= rune(block.Hi) {
			return int(r-rune(block.Lo)) % 10
		}
	}
	for _, block := range unicode.Nd.R32 {
		if r >= rune(block.Lo) && r <= rune(block.Hi) {
			return int(r-rune(block.Lo)) % 10
		}
	}
	return -1
}
