package agents

import "testing"

// TestBudget: when people come first, and until when.
func TestBudget(t *testing.T) {
	for _, c := range []struct {
		name             string
		promises, broken int
		burning          bool
		burn             float64
		next             bool
	}{
		{"a quiet hour", 0, 0, false, 0, false},
		{"a quiet hour after a bad one", 0, 0, true, 0, false},
		{"all kept", 40, 0, false, 0, false},
		{"one broken promise is no trend", 1, 1, false, 20, false},
		{"just within the budget", 40, 2, false, 1, false},
		{"over it, not yet twice", 40, 3, false, 1.5, false},
		{"twice the budget", 40, 4, false, 2, true},
		{"everything broken", 5, 5, false, 20, true},
		{"getting better, not yet good", 40, 3, true, 1.5, true},
		{"good again", 40, 2, true, 1, false},
	} {
		b := Budget{Share: 95, Promises: c.promises, Broken: c.broken, Burning: c.burning}
		if got := b.Burn(); got < c.burn-0.01 || got > c.burn+0.01 || b.Next() != c.next {
			t.Errorf("%s: burn %.2f, people first %v; want %.2f, %v", c.name, got, b.Next(), c.burn, c.next)
		}
	}
}
