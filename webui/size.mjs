// Fails when the widget is larger than a foreign website should have to load.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const limit = 50_000
const size = gzipSync(readFileSync(new URL('dist/widget.js', import.meta.url)), { level: 9 }).length
console.log(`widget.js: ${(size / 1000).toFixed(1)} kB gzipped of ${limit / 1000} kB`)
if (size >= limit) process.exit(1)
