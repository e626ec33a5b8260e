package channels

// State is where a conversation stands. This file is the only list: the check in the migrations and the generated
// TypeScript are compared with it by tests.
type State string

const (
	New     State = "new"
	Bot     State = "bot"     // the responder answers
	Waiting State = "waiting" // in line for a person
	Offered State = "offered" // rings at one agent
	Agent   State = "agent"   // a person has it
	Wrapup  State = "wrapup"  // the agent's time after
	Closed  State = "closed"
)

// States lists every state in the order of a conversation's life.
var States = []State{New, Bot, Waiting, Offered, Agent, Wrapup, Closed}

// moves is the whole table: from -> to.
var moves = map[State][]State{
	New:     {Bot, Waiting, Closed},
	Bot:     {Waiting, Closed},
	Waiting: {Offered, Bot, Closed},   // bot: the customer's own "no, go on"; closed: the customer left
	Offered: {Waiting, Agent, Closed}, // waiting: declined, missed; closed: the customer left
	Agent:   {Waiting, Wrapup},        // waiting: transfer, or the agent was lost
	Wrapup:  {Agent, Waiting, Closed}, // agent: the customer writes during wrap-up; waiting: calls again, agent gone
	Closed:  {Bot, Waiting},           // the customer comes back
}

// CanMove tells whether a conversation in state from may become to.
func CanMove(from, to State) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// Sources lists the states from which to can be reached; a guarded UPDATE names them.
func Sources(to State) []string {
	var from []string
	for _, s := range States {
		if CanMove(s, to) {
			from = append(from, string(s))
		}
	}
	return from
}

// Open tells whether the conversation is still somebody's work.
func (s State) Open() bool { return s != Closed }
