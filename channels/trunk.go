package channels

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Secret is a password that comes in and never goes out: not as JSON, not in a log line.
type Secret string

// MarshalJSON implements json.Marshaler: always the empty text.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`""`), nil }

// String implements fmt.Stringer; slog uses it, too.
func (Secret) String() string { return "(secret)" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "(secret)" }

// Trunk is a way to the telephone network: a carrier, or a PBX of the company. What each field may hold is in
// trunkrules.go; SaveTrunk stores nothing else.
type Trunk struct {
	ID      int64  `json:"id" db:"id"`
	Name    string `json:"name" db:"name"`
	Enabled bool   `json:"enabled" db:"enabled"`

	// Outward: tried in this order, the healthy ones first.
	Servers   []string `json:"servers" db:"servers"`     // host, host:port or [v6]:port
	Transport string   `json:"transport" db:"transport"` // udp, tcp, tls
	Domain    string   `json:"domain" db:"domain"`       // in From and To; "" = the first server's host
	Priority  int      `json:"priority" db:"priority"`   // the lowest is dialled first, the next on failure

	// Inward: addresses and networks that may send us anything at all.
	Sources   []string `json:"sources" db:"sources"`
	Challenge bool     `json:"challenge" db:"challenge"` // and must they know the password
	Digest    string   `json:"digest" db:"digest"`       // md5, sha256: what we challenge with

	Username        string `json:"username" db:"username"`
	AuthUsername    string `json:"auth_username" db:"auth_username"` // "" = Username
	Password        Secret `json:"password" db:"password"`
	HasPassword     bool   `json:"has_password" db:"has_password"` // with an empty Password: the stored one stays
	Register        bool   `json:"register" db:"register"`
	RegisterSeconds int    `json:"register_seconds" db:"register_seconds"`
	OptionsSeconds  int    `json:"options_seconds" db:"options_seconds"` // health; 0 = not asked

	Codecs     []string `json:"codecs" db:"codecs"` // in order: PCMU, PCMA, G722, opus
	SRTP       string   `json:"srtp" db:"srtp"`     // off, optional, required
	SRTPKeys   string   `json:"srtp_keys" db:"srtp_keys"`
	SignalIP   string   `json:"signal_ip" db:"signal_ip"` // announced to this trunk; "" = the settings' or the facing address
	MediaIP    string   `json:"media_ip" db:"media_ip"`
	Latch      string   `json:"latch" db:"latch"`             // auto, on, off
	ForceRport bool     `json:"force_rport" db:"force_rport"` // answer to the source whatever Via says

	NumberFormat   string `json:"number_format" db:"number_format"` // outward: e164, plain (without +), national, asis
	CountryCode    string `json:"country_code" db:"country_code"`   // "49": how national numbers become E.164
	NationalPrefix string `json:"national_prefix" db:"national_prefix"`
	CallerHeader   string `json:"caller_header" db:"caller_header"` // from, pai, ppi, rpid
	CalledHeader   string `json:"called_header" db:"called_header"` // ruri, to, pcpid, diversion
	CallerNumber   string `json:"caller_number" db:"caller_number"` // shown when an agent chooses none
	MayRefer       bool   `json:"may_refer" db:"may_refer"`
	MayRedirect    bool   `json:"may_redirect" db:"may_redirect"`

	// The dial policy: a stolen login must not run up a bill.
	DialOut         bool     `json:"dial_out" db:"dial_out"`
	AllowedPrefixes []string `json:"allowed_prefixes" db:"allowed_prefixes"` // empty = the own country only
	BlockedPrefixes []string `json:"blocked_prefixes" db:"blocked_prefixes"` // go before allowed
	International   bool     `json:"international" db:"international"`       // anything outside CountryCode
	MaxCalls        int      `json:"max_calls" db:"max_calls"`               // at once, both directions
	MaxCallsOut     int      `json:"max_calls_out" db:"max_calls_out"`       // at once, outward
	MaxCallsHour    int      `json:"max_calls_hour" db:"max_calls_hour"`     // outward, per agent
	MaxCallsDay     int      `json:"max_calls_day" db:"max_calls_day"`       // outward, in all
	MaxMoneyDay     float64  `json:"max_money_day" db:"max_money_day"`
	MoneyPerMinute  float64  `json:"money_per_minute" db:"money_per_minute"` // where no rate says otherwise
	Rates           []Rate   `json:"rates" db:"rates"`                       // longest prefix wins

	CreatedAt time.Time `json:"created_at" db:"created_at"`
	ChangedAt time.Time `json:"changed_at" db:"changed_at"`
}

// NewTrunk is what a new trunk begins with: nothing goes out, nobody comes in, and limits that keep a bill small.
func NewTrunk() Trunk {
	return Trunk{Enabled: true, Servers: []string{}, Transport: "udp", Priority: 10, Sources: []string{}, Digest: "md5",
		RegisterSeconds: 600, OptionsSeconds: 60, Codecs: []string{"PCMU", "PCMA"}, SRTP: "off", SRTPKeys: "sdes", Latch: "auto",
		ForceRport: true, NumberFormat: "e164", NationalPrefix: "0", CallerHeader: "pai", CalledHeader: "ruri",
		AllowedPrefixes: []string{}, BlockedPrefixes: []string{}, MaxCalls: 30, MaxCallsOut: 10, MaxCallsHour: 100, MaxCallsDay: 500,
		MaxMoneyDay: 20, MoneyPerMinute: 0.1, Rates: []Rate{}}
}

// UnmarshalJSON implements json.Unmarshaler: what is not given is as in NewTrunk.
func (t *Trunk) UnmarshalJSON(data []byte) error {
	type plain Trunk
	p := plain(NewTrunk())
	err := json.Unmarshal(data, &p)
	*t = Trunk(p)
	return err
}

// Rate is what a minute to numbers with that prefix costs.
type Rate struct {
	Prefix    string  `json:"prefix"`
	PerMinute float64 `json:"per_minute"`
}

// TrunkState is what one node knows of a trunk right now.
type TrunkState struct {
	TrunkID    int64     `json:"trunk_id" db:"trunk_id"`
	NodeID     string    `json:"node_id" db:"node_id"`
	NodeName   string    `json:"node_name" db:"node_name"`
	Registered bool      `json:"registered" db:"registered"`
	Healthy    bool      `json:"healthy" db:"healthy"`
	Server     string    `json:"server" db:"server"`         // in use
	Error      string    `json:"error" db:"error"`           // of an unhealthy or unregistered one, in words
	AnswerMS   int       `json:"answer_ms" db:"answer_ms"`   // how long the last OPTIONS took; 0 = not asked
	ChangedAt  time.Time `json:"changed_at" db:"changed_at"` // so it is since then
	SeenAt     time.Time `json:"seen_at" db:"seen_at"`       // last looked at
}

// settable are a trunk's columns that SaveTrunk writes, in the order of the struct.
func (t *Trunk) settable() (columns []string, values pgx.NamedArgs) {
	values = pgx.NamedArgs{"id": t.ID}
	v := reflect.ValueOf(t).Elem()
	for i := range v.NumField() {
		switch column := v.Type().Field(i).Tag.Get("db"); column {
		case "id", "has_password", "created_at", "changed_at":
		case "password":
			columns, values[column] = append(columns, column), string(t.Password)
		default:
			columns = append(columns, column)
			values[column] = v.Field(i).Interface()
		}
	}
	return columns, values
}

func trunkColumns() string {
	columns, _ := new(Trunk).settable()
	return "id, created_at, changed_at, password <> '' as has_password, " + strings.Join(columns, ", ")
}

// Trunks reads all trunks with their passwords, in the order in which they are dialled.
func Trunks(ctx context.Context, q Querier) ([]Trunk, error) {
	return all[Trunk](ctx, q, "trunks", `select `+trunkColumns()+` from trunks order by priority, name`)
}

// GetTrunk reads a trunk; NotFound when there is none.
func GetTrunk(ctx context.Context, q Querier, id int64) (*Trunk, error) {
	return get[Trunk](ctx, q, "trunk", `select `+trunkColumns()+` from trunks where id = $1`, id)
}

// SaveTrunk stores a new trunk (ID 0) or changes one, and makes t what is stored. An empty Password beside HasPassword
// leaves the stored one. Invalid names the field; Conflict: the name is taken; NotFound. The caller publishes
// TrunkSubject after the commit.
func SaveTrunk(ctx context.Context, tx pgx.Tx, t *Trunk) error {
	if t.ID != 0 {
		old, err := get[Trunk](ctx, tx, "trunk", `select `+trunkColumns()+` from trunks where id = $1 for update`, t.ID)
		if err != nil {
			return err
		}
		if t.HasPassword && t.Password == "" {
			t.Password = old.Password
		}
	}
	if err := t.Clean(); err != nil {
		return err
	}
	columns, values := t.settable()
	names, args := strings.Join(columns, ", "), "@"+strings.Join(columns, ", @")
	sql := `insert into trunks (` + names + `) values (` + args + `) returning `
	if t.ID != 0 {
		sql = `update trunks set (` + names + `, changed_at) = (` + args + `, clock_timestamp()) where id = @id returning `
	}
	saved, err := one[Trunk](ctx, tx, sql+trunkColumns(), values)
	if err != nil {
		return refused(err, "save trunk")
	}
	*t = *saved
	return nil
}

// DeleteTrunk removes a trunk; numbers that pointed at it take calls from any. NotFound when there is none.
func DeleteTrunk(ctx context.Context, tx pgx.Tx, id int64) error {
	return remove(ctx, tx, "trunk", `delete from trunks where id = $1`, id)
}

// TrunkStates reads what the living nodes know of all trunks.
func TrunkStates(ctx context.Context, q Querier) ([]TrunkState, error) {
	return all[TrunkState](ctx, q, "trunk states", `select s.trunk_id, s.node_id, n.name as node_name, s.registered, s.healthy,
			s.server, s.error, s.answer_ms, s.changed_at, s.seen_at
		from trunk_states s join nodes n on n.id = s.node_id
		where n.stopped_at is null and n.seen_at > clock_timestamp() - interval '10 seconds'
		order by s.trunk_id, n.name`)
}

// SetTrunkState writes what a node has found out. ChangedAt moves only when something else than the time it took has
// changed; changed tells so, and the caller publishes TrunkStateSubject then. A trunk that is deleted meanwhile is no error.
func SetTrunkState(ctx context.Context, q Querier, s TrunkState) (changed bool, err error) {
	type was struct{ Changed bool }
	row, err := one[was](ctx, q, `with old as (select * from trunk_states where trunk_id = $1 and node_id = $2), saved as (
			insert into trunk_states as s (trunk_id, node_id, registered, healthy, server, error, answer_ms)
			select $1, $2, $3, $4, $5, $6, $7 where exists (select from trunks where id = $1)
			on conflict (trunk_id, node_id) do update set
				changed_at = case when (s.registered, s.healthy, s.server, s.error) = ($3, $4, $5, $6) then s.changed_at else clock_timestamp() end,
				registered = $3, healthy = $4, server = $5, error = $6, answer_ms = $7, seen_at = clock_timestamp()
			returning trunk_id)
		select not exists (select from old where (registered, healthy, server, error) = ($3, $4, $5, $6)) as changed from saved`,
		s.TrunkID, s.NodeID, s.Registered, s.Healthy, s.Server, s.Error, s.AnswerMS)
	if err != nil || row == nil {
		return false, wrapped(err, "set trunk state")
	}
	return row.Changed, nil
}
