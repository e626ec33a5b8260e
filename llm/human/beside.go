package human

import (
	"slices"
	"unicode"
)

// What stands beside a person in a clause and makes the mention a wish, or something else.

// conditional says whether the person is what the customer waits for: "until a human answers", "unless a person comes".
func conditional(row []symbol, at int) bool {
	if anyOf(row, hours) || at+1 < len(row) && row[at+1].is(hours) {
		return false
	}
	var cost float32
	for _, step := range []int{-1, 1} {
		for j := at + step; j >= 0 && j < len(row); j += step {
			if row[j].is(until) {
				return true
			}
			if cost += row[j].cost; row[j].is(never|machine) || cost > bridge {
				break
			}
		}
	}
	return false
}

// pastNear says whether the person is told of as past: "yesterday I talked to an agent". Words of the past that stand far
// off belong to another sentence of a long story.
func pastNear(row []symbol, at int) bool {
	for _, step := range []int{-1, 1} {
		var cost float32
		for j := at; j >= 0 && j < len(row) && cost <= bridge; j += step {
			if row[j].is(past) {
				return true
			}
			cost += row[j].cost
		}
	}
	return false
}

// demanded says whether a clause ends with the bare person and a word of hurry, or the person once more: "this is a joke
// real person now", "operator operator".
func demanded(row []symbol, at int) bool {
	hurry, rest := false, row[at+1:]
	for len(rest) > 0 && rest[0].text == row[at].text {
		hurry, rest = true, rest[1:]
	}
	for _, s := range rest {
		if !s.is(fill) || s.is(to|want|ask) && !s.is(urge) {
			return false
		}
		hurry = hurry || s.is(urge)
	}
	if !hurry || anyOf(row, said|past|hours|not) || slices.ContainsFunc(row, symbol.qualifies) {
		return false
	}
	j := at - 1
	for j >= 0 && row[j].is(fill) && !row[j].is(to) {
		j--
	}
	return j < 0 || row[j].class == 0 || row[j].is(hello|machine)
}

// ordered says whether a clause begins with a word of hurry and the bare person: "please an agent I do not understand".
func ordered(row []symbol, at int) bool {
	hurry := false
	for _, s := range row[:at] {
		if !s.is(fill|hello) || s.is(not|to|want) {
			return false
		}
		hurry = hurry || s.is(urge)
	}
	return hurry && (at+1 == len(row) || row[at+1].is(fill|hello|not) || row[at+1].class == 0) && !anyOf(row, said|past|hours)
}

// described says whether the unknown words between the wanting and the person belong to the person: "I want a qualified
// person", "I want that it is seen by a person". A verb of its own does not: "I want to rate an agent", "to send it to a person".
func described(row []symbol, at int) bool {
	led := false // to a person
	for j := at - 1; j >= 0; j-- {
		switch s := row[j]; {
		case s.is(to):
			led = true
		case s.class == 0:
			if led || j > 0 && (row[j-1].is(to) || row[j-1].is(want) && !row[j-1].is(fill)) {
				return false
			}
		case s.is(want):
			return true
		}
	}
	return true
}

// acts says whether the person is the one who does something else: "must a manager sign", "may an employee open my parcel".
func acts(row []symbol, at int) bool {
	from := at - 1
	for from > 0 && row[from].is(fill) && !row[from].is(want) {
		from--
	}
	next := at + 1
	if next < len(row) && row[next].is(fill) && row[next].is(ask) { // "to"
		next++
	}
	if from >= 0 && row[from].is(want) && row[from].is(ask) && next+1 < len(row) && row[next].class == 0 {
		return true
	}
	for _, s := range row[at+1:] {
		if !s.is(fill) || s.is(never|urge) { // hurry ends it: "need human asap order 4411 broken"
			return s.is(never) && !s.is(fill|said|hours|hello|past)
		}
	}
	return false
}

// fromHouse says whether nothing follows a name but where somebody works and what asks for them: "from claims, please", "from billing, is she there".
func fromHouse(row []symbol, at int) bool {
	strange, asked := 0, false
	for i, s := range row[at+1:] {
		switch {
		case s.is(name) && i == 0:
		case s.is(exist|here|want|ask|urge|hello) && !s.is(to):
			asked = true
		case s.is(never | not | said | past | hours):
			return false
		case s.is(fill | weak | person):
		case s.class == 0:
			strange++
		default:
			return false
		}
	}
	return asked && strange <= 2
}

// lastIn says whether nothing follows the person but words that stand between, or hurry.
func lastIn(row []symbol, at int) bool {
	for _, s := range row[at+1:] {
		if !s.is(fill|hello) || s.is(to|want|ask|help|person|weak) && !s.is(urge) {
			return false
		}
	}
	return true
}

// wishesThat says whether the clause is a wish that ends in the person: "chcem, aby sa na to pozrel človek".
func wishesThat(row []symbol, at int) bool {
	if !lastIn(row, at) {
		return false
	}
	for i := range at {
		if row[i].is(that) && (row[i].is(want) || i > 0 && row[i-1].is(want)) {
			return !anyOf(row[:at], not|never|said|past|machine|enough|hours)
		}
	}
	return false
}

// relates says whether a relative clause follows the person: "somebody who knows about it".
func relates(row []symbol, at int) bool { return at+1 < len(row) && row[at+1].is(relative) }

// present says whether somebody named is asked after: "is Maria in today", beside the name only words of the house.
func present(row []symbol, at int) bool {
	found, others := len(row) <= 4 && anyOf(row, exist), 0
	for i, s := range row {
		switch {
		case i == at:
		case s.is(here):
			found = true
		case s.is(fill|ask|exist|hello|name|title|want|weak|help|past) || s.is(after) && i > at:
		case s.class == 0: // "from billing"
			others++
		default:
			return false
		}
	}
	return found && others <= 1
}

// helps says whether beside the weak person stands something that only a person would do: "call me", "take over".
func helps(row []symbol, at int) bool {
	for _, step := range []int{1, -1} {
		for j := at + step; j >= 0 && j < len(row); j += step {
			if row[j].is(help) && !row[j].is(soft) {
				return true
			}
			if !row[j].is(fill | ask | want | to | help | exist | hello) {
				break
			}
		}
	}
	return false
}

func hasTongue(row []symbol) bool {
	for _, s := range row {
		if s.is(tongue) {
			return true
		}
	}
	return false
}

// isPerson looks at the neighbours: a "2 person tent", an "agent fee" and "my insurance agent" are no person of ours.
func isPerson(row []symbol, at int) bool {
	if at > 0 && (row[at-1].qualifies() || counts(row[at-1].text)) {
		return false
	}
	next := at + 1
	if row[at].is(weak) && !row[at].is(person) && next < len(row) && row[next].is(machine) { // "mit einer Maschine"
		return false
	}
	for next < len(row) && row[next].is(person) && !row[next].is(after) {
		next++
	}
	return next >= len(row) || !row[next].is(after)
}

// counts says whether w is a number above one.
func counts(w string) bool {
	for _, r := range w {
		if !unicode.IsDigit(r) {
			return false
		}
	}
	return w != "" && w != "1"
}
