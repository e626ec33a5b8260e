// A Chromium that Go tests drive: one JSON command a line on stdin, one JSON answer a line on stdout.
//   {"id":1,"do":"page","page":"ana","url":"http://..."}  ->  {"id":1,"ok":true,"value":...} or {"id":1,"ok":false,"error":"..."}
// Elements are found as people find them: by role and name. Every wait has the same generous bound; nothing is timed.
import { createInterface } from 'node:readline'

import { chromium } from 'playwright-core'
import { AxeBuilder } from '@axe-core/playwright'
import * as desk from './desk.mjs'
import * as visitor from './visitor.mjs'

const { patience } = desk
const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns',
]
const contexts = new Map() // name -> BrowserContext: a person's browser
const pages = new Map() // name -> Page
let browser

const find = (c) => {
  const page = pages.get(c.page)
  if (!page) throw new Error(`no page ${c.page}`)
  let at = c.within ? page.getByRole(c.within, c.withinName ? { name: c.withinName } : {}).first() : page
  if (c.css) at = at.locator(c.css)
  else if (c.label) at = at.getByLabel(c.label)
  else if (c.text) at = at.getByText(c.text)
  else at = at.getByRole(c.role, c.name ? { name: c.exact ? c.name : new RegExp(c.name, 'i') } : {})
  return c.nth === undefined ? at.first() : at.nth(c.nth)
}

const commands = {
  async launch({ microphone }) {
    const args = [...flags]
    if (microphone) args.push(`--use-file-for-fake-audio-capture=${microphone}`)
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args, headless: true })
  },
  async page({ page, url, person = page, dark, width = 1440, height = 900, raw }) {
    if (!contexts.has(person)) {
      const context = await browser.newContext({ colorScheme: dark ? 'dark' : 'light', viewport: { width, height }, permissions: ['microphone', 'notifications'] })
      context.setDefaultTimeout(patience)
      await context.addInitScript(() => { // for speak
        const addTrack = RTCPeerConnection.prototype.addTrack
        RTCPeerConnection.prototype.addTrack = function (...args) { return (window.__speaks = addTrack.apply(this, args)) }
      })
      if (raw) await context.addInitScript(() => { try { localStorage.setItem('patchbay.audio', 'raw') } catch { /* about:blank has none */ } })
      contexts.set(person, context)
    }
    const p = await contexts.get(person).newPage()
    p.errors = []
    p.on('pageerror', (e) => p.errors.push(String(e)))
    p.on('console', (m) => { if (m.type() === 'error') p.errors.push(m.text()) })
    p.asked = []
    p.on('websocket', (socket) => socket.on('framesent', ({ payload }) => { if (typeof payload === 'string' && payload[0] === '{') p.asked.push(JSON.parse(payload).type) }))
    pages.set(page, p)
    await p.goto(url)
  },
  // helper runs a function of desk.mjs or visitor.mjs on the page
  async helper({ page, from, fn, args }) {
    const value = await { desk, visitor }[from][fn](pages.get(page), ...(args ?? []))
    return typeof value === 'object' && value?.constructor?.name !== 'Object' && !Array.isArray(value) ? null : value
  },
  goto: ({ page, url }) => pages.get(page).goto(url).then(() => null),
  reload: ({ page }) => pages.get(page).reload().then(() => null),
  close: ({ page }) => pages.get(page).close(),
  click: (c) => find(c).click(),
  fill: (c) => find(c).fill(c.value),
  select: (c) => find(c).selectOption({ label: c.value }).then(() => null),
  files: (c) => find(c).setInputFiles(c.path),
  press: (c) => pages.get(c.page).keyboard.press(c.keys),
  see: (c) => find(c).waitFor({ state: c.state || 'visible' }),
  read: (c) => find(c).innerText(),
  count: async ({ page, css, text }) => (css ? pages.get(page).locator(css) : pages.get(page).getByText(text)).count(),
  // asks waits until the page has sent a frame of that type
  async asks({ page, type }) {
    for (const limit = Date.now() + patience; !pages.get(page).asked.includes(type); await new Promise((r) => setTimeout(r, 50))) {
      if (Date.now() > limit) throw new Error(`never asked: ${type}`)
    }
  },
  disabled: (c) => find(c).isDisabled(),
  errors: ({ page }) => pages.get(page).errors,
  offline: ({ person, on }) => contexts.get(person).setOffline(on),
  evaluate: ({ page, js }) => pages.get(page).evaluate(js),
  // until looks each 100 ms: waitForFunction would need eval in the page, which the CSP forbids
  async until({ page, js }) {
    for (const limit = Date.now() + patience; !(await pages.get(page).evaluate(js)); await new Promise((r) => setTimeout(r, 100))) {
      if (Date.now() > limit) throw new Error(`never: ${js}`)
    }
  },
  shot: ({ page, path }) => pages.get(page).screenshot({ path }).then(() => null),
  // look takes the page in the light and in the dark
  async look({ page, path }) {
    const p = pages.get(page)
    for (const colorScheme of ['light', 'dark']) {
      await p.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await p.screenshot({ path: `${path}-${colorScheme}.png` })
    }
    await p.emulateMedia({ colorScheme: null, reducedMotion: null })
  },
  async axe({ page }) {
    const r = await new AxeBuilder({ page: pages.get(page) }).withTags(['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']).analyze()
    return r.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(', ')}`)
  },
  // speak opens the fake microphone anew, and with it the sound file that it plays, for the call that the page is in
  async speak({ page }) {
    await pages.get(page).evaluate(async () => {
      const before = window.__speaks.track
      const audio = before.getConstraints()
      before.stop()
      const [track] = (await navigator.mediaDevices.getUserMedia({ audio })).getAudioTracks()
      await window.__speaks.replaceTrack(track)
    })
  },
  // hear starts to record what the page's audio element plays; heard ends it: 8 kHz 16-bit mono, base64. Each piece goes
  // to the place that its time says: a busy machine drops some, the rest must not move.
  async hear({ page, css = '#phone-audio' }) {
    await pages.get(page).evaluate(async (css) => {
      const track = (document.querySelector(css) ?? document.querySelector('patchbay-chat').shadowRoot.querySelector(css)).srcObject.getAudioTracks()[0].clone()
      const reader = new MediaStreamTrackProcessor({ track }).readable.getReader()
      const rec = { pieces: [], begin: null, end: 0, loud: 0, loudBefore: 0, quiet: 0, stop: false } // loud and quiet are samples: in all, and since the last loud piece
      window.__heard = rec
      ;(async () => {
        for (;;) {
          const { value, done } = await reader.read()
          if (done || rec.stop) break
          const f = new Float32Array(value.numberOfFrames)
          value.copyTo(f, { planeIndex: 0, format: 'f32-planar' })
          const step = value.sampleRate / 8000, out = new Int16Array(Math.floor(f.length / step))
          for (let i = 0; i < out.length; i++) {
            let sum = 0
            for (let k = 0; k < step; k++) sum += f[Math.floor(i * step) + k] || 0
            out[i] = Math.max(-32768, Math.min(32767, Math.round((sum / step) * 32767)))
          }
          rec.begin ??= value.timestamp
          const at = Math.round(((value.timestamp - rec.begin) * 8000) / 1e6)
          rec.pieces.push([at, out])
          if (out.some((s) => Math.abs(s) > 500)) [rec.loud, rec.quiet] = [rec.loud + out.length, 0]
          else rec.quiet += out.length
          rec.end = Math.max(rec.end, at + out.length)
          value.close()
        }
        reader.cancel()
        track.stop()
      })()
    }, css)
  },
  async heard({ page }) {
    return pages.get(page).evaluate(() => {
      const rec = window.__heard
      rec.stop = true
      const all = new Int16Array(rec.end)
      for (const [at, out] of rec.pieces) all.set(out, at)
      const bytes = new Uint8Array(all.buffer)
      let s = ''
      for (let i = 0; i < bytes.length; i += 8192) s += String.fromCharCode(...bytes.subarray(i, i + 8192))
      return btoa(s)
    })
  },
  heardSeconds: ({ page }) => pages.get(page).evaluate(() => window.__heard.end / 8000),
}

const answer = (o) => process.stdout.write(JSON.stringify(o) + '\n')
for await (const line of createInterface({ input: process.stdin })) {
  const c = JSON.parse(line)
  const command = commands[c.do]
  // commands run at once, so that a wait on one page does not hold up another page's click
  Promise.resolve()
    .then(() => { if (!command) throw new Error(`unknown command ${c.do}`); return command(c) })
    .then((value) => answer({ id: c.id, ok: true, value: value ?? null }))
    .catch((e) => answer({ id: c.id, ok: false, error: String(e.message || e).slice(0, 2000) }))
}
await browser?.close()
