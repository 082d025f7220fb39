// A whole connection's octets through the parser room, without sockets: heads, content by length or chunked, until an error, a close or the end.
// What happens is written down as lines of text, which is how the tests state what they expect.
import { createHash } from 'node:crypto'
import { ChunkedDecoder } from '../../src/parser/chunked-decoder.ts'
import { scanner } from '../../src/parser/field-line-scanner.ts'
import { PeerErrorCode, peerErrorInfo } from '../../src/parser/errors.ts'
import { DEFAULT_LIMITS } from '../../src/parser/limits.ts'
import type { Limits } from '../../src/parser/limits.ts'
import { Framing, TargetForm } from '../../src/parser/request-head.ts'
import type { RequestHead } from '../../src/parser/request-head.ts'
import { RequestParser } from '../../src/parser/request-parser.ts'
import { assertAtEverySplit, poisonedWindow } from './splits.ts'

export interface LogOptions {
  limits?: Partial<Limits>
  secure?: boolean
  acceptTransferEncodingWithContentLength?: boolean
  /** Without the `field` lines. Default false. */
  headsOnly?: boolean
  /** Heads lie in the scanner's memory, as what a handle reads does. Default false. */
  scanned?: boolean
}

/** A request as the application would have seen it. */
export interface LoggedRequest {
  method: string
  target: string
  length: number
  sha256: string | null
}

// Longer content is logged as its length and digest.
const SHOWN = 120

/** `head GET /x 1.1 keep-alive framing=length 5` and a `field` line each. */
export function headEvents(head: RequestHead, headsOnly = false): string[] {
  let line = `head ${head.method} ${head.target} 1.${head.versionMinor} ${head.keepAlive ? 'keep-alive' : 'close'}`
  if (head.form === TargetForm.ABSOLUTE) line += ` authority=${head.text.slice(head.authorityStart, head.authorityEnd)}`
  if (head.framing === Framing.LENGTH) line += ` framing=length ${head.contentLength}`
  if (head.framing === Framing.CHUNKED) line += ' framing=chunked'
  if (head.expectContinue) line += ' expect-continue'
  if (head.upgrade) line += ' upgrade'
  if (head.acceptsTrailers) line += ' accepts-trailers'
  if (head.askedKeepAlive) line += ' asked-keep-alive'
  if (headsOnly) return [line]
  const { fields, text } = head
  const events = [line]
  for (let i = 0; i < fields.length; i += 4) {
    events.push(`field ${text.slice(fields[i], fields[i + 1])}: ${text.slice(fields[i + 2], fields[i + 3])}`)
  }
  return events
}

export function errorEvent(code: number, offset: number): string {
  const { name, status } = peerErrorInfo(code)
  return `error ${name} ${status} @${offset}`
}

export class ConnectionLog {
  readonly events: string[] = []
  readonly requests: LoggedRequest[] = []
  /** The answer's status, 0 while nothing went wrong. */
  errorStatus = 0
  /** The connection does not go on: an error, or a request that said so. */
  closed = false

  private readonly parser: RequestParser
  private readonly decoder: ChunkedDecoder
  private readonly options: LogOptions
  /** Octets of an incomplete head, held in one buffer, moved to another place whenever more come (up to a size: copying is quadratic). */
  private held: Buffer = Buffer.alloc(0)
  private heldStart = 0
  private heldEnd = 0
  private moves = 0
  private head: RequestHead | null = null
  private remaining = 0
  private content: Buffer[] = []

  constructor(options: LogOptions = {}) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.options = options
    this.parser = new RequestParser({
      limits,
      acceptTransferEncodingWithContentLength: options.acceptTransferEncodingWithContentLength ?? false
    })
    this.parser.secure = options.secure ?? false
    this.decoder = new ChunkedDecoder(limits)
  }

  push(piece: Buffer): void {
    let rest = piece
    while (!this.closed && rest.length > 0) {
      if (this.head === null) rest = this.readHead(rest)
      else rest = this.head.framing === Framing.CHUNKED ? this.readChunked(rest) : this.readLength(rest)
    }
  }

  /** The peer's FIN. */
  end(): this {
    if (this.closed) return this
    if (this.head !== null) this.stop('incomplete content', peerErrorInfo(PeerErrorCode.INCOMPLETE_CONTENT).status)
    else if (this.parser.started) this.stop('incomplete head', peerErrorInfo(PeerErrorCode.INCOMPLETE_HEAD).status)
    return this
  }

  private readHead(piece: Buffer): Buffer {
    this.hold(piece)
    const result = this.parser.execute(this.held, this.heldStart, this.heldEnd)
    if (result === 0) return piece.subarray(piece.length)
    if (result < 0) {
      this.stop(errorEvent(-result, this.parser.errorOffset), peerErrorInfo(-result).status)
      return piece
    }
    const rest = piece.subarray(piece.length - (this.heldEnd - this.heldStart - result))
    this.head = this.parser.takeHead(this.held, this.heldStart)
    this.events.push(...headEvents(this.head, this.options.headsOnly))
    this.held = Buffer.alloc(0)
    this.heldStart = this.heldEnd = 0
    this.remaining = this.head.contentLength
    this.decoder.reset()
    if (this.head.framing === Framing.NONE) this.endRequest()
    return rest
  }

  private hold(piece: Buffer): void {
    const length = this.heldEnd - this.heldStart
    const fits = this.heldEnd + piece.length <= this.held.length
    if (length > 2048 && fits) {
      this.heldEnd += piece.copy(this.held, this.heldEnd)
      return
    }
    const old = this.held.subarray(this.heldStart, this.heldEnd)
    const all = Buffer.concat([old, piece])
    const before = 8 + (++this.moves % 5)
    const memory = this.options.scanned === true ? scanner?.memory : undefined
    this.held.fill(0xaa, 0, memory === this.held ? this.heldEnd : this.held.length)
    if (memory !== undefined && before + all.length <= memory.length) {
      all.copy(memory, before)
      // What an earlier read left behind the end looks as good as it can.
      memory.write('aaaaaaaa: b\r\n\r\n', before + all.length, 'latin1')
      this.held = memory
      this.heldStart = before
      this.heldEnd = before + all.length
      return
    }
    const moved = poisonedWindow(all, before, 16 + length)
    this.held = moved.bytes
    this.heldStart = moved.start
    this.heldEnd = moved.end
  }

  private readLength(piece: Buffer): Buffer {
    const taken = Math.min(piece.length, this.remaining)
    this.remaining -= taken
    this.content.push(piece.subarray(0, taken))
    if (this.remaining === 0) this.endRequest()
    return piece.subarray(taken)
  }

  private readChunked(piece: Buffer): Buffer {
    const window = poisonedWindow(piece)
    const result = this.decoder.decode(window.bytes, window.start, window.end, this)
    if (result < 0) {
      this.flushContent()
      this.stop(errorEvent(-result, this.decoder.errorOffset), peerErrorInfo(-result).status)
      return piece
    }
    const rest = piece.subarray(result - window.start)
    if (!this.decoder.done && rest.length > 0) throw new Error('the decoder stopped before the end')
    if (this.decoder.done) this.endRequest()
    return rest
  }

  onContent(bytes: Buffer, start: number, end: number): void {
    if (start === end) throw new Error('an empty run of content')
    this.content.push(Buffer.from(bytes.subarray(start, end)))
  }

  private flushContent(): Buffer {
    const content = Buffer.concat(this.content)
    this.content = []
    if (content.length > SHOWN) this.events.push(`content ${content.length} octets ${sha256(content)}`)
    else if (content.length > 0) this.events.push(`content ${JSON.stringify(content.toString('latin1'))}`)
    return content
  }

  private endRequest(): void {
    const head = this.head!
    const content = this.flushContent()
    const { trailers } = this.decoder
    for (let i = 0; i < trailers.length; i += 2) this.events.push(`trailer ${trailers[i]}: ${trailers[i + 1]}`)
    if (head.framing !== Framing.NONE) this.events.push('done')
    this.requests.push({
      method: head.method,
      target: head.target,
      length: content.length,
      sha256: content.length > 0 ? sha256(content) : null
    })
    this.head = null
    if (!head.keepAlive) this.closed = true
  }

  private stop(event: string, status: number): void {
    this.flushContent()
    this.events.push(event)
    this.errorStatus = status
    this.closed = true
  }
}

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

export function logConnection(pieces: Buffer[], options?: LogOptions): ConnectionLog {
  const log = new ConnectionLog(options)
  for (const piece of pieces) log.push(piece)
  return log.end()
}

/** Asserts a connection's events at every split, with and without the scanner. */
export function expectEvents(input: string, expected: string[], options?: LogOptions): void {
  assertAtEverySplit(input, pieces => logConnection(pieces, options).events, expected)
  assertAtEverySplit(input, pieces => logConnection(pieces, { ...options, scanned: true }).events, expected)
}

/** `expectEvents` for one head that fails: the code's name without `HPE_`, the status and the offset, as in `INVALID_HOST 400 @27`. */
export function expectError(input: string, expected: string, options?: LogOptions): void {
  expectEvents(input, [`error HPE_${expected}`], options)
}
