package channels

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Realm is what our registrar calls itself in a challenge; HA1 depends on it.
const Realm = "patchbay"

// Device is a SIP telephone on an agent's table.
type Device struct {
	ID       int64  `json:"id" db:"id"`
	AgentID  int64  `json:"agent_id" db:"agent_id"`
	Label    string `json:"label" db:"label"`
	Username string `json:"username" db:"username"`
	Digest   string `json:"digest" db:"digest"` // md5, sha256: the one algorithm that it is challenged with
	// HA1 is hex of H(username:patchbay:password). Whoever has it can sign in as the device, so it stays here.
	HA1       Secret    `json:"-" db:"ha1"`
	Enabled   bool      `json:"enabled" db:"enabled"`
	CreatedAt time.Time `json:"created_at" db:"created_at"`
}

// HA1 is what digest makes of a password (RFC 7616 3.4.2), in our realm.
func HA1(digest, username, password string) Secret {
	text := []byte(username + ":" + Realm + ":" + password)
	if digest == "sha256" {
		sum := sha256.Sum256(text)
		return Secret(hex.EncodeToString(sum[:]))
	}
	sum := md5.Sum(text) // what most telephones know; nothing else rests on it
	return Secret(hex.EncodeToString(sum[:]))
}

var deviceUser = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,31}$`)

// Clean checks every field.
func (d *Device) Clean() (err error) {
	if d.Label, err = label("label", d.Label, 0); err != nil {
		return err
	}
	d.Username = strings.ToLower(strings.TrimSpace(d.Username))
	if !deviceUser.MatchString(d.Username) {
		return invalid("username", "2 to 32 small letters, digits, dots and dashes were expected, such as ana-desk.")
	}
	return oneOf("digest", d.Digest, "md5", "sha256")
}

const deviceColumns = `id, agent_id, label, username, digest, ha1, enabled, created_at`

// Devices reads all telephones.
func Devices(ctx context.Context, q Querier) ([]Device, error) {
	return all[Device](ctx, q, "devices", `select `+deviceColumns+` from devices order by username`)
}

// AddDevice stores a new telephone, makes d what is stored, and returns its password, which is stored nowhere.
// Invalid names the field; Conflict: the user name is taken.
func AddDevice(ctx context.Context, tx pgx.Tx, d *Device) (password string, err error) {
	if err := d.Clean(); err != nil {
		return "", err
	}
	password = devicePassword()
	saved, err := one[Device](ctx, tx, `insert into devices (agent_id, label, username, digest, ha1, enabled) values ($1, $2, $3, $4, $5, $6)
		returning `+deviceColumns, d.AgentID, d.Label, d.Username, d.Digest, string(HA1(d.Digest, d.Username, password)), d.Enabled)
	if err != nil {
		return "", refused(err, "add device")
	}
	*d = *saved
	return password, nil
}

// ChangeDevice changes whose telephone it is, its label, and whether it may sign in. User name and digest belong to
// the password; they stay.
func ChangeDevice(ctx context.Context, tx pgx.Tx, d *Device) error {
	old, err := get[Device](ctx, tx, "telephone", `select `+deviceColumns+` from devices where id = $1 for update`, d.ID)
	if err != nil {
		return err
	}
	if err := d.Clean(); err != nil {
		return err
	}
	if d.Username != old.Username {
		return invalid("username", "The user name belongs to the password and stays: delete this telephone and add a new one.")
	}
	if d.Digest != old.Digest {
		return invalid("digest", "The algorithm belongs to the password and stays: delete this telephone and add a new one.")
	}
	saved, err := one[Device](ctx, tx, `update devices set agent_id = $2, label = $3, enabled = $4 where id = $1
		returning `+deviceColumns, d.ID, d.AgentID, d.Label, d.Enabled)
	if err != nil {
		return refused(err, "change device")
	}
	*d = *saved
	return nil
}

// ResetDevice gives a telephone a new password and forgets where it is registered.
func ResetDevice(ctx context.Context, tx pgx.Tx, id int64) (d *Device, password string, err error) {
	d, err = get[Device](ctx, tx, "telephone", `select `+deviceColumns+` from devices where id = $1 for update`, id)
	if err != nil {
		return nil, "", err
	}
	password = devicePassword()
	d.HA1 = HA1(d.Digest, d.Username, password)
	if _, err := tx.Exec(ctx, `update devices set ha1 = $2 where id = $1`, id, string(d.HA1)); err != nil {
		return nil, "", wrapped(err, "reset device")
	}
	if _, err := tx.Exec(ctx, `delete from registrations where device_id = $1`, id); err != nil {
		return nil, "", wrapped(err, "forget registrations")
	}
	return d, password, nil
}

// DeleteDevice removes a telephone and its registrations; NotFound when there is none.
func DeleteDevice(ctx context.Context, tx pgx.Tx, id int64) error {
	return remove(ctx, tx, "telephone", `delete from devices where id = $1`, id)
}

// devicePassword is 100 bits in letters that can be typed on a telephone's keys: no capitals, no signs, nothing that
// looks like something else.
func devicePassword() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32
	b := make([]byte, 20)
	rand.Read(b) // never fails, see crypto/rand
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b)
}

// Registration is where a telephone can be reached now.
type Registration struct {
	DeviceID  int64     `json:"device_id" db:"device_id"`
	Instance  string    `json:"instance" db:"instance"`   // +sip.instance, else the contact's address
	Contact   string    `json:"contact" db:"contact"`     // URI
	Source    string    `json:"source" db:"source"`       // where the packets come from: the way back through NAT
	Transport string    `json:"transport" db:"transport"` // udp, tcp, tls
	CallID    string    `json:"-" db:"call_id"`
	CSeq      int64     `json:"-" db:"cseq"`
	UserAgent string    `json:"user_agent" db:"user_agent"`
	NodeID    string    `json:"node_id" db:"node_id"` // holds the connection
	ExpiresAt time.Time `json:"expires_at" db:"expires_at"`
}

const registrationColumns = `device_id, instance, contact, source, transport, call_id, cseq, user_agent, node_id, expires_at`

// Registrations reads the registrations that have not expired, of one telephone or (0) of all.
func Registrations(ctx context.Context, q Querier, deviceID int64) ([]Registration, error) {
	return all[Registration](ctx, q, "registrations", `select `+registrationColumns+` from registrations
		where ($1 = 0 or device_id = $1) and expires_at > clock_timestamp() order by device_id, expires_at desc, instance`, deviceID)
}

// SaveRegistration stores one contact of a telephone. false: a request of the same Call-ID with this or a higher CSeq was
// here before (RFC 3261 10.3, 7).
func SaveRegistration(ctx context.Context, q Querier, r Registration) (bool, error) {
	row, err := one[Registration](ctx, q, `insert into registrations as r (`+registrationColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		on conflict (device_id, instance) do update set contact = $3, source = $4, transport = $5, call_id = $6, cseq = $7,
			user_agent = $8, node_id = $9, expires_at = $10
		where r.call_id <> $6 or r.cseq < $7 returning `+registrationColumns,
		r.DeviceID, r.Instance, r.Contact, r.Source, r.Transport, r.CallID, r.CSeq, r.UserAgent, r.NodeID, r.ExpiresAt)
	return row != nil, wrapped(err, "save registration")
}

// DeleteRegistrations forgets one contact of a telephone or ("") all of them.
func DeleteRegistrations(ctx context.Context, tx pgx.Tx, deviceID int64, instance string) error {
	_, err := tx.Exec(ctx, `delete from registrations where device_id = $1 and ($2 = '' or instance = $2)`, deviceID, instance)
	return wrapped(err, "forget registrations")
}
