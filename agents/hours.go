package agents

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are the same on every machine, also on one without them

	"patchbay/channels"
	"patchbay/channels/sentences"
)

// Hours is when a queue's people answer. The zero value is always open. Times are wall-clock times of Zone; they may
// be skipped or come twice when its clocks change: what opens in a skipped hour opens at its end, and an hour that comes
// twice is open twice.
type Hours struct {
	Zone     string    `json:"zone"` // IANA name, such as Europe/Berlin; "" with hours: UTC
	Week     []Span    `json:"week"` // empty: around the clock
	Holidays []Holiday `json:"holidays"`

	ClosedUntil time.Time `json:"-"` // emergency close, before all else

	loc *time.Location // Zone's, once it has been looked up
}

// Span is open from From to To on a day; a To at or before From is on the next day.
type Span struct {
	Day  string `json:"day"` // monday ... sunday
	From string `json:"from"`
	To   string `json:"to"` // up to 24:00
}

// Holiday is a day with hours of its own: closed, or open from From to To.
type Holiday struct {
	Date string `json:"date"` // 2026-12-24, or 12-24 for every year
	Name string `json:"name"`
	From string `json:"from"` // "" and "": closed all day
	To   string `json:"to"`
}

// OpenState says whether people answer, and why not.
type OpenState string

const (
	Open         OpenState = "open"
	AfterHours   OpenState = "after_hours"
	OnHoliday    OpenState = "holiday"
	EmergencyOff OpenState = "emergency"
)

var days = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// lookAhead is how far the next opening is searched: a year and the longest gap that holidays of every year can make.
const lookAhead = 2 * 366

// Open tells whether people answer at that moment, and when next they do if not; a zero time means never.
func (h Hours) Open(at time.Time) (state OpenState, next time.Time) {
	if h.ClosedUntil.After(at) {
		if state, next = h.regular(h.ClosedUntil); state == Open {
			next = h.ClosedUntil
		}
		return EmergencyOff, next
	}
	return h.regular(at)
}

func (h Hours) regular(at time.Time) (OpenState, time.Time) {
	if len(h.Week) == 0 && len(h.Holidays) == 0 {
		return Open, time.Time{}
	}
	loc := h.location()
	local := at.In(loc)
	holiday := false
	for i := -1; i < lookAhead; i++ { // yesterday's span may go past midnight
		day := time.Date(local.Year(), local.Month(), local.Day()+i, 12, 0, 0, 0, loc)
		spans, special := h.on(day)
		holiday = holiday || special && i == 0
		for _, s := range spans {
			from, to := s.on(day, loc)
			switch {
			case !from.After(at) && to.After(at):
				return Open, time.Time{}
			case from.After(at):
				if holiday {
					return OnHoliday, from
				}
				return AfterHours, from
			}
		}
	}
	return AfterHours, time.Time{}
}

func (h Hours) location() *time.Location {
	if h.loc != nil {
		return h.loc
	}
	loc, err := time.LoadLocation(cmp.Or(h.Zone, "UTC"))
	if err != nil {
		return time.UTC // Check has refused it; a row that was written by hand
	}
	return loc
}

// on lists a day's spans by their beginning; special says that it is a holiday.
func (h Hours) on(day time.Time) (spans []Span, special bool) {
	for _, d := range h.Holidays {
		if d.Date == day.Format("2006-01-02") || d.Date == day.Format("01-02") {
			special = true
			if d.From != "" {
				spans = append(spans, Span{From: d.From, To: d.To})
			}
		}
	}
	if !special {
		if len(h.Week) == 0 {
			return []Span{{From: "00:00", To: "24:00"}}, false
		}
		for _, s := range h.Week {
			if s.Day == days[day.Weekday()] {
				spans = append(spans, s)
			}
		}
	}
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	return spans, special
}

func (s Span) on(day time.Time, loc *time.Location) (from, to time.Time) {
	begin, end := minutes(s.From), minutes(s.To)
	if end <= begin {
		end += 24 * 60
	}
	return wall(day, begin, loc, false), wall(day, end, loc, true)
}

// minutes of a checked HH:MM since midnight.
func minutes(clock string) int {
	h, m, _ := strings.Cut(clock, ":")
	hours, _ := strconv.Atoi(h)
	mins, _ := strconv.Atoi(m)
	return hours*60 + mins
}

// wall is the moment when the clocks of loc show that many minutes after that day's midnight: of two such moments the
// first, or the last, and of none the end of the hour that was skipped.
func wall(day time.Time, mins int, loc *time.Location, last bool) time.Time {
	at := func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, loc)
	}
	naive := time.Date(day.Year(), day.Month(), day.Day(), 0, mins, 0, 0, time.UTC) // the wall clock, as if there were no zones
	t := at(naive)
	shows := func(t time.Time) bool {
		t = t.In(loc)
		return t.Hour() == naive.Hour() && t.Minute() == naive.Minute()
	}
	if !shows(t) { // skipped: Go takes one of the two offsets, so the change lies within hours of t
		begin, end := t.ZoneBounds()
		if !end.IsZero() && end.Sub(t) < 3*time.Hour {
			return end
		}
		return begin
	}
	begin, end := t.ZoneBounds()
	for _, other := range []time.Time{begin.Add(-time.Second), end} { // the offsets before and after
		if other.IsZero() || other.Equal(time.Time{}.Add(-time.Second)) {
			continue
		}
		_, mine := t.Zone()
		_, theirs := other.In(loc).Zone()
		twin := t.Add(time.Duration(mine-theirs) * time.Second)
		if shows(twin) && sameDay(twin.In(loc), t) && (twin.After(t) == last) && !twin.Equal(t) {
			return twin
		}
	}
	return t
}

func sameDay(a, b time.Time) bool { return a.YearDay() == b.YearDay() && a.Year() == b.Year() }

// Due is when an answer is owed that was asked for at that moment: target later, or after the next opening.
func (h Hours) Due(at time.Time, target time.Duration) time.Time {
	if state, next := h.Open(at); state != Open && !next.IsZero() {
		at = next
	}
	return at.Add(target)
}

// Back says in words by when something is owed, for somebody who reads it now: "tomorrow by 11:00, Berlin time".
func (h Hours) Back(due, now time.Time) sentences.Said {
	return h.inWords("%s by %s, %s", due, now)
}

// When says in words when a moment is: "tomorrow at 11:00, Berlin time".
func (h Hours) When(at, now time.Time) sentences.Said { return h.inWords("%s at %s, %s", at, now) }

func (h Hours) inWords(moment string, due, now time.Time) sentences.Said {
	loc := h.location()
	due, now = due.In(loc), now.In(loc)
	midnight := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
	day := sentences.Say("on " + due.Weekday().String())
	switch n := int(midnight(due).Sub(midnight(now)).Hours() / 24); {
	case n == 0:
		day = sentences.Say("today")
	case n == 1:
		day = sentences.Say("tomorrow")
	case n >= 7:
		day = sentences.Say("%s, %s", day, sentences.Date(due))
	}
	zone := sentences.Say("UTC")
	if i := strings.LastIndex(h.Zone, "/"); i >= 0 {
		zone = sentences.Say("%s time", strings.ReplaceAll(h.Zone[i+1:], "_", " "))
	}
	return sentences.Say(moment, day, due.Format("15:04"), zone)
}

var (
	clockPattern = regexp.MustCompile(`^([01]\d|2[0-3]):[0-5]\d$`)
	datePattern  = regexp.MustCompile(`^(\d{4}-)?\d{2}-\d{2}$`)
)

// Check refuses hours that cannot be read, or in which nobody would ever answer: always an agent or a promise.
func (h Hours) Check() error {
	if _, err := time.LoadLocation(cmp.Or(h.Zone, "UTC")); err != nil || h.Zone == "Local" {
		return channels.FailField(channels.Invalid, "hours.zone", "A time zone is named like Europe/Berlin or America/New_York.")
	}
	if len(h.Week) > 70 || len(h.Holidays) > 400 {
		return channels.FailField(channels.Invalid, "hours.week", "At most 70 times a week and 400 holidays.")
	}
	for _, s := range h.Week {
		if !slices.Contains(days, s.Day) {
			return channels.FailField(channels.Invalid, "hours.week", fmt.Sprintf("%q is no day of the week.", s.Day))
		}
		if err := checkTimes("hours.week", s.From, s.To); err != nil {
			return err
		}
	}
	for _, d := range h.Holidays {
		full := d.Date
		if len(full) == 5 {
			full = "2028-" + full // a leap year: 02-29 may be one of every year
		}
		if _, err := time.Parse("2006-01-02", full); err != nil || !datePattern.MatchString(d.Date) {
			return channels.FailField(channels.Invalid, "hours.holidays", fmt.Sprintf("%q: a date is written 2026-12-24, or 12-24 for every year.", d.Date))
		}
		if d.From == "" && d.To == "" {
			continue
		}
		if err := checkTimes("hours.holidays", d.From, d.To); err != nil {
			return err
		}
	}
	now := time.Now()
	if state, next := h.Open(now); state != Open && next.IsZero() {
		return channels.FailField(channels.Invalid, "hours.week", "With these hours nobody would ever answer.")
	}
	return nil
}

func checkTimes(field, from, to string) error {
	if !clockPattern.MatchString(from) || !clockPattern.MatchString(to) && to != "24:00" {
		return channels.FailField(channels.Invalid, field, fmt.Sprintf("%q to %q: times are written 09:00 to 17:30.", from, to))
	}
	if from == to {
		return channels.FailField(channels.Invalid, field, fmt.Sprintf("%q to %q opens and closes at once.", from, to))
	}
	return nil
}
