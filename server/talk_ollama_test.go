package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchbay/channels"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm"
)

// TestRealOllamaTalks is one conversation by telephone in which nothing is scripted: a stranger's voice, the ear and the voice that we
// ship, the real Ollama as the house's child with a real small model. An answer is heard, and the wish for a
// person reaches the line. What the small model makes of the question is printed, not judged.
func TestRealOllamaTalks(t *testing.T) {
	binary, model := os.Getenv("PATCHBAY_TEST_OLLAMA"), os.Getenv("PATCHBAY_TEST_MODEL")
	if binary == "" || model == "" {
		t.Skip("SKIP: the real Ollama runs by deploy/ollama-test.sh")
	}
	caller := speechtest.Foreign(t)
	h := openTalking(t, "PATCHBAY_OLLAMA_BINARY="+binary, "PATCHBAY_OLLAMA_MODEL_FILE="+model, "PATCHBAY_OLLAMA_FIRST_TOKEN_SECONDS=30", "PATCHBAY_OLLAMA_TOTAL_SECONDS=60", "PATCHBAY_OLLAMA_PLACES=1")
	ctx, cancel := context.WithTimeout(t.Context(), 8*patience)
	defer cancel()
	wait(t, ctx, "a real model", func() bool { return strings.Contains(h.house.responder.Responder().Describe(), "smollm2") })
	phone := voicetest.NewPhone(t, "+4930778", netip.MustParseAddr("127.0.0.1"))
	c := &voicetest.Talker{T: t, Ctx: ctx, Call: phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})}
	talk := talkOf{h, "4930778"}
	c.Plays(make([]int16, 12*voicetest.Rate)) // the greeting
	c.Forget()
	c.Plays(append(caller.Says(t, hoursQuestion, voicetest.Rate), make([]int16, 40*voicetest.Rate)...))
	t.Log(one[string](h, `select coalesce(string_agg(author || ' (' || coalesce(data->>'mode', '') || '): ' || body, ' | ' order by seq), '') from messages where kind = 'text'`))
	t.Log(one[string](h, `select coalesce(string_agg(to_json(t)::text, ' '), '') from call_turns t`))
	heard, _ := c.RTP.Joined()
	text := voicetest.Understand(t, voicetest.Engines(t, nil))(heard, voicetest.Rate)
	t.Logf("the telephone heard %q", text)
	if one[int](h, `select count(*) from messages where author <> 'contact'`) == 0 || len(speechtest.Words(text)) < 5 {
		t.Errorf("no answer was heard: %q", text)
	}
	go c.Plays(append(caller.Says(t, spokenWish, voicetest.Rate), make([]int16, 5*voicetest.Rate)...))
	talk.inLine()
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	h.eventually("the call is over", `select not exists (select from calls where state <> 'ended')`)
}

// TestRealOllamaCutInHalf: the model's file in the real Ollama's folder is cut in half before it is loaded. The house says which model and why; a
// caller and a writer hear what stands in the knowledge base word for word, else they get a person at once; the wish works. When the file is
// whole the model is asked again, without a restart.
func TestRealOllamaCutInHalf(t *testing.T) {
	binary := os.Getenv("PATCHBAY_TEST_OLLAMA")
	if binary == "" {
		t.Skip("SKIP: the real Ollama runs by deploy/ollama-test.sh")
	}
	const model = "frontline-half"
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	folder, hosts, ended := t.TempDir(), make(chan string, 1), make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	d := &llm.Daemon{Binary: binary, Dir: folder, Log: slog.New(slog.DiscardHandler)}
	go func() {
		ended <- d.Run(running, func(ctx context.Context, host string) error {
			if err := llm.Import(ctx, host, model, "../llm/testdata/frontline-tiny/frontline-tiny.f16.gguf", ""); err != nil {
				return err
			}
			hosts <- host
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var host string
	select {
	case host = <-hosts:
	case <-ctx.Done():
		t.Fatal("no Ollama with a model")
	}
	file, whole := weights(t, folder)
	if err := os.Truncate(file, int64(len(whole)/2)); err != nil {
		t.Fatal(err)
	}

	_, ears := talkers(t)
	h := open(t, append(ears, "OLLAMA_HOST="+host, "PATCHBAY_OLLAMA_MODEL="+model)...)
	a := h.agent()
	describe := func() string { return h.house.responder.Responder().Describe() }
	wait(t, ctx, "the damage is known", func() bool { return strings.Contains(describe(), "can be loaded") })
	t.Log(describe())
	if said := describe(); !strings.Contains(said, "until model "+model+" at "+host+" can be loaded: its file is cut short or damaged, fetch it again") {
		t.Errorf("the house says: %s", said)
	}

	c := h.talker(ctx, "+4930781")
	c.Says("how long can i send back a tent that i do not like")
	h.eventually("the knowledge base's words", `select exists (select from messages where author = 'ai' and body like '%60 days%' and data->>'mode' = 'quote')`)
	c.Hears("sixty days")
	c.Says("a human being please")
	a.reached(ctx, "phone", "words")
	a.done(hangUp(ctx, t, c.Call))

	v := h.visitor("", 0)
	v.says("Does the ferry operator accept a tent made of weird recycled unobtainium fabric?") // something is known of it, but no answer
	v.hears("the truth", event(channels.CodeModelDown))
	a.reached(ctx, "chat", "failure")
	a.done(func() { v.conn.Close() })

	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, "the model answers again", func() bool { return describe() == "model "+model+" at "+host })
}

// weights are the one model's, in Ollama's folder.
func weights(t *testing.T, folder string) (file string, content []byte) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "blobs", "sha256-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(b, []byte("GGUF")) {
			return file, b
		}
	}
	t.Fatalf("no weights among %d files", len(all))
	return "", nil
}
