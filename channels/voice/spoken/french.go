package spoken

import "strings"

var frSmall = strings.Fields("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf")
var frTens = strings.Fields("- - vingt trente quarante cinquante soixante")

func frCardinal(n int64) string {
	switch {
	case n < 0:
		return "moins " + frCardinal(-n)
	case n < 20:
		return frSmall[n]
	case n < 70:
		switch {
		case n%10 == 0:
			return frTens[n/10]
		case n%10 == 1:
			return frTens[n/10] + " et un"
		}
		return frTens[n/10] + "-" + frSmall[n%10]
	case n == 71:
		return "soixante et onze"
	case n < 80:
		return "soixante-" + frSmall[n-60]
	case n == 80:
		return "quatre-vingts"
	case n < 100:
		return "quatre-vingt-" + frSmall[n-80]
	case n < 200:
		return join("cent", rest(n%100, frCardinal))
	case n < 1000 && n%100 == 0:
		return frSmall[n/100] + " cents"
	case n < 1000:
		return frSmall[n/100] + " cent " + frCardinal(n%100)
	case n < 2000:
		return join("mille", rest(n%1000, frCardinal))
	case n < 1e6: // before mille neither vingts nor cents keeps its s
		k := frCardinal(n / 1000)
		if strings.HasSuffix(k, "vingts") || strings.HasSuffix(k, "cents") {
			k = k[:len(k)-1]
		}
		return join(k+" mille", rest(n%1000, frCardinal))
	}
	for _, s := range []struct {
		n    int64
		name string
	}{{1e12, "billion"}, {1e9, "milliard"}, {1e6, "million"}} {
		if n >= s.n {
			return join(frCardinal(n/s.n)+" "+plural(n/s.n, s.name, s.name+"s"), rest(n%s.n, frCardinal))
		}
	}
	return ""
}

func frCounting(n int64, feminine bool) string {
	words := frCardinal(n)
	if feminine && (words == "un" || strings.HasSuffix(words, " un")) {
		return words + "e"
	}
	return words
}

func frOrdinal(n int64, _, ending string) string {
	if n == 1 {
		if strings.HasPrefix(ending, "r") { // 1re
			return "première"
		}
		return "premier"
	}
	words := frCardinal(n)
	switch {
	case strings.HasSuffix(words, "neuf"):
		words = words[:len(words)-1] + "v"
	case strings.HasSuffix(words, "cinq"):
		words += "u"
	case strings.HasSuffix(words, "e"), strings.HasSuffix(words, "vingts"), strings.HasSuffix(words, "cents"):
		words = words[:len(words)-1]
	}
	return words + "ième"
}

func french() *tongue {
	return &tongue{
		code: "fr", digits: [10]string(frSmall[:10]), cardinal: frCardinal, counting: frCounting, ordinal: frOrdinal, year: frCardinal, comma: true, dayFirst: true, fraction: true,
		date: func(d, m int, year, _ string) string {
			day := frCardinal(int64(d))
			if d == 1 {
				day = "premier"
			}
			return join(day, frMonths[m], year)
		},
		clock: func(h, m int, _, _ string) string {
			return join(frCounting(int64(h), true)+" "+plural(int64(max(h, 1)), "heure", "heures"), rest(int64(m), frCardinal))
		},
		money: func(whole, cents int64, c coin) string {
			singular := func(n int64, one, many string) string { return plural(max(n, 1), one, many) } // zero is singular
			switch {
			case cents == 0:
				return frCounting(whole, c.feminine) + " " + singular(whole, c.one, c.many)
			case whole == 0:
				return frCounting(cents, false) + " " + singular(cents, c.cent, c.cents)
			}
			return frCounting(whole, c.feminine) + " " + singular(whole, c.one, c.many) + " " + frCardinal(cents)
		},
		monthName: frMonths,
		months: monthWords(frMonths, map[string]int{"janv": 1, "févr": 2, "fév": 2, "avr": 4, "juil": 7, "sept": 9, "oct": 10, "nov": 11, "déc": 12,
			"fevrier": 2, "aout": 8, "decembre": 12}),
		weekdays: map[string]string{"lun": "lundi", "mer": "mercredi", "jeu": "jeudi", "ven": "vendredi", "sam": "samedi", "dim": "dimanche", "lundi": "lundi",
			"mardi": "mardi", "mercredi": "mercredi", "jeudi": "jeudi", "vendredi": "vendredi", "samedi": "samedi", "dimanche": "dimanche"},
		coins: map[string]coin{
			"EUR": {"euro", "euros", "centime", "centimes", false}, "USD": {"dollar", "dollars", "cent", "cents", false},
			"GBP": {"livre", "livres", "penny", "pence", true}, "CHF": {"franc suisse", "francs suisses", "centime", "centimes", false},
			"CAD": {"dollar canadien", "dollars canadiens", "cent", "cents", false}, "JPY": {"yen", "yens", "sen", "sen", false},
		},
		coinWords: map[string]string{"euro": "EUR", "euros": "EUR", "dollar": "USD", "dollars": "USD"},
		units: map[string]unit{
			"km": {"kilomètre", "kilomètres", false}, "m": {"mètre", "mètres", false}, "cm": {"centimètre", "centimètres", false}, "mm": {"millimètre", "millimètres", false},
			"kg": {"kilogramme", "kilogrammes", false}, "g": {"gramme", "grammes", false}, "mg": {"milligramme", "milligrammes", false}, "t": {"tonne", "tonnes", true},
			"l": {"litre", "litres", false}, "L": {"litre", "litres", false}, "ml": {"millilitre", "millilitres", false}, "km/h": {"kilomètre heure", "kilomètres heure", false},
			"°C": {"degré Celsius", "degrés Celsius", false}, "°": {"degré", "degrés", false}, "%": {"pour cent", "pour cent", false},
			"Ko": {"kilooctet", "kilooctets", false}, "Mo": {"mégaoctet", "mégaoctets", false}, "Go": {"gigaoctet", "gigaoctets", false}, "To": {"téraoctet", "téraoctets", false},
			"MB": {"mégabyte", "mégabytes", false}, "GB": {"gigabyte", "gigabytes", false}, "kWh": {"kilowattheure", "kilowattheures", false},
			"kW": {"kilowatt", "kilowatts", false}, "W": {"watt", "watts", false}, "V": {"volt", "volts", false}, "min": {"minute", "minutes", true},
			"mn": {"minute", "minutes", true}, "s": {"seconde", "secondes", true}, "m^2": {"mètre carré", "mètres carrés", false}, "m^3": {"mètre cube", "mètres cubes", false},
			"x": {"fois", "fois", true}, "×": {"fois", "fois", true},
		},
		scales: map[string]scale{"mille": {one: "mille"}, "million": {"million", "millions", "de", false}, "millions": {"million", "millions", "de", false},
			"M": {"million", "millions", "de", false}, "milliards": {"milliard", "milliards", "de", false}, "milliard": {"milliard", "milliards", "de", false}},
		abbrev: []string{"p. ex.", "par exemple", "p.ex.", "par exemple", "c.-à-d.", "c'est-à-dire", "M.", "Monsieur", "Mme", "Madame", "Mlle", "Mademoiselle",
			"Dr", "Docteur", "Dr.", "Docteur", "etc.", "et cetera", "env.", "environ", "tél.", "téléphone", "Tél.", "téléphone", "av.", "avenue", "Av.", "avenue", "bd", "boulevard",
			"Bd", "boulevard", "max.", "maximum", "min.", "minimum", "Sté", "société", "St-", "Saint-", "Ste-", "Sainte-", "et/ou", "et ou", "TTC", "toutes taxes comprises",
			"HT", "hors taxes", "7j/7", "sept jours sur sept", "24h/24", "vingt-quatre heures sur vingt-quatre", "7/7", "sept jours sur sept", "24/7", "à toute heure"},
		w: map[string]string{"point": "virgule", "minus": "moins", "plus": "plus", "to": "à", "per": "par", "by": "par", "number": "numéro", "of": "sur",
			"&": "et", "@": "arobase", "+": "plus", "=": "égale", "×": "fois", "§": "paragraphe", "%": "pour cent", "°": "degrés", "€": "euros", "$": "dollars",
			"£": "livres", "¥": "yens", "at": "arobase", "dot": "point", "dash": "tiret", "underscore": "tiret bas", "slash": "barre oblique"},
		parts: map[string]string{"1/2": "un demi", "1/3": "un tiers", "2/3": "deux tiers", "1/4": "un quart", "3/4": "trois quarts"},
	}
}

var frMonths = [13]string{"", "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}
