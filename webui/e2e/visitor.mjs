// How a test drives the customer page as a visitor would: by roles and visible names only. All helpers wait for what
// they promise.
export { launch as openBrowser, missing } from '../test/browser.mjs'

/** openPage is a new visitor's window with the customer page and the chat open; complaints are in page.errors. */
export async function openPage(browser, baseURL, { viewport = { width: 1280, height: 800 }, colorScheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' })
  const page = await context.newPage()
  page.errors = []
  page.on('pageerror', (e) => page.errors.push(e.message))
  page.on('console', (m) => { if (m.type() === 'error') page.errors.push(m.text()) })
  await page.goto(baseURL)
  await openChat(page)
  return page
}

export async function openChat(page) {
  await page.locator('patchbay-chat .bubble-btn').waitFor()
  if (!(await box(page).isVisible())) await page.locator('patchbay-chat .bubble-btn').click()
  await box(page).waitFor()
}

export const log = (page) => page.getByRole('log', { name: 'Messages' })
export const box = (page) => page.getByRole('textbox', { name: 'Your message' })
export const personButton = (page) => page.getByRole('button', { name: 'Talk to a person' })

/** write sends words; they are on screen at once, stored or not. */
export async function write(page, words) {
  await box(page).fill(words)
  await box(page).press('Enter')
}

/** stored waits until the server has everything that was written. */
export async function stored(page) {
  await log(page).getByText('Received').waitFor()
}

/** messages is what stands in the log, oldest first: who, and the words. */
export function messages(page) {
  return log(page).locator('.m:not([aria-live])').evaluateAll((list) => list.map((m) => ({
    by: m.classList.contains('me') ? 'me' : m.classList.contains('person') ? m.querySelector('.by b')?.textContent : 'AI',
    sent: !m.classList.contains('unsent'),
    words: (m.querySelector('.b > p') ?? m.querySelector('.b')).textContent.replace(/^You: /, ''),
  })))
}

/** answered waits for an answer of the AI (n of them in all) and returns the last one's words. */
export async function answered(page, n = 1) {
  const answers = log(page).locator('.m:not([aria-live]):has(.tag.ai)')
  await answers.nth(n - 1).waitFor()
  return (await messages(page)).filter((m) => m.by === 'AI').at(-1).words
}

export const inLine = (page) => page.getByText(/You are (next|\d+\w\w in line)/).first().waitFor()
export const through = (page, name) => page.getByText(`You are writing with ${name}`).waitFor()

/** leave fills the form in place of waiting and sends it. */
export async function leave(page, email, body = '') {
  const ask = page.getByRole('button', { name: /Leave a message instead|Use another address/ })
  if (await ask.isVisible()) await ask.click()
  const form = page.getByRole('form', { name: 'Leave a message instead' })
  await form.getByLabel('Your e-mail address').fill(email)
  await form.getByRole('textbox').last().fill(body)
  await form.getByRole('button', { name: 'Leave the message' }).click()
}
