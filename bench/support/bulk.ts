// A process of its own: sends or receives 64 MiB messages on a few connections, one after the other, until the time is over; whole messages
// count. Prints {octets, seconds}. Ends with an error when an answer is wrong.
import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import { BULK, octetsOf } from './requests.ts'
import { fault, PATIENCE, readResponse } from './check.ts'
import type { BulkLoad } from './works.ts'

interface Options {
  host: string
  port: number
  load: BulkLoad
  seconds: number
}

const { host, port, load, seconds } = JSON.parse(process.argv[2]!) as Options
const head = octetsOf(load.request)
const chunked = load.request.fields.some(([name]) => name === 'Transfer-Encoding')
const uploading = load.request.method === 'POST'

const CHUNK = 16 * 1024
const WRITE = 256 * 1024
const END = Buffer.from('0\r\n\r\n')

/** 256 KiB of content as one write. */
function block(): Buffer {
  if (!chunked) return Buffer.alloc(WRITE, 'u')
  const chunk = Buffer.concat([Buffer.from(`${CHUNK.toString(16)}\r\n`), Buffer.alloc(CHUNK, 'u'), Buffer.from('\r\n')])
  return Buffer.concat(Array.from({ length: WRITE / CHUNK }, () => chunk))
}

const BLOCK = block()
const BLOCKS = BULK / WRITE

/** Connections whose content the kernel has not taken to its end. */
const sending = new Set<Socket>()

function sendContent(socket: Socket): void {
  sending.add(socket)
  let left = BLOCKS
  const more = (): void => {
    while (left > 0) {
      left--
      if (!socket.write(BLOCK)) {
        socket.once('drain', more)
        return
      }
    }
    // A block is more than a socket holds back: behind the last one comes a `drain`, and then this.
    if (chunked) socket.write(END, () => sending.delete(socket))
    else sending.delete(socket)
  }
  more()
}

const started = performance.now()
let octets = 0
let finished = 0

function fail(reason: string): never {
  process.stderr.write(`${load.request.method} ${load.request.target}: ${reason}\n`)
  process.exit(1)
}

function begin(socket: Socket): void {
  socket.write(head, 'latin1')
  if (uploading) sendContent(socket)
}

/** `closes`: the peer will use this connection no more. */
function next(socket: Socket, closes: boolean): void {
  octets += BULK
  const goesOn = performance.now() - started < seconds * 1000
  if (goesOn && !closes) return begin(socket)
  socket.destroy()
  if (goesOn) return open()
  if (++finished === load.connections) process.stdout.write(`${JSON.stringify({ octets, seconds: (performance.now() - started) / 1000 })}\n`)
}

/** The small answer to an upload. */
function receiveAnswer(socket: Socket): void {
  let bytes: Buffer = Buffer.alloc(0)
  socket.on('data', chunk => {
    bytes = Buffer.concat([bytes, chunk])
    const response = readResponse(bytes, false)
    if (response === null) return
    const wrong = fault(response, load.answer!)
    if (wrong !== '') fail(wrong)
    if (sending.has(socket)) fail('answered before the content was sent')
    bytes = bytes.subarray(response.length)
    next(socket, /\bclose\b/i.test(response.fields.get('connection') ?? ''))
  })
}

/** Content is counted and looked at here and there, not kept; with Content-Length or chunked, which some peers make of it. */
class Download {
  private text = ''
  private inHead = true
  private chunked = false
  /** Octets that follow, of the content or of a chunk. */
  private left = 0
  private content = 0
  private closes = false
  private readonly done: (closes: boolean) => void

  constructor(done: (closes: boolean) => void) {
    this.done = done
  }

  take(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length) {
      if (this.left === 0) {
        this.text += String.fromCharCode(bytes[at++]!)
        if (this.inHead ? this.text.endsWith('\r\n\r\n') : /[0-9a-f]\r\n$/i.test(this.text)) this.line(this.text.trim())
        continue
      }
      const step = Math.min(this.left, bytes.length - at)
      if (bytes[at] !== 0x64) fail(`content has the octet ${bytes[at]}`)
      this.left -= step
      this.content += step
      at += step
      if (this.left === 0 && !this.chunked) this.finish()
    }
  }

  /** A head, or a chunk's size; what ends the one before stands in front of it. */
  private line(text: string): void {
    this.text = ''
    if (!this.inHead) {
      this.left = parseInt(text, 16)
      if (this.left === 0) this.finish()
      return
    }
    if (!text.startsWith('HTTP/1.1 200 ')) fail(text.slice(0, 60))
    const length = /^content-length: (\d+)/im.exec(text)
    this.chunked = length === null
    this.left = Number(length?.[1] ?? 0)
    this.closes = /^connection: close/im.test(text)
    this.inHead = false
  }

  private finish(): void {
    if (this.content !== BULK) fail(`${this.content} octets, not ${BULK}`)
    this.content = 0
    this.inHead = true
    this.done(this.closes)
  }
}

function receiveContent(): Socket {
  const download = new Download(closes => next(socket, closes))
  const socket: Socket = connect({
    host,
    port,
    onread: {
      buffer: Buffer.allocUnsafe(256 * 1024),
      callback: (count, buffer) => {
        download.take(Buffer.from(buffer.buffer, buffer.byteOffset, count))
        return true
      }
    }
  }, () => begin(socket))
  return socket
}

function open(): void {
  const socket: Socket = uploading ? connect({ host, port }, () => begin(socket)) : receiveContent()
  if (uploading) receiveAnswer(socket)
  socket.setNoDelay(true)
  socket.setTimeout(PATIENCE, () => fail(`nothing for ${PATIENCE / 1000} s`))
  socket.on('error', error => fail(error.message))
  // Closing after a message is `next`'s to see; this is in the middle of one.
  socket.on('end', () => { if (!socket.destroyed) fail('closed in the middle of a message') })
}

for (let i = 0; i < load.connections; i++) open()
