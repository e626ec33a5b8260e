package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"gopkg.in/yaml.v3"

	"patchbay/channels"
)

// The generated code reads a request's shape but none of its limits. What follows holds requests and socket frames
// against openapi.yaml itself, as far as that file uses JSON Schema, and names the field that is wrong.

//go:embed openapi.yaml
var specText []byte

type schema struct {
	Ref        string             `yaml:"$ref"`
	Type       string             `yaml:"type"`
	Properties map[string]*schema `yaml:"properties"`
	Required   []string           `yaml:"required"`
	Closed     *bool              `yaml:"additionalProperties"`
	Enum       []string           `yaml:"enum"`
	Pattern    string             `yaml:"pattern"`
	MinLength  int                `yaml:"minLength"`
	MaxLength  *int               `yaml:"maxLength"`
	Minimum    *int64             `yaml:"minimum"`
	Maximum    *int64             `yaml:"maximum"`
	Nullable   bool               `yaml:"nullable"`
	Items      *schema            `yaml:"items"`
	MaxItems   *int               `yaml:"maxItems"`

	pattern *regexp.Regexp
}

type specParameter struct {
	Ref    string `yaml:"$ref"`
	Name   string `yaml:"name"`
	In     string `yaml:"in"`
	Schema schema `yaml:"schema"`
}

type operation struct {
	ID         string          `yaml:"operationId"`
	Parameters []specParameter `yaml:"parameters"`
	Body       *struct {
		Content map[string]struct {
			Schema schema `yaml:"schema"`
		} `yaml:"content"`
	} `yaml:"requestBody"`

	name string  // as the generated code calls it
	body *schema // nil: takes no JSON
	file string  // a file's media type as body; "": takes none
}

type spec struct {
	byRoute map[string]*operation // "POST /api/offers/:id/accept"
	fixed   map[string]*operation // those whose path has no parameter
	schemas map[string]*schema
}

func loadSpec() (*spec, error) {
	var file struct {
		Paths      map[string]map[string]yaml.Node `yaml:"paths"`
		Components struct {
			Schemas map[string]*schema `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(specText, &file); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	sp := &spec{byRoute: map[string]*operation{}, fixed: map[string]*operation{}, schemas: file.Components.Schemas}
	for name, sc := range sp.schemas {
		if err := sc.compile(); err != nil {
			return nil, fmt.Errorf("openapi.yaml: %s: %w", name, err)
		}
	}
	param := regexp.MustCompile(`\{(\w+)\}`)
	for path, methods := range file.Paths {
		for method, node := range methods {
			if method == "parameters" {
				continue
			}
			op := &operation{}
			if err := node.Decode(op); err != nil {
				return nil, fmt.Errorf("openapi.yaml: %s %s: %w", method, path, err)
			}
			op.name = strings.ToUpper(op.ID[:1]) + op.ID[1:]
			if op.Body != nil {
				for kind, media := range op.Body.Content {
					if kind == fiber.MIMEApplicationJSON {
						op.body = sp.resolve(&media.Schema)
					} else {
						op.file = kind
					}
				}
			}
			key := strings.ToUpper(method) + " "
			sp.byRoute[key+param.ReplaceAllString(path, ":$1")] = op
			if !strings.Contains(path, "{") {
				sp.fixed[key+path] = op
			}
		}
	}
	return sp, nil
}

func (sc *schema) compile() (err error) {
	if sc.Pattern != "" {
		if sc.pattern, err = regexp.Compile(sc.Pattern); err != nil {
			return err
		}
	}
	for _, p := range sc.Properties {
		err = errors.Join(err, p.compile())
	}
	if sc.Items != nil {
		err = errors.Join(err, sc.Items.compile())
	}
	return err
}

func (sp *spec) resolve(sc *schema) *schema {
	if name, ok := strings.CutPrefix(sc.Ref, "#/components/schemas/"); ok {
		return sp.schemas[name]
	}
	return sc
}

// check holds the query and the body of a request against its operation.
func (s *Server) check(c *fiber.Ctx, next fiber.Handler) error {
	op := s.spec.byRoute[c.Method()+" "+c.Route().Path]
	if op == nil {
		return fmt.Errorf("route %s %s is not in the spec", c.Method(), c.Route().Path)
	}
	// Every number in a path is an id, and further down 0 says that there is none yet.
	if id, err := strconv.ParseInt(c.Params("id"), 10, 64); err == nil && id < 1 {
		return channels.FailField(channels.Invalid, "id", "must be at least 1")
	}
	for _, p := range op.Parameters {
		if text := c.Query(p.Name); p.In == "query" && text != "" {
			if err := checkText(&p.Schema, p.Name, text); err != nil {
				return err
			}
		}
	}
	kind, _, err := mime.ParseMediaType(c.Get("Content-Type"))
	if op.file != "" && (err != nil || kind != op.file) {
		return channels.Fail(channels.Invalid, "The request is to be a file (Content-Type: "+op.file+").")
	}
	if op.body != nil {
		if err != nil || kind != fiber.MIMEApplicationJSON {
			return channels.Fail(channels.Invalid, "The request is to be JSON (Content-Type: application/json).")
		}
		if err := s.spec.checkJSON(op.body, c.Body()); err != nil {
			return err
		}
	}
	return next(c)
}

// checkJSON holds one JSON value against its schema.
func (sp *spec) checkJSON(sc *schema, data []byte) error {
	if !utf8.Valid(data) {
		return channels.Fail(channels.Invalid, "The text is not UTF-8.")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return channels.Fail(channels.Invalid, "The request is not JSON.")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return channels.Fail(channels.Invalid, "There is something behind the JSON.")
	}
	return sp.checkValue(sc, "", v)
}

func (sp *spec) checkValue(sc *schema, field string, v any) error {
	sc = sp.resolve(sc)
	wrong := func(text string) error { return channels.FailField(channels.Invalid, field, text) }
	if v == nil {
		if sc.Nullable {
			return nil
		}
		return wrong("A value is missing.")
	}
	switch sc.Type {
	case "object":
		fields, ok := v.(map[string]any)
		if !ok {
			return wrong("An object was expected.")
		}
		return sp.checkObject(sc, field, fields)
	case "string":
		text, ok := v.(string)
		if !ok {
			return wrong("A text was expected.")
		}
		return checkString(sc, field, text)
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong("true or false was expected.")
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return wrong("A list was expected.")
		}
		if sc.MaxItems != nil && len(list) > *sc.MaxItems {
			return wrong(fmt.Sprintf("At most %d entries, please; these are %d.", *sc.MaxItems, len(list)))
		}
		for _, item := range list {
			if err := sp.checkValue(sc.Items, field, item); err != nil {
				return err
			}
		}
	case "number":
		if n, ok := v.(json.Number); !ok {
			return wrong("A number was expected.")
		} else if _, err := n.Float64(); err != nil {
			return wrong("The number is too large.")
		}
	case "integer":
		n, ok := v.(json.Number)
		if !ok {
			return wrong("A whole number was expected.")
		}
		return checkText(sc, field, n.String())
	}
	return nil
}

func (sp *spec) checkObject(sc *schema, field string, fields map[string]any) error {
	path := func(name string) string {
		if field == "" {
			return name
		}
		return field + "." + name
	}
	for _, name := range sc.Required {
		if _, ok := fields[name]; !ok {
			return channels.FailField(channels.Invalid, path(name), "The field "+name+" is missing.")
		}
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names) // the same mistake gets the same answer
	for _, name := range names {
		p := sc.Properties[name]
		if p == nil {
			if sc.Closed != nil && !*sc.Closed {
				return channels.FailField(channels.Invalid, path(short(name)), "There is no such field.")
			}
			continue
		}
		if err := sp.checkValue(p, path(name), fields[name]); err != nil {
			return err
		}
	}
	return nil
}

func checkString(sc *schema, field, text string) error {
	wrong := func(format string, args ...any) error {
		return channels.FailField(channels.Invalid, field, fmt.Sprintf(format, args...))
	}
	n := utf8.RuneCountInString(text)
	switch {
	case strings.ContainsRune(text, 0): // Postgres stores none
		return wrong("The text holds the character NUL.")
	case n < sc.MinLength && n == 0:
		return wrong("This may not be empty.")
	case n < sc.MinLength:
		return wrong("At least %d characters, please.", sc.MinLength)
	case sc.MaxLength != nil && n > *sc.MaxLength:
		return wrong("At most %d characters, please; these are %d.", *sc.MaxLength, n)
	case sc.Enum != nil && !slices.Contains(sc.Enum, text):
		return wrong("One of %s was expected.", strings.Join(sc.Enum, ", "))
	case sc.pattern != nil && !sc.pattern.MatchString(text):
		return wrong("This is not of the expected form.")
	}
	return nil
}

// checkText is for numbers as they are written, and for parameters.
func checkText(sc *schema, field, text string) error {
	if sc.Type != "integer" {
		return checkString(sc, field, text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return channels.FailField(channels.Invalid, field, "A whole number was expected.")
	case sc.Minimum != nil && n < *sc.Minimum:
		return channels.FailField(channels.Invalid, field, fmt.Sprintf("At least %d was expected.", *sc.Minimum))
	case sc.Maximum != nil && n > *sc.Maximum:
		return channels.FailField(channels.Invalid, field, fmt.Sprintf("At most %d was expected.", *sc.Maximum))
	}
	return nil
}

// short keeps an answer small that repeats a name which somebody else chose.
func short(name string) string {
	if r := []rune(name); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return name
}
