package voice

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// heard writes a matrix as "caller<agent": the caller hears the agent.
func (e ears) String() string {
	names := [seats]string{"caller", "agent", "third", "supervisor"}
	var out []string
	for a := range seats {
		for b := range seats {
			if e[a][b] {
				out = append(out, names[a]+"<"+names[b])
			}
		}
	}
	return strings.Join(out, " ")
}

func TestWhoHearsWhom(t *testing.T) {
	in := func(s ...seat) (here [seats]bool) {
		for _, x := range s {
			here[x] = true
		}
		return here
	}
	two, three := in(callerSeat, agentSeat), in(callerSeat, agentSeat, thirdSeat)
	watched := in(callerSeat, agentSeat, supervisorSeat)
	for _, c := range []struct {
		name  string
		scene scene
		want  string
		pairs bool
	}{
		{"a call", scene{here: two, talking: toCaller}, "caller<agent agent<caller", true},
		{"muted", scene{here: two, talking: toCaller, muted: true}, "agent<caller", true},
		{"on hold", scene{here: two, talking: toCaller, held: true}, "", true},
		{"the caller holds us", scene{here: two, talking: toCaller, callerHeld: true}, "", true},
		{"the agent's browser is away", scene{here: in(callerSeat), talking: toCaller}, "", true},
		{"consulting", scene{here: three, talking: toThird}, "agent<third third<agent", true},
		{"consulting, muted", scene{here: three, talking: toThird, muted: true}, "agent<third", true},
		{"swapped back", scene{here: three, talking: toCaller}, "caller<agent agent<caller", true},
		{"all three", scene{here: three, talking: toBoth}, "caller<agent caller<third agent<caller agent<third third<caller third<agent", false},
		{"all three, muted", scene{here: three, talking: toBoth, muted: true}, "caller<third agent<caller agent<third third<caller", false},
		{"all three, caller held", scene{here: three, talking: toBoth, held: true}, "agent<third third<agent", true},
		{"the agent has gone", scene{here: in(callerSeat, thirdSeat), talking: toThird, handed: true}, "caller<third third<caller", true},
		{"the agent's browser is away while consulting", scene{here: in(callerSeat, thirdSeat), talking: toThird}, "", true},
		{"listen", scene{here: watched, talking: toCaller, mode: listen}, "caller<agent agent<caller supervisor<caller supervisor<agent", false},
		{"whisper", scene{here: watched, talking: toCaller, mode: whisper},
			"caller<agent agent<caller agent<supervisor supervisor<caller supervisor<agent", false},
		{"barge", scene{here: watched, talking: toCaller, mode: barge},
			"caller<agent caller<supervisor agent<caller agent<supervisor supervisor<caller supervisor<agent", false},
		{"barge, agent muted", scene{here: watched, talking: toCaller, mode: barge, muted: true},
			"caller<supervisor agent<caller agent<supervisor supervisor<caller", false},
		{"barge into a consultation: the caller on hold hears music",
			scene{here: in(callerSeat, agentSeat, thirdSeat, supervisorSeat), talking: toThird, mode: barge},
			"agent<third agent<supervisor third<agent third<supervisor supervisor<agent supervisor<third", false},
	} {
		e := c.scene.ears()
		if e.String() != c.want || e.pairs() != c.pairs {
			t.Errorf("%s:\n got %s (pairs %v)\nwant %s (pairs %v)", c.name, e, e.pairs(), c.want, c.pairs)
		}
	}
}

// TestScenesKeepTheirPromises looks at any scene there can be.
func TestScenesKeepTheirPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s scene
		for i := range s.here {
			s.here[i] = rapid.Bool().Draw(t, "here")
		}
		s.talking = rapid.SampledFrom([]talk{toCaller, toThird, toBoth}).Draw(t, "talking")
		s.held, s.muted, s.callerHeld = rapid.Bool().Draw(t, "held"), rapid.Bool().Draw(t, "muted"), rapid.Bool().Draw(t, "callerHeld")
		s.mode = rapid.SampledFrom([]string{listen, whisper, barge}).Draw(t, "mode")
		e := s.ears()
		for a := range seats {
			for b := range seats {
				switch {
				case !e[a][b]:
				case a == b:
					t.Fatalf("%+v: somebody hears himself", s)
				case !s.here[a] || !s.here[b]:
					t.Fatalf("%+v: sound of or for somebody who is not there", s)
				case (a == callerSeat || b == callerSeat) && s.callerHeld:
					t.Fatalf("%+v: sound for or of a caller who holds us", s)
				case b == agentSeat && s.muted:
					t.Fatalf("%+v: a muted agent is heard", s)
				case b == supervisorSeat && (s.mode == listen || s.mode == whisper && a != agentSeat):
					t.Fatalf("%+v: a supervisor who must not be is heard", s)
				case (a == callerSeat || b == callerSeat) && (a == agentSeat || b == agentSeat) && s.held:
					t.Fatalf("%+v: sound between the agent and a caller on hold", s)
				}
			}
		}
	})
}
