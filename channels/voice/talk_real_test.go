package voice

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/turn"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// dialForReal calls for somebody who speaks with a real voice, and hears the first words of the greeting.
func (h *talkHouse) dialForReal(t *testing.T, ctx context.Context) *voicetest.Talker {
	t.Helper()
	c := &voicetest.Talker{T: t, Ctx: ctx, Call: h.dial(ctx, voicetest.Invite{})}
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.Plays(make([]int16, 3*voicetest.Rate))
	return c
}

// understood is what the house understands of it.
func (h *talkHouse) understood(c *voicetest.Talker, said []int16) string {
	c.T.Helper()
	c.Plays(append(said, make([]int16, voicetest.Rate)...))
	words := h.expect(c.Ctx, channels.Words).Body
	c.T.Logf("heard %q", words)
	return words
}

// TestTalkForReal: a caller with a real voice is understood by the real ear at 8 kHz, asks, hears the answer from the real
// voice, and says the wish; what the telephone heard is recognised back to text.
func TestTalkForReal(t *testing.T) {
	e := voicetest.Engines(t, nil)
	h := newTalkHouse(t, func(cfg *Config) { cfg.Speech = e })
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	voice, understand := voicetest.Voice(t, e), voicetest.Understand(t, e)
	question, wish := voice("What are your opening hours?", voicetest.Rate), voice("I want to talk to a person please.", voicetest.Rate)
	c := h.dialForReal(t, ctx)
	if words := h.understood(c, question); !strings.Contains(strings.ToLower(words), "what are your opening") {
		t.Errorf("understood %q", words)
	}
	c.Forget()
	h.answers("We are open from nine in the morning to five in the afternoon.")
	said := h.expect(ctx, channels.Said)
	t.Logf("%+v", said.Spoken.Times)
	sound, _ := c.RTP.Joined()
	back := strings.ToLower(understand(sound, voicetest.Rate))
	t.Logf("the telephone heard %q", back)
	if !strings.Contains(back, "in the morning") || !strings.Contains(back, "afternoon") {
		t.Errorf("the telephone heard %q", back)
	}
	if words := h.understood(c, wish); !strings.Contains(strings.ToLower(words), "talk to a person") {
		t.Errorf("understood %q", words)
	}
	h.hangsUp(c)
}

// TestTalkForRealInTheCallersLanguage: who speaks German to a number that greets in English is understood by its sound, answered by
// a German voice, and reaches a person in German words.
func TestTalkForRealInTheCallersLanguage(t *testing.T) {
	e := voicetest.Engines(t, nil)
	if !slices.Contains(e.Languages(), "de") {
		t.Skip("SKIPPED: no engines for German here: bash deploy/models.sh languages")
	}
	pool := dbtest.Pool(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if _, err := pool.Exec(ctx, `insert into numbers (number, languages) values ('`+number+`', '{en,de,fr}')`); err != nil {
		t.Fatal(err)
	}
	h := newTalkHouse(t, func(cfg *Config) { cfg.Speech, cfg.Pool = e, pool })
	until(t, ctx, "number read", func() bool {
		n, ok := h.voice.trunks.Number(number)
		return ok && len(n.Languages) == 3
	})
	voice, understand := voicetest.VoiceIn(t, e, "de"), voicetest.UnderstandIn(t, e, "de")
	question, wish := voice("Meine Bestellung ist noch nicht angekommen und ich mache mir Sorgen.", voicetest.Rate), voice("Ich möchte bitte mit einem Menschen sprechen.", voicetest.Rate)
	c := h.dialForReal(t, ctx)
	words := h.understood(c, question)
	if wrong, of := speechtest.Wrong(words, "Meine Bestellung ist noch nicht angekommen und ich mache mir Sorgen."), 11; wrong*3 > of {
		t.Errorf("%d of %d words are wrong: %q", wrong, of, words)
	}
	c.Forget()
	h.answers("Ihre Bestellung ist gestern angekommen und liegt im Büro.")
	h.expect(ctx, channels.Said)
	sound, _ := c.RTP.Joined()
	back := understand(sound, voicetest.Rate)
	t.Logf("the telephone heard %q", back)
	if wrong, of := speechtest.Wrong(back, "Ihre Bestellung ist gestern angekommen und liegt im Büro."), 9; wrong*2 > of {
		t.Errorf("the telephone heard %q", back)
	}
	words = h.understood(c, wish)
	if low := strings.ToLower(words); !strings.Contains(low, "mensch") || !strings.Contains(low, "sprechen") {
		t.Errorf("understood %q", words)
	}
	h.hangsUp(c)
}

// TestTalkForRealInAForeignLanguage: who speaks a language that is none of the number's is not answered as if they were understood: they are
// asked once to say it again, and then get a person. Who speaks the number's is understood.
func TestTalkForRealInAForeignLanguage(t *testing.T) {
	e := voicetest.Engines(t, nil)
	if !slices.Contains(e.Languages(), "de") {
		t.Skip("SKIPPED: no engine here can tell languages apart: bash deploy/models.sh languages")
	}
	for language, said := range map[string][]string{
		"de": {"Guten Tag, ich möchte wissen, wann Sie am Samstag geöffnet haben.", "Ich habe gefragt, wann Ihr Geschäft am Samstag geöffnet ist."},
		"fr": {"Bonjour, je voudrais savoir quand vous êtes ouverts le samedi.", "Je vous ai demandé si le magasin est ouvert samedi matin."},
		"es": {"Buenos días, quisiera saber a qué hora abren ustedes los sábados.", "He preguntado si la tienda está abierta el sábado por la mañana."},
	} {
		t.Run(language, func(t *testing.T) {
			h := newTalkHouse(t, func(cfg *Config) { cfg.Speech = e })
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			voice := voicetest.VoiceIn(t, e, language)
			c := &realCall{Talker: &voicetest.Talker{T: t, Ctx: ctx, Call: h.dial(ctx, voicetest.Invite{})}, h: h, conversation: 1001}
			c.other = c
			c.listened()
			for n, sentence := range said {
				c.Forget()
				c.Plays(slices.Concat(voice(sentence, voicetest.Rate), make([]int16, voicetest.Rate)))
				if n == 0 { // that they may say it again; then there is music
					c.listened()
				}
			}
			if wish := c.expect(channels.Wish); wish.Source != turn.NoMatch && wish.Source != "failure" { // a starved ear is one that failed
				t.Errorf("a person by %q", wish.Source)
			}
			for in := (channels.Inbound{}); len(h.inbound) > 0; {
				if in = <-h.inbound; in.Type == channels.Words {
					t.Errorf("answered as if understood: %q", in.Body)
				}
			}
		})
	}
}
