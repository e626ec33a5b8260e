package switchboard

import (
	"fmt"
	"testing"

	"patchbay/channels"
)

// TestToldInTheirLanguage: who writes in a language of ours is told in it that a person comes, by chat and by mail; who pressed the
// button without a word, and who writes in one that we do not have, in English. A later "ok" changes nothing.
func TestToldInTheirLanguage(t *testing.T) {
	f := newFlow(t)
	told := func(id int64) string {
		return text(f, `select string_agg(body, ' | ' order by seq) from messages where conversation_id = $1 and author = 'system' and not private`, id)
	}
	for i, c := range []struct{ words, hello, waiting string }{
		{"I need a human please", "You are writing with an AI. For a person, use the button or just say so.", "We are getting a person. Your messages go along."},
		{"Ich möchte bitte mit einem Menschen sprechen", "Sie schreiben mit einer KI. Einen Menschen erreichen Sie mit dem Knopf, oder sagen Sie es einfach.", "Wir holen einen Menschen. Ihre Nachrichten gehen mit."},
		{"QUIERO HABLAR CON UNA PERSONA YA", "Está escribiendo con una IA. Para hablar con una persona, use el botón o simplemente dígalo.", "Estamos buscando a una persona para usted. Sus mensajes se le pasan también."},
		{"müşteri temsilcisine bağlanmak istiyorum", "Bir yapay zekâ ile yazışıyorsunuz. Bir insanla görüşmek için düğmeyi kullanın ya da söylemeniz yeterli.", "Size bir insan çağırıyoruz. Mesajlarınız da iletiliyor."},
		{"转人工客服", "您正在与AI对话。需要人工服务，请按按钮或直接说出来。", "我们正在为您接通人工。您的消息会一并转交。"},
		{"أريد التحدث مع موظف", "أنت تكتب مع ذكاء اصطناعي. للتحدث مع شخص استخدم الزر أو قل ذلك فقط.", "نستدعي لك شخصًا الآن. رسائلك تنتقل معك."},
		{"Nataka kuongea na binadamu", "You are writing with an AI. For a person, use the button or just say so.", "We are getting a person. Your messages go along."}, // Swahili: not yet
	} {
		id := f.visitor(c.words)
		f.state(id, channels.Waiting)
		if got, want := told(id), c.hello+" | "+c.waiting; got != want {
			t.Errorf("%q: told %q, want %q", c.words, got, want)
		}
		f.says(id, "ok 12345")
		f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Chat, ConversationID: id, Source: "button"})
		mail := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: fmt.Sprintf("kim%d@example.com", i)},
			Subject: "A123", Body: c.words + "\n\n> On Monday Patchbay wrote:\n> Please answer above this line, a person will read it"})
		if got := told(mail.ConversationID); got != c.waiting {
			t.Errorf("%q by mail: told %q", c.words, got)
		}
	}

	id := f.visitor("Wo ist meine Bestellung?")
	f.says(id, "4471223")
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Chat, ConversationID: id, Source: "button"})
	if got := text(f, `select body from messages where conversation_id = $1 and author = 'system' and not private order by seq desc limit 1`, id); got != "Wir holen einen Menschen. Ihre Nachrichten gehen mit." {
		t.Errorf("told %q", got)
	}
}
