// The head of an answer: checks what an application passed and renders it. Nothing that it passed gets into a head in another way (RFC 9112 §11.1).
// Knows nothing of connections: the engine's own lines, which are constants, a length and a date, are added by cycle.ts when the head is sent.
import { InvalidHeader } from './errors.ts'
import { flat } from './flat-string.ts'
import { statusText } from './status-text.ts'

type HeaderValue = string | number
type Headers = Iterable<readonly [string, HeaderValue]> | { readonly [name: string]: HeaderValue | readonly HeaderValue[] }

// What a field name means to the engine.
const PLAIN = 0
const CONTENT_LENGTH = 1
const DATE = 2
const CONNECTION = 3
const UPGRADE = 4
const REFUSED = 5

const SPECIAL: ReadonlyMap<string, number> = new Map([
  ['content-length', CONTENT_LENGTH],
  ['date', DATE],
  ['connection', CONNECTION],
  ['upgrade', UPGRADE],
  // Framing and hop-by-hop fields are the engine's (RFC 9110 §7.6.1, PEP 3333).
  ['transfer-encoding', REFUSED],
  ['keep-alive', REFUSED],
  ['proxy-connection', REFUSED],
  ['te', REFUSED]
])

/** Fields that may not stand in trailers (RFC 9110 §6.5.1): framing, routing, authentication, request modifiers, control, content. */
const NOT_IN_TRAILERS = new Set([
  'transfer-encoding', 'content-length', 'host', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect', 'max-forwards', 'authorization',
  'proxy-authorization', 'proxy-authenticate', 'proxy-connection', 'www-authenticate', 'cookie', 'set-cookie', 'cache-control', 'content-encoding',
  'content-type', 'content-range', 'range', 'location', 'vary', 'date', 'age', 'expires', 'pragma', 'retry-after', 'warning'
])

/** tchar (RFC 9110 §5.6.2). */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Names and statuses that applications pass are few; should an application make them up, the cache is emptied and not grown. */
const CACHE_MAX = 512
/** Longer values are not kept. */
const REMEMBERED_MAX = 256
/** Content-Length lines up to this size are kept: making one costs a number's conversion and two strings. */
const LENGTHS_MAX = 4096

class HeaderName {
  /** The name as it leaves, with `: `. */
  readonly prefix: string
  readonly kind: number
  /** The value that it had last, and the checked field line with it: most names have one value in nearly all answers. PLAIN names only. */
  lastValue = ''
  private lastLine: string
  /** It has been asked for again, and is in one piece since. */
  private again = false
  /** It has had a value: one that comes once is not worth what it may keep, the head that it was taken from. */
  private used = false
  constructor(prefix: string, kind: number) {
    this.prefix = prefix
    this.kind = kind
    this.lastLine = prefix + '\r\n'
  }

  remember(value: string, line: string): void {
    if (!this.used) {
      this.used = true
      return
    }
    this.lastValue = value
    this.lastLine = line
    this.again = false
  }

  lineAgain(): string {
    if (!this.again) {
      this.again = true
      this.lastLine = flat(this.lastLine)
    }
    return this.lastLine
  }
}

const capitalizedNames = new Map<string, HeaderName>()
const plainNames = new Map<string, HeaderName>()
const statuses = new Map<string | number, StatusLine>()

class StatusLine {
  readonly status: number
  /** `HTTP/1.1 200 OK` and CRLF. */
  readonly text: string
  constructor(status: number, text: string) {
    this.status = status
    this.text = text
  }
}

export class ResponseHead {
  readonly status: number
  /** `HTTP/1.1 200 OK\r\n` */
  readonly statusLine: string
  /** The application's field lines, each with its CRLF, without Connection. */
  fields = ''
  /** What the application announced, or -1. */
  contentLength = -1
  hasDate = false
  /** The application wants the connection closed (`Connection: close`). */
  close = false
  /** 426 with Upgrade (RFC 9110 §15.5.22): `Connection: upgrade` is added. */
  upgrade = false

  constructor(line: StatusLine) {
    this.status = line.status
    this.statusLine = line.text
  }

  /** No content whatever the method (RFC 9110 §6.4.1; 205: §15.3.6). */
  get bodiless(): boolean {
    return this.status === 204 || this.status === 304 || this.status === 205 || this.status < 200
  }
}

/** Checks and renders a final or interim head. `capitalize`: `content-type` leaves as `Content-Type`. @throws InvalidHeader */
export function encodeResponseHead(status: string | number, headers: Headers | undefined, capitalize: boolean): ResponseHead {
  const head = new ResponseHead(statuses.get(status) ?? parseStatus(status))
  if (headers === undefined) return head
  // The usual form, without a closure.
  if (Array.isArray(headers)) {
    for (let i = 0; i < headers.length; i++) {
      const pair = headers[i] as readonly [string, HeaderValue]
      if (typeof pair !== 'object' || pair === null) throw new InvalidHeader('a header must be a pair of name and value')
      addField(head, pair[0], pair[1], capitalize)
    }
  } else {
    eachPair(headers, (name, value) => addField(head, name, value, capitalize))
  }
  return head
}

const contentLengthLines: string[] = []

export function contentLengthLine(size: number): string {
  if (size >= LENGTHS_MAX) return `Content-Length: ${size}\r\n`
  return (contentLengthLines[size] ??= flat(`Content-Length: ${size}\r\n`))
}

/** Renders the answer to a peer error: no octet of the request is in it. Its content is `text`, left out for HEAD. */
export function renderRefusal(version: string, status: number, dateLine: string, text: string, withContent: boolean): string {
  return (
    `${version} ${status} ${statusText(status)}\r\nContent-Type: text/plain\r\nContent-Length: ${text.length}\r\n` +
    `${dateLine}Connection: close\r\n\r\n${withContent ? text : ''}`
  )
}

/** Checks and renders trailers (RFC 9112 §7.1.2). @throws InvalidHeader */
export function encodeTrailers(headers: Headers, capitalize: boolean): string {
  let text = ''
  eachPair(headers, (name, value) => {
    const field = headerName(name, capitalize)
    const lower = name.toLowerCase()
    if (NOT_IN_TRAILERS.has(lower) || lower.startsWith('if-')) throw new InvalidHeader(`${name} may not stand in trailers`)
    text += `${field.prefix}${fieldValue(name, value)}\r\n`
  })
  return text
}

/** Every form of `Headers`, pair by pair. */
function eachPair(headers: Headers, each: (name: string, value: HeaderValue) => void): void {
  if (typeof headers !== 'object' || headers === null) throw new InvalidHeader('headers must be pairs or an object')
  if (Symbol.iterator in headers) {
    for (const pair of headers as Iterable<readonly [string, HeaderValue]>) {
      if (typeof pair !== 'object' || pair === null) throw new InvalidHeader('a header must be a pair of name and value')
      each(pair[0], pair[1])
    }
    return
  }
  // A promise of headers would pass for an object without any.
  if (typeof (headers as { then?: unknown }).then === 'function') throw new InvalidHeader('headers must be there, not promised')
  for (const [name, value] of Object.entries(headers)) {
    if (Array.isArray(value)) for (const one of value) each(name, one)
    else each(name, value as HeaderValue)
  }
}

function addField(head: ResponseHead, name: string, value: HeaderValue, capitalize: boolean): void {
  const field = headerName(name, capitalize)
  if (field.kind === PLAIN && value === field.lastValue) {
    head.fields += field.lineAgain()
    return
  }
  const text = fieldValue(name, value)
  const line = field.prefix + text + '\r\n'
  switch (field.kind) {
    case PLAIN:
      if (text.length > REMEMBERED_MAX) break
      field.remember(text, line)
      break
    case CONTENT_LENGTH:
      if (head.contentLength >= 0) throw new InvalidHeader('Content-Length twice')
      if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidHeader('Content-Length must be a number of bytes')
      head.contentLength = Number(text)
      // RFC 9110 §8.6: never in 1xx and 204; 205 has none of its own either: the engine writes its 0.
      if (head.status < 200) throw new InvalidHeader('no Content-Length in an interim answer')
      if (head.status !== 304 && head.bodiless) return
      break
    case DATE:
      if (head.hasDate) throw new InvalidHeader('Date twice')
      head.hasDate = true
      break
    case CONNECTION:
      if (text.toLowerCase() === 'close') {
        head.close = true
        return
      }
      if (head.status === 426 && text.toLowerCase() === 'upgrade') return
      throw new InvalidHeader('of Connection, only `close` is the application\'s to say')
    case UPGRADE:
      if (head.status !== 426) throw new InvalidHeader('Upgrade belongs to 426 answers; to upgrade, take the connection over')
      head.upgrade = true
      break
    default:
      throw new InvalidHeader(`${name} is the server's to send`)
  }
  head.fields += line
}

function headerName(name: string, capitalize: boolean): HeaderName {
  const cache = capitalize ? capitalizedNames : plainNames
  let field = cache.get(name)
  if (field === undefined) {
    if (typeof name !== 'string' || !TOKEN.test(name)) throw new InvalidHeader(`invalid header name: ${JSON.stringify(name)}`)
    // Copied: a name may be a part of a request's head, and would keep the whole of it.
    name = flat(name)
    field = new HeaderName((capitalize ? capitalized(name) : name) + ': ', SPECIAL.get(name.toLowerCase()) ?? PLAIN)
    if (cache.size >= CACHE_MAX) cache.clear()
    cache.set(name, field)
  }
  return field
}

/** Each part between `-`: first letter upper, the rest lower; ASCII only, and a token has nothing else. */
function capitalized(name: string): string {
  return name
    .split('-')
    .map((part) => part.charAt(0).toUpperCase() + part.slice(1).toLowerCase())
    .join('-')
}

function fieldValue(name: string, value: unknown): string {
  const text = typeof value === 'string' ? value : typeof value === 'number' && Number.isFinite(value) ? String(value) : null
  if (text === null) throw new InvalidHeader(`the value of ${name} must be a string or a number`)
  if (!isFieldValue(text)) throw new InvalidHeader(`invalid value of ${name}: ${JSON.stringify(text.slice(0, 64))}`)
  return text
}

/** HTAB, SP, VCHAR, obs-text; no whitespace at either end (RFC 9110 §5.5). Above 0xff: latin-1 would keep the low byte, and U+010A is LF then. */
function isFieldValue(text: string): boolean {
  const last = text.length - 1
  for (let i = 0; i <= last; i++) {
    const c = text.charCodeAt(i)
    if (c > 0x20 && c < 0x7f) continue
    if (c >= 0x80 && c <= 0xff) continue
    if ((c === 0x20 || c === 0x09) && i !== 0 && i !== last) continue
    return false
  }
  return true
}

function parseStatus(status: string | number): StatusLine {
  let code: number
  let reason: string
  if (typeof status === 'number') {
    code = status
    reason = statusText(status)
  } else {
    const match = typeof status === 'string' ? /^([0-9]{3})(?: ([\t\x20-\x7e\x80-\xff]*))?$/.exec(status) : null
    if (match === null) throw new InvalidHeader(`invalid status: ${JSON.stringify(status)}`)
    code = Number(match[1])
    reason = match[2] ?? statusText(code)
  }
  if (!Number.isInteger(code) || code < 100 || code > 599) throw new InvalidHeader(`invalid status: ${JSON.stringify(status)}`)
  const line = new StatusLine(code, flat(`HTTP/1.1 ${code} ${reason}\r\n`))
  if (statuses.size >= CACHE_MAX) statuses.clear()
  statuses.set(status, line)
  return line
}
