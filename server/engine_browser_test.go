package main

import (
	"context"
	"testing"

	"patchbay/channels/voice/speech/speechtest"
	"patchbay/llm/llmtest"
)

// TestBrowserEngines: an admin chooses what hears and what speaks for a queue; a wrong choice is refused with the names of
// those that are there, and the next call is heard and spoken to by the chosen ones.
func TestBrowserEngines(t *testing.T) {
	hall, cellar := speechtest.New(t), speechtest.New(t)
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, append(env, "PATCHBAY_SPEECH_REMOTES=hall "+hall.URL+"/v1 hear=ear say=mouth languages=en, cellar "+cellar.URL+"/v1 hear=ear say=mouth voice=bo languages=en")...)
	h.openDesk(b, "ana", nil)
	picture := func(name string) {
		t.Helper()
		b.do("evaluate", frame{"page": "ana", "js": `document.querySelector('#line-hear_engine').scrollIntoView({block: 'center'})`})
		b.picture("ana", "engine-"+name)
	}
	b.click("ana", "link", "^Waiting line$")
	b.click("ana", "link", "Queues")
	b.click("ana", "button", "Change Service")
	b.choose("ana", "Hears", "cellar")
	b.fill("ana", "#line-say_voice", "zoe")
	b.click("ana", "button", "Save the queue")
	b.see("ana", "choose which one speaks")
	picture("wrong")
	b.choose("ana", "Speaks", "hall")
	picture("chosen")
	b.click("ana", "button", "Save the queue")
	h.eventually("the choice is stored", `select hear_engine = 'cellar' and say_engine = 'hall' and say_voice = 'zoe' from queues where name = 'Service'`)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := h.talker(ctx, "+4930555")
	c.Says("how long can i send back a tent")
	h.eventually("the words are here", `select exists (select from messages where author = 'contact' and body = 'how long can i send back a tent')`)
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	if len(cellar.Heard()) == 0 || len(hall.Heard()) != 0 || len(cellar.Said()) != 0 || len(hall.Said()) == 0 || hall.Said()[0].Voice != "zoe" {
		t.Errorf("the cellar heard %d and said %d, the hall %d and %d", len(cellar.Heard()), len(cellar.Said()), len(hall.Heard()), len(hall.Said()))
	}

	one[string](h, `update queues set hear_engine = 'attic' where name = 'Service' returning name`)
	b.do("evaluate", frame{"page": "ana", "js": `location.reload()`})
	b.click("ana", "button", "Change Service")
	b.see("ana", "“attic” is not in the settings any more")
	b.click("ana", "button", "Save the queue")
	b.see("ana", "No speech engine is called “attic”. What hears: hall, cellar.")
	b.dark("ana")
	picture("gone-dark")
}
