package spoken

import "strings"

var esSmall = strings.Split("cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve", " ")
var esTens = strings.Fields("- - - treinta cuarenta cincuenta sesenta setenta ochenta noventa")
var esHundreds = strings.Fields("- ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos")

func esCardinal(n int64) string {
	switch {
	case n < 0:
		return "menos " + esCardinal(-n)
	case n < 30:
		return esSmall[n]
	case n < 100 && n%10 == 0:
		return esTens[n/10]
	case n < 100:
		return esTens[n/10] + " y " + esSmall[n%10]
	case n == 100:
		return "cien"
	case n < 1000:
		return join(esHundreds[n/100], rest(n%100, esCardinal))
	case n < 2000:
		return join("mil", rest(n%1000, esCardinal))
	case n < 1e6:
		return join(esCounting(n/1000, false)+" mil", rest(n%1000, esCardinal))
	case n < 2e6:
		return join("un millón", rest(n%1e6, esCardinal))
	case n < 1e12:
		return join(esCounting(n/1e6, false)+" millones", rest(n%1e6, esCardinal))
	case n < 2e12:
		return join("un billón", rest(n%1e12, esCardinal))
	}
	return join(esCounting(n/1e12, false)+" billones", rest(n%1e12, esCardinal))
}

// esCounting is a number before a noun: un euro, veintiún euros, doscientas libras.
func esCounting(n int64, feminine bool) string {
	words := esCardinal(n)
	if feminine {
		words = strings.ReplaceAll(words, "cientos", "cientas")
		words = strings.ReplaceAll(words, "quinientos", "quinientas")
		if strings.HasSuffix(words, "uno") {
			return words[:len(words)-1] + "a"
		}
		return words
	}
	switch {
	case strings.HasSuffix(words, "veintiuno"):
		return strings.TrimSuffix(words, "uno") + "ún"
	case strings.HasSuffix(words, "uno"):
		return strings.TrimSuffix(words, "o")
	}
	return words
}

var esOrdinals = strings.Fields("- primer segund tercer cuart quint sext séptim octav noven décim")

func spanish() *tongue {
	return &tongue{
		code: "es", digits: [10]string(esSmall[:10]), cardinal: esCardinal, counting: esCounting, year: esCardinal, comma: true, dayFirst: true, fraction: true,
		ordinal: func(n int64, _, ending string) string {
			switch {
			case n < 1 || n > 10:
				return esCardinal(n)
			case strings.HasPrefix(ending, "a"):
				return esOrdinals[n] + "a"
			case ending == "er":
				return esOrdinals[n]
			}
			return esOrdinals[n] + "o"
		},
		date: func(d, m int, year, _ string) string {
			words := esCardinal(int64(d)) + " de " + esMonths[m]
			if d == 1 {
				words = "primero de " + esMonths[m]
			}
			if year != "" {
				words += " de " + year
			}
			return words
		},
		clock: func(h, m int, half, before string) string {
			if half != "" {
				h = (h+11)%12 + 1
			}
			words := esCounting(int64(h), true)
			switch {
			case h == 0:
				words = "cero"
			case m == 0 && half == "" && before != "las" && before != "la":
				words += " " + plural(int64(h), "hora", "horas")
			}
			words = join(words, rest(int64(m), esCardinal))
			switch half {
			case "am":
				words += " de la mañana"
			case "pm":
				words += " de la tarde"
			}
			return words
		},
		money: func(whole, cents int64, c coin) string {
			switch {
			case cents == 0:
				return esCounting(whole, c.feminine) + " " + plural(whole, c.one, c.many)
			case whole == 0:
				return esCounting(cents, false) + " " + plural(cents, c.cent, c.cents)
			}
			return esCounting(whole, c.feminine) + " " + plural(whole, c.one, c.many) + " con " + esCounting(cents, false) + " " + plural(cents, c.cent, c.cents)
		},
		monthName: esMonths,
		months: monthWords(esMonths, map[string]int{"ene": 1, "feb": 2, "mar": 3, "abr": 4, "jun": 6, "jul": 7, "ago": 8, "sep": 9, "sept": 9, "setiembre": 9,
			"oct": 10, "nov": 11, "dic": 12}),
		weekdays: map[string]string{"lun": "lunes", "mié": "miércoles", "jue": "jueves", "vie": "viernes", "sáb": "sábado", "dom": "domingo", "lunes": "lunes",
			"martes": "martes", "miércoles": "miércoles", "jueves": "jueves", "viernes": "viernes", "sábado": "sábado", "domingo": "domingo"},
		coins: map[string]coin{
			"EUR": {"euro", "euros", "céntimo", "céntimos", false}, "USD": {"dólar", "dólares", "centavo", "centavos", false},
			"GBP": {"libra", "libras", "penique", "peniques", true}, "MXN": {"peso mexicano", "pesos mexicanos", "centavo", "centavos", false},
			"CHF": {"franco suizo", "francos suizos", "céntimo", "céntimos", false}, "JPY": {"yen", "yenes", "sen", "sen", false},
		},
		coinWords: map[string]string{"euro": "EUR", "euros": "EUR", "dólar": "USD", "dólares": "USD"},
		units: map[string]unit{
			"km": {"kilómetro", "kilómetros", false}, "m": {"metro", "metros", false}, "cm": {"centímetro", "centímetros", false}, "mm": {"milímetro", "milímetros", false},
			"kg": {"kilogramo", "kilogramos", false}, "g": {"gramo", "gramos", false}, "mg": {"miligramo", "miligramos", false}, "t": {"tonelada", "toneladas", true},
			"l": {"litro", "litros", false}, "L": {"litro", "litros", false}, "ml": {"mililitro", "mililitros", false}, "km/h": {"kilómetro por hora", "kilómetros por hora", false},
			"°C": {"grado Celsius", "grados Celsius", false}, "°": {"grado", "grados", false}, "%": {"por ciento", "por ciento", false},
			"kB": {"kilobyte", "kilobytes", false}, "MB": {"megabyte", "megabytes", false}, "GB": {"gigabyte", "gigabytes", false}, "TB": {"terabyte", "terabytes", false},
			"kWh": {"kilovatio hora", "kilovatios hora", false}, "kW": {"kilovatio", "kilovatios", false}, "W": {"vatio", "vatios", false}, "V": {"voltio", "voltios", false},
			"h": {"hora", "horas", true}, "min": {"minuto", "minutos", false}, "s": {"segundo", "segundos", false}, "seg": {"segundo", "segundos", false},
			"m^2": {"metro cuadrado", "metros cuadrados", false}, "m^3": {"metro cúbico", "metros cúbicos", false}, "x": {"vez", "veces", true}, "×": {"vez", "veces", true},
		},
		scales: map[string]scale{"mil": {one: "mil"}, "millón": {"millón", "millones", "de", false}, "millones": {"millón", "millones", "de", false},
			"M": {"millón", "millones", "de", false}},
		abbrev: []string{"p. ej.", "por ejemplo", "p.ej.", "por ejemplo", "Sr.", "señor", "Sra.", "señora", "Srta.", "señorita", "Dr.", "doctor", "Dra.", "doctora",
			"Ud.", "usted", "Uds.", "ustedes", "etc.", "etcétera", "tel.", "teléfono", "Tel.", "teléfono", "Avda.", "avenida", "Av.", "avenida", "C/", "calle ", "c/", "calle ",
			"núm.", "número", "Núm.", "número", "pág.", "página", "aprox.", "aproximadamente", "EE. UU.", "Estados Unidos", "EE.UU.", "Estados Unidos", "máx.", "máximo",
			"mín.", "mínimo", "dpto.", "departamento", "Dpto.", "departamento", "pza.", "plaza", "Pza.", "plaza", "y/o", "y o", "24/7", "veinticuatro horas al día"},
		w: map[string]string{"point": "coma", "minus": "menos", "plus": "más", "to": "a", "per": "por", "by": "por", "number": "número", "of": "de",
			"&": "y", "@": "arroba", "+": "más", "=": "igual a", "×": "por", "§": "artículo", "%": "por ciento", "°": "grados", "€": "euros", "$": "dólares",
			"£": "libras", "¥": "yenes", "at": "arroba", "dot": "punto", "dash": "guion", "underscore": "guion bajo", "slash": "barra"},
		parts: map[string]string{"1/2": "medio", "1/3": "un tercio", "2/3": "dos tercios", "1/4": "un cuarto", "3/4": "tres cuartos"},
	}
}

var esMonths = [13]string{"", "enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"}
