package spoken

import "strings"

var itSmall = strings.Fields("zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici diciassette diciotto diciannove")
var itTens = strings.Fields("- - venti trenta quaranta cinquanta sessanta settanta ottanta novanta")

// itCardinal is one word up to a million; a three at its end has an accent.
func itCardinal(n int64) string {
	words := itWord(n)
	if n > 20 && strings.HasSuffix(words, "tre") && !strings.HasSuffix(words, " tre") {
		return strings.TrimSuffix(words, "tre") + "tré"
	}
	return words
}

func itWord(n int64) string {
	switch {
	case n < 0:
		return "meno " + itWord(-n)
	case n < 20:
		return itSmall[n]
	case n < 100:
		ten, unit := itTens[n/10], n%10
		switch unit {
		case 0:
			return ten
		case 1, 8: // ventuno, ventotto
			ten = ten[:len(ten)-1]
		}
		return ten + itSmall[unit]
	case n < 1000:
		return itTimes(n/100, "cento", "cento") + itRest(n%100)
	case n < 1e6:
		return itTimes(n/1000, "mille", "mila") + itRest(n%1000)
	}
	for _, s := range []struct {
		n         int64
		one, many string
	}{{1e12, "bilione", "bilioni"}, {1e9, "miliardo", "miliardi"}, {1e6, "milione", "milioni"}} {
		if n >= s.n {
			return join(itCounting(n/s.n, false)+" "+plural(n/s.n, s.one, s.many), rest(n%s.n, itCardinal))
		}
	}
	return ""
}

func itTimes(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return itWord(n) + many
}

func itRest(n int64) string {
	if n == 0 {
		return ""
	}
	return itWord(n)
}

// itCounting is a number before a noun: un euro, una sterlina, ventuno euro.
func itCounting(n int64, feminine bool) string {
	switch {
	case n == 1 && feminine:
		return "una"
	case n == 1:
		return "un"
	}
	return itCardinal(n)
}

var itOrdinals = strings.Fields("- prim second terz quart quint sest settim ottav non decim")

func itOrdinal(n int64, _, ending string) string {
	words := ""
	switch {
	case n < 1:
		return itCardinal(n)
	case n <= 10:
		words = itOrdinals[n]
	default:
		words = itWord(n)
		if !strings.HasSuffix(words, "tre") && !strings.HasSuffix(words, "sei") {
			words = words[:len(words)-1]
		}
		words += "esim"
	}
	if strings.HasPrefix(ending, "a") || strings.HasPrefix(ending, "ª") {
		return words + "a"
	}
	return words + "o"
}

func italian() *tongue {
	return &tongue{
		code: "it", digits: [10]string(itSmall[:10]), cardinal: itCardinal, counting: itCounting, ordinal: itOrdinal, year: itCardinal, comma: true, dayFirst: true, fraction: true,
		date: func(d, m int, year, _ string) string {
			day := itCardinal(int64(d))
			if d == 1 {
				day = "primo"
			}
			return join(day, itMonths[m], year)
		},
		clock: func(h, m int, half, _ string) string {
			if half != "" {
				h = (h+11)%12 + 1
			}
			words := itCardinal(int64(h))
			if h == 1 {
				words = "una"
			}
			if m > 0 {
				words += " e " + itCardinal(int64(m))
			}
			switch half {
			case "am":
				words += " di mattina"
			case "pm":
				words += " di pomeriggio"
			}
			return words
		},
		money: func(whole, cents int64, c coin) string {
			switch {
			case cents == 0:
				return itCounting(whole, c.feminine) + " " + plural(whole, c.one, c.many)
			case whole == 0:
				return itCounting(cents, false) + " " + plural(cents, c.cent, c.cents)
			}
			return itCounting(whole, c.feminine) + " " + plural(whole, c.one, c.many) + " e " + itCounting(cents, false) + " " + plural(cents, c.cent, c.cents)
		},
		monthName: itMonths,
		months: monthWords(itMonths, map[string]int{"gen": 1, "genn": 1, "feb": 2, "febbr": 2, "mar": 3, "apr": 4, "giu": 6, "lug": 7, "ago": 8, "set": 9, "sett": 9,
			"ott": 10, "nov": 11, "dic": 12}),
		weekdays: map[string]string{"lun": "lunedì", "mer": "mercoledì", "gio": "giovedì", "ven": "venerdì", "sab": "sabato", "dom": "domenica", "lunedì": "lunedì",
			"martedì": "martedì", "mercoledì": "mercoledì", "giovedì": "giovedì", "venerdì": "venerdì", "sabato": "sabato", "domenica": "domenica"},
		coins: map[string]coin{
			"EUR": {"euro", "euro", "centesimo", "centesimi", false}, "USD": {"dollaro", "dollari", "centesimo", "centesimi", false},
			"GBP": {"sterlina", "sterline", "penny", "pence", true}, "CHF": {"franco svizzero", "franchi svizzeri", "centesimo", "centesimi", false},
			"JPY": {"yen", "yen", "sen", "sen", false},
		},
		coinWords: map[string]string{"euro": "EUR", "dollaro": "USD", "dollari": "USD"},
		units: map[string]unit{
			"km": {"chilometro", "chilometri", false}, "m": {"metro", "metri", false}, "cm": {"centimetro", "centimetri", false}, "mm": {"millimetro", "millimetri", false},
			"kg": {"chilogrammo", "chilogrammi", false}, "g": {"grammo", "grammi", false}, "mg": {"milligrammo", "milligrammi", false}, "t": {"tonnellata", "tonnellate", true},
			"l": {"litro", "litri", false}, "L": {"litro", "litri", false}, "ml": {"millilitro", "millilitri", false}, "km/h": {"chilometro all'ora", "chilometri all'ora", false},
			"°C": {"grado Celsius", "gradi Celsius", false}, "°": {"grado", "gradi", false}, "%": {"per cento", "per cento", false},
			"kB": {"kilobyte", "kilobyte", false}, "MB": {"megabyte", "megabyte", false}, "GB": {"gigabyte", "gigabyte", false}, "TB": {"terabyte", "terabyte", false},
			"kWh": {"chilowattora", "chilowattora", false}, "kW": {"chilowatt", "chilowatt", false}, "W": {"watt", "watt", false}, "V": {"volt", "volt", false},
			"h": {"ora", "ore", true}, "min": {"minuto", "minuti", false}, "s": {"secondo", "secondi", false}, "sec": {"secondo", "secondi", false},
			"m^2": {"metro quadro", "metri quadri", false}, "m^3": {"metro cubo", "metri cubi", false}, "x": {"volta", "volte", true}, "×": {"volta", "volte", true},
		},
		scales: map[string]scale{"mila": {one: "mila"}, "milione": {"milione", "milioni", "di", false}, "milioni": {"milione", "milioni", "di", false},
			"mln": {"milione", "milioni", "di", false}, "M": {"milione", "milioni", "di", false}, "miliardo": {"miliardo", "miliardi", "di", false}, "miliardi": {"miliardo", "miliardi", "di", false}},
		abbrev: []string{"p. es.", "per esempio", "p.es.", "per esempio", "ad es.", "ad esempio", "Sig.", "signor", "sig.", "signor", "Sig.ra", "signora", "sig.ra", "signora",
			"Dott.", "dottor", "Dott.ssa", "dottoressa", "Dr.", "dottor", "ecc.", "eccetera", "tel.", "telefono", "Tel.", "telefono", "cell.", "cellulare", "v.le", "viale", "V.le", "viale",
			"p.zza", "piazza", "P.zza", "piazza", "c.so", "corso", "C.so", "corso", "n.", "numero", "N.", "numero", "pag.", "pagina", "ca.", "circa", "max.", "massimo", "min.", "minimo",
			"e/o", "e o", "24/7", "ventiquattro ore su ventiquattro", "S.p.A.", "esse pi a", "S.r.l.", "esse erre elle"},
		w: map[string]string{"point": "virgola", "minus": "meno", "plus": "più", "to": "a", "per": "per", "by": "per", "number": "numero", "of": "su",
			"&": "e", "@": "chiocciola", "+": "più", "=": "uguale", "×": "per", "§": "paragrafo", "%": "per cento", "°": "gradi", "€": "euro", "$": "dollari",
			"£": "sterline", "¥": "yen", "at": "chiocciola", "dot": "punto", "dash": "trattino", "underscore": "trattino basso", "slash": "barra"},
		parts: map[string]string{"1/2": "mezzo", "1/3": "un terzo", "2/3": "due terzi", "1/4": "un quarto", "3/4": "tre quarti"},
	}
}

var itMonths = [13]string{"", "gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"}
