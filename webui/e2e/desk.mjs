// How a test drives the desk as an agent would: by roles and visible names only. All helpers wait for what they promise.
import { chromium } from 'playwright-core'

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
]

export const patience = 30_000 // bounds every wait; nothing is timed by it

// openBrowser starts chromium; wav (absolute path, 48 kHz) becomes the microphone's sound.
export function openBrowser({ wav, args = [] } = {}) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
  return chromium.launch({ executablePath, args: [...flags, ...(wav ? [`--use-file-for-fake-audio-capture=${wav}`] : []), ...args] })
}

// openDesk makes an own agent's window: its own cookies, its own phone. rawAudio switches echo cancelling and the like off.
export async function openDesk(browser, { rawAudio = false, viewport = { width: 1480, height: 920 }, colorScheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, permissions: ['microphone', 'notifications'], reducedMotion: 'reduce' })
  if (rawAudio) await context.addInitScript(() => localStorage.setItem('patchbay.audio', 'raw'))
  return context.newPage()
}

// signIn opens the one-time link and stands on the desk afterwards, with the socket open.
export async function signIn(page, link) {
  await page.goto(link)
  const later = page.getByRole('button', { name: 'Later' })
  await later.or(page.getByRole('tab', { name: /^Mine/ })).first().waitFor()
  if (await later.isVisible()) await later.click()
  await waitForLive(page)
}

// waitForLive: the socket is open and the server has said hello.
export const waitForLive = (page) => page.locator('[data-live="open"]').waitFor()

export async function signInWithPassword(page, baseURL, login, password) {
  await page.goto(`${baseURL}/desk/sign-in`)
  await page.getByLabel('Login').fill(login)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await waitForLive(page)
}

const presence = (page) => page.getByRole('group', { name: 'Your presence' })

export async function setAvailable(page) {
  await page.getByLabel('Your status', { exact: true }).selectOption('available')
  await presence(page).getByText(/^Available/).first().waitFor()
}

export async function setAway(page, reason = 'break') {
  await page.getByLabel('Your status', { exact: true }).selectOption(`away:${reason}`)
  await presence(page).getByText(`Away (${reason})`).first().waitFor()
}

export const offerCard = (page) => page.getByRole('alertdialog')
export const phoneBar = (page) => page.getByRole('region', { name: 'Softphone' })
export const timeline = (page) => page.getByRole('log', { name: 'Timeline' })

export async function waitForOffer(page, name, timeout = patience) {
  const card = offerCard(page)
  await (name ? card.filter({ hasText: name }) : card).waitFor({ timeout })
  return card
}

// acceptOffer resolves when the conversation stands open as the agent's own.
export async function acceptOffer(page, name) {
  const card = await waitForOffer(page, name)
  await card.getByRole('button', { name: 'Accept' }).click()
  await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'End' }).waitFor()
}

export async function declineOffer(page, name) {
  const card = await waitForOffer(page, name)
  await card.getByRole('button', { name: 'Decline' }).click()
  await card.waitFor({ state: 'detached' })
}

export async function showList(page, name) {
  await page.getByRole('tab', { name: new RegExp(`^${name}`) }).click()
}

// openConversation clicks the row that shows the contact's name in the list now open.
export async function openConversation(page, name) {
  await page.getByLabel('Conversations', { exact: true }).getByRole('link').filter({ hasText: name }).first().click()
  await timeline(page).waitFor()
}

// sendReply resolves when the reply stands in the timeline, stored by the server.
export async function sendReply(page, text) {
  await page.getByRole('tab', { name: 'Reply' }).click()
  const field = page.getByRole('textbox', { name: /^Reply/ })
  await field.fill(text)
  await field.press('Control+Enter')
  await waitForMessage(page, text, { author: 'agent' })
}

export async function saveNote(page, text) {
  await page.getByRole('tab', { name: 'Private note' }).click()
  const field = page.getByRole('textbox', { name: 'Private note' })
  await field.fill(text)
  await field.press('Control+Enter')
  await timeline(page).getByRole('article', { name: 'Private note' }).filter({ hasText: text }).last().waitFor()
}

// waitForMessage waits for words in the timeline; author: contact, ai or agent.
export async function waitForMessage(page, text, { author, timeout = patience } = {}) {
  const article = author ? timeline(page).locator(`[data-author="${author}"]`) : timeline(page).getByRole('article')
  await article.filter({ hasText: text }).last().waitFor({ timeout })
}

// messages reads the timeline: [{seq, author, note, text}], for "nothing lost, nothing doubled".
export function messages(page) {
  return timeline(page).locator('[data-seq]').evaluateAll((all) =>
    all.map((el) => {
      const words = el.querySelector('.bubble, .body, .words')
      // the message's own words are the first text node; its sources follow
      return { seq: Number(el.dataset.seq), author: el.dataset.author ?? 'system', note: el.classList.contains('pnote'), text: (words?.firstChild?.textContent ?? el.textContent).trim() }
    }))
}

export async function takeConversation(page) {
  await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'Take' }).click()
  await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'End' }).waitFor()
}

// transferTo passes a chat or a mail on: to is the name of a colleague or a queue.
export async function transferTo(page, to, note = '') {
  await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'Transfer' }).click()
  const dialog = page.getByRole('dialog', { name: 'Transfer' })
  const option = dialog.getByRole('option').filter({ hasText: to }).first()
  await option.waitFor({ state: 'attached' })
  await dialog.getByLabel('To', { exact: true }).selectOption(await option.getAttribute('value'))
  await dialog.getByLabel('Note for the next agent').fill(note)
  await dialog.getByRole('button', { name: 'Transfer' }).click()
  await dialog.waitFor({ state: 'detached' })
}

export async function endConversation(page) {
  await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'End' }).click()
  await page.getByRole('form', { name: 'Wrap-up' }).waitFor()
}

export async function closeConversation(page, disposition = 'Solved', note = '') {
  const form = page.getByRole('form', { name: 'Wrap-up' })
  await form.getByRole('radio', { name: disposition }).check({ force: true })
  await form.getByLabel('Note').fill(note)
  await form.getByRole('button', { name: 'Close' }).click()
  await form.waitFor({ state: 'detached' })
}

// waitForPhone waits for the bar's state: ready, elsewhere, ringing, connecting, call, held, reconnecting.
export async function waitForPhone(page, state, timeout = patience) {
  await page.locator(`section[aria-label="Softphone"][data-state="${state}"]`).waitFor({ timeout })
}

export const hangUp = (page) => phoneBar(page).getByRole('button', { name: 'Hang up' }).click()
export const toggleMute = (page) => phoneBar(page).getByRole('button', { name: 'Mute' }).click()
export const toggleHold = (page) => phoneBar(page).getByRole('button', { name: 'Hold' }).click()

// pressKeys opens the keypad, presses the digits one by one and closes it.
export async function pressKeys(page, digits) {
  await phoneBar(page).getByRole('button', { name: 'Keypad' }).click()
  const dialog = page.getByRole('dialog', { name: 'Keypad' })
  for (const [i, digit] of [...digits].entries()) {
    await dialog.getByRole('button', { name: digit, exact: true }).click()
    await dialog.getByLabel('Sent').filter({ hasText: digits.slice(0, i + 1) }).waitFor()
  }
  await dialog.getByRole('button', { name: 'Close' }).click()
}

// dial calls a number; from is one of our numbers, as the dialler lists them.
export async function dial(page, number, from) {
  await phoneBar(page).getByRole('button', { name: 'Dial' }).click()
  const dialog = page.getByRole('dialog', { name: 'Call a number' })
  await dialog.getByRole('textbox', { name: 'Number' }).fill(number)
  if (from) await dialog.getByLabel('They see').selectOption(from)
  await dialog.getByRole('button', { name: 'Call', exact: true }).click()
  await dialog.waitFor({ state: 'detached' })
}

// callContact calls an address of the contact shown, in one click.
export const callContact = (page, number) => page.getByRole('complementary', { name: 'Contact' }).getByRole('button', { name: `Call ${number}` }).click()

// aimAt names who the call goes to and presses the button; the dialog stays when it is refused.
export async function aimAt(page, to, note, button) {
  await phoneBar(page).getByRole('button', { name: 'Transfer' }).click()
  const dialog = page.getByRole('dialog', { name: 'Transfer the call' })
  await dialog.getByRole('combobox', { name: 'To' }).fill(to)
  await dialog.getByRole('option').first().waitFor()
  await dialog.getByLabel('Note, private').fill(note)
  await dialog.getByRole('button', { name: button }).click()
}

async function choose(page, ...how) {
  await aimAt(page, ...how)
  await page.getByRole('dialog', { name: 'Transfer the call' }).waitFor({ state: 'detached' })
}

// passOn gives the caller to an agent, a queue or a number at once; consult calls them first, the caller hears music.
export const passOn = (page, to, note = '') => choose(page, to, note, 'Pass on now')
export const consult = (page, to, note = '') => choose(page, to, note, 'Talk first')

// third presses Swap, All three, Complete or "Back to ..." in the line about the third party.
export const third = (page, button) => phoneBar(page).getByRole('group', { name: /^Third party/ }).getByRole('button', { name: button }).click()
export const waitForThird = (page, words, timeout = patience) => phoneBar(page).getByRole('group', { name: /^Third party/ }).getByText(words).waitFor({ timeout })

export const waitForAsk = (page, words, timeout = patience) => page.getByRole('alertdialog').filter({ hasText: words }).waitFor({ timeout })

export async function answerColleague(page, name) {
  await waitForAsk(page, `${name}`)
  await page.getByRole('alertdialog').getByRole('button', { name: 'Answer' }).click()
}

// listenTo joins the running call of the conversation that is open; superviseAs: Listen, Whisper, Join in.
export async function listenTo(page) {
  await page.getByRole('group', { name: 'Acts' }).getByRole('button', { name: 'Listen' }).click()
  await waitForPhone(page, 'call')
}

export async function superviseAs(page, mode) {
  const button = phoneBar(page).getByRole('radio', { name: mode })
  await button.click()
  await button.and(page.locator('[aria-checked="true"]')).waitFor()
}

export async function pauseRecording(page) {
  await phoneBar(page).getByRole('button', { name: /Pause for card data/ }).click()
  await phoneBar(page).getByText('Paused for card data. Nothing is recorded.').waitFor()
}

export async function resumeRecording(page) {
  await phoneBar(page).getByRole('button', { name: 'Record again' }).first().click()
  await phoneBar(page).getByRole('button', { name: /Pause for card data/ }).waitFor()
}

// testCall speaks with the server and waits for "Your microphone works."
export async function testCall(page) {
  await phoneBar(page).getByRole('button', { name: 'Devices' }).click()
  const dialog = page.getByRole('dialog', { name: 'Phone and sound' })
  await dialog.getByRole('button', { name: 'Test call' }).click()
  await dialog.getByText('Your microphone works.').waitFor({ timeout: 40_000 })
}

// recordCaller returns what the agent hears for the given time: mono samples at 48 kHz, -1..1, as numbers.
export function recordCaller(page, seconds) {
  return page.evaluate(async (length) => {
    const element = document.getElementById('phone-audio')
    const ctx = new AudioContext({ sampleRate: 48000 })
    await ctx.resume()
    // an AudioWorklet would need a script that the page's Content-Security-Policy refuses
    const tap = ctx.createScriptProcessor(4096, 1, 1)
    ctx.createMediaStreamSource(element.srcObject).connect(tap).connect(ctx.destination)
    const wanted = Math.floor(length * 48000)
    const samples = await new Promise((done) => {
      const got = []
      tap.onaudioprocess = ({ inputBuffer }) => {
        got.push(...inputBuffer.getChannelData(0))
        if (got.length >= wanted) done(got.slice(0, wanted))
      }
    })
    await ctx.close()
    return samples
  }, seconds)
}

// loudness of what the agent hears over the given time, as a mean square root; silence is below 0.001.
export async function hears(page, seconds = 0.5) {
  const samples = await recordCaller(page, seconds)
  return Math.sqrt(samples.reduce((sum, v) => sum + v * v, 0) / samples.length)
}
