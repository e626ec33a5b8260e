// The customer page: says how else to reach the company, as far as the server has a number and a mailbox.

const theme = new URLSearchParams(location.search).get('theme')
if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme

interface Info { company: string; phone?: string; mail?: string }

const icons = {
  phone: 'M5.2 3.5h2.3l1.2 3.3-1.6 1.3a9 9 0 0 0 4.8 4.8l1.3-1.6 3.3 1.2v2.3a1.7 1.7 0 0 1-1.8 1.7A13 13 0 0 1 3.5 5.3a1.7 1.7 0 0 1 1.7-1.8Z',
  mail: 'M4.25 4.5h11.5a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1-1.5 1.5H4.25a1.5 1.5 0 0 1-1.5-1.5V6a1.5 1.5 0 0 1 1.5-1.5ZM3.5 6l6.5 5 6.5-5',
}

function way(icon: keyof typeof icons, before: string, text: string, href: string): HTMLLIElement {
  const li = document.createElement('li')
  li.innerHTML = `<svg class="i" viewBox="0 0 20 20" aria-hidden="true"><path d="${icons[icon]}"/></svg>`
  const a = document.createElement('a')
  a.href = href
  a.textContent = text
  const words = document.createElement('span')
  words.append(before, a)
  li.append(words)
  return li
}

async function fill(): Promise<void> {
  const answer = await fetch('/chat/info')
  if (!answer.ok) return
  const info = (await answer.json()) as Info
  const ways = document.getElementById('ways')!
  // A number like 100 or a whole SIP address; both can be dialled from a SIP phone.
  if (info.phone) ways.append(way('phone', 'Phone: ', info.phone, info.phone.includes('@') ? `sip:${info.phone}` : `tel:${info.phone.replace(/[^\d+]/g, '')}`))
  if (info.mail) ways.append(way('mail', 'Mail: ', info.mail, `mailto:${info.mail}`))
}

fill().catch((err: unknown) => console.warn('chat/info', err))
