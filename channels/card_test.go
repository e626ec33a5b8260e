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
