// The public floor: a net.Socket, one fixed answer for whatever arrives. Parses nothing and checks nothing.
import { createServer } from 'node:net'

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n\r\nHello, World!\r\n'

const server = createServer({ noDelay: true }, socket => {
  socket.on('data', () => socket.write(ANSWER, 'latin1'))
  socket.on('error', () => {})
})
server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 })

if (globalThis.gc) process.on('SIGUSR2', () => globalThis.gc())
