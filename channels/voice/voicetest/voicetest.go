// Package voicetest is the other end of the line for tests: a real SIP phone that can misbehave on purpose (Phone),
// drivers for baresip and sipp, and the ears that tell whether the right sound arrived (Speech, Check, Tone). Only
// _test.go files import it.
package voicetest

import (
	"os"
	"os/exec"
	"testing"
)

// Need returns the path of an outside program. Without it the test is skipped by name, or fails where everything has
// to be there (PATCHBAY_CI=1).
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("PATCHBAY_CI") == "1" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("SKIPPED: %s is not installed", program)
	return ""
}
