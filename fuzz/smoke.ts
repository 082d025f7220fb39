// Mutated requests through the parser room. Invariants, for every input and every setting of the limits:
//  1. nothing throws;
//  2. what fails, fails with a declared code at an offset inside its message, and nothing follows it;
//  3. the events are the same at every split: whole, octet by octet, cut in two, cut at random;
//  4. what is accepted matches the grammar and the framing rules as stated here a second time, with regular expressions;
//  5. after reset() a good request parses as if nothing had happened.
//
// node build/fuzz/smoke.js [iterations | seconds, as in 60s] [seed]
import { ChunkedDecoder } from '../src/parser/chunked-decoder.ts'
import { PeerErrorCode } from '../src/parser/errors.ts'
import { DEFAULT_LIMITS } from '../src/parser/limits.ts'
import type { Limits } from '../src/parser/limits.ts'
import { Framing } from '../src/parser/request-head.ts'
import type { RequestHead } from '../src/parser/request-head.ts'
import { RequestParser } from '../src/parser/request-parser.ts'
import { headEvents, logConnection } from '../test/support/event-log.ts'
import type { LogOptions } from '../test/support/event-log.ts'
import { cutAt, random, randomCuts } from '../test/support/splits.ts'

const DEFAULT_ITERATIONS = 12_000

const GET = 'GET /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n'
const SEEDS = [
  GET,
  'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD /2 HTTP/1.0\r\nHost: x\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nTransfer-Encoding: chunked\r\nTE: trailers, x;q="\\"a,b"\r\n\r\n' +
    '5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b ; c="d\\"e"\r\nhello\r\nA\r\n0123456789\r\n0;z\r\nX-Sum: 1\r\nY:\t 2 \r\n\r\n',
  '\r\n\r\nGET http://u.example:8080/p?q HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\nUpgrade: websocket\r\nConnection: Upgrade, x\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nRange: bytes=0-\r\nIf-Modified-Since: now\r\n\r\n',
  'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n',
  'TRACE / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'
]

const DICTIONARY = [
  '\r\n', '\r', '\n', '\r\n\r\n', '\n\n', '\r\r\n', ' ', '\t', ':', ' :', ': ', ',', ';', '=', '"', '\\', '\x00', '\x0b', '\x7f', '\x80', '\xff', '\xa0',
  '/', '*', '#', '?', '%', '%00', '%2f', '@', '[', ']', '[::1]', '::', '.', 'v1.x', '0', '00', '1', '5', 'a', 'F', 'ffffffffffffffff', '1fffffffffffff',
  '9007199254740991', '9007199254740992', '18446744073709551621', '+5', '-1', '0x5', 'GET ', 'POST ', 'CONNECT ', 'TRACE ', 'OPTIONS ', 'PRI * HTTP/2.0\r\n',
  'HTTP/1.1', 'HTTP/1.0', 'HTTP/1.2', 'HTTP/2.0', 'http://', 'https://x', 'Host: x\r\n', 'Host:', 'Content-Length: 5\r\n', 'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: gzip, chunked\r\n', 'Transfer-Encoding: identity\r\n', 'chunked', 'identity', 'gzip',
  'Connection: close\r\n', 'Connection: keep-alive\r\n', 'close', 'keep-alive', 'upgrade', 'Upgrade: a\r\n', 'Expect: 100-continue\r\n', '100-continue',
  'TE: trailers\r\n', 'Content-Type: a\r\n', 'Authorization: b\r\n', ' folded\r\n', '0\r\n\r\n', '5\r\nhello\r\n', '1;a=b\r\nx\r\n',
  ';a="b"', ';a', '0\r\nX: y\r\n\r\n',
  'content-LENGTH', 'transfer-ENCODING', 'Content_Length: 5\r\n', GET
]

const DECLARED = new Set(Object.keys(PeerErrorCode).map(key => `HPE_${key}`))

type Random = () => number

const pick = <T>(from: readonly T[], next: Random): T => from[Math.floor(next() * from.length)]!
const below = (limit: number, next: Random): number => Math.floor(next() * limit)

function mutate(input: string, next: Random): string {
  // Mostly behind the request line: an error there hides all that follows.
  const from = next() < 0.75 ? Math.max(input.indexOf('\r\n', 4), 0) : 0
  const at = from + below(input.length + 1 - from, next)
  const length = 1 + below(next() < 0.5 ? 3 : 20, next)
  switch (below(8, next)) {
    case 0: return input.slice(0, at) + input.slice(at + length)
    case 1: return input.slice(0, at) + pick(DICTIONARY, next) + input.slice(at)
    case 2: return input.slice(0, at) + pick(DICTIONARY, next) + input.slice(at + length)
    case 3: return input.slice(0, at) + String.fromCharCode(below(256, next)) + input.slice(at + 1)
    case 4: return input.slice(0, at) + input.slice(at, at + length).repeat(1 + below(4, next)) + input.slice(at)
    case 5: return input.slice(0, at) + pick(SEEDS, next).slice(below(60, next))
    case 6: return swapCase(input, at, length)
    default: return moveLine(input, next)
  }
}

function swapCase(input: string, at: number, length: number): string {
  const middle = input.slice(at, at + length).replace(/[a-z]/gi, letter => String.fromCharCode(letter.charCodeAt(0) ^ 0x20))
  return input.slice(0, at) + middle + input.slice(at + length)
}

function moveLine(input: string, next: Random): string {
  const lines = input.split('\r\n')
  const line = pick(lines, next)
  lines.splice(below(lines.length, next), below(2, next), line)
  return lines.join('\r\n')
}

// Tiny limits now and then, so that short inputs reach them.
function settings(next: Random): LogOptions {
  const limits: Partial<Limits> = {}
  if (next() < 0.4) {
    const keys = [
      'urlLengthLimit', 'maxFieldLine', 'maxHead', 'maxFields', 'maxLeadingEmptyLines', 'maxChunkSizeDigits', 'maxChunkExt', 'maxTrailers',
      'maxTrailerFields', 'maxBodySize'
    ] as const
    for (let i = 0; i < 2; i++) limits[pick(keys, next)] = below(next() < 0.5 ? 4 : 60, next)
  }
  return { limits, secure: next() < 0.2, acceptTransferEncodingWithContentLength: next() < 0.2 }
}

// What is wrong with how an input is treated, or ''. Deterministic, so that it can drive the shrinking.
function fault(input: string, options: LogOptions, splitSeed: number): string {
  const bytes = Buffer.from(input, 'latin1')
  try {
    const whole = logConnection([bytes], options).events
    const wrong = wrongEvents(whole, bytes.length) || wrongAcceptance(bytes, options) || wrongAfterReset(bytes)
    if (wrong) return wrong
    const next = random(splitSeed)
    const splits = [Array.from({ length: Math.max(bytes.length - 1, 0) }, (_, i) => i + 1), randomCuts(bytes.length, next), randomCuts(bytes.length, next)]
    for (let i = 0; i < 4; i++) splits.push([1 + below(Math.max(bytes.length - 1, 1), next)])
    for (const cuts of splits) {
      const events = logConnection(cutAt(bytes, cuts), options).events
      if (events.join('\n') !== whole.join('\n')) return `cut at ${cuts.join(' ')}:\n${events.join('\n')}\nbut whole:\n${whole.join('\n')}`
    }
  } catch (error) {
    return `threw ${error instanceof Error ? error.stack : String(error)}`
  }
  return ''
}

function wrongEvents(events: string[], length: number): string {
  for (const [i, event] of events.entries()) {
    if (!event.startsWith('error ')) continue
    const [, name, , offset] = event.split(' ')
    if (!DECLARED.has(name!)) return `an undeclared code: ${event}`
    if (i !== events.length - 1) return `something follows ${event}`
    if (!(Number(offset!.slice(1)) <= length)) return `an offset outside the input: ${event}`
  }
  return ''
}

const HEAD = /^[!#$%&'*+\-.^_`|~\w]+ [!$-;=?-[\]-~]+ HTTP\/1\.[01]\r\n(?:[!#$%&'*+\-.^_`|~\w]+:[\t -~\x80-\xff]*\r\n)*\r\n$/
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|\[[vV][0-9A-Fa-f]+\.[\w\-.~!$&'()*+,;=:]+\]|(?:[\w\-.~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?$/

// The first head, if it is accepted: grammar and framing by other means than the parser's.
function wrongAcceptance(bytes: Buffer, options: LogOptions): string {
  const parser = new RequestParser({
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    acceptTransferEncodingWithContentLength: options.acceptTransferEncodingWithContentLength ?? false
  })
  parser.secure = options.secure ?? false
  const result = parser.execute(bytes, 0, bytes.length)
  if (result <= 0) return ''
  const head = parser.takeHead(bytes, 0)
  const text = bytes.toString('latin1', 0, result).replace(/^(?:\r\n)*/, '')
  if (head.text !== text) return 'the head is not what was received'
  if (!HEAD.test(text)) return 'accepted against the grammar'
  const lines = text.split('\r\n').slice(1, -2).map(line => line.split(/:(.*)/s) as [string, string])
  const values = (name: string): string[] => lines.filter(line => line[0].toLowerCase() === name).map(line => line[1].replace(/^[\t ]+|[\t ]+$/g, ''))
  return wrongSpans(head, lines) || wrongMeaning(head, values, options) || (head.framing === Framing.CHUNKED ? wrongContent(bytes.subarray(result)) : '')
}

const TOKEN = "[!#$%&'*+\\-.^_`|~\\w]+"
const CHUNK = new RegExp(
  `([0-9A-Fa-f]{1,16})(?:[\\t ]*;[\\t ]*${TOKEN}(?:[\\t ]*=[\\t ]*(?:${TOKEN}|"(?:[\\t !#-[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"))?)*\\r\\n`, 'y'
)
const TRAILERS = new RegExp(`(?:${TOKEN}:[\\t -~\\x80-\\xff]*\\r\\n)*\\r\\n`, 'y')

// Chunked content, if it is accepted to its end: the grammar again, and the same data at the same place.
function wrongContent(bytes: Buffer): string {
  let content = ''
  const decoder = new ChunkedDecoder(DEFAULT_LIMITS)
  const end = decoder.decode(bytes, 0, bytes.length, { onContent: (data, from, to) => void (content += data.toString('latin1', from, to)) })
  if (!decoder.done) return ''
  const text = bytes.toString('latin1')
  let expected = ''
  for (let at = 0; ;) {
    CHUNK.lastIndex = at
    const size = CHUNK.exec(text)?.[1]
    if (size === undefined) return `a chunk against the grammar at ${at}`
    at = CHUNK.lastIndex
    const length = Number(`0x${size}`)
    if (length === 0) break
    expected += text.slice(at, at + length)
    at += length + 2
    if (text.slice(at - 2, at) !== '\r\n') return `no CRLF behind the data at ${at - 2}`
  }
  TRAILERS.lastIndex = CHUNK.lastIndex
  if (!TRAILERS.test(text)) return 'trailers against the grammar'
  if (TRAILERS.lastIndex !== end) return 'the content ends elsewhere'
  return content === expected ? '' : 'other data'
}

function wrongSpans(head: RequestHead, lines: [string, string][]): string {
  const events = headEvents(head).slice(1)
  const expected = lines.map(([name, value]) => `field ${name}: ${value.replace(/^[\t ]+|[\t ]+$/g, '')}`)
  return events.join('\n') === expected.join('\n') ? '' : 'the spans are wrong'
}

function wrongMeaning(head: RequestHead, values: (name: string) => string[], options: LogOptions): string {
  const host = values('host')
  const length = values('content-length')
  const coding = values('transfer-encoding')
  const connection = values('connection').join(',').toLowerCase().split(',').map(option => option.trim())
  if (host.length > 1 || (host.length === 0 && head.versionMinor === 1)) return 'the number of Hosts'
  if (host.length === 1 && !HOST.test(host[0]!)) return 'an invalid Host'
  if (length.length > 1 || (length.length === 1 && !/^[0-9]+$/.test(length[0]!))) return 'an invalid Content-Length'
  if (coding.length > 1 || (coding.length === 1 && coding[0]!.toLowerCase() !== 'chunked')) return 'an invalid Transfer-Encoding'
  if (coding.length > 0 && head.versionMinor === 0) return 'Transfer-Encoding in 1.0'
  const both = coding.length > 0 && length.length > 0
  if (both && (!options.acceptTransferEncodingWithContentLength || head.keepAlive)) return 'Transfer-Encoding and Content-Length'
  const framing = coding.length > 0 ? Framing.CHUNKED : BigInt(length[0] ?? 0) > 0n ? Framing.LENGTH : Framing.NONE
  if (head.framing !== framing) return 'the framing'
  if (framing === Framing.LENGTH && BigInt(head.contentLength) !== BigInt(length[0]!)) return 'the length'
  if (head.keepAlive && connection.includes('close')) return 'close was overheard'
  if (head.keepAlive && head.versionMinor === 0 && !connection.includes('keep-alive')) return '1.0 persists'
  if (head.method === 'CONNECT') return 'CONNECT'
  for (const name of ['content-type', 'authorization', 'proxy-authorization', 'range', 'if-modified-since', 'if-unmodified-since']) {
    if (values(name).length > 1) return `two of ${name}`
  }
  return ''
}

// Long-lived ones, as the engine pools them: whatever they were fed before, a good request is a good request.
const usedParser = new RequestParser({ limits: DEFAULT_LIMITS, acceptTransferEncodingWithContentLength: false })
const usedDecoder = new ChunkedDecoder(DEFAULT_LIMITS)
const GOOD = Buffer.from(GET)
const GOOD_CHUNKED = Buffer.from('1;a="b"\r\nx\r\n0\r\nA: b\r\n\r\n')
const GOOD_EVENTS = logConnection([GOOD]).events.join('\n')

function wrongAfterReset(bytes: Buffer): string {
  usedParser.execute(bytes, 0, bytes.length)
  usedParser.reset()
  if (usedParser.execute(GOOD, 0, GOOD.length) !== GOOD.length) return 'a good request fails after reset()'
  if (headEvents(usedParser.takeHead(GOOD, 0)).join('\n') !== GOOD_EVENTS) return 'a good request reads otherwise after reset()'

  let content = ''
  const sink = { onContent: (data: Buffer, start: number, end: number): void => void (content += data.toString('latin1', start, end)) }
  usedDecoder.decode(bytes, 0, bytes.length, sink)
  usedDecoder.reset()
  content = ''
  const end = usedDecoder.decode(GOOD_CHUNKED, 0, GOOD_CHUNKED.length, sink)
  const good = end === GOOD_CHUNKED.length && usedDecoder.done && content === 'x' && usedDecoder.trailers.join() === 'A,b'
  return good ? '' : 'good content fails after reset()'
}

// Cuts out ever smaller parts while the fault stays.
function shrink(input: string, options: LogOptions, splitSeed: number): string {
  for (let size = input.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < input.length;) {
      const shorter = input.slice(0, at) + input.slice(at + size)
      if (fault(shorter, options, splitSeed)) input = shorter
      else at += size
    }
  }
  return input
}

function main(amount = String(DEFAULT_ITERATIONS), seedText = String(Date.now() % 1_000_000_000)): number {
  const seed = Number(seedText)
  const seconds = amount.endsWith('s')
  const limit = Number(seconds ? amount.slice(0, -1) : amount)
  if (!(limit > 0) || !Number.isSafeInteger(seed)) {
    console.error('usage: smoke.js [iterations | seconds, as in 60s] [seed]')
    return 2
  }
  console.log(`fuzz smoke: seed ${seed}, ${limit} ${seconds ? 'seconds' : 'iterations'}`)
  const started = Date.now()
  const outcomes = new Map<string, number>()
  let i = 0
  for (; seconds ? Date.now() - started < limit * 1000 : i < limit; i++) {
    const next = random(Math.imul(seed, 0x9e3779b1) + i)
    let input = pick(SEEDS, next)
    for (let n = below(4, next); n >= 0; n--) input = mutate(input, next)
    const options = settings(next)
    const splitSeed = below(2 ** 31, next)
    const wrong = fault(input, options, splitSeed)
    if (wrong) {
      const small = shrink(input, options, splitSeed)
      console.error(`FAILED: seed ${seed}, iteration ${i}, options ${JSON.stringify(options)}\n${fault(small, options, splitSeed)}`)
      console.error(`input: ${JSON.stringify(small)}`)
      return 1
    }
    const last = logConnection([Buffer.from(input, 'latin1')], options).events.at(-1)?.split(' ') ?? ['nothing']
    const outcome = last[0] === 'error' ? last[1]! : 'no error'
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const counts = [...outcomes].sort((a, b) => b[1] - a[1]).map(([outcome, count]) => `${outcome} ${count}`)
  console.log(`${i} inputs in ${((Date.now() - started) / 1000).toFixed(1)} s, no fault. ${outcomes.size} outcomes: ${counts.join(', ')}`)
  return 0
}

process.exitCode = main(process.argv[2], process.argv[3])
