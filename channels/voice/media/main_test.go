package media

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bridge joins two legs as a call of two does: each hears the other, and whatever was playing to either ends.
func bridge(a, b *Leg) {
	a.Swap(b.Out())
	b.Swap(a.Out())
	a.Stop()
	b.Stop()
}
