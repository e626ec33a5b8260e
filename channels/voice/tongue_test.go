package voice

import (
	"strings"
	"testing"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
	"patchbay/server/db/dbtest"
)

// TestTalkInTheCallersLanguage: a number of several languages greets in the first, offers the others by key in their own
// words, and goes over to one by its key or by the caller's first sentence.
func TestTalkInTheCallersLanguage(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	ctx := testCtx(t)
	if _, err := pool.Exec(ctx, `insert into numbers (number, languages) values ('`+number+`', '{en,de,xx}')`); err != nil {
		t.Fatal(err)
	}
	h := newTalkHouse(t, func(cfg *Config) { cfg.Pool = pool })
	until(t, ctx, "number read", func() bool {
		n, ok := h.voice.trunks.Number(number)
		return ok && len(n.Languages) == 3
	})
	offer := strings.ReplaceAll(dialogue.Phrase("de", "language"), "{{key}}", "zwei")
	help := dialogue.Phrase("de", "help")

	c := h.call(t, ctx)
	c.Hears(dialogue.Phrase("en", "help") + " " + offer) // there is no engine for the third
	c.Forget()
	c.RTP.Press(ctx, '2')
	c.Hears(help)
	c.Says("Wo ist meine Bestellung")
	if in := h.expect(ctx, channels.Words); in.Body != "Wo ist meine Bestellung" {
		t.Errorf("words: %+v", in)
	}
	h.answers("Sie kommt am 3. Mai.")
	c.Hears("Sie kommt am dritten Mai.")
	h.expect(ctx, channels.Said)
	h.hangsUp(c)

	ctx = testCtx(t)
	c = h.call(t, ctx)
	c.Says("Wo ist denn meine Bestellung bitte") // into the greeting
	h.expect(ctx, channels.Words)
	c.Forget()
	h.answers("Sie kostet 12,50 EUR.")
	c.Hears("Sie kostet zwölf Euro fünfzig.")
	if strings.Contains(c.Heard(), offer) {
		t.Error("a language is offered to one who speaks it")
	}
	h.expect(ctx, channels.Said)
	h.hangsUp(c)
}
