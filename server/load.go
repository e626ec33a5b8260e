package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// Where settings come from: the file, then the environment. All mistakes are told together, each with its field.

// loader collects values and mistakes.
type loader struct {
	all      []setting
	given    map[string]given
	env      map[string]string
	mistakes []mistake
}

// given is a value and where it came from; a text is read by the setting's type.
type given struct {
	value any
	from  string
	text  bool
}

func (l *loader) mistake(field, from, found, expected string) {
	l.mistakes = append(l.mistakes, mistake{Field: field, From: from, Found: found, Expected: expected})
}

func (l *loader) loadFile(name string) {
	if name == "" {
		name = l.env["PATCHBAY_CONFIG"]
	}
	asked := name != ""
	for _, place := range configPlaces {
		if name == "" {
			if _, err := os.Stat(place); err == nil {
				name = place
			}
		}
	}
	if name == "" {
		return
	}
	f := koanf.New(".")
	if err := f.Load(file.Provider(name), toml.Parser()); err != nil {
		if errors.Is(err, fs.ErrNotExist) && !asked {
			return
		}
		l.mistake("settings file", name, tomlTrouble(err), "a TOML file as printed by \"patchbay sample\"")
		return
	}
	from := filepath.Base(name)
	known := map[string]bool{}
	for _, s := range l.all {
		known[s.name] = true
		if f.Exists(s.name) {
			l.given[s.name] = given{f.Get(s.name), from, false}
		}
	}
	for _, key := range f.Keys() {
		if known[key] || l.isSection(key, f.Get(key)) || l.below(key) {
			continue
		}
		l.mistake(key, from, "an unknown setting", l.instead(key))
	}
}

// isSection: an empty [http] is no mistake.
func (l *loader) isSection(key string, value any) bool {
	table, ok := value.(map[string]any)
	if !ok || len(table) > 0 {
		return false
	}
	for _, s := range l.all {
		if strings.HasPrefix(s.name, key+".") {
			return true
		}
	}
	return false
}

// below: a table in place of a value is reported once, as that value.
func (l *loader) below(key string) bool {
	for _, s := range l.all {
		if strings.HasPrefix(key, s.name+".") {
			return true
		}
	}
	return false
}

func (l *loader) loadEnv() {
	known := map[string]bool{}
	for _, name := range otherVariables {
		known[name] = true
	}
	for _, s := range l.all {
		names := []string{s.variable()}
		if s.env != "" {
			names = []string{s.env, s.variable()} // ours goes before the one shared with other programs
		}
		for _, name := range names {
			known[name] = true
			value, from := l.env[name], name
			if s.secret != "" {
				known[name+"_FILE"] = true
				value, from = l.secret(s, name)
			}
			if value != "" { // empty is not set: compose files pass empty ones
				l.given[s.name] = given{value, from, true}
			}
		}
	}
	for _, name := range sortedKeys(l.env) {
		if strings.HasPrefix(name, "PATCHBAY_") && !known[name] && !strings.HasPrefix(name, testVariables) {
			l.mistake(name, "environment", "an unknown variable", l.instead(strings.TrimPrefix(name, "PATCHBAY_")))
		}
	}
}

// secret reads a variable, or the file that its _FILE twin names.
func (l *loader) secret(s setting, name string) (value, from string) {
	value, path := l.env[name], l.env[name+"_FILE"]
	if path == "" {
		return value, name
	}
	if value != "" {
		l.mistake(s.name, name+" and "+name+"_FILE", "both", "one of them")
		return "", name
	}
	text, err := os.ReadFile(path)
	if err != nil {
		l.mistake(s.name, name+"_FILE", err.Error(), "a file that can be read")
		return "", name
	}
	return strings.TrimRight(string(text), "\r\n"), name + "_FILE"
}

func envMap(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			m[name] = value
		}
	}
	return m
}
