package api

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
)

// as reads the answer, which must be a 200.
func as[T any](h *house, a answer) (v T) {
	h.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.status != 200 {
		h.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	return v
}

// changes counts the news on the bus that say: read the telephone's settings again.
func (h *house) changes() (wait func()) {
	h.Helper()
	heard := make(chan struct{}, 100)
	cancel, err := h.bus.Subscribe(channels.TrunkSubject, func(string, []byte) { heard <- struct{}{} })
	h.ok(err)
	h.Cleanup(cancel)
	return func() {
		h.Helper()
		select {
		case <-heard:
		case <-h.ctx.Done():
			h.Fatal("the change was not announced")
		}
	}
}

func TestTrunks(t *testing.T) {
	h := newHouse(t)
	root, ada := h.signIn(h.person("root", "admin")), h.signIn(h.ada)
	announced := h.changes()

	// What a script sends: the rest is as in defaults.
	tr := as[Trunk](h, h.do("POST", "/api/trunks", root, `{"name":"Carrier","servers":["sip.example.net"],"username":"4930","password":"geheim"}`))
	announced()
	list := as[TrunkList](h, h.do("GET", "/api/trunks", ada, nil))
	if len(list.Trunks) != 1 || list.Trunks[0].MaxMoneyDay != 20 || !list.Trunks[0].HasPassword || list.Defaults.RegisterSeconds != 600 {
		t.Errorf("%+v", list)
	}
	path := fmt.Sprintf("/api/trunks/%d", tr.ID)

	// What was read may be sent back; the password stays.
	read := h.do("GET", "/api/trunks", root, nil)
	var raw struct{ Trunks []json.RawMessage }
	h.ok(json.Unmarshal([]byte(read.body), &raw))
	changed := strings.Replace(string(raw.Trunks[0]), `"country_code":""`, `"country_code":"49"`, 1)
	as[Trunk](h, h.do("PUT", path, root, changed))
	announced()
	stored, err := channels.GetTrunk(h.ctx, h.pool, tr.ID)
	if err != nil || stored.CountryCode != "49" || stored.Password != "geheim" {
		t.Errorf("%+v, %v", stored, err)
	}

	for _, c := range []struct{ body, field string }{
		{`{"name":"B","servers":["sip:x y"]}`, "servers"},
		{`{"name":"B","servers":"sip.example.net"}`, "servers"},
		{`{"name":"B","servers":[7]}`, "servers"},
		{`{"name":"B","servers":[null]}`, "servers"},
		{`{"name":"B"}`, "servers"},
		{`{"servers":["a.example"]}`, "name"},
		{`{"name":"B","sources":["10.0.0.1"],"max_calls":1.5}`, "max_calls"},
		{`{"name":"B","sources":["10.0.0.1"],"max_calls":-1}`, "max_calls"},
		{`{"name":"B","sources":["10.0.0.1"],"max_money_day":"much"}`, "max_money_day"},
		{`{"name":"B","sources":["10.0.0.1"],"max_money_day":1e999}`, "max_money_day"},
		{`{"name":"B","sources":["10.0.0.1"],"rates":[{"prefix":"+49"}]}`, "rates.per_minute"},
		{`{"name":"B","sources":["10.0.0.1"],"rates":[{"prefix":"x","per_minute":1}]}`, "rates"},
		{`{"name":"B","sources":["0.0.0.0/0"]}`, "sources"},
		{`{"name":"B","sources":["10.0.0.1"],"transport":"sctp"}`, "transport"},
		{`{"name":"B","sources":["10.0.0.1"],"colour":"red"}`, "colour"},
	} {
		h.refused(h.do("POST", "/api/trunks", root, c.body), 400, channels.Invalid, c.field)
	}
	h.refused(h.do("POST", "/api/trunks", root, `{"name":"Carrier","sources":["10.0.0.1"]}`), 409, channels.Conflict, "name")
	h.refused(h.do("PUT", "/api/trunks/4711", root, `{"name":"C","sources":["10.0.0.1"]}`), 404, channels.NotFound, "")

	if a := h.do("DELETE", path, root, nil); a.status != 204 {
		t.Error(a)
	}
	announced()
	h.refused(h.do("DELETE", path, root, nil), 404, channels.NotFound, "")

	log := h.log.String()
	for _, want := range []string{`act="add trunk"`, `act="change trunk"`, `fields=country_code`, `act="delete trunk"`, "peer=127.0.0.1"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if strings.Contains(log+read.body, "geheim") {
		t.Error("the password is out")
	}
}

// All that is wrong with a trunk is said at once.
func TestTrunkFaults(t *testing.T) {
	h := newHouse(t)
	root := h.signIn(h.person("root", "admin"))
	a := h.do("POST", "/api/trunks", root, `{"name":" ","servers":["sip:x y"],"sources":["0.0.0.0/0"],"country_code":"049","max_calls":-1,"rates":[{"prefix":"x","per_minute":1}]}`)
	h.refused(a, 400, channels.Invalid, "name")
	var e channels.Error
	h.ok(json.Unmarshal([]byte(a.body), &e))
	var fields []string
	for _, f := range e.Fields {
		fields = append(fields, f.Field)
		if f.Text == "" {
			t.Errorf("%s has no words", f.Field)
		}
	}
	if got := strings.Join(fields, " "); got != "name servers sources country_code max_calls rates" {
		t.Errorf("wrong: %s", got)
	}
}

// An alarm comes to the desks of supervisors and administrators, not to agents, and goes when one of them has seen it.
func TestAlarms(t *testing.T) {
	h := newHouse(t)
	root, ada, mira := h.signIn(h.person("root", "admin")), h.signIn(h.ada), h.signIn(h.mira)
	tr := as[Trunk](h, h.do("POST", "/api/trunks", root, `{"name":"Carrier","servers":["sip.example.net"]}`))
	boss, agent := h.page(ada), h.page(mira)
	alarm := channels.TrunkAlarm{TrunkID: tr.ID, AgentID: &h.mira, Kind: channels.AlarmShort, About: "1", Words: "10 calls were over in less than 10 seconds."}
	raised, err := channels.RaiseAlarm(h.ctx, h.pool, &alarm)
	if err != nil || !raised {
		t.Fatal(raised, err)
	}
	h.ok(h.bus.Publish(channels.TrunkAlarmSubject, alarm))
	if f := boss.next(LiveOutTypeAlarm); f.Alarm == nil || f.Alarm.ID != alarm.ID || f.Alarm.Words != alarm.Words {
		t.Errorf("%+v", f)
	}
	list := as[[]channels.TrunkAlarm](h, h.do("GET", "/api/alarms", ada, nil))
	if len(list) != 1 || list[0].Words != alarm.Words || *list[0].AgentID != h.mira {
		t.Errorf("%+v", list)
	}
	path := fmt.Sprintf("/api/alarms/%d/seen", alarm.ID)
	h.refused(h.do("GET", "/api/alarms", mira, nil), 403, channels.Forbidden, "")
	h.refused(h.do("POST", path, mira, nil), 403, channels.Forbidden, "")
	if a := h.do("POST", path, ada, nil); a.status != 204 {
		t.Error(a)
	}
	if f := boss.next(LiveOutTypeAlarm); f.Alarm != nil {
		t.Errorf("seen: %+v", f)
	}
	h.refused(h.do("POST", path, root, nil), 404, channels.NotFound, "")
	agent.send(`{"type":"ping","ref":"r"}`)
	if f := agent.next(LiveOutTypePong, LiveOutTypeAlarm); f.Type != LiveOutTypePong {
		t.Errorf("an agent is told %+v", f.Alarm)
	}
}

// Each living node is asked; one that has no telephone, or none that answers, says so in words.
func TestTrunkTest(t *testing.T) {
	h := newHouse(t)
	root := h.signIn(h.person("root", "admin"))
	tr := as[Trunk](h, h.do("POST", "/api/trunks", root, `{"name":"Carrier","servers":["sip.example.net"]}`))
	h.exec(`insert into nodes (id, name, seen_at) values ('n3', 'broken', now() + interval '1 hour'), ('n4', 'dead', now() - interval '1 hour')`)
	for node, reply := range map[string]channels.CallReply{
		"n1": {Trunk: &channels.TrunkState{Healthy: true, Server: "192.0.2.7:5060", AnswerMS: 12, ChangedAt: time.Now()}},
		"n3": {Error: channels.Fail(channels.Unavailable, "The line is down.")},
	} {
		cancel, err := h.bus.Respond(channels.VoiceSubject(node), func(data []byte) (any, error) {
			var req channels.VoiceRequest
			if err := json.Unmarshal(data, &req); err != nil || req.Type != "trunk_test" || req.TrunkID != tr.ID {
				return nil, fmt.Errorf("asked %s", data)
			}
			return reply, nil
		})
		h.ok(err)
		h.Cleanup(cancel)
	}
	path := fmt.Sprintf("/api/trunks/%d/test", tr.ID)
	states := as[[]TrunkState](h, h.do("POST", path, root, nil))
	got := map[string]string{}
	for _, s := range states {
		got[s.NodeName] = fmt.Sprintf("%v %d %s", s.Healthy, s.AnswerMS, s.Error)
	}
	want := map[string]string{"n": "true 12 ", "m": "false 0 This server has no telephone line.", "broken": "false 0 The line is down."}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	h.refused(h.do("POST", "/api/trunks/4711/test", root, nil), 404, channels.NotFound, "")
}

// Supervisors and admins see changes at once; agents have nothing to see.
func TestTelephoneFrame(t *testing.T) {
	h := newHouse(t)
	agent, supervisor := h.page(h.signIn(h.mira)), h.page(h.signIn(h.ada))
	root := h.signIn(h.person("root", "admin"))
	as[Number](h, h.do("PUT", "/api/numbers/100", root, `{"kind":"echo"}`))
	supervisor.next(LiveOutTypeTelephone)
	h.ok(h.bus.Publish(channels.TrunkStateSubject, nil))
	supervisor.next(LiveOutTypeTelephone)
	agent.send(`{"type":"ping","ref":"1"}`)
	if f := agent.next(LiveOutTypePong, LiveOutTypeTelephone); f.Type != LiveOutTypePong {
		t.Error("an agent's tab got the frame")
	}
}

func TestNumbersAndQueueSounds(t *testing.T) {
	h := newHouse(t)
	root := h.signIn(h.person("root", "admin"))
	announced := h.changes()
	n := as[Number](h, h.do("PUT", "/api/numbers/+49%2030%201234567", root, map[string]any{"kind": "queue", "label": "Hotline", "queue_id": h.queue, "caller_id": true}))
	announced()
	if n.Number != "+49301234567" || *n.QueueID != h.queue {
		t.Errorf("%+v", n)
	}
	as[Number](h, h.do("PUT", "/api/numbers/+49301234567", root, map[string]any{"kind": "echo", "queue_id": nil}))
	if list := as[[]Number](h, h.do("GET", "/api/numbers", root, nil)); len(list) != 1 || list[0].Kind != channels.EchoNumber || list[0].QueueID != nil {
		t.Errorf("%+v", list)
	}
	h.refused(h.do("PUT", "/api/numbers/ana", root, `{"kind":"queue"}`), 400, channels.Invalid, "number")
	h.refused(h.do("PUT", "/api/numbers/100", root, `{"kind":"fax"}`), 400, channels.Invalid, "kind")
	h.refused(h.do("PUT", "/api/numbers/100", root, `{"kind":"queue","queue_id":4711}`), 400, channels.Invalid, "queue_id")
	if a := h.do("DELETE", "/api/numbers/%2B49301234567", root, nil); a.status != 204 {
		t.Error(a)
	}

	path := fmt.Sprintf("/api/queue-sounds/%d", h.queue)
	as[QueueSound](h, h.do("PUT", path, root, `{"record":true,"record_announce":false,"transcribe":false,"transcribe_announce":true,"whisper":false,"music_id":null,"greeting_id":null}`))
	if list := as[[]QueueSound](h, h.do("GET", "/api/queue-sounds", root, nil)); !list[0].Record || list[0].RecordAnnounce || list[0].QueueName != "Service" {
		t.Errorf("%+v", list)
	}
	h.refused(h.do("PUT", path, root, `{"record":true,"record_announce":false,"transcribe":false,"transcribe_announce":true,"whisper":false,"music_id":4711,"greeting_id":null}`), 400, channels.Invalid, "music_id")
	h.refused(h.do("PUT", "/api/queue-sounds/4711", root, `{"record":true,"record_announce":false,"transcribe":false,"transcribe_announce":true,"whisper":false,"music_id":null,"greeting_id":null}`), 404, channels.NotFound, "")
}

func TestDevices(t *testing.T) {
	h := newHouse(t)
	root := h.signIn(h.person("root", "admin"))
	body := map[string]any{"agent_id": h.mira, "username": "mira-desk", "digest": "md5", "enabled": true, "label": "Snom"}
	added := as[DevicePassword](h, h.do("POST", "/api/devices", root, body))
	if len(added.Password) != 20 || added.Device.Username != "mira-desk" {
		t.Errorf("%+v", added)
	}
	h.refused(h.do("POST", "/api/devices", root, body), 409, channels.Conflict, "username")
	path := fmt.Sprintf("/api/devices/%d", added.Device.ID)
	body["enabled"] = false
	if d := as[Device](h, h.do("PUT", path, root, body)); d.Enabled {
		t.Errorf("%+v", d)
	}
	body["digest"] = "sha256"
	h.refused(h.do("PUT", path, root, body), 400, channels.Invalid, "digest")
	second := as[DevicePassword](h, h.do("POST", path+"/password", root, nil))
	if second.Password == added.Password {
		t.Error("the same password again")
	}
	a := h.do("GET", "/api/devices", root, nil)
	if list := as[DeviceList](h, a); len(list.Devices) != 1 || len(list.Registrations) != 0 || strings.Contains(a.body, "ha1") {
		t.Error(a.body)
	}
	if a := h.do("DELETE", path, root, nil); a.status != 204 {
		t.Error(a)
	}
	h.refused(h.do("POST", path+"/password", root, nil), 404, channels.NotFound, "")
	if log := h.log.String(); strings.Contains(log, added.Password) || strings.Contains(log, second.Password) {
		t.Error("a password stands in the log")
	}
}

func TestPrompts(t *testing.T) {
	h := newHouse(t)
	root := h.signIn(h.person("root", "admin"))
	w := media.WAV{Rate: 44100, Channels: 2, Samples: make([]int16, 2*44100)}
	for i := range 44100 {
		s := int16(8000 * math.Sin(2*math.Pi*440*float64(i)/44100))
		w.Samples[2*i], w.Samples[2*i+1] = s, s
	}
	upload := func(query, file string) answer {
		t.Helper()
		return h.do("POST", "/api/prompts?"+query, root, file, "Content-Type", "audio/wav")
	}
	p := as[Prompt](h, upload("name=Jazz&kind=music", string(w.Encode())))
	if p.Seconds != 1 || p.UploadedBy == nil {
		t.Errorf("%+v", p)
	}
	sound := h.do("GET", fmt.Sprintf("/api/prompts/%d/sound", p.ID), root, nil)
	got, err := media.ReadWAV([]byte(sound.body))
	if err != nil || got.Rate != 8000 || len(got.Samples) != 8000 || sound.header.Get("Content-Type") != "audio/wav" {
		t.Fatalf("%+v %v", sound.header, err)
	}
	crossings := 0
	for i := 1; i < len(got.Samples); i++ {
		if (got.Samples[i-1] < 0) != (got.Samples[i] < 0) {
			crossings++
		}
	}
	if crossings < 870 || crossings > 890 { // 440 Hz, twice a period
		t.Errorf("%d zero crossings", crossings)
	}

	h.refused(upload("name=Jazz&kind=music", string(w.Encode())), 409, channels.Conflict, "name")
	h.refused(upload("name=&kind=music", "x"), 400, channels.Invalid, "name")
	h.refused(upload("name=a&kind=noise", "x"), 400, channels.Invalid, "kind")
	e := h.refused(upload("name=a&kind=music", "ID3 is an MP3 file"), 400, channels.Invalid, "sound")
	if !strings.Contains(e.Text, "MP3") {
		t.Error(e.Text)
	}
	h.refused(upload("name=a&kind=music", ""), 400, channels.Invalid, "sound")
	h.refused(upload("name=a&kind=music", strings.Repeat("x", fileLimit+1)), 413, channels.TooLarge, "sound")
	h.refused(h.do("POST", "/api/prompts?name=a&kind=music", root, "x", "Content-Type", "audio/mpeg"), 400, channels.Invalid, "")
	// The room for a file is for files alone.
	h.refused(h.do("POST", "/api/trunks", root, `{"name":"`+strings.Repeat("x", 1<<20)+`"}`), 413, channels.TooLarge, "")
	// 9 MB of µ-law are longer than a quarter of an hour.
	long := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x07\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data")
	long = append(binary.LittleEndian.AppendUint32(long, 9_000_000), make([]byte, 9_000_000)...)
	h.refused(upload("name=a&kind=music", string(long)), 400, channels.Invalid, "sound")

	use := fmt.Sprintf(`{"record":false,"record_announce":true,"transcribe":false,"transcribe_announce":true,"whisper":false,"music_id":%d,"greeting_id":null}`, p.ID)
	as[QueueSound](h, h.do("PUT", fmt.Sprintf("/api/queue-sounds/%d", h.queue), root, use))
	path := fmt.Sprintf("/api/prompts/%d", p.ID)
	h.refused(h.do("DELETE", path, root, nil), 409, channels.Conflict, "")
	as[QueueSound](h, h.do("PUT", fmt.Sprintf("/api/queue-sounds/%d", h.queue), root, strings.Replace(use, fmt.Sprint(p.ID), "null", 1)))
	if a := h.do("DELETE", path, root, nil); a.status != 204 {
		t.Error(a)
	}
	h.refused(h.do("GET", path+"/sound", root, nil), 404, channels.NotFound, "")
}
