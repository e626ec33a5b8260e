// The icons of the design, drawn on 20 x 20 with a 1.5 px stroke. Inner SVG of each; the name is always said in text
// or aria-label beside it.
export const icons = {
  alert: '<path d="M10 3.2 17.6 16.5H2.4L10 3.2ZM10 8v3.8M10 14.3v.01"/>',
  back: '<path d="m12.5 5-5 5 5 5"/>',
  callback: '<path d="M5.2 3.5h2.3l1.2 3.3-1.6 1.3a9 9 0 0 0 4.8 4.8l1.3-1.6 3.3 1.2v2.3a1.7 1.7 0 0 1-1.8 1.7A13 13 0 0 1 3.5 5.3a1.7 1.7 0 0 1 1.7-1.8ZM16.5 3.5l-4.5 4.5M12 4.5V8h3.5"/>',
  chat: '<path d="M4 4.5h12a1 1 0 0 1 1 1v7.5a1 1 0 0 1-1 1H9.5L6 17v-3H4a1 1 0 0 1-1-1V5.5a1 1 0 0 1 1-1Z"/>',
  check: '<path d="m4 10.5 4 4 8-9"/>',
  clock: '<circle cx="10" cy="10" r="7"/><path d="M10 6v4l2.8 1.8"/>',
  cord: '<circle cx="4.5" cy="6" r="2"/><circle cx="15.5" cy="6" r="2"/><path d="M4.5 8c0 9.5 11 9.5 11 0"/>',
  doc: '<path d="M5 2.8h6.5L15.5 7v10.2H5V2.8ZM11.5 2.8V7h4M7.5 10.5h5M7.5 13.5h5"/>',
  down: '<path d="m5 7.5 5 5 5-5"/>',
  eye: '<path d="M2.5 10S5 4.8 10 4.8 17.5 10 17.5 10 15 15.2 10 15.2 2.5 10 2.5 10Z"/><circle cx="10" cy="10" r="2.3"/>',
  hangup: '<path d="M2.8 12.5c0-2.8 3.5-5 7.2-5s7.2 2.2 7.2 5v1.3l-4 .7-.7-3a9 9 0 0 0-5 0l-.7 3-4-.7v-1.3Z"/>',
  headset: '<path d="M3.5 12V10a6.5 6.5 0 0 1 13 0v2M3.5 11.5h2.3v4.3H4.5a1 1 0 0 1-1-1v-3.3ZM16.5 11.5h-2.3v4.3h1.3a1 1 0 0 0 1-1v-3.3ZM16 15.5c0 1.3-1.5 2-4 2"/>',
  hold: '<path d="M7 4.5v11M13 4.5v11"/>',
  inbox: '<path d="M3 11h3.5l1 2h5l1-2H17M4.8 4.5h10.4L17 11v4.5H3V11l1.8-6.5Z"/>',
  keys: '<g stroke-width="2.2"><path d="M5 4.5h.01M10 4.5h.01M15 4.5h.01M5 9.5h.01M10 9.5h.01M15 9.5h.01M5 14.5h.01M10 14.5h.01M15 14.5h.01"/></g>',
  lock: '<rect x="4.5" y="9" width="11" height="8" rx="1.5"/><path d="M7 9V6.5a3 3 0 0 1 6 0V9"/>',
  mail: '<rect x="2.75" y="4.5" width="14.5" height="11" rx="1.5"/><path d="m3.5 6 6.5 5 6.5-5"/>',
  mic: '<rect x="7.5" y="2.75" width="5" height="9" rx="2.5"/><path d="M4.5 9.5a5.5 5.5 0 0 0 11 0M10 15v2.5"/>',
  out: '<path d="M8 4H4v12h4M12.5 6.5 16 10l-3.5 3.5M16 10H8"/>',
  phone: '<path d="M5.2 3.5h2.3l1.2 3.3-1.6 1.3a9 9 0 0 0 4.8 4.8l1.3-1.6 3.3 1.2v2.3a1.7 1.7 0 0 1-1.8 1.7A13 13 0 0 1 3.5 5.3a1.7 1.7 0 0 1 1.7-1.8Z"/>',
  plus: '<path d="M10 4v12M4 10h12"/>',
  rec: '<circle cx="10" cy="10" r="6.5"/><circle cx="10" cy="10" r="2.5" fill="currentColor" stroke="none"/>',
  right: '<path d="m7.5 5 5 5-5 5"/>',
  search: '<circle cx="9" cy="9" r="5"/><path d="m13 13 4 4"/>',
  shield: '<path d="M10 2.8 16 5v4.5c0 3.7-2.5 6.3-6 7.7-3.5-1.4-6-4-6-7.7V5l6-2.2ZM7.5 10l2 2 3.3-3.7"/>',
  transfer: '<path d="M3 7h12M12 4l3 3-3 3M17 13H5M8 10l-3 3 3 3"/>',
  users: '<circle cx="7.5" cy="7" r="2.75"/><path d="M2.5 16c.3-3 2.3-4.5 5-4.5s4.7 1.5 5 4.5M13 4.5a2.6 2.6 0 0 1 0 5M14.3 11.7c1.9.5 3 2 3.2 4.3"/>',
  x: '<path d="m5 5 10 10M15 5 5 15"/>',
} as const

export type IconName = keyof typeof icons
