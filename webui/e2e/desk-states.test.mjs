// Every state of the desk, against the scripted server: states that a real server shows only for a moment or only when
// something is broken. Each is looked at by axe in both themes and at three widths; the phone talks real WebRTC with
// another page. Needs the built desk (npm run build) and a chromium.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { AxeBuilder } from '@axe-core/playwright'
import * as desk from './desk.mjs'
import { late } from './scripted/proof.mjs'
import { ScriptedServer } from './scripted/server.mjs'

const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const built = existsSync(new URL('../dist/desk/index.html', import.meta.url))
const skip = built ? false : 'the desk is not built: npm run build'
let browser

before(async () => {
  if (built) browser = await desk.openBrowser()
})
after(() => browser?.close())

// stage gives a test its own server and agent's window and fails it on any script error or refusal by the page's policy.
async function stage(t, options) {
  const server = await new ScriptedServer().start()
  const page = await desk.openDesk(browser, options)
  const errors = []
  page.on('pageerror', (err) => errors.push(err.message))
  page.on('console', (m) => /Content Security Policy|\[Vue/.test(m.text()) && errors.push(m.text()))
  t.after(async () => {
    await page.context().close()
    await server.stop()
    assert.deepEqual(errors, [])
  })
  return { server, page, link: `${server.url}/desk/#link=once` }
}

async function clean(page, state) {
  const { violations } = await new AxeBuilder({ page }).withTags(tags).analyze()
  assert.deepEqual(violations.map((v) => `${state}: ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(' | ')}`), [])
}

test('sign-in: errors under the fields, a used link, a link leaves the address bar', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await page.goto(`${server.url}/desk/`)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('Write your login name.').waitFor()
  await clean(page, 'sign-in errors')
  await page.getByLabel('Login').fill('ana')
  await page.getByLabel('Password').fill('wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('Login or password is wrong.').waitFor()
  assert.equal(await page.getByLabel('Password').getAttribute('aria-invalid'), 'true')

  await page.goto(`${server.url}/desk/#link=stale`)
  await page.getByText('This link was used or is too old.').waitFor()
  await page.goto('about:blank')
  await page.goto(link)
  await page.getByLabel('New password').fill('short')
  await page.getByRole('button', { name: 'Set password' }).click()
  await page.getByText('At least 10 characters.').waitFor()
  assert.ok(!page.url().includes('once'))
  await clean(page, 'set a password')
  await page.getByLabel('New password').fill('correct horse battery')
  await page.getByRole('button', { name: 'Set password' }).click()
  await page.getByRole('tab', { name: /^Mine/ }).waitFor()
  assert.ok(server.house.me.has_password)
})

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing in any state, ${colorScheme}`, { skip }, async (t) => {
    const { server, page, link } = await stage(t, { colorScheme })
    await desk.signIn(page, link)
    await page.getByText('Saskia Brandmoor').waitFor()
    await clean(page, 'nothing open')
    await desk.openConversation(page, 'Jonas Falkenried')
    await page.getByText('Batch 26-07').waitFor()
    await clean(page, 'conversation')
    await page.getByRole('button', { name: /^Quoted part/ }).click()
    await page.getByRole('button', { name: 'Add an address' }).click()
    await clean(page, 'address form')
    await desk.openConversation(page, 'Runa Lie')
    await clean(page, 'wrap-up')
    server.offer(1)
    await desk.waitForOffer(page)
    await clean(page, 'offer')
    server.endOffer('missed')
    await page.getByRole('alertdialog').getByText('Missed').waitFor()
    await clean(page, 'missed offer')
    for (const [key, name] of [['Control+k', 'Find or do'], ['?', 'Keys']]) {
      await page.getByRole('heading', { level: 1 }).click()
      await page.keyboard.press(key)
      await page.getByRole('dialog', { name }).waitFor()
      await clean(page, name)
      await page.keyboard.press('Escape')
    }
    await desk.openConversation(page, 'Saskia')
    await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'Transfer' }).click()
    await clean(page, 'transfer')
    await page.keyboard.press('Escape')
    for (const viewport of [{ width: 1100, height: 760 }, { width: 320, height: 700 }]) {
      await page.setViewportSize(viewport)
      await clean(page, `conversation at ${viewport.width}`)
      await page.getByRole('button', { name: 'Contact', exact: true }).click()
      await clean(page, `contact at ${viewport.width}`)
      await page.getByRole('button', { name: 'Close the contact' }).click()
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), viewport.width)
    }
    await page.getByRole('link', { name: 'Back to the list' }).click()
    await clean(page, 'list at 320')
  })
}

test('words of a customer are never markup', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  await desk.openConversation(page, 'Jonas Falkenried')
  server.say(1, { body: '<script>window.broken = 1</script><img src=x onerror="window.broken = 1"><b>bold</b>' })
  await desk.waitForMessage(page, '<b>bold</b>', { author: 'contact' })
  assert.equal(await desk.timeline(page).locator('b, img, script').filter({ hasText: 'bold' }).count(), 0)
  assert.equal(await page.evaluate(() => window.broken), undefined)
  assert.deepEqual(await page.locator('.sources a').evaluateAll((all) => all.map((a) => a.getAttribute('href'))), ['https://shop.example/skarv'])
})

test('the hand-over: each line leads to its message, from the offer too; its words are never markup; a shown card is told', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  await desk.openConversation(page, 'Jonas Falkenried')
  const card = page.getByRole('region', { name: 'Hand-over' })
  await card.getByText('Not verified.').waitFor()
  assert.equal(await card.locator('b:not(#handover-title), i:not(.i), img').count(), 0)
  assert.deepEqual(await card.getByRole('button', { name: 'Tried: show message' }).evaluateAll((all) => all.map((b) => b.textContent)), ['5', '6'])
  await card.getByRole('button', { name: 'Wants: show message 1' }).click()
  await page.waitForFunction(() => document.activeElement?.id === 'm1')
  await card.getByRole('button', { name: 'Promised: show message 8' }).click()
  await page.waitForFunction(() => document.activeElement?.id === 'm8')
  assert.deepEqual(await sent(server, 'card_read'), { type: 'card_read', conversation_id: 1, after: 8 })

  await desk.openConversation(page, 'Saskia Brandmoor')
  server.offer(1)
  const offer = await desk.waitForOffer(page, 'Jonas Falkenried')
  await offer.getByRole('button', { name: 'Open question: show message 7' }).click()
  await page.waitForFunction(() => document.activeElement?.id === 'm7')
  await offer.waitFor()
})

for (const colorScheme of ['light', 'dark']) {
  test(`a call is written down: partial words, then the words of each side, ${colorScheme}`, { skip }, async (t) => {
    const { server, page, link } = await stage(t, { colorScheme })
    await desk.signIn(page, link)
    await desk.openConversation(page, 'Jonas Falkenried')
    const words = (over) => ({ id: 0, conversation_id: 1, seq: 0, author: 'contact', agent_id: null, channel: 'voice', kind: 'transcript', body: '', private: true, client_id: null, data: { call_id: 7 }, at: new Date().toISOString(), ...over })
    server.push({ type: 'transcript', conversation_id: 1, message: words({ body: 'my st' }) })
    server.push({ type: 'transcript', conversation_id: 1, message: words({ body: 'my stove <b>leaks</b>' }) })
    const partial = page.locator('.heard.partial')
    await partial.filter({ hasText: 'my stove <b>leaks</b>' }).waitFor()
    assert.equal(await partial.count(), 1)
    server.push({ type: 'transcript', conversation_id: 1, message: words({ author: 'agent', agent_id: 1, body: 'one mo' }) })
    await partial.nth(1).waitFor()
    await clean(page, 'partial words')
    server.say(1, { channel: 'voice', kind: 'transcript', private: true, body: 'my stove <b>leaks</b> <img src=x onerror="window.broken = 1">', data: { call_id: 7 } })
    await page.locator('.heard:not(.partial)').filter({ hasText: 'my stove <b>leaks</b>' }).waitFor()
    assert.equal(await partial.count(), 1)
    server.push({ type: 'transcript', conversation_id: 1, message: words({ author: 'agent', agent_id: 1, body: '' }) })
    await partial.waitFor({ state: 'detached' })
    assert.equal(await page.evaluate(() => window.broken), undefined)
    await clean(page, 'written down')
  })
}

for (const colorScheme of ['light', 'dark']) {
  test(`the hand-over is whispered: a button ends it, ${colorScheme}`, { skip }, async (t) => {
    const { server, page, link } = await stage(t, { colorScheme })
    await desk.signIn(page, link)
    server.call({ call_id: 7, conversation_id: 1, state: 'connecting', role: 'agent', direction: 'in', from: 'Jonas Falkenried', recording: 'off', held: false, muted: false, whispering: true, started_at: new Date().toISOString() })
    await page.getByText('You hear the hand-over. Jonas hears music.').waitFor()
    await clean(page, 'whispering')
    await page.getByRole('button', { name: 'Skip, talk now' }).click()
    assert.equal((await sent(server, 'dtmf')).digit, '#')
  })
}

test('wrap-up: a draft is put in by a click, never saved by itself; without a model the truth stands there', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  const closes = []
  const act = server.act.bind(server)
  server.act = (row, verb, body) => (verb === 'close' && closes.push(body), act(row, verb, body))
  await desk.signIn(page, link)
  await desk.openConversation(page, 'Runa Lie')
  const form = page.getByRole('form', { name: 'Wrap-up' })
  await form.getByText('Draft by qwen3:4b, may be wrong.').waitFor()
  assert.equal(await form.getByLabel('Note').inputValue(), '')
  assert.equal(await form.locator('b').filter({ hasText: 'Nothing' }).count(), 0)
  await clean(page, 'draft of a wrap-up')
  await form.getByRole('button', { name: 'Use the draft' }).click()
  assert.match(await form.getByLabel('Note').inputValue(), /^Runa asked/)
  assert.equal(await form.getByRole('radio', { name: 'Solved' }).isChecked(), true)
  assert.deepEqual(closes, [])
  await desk.closeConversation(page, 'Solved', 'My own words')
  assert.deepEqual(closes.map((c) => c.note), ['My own words'])

  server.house.draft = { summary: '', disposition: '', model: '', why: 'The model is with a customer.' }
  server.row(9).state = 'wrapup'
  await page.reload()
  await desk.openConversation(page, 'Runa Lie')
  await form.getByText('No draft. The model is with a customer.').waitFor()
})

test('an unsent reply survives refusals, a cut connection and a reload, and is stored once', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  await desk.openConversation(page, 'Jonas Falkenried')
  server.fail = (method, path) => (method === 'POST' && path.endsWith('/messages') ? { status: 503, body: { code: 'unavailable', message: 'away' } } : undefined)
  await page.getByRole('textbox', { name: /^Reply/ }).fill('Bergen has three of them.')
  await page.keyboard.press('Control+Enter')
  await page.getByText('Not sent yet. We keep trying.').waitFor()
  for (const tab of [...server.tabs]) tab.cut()
  await page.reload()
  await page.getByText('Bergen has three of them.').waitFor()
  server.fail = () => undefined
  await desk.waitForMessage(page, 'Bergen has three of them.', { author: 'agent' })
  await page.getByText('Not sent yet').waitFor({ state: 'detached' })
  assert.equal((await desk.messages(page)).filter((m) => m.text === 'Bergen has three of them.').length, 1)
  assert.equal(new Set(server.posts.map((p) => p.client_id)).size, 1)
})

test('a lost frame is read again: the timeline has no gap and nothing twice', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  await desk.openConversation(page, 'Jonas Falkenried')
  server.say(1, { body: 'this frame was lost' }, true)
  server.say(1, { body: 'this one came' })
  await desk.waitForMessage(page, 'this one came')
  await desk.waitForMessage(page, 'this frame was lost')
  for (const tab of [...server.tabs]) tab.cut()
  server.say(1, { body: 'said while away' }, true)
  await desk.waitForMessage(page, 'said while away')
  const seqs = (await desk.messages(page)).map((m) => m.seq)
  assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b))
})

test('the old list stays with its age while the server is away', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  await desk.openConversation(page, 'Jonas Falkenried')
  server.signedIn = false // refuses the socket
  for (const tab of [...server.tabs]) tab.cut()
  await page.getByText(/^The list is \d+ s old\. Reconnecting\.$/).waitFor()
  await page.getByText('You are offline. What you write is kept and sent when you are back.').waitFor()
  await clean(page, 'offline')
  server.signedIn = true
  await page.getByText(/^The list is \d+ s old/).waitFor({ state: 'detached' })
})

test('grey rows only after 300 ms, then the error in words', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  let free
  server.hold = new Promise((done) => (free = done))
  await desk.signIn(page, link)
  await page.locator('.row.grey').first().waitFor()
  await clean(page, 'loading')
  server.fail = (method, path) => (path === '/api/conversations' ? { status: 503, body: { code: 'unavailable', message: 'The database is away. Try again.' } } : undefined)
  await page.reload()
  await page.getByText('The database is away. Try again.').waitFor()
  free()
  server.fail = () => undefined
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.getByText('Saskia Brandmoor').waitFor()
})

test('a signed-out session leads to the sign-in page', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  server.signedIn = false
  for (const tab of server.tabs) tab.close(4401)
  await page.getByRole('heading', { name: 'Sign in to the desk' }).waitFor()
})

test('a new version offers to reload', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  server.build = 'two'
  for (const tab of [...server.tabs]) tab.cut()
  await page.getByRole('link', { name: 'Reload for the new version' }).waitFor()
})

test('an offer never takes the focus, and its keys work while typing', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  await desk.openConversation(page, 'Jonas Falkenried')
  const field = page.getByRole('textbox', { name: /^Reply/ })
  await field.fill('half a sent')
  server.offer(6)
  await desk.waitForOffer(page, 'Visitor 12')
  await page.keyboard.type('ence')
  assert.equal(await field.inputValue(), 'half a sentence')
  await page.keyboard.press('Control+Alt+KeyA')
  await page.getByRole('heading', { level: 1, name: 'Chat with Visitor 12' }).waitFor()
  await desk.openConversation(page, 'Jonas Falkenried')
  assert.equal(await page.getByRole('textbox', { name: /^Reply/ }).inputValue(), 'half a sentence')
  server.offer(7)
  await desk.waitForOffer(page, 'Petra')
  await page.keyboard.press('Control+Alt+KeyD')
  await desk.offerCard(page).waitFor({ state: 'detached' })
})

test('the whole work of a chat: take, note, transfer, end, close', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await desk.signIn(page, link)
  await desk.showList(page, 'All')
  await desk.openConversation(page, 'Petra')
  await desk.takeConversation(page)
  await desk.sendReply(page, 'Hello Petra')
  await desk.saveNote(page, 'calm')
  await desk.endConversation(page)
  await desk.closeConversation(page, 'Follow up', 'call her on Monday')
  assert.equal(server.row(7).disposition, 'follow_up')
  await desk.openConversation(page, 'Saskia')
  await desk.transferTo(page, 'Repairs', 'please look')
  assert.equal(server.row(2).queue_name, 'Repairs')
})

test('panes and lists by keys alone', { skip }, async (t) => {
  const { page, link } = await stage(t)
  await desk.signIn(page, link)
  await page.getByText('Saskia Brandmoor').waitFor()
  await page.keyboard.press('Alt+KeyJ')
  await page.getByRole('heading', { level: 1, name: 'Tent pole broken' }).waitFor()
  await page.keyboard.press('Alt+KeyJ')
  await page.getByRole('heading', { level: 1, name: 'Chat with Saskia' }).waitFor()
  await page.keyboard.press('Alt+KeyN')
  await page.waitForFunction(() => document.activeElement?.getAttribute('aria-label') === 'Private note')
  const panes = []
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press('F6')
    panes.push(await page.evaluate(() => document.activeElement?.closest('[data-pane]')?.getAttribute('aria-label')))
  }
  assert.deepEqual(panes, ['Contact', 'Softphone', 'Main', 'Conversations', 'Conversation'])
})

// sent waits until the tabs have sent so many frames of the type.
async function sent(server, type, times = 1) {
  for (const limit = Date.now() + 30_000; server.sentFrames.filter((f) => f.type === type).length < times; await new Promise((done) => setTimeout(done, 50))) {
    assert.ok(Date.now() < limit, `${type} was not sent ${times} times`)
  }
  return server.sentFrames.findLast((f) => f.type === type)
}

// caller is the other end of the line: a page that answers like the server would, with a tone of 440 Hz.
async function caller(server) {
  const page = await (await browser.newContext()).newPage()
  await page.goto(`${server.url}/desk/sign-in`)
  server.answerCall = (sdp, type) =>
    page.evaluate(async ([offer, type]) => {
      if (type === 'restart') {
        const pc = window.lines.at(-1)
        await pc.setRemoteDescription({ type: 'offer', sdp: offer })
        await pc.setLocalDescription(await pc.createAnswer())
        while (pc.iceGatheringState !== 'complete') await new Promise((done) => pc.addEventListener('icegatheringstatechange', done, { once: true }))
        return pc.localDescription.sdp
      }
      const ctx = new AudioContext()
      const tone = ctx.createOscillator()
      const out = ctx.createMediaStreamDestination()
      tone.connect(out)
      tone.start()
      const pc = new RTCPeerConnection()
      window.lines = [...(window.lines ?? []), pc]
      await pc.setRemoteDescription({ type: 'offer', sdp: offer })
      pc.addTrack(out.stream.getAudioTracks()[0], out.stream)
      await pc.setLocalDescription(await pc.createAnswer())
      while (pc.iceGatheringState !== 'complete') await new Promise((done) => pc.addEventListener('icegatheringstatechange', done, { once: true }))
      return pc.localDescription.sdp
    }, [sdp, type])
  return page
}

test('a call: accept, hear, mute, hold, keys, reload, a broken path, another tab, hang up', { skip }, async (t) => {
  const { server, page, link } = await stage(t, { rawAudio: true })
  const other = await caller(server)
  t.after(() => other.context().close())
  await desk.signIn(page, link)
  await page.bringToFront()
  const connects = () => server.sentFrames.filter((f) => f.type === 'connect').length

  server.offer(4, { return_call: false })
  await desk.waitForPhone(page, 'ringing')
  await clean(page, 'ringing')
  await desk.acceptOffer(page)
  await desk.waitForPhone(page, 'call')
  assert.ok((await desk.hears(page)) > 0.1)
  await desk.phoneBar(page).getByText(/^Line good, [\d.]+ % lost$/).waitFor()
  await clean(page, 'in call')

  await desk.toggleMute(page)
  await desk.phoneBar(page).getByText('Muted').waitFor()
  await desk.toggleMute(page)
  await desk.toggleHold(page)
  await desk.waitForPhone(page, 'held')
  await clean(page, 'held')
  await desk.toggleHold(page)
  await desk.waitForPhone(page, 'call')
  await desk.pressKeys(page, '1*0#')
  assert.equal(server.sentFrames.filter((f) => f.type === 'dtmf').map((f) => f.digit).join(''), '1*0#')

  await page.reload()
  await desk.waitForPhone(page, 'call')
  assert.ok((await desk.hears(page)) > 0.1)
  assert.equal(connects(), 2)

  // the signalling goes, the sound stays
  for (const tab of [...server.tabs]) tab.cut()
  await page.getByText(/^Line good/).waitFor()
  assert.equal(connects(), 2)

  // another network: the same line over new paths
  await page.evaluate(() => dispatchEvent(new Event('online')))
  await sent(server, 'restart')
  await desk.waitForPhone(page, 'call')
  assert.ok((await desk.hears(page)) > 0.1)
  assert.equal(connects(), 2)

  // the path goes and no restart helps: a new line is built
  await other.evaluate(() => window.lines.at(-1).close())
  await sent(server, 'connect', 3)
  await desk.waitForPhone(page, 'call')

  const second = await page.context().newPage()
  await second.goto(`${server.url}/desk/`)
  await desk.waitForPhone(second, 'elsewhere')
  await second.getByRole('button', { name: 'Use the phone here' }).click()
  await desk.waitForPhone(second, 'call')
  await desk.waitForPhone(page, 'elsewhere')
  await second.close()
  await desk.waitForPhone(page, 'call')

  await desk.hangUp(page)
  await desk.waitForPhone(page, 'ready')
  await desk.closeConversation(page)
})

test('no microphone is said in words, and the call goes on trying', { skip }, async (t) => {
  const { server, page, link } = await stage(t)
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))
  })
  await desk.signIn(page, link)
  server.offer(4, { return_call: false })
  await desk.acceptOffer(page)
  await desk.phoneBar(page).getByText(/does not let this page use the microphone/).first().waitFor()
})

test('calling out: refused in the server’s words, then dialling, ringing, talking, busy', { skip }, async (t) => {
  const { server, page, link } = await stage(t, { rawAudio: true })
  const other = await caller(server)
  t.after(() => other.context().close())
  await desk.signIn(page, link)
  await page.getByText('Saskia Brandmoor').waitFor()
  await page.getByRole('heading', { level: 1 }).click()
  await page.keyboard.press('d')
  await page.getByRole('dialog', { name: 'Call a number' }).waitFor()
  await clean(page, 'dialler')
  await page.keyboard.type('+1 900 555')
  await page.keyboard.press('Enter')
  await page.getByText('Calls to +1 are not allowed from here.').waitFor()
  await clean(page, 'dial refused')
  await page.keyboard.press('Escape')

  await desk.dial(page, '+49 (171) 555 0147', '+47 555 01 900')
  await desk.waitForPhone(page, 'dialling')
  assert.deepEqual(await sent(server, 'connect').then((f) => f.call_id), 78)
  await page.getByRole('heading', { level: 1, name: 'Tent pole broken' }).waitFor()
  server.call({ state: 'ringing' })
  await desk.waitForPhone(page, 'ringing')
  await clean(page, 'ringing out')
  server.call({ state: 'bridged' })
  await desk.waitForPhone(page, 'call')
  server.call({ state: 'ended', reason: 'busy' })
  await desk.phoneBar(page).getByText('Call ended: busy').first().waitFor()

  await desk.callContact(page, '+49 171 555 0147')
  await desk.waitForPhone(page, 'dialling')
})

for (const colorScheme of ['light', 'dark']) {
  test(`a colleague is asked: rings, fails, talks, swap, all three, complete, ${colorScheme}`, { skip }, async (t) => {
    const { server, page, link } = await stage(t, { rawAudio: true, colorScheme })
    const other = await caller(server)
    t.after(() => other.context().close())
    await desk.signIn(page, link)
    server.offer(4, { return_call: false })
    await desk.acceptOffer(page)
    await desk.waitForPhone(page, 'call')

    await page.keyboard.press('Alt+KeyT')
    await page.getByRole('option', { name: 'Tom Aske' }).waitFor()
    assert.equal(await page.getByRole('option', { name: 'Mira' }).count(), 0)
    await page.getByText('Not now: Mira Solheim (lunch), Nils Haugen (offline).').waitFor()
    await clean(page, 'transfer the call')
    await page.keyboard.press('Escape')

    await desk.consult(page, 'Tom', 'knows about stoves')
    await desk.waitForThird(page, 'Rings. +47 555 01 318 hears music.')
    await clean(page, 'consult rings')
    const third = { kind: 'agent', name: 'Tom Aske' }
    server.call({ third: { ...third, state: 'failed', reason: 'did not answer' }, talking_to: 'caller' })
    await desk.phoneBar(page).getByText('Tom did not answer. You are still with +47 555 01 318.').waitFor()
    await clean(page, 'consult failed')

    await desk.consult(page, 'Tom')
    server.call({ third: { ...third, state: 'talking' }, talking_to: 'third' })
    await desk.waitForThird(page, 'You talk. +47 555 01 318 hears music.')
    assert.equal(await desk.phoneBar(page).getByText('did not answer').count(), 0)
    await clean(page, 'consult talks')
    await desk.third(page, 'Swap')
    await desk.waitForThird(page, 'On hold, hears music. You are with +47 555 01 318.')
    await desk.third(page, 'All three')
    await desk.waitForThird(page, 'You, +47 555 01 318 and Tom talk.')
    for (const viewport of [{ width: 1100, height: 760 }, { width: 390, height: 844 }]) {
      await page.setViewportSize(viewport)
      await clean(page, `three at ${viewport.width}`)
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), viewport.width)
    }
    await desk.third(page, 'Complete')
    await desk.waitForPhone(page, 'ready')
    assert.deepEqual(server.sentFrames.filter((f) => f.target).map((f) => f.target), [{ kind: 'agent', agent_id: 3 }, { kind: 'agent', agent_id: 3 }])
    assert.deepEqual(server.posts.map((p) => [p.body, p.note]), [['knows about stoves', true]])
  })
}

test('passing on at once, to a number; the recording pauses for card data', { skip }, async (t) => {
  const { server, page, link } = await stage(t, { rawAudio: true })
  const other = await caller(server)
  t.after(() => other.context().close())
  await desk.signIn(page, link)
  server.offer(4, { return_call: false })
  await desk.acceptOffer(page)
  await desk.waitForPhone(page, 'call')
  await desk.pauseRecording(page)
  await clean(page, 'paused')
  await desk.resumeRecording(page)
  await desk.passOn(page, '+49 30 1234')
  await desk.waitForThird(page, 'Rings. +47 555 01 318 is being passed on.')
  assert.deepEqual(server.sentFrames.findLast((f) => f.type === 'transfer').target, { kind: 'number', number: '+49301234' })
})

test('a colleague asks me, and a supervisor listens, whispers, joins and leaves', { skip }, async (t) => {
  const { server, page, link } = await stage(t, { rawAudio: true })
  const other = await caller(server)
  t.after(() => other.context().close())
  await desk.signIn(page, link)
  const ask = (id) => server.call({ call_id: id, conversation_id: 7, role: 'consulted', state: 'ringing', name: 'Petra Wollin', third: { kind: 'agent', name: 'Mira Solheim', state: 'talking' }, talking_to: 'third' })
  ask(90)
  await desk.waitForAsk(page, 'Mira Solheim asks you')
  await clean(page, 'a colleague asks')
  await page.keyboard.press('Control+Alt+KeyD')
  await desk.waitForPhone(page, 'ready')
  assert.equal((await sent(server, 'decline')).call_id, 90)
  ask(91)
  await desk.answerColleague(page, 'Mira')
  await desk.waitForPhone(page, 'call')
  await clean(page, 'consulted')
  server.call({ state: 'ended', reason: '' })
  await desk.waitForPhone(page, 'ready')

  Object.assign(server.row(8), { call_id: 92, call_state: 'bridged', channel: 'voice' })
  server.house.me.role = 'supervisor'
  server.push({ type: 'presence', me: server.house.me })
  server.changed(server.row(8))
  await desk.showList(page, 'All')
  await desk.openConversation(page, 'Tom Aske')
  server.house.me.call = { call_id: 92, conversation_id: 8, role: 'supervisor', state: 'bridged', supervisor: 'listen' }
  await desk.listenTo(page)
  await clean(page, 'listening')
  await desk.superviseAs(page, 'Whisper')
  await desk.superviseAs(page, 'Join in')
  assert.deepEqual(server.sentFrames.filter((f) => f.type === 'supervise').map((f) => f.mode), ['listen', 'whisper', 'barge'])
  await desk.phoneBar(page).getByRole('button', { name: 'Leave' }).click()
  await desk.waitForPhone(page, 'ready')
})

test('a test call hears itself back', { skip }, async (t) => {
  const { server, page, link } = await stage(t, { rawAudio: true })
  const other = await caller(server)
  t.after(() => other.context().close())
  await desk.signIn(page, link)
  await desk.testCall(page)
  await clean(page, 'test call')
})

test('call doctor: verdicts, curves, addresses and ladder of a call, by keyboard, in both themes and narrow', { skip }, async (t) => {
  for (const view of [{ colorScheme: 'light' }, { colorScheme: 'dark' }, { colorScheme: 'light', viewport: { width: 420, height: 900 } }]) {
    const { server, page, link } = await stage(t, view)
    await desk.signIn(page, link)
    await page.goto(`${server.url}/desk/calls`)
    await page.getByRole('link', { name: /From Rosa Lindt/ }).waitFor()
    await clean(page, 'list of calls')
    await page.getByRole('link', { name: /From Rosa Lindt/ }).press('Enter')
    await page.getByText('Sound was lost on the way').waitFor()
    await page.getByText('the SDP announced 192.168.1.4:40000').waitFor()
    assert.equal(await page.getByRole('img', { name: /Loss over the call, at most 12 %/ }).count(), 1)
    const invite = page.getByRole('button', { name: /INVITE \(SDP\), from Customer to Patchbay/ })
    await invite.press('Enter')
    await page.getByText('m=audio 40000 RTP/AVP 0 8 101').waitFor()
    assert.equal(await invite.getAttribute('aria-expanded'), 'true')
    assert.equal(await page.getByRole('link', { name: 'Support bundle' }).getAttribute('href'), '/api/calls/7/bundle')
    await clean(page, `a call, ${view.colorScheme} ${view.viewport?.width ?? ''}`)
    if (process.env.SHOTS) {
      await page.evaluate(() => document.querySelector('#doctor').style.setProperty('overflow', 'visible'))
      await page.screenshot({ path: `${process.env.SHOTS}/doctor-${view.colorScheme}-${view.viewport?.width ?? 'wide'}.png`, fullPage: true })
    }
  }
})

test('reach: figures, broken promises that are owed, files; the rail says so until a person has spoken', { skip }, async (t) => {
  for (const view of [{ colorScheme: 'light' }, { colorScheme: 'dark' }, { colorScheme: 'light', viewport: { width: 420, height: 900 } }]) {
    const { server, page, link } = await stage(t, view)
    server.house.me.role = 'supervisor'
    server.house.late = late(server.house.rows[0])
    await desk.signIn(page, link)
    await page.goto(`${server.url}/desk/reach`)
    await page.getByRole('heading', { name: 'A human, always' }).waitFor()
    await page.getByText('97.1 %').first().waitFor()
    await page.getByText('People first in Repairs').waitFor()
    await page.getByText('E-mail: not measured.').waitFor()
    await page.getByRole('img', { name: /Share of promises kept on 18 days, lowest 89.6 % on/ }).waitFor()
    await page.getByText('The figures', { exact: true }).click()
    assert.equal(await page.getByRole('group', { name: 'Day by day, the table' }).getByRole('row').count(), 19)
    await page.getByText('The figures', { exact: true }).click()
    assert.match(await page.getByRole('link', { name: 'Signed JSON' }).getAttribute('href'), /^\/api\/proof\/\d{4}-\d\d\/signed$/)
    await clean(page, `reach, ${view.colorScheme} ${view.viewport?.width ?? ''}`)
    if (process.env.SHOTS) {
      await page.locator('.reach .days').screenshot({ path: `${process.env.SHOTS}/reach-days-${view.colorScheme}-${view.viewport?.width ?? 'wide'}.png` })
      await page.evaluate(() => document.querySelector('#reach').style.setProperty('overflow', 'visible'))
      await page.screenshot({ path: `${process.env.SHOTS}/reach-${view.colorScheme}-${view.viewport?.width ?? 'wide'}.png`, fullPage: true })
    }
    if (view.viewport) continue
    await page.getByText('A promise is broken.').waitFor()
    server.house.late = []
    server.push({ type: 'promises' })
    await page.getByText('A promise is broken.').waitFor({ state: 'detached' })
  }
})

test('a voicemail: marked in line, its sound and words in the timeline, called back from there, in both themes and narrow', { skip }, async (t) => {
  for (const view of [{ colorScheme: 'light' }, { colorScheme: 'dark' }, { colorScheme: 'light', viewport: { width: 420, height: 900 } }]) {
    const { server, page, link } = await stage(t, view)
    await desk.signIn(page, link)
    await desk.showList(page, 'Waiting')
    const row = page.getByLabel('Conversations', { exact: true }).getByRole('link').filter({ hasText: '+47 555 01 777' })
    await row.getByText('Voicemail', { exact: true }).waitFor()
    await row.click()
    const heard = desk.timeline(page).getByRole('article', { name: 'Voicemail from +47 555 01 777' })
    await heard.first().getByText('the pole of my tent is broken again').waitFor()
    await heard.first().getByRole('button', { name: 'Play the recording' }).waitFor()
    await heard.last().getByText('Not written down: our server failed while it was spoken.').waitFor()
    assert.equal(await heard.first().getByRole('button', { name: 'Call back' }).count(), 0) // it is nobody's yet
    await clean(page, `voicemail in line, ${view.colorScheme} ${view.viewport?.width ?? ''}`)
    await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'Take' }).click()
    await heard.first().getByRole('button', { name: 'Call back' }).waitFor()
    await page.getByRole('tab', { name: 'Reply' }).click()
    assert.match(await page.getByRole('textbox', { name: /^Reply/ }).getAttribute('placeholder'), /known by phone only/)
    await clean(page, `voicemail taken, ${view.colorScheme} ${view.viewport?.width ?? ''}`)
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/voicemail-${view.colorScheme}-${view.viewport?.width ?? 'wide'}.png` })
    await heard.first().getByRole('button', { name: 'Call back' }).click()
    await page.getByRole('region', { name: 'Softphone' }).getByText(/Calling|Dialling/).first().waitFor()
  }
})

test('call backs that nobody makes: above everything for who can act, taken or put back in line, gone when settled, in both themes and narrow', { skip }, async (t) => {
  for (const view of [{ colorScheme: 'light' }, { colorScheme: 'dark' }, { colorScheme: 'light', viewport: { width: 420, height: 900 } }]) {
    const { server, page, link } = await stage(t, view)
    const banner = page.getByRole('region', { name: 'Call backs to look at' })
    const [failed, due, others] = server.house.rows.filter((r) => r.state === 'waiting').slice(0, 3)
    server.house.me.role = 'supervisor'
    await desk.signIn(page, link)
    await page.getByRole('tab', { name: /^Waiting/ }).waitFor()
    assert.equal(await banner.count(), 0)
    Object.assign(failed, { contact_name: 'Mira Sand', call_back: '+4940222', call_back_tries: 3, call_back_last: 'did not answer', call_back_alarm: 'failed' })
    server.changed(failed)
    await banner.getByText('Mira Sand was not reached in 3 tries: did not answer.').waitFor()
    Object.assign(due, { contact_name: 'Ole Bakke', queue_id: 2, queue_name: 'Orders', call_back: '+4940333', call_back_alarm: 'due', promise_due_at: new Date(Date.now() + 80_000).toISOString() })
    server.changed(due)
    await banner.getByText(/The call back to Ole Bakke is promised by .* left\. Nobody has taken it\./).waitFor()
    await clean(page, `call alarms, ${view.colorScheme} ${view.viewport?.width ?? ''}`)
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/callalarms-${view.colorScheme}-${view.viewport?.width ?? 'wide'}.png` })
    await page.reload()
    await desk.waitForLive(page)
    const mira = banner.getByRole('group', { name: 'Mira Sand' })
    await mira.getByRole('button', { name: 'Back in line, first' }).click()
    await mira.waitFor({ state: 'detached' })
    assert.equal(failed.front, true)
    await banner.getByRole('group', { name: 'Ole Bakke' }).getByRole('button', { name: 'Take and call' }).click()
    await page.getByRole('heading', { name: 'Ole Bakke' }).first().waitFor()
    await banner.waitFor({ state: 'detached' })
    assert.equal(due.agent_id, 1)

    // an agent: of the own queues only, and without a supervisor's decision
    server.house.me.role = 'agent'
    server.house.me.queue_ids = [1]
    Object.assign(failed, { queue_id: 1, call_back_tries: 3, call_back_alarm: 'failed' })
    Object.assign(others, { queue_id: 2, call_back: '+4940444', call_back_alarm: 'due' })
    await page.reload()
    await banner.getByText('A supervisor decides, or you call.').waitFor()
    assert.equal(await banner.getByRole('listitem').count(), 1)
    assert.equal(await banner.getByRole('button').count(), 1)
    Object.assign(failed, { call_back_alarm: '' })
    server.changed(failed)
    await banner.waitFor({ state: 'detached' })
  }
})
