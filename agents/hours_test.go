package agents

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"patchbay/channels"
)

func moment(t interface{ Fatal(...any) }, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestHours(t *testing.T) {
	week := func(zone, from, to string, on ...string) Hours {
		h := Hours{Zone: zone}
		for _, d := range on {
			h.Week = append(h.Week, Span{Day: d, From: from, To: to})
		}
		return h
	}
	office := week("Europe/Berlin", "09:00", "17:00", days[1:6]...)
	lunch := week("Europe/Berlin", "13:00", "17:00", "monday")
	lunch.Week = append(lunch.Week, Span{Day: "monday", From: "09:00", To: "12:00"})
	xmas := office
	xmas.Holidays = []Holiday{{Date: "12-25", Name: "Christmas"}, {Date: "2026-12-24", From: "10:00", To: "13:00"}}
	fire := office
	fire.ClosedUntil = moment(t, "2026-11-23T11:00:00Z") // a Monday, noon in Berlin
	fireNight := office
	fireNight.ClosedUntil = moment(t, "2026-11-23T20:00:00Z")

	for _, c := range []struct {
		name  string
		hours Hours
		at    string
		state OpenState
		next  string
	}{
		{"always open", Hours{}, "2026-11-22T03:00:00Z", Open, ""},
		{"in hours", office, "2026-11-23T08:00:00Z", Open, ""},
		{"a minute early", office, "2026-11-23T07:59:00Z", AfterHours, "2026-11-23T08:00:00Z"},
		{"at closing time", office, "2026-11-23T16:00:00Z", AfterHours, "2026-11-24T08:00:00Z"},
		{"a second before", office, "2026-11-23T15:59:59Z", Open, ""},
		{"Sunday", office, "2026-11-22T12:00:00Z", AfterHours, "2026-11-23T08:00:00Z"},
		{"Friday evening", office, "2026-11-27T20:00:00Z", AfterHours, "2026-11-30T08:00:00Z"},
		{"at lunch, spans in any order", lunch, "2026-11-23T11:30:00Z", AfterHours, "2026-11-23T12:00:00Z"},
		{"the same clock time in summer", office, "2026-07-06T07:00:00Z", Open, ""},
		{"Christmas of any year", xmas, "2028-12-25T10:00:00Z", OnHoliday, "2028-12-26T08:00:00Z"},
		{"Christmas Eve of this year: shorter", xmas, "2026-12-24T12:30:00Z", OnHoliday, "2026-12-28T08:00:00Z"},
		{"and open in between", xmas, "2026-12-24T11:00:00Z", Open, ""},
		{"emergency close", fire, "2026-11-23T09:00:00Z", EmergencyOff, "2026-11-23T11:00:00Z"},
		{"emergency close into the night", fireNight, "2026-11-23T09:00:00Z", EmergencyOff, "2026-11-24T08:00:00Z"},
		{"it is over", fire, "2026-11-23T11:00:00Z", Open, ""},
		{"past midnight", week("Europe/Berlin", "22:00", "06:00", "saturday"), "2026-11-22T04:59:00Z", Open, ""},
		{"past midnight, closed", week("Europe/Berlin", "22:00", "06:00", "saturday"), "2026-11-22T05:00:00Z", AfterHours, "2026-11-28T21:00:00Z"},
		{"until midnight", week("Europe/Berlin", "00:00", "24:00", "saturday"), "2026-11-21T22:59:59Z", Open, ""},
		{"New York is open when Berlin closes", week("America/New_York", "09:00", "17:00", days[1:6]...), "2026-11-23T16:00:00Z", Open, ""},
		{"half an hour's zone", week("Asia/Kathmandu", "09:00", "17:00", "monday"), "2026-11-23T03:14:00Z", AfterHours, "2026-11-23T03:15:00Z"},

		// Berlin 2026: 29 March 02:00 -> 03:00, 25 October 03:00 -> 02:00
		{"spring: an opening that is skipped comes at the change", week("Europe/Berlin", "02:30", "05:00", "sunday"), "2026-03-29T00:59:00Z", AfterHours, "2026-03-29T01:00:00Z"},
		{"spring: open from the change on", week("Europe/Berlin", "02:30", "05:00", "sunday"), "2026-03-29T01:00:00Z", Open, ""},
		{"spring: the day after opens at the new time", office, "2026-03-30T06:59:00Z", AfterHours, "2026-03-30T07:00:00Z"},
		{"spring: the weekend is an hour shorter", office, "2026-03-27T17:00:00Z", AfterHours, "2026-03-30T07:00:00Z"},
		{"spring: a closing that is skipped comes at the change", week("Europe/Berlin", "00:00", "02:30", "sunday"), "2026-03-29T01:00:00Z", AfterHours, "2026-04-04T22:00:00Z"},
		{"autumn: the hour that comes twice is open twice", week("Europe/Berlin", "02:00", "03:00", "sunday"), "2026-10-25T01:30:00Z", Open, ""},
		{"autumn: and the first time", week("Europe/Berlin", "02:00", "03:00", "sunday"), "2026-10-25T00:00:00Z", Open, ""},
		{"autumn: opens the first time", week("Europe/Berlin", "02:30", "04:00", "sunday"), "2026-10-25T00:00:00Z", AfterHours, "2026-10-25T00:30:00Z"},
		{"autumn: closes the second time", week("Europe/Berlin", "00:00", "02:30", "sunday"), "2026-10-25T01:29:00Z", Open, ""},
		{"autumn: closed after it", week("Europe/Berlin", "00:00", "02:30", "sunday"), "2026-10-25T01:30:00Z", AfterHours, "2026-10-31T23:00:00Z"},
		{"midnight that does not exist (Cairo, April)", week("Africa/Cairo", "00:00", "01:30", "friday"), "2026-04-23T21:30:00Z", AfterHours, "2026-04-23T22:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			state, next := c.hours.Open(moment(t, c.at))
			if state != c.state {
				t.Errorf("%s, want %s", state, c.state)
			}
			if c.next == "" && !next.IsZero() || c.next != "" && !next.Equal(moment(t, c.next)) {
				t.Errorf("next opening %s, want %s", next.UTC().Format(time.RFC3339), c.next)
			}
		})
	}
}

func TestDueAndBack(t *testing.T) {
	office := Hours{Zone: "Europe/Berlin", Week: []Span{{"monday", "09:00", "17:00"}, {"tuesday", "09:00", "17:00"}}}
	for _, c := range []struct{ at, due, back string }{
		{"2026-11-23T10:00:00Z", "2026-11-23T10:03:00Z", "today by 11:03, Berlin time"},
		{"2026-11-23T18:00:00Z", "2026-11-24T08:03:00Z", "tomorrow by 09:03, Berlin time"},
		{"2026-11-21T18:00:00Z", "2026-11-23T08:03:00Z", "on Monday by 09:03, Berlin time"},
		{"2026-11-24T18:00:00Z", "2026-11-30T08:03:00Z", "on Monday by 09:03, Berlin time"},
		{"2026-11-22T23:30:00Z", "2026-11-23T08:03:00Z", "today by 09:03, Berlin time"}, // it is Monday already in Berlin
	} {
		at := moment(t, c.at)
		due := office.Due(at, 3*time.Minute)
		if !due.Equal(moment(t, c.due)) || office.Back(due, at).In("en") != c.back {
			t.Errorf("%s: due %s, %q", c.at, due.UTC().Format(time.RFC3339), office.Back(due, at).In("en"))
		}
	}
	if got := (Hours{}).Back(moment(t, "2026-12-24T10:00:00Z"), moment(t, "2026-11-23T10:00:00Z")).In("en"); got != "on Thursday, 24 December by 10:00, UTC" {
		t.Error(got)
	}
	berlin := office.When(moment(t, "2026-12-24T10:00:00Z"), moment(t, "2026-11-23T10:00:00Z")).In("de")
	if berlin != "am Donnerstag, 2026-12-24 um 11:00 (Berlin)" {
		t.Error(berlin)
	}
}

func TestHoursAreChecked(t *testing.T) {
	for _, c := range []struct {
		field string
		hours Hours
	}{
		{"", Hours{}},
		{"", Hours{Zone: "America/Argentina/Buenos_Aires", Week: []Span{{"monday", "09:00", "24:00"}}, Holidays: []Holiday{{Date: "02-29"}}}},
		{"hours.zone", Hours{Zone: "Berlin"}},
		{"hours.zone", Hours{Zone: "Local"}},
		{"hours.zone", Hours{Zone: "../../etc/passwd"}},
		{"hours.week", Hours{Week: []Span{{"Montag", "09:00", "17:00"}}}},
		{"hours.week", Hours{Week: []Span{{"monday", "9:00", "17:00"}}}},
		{"hours.week", Hours{Week: []Span{{"monday", "09:00", "25:00"}}}},
		{"hours.week", Hours{Week: []Span{{"monday", "09:00", "09:00"}}}},
		{"hours.holidays", Hours{Holidays: []Holiday{{Date: "24.12."}}}},
		{"hours.holidays", Hours{Holidays: []Holiday{{Date: "2026-02-30"}}}},
		{"hours.holidays", Hours{Holidays: []Holiday{{Date: "12-24", From: "10:00"}}}},
		{"hours.week", Hours{Week: []Span{{"monday", "09:00", "17:00"}}, Holidays: everyDay()}},
	} {
		err := c.hours.Check()
		if c.field == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.hours, err)
			}
			continue
		}
		var e *channels.Error
		if !asError(err, &e) || e.Field != c.field || e.Code != channels.Invalid {
			t.Errorf("%+v: %v, want field %s", c.hours, err, c.field)
		}
	}
}

func everyDay() (list []Holiday) {
	for d := moment(nil, "2028-01-01T00:00:00Z"); d.Year() == 2028; d = d.AddDate(0, 0, 1) {
		list = append(list, Holiday{Date: d.Format("01-02")})
	}
	return list
}

// At the next opening it is open, just before it is not, and between now and then it never is.
func TestHoursProperties(t *testing.T) {
	clock := rapid.StringMatching(`([01][0-9]|2[0-3]):[0-5][05]`)
	zones := []string{"", "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "Pacific/Apia"}
	begin := moment(t, "2026-01-01T00:00:00Z")
	rapid.Check(t, func(t *rapid.T) {
		h := Hours{Zone: rapid.SampledFrom(zones).Draw(t, "zone")}
		for range rapid.IntRange(1, 6).Draw(t, "spans") {
			s := Span{Day: rapid.SampledFrom(days).Draw(t, "day"), From: clock.Draw(t, "from"), To: clock.Draw(t, "to")}
			if s.From != s.To {
				h.Week = append(h.Week, s)
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "holidays") {
			h.Holidays = append(h.Holidays, Holiday{Date: begin.AddDate(0, 0, rapid.IntRange(0, 364).Draw(t, "date")).Format("01-02")})
		}
		if len(h.Week) == 0 {
			return
		}
		at := begin.Add(time.Duration(rapid.IntRange(0, 365*24*60).Draw(t, "at")) * time.Minute)
		state, next := h.Open(at)
		if state == Open {
			return
		}
		if !next.After(at) {
			t.Fatalf("%+v at %s: next opening %s", h, at, next)
		}
		if state, _ := h.Open(next); state != Open {
			t.Fatalf("%+v at %s: closed at its next opening %s", h, at, next)
		}
		for range 20 {
			between := at.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(at)-1)).Draw(t, "between")))
			if state, _ := h.Open(between); state == Open {
				t.Fatalf("%+v: next opening after %s is %s, but it is open at %s", h, at, next, between)
			}
		}
	})
}

// TestSlots: half hours in which people answer, the opening first where nobody does now; none in the past, none at night.
func TestSlots(t *testing.T) {
	h := Hours{Zone: "Europe/Berlin", Week: []Span{{Day: "monday", From: "09:15", To: "10:40"}, {Day: "tuesday", From: "09:00", To: "09:30"}}}
	at := func(day, hour, minute int) time.Time {
		return time.Date(2026, 11, day, hour, minute, 0, 0, h.location())
	} // the 23rd is a Monday
	show := func(list []time.Time) (words []string) {
		for _, s := range list {
			words = append(words, s.In(h.location()).Format("Mon 15:04"))
		}
		return words
	}
	for _, c := range []struct {
		now  time.Time
		want []string
	}{
		{at(22, 20, 0), []string{"Mon 09:15", "Mon 09:30", "Mon 10:00", "Mon 10:30", "Tue 09:00"}},
		{at(23, 9, 20), []string{"Mon 10:00", "Mon 10:30", "Tue 09:00", "Mon 09:30"}}, // and within a week
		{at(23, 10, 30), []string{"Tue 09:00", "Mon 09:30", "Mon 10:00", "Mon 10:30"}},
	} {
		if got := show(h.slots(c.now)); !slices.Equal(got, c.want) {
			t.Errorf("at %s: %v, want %v", c.now.Format("Mon 15:04"), got, c.want)
		}
	}
	if got := (Hours{}).slots(at(22, 20, 1)); len(got) != slotsMost || !got[0].Equal(at(22, 20, 30)) || got[1].Sub(got[0]) != slotEach {
		t.Errorf("always open: %d, the first %s", len(got), got[0])
	}
}
