package channels

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kinds of Number.
const (
	QueueNumber = "queue" // people call it and reach a queue
	EchoNumber  = "echo"  // says back what it hears: for testing
)

// Number is a telephone number of ours.
type Number struct {
	Number    string    `json:"number" db:"number"` // E.164, or a short number as it is dialled
	Label     string    `json:"label" db:"label"`
	Kind      string    `json:"kind" db:"kind"`
	QueueID   *int64    `json:"queue_id" db:"queue_id"`   // nil: the first queue
	TrunkID   *int64    `json:"trunk_id" db:"trunk_id"`   // nil: by any trunk; else also the trunk that calls with it
	CallerID  bool      `json:"caller_id" db:"caller_id"` // agents may show it when they call out
	Languages []string  `json:"languages" db:"languages"` // of the responder: the greeting's, then what is offered by key; none: the settings'
	CreatedAt time.Time `json:"created_at" db:"created_at"`
}

// Clean checks every field and brings the number to the form in which it is stored.
func (n *Number) Clean() (err error) {
	if n.Number, err = cleanNumber("number", n.Number); err != nil {
		return err
	}
	if n.Label, err = label("label", n.Label, 0); err != nil {
		return err
	}
	if err := oneOf("kind", n.Kind, QueueNumber, EchoNumber); err != nil {
		return err
	}
	return n.cleanLanguages()
}

// MaxLanguages is how many languages a number may have: more than keys 1 to 8 nobody listens to.
const MaxLanguages = 8

var languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[a-z]{2})?$`)

func (n *Number) cleanLanguages() error {
	if n.Languages == nil {
		n.Languages = []string{}
	}
	if len(n.Languages) > MaxLanguages {
		return FailField(Invalid, "languages", "At most 8 languages.")
	}
	for i, l := range n.Languages {
		l = strings.ToLower(strings.TrimSpace(l))
		if !languageTag.MatchString(l) {
			return FailField(Invalid, "languages", "Languages by their codes, the greeting's first: en, de.")
		}
		if slices.Contains(n.Languages[:i], l) {
			return FailField(Invalid, "languages", "Each language once.")
		}
		n.Languages[i] = l
	}
	return nil
}

const numberColumns = `number, label, kind, queue_id, trunk_id, caller_id, languages, created_at`

// Numbers reads all numbers of ours.
func Numbers(ctx context.Context, q Querier) ([]Number, error) {
	return all[Number](ctx, q, "numbers", `select `+numberColumns+` from numbers order by number`)
}

// SaveNumber stores a number, new or not, and makes n what is stored. Invalid names the field. The caller publishes
// TrunkSubject after the commit.
func SaveNumber(ctx context.Context, tx pgx.Tx, n *Number) error {
	if err := n.Clean(); err != nil {
		return err
	}
	saved, err := one[Number](ctx, tx, `insert into numbers (number, label, kind, queue_id, trunk_id, caller_id, languages) values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (number) do update set label = $2, kind = $3, queue_id = $4, trunk_id = $5, caller_id = $6, languages = $7
		returning `+numberColumns, n.Number, n.Label, n.Kind, n.QueueID, n.TrunkID, n.CallerID, n.Languages)
	if err != nil {
		return refused(err, "save number")
	}
	*n = *saved
	return nil
}

// DeleteNumber removes a number; NotFound when there is none.
func DeleteNumber(ctx context.Context, tx pgx.Tx, number string) error {
	return remove(ctx, tx, "number", `delete from numbers where number = $1`, CleanPhone(number))
}
