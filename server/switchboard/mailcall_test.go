package switchboard

import (
	"strings"
	"testing"
	"time"

	"patchbay/channels"
)

func TestNumbersIn(t *testing.T) {
	for _, c := range []struct{ text, sure, maybe string }{
		{"Call me at 040 5551234 please", "0405551234", ""},
		{"+49 (0)40 555-1234", "+49405551234", ""},
		{"Tel.: 0049 40 5551234\nFax: 0049 40 5551235", "+49405551234", ""},
		{"Tel.+49 40 5551234.", "+49405551234", ""},
		{"(555) 123-4567", "5551234567", ""},
		{"555.123.4567 or +1 555 123 9999", "5551234567 +15551239999", ""},
		{"電話は090-1234-5678です", "09012345678", ""},
		{"+33 6 12 34 56 78, 2026-11-24 14:00", "+33612345678", ""},
		{"040 5551234 24.11.2026 um 14.00 Uhr", "0405551234", ""},
		{"20 12 34 56", "", "20123456"},
		{"my order 4471223 of 12.10.2026", "", "4471223"},
		{"order #0044712234", "", ""},
		{"order 04471223", "", "04471223"},
		{"AB0044712234, DE89 3704 0044 0532 0130 00", "", ""},
		{"card 4111 1111 1111 1111, 0123456789@example.com", "", ""},
		{"at 10:30 on 24.11.2026, 60 days, 1200,00", "", ""},
		{"", "", ""},
	} {
		sure, maybe := numbersIn(c.text)
		if strings.Join(sure, " ") != c.sure || strings.Join(maybe, " ") != c.maybe {
			t.Errorf("%q: %v %v", c.text, sure, maybe)
		}
	}
}

func TestTimeIn(t *testing.T) {
	berlin := zone("Europe/Berlin")
	now := time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"040 5551234\n2026-11-24 14:00": "2026-11-24T14:00:00+01:00", "am 24.11. um 14.00 Uhr": "2026-11-24T14:00:00+01:00", "24.11.2026, 9:05": "2026-11-24T09:05:00+01:00",
		"3.1. 10:00": "2027-01-03T10:00:00+01:00", "2027-07-01 10:00": "2027-07-01T10:00:00+02:00",
		"2026-13-24 14:00": "", "31.11. 14:00": "", "2026-11-24 25:00": "", "tomorrow at 10:00": "", "2027-03-28 02:30": "", // that hour is skipped
	} {
		got := ""
		if at := timeIn(text, berlin, now); at != nil {
			got = at.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// FuzzNumbersIn: what a stranger writes makes no number that is none, and no panic.
func FuzzNumbersIn(f *testing.F) {
	f.Add("Call +49 (0)40 555-1234 on 24.11. um 14.00 Uhr, Fax 0405551235")
	f.Add("\xff+4940(0)5551234\xfe 2026-11-24T14:00")
	f.Fuzz(func(t *testing.T, text string) {
		sure, maybe := numbersIn(text)
		for _, n := range append(sure, maybe...) {
			if _, err := channels.CleanAddress(channels.Address{Kind: channels.Phone, Value: n}); err != nil {
				t.Errorf("%q: %q, %v", text, n, err)
			}
		}
		timeIn(text, time.UTC, time.Unix(1795000000, 0))
	})
}

// TestCalledByMail: who asks by mail to be called is told how in the one answer, and called at the number of the reply; a number
// that cannot be called, and none, are said in words; a signature changes nothing, a new number in the first line does.
func TestCalledByMail(t *testing.T) {
	f, _ := newCallFlow(t)
	mail := func(from string, conversation int64, subject, body string) int64 {
		t.Helper()
		return f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: from},
			ConversationID: conversation, Subject: subject, Body: body}).ConversationID
	}
	told := func(id int64) string { // what we told the customer since their last mail
		t.Helper()
		return text(f, `select coalesce(string_agg(body, ' | ' order by seq), '') from messages where conversation_id = $1 and author = 'system' and not private
			and seq > (select max(seq) from messages where conversation_id = $1 and author = 'contact')`, id)
	}
	number := func(id int64) string {
		t.Helper()
		return text(f, `select number from promises where conversation_id = $1 and closed_at is null`, id)
	}
	says := func(id int64, want ...string) {
		t.Helper()
		got := told(id)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("told %q, not %q", got, w)
			}
		}
		if strings.Contains(got, " | ") || (len(want) == 0 && got != "") {
			t.Errorf("told %q", got)
		}
	}
	id := mail("ole@example.com", 0, "Please call me", "The poles of order 4471223 are too long.")
	f.state(id, channels.Waiting)
	says(id, wordsWaiting.In("en"), wordsHowCalled.In("en"), "For a time of your choice write it below the number, like 20", "(UTC)")
	if got := f.source(id); got != sourceCall || number(id) != "" {
		t.Errorf("promise by %s, number %q", got, number(id))
	}
	mail("ole@example.com", id, "Re: Please call me", "Yes please, any time")
	says(id, wordsNoNumber.In("en"), wordsHowCalled.In("en"))
	mail("ole@example.com", id, "Re: Please call me", "Hello again?")
	says(id) // said once
	mail("ole@example.com", id, "Re: Please call me", "+49 900 1234567")
	says(id, "are not allowed. "+wordsOther.In("en"))
	mail("ole@example.com", id, "Re: Please call me", "Sure:\n+49 40 5551234\n> old words 040 999999999")
	says(id, "We call you at +49405551234, when it is your turn. You keep your place in line. "+wordsCorrect.In("en"))
	mail("ole@example.com", id, "Re: Please call me", "Thank you!\n\nOle Bakke\nTel. +49 40 7770000")
	says(id)
	if number(id) != "+49405551234" {
		t.Errorf("a signature has changed the number to %s", number(id))
	}
	at := time.Now().UTC().AddDate(0, 0, 3).Truncate(time.Hour)
	mail("ole@example.com", id, "Re: Please call me", "+49 40 7770000, "+at.Format("2006-01-02 15:04"))
	says(id, "We call you at +49407770000, on "+at.Weekday().String()+" at "+at.Format("15:04"))
	if number(id) != "+49407770000" || count(f, `select count(*) from conversations where id = $1 and not_before = $2`, id, at) != 1 {
		t.Errorf("number %s", number(id))
	}

	// with the number at once; somebody else's number; a time when nobody can be called
	second := mail("mia@example.com", 0, "Skarv 2", "Please call me back at 0171 5550147")
	says(second, wordsWaiting.In("en")+" We call you at 01715550147, when it is your turn.")
	third := mail("eva@example.com", 0, "Skarv 2", "please call me at 0171 5550147")
	says(third, wordsWaiting.In("en")+" We are to call this number already. "+wordsOther.In("en"))
	mail("eva@example.com", third, "Re: Skarv 2", "20 12 34 56, 2020-01-01 10:00")
	says(third, "That time has passed. "+wordsOtherTime.In("en"))
	mail("eva@example.com", third, "Re: Skarv 2", "20 12 34 56")
	says(third, "We call you at 20123456, when it is your turn.")

	// a number alone asks for nothing
	fourth := mail("jo@example.com", 0, "Skarv 2", "My order is 0044 7122 3344, where is it?")
	f.state(fourth, channels.Bot)
	if n := count(f, `select count(*) from promises where number <> ''`); n != 3 {
		t.Errorf("%d calls promised", n)
	}
}

// TestNobodyIsCalledByMail: without a telephone nothing is offered; a person comes all the same.
func TestNobodyIsCalledByMail(t *testing.T) {
	f := newFlow(t)
	r := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: "ole@example.com"},
		Subject: "Skarv 2", Body: "Please call me at 040 5551234"})
	f.state(r.ConversationID, channels.Waiting)
	if got := text(f, `select string_agg(body, ' | ') from messages where conversation_id = $1 and author = 'system' and not private`, r.ConversationID); got != wordsWaiting.In("en") {
		t.Errorf("told %q", got)
	}
	if count(f, `select count(*) from promises where closed_at is null and number = ''`) != 1 {
		t.Error("no promise")
	}
}
