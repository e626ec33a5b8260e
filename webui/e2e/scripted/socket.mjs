// The server half of RFC 6455, as much as a test needs: text frames below 64 kB, ping-less, close codes.
import { createHash } from 'node:crypto'

const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

function frame(opcode, payload) {
  const size = payload.length
  const head = size < 126 ? Buffer.from([0x80 | opcode, size]) : Buffer.from([0x80 | opcode, 126, size >> 8, size & 255])
  return Buffer.concat([head, payload])
}

// upgrade answers the handshake and calls onText for every text message.
export function upgrade(request, socket, onText, onClose) {
  const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + magic).digest('base64')
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
  let had = Buffer.alloc(0)
  socket.on('data', (chunk) => {
    had = Buffer.concat([had, chunk])
    for (;;) {
      const got = read(had)
      if (!got) return
      had = had.subarray(got.length)
      if (got.opcode === 1) onText(got.payload.toString())
      if (got.opcode === 8) socket.end(frame(8, got.payload))
    }
  })
  socket.on('close', onClose)
  socket.on('error', () => socket.destroy())
  return {
    send: (value) => socket.writable && socket.write(frame(1, Buffer.from(JSON.stringify(value)))),
    close: (code) => socket.end(frame(8, Buffer.from([code >> 8, code & 255]))),
    cut: () => socket.destroy(),
  }
}

function read(bytes) {
  if (bytes.length < 2) return undefined
  let size = bytes[1] & 127
  let at = 2
  if (size === 126) {
    if (bytes.length < 4) return undefined
    size = bytes.readUInt16BE(2)
    at = 4
  } else if (size === 127) throw new Error('a test sends no frame of 64 kB')
  if (bytes.length < at + 4 + size) return undefined
  const mask = bytes.subarray(at, at + 4)
  const payload = Buffer.from(bytes.subarray(at + 4, at + 4 + size))
  for (let i = 0; i < size; i++) payload[i] ^= mask[i & 3]
  return { opcode: bytes[0] & 15, payload, length: at + 4 + size }
}
