package llm

import "testing"

// TestUnloadable: in the words of Ollama 0.17; the first two are of files that were cut.
func TestUnloadable(t *testing.T) {
	for words, want := range map[string]bool{
		`tensor "blk.1.ffn_down.weight" offset+size (2191488) exceeds file size (2000000)`: true,
		`unexpected EOF`: true,
		`do load request: Post "http://127.0.0.1:39871/load": EOF`:                false, // the runner died: of want of memory, perhaps
		`model requires more system memory (6.1 GiB) than is available (2.0 GiB)`: false,
	} {
		if got := unloadable(words); got != want {
			t.Errorf("%s: %v", words, got)
		}
	}
}
