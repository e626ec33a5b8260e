package switchboard

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
	"patchbay/llm/human"
)

// Who writes mails and wants to be called says so in a mail: "please call me", with the number or without. The answer, one mail,
// says that a person comes, and how to be called: by a reply with the number. It is read by plain code, called back to the
// customer in words, and a later reply with another number changes it. The agent reads all of it anyway.

var (
	wordsHowCalled = sentences.Say("If you want to be called, answer this mail with your telephone number, with its area code: we call when it is your turn.")
	wordsNoNumber  = sentences.Say("There is no telephone number in your mail that we could call.")
	wordsOther     = sentences.Say("Answer this mail with another number, with its area code, to be called. A person answers your mail in any case.")
	wordsOtherTime = sentences.Say("Answer this mail with your number and another time, or with the number alone.")
	wordsCorrect   = sentences.Say("To change the number or the time, answer this mail.")
)

const (
	wordsWhen = "For a time of your choice write it below the number, like %s (%s)."

	reasonNoNumber = "no_number"

	askTelephone = 2 * time.Second // a mail waits no longer for what the telephone says
	numbersTried = 3
)

// callMail is what a mail says about being called; nil: nothing, or nobody can be called.
type callMail struct {
	number  string // the first that can be called
	bare    string // else the only one that may be a number at all: taken from who was asked for one
	refused string // why the first one is not called
	first   bool   // a number stands in the first line
}

// readCallMail asks the telephone, before anything is locked, about a mail's numbers, or whether anybody can be called.
func (s *Switchboard) readCallMail(ctx context.Context, in channels.Inbound) *callMail {
	words := ownWords(in)
	sure, maybe := numbersIn(words)
	if len(sure)+len(maybe) == 0 && human.Read(words, human.Context{Channel: in.Channel}).Rule != "call" && subjectWish(in.Subject, strings.TrimSpace(words) == "").Rule != "call" {
		if in.ConversationID == 0 {
			return nil
		}
		return &callMail{} // it may answer our question, without a number
	}
	ctx, cancel := context.WithTimeout(ctx, askTelephone)
	defer cancel()
	if _, err := s.mayCall(ctx, ""); err != nil {
		return nil
	}
	head, _, _ := strings.Cut(strings.TrimSpace(words), "\n")
	first, _ := numbersIn(head)
	m := &callMail{first: len(first) > 0}
	for _, n := range sure[:min(len(sure), numbersTried)] {
		number, err := s.mayCall(ctx, n)
		if err == nil {
			m.number = number
			break
		}
		var refused *channels.Error
		if errors.As(err, &refused) && m.refused == "" {
			m.refused = refused.Text
		}
	}
	if len(sure) == 0 && len(maybe) == 1 {
		if number, err := s.mayCall(ctx, maybe[0]); err == nil {
			m.bare = number
		}
	}
	return m
}

// callByMail settles a mail that asks for a call, or answers our question for a number; false: it does neither.
func (s *Switchboard) callByMail(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt, wished bool) (done bool, err error) {
	m := ch.mail
	if m == nil || ch.c.State == channels.Agent {
		return false, nil
	}
	asked, answered, known, err := ch.askedNumber(ctx)
	if err != nil || !asked && !wished {
		return false, err
	}
	if known && !wished && !m.first { // a number below their words signs them, and changes nothing
		return false, nil
	}
	number := m.number
	if number == "" && asked {
		number = m.bare
	}
	words, why := sentences.Said{}, channels.MessageData{}
	switch {
	case number != "":
		wrong, err := s.calledByMail(ctx, ch, in, r, number)
		if wrong.Nothing() || err != nil {
			return true, err
		}
		words = wrong
	case m.refused != "":
		words = sentences.Say(m.refused).Then(wordsOther)
	case answered, known: // said once; what else they write is the person's to answer
		return false, nil
	case asked:
		words, why.Reason = wordsNoNumber.Then(wordsHowCalled), reasonNoNumber
	default:
		if words, err = s.howCalled(ctx, ch); err != nil {
			return false, err
		}
	}
	ch.more = words
	if err := s.toPeople(ctx, ch, sourceCall, channels.CodeWaiting, wordsWaiting); err != nil {
		return false, err
	}
	return true, ch.inOneMail(ctx, in, channels.CodeCallback, words, why)
}

// askedNumber: we have offered a call by mail and owe it still; answered: a reply without a number was told so; known: the number is.
func (ch *change) askedNumber(ctx context.Context) (asked, answered, known bool, err error) {
	err = ch.tx.QueryRow(ctx, `select p.source = $2 or exists (select from messages where conversation_id = $1 and channel = 'email' and data ->> 'code' = $3),
			exists (select from messages where conversation_id = $1 and data ->> 'reason' = $4), p.number <> ''
		from promises p where p.conversation_id = $1 and p.closed_at is null union all select false, false, false limit 1`,
		ch.c.ID, sourceCall, channels.CodeCallback, reasonNoNumber).Scan(&asked, &answered, &known)
	if err != nil {
		err = fmt.Errorf("asked for a number: %w", err)
	}
	return asked, answered, known, err
}

// calledByMail promises the call; wrong says in words why it cannot.
func (s *Switchboard) calledByMail(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt, number string) (wrong sentences.Said, err error) {
	times, err := agents.CallTimes(ctx, ch.tx, ch.c.ID)
	if err != nil {
		return wrong, err
	}
	in.To, in.At = number, timeIn(ownWords(in), zone(times.Zone), time.Now())
	var known *channels.Error
	if err = ch.mayPromise(ctx, number); errors.As(err, &known) {
		return sentences.Say(known.Text).Then(wordsOther), nil
	}
	if err == nil && in.At != nil {
		if _, err = agents.CallTime(ctx, ch.tx, ch.c.ID, in.At); errors.As(err, &known) {
			return sentences.Say(known.Text).Then(wordsOtherTime), nil
		}
	}
	if err != nil {
		return wrong, err
	}
	return wrong, s.callMe(ctx, ch, in, r)
}

// howCalled says how to be called, with a time that could be chosen as the example.
func (s *Switchboard) howCalled(ctx context.Context, ch *change) (sentences.Said, error) {
	times, err := agents.CallTimes(ctx, ch.tx, ch.c.ID)
	if err != nil || len(times.Times) == 0 {
		return wordsHowCalled, err
	}
	at := times.Times[min(len(times.Times)-1, 4)].In(zone(times.Zone))
	return wordsHowCalled.Then(sentences.Say(wordsWhen, at.Format("2006-01-02 15:04"), at.Location().String())), nil
}

func zone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	return loc
}

// inOneMail tells the customer what was not told with the notice that a person comes: to who writes mails both are one.
func (ch *change) inOneMail(ctx context.Context, in channels.Inbound, code string, words sentences.Said, data channels.MessageData) error {
	if in.Channel == channels.Email {
		if ch.more.Nothing() {
			return nil
		}
		words, ch.more = ch.more, sentences.Said{}
	}
	return ch.notice(ctx, code, words, data)
}

var (
	numberPattern = regexp.MustCompile(`[+(]?\d[\d \x{a0}./()–-]{4,24}\d`)
	grouped       = regexp.MustCompile(`^\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}$`) // as in North America
	datePattern   = regexp.MustCompile(`\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}[./]\d{1,2}[./](\d{4}|\d{2})?\b|\b\d{1,2}:\d{2}\b`)
	trunkZero     = regexp.MustCompile(`\(0\)`)
	// momentPattern is a date with a clock: 2026-11-24 14:00, 24.11.2026 14:00, 24.11. um 14.00 Uhr.
	momentPattern = regexp.MustCompile(`\b(?:(\d{4})-(\d{1,2})-(\d{1,2})|(\d{1,2})\.(\d{1,2})\.(\d{4})?)[ ,T]+(?:\p{L}{1,4} )?(\d{1,2})[:.](\d{2})\b`)
)

// numbersIn finds telephone numbers in a customer's words: those that surely are one, by their beginning or their form, and others
// of as many digits, which may count something else.
func numbersIn(text string) (sure, maybe []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(strings.ToLower(line), "fax") {
			continue
		}
		line = datePattern.ReplaceAllString(momentPattern.ReplaceAllString(line, "|"), "|")
		for _, at := range numberPattern.FindAllStringIndex(line, -1) {
			before, _ := utf8.DecodeLastRuneInString(line[:at[0]])
			after, _ := utf8.DecodeRuneInString(line[at[1]:])
			found := line[at[0]:at[1]]
			if before != utf8.RuneError && strings.ContainsRune("#№°@_/=-", before) || isWordRune(before) || isWordRune(after) || after != utf8.RuneError && strings.ContainsRune("@%€$£", after) {
				continue
			}
			if strings.HasPrefix(found, "+") || strings.HasPrefix(found, "00") {
				found = trunkZero.ReplaceAllString(found, "")
			}
			number := channels.CleanPhone(strings.NewReplacer("–", "", "\u00a0", "", "(", "", ")", "").Replace(found))
			digits := len(strings.TrimPrefix(number, "+"))
			switch {
			case digits < 7 || digits > 15 || strings.Trim(number, "+0123456789") != "":
			case number[0] == '+', grouped.MatchString(found), number[0] == '0' && (digits > 8 || strings.ContainsAny(found, " -/(")):
				sure = append(sure, number)
			default:
				maybe = append(maybe, number)
			}
		}
	}
	return sure, maybe
}

func isWordRune(r rune) bool {
	return r == '+' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// timeIn reads a date with a clock in that zone; nil: there is none, or it does not exist. Without a year it is the next one.
func timeIn(text string, loc *time.Location, now time.Time) *time.Time {
	m := momentPattern.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	n := make([]int, len(m))
	for i := range m {
		n[i], _ = strconv.Atoi(m[i])
	}
	year, month, day := n[1], n[2], n[3]
	if m[1] == "" {
		year, month, day = n[6], n[5], n[4]
	}
	guess := year == 0
	if guess {
		year = now.In(loc).Year()
	}
	at := time.Date(year, time.Month(month), day, n[7], n[8], 0, 0, loc)
	if guess && at.Before(now) {
		at = time.Date(year+1, time.Month(month), day, n[7], n[8], 0, 0, loc)
	}
	if at.Day() != day || int(at.Month()) != month || at.Hour() != n[7] || at.Minute() != n[8] {
		return nil
	}
	return &at
}
