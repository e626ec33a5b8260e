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
)

// TestSpokenWish says wishes for a person in many ways and voices over a bad line to the recogniser that we ship, and counts
// what the house takes for one. One voice says each of them, in turn; all say all of them with PATCHBAY_TEST_SPEECH_REPORT, which
// deploy/speech-bench.sh sets.
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
	all := os.Getenv("PATCHBAY_TEST_SPEECH_REPORT") != ""
	type tally struct{ wishes, reached, matters, alarms int }
	counts := map[string]*tally{}
	var mu sync.Mutex
	var lanes sync.WaitGroup
	free := make(chan struct{}, 4) // callers at once
	try := func(n int, text, voice string, wish bool) {
		free <- struct{}{}
		lanes.Go(func() {
			defer func() { <-free }()
			pcm := speechtest.Louder(says[voice](text, voicetest.Rate), 12000)
			line := speechtest.Line(slices.Concat(make([]int16, voicetest.Rate/2), pcm, make([]int16, voicetest.Rate/2)), 0.02, uint64(n))
			heard := understand(line, voicetest.Rate)
			reached := human.Read(heard, human.Context{Channel: channels.Voice}).Yes
			mu.Lock()
			defer mu.Unlock()
			c := counts[voice]
			if c == nil {
				c = &tally{}
				counts[voice] = c
			}
			switch {
			case wish:
				c.wishes++
				if reached {
					c.reached++
				} else {
					t.Logf("lost: %s says %q, heard %q; as it was said: %v", voice, text, heard, human.Read(text, human.Context{Channel: channels.Voice}).Yes)
				}
			default:
				c.matters++
				if reached {
					c.alarms++
					t.Logf("false: %s says %q, heard %q", voice, text, heard)
				}
			}
		})
	}
	for n, text := range slices.Concat(spokenWishes, spokenMatters) {
		for v, voice := range voices {
			if all || n%len(voices) == v {
				try(n, text, voice, n < len(spokenWishes))
			}
		}
	}
	lanes.Wait()
	var total tally
	for _, voice := range voices {
		c := counts[voice]
		t.Logf("%-16s %d of %d wishes reach a person, %d of %d other matters do", voice, c.reached, c.wishes, c.alarms, c.matters)
		total = tally{total.wishes + c.wishes, total.reached + c.reached, total.matters + c.matters, total.alarms + c.alarms}
	}
	fmt.Printf("spoken wishes for a person at 8 kHz, µ-law, noise and 2 %% loss: %d of %d (%.1f %%) reach one; of %d other matters %d do\n",
		total.reached, total.wishes, 100*float64(total.reached)/float64(total.wishes), total.matters, total.alarms)
	if total.reached*100 < total.wishes*leastReached || total.alarms > total.matters/20 {
		t.Errorf("%+v: %d %% of the wishes should reach a person, and hardly anything else", total, leastReached)
	}
}

// leastReached is the share of spoken wishes that must reach a person, in percent, and may only rise. What is lost is lost in the
// ear: of the same words, written, all but one in fifty do.
const leastReached = 75
