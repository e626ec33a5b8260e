package spoken

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ lang, in, want string }{
		// money
		{"en", "It costs $1,299.00 today.", "It costs one thousand two hundred ninety nine dollars today."},
		{"en", "That is 12,50 EUR.", "That is twelve euros and fifty cents."},
		{"en", "Only $0.99!", "Only ninety nine cents!"},
		{"en", "€5 or £3.50 or $1", "five euros or three pounds and fifty pence or one dollar"},
		{"en", "They paid $5 million, later $3.2M.", "They paid five million dollars, later three point two million dollars."},
		{"en", "USD 20 per month, or 20 USD/month", "twenty dollars per month, or twenty dollars per month"},
		{"en", "A refund of -$5.00", "A refund of minus five dollars"},
		{"de", "Das kostet 1.299,00 €.", "Das kostet eintausendzweihundertneunundneunzig Euro."},
		{"de", "12,50 EUR pro Nacht", "zwölf Euro fünfzig pro Nacht"},
		{"de", "nur 1 € oder 20,- Euro", "nur ein Euro oder zwanzig Euro"},
		{"de", "3,5 Mio. € Umsatz", "drei Komma fünf Millionen Euro Umsatz"},
		{"es", "Cuesta 21,50 € al mes", "Cuesta veintiún euros con cincuenta céntimos al mes"},
		{"es", "200 £", "doscientas libras"},
		{"it", "Costa 21,50 € al mese", "Costa ventuno euro e cinquanta centesimi al mese"},
		{"it", "1.299 € o 1 £", "milleduecentonovantanove euro o una sterlina"},
		{"fr", "Cela coûte 12,50 €.", "Cela coûte douze euros cinquante."},
		{"fr", "5 millions d'euros, 1 299 €", "cinq millions d'euros, mille deux cent quatre-vingt-dix-neuf euros"},
		// dates
		{"en", "on 2026-11-22", "on November twenty second, twenty twenty six"},
		{"en", "by 3/4/2026", "by March fourth, twenty twenty six"},
		{"en-GB", "by 3/4/2026", "by April third, twenty twenty six"},
		{"en", "the 22nd of November and 22 November 2026", "the twenty second of November and November twenty second, twenty twenty six"},
		{"en", "Nov. 3, 2026 at 9:05 a.m.", "November third, twenty twenty six at nine oh five A M."},
		{"en", "until Dec 1st", "until December first"},
		{"en", "since 1999, in 2005", "since nineteen ninety nine, in two thousand five"},
		{"de", "am 22.11.2026", "am zweiundzwanzigsten November zweitausendsechsundzwanzig"},
		{"de", "Der 3. März und am 1. Mai 1999", "Der dritte März und am ersten Mai neunzehnhundertneunundneunzig"},
		{"de", "bis zum 24.12. geöffnet", "bis zum vierundzwanzigsten Dezember geöffnet"},
		{"es", "el 1 de mayo de 2026", "el primero de mayo de dos mil veintiséis"},
		{"it", "il 1 maggio 2026, il 23/11/2026", "il primo maggio duemilaventisei, il ventitré novembre duemilaventisei"},
		{"es", "el 22/11/2026", "el veintidós de noviembre de dos mil veintiséis"},
		{"fr", "le 1er mai 2026", "le premier mai deux mille vingt-six"},
		{"fr", "le 22 novembre", "le vingt-deux novembre"},
		// times
		{"en", "We open at 9:00 and close at 17:30.", "We open at nine o'clock and close at five thirty P M."},
		{"en", "9 am to 5 p.m.", "nine A M to five P M."},
		{"en", "Mon-Fri 9-5pm", "Monday to Friday nine to five P M"},
		{"de", "Mo–Fr 9–17 Uhr", "Montag bis Freitag neun bis siebzehn Uhr"},
		{"de", "um 14:30 Uhr, um 1 Uhr", "um vierzehn Uhr dreißig, um ein Uhr"},
		{"es", "a las 14:30", "a las catorce treinta"},
		{"it", "alle 14:30, dalle 9:00 alle 13:00", "alle quattordici e trenta, dalle nove alle tredici"},
		{"fr", "à 14h30 et à 1h", "à quatorze heures trente et à une heure"},
		{"en", "It takes 1h 20min or 90 min.", "It takes one hour twenty minutes or ninety minutes."},
		// telephone numbers
		{"en", "Call +49 30 1234567.", "Call plus four nine, three zero, one two three, four five six seven."},
		{"en", "(555) 123-4567", "five five five, one two three, four five six seven"},
		{"en", "Call 1-800-555-0199 now", "Call one, eight zero zero, five five five, zero one nine nine now"},
		{"de", "Rufen Sie 030 / 123 45 67 an", "Rufen Sie null drei null, eins zwei drei, vier fünf, sechs sieben an"},
		{"fr", "Appelez le 01 23 45 67 89.", "Appelez le zéro un, deux trois, quatre cinq, six sept, huit neuf."},
		// codes
		{"en", "Order AB-1234 is on its way.", "Order A B one two three four is on its way."},
		{"en", "Your ticket #4711", "Your ticket number four seven one one"},
		{"en", "order number 12345678", "order number one two three, four five, six seven eight"},
		{"en", "No. 5 and room 12", "number five and room twelve"},
		{"en", "code X7K-92Q", "code X, seven, K, nine two, Q"},
		{"de", "Ihre Bestellung Nr. 20451", "Ihre Bestellung Nummer zwei null, vier fünf eins"},
		{"de", "Kundennummer: 4711", "Kundennummer: vier sieben eins eins"},
		{"en", "COVID-19 and a 4G phone", "COVID nineteen and a four G phone"},
		// units, percent, ranges
		{"en", "It weighs 1.9 kg, holds 25% more.", "It weighs one point nine kilograms, holds twenty five percent more."},
		{"en", "-5 °C to 30°C", "minus five degrees Celsius to thirty degrees Celsius"},
		{"en", "1 km at 100 km/h", "one kilometer at one hundred kilometers per hour"},
		{"en", "10-15 kg, 20 x 30 cm", "ten to fifteen kilograms, twenty by thirty centimeters"},
		{"en", "within 14-30 days, a 30-day return", "within fourteen to thirty days, a thirty-day return"},
		{"de", "1,9 kg und 21 %", "eins Komma neun Kilogramm und einundzwanzig Prozent"},
		{"de", "1 Std. und 1 Min.", "eine Stunde und eine Minute"},
		{"es", "2,25 % de 1.000", "dos coma veinticinco por ciento de mil"},
		{"fr", "71 % de 80 kg", "soixante et onze pour cent de quatre-vingts kilogrammes"},
		{"en", "1/2 price, 3/4 full, 4½ stars, 4 out of 5, 24/7", "half price, three quarters full, four and a half stars, four out of five, twenty four seven"},
		{"en", "1st, 2nd, 3rd, 12th, 21st, 30th", "first, second, third, twelfth, twenty first, thirtieth"},
		{"it", "71 % di 1.000, 3 kg, 2 milioni di euro", "settantuno per cento di mille, tre chilogrammi, due milioni di euro"},
		{"it", "Sig.ra Rossi, p.zza Dante n. 8, tel. 06 123", "signora Rossi, piazza Dante numero otto, telefono zero sei uno due tre"},
		{"es", "el 1.º y la 2ª", "el primero y la segunda"},
		{"fr", "le 2e et la 21ème", "le deuxième et la vingt et unième"},
		{"de", "im 3. Stock", "im dritten Stock"},
		{"en", "1,000,000 people, 10k users, version 2.0.1", "one million people, ten thousand users, version two dot zero dot one"},
		{"en", "the 1990s", "the nineteen nineties"},
		{"en", "٣ tents and ５ more", "three tents and five more"},
		// addresses
		{"en", "12 Main St., Springfield, CA 94107", "twelve Main Street, Springfield, C A, nine four one zero seven"},
		{"en", "Dr. Who lives at 221B Baker St. now", "Doctor Who lives at two two one B Baker Street now"},
		{"de", "Hauptstr. 5, 10115 Berlin", "Hauptstraße fünf, eins null eins eins fünf Berlin"},
		{"en", "Write to info@example.com.", "Write to info at example dot com."},
		{"en", "See https://www.example.com/returns?x=1&y=2.", "See example dot com."},
		{"en", "See www.example.com/returns, please", "See example dot com slash returns, please"},
		{"de", "max.muster@beispiel.de", "max Punkt muster ät beispiel Punkt de"},
		{"en", "e.g. tents, etc.", "for example tents, et cetera."},
		{"de", "z. B. Zelte, ca. 5 Stück usw.", "zum Beispiel Zelte, circa fünf Stück und so weiter."},
		// markup
		{"en", "**Bold** and _soft_ and `code` and ~~gone~~", "Bold and soft and code and gone"},
		{"en", "# Returns\n- Send it back\n- Get money", "Returns. Send it back. Get money."},
		{"en", "1. Open the box\n2. Call us", "Open the box. Call us."},
		{"en", "See [our page](https://example.com/x) [1].", "See our page."},
		{"en", "<p>Hello <b>there</b></p><script>alert(1)</script>", "Hello there"},
		{"en", "&lt;b&gt;Tom &amp; Jerry&lt;/b&gt;", "Tom and Jerry"},
		{"en", "Great! 😀👍🏽 :-) <3", "Great! three"},
		{"en", "| a | b |\n|---|---|\n| c | d |", "a, b, c, d"},
		{"en", "The tent (two persons) is small [sic].", "The tent, two persons, is small, sic."},
		{"en", "wait\u200b\u0007 for\u202e it…", "wait for it."},
		{"en", "```go\nfunc main() {}\n```", "func main"},
		{"en", "Well-known, isn't it?", "Well-known, isn't it?"},
		{"ja", "**こんにちは**、3月です。", "こんにちは、3月です。"},
		{"pl", "Cena: *12,50* zł", "Cena: 12,50 zł"},
		{"en", "", ""}, {"en", "***", ""}, {"en", "😀", ""},
	} {
		if got := Text(c.lang, c.in); got != c.want {
			t.Errorf("%s %q\n got %q\nwant %q", c.lang, c.in, got, c.want)
		}
	}
}

// plainWords are such that nothing is to be done to them.
var plainWords = []string{"the tent is small", "Das Zelt ist klein, aber trocken.", "¿Puedo ayudarle?", "C'est déjà prêt!", "Well-known, isn't it?", "こんにちは。", "one thousand two hundred"}

func TestPlainWordsStayAsTheyAre(t *testing.T) {
	for _, lang := range []string{"en", "de", "es", "fr", "ja", "", "x"} {
		for _, s := range plainWords {
			if got := Text(lang, s); got != s {
				t.Errorf("%s %q became %q", lang, s, got)
			}
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range append([]string{"$1,299.00", "22.11.2026 14:30 Uhr", "**a** [b](c)", "+49 (0)30/123-456", "<a href=\"x\">", "5k€ 10-15kg", "A1-B2_C3", "\xff\x00", "1/2 °C", "#5"}, plainWords...) {
		for _, lang := range []string{"en", "de", "es", "fr", "pl"} {
			f.Add(lang, s)
		}
	}
	f.Fuzz(func(t *testing.T, lang, s string) {
		got := Text(lang, s)
		if len(got) > MaxText || !utf8.ValidString(got) || strings.TrimSpace(got) != got {
			t.Fatalf("%q: %d bytes: %q", s, len(got), got)
		}
		if i := strings.IndexAny(got, "*_`#<>[]{}()|~^\\\n\r\t"); i >= 0 {
			t.Fatalf("%q: markup in %q", s, got)
		}
		if tongueOf(lang) != nil && strings.IndexFunc(got, unicode.IsDigit) >= 0 {
			t.Fatalf("%q: a figure is left in %q", s, got)
		}
		if again := Text("ja", got); tongueOf(lang) != nil && again != got {
			t.Fatalf("%q: clean words are not left alone: %q, then %q", s, got, again)
		}
	})
}

func BenchmarkText(b *testing.B) {
	for b.Loop() {
		Text("en", "The tent weighs 1.9 kg, costs $1,299.00 and ships by 2026-11-22 at 9:30 am; call +49 30 1234567.")
	}
}
