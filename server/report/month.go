package report

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A month's proof as files: CSV to reckon with, and JSON whose Ed25519 signature shows that it is what this house counted.

// Month reads "2026-11" as a period in UTC.
func Month(text string) (from, to time.Time, err error) {
	from, err = time.Parse("2006-01", text)
	return from, from.AddDate(0, 1, 0), err
}

// Key signs reports. Its seed lies in the data folder.
type Key struct{ private ed25519.PrivateKey }

const keyFile = "report.key"

// OpenKey reads the key of a data folder, and makes one when there is none.
func OpenKey(dir string) (*Key, error) {
	file := filepath.Join(dir, keyFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		seed := make([]byte, ed25519.SeedSize)
		_, _ = rand.Read(seed) // never fails (crypto/rand)
		text = []byte(base64.StdEncoding.EncodeToString(seed) + "\n")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("report key: %w", err)
		}
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) { // another process of this folder was faster
			return OpenKey(dir)
		}
		if err != nil {
			return nil, fmt.Errorf("report key: %w", err)
		}
		_, err = f.Write(text)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return nil, fmt.Errorf("report key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("report key: %w", err)
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("report key: %s holds no key of ours", file)
	}
	return &Key{ed25519.NewKeyFromSeed(seed)}, nil
}

// Public is the key by which others verify, in base64.
func (k *Key) Public() string {
	return base64.StdEncoding.EncodeToString(k.private.Public().(ed25519.PublicKey))
}

// Signed is a report with its signature: Ed25519 over the report's compact JSON, so that spaces do not matter.
type Signed struct {
	Report    json.RawMessage `json:"report"`
	Algorithm string          `json:"algorithm"`
	PublicKey string          `json:"public_key"`
	Signature string          `json:"signature"`
}

// JSON is the signed report.
func (p *Proof) JSON(k *Key, company string) ([]byte, error) {
	body, err := json.Marshal(struct {
		Company string `json:"company"`
		*Proof
	}{company, p})
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(Signed{Report: body, Algorithm: "Ed25519", PublicKey: k.Public(),
		Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, body))}, "", "  ")
}

// Verify checks a signed report against the key it names and, if given, against the one that is expected.
func Verify(text []byte, expected string) (key string, err error) {
	var s Signed
	if err := json.Unmarshal(text, &s); err != nil {
		return "", fmt.Errorf("no signed report: %w", err)
	}
	public, err := base64.StdEncoding.DecodeString(s.PublicKey)
	if err != nil || len(public) != ed25519.PublicKeySize || s.Algorithm != "Ed25519" {
		return "", errors.New("no signed report: it names no Ed25519 key")
	}
	signature, err := base64.StdEncoding.DecodeString(s.Signature)
	var body bytes.Buffer
	if err = errors.Join(err, json.Compact(&body, s.Report)); err != nil {
		return "", fmt.Errorf("no signed report: %w", err)
	}
	if !ed25519.Verify(public, body.Bytes(), signature) {
		return "", errors.New("the report was changed, or its signature is another one's")
	}
	if expected != "" && expected != s.PublicKey {
		return "", fmt.Errorf("signed, but with the key %s", s.PublicKey)
	}
	return s.PublicKey, nil
}

// CSV is the rows for a spreadsheet.
func (p *Proof) CSV() ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write([]string{"customer", "queue", "channel", "target_s", "wishes", "in_hours", "open", "kept", "broken", "left", "kept_percent",
		"told_p50_s", "told_p95_s", "told_p99_s", "offered_p50_s", "offered_p95_s", "offered_p99_s", "word_p50_s", "word_p95_s", "word_p99_s"}) // Error says what went wrong
	for _, group := range []struct {
		who  string
		rows []ProofRow
	}{{"real", p.Rows}, {"synthetic", p.Synthetic}} {
		for _, r := range group.rows {
			cells := []string{group.who, plainCell(r.QueueName), r.Channel}
			for _, n := range []int{r.Target, r.Wishes, r.InHours, r.Open, r.Kept, r.Broken, r.Left} {
				cells = append(cells, strconv.Itoa(n))
			}
			cells = append(cells, number(r.Share))
			for _, t := range []Times{r.Acknowledged, r.Offered, r.FirstWord} {
				cells = append(cells, number(t.P50), number(t.P95), number(t.P99))
			}
			_ = w.Write(cells)
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// plainCell keeps a spreadsheet from reading a name as a formula.
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

func number(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'f', 3, 64)
}
