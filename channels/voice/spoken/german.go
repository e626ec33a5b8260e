package spoken

import "strings"

var deSmall = strings.Fields("null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn")
var deTens = strings.Fields("- - zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")

func deCardinal(n int64) string {
	switch {
	case n < 0:
		return "minus " + deCardinal(-n)
	case n < 20:
		return deSmall[n]
	case n < 100 && n%10 == 0:
		return deTens[n/10]
	case n < 100:
		return deOne(n%10) + "und" + deTens[n/10]
	case n < 1000:
		return deOne(n/100) + "hundert" + rest(n%100, deCardinal)
	case n < 1e6:
		return deOne(n/1000) + "tausend" + rest(n%1000, deCardinal)
	}
	for _, s := range []struct {
		n         int64
		one, many string
	}{{1e12, "Billion", "Billionen"}, {1e9, "Milliarde", "Milliarden"}, {1e6, "Million", "Millionen"}} {
		switch {
		case n >= 2*s.n:
			return join(deCardinal(n/s.n)+" "+s.many, rest(n%s.n, deCardinal))
		case n >= s.n:
			return join("eine "+s.one, rest(n%s.n, deCardinal))
		}
	}
	return ""
}

// deOne is a number in front of another: "ein" and not "eins".
func deOne(n int64) string {
	words := deCardinal(n)
	if strings.HasSuffix(words, "eins") {
		return words[:len(words)-1]
	}
	return words
}

// deOrdinal takes its ending from the word before: am dritten, der dritte, dritter.
func deOrdinal(n int64, before, _ string) string {
	words := ""
	switch m := n % 100; {
	case n == 1 || n > 100 && m == 1:
		words = strings.TrimSuffix(deCardinal(n), "eins") + "erst"
	case n == 3 || n > 100 && m == 3:
		words = strings.TrimSuffix(deCardinal(n), "drei") + "dritt"
	case n == 7 || n > 100 && m == 7:
		words = strings.TrimSuffix(deCardinal(n), "sieben") + "siebt"
	case n == 8 || n > 100 && m == 8:
		words = deCardinal(n) + ""
	case m > 0 && m < 20:
		words = deCardinal(n) + "t"
	default:
		words = deCardinal(n) + "st"
	}
	switch before {
	case "am", "vom", "zum", "beim", "im", "dem", "den", "des", "bis", "seit", "ab", "einem", "einen", "ihrem", "ihren", "unserem":
		return words + "en"
	case "der", "die", "das", "eine", "jede", "diese", "ihre", "zur":
		return words + "e"
	}
	return words + "er"
}

func deYear(n int64) string {
	if n >= 1100 && n < 2000 {
		return deCardinal(n/100) + "hundert" + rest(n%100, deCardinal)
	}
	return deCardinal(n)
}

func german() *tongue {
	counting := func(n int64, feminine bool) string {
		switch {
		case n == 1 && feminine:
			return "eine"
		case n == 1:
			return "ein"
		}
		return deCardinal(n)
	}
	return &tongue{
		code: "de", digits: [10]string(deSmall[:10]), cardinal: deCardinal, counting: counting, ordinal: deOrdinal, year: deYear, comma: true, dayFirst: true,
		date: func(d, m int, year, before string) string {
			return join(deOrdinal(int64(d), before, ""), deMonths[m], year)
		},
		clock: func(h, m int, half, _ string) string {
			switch {
			case half == "pm" && h < 12:
				h += 12
			case half == "am" && h == 12:
				h = 0
			}
			return join(deOne(int64(h))+" Uhr", rest(int64(m), deCardinal))
		},
		money: func(whole, cents int64, c coin) string {
			switch {
			case cents == 0:
				return counting(whole, c.feminine) + " " + plural(whole, c.one, c.many)
			case whole == 0:
				return counting(cents, false) + " " + plural(cents, c.cent, c.cents)
			}
			return counting(whole, c.feminine) + " " + plural(whole, c.one, c.many) + " " + deCardinal(cents)
		},
		monthName: deMonths,
		months: monthWords(deMonths, map[string]int{"jan": 1, "jänner": 1, "feb": 2, "febr": 2, "mrz": 3, "apr": 4, "jun": 6, "jul": 7, "aug": 8, "sep": 9,
			"sept": 9, "okt": 10, "nov": 11, "dez": 12}),
		weekdays: map[string]string{"Mo": "Montag", "Di": "Dienstag", "Mi": "Mittwoch", "Do": "Donnerstag", "Fr": "Freitag", "Sa": "Samstag", "So": "Sonntag",
			"Montag": "Montag", "Dienstag": "Dienstag", "Mittwoch": "Mittwoch", "Donnerstag": "Donnerstag", "Freitag": "Freitag", "Samstag": "Samstag", "Sonntag": "Sonntag"},
		coins: map[string]coin{
			"EUR": {"Euro", "Euro", "Cent", "Cent", false}, "USD": {"Dollar", "Dollar", "Cent", "Cent", false},
			"GBP": {"Pfund", "Pfund", "Penny", "Pence", false}, "CHF": {"Franken", "Franken", "Rappen", "Rappen", false},
			"JPY": {"Yen", "Yen", "Sen", "Sen", false}, "PLN": {"Zloty", "Zloty", "Groszy", "Groszy", false},
			"SEK": {"schwedische Krone", "schwedische Kronen", "Öre", "Öre", true}, "NOK": {"norwegische Krone", "norwegische Kronen", "Öre", "Öre", true},
			"DKK": {"dänische Krone", "dänische Kronen", "Öre", "Öre", true}, "CZK": {"tschechische Krone", "tschechische Kronen", "Heller", "Heller", true},
			"TRY": {"Lira", "Lira", "Kurusch", "Kurusch", true}, "HUF": {"Forint", "Forint", "Filler", "Filler", false},
		},
		coinWords: map[string]string{"euro": "EUR", "euros": "EUR", "dollar": "USD", "franken": "CHF"},
		units: map[string]unit{
			"km": {"Kilometer", "Kilometer", false}, "m": {"Meter", "Meter", false}, "cm": {"Zentimeter", "Zentimeter", false}, "mm": {"Millimeter", "Millimeter", false},
			"kg": {"Kilogramm", "Kilogramm", false}, "g": {"Gramm", "Gramm", false}, "mg": {"Milligramm", "Milligramm", false}, "t": {"Tonne", "Tonnen", true},
			"l": {"Liter", "Liter", false}, "L": {"Liter", "Liter", false}, "ml": {"Milliliter", "Milliliter", false}, "km/h": {"Stundenkilometer", "Stundenkilometer", false},
			"°C": {"Grad Celsius", "Grad Celsius", false}, "° C": {"Grad Celsius", "Grad Celsius", false}, "°F": {"Grad Fahrenheit", "Grad Fahrenheit", false},
			"°": {"Grad", "Grad", false}, "%": {"Prozent", "Prozent", false}, "kB": {"Kilobyte", "Kilobyte", false}, "KB": {"Kilobyte", "Kilobyte", false},
			"MB": {"Megabyte", "Megabyte", false}, "GB": {"Gigabyte", "Gigabyte", false}, "TB": {"Terabyte", "Terabyte", false},
			"Mbit/s": {"Megabit pro Sekunde", "Megabit pro Sekunde", false}, "Gbit/s": {"Gigabit pro Sekunde", "Gigabit pro Sekunde", false},
			"kWh": {"Kilowattstunde", "Kilowattstunden", true}, "kW": {"Kilowatt", "Kilowatt", false}, "W": {"Watt", "Watt", false}, "V": {"Volt", "Volt", false},
			"h": {"Stunde", "Stunden", true}, "Std.": {"Stunde", "Stunden", true}, "Std": {"Stunde", "Stunden", true}, "min": {"Minute", "Minuten", true},
			"Min.": {"Minute", "Minuten", true}, "Min": {"Minute", "Minuten", true}, "Sek.": {"Sekunde", "Sekunden", true}, "s": {"Sekunde", "Sekunden", true},
			"ms": {"Millisekunde", "Millisekunden", true}, "m^2": {"Quadratmeter", "Quadratmeter", false}, "qm": {"Quadratmeter", "Quadratmeter", false},
			"m^3": {"Kubikmeter", "Kubikmeter", false}, "Hz": {"Hertz", "Hertz", false}, "kHz": {"Kilohertz", "Kilohertz", false}, "MHz": {"Megahertz", "Megahertz", false},
			"GHz": {"Gigahertz", "Gigahertz", false}, "x": {"Mal", "Mal", false}, "×": {"Mal", "Mal", false}, "Stk.": {"Stück", "Stück", false}, "St.": {"Stück", "Stück", false},
		},
		scales: map[string]scale{"Tsd": {one: "tausend"}, "Mio": {"Million", "Millionen", "", true}, "Mrd": {"Milliarde", "Milliarden", "", true},
			"Million": {"Million", "Millionen", "", true}, "Millionen": {"Million", "Millionen", "", true}, "Milliarde": {"Milliarde", "Milliarden", "", true},
			"Milliarden": {"Milliarde", "Milliarden", "", true}, "Tausend": {one: "tausend"}, "tausend": {one: "tausend"}},
		abbrev: []string{"Mio.", "Mio", "Mrd.", "Mrd", "Tsd.", "Tsd", "z.B.", "zum Beispiel", "z. B.", "zum Beispiel", "d.h.", "das heißt", "d. h.", "das heißt", "u.a.", "unter anderem", "u. a.", "unter anderem",
			"o.ä.", "oder Ähnliches", "o. ä.", "oder Ähnliches", "i.d.R.", "in der Regel", "i. d. R.", "in der Regel", "bzw.", "beziehungsweise", "usw.", "und so weiter",
			"etc.", "et cetera", "ca.", "circa", "ggf.", "gegebenenfalls", "evtl.", "eventuell", "inkl.", "inklusive", "incl.", "inklusive", "exkl.", "exklusive",
			"zzgl.", "zuzüglich", "abzgl.", "abzüglich", "MwSt.", "Mehrwertsteuer", "MwSt", "Mehrwertsteuer", "Dr.", "Doktor", "Prof.", "Professor", "Hr.", "Herr",
			"Tel.", "Telefon", "Art.-Nr.", "Artikelnummer", "Kd.-Nr.", "Kundennummer", "Best.-Nr.", "Bestellnummer", "Str.", "Straße", "max.", "maximal", "min.", "minimal",
			"mind.", "mindestens", "sog.", "sogenannt", "vgl.", "vergleiche", "s.o.", "siehe oben", "s.u.", "siehe unten", "tägl.", "täglich", "werkt.", "werktags",
			"Hbf.", "Hauptbahnhof", "Hbf", "Hauptbahnhof", "Abs.", "Absatz", "und/oder", "und oder", "24/7", "rund um die Uhr", "MfG", "Mit freundlichen Grüßen"},
		w: map[string]string{"point": "Komma", "minus": "minus", "plus": "plus", "to": "bis", "per": "pro", "by": "mal", "number": "Nummer", "of": "von",
			"&": "und", "@": "ät", "+": "plus", "=": "gleich", "×": "mal", "§": "Paragraph", "%": "Prozent", "°": "Grad", "€": "Euro", "$": "Dollar",
			"£": "Pfund", "¥": "Yen", "at": "ät", "dot": "Punkt", "dash": "Bindestrich", "underscore": "Unterstrich", "slash": "Schrägstrich"},
		parts: map[string]string{"1/2": "ein halb", "1/3": "ein Drittel", "2/3": "zwei Drittel", "1/4": "ein Viertel", "3/4": "drei Viertel"},
	}
}

var deMonths = [13]string{"", "Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
