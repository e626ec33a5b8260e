package trunks

import (
	"strings"
	"testing"
	"time"

	"patchbay/channels"
)

// TestE164: how people and carriers write numbers, and what is meant.
func TestE164(t *testing.T) {
	german, american, spanish, danish, unknown := numbering{"49", "0"}, numbering{"1", "1"}, numbering{"34", ""}, numbering{"45", ""}, numbering{"", "0"}
	for _, c := range []struct {
		n        numbering
		in, want string
	}{
		{german, "+49 30 23125410", "+493023125410"}, {german, "+49 (0)30 231-254", "+4930231254"}, {german, "0049302312541", "+49302312541"},
		{german, "030 2312541", "+49302312541"}, {german, "49302312541", "+49302312541"}, {german, "33123456789", "+33123456789"},
		{german, "110", "110"}, {german, "100", "100"}, {german, "2312541", "2312541"}, {german, "anna", "anna"}, {german, "", ""},
		{german, "004930", "004930"}, {german, "+49302312541;user=phone", "+49302312541"}, {german, "017012345678", "+4917012345678"},
		{numbering{"61", "0"}, "0011493012345", "+493012345"}, {american, "0049301234567", "+49301234567"}, {american, "12125551234", "+12125551234"}, {american, "(212) 555-1234", "+12125551234"}, {american, "011493012345", "+493012345"}, {american, "911", "911"},
		{spanish, "912345678", "+34912345678"}, {spanish, "34912345678", "+34912345678"}, {spanish, "0033123456789", "+33123456789"},
		{danish, "45123456", "+4545123456"}, {danish, "4512345678", "+4512345678"},
		{unknown, "0302312541", "0302312541"}, {unknown, "+302312541", "+302312541"}, {unknown, "00302312541", "+302312541"},
	} {
		if got := c.n.E164(c.in); got != c.want {
			t.Errorf("%v %q: %q, want %q", c.n, c.in, got, c.want)
		}
	}
	for _, c := range []struct {
		n                      numbering
		e164, typed, fmt, want string
	}{
		{german, "+493012345", "030 12345", "e164", "+493012345"}, {german, "+493012345", "030 12345", "plain", "493012345"},
		{german, "+493012345", "030 12345", "national", "03012345"}, {german, "+33123456789", "0033123456789", "national", "0033123456789"},
		{american, "+493012345", "+493012345", "national", "011493012345"}, {american, "+12125551234", "2125551234", "national", "12125551234"},
		{german, "+493012345", "030-12345", "asis", "03012345"}, {german, "112", "112", "e164", "112"}, {spanish, "+34912345678", "912345678", "national", "912345678"},
	} {
		if got := c.n.spell(c.e164, c.typed, c.fmt); got != c.want {
			t.Errorf("%v %s as %s: %q, want %q", c.n, c.e164, c.fmt, got, c.want)
		}
	}
}

func carrier(change func(*channels.Trunk)) *channels.Trunk {
	t := &channels.Trunk{ID: 1, Name: "Carrier", Enabled: true, Servers: []string{"sip.example.net"}, DialOut: true, CountryCode: "49", NationalPrefix: "0",
		MaxCalls: 30, MaxCallsOut: 10, MaxCallsHour: 100, MaxCallsDay: 500, MaxMoneyDay: 20, MoneyPerMinute: 0.10,
		Rates: []channels.Rate{{Prefix: "+49", PerMinute: 0.01}, {Prefix: "+4917", PerMinute: 0.05}, {Prefix: "+4930", PerMinute: 0}}}
	if change != nil {
		change(t)
	}
	return t
}

// TestJudge: every refusal of the dial policy, what it lets through, and what it costs.
func TestJudge(t *testing.T) {
	abroad := func(t *channels.Trunk) { t.International = true }
	for name, c := range map[string]struct {
		trunk  func(*channels.Trunk)
		number string
		used   usage
		want   string // in the refusal; "" = allowed
		price  float64
		longer time.Duration
	}{
		"at home":                   {nil, "030 12345", usage{}, "", 0, 0},
		"mobile":                    {nil, "0171 2345678", usage{Money: 15}, "", 0.05, 100 * time.Minute},
		"at home, other":            {nil, "+49 40 12345", usage{}, "", 0.01, 24 * time.Hour},
		"disabled":                  {func(t *channels.Trunk) { t.Enabled = false }, "03012345", usage{}, "not set up", 0, 0},
		"no server":                 {func(t *channels.Trunk) { t.Servers = nil }, "112", usage{}, "not set up", 0, 0},
		"no calls out":              {func(t *channels.Trunk) { t.DialOut = false }, "03012345", usage{}, "Calls out are not allowed", 0, 0},
		"emergency":                 {func(t *channels.Trunk) { t.DialOut, t.BlockedPrefixes = false, []string{"1"} }, "112", usage{Calls: 99, Out: 99, Hour: 999, Day: 999, Money: 99}, "", 0, 0},
		"police":                    {nil, "110", usage{Out: 10}, "", 0, 0},
		"not an emergency here":     {nil, "911", usage{}, "no complete", 0, 0},
		"blocked":                   {func(t *channels.Trunk) { t.BlockedPrefixes = []string{"+4940"} }, "04012345", usage{}, "+4940 are blocked", 0, 0},
		"blocked before allowed":    {func(t *channels.Trunk) { t.BlockedPrefixes, t.AllowedPrefixes = []string{"+49"}, []string{"+4940"} }, "04012345", usage{}, "blocked", 0, 0},
		"short":                     {nil, "2312", usage{}, "no complete", 0, 0},
		"without area code":         {nil, "23125410", usage{}, "no complete", 0, 0},
		"a PBX's extension":         {func(t *channels.Trunk) { t.AllowedPrefixes = []string{"2"} }, "231", usage{}, "", 0.10, 200 * time.Minute},
		"letters":                   {nil, "anna", usage{}, "A telephone number was expected", 0, 0},
		"letters behind digits":     {nil, "+49A00000", usage{}, "A telephone number", 0, 0},
		"too long":                  {nil, "+4930123456789012", usage{}, "anybody can have", 0, 0},
		"too short":                 {nil, "+49112", usage{}, "can have", 0, 0},
		"unknown country":           {abroad, "+999123456789", usage{}, "can have", 0, 0},
		"a call abroad in disguise": {nil, "+49 0 0331 2345678", usage{}, "can have", 0, 0},
		"prefix twice":              {nil, "+49 0 331 2345678", usage{}, "can have", 0, 0},
		"abroad":                    {nil, "+33 1 23456789", usage{}, "abroad", 0, 0},
		"abroad by 00":              {nil, "0033123456789", usage{}, "abroad", 0, 0},
		"abroad, allowed":           {abroad, "+33 1 23456789", usage{}, "", 0.10, 200 * time.Minute},
		"not among the allowed":     {func(t *channels.Trunk) { t.International, t.AllowedPrefixes = true, []string{"+49", "+43"} }, "+33123456789", usage{}, "begin with +49, +43", 0, 0},
		"among the allowed":         {func(t *channels.Trunk) { t.International, t.AllowedPrefixes = true, []string{"+49", "+43"} }, "+43123456789", usage{}, "", 0.10, 200 * time.Minute},
		"premium":                   {nil, "0900 1234567", usage{}, "+49900 cost extra", 0, 0},
		"shared cost":               {nil, "0180 1234567", usage{}, "cost extra", 0, 0},
		"call by call":              {nil, "01033 12345678", usage{}, "cost extra", 0, 0},
		"premium abroad":            {abroad, "+44 909 1234567", usage{}, "cost extra", 0, 0},
		"satellite":                 {abroad, "+881 612345678", usage{}, "cost extra", 0, 0},
		"premium by wide prefix":    {func(t *channels.Trunk) { t.AllowedPrefixes = []string{"+49"} }, "0900 1234567", usage{}, "cost extra", 0, 0},
		"premium by its prefix":     {func(t *channels.Trunk) { t.AllowedPrefixes = []string{"+49180", "+49"} }, "0180 1234567", usage{}, "", 0.01, 24 * time.Hour},
		"island of zone 1":          {func(t *channels.Trunk) { t.CountryCode, t.NationalPrefix = "1", "1" }, "876 555 1234", usage{}, "abroad", 0, 0},
		"zone 1":                    {func(t *channels.Trunk) { t.CountryCode, t.NationalPrefix = "1", "1" }, "212 555 1234", usage{}, "", 0.10, 200 * time.Minute},
		"zone 1, 911":               {func(t *channels.Trunk) { t.CountryCode, t.NationalPrefix = "1", "1" }, "911", usage{Day: 999}, "", 0, 0},
		"all lines":                 {nil, "03012345", usage{Calls: 30}, "All 30 lines of Carrier", 0, 0},
		"lines unlimited":           {func(t *channels.Trunk) { t.MaxCalls = 0 }, "03012345", usage{Calls: 300}, "", 0, 0},
		"lines out":                 {nil, "03012345", usage{Out: 10}, "All 10 lines for calls out", 0, 0},
		"hour":                      {nil, "03012345", usage{Hour: 100}, "100 calls within an hour", 0, 0},
		"day":                       {nil, "03012345", usage{Day: 500}, "500 calls within 24 hours", 0, 0},
		"money":                     {nil, "04012345", usage{Money: 19.995}, "20.00 of 20.00", 0, 0},
		"money, free number":        {nil, "03012345", usage{Money: 25}, "", 0, 0},
		"no money at all":           {func(t *channels.Trunk) { t.MaxMoneyDay = 0 }, "04012345", usage{}, "is spent", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(carrier(c.trunk), c.number, c.used)
			if c.want != "" {
				if v.Refused == nil || !strings.Contains(v.Refused.Text, c.want) {
					t.Errorf("%+v, want %q", v.Refused, c.want)
				}
				return
			}
			if v.Refused != nil {
				t.Fatal(v.Refused)
			}
			if v.PerMinute != c.price || v.Longest.Round(time.Minute) != c.longer {
				t.Errorf("%v a minute for %s, want %v for %s", v.PerMinute, v.Longest, c.price, c.longer)
			}
		})
	}
}

// FuzzJudge: what the policy lets through has an allowed number in the form that goes out, too.
func FuzzJudge(f *testing.F) {
	for _, s := range []string{"030 12345", "+49 (0)30 12345", "0033123456", "+49 0 033 12345", "010 33 0033 123", "(0)(0)33123456789", "+4900033123456"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		for _, format := range []string{"e164", "plain", "national"} {
			trunk := carrier(func(t *channels.Trunk) { t.NumberFormat = format })
			v := judge(trunk, typed, usage{})
			if v.Refused != nil || v.Emergency {
				continue
			}
			n := numberingOf(trunk)
			wire := n.spell(v.Number, typed, format)
			if !strings.HasPrefix(v.Number, "+49") || strings.HasPrefix(wire, "00") || strings.HasPrefix(wire, "+490") || strings.Trim(wire, "+0123456789") != "" {
				t.Fatalf("%q: %s goes out as %q", typed, v.Number, wire)
			}
			if format != "plain" && len(wire) > shortDigits && n.E164(wire) != v.Number {
				t.Fatalf("%q: %s goes out as %q, which reads %s", typed, v.Number, wire, n.E164(wire))
			}
		}
	})
}

func TestCost(t *testing.T) {
	for talked, want := range map[time.Duration]float64{0: 0, time.Second: 0.5, time.Minute: 0.5, 61 * time.Second: 1, -time.Second: 0} {
		if got := costOf(0.5, talked); got != want {
			t.Errorf("%s: %v, want %v", talked, got, want)
		}
	}
}

// TestAlarms: what somebody should look at.
func TestAlarms(t *testing.T) {
	for name, c := range map[string]struct {
		used    usage
		odd     pattern
		refused bool
		want    string // kinds and what they are about
	}{
		"nothing":              {usage{Day: 249, Money: 9.99}, pattern{Night: 4, Short: 9, Past: 50, Country: "44", Known: true}, false, ""},
		"half of the calls":    {usage{Day: 250}, pattern{}, false, "used calls 50"},
		"half of the money":    {usage{Money: 10}, pattern{}, false, "used money 50"},
		"both":                 {usage{Day: 250, Money: 16}, pattern{}, false, "used calls 50, used money 80"},
		"all":                  {usage{Day: 500, Money: 1}, pattern{}, false, "used calls 100"},
		"one too much":         {usage{Day: 500}, pattern{Night: 9}, true, "used calls 100, spent "},
		"a night's fifth":      {usage{}, pattern{Night: 5}, false, "night "},
		"a new country":        {usage{}, pattern{Past: 50, Country: "252"}, false, "country 252"},
		"of a new house":       {usage{}, pattern{Past: 49, Country: "252"}, false, ""},
		"at home":              {usage{}, pattern{Past: 50}, false, ""},
		"a series of ten":      {usage{}, pattern{Short: 10}, false, "short 7"},
		"a stolen login":       {usage{Money: 20}, pattern{Night: 30, Short: 30, Past: 50, Country: "252"}, false, "used money 100, night , country 252, short 7"},
		"no limits, no shares": {usage{}, pattern{}, false, ""},
	} {
		var got []string
		for _, a := range alarmsOf(carrier(nil), 7, c.used, c.odd, c.refused) {
			got = append(got, a.Kind+" "+a.About)
			if !strings.HasSuffix(a.Words, ".") || strings.Contains(a.Words, "%!") {
				t.Errorf("%s: %q", name, a.Words)
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %q, want %q", name, s, c.want)
		}
	}
	for clock, want := range map[string]string{"21:59": "", "22:00": "9 22:00", "03:10": "8 22:00", "06:00": ""} {
		now, err := time.ParseInLocation("2006-01-02 15:04", "2026-03-09 "+clock, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if at, night := nightOf(now); night {
			got = at.Format("2 15:04")
		}
		if got != want {
			t.Errorf("at %s the night began at %q, want %q", clock, got, want)
		}
	}
}

func TestFailsOver(t *testing.T) {
	for code, want := range map[int]bool{408: true, 500: true, 503: true, 504: true, 486: false, 603: false, 404: false, 480: false, 487: false, 600: false, 403: false} {
		if FailsOver(code) != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
}
