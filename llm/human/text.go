package human

import (
	"iter"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// word is one word of a text as the grammars know it: folded. In scripts that write no spaces every character is one.
type word struct {
	text string
	name bool // written with a capital inside a sentence: may be somebody's name
	char bool // one character of a script without spaces
	lead bool // a colon follows
}

// clause is what is read at once: a sentence, or a part of one.
type clause []word

// sentenceEnds and partEnds cut in all scripts.
const (
	sentenceEnds = ".!?;:\n\r…。！？；：।॥؟۔؛։።፧·။។៕()[]{}|\u2028\u2029"
	partEnds     = ",–—、，،՝፣၊/"
)

// clauses cuts text into sentences; each comes with its parts between commas when there are several. The first of them
// that is no part is their sentence.
func clauses(text string) (out []clause, partial []bool) {
	shouted := strings.ToUpper(text) == text
	for sentence, end := range sentences(text) {
		whole := words(sentence, !shouted)
		if len(whole) == 0 {
			continue
		}
		whole[len(whole)-1].lead = end == ':'
		if sentence = spaced(sentence); strings.ContainsAny(sentence, partEnds) {
			for part := range strings.FieldsFuncSeq(sentence, func(r rune) bool { return strings.ContainsRune(partEnds, r) }) {
				if w := words(part, !shouted); len(w) > 0 && len(w) < len(whole) {
					out, partial = append(out, w), append(partial, true)
				}
			}
		}
		out, partial = append(out, whole), append(partial, false)
	}
	return out, partial
}

// spaced puts commas for the spaces between Chinese, Japanese or Thai characters: there they part sentences.
func spaced(sentence string) string {
	if !strings.Contains(sentence, " ") {
		return sentence
	}
	out := []rune(sentence)
	for i := 1; i+1 < len(out); i++ {
		if out[i] == ' ' && parted(out[i-1]) && parted(out[i+1]) {
			out[i] = ','
		}
	}
	return string(out)
}

func parted(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
}

// sentences yields what stands between the ends of sentences, each with the end that closes it.
func sentences(text string) iter.Seq2[string, rune] {
	return func(yield func(string, rune) bool) {
		from := 0
		for i, r := range text {
			if !strings.ContainsRune(sentenceEnds, r) || r == '.' && abbreviated(text[from:i]) {
				continue
			}
			if i > from && !yield(text[from:i], r) {
				return
			}
			from = i + utf8.RuneLen(r)
		}
		if from < len(text) {
			yield(text[from:], 0)
		}
	}
}

// abbreviated says whether the full stop behind text belongs to a title: "Mr. Henderson".
func abbreviated(text string) bool {
	last := strings.ToLower(text[strings.LastIndexAny(text, " \t,")+1:])
	switch last {
	case "mr", "mrs", "ms", "dr", "prof", "m", "mme", "mlle", "sr", "sra", "srta", "sig", "dott", "ing", "hr", "fr", "dl", "dna":
		return true
	}
	return false
}

// words folds case, accents, widths, spellings and what people put between or into letters: "H U M A N", "hu-man",
// "hum4n", "huuuman", "@gent".
func words(text string, names bool) clause {
	var s splitter
	s.names = names
	for _, r := range norm.NFKD.String(text) {
		s.add(r)
	}
	s.flush()
	return joined(s.out)
}

// fold is words as plain strings, for phrases.
func fold(text string) []string {
	w := words(text, false)
	out := make([]string, len(w))
	for i := range w {
		out[i] = w[i].text
	}
	return out
}

type splitter struct {
	out     clause
	word    []byte
	last    rune
	run     int
	letters int
	digits  int
	capital bool
	uppers  int
	names   bool
	begun   bool // a word stands before this one
	hangul  []rune
}

func (s *splitter) add(r rune) {
	if isJamo(r) {
		s.flushWord()
		s.hangul = append(s.hangul, r)
		return
	}
	s.flushHangul()
	upper := unicode.IsUpper(r)
	r = unicode.ToLower(r)
	switch {
	case stripped(r):
		return
	case r == '\'' || r == '’' || r == 'ʼ' || r == '`' || r == '´' || r == 'ʻ' || r == '‘' || r == '׳' || r == '״':
		if s.letters <= 2 {
			s.flushWord()
		}
		return
	case r == '@' && s.letters > 0, r == '$' && s.letters > 0:
		s.digits++ // "@gent" is left alone: it may be an address
	case spaceless(r):
		s.flushWord()
		s.out = append(s.out, word{text: string(simplified(r)), char: true})
		s.begun = true
		return
	case r > 0x80 && unicode.Is(unicode.So, r):
		s.flushWord()
		s.out = append(s.out, word{text: string(r)})
		return
	case !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.M, r):
		s.flushWord()
		return
	}
	if s.letters == 0 {
		s.capital = upper
	}
	if upper {
		s.uppers++
	}
	if unicode.IsDigit(r) {
		s.digits++
	}
	s.append(r)
}

// append adds one letter, in the spelling that the grammars are written in.
func (s *splitter) append(r rune) {
	s.letters++
	if to, ok := spellings[r]; ok {
		s.word = append(s.word, to...)
		s.last, s.run = 0, 0
		return
	}
	if r == s.last && unicode.IsLetter(r) {
		s.run++
	} else {
		s.last, s.run = r, 1
	}
	if s.run == 3 { // take back the second one: huuuman -> human
		s.word = s.word[:len(s.word)-utf8.RuneLen(r)]
	}
	if s.run < 3 {
		s.word = utf8.AppendRune(s.word, r)
	}
}

func (s *splitter) flush() {
	s.flushHangul()
	s.flushWord()
}

func (s *splitter) flushWord() {
	if len(s.word) > 0 {
		s.word = oneAlphabet(s.word)
		s.out = append(s.out, word{text: string(s.word), name: s.named()})
		s.begun = true
	}
	s.word, s.last, s.run, s.letters, s.digits, s.uppers, s.capital = s.word[:0], 0, 0, 0, 0, 0, false
}

// named says whether the word is written as a name inside a sentence is: "Steve", "McCarthy", not "SWIFT" or "ATMs".
func (s *splitter) named() bool {
	return s.names && s.capital && s.begun && s.digits == 0 && s.letters > 2 && 2*s.uppers <= s.letters
}

// oneAlphabet reads Latin letters among Cyrillic ones as what they look like: "oператор".
func oneAlphabet(word []byte) []byte {
	latin, cyrillic := false, false
	for _, c := range word {
		latin = latin || c >= 'a' && c <= 'z'
		cyrillic = cyrillic || c == 0xd0 || c == 0xd1
	}
	if !latin || !cyrillic {
		return word
	}
	return []byte(lookalikes.Replace(string(word)))
}

var lookalikes = strings.NewReplacer("a", "а", "b", "в", "c", "с", "e", "е", "h", "н", "i", "і", "k", "к", "m", "м", "o", "о", "p", "р", "t", "т", "x", "х", "y", "у")

// flushHangul composes syllables again: each is one word, because Korean is written with spaces or without.
func (s *splitter) flushHangul() {
	if len(s.hangul) == 0 {
		return
	}
	for _, r := range norm.NFC.String(string(s.hangul)) {
		s.out = append(s.out, word{text: string(r), char: true})
	}
	s.hangul, s.begun = s.hangul[:0], true
}

func isJamo(r rune) bool { return r >= 0x1100 && r <= 0x11ff || r >= 0x3130 && r <= 0x318f }

// stripped are marks that people leave out as often as they set them, and what cannot be seen.
func stripped(r rune) bool {
	if r < 0x80 {
		return false
	}
	switch {
	case r >= 0x0300 && r <= 0x036f, // Latin, Greek, Cyrillic accents
		r >= 0x0591 && r <= 0x05c7,                           // Hebrew points
		r >= 0x064b && r <= 0x065f, r == 0x0670, r == 0x0640, // Arabic vowels, hamza above, tatweel
		r >= 0x055a && r <= 0x055c, r == 0x055e, // Armenian marks of stress, exclamation and question, which stand inside the word
		r == 0x093c, r == 0x09bc, r == 0x0a3c, r == 0x0abc, r == 0x0b3c, r == 0x0cbc: // Indic nukta
		return true
	}
	return unicode.Is(unicode.Cf, r) || r >= 0xfe00 && r <= 0xfe0f || r >= 0x1f3fb && r <= 0x1f3ff
}

// spaceless are the scripts that write words without spaces between them.
func spaceless(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) ||
		r == 'ー' || r == 0x3099 || r == 0x309a
}

// spellings are letters with more than one habit of writing them.
var spellings = map[rune]string{
	'ß': "ss", 'ł': "l", 'ø': "o", 'đ': "d", 'ı': "i", 'æ': "ae", 'œ': "oe", 'þ': "th", 'ð': "d", 'ə': "e",
	'ё': "е", 'ґ': "г", 'ς': "σ",
	'ى': "ي", 'ی': "ي", 'ے': "ي", 'ک': "ك", 'ة': "ه", 'ە': "ه", 'ہ': "ه", 'ھ': "ه", 'ۃ': "ه", 'ۀ': "ه", 'ٱ': "ا", 'ں': "ن",
	'ך': "כ", 'ם': "מ", 'ן': "נ", 'ף': "פ", 'ץ': "צ",
	'ँ': "ं", 'ਁ': "ਂ", 'ઁ': "ં",
}

// simplified folds the traditional characters that the grammars use; simplify lists them in pairs.
func simplified(r rune) rune {
	if to, ok := simplify[r]; ok {
		return to
	}
	return r
}

var simplify = func() map[rune]rune {
	const pairs = "員员專专轉转話话說说談谈電电機机聽听經经負负責责請请幫帮接接聯联係系絡络務务門门開开關关這这個个們们來来會会無无還还讓让給给為为嗎吗麼么過过時时間间處处實实際际線线對对問问題题應应該该從从後后點点師师學学長长發发動动業业產产買卖賣卖錢钱單单據据貨货運运費费號号碼码網网頁页訊讯訂订購购錯错誤误謝谢總总導导領领態态度度體体驗验顧顾詢询與与換换層层級级頭头據据復复覆复撥拨煩烦樣样緊紧趕赶馬马見见覺觉認认識识記记許许試试諮咨種种類类確确絕绝殺杀傷伤痛痛搶抢騙骗報报警警臺台灣湾國国語语極极別别噓嘘幾几條条歲岁當当現现親亲願愿愛爱歡欢聲声寫写讀读萬万貴贵講讲將将爾尔議议證证險险約约術术組组織织財财債债稅税額额醫医護护藥药檢检診诊療疗廳厅廣广東东車车飛飞場场訴诉賠赔償偿維维繫系詞词譯译職职權权決决斷断簡简雜杂懶懒腦脑視视銀银帳帐賬账戶户貸贷資资盡尽興兴遠远媽妈婦妇兒儿齡龄壞坏舊旧誰谁兩两樓楼區区計计圖图館馆習习櫃柜檯台檔档揾搵"
	m := map[rune]rune{}
	all := []rune(pairs)
	for i := 0; i+1 < len(all); i += 2 {
		if all[i] != all[i+1] {
			m[all[i]] = all[i+1]
		}
	}
	return m
}()

// joined puts together what was spaced out: four single letters or more in a row are one word.
func joined(in clause) clause {
	single := func(i int) bool {
		return i < len(in) && !in[i].char && utf8.RuneCountInString(in[i].text) == 1 && unicode.IsLetter([]rune(in[i].text)[0])
	}
	out := in[:0:0]
	for i := 0; i < len(in); {
		n := 0
		for single(i + n) {
			n++
		}
		if n < 4 {
			out = append(out, in[i])
			i++
			continue
		}
		var b strings.Builder
		for _, w := range in[i : i+n] {
			b.WriteString(w.text)
		}
		out = append(out, word{text: b.String()})
		i += n
	}
	return out
}

// unquoted takes out what the customer puts between quotation marks: words of somebody else, a button's name. A text
// that is nothing but a quotation is the customer's own, and so is a single word ("a human").
func unquoted(text string) string {
	text = singleQuotes.ReplaceAllString(text, "$1\"$2\"$3")
	if !strings.ContainsAny(text, "\"“”„«»「『") {
		return text
	}
	var out strings.Builder
	for rest := text; ; {
		from := strings.IndexAny(rest, "\"“„«「『")
		if from < 0 {
			out.WriteString(rest)
			break
		}
		open, size := utf8.DecodeRuneInString(rest[from:])
		to := strings.IndexAny(rest[from+size:], closing[open])
		if to < 0 {
			out.WriteString(rest)
			break
		}
		inner := rest[from+size : from+size+to]
		_, closeSize := utf8.DecodeRuneInString(rest[from+size+to:])
		out.WriteString(rest[:from])
		if w := words(inner, false); len(w) > 0 && len(w) <= 3 && w[0].char {
			out.WriteString(inner)
		} else if len(w) <= 1 {
			out.WriteString(" " + inner + " ")
		} else {
			out.WriteString(" , ")
		}
		rest = rest[from+size+to+closeSize:]
	}
	if len(words(out.String(), false)) < 2 {
		return text
	}
	return out.String()
}

// singleQuotes are those around words, not the apostrophes in them.
var singleQuotes = regexp.MustCompile(`(^|[\s(:,])['‘‚]([^'‘’\n]{3,200})['’]($|[\s).,!?:;])`)

var closing = map[rune]string{'"': "\"”", '“': "”\"“", '„': "“”\"", '«': "»", '「': "」", '『': "』"}

func bounded(s string, runes int) string {
	if len(s) <= runes {
		return s
	}
	r := []rune(strings.ToValidUTF8(s[:min(len(s), 4*runes)], " "))
	tail := []rune(strings.ToValidUTF8(s[max(0, len(s)-4*runes):], " "))
	if len(r) <= runes && len(s) <= 4*runes {
		return string(r)
	}
	return string(r[:min(len(r), runes*3/4)]) + "\n" + string(tail[max(0, len(tail)-runes/4):])
}
