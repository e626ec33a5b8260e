// Builds every page into dist/, which the Go program embeds. dist/.build-id is a hash over all sources: when it still
// fits, nothing is built (--force builds anyway).
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { articles, write as writeHelp } from './help.mjs'

process.chdir(dirname(fileURLToPath(import.meta.url)))
const configs = ['vite.desk.config.ts', 'vite.widget.config.ts', 'vite.page.config.ts']

function sources(dir) {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile() && !/\.test\.tsx?$/.test(f.name))
    .map((f) => join(f.parentPath, f.name))
}

const hash = createHash('sha256')
for (const file of [...sources('src'), ...sources(articles), ...configs, 'help.mjs', 'build.mjs', 'package-lock.json', 'tsconfig.base.json'].sort()) {
  hash.update(file + '\0').update(readFileSync(file)).update('\0')
}
const id = hash.digest('hex').slice(0, 16)
const known = existsSync('dist/.build-id') && readFileSync('dist/.build-id', 'utf8').trim()

if (known === id && !process.argv.includes('--force')) {
  console.log(`web pages: ${id} is built`)
} else {
  rmSync('dist', { recursive: true, force: true })
  mkdirSync('dist')
  writeFileSync('dist/.gitkeep', '')
  process.env.PATCHBAY_BUILD_ID = id
  for (const configFile of configs) {
    await build({ configFile, logLevel: 'warn', define: { __BUILD_ID__: JSON.stringify(id) } })
  }
  writeHelp()
  writeFileSync('dist/.build-id', id + '\n') // last: a build that was cut short is built again
  console.log(`web pages: built ${id}`)
}
