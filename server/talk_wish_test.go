package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"patchbay/channels"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/human"
)

// spokenWishes are what callers say who want a person; spokenMatters, who want something else.
var (
	spokenWishes = []string{
		"I want to talk to a person.", "I would like to speak to a human being, please.", "Can I talk to a real person?", "Operator.",
		"Representative, please.", "Agent.", "Put me through to somebody.", "Connect me to customer service, please.",
		"Could you transfer me to an agent?", "Is there a real person there?", "I need to speak with someone.", "Let me talk to a human.",
		"Get me your manager.", "I want to speak to your supervisor.", "Give me a real human.", "Please get me a person.",
		"I don't want to talk to a machine.", "Stop. I want a human.", "Can somebody call me back?", "May I speak with a member of your staff?",
		"I'd rather talk to a person.", "Can you put me through to a colleague?", "Speak to an agent.", "Talk to a representative.",
		"Is anybody there who can help me?", "I would prefer to speak with a real person about this.", "Transfer me, please.", "A human, please.",
		"No, I want a person.", "This is not helping. I need a person.", "I have asked twice now. Give me an agent.", "Could I speak to someone in sales?",
		"I want to talk to someone about my order.", "Please connect me with a live agent.", "Are you a robot? I want a real person.", "Can I have a word with one of your colleagues?",
		"Person, please.", "Just put me through to a human being.", "I'd like to be connected to an operator.", "Would you hand me over to somebody who knows?",
		"Let me speak to somebody in charge.", "I need help from a real person.", "Can I talk to somebody?", "I want to complain to your boss.",
		"Somebody real, please.", "Customer service.", "Please let me talk to an actual human.", "I can't use this. Get me a human.",
	}
	spokenMatters = []string{
		"What are your opening hours?", "How much does the shipping cost?", "I want to return a tent.", "My order has not arrived yet.",
		"Do you have this jacket in a larger size?", "Thank you, that was all.", "How long does a repair take?", "I was charged twice for the same order.",
		"Yes, that would be fine.", "Can I pay by bank transfer?", "Which tent is the lightest?", "I want to change my delivery address.",
	}
	// The second lists were written before what sounds like a wish was taken for one, and heard once before anything was fitted to them;
	// the third ones after that: deploy/decisions.md has what they gave at the first shot, which "ring me back" has since been added for.
	secondWishes = []string{
		"Hello, could you get me a sales person on the phone?", "I would like to be put through to a manager.", "Is it possible to talk with a real person?", "Give me somebody from your team.",
		"Stop this and connect me with a human being.", "How do I reach an operator?", "I'd like a representative to call me back.", "Please, I just want to speak with somebody.",
		"Can you transfer me to technical support?", "Let me have a word with the supervisor.", "I am not talking to a computer.", "Real person.",
		"Manager, please.", "I need an agent now.", "Who can I speak to about a refund?", "You do not understand me. Let me speak to an employee.",
		"Could a colleague of yours ring me?", "I wish to speak with a representative about my bill.", "Hand me over to a human agent.", "Get somebody on the line.",
	}
	secondMatters = []string{
		"Do you sell tents for four people?", "I want a tent for two people.", "A tent, please.", "My parcel was damaged.",
		"I would like to order a stove.", "Can I send it back after thirty days?", "Please cancel my order.", "The zip of my jacket is broken.",
		"How many people fit in the large tent?", "Where is my parcel?", "I need a new battery for my lamp.", "Can you tell me the price of the small backpack?",
		"What is the weight of it?", "Is it waterproof?", "Do you ship to Norway?", "I bought it last summer.",
		"My order number is four seven one two.", "No, thank you.", "I talked to my wife and we will keep it.", "Somebody has already signed for the parcel.",
		"Is there a discount for students?", "Give me a moment.", "Get me two pairs of socks, please.", "Ten percent, please.",
		"I want to speak about the delivery.", "Can I use it in the winter?", "The operator of the lift gave me this card.", "My agent at the bank says the payment went through.",
		"Could you repeat that?", "When will it arrive?", "I have lost the receipt.", "Put it in the basket, please.",
		"Transfer the amount to my bank account.", "I need a present for a person who likes hiking.", "Do you have a shop in Berlin?", "A medium, please.",
		"The customer service card says thirty days.", "Let me think about it.", "Please send me the manual.", "I am looking for something to read.",
	}
	thirdWishes = []string{
		"Could you connect me to a colleague, please?", "I want a real person on the phone.", "Please transfer me to your customer service.", "Can I speak to the manager?",
		"I would rather talk to a human being.", "Would you put me through to an advisor?", "Let me speak with a real agent.", "I need to talk to somebody at your company.",
		"Is there anybody I can talk to?", "Give me your supervisor.", "I do not want to talk to a computer.", "Can someone ring me back?",
		"Just give me a person.", "Put me through to an operator, please.", "I have a question for one of your people, connect me.", "Human, please.",
		"Sorry, I want to speak to a person instead.", "Get me somebody who can decide.", "I would like to talk to an employee.", "Hand me to an agent.",
	}
	thirdMatters = []string{
		"Can I get a receipt?", "Give me the lighter one.", "I want to talk about a refund.", "Is there a warranty on it?",
		"Which sleeping bag is the warmest?", "I need to return two jackets.", "Could you tell me the size?", "My payment did not go through.",
		"I would like to speak German.", "Put two of them in the order.", "Is there anything cheaper?", "The machine does not work.",
		"I don't want to take it to the shop.", "Get me the blue one, please.", "I need a permit for the park.", "How do I reach the camp site?",
		"Can I have the invoice again?", "The agency booked it for us.", "Please change the name on the order.", "I would like to buy a present.",
		"Send the manual to my address.", "One person said it was too small.", "Customs has opened the box.", "I need a mattress.",
		"Do you have a catalogue?", "A hammock, please.", "It is for a summer trip.", "The colours are different.",
		"I can hear you now.", "What time do you close on Sunday?", "Can you call the courier?", "Let me take another one.",
		"I have already paid.", "Connect the hose to the stove, how?", "Would a smaller one do?", "I want to give it to a friend.",
		"It has a hole.", "Can it carry a heavy person?", "Representing the club, we need ten tents.", "Operating it is hard.",
	}
)

// TestSpokenWish says wishes for a person in many ways and voices over a bad line to the recogniser that we ship, and counts
// what the house takes for one. One voice says each of the first list, in turn; all say all the lists with PATCHBAY_TEST_SPEECH_REPORT:
//
//	PATCHBAY_TEST_SPEECH_REPORT=1 go test -count=1 -timeout 20m -run '^TestSpokenWish$' -v ./server
func TestSpokenWish(t *testing.T) {
	t.Parallel()
	e := voicetest.Engines(t, nil)
	understand := voicetest.Understand(t, e)
	voices := []string{"our own"}
	says := map[string]func(text string, rate int) []int16{"our own": voicetest.Voice(t, e)}
	for _, s := range speechtest.Speakers {
		if s.Present() {
			voices = append(voices, s.Name)
			says[s.Name] = func(text string, rate int) []int16 { return s.Says(t, text, rate) }
		}
	}
	lists := []struct {
		name            string
		wishes, matters []string
	}{{"first", spokenWishes, spokenMatters}, {"second", secondWishes, secondMatters}, {"third", thirdWishes, thirdMatters}}
	all := os.Getenv("PATCHBAY_TEST_SPEECH_REPORT") != ""
	if !all {
		lists = lists[:1]
	}
	for _, list := range lists {
		counts := make([]wishTally, len(voices))
		var mu sync.Mutex
		var lanes sync.WaitGroup
		free := make(chan struct{}, 4) // callers at once
		try := func(n int, text string, v int, wish bool) {
			free <- struct{}{}
			lanes.Go(func() {
				defer func() { <-free }()
				pcm := speechtest.Louder(says[voices[v]](text, voicetest.Rate), 12000)
				line := speechtest.Line(slices.Concat(make([]int16, voicetest.Rate/2), pcm, make([]int16, voicetest.Rate/2)), 0.02, uint64(n))
				heard := understand(line, voicetest.Rate)
				mu.Lock()
				defer mu.Unlock()
				if w := human.Read(heard, human.Context{Channel: channels.Voice}); counts[v].count(w, wish) {
					t.Logf("wrong: %s says %q, heard %q: %+v; as it was said: %v", voices[v], text, heard, w, human.Read(text, human.Context{Channel: channels.Voice}).Yes)
				}
			})
		}
		for n, text := range slices.Concat(list.wishes, list.matters) {
			for v := range voices {
				if all || n%len(voices) == v {
					try(n, text, v, n < len(list.wishes))
				}
			}
		}
		lanes.Wait()
		var total wishTally
		for v, voice := range voices {
			t.Logf("%-16s %v", voice, counts[v])
			total.add(counts[v])
		}
		fmt.Printf("spoken wishes for a person at 8 kHz, µ-law, noise and 2 %% loss, %s list: %v\n", list.name, total)
		if total.reached*100 < total.wishes*leastReached || total.alarms > total.matters/20 {
			t.Errorf("%v: %d %% of the wishes should reach a person, and hardly anything else", total, leastReached)
		}
	}
}

// wishTally counts what became of what was said.
type wishTally struct{ wishes, reached, asked, matters, alarms, vain int }

// count takes one more, and says whether it was not understood.
func (c *wishTally) count(w human.Wish, wish bool) (wrong bool) {
	hits := [2]int{}
	if w.Yes {
		hits[0] = 1
	} else if w.Unsure {
		hits[1] = 1
	}
	if wish {
		c.add(wishTally{wishes: 1, reached: hits[0], asked: hits[1]})
		return !w.Yes
	}
	c.add(wishTally{matters: 1, alarms: hits[0], vain: hits[1]})
	return w.Yes
}

func (c *wishTally) add(o wishTally) {
	*c = wishTally{c.wishes + o.wishes, c.reached + o.reached, c.asked + o.asked, c.matters + o.matters, c.alarms + o.alarms, c.vain + o.vain}
}

// String is a line of the report.
func (c wishTally) String() string {
	return fmt.Sprintf("%d of %d wishes (%.1f %%) reach a person, %d more are asked whether they want one; of %d other matters %d do, %d are asked",
		c.reached, c.wishes, 100*float64(c.reached)/float64(max(c.wishes, 1)), c.asked, c.matters, c.alarms, c.vain)
}

// leastReached is the share of spoken wishes that must reach a person, in percent, and may only rise. What is lost is lost in the
// ear: of the same words, written, all but one in fifty do.
const leastReached = 80
