package spoken

import (
	"strconv"
	"strings"
	"testing"
)

func TestDigits(t *testing.T) {
	for _, c := range []struct{ lang, heard, want string }{
		{"en", "four seven one one", "4711"},
		{"en", "double five oh", "550"},
		{"en", "triple seven, it's triple seven please", "777777"},
		{"en", "double oh seven", "007"},
		{"en", "twenty one", "21"},
		{"en", "twenty twenty six", "2026"},
		{"en", "nineteen ninety nine", "1999"},
		{"en", "one hundred and five", "105"},
		{"en", "two thousand and six", "2006"},
		{"en", "um my order number is 47 11", "4711"},
		{"en", "plus four nine three oh", "+4930"},
		{"en", "+49 30", "+4930"},
		{"en", "it's for too won", "421"},
		{"en", "thirty forty-five", "3045"},
		{"en", "I have two questions", ""},
		{"en", "I want a person", ""},
		{"en", "please", ""},
		{"en", "", ""},
		{"de", "zwei und zwanzig", "22"},
		{"de", "zweiundzwanzig", "22"},
		{"de", "ein und zwanzig dreißig", "2130"},
		{"de", "null drei null eins zwo drei", "030123"},
		{"de", "doppel fünf, acht", "558"},
		{"de", "einhundertfünf", "105"},
		{"de", "hundert fünf", "105"},
		{"de", "hundert und fünf", "105"},
		{"de", "meine Bestellnummer ist vier sieben elf", "4711"},
		{"de", "neunzehnhundertneunundneunzig", "1999"},
		{"de", "dreizehn vierzehn", "1314"},
		{"de", "ich möchte einen Menschen", ""},
		{"es", "cero uno dos tres", "0123"},
		{"it", "il mio numero è zero uno doppio due", "0122"},
		{"it", "ventitré trentuno", "2331"},
		{"es", "treinta y uno", "31"},
		{"es", "veintidós doble cinco", "2255"},
		{"fr", "zéro un vingt-trois", "0123"},
		{"fr", "quatre vingt dix sept", "97"},
		{"fr", "soixante et onze", "71"},
		{"fr", "double cinq", "55"},
		{"pl", "4711", "4711"},
		{"pl", "cztery", ""},
		{"en", strings.Repeat("nine ", MaxDigits), strings.Repeat("9", MaxDigits)},
		{"en", strings.Repeat("nine ", MaxDigits+1), ""},
		{"en", "٤٧", "47"},
	} {
		got, ok := Digits(c.lang, c.heard)
		if !ok {
			got = ""
		}
		if got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.lang, c.heard, got, c.want)
		}
	}
}

// TestDigitsHearsWhatTextSays walks every number there and back, in the four languages.
func TestDigitsHearsWhatTextSays(t *testing.T) {
	for _, lang := range []string{"en", "de", "es", "fr", "it"} {
		for n := range loneNumbers {
			words := tongues()[lang].cardinal(int64(n))
			if got, ok := Digits(lang, words); !ok || got != strconv.Itoa(n) {
				t.Fatalf("%s %d is said %q and heard %q", lang, n, words, got)
			}
		}
		for _, id := range []string{"0047", "20451", "900001", "5550199"} {
			words := Text(lang, "#"+id)
			_, words, _ = strings.Cut(words, " ") // the word number
			if got, ok := Digits(lang, words); !ok || got != id {
				t.Errorf("%s %s is said %q and heard %q", lang, id, words, got)
			}
		}
	}
}

func FuzzDigits(f *testing.F) {
	for _, s := range []string{"double five oh", "zwei und zwanzig", "+49 30", "quatre vingt", "\xff", "einundundeins"} {
		f.Add("de", s)
		f.Add("en", s)
	}
	f.Fuzz(func(t *testing.T, lang, heard string) {
		digits, ok := Digits(lang, heard)
		if ok && (digits == "" || len(digits) > MaxDigits || strings.Trim(strings.TrimPrefix(digits, "+"), "0123456789") != "") {
			t.Errorf("%q: %q", heard, digits)
		}
	})
}
