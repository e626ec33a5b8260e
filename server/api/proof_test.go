package api

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/server/report"
)

// TestProofByHTTP: the page's figures, what is late, and a month's files, for supervisors only; a supervisor's tab hears when a
// promise breaks, an agent's does not.
func TestProofByHTTP(t *testing.T) {
	key, err := report.OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(c *Config) { c.Reports = Reports{Key: key, Company: "Fjord"} })
	sue, eve := h.signIn(h.ada), h.signIn(h.mira)
	id := h.conversation(channels.Waiting, nil)
	opened := time.Now().UTC().Add(-5 * time.Minute)
	h.exec(`insert into promises (conversation_id, source, contact_id, queue_id, queue_name, channel, opened_at, due_at, broken_at)
		select id, 'words', contact_id, queue_id, 'Service', 'chat', $1, now() - interval '2 min', now() from conversations`, opened)
	p := as[report.Proof](h, h.do("GET", "/api/proof?days=7", sue, nil))
	if len(p.Rows) != 1 || p.Rows[0].Wishes != 1 || p.Rows[0].Broken != 1 || len(p.Budgets) != 1 {
		t.Errorf("%+v", p)
	}
	if late := as[[]report.LatePromise](h, h.do("GET", "/api/proof/late", sue, nil)); len(late) != 1 || late[0].ConversationID != id {
		t.Errorf("%+v", late)
	}
	month := opened.Format("2006-01") // in the first minutes of a month it is the last one
	csv := h.do("GET", "/api/proof/"+month+"/csv", sue, nil)
	if !strings.Contains(csv.body, "real,Service,chat,") || !strings.Contains(csv.header.Get("Content-Disposition"), "proof-"+month+".csv") {
		t.Errorf("%d %s %s", csv.status, csv.header, csv.body)
	}
	signed := h.do("GET", "/api/proof/"+month+"/signed", sue, nil)
	if k := as[ProofKey](h, h.do("GET", "/api/proof/key", sue, nil)); k.PublicKey != key.Public() {
		t.Errorf("key %s", k.PublicKey)
	}
	if _, err := report.Verify([]byte(signed.body), key.Public()); err != nil || !strings.Contains(signed.body, `"company": "Fjord"`) {
		t.Errorf("%v\n%s", err, signed.body)
	}
	for _, path := range []string{"/api/proof?month=2026-13", "/api/proof?days=0", "/api/proof?days=1&month=2026-11", "/api/proof/now/csv", "/api/proof/" + url.PathEscape("../x") + "/signed"} {
		if a := h.do("GET", path, sue, nil); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{"/api/proof", "/api/proof/late", "/api/proof/alarms", "/api/proof/key", "/api/proof/" + month + "/csv", "/api/proof/" + month + "/signed"} {
		if a := h.do("GET", path, eve, nil); a.status != 403 {
			t.Errorf("an agent's %s: %d", path, a.status)
		}
	}
}
