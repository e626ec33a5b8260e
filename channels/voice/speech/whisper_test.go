package speech

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"patchbay/channels/voice/speech/speechtest"
)

// abroad are what callers say who speak other languages.
var abroad = map[string][]string{
	"de": {"Ich möchte meinen Termin auf nächsten Dienstag verschieben.", "Meine Bestellung ist noch nicht angekommen und ich mache mir Sorgen.", "Können Sie mir bitte sagen, wann mein Paket geliefert wird?",
		"Die Rechnung wurde zweimal von meinem Konto abgebucht.", "Wie kann ich das Passwort von meinem Konto ändern?", "Ich will meinen Vertrag zum Ende des Monats kündigen.",
		"Kann ich bitte mit einem Menschen sprechen?", "Die Waschmaschine macht ein lautes Geräusch und bleibt stehen.", "Haben Sie diese Jacke auch in einer anderen Größe?",
		"Wann haben Sie am Sonntag geöffnet?", "Bitte schicken Sie den Ersatz an meine Adresse im Büro.", "Ich warte seit zwei Wochen auf eine Antwort."},
	"es": {"Quisiera cambiar mi cita al próximo martes por la tarde.", "Mi pedido todavía no ha llegado y estoy preocupado.", "¿Puede decirme cuándo van a entregar mi paquete?",
		"Me han cobrado dos veces la misma factura.", "¿Cómo puedo cambiar la contraseña de mi cuenta?", "Quiero cancelar mi contrato a final de mes.",
		"¿Puedo hablar con una persona, por favor?", "La lavadora hace mucho ruido y se para en medio.", "¿Tienen esta chaqueta en una talla más grande?",
		"¿A qué hora abren los domingos?", "Por favor envíe el recambio a la dirección de mi oficina.", "Llevo dos semanas esperando una respuesta."},
	"fr": {"Je voudrais déplacer mon rendez-vous à mardi prochain.", "Ma commande n'est pas encore arrivée et je suis inquiet.", "Pouvez-vous me dire quand mon colis sera livré ?",
		"La même facture a été débitée deux fois.", "Comment puis-je changer le mot de passe de mon compte ?", "Je veux résilier mon contrat à la fin du mois.",
		"Est-ce que je peux parler à une personne ?", "La machine à laver fait du bruit et s'arrête au milieu.", "Avez-vous cette veste dans une taille plus grande ?",
		"À quelle heure ouvrez-vous le dimanche ?", "Envoyez le remplacement à l'adresse de mon bureau, s'il vous plaît.", "J'attends une réponse depuis deux semaines."},
	"it": {"Vorrei spostare il mio appuntamento a martedì prossimo.", "Il mio ordine non è ancora arrivato e sono preoccupato.", "Può dirmi quando sarà consegnato il mio pacco?",
		"La stessa fattura mi è stata addebitata due volte.", "Come posso cambiare la password del mio conto?", "Voglio disdire il mio contratto alla fine del mese.",
		"Posso parlare con una persona, per favore?", "La lavatrice fa molto rumore e si ferma a metà.", "Avete questa giacca in una taglia più grande?",
		"A che ora aprite la domenica?", "Per favore spedite il ricambio all'indirizzo del mio ufficio.", "Aspetto una risposta da due settimane."},
}

// tongues opens engines that hear and speak more than English. They are not fetched for CI: without them a test is skipped by name.
func tongues(t testing.TB) *Engines {
	t.Helper()
	dir := models(t)
	if there, err := shelf(dir).whisper(); !there || len(shelf(dir).picos()) == 0 {
		t.Skipf("no languages but English here (%v): %s", err, fetchTongues)
	}
	e := openLocal(t, dir)
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	return e
}

// In German, Spanish, French and Italian a caller is understood at 8 kHz and gets a voice, by the local engines alone.
func TestLocalTongues(t *testing.T) {
	e := tongues(t)
	if got := e.Languages(); !slices.Equal(got, []string{"de", "en", "es", "fr", "it"}) {
		t.Errorf("languages %v", got)
	}
	most := 3
	if os.Getenv("PATCHBAY_TEST_SPEECH_REPORT") != "" {
		most = 99
	}
	for language, all := range abroad {
		t.Run(language, func(t *testing.T) {
			errors, words, length := 0, 0, 0.0
			before, _ := spent(t, e, Hearing)
			for i, text := range all[:min(most, len(all))] {
				sound := speechtest.Line(slices.Concat(make([]int16, Narrow/2), speechtest.Louder(allOf(t, e, language, text), 12000), make([]int16, Narrow/2)), 0.02, uint64(i))
				ear := hear(t, e, HearConfig{Language: language, Rate: Narrow})
				write(t, ear, sound)
				ear.Finish()
				f := next(t, ear, Final)
				wrong, of := speechtest.Wrong(f.Text, text), len(speechtest.Words(text))
				t.Logf("%q was heard as %q, %.2f", text, f.Text, f.Confidence)
				errors, words, length = errors+wrong, words+of, length+float64(len(sound))/Narrow
				if f.Confidence < 0.3 {
					t.Errorf("confidence %.2f of %q", f.Confidence, f.Text)
				}
				ear.Close()
			}
			after, rss := spent(t, e, Hearing)
			fmt.Printf("%s: %.1f %% of %d words wrong, processor %.3f of the sound, memory %d MB\n", language, 100*float64(errors)/float64(words), words, (after-before).Seconds()/length, rss>>20)
			if errors*20 > words*7 {
				t.Errorf("%d of %d words wrong", errors, words)
			}
		})
	}
}

func allOf(t *testing.T, e *Engines, language, text string) []int16 {
	t.Helper()
	return all(t, say(t, e, text, SayConfig{Language: language, Rate: Narrow}))
}

// Who may speak several languages is heard in the one that is spoken, whichever was expected; a short yes tells nothing.
func TestLocalTonguesAreToldApart(t *testing.T) {
	e := tongues(t)
	languages := []string{"en", "de", "es", "fr", "it"}
	right, of := 0, 0
	for _, expected := range []string{"en", "de"} {
		for _, spoken := range languages {
			for _, text := range append(slices.Clone(abroad[spoken][:min(2, len(abroad[spoken]))]), map[string][]string{"en": {"When will my parcel be delivered?"}}[spoken]...) {
				ear := hear(t, e, HearConfig{Language: expected, Among: languages, Rate: Narrow})
				write(t, ear, speechtest.Line(slices.Concat(make([]int16, Narrow/2), speechtest.Louder(allOf(t, e, spoken, text), 12000), make([]int16, Narrow/2)), 0.02, 7))
				ear.Finish()
				f := next(t, ear, Final)
				if of++; f.Language == spoken {
					right++
				} else if f.Language != "" && f.Language != expected {
					t.Errorf("%s was taken for %s: %q", spoken, f.Language, f.Text)
				}
				t.Logf("expected %s, spoken %s, told %q: %q", expected, spoken, f.Language, f.Text)
				ear.Close()
			}
		}
	}
	if right*5 < of*4 {
		t.Errorf("%d of %d were told apart", right, of)
	}
	ear := hear(t, e, HearConfig{Language: "en", Among: languages, Rate: Narrow})
	write(t, ear, slices.Concat(make([]int16, Narrow/2), telephone(allOf(t, e, "en", "Yes.")), make([]int16, Narrow/2)))
	ear.Finish()
	if f := next(t, ear, Final); f.Language != "" && f.Language != "en" {
		t.Errorf("a yes is %s: %q", f.Language, f.Text)
	}
}

// Silence and noise are no words in any language.
// An Ear of one language says when what it hears is in another one, in the middle of the sentence already; never of its own.
func TestLocalForeign(t *testing.T) {
	e := tongues(t)
	for language, texts := range abroad {
		sound := slices.Concat(make([]int16, Narrow/2), speechtest.Louder(allOf(t, e, language, texts[0]), 12000), make([]int16, Narrow))
		ear := hear(t, e, HearConfig{Language: "en", Foreign: true, Rate: Narrow})
		write(t, ear, sound)
		ear.Finish()
		if f := next(t, ear, Final); f.Language != language || f.Text == "" {
			t.Errorf("%s: %q is told to be %q", language, f.Text, f.Language)
		}
		if ear = hear(t, e, HearConfig{Language: language, Foreign: true, Rate: Narrow}); language == "en" {
			continue
		}
		write(t, ear, sound)
		ear.Finish()
		if f := next(t, ear, Final); f.Language != "" || f.Text == "" {
			t.Errorf("%s in its own: %q is told to be %q", language, f.Text, f.Language)
		}
	}
	ear := hear(t, e, HearConfig{Language: "en", Foreign: true, Rate: Narrow})
	write(t, ear, slices.Concat(allOf(t, e, "en", "I want to know where the parcel is that I have ordered on Monday."), make([]int16, Narrow)))
	ear.Finish()
	if f := next(t, ear, Final); f.Language != "" || f.Text == "" {
		t.Errorf("%q is told to be %q", f.Text, f.Language)
	}
}

func TestWhisperDreamsNothing(t *testing.T) {
	e := tongues(t)
	for name, sound := range map[string][]int16{"noise": noise(4, 0, 900), "rumble": noise(4, 0.95, 20000), "tones": toneOf(4, 440, 480), "silence": make([]int16, 4*Narrow)} {
		ear := hear(t, e, HearConfig{Language: "de", Rate: Narrow})
		write(t, ear, sound)
		ear.Finish()
		if f := next(t, ear, Final); f.Text != "" {
			t.Errorf("%s: %q", name, f.Text)
		}
		ear.Close()
	}
}

// A half file of weights is told, and English goes on.
func TestWhisperThatIsNotWhole(t *testing.T) {
	whole := models(t)
	dir := t.TempDir()
	lend(t, whole, dir, "")
	if err := os.MkdirAll(dir+"/whisper", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+fileWhisper, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := openLocal(t, dir)
	d := standing(t, e, Hearing, Ready)
	if !slices.Equal(d.Languages, []string{"en"}) || !strings.Contains(d.Detail, "is not whole") || !strings.Contains(d.Detail, fetchTongues) {
		t.Errorf("told: %+v", d)
	}
}

func TestRepeated(t *testing.T) {
	for said, want := range map[string]int{"": 0, "a b c d": 0, "1 1 1 1 1": 0, "1 1 1 1 1 1 1 1": 7, "a b c a b c": 0, "a b c a b c a b c": 6, "x a b c d e f g h i a b c d e f g h i": 9} {
		var tokens []int64
		for _, w := range strings.Fields(said) {
			tokens = append(tokens, int64(w[0]))
		}
		if got := repeated(tokens); got != want {
			t.Errorf("%q: %d, want %d", said, got, want)
		}
	}
}

func TestWrittenTokens(t *testing.T) {
	w := &whisper{tokens: []string{"ĠÃł", "Ġquelle", "Ġheure", "?", "Ã"}}
	if got := w.written([]int64{0, 1, 2, 3}); got != "à quelle heure?" {
		t.Errorf("%q", got)
	}
	if got := w.written([]int64{1, 4}); got != "quelle" { // half a letter
		t.Errorf("%q", got)
	}
}

func TestHalf(t *testing.T) {
	for bits, want := range map[uint16]float32{0: 0, 0x3c00: 1, 0xc000: -2, 0x3555: 0.33325195, 0x7bff: 65504, 0x0001: 5.9604645e-08, 0x8400: -6.1035156e-05} {
		if got := half(bits); got != want {
			t.Errorf("%04x is %v, want %v", bits, got, want)
		}
	}
	if !math.IsInf(float64(half(0x7c00)), 1) || !math.IsNaN(float64(half(0x7e00))) {
		t.Error("infinity and no number")
	}
}

// ct2 is a small file of the format.
func ct2(names ...string) []byte {
	name := func(b []byte, s string) []byte {
		return append(append(binary.LittleEndian.AppendUint16(b, uint16(len(s)+1)), s...), 0)
	}
	b := name(binary.LittleEndian.AppendUint32(nil, ct2Version), "WhisperSpec")
	b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, 3), uint32(len(names)))
	for _, n := range names {
		b = append(name(b, n), 1)
		b = binary.LittleEndian.AppendUint32(b, 2)
		b = binary.LittleEndian.AppendUint32(append(b, ct2Half), 4)
		b = append(b, 0, 0x3c, 0, 0xc0)
	}
	return b
}

func TestReadCT2(t *testing.T) {
	b := ct2("one", "two")
	all, err := readCT2(b)
	if err != nil || len(all) != 2 || !slices.Equal(all["two"].floats(), []float32{1, -2}) || !slices.Equal(all["one"].shape, []int{2}) {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := readCT2(b[:len(b)-1]); err == nil {
		t.Error("cut off, and no error")
	}
	if _, err := readCT2(bytes.Repeat([]byte{7}, 100)); err == nil || !strings.Contains(err.Error(), "was expected") {
		t.Error(err)
	}
	if _, err := newWhisperMaker(all).encoder(); err == nil || !strings.Contains(err.Error(), "numbers") {
		t.Errorf("weights are missing: %v", err)
	}
}

func FuzzCT2(f *testing.F) {
	f.Add(ct2("encoder/conv1/weight"))
	f.Add([]byte{6, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readCT2(b)
		for name, w := range all {
			if err == nil && len(w.half) > len(b) {
				t.Error(name)
			}
		}
	})
}

// One voice says many things at once, each whole.
func TestPicoSpeaksToMany(t *testing.T) {
	e := tongues(t)
	one := allOf(t, e, "de", abroad["de"][0])
	var said []*Utterance
	for range 6 {
		said = append(said, say(t, e, abroad["de"][0], SayConfig{Language: "de", Rate: Narrow}))
	}
	for _, u := range said {
		if n := len(all(t, u)); n < len(one)*9/10 || n > len(one)*11/10 {
			t.Errorf("%d samples, %d were expected", n, len(one))
		}
	}
}
