package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patchbay/server/db/dbtest"
)

// proofSeed: 20 wishes by chat, told after 0.1 s, offered after n s, first word after 10 n s; the last two are late. One more is
// late and open, one customer left, one came at night, one is synthetic, and one was brought by people-first.
const proofSeed = `
insert into queues (name, promise_seconds) values ('=1+1', 180);
insert into agents (login, name) values ('ana', 'Ana');
insert into contacts (name) select 'c' || n from generate_series(1, 30) n;
update contacts set synthetic = true where id = 24;
insert into conversations (contact_id, queue_id, channel, state) select n, 1, 'chat', 'waiting' from generate_series(1, 26) n;
insert into promises (conversation_id, source, contact_id, queue_id, queue_name, channel, opened_at, acknowledged_at, due_at, closed_at, closed_by, broken_at, in_hours, synthetic)
	select n, case n when 25 then 'people_first' else 'words' end, n, 1, '=1+1', 'chat', t, t + interval '0.1 s', t + interval '180 s',
		case when n < 21 then t + n * interval '10 s' when n = 21 then null else t + interval '5 s' end,
		case when n < 21 then 'agent' when n = 21 then '' when n = 22 then 'contact' else 'agent' end,
		case when n in (19, 20, 21) then t + interval '180 s' end, n <> 23, n = 24
	from generate_series(1, 25) n, (select timestamptz '2026-11-05 12:00:00Z') as x(t);
insert into offers (conversation_id, agent_id, offered_at, expires_at, outcome) select n, 1, timestamptz '2026-11-05 12:00:00Z' + n * interval '1 s', now(), 'accepted' from generate_series(1, 20) n;
insert into messages (conversation_id, seq, author, channel, kind, body) values (26, 1, 'ai', 'chat', 'text', 'Yes.');
update conversations set created_at = '2026-11-05 12:00:00Z';`

func TestProof(t *testing.T) {
	pool := dbtest.Pool(t)
	if _, err := pool.Exec(t.Context(), proofSeed); err != nil {
		t.Fatal(err)
	}
	from, to, err := Month("2026-11")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ReadProof(t.Context(), pool, from, to)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Rows) != 1 || len(p.Synthetic) != 1 || p.Synthetic[0].Wishes != 1 {
		t.Fatalf("%+v", p)
	}
	r := p.Rows[0]
	if r.Wishes != 23 || r.InHours != 22 || r.Open != 0 || r.Kept != 19 || r.Broken != 3 || r.Left != 1 || r.Target != 180 {
		t.Errorf("counts: %+v", r)
	}
	if r.Share == nil || *r.Share < 85.7 || *r.Share > 85.72 { // 18 of 21 in hours
		t.Errorf("share: %v", number(r.Share))
	}
	for what, c := range map[string]struct {
		got  Times
		want [3]float64
	}{"told": {r.Acknowledged, [3]float64{0.1, 0.1, 0.1}}, "offered": {r.Offered, [3]float64{10, 19, 20}}, "first word": {r.FirstWord, [3]float64{100, 190, 200}}} {
		for i, f := range []*float64{c.got.P50, c.got.P95, c.got.P99} {
			if f == nil || *f != c.want[i] {
				t.Errorf("%s: %s, want %v", what, number(f), c.want[i])
			}
		}
	}
	if d := p.Days; len(d) != 1 || d[0].Day != "2026-11-05" || d[0].Kept != 18 || d[0].Broken != 3 || *d[0].Share != *r.Share || *d[0].P50 != 100 || *d[0].P95 != 190 {
		t.Errorf("days: %+v", d)
	}
	b := p.Budgets[0]
	if b.Promises != 21 || b.Broken != 3 || b.Allowed < 1.04 || b.Allowed > 1.06 || b.Used == nil || *b.Used < 285 || *b.Used > 286 {
		t.Errorf("budget: %+v", b)
	}
	if m := p.Model[0]; m.Conversations != 25 || m.Alone != 1 || *m.Share != 4 {
		t.Errorf("model: %+v", m)
	}
	if late, err := Late(t.Context(), pool); err != nil || len(late) != 1 || late[0].ConversationID != 21 || late[0].ContactName != "c21" {
		t.Errorf("late: %+v, %v", late, err)
	}
	text, err := p.CSV()
	table, err2 := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || err2 != nil || len(table) != 3 || table[1][1] != "'=1+1" || table[1][18] != "190.000" || table[2][0] != "synthetic" {
		t.Errorf("CSV: %v %v\n%s", err, err2, text)
	}
	if none, err := ReadProof(t.Context(), pool, to, to.AddDate(0, 1, 0)); err != nil || len(none.Rows) != 0 {
		t.Errorf("December: %+v, %v", none, err)
	}
}

func TestSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	k, err := OpenKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := OpenKey(dir); err != nil || again.Public() != k.Public() {
		t.Errorf("the key is another one after a restart: %v", err)
	}
	if st, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", st.Mode(), err)
	}
	p := &Proof{From: time.Unix(0, 0).UTC(), Rows: []ProofRow{{QueueName: `a <b> & "c"`, Kept: 3}}}
	text, err := p.JSON(k, "Fjord & Co")
	if err != nil {
		t.Fatal(err)
	}
	if key, err := Verify(text, k.Public()); err != nil || key != k.Public() {
		t.Errorf("our own report: %s %v", key, err)
	}
	var dense bytes.Buffer
	if err := json.Compact(&dense, text); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(dense.Bytes(), ""); err != nil {
		t.Errorf("the same without spaces: %v", err)
	}
	other, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ text, expected string }{
		"a figure changed":   {strings.Replace(string(text), `"kept": 3`, `"kept": 4`, 1), ""},
		"another's key":      {string(text), other.Public()},
		"the key exchanged":  {strings.Replace(string(text), k.Public(), other.Public(), 1), ""},
		"no signature":       {`{"report": {}}`, ""},
		"a short key":        {`{"report": {}, "algorithm": "Ed25519", "public_key": "AAAA", "signature": ""}`, ""},
		"not JSON":           {"hello", ""},
		"nothing was signed": {`{"algorithm": "Ed25519", "public_key": "` + k.Public() + `", "signature": ""}`, ""},
	} {
		if _, err := Verify([]byte(c.text), c.expected); err == nil {
			t.Errorf("%s: verified", what)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(dir); err == nil {
		t.Error("a broken key file is taken")
	}
}
