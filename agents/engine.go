package agents

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"patchbay/channels"
)

// CheckEngines refuses speech engines and voices that are not there, and says which are.
func (s *QueueSettings) CheckEngines(there []channels.SpeechEngine) error {
	s.HearEngine, s.SayEngine, s.SayVoice = strings.TrimSpace(s.HearEngine), strings.TrimSpace(s.SayEngine), strings.TrimSpace(s.SayVoice)
	if _, err := engine("hear_engine", s.HearEngine, "hears", there, func(e channels.SpeechEngine) bool { return e.Hears }); err != nil {
		return err
	}
	speaks, err := engine("say_engine", s.SayEngine, "speaks", there, func(e channels.SpeechEngine) bool { return e.Speaks })
	switch {
	case err != nil:
		return err
	case s.SayVoice == "":
	case speaks == nil:
		return invalid("say_voice", "A voice belongs to an engine: choose which one speaks.")
	case utf8.RuneCountInString(s.SayVoice) > 100:
		return invalid("say_voice", "At most 100 characters.")
	case !speaks.AnyVoice && len(speaks.Voices) > 0 && !slices.Contains(speaks.Voices, s.SayVoice):
		return invalid("say_voice", "%s has no voice “%s”. It has: %s.", speaks.Name, s.SayVoice, strings.Join(speaks.Voices, ", "))
	}
	return nil
}

// engine finds one that does something; nil: the house's order.
func engine(field, name, does string, there []channels.SpeechEngine, can func(channels.SpeechEngine) bool) (*channels.SpeechEngine, error) {
	if name == "" {
		return nil, nil
	}
	var able []string
	known := false
	for i, e := range there {
		if e.Name == name && can(e) {
			return &there[i], nil
		}
		known = known || e.Name == name
		if can(e) {
			able = append(able, e.Name)
		}
	}
	why := fmt.Sprintf("No speech engine is called “%s”.", name)
	if known {
		why = fmt.Sprintf("The speech engine “%s” is there, but not one that %s.", name, does)
	}
	if len(able) == 0 {
		return nil, invalid(field, "%s None that %s is set: see speech in the settings file.", why, does)
	}
	return nil, invalid(field, "%s What %s: %s.", why, does, strings.Join(able, ", "))
}
