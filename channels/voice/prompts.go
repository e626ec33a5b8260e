package voice

import (
	"embed"
	"fmt"

	"patchbay/channels/voice/media"
)

//go:embed prompts/*.wav
var promptFiles embed.FS

// Prompts by name; the words are in prompts/make.sh.
const (
	promptGreeting = "greeting"
	promptHours    = "hours"
	promptReturns  = "returns"
	promptAgain    = "again"
	promptUnknown  = "unknown"
	promptWaiting  = "waiting"
	promptBack     = "back_in_line"
	promptMusic    = "music"

	promptNotReached = "not_reached"
	promptRecorded   = "recorded"
	promptConnecting = "connecting"
	promptEcho       = "echo_test"

	promptThrough     = "through"
	promptThroughRead = "through_read"
	promptNotTaken    = "not_taken"
	promptTranscribed = "transcribed"

	promptNobodyHere      = "nobody_here"
	promptVoicemailOffer  = "voicemail_offer"
	promptVoicemail       = "voicemail"
	promptVoicemailKept   = "voicemail_kept"
	promptVoicemailStays  = "voicemail_stays"
	promptVoicemailEmpty  = "voicemail_empty"
	promptVoicemailFailed = "voicemail_failed"
	promptBeep            = "beep" // made, not spoken
)

type prompts map[string]media.Prompt

// loadPrompts reads what calls need, and the ones that keys name.
func loadPrompts(keys map[string]string) (prompts, error) {
	names := []string{promptGreeting, promptAgain, promptUnknown, promptWaiting, promptBack, promptMusic, promptNotReached, promptRecorded,
		promptConnecting, promptEcho, promptThrough, promptThroughRead, promptNotTaken, promptTranscribed, "place_more", "wait_more",
		promptNobodyHere, promptVoicemailOffer, promptVoicemail, promptVoicemailKept, promptVoicemailStays, promptVoicemailEmpty, promptVoicemailFailed}
	for i := range furthest {
		names = append(names, fmt.Sprintf("place_%d", i+1))
	}
	for _, w := range waitPrompts {
		names = append(names, w.name)
	}
	names = append(names, callBackPrompts()...)
	for key, name := range keys {
		if len(key) != 1 || key < "1" || key > "9" {
			return nil, fmt.Errorf("key %q: must be 1 to 9", key)
		}
		names = append(names, name)
	}
	p := make(prompts, len(names))
	for _, name := range names {
		wav, err := promptFiles.ReadFile("prompts/" + name + ".wav")
		if err != nil {
			return nil, fmt.Errorf("prompt: %w", err)
		}
		if p[name], err = media.ParsePrompt(wav); err != nil {
			return nil, fmt.Errorf("prompt %s: %w", name, err)
		}
	}
	p[promptBeep] = media.Beep()
	return p, nil
}
