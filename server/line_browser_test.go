package main

import (
	"testing"

	"patchbay/llm/llmtest"
)

// TestBrowserWaitingLine: an admin adds a skill and a queue that asks for it, with hours and an overflow, sees wrong fields
// named, gives an agent the skill, and reads in the desk why somebody still waits; then the queue goes and nobody with it.
func TestBrowserWaitingLine(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, env...)
	h.openDesk(b, "ana", nil)

	b.click("ana", "link", "^Waiting line$")
	b.click("ana", "link", "Skills and breaks")
	b.fill("ana", "#skill-name", "French")
	b.click("ana", "button", "Add the skill")
	b.see("ana", "nobody has it yet")
	b.picture("ana", "line-skills")

	b.click("ana", "link", "Queues")
	b.click("ana", "button", "Add a queue")
	b.fill("ana", "#line-name", "Boutique")
	b.fill("ana", "#line-skills", "German 3")
	b.click("ana", "button", "Save the queue")
	b.see("ana", "There is no skill “German”")
	b.fill("ana", "#line-skills", "French 3\nFrench 2 after 600")
	b.fill("ana", "#line-offer_seconds", "3")
	b.click("ana", "button", "Save the queue")
	b.see("ana", "An offer rings 5 to 120 seconds.")
	b.picture("ana", "line-wrong")
	b.fill("ana", "#line-offer_seconds", "20")
	b.fill("ana", "#line-promise_share", "100")
	b.click("ana", "button", "Save the queue")
	b.see("ana", "The share to keep is 1 to 99 per cent.")
	b.fill("ana", "#line-promise_share", "90")
	b.fill("ana", "#line-week", "Mon-Sun 00:00-24:00")
	b.click("ana", "button", "Add a rule")
	b.fill("ana", "[aria-label='Words 1']", "It takes longer than usual today.")
	b.picture("ana", "line-queue")
	b.click("ana", "button", "Save the queue")
	b.see("ana", "Mon-Sun 00:00-24:00")
	h.eventually("the queue is stored", `select promise_share = 90 and strategy = 'longest_idle' and hours->'week' @> '[{"day": "sunday", "from": "00:00", "to": "24:00"}]'
		and exists (select from queue_overflows where queue_id = queues.id) from queues where name = 'Boutique'`)
	b.picture("ana", "line-queues")

	b.click("ana", "link", "^Agents$")
	b.click("ana", "button", "Change Ana")
	b.do("click", frame{"page": "ana", "label": "Boutique"})
	b.choose("ana", "French", "level 2")
	b.picture("ana", "line-agent")
	b.click("ana", "button", "Save the agent")
	b.see("ana", "French 2")

	one[int64](h, `with c as (insert into contacts (name) values ('Odile Marchand') returning id)
		insert into conversations (contact_id, queue_id, channel, state, waiting_since) select c.id, q.id, 'chat', 'waiting', now() from c, queues q where q.name = 'Boutique' returning id`)
	b.click("ana", "link", "^Desk")
	b.do("evaluate", frame{"page": "ana", "js": `location.reload()`}) // the row came behind the flow's back
	b.click("ana", "tab", "Waiting")
	b.see("ana", "Not even the one agent of the queue Boutique has the skill French 3")
	b.click("ana", "link", "Odile Marchand")
	b.see("ana", "Next in line")
	b.do("until", frame{"page": "ana", "js": `document.querySelector('.waitcard .needs')?.textContent === 'French 3'`})
	b.picture("ana", "line-why")
	b.dark("ana")
	b.picture("ana", "line-why-dark")

	b.click("ana", "link", "^Waiting line$")
	b.click("ana", "button", "Change Boutique")
	b.picture("ana", "line-queue-dark")
	b.click("ana", "button", "Cancel")
	b.click("ana", "button", "Delete Boutique")
	b.click("ana", "button", "Delete the queue")
	b.see("ana", "Boutique is gone. 1 conversation belongs to Service now.")
	h.eventually("nobody is lost", `select state in ('waiting', 'offered') from conversations where queue_id = (select id from queues where name = 'Service') and contact_id = (select id from contacts where name = 'Odile Marchand')`)
}
