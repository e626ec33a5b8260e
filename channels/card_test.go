package channels

import "testing"

func TestMaskCards(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "no digits": "no digits", "order 12345678": "order 12345678",
		"4111111111111111":                   "••••••••••••1111",
		"card 4111 1111 1111 1111, please":   "card •••• •••• •••• 1111, please",
		"card 4111-1111-1111-1111.":          "card ••••-••••-••••-1111.",
		"4111 1111 1111 1112":                "4111 1111 1111 1112", // the sum does not fit
		"+49 30 23125410":                    "+49 30 23125410",
		"amex 3782 822463 10005 and 12 more": "amex •••• •••••• •0005 and 12 more",
	} {
		if got := MaskCards(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestMaskAddress(t *testing.T) {
	for address, want := range map[string]string{
		"": "", "+4930123456": "+493••••456", "+49 30 123456": "+49 3• •••456", "112": "112", "rosa@example.org": "r•••@example.org", "@x": "•••@x",
	} {
		if got := MaskAddress(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func TestSpokenCard(t *testing.T) {
	line := func(kind, text, value string) CardLine { return CardLine{Kind: kind, Text: text, Value: value} }
	for _, c := range []struct {
		lines []CardLine
		want  string
	}{
		{nil, ""},
		{[]CardLine{line(CardWho, "Jo", ""), line(CardWish, "By the key 0", "")}, ""},
		{[]CardLine{line(CardWho, "Jo Lind", ""), line(CardIdentity, "Not verified. Says the name “Jo”.", "claimed"), line(CardLanguage, "German", "de"),
			line(CardMood, "Upset: capitals", "upset"), line(CardMatter, "“The stove leaks.”", ""), line(CardTried, "“Close the valve.”", ""), line(CardQuestion, "“Is it dangerous?”", "")},
			"Jo Lind. Not verified. Speaks German. Upset. Asks: Is it dangerous? Was told: Close the valve."},
		{[]CardLine{line(CardIdentity, "Verified", "verified"), line(CardLanguage, "English", "en"), line(CardMood, "Calm", "calm"), line(CardMatter, "“A pole broke”", "")},
			"Verified. Said: A pole broke."},
	} {
		if got := (&Card{Lines: c.lines}).Spoken(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
	if (*Card)(nil).Spoken() != "" {
		t.Error("no card speaks")
	}
}
