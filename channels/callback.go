package channels

import "time"

// CallTimes is when a customer in line can be called back.
type CallTimes struct {
	Open    bool        `json:"open"`    // people answer now: also at their turn
	Times   []time.Time `json:"times"`   // to choose from; where nobody answers now the first is the opening
	Zone    string      `json:"zone"`    // of the queue's clock, such as Europe/Berlin
	Tries   int         `json:"tries"`   // so often we try,
	Minutes int         `json:"minutes"` // with such a pause
}
