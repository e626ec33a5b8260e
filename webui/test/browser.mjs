// A real browser for the tests of built pages, and a small server that hands them out as strictly as ours does.
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const dist = fileURLToPath(new URL('../dist', import.meta.url))
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' }
export const strict = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws:; base-uri 'none'; form-action 'none'"

export const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
export const missing = existsSync(executablePath) ? '' : `${executablePath} is not installed`

export function launch() {
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
}

/** serve hands out dist/ and the JSON or HTML of extra, under a strict CSP. */
export async function serve(extra = {}) {
  const server = createServer((req, res) => {
    const path = new URL(req.url, 'http://x').pathname
    const name = path === '/' ? '/index.html' : path
    const file = join(dist, normalize(name))
    const body = extra[path] ?? (existsSync(file) && extname(file) ? readFileSync(file) : null)
    res.setHeader('Content-Security-Policy', strict)
    res.setHeader('Content-Type', types[extname(name)] ?? (path in extra && path.endsWith('info') ? types['.json'] : types['.html']))
    res.statusCode = body !== null ? 200 : path === '/favicon.ico' ? 204 : 404
    res.end(body)
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => new Promise((done) => { server.closeAllConnections(); server.close(done) }) }
}
