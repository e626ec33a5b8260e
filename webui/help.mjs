// The invented shop's help pages, from the very articles that the responder quotes (llm/demo): a source's link must
// lead to the words that it stands for.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'

export const articles = '../llm/demo'

const escape = (s) => s.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c])

function body(markdown) {
  return markdown.trim().split(/\n{2,}/).map((part) => {
    const head = /^(#{1,3}) (.*)$/.exec(part)
    if (head) return `<h${head[1].length}>${escape(head[2])}</h${head[1].length}>`
    if (/^- /.test(part)) return `<ul>${part.split('\n').map((l) => `<li>${escape(l.replace(/^- /, ''))}</li>`).join('')}</ul>`
    return `<p>${escape(part)}</p>`
  }).join('\n')
}

const page = (title, main, style) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)} - Nordlicht</title>
<link rel="stylesheet" href="${style}">
<script async src="/widget.js" data-patchbay data-name="Nordlicht"></script>
</head>
<body>
<header class="top"><b><a href="/">nordlicht</a></b><p><a href="/help">All help pages</a></p></header>
<main class="help">
${main}
</main>
</body>
</html>
`

// write puts dist/help.html and dist/help/NAME.html beside the built customer page, in its style.
export function write() {
  const style = /<link rel="stylesheet"[^>]* href="([^"]+)"/.exec(readFileSync('dist/index.html', 'utf8'))[1]
  mkdirSync('dist/help', { recursive: true })
  const list = []
  for (const file of readdirSync(articles).filter((f) => f.endsWith('.md')).sort()) {
    const text = readFileSync(`${articles}/${file}`, 'utf8'), name = file.replace(/\.md$/, '')
    const title = /^# (.*)$/m.exec(text)[1]
    writeFileSync(`dist/help/${name}.html`, page(title, body(text), style))
    list.push(`<li><a href="/help/${name}">${escape(title)}</a></li>`)
  }
  writeFileSync('dist/help.html', page('Help', `<h1>Help</h1>\n<ul>${list.join('\n')}</ul>`, style))
}
