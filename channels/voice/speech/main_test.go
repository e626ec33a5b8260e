package speech

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Serve(os.Args[1:])
	goleak.VerifyTestMain(m)
}
