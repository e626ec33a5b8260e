package speech

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == hangingArgument {
		if err := serve(os.Stdin, os.NewFile(3, "to server"), os.NewFile(4, "black box"), loadHanging); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	Serve(os.Args[1:])
	goleak.VerifyTestMain(m)
}
