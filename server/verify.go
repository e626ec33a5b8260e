package main

import (
	"fmt"
	"io"
	"os"

	"patchbay/server/report"
)

// maxReport bounds a signed report, in bytes.
const maxReport = 16 << 20

// verify checks a signed report and says by whose key.
func verify(file, key string, stdin io.Reader, stdout io.Writer) error {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxReport))
	if err != nil {
		return err
	}
	signer, err := report.Verify(text, key)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "good: unchanged since it was signed by %s\n", signer)
	if key == "" {
		fmt.Fprintln(stdout, "Compare the key with the one that the desk shows, or give it with --key.")
	}
	return nil
}
