package api

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"patchbay/channels"
	"patchbay/channels/voice/doctor"
	"patchbay/server/report"
)

// TestCalls: agents see their own calls, supervisors all; a stored record, a running call's, and none.
func TestCalls(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Version, c.Facts = "v1", map[string]string{"sip.external_ip": "91.2.3.4"} })
	other := h.signIn(h.person("bo", "agent"))
	super := h.signIn(h.person("sue", "supervisor"))
	agent := h.person("eve", "agent")
	eve := h.signIn(agent)
	conversation := h.conversation(channels.Closed, nil)
	h.exec(fmt.Sprintf(`insert into calls (conversation_id, direction, from_address, to_address, agent_id, state, ended_at, result, reason, mos, lost_percent, jitter_ms) values
		(%[1]d, 'in', '+49301111111', '100', %[2]d, 'ended', now(), 'completed', 'caller hung up', 4.3, 0.1, 4),
		(%[1]d, 'in', '+49302222222', '100', null, 'ended', now(), 'completed', 'caller hung up', 2.1, 14, 90),
		(%[1]d, 'out', '+4930500', '+49301111111', %[2]d, 'bridged', null, '', '', null, null, null),
		(%[1]d, 'in', '+4930444_4', '100', null, 'ended', now(), 'failed', 'no RTP', null, null, null)`, conversation, agent))
	root := h.signIn(h.person("root", "admin"))
	tr := as[Trunk](h, h.do("POST", "/api/trunks", root, `{"name":"Fjordtel","servers":["sip.fjordtel.example","203.0.113.7:5060"],"username":"4930777","password":"geheim","transport":"tcp",
		"caller_number":"+493025001","number_format":"national","country_code":"49","caller_header":"rpid","codecs":["PCMA","opus"],"srtp":"optional","srtp_keys":"dtls","media_ip":"203.0.113.99"}`))
	trace, err := json.Marshal(doctor.Trace{CallID: 1, TrunkID: tr.ID, Number: "+49301111111", Name: "Rosa Lindt", Reason: "caller hung up", Messages: []doctor.Message{{CallID: "x", Raw: "BYE sip:+49301111111@x SIP/2.0\r\n\r\n"}}})
	h.ok(err)
	h.exec(fmt.Sprintf(`insert into call_traces (call_id, trace) values (1, '%s')`, trace))
	stop, err := h.bus.Respond(channels.CallSubject(3), func(data []byte) (any, error) {
		if !strings.Contains(string(data), `"trace"`) {
			return channels.CallReply{Error: channels.Fail(channels.Invalid, "?")}, nil
		}
		return channels.CallReply{Trace: json.RawMessage(`{"call_id":3,"state":"bridged"}`)}, nil
	})
	h.ok(err)
	t.Cleanup(stop)

	for _, c := range []struct{ who, query, want string }{
		{super, "", "4 3 2 1"}, {eve, "", "3 1"}, {other, "", ""}, {super, "?poor=true", "4 2"}, {super, "?state=running", "3"}, {super, "?direction=out", "3"},
		{super, "?number=1111111", "3 1"}, {super, "?number=444_4", "4"}, {super, "?number=444%254", ""}, {super, "?before=3", "2 1"}, {super, fmt.Sprintf("?agent_id=%d", agent), "3 1"}, {other, fmt.Sprintf("?agent_id=%d", agent), ""},
	} {
		var ids []string
		for _, row := range as[[]report.CallRow](h, h.do("GET", "/api/calls"+c.query, c.who, nil)) {
			ids = append(ids, fmt.Sprint(row.ID))
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
	}

	d := as[callDetail](h, h.do("GET", "/api/calls/1", eve, nil))
	if d.Trace == nil || d.Trace.Name != "Rosa Lindt" || !d.Call.Traced || *d.Call.MOS != 4.3 || d.Verdicts == nil {
		t.Errorf("%+v", d)
	}
	if d := as[callDetail](h, h.do("GET", "/api/calls/3", eve, nil)); d.Trace == nil || d.Trace.State != channels.CallBridged || d.Ending != "" {
		t.Errorf("the running call: %+v", d)
	}
	if d := as[callDetail](h, h.do("GET", "/api/calls/2", super, nil)); d.Trace != nil || d.Call.Traced {
		t.Errorf("a call without a record: %+v", d)
	}
	for _, path := range []string{"/api/calls/1", "/api/calls/1/bundle", "/api/calls/99"} {
		h.refused(h.do("GET", path, other, nil), 404, channels.NotFound, "")
	}
	h.refused(h.do("GET", "/api/calls/99", super, nil), 404, channels.NotFound, "")
	h.refused(h.do("GET", "/api/calls/2/bundle", super, nil), 404, channels.NotFound, "")

	a := h.do("GET", "/api/calls/1/bundle", eve, nil)
	z, err := zip.NewReader(bytes.NewReader([]byte(a.body)), int64(len(a.body)))
	if err != nil || a.status != 200 {
		t.Fatalf("%d, %v", a.status, err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		h.ok(err)
		text, err := io.ReadAll(r)
		h.ok(err)
		for _, secret := range []string{"1111111", "Rosa", "91.2.3.4", "jordtel", "203.0.113", "4930777", "geheim", "25001"} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %s", f.Name, secret)
			}
		}
		for _, fact := range []string{"trunk.transport = tcp", "trunk.number_format = national", "trunk.caller_header = rpid", "trunk.codecs = PCMA, opus",
			"trunk.srtp_keys = dtls", "trunk.login = true", "trunk.max_calls_day = 500", "trunk.country_code = 49", ".invalid, 198.18.0."} {
			if f.Name == "server.txt" && !bytes.Contains(text, []byte(fact)) {
				t.Errorf("server.txt lacks %q:\n%s", fact, text)
			}
		}
	}
}
