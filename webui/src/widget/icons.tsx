// The design's own icons, drawn on 20 x 20.

const paths = {
  alert: 'M10 3.2 17.6 16.5H2.4L10 3.2ZM10 8v3.8M10 14.3v.01',
  chat: 'M4 4.5h12a1 1 0 0 1 1 1v7.5a1 1 0 0 1-1 1H9.5L6 17v-3H4a1 1 0 0 1-1-1V5.5a1 1 0 0 1 1-1Z',
  check: 'm4 10.5 4 4 8-9',
  clock: 'M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM10 6v4l2.8 1.8',
  doc: 'M5 2.8h6.5L15.5 7v10.2H5V2.8ZM11.5 2.8V7h4M7.5 10.5h5M7.5 13.5h5',
  down: 'm5 7.5 5 5 5-5',
  keypad: 'M5 5v.01M10 5v.01M15 5v.01M5 10v.01M10 10v.01M15 10v.01M5 15v.01M10 15v.01M15 15v.01',
  mic: 'M10 2.8a2.2 2.2 0 0 1 2.2 2.2v4.5a2.2 2.2 0 0 1-4.4 0V5A2.2 2.2 0 0 1 10 2.8ZM5.2 9.5a4.8 4.8 0 0 0 9.6 0M10 14.3v3',
  micoff: 'M12.2 7V5a2.2 2.2 0 0 0-4.4 0v4.5a2.2 2.2 0 0 0 3.2 2M5.2 9.5a4.8 4.8 0 0 0 7.6 3.9M14.8 9.5c0 .5 0 1-.2 1.4M10 14.3v3M3 3l14 14',
  phone: 'M4.5 3.2h2.7l1.5 3.9-1.8 1.4a9.6 9.6 0 0 0 4.6 4.6l1.4-1.8 3.9 1.5v2.7a1.3 1.3 0 0 1-1.4 1.3A12.8 12.8 0 0 1 3.2 4.6a1.3 1.3 0 0 1 1.3-1.4Z',
  minus: 'M4 10h12',
  refresh: 'M16 5v4h-4M4 15v-4h4M15.7 9A6 6 0 0 0 5 6.5M4.3 11A6 6 0 0 0 15 13.5',
  send: 'M3 10 17 3.5 13 17l-3.5-5.5L3 10ZM9.5 11.5 17 3.5',
  user: 'M10 3.75a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM4 16.5c.4-3.3 2.7-5 6-5s5.6 1.7 6 5',
  x: 'm5 5 10 10M15 5 5 15',
}

export function Icon({ name, small }: { name: keyof typeof paths; small?: boolean }) {
  return <svg class={small ? 'i i-s' : 'i'} viewBox="0 0 20 20" aria-hidden="true"><path d={paths[name]} /></svg>
}
