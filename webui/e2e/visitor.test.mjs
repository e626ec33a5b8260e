// The visitor's side against a running house: BASE_URL=http://127.0.0.1:8080 node --test e2e/visitor.test.mjs
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AxeBuilder } from '@axe-core/playwright'
import * as visitor from './visitor.mjs'

const base = process.env.BASE_URL
const why = !base ? 'BASE_URL names no running server' : visitor.missing
if (why && process.env.PATCHBAY_CI === '1') throw new Error(why)
if (why) console.error(`SKIPPED: visitor tests: ${why}`)
const skip = why || false

let browser
before(async () => { if (!skip) browser = await visitor.openBrowser() })
after(async () => { await browser?.close() })

async function visit(t, options) {
  const page = await visitor.openPage(browser, base, options)
  page.setDefaultTimeout(40_000) // a small model on two cores
  t.after(() => page.context().close())
  return page
}

test('a question is answered by the AI, or a person is got', { skip }, async (t) => {
  const page = await visit(t)
  await visitor.write(page, 'How long may I send something back?')
  await visitor.stored(page)
  const answer = visitor.answered(page)
  const line = visitor.inLine(page)
  await Promise.any([answer, line])
  answer.catch(() => {})
  line.catch(() => {})
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']).analyze()
  assert.deepEqual(violations.map((v) => v.id), [])
  assert.deepEqual(page.errors, [])
})

test('the button gets a person before the first message, and can be taken back', { skip }, async (t) => {
  const page = await visit(t)
  await visitor.personButton(page).click()
  await visitor.inLine(page)
  await page.getByText('We owe you a person’s answer').waitFor()
  await page.getByRole('button', { name: 'I no longer need a person' }).click()
  await visitor.personButton(page).waitFor()
})

test('a reload and a cut network lose and double nothing', { skip }, async (t) => {
  const page = await visit(t)
  const words = Array.from({ length: 6 }, (_, i) => `line ${i + 1} of ${Date.now()}`)
  await visitor.personButton(page).click() // so that no answer mixes in
  await visitor.inLine(page)
  await visitor.write(page, words[0])
  await visitor.write(page, words[1])
  await page.reload()
  await visitor.openChat(page)
  await visitor.write(page, words[2])
  await page.context().setOffline(true)
  await visitor.write(page, words[3])
  await page.context().setOffline(false)
  await visitor.write(page, words[4])
  await page.reload()
  await visitor.openChat(page)
  await visitor.write(page, words[5])
  await visitor.log(page).getByText(words[5]).waitFor()
  await visitor.stored(page)
  const own = (await visitor.messages(page)).filter((m) => m.by === 'me')
  assert.deepEqual(own.map((m) => m.words), words)
  assert.ok(own.every((m) => m.sent))
})

test('two tabs are one visitor', { skip }, async (t) => {
  const one = await visit(t)
  await visitor.write(one, 'from one')
  await visitor.stored(one)
  const two = await one.context().newPage()
  await two.goto(base)
  await visitor.openChat(two)
  await visitor.log(two).getByText('from one').waitFor()
  await visitor.write(two, 'from two')
  await visitor.log(one).getByText('from two').waitFor()
})

test('HTML in a message stays text', { skip }, async (t) => {
  const page = await visit(t)
  await visitor.write(page, '<img src=x onerror="document.title=1"><b>bold</b>')
  await visitor.stored(page)
  assert.equal((await visitor.messages(page))[0].words, '<img src=x onerror="document.title=1"><b>bold</b>')
  assert.equal(await visitor.log(page).locator('img, .b b').count(), 0)
})
