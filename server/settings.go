package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	toml "github.com/pelletier/go-toml/v2"
)

// setting is one field of Config, with what its tags say.
type setting struct {
	name    string // http.listen
	section string // http
	key     string // listen
	help    string
	about   string // of its section
	env     string
	rule    string
	secret  string // "", all, url (its password)
	value   reflect.Value
}

// settingsOf lists cfg's fields in their order; their values can be set.
func settingsOf(cfg *Config) []setting {
	var all []setting
	top := reflect.ValueOf(cfg).Elem()
	for i := range top.NumField() {
		f := top.Type().Field(i)
		if f.Type.Kind() != reflect.Struct {
			all = append(all, newSetting("", "", f, top.Field(i)))
			continue
		}
		for j := range f.Type.NumField() {
			all = append(all, newSetting(f.Tag.Get("koanf"), f.Tag.Get("help"), f.Type.Field(j), top.Field(i).Field(j)))
		}
	}
	return all
}

func newSetting(section, about string, f reflect.StructField, v reflect.Value) setting {
	tag := f.Tag.Get
	s := setting{section: section, about: about, key: tag("koanf"), help: tag("help"), env: tag("env"),
		rule: tag("rule"), secret: tag("secret"), value: v}
	s.name = s.key
	if section != "" {
		s.name = section + "." + s.key
	}
	return s
}

// variable is the setting's name in the environment.
func (s setting) variable() string {
	return "PATCHBAY_" + strings.ToUpper(strings.ReplaceAll(s.name, ".", "_"))
}

func flagName(name string) string { return strings.ReplaceAll(name, "_", "-") }

// shown is the value without what is secret in it.
func (s setting) shown(v any) any {
	text, ok := v.(string)
	list, isList := v.([]string)
	switch {
	case s.secret == "" || ok && text == "" || isList && len(list) == 0:
		return v
	case s.secret == "url" && ok:
		u, err := url.Parse(text)
		if err != nil || u.Scheme == "" {
			return "***"
		}
		q := u.Query()
		if q.Has("password") {
			q.Set("password", "xxxxx")
			u.RawQuery = q.Encode()
		}
		return u.Redacted()
	}
	return "***"
}

// flags is a struct made for kong: one pointer for each setting that may be given on the command line, where others on
// the machine can read it; so a secret may not.
type flags struct {
	ptr   reflect.Value
	names []string
}

func newFlags(all []setting) flags {
	var fields []reflect.StructField
	var f flags
	for i, s := range all {
		if s.secret == "all" {
			continue
		}
		t, tag := reflect.TypeFor[*string](), ""
		if s.value.Kind() == reflect.Bool {
			t = reflect.TypeFor[*bool]()
			tag = `negatable:"" `
		}
		tag += `name:` + strconv.Quote(flagName(s.name)) + ` help:` + strconv.Quote(strings.ReplaceAll(s.help, "$", "$$"))
		tag += ` placeholder:` + strconv.Quote(s.placeholder())
		fields = append(fields, reflect.StructField{Name: "F" + strconv.Itoa(i), Type: t, Tag: reflect.StructTag(tag)})
		f.names = append(f.names, s.name)
	}
	f.ptr = reflect.New(reflect.StructOf(fields))
	return f
}

func (s setting) placeholder() string {
	switch v := s.value.Interface().(type) {
	case []string:
		return strings.Join(append(slices.Clone(v), "..."), ",")
	default:
		if text := fmt.Sprint(v); text != "" {
			return text
		}
		return "..."
	}
}

func (f flags) target() any { return f.ptr.Interface() }

func (f flags) given() map[string]any {
	m := map[string]any{}
	for i, name := range f.names {
		if p := f.ptr.Elem().Field(i); !p.IsNil() {
			m[name] = p.Elem().Interface()
		}
	}
	return m
}

// mistake is one wrong setting.
type mistake struct{ Field, From, Found, Expected string }

// configError lists all mistakes, so that a person has to start only once more.
type configError struct{ Mistakes []mistake }

func (e *configError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes in the settings:", len(e.Mistakes))
	if len(e.Mistakes) == 1 {
		b.Reset()
		b.WriteString("a mistake in the settings:")
	}
	for _, m := range e.Mistakes {
		fmt.Fprintf(&b, "\n  %s (%s): found %s; expected %s", m.Field, m.From, m.Found, m.Expected)
	}
	return b.String()
}

// fill reads each value into its field and holds it against its rule.
func (l *loader) fill() {
	for _, s := range l.all {
		g, ok := l.given[s.name]
		if !ok {
			continue
		}
		if expected := s.read(g.value, g.text); expected != "" {
			l.mistake(s.name, g.from, found(s.shown(g.value)), expected)
		}
	}
}

// read returns "" or what it expected.
func (s setting) read(v any, text bool) (expected string) {
	word, isWord := v.(string)
	switch s.value.Interface().(type) {
	case string:
		if !isWord {
			return s.expectation()
		}
		s.value.SetString(word)
	case bool:
		b, ok := v.(bool)
		if !ok && isWord && text {
			parsed, err := strconv.ParseBool(word)
			b, ok = parsed, err == nil
		}
		if !ok {
			return "true or false"
		}
		s.value.SetBool(b)
	case int:
		n, ok := v.(int64)
		if !ok && isWord && text {
			parsed, err := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
			n, ok = parsed, err == nil
		}
		if !ok {
			return s.expectation()
		}
		s.value.SetInt(n)
	case []string:
		list, ok := words(v)
		if !ok && isWord && text {
			list, ok = splitList(word), true
		}
		if !ok {
			return s.expectation()
		}
		s.value.Set(reflect.ValueOf(list))
	}
	if !s.holds() {
		return s.expectation()
	}
	return ""
}

func words(v any) ([]string, bool) {
	items, ok := v.([]any)
	if !ok {
		return nil, false
	}
	list := make([]string, 0, len(items))
	for _, item := range items {
		s, ok := item.(string)
		if !ok {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

func splitList(s string) []string {
	list := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// found describes a value to the person who wrote it.
func found(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []any, []string:
		text, _ := json.Marshal(v) // strings and numbers of a TOML file
		return string(text)
	case map[string]any:
		return "a table"
	default:
		return fmt.Sprint(v)
	}
}

// together holds settings against each other.
func (l *loader) together(c *Config) {
	if c.RTP.PortMin >= c.RTP.PortMax {
		l.mistake("rtp.port_max", l.from("rtp.port_max", "rtp.port_min"), strconv.Itoa(c.RTP.PortMax), "a port above rtp.port_min, "+strconv.Itoa(c.RTP.PortMin))
	}
	if c.Ollama.FirstTokenSeconds > c.Ollama.TotalSeconds {
		l.mistake("ollama.total_seconds", l.from("ollama.total_seconds", "ollama.first_token_seconds"), strconv.Itoa(c.Ollama.TotalSeconds),
			"not less than ollama.first_token_seconds, "+strconv.Itoa(c.Ollama.FirstTokenSeconds))
	}
	l.engines(c.Speech)
	if listen := c.TURN.TLSListen; listen != "" && listen != "off" {
		for _, need := range []struct{ name, value string }{{"turn.cert", c.TURN.Cert}, {"turn.key", c.TURN.Key}} {
			if need.value == "" {
				l.mistake(need.name, l.from(need.name, "turn.tls_listen"), "nothing", "a PEM file, as turn.tls_listen is set")
			}
		}
	}
	if slices.ContainsFunc(c.SIP.ListenAlso, func(s string) bool { return strings.HasPrefix(s, "tls:") }) {
		l.needed("sip.listen_also", needed{"sip.tls_cert", c.SIP.TLSCert}, needed{"sip.tls_key", c.SIP.TLSKey})
	}
	if r := c.Recordings; r.S3Endpoint != "" {
		l.needed("recordings.s3_endpoint", needed{"recordings.s3_bucket", r.S3Bucket}, needed{"recordings.s3_key", r.S3Key}, needed{"recordings.s3_secret", r.S3Secret})
	}
	if m := c.Mail; m.IMAPHost != "" {
		l.needed("mail.imap_host", needed{"mail.smtp_host", m.SMTPHost}, needed{"mail.user", m.User}, needed{"mail.address", m.Address})
	}
}

type needed struct{ name, value string }

// needed is what must not be empty while another setting is not.
func (l *loader) needed(by string, all ...needed) {
	for _, need := range all {
		if need.value == "" {
			l.mistake(need.name, l.from(need.name, by), "nothing", "a value, as "+by+" is set")
		}
	}
}

// from says where the first of these was given.
func (l *loader) from(names ...string) string {
	for _, n := range names {
		if g, ok := l.given[n]; ok {
			return g.from
		}
	}
	return "default"
}

// instead names the setting that an unknown one may have been meant as.
func (l *loader) instead(key string) string {
	flat := func(s string) string {
		return strings.NewReplacer(".", "", "_", "", "-", "").Replace(strings.ToLower(s))
	}
	best, distance := "", 4
	for _, s := range l.all {
		d := editDistance(flat(key), flat(s.name))
		if d < distance {
			best, distance = s.name, d
		}
		if d := editDistance(flat(key), flat(s.key)); d < min(distance, 2) { // the section forgotten
			best, distance = s.name, d
		}
	}
	if best == "" {
		return "one of those that \"patchbay sample\" prints"
	}
	return "perhaps " + best
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// tomlTrouble keeps the place that the parser points at.
func tomlTrouble(err error) string {
	var d *toml.DecodeError
	if errors.As(err, &d) {
		line, column := d.Position()
		return fmt.Sprintf("line %d, column %d: %s", line, column, strings.TrimPrefix(d.Error(), "toml: "))
	}
	return err.Error()
}

// writeConfig prints the settings as TOML, without secrets; with comments it is the sample file.
func writeConfig(cfg Config, comments bool) string {
	var b strings.Builder
	if comments {
		b.WriteString("# Patchbay's settings, each with its default. Remove what you do not change.\n" +
			"# A setting may also come from the environment (http.listen: PATCHBAY_HTTP_LISTEN) or a flag (--http.listen),\n" +
			"# a secret from a file (PATCHBAY_MAIL_PASSWORD_FILE).\n\n")
	}
	section := ""
	for _, s := range settingsOf(&cfg) {
		if s.section != section {
			section = s.section
			b.WriteString("\n")
			if comments {
				comment(&b, s.about)
			}
			b.WriteString("[" + section + "]\n")
		}
		if comments && s.help != "" {
			help := s.help
			if s.env != "" {
				help += " Also from " + s.env + "."
			}
			comment(&b, help)
		}
		fmt.Fprintf(&b, "%s = %s\n", s.key, tomlValue(s.shown(s.value.Interface())))
	}
	return b.String()
}

// comment breaks text at 100 characters.
func comment(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 100 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// tomlValue: JSON's strings, numbers, booleans and lists are TOML's, too.
func tomlValue(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return `""`
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), `","`, `", "`)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
