// The colours: components of the desk name tokens only (a raw colour is right in one theme only), and every pair of
// tokens that can meet keeps WCAG 2.2 AA in both themes, computed from tokens.css itself.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const src = fileURLToPath(new URL('../src/', import.meta.url))
const raw = /#[0-9a-f]{3,8}\b|\b(?:rgb|rgba|hsl|hsla|oklch|lab|light-dark)\(|:\s*(?:white|black|red|green|blue|gr[ae]y|yellow|orange)\b/i

const files = ['desk', 'softphone', 'shared']
  .flatMap((dir) => readdirSync(join(src, dir), { recursive: true }).map((name) => join(src, dir, name)))
  .filter((file) => /\.(vue|css)$/.test(file) && !file.endsWith('tokens.css'))

test('components name no raw colour', () => {
  assert.ok(files.length > 20, 'there is something to check')
  for (const file of files) {
    const text = readFileSync(file, 'utf8')
    const styles = file.endsWith('.css') ? text : (/<style[^>]*>([\s\S]*?)<\/style>/.exec(text)?.[1] ?? '')
    // a mask is a shape, its black is no colour
    const found = styles.split('\n').filter((line) => raw.test(line.replace(/mask-image: [^;]+;/, '')))
    assert.deepEqual(found, [], file)
  }
})

const tokens = readFileSync(join(src, 'shared/tokens.css'), 'utf8')
const colours = new Map([...tokens.matchAll(/--([\w-]+):\s*(?:light-dark\((#\w{6}),\s*(#\w{6})\)|(#\w{6}))\s*;/g)].map(([, name, light, dark, both]) => [name, { light: light ?? both, dark: dark ?? both }]))

function luminance(hex) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

function contrast(a, b, theme) {
  const [x, y] = [a, b].map((name) => luminance(colours.get(name)?.[theme] ?? assert.fail(`no token --${name}`))).sort((p, q) => q - p)
  return (x + 0.05) / (y + 0.05)
}

const surfaces = ['canvas', 'surface', 'raised', 'sunken', 'hover', 'selected']
const states = ['success', 'warning', 'danger', 'info', 'ai', 'note', 'accent']
const text = [
  ...['text', 'muted'].flatMap((t) => surfaces.map((s) => [t, s])),
  ...states.flatMap((s) => [`${s}-bg`, 'canvas', 'surface', 'raised'].map((bg) => [`${s}-fg`, bg])),
  ...['customer-bg', 'agent-bg', 'ai-bg', 'note-bg', 'accent-bg'].map((bg) => ['text', bg]),
  ['on-accent', 'accent'], ['on-accent', 'accent-hover'], ['on-solid', 'danger-solid'], ['on-solid', 'success-solid'], ['on-own', 'own-bg'],
  ...['bar', 'bar-raised'].flatMap((bg) => ['bar-text', 'bar-muted', 'bar-accent', 'bar-good', 'bar-warn', 'bar-bad'].map((t) => [t, bg])),
]
const marks = ['success-mark', 'warning-mark', 'danger-mark', 'info-mark', 'accent-mark', 'ai-mark', 'border-strong', 'focus', 'ch-voice', 'ch-chat', 'ch-email', 'ch-api']

for (const theme of ['light', 'dark']) {
  test(`text is readable, ${theme}`, () => {
    for (const [fg, bg] of text) assert.ok(contrast(fg, bg, theme) >= 4.5, `${fg} on ${bg}: ${contrast(fg, bg, theme).toFixed(2)}`)
  })
  test(`marks and edges of controls are seen, ${theme}`, () => {
    for (const mark of marks) for (const bg of surfaces) assert.ok(contrast(mark, bg, theme) >= 3, `${mark} on ${bg}: ${contrast(mark, bg, theme).toFixed(2)}`)
  })
}
