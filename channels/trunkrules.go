package channels

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What telephone settings may hold. Clean brings each to the form in which it is stored, and refuses what cannot work
// or would be dangerous, in words for the person at the form.

func invalid(field, format string, args ...any) error {
	return FailField(Invalid, field, fmt.Sprintf(format, args...))
}

// faults are what is wrong with a form, one for each field, in the order of the form.
type faults []Fault

// note takes what a check has found, if anything.
func (f *faults) note(err error) {
	var e *Error
	if errors.As(err, &e) && !slices.ContainsFunc(*f, func(known Fault) bool { return known.Field == e.Field }) {
		*f = append(*f, Fault{e.Field, e.Text})
	}
}

// wrong notes that a field is not what was expected.
func (f *faults) wrong(field, format string, args ...any) { f.note(invalid(field, format, args...)) }

// err is all of it; nil: nothing is wrong.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	e := FailField(Invalid, f[0].Field, f[0].Text)
	if len(f) > 1 {
		e.Fields = f
	}
	return e
}

// Clean checks every field and names all that are wrong, in the order of the form.
func (t *Trunk) Clean() error {
	var f faults
	for _, clean := range []func(*faults){t.cleanWhere, t.cleanLogin, t.cleanSound, t.cleanNumbers, t.cleanPolicy, t.cleanRates} {
		clean(&f)
	}
	return f.err()
}

func (t *Trunk) cleanWhere(f *faults) {
	f.clean(&t.Name, func() (string, error) { return label("name", t.Name, 1) })
	f.each("servers", &t.Servers, 8, cleanServer)
	t.Domain = strings.ToLower(strings.TrimSpace(t.Domain))
	if t.Domain != "" && !isHost(t.Domain) {
		f.wrong("domain", "A host name such as sip.example.net was expected, not %s.", quoted(t.Domain))
	}
	f.each("sources", &t.Sources, 100, cleanSource)
	if t.Priority < 0 || t.Priority > 1000 {
		f.wrong("priority", "A number from 0 (first) to 1000 was expected.")
	}
	if len(t.Servers) == 0 && len(t.Sources) == 0 {
		f.wrong("servers", "Without a server we cannot call out, and without a source address nobody can call in: give one of the two.")
	}
	f.note(oneOf("transport", t.Transport, "udp", "tcp", "tls"))
}

func (t *Trunk) cleanLogin(f *faults) {
	t.Username, t.AuthUsername = strings.TrimSpace(t.Username), strings.TrimSpace(t.AuthUsername)
	for _, c := range []struct {
		bad         bool
		field, text string
	}{
		{!isUser(t.Username), "username", "Letters, digits and -_.!~*'()&=+$,;?/ were expected, at most 128 of them; the part behind an @ is the domain."},
		{!isQuotable(t.AuthUsername), "auth_username", "At most 128 characters without quotation marks were expected."},
		{len(t.Password) > 256 || strings.ContainsFunc(string(t.Password), unicode.IsControl), "password", "At most 256 characters in one line were expected."},
		{t.Register && len(t.Servers) == 0, "servers", "To register, a server is needed."},
		{t.Register && t.Username == "", "username", "To register, a user name is needed."},
		{t.Challenge && t.Username == "", "username", "To ask callers for the password, a user name is needed."},
		{t.Challenge && t.Password == "", "password", "To ask callers for the password, there must be one."},
		{t.RegisterSeconds < 60 || t.RegisterSeconds > 86400, "register_seconds", "60 to 86400 seconds were expected."},
		{t.OptionsSeconds != 0 && t.OptionsSeconds < 10 || t.OptionsSeconds > 3600, "options_seconds", "10 to 3600 seconds were expected, or 0 for never."},
	} {
		if c.bad {
			f.note(FailField(Invalid, c.field, c.text))
		}
	}
	t.HasPassword = t.Password != ""
	f.note(oneOf("digest", t.Digest, "md5", "sha256"))
}

// codecs in the words of SDP.
var codecs = []string{"PCMU", "PCMA", "G722", "opus"}

func (t *Trunk) cleanSound(f *faults) {
	f.each("codecs", &t.Codecs, len(codecs), func(field, codec string) (string, error) {
		i := slices.IndexFunc(codecs, func(known string) bool { return strings.EqualFold(known, codec) })
		if i < 0 {
			return "", invalid(field, "%s is not one of %s.", quoted(codec), strings.Join(codecs, ", "))
		}
		return codecs[i], nil
	})
	if len(t.Codecs) == 0 {
		f.wrong("codecs", "At least one codec is needed; PCMU and PCMA are understood everywhere.")
	}
	f.clean(&t.SignalIP, func() (string, error) { return cleanAnnounced("signal_ip", t.SignalIP) })
	f.clean(&t.MediaIP, func() (string, error) { return cleanAnnounced("media_ip", t.MediaIP) })
	f.note(oneOf("srtp", t.SRTP, "off", "optional", "required"))
	f.note(oneOf("srtp_keys", t.SRTPKeys, "sdes", "dtls"))
	// RFC 4568 7: SDES keys stand in the clear in the session description.
	if t.SRTP != "off" && t.SRTPKeys == "sdes" && t.Transport != "tls" {
		f.wrong("srtp_keys", "Over %s everybody on the way could read the keys: choose the transport TLS, or exchange the keys by DTLS.", strings.ToUpper(t.Transport))
	}
	f.note(oneOf("latch", t.Latch, "auto", "on", "off"))
}

var (
	countryCode    = regexp.MustCompile(`^[1-9][0-9]{0,2}$`)
	nationalPrefix = regexp.MustCompile(`^[0-9]{0,4}$`)
)

func (t *Trunk) cleanNumbers(f *faults) {
	t.CountryCode = strings.TrimPrefix(strings.TrimSpace(t.CountryCode), "+")
	t.NationalPrefix = strings.TrimSpace(t.NationalPrefix)
	if t.CountryCode != "" && !countryCode.MatchString(t.CountryCode) {
		f.wrong("country_code", "The country's code was expected, such as 49 for Germany or 1 for the USA and Canada.")
	}
	if !nationalPrefix.MatchString(t.NationalPrefix) {
		f.wrong("national_prefix", "The digits before an area code were expected, such as 0; empty where there are none.")
	}
	if t.NumberFormat == "national" && t.CountryCode == "" {
		f.wrong("country_code", "To dial in the national form, the own country's code is needed.")
	}
	if t.CallerNumber = strings.TrimSpace(t.CallerNumber); t.CallerNumber != "" {
		f.clean(&t.CallerNumber, func() (string, error) { return cleanNumber("caller_number", t.CallerNumber) })
	}
	f.note(oneOf("number_format", t.NumberFormat, "e164", "plain", "national", "asis"))
	f.note(oneOf("caller_header", t.CallerHeader, "from", "pai", "ppi", "rpid"))
	f.note(oneOf("called_header", t.CalledHeader, "ruri", "to", "pcpid", "diversion"))
}

const (
	mostCalls  = 100_000
	mostMoney  = 1_000_000
	mostMinute = 1000
	mostRates  = 2000
)

func (t *Trunk) cleanPolicy(f *faults) {
	f.each("allowed_prefixes", &t.AllowedPrefixes, 1000, cleanPrefix)
	f.each("blocked_prefixes", &t.BlockedPrefixes, 1000, cleanPrefix)
	if !t.International {
		for _, p := range t.AllowedPrefixes {
			if strings.HasPrefix(p, "+") && (t.CountryCode == "" || !strings.HasPrefix(p, "+"+t.CountryCode)) {
				f.wrong("allowed_prefixes", "%s lies outside the own country: allow calls abroad, or leave it out.", p)
			}
		}
	}
	if t.DialOut && len(t.Servers) == 0 {
		f.wrong("servers", "To call out, a server is needed.")
	}
	if t.DialOut && !t.International && t.CountryCode == "" && len(t.AllowedPrefixes) == 0 {
		f.wrong("country_code", "So that calls at home can be told from calls abroad, the own country's code is needed.")
	}
	for _, limit := range []struct {
		field string
		n     int
	}{{"max_calls", t.MaxCalls}, {"max_calls_out", t.MaxCallsOut}, {"max_calls_hour", t.MaxCallsHour}, {"max_calls_day", t.MaxCallsDay}} {
		if limit.n < 0 || limit.n > mostCalls {
			f.wrong(limit.field, "A number from 0 to %d was expected.", mostCalls)
		}
	}
}

func (t *Trunk) cleanRates(f *faults) {
	// NaN is in no range.
	if !(t.MaxMoneyDay >= 0 && t.MaxMoneyDay <= mostMoney) {
		f.wrong("max_money_day", "An amount from 0 to %d was expected.", mostMoney)
	}
	if !(t.MoneyPerMinute >= 0 && t.MoneyPerMinute <= mostMinute) {
		f.wrong("money_per_minute", "An amount from 0 to %d was expected.", mostMinute)
	}
	if len(t.Rates) > mostRates {
		f.wrong("rates", "At most %d rates were expected.", mostRates)
		return
	}
	if t.Rates == nil {
		t.Rates = []Rate{} // the column holds a list, not null
	}
	seen := map[string]bool{}
	for i, r := range t.Rates {
		p, err := cleanPrefix("rates", r.Prefix)
		f.note(err)
		switch {
		case err != nil:
			return
		case seen[p]:
			f.wrong("rates", "%s stands there twice.", p)
		case !(r.PerMinute >= 0 && r.PerMinute <= mostMinute):
			f.wrong("rates", "For %s an amount from 0 to %d was expected.", p, mostMinute)
		}
		seen[p], t.Rates[i].Prefix = true, p
	}
}

// clean brings one field to its form, or notes what is wrong with it.
func (f *faults) clean(field *string, form func() (string, error)) {
	text, err := form()
	if err != nil {
		f.note(err)
		return
	}
	*field = text
}

// each is clean for a list; a wrong one stays as it is.
func (f *faults) each(field string, list *[]string, most int, clean func(field, text string) (string, error)) {
	cleaned, err := each(field, *list, most, clean)
	if err != nil {
		f.note(err)
		return
	}
	*list = cleaned
}

// each cleans the entries of a list, leaves out empty ones and repetitions, and limits how many there are.
func each(field string, list []string, most int, clean func(field, text string) (string, error)) ([]string, error) {
	out := []string{} // a column holds a list, not null
	for _, text := range list {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		text, err := clean(field, text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if len(out) > most {
		return nil, invalid(field, "At most %d entries were expected; these are %d.", most, len(out))
	}
	return out, nil
}

func oneOf(field, text string, known ...string) error {
	if slices.Contains(known, text) {
		return nil
	}
	return invalid(field, "One of %s was expected.", strings.Join(known, ", "))
}

// label cleans one line for people: a name.
func label(field, text string, least int) (string, error) {
	text = strings.Join(strings.Fields(text), " ")
	n := utf8.RuneCountInString(text)
	if n < least || n > 80 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", invalid(field, "A name of %d to 80 characters was expected.", least)
	}
	return text, nil
}

// cleanServer takes host, host:port, an IP, or [v6]:port.
func cleanServer(field, text string) (string, error) {
	expected := invalid(field, "A server such as sip.example.net, 203.0.113.7:5060 or [2001:db8::7]:5061 was expected, not %s.", quoted(text))
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return addr.Unmap().String(), nil
	}
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Port() != 0 && ap.Addr().Zone() == "" {
		return ap.String(), nil
	}
	host, port, withPort := strings.Cut(strings.ToLower(text), ":")
	if !isHost(host) {
		return "", expected
	}
	if withPort {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", expected
		}
		return host + ":" + port, nil
	}
	return host, nil
}

// cleanAnnounced takes an address that we announce as ours, or none.
func cleanAnnounced(field, text string) (string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return "", nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
		return "", invalid(field, "An IP address such as 203.0.113.7 was expected, not %s.", quoted(text))
	}
	return addr.Unmap().String(), nil
}

// The widest networks that may call in: a wider one is a slip of the finger that lets strangers in.
const (
	widestV4 = 8
	widestV6 = 16
)

func cleanSource(field, text string) (string, error) {
	expected := invalid(field, "An address or a network such as 203.0.113.7 or 203.0.113.0/24 was expected, not %s.", quoted(text))
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
			return "", expected
		}
		return addr.Unmap().String(), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "", expected
	case p.Addr().Is4() && p.Bits() < widestV4, p.Addr().Is6() && p.Bits() < widestV6:
		return "", invalid(field, "%s is too wide: it would let strangers in. At least /%d for IPv4 and /%d for IPv6.", p, widestV4, widestV6)
	}
	return p.Masked().String(), nil
}

var prefix = regexp.MustCompile(`^(\+[1-9][0-9]{0,14}|[0-9]{1,15})$`)

// cleanPrefix takes the beginning of a number: +49 30, or of short numbers of a PBX: 2.
func cleanPrefix(field, text string) (string, error) {
	p := CleanPhone(text)
	if rest, ok := strings.CutPrefix(p, "00"); ok { // CleanPhone leaves it where it could be a short number
		p = "+" + rest
	}
	if !prefix.MatchString(p) {
		return "", invalid(field, "The beginning of a number such as +49 or +4930 was expected, not %s.", quoted(text))
	}
	return p, nil
}

var number = regexp.MustCompile(`^(\+[1-9][0-9]{5,14}|[0-9]{2,15})$`)

// cleanNumber takes E.164, or a short number as it is dialled.
func cleanNumber(field, text string) (string, error) {
	n := CleanPhone(text)
	if !number.MatchString(n) {
		return "", invalid(field, "A number such as +49 30 23125410, or a short one of 2 to 15 digits, was expected, not %s.", quoted(text))
	}
	return n, nil
}

var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// isHost takes a name or an address. What looks like a broken IPv4 address is no name (RFC 1123 2.1).
func isHost(host string) bool {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return len(host) <= 253 && hostName.MatchString(host) && strings.Trim(last, "0123456789") != ""
}

var user = regexp.MustCompile(`^[A-Za-z0-9\-_.!~*'()&=+$,;?/%]{0,128}$`) // RFC 3261 25.1: user

func isUser(text string) bool { return user.MatchString(text) }

// isQuotable tells whether the text can stand in a quoted string of a header without escapes.
func isQuotable(text string) bool {
	return len(text) <= 128 && utf8.ValidString(text) && !strings.ContainsAny(text, `"\`) && !strings.ContainsFunc(text, unicode.IsControl)
}

// quoted repeats what somebody wrote, cut to what fits into a sentence.
func quoted(text string) string {
	if r := []rune(text); len(r) > 40 {
		text = string(r[:40]) + "…"
	}
	return strconv.Quote(text)
}
