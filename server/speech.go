package main

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"patchbay/channels"
	"patchbay/channels/voice/speech"
)

// firstRemote is the name of the engine that the settings remote_url and its neighbours describe; the others are named in
// remotes.
const firstRemote = "remote"

var enginePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// parseRemote reads an item of speech.remotes: "hall http://192.0.2.9:8000/v1 hear=whisper-1 say=kokoro voice=af_heart
// rate=24000 languages=en+de". Of hear and say one is needed, all else may be left out.
func parseRemote(item string) (r speech.Remote, ok bool) {
	fields := strings.Fields(item)
	if len(fields) < 3 || !enginePattern.MatchString(fields[0]) || fields[0] == speech.Local || fields[0] == firstRemote || !isWebURL(fields[1], false) {
		return r, false
	}
	r.Name, r.URL = fields[0], fields[1]
	seen := map[string]bool{}
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		if seen[key] || value == "" {
			return r, false
		}
		seen[key] = true
		switch key {
		case "hear":
			r.HearModel = value
		case "say":
			r.SayModel = value
		case "voice":
			r.Voice = value
		case "rate":
			n, err := strconv.Atoi(value)
			if err != nil || n < speech.Narrow || n > 48000 {
				return r, false
			}
			r.SayRate = n
		case "languages":
			if r.Languages = strings.Split(value, "+"); slices.ContainsFunc(r.Languages, func(l string) bool { return !tonguePattern.MatchString(l) }) {
				return r, false
			}
		default:
			return r, false
		}
	}
	return r, r.HearModel != "" || r.SayModel != ""
}

// remotes are the engines by OpenAI's audio API, in their order.
func (c SpeechConfig) remotes() []speech.Remote {
	var all []speech.Remote
	if c.RemoteURL != "" {
		all = append(all, speech.Remote{Name: firstRemote, URL: c.RemoteURL, Key: c.RemoteKey, HearModel: c.RemoteHearModel, SayModel: c.RemoteSayModel,
			Voice: c.RemoteVoice, SayRate: c.RemoteRate, Languages: c.RemoteLanguages})
	}
	keys := map[string]string{}
	for _, item := range c.RemoteKeys {
		name, key, _ := strings.Cut(item, " ")
		keys[name] = strings.TrimSpace(key)
	}
	for _, item := range c.Remotes {
		if r, ok := parseRemote(item); ok { // else the settings were refused
			r.Key = keys[r.Name]
			all = append(all, r)
		}
	}
	return all
}

// engines is what channels/voice/speech is opened with; ok is false when there are none.
func (c SpeechConfig) engines(log *slog.Logger) (cfg speech.Config, ok bool) {
	cfg = speech.Config{Models: c.Models, Threads: c.Threads, Log: log, Remote: c.remotes(), Prefer: c.Prefer}
	if c.Prefer == firstRemote && c.RemoteURL == "" { // it may be named before it is there
		cfg.Prefer = ""
	}
	return cfg, c.Models != "" || len(cfg.Remote) > 0
}

// engineList is what a queue may choose from, in the house's order.
func (h *house) engineList() []channels.SpeechEngine {
	all := []channels.SpeechEngine{}
	if h.speech == nil {
		return all
	}
	for _, d := range h.speech.Describe() {
		at := slices.IndexFunc(all, func(e channels.SpeechEngine) bool { return e.Name == d.Engine })
		if at < 0 {
			at, all = len(all), append(all, channels.SpeechEngine{Name: d.Engine, Voices: []string{}, AnyVoice: d.Engine != speech.Local})
		}
		e := &all[at]
		if d.Job == speech.Hearing {
			e.Hears = true
		} else {
			e.Speaks, e.Voices = true, append(e.Voices, d.Voices...)
		}
		if d.Standing != speech.Ready && e.Trouble == "" {
			e.Trouble = fmt.Sprintf("%s (%s): %s", d.Standing, d.Job, d.Detail)
		}
	}
	return all
}

// engines holds the engines' names against each other.
func (l *loader) engines(c SpeechConfig) {
	if c.RemoteURL != "" && c.RemoteHearModel == "" && c.RemoteSayModel == "" {
		l.needed("speech.remote_url", needed{"speech.remote_hear_model", ""})
	}
	names := []string{speech.Local}
	for _, r := range c.remotes() {
		if slices.Contains(names, r.Name) {
			l.mistake("speech.remotes", l.from("speech.remotes"), fmt.Sprintf("%q twice", r.Name), "a name of its own for each")
		}
		names = append(names, r.Name)
	}
	if !slices.Contains(names, c.Prefer) && c.Prefer != firstRemote {
		l.mistake("speech.prefer", l.from("speech.prefer"), found(c.Prefer), "one of "+strings.Join(names, ", "))
	}
	for _, item := range c.RemoteKeys {
		if name, _, _ := strings.Cut(item, " "); !slices.Contains(names, name) {
			l.mistake("speech.remote_keys", l.from("speech.remote_keys"), "a key for "+found(name), "one for an engine of speech.remotes")
		}
	}
}
