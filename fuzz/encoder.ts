// Target `encoder`: whatever an application passes, what leaves is one answer to its request and then the answer to the next one. Invariants:
//  1. the octets are answers to a strict client (response-model.ts), and Node's own parser sees the same in them;
//  2. status, header lines, content, trailers and interim answers are those that the application gave, or its call threw and nothing of it is there;
//  3. what RFC 9110 forbids in a status, a name or a value throws (RS-01, RS-02, RS-15); what is harmless does not;
//  4. the next request of the connection is answered, unless the answer closed the connection or was cut short, and then nothing more comes;
//  5. nothing of this depends on when the application changes what it passed: after the call it is too late.

import { once } from 'node:events'
import { request } from 'node:http'
import { Duplex } from 'node:stream'
import type { Application, Body, Environ, Headers, Piece, StartResponse, Status } from '../src/server/application.ts'
import { RawClient } from '../test/support/raw-client.ts'
import { connectTo } from '../test/support/sockets.ts'
import { within } from '../test/support/within.ts'
import type { Dice } from './dice.ts'
import { readAnswers, valuesOf, type Answer } from './response-model.ts'
import { PATIENCE, Servers } from './servers.ts'
import { catching, smallerLists, smallerTexts, type Target } from './target.ts'

type Line = [name: string, value: string | number]
/** text and bytes (latin-1); bytes that are taken away (detached) or shrink after they were handed over. */
type GivenPiece = { text: string } | { bytes: string } | { detached: string } | { shrunk: string }
const SHAPES = ['array', 'string', 'bytes', 'generator', 'async', 'write', 'shifty'] as const

export interface EncoderCase {
  transport: 'stream' | 'handle'
  method: string
  version: '1.0' | '1.1'
  te: boolean
  status: string | number
  headers: Line[]
  /** An object instead of pairs. */
  asObject: boolean
  pieces: GivenPiece[]
  shape: (typeof SHAPES)[number]
  trailers: Line[] | null
  informs: { status: string | number, headers: Line[] }[]
  /** `eventlet.minimum_write_chunk_size`; -1: the server's. */
  chunkSize: number
  /** The head is given only after a turn of the event loop. */
  late: boolean
  /** Pairs are overwritten after each call that took them. */
  mutateAfter: boolean
  /** The first answer's pieces stop here with an error; -1: not. */
  throwAt: number
}

/** What the application saw of it. */
interface Tried {
  headTaken: boolean
  informsTaken: number[]
  trailersAsked: boolean
}

let runs = 0
let current: EncoderCase
let tried: Tried = { headTaken: false, informsTaken: [], trailersAsked: false }

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/
const STATUS = /^[2-5][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?$/
const INTERIM_STATUS = /^1[0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?$/

const NASTY = [
  '\r\nX: y', '\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', '\n', '\r', '\u010a', '\u010d\u010a', '\u0a0a', '\u2028', '\ud83d\ude00', '\ud83d', '\0', '\x01',
  '\x0b', '\x1f', '\x7f', '\x80', '\x85',
  '\xa0', '\xe9', '\xff', ' ', '\t', '', ':', ' :', ',', ';', '"', 'a b', '\u212a', '\uff21', '\u010d', '\ufffd', '\u0120'
]
const NAMES = [
  'X-A', 'X-B', 'x-a', 'Content-Type', 'Set-Cookie', 'ETag', 'Date', 'Server', 'Content-Length', 'content-length', 'Transfer-Encoding',
  'Connection', 'Keep-Alive', 'Trailer', 'Upgrade',
  'TE', 'Proxy-Connection', 'Location', '__proto__', 'constructor', 'Content_Length', 'Status', 'WWW-Authenticate', 'X', '!'
]
const VALUES = [
  '', 'a', 'text/plain', 'close', 'keep-alive', 'chunked', 'x, y', '0', '5', '12', '+5', '05', '5, 5', '-1', '1e3', 'a=b; c',
  'x'.repeat(300)
]
const STATUSES: (string | number)[] = [
  '200 OK', 200, '200', '200 ', 204, 205, 206, 304, 404, '404 Not Found', 500, '599 x', 600, 199, 100, 101, 0, -1, 1.5, 2000, NaN, '0200 OK',
  '200OK', '20 OK', ' 200 OK', '200  two', 'OK', ''
]

export const encoderTarget: Target<EncoderCase> = {
  name: 'encoder',
  guidedBy: ['src/io/', 'src/server/'],
  batch: 60,
  executions: () => runs,
  generate: (dice, kept) => kept.length > 0 && dice.chance(0.5) ? varied(dice, dice.one(kept)) : made(dice),

  check: catching(disagreement),

  * smaller(one) {
    if (one.informs.length > 0) for (const informs of smallerLists(one.informs)) yield { ...one, informs }
    if (one.trailers !== null) yield { ...one, trailers: null }
    if (one.headers.length > 0) for (const headers of smallerLists(one.headers)) yield { ...one, headers }
    if (one.pieces.length > 0) for (const pieces of smallerLists(one.pieces)) yield { ...one, pieces }
    for (const flag of ['te', 'asObject', 'late', 'mutateAfter'] as const) if (one[flag]) yield { ...one, [flag]: false }
    if (one.throwAt >= 0) yield { ...one, throwAt: -1 }
    if (one.chunkSize >= 0) yield { ...one, chunkSize: -1 }
    if (one.status !== 200) yield { ...one, status: 200 }
    for (const [i, [name, value]] of one.headers.entries()) {
      if (typeof value !== 'string') continue
      for (const text of smallerTexts(value)) if (text.length < value.length) yield { ...one, headers: one.headers.with(i, [name, text]) }
    }
  },

  close: () => servers.close()
}

// ---- cases --------------------------------------------------------------------------------------------------------------------------------------

function made(dice: Dice): EncoderCase {
  return {
    transport: dice.one(['stream', 'handle']),
    method: dice.one(['GET', 'GET', 'GET', 'POST', 'HEAD']),
    version: dice.chance(0.85) ? '1.1' : '1.0',
    te: dice.chance(0.4),
    status: dice.chance(0.6) ? 200 : someStatus(dice),
    headers: someLines(dice, 4),
    asObject: dice.chance(0.15),
    pieces: Array.from({ length: dice.below(5) }, () => somePiece(dice)),
    shape: dice.one(SHAPES),
    trailers: dice.chance(0.3) ? someLines(dice, 3) : null,
    informs: dice.chance(0.25) ? Array.from({ length: 1 + dice.below(2) }, () => ({ status: someInterim(dice), headers: someLines(dice, 3) })) : [],
    chunkSize: dice.one([-1, -1, 0, 1, 7, 5000]),
    late: dice.chance(0.3),
    mutateAfter: dice.chance(0.3),
    throwAt: dice.chance(0.1) ? dice.below(4) : -1
  }
}

function varied(dice: Dice, one: EncoderCase): EncoderCase {
  const other = made(dice)
  const keys = Object.keys(one) as (keyof EncoderCase)[]
  const result = { ...one }
  for (let n = dice.below(3); n >= 0; n--) {
    const key = dice.one(keys)
    Object.assign(result, { [key]: other[key] })
  }
  return result
}

function someText(dice: Dice, from: readonly string[]): string {
  const text = dice.one(from)
  if (dice.chance(0.75)) return text
  const at = dice.below(text.length + 1)
  return text.slice(0, at) + (dice.chance(0.7) ? dice.one(NASTY) : String.fromCharCode(dice.below(dice.chance(0.5) ? 256 : 65_536))) + text.slice(at)
}

const NUMBERS = [0, 5, -1, 1.5, NaN, Infinity, 1e21]
const INTERIM = [103, 103, '103 Early Hints', 102, 100, 101, 199, 200, '103', '1033']
const TEXTS = ['', 'a', 'hello', '\u00e9', '\ud83d\ude00', '\ud83d', '0\r\n\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n']

const someLine = (dice: Dice): Line => [someText(dice, NAMES), dice.chance(0.1) ? dice.one(NUMBERS) : someText(dice, VALUES)]
const someLines = (dice: Dice, below: number): Line[] => Array.from({ length: dice.below(below) }, () => someLine(dice))
const someStatus = (dice: Dice): string | number => {
  const status = dice.one(STATUSES)
  return typeof status === 'string' ? someText(dice, [status]) : status
}
const someInterim = (dice: Dice): string | number => dice.chance(0.2) ? someText(dice, ['103 Early Hints']) : dice.one(INTERIM)

function somePiece(dice: Dice): GivenPiece {
  const text = dice.chance(0.15) ? 'x'.repeat(dice.size(9000)) : dice.one(TEXTS)
  const kind = dice.below(12)
  if (kind < 6) return { text }
  const bytes = Buffer.from(text).toString('latin1')
  return kind < 10 ? { bytes } : kind === 10 ? { detached: bytes } : { shrunk: bytes }
}

// ---- the application ----------------------------------------------------------------------------------------------------------------------------

const application: Application = (environ, startResponse) => {
  if (environ.REQUEST_URI === '/second') {
    startResponse('200 OK', [['X-Second', 'yes']])
    return ['second']
  }
  const { late, shape } = current
  if (late || shape === 'write') {
    return (async () => {
      if (late) await new Promise(resolve => setImmediate(resolve))
      return answer(environ, startResponse)
    })()
  }
  return answer(environ, startResponse) as Body
}

function answer(environ: Environ, startResponse: StartResponse): Body | Promise<Body> {
  const one = current
  for (const [i, inform] of one.informs.entries()) {
    const headers = given(inform.headers)
    try {
      environ['wirelet.inform'](inform.status as Status, headers)
      tried.informsTaken.push(i)
    } catch {
      // Nothing of it may be on the wire.
    }
    spoil(headers)
  }
  if (one.trailers !== null) {
    environ['wirelet.sendTrailers'] = () => {
      tried.trailersAsked = true
      return given(one.trailers!)
    }
  }
  if (one.chunkSize >= 0) environ['eventlet.minimum_write_chunk_size'] = one.chunkSize
  const headers = one.asObject ? objectOf(one.headers) : given(one.headers)
  let write
  try {
    write = startResponse(one.status as Status, headers)
    tried.headTaken = true
  } catch {
    startResponse('500 Refused', [['X-Refused', 'yes']])
    return ['refused']
  }
  if (Array.isArray(headers)) spoil(headers)
  return one.shape === 'write' ? writeAll(write, one) : bodyOf(one)
}

const given = (lines: readonly Line[]): Line[] => lines.map(([name, value]) => [name, value])

function spoil(headers: Line[]): void {
  if (!current.mutateAfter) return
  for (const line of headers) {
    line[0] = 'Spoilt\r\n'
    line[1] = 'spoilt\r\nSpoilt: yes'
  }
  headers.push(['Spoilt\r\n\r\n', 'yes'])
}

function objectOf(lines: readonly Line[]): Headers {
  const object: Record<string, string | number | (string | number)[]> = Object.create(null) as Record<string, never>
  for (const [name, value] of lines) object[name] = Object.hasOwn(object, name) ? [object[name] as string, value].flat() : value
  return object
}

// Newer than the language level of our types.
const Resizable = ArrayBuffer as unknown as new (length: number, options: { maxByteLength: number }) => ArrayBuffer & { resize(length: number): void }

function pieceOf(piece: GivenPiece): { piece: Piece, spoil(): void } {
  if ('text' in piece) return { piece: piece.text, spoil() {} }
  if ('bytes' in piece) return { piece: Buffer.from(piece.bytes, 'latin1'), spoil() {} }
  const octets = Buffer.from('detached' in piece ? piece.detached : piece.shrunk, 'latin1')
  const memory = new Resizable(octets.length, { maxByteLength: Math.max(octets.length, 1) })
  const view = new Uint8Array(memory)
  view.set(octets)
  const spoil = (): void => {
    if ('detached' in piece) structuredClone(memory, { transfer: [memory] })
    else memory.resize(octets.length >> 1)
  }
  return { piece: view, spoil }
}

function bodyOf(one: EncoderCase): Body {
  const { shape, throwAt } = one
  const pieces = one.pieces.map(pieceOf)
  const spoilAll = (): void => pieces.forEach(each => each.spoil())
  switch (shape) {
    case 'string': return one.pieces.map(each => 'text' in each ? each.text : 'x').join('')
    case 'bytes': {
      const first = pieces[0]
      if (first === undefined || typeof first.piece === 'string') return Buffer.from('bytes')
      queueMicrotask(() => first.spoil())
      return first.piece
    }
    case 'generator': return (function * () {
      for (const [i, each] of pieces.entries()) {
        if (i === throwAt) throw new Error('planned')
        yield each.piece
        each.spoil()
      }
    })()
    case 'async': return (async function * () {
      for (const [i, each] of pieces.entries()) {
        if (i === throwAt) throw new Error('planned')
        yield each.piece
        each.spoil()
        await new Promise(resolve => setImmediate(resolve))
      }
    })()
    case 'shifty': {
      // An array whose elements differ from one look to the next.
      const list: Piece[] = []
      for (const [i, each] of pieces.entries()) {
        let looks = 0
        Object.defineProperty(list, i, { get: () => looks++ % 2 === 0 ? each.piece : 'longer than before', enumerable: true, configurable: true })
      }
      return list
    }
    default: {
      queueMicrotask(spoilAll)
      return pieces.map(each => each.piece)
    }
  }
}

async function writeAll(write: (piece: Piece) => Promise<boolean>, one: EncoderCase): Promise<Body> {
  for (const [i, each] of one.pieces.entries()) {
    if (i === one.throwAt) throw new Error('planned')
    const { piece, spoil } = pieceOf(each)
    const done = write(piece)
    spoil()
    await done
  }
  return []
}

// ---- the check ----------------------------------------------------------------------------------------------------------------------------------

const servers = new Servers(application)

async function disagreement(one: EncoderCase): Promise<string> {
  runs++
  current = one
  tried = { headTaken: false, informsTaken: [], trailersAsked: false }
  const server = await servers.of(one.transport)
  servers.watch()
  const socket = await connectTo(server.address.port)
  const client = new RawClient(socket)
  const keep = one.version === '1.0' ? 'Connection: keep-alive\r\n' : one.te ? 'Connection: TE\r\n' : ''
  const first = `${one.method} /first HTTP/${one.version}\r\nHost: x\r\n${keep}${one.te ? 'TE: trailers\r\n' : ''}\r\n`
  socket.write(first + 'GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  let wrong: string
  try {
    const how = await within(PATIENCE, client.closed, 'the connection to end')
    wrong = how === 'reset' && !mayFail(one) ? 'the connection was reset' : await judge(one, client.buffered, how === 'reset')
  } catch (error) {
    wrong = (error as Error).message
  } finally {
    client.destroy()
  }
  if (wrong !== '') return `${wrong}\n  came: ${JSON.stringify(client.buffered.slice(0, 3000))}\n  tried: ${JSON.stringify(tried)}`
  return servers.settled(server)
}

async function judge(one: EncoderCase, text: string, wasReset: boolean): Promise<string> {
  const answers = readAnswers(text, [one.method, 'GET'])
  const [first, second] = answers
  // What ends with the connection is whole only if that ended in order.
  if (first !== undefined && first.framing === 'close' && wasReset) first.cut = true
  // A cut before the first octet is a reset without an answer.
  if (first === undefined) return mayFail(one) ? '' : 'no answer'
  const over = first.cut || valuesOf(first.fields, 'connection').some(value => value.toLowerCase() === 'close')
  if (over && answers.length > 1) return 'an answer behind one that closes or was cut'
  // Cut between two answers: a fault of the application that showed at the very end of the first.
  if (!over && second === undefined && mayFail(one)) return ''
  const answered = second !== undefined && second.content === 'second' && second.status === 200 && !second.cut
  if (!over && !answered) return 'the second request is not answered'
  if (first.cut && !mayFail(one)) return 'the answer is cut short'
  if (/spoilt/i.test(text)) return 'what was changed after the call is on the wire'
  const own = !first.cut && tried.headTaken && first.status !== 500
  const wrong = wrongHead(one, first) || wrongInterim(one, first) || (own ? wrongContent(one, first) : '')
  if (wrong !== '' || first.cut) return wrong
  return await otherForNode(one, text, answers)
}

/** The application broke its own answer: by an error, a Content-Length not kept, memory taken away, trailers that are none. */
function mayFail(one: EncoderCase): boolean {
  if (one.throwAt >= 0 || one.shape === 'shifty' || changes(one)) return true
  if (one.trailers !== null && !one.trailers.every(line => isGoodLine(line) && /^X/i.test(line[0]))) return true
  return hasLength(one)
}

const changes = (one: EncoderCase): boolean => one.pieces.some(each => 'detached' in each || 'shrunk' in each)
const hasLength = (one: EncoderCase): boolean => one.headers.some(([name]) => /^content-length$/i.test(name))

/** Fit for the wire as it is. */
const fits = ([name, value]: Line): boolean => TOKEN.test(name) && VALUE.test(String(value))
const isGoodLine = (line: Line): boolean => fits(line) && (typeof line[1] === 'string' || Number.isFinite(line[1]))
const statusFits = (status: string | number, pattern: RegExp): boolean => pattern.test(String(status))
const statusOf = (status: string | number): number => Number(String(status).slice(0, 3))

/** Names whose meaning the engine watches over: it may refuse them. */
const WATCHED = /^(?:content-length|transfer-encoding|connection|keep-alive|trailer|upgrade|te|proxy-connection|date|server|content-type)$/i
const OURS = ['date', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'content-type', 'trailer', 'server']
const NEVER_A_TRAILER = /^(?:content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|content-type|set-cookie)$/i

/** Lines as text, to compare them; names in lower case, as their case is the engine's. */
function plain(lines: readonly (readonly [string, unknown])[], leaveOut?: RegExp): string[] {
  return lines.filter(([name]) => leaveOut?.test(name) !== true).map(([name, value]) => `${name.toLowerCase()}: ${String(value)}`)
}

function wrongHead(one: EncoderCase, first: Answer): string {
  const { headTaken } = tried
  if (headTaken && !(statusFits(one.status, STATUS) && one.headers.every(fits))) return 'startResponse took what it must refuse'
  const isPlain = ([name, value]: Line): boolean => !WATCHED.test(name) && typeof value === 'string' && !(one.asObject && name === '__proto__')
  const harmless = statusFits(one.status, STATUS) && one.headers.every(line => isGoodLine(line) && isPlain(line))
  if (!headTaken && harmless) return 'startResponse refused what is harmless'
  if (first.cut && first.status === 0) return ''
  if (first.status === 500 && valuesOf(first.fields, 'x-refused').length === 0 && statusOf(one.status) !== 500) {
    return mayFail(one) ? '' : 'a 500 of the server'
  }
  if (first.status !== (headTaken ? statusOf(one.status) : 500)) return `status ${first.status}`
  // The lines that the application gave, in order, among those that the engine adds.
  const wanted: Line[] = headTaken ? one.headers : [['X-Refused', 'yes']]
  const [seen, given] = [plain(first.fields, WATCHED), plain(wanted, WATCHED)]
  if (one.asObject) [seen, given].forEach(lines => lines.sort())
  // An application whose own status is 500, and that fails, may get the 500 of the server.
  const servers500 = first.status === 500 && headTaken && mayFail(one)
  if (seen.join('\n') !== given.join('\n') && !servers500) return 'other header lines than the application gave'
  for (const [name] of first.fields) {
    const lower = name.toLowerCase()
    if (!OURS.includes(lower) && !wanted.some(line => line[0].toLowerCase() === lower)) return `a header line from nowhere: ${name}`
  }
  return one.version === '1.0' && first.framing === 'chunked' ? 'chunked to HTTP/1.0' : ''
}

function wrongInterim(one: EncoderCase, first: Answer): string {
  for (const i of tried.informsTaken) {
    const { status, headers } = one.informs[i]!
    if (!statusFits(status, INTERIM_STATUS) || statusOf(status) === 101 || !headers.every(fits)) return `inform took what it must refuse: ${i}`
  }
  if (first.cut && first.status === 0) return ''
  const taken = one.version === '1.0' ? [] : tried.informsTaken.map(i => one.informs[i]!)
  if (first.interim.length !== taken.length) return `${first.interim.length} interim answers, ${taken.length} given`
  for (const [i, { status, headers }] of taken.entries()) {
    const seen = first.interim[i]!
    if (seen.status !== statusOf(status)) return 'another interim status'
    if (plain(seen.fields, WATCHED).join('\n') !== plain(headers, WATCHED).join('\n')) return 'other interim header lines'
    const given = plain(headers)
    if (plain(seen.fields).some(line => !given.includes(line))) return 'an interim header line from nowhere'
  }
  return ''
}

/** The octets of all pieces. */
function wholeOf(one: EncoderCase): string {
  const octets = (text: string): string => Buffer.from(text).toString('latin1')
  if (one.shape === 'string') return octets(one.pieces.map(each => 'text' in each ? each.text : 'x').join(''))
  const each = one.pieces.map(piece => 'text' in piece ? octets(piece.text) : 'bytes' in piece ? piece.bytes : '')
  if (one.shape !== 'bytes') return each.join('')
  return one.pieces[0] === undefined || 'text' in one.pieces[0] ? 'bytes' : each[0]!
}

function wrongContent(one: EncoderCase, first: Answer): string {
  if (one.shape === 'shifty' || changes(one)) return ''
  const whole = wholeOf(one)
  const length = first.framing === 'length' ? Number(valuesOf(first.fields, 'content-length')[0]) : Infinity
  const none = one.method === 'HEAD' || [204, 205, 304].includes(first.status)
  if (first.content !== (none ? '' : whole.slice(0, length))) return 'other content'
  if (!none && length < whole.length && !hasLength(one)) return 'content is missing'

  const wanted = one.trailers !== null && tried.trailersAsked ? one.trailers : []
  if (first.trailers.length === 0) {
    const harmless = wanted.length > 0 && first.framing === 'chunked' && wanted.every(line => isGoodLine(line) && line[0].startsWith('X'))
    return harmless ? 'trailers are missing' : ''
  }
  if (!one.te) return 'trailers to somebody who did not ask'
  if (first.trailers.some(([name]) => NEVER_A_TRAILER.test(name))) return 'a forbidden trailer'
  return plain(first.trailers).join('\n') === plain(wanted).join('\n') ? '' : 'other trailers'
}

// ---- Node's own client --------------------------------------------------------------------------------------------------------------------------

/** A connection that a client makes and that answers with given octets. */
class Recorded extends Duplex {
  private readonly octets: Buffer
  private played = false

  constructor(text: string) {
    super()
    this.octets = Buffer.from(text, 'latin1')
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
    if (this.played) return
    this.played = true
    setImmediate(() => {
      this.push(this.octets)
      this.push(null)
    })
  }
}

/** The first answer alone, as Node's client reads it: '' if it is what the model read. */
async function otherForNode(one: EncoderCase, text: string, answers: readonly Answer[]): Promise<string> {
  const first = answers[0]!
  const end = answers.length > 1 ? text.lastIndexOf('HTTP/1.1 200 ') : text.length
  const stream = new Recorded(text.slice(0, end))
  const outgoing = request({ method: one.method, path: '/first', createConnection: () => stream })
  try {
    outgoing.end()
    const [incoming] = await within(PATIENCE, once(outgoing, 'response'), "Node's response") as [import('node:http').IncomingMessage]
    let content = ''
    incoming.setEncoding('latin1').on('data', (piece: string) => void (content += piece))
    await within(PATIENCE, once(incoming, 'end'), "the end of Node's response")
    const lines = first.fields.flat().join('\n')
    const { statusCode, statusMessage } = incoming
    if (statusCode !== first.status || statusMessage !== first.reason) return `Node has status ${statusCode} ${statusMessage}`
    if (incoming.rawHeaders.join('\n') !== lines) return `Node has other header lines: ${JSON.stringify(incoming.rawHeaders)}`
    if (content !== first.content) return `Node has other content: ${JSON.stringify(content.slice(0, 300))}`
    const { rawTrailers } = incoming
    if (rawTrailers.join('\n') !== first.trailers.flat().join('\n')) return `Node has other trailers: ${JSON.stringify(rawTrailers)}`
    return incoming.complete ? '' : 'Node finds it incomplete'
  } catch (error) {
    return `Node: ${(error as Error).message}`
  } finally {
    outgoing.destroy()
    stream.destroy()
  }
}
