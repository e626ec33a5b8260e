// The desk against a running Patchbay: BASE_URL=http://127.0.0.1:8080 DESK_LINK=<the one-time sign-in link that the start
// prints>. A visitor writes in the page, an agent answers at the desk. Changes that server's data.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AxeBuilder } from '@axe-core/playwright'
import * as desk from './desk.mjs'

const { BASE_URL: base, DESK_LINK: link } = process.env
const skip = base && link ? false : 'BASE_URL and DESK_LINK name no running server'
const password = 'a password for this test'
let browser

before(async () => {
  if (!skip) browser = await desk.openBrowser()
})
after(() => browser?.close())

async function clean(page, state) {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']).analyze()
  assert.deepEqual(violations.map((v) => `${state}: ${v.id}`), [])
}

test('a visitor asks for a person, the agent answers, ends and closes; nothing is lost over a reload', { skip }, async (t) => {
  const page = await desk.openDesk(browser)
  const visitor = await (await browser.newContext()).newPage()
  const errors = []
  for (const p of [page, visitor]) p.on('pageerror', (err) => errors.push(err.message))
  t.after(() => Promise.all([page.context().close(), visitor.context().close()]))

  await page.goto(link)
  await page.getByLabel('New password').waitFor()
  await clean(page, 'set a password')
  await page.getByLabel('New password').fill(password)
  await page.getByRole('button', { name: 'Set password' }).click()
  await desk.waitForLive(page)
  assert.ok(!page.url().includes('#'))
  await clean(page, 'desk')
  await desk.setAway(page, 'training')
  await desk.setAvailable(page)

  await visitor.goto(base)
  await visitor.getByRole('button', { name: /chat|ask|help/i }).first().click()
  const words = visitor.getByRole('textbox', { name: 'Your message' })
  await words.fill('I want to talk to a person <b>now</b>')
  await words.press('Enter')
  await desk.waitForOffer(page)
  await clean(page, 'offer')
  await desk.acceptOffer(page)
  await desk.waitForMessage(page, 'a person <b>now</b>', { author: 'contact' })
  await desk.sendReply(page, 'Hello, this is <i>a person</i>')
  await visitor.getByText('Hello, this is <i>a person</i>').first().waitFor()
  await desk.saveNote(page, 'only for us')
  await words.fill('thank you')
  await words.press('Enter')
  await desk.waitForMessage(page, 'thank you', { author: 'contact' })
  await clean(page, 'conversation')

  const before = await desk.messages(page)
  await page.reload()
  await desk.waitForLive(page)
  await desk.waitForMessage(page, 'thank you')
  assert.deepEqual(await desk.messages(page), before)
  assert.equal(await visitor.getByText('only for us').count(), 0)

  await desk.endConversation(page)
  await clean(page, 'wrap-up')
  await desk.closeConversation(page, 'Solved', 'was quick')

  await words.fill('one more thing, a person please')
  await words.press('Enter')
  await desk.declineOffer(page)
  assert.deepEqual(errors, [])
})

test('the password set over the link signs in, and another one does not', { skip }, async (t) => {
  const page = await desk.openDesk(browser)
  t.after(() => page.context().close())
  await page.goto(`${base}/desk/`)
  await page.getByLabel('Login').fill('ana')
  await page.getByLabel('Password').fill('not the password')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.locator('#password-error, #login-error').waitFor()
  await desk.signInWithPassword(page, base, 'ana', password)
})
