// Target `environ`: it must not differ from a plain object filled eagerly from the same request, whatever is done to both.
// Invariants: every operation gives the same result, or a TypeError on both; same keys in the same order; equal copies; each part of the source is
// asked for at most once (trailers and outcome: until they are there). The model knows nothing of spans: it is made from the lines themselves.
import * as assert from 'node:assert'
import { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import type { Outcome } from '../src/io/cycle.ts'
import type { Address } from '../src/io/transport.ts'
import type { RequestHead } from '../src/parser/request-head.ts'
import type { PostHook } from '../src/server/application.ts'
import { LazyEnviron, type EnvironSource } from '../src/server/environ.ts'
import type { Input } from '../src/server/input.ts'
import { FakeSource, parseHead } from '../test/server/environ-source.ts'
import { Dice } from './dice.ts'
import type { Target } from './target.ts'

type Dict = Record<string | symbol, unknown>
type Pairs = ReadonlyArray<readonly [string, string]>

const SYMBOL = Symbol('fuzz')
const EXTRA = { 'wsgi.multiprocess': true, HTTPS: 'on', 'app.key': 1, HTTP_X_A: 'e', HTTP_HOST: 'z', REQUEST_METHOD: 'no', [SYMBOL]: 2, 7: 'seven' }
const LIVE = ['wirelet.trailers', 'wirelet.outcome']

/** Ready-made parts, each of which counts how often it is asked for. */
class Source implements EnvironSource {
  readonly head: RequestHead
  readonly secure: boolean
  readonly extra: Readonly<Record<string, unknown>> | null
  readonly parts: Dict
  readonly asked: Record<string, number> = {}
  currentTrailers: Pairs | null = null
  currentOutcome: Outcome | null = null

  constructor(lines: string[], secure: boolean, extra: Record<string, unknown> | null) {
    const fake = new FakeSource(...lines)
    this.head = parseHead(...lines)
    this.secure = secure
    this.extra = extra
    this.parts = {
      peer: fake.peer, local: fake.local, input: fake.makeInput(), errors: fake.errors(), hooks: [], signal: fake.makeSignal(),
      setIdle: () => {}, inform: () => {}, upgrade: () => new Duplex(), tls: null
    }
  }

  private ask<T>(name: string): T {
    this.asked[name] = (this.asked[name] ?? 0) + 1
    assert.ok(this.asked[name] === 1, `${name} was asked for again`)
    return this.parts[name] as T
  }

  peerAddress(): Address { return this.ask('peer') }
  localAddress(): Address { return this.ask('local') }
  makeInput(): Input { return this.ask('input') }
  errors(): { write(text: string): unknown } { return this.ask('errors') }
  makeHooks(): PostHook[] { return this.ask('hooks') }
  makeSignal(): AbortSignal { return this.ask('signal') }
  get setIdle(): () => void { return this.ask('setIdle') }
  get inform(): EnvironSource['inform'] { return this.ask('inform') }
  get upgrade(): () => Duplex { return this.ask('upgrade') }
  tls(): null { return this.ask('tls') }
  trailers(): Pairs | null { return this.currentTrailers }
  outcome(): Outcome | null { return this.currentOutcome }
}

interface Request {
  lines: string[]
  target: string
  version: string
  fields: [string, string][]
}

const NAMES = ['accept', 'cookie', 'x-a', 'x-b', 'x-a-b', 'x_a', '__proto__', 'constructor', 'tostring', 'path-info', 'x9', "!#$%&'*+.^`|~"]
const VALUES = ['', 'a', 'b, c', '\xe9\xff', 'x'.repeat(40), 'k=v; w', '__proto__']
const PATHS = ['', 'a', '%41', '%C3%A9', '%e9', '%', '%4', '%zz', '%00', '%2F', '..', '%F0%9F%98%80', '%ff', '+', ';', ':']

function someCase(dice: Dice, name: string): string {
  return [...name].map(letter => dice.chance(0.5) ? letter.toUpperCase() : letter).join('')
}

function makeRequest(dice: Dice): Request {
  const version = dice.chance(0.8) ? 'HTTP/1.1' : 'HTTP/1.0'
  const path = '/' + Array.from({ length: dice.below(4) }, () => dice.one(PATHS)).join(dice.one(['', '/']))
  const query = dice.chance(0.5) ? '?' + dice.one(['', 'a=b', '?', '%41', '/?/']) : ''
  const target = dice.chance(0.8) ? path + query : 'http://' + dice.one(['example.org', 'h:81', '[::1]:8']) + dice.one([path, '']) + query
  const fields: [string, string][] = []
  for (let i = dice.below(12); i > 0; i--) fields.push([someCase(dice, dice.one(NAMES)), dice.one(VALUES)])
  const once: [string, string][] = [['content-type', dice.one(VALUES)], ['content-length', dice.one(['0', '5', '007'])]]
  for (const field of once) if (dice.chance(0.3)) fields.splice(dice.below(fields.length + 1), 0, [someCase(dice, field[0]), field[1]])
  if (version === 'HTTP/1.1' || dice.chance(0.5)) fields.splice(dice.below(fields.length + 1), 0, [someCase(dice, 'host'), 'the-host'])
  return { lines: [`POST ${target} ${version}`, ...fields.map(([name, value]) => `${name}: ${value}`)], target, version, fields }
}

function decoded(path: string): string {
  const octets = path.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(octets, 'latin1'))
  } catch {
    return octets
  }
}

/** The environ as eventlet would fill it: defaults, the option, the request; then put into the documented order. */
function makeModel(request: Request, source: Source): Dict {
  const { target, fields, version } = request
  const { parts, extra } = source
  const absolute = /^http:\/\/([^/?]*)(.*)$/s.exec(target)
  const [rawPath] = (absolute === null ? target : absolute[2]!).split('?', 1) as [string]
  const filled = new Map<string | symbol, unknown>(Object.entries({
    'wsgi.version': [1, 0], 'wsgi.url_scheme': source.secure ? 'https' : 'http', 'wsgi.errors': parts['errors'],
    'wsgi.multithread': false, 'wsgi.multiprocess': false, 'wsgi.run_once': false, ...(source.secure ? { HTTPS: 'on' } : {})
  }))
  for (const key of Reflect.ownKeys(extra ?? {})) filled.set(key, (extra as Dict)[key])
  const mine: Dict = {
    REQUEST_METHOD: 'POST', SCRIPT_NAME: '', PATH_INFO: decoded(rawPath || '/'), RAW_PATH_INFO: rawPath || '/', REQUEST_URI: target,
    QUERY_STRING: target.includes('?') ? target.slice(target.indexOf('?') + 1) : '', SERVER_PROTOCOL: version, GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_NAME: '127.0.0.1', SERVER_PORT: '8090', REMOTE_ADDR: '192.0.2.7', REMOTE_PORT: '51234', headers_raw: fields,
    'wsgi.input': parts['input'], 'eventlet.input': parts['input'], 'eventlet.posthooks': parts['hooks'], 'eventlet.set_idle': parts['setIdle'],
    'wirelet.signal': parts['signal'], 'wirelet.inform': parts['inform'], 'wirelet.upgrade': parts['upgrade'], 'wirelet.tls': parts['tls'],
    'wirelet.trailers': null, 'wirelet.outcome': null
  }
  for (const key of Object.keys(mine)) filled.set(key, mine[key])
  const headers = new Map<string, string>()
  if (absolute !== null && !fields.some(([name]) => name.toLowerCase() === 'host')) headers.set('HTTP_HOST', absolute[1]!)
  for (const [name, value] of fields) {
    const lower = name.toLowerCase()
    if (lower === 'content-type' || lower === 'content-length') {
      filled.set(lower === 'content-type' ? 'CONTENT_TYPE' : 'CONTENT_LENGTH', value)
    } else if (!name.includes('_')) {
      const key = 'HTTP_' + lower.toUpperCase().replace(/-/g, '_')
      const before = headers.get(key)
      const joined = before === undefined ? value : before + (lower === 'cookie' ? '; ' : ', ') + value
      headers.set(key, key === 'HTTP_HOST' && absolute !== null ? absolute[1]! : joined)
    }
  }
  const order = [
    'REQUEST_METHOD SCRIPT_NAME PATH_INFO RAW_PATH_INFO REQUEST_URI QUERY_STRING CONTENT_TYPE CONTENT_LENGTH SERVER_PROTOCOL GATEWAY_INTERFACE',
    'SERVER_NAME SERVER_PORT REMOTE_ADDR REMOTE_PORT HTTPS headers_raw wsgi.version wsgi.url_scheme wsgi.input wsgi.errors wsgi.multithread',
    'wsgi.multiprocess wsgi.run_once eventlet.input eventlet.posthooks eventlet.set_idle wirelet.signal wirelet.inform wirelet.trailers',
    'wirelet.outcome wirelet.tls wirelet.upgrade'
  ].join(' ').split(' ')
  const model: Dict = {}
  for (const key of order) if (filled.has(key)) model[key] = filled.get(key)
  for (const [key, value] of headers) model[key] = value
  for (const [key, value] of filled) if (!Object.hasOwn(model, key)) define(model, key, value)
  return model
}

function define(object: object, key: string | symbol, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

/** What an operation gives: a value, or the kind of its error. */
function outcomeOf(operation: () => unknown): unknown {
  try {
    return [operation()]
  } catch (error) {
    if (error instanceof TypeError) return 'TypeError'
    throw error
  }
}

/** The one documented difference of assignment: `__proto__` becomes a key. */
function assign(object: Dict, key: string | symbol, value: unknown, isModel: boolean): void {
  if (isModel && key === '__proto__' && !Object.hasOwn(object, key)) define(object, key, value)
  else object[key] = value
}

const DESCRIPTORS: PropertyDescriptor[] = [
  { value: 1 },
  { value: 2, writable: true, configurable: true },
  { value: 3, writable: true, enumerable: true, configurable: true },
  { enumerable: false },
  { writable: false },
  { configurable: false },
  { enumerable: true, configurable: true },
  {
    get() { return Reflect.ownKeys(this as Dict).length },
    set(value) { (this as Dict)['set'] = value },
    configurable: true,
    enumerable: true
  }
]

type Operation = [name: string, run: (object: Dict, isModel: boolean) => unknown]

/** One random operation as a function of the dictionary, with its name. */
function makeOperation(dice: Dice, keys: readonly (string | symbol)[], pinned: Set<unknown>): Operation {
  const key = dice.one(keys)
  const value = dice.one([undefined, null, 0, 'text', {}, () => 1])
  const name = (what: string): string => `${what} ${String(key)}`
  const kind = dice.below(40)
  if (kind < 12) return [name('get'), object => object[key]]
  if (kind < 15) return [name('in'), object => key in object]
  if (kind < 17) return [name('hasOwn'), object => Object.hasOwn(object, key)]
  if (kind < 19) return [name('descriptor'), object => Object.getOwnPropertyDescriptor(object, key)]
  if (kind < 24) {
    return [name('set'), (object, isModel) => {
      pinned.add(key)
      assign(object, key, value, isModel)
    }]
  }
  switch (kind) {
    case 24: case 25: return [name('delete'), object => {
      pinned.add(key)
      return delete object[key]
    }]
    case 26: {
      const descriptor = dice.one(DESCRIPTORS)
      return [`${name('define')} ${inspect(descriptor)}`, object => {
        pinned.add(key)
        Object.defineProperty(object, key, descriptor)
      }]
    }
    case 27: return ['Object.keys', object => Object.keys(object)]
    case 28: return ['Reflect.ownKeys', object => Reflect.ownKeys(object)]
    case 29: return ['entries', object => Object.entries(object)]
    case 30: return ['spread', object => ({ ...object })]
    case 31: return ['for in', object => {
      const seen: string[] = []
      for (const each in object) seen.push(each)
      return seen
    }]
    case 32: return ['JSON', object => JSON.stringify(object)]
    case 33: return ['inspect', object => inspect(object)]
    case 34: return [name('heir'), object => {
      const heir = Object.create(object) as Dict
      if (key !== '__proto__') heir[key] = value
      return [Reflect.ownKeys(heir), heir[key]]
    }]
    case 35: return ['prototype', object => [Object.getPrototypeOf, Object.isExtensible, Object.isFrozen, Object.isSealed].map(ask => ask(object))]
    case 36: return [name('propertyIsEnumerable'), object => Object.prototype.propertyIsEnumerable.call(object, key)]
    case 37: return [name('Object.assign'), object => {
      pinned.add(key)
      if (key !== '__proto__') Object.assign(object, { [key]: value })
    }]
    case 38: return ['toString', object => String(object['toString'] === Object.prototype.toString)]
    default: return ['copy', object => Object.assign({}, object)]
  }
}

function disagreement({ seed, steps: most }: EnvironCase): string {
  const dice = new Dice(seed)
  const request = makeRequest(dice)
  const extra = dice.chance(0.4) ? EXTRA : null
  const source = new Source(request.lines, dice.chance(0.3), extra)
  const environ = new LazyEnviron(source).environ as unknown as Dict
  const model = makeModel(request, source)
  const keys = [
    ...Reflect.ownKeys(model), ...request.fields.map(([name]) => 'HTTP_' + name.toUpperCase().replaceAll('-', '_')),
    'HTTP_', 'HTTP_CONTENT_TYPE', 'HTTP_X_ABSENT', 'CONTENT_TYPE', 'CONTENT_LENGTH', 'HTTPS',
    'mine', 'constructor', '__proto__', 'toString', '12', SYMBOL, ...LIVE
  ]
  const pinned = new Set<unknown>()
  const log: string[] = []
  try {
    const steps = Math.min(dice.below(40), most)
    for (let step = 0; step < steps; step++) {
      if (dice.chance(0.03)) {
        log.push('it ends')
        if (source.currentTrailers === null) source.currentTrailers = [['T', '1']]
        if (source.currentOutcome === null) source.currentOutcome = { bytes: 1, completed: true, reason: '' }
        for (const key of LIVE) if (!pinned.has(key)) model[key] = key === 'wirelet.trailers' ? source.currentTrailers : source.currentOutcome
      }
      if (dice.chance(0.01)) {
        const close = dice.one<(object: object) => unknown>([Object.freeze, Object.seal, Object.preventExtensions])
        log.push(close.name)
        close(environ)
        close(model)
        for (const key of LIVE) pinned.add(key)
      }
      const [name, operation] = makeOperation(dice, keys, pinned)
      log.push(name)
      assert.deepStrictEqual(outcomeOf(() => operation(environ, false)), outcomeOf(() => operation(model, true)))
    }
    log.push('at the end')
    assert.deepStrictEqual(Reflect.ownKeys(environ), Reflect.ownKeys(model))
    assert.deepStrictEqual(Object.getOwnPropertyDescriptors(environ), Object.getOwnPropertyDescriptors(model))
    assert.deepStrictEqual(environ, { ...environ })
    return ''
  } catch (error) {
    return [...request.lines, ...log, String(error)].join('\n')
  }
}

interface EnvironCase {
  seed: number
  /** At most so many operations. */
  steps: number
}

let runs = 0

export const environTarget: Target<EnvironCase> = {
  name: 'environ',
  guidedBy: ['src/server/environ'],
  batch: 200,
  executions: () => runs,
  generate: dice => ({ seed: dice.below(2 ** 31), steps: 40 }),
  check(one) {
    runs++
    return disagreement(one)
  },
  * smaller(one) {
    for (let steps = 0; steps < one.steps; steps++) yield { ...one, steps }
  }
}
