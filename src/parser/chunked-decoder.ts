// Decodes chunked content and its trailer section (RFC 9112 §7.1) from octets that arrive in any pieces; data go to a sink as they come.
// Knows no head, keeps no reference to the bytes, never throws. Everything is checked at its octet, so a split changes nothing.
import {
  BACKSLASH, COLON, CR, DQUOTE, EQUALS, hexValue, HTAB, isFieldValueOctet, isTchar, LF, scanFieldValue, scanQdtext, scanToken, scanWhitespace,
  SEMICOLON, SP
} from './bytes.ts'
import { PeerErrorCode } from './errors.ts'
import type { Limits } from './limits.ts'
import { isForbiddenTrailer } from './trailers.ts'

export interface ContentSink {
  /** A run of decoded data: only valid during the call. */
  onContent(bytes: Buffer, start: number, end: number): void
}

// What is awaited next. Sizes and data:
const SIZE_START = 0
const SIZE = 1
const SIZE_LF = 2
const DATA = 3
const DATA_CR = 4
const DATA_LF = 5
// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ):
const EXT_SEMICOLON = 6
const EXT_NAME_START = 7
const EXT_NAME = 8
const EXT_NAME_END = 9
const EXT_VALUE_START = 10
const EXT_VALUE = 11
const EXT_QUOTED = 12
const EXT_QUOTED_PAIR = 13
const EXT_VALUE_END = 14
// trailer-section CRLF:
const TRAILER_LINE = 15
const TRAILER_NAME = 16
const TRAILER_OWS = 17
const TRAILER_VALUE = 18
const TRAILER_LF = 19
const FINAL_LF = 20
const DONE = 21

const E = PeerErrorCode

export class ChunkedDecoder {
  /** The last octet of the content, the final CRLF included, was consumed. */
  done = false
  /** Name, value, name, value … as received (latin-1, OWS trimmed). Complete when `done`. */
  trailers: string[] = []
  /** Offset of the error from the content's first octet, chunk sizes and all. */
  errorOffset = 0

  private readonly maxSizeDigits: number
  private readonly maxExt: number
  private readonly maxTrailers: number
  private readonly maxTrailerFields: number
  private readonly maxTrailerLine: number
  private readonly maxBodySize: number

  private state = SIZE_START
  private code = 0
  /** Octets consumed by earlier calls. */
  private consumed = 0
  /** The chunk's size while its digits are read, then what is left of its data. */
  private size = 0
  private sizeDigits = 0
  private lastChunk = false
  /** Announced by all chunks so far. */
  private total = 0
  /** Octets of extensions so far, of all chunks. */
  private extLength = 0
  /** Octets of the trailer section before this line, and of this line, before what is being scanned. */
  private sectionLength = 0
  private lineLength = 0
  private name = ''
  private value = ''

  constructor(limits: Limits) {
    this.maxSizeDigits = limits.maxChunkSizeDigits
    this.maxExt = limits.maxChunkExt
    this.maxTrailers = limits.maxTrailers
    this.maxTrailerFields = limits.maxTrailerFields
    this.maxTrailerLine = limits.maxFieldLine
    this.maxBodySize = limits.maxBodySize
  }

  /** For the next message. */
  reset(): void {
    this.done = false
    if (this.trailers.length > 0) this.trailers = []
    this.errorOffset = 0
    this.state = SIZE_START
    this.code = 0
    this.consumed = 0
    this.size = 0
    this.sizeDigits = 0
    this.lastChunk = false
    this.total = 0
    this.extLength = 0
    this.sectionLength = 0
    this.lineLength = 0
    this.name = ''
    this.value = ''
  }

  /**
   * Decodes `bytes[start,end)`. The position behind the last octet consumed (before `end` only when done), or minus a PeerErrorCode, for ever;
   * data before the error have been delivered.
   */
  decode(bytes: Buffer, start: number, end: number, sink: ContentSink): number {
    if (this.code !== 0) return -this.code
    let pos = start
    while (pos < end && this.state !== DONE) {
      const from = pos
      if (this.state === DATA) pos = this.readData(bytes, pos, end, sink)
      else if (this.state < EXT_SEMICOLON) pos = this.readFrame(bytes[pos]!, pos)
      else if (this.state < TRAILER_LINE) pos = this.readExtension(bytes, pos, end)
      else pos = this.readTrailers(bytes, pos, end)
      if (this.code !== 0) return -this.code
      this.consumed += pos - from
    }
    return pos
  }

  // At the octet that the running reader was called for.
  private fail(code: PeerErrorCode): number {
    this.code = code
    this.errorOffset = this.consumed
    return -1
  }

  private readData(bytes: Buffer, pos: number, end: number, sink: ContentSink): number {
    const dataEnd = end - pos < this.size ? end : pos + this.size
    this.size -= dataEnd - pos
    if (this.size === 0) this.state = DATA_CR
    sink.onContent(bytes, pos, dataEnd)
    return dataEnd
  }

  // chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF, without the ext and the data: one octet.
  private readFrame(octet: number, pos: number): number {
    switch (this.state) {
      case SIZE_START:
        this.size = 0
        this.sizeDigits = 0
        if (hexValue(octet) < 0) return this.fail(E.INVALID_CHUNK_SIZE)
        this.state = SIZE
        return this.readSizeDigit(octet, pos)
      case SIZE:
        if (hexValue(octet) >= 0) return this.readSizeDigit(octet, pos)
        if (octet !== CR && octet !== SEMICOLON && octet !== SP && octet !== HTAB) {
          return this.fail(octet === LF ? E.CR_EXPECTED : E.INVALID_CHUNK_SIZE)
        }
        this.total += this.size
        this.lastChunk = this.size === 0
        // An extension's first octet is left to its reader, which counts it.
        if (octet !== CR) {
          this.state = EXT_SEMICOLON
          return pos
        }
        this.state = SIZE_LF
        return pos + 1
      case SIZE_LF:
        if (octet !== LF) return this.fail(E.LF_EXPECTED)
        this.state = this.lastChunk ? TRAILER_LINE : DATA
        return pos + 1
      case DATA_CR:
        if (octet !== CR) return this.fail(E.CHUNK_END_EXPECTED)
        this.state = DATA_LF
        return pos + 1
      default: // DATA_LF
        if (octet !== LF) return this.fail(E.CHUNK_END_EXPECTED)
        this.state = SIZE_START
        return pos + 1
    }
  }

  // chunk-size = 1*HEXDIG; neither a size nor the sum of all may leave the integers that a double holds.
  private readSizeDigit(octet: number, pos: number): number {
    if (++this.sizeDigits > this.maxSizeDigits) return this.fail(E.INVALID_CHUNK_SIZE)
    this.size = this.size * 16 + hexValue(octet)
    if (this.size > Number.MAX_SAFE_INTEGER - this.total) return this.fail(E.INVALID_CHUNK_SIZE)
    if (this.size > this.maxBodySize - this.total) return this.fail(E.BODY_TOO_LARGE)
    return pos + 1
  }

  // One element of the extensions. They mean nothing to us and are checked all the same: what is skipped unchecked gets smuggled (rules CH-08).
  private readExtension(bytes: Buffer, pos: number, end: number): number {
    const octet = bytes[pos]!
    // The line's end is no part of the extensions, and allowed only where one is complete.
    if (octet === CR || octet === LF) return this.endExtensions(octet, pos)
    const room = this.maxExt - this.extLength
    if (room <= 0) return this.fail(E.CHUNK_EXT_TOO_LONG)
    const limited = end - pos > room ? pos + room : end
    const next = this.readExtensionElement(bytes, octet, pos, limited)
    if (next > pos) this.extLength += next - pos
    return next
  }

  private endExtensions(octet: number, pos: number): number {
    const complete = this.state === EXT_NAME || this.state === EXT_VALUE || this.state === EXT_VALUE_END
    if (!complete) return this.fail(E.INVALID_CHUNK_EXT)
    if (octet === LF) return this.fail(E.CR_EXPECTED)
    this.state = SIZE_LF
    return pos + 1
  }

  private readExtensionElement(bytes: Buffer, octet: number, pos: number, end: number): number {
    const whitespace = octet === SP || octet === HTAB
    switch (this.state) {
      case EXT_NAME_START:
        if (whitespace) return scanWhitespace(bytes, pos, end)
        if (!isTchar(octet)) return this.fail(E.INVALID_CHUNK_EXT)
        this.state = EXT_NAME
        return scanToken(bytes, pos, end)
      case EXT_NAME:
        if (isTchar(octet)) return scanToken(bytes, pos, end)
        if (octet === EQUALS) return this.enter(EXT_VALUE_START, pos)
        if (octet === SEMICOLON) return this.enter(EXT_NAME_START, pos)
        return whitespace ? this.enter(EXT_NAME_END, pos) : this.fail(E.INVALID_CHUNK_EXT)
      case EXT_NAME_END:
        if (whitespace) return scanWhitespace(bytes, pos, end)
        if (octet === EQUALS) return this.enter(EXT_VALUE_START, pos)
        return octet === SEMICOLON ? this.enter(EXT_NAME_START, pos) : this.fail(E.INVALID_CHUNK_EXT)
      case EXT_VALUE_START:
        if (whitespace) return scanWhitespace(bytes, pos, end)
        if (octet === DQUOTE) return this.enter(EXT_QUOTED, pos)
        if (!isTchar(octet)) return this.fail(E.INVALID_CHUNK_EXT)
        this.state = EXT_VALUE
        return scanToken(bytes, pos, end)
      case EXT_VALUE:
        if (isTchar(octet)) return scanToken(bytes, pos, end)
        return this.readExtensionEnd(octet, whitespace, pos)
      case EXT_QUOTED:
        if (octet === DQUOTE) return this.enter(EXT_VALUE_END, pos)
        if (octet === BACKSLASH) return this.enter(EXT_QUOTED_PAIR, pos)
        end = scanQdtext(bytes, pos, end)
        return end === pos ? this.fail(E.INVALID_CHUNK_EXT) : end
      case EXT_QUOTED_PAIR:
        return isFieldValueOctet(octet) ? this.enter(EXT_QUOTED, pos) : this.fail(E.INVALID_CHUNK_EXT)
      case EXT_VALUE_END:
        return this.readExtensionEnd(octet, whitespace, pos)
      default: // EXT_SEMICOLON
        if (whitespace) return scanWhitespace(bytes, pos, end)
        return octet === SEMICOLON ? this.enter(EXT_NAME_START, pos) : this.fail(E.INVALID_CHUNK_EXT)
    }
  }

  // Behind a complete value: the next extension, after whitespace or at once.
  private readExtensionEnd(octet: number, whitespace: boolean, pos: number): number {
    if (octet === SEMICOLON) return this.enter(EXT_NAME_START, pos)
    return whitespace ? this.enter(EXT_SEMICOLON, pos) : this.fail(E.INVALID_CHUNK_EXT)
  }

  private enter(state: number, pos: number): number {
    this.state = state
    return pos + 1
  }

  // trailer-section = *( field-line CRLF ), then CRLF: the rules of the head's field lines. One element of a line. The section's limit counts
  // the CRLF of each line, the line's does not; the final CRLF is no part of the section.
  private readTrailers(bytes: Buffer, pos: number, end: number): number {
    const octet = bytes[pos]!
    switch (this.state) {
      case TRAILER_LINE:
        if (octet === CR) return this.enter(FINAL_LF, pos)
        if (octet === LF) return this.fail(E.CR_EXPECTED)
        if (!isTchar(octet)) return this.fail(octet === SP || octet === HTAB ? E.OBSOLETE_FOLD : E.INVALID_TRAILER)
        if (this.trailers.length >> 1 >= this.maxTrailerFields) return this.fail(E.TOO_MANY_FIELDS)
        this.lineLength = 0
        this.name = ''
        this.value = ''
        this.state = TRAILER_NAME
        return pos
      case TRAILER_LF:
        if (this.sectionLength >= this.maxTrailers) return this.fail(E.TRAILERS_TOO_LONG)
        if (octet !== LF) return this.fail(E.LF_EXPECTED)
        this.trailers.push(this.name, trimEnd(this.value))
        this.name = ''
        this.value = ''
        return this.countAs(TRAILER_LINE, pos, pos + 1)
      case FINAL_LF:
        if (octet !== LF) return this.fail(E.LF_EXPECTED)
        this.done = true
        return this.enter(DONE, pos)
      default:
        return this.readTrailerLine(bytes, octet, pos, end)
    }
  }

  private countAs(state: number, pos: number, next: number): number {
    this.state = state
    this.sectionLength += next - pos
    this.lineLength += next - pos
    return next
  }

  private readTrailerLine(bytes: Buffer, octet: number, pos: number, end: number): number {
    const lineRoom = this.maxTrailerLine - this.lineLength
    const sectionRoom = this.maxTrailers - this.sectionLength
    if (sectionRoom <= 0) return this.fail(E.TRAILERS_TOO_LONG)
    if (octet === CR) return this.state === TRAILER_NAME ? this.fail(E.INVALID_TRAILER) : this.countAs(TRAILER_LF, pos, pos + 1)
    if (lineRoom <= 0) return this.fail(E.FIELD_LINE_TOO_LONG)
    const limited = Math.min(end, pos + lineRoom, pos + sectionRoom)
    switch (this.state) {
      case TRAILER_NAME: {
        const next = scanToken(bytes, pos, limited)
        if (next > pos) {
          this.name = joined(this.name, bytes.toString('latin1', pos, next))
          return this.countAs(TRAILER_NAME, pos, next)
        }
        if (octet !== COLON) return this.fail(octet === LF ? E.CR_EXPECTED : E.INVALID_TRAILER)
        if (isForbiddenTrailer(this.name)) return this.fail(E.FORBIDDEN_TRAILER)
        return this.countAs(TRAILER_OWS, pos, pos + 1)
      }
      case TRAILER_OWS: {
        const next = scanWhitespace(bytes, pos, limited)
        return this.countAs(next < limited ? TRAILER_VALUE : TRAILER_OWS, pos, next)
      }
      default: { // TRAILER_VALUE
        const next = scanFieldValue(bytes, pos, limited)
        if (next === pos) return this.fail(octet === LF ? E.CR_EXPECTED : E.INVALID_TRAILER)
        this.value = joined(this.value, bytes.toString('latin1', pos, next))
        return this.countAs(TRAILER_VALUE, pos, next)
      }
    }
  }
}

// What `+` joins V8 keeps as a tree, 32 octets a node, and a peer may send every octet alone: now and then it is made one piece, as `join` makes it.
function joined(text: string, more: string): string {
  return text.length + more.length >> 8 === text.length >> 8 ? text + more : [text, more].join('')
}

// Without the OWS behind a value; what stands before it was never collected.
function trimEnd(value: string): string {
  let end = value.length
  while (end > 0 && (value.charCodeAt(end - 1) === SP || value.charCodeAt(end - 1) === HTAB)) end--
  return value.slice(0, end)
}
