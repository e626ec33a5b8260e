// The one-time sign-in link: /desk/#link=TOKEN. The token stands in the fragment, so that no server, proxy or log ever
// sees it, and leaves the address bar at once.
export function takeLinkToken(): string {
  const token = /^#link=([^&]+)$/.exec(location.hash)?.[1] ?? ''
  if (token) history.replaceState(history.state, '', location.pathname + location.search)
  return decodeURIComponent(token)
}

// A link opened in a tab that already shows the desk changes only the fragment: no new page, so we ask for one.
export function watchForLink(): void {
  addEventListener('hashchange', () => location.hash.startsWith('#link=') && location.reload())
}
