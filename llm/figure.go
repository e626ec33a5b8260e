package llm

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// figure is one number, amount, date part, time or id of a sentence, normalised. A digit group that can be read in two
// ways (1.299) has two values.
type figure struct {
	raw    string
	values []string // "1299", "1.299"; "t1080" for a time of day; "#nl20418" for an id; "w5" for a weekday
	unit   string   // eur, %, day, kg ...; "" when none stands beside it
	soft   bool     // a small number in words without a unit ("two things"): no claim by itself
}

// A piece is a run of letters and digits with what holds figures together. Spaces are handled by the caller.
var piece = regexp.MustCompile(`[€$£]|%|\p{L}+(?:['’]\p{L}+)*|\p{N}+(?:[.,:'’]\p{N}+)*`)

// idPiece is a code such as NL-20418 or 7A-33: letters and digits in one word.
var idPiece = regexp.MustCompile(`(?i)\b[a-z]{1,6}[-/#]?\d[a-z0-9]*(?:[-/]\w+)*\b`)

var isoDate = regexp.MustCompile(`\b(\d{4})-(\d{1,2})-(\d{1,2})\b`)
var dottedDate = regexp.MustCompile(`\b(\d{1,2})[./](\d{1,2})[./](\d{4}|\d{2})\b`)

// phoneRun is a run of digit groups that only together mean something.
var phoneRun = regexp.MustCompile(`\+?\(?\d[\d()]*(?:[ \x{00a0}\x{202f}/-]\(?\d[\d()]*){2,}`)

// listNumber is the "2. " of a list, no figure.
var listNumber = regexp.MustCompile(`(?m)^\s*\d{1,2}[.)]\s+`)

// figures finds what must stand in a source. Dates come out as parts (3, month 3, 2026), so that the order and the
// language in which they are written do not matter.
func figures(text string) []figure {
	text = listNumber.ReplaceAllString(text, "")
	text = strings.NewReplacer("\u00a0", " ", "\u202f", " ", "−", "-", "‑", "-", "–", "-", "—", " - ", "p.m.", "pm", "a.m.", "am", "p. m.", "pm").Replace(text)
	var out []figure
	take := func(re *regexp.Regexp, f func(m []string) []figure) {
		text = re.ReplaceAllStringFunc(text, func(m string) string {
			fs := f(re.FindStringSubmatch(m))
			if fs == nil {
				return m
			}
			out = append(out, fs...)
			return " ; "
		})
	}
	take(isoDate, func(m []string) []figure { return dateParts(m[0], m[3], m[2], m[1]) })
	take(dottedDate, func(m []string) []figure { return dateParts(m[0], m[1], m[2], m[3]) })
	take(phoneRun, func(m []string) []figure {
		if d := digits(m[0]); len(d) >= 7 {
			return []figure{{raw: m[0], values: []string{"+" + strings.TrimLeft(d, "0")}}}
		}
		return nil
	})
	take(idPiece, func(m []string) []figure {
		word := strings.ToLower(m[0])
		letters := strings.TrimRightFunc(word, func(r rune) bool { return !unicode.IsLetter(r) })
		if units[letters] != "" && !strings.ContainsAny(word, "-/#") {
			return nil // "eur20"
		}
		return []figure{{raw: m[0], values: []string{"#" + alnum(word)}}}
	})
	return append(out, plainFigures(piece.FindAllStringIndex(text, -1), text)...)
}

func plainFigures(at [][]int, text string) []figure {
	var out []figure
	word := func(i int) string {
		if i < 0 || i >= len(at) {
			return ""
		}
		return strings.ToLower(text[at[i][0]:at[i][1]])
	}
	for i := range at {
		w := word(i)
		switch {
		case w[0] >= '0' && w[0] <= '9' || unicode.IsNumber([]rune(w)[0]):
			f := figure{raw: w, values: readings(w), unit: unitAt(at, text, word, i)}
			if f.unit == "clock" || strings.Contains(w, ":") || f.unit == "am" || f.unit == "pm" {
				f.values, f.unit = clock(w, f.unit), ""
			}
			out = append(out, f)
		case weekdays[w] != "":
			out = append(out, figure{raw: w, values: []string{weekdays[w]}})
		case months[w] != 0 && (isNumber(word(i-1)) || isNumber(word(i+1)) || standsAlone(text[at[i][0]:at[i][1]])):
			out = append(out, figure{raw: w, values: []string{"m" + strconv.Itoa(months[w])}})
		case relative[w]:
			out = append(out, figure{raw: w, values: []string{"r" + w}})
		case numberWords[w] != "":
			f := figure{raw: w, values: []string{numberWords[w]}, unit: unitAt(at, text, word, i)}
			n, _ := strconv.Atoi(numberWords[w])
			f.soft = f.unit == "" && n < 13
			out = append(out, f)
		}
	}
	return out
}

// standsAlone says whether a month's name is one without a number beside it: "may" and "march" are other words too.
func standsAlone(w string) bool {
	low := strings.ToLower(w)
	return len(low) > 3 && low != w && low != "march" && low != "mars"
}

// unitAt looks for a unit behind (19 EUR, 2-4 working days) or a currency sign before (€ 19).
func unitAt(at [][]int, text string, word func(int) string, i int) string {
	if m := months[word(i+1)]; m != 0 && len(digits(word(i))) <= 2 {
		return "of" + strconv.Itoa(m)
	}
	if m := months[word(i-1)]; m != 0 && len(digits(word(i))) <= 2 && months[word(i+1)] == 0 {
		return "of" + strconv.Itoa(m)
	}
	for j := i + 1; j < len(at) && j <= i+5; j++ {
		gap := text[at[j-1][1]:at[j][0]]
		if strings.ContainsAny(gap, ".,;:!?\n(") {
			break
		}
		w := word(j)
		if u := units[w]; u != "" {
			if (u == "m" || u == "l" || u == "g" || u == "am" || u == "in") && j > i+1 {
				break
			}
			return u
		}
		joins := w == "to" || w == "bis" || w == "and" || w == "or" || w == "a" || w == "à" || w == "working" || w == "business" || w == "full" || w == "calendar" || isNumber(w) || numberWords[w] != ""
		if !joins {
			break
		}
	}
	if i > 0 && strings.TrimSpace(text[at[i-1][1]:at[i][0]]) == "" {
		if u := units[word(i-1)]; u == "eur" || u == "usd" || u == "gbp" {
			return u
		}
	}
	return ""
}

func isNumber(w string) bool { return w != "" && w[0] >= '0' && w[0] <= '9' }

// readings are the values that a group of digits may have: 1.299,00 -> 1299; 1.299 -> 1299 or 1.299; 8.7 -> 8.7.
func readings(w string) []string {
	w = strings.NewReplacer("'", "", "’", "").Replace(w)
	dots, commas := strings.Count(w, "."), strings.Count(w, ",")
	last := strings.LastIndexAny(w, ".,")
	if last < 0 {
		return []string{trimNumber(w)}
	}
	grouped := strings.NewReplacer(".", "", ",", "").Replace(w)
	decimal := strings.NewReplacer(".", "", ",", "").Replace(w[:last]) + "." + w[last+1:]
	switch {
	case dots > 0 && commas > 0:
		return []string{trimNumber(decimal)}
	case dots+commas > 1:
		return []string{trimNumber(grouped)}
	case len(w)-last-1 == 3:
		return []string{trimNumber(grouped), trimNumber(decimal)}
	}
	return []string{trimNumber(decimal)}
}

func trimNumber(w string) string {
	if strings.Contains(w, ".") {
		w = strings.TrimRight(strings.TrimRight(w, "0"), ".")
	}
	w = strings.TrimLeft(w, "0")
	if w == "" || w[0] == '.' {
		w = "0" + w
	}
	return w
}

// clock turns 18:00, 18 Uhr and 6 pm into minutes of the day.
func clock(w, unit string) []string {
	h, m, _ := strings.Cut(strings.ReplaceAll(w, ".", ":"), ":")
	hour, err := strconv.Atoi(h)
	minute, err2 := strconv.Atoi(m)
	if m == "" {
		minute, err2 = 0, nil
	}
	if err != nil || err2 != nil || hour > 24 || minute > 59 {
		return readings(strings.ReplaceAll(w, ":", ""))
	}
	switch {
	case unit == "pm" && hour < 12:
		hour += 12
	case unit == "am" && hour == 12:
		hour = 0
	}
	return []string{"t" + strconv.Itoa(hour*60+minute)}
}

func dateParts(raw, day, month, year string) []figure {
	m, _ := strconv.Atoi(month)
	d, _ := strconv.Atoi(day)
	if m > 12 && d <= 12 {
		m, d = d, m
	}
	if m < 1 || m > 12 || d < 1 || d > 31 {
		return []figure{{raw: raw, values: []string{"+" + digits(raw)}}}
	}
	if len(year) == 2 {
		year = "20" + year
	}
	return []figure{
		{raw: raw, values: []string{strconv.Itoa(d)}, unit: "of" + strconv.Itoa(m)},
		{raw: raw, values: []string{"m" + strconv.Itoa(m)}},
		{raw: raw, values: []string{year}},
	}
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

func alnum(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
}

// sources holds every figure of the passages: value -> the units it stands with.
type sources map[string]map[string]bool

func (s sources) add(text string) {
	for _, f := range figures(text) {
		for _, v := range f.values {
			if s[v] == nil {
				s[v] = map[string]bool{}
			}
			s[v][f.unit] = true
		}
	}
	for _, r := range weekdayRanges(text) {
		s[r] = map[string]bool{"": true}
	}
}

// grounded says whether f stands in the sources: one of its readings with the same unit. A source may write the unit
// elsewhere ("weight in kg: 1.90"); that is believed only of numbers that do not occur by chance, else the "Skarv 2"
// would ground "2 EUR".
func (s sources) grounded(f figure) bool {
	if f.soft {
		return true
	}
	for _, v := range f.values {
		with, ok := s[v]
		if ok && (f.unit == "" || with[f.unit] || with[""] && telling(v) && !strings.HasPrefix(f.unit, "of")) {
			return true
		}
	}
	return false
}

// telling says whether a number is rare enough to mean the same thing without its unit.
func telling(v string) bool { return strings.Contains(v, ".") || len(v) >= 3 }

var weekdayRange = regexp.MustCompile(`(?i)\b(\p{L}+)\s*(?:-|–|to|bis|until|through)\s*(\p{L}+)\b`)

// weekdayRanges fills "Monday to Friday".
func weekdayRanges(text string) []string {
	var out []string
	for _, m := range weekdayRange.FindAllStringSubmatch(text, -1) {
		from, to := weekdays[strings.ToLower(m[1])], weekdays[strings.ToLower(m[2])]
		if from == "" || to == "" {
			continue
		}
		for d := from[1]; d <= to[1]; d++ {
			out = append(out, "w"+string(d))
		}
	}
	return out
}

func pairs(lines ...string) map[string]string {
	m := map[string]string{}
	for _, l := range lines {
		key, words, _ := strings.Cut(l, ":")
		for w := range strings.FieldsSeq(words) {
			m[w] = key
		}
	}
	return m
}

var units = pairs(
	"eur: eur euro euros €", "usd: usd dollar dollars $", "gbp: gbp pound pounds £", "nok: nok kr kroner krone",
	"%: % percent prozent pourcent", "kg: kg kilo kilos kilogram kilograms kilogramm", "g: g gram grams gramm grammes",
	"l: l litre litres liter liters", "ml: ml", "mm: mm", "cm: cm", "m: m metre metres meter meters", "km: km", "w: w watt watts",
	"second: second seconds sekunden secondes", "minute: minute minutes minuten min mins", "hour: hour hours stunde stunden heures hrs",
	"day: day days tag tage tagen jours jour días dias giorni dagen dni", "week: week weeks woche wochen semaine semaines semanas settimane weken",
	"month: month months monat monate monaten mois meses mesi maanden", "year: year years jahr jahre jahren ans année années años anni anos jaar",
	"person: person persons people personen personnes personas", "am: am", "pm: pm", "clock: uhr o'clock")

var weekdays = pairs(
	"w1: monday mondays montag montags lundi lunes lunedì segunda-feira maandag poniedziałek", "w2: tuesday tuesdays dienstag dienstags mardi martes martedì dinsdag wtorek",
	"w3: wednesday wednesdays mittwoch mittwochs mercredi miércoles mercoledì woensdag środa", "w4: thursday thursdays donnerstag donnerstags jeudi jueves giovedì donderdag czwartek",
	"w5: friday fridays freitag freitags vendredi viernes venerdì vrijdag piątek", "w6: saturday saturdays samstag samstags samedi sábado sabato zaterdag sobota",
	"w7: sunday sundays sonntag sonntags dimanche domingo domenica zondag niedziela")

var relative = set("today tomorrow tonight yesterday heute morgen gestern demain aujourd'hui hier mañana hoy domani oggi amanhã hoje vandaag jutro dzisiaj")

var numberWords = pairs(
	"2: two zwei deux dos twee dwa", "3: three drei trois tres drie trzy", "4: four vier quatre cuatro quattro quatro cztery", "5: five fünf cinq cinco cinque vijf pięć",
	"6: six sechs seis zes sześć", "7: seven sieben sept siete sette zeven siedem", "8: eight acht huit ocho otto oito osiem", "9: nine neun nueve nove negen dziewięć",
	"10: ten zehn dix diez tien dziesięć", "11: eleven elf onze", "12: twelve zwölf douze doce dodici twaalf dwanaście dozen", "13: thirteen dreizehn", "14: fourteen vierzehn quatorze catorce quattordici veertien", "15: fifteen fünfzehn quinze quindici",
	"16: sixteen", "17: seventeen", "18: eighteen", "19: nineteen", "20: twenty zwanzig vingt veinte venti twintig", "30: thirty dreißig trente treinta trenta dertig", "40: forty vierzig quarante cuarenta quaranta veertig",
	"50: fifty fünfzig cinquante cincuenta cinquanta vijftig", "60: sixty sechzig soixante sesenta sessanta zestig", "70: seventy siebzig", "80: eighty achtzig", "90: ninety neunzig", "100: hundred hundert cent cien cento honderd", "1000: thousand tausend mille mil duizend")

var months = func() map[string]int {
	m := map[string]int{}
	for i, words := range []string{
		"january januar janvier enero gennaio januari janeiro jan", "february februar février febrero febbraio februari fevereiro feb", "march märz mars marzo maart março mar",
		"april avril abril aprile apr", "may mai mayo maggio mei maio", "june juni juin junio giugno junho jun", "july juli juillet julio luglio julho jul", "august août agosto augustus aug",
		"september septembre septiembre settembre setembro sep", "october oktober octobre octubre ottobre outubro oct okt", "november novembre noviembre novembro nov", "december dezember décembre diciembre dicembre dezembro dec dez",
	} {
		for w := range strings.FieldsSeq(words) {
			m[w] = i + 1
		}
	}
	return m
}()
