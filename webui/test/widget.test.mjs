// The built widget in a real browser, under a strict CSP, against a scripted server: every state that a customer can
// meet. The real server's side is e2e/visitor.mjs.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AxeBuilder } from '@axe-core/playwright'
import { launch, missing, serve } from './browser.mjs'

if (missing && process.env.PATCHBAY_CI === '1') throw new Error(missing)
const skip = missing || false
const tags = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']
const token = 'T'.repeat(43)
const minutes = (n) => new Date(Date.now() + n * 60_000).toISOString()
const text = (seq, author, body, more = {}) => ({ seq, author, kind: 'text', body, at: minutes(-1), ...more })
const event = (seq, code, body) => ({ seq, author: 'system', kind: 'event', code, body, at: minutes(-1) })
const question = text(1, 'contact', 'Can I buy just that one section?', { client_id: 'c1' })
const answer = text(2, 'ai', 'Yes, single sections are sold.', { sources: [{ title: 'Spare parts', url: '/kb/1' }, { title: 'Trap', url: 'javascript:alert(1)' }] })
const line = { position: 2, ahead: 1, since: minutes(-2), due_at: minutes(7) }

/** What the server says after the hello, by name of the state. */
const states = {
  'before the first message': { welcome: {} },
  answered: { welcome: { state: 'bot' }, messages: [event(0, 'hello', 'once'), question, answer] },
  streaming: { welcome: { state: 'bot' }, messages: [question], then: [{ type: 'draft', text: 'Yes, sing' }] },
  waiting: { welcome: { state: 'waiting', waiting: line }, messages: [question, event(2, 'waiting', 'We are getting a person.')] },
  'promise broken': { welcome: { state: 'waiting', waiting: { ...line, due_at: minutes(-1) } }, messages: [question] },
  'with Ana': { welcome: { state: 'agent', agent_name: 'Ana' }, messages: [question, event(2, 'through', 'You’re through to Ana.'), text(3, 'agent', 'Hello, Ana here.', { agent_name: 'Ana' })], then: [{ type: 'typing' }] },
  'model down': { welcome: { state: 'waiting', waiting: line }, messages: [question, event(2, 'model_down', 'Our AI is not answering right now. You are in line for a person.')] },
  'can be called': { welcome: { state: 'bot', calls: true }, messages: [question, answer] },
  'a call in another tab': { welcome: { state: 'agent', agent_name: 'Ana', calls: true, call: { call_id: 1, state: 'bridged', since: minutes(-1) } }, messages: [question] },
  ended: { welcome: { state: 'closed' }, messages: [question, event(2, 'ended', 'This conversation has ended.')] },
}

let browser, site
before(async () => {
  if (skip) return
  browser = await launch()
  const foreign = `<!doctype html><html lang="ar" dir="rtl"><head><title>Foreign</title><link rel="stylesheet" href="/foreign.css"></head>
    <body><main><h1>A foreign website</h1></main><script async src="/widget.js" data-patchbay data-name="Nordlicht"></script></body></html>`
  site = await serve({
    '/chat/info': JSON.stringify({ company: 'Nordlicht', phone: '100' }),
    '/foreign': foreign,
    '/foreign.css': 'html { font-size: 8px } * { font: italic 30px serif; color: red !important; box-sizing: content-box; letter-spacing: 9px } p, button { display: none } section { position: static }',
  })
})
after(async () => {
  await browser?.close()
  await site?.close()
})

/** open loads a page whose socket is scripted; the page's own complaints end up in errors. */
async function open(t, { path = '/', state = states['before the first message'], width = 1280, height = 800, dark = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce', locale: 'en-GB' })
  t.after(() => context.close())
  const page = await context.newPage()
  const server = { heard: [], sockets: [], refuse: false, errors: [] }
  page.on('pageerror', (e) => server.errors.push(e.message))
  page.on('console', (m) => { if (m.type() === 'error') server.errors.push(m.text()) })
  server.tell = (frame) => server.sockets.at(-1).send(JSON.stringify(frame))
  server.drop = () => server.sockets.at(-1).close({ code: 1001 })
  const waiting = []
  server.until = (type) => new Promise((resolve) => {
    const found = server.heard.find((f) => f.type === type)
    if (found) resolve(found)
    else waiting.push({ type, resolve })
  })
  await page.routeWebSocket(/\/chat\/socket$/, (ws) => {
    if (server.refuse) return void ws.close()
    server.sockets.push(ws)
    ws.onMessage((data) => {
      const frame = JSON.parse(data)
      server.heard.push(frame)
      waiting.filter((w) => w.type === frame.type).forEach((w) => w.resolve(frame))
      if (frame.type === 'ping') server.tell({ type: 'pong' })
      if (frame.type !== 'hello') return
      server.tell({ type: 'welcome', company: 'Nordlicht', ...(frame.token ? {} : { token }), ...state.welcome })
      for (const message of state.messages ?? []) if (message.seq > frame.after || frame.after === 0) server.tell({ type: 'message', message })
      for (const more of state.then ?? []) server.tell(more)
    })
  })
  await page.goto(site.url + path)
  return { page, server }
}

const bubble = (page) => page.locator('.bubble-btn')
const talk = (page) => page.getByRole('button', { name: 'Talk to a person' })
const box = (page) => page.getByRole('textbox', { name: 'Your message' })
const log = (page) => page.getByRole('log')

for (const dark of [false, true]) {
  for (const [name, state] of Object.entries(states)) {
    test(`no axe violation: ${name}, ${dark ? 'dark' : 'light'}`, { skip }, async (t) => {
      const { page, server } = await open(t, { state, dark })
      await bubble(page).click()
      if (state.messages) await log(page).getByText(state.messages.at(-1).body).waitFor()
      const { violations } = await new AxeBuilder({ page }).withTags(tags).analyze()
      assert.deepEqual(violations.map((v) => [v.id, v.nodes.map((n) => n.failureSummary)]), [])
      assert.deepEqual(server.errors, [])
    })
  }
}

for (const dark of [false, true]) {
  test(`no microphone: the call says so in words, the chat goes on, ${dark ? 'dark' : 'light'}`, { skip }, async (t) => {
    const { page, server } = await open(t, { state: states['can be called'], dark })
    await bubble(page).click()
    await page.getByRole('button', { name: 'Call us from this page' }).click()
    await page.getByRole('status').getByText(/microphone/).waitFor()
    assert.equal(server.heard.some((f) => f.type === 'call'), false)
    const { violations } = await new AxeBuilder({ page }).withTags(tags).analyze()
    assert.deepEqual(violations.map((v) => v.id), [])
    await page.getByRole('button', { name: 'OK' }).click()
    assert.equal(await page.getByRole('button', { name: 'Call us from this page' }).count(), 1)
  })
}

test('a call in another tab: no second one from here', { skip }, async (t) => {
  const { page } = await open(t, { state: states['a call in another tab'] })
  await bubble(page).click()
  await page.getByText('You are in a call, in another tab.').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Call us from this page' }).count(), 0)
})

test('the way to a person stands in every state in which none is there or on the way', { skip }, async (t) => {
  for (const [name, state] of Object.entries(states)) {
    const { page } = await open(t, { state })
    await bubble(page).click()
    if (state.messages) await log(page).getByText(state.messages.at(-1).body).waitFor()
    const there = ['waiting', 'agent'].includes(state.welcome.state)
    assert.equal(await talk(page).count(), there ? 0 : 1, name)
    if (state.welcome.state === 'waiting') await page.getByText('You are 2nd in line').waitFor()
  }
})

test('a page view opens no connection; the first message goes out when the server is there', { skip }, async (t) => {
  const { page, server } = await open(t)
  await bubble(page).waitFor()
  assert.equal(server.sockets.length, 0)
  await bubble(page).click()
  await box(page).fill('Hello')
  await page.keyboard.press('Enter')
  const said = await server.until('say')
  server.tell({ type: 'ack', client_id: said.client_id, seq: 1, message: { ...question, body: 'Hello', client_id: said.client_id } })
  server.tell({ type: 'message', message: { ...question, body: 'Hello', client_id: said.client_id } })
  server.tell({ type: 'message', message: answer })
  await log(page).getByText(answer.body).waitFor()
  assert.equal(await log(page).getByText('Hello', { exact: false }).count(), 1)
  const hrefs = await log(page).locator('a').evaluateAll((list) => list.map((a) => a.getAttribute('href')))
  assert.deepEqual(hrefs, [`${site.url}/kb/1`])
})

test('offline: words and the wish for a person are kept, over a reload too, and sent once', { skip }, async (t) => {
  const { page, server } = await open(t, { state: states.answered })
  await bubble(page).click()
  await log(page).getByText(answer.body).waitFor()
  server.refuse = true
  server.drop()
  await page.getByText('You are offline. What you write is kept and sent when you are back.').waitFor()
  await box(page).fill('Size M, by the way.')
  await page.keyboard.press('Enter')
  await log(page).getByText('Not sent yet. We keep trying.').waitFor()
  await talk(page).click()
  await log(page).getByText('You asked for a person.').waitFor()
  const { violations } = await new AxeBuilder({ page }).withTags(tags).analyze()
  assert.deepEqual(violations.map((v) => v.id), [])
  server.refuse = false
  await page.reload()
  const wish = await server.until('person')
  server.tell({ type: 'ack', client_id: wish.client_id, seq: 3 })
  server.tell({ type: 'state', state: 'waiting', ...line })
  const said = await server.until('say')
  assert.equal(said.body, 'Size M, by the way.')
  server.tell({ type: 'ack', client_id: said.client_id, seq: 4, message: text(4, 'contact', said.body) })
  await page.getByText('You are 2nd in line').waitFor()
  assert.equal(await log(page).getByText('Size M').count(), 1)
  assert.equal(await log(page).getByText('Not sent yet').count(), 0)
  assert.deepEqual(server.heard.filter((f) => f.type === 'hello').map((f) => f.token), ['', token])
  await page.getByRole('button', { name: 'I no longer need a person' }).click()
  await server.until('no_person')
})

test('HTML and script in a message are text', { skip }, async (t) => {
  const evil = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
  const { page, server } = await open(t, { state: { welcome: { state: 'bot', agent_name: evil }, messages: [text(1, 'contact', evil), text(2, 'ai', evil, { sources: [{ title: evil, url: '/' }] }), text(3, 'agent', evil, { agent_name: evil }), event(4, 'waiting', evil)] } })
  await bubble(page).click()
  await log(page).getByText(evil).nth(5).waitFor()
  assert.equal(await log(page).locator('img, script').count(), 0)
  assert.doesNotMatch(await page.title(), /owned/)
  assert.deepEqual(server.errors, [])
})

test('on a phone of 320 px it fills the screen, without scrolling sideways', { skip }, async (t) => {
  const { page } = await open(t, { state: states.waiting, width: 320, height: 640 })
  await bubble(page).click()
  await page.getByText('You are 2nd in line').waitFor()
  const { x, y, width, height } = await page.locator('section.w').boundingBox()
  assert.deepEqual([x, y, width, height], [0, 0, 320, 640])
  assert.equal(await log(page).evaluate((e) => e.scrollWidth <= e.clientWidth), true)
  const small = await page.locator('section.w button').evaluateAll((list) => list.map((b) => b.getBoundingClientRect()).filter((r) => r.width < 24 || r.height < 24).length)
  assert.equal(small, 0)
})

test('a foreign page\'s style stays outside, its direction counts', { skip }, async (t) => {
  const { page, server } = await open(t, { path: '/foreign', state: states.answered })
  await bubble(page).click()
  await log(page).getByText(answer.body).waitFor()
  const style = await page.locator('.b').last().evaluate((e) => { const s = getComputedStyle(e); return [s.fontStyle, s.fontSize, s.letterSpacing, s.color] })
  assert.deepEqual(style, ['normal', '15px', 'normal', 'rgb(19, 32, 31)'])
  const dock = await page.locator('section.w').boundingBox()
  assert.ok(dock.x < 100, 'right to left: at the left edge')
  const mine = await page.locator('.m.me').boundingBox()
  const theirs = await page.locator('.m:not(.me)').last().boundingBox()
  assert.ok(mine.x < theirs.x, 'own messages at the inline end')
  assert.deepEqual(server.errors, [])
})

test('the keyboard alone', { skip }, async (t) => {
  const { page, server } = await open(t)
  await bubble(page).waitFor()
  for (let i = 0; i < 10 && !(await page.evaluate(() => document.activeElement?.localName === 'patchbay-chat')); i++) await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await box(page).waitFor()
  const inside = () => page.evaluate(() => document.activeElement.shadowRoot.activeElement?.className || document.activeElement.shadowRoot.activeElement?.localName)
  assert.equal(await inside(), 'textarea')
  await page.keyboard.press('Shift+Tab')
  assert.equal(await inside(), 'person-btn')
  await page.keyboard.press('Enter')
  await server.until('person')
  await page.keyboard.press('Escape')
  await page.locator('section.w').waitFor({ state: 'detached' })
  assert.match(await inside(), /bubble-btn/)
})

test('made small: news is counted, the place in line is shown', { skip }, async (t) => {
  const { page, server } = await open(t, { state: states.answered })
  await bubble(page).click()
  await log(page).getByText(answer.body).waitFor()
  await page.getByRole('button', { name: 'Make small' }).click()
  server.tell({ type: 'message', message: text(3, 'agent', 'Hello?', { agent_name: 'Ana' }) })
  server.tell({ type: 'message', message: text(4, 'agent', 'Still there?', { agent_name: 'Ana' }) })
  await page.getByRole('button', { name: 'Open the chat, 2 new messages' }).waitFor()
  server.tell({ type: 'state', state: 'waiting', ...line })
  await page.getByRole('button', { name: '2nd in line' }).click()
  await log(page).getByText('Still there?').waitFor()
})

test('the customer page names only the ways that exist', { skip }, async (t) => {
  const { page, server } = await open(t)
  assert.equal(await page.getByRole('link', { name: '100' }).getAttribute('href'), 'tel:100')
  assert.equal(await page.getByText('Mail:').count(), 0)
  const { violations } = await new AxeBuilder({ page }).withTags(tags).analyze()
  assert.deepEqual(violations.map((v) => v.id), [])
  assert.deepEqual(server.errors, [])
})
