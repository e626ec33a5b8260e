package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"patchbay/agents"
	"patchbay/channels"
)

func TestLineSettings(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Engines = func() []channels.SpeechEngine {
			return []channels.SpeechEngine{{Name: "hall", Hears: true, Voices: []string{}, AnyVoice: true}}
		}
		c.Flow.RemoveQueue = func(_ context.Context, id, to int64) (int, error) { return int(id*100 + to), nil }
		c.Flow.RemoveAgent = func(_ context.Context, by, id int64) (int, error) { return 0, channels.Fail(channels.Conflict, "No.") }
	})
	root, ada := h.signIn(h.person("root", "admin")), h.signIn(h.ada)
	french := as[agents.Skill](h, h.do("POST", "/api/line/skills", root, `{"name":"French"}`))
	h.refused(h.do("POST", "/api/line/skills", root, `{"name":"French"}`), 409, channels.Conflict, "name")
	h.refused(h.do("POST", "/api/line/skills", ada, `{"name":"German"}`), 403, channels.Forbidden, "")

	q := as[LineQueue](h, h.do("POST", "/api/line/queues", root, fmt.Sprintf(`{"name":"Sales","strategy":"ring_all","hear_engine":"hall","skills":[{"skill_id":%d,"after_seconds":0,"level":3}],
		"hours":{"zone":"Europe/Berlin","week":[{"day":"monday","from":"09:00","to":"17:00"}],"holidays":[]}}`, french.ID)))
	if q.OfferSeconds != 20 || q.Weight != 1 || len(q.Skills) != 1 {
		t.Errorf("%+v", q)
	}
	// What was read may be sent back.
	var raw struct {
		Queues  []json.RawMessage
		Engines []channels.SpeechEngine
	}
	h.ok(json.Unmarshal([]byte(h.do("GET", "/api/line/settings", root, nil).body), &raw))
	path := fmt.Sprintf("/api/line/queues/%d", q.ID)
	for _, r := range raw.Queues {
		if strings.Contains(string(r), `"Sales"`) {
			if same := as[LineQueue](h, h.do("PUT", path, root, string(r))); same.HearEngine != "hall" {
				t.Errorf("%+v", same)
			}
		}
	}
	if len(raw.Engines) != 1 || raw.Engines[0].Name != "hall" {
		t.Errorf("engines %+v", raw.Engines)
	}
	for _, c := range []struct{ body, field string }{
		{`{"name":"B","strategy":"loudest"}`, "strategy"},
		{`{"name":"B","weight":0}`, "weight"},
		{`{"name":"B","hear_engine":"attic"}`, "hear_engine"},
		{`{"name":"B","say_engine":"hall"}`, "say_engine"},
		{`{"name":"B","say_voice":"zoe"}`, "say_voice"},
		{`{"name":"B","weight":"much"}`, "weight"},
		{`{"name":"B","hours":{"zone":"Mars","week":[],"holidays":[]}}`, "hours.zone"},
		{`{"name":"B","hours":{"zone":"","week":[{"day":"monday","from":"9","to":"17:00"}],"holidays":[]}}`, "hours.week"},
		{`{"name":"B","skills":[{"skill_id":999,"after_seconds":0,"level":3}]}`, "skills"},
		{`{"name":"B","overflows":[{"cause":"wait","threshold":0,"action":"skills"}]}`, "overflows"},
		{`{"name":"B","colour":"red"}`, "colour"},
		{`{"strategy":"ring_all"}`, "name"},
	} {
		h.refused(h.do("PUT", path, root, c.body), 400, channels.Invalid, c.field)
	}
	h.refused(h.do("DELETE", fmt.Sprintf("/api/line/skills/%d", french.ID), root, nil), 409, channels.Conflict, "")
	if m := as[Moved](h, h.do("DELETE", path+"?to=7", root, nil)); m.Moved != int(q.ID*100+7) {
		t.Errorf("%+v", m)
	}
	h.refused(h.do("DELETE", path, root, nil), 400, channels.Invalid, "to")

	agent := fmt.Sprintf("/api/line/agents/%d", h.ada)
	a := as[agents.AgentSettings](h, h.do("PUT", agent, root, fmt.Sprintf(`{"capacity":2,"queues":[{"queue_id":%d,"position":1,"weight":1}],"skills":[{"skill_id":%d,"level":5}]}`, q.ID, french.ID)))
	if a.Capacity != 2 || a.Name == "" || a.Skills[0].Level != 5 {
		t.Errorf("%+v", a)
	}
	h.refused(h.do("PUT", agent, root, `{"capacity":0,"queues":[],"skills":[]}`), 400, channels.Invalid, "capacity")
	h.refused(h.do("DELETE", agent, root, nil), 409, channels.Conflict, "")
	if b := as[[]string](h, h.do("PUT", "/api/breaks", root, `{"breaks":["tea"]}`)); len(b) != 1 {
		t.Error(b)
	}
	if b := as[[]string](h, h.do("GET", "/api/breaks", ada, nil)); len(b) != 1 || b[0] != "tea" {
		t.Error(b)
	}
}

func TestWaitsAndNextPresence(t *testing.T) {
	h := newHouse(t)
	ada := h.signIn(h.ada)
	id := h.conversation(channels.Waiting, nil)
	h.exec(`update conversations set waiting_since = now() - interval '1 minute' where id = $1`, id)
	list := as[[]agents.Wait](h, h.do("GET", "/api/line", ada, nil))
	if len(list) != 1 || list[0].ConversationID != id || list[0].Place != 1 || list[0].Why == "" {
		t.Errorf("%+v", list)
	}
	d := as[WaitDetail](h, h.do("GET", fmt.Sprintf("/api/conversations/%d/wait", id), ada, nil))
	if d.Wait == nil || d.Wait.Why != list[0].Why || len(d.Reasons) != 0 {
		t.Errorf("%+v", d)
	}
	h.exec(`insert into waits (conversation_id, since, queue_id, channel, low_seconds, high_seconds, ended_at, outcome)
		select id, now() - make_interval(secs => s), queue_id, 'chat', 20, 40, now(), 'agent' from conversations, (values (10), (30), (60)) v (s) where id = $1`, id)
	f := as[[]Forecast](h, h.do("GET", "/api/line/forecasts", h.signIn(h.person("root", "admin")), nil))
	if len(f) != 1 || f[0].Waits != 3 || f[0].Within != 1 || f[0].Early != 1 || f[0].Late != 1 || *f[0].ErrorSeconds != 20 || f[0].RealP50Seconds != 30 {
		t.Errorf("%+v", f)
	}
	mine := h.conversation(channels.Agent, &h.ada)
	me := as[Me](h, h.do("PUT", "/api/me/next", ada, `{"presence":"away","reason":"lunch"}`))
	if me.NextPresence == nil || *me.NextPresence != agents.Away || *me.NextReason != "lunch" || me.Presence == agents.Away {
		t.Errorf("%+v", me)
	}
	h.exec(`update conversations set state = 'closed' where id = $1`, mine)
	if me := as[Me](h, h.do("PUT", "/api/me/next", ada, `{"presence":"away","reason":"lunch"}`)); me.NextPresence != nil || me.Presence != agents.Away {
		t.Errorf("without work: %+v", me)
	}
}
