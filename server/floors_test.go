package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors is the import rule of the house: a package imports only packages of lower floors. A new folder gets a row.
var floors = map[string]int{
	"server":             40, // main: plugs everything together
	"server/api":         30, // HTTP
	"server/synthetic":   30, // the house's own test customer: it knows the house from outside
	"server/switchboard": 20, // the flow
	"server/report":      10,
	"server/alarms":      10, // alarms to a web hook
	"llm":                10,
	"llm/human":          5,
	"agents":             10,
	"channels/voice":     10,
	"channels/email":     10,
	"channels/chat":      10,

	"channels/voice/dialogue": 7, // a caller's talk with the responder: ear, turn and mouth of one call
	"channels/voice/trunks":   7, // carriers, numbers and the dial policy: above the legs, below the calls

	"channels/sentences": 0, // what the house says to customers, in their language

	"channels/voice/sipleg":     5, // one SIP leg of a call: a half floor between the wire's parts and the calls
	"channels/voice/transcript": 5, // what people say in a call, written down
	"channels/voice/mouth":      5, // what is said on a leg

	"channels/voice/archive":  5, // recordings: the calls make them, the API gives them out
	"channels/voice/casebook": 5, // the call doctor's stories, in the database
	"channels/voice/devices":  5, // the agents' SIP telephones
	"channels/voice/webleg":   5, // one browser's

	"channels":              0, // the nouns
	"channels/voice/doctor": 0,
	"channels/voice/edge":   0,
	"channels/voice/sdp":    0,
	"channels/voice/media":  0,
	"channels/voice/spoken": 0, // what is written <-> what is said
	"channels/voice/speech": 0,
	"channels/voice/turn":   0,
	"server/db":             0,
	"server/bus":            0,
	"webui":                 0,
	"deploy/bench":          0, // a program of its own that knows the server only from outside
	"deploy/suites":         0, // the same
}

// kits are lent to tests: only _test.go files and other kits import them, and they stand on the floor of what they imitate.
var kits = map[string]int{
	"server/db/dbtest":                 10,
	"llm/llmtest":                      10,
	"channels/voice/voicetest":         10,
	"channels/voice/speech/speechtest": 10,
	"channels/email/emailtest":         10,
}

// never is what the floors alone would allow: the flow meets the channels through its own interface Channel, and each
// channel owns its whole wire, its web routes included. What stands below a channel on floor 0 knows no conversation
// and is free: an uploaded sound is converted by channels/voice/media.
var never = map[string][]string{
	"server/switchboard": {"channels/voice", "channels/email", "channels/chat", "server/report"},
	"server/api":         {"channels/voice", "channels/email", "channels/chat", "llm"},
}

const module = "patchbay/"

func TestImportsGoDown(t *testing.T) {
	broken, seen := brokenImports(t, os.DirFS(".."))
	for _, b := range broken {
		t.Error(b)
	}
	if seen < 5 {
		t.Errorf("only %d packages seen: looked in the wrong place", seen)
	}
}

// brokenImports reads the tree itself: a test that asked "go list" would be answered by the test cache.
func brokenImports(t *testing.T, tree fs.FS) (broken []string, packages int) {
	t.Helper()
	folders := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && skipped(tree, path, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if !folders[folder] {
			folders[folder] = true
			if _, ok := floorOf(folder); !ok {
				broken = append(broken, folder+": a folder without a floor; give it a row in floors_test.go")
			}
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := forbidden(folder, strings.HasSuffix(path, "_test.go"), name); why != "" {
				broken = append(broken, path+": "+why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return broken, len(folders)
}

// skipped: what the Go command does not look into either, and tools with a module of their own.
func skipped(tree fs.FS, path, name string) bool {
	if name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := fs.Stat(tree, path+"/go.mod")
	return err == nil
}

func floorOf(folder string) (int, bool) {
	if floor, ok := kits[folder]; ok {
		return floor, true
	}
	floor, ok := floors[folder]
	return floor, ok
}

// forbidden says why a file of a folder may not import name; "" when it may.
func forbidden(folder string, isTest bool, name string) string {
	ours, ok := strings.CutPrefix(name, module)
	if !ok || isTest && ours == folder { // package x_test imports x
		return ""
	}
	if _, kit := kits[ours]; kit {
		if _, toKit := kits[folder]; isTest || toKit {
			return ""
		}
		return "imports the test kit " + ours + " outside a test"
	}
	from, known := floorOf(folder)
	to, ok := floors[ours]
	switch {
	case !known || !ok:
		return "imports " + ours + ", one of the two has no floor"
	case to >= from:
		return "floor " + strconv.Itoa(from) + " imports " + ours + " on floor " + strconv.Itoa(to) + "; an import goes down"
	}
	for _, room := range never[folder] {
		if ours == room || to > 0 && strings.HasPrefix(ours, room+"/") {
			return "must not know " + room
		}
	}
	return ""
}

// TestTheRuleBites breaks it in each way.
func TestTheRuleBites(t *testing.T) {
	for _, c := range []struct {
		folder, imports string
		test, allowed   bool
	}{
		{"server", "patchbay/channels/voice", false, true},
		{"server/api", "patchbay/webui", false, true},
		{"server/switchboard", "patchbay/llm", false, true},
		{"channels/voice", "patchbay/channels", false, true},
		{"agents", "github.com/jackc/pgx/v5", false, true},
		{"agents", "patchbay/server/db/dbtest", true, true},
		{"server/db", "patchbay/server/db", true, true},
		{"server/db/dbtest", "patchbay/server/db", false, true},
		{"channels/voice/voicetest", "patchbay/channels/voice/speech/speechtest", false, true},
		{"server/api", "patchbay/channels/voice/media", false, true},

		{"channels", "patchbay/llm", false, false},
		{"llm", "patchbay/agents", false, false},
		{"channels/voice", "patchbay/channels/email", false, false},
		{"server/switchboard", "patchbay/channels/voice", false, false},
		{"server/api", "patchbay/channels/chat", false, false},
		{"server/api", "patchbay/channels/voice", false, false},
		{"server/api", "patchbay/channels/voice/sipleg", false, false},
		{"channels/voice/media", "patchbay/channels", false, false},
		{"server/db", "patchbay/server/bus", false, false},
		{"server/report", "patchbay/server/switchboard", false, false},
		{"agents", "patchbay/server/db/dbtest", false, false},
		{"agents", "patchbay/llm", true, false},
		{"channels/fax", "patchbay/channels", false, false},
		{"agents", "patchbay/channels/fax", false, false},
	} {
		if why := forbidden(c.folder, c.test, c.imports); (why == "") != c.allowed {
			t.Errorf("%s imports %s: %q", c.folder, c.imports, why)
		}
	}
}
