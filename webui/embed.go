// Package webui carries the built pages inside the program: the customer's page and widget and the
// agents' desk. The build writes dist/, which is not committed (its hashed names would conflict on every
// change); a fresh checkout therefore still compiles and serves one page that says what is missing.
package webui

import (
	"embed"
	"io/fs"
	"strings"
)

// Without "all:" the pattern would skip dot files, and a dist that holds only .gitkeep would not compile.
//
//go:embed all:dist stub
var files embed.FS

// Dist is the file system to serve: the built pages, or the stub while there are none.
func Dist() fs.FS {
	dir := "dist"
	if _, err := fs.Stat(files, "dist/index.html"); err != nil {
		dir = "stub"
	}
	sub, err := fs.Sub(files, dir)
	if err != nil { // both names are constants that the compiler has embedded
		panic(err)
	}
	return sub
}

// BuildID names the built pages, a hash over their sources; "" while nothing is built. An open desk that
// was loaded from another build offers to reload.
func BuildID() string {
	id, err := fs.ReadFile(files, "dist/.build-id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
