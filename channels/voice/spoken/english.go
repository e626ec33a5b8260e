package spoken

import (
	"strconv"
	"strings"
)

var enSmall = strings.Fields("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
var enTens = strings.Fields("- - twenty thirty forty fifty sixty seventy eighty ninety")

func enCardinal(n int64) string {
	switch {
	case n < 0:
		return "minus " + enCardinal(-n)
	case n < 20:
		return enSmall[n]
	case n < 100:
		return join(enTens[n/10], rest(n%10, enCardinal))
	case n < 1000:
		return join(enSmall[n/100]+" hundred", rest(n%100, enCardinal))
	}
	for _, s := range []struct {
		n    int64
		name string
	}{{1e12, "trillion"}, {1e9, "billion"}, {1e6, "million"}, {1e3, "thousand"}} {
		if n >= s.n {
			return join(enCardinal(n/s.n)+" "+s.name, rest(n%s.n, enCardinal))
		}
	}
	return ""
}

// join leaves out what is empty.
func join(parts ...string) string {
	out := parts[:0:0]
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " ")
}

// rest is what follows a hundred or a thousand: nothing when it is zero.
func rest(n int64, say func(int64) string) string {
	if n == 0 {
		return ""
	}
	return say(n)
}

var enOrdinals = map[string]string{"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth"}

func enOrdinal(n int64) string {
	words := enCardinal(n)
	i := strings.LastIndexByte(words, ' ') + 1
	last := words[i:]
	switch o, odd := enOrdinals[last]; {
	case odd:
		last = o
	case strings.HasSuffix(last, "y"):
		last = last[:len(last)-1] + "ieth"
	default:
		last += "th"
	}
	return words[:i] + last
}

func enYear(n int64) string {
	switch {
	case n < 1100 || n > 2099 || n >= 2000 && n < 2010 || n%1000 == 0:
		return enCardinal(n)
	case n%100 == 0:
		return enCardinal(n/100) + " hundred"
	case n%100 < 10:
		return enCardinal(n/100) + " oh " + enCardinal(n%100)
	}
	return enCardinal(n/100) + " " + enCardinal(n%100)
}

func enClock(h, m int, half, _ string) string {
	if half == "" {
		switch {
		case h == 0 && m == 0:
			return "midnight"
		case h == 12 && m == 0:
			return "noon"
		case h >= 13:
			half = "pm"
		case h == 0:
			half = "am"
		}
	}
	hour := (h+11)%12 + 1
	words := enCardinal(int64(hour))
	switch {
	case m == 0 && half == "":
		words += " o'clock"
	case m > 0 && m < 10:
		words += " oh " + enCardinal(int64(m))
	case m > 0:
		words += " " + enCardinal(int64(m))
	}
	switch half {
	case "am":
		words += " A M"
	case "pm":
		words += " P M"
	}
	return words
}

func english() *tongue {
	t := &tongue{
		code: "en", digits: [10]string(enSmall[:10]), cardinal: enCardinal, year: enYear, clock: enClock,
		counting: func(n int64, _ bool) string { return enCardinal(n) },
		ordinal:  func(n int64, _, _ string) string { return enOrdinal(n) },
		date: func(d, m int, year, before string) string {
			words := enMonths[m] + " " + enOrdinal(int64(d))
			if before == "the" {
				words = enOrdinal(int64(d)) + " of " + enMonths[m]
			}
			if year != "" {
				words += ", " + year
			}
			return words
		},
		money: func(whole, cents int64, c coin) string {
			many := func(n int64, one, many string) string {
				if n == 1 {
					return "one " + one
				}
				return enCardinal(n) + " " + many
			}
			switch {
			case cents == 0:
				return many(whole, c.one, c.many)
			case whole == 0:
				return many(cents, c.cent, c.cents)
			}
			return many(whole, c.one, c.many) + " and " + many(cents, c.cent, c.cents)
		},
		monthName: enMonths,
		months: monthWords(enMonths, map[string]int{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "sept": 9, "oct": 10,
			"nov": 11, "dec": 12}),
		weekdays: map[string]string{"Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
			"Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday", "Monday": "Monday", "Tuesday": "Tuesday", "Wednesday": "Wednesday",
			"Thursday": "Thursday", "Friday": "Friday", "Saturday": "Saturday", "Sunday": "Sunday"},
		coins: map[string]coin{
			"USD": {"dollar", "dollars", "cent", "cents", false}, "EUR": {"euro", "euros", "cent", "cents", false},
			"GBP": {"pound", "pounds", "penny", "pence", false}, "JPY": {"yen", "yen", "sen", "sen", false},
			"CHF": {"Swiss franc", "Swiss francs", "centime", "centimes", false}, "PLN": {"zloty", "zlotys", "grosz", "groszy", false},
			"SEK": {"Swedish krona", "Swedish kronor", "öre", "öre", false}, "NOK": {"Norwegian krone", "Norwegian kroner", "øre", "øre", false},
			"DKK": {"Danish krone", "Danish kroner", "øre", "øre", false}, "CZK": {"Czech koruna", "Czech korunas", "heller", "hellers", false},
			"CAD": {"Canadian dollar", "Canadian dollars", "cent", "cents", false}, "AUD": {"Australian dollar", "Australian dollars", "cent", "cents", false},
			"INR": {"rupee", "rupees", "paisa", "paise", false}, "MXN": {"Mexican peso", "Mexican pesos", "centavo", "centavos", false},
			"BRL": {"real", "reais", "centavo", "centavos", false}, "CNY": {"yuan", "yuan", "fen", "fen", false},
			"HUF": {"forint", "forints", "fillér", "fillér", false}, "TRY": {"lira", "lira", "kurus", "kurus", false},
		},
		coinWords: map[string]string{"euro": "EUR", "euros": "EUR", "dollar": "USD", "dollars": "USD", "pound sterling": "GBP", "pounds sterling": "GBP",
			"bucks": "USD"},
		units: map[string]unit{
			"km": {"kilometer", "kilometers", false}, "m": {"meter", "meters", false}, "cm": {"centimeter", "centimeters", false},
			"mm": {"millimeter", "millimeters", false}, "kg": {"kilogram", "kilograms", false}, "g": {"gram", "grams", false},
			"mg": {"milligram", "milligrams", false}, "t": {"ton", "tons", false}, "l": {"liter", "liters", false}, "L": {"liter", "liters", false},
			"ml": {"milliliter", "milliliters", false}, "km/h": {"kilometer per hour", "kilometers per hour", false},
			"mph": {"mile per hour", "miles per hour", false}, "°C": {"degree Celsius", "degrees Celsius", false}, "°F": {"degree Fahrenheit", "degrees Fahrenheit", false},
			"° C": {"degree Celsius", "degrees Celsius", false}, "° F": {"degree Fahrenheit", "degrees Fahrenheit", false}, "°": {"degree", "degrees", false},
			"%": {"percent", "percent", false}, "KB": {"kilobyte", "kilobytes", false}, "kB": {"kilobyte", "kilobytes", false}, "MB": {"megabyte", "megabytes", false},
			"GB": {"gigabyte", "gigabytes", false}, "TB": {"terabyte", "terabytes", false}, "Mbit/s": {"megabit per second", "megabits per second", false},
			"Mbps": {"megabit per second", "megabits per second", false}, "Gbit/s": {"gigabit per second", "gigabits per second", false},
			"kWh": {"kilowatt hour", "kilowatt hours", false}, "kW": {"kilowatt", "kilowatts", false}, "W": {"watt", "watts", false}, "V": {"volt", "volts", false},
			"h": {"hour", "hours", false}, "hr": {"hour", "hours", false}, "hrs": {"hours", "hours", false}, "min": {"minute", "minutes", false},
			"mins": {"minutes", "minutes", false}, "s": {"second", "seconds", false}, "sec": {"second", "seconds", false}, "secs": {"seconds", "seconds", false},
			"ms": {"millisecond", "milliseconds", false}, "m^2": {"square meter", "square meters", false}, "sqm": {"square meter", "square meters", false},
			"m^3": {"cubic meter", "cubic meters", false}, "sq ft": {"square foot", "square feet", false}, "ft": {"foot", "feet", false},
			"in": {"", "", false}, "lb": {"pound", "pounds", false}, "lbs": {"pounds", "pounds", false}, "oz": {"ounce", "ounces", false},
			"mi": {"mile", "miles", false}, "yrs": {"years", "years", false}, "Hz": {"hertz", "hertz", false}, "kHz": {"kilohertz", "kilohertz", false},
			"MHz": {"megahertz", "megahertz", false}, "GHz": {"gigahertz", "gigahertz", false}, "x": {"time", "times", false}, "×": {"time", "times", false},
		},
		scales: map[string]scale{"k": {one: "thousand"}, "K": {one: "thousand"}, "M": {one: "million"}, "m": {one: "million"}, "bn": {one: "billion"},
			"B": {one: "billion"}, "thousand": {one: "thousand"}, "million": {one: "million"}, "billion": {one: "billion"}, "mn": {one: "million"}},
		abbrev: []string{"e.g.", "for example", "e. g.", "for example", "i.e.", "that is", "i. e.", "that is", "etc.", "et cetera", "approx.", "approximately",
			"vs.", "versus", "Mr.", "Mister", "Mrs.", "Missus", "Ms.", "Miz", "Prof.", "Professor", "dept.", "department", "Dept.", "Department",
			"ext.", "extension", "Ext.", "Extension", "incl.", "including", "excl.", "excluding", "max.", "maximum", "min.", "minimum", "est.", "estimated",
			"w/o", "without", "w/", "with", "Ave.", "Avenue", "Blvd.", "Boulevard", "Rd.", "Road", "Apt.", "Apartment", "Ste.", "Suite", "Ln.", "Lane",
			"Hwy.", "Highway", "Inc.", "Incorporated", "Ltd.", "Limited", "Corp.", "Corporation", "tel.", "telephone", "Tel.", "Telephone",
			"P.O. Box", "P O Box", "PO Box", "P O Box", "24/7", "twenty four seven", "and/or", "and or", "FAQs", "F A Q s", "ASAP", "as soon as possible"},
		w: map[string]string{"point": "point", "minus": "minus", "plus": "plus", "to": "to", "per": "per", "by": "by", "number": "number", "of": "out of",
			"&": "and", "@": "at", "+": "plus", "=": "equals", "×": "times", "§": "section", "%": "percent", "°": "degrees", "€": "euros", "$": "dollars",
			"£": "pounds", "¥": "yen", "at": "at", "dot": "dot", "dash": "dash", "underscore": "underscore", "slash": "slash"},
		parts: map[string]string{"1/2": "half", "1/3": "a third", "2/3": "two thirds", "1/4": "a quarter", "3/4": "three quarters"},
	}
	delete(t.units, "in")
	return t
}

var enMonths = [13]string{"", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}

// monthWords adds the full names to the short ones.
func monthWords(names [13]string, short map[string]int) map[string]int {
	for i, name := range names[1:] {
		short[strings.ToLower(name)] = i + 1
	}
	return short
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
