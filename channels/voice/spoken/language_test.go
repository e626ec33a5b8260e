package spoken

import (
	"strings"
	"testing"
)

func TestLanguage(t *testing.T) {
	for _, c := range []struct {
		text  string
		among string
		want  string
		sure  bool
	}{
		{"Where is my order?", "en de fr", "en", true},
		{"Wo ist denn meine Bestellung?", "en de fr", "de", true},
		{"Bonjour, où est ma commande s'il vous plaît, je ne la trouve pas", "en de fr", "fr", true},
		{"¿Dónde está mi pedido? No lo tengo", "en es", "es", true},
		{"Hallo", "en de", "en", false},                                   // a greeting is no sentence
		{"Müller", "en de", "en", false},                                  // nor is a name
		{"Wo ist meine Bestellung, ich warte", "en fr", "en", false},      // a language that is not offered
		{"Wo ist meine Bestellung?", "de-AT en", "de-AT", true},           // tags come back as they are
		{"Где мой заказ?", "en ru", "ru", true},                           // by script
		{"注文はどこですか", "en ja zh", "ja", true},                              // kana tell it from Chinese
		{"where ist the meine Bestellung order is", "en de", "en", false}, // mixed
		{"", "de en", "de", false},
	} {
		got, sure := Language(c.text, strings.Fields(c.among))
		if got != c.want || sure != c.sure {
			t.Errorf("%q among %s: %s %v, want %s %v", c.text, c.among, got, sure, c.want, c.sure)
		}
	}
	if got, sure := Language("hello", nil); got != "" || sure {
		t.Error(got)
	}
}

func TestTongue(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "0": "", "ok": "", "How much is the tent?": "en", "Wie viel kostet das Zelt und wo ist der Laden?": "de",
		"Я хочу поговорить с человеком": "ru", "Я хочу поговорити з людиною, це її намет": "uk", "我想和人说话": "zh", "人と話したいです": "ja", "사람과 이야기하고 싶어요": "ko",
		"أريد التحدث إلى شخص": "ar", "Θέλω να μιλήσω": "el", "אני רוצה לדבר": "he",
	} {
		if got := Tongue(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
