// Reads one request head, the request line and the field lines (RFC 9112 §2 to §5), from octets that arrive in any pieces.
// Knows no socket and no clock, keeps no reference to the bytes, and never throws: what a peer does wrong is a negative code.
//
// The first octet at which any rule is violated decides, so the answer cannot depend on how the octets were split:
// - a character, a line end or a limit is judged at its octet; a line has its CR within limit + 1 octets or is too long;
// - the request line as a whole (version, then form of the target) at its CR;
// - a known field's value and its repetition at the line's LF;
// - what only the whole head can tell, in `finish`, in this order: Host, framing, size of the content, Expect, CONNECT, TRACE.
import { COLON, CR, HTAB, isDigit, isTchar, latin1, LF, octets, scanFieldValue, scanTarget, scanToken, scanWhitespace, SP, trimEnd } from './bytes.ts'
import { PeerErrorCode } from './errors.ts'
import { scanner } from './field-line-scanner.ts'
import type { FieldLineScanner } from './field-line-scanner.ts'
import { FieldName, fieldNameOf } from './field-names.ts'
import { decideFraming } from './framing.ts'
import { KnownFields, REPEATED } from './known-fields.ts'
import type { Limits } from './limits.ts'
import { ConnectionOption } from './lists.ts'
import { knownMethod } from './methods.ts'
import { Framing, RequestHead, TargetForm } from './request-head.ts'
import { parseTarget } from './target.ts'
import type { TargetParts } from './target.ts'

export interface ParserOptions {
  limits: Limits
  acceptTransferEncodingWithContentLength: boolean
}

// What is awaited next, in the order of the wire.
const EMPTY_LINE = 0
const EMPTY_LINE_LF = 1
const METHOD = 2
const TARGET = 3
const VERSION = 4
const REQUEST_LINE_LF = 5
const FIELD_LINE = 6
const FIELD_NAME = 7
const FIELD_OWS = 8
const FIELD_VALUE = 9
const FIELD_LINE_LF = 10
const FINAL_LF = 11
const COMPLETE = 12

// HTTP-version = HTTP-name "/" DIGIT "." DIGIT (RFC 9112 §2.3)
const VERSION_PATTERN = octets('HTTP/1.1')
const MAJOR = 5
const MINOR = 7
const VERSION_LENGTH = 8
const ONE = 0x31
const ZERO = 0x30

// A limit that is switched off, still small enough to add to a position in 31 bits.
const UNLIMITED = 0x1fffffff

const E = PeerErrorCode

export class RequestParser {
  /** The peer may use https targets (rules RL-25). To be set before each head. */
  secure = false
  /** Offset of the error from the head's first octet. */
  errorOffset = 0

  private readonly maxRequestLine: number
  private readonly maxFieldLine: number
  private readonly maxHead: number
  private readonly maxFields: number
  private readonly maxEmptyLines: number
  private readonly maxBodySize: number
  private readonly acceptBoth: boolean

  private state = EMPTY_LINE
  /** Octets of the head examined so far; all positions below count from the head's first octet, because the head may move. */
  private at = 0
  private code = 0
  private emptyLines = 0
  private methodStart = 0
  private methodEnd = 0
  private targetEnd = 0
  private method = ''
  private form: TargetForm = TargetForm.ORIGIN
  private readonly parts: TargetParts = { authorityStart: 0, authorityEnd: 0, fault: 0 }
  private minor: 0 | 1 = 1
  /** Name start, name end, value start, value end for each field line. */
  private readonly spans: number[] = []
  private fieldCount = 0
  private readonly known: KnownFields = new KnownFields()
  private framing: Framing = Framing.NONE

  constructor(options: ParserOptions) {
    const { limits } = options
    this.maxRequestLine = Math.min(limits.urlLengthLimit, UNLIMITED)
    this.maxFieldLine = Math.min(limits.maxFieldLine, UNLIMITED)
    this.maxHead = Math.min(limits.maxHead, UNLIMITED)
    this.maxFields = Math.min(limits.maxFields, UNLIMITED)
    this.maxEmptyLines = limits.maxLeadingEmptyLines
    this.maxBodySize = limits.maxBodySize
    this.acceptBoth = options.acceptTransferEncodingWithContentLength
  }

  /** True when at least one octet of a head was seen, empty lines included. */
  get started(): boolean {
    return this.at > 0 || this.code !== 0
  }

  /**
   * `bytes[start,end)` holds the head from its first octet on; between calls it may have moved, only grown at its end.
   * Positive: octets of the complete head, leading empty lines included. 0: need more. Negative: minus a PeerErrorCode, until `reset()`.
   */
  execute(bytes: Buffer, start: number, end: number): number {
    if (this.code !== 0) return -this.code
    if (this.state === COMPLETE) return this.at
    // A head that is not complete within maxHead octets is too long; nothing behind them is looked at.
    const full = end - start >= this.maxHead
    const stop = full ? start + this.maxHead : end
    if (this.state < FIELD_LINE) this.readRequestLine(bytes, start, stop)
    if (this.state >= FIELD_LINE && this.code === 0) this.readFieldLines(bytes, start, stop)
    if (this.state === COMPLETE) return this.at
    if (this.code === 0 && full) this.fail(E.HEAD_TOO_LONG, this.maxHead)
    return -this.code
  }

  /** After a positive `execute`: the head, and the parser is ready for the next one. */
  takeHead(bytes: Buffer, start: number): RequestHead {
    const origin = this.methodStart
    const text = latin1(bytes, start + origin, start + this.at)
    // 35 ns for ten fields; a loop that fills a new array takes 85.
    const fields = this.spans.slice(0, this.fieldCount << 2)
    if (origin > 0) for (let i = 0; i < fields.length; i++) fields[i]! -= origin

    const targetStart = this.methodEnd + 1 - origin
    const head = new RequestHead(this.method, text, targetStart, this.targetEnd - origin, this.form, this.minor, fields)
    if (this.form === TargetForm.ABSOLUTE) {
      head.authorityStart = this.parts.authorityStart - origin
      head.authorityEnd = this.parts.authorityEnd - origin
    }
    head.framing = this.framing
    const known = this.known
    if (this.framing === Framing.LENGTH) head.contentLength = known.contentLength
    head.askedKeepAlive = known.asked(ConnectionOption.KEEP_ALIVE)
    head.keepAlive = known.persists(this.minor, this.framing)
    head.expectContinue = known.expectContinue
    head.upgrade = this.minor === 1 && known.upgradeNamed && known.asked(ConnectionOption.UPGRADE)
    head.acceptsTrailers = known.trailersAccepted
    this.reset()
    return head
  }

  /** Of a head that is refused, or never comes to its end: its method is HEAD, as far as that was read. `bytes[start]` is its first octet. */
  asksForHead(bytes: Buffer, start: number): boolean {
    return this.methodEnd > 0 && latin1(bytes, start + this.methodStart, start + this.methodEnd) === 'HEAD'
  }

  reset(): void {
    this.errorOffset = 0
    this.state = EMPTY_LINE
    this.at = 0
    this.code = 0
    this.emptyLines = 0
    this.methodStart = this.methodEnd = 0
    this.method = ''
    this.fieldCount = 0
    this.known.reset()
  }

  // The readers below end in one of three ways: `suspend` (need more), `fail`, or the state of what follows.

  private suspend(state: number, at: number): void {
    this.state = state
    this.at = at
  }

  private fail(code: PeerErrorCode, offset: number): void {
    this.code = code
    this.errorOffset = offset
  }

  // *CRLF request-line CRLF (RFC 9112 §2.2, §3)
  private readRequestLine(bytes: Buffer, start: number, end: number): void {
    let state = this.state
    let pos = start + this.at
    if (state < METHOD) {
      pos = this.skipEmptyLines(bytes, start, end)
      if (pos < 0) return
      if (!isTchar(bytes[pos]!)) return this.fail(E.UNEXPECTED_START, pos - start)
      this.methodStart = pos - start
      state = METHOD
    }

    const lineLimit = start + this.methodStart + this.maxRequestLine + 1
    const lineEnd = lineLimit < end ? lineLimit : end
    if (state === METHOD) {
      pos = scanToken(bytes, pos, lineEnd)
      if (pos === lineEnd) return this.suspendRequestLine(state, pos, start, lineLimit)
      if (bytes[pos] !== SP) return this.fail(bytes[pos] === LF ? E.CR_EXPECTED : E.INVALID_METHOD, pos - start)
      this.methodEnd = pos - start
      pos++
      state = TARGET
    }
    if (state === TARGET) {
      pos = scanTarget(bytes, pos, lineEnd)
      if (pos === lineEnd) return this.suspendRequestLine(state, pos, start, lineLimit)
      const empty = pos - start === this.methodEnd + 1
      if (bytes[pos] !== SP || empty) return this.fail(targetEndError(bytes[pos]!, empty), pos - start)
      this.targetEnd = pos - start
      pos++
      state = VERSION
    }
    if (state === VERSION) {
      pos = this.readVersion(bytes, start, pos, lineEnd)
      if (this.code !== 0) return
      if (pos === lineEnd) return this.suspendRequestLine(state, pos, start, lineLimit)
      this.judgeRequestLine(bytes, start)
      if (this.code !== 0) return
      pos++
    }

    if (pos === end) return this.suspend(REQUEST_LINE_LF, pos - start)
    if (bytes[pos] !== LF) return this.fail(E.LF_EXPECTED, pos - start)
    this.suspend(FIELD_LINE, pos + 1 - start)
  }

  // The position of the first octet that is no empty line's, or -1 when it suspended or failed.
  private skipEmptyLines(bytes: Buffer, start: number, end: number): number {
    let pos = start + this.at
    let state = this.state
    for (; pos < end; pos++) {
      if (state === EMPTY_LINE) {
        if (bytes[pos] !== CR) return pos
        if (this.emptyLines === this.maxEmptyLines) {
          this.fail(E.TOO_MANY_EMPTY_LINES, pos - start)
          return -1
        }
        state = EMPTY_LINE_LF
      } else {
        if (bytes[pos] !== LF) {
          this.fail(E.LF_EXPECTED, pos - start)
          return -1
        }
        this.emptyLines++
        state = EMPTY_LINE
      }
    }
    this.suspend(state, pos - start)
    return -1
  }

  private suspendRequestLine(state: number, pos: number, start: number, lineLimit: number): void {
    if (pos === lineLimit) this.fail(E.URL_TOO_LONG, pos - 1 - start)
    else this.suspend(state, pos - start)
  }

  // The position of the CR behind the version, or `end`, or wherever it failed.
  private readVersion(bytes: Buffer, start: number, pos: number, end: number): number {
    const first = start + this.targetEnd + 1
    for (; pos < end; pos++) {
      const octet = bytes[pos]!
      const i = pos - first
      if (i === VERSION_LENGTH) {
        if (octet !== CR) this.fail(octet === LF ? E.CR_EXPECTED : E.INVALID_CONSTANT, pos - start)
        return pos
      }
      if (octet !== VERSION_PATTERN[i] && !((i === MAJOR || i === MINOR) && isDigit(octet))) {
        this.fail(i === 0 && octet === SP ? E.UNEXPECTED_SPACE : E.INVALID_CONSTANT, pos - start)
        return pos
      }
    }
    return pos
  }

  // The version first: a target in another version's form (`PRI * HTTP/2.0`) is not ours to judge.
  private judgeRequestLine(bytes: Buffer, start: number): void {
    const version = start + this.targetEnd + 1
    const minor = bytes[version + MINOR]! - ZERO
    if (bytes[version + MAJOR] !== ONE || minor > 1) return this.fail(E.INVALID_VERSION, version + MAJOR - start)
    this.minor = minor === 0 ? 0 : 1

    const methodStart = start + this.methodStart
    const methodEnd = start + this.methodEnd
    this.method = knownMethod(bytes, methodStart, methodEnd) || latin1(bytes, methodStart, methodEnd)
    const form = parseTarget(bytes, methodEnd + 1, start + this.targetEnd, this.method, this.secure, this.parts)
    if (form === -1) return this.fail(E.INVALID_URL, this.parts.fault - start)
    this.form = form
    if (form === TargetForm.ABSOLUTE) {
      this.parts.authorityStart -= start
      this.parts.authorityEnd -= start
    }
  }

  // *( field-line CRLF ) CRLF with field-line = field-name ":" OWS field-value OWS (RFC 9112 §5). Hot: most octets of a head pass here.
  private readFieldLines(bytes: Buffer, start: number, end: number): void {
    let state = this.state
    let pos = start + this.at
    if (state === FIELD_LINE && scanner !== null && bytes === scanner.memory) {
      pos = this.readScannedLines(scanner, start, pos, end)
      if (this.code !== 0) return
    }
    while (state !== FINAL_LF) {
      if (state === FIELD_LINE) {
        if (pos === end) return this.suspend(state, pos - start)
        const octet = bytes[pos]!
        if (octet === CR) {
          pos++
          state = FINAL_LF
          break
        }
        if (!isTchar(octet)) return this.fail(fieldStartError(octet, this.fieldCount), pos - start)
        if (this.fieldCount === this.maxFields) return this.fail(E.TOO_MANY_FIELDS, pos - start)
        this.spans[this.fieldCount << 2] = pos - start
        state = FIELD_NAME
      }

      const spans = this.spans
      const line = this.fieldCount << 2
      const lineLimit = start + spans[line]! + this.maxFieldLine + 1
      const lineEnd = lineLimit < end ? lineLimit : end
      if (state === FIELD_NAME) {
        pos = scanToken(bytes, pos, lineEnd)
        if (pos === lineEnd) return this.suspendFieldLine(state, pos, start, lineLimit)
        if (bytes[pos] !== COLON) return this.fail(fieldNameEndError(bytes[pos]!), pos - start)
        spans[line + 1] = pos - start
        pos++
        state = FIELD_OWS
      }
      if (state === FIELD_OWS) {
        pos = scanWhitespace(bytes, pos, lineEnd)
        if (pos === lineEnd) return this.suspendFieldLine(state, pos, start, lineLimit)
        spans[line + 2] = pos - start
        state = FIELD_VALUE
      }
      if (state === FIELD_VALUE) {
        pos = scanFieldValue(bytes, pos, lineEnd)
        if (pos === lineEnd) return this.suspendFieldLine(state, pos, start, lineLimit)
        if (bytes[pos] !== CR) return this.fail(bytes[pos] === LF ? E.CR_EXPECTED : E.INVALID_FIELD_VALUE, pos - start)
        spans[line + 3] = trimEnd(bytes, start + spans[line + 2]!, pos) - start
        pos++
      }

      if (pos === end) return this.suspend(FIELD_LINE_LF, pos - start)
      if (bytes[pos] !== LF) return this.fail(E.LF_EXPECTED, pos - start)
      pos++
      this.fieldCount++
      const name = fieldNameOf(bytes, start + spans[line]!, start + spans[line + 1]!)
      if (name !== FieldName.OTHER) {
        this.readKnownField(name, bytes, start, line)
        if (this.code !== 0) return
      }
      state = FIELD_LINE
    }

    if (pos === end) return this.suspend(FINAL_LF, pos - start)
    if (bytes[pos] !== LF) return this.fail(E.LF_EXPECTED, pos - start)
    this.finish(pos + 1 - start)
  }

  // The lines that the scanner finds nothing wrong with; the loop above goes on behind them. The order of faults stays: these lines' octets are
  // right, so the first fault is a value's in one of them, or behind all of them.
  private readScannedLines({ memory, spans: found, maxLines, scan }: FieldLineScanner, start: number, pos: number, end: number): number {
    const count = scan(pos, end, start, this.maxFieldLine, Math.min(this.maxFields - this.fieldCount, maxLines))
    const spans = this.spans
    const stop = count << 2
    for (let i = 0; i < stop; i += 4) {
      const line = this.fieldCount << 2
      const nameStart = spans[line] = found[i]!
      const nameEnd = spans[line + 1] = found[i + 1]!
      spans[line + 2] = found[i + 2]!
      spans[line + 3] = found[i + 3]!
      this.fieldCount++
      const name = fieldNameOf(memory, start + nameStart, start + nameEnd)
      if (name !== FieldName.OTHER) {
        this.readKnownField(name, memory, start, line)
        if (this.code !== 0) return pos
      }
    }
    return start + found[stop]!
  }

  private suspendFieldLine(state: number, pos: number, start: number, lineLimit: number): void {
    if (pos === lineLimit) this.fail(E.FIELD_LINE_TOO_LONG, pos - 1 - start)
    else this.suspend(state, pos - start)
  }

  private readKnownField(name: FieldName, bytes: Buffer, start: number, line: number): void {
    const spans = this.spans
    const code = this.known.read(name, bytes, start + spans[line + 2]!, start + spans[line + 3]!, this.minor)
    if (code !== 0) this.fail(code, this.known.fault === REPEATED ? spans[line]! : this.known.fault - start)
  }

  // The head is complete: what only the whole of it can tell. The order is part of the contract (see the top).
  private finish(length: number): void {
    const { contentLength, codings, expectFailed, hasHost } = this.known
    if (this.minor === 1 && !hasHost) return this.fail(E.MISSING_HOST, length)

    const framing = decideFraming(this.minor, codings, contentLength, this.acceptBoth)
    if (framing < 0) return this.fail(-framing as PeerErrorCode, length)
    this.framing = framing as Framing
    if (framing === Framing.LENGTH && contentLength > this.maxBodySize) return this.fail(E.BODY_TOO_LARGE, length)

    if (expectFailed) return this.fail(E.EXPECTATION_FAILED, length)
    if (this.method === 'CONNECT') return this.fail(E.CONNECT_REFUSED, length)
    if (this.method === 'TRACE' && framing !== Framing.NONE) return this.fail(E.TRACE_WITH_CONTENT, length)
    this.suspend(COMPLETE, length)
  }
}

// Which rule an octet breaks that is not the SP behind a target.
function targetEndError(octet: number, empty: boolean): PeerErrorCode {
  if (octet === LF) return E.CR_EXPECTED
  if (empty) return octet === SP || octet === HTAB ? E.UNEXPECTED_SPACE : E.INVALID_URL
  return octet === CR ? E.INVALID_CONSTANT : E.INVALID_URL
}

function fieldStartError(octet: number, fieldCount: number): PeerErrorCode {
  // Whitespace behind the request line is no fold: there is no field to continue (RFC 9112 §2.2).
  if (octet === SP || octet === HTAB) return fieldCount === 0 ? E.UNEXPECTED_SPACE : E.OBSOLETE_FOLD
  return octet === LF ? E.CR_EXPECTED : E.INVALID_HEADER_TOKEN
}

function fieldNameEndError(octet: number): PeerErrorCode {
  if (octet === SP || octet === HTAB) return E.UNEXPECTED_SPACE
  return octet === LF ? E.CR_EXPECTED : E.INVALID_HEADER_TOKEN
}
