package main

import (
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// expectations are the words for each rule; a range (1..60) and a choice (text|json) speak for themselves.
var expectations = map[string]string{
	"":              "a text in quotes",
	"some":          "a text that is not empty",
	"word":          "letters, digits, dots and dashes, or nothing",
	"listen":        "address:port, for example 127.0.0.1:8080",
	"listen-or-off": "address:port, for example 127.0.0.1:5060, or off",
	"weburl":        "an address like https://help.example.com, or nothing",
	"origins":       `a list of web sites, for example ["https://www.example.com"]`,
	"dburl":         "postgres://user:password@host/name, or nothing",
	"natsurl":       "nats://host:4222 (several with commas), or nothing",
	"ollama":        "an address like http://127.0.0.1:11434, or nothing",
	"models":        `a list like ["http://192.0.2.7:11434", "http://192.0.2.8:11434 qwen3:8b"]`,
	"ip":            "an IP address, or nothing",
	"host":          "a host's name or IP address, or nothing",
	"number":        "a telephone number: digits, perhaps after a +",
	"networks":      `a list of IPs and networks, for example ["192.0.2.1", "198.51.100.0/24"]`,
	"endpoints":     `a list of IP addresses with ports, for example ["192.0.2.7:8189"]`,
	"sockets":       `a list like ["tcp:0.0.0.0:5060", "tls:[::]:5061"]`,
	"agents":        `a list like ["bo: Bo Lind", "mira: Mira Solheim (supervisor)"]`,
	"bucket":        "a bucket's name: 3 to 63 small letters, digits, dots and dashes, or nothing",
	"remotes":       `a list like ["hall http://192.0.2.9:8000/v1 hear=whisper-1 say=kokoro voice=af_heart rate=24000 languages=en+de"], with names other than local and remote`,
	"remotekeys":    `a list like ["hall TOKEN"]`,
	"languages":     `a list of languages by their two letters, for example ["en", "de"]`,
	"mail":          "an address like help@example.com, or nothing",
}

func (s setting) expectation() string {
	if low, high, ok := strings.Cut(s.rule, ".."); ok {
		return "a whole number from " + low + " to " + high
	}
	if strings.Contains(s.rule, "|") {
		return "one of " + strings.ReplaceAll(s.rule, "|", ", ")
	}
	return expectations[s.rule]
}

var (
	wordPattern   = regexp.MustCompile(`^[A-Za-z0-9.-]{0,63}$`)
	numberPattern = regexp.MustCompile(`^\+?[0-9]{1,15}$`) // E.164, and the short ones of a PBX
	agentPattern  = regexp.MustCompile(`^([a-z0-9._@-]{1,100}): ([^()]{1,100}?)(?: \((agent|supervisor|admin)\))?$`)
	modelPattern  = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,150}(:[A-Za-z0-9._-]{1,80})?$`) // name:tag, perhaps from another registry
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	hostPattern   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?$`)
	tonguePattern = regexp.MustCompile(`^[a-z]{2}$`) // ISO 639-1
)

// holds tells whether the field's value keeps its rule.
func (s setting) holds() bool {
	if low, high, ok := strings.Cut(s.rule, ".."); ok {
		a, _ := strconv.ParseInt(low, 10, 64) // the tags are ours; TestEverySettingHasARule reads them
		b, _ := strconv.ParseInt(high, 10, 64)
		return s.value.Int() >= a && s.value.Int() <= b
	}
	if list, ok := s.value.Interface().([]string); ok {
		return !slices.ContainsFunc(list, func(item string) bool { return !holds(s.rule, item) })
	}
	if s.value.Kind() == reflect.String {
		return holds(s.rule, s.value.String())
	}
	return true
}

func holds(rule, v string) bool {
	if strings.Contains(rule, "|") {
		return slices.Contains(strings.Split(rule, "|"), v)
	}
	switch rule {
	case "some":
		return strings.TrimSpace(v) != ""
	case "word":
		return wordPattern.MatchString(v)
	case "listen":
		return isListen(v)
	case "listen-or-off":
		return v == "" || v == "off" || isListen(v)
	case "number":
		return numberPattern.MatchString(v)
	case "origins":
		return isWebURL(v, true)
	case "agents":
		return agentPattern.MatchString(v)
	case "networks":
		_, errNet := netip.ParsePrefix(v)
		_, errIP := netip.ParseAddr(v)
		return errNet == nil || errIP == nil
	case "sockets":
		transport, addr, _ := strings.Cut(v, ":")
		return (transport == "udp" || transport == "tcp" || transport == "tls") && isListen(addr)
	case "models":
		address, model, named := strings.Cut(v, " ")
		return address != "" && ollamaURL(address) != nil && (!named || modelPattern.MatchString(model))
	case "endpoints":
		_, err := netip.ParseAddrPort(v)
		return err == nil
	case "remotes":
		_, ok := parseRemote(v)
		return ok
	case "remotekeys":
		name, key, _ := strings.Cut(v, " ")
		return enginePattern.MatchString(name) && strings.TrimSpace(key) != ""
	case "languages":
		return tonguePattern.MatchString(v)
	case "":
		return true
	}
	if v == "" {
		return true
	}
	switch rule { // the rest may be left empty
	case "weburl":
		return isWebURL(v, false)
	case "dburl":
		u, err := url.Parse(v)
		return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
	case "natsurl":
		return !slices.ContainsFunc(strings.Split(v, ","), func(one string) bool { return !isNATS(strings.TrimSpace(one)) })
	case "ollama":
		return ollamaURL(v) != nil
	case "ip":
		_, err := netip.ParseAddr(v)
		return err == nil
	case "host":
		return validHost(v)
	case "bucket":
		return bucketPattern.MatchString(v)
	case "mail":
		a, err := mail.ParseAddress(v)
		return err == nil && a.Address == v
	}
	return false
}

func isListen(v string) bool {
	host, port, err := net.SplitHostPort(v)
	return err == nil && (host == "" || validHost(host)) && validPort(port)
}

// isWebURL; an origin has no path.
func isWebURL(v string, origin bool) bool {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !validHost(u.Hostname()) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	if u.Port() != "" && !validPort(u.Port()) {
		return false
	}
	return u.Path == "" || u.Path == "/" && !origin || !origin
}

func isNATS(v string) bool {
	u, err := url.Parse(v)
	return err == nil && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) && validHost(u.Hostname())
}

func validHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return hostPattern.MatchString(h) && !looksLikeIP(h)
}

// looksLikeIP: 127.0.0.300 is no host's name.
func looksLikeIP(h string) bool { return strings.Trim(h, "0123456789.") == "" }

func validPort(p string) bool {
	n, err := strconv.ParseUint(p, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == p
}
