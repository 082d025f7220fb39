// One connection seen from its client: bytes out as they are given, answers parsed so strictly that a server's framing error fails the test.
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { within } from './within.ts'

/** Bounds a failure; no test waits that long when all is well. */
export const WAIT = 5_000

/** How the connection ended, seen from here. */
export type Ending = 'end' | 'reset'

export interface Response {
  /** `HTTP/1.1`. */
  version: string
  status: number
  reason: string
  /** As on the wire: original case, in order, repeated ones repeated. */
  headers: [string, string][]
  /** The value of the only field line of that name, '' without one. Throws for a repeated one. */
  header(name: string): string
  has(name: string): boolean
  body: Buffer
  /** The body as UTF-8. */
  text: string
  /** The data of each chunk, without the last one's emptiness. Only of a chunked answer. */
  chunks?: Buffer[]
  trailers?: [string, string][]
  /** How the body ended. */
  framing: 'none' | 'length' | 'chunked' | 'close'
  raw: Buffer
}

export interface ResponseOptions {
  /** What was asked: the answer to HEAD has no body. */
  method?: string
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const STATUS_LINE = /^(HTTP\/1\.[01]) ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)$/
const FIELD_LINE = /^([^:]*): (.*)$/
const DIGITS = /^(?:0|[1-9][0-9]*)$/
const CHUNK_SIZE = /^(?:0|[1-9a-f][0-9a-f]*)$/

export class RawClient {
  readonly stream: Duplex
  /** Each 'data' event so far: one write of the server is at least one of them, and two writes in different turns are never the same one. */
  dataEvents = 0
  /** Octets received. */
  received = 0
  /** Resolves with how the connection ended. */
  readonly closed: Promise<Ending>
  /** Resolves at an orderly end; rejects at a reset. */
  readonly ended: Promise<void>
  /** Resolves at a reset; rejects at an orderly end. */
  readonly reset: Promise<void>
  /** Octets that arrived and were not asked for: `[from, to)`. */
  private bytesIn: Buffer = Buffer.allocUnsafe(4096)
  private from = 0
  private to = 0
  private ending: Ending | null = null
  /** The peer's FIN is here; whether it was one is still being found out. */
  private sawEnd = false
  private readonly raw: Socket | null
  private waiting: (() => void)[] = []
  /** One reader at a time, in the order of the calls. */
  private queue: Promise<unknown> = Promise.resolve()

  /** `raw`: the TCP socket below a TLS one. */
  constructor(stream: Duplex, raw: Socket | null = stream instanceof Socket ? stream : null) {
    this.stream = stream
    this.raw = raw
    // Nagle would hold back the second of two small writes for the peer's delayed acknowledgement: 40 ms each time.
    raw?.setNoDelay(true)
    const isTcp = stream instanceof Socket && stream.remoteAddress !== undefined && !('encrypted' in stream)
    let settle!: (ending: Ending) => void
    this.closed = new Promise(resolve => (settle = resolve))
    this.ended = this.closed.then(ending => {
      if (ending !== 'end') throw new Error('the connection was reset')
    })
    this.reset = this.closed.then(ending => {
      if (ending !== 'reset') throw new Error('the connection ended in order')
    })
    this.ended.catch(ignore)
    this.reset.catch(ignore)
    const close = (ending: Ending): void => {
      if (this.ending !== null) return
      this.ending = ending
      settle(ending)
      this.wake()
    }
    stream.on('data', (chunk: Buffer) => this.arrived(chunk))
    stream.on('error', () => close('reset'))
    stream.on('close', () => close(this.sawEnd ? 'end' : 'reset'))
    stream.on('end', () => {
      this.sawEnd = true
      if (!isTcp || stream.writableEnded || stream.destroyed) close('end')
      // Node 20 and 22 read a RST that comes behind unread bytes as an end; only a write tells: after a FIN it is accepted, after a RST it is not.
      else stream.write('?', error => close(error == null ? 'end' : 'reset'))
    })
  }

  // ── Out ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Strings are latin-1: one character, one octet. Resolves when the system has it all. */
  send(bytes: string | Uint8Array): Promise<void> {
    return within(WAIT, new Promise((resolve, reject) => {
      this.stream.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, error => (error ? reject(error) : resolve()))
    }), 'the bytes to be sent')
  }

  /** Half-close. */
  end(): Promise<void> {
    return within(WAIT, new Promise(resolve => this.stream.end(resolve)), 'the half-close')
  }

  /** RST where the connection has one. */
  resetNow(): void {
    try {
      this.raw?.resetAndDestroy()
    } catch {
      // A unix socket has no RST.
    }
    this.stream.destroy()
  }

  destroy(): void {
    this.stream.destroy()
  }

  pause(): void {
    this.stream.pause()
  }

  resume(): void {
    this.stream.resume()
  }

  // ── In ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The next final answer. Interim ones before it are an error: ask for them with `interim`. */
  response(options: ResponseOptions = {}): Promise<Response> {
    return this.inTurn('a response', async () => {
      const response = await this.parse(options)
      if (response.status < 200) throw new Error(`an interim answer where a final one was expected: ${response.status}`)
      return response
    })
  }

  /** `n` final answers. */
  async responses(n: number): Promise<Response[]> {
    const all: Response[] = []
    while (all.length < n) all.push(await this.response())
    return all
  }

  /** The next answer, which must be interim (1xx). */
  interim(): Promise<Response> {
    return this.inTurn('an interim response', async () => {
      const response = await this.parse({})
      if (response.status >= 200) throw new Error(`a final answer where an interim one was expected: ${response.status}`)
      return response
    })
  }

  /** Exactly the next `n` octets. */
  bytes(n: number): Promise<Buffer> {
    return this.inTurn(`${n} bytes`, () => this.take(n))
  }

  /** Everything up to the peer's FIN. Rejects at a reset. */
  untilEnd(): Promise<Buffer> {
    return this.inTurn('the end of the connection', () => this.rest())
  }

  /** What has arrived and was not asked for. */
  get buffered(): string {
    return this.bytesIn.toString('latin1', this.from, this.to)
  }

  private inTurn<T>(what: string, read: () => Promise<T>): Promise<T> {
    const mine = this.queue.then(() => within(WAIT, read(), `${what} (arrived: ${JSON.stringify(this.buffered.slice(0, 200))})`))
    this.queue = mine.catch(ignore)
    return mine
  }

  private async parse({ method = 'GET' }: ResponseOptions): Promise<Response> {
    const raw: Buffer[] = []
    const line = async (): Promise<string> => {
      const text = await this.line()
      raw.push(Buffer.from(`${text}\r\n`, 'latin1'))
      return text
    }
    const take = async (n: number): Promise<Buffer> => {
      const bytes = await this.take(n)
      raw.push(bytes)
      return bytes
    }
    const first = await line()
    const match = STATUS_LINE.exec(first)
    if (match === null) throw new Error(`no status line: ${JSON.stringify(first.slice(0, 200))}`)
    const status = Number(match[2])
    const headers = await fieldLines(line)
    const result: Response = {
      version: match[1]!,
      status,
      reason: match[3]!,
      headers,
      header: name => only(headers, name) ?? '',
      has: name => valuesOf(headers, name).length > 0,
      body: Buffer.alloc(0),
      text: '',
      framing: 'none',
      raw: Buffer.alloc(0)
    }
    const coding = only(headers, 'transfer-encoding')
    const length = only(headers, 'content-length')
    if (coding !== undefined && coding !== 'chunked') throw new Error(`Transfer-Encoding: ${coding}`)
    if (coding !== undefined && length !== undefined) throw new Error('Transfer-Encoding and Content-Length')
    if (length !== undefined && !DIGITS.test(length)) throw new Error(`Content-Length: ${length}`)
    if ((status < 200 || status === 204) && (coding ?? length) !== undefined) throw new Error(`framing in a ${status}`)
    if (method === 'HEAD' || status < 200 || status === 204 || status === 304) {
      // nothing follows
    } else if (coding !== undefined) {
      result.framing = 'chunked'
      result.chunks = []
      for (;;) {
        const size = await line()
        if (!CHUNK_SIZE.test(size)) throw new Error(`chunk size: ${JSON.stringify(size)}`)
        if (size === '0') break
        result.chunks.push(await take(Number.parseInt(size, 16)))
        if ((await take(2)).toString('latin1') !== '\r\n') throw new Error('no CRLF after a chunk')
      }
      result.trailers = await fieldLines(line)
      result.body = Buffer.concat(result.chunks)
    } else if (length !== undefined) {
      result.framing = 'length'
      result.body = await take(Number(length))
    } else {
      result.framing = 'close'
      if (only(headers, 'connection') !== 'close') throw new Error('an answer that ends with the connection must say Connection: close')
      result.body = await this.rest()
      raw.push(result.body)
    }
    result.text = result.body.toString('utf8')
    result.raw = Buffer.concat(raw)
    return result
  }

  /** Up to CRLF, which is not part of it; no other CR or LF may be in it. */
  private async line(): Promise<string> {
    let scanned = 0
    for (;;) {
      const at = this.bytesIn.subarray(this.from + scanned, this.to).indexOf(0x0a)
      if (at >= 0) {
        const text = this.bytesIn.toString('latin1', this.from, this.from + scanned + at + 1)
        this.from += text.length
        if (!text.endsWith('\r\n') || text.indexOf('\r') !== text.length - 2) throw new Error(`no CRLF line: ${JSON.stringify(text)}`)
        return text.slice(0, -2)
      }
      scanned = this.to - this.from
      await this.more('a line')
    }
  }

  private async take(n: number): Promise<Buffer> {
    while (this.to - this.from < n) await this.more(`${n} bytes`)
    const bytes = Buffer.from(this.bytesIn.subarray(this.from, this.from + n))
    this.from += n
    return bytes
  }

  private async rest(): Promise<Buffer> {
    while (this.ending === null) await this.change()
    if (this.ending === 'reset') throw new Error(`reset after ${JSON.stringify(this.buffered.slice(-200))}`)
    return await this.take(this.to - this.from)
  }

  private async more(what: string): Promise<void> {
    const had = this.to - this.from
    while (this.to - this.from === had) {
      if (this.ending !== null) throw new Error(`${this.ending === 'end' ? 'the connection ended' : 'reset'} before ${what}: ${JSON.stringify(this.buffered.slice(0, 200))}`)
      await this.change()
    }
  }

  private change(): Promise<void> {
    return new Promise(resolve => this.waiting.push(resolve))
  }

  private wake(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const resolve of waiting) resolve()
  }

  private arrived(chunk: Buffer): void {
    this.dataEvents++
    this.received += chunk.length
    if (this.to + chunk.length > this.bytesIn.length) {
      const held = this.to - this.from
      const larger = held + chunk.length > this.bytesIn.length >> 1 ? Buffer.allocUnsafe((held + chunk.length) * 2) : this.bytesIn
      this.bytesIn.copy(larger, 0, this.from, this.to)
      this.bytesIn = larger
      this.from = 0
      this.to = held
    }
    this.to += chunk.copy(this.bytesIn, this.to)
    this.wake()
  }
}

async function fieldLines(line: () => Promise<string>): Promise<[string, string][]> {
  const fields: [string, string][] = []
  for (let text = await line(); text !== ''; text = await line()) {
    const match = FIELD_LINE.exec(text)
    if (match === null || !TOKEN.test(match[1]!) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(match[2]!) || match[2] !== match[2]!.trim()) {
      throw new Error(`no field line: ${JSON.stringify(text)}`)
    }
    fields.push([match[1]!, match[2]!])
  }
  return fields
}

function valuesOf(headers: [string, string][], name: string): string[] {
  return headers.filter(pair => pair[0].toLowerCase() === name.toLowerCase()).map(pair => pair[1])
}

function only(headers: [string, string][], name: string): string | undefined {
  const values = valuesOf(headers, name)
  if (values.length > 1) throw new Error(`${name} ${values.length} times`)
  return values[0]
}

function ignore(): void {}
