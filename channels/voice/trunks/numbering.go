package trunks

import (
	"slices"
	"strings"

	"patchbay/channels"
)

// numbering is how a trunk writes numbers: its own country's code (49), and what stands before an area code there (0).
type numbering struct{ country, prefix string }

func numberingOf(t *channels.Trunk) numbering { return numbering{t.CountryCode, t.NationalPrefix} }

// outward is what a country dials before a foreign country's code; 00 in most.
func (n numbering) outward() string {
	switch n.country {
	case "1":
		return "011"
	case "7":
		return "810"
	case "61":
		return "0011"
	case "81":
		return "010"
	}
	return "00"
}

// Digits of E.164 numbers, country code included: the shortest that exist, and the longest that may.
const (
	leastDigits = 7
	mostDigits  = 15
	shortDigits = 6 // numbers up to this are short ones: extensions, emergency, services
)

// E164 brings a number, in whatever way it is written, to E.164. Short numbers, and what is no number (a SIP user name),
// stay as they are.
func (n numbering) E164(s string) string {
	s, number := Digits(strings.Replace(s, "(0)", "", 1)) // +49 (0)30: how people print it
	digits := strings.TrimPrefix(s, "+")
	if !number || s != digits {
		return s
	}
	switch {
	case strings.HasPrefix(digits, n.outward()) && len(digits) > len(n.outward())+shortDigits:
		return "+" + digits[len(n.outward()):]
	case strings.HasPrefix(digits, "00") && len(digits) > 2+shortDigits: // understood everywhere
		return "+" + digits[2:]
	case len(digits) <= shortDigits || n.country == "":
		return digits
	case n.prefix != "" && n.prefix != n.country && strings.HasPrefix(digits, n.prefix):
		return "+" + n.country + digits[len(n.prefix):]
	case strings.HasPrefix(digits, n.country) && len(digits) >= len(n.country)+leastDigits: // plain: without its +
		return "+" + digits
	case n.prefix == "", n.country == "1" && len(digits) == 10: // countries that write no prefix
		return "+" + n.country + digits
	case len(digits) >= 10: // nobody writes so many without a prefix: another country's, plain
		return "+" + digits
	}
	return digits
}

// spell writes a number as the trunk wants it; typed is what the agent has dialled.
func (n numbering) spell(e164, typed, format string) string {
	digits, full := strings.CutPrefix(e164, "+")
	switch {
	case !full:
		return e164
	case format == "plain":
		return digits
	case format == "national" && strings.HasPrefix(digits, n.country):
		return n.prefix + digits[len(n.country):]
	case format == "national":
		return n.outward() + digits
	case format == "asis":
		return channels.CleanPhone(typed)
	}
	return e164
}

// emergency numbers: 112 and 110 wherever we are, and the own country's.
func (n numbering) emergency(number string) bool {
	switch number {
	case "110", "112":
		return true
	case "911":
		return n.country == "1"
	case "999":
		return n.country == "44"
	case "000":
		return n.country == "61"
	}
	return false
}

// exists tells whether E.164 digits can be a number that somebody has: a country code that is in use (ITU-T E.164.D), a
// length that is allowed, and behind our own country's code no prefix once more: written nationally "+49 0 033 ..." would
// become a call abroad.
func (n numbering) exists(e164 string) bool {
	digits, full := strings.CutPrefix(e164, "+")
	code := countryOf(digits)
	if !full || code == "" || len(digits) < leastDigits || len(digits) > mostDigits || strings.HasPrefix(digits[len(code):], "00") {
		return false
	}
	if code == n.country && (n.prefix == "0" || n.prefix == "1") && strings.HasPrefix(digits[len(code):], n.prefix) {
		return false
	}
	return code != "1" || len(digits) == 11
}

// abroad: outside the trunk's own country. The islands of zone 1 cost like it and are dialled like home: the oldest
// trick of toll fraud in North America.
func (n numbering) abroad(e164 string) bool {
	digits := strings.TrimPrefix(e164, "+")
	if n.country == "" || !strings.HasPrefix(digits, n.country) {
		return true
	}
	return n.country == "1" && len(digits) > 4 && slices.Contains(islands, digits[1:4])
}

var islands = strings.Fields("242 246 264 268 284 340 345 441 473 649 658 664 670 671 684 721 758 767 784 787 809 829 849 868 869 876 939")

// countryOf is the country code at the beginning of E.164 digits, "" when there is none in use.
func countryOf(digits string) string {
	for n := 1; n <= 3 && n <= len(digits); n++ {
		if slices.Contains(countries[n-1], digits[:n]) {
			return digits[:n]
		}
	}
	return ""
}

// countries by length of their codes.
var countries = [3][]string{
	{"1", "7"},
	strings.Fields("20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98"),
	strings.Fields("211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 " +
		"247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 " +
		"358 359 370 371 372 373 374 375 376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 " +
		"592 593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853 855 " +
		"856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 992 993 994 995 996 998"),
}

// premium are numbers that earn for whom they belong to: premium rate, shared cost, call by call, directory enquiries,
// satellites. Nobody reaches one by accident of a wide prefix: it must be allowed by a prefix at least as long.
var premium = strings.Fields("" +
	"+808 +870 +878 +881 +882 +883 +979 " +
	"+1900 +30901 +30909 +31900 +31906 +31909 +3270 +3290 +3381 +3382 +3389 +34118 +34803 +34806 +34807 +34901 +34902 +34905 +35315 +351707 " +
	"+351760 +358600 +358700 +3690 +39144 +39166 +39199 +39892 +39893 +39894 +39895 +39899 +41900 +41901 +41906 +4184 +42090 +4381 +4382 +4390 " +
	"+43930 +43931 +43939 +4470 +4484 +4487 +449 +4590 +46900 +46939 +46944 +4699 +47820 +47829 +4870 +4910 +49118 +4912 +49137 +49180 +4919 +49900 +61190 +7809")

// premiumPrefix is the one that a number begins with, "" for an ordinary number.
func premiumPrefix(e164 string) string {
	longest := ""
	for _, p := range premium {
		if strings.HasPrefix(e164, p) && len(p) > len(longest) {
			longest = p
		}
	}
	return longest
}
