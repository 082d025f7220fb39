// The floor: libuv's handle without net.Socket, one fixed answer for whatever arrives. Parses nothing and checks nothing.
// `--close`: closes after the answer, for the new connection per request.
import { createServer } from 'node:net'

const closing = process.argv.includes('--close')
const ANSWER =
  'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n' +
  (closing ? 'Connection: close\r\n' : '') + '\r\nHello, World!\r\n'

process.noDeprecation = true
const { WriteWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = process.binding('stream_wrap')
const slab = Buffer.allocUnsafeSlow(64 * 1024)
let spare = new WriteWrap()

function onRead() {
  const count = streamBaseState[kReadBytesOrError]
  if (count === 0) return
  if (count < 0) {
    this.close()
    return
  }
  const error = this.writeLatin1String(spare, ANSWER)
  // A request that went asynchronously is libuv's: never used again.
  if (error === 0 && streamBaseState[kLastWriteWasAsync] !== 0) spare = new WriteWrap()
  if (error !== 0 || closing) this.close()
}

const server = createServer()
server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 }, () => {
  server._handle.onconnection = (error, handle) => {
    if (error) return
    handle.setNoDelay(true)
    handle.useUserBuffer(slab)
    handle.onread = onRead
    handle.readStart()
  }
})

if (globalThis.gc) process.on('SIGUSR2', () => globalThis.gc())
