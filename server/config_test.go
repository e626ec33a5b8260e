package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the sample file anew")

const sampleFile = "../deploy/patchbay.sample.toml"

// at home there are no settings of this machine.
func environment(t *testing.T, more ...string) []string {
	t.Helper()
	t.Chdir(t.TempDir())
	return append([]string{"HOME=/home/ana", "PATH=/bin"}, more...)
}

func settingsFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "patchbay.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSampleFileIsTheDefaults(t *testing.T) {
	want := writeConfig(defaultConfig(), true)
	if *update {
		if err := os.WriteFile(sampleFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("run: go test ./server -run TestSampleFileIsTheDefaults -update\n%s", diff)
	}
	name := settingsFile(t, string(got))
	env := environment(t)
	_, fromSample, err := loadConfig([]string{"--config", name}, env)
	if err != nil {
		t.Fatal(err)
	}
	_, fromNothing, err := loadConfig(nil, env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromNothing, fromSample); diff != "" {
		t.Error(diff)
	}
}

func TestEachPlaceGoesBeforeTheLast(t *testing.T) {
	name := settingsFile(t, `
demo = true
[http]
listen = "127.0.0.1:1001"
public_url = "https://help.example.com/"
[ollama]
total_seconds = 30
[database]
url = "postgres://file/x"
[nats]
[sip]
listen = "off"
`)
	env := environment(t, "PATCHBAY_CONFIG="+name, "PATCHBAY_HTTP_LISTEN=127.0.0.1:1002", "PATCHBAY_OLLAMA_TOTAL_SECONDS=40",
		"PATCHBAY_SIP_TRUNKS=192.0.2.1, 198.51.100.0/24", "DATABASE_URL=postgres://wellknown/x", "PATCHBAY_DATABASE_URL=postgres://ours/x",
		"OLLAMA_HOST=0.0.0.0", "NATS_URL=", "PATCHBAY_TEST_ANYTHING=1")
	order, cfg, err := loadConfig([]string{"serve", "--http.listen=127.0.0.1:1003", "--no-demo", "--http.allowed-origins=https://a.example,https://b.example"}, env)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Node.Name, _ = os.Hostname()
	want.DataDir = "/var/lib/patchbay"
	if os.Geteuid() != 0 {
		want.DataDir = "/home/ana/.local/share/patchbay"
	}
	want.TURN.Listen, want.TURN.TLSListen = "", ""
	want.Recordings.Dir = filepath.Join(want.DataDir, "recordings")
	want.HTTP = HTTPConfig{Listen: "127.0.0.1:1003", PublicURL: "https://help.example.com", TrustedProxies: []string{}, AllowedOrigins: []string{"https://a.example", "https://b.example"}}
	want.Ollama.TotalSeconds = 40
	want.Ollama.Host = "http://127.0.0.1:11434"
	want.Database.URL = "postgres://ours/x"
	want.SIP.Listen = ""
	want.SIP.Trunks = []string{"192.0.2.1", "198.51.100.0/24"}
	want.Mail.Name = want.Company.Name
	if diff := cmp.Diff(want, cfg); diff != "" || order.name != "serve" {
		t.Errorf("%s: %s", order.name, diff)
	}
}

func mistakes(t *testing.T, args, env []string) []mistake {
	t.Helper()
	_, _, err := loadConfig(args, env)
	var all *configError
	if !errors.As(err, &all) {
		t.Fatalf("error %v", err)
	}
	return all.Mistakes
}

func TestThreeMistakesInOneFileAreReportedTogether(t *testing.T) {
	name := settingsFile(t, `
[http]
lisen = "127.0.0.1:8080"
[ollama]
total_seconds = "sixty"
[rtp]
port_min = 80
`)
	_, _, err := loadConfig([]string{"--config", name}, environment(t))
	if err == nil {
		t.Fatal("no error")
	}
	want := `3 mistakes in the settings:
  http.lisen (patchbay.toml): found an unknown setting; expected perhaps http.listen
  ollama.total_seconds (patchbay.toml): found "sixty"; expected a whole number from 1 to 600
  rtp.port_min (patchbay.toml): found 80; expected a whole number from 1024 to 65534`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		name, file, env, flag string
		field, says           string
	}{
		{name: "number where text belongs", file: "[http]\nlisten = 8080", field: "http.listen", says: "found 8080"},
		{name: "fraction", file: "[rtp]\nport_min = 17000.5", field: "rtp.port_min", says: "17000.5"},
		{name: "text where a list belongs", file: "[sip]\ntrunks = \"192.0.2.1\"", field: "sip.trunks", says: "a list"},
		{name: "list of numbers", file: "[sip]\ntrunks = [1, 2]", field: "sip.trunks", says: "[1,2]"},
		{name: "table where text belongs", file: "[http.listen]\nport = 1", field: "http.listen", says: "a table"},
		{name: "text where a table belongs", file: "http = 1", field: "http", says: "unknown"},
		{name: "no port", env: "PATCHBAY_HTTP_LISTEN=localhost", field: "http.listen", says: "address:port"},
		{name: "port too high", flag: "--sip.listen=127.0.0.1:65536", field: "sip.listen", says: "--sip.listen"},
		{name: "not an IP", env: "PATCHBAY_SIP_EXTERNAL_IP=1.2.3.400", field: "sip.external_ip", says: "IP address"},
		{name: "not a network", env: "PATCHBAY_SIP_TRUNKS=10.0.0.0/40", field: "sip.trunks", says: "10.0.0.0/40"},
		{name: "origin with a path", env: "PATCHBAY_HTTP_ALLOWED_ORIGINS=https://a.example/shop", field: "http.allowed_origins", says: "web sites"},
		{name: "not Postgres", env: "DATABASE_URL=mysql://u:hush@h/x", field: "database.url", says: "u:xxxxx@h"},
		{name: "not NATS", env: "NATS_URL=http://h:1", field: "nats.url", says: "nats://"},
		{name: "not an Ollama", env: "OLLAMA_HOST=ftp://h", field: "ollama.host", says: "OLLAMA_HOST"},
		{name: "word for a truth", env: "PATCHBAY_DEMO=perhaps", field: "demo", says: "true or false"},
		{name: "one of three", file: "[mail]\nimap_tls = \"ssl\"", field: "mail.imap_tls", says: "none, starttls, tls"},
		{name: "number with letters", file: "[sip]\nnumber = \"call-me\"", field: "sip.number", says: "digits"},
		{name: "ports the wrong way round", file: "[rtp]\nport_min = 20000", field: "rtp.port_max", says: "above rtp.port_min, 20000"},
		{name: "not a list of Ollamas", file: "[ollama]\nhosts = [\"http://gpu2:11434 qwen3:8b extra\"]", field: "ollama.hosts", says: "a list like"},
		{name: "first token after the end", file: "[ollama]\ntotal_seconds = 5", field: "ollama.total_seconds", says: "not less"},
		{name: "half a mailbox", file: "[mail]\nimap_host = \"mail.example.com\"\nsmtp_host = \"mail.example.com\"\nuser = \"help\"", field: "mail.address", says: "mail.imap_host is set"},
		{name: "relay with TLS and half a certificate", file: "[turn]\ntls_listen = \"0.0.0.0:5349\"\ncert = \"cert.pem\"", field: "turn.key", says: "turn.tls_listen is set"},
		{name: "half an S3", file: "[recordings]\ns3_endpoint = \"https://s3.example.com\"\ns3_bucket = \"calls\"\ns3_key = \"k\"", field: "recordings.s3_secret", says: "recordings.s3_endpoint is set"},
		{name: "an engine without a job", file: "[speech]\nremotes = [\"hall http://192.0.2.9:8000/v1\"]", field: "speech.remotes", says: "hear=whisper-1"},
		{name: "an engine called as ours", env: "PATCHBAY_SPEECH_REMOTES=local http://192.0.2.9:8000/v1 hear=x", field: "speech.remotes", says: "names other than local"},
		{name: "two engines of one name", file: "[speech]\nremotes = [\"hall http://a/v1 hear=x\", \"hall http://b/v1 say=x\"]", field: "speech.remotes", says: "a name of its own"},
		{name: "a preferred engine that is none", file: "[speech]\nprefer = \"hal\"\nremotes = [\"hall http://a/v1 hear=x\"]", field: "speech.prefer", says: "one of local, hall"},
		{name: "a key for nobody", file: "[speech]\nremote_keys = [\"hal hush\"]", field: "speech.remote_keys", says: "an engine of speech.remotes"},
		{name: "a key without a name", env: "PATCHBAY_SPEECH_REMOTE_KEYS=hush", field: "speech.remote_keys", says: "hall TOKEN"},
		{name: "a bucket in capitals", file: "[recordings]\ns3_bucket = \"Calls\"", field: "recordings.s3_bucket", says: "small letters"},
		{name: "days below none", file: "[recordings]\nkeep_days = -1", field: "recordings.keep_days", says: "0 to 36500"},
		{name: "media without a port", file: "[turn]\nmedia = [\"192.0.2.7\"]", field: "turn.media", says: "with ports"},
		{name: "broken file", file: "[http\nlisten = 1", field: "settings file", says: "line 1"},
		{name: "twice in the file", file: "demo = true\ndemo = false", field: "settings file", says: "demo"},
		{name: "file that is not there", flag: "--config=/nowhere/patchbay.toml", field: "settings file", says: "no such file"},
		{name: "unknown variable", env: "PATCHBAY_LOG_LEVELS=info", field: "PATCHBAY_LOG_LEVELS", says: "perhaps log.level"},
		{name: "secret's file is not there", env: "PATCHBAY_MAIL_PASSWORD_FILE=/nowhere/p", field: "mail.password", says: "can be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var args, env []string
			if c.file != "" {
				args = append(args, "--config", settingsFile(t, c.file))
			}
			if c.flag != "" {
				args = append(args, c.flag)
			}
			if c.env != "" {
				env = append(env, c.env)
			}
			all := mistakes(t, args, environment(t, env...))
			text := (&configError{all}).Error()
			if len(all) != 1 || all[0].Field != c.field || !strings.Contains(text, c.says) {
				t.Errorf("%s\nwant one mistake of %s that says %q", text, c.field, c.says)
			}
			if strings.Contains(text, "hush") {
				t.Error("tells a secret")
			}
		})
	}
}

func TestSecretsComeFromFilesAndAreNotShown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hush hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, cfg, err := loadConfig([]string{"config"}, environment(t, "PATCHBAY_MAIL_PASSWORD_FILE="+file, "DATABASE_URL=postgres://u:hush@h/x?password=hush"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Mail.Password != "hush hush" {
		t.Errorf("password %q", cfg.Mail.Password)
	}
	shown := writeConfig(cfg, false)
	if strings.Contains(shown, "hush") || !strings.Contains(shown, `password = "***"`) || !strings.Contains(shown, "u:xxxxx@h") {
		t.Error(shown)
	}
	all := mistakes(t, nil, environment(t, "PATCHBAY_MAIL_PASSWORD_FILE="+file, "PATCHBAY_MAIL_PASSWORD=hush"))
	if len(all) != 1 || all[0].Found != "both" {
		t.Errorf("%+v", all)
	}
	if _, _, err := loadConfig([]string{"--mail.password=hush"}, environment(t)); err == nil {
		t.Error("a password on the command line, where everybody sees it")
	}
}

// TestEverySettingHasARule: a rule that holds does not know would refuse everything.
func TestEverySettingHasARule(t *testing.T) {
	seen := map[string]bool{}
	cfg := defaultConfig()
	for _, s := range settingsOf(&cfg) {
		if seen[s.name] || s.key == "" {
			t.Errorf("%q twice or without a name", s.name)
		}
		seen[s.name] = true
		if s.value.Kind() == reflect.Int && !strings.Contains(s.rule, "..") {
			t.Errorf("%s has no range", s.name)
		}
		if !s.holds() {
			t.Errorf("%s: the default breaks its own rule %q", s.name, s.rule)
		}
		if s.value.Kind() != reflect.Bool && s.expectation() == "" {
			t.Errorf("%s: no words for rule %q", s.name, s.rule)
		}
	}
}

func TestOllamaURL(t *testing.T) {
	for in, want := range map[string]string{
		"localhost":               "http://localhost:11434",
		"127.0.0.1:11500":         "http://127.0.0.1:11500",
		":11500":                  "http://127.0.0.1:11500",
		"0.0.0.0":                 "http://127.0.0.1:11434",
		"[::1]:11500":             "http://[::1]:11500",
		"https://gpu.example.com": "https://gpu.example.com:443",
		"http://gpu:8000/ollama/": "http://gpu:8000/ollama",
		"gpu:port":                "",
		"tcp://gpu":               "",
		"a b":                     "",
	} {
		got := ""
		if u := ollamaURL(in); u != nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCommand(t *testing.T) {
	env := environment(t)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"version", 0, "patchbay"},
		{"sample", 0, "[http]"},
		{"config --http.listen=127.0.0.1:99", 0, `listen = "127.0.0.1:99"`},
		{"config --http.listen=99", 2, "a mistake in the settings"},
		{"dance", 2, "dance"},
	} {
		var out strings.Builder
		if code := command(t.Context(), strings.Fields(c.args), env, strings.NewReader(""), &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: code %d, %s", c.args, code, out.String())
		}
	}
}
