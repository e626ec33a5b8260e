package main

import (
	"os"
	"path/filepath"
	"testing"

	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// TestBrowserTelephoneSettings: an admin sets the telephone up by hand: a trunk with a wrong and then the right server,
// a number, a desk telephone whose password is shown once, a sound that a queue plays then.
func TestBrowserTelephoneSettings(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, env...)
	h.openDesk(b, "ana", nil)
	fill := func(label, text string) {
		t.Helper()
		b.do("fill", frame{"page": "ana", "label": label, "value": text})
	}

	b.click("ana", "link", "^Telephone$")
	b.see("ana", "No trunk yet.")
	b.picture("ana", "admin-empty")
	b.click("ana", "button", "Add a trunk")
	fill("Name", "Fjordtel")
	fill("Servers", "sip:fjord tel")
	fill("Country code", "49")
	fill("Rates", "+4915 cheap")
	b.click("ana", "button", "Save the trunk")
	b.see("ana", "a price were expected")
	fill("Rates", "+4915 0,09")
	b.click("ana", "button", "Save the trunk")
	b.see("ana", "A server such as sip.example.net")
	b.do("until", frame{"page": "ana", "js": `document.activeElement.id === 'trunk-servers'`})
	b.picture("ana", "admin-trunk-wrong")
	fill("Servers", "127.0.0.1:9")
	b.click("ana", "button", "Save the trunk")
	b.do("see", frame{"page": "ana", "role": "button", "name": "Change Fjordtel"})
	h.eventually("the trunk is stored", `select servers = '{127.0.0.1:9}' and rates = '[{"prefix": "+4915", "per_minute": 0.09}]' from trunks`)
	b.click("ana", "button", "Test Fjordtel")
	b.see("ana", "Asked just now.")
	b.picture("ana", "admin-trunks")

	b.click("ana", "link", "Numbers")
	b.click("ana", "button", "Add a number")
	b.fill("ana", "#number-number", "hotline")
	b.click("ana", "button", "Save the number")
	b.see("ana", "A number such as +49 30")
	b.fill("ana", "#number-number", "+49 30 23125410")
	b.do("select", frame{"page": "ana", "css": "#number-trunk_id", "value": "Fjordtel"})
	fill("Languages of the responder", "English")
	b.click("ana", "button", "Save the number")
	b.see("ana", "Languages by their codes")
	fill("Languages of the responder", "en, DE")
	b.picture("ana", "admin-number")
	b.click("ana", "button", "Save the number")
	b.see("ana", "speaks en, de")
	b.see("ana", "+493023125410")
	b.picture("ana", "admin-numbers")

	b.click("ana", "link", "Desk telephones")
	b.click("ana", "button", "Add a telephone")
	b.fill("ana", "#device-username", "Ana-Desk")
	b.click("ana", "button", "Save the telephone")
	b.see("ana", "only once")
	b.do("see", frame{"page": "ana", "css": ".once code"})
	b.picture("ana", "admin-devices")
	b.click("ana", "button", "I have it")

	b.click("ana", "link", "Sounds")
	b.click("ana", "button", "Upload a sound")
	bad := filepath.Join(t.TempDir(), "jazz.wav")
	if err := os.WriteFile(bad, []byte("ID3\x04 in truth an MP3 file"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.do("files", frame{"page": "ana", "css": "#sound-sound", "path": bad})
	b.click("ana", "button", "^Upload$")
	b.see("ana", "but MP3")
	b.picture("ana", "admin-sound-wrong")
	good := filepath.Join(t.TempDir(), "jazz.wav")
	voicetest.WriteWAV(t, good, voicetest.Speech(agentSeed, 3e9, 48000), 48000)
	b.do("files", frame{"page": "ana", "css": "#sound-sound", "path": good})
	b.click("ana", "button", "^Upload$")
	b.see("ana", "Music, 0:03, not in use")
	// it can be heard as callers hear it
	b.do("evaluate", frame{"page": "ana", "js": `document.querySelector('.entries audio').play()`})
	b.do("until", frame{"page": "ana", "js": `document.querySelector('.entries audio').duration === 3`})
	b.picture("ana", "admin-sounds")

	b.click("ana", "link", "Queues")
	b.choose("ana", "Music in line and on hold", "jazz")
	b.do("click", frame{"page": "ana", "label": "Record calls"})
	b.click("ana", "button", "^Save ")
	b.see("ana", "Saved. It counts from the next call.")
	h.eventually("the queue plays it", `select record and music_id = (select id from prompts) from queues where record`)
	b.picture("ana", "admin-queues")
	b.click("ana", "link", "Sounds")
	b.see("ana", "used by")
	b.click("ana", "button", "Delete jazz")
	b.click("ana", "button", "Yes, delete jazz")
	b.see("ana", "It is in use by")

	b.click("ana", "link", "Trunks")
	b.dark("ana")
	b.picture("ana", "admin-dark-trunks")
	b.click("ana", "button", "Change Fjordtel")
	b.picture("ana", "admin-dark-trunk")
}
