package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"patchbay/channels/voice/speech"
)

// TestRemoteEngines: several servers, each with its name, keys apart from them, and the house's order.
func TestRemoteEngines(t *testing.T) {
	file := settingsFile(t, `[speech]
prefer = "cellar"
remote_url = "http://192.0.2.7:8000/v1"
remote_hear_model = "whisper"
remotes = ["hall http://192.0.2.8:8000/v1 hear=ears say=mouth voice=anna rate=16000 languages=en+de", "cellar http://192.0.2.9/v1 say=kokoro"]
remote_keys = ["cellar hush"]
`)
	_, cfg, err := loadConfig([]string{"--config", file}, environment(t))
	if err != nil {
		t.Fatal(err)
	}
	got, ok := cfg.Speech.engines(slog.New(slog.DiscardHandler))
	want := []speech.Remote{
		{Name: "remote", URL: "http://192.0.2.7:8000/v1", HearModel: "whisper", SayRate: 24000, Languages: []string{}},
		{Name: "hall", URL: "http://192.0.2.8:8000/v1", HearModel: "ears", SayModel: "mouth", Voice: "anna", SayRate: 16000, Languages: []string{"en", "de"}},
		{Name: "cellar", URL: "http://192.0.2.9/v1", Key: "hush", SayModel: "kokoro"},
	}
	if diff := cmp.Diff(want, got.Remote); diff != "" || got.Prefer != "cellar" || !ok {
		t.Errorf("prefers %q, ok %v\n%s", got.Prefer, ok, diff)
	}
	if shown := writeConfig(cfg, false); strings.Contains(shown, "hush") || !strings.Contains(shown, "cellar http://192.0.2.9/v1") {
		t.Errorf("shown:\n%s", shown)
	}
	e, err := speech.Open(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
