// The environ of one request: to whoever uses it a plain dictionary, inside a Proxy that slices each value out of the head when it is asked for.
// Knows nothing of sockets or of the cycle behind its EnvironSource, and never writes to either.
//
// Two states. Lazy: the proxy's target holds nothing but what the application assigned. Laid out, from the first operation that needs the
// keys as such (Object.keys, spread, delete, defineProperty, …): the target is the dictionary, with PENDING where a value has not been asked for.
// (Object.keys asks a Proxy for every descriptor, hence for every value: the signal and the rest of them get made. Reflect.ownKeys and `in` do not.)
// Because the target is then the real thing, every invariant that the language demands of a Proxy holds by itself.
import type { Duplex } from 'node:stream'
import type { Outcome } from '../io/cycle.ts'
import { RequestAborted } from '../io/errors.ts'
import type { Address } from '../io/transport.ts'
import { Framing, TargetForm, type RequestHead } from '../parser/request-head.ts'
import type { Environ, Headers, PostHook, Status, TlsInfo } from './application.ts'
import type { Input } from './input.ts'
import { percentDecode } from './percent-decoding.ts'

/** What an environ is made of. Each is asked at most once for one environ, and only when somebody looks, except where said. */
export interface EnvironSource {
  readonly head: RequestHead
  readonly secure: boolean
  /** The `environ` option of `serve`. */
  readonly extra: Readonly<Record<string, unknown>> | null
  peerAddress(): Address
  localAddress(): Address
  makeInput(): Input
  errors(): { write(text: string): unknown }
  makeHooks(): PostHook[]
  makeSignal(): AbortSignal
  readonly setIdle: () => void
  readonly inform: (status: Status, headers?: Headers) => void
  readonly upgrade: () => Duplex
  tls(): TlsInfo | null
  /** Asked at each read until it is not null. */
  trailers(): ReadonlyArray<readonly [string, string]> | null
  /** Asked at each read until it is not null. */
  outcome(): Outcome | null
}

type Key = string | symbol
type Pairs = ReadonlyArray<readonly [string, string]>

/** The field that a key asks for, spelled once for each key and not at each read. */
class WantedField {
  /** The whole key, with HTTP_. */
  readonly asked: string
  readonly key: string
  readonly length: number
  readonly first: number
  /** As nearly all peers write it, `Accept-Language` or `accept-language`: compared as wholes, in half the time of a loop. */
  readonly title: string
  readonly lower: string
  readonly separator: string

  constructor(key: string) {
    const name = key.startsWith('HTTP_') ? key.slice(5) : key
    this.asked = key
    this.key = name
    this.length = name.length
    this.lower = name.toLowerCase().replaceAll('_', '-')
    this.first = this.lower.charCodeAt(0) | 0x20
    this.title = this.lower.replace(/(?<![a-z])[a-z]/g, letter => letter.toUpperCase())
    this.separator = separator(key)
  }
}

/** Upper case, no `-`, and ASCII: the Kelvin sign is a `k` in lower case. */
const FIELD_KEY = /^HTTP_[!-,.-`{-~]+$/
/** Of keys that were asked for: their fields, or null for those that name none. Bounded in number and length, since an application may ask for what a peer
 *  named. */
const WANTED = new Map<string, WantedField | null>()
const MAX_WANTED = 1024
const MAX_WANTED_KEY = 64
/** Of those, the last one for each length and last letter: found without hashing. */
const RECENT: WantedField[] = []

/** Keys that every environ has, in their order, but for the three that ask `value` first. HTTP_* follow in order of arrival, then those of the
 *  `environ` option that are not here, then what the application adds. (Integer keys come first, as in every object.) */
const KEYS = [
  'REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'RAW_PATH_INFO', 'REQUEST_URI', 'QUERY_STRING', 'CONTENT_TYPE', 'CONTENT_LENGTH', 'SERVER_PROTOCOL',
  'GATEWAY_INTERFACE', 'SERVER_NAME', 'SERVER_PORT', 'REMOTE_ADDR', 'REMOTE_PORT', 'HTTPS', 'headers_raw',
  'wsgi.version', 'wsgi.url_scheme', 'wsgi.input', 'wsgi.errors', 'wsgi.multithread', 'wsgi.multiprocess', 'wsgi.run_once',
  'eventlet.input', 'eventlet.posthooks', 'eventlet.set_idle',
  'wirelet.signal', 'wirelet.inform', 'wirelet.trailers', 'wirelet.outcome', 'wirelet.tls', 'wirelet.upgrade'
] as const
const KNOWN: ReadonlySet<Key> = new Set(KEYS)
const SOMETIMES: ReadonlySet<Key> = new Set(['CONTENT_TYPE', 'CONTENT_LENGTH', 'HTTPS'])

/** In the target: known to be there, not asked for yet. Never handed out. */
const PENDING = Symbol('pending')
/** From `value`: no such own key. */
const ABSENT = Symbol('absent')

const WSGI_VERSION: readonly [number, number] = Object.freeze([1, 0] as const)
const CONTENT_TYPE = new WantedField('CONTENT_TYPE')
const CONTENT_LENGTH = new WantedField('CONTENT_LENGTH')
const HOST = new WantedField('HTTP_HOST')
for (let slot = 0; slot < 32 * 32; slot++) RECENT.push(HOST)
/** How the keys of fields begin, and HTTPS. */
const CAPITAL_H = 0x48
/** Comparisons with field names before the environ is laid out, so that a hundred reads of a hundred fields are not quadratic. */
const MANY_COMPARISONS = 2000

const { hasOwn } = Object
const isOwnEnumerable = Object.prototype.propertyIsEnumerable

/** The proxy's target. Its only inherited name serves `console.log`, which looks behind a proxy; `this` is the proxy there. */
class Dictionary {
  [key: Key]: unknown
}
Object.defineProperty(Dictionary.prototype, Symbol.for('nodejs.util.inspect.custom'), {
  value(this: object): object {
    return Object.defineProperties({}, Object.getOwnPropertyDescriptors(this))
  }
})

/** Values that most requests never ask for, once they are made. */
class Made {
  hooks: PostHook[] | null = null
  local: Address | null = null
  peer: Address | null = null
  headersRaw: Pairs | null = null
  errors: { write(text: string): unknown } | null = null
  signal: AbortSignal | null = null
  setIdle: (() => void) | null = null
  inform: EnvironSource['inform'] | null = null
  upgrade: (() => Duplex) | null = null
  tls: TlsInfo | null | undefined = undefined
  trailers: Pairs | null = null
  outcome: Outcome | null = null
}

/** Handler of the proxy and owner of what was computed, one instance per request: measured to be as fast as a shared handler, and the
 *  shape of what the hot path reads stays the same whatever keys an application adds. */
export class LazyEnviron implements ProxyHandler<Dictionary> {
  /** What the application gets. It behaves like `{ ... }` with the prototype `Object.prototype`, with three differences, all on the side of caution:
   *  assigning `__proto__` makes a key, the prototype cannot be changed, and HTTP_* names are never looked up in a prototype.
   *  `structuredClone` refuses every Proxy: clone its strings, or `{ ...environ }` without its functions and `wsgi.errors`. */
  readonly environ: Environ
  /** The application assigned, defined or deleted something. While false the server need not ask what it set itself. */
  written = false
  private readonly source: EnvironSource
  private readonly head: RequestHead
  private readonly extra: Readonly<Record<Key, unknown>> | null
  private laidOut = false
  private comparisons = 0
  private pathInfo: string | null = null
  /** Where the target's first `?` is, or its end; -1 until asked. */
  private queryAt = -1
  private input: Input | null = null
  private made: Made | null = null
  /** The hot trap, as the last own property: at every read V8 searches the handler's own properties for it, from the last to the first, before it
   *  tries the class. As the first of twenty it cost 6 ns more a read. */
  readonly get: LazyEnviron['read'] = READ

  constructor(source: EnvironSource) {
    this.source = source
    this.head = source.head
    this.extra = source.extra
    this.environ = new Proxy(new Dictionary(), this) as unknown as Environ
  }

  // Traps. Hot: get.

  private read(target: Dictionary, key: Key, receiver: unknown): unknown {
    if (this.comparisons > MANY_COMPARISONS) this.layOut(target)
    if (this.laidOut) return this.readLaidOut(target, key, receiver)
    if (this.written && hasOwn(target, key)) return target[key]
    const value = this.value(key)
    return value === ABSENT ? this.inherited(key, receiver) : value
  }

  private readLaidOut(target: Dictionary, key: Key, receiver: unknown): unknown {
    if (!hasOwn(target, key)) return this.inherited(key, receiver)
    const value = Reflect.get(target, key, receiver)
    return value === PENDING ? this.resolve(target, key) : value
  }

  has(target: Dictionary, key: Key): boolean {
    return this.hasKey(target, key) || (!isHeaderKey(key) && key in Object.prototype)
  }

  set(target: Dictionary, key: Key, value: unknown, receiver: unknown): boolean {
    if (receiver !== this.environ) {
      // An object that inherits from the environ: it gets the key, not we.
      this.layOut(target)
      return Reflect.set(hasOwn(target, key) ? target : Object.prototype, key, value, receiver)
    }
    this.written = true
    if (!this.laidOut) {
      put(target, key, value)
      return true
    }
    const own = Object.getOwnPropertyDescriptor(target, key)
    if (own === undefined) return Reflect.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true })
    return 'value' in own ? Reflect.set(target, key, value) : Reflect.set(target, key, value, receiver)
  }

  deleteProperty(target: Dictionary, key: Key): boolean {
    this.layOut(target)
    this.written = true
    return Reflect.deleteProperty(target, key)
  }

  ownKeys(target: Dictionary): Key[] {
    this.layOut(target)
    return Reflect.ownKeys(target)
  }

  getOwnPropertyDescriptor(target: Dictionary, key: Key): PropertyDescriptor | undefined {
    if (!this.laidOut && !hasOwn(target, key)) {
      const value = this.shown(() => this.value(key))
      return value === ABSENT ? undefined : { value, writable: true, enumerable: true, configurable: true }
    }
    const own = Object.getOwnPropertyDescriptor(target, key)
    if (own !== undefined && own.value === PENDING) own.value = this.shown(() => this.resolve(target, key))
    return own
  }

  /** For descriptors, which `Object.keys` and `console.log` look at: an address that is lost is shown as '', and only who reads or copies it is told. */
  private shown(value: () => unknown): unknown {
    try {
      return value()
    } catch (error) {
      if (error instanceof RequestAborted) return ''
      throw error
    }
  }

  defineProperty(target: Dictionary, key: Key, descriptor: PropertyDescriptor): boolean {
    this.layOut(target)
    this.written = true
    // Whoever changes attributes alone (Object.freeze) keeps the value of this moment.
    const silent = !('value' in descriptor || 'get' in descriptor || 'set' in descriptor)
    if (silent && Object.getOwnPropertyDescriptor(target, key)?.value === PENDING) target[key] = this.value(key)
    return Reflect.defineProperty(target, key, descriptor)
  }

  getPrototypeOf(): object {
    return Object.prototype
  }

  setPrototypeOf(_target: Dictionary, prototype: object | null): boolean {
    return prototype === Object.prototype
  }

  preventExtensions(target: Dictionary): boolean {
    this.layOut(target)
    this.written = true
    // From now on the language compares with the target itself: its prototype and values must be the ones we show.
    for (const key of Reflect.ownKeys(target)) if (Object.getOwnPropertyDescriptor(target, key)!.value === PENDING) target[key] = this.value(key)
    Object.setPrototypeOf(target, Object.prototype)
    return Reflect.preventExtensions(target)
  }

  // Laying out.

  /** From lazy to laid out: the keys in their order, no value but those that cost nothing. */
  private layOut(target: Dictionary): void {
    if (this.laidOut) return
    const assigned: [Key, unknown][] = []
    for (const key of Reflect.ownKeys(target)) {
      assigned.push([key, target[key]])
      delete target[key]
    }
    for (const key of KEYS) if (!SOMETIMES.has(key) || this.value(key) !== ABSENT) target[key] = PENDING
    this.layOutFields(target)
    if (this.extra !== null) {
      for (const key of Reflect.ownKeys(this.extra)) {
        if (!hasOwn(target, key) && isOwnEnumerable.call(this.extra, key)) put(target, key, this.extra[key])
      }
    }
    for (const [key, value] of assigned) put(target, key, value)
    this.laidOut = true
  }

  private layOutFields(target: Dictionary): void {
    const { text, fields, form } = this.head
    if (form === TargetForm.ABSOLUTE) {
      // An HTTP/1.0 request may come without a Host line: its authority then stands first.
      if (this.field(HOST) === undefined) target['HTTP_HOST'] = this.value('HTTP_HOST')
    }
    for (let i = 0; i < fields.length; i += 4) {
      const name = text.slice(fields[i], fields[i + 1])
      if (name.includes('_')) continue
      const key = 'HTTP_' + name.toUpperCase().replaceAll('-', '_')
      if (key === 'HTTP_CONTENT_TYPE' || key === 'HTTP_CONTENT_LENGTH') continue
      const value = text.slice(fields[i + 2], fields[i + 3])
      if (key === 'HTTP_HOST' && form === TargetForm.ABSOLUTE) target[key] = this.value(key)
      else target[key] = hasOwn(target, key) ? target[key] + separator(key) + value : value
    }
  }

  /** The value of a key that is still pending; what may change later stays pending. */
  private resolve(target: Dictionary, key: Key): unknown {
    const value = this.value(key)
    if (value === ABSENT) return undefined
    if (value !== null || (key !== 'wirelet.trailers' && key !== 'wirelet.outcome')) target[key] = value
    return value
  }

  // Values.

  /** Whether the dictionary has the key, without asking the source for its value. */
  private hasKey(target: Dictionary, key: Key): boolean {
    if (this.laidOut || hasOwn(target, key)) return hasOwn(target, key)
    return KNOWN.has(key) && !SOMETIMES.has(key) || this.value(key) !== ABSENT
  }

  private inherited(key: Key, receiver: unknown): unknown {
    return isHeaderKey(key) ? undefined : Reflect.get(Object.prototype, key, receiver)
  }

  /** What the request and the server say about a key, and the `environ` option where they are silent; ABSENT when all are. */
  private value(key: Key): unknown {
    const wanted = wantedField(key)
    return wanted === null ? this.named(key) : this.header(wanted) ?? this.configured(key)
  }

  /** The same of a key that is no field's. */
  private named(key: Key): unknown {
    switch (key) {
      case 'REQUEST_METHOD': return this.head.method
      case 'PATH_INFO': return this.pathInfo ??= this.path(true)
      case 'QUERY_STRING': return this.query()
      case 'wsgi.input': case 'eventlet.input': return this.input ??= this.source.makeInput()
      case 'SCRIPT_NAME': return ''
      case 'RAW_PATH_INFO': return this.path(false)
      case 'REQUEST_URI': return this.head.target
      case 'CONTENT_TYPE': case 'CONTENT_LENGTH': {
        // Transfer-Encoding overrides it (RFC 9112 §6.3), where a request with both is not refused.
        if (key === 'CONTENT_LENGTH' && this.head.framing === Framing.CHUNKED) break
        const value = this.field(key === 'CONTENT_TYPE' ? CONTENT_TYPE : CONTENT_LENGTH)
        if (value !== undefined) return value
        break
      }
      case 'SERVER_PROTOCOL': return this.head.versionMinor === 0 ? 'HTTP/1.0' : 'HTTP/1.1'
      case 'GATEWAY_INTERFACE': return 'CGI/1.1'
      case 'SERVER_NAME': return (this.rare.local ??= this.source.localAddress()).address
      case 'SERVER_PORT': return portOf(this.rare.local ??= this.source.localAddress())
      case 'REMOTE_ADDR': return (this.rare.peer ??= this.source.peerAddress()).address
      case 'REMOTE_PORT': return portOf(this.rare.peer ??= this.source.peerAddress())
      case 'headers_raw': return this.rare.headersRaw ??= this.pairs()
      case 'eventlet.posthooks': return this.rare.hooks ??= this.source.makeHooks()
      case 'eventlet.set_idle': return this.rare.setIdle ??= this.source.setIdle
      case 'wirelet.signal': return this.rare.signal ??= this.source.makeSignal()
      case 'wirelet.inform': return this.rare.inform ??= this.source.inform
      case 'wirelet.upgrade': return this.rare.upgrade ??= this.source.upgrade
      case 'wirelet.trailers': return this.rare.trailers ??= this.source.trailers()
      case 'wirelet.outcome': return this.rare.outcome ??= this.source.outcome()
      case 'wirelet.tls': return this.rare.tls === undefined ? (this.rare.tls = this.source.tls()) : this.rare.tls
    }
    return this.configured(key)
  }

  /** The `environ` option, and what it may override. */
  private configured(key: Key): unknown {
    if (this.extra !== null && isOwnEnumerable.call(this.extra, key)) return this.extra[key]
    switch (key) {
      case 'wsgi.url_scheme': return this.source.secure ? 'https' : 'http'
      case 'HTTPS': return this.source.secure ? 'on' : ABSENT
      case 'wsgi.version': return WSGI_VERSION
      case 'wsgi.errors': return this.rare.errors ??= this.source.errors()
      // One thread runs every request, and one process serves the listener as far as we know.
      case 'wsgi.multithread': case 'wsgi.multiprocess': case 'wsgi.run_once': return false
      default: return ABSENT
    }
  }

  private get rare(): Made {
    return (this.made ??= new Made())
  }

  /** PATH_INFO (decoded) or RAW_PATH_INFO. */
  private path(decoded: boolean): string {
    const { text, form, targetStart, authorityEnd } = this.head
    const start = form === TargetForm.ABSOLUTE ? authorityEnd : targetStart
    const end = this.pathEnd()
    if (start === end) return '/'
    const raw = text.slice(start, end)
    return decoded ? percentDecode(raw) : raw
  }

  private query(): string {
    return this.head.text.slice(this.pathEnd() + 1, this.head.targetEnd)
  }

  private pathEnd(): number {
    if (this.queryAt >= 0) return this.queryAt
    const { text, targetStart, targetEnd } = this.head
    // Searching past the target too is cheaper than a loop within it: 30 ns a request.
    const at = text.indexOf('?', targetStart)
    return this.queryAt = at >= 0 && at < targetEnd ? at : targetEnd
  }

  private pairs(): Pairs {
    const { text, fields } = this.head
    const pairs: [string, string][] = []
    for (let i = 0; i < fields.length; i += 4) pairs.push([text.slice(fields[i], fields[i + 1]), text.slice(fields[i + 2], fields[i + 3])])
    return pairs
  }

  private header(wanted: WantedField): string | undefined {
    const { text, form, authorityStart, authorityEnd } = this.head
    if (form === TargetForm.ABSOLUTE && wanted.key === 'HOST') return text.slice(authorityStart, authorityEnd)
    return this.field(wanted)
  }

  /** The value of a field, all of its lines joined. Hot. */
  private field(wanted: WantedField): string | undefined {
    const { text, fields } = this.head
    const { length } = wanted
    let value: string | undefined
    for (let i = 0; i < fields.length; i += 4) {
      const start = fields[i]!
      if (fields[i + 1]! - start !== length || !isNamed(text, start, wanted)) continue
      const line = text.slice(fields[i + 2], fields[i + 3])
      value = value === undefined ? line : value + wanted.separator + line
    }
    this.comparisons += fields.length >> 2
    return value
  }
}

/** Taken out here: a look into the prototype at each construction is a call into V8. */
const READ = LazyEnviron.prototype['read']

/** Whether the field name at `start`, of the right length, is the one wanted. A name with `_` is nobody's. */
function isNamed(text: string, start: number, wanted: WantedField): boolean {
  // Tells most others of the same length apart, in either case.
  if ((text.charCodeAt(start) | 0x20) !== wanted.first) return false
  const name = text.slice(start, start + wanted.length)
  return name === wanted.title || name === wanted.lower || name.toLowerCase() === wanted.lower
}

/** Null: not the key of any field, or one that CGI has under another name. Hot. */
function wantedField(key: Key): WantedField | null {
  if (typeof key !== 'string' || key.charCodeAt(0) !== CAPITAL_H) return null
  const slot = (key.length & 31) << 5 | key.charCodeAt(key.length - 1) & 31
  const recent = RECENT[slot]!
  return recent.asked === key ? recent : findField(key, slot)
}

function findField(key: string, slot: number): WantedField | null {
  let wanted = WANTED.get(key)
  if (wanted === undefined) {
    const names = FIELD_KEY.test(key) && key !== 'HTTP_CONTENT_TYPE' && key !== 'HTTP_CONTENT_LENGTH'
    wanted = names ? new WantedField(key) : null
    if (key.length > MAX_WANTED_KEY) return wanted
    if (WANTED.size < MAX_WANTED) WANTED.set(key, wanted)
  }
  if (wanted !== null) RECENT[slot] = wanted
  return wanted
}

function isHeaderKey(key: Key): boolean {
  return typeof key === 'string' && key.startsWith('HTTP_')
}

/** Between the lines of a repeated field: RFC 9110 §5.3; for cookies RFC 9113 §8.2.3 and RFC 3875 §4.1.18. */
function separator(key: string): string {
  return key === 'HTTP_COOKIE' ? '; ' : ', '
}

/** Only TCP has ports. */
function portOf(address: Address): string {
  return address.family === 'IPv4' || address.family === 'IPv6' ? String(address.port) : ''
}

/** Assigns, also where the name would reach a setter of the prototype. */
function put(target: Dictionary, key: Key, value: unknown): void {
  if (key === '__proto__') Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true })
  else target[key] = value
}
