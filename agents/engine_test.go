package agents

import (
	"errors"
	"strings"
	"testing"

	"patchbay/channels"
)

func TestCheckEngines(t *testing.T) {
	t.Parallel()
	there := []channels.SpeechEngine{
		{Name: "local", Hears: true, Speaks: true, Voices: []string{"joe", "ann"}},
		{Name: "hall", Hears: true, Speaks: true, Voices: []string{"bo"}, AnyVoice: true},
		{Name: "ears", Hears: true, AnyVoice: true},
	}
	for _, c := range []struct {
		name             string
		hear, say, voice string
		field, says      string
	}{
		{name: "the house's order"},
		{name: "with spaces", hear: " hall ", say: " local ", voice: " ann "},
		{name: "a voice that we do not know", say: "hall", voice: "zoe"},
		{name: "unknown ear", hear: "hal", field: "hear_engine", says: "No speech engine is called “hal”. What hears: local, hall, ears."},
		{name: "unknown mouth", say: "attic", field: "say_engine", says: "What speaks: local, hall."},
		{name: "an ear that shall speak", say: "ears", field: "say_engine", says: "is there, but not one that speaks. What speaks: local, hall."},
		{name: "unknown voice", say: "local", voice: "zoe", field: "say_voice", says: "local has no voice “zoe”. It has: joe, ann."},
		{name: "a voice without an engine", voice: "joe", field: "say_voice", says: "choose which one speaks"},
		{name: "an endless voice", say: "hall", voice: strings.Repeat("x", 101), field: "say_voice", says: "100 characters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewQueue()
			s.HearEngine, s.SayEngine, s.SayVoice = c.hear, c.say, c.voice
			err := s.CheckEngines(there)
			var told *channels.Error
			switch {
			case c.field == "" && err != nil:
				t.Error(err)
			case c.field == "" && (strings.Contains(s.HearEngine+s.SayEngine+s.SayVoice, " ")):
				t.Errorf("kept %+v", s)
			case c.field == "":
			case !errors.As(err, &told) || told.Field != c.field || !strings.Contains(told.Text, c.says):
				t.Errorf("%v, want %s: %s", err, c.field, c.says)
			}
		})
	}
	s := NewQueue()
	s.HearEngine = "hall"
	if err := s.CheckEngines(nil); err == nil || !strings.Contains(err.Error(), "settings file") {
		t.Errorf("without engines: %v", err)
	}
}
