// npm run bench:parser [-- --rounds 15 --quick]
// Parsers alone, in this process: ours, Node's (llhttp through its binding, as node:http uses it) and http-parser-js, on the same octets.
// Each gives its user the whole head: method, target and fields. Every answer is compared before anything is timed.
// What arrives in one read lies, for ours, where a handle's reads put it: in the read slab, placed there once, as the kernel does. What does not
// (pieces, more than a read takes) lies in a Buffer of its own, as behind a stream.
import { Buffer } from 'node:buffer'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { slab } from '../src/io/read-slab.ts'
import { ChunkedDecoder } from '../src/parser/chunked-decoder.ts'
import { DEFAULT_LIMITS } from '../src/parser/limits.ts'
import { Framing } from '../src/parser/request-head.ts'
import { RequestParser } from '../src/parser/request-parser.ts'
import { machineLine, positive } from './support/machine.ts'
import { PEERS, ROOT } from './support/peers.ts'
import { run } from './support/process.ts'
import { browser, octetsOf } from './support/requests.ts'
import { figure } from './support/results.ts'
import { ratioText } from './support/report.ts'
import { interleave } from './support/rounds.ts'
import { pairedRatio, spread } from './support/statistics.ts'

/** What a parser made of the octets. */
interface Parsed {
  method: string
  target: string
  fields: number
  content: number
}

type Answer = Parsed | 'refused'

interface Row {
  name: string
  /** The octets, in the pieces in which they arrive. */
  pieces: Buffer[]
  octets: Buffer
  expected: Answer
}

/** Parses the row's octets once. */
type Parse = (row: Row) => Answer

function row(name: string, text: string, expected: Answer, splitting = Infinity): Row {
  const octets = Buffer.from(text, 'latin1')
  const pieces: Buffer[] = []
  for (let at = 0; at < octets.length; at += splitting) pieces.push(octets.subarray(at, Math.min(at + splitting, octets.length)))
  return { name, octets, pieces, expected }
}

function fields(count: number): string {
  return Array.from({ length: count }, (_, i) => `X-Field-${String(i).padStart(3, '0')}: a value of twenty-four\r\n`).join('')
}

function get(fieldCount: number): string {
  return `GET /path HTTP/1.1\r\nHost: localhost\r\n${fields(fieldCount - 1)}\r\n`
}

function posting(chunk: number, times: number): string {
  const framed = `${chunk.toString(16)}\r\n${'c'.repeat(chunk)}\r\n`
  return `POST /post HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n${framed.repeat(times)}0\r\n\r\n`
}

const POST: Parsed = { method: 'POST', target: '/post', fields: 2, content: 0 }
const GET: Parsed = { method: 'GET', target: '/path', fields: 0, content: 0 }
const BROWSER: Parsed = { method: 'GET', target: '/', fields: 10, content: 0 }

const ROWS: Row[] = [
  row('tiny GET', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', { method: 'GET', target: '/', fields: 1, content: 0 }),
  row('browser GET', octetsOf(browser), BROWSER),
  row('10 fields', get(10), { ...GET, fields: 10 }),
  row('100 fields', get(100), { ...GET, fields: 100 }),
  row('chunked POST, 8 × 512', posting(512, 8), { ...POST, content: 4096 }),
  // In pieces as a socket gives them: http-parser-js takes more than 80 KiB at once for a head too long.
  row('chunked POST, 64 × 16 KiB', posting(16_384, 64), { ...POST, content: 1 << 20 }, 65_536),
  row('browser GET octet by octet', octetsOf(browser), BROWSER, 1),
  row('100 KB of spaces in a field', `GET / HTTP/1.1\r\nHost: a\r\nX:${' '.repeat(100_000)}b\r\n\r\n`, 'refused'),
  row('1 000 chunks of 1 octet', posting(1, 1000), { ...POST, content: 1000 })
]

function inSlab({ pieces, octets }: Row): boolean {
  return pieces.length === 1 && octets.length <= slab.length
}

/** One parser for all requests, as a connection has it. */
function ours(): Parse {
  const parser = new RequestParser({ limits: DEFAULT_LIMITS, acceptTransferEncodingWithContentLength: false })
  const decoder = new ChunkedDecoder(DEFAULT_LIMITS)
  let content = 0
  const sink = { onContent: (_bytes: Buffer, start: number, end: number): void => { content += end - start } }
  let placed: Row | null = null
  return row => {
    const { pieces } = row
    if (row !== placed && inSlab(row)) {
      row.octets.copy(slab)
      placed = row
    }
    const octets = row === placed ? slab : row.octets
    let used = 0
    let end = 0
    let next = 0
    while (used === 0 && next < pieces.length) {
      end += pieces[next++]!.length
      used = parser.execute(octets, 0, end)
    }
    if (used <= 0) {
      parser.reset()
      return 'refused'
    }
    const head = parser.takeHead(octets, 0)
    content = 0
    if (head.framing === Framing.CHUNKED) {
      decoder.reset()
      let at = decoder.decode(octets, used, end, sink)
      while (at >= 0 && !decoder.done && next < pieces.length) {
        end += pieces[next++]!.length
        at = decoder.decode(octets, at, end, sink)
      }
      if (!decoder.done) return 'refused'
    }
    return { method: head.method, target: head.target, fields: head.fieldCount, content }
  }
}

/** Both of the others have the interface of Node's binding: callbacks under numbers, the fields as name, value, name, value … */
interface NodeParser {
  execute(bytes: Buffer): number | Error
  initialize?(type: number, resource: object): void
  reinitialize?(type: number): void
  [callback: number]: (...details: any[]) => unknown
}

interface NodeParserClass {
  new (type?: number): NodeParser
  readonly REQUEST: number
  readonly kOnExecute: number
  readonly kOnHeaders: number
  readonly kOnHeadersComplete: number
  readonly kOnBody: number
  readonly kOnMessageComplete: number
}

function theirs(Parser: NodeParserClass, methods: readonly string[]): Parse {
  // http-parser-js calls back as Node's binding does once somebody has looked for this.
  void Parser.kOnExecute
  const parser = new Parser(Parser.REQUEST)
  let answer: Parsed = { ...BROWSER }
  let early = 0
  let complete = false
  const restart = (): void => {
    if (parser.initialize !== undefined) parser.initialize(Parser.REQUEST, {})
    else parser.reinitialize!(Parser.REQUEST)
  }
  // More than 32 fields come in lots; the head's own callback then has neither fields nor target.
  parser[Parser.kOnHeaders] = (lot: string[], target: string) => {
    early += lot.length
    if (target !== '') answer.target = target
  }
  parser[Parser.kOnHeadersComplete] = (_major: number, _minor: number, list: string[] | undefined, method: number, target: string | undefined) => {
    const got = early + (list?.length ?? 0)
    answer = { method: methods[method]!, target: target || answer.target, fields: got / 2, content: 0 }
    early = 0
    return 0
  }
  parser[Parser.kOnBody] = (bytes: Buffer, _start?: number, length?: number) => {
    answer.content += length ?? bytes.length
  }
  parser[Parser.kOnMessageComplete] = () => { complete = true }
  restart()
  return ({ pieces }) => {
    complete = false
    for (const piece of pieces) {
      if (typeof parser.execute(piece) === 'number') continue
      early = 0
      restart()
      return 'refused'
    }
    return complete ? answer : 'refused'
  }
}

/** Node's own binding; null where it is not to be had. */
function llhttp(): Parse | null {
  try {
    process.noDeprecation = true
    const { HTTPParser, methods, allMethods } = (process as unknown as { binding(name: string): any }).binding('http_parser')
    return theirs(HTTPParser, allMethods ?? methods)
  } catch (error) {
    process.stderr.write(`without llhttp: ${(error as Error).message}\n`)
    return null
  }
}

async function httpParserJs(): Promise<Parse | null> {
  const folder = join(PEERS, 'parsers')
  try {
    if (!existsSync(join(folder, 'node_modules', 'http-parser-js'))) {
      process.stderr.write('installing http-parser-js\n')
      await run(['npm', 'ci', '--no-audit', '--no-fund'], { cwd: folder })
    }
    const { HTTPParser, methods } = createRequire(join(folder, 'package.json'))('http-parser-js')
    return theirs(HTTPParser, methods ?? HTTPParser.methods)
  } catch (error) {
    process.stderr.write(`without http-parser-js: ${(error as Error).message.split('\n')[0]}\n`)
    return null
  }
}

const same = (a: Answer, b: Answer): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Nanoseconds of CPU time a parse, over about `ms`: what others do on this machine then counts least. */
function time(parse: Parse, row: Row, ms: number): number {
  const before = process.cpuUsage()
  let times = 0
  let spent = 0
  do {
    for (let i = 0; i < 16; i++) parse(row)
    times += 16
    const { user, system } = process.cpuUsage(before)
    spent = user + system
  } while (spent < ms * 1000)
  return (spent * 1e3) / times
}

function perOctetText(ns: number): string {
  return ns < 0.1 ? ns.toPrecision(2) : figure(ns)
}

/** What must be reached, one line each. */
function judged(raw: Readonly<Record<string, Readonly<Record<string, number[]>>>>): string[] {
  const octets = (name: string): number => ROWS.find(row => row.name === name)!.octets.length
  const perOctet = (name: string): number[] => raw[name]!['wirelet']!.map(ns => ns / octets(name))
  const browser = raw['browser GET']!
  const goals: Array<[string, number[] | undefined, number[] | undefined, number]> = [
    ['browser GET: wirelet ≤ 0.45 × llhttp', browser['wirelet'], browser['llhttp'], 0.45],
    ['browser GET: wirelet ≤ 0.2 × http-parser-js', browser['wirelet'], browser['http-parser-js'], 0.2],
    ['an octet of 100 fields costs what one of 10 costs (≤ 1.1 ×)', perOctet('100 fields'), perOctet('10 fields'), 1.1],
    ['an octet of 1 MiB of content costs no more than one of 4 KiB (≤ 1.1 ×)', perOctet('chunked POST, 64 × 16 KiB'), perOctet('chunked POST, 8 × 512'), 1.1]
  ]
  return goals.map(([text, of, to, most]) => {
    if (of === undefined || to === undefined) return `* ${text}: not measured`
    const ratio = pairedRatio(of, to)
    return `* ${text}: ${ratioText(ratio)}, ${ratio.ratio <= most ? 'met' : '**not met**'}`
  })
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { rounds: { type: 'string' }, quick: { type: 'boolean', default: false } } })
  const rounds = positive('rounds', values.rounds ?? (values.quick ? '3' : '15'))
  const ms = values.quick ? 20 : 60
  const parsers: Array<{ name: string; parse: Parse }> = [{ name: 'wirelet', parse: ours() }]
  const node = llhttp()
  if (node !== null) parsers.push({ name: 'llhttp', parse: node })
  const plain = await httpParserJs()
  if (plain !== null) parsers.push({ name: 'http-parser-js', parse: plain })

  const raw: Record<string, Record<string, number[]>> = {}
  const lines = ['| | octets | parser | ns/request | ns/octet | wirelet ÷ it |', '| --- | ---: | --- | ---: | ---: | ---: |']
  for (const row of ROWS) {
    // A parser that gives another answer is not slower or faster, it is something else.
    const able = parsers.filter(({ name, parse }) => {
      const answer = parse(row)
      if (same(answer, row.expected) && same(parse(row), row.expected)) return true
      if (name === 'wirelet') throw new Error(`${row.name}: ${JSON.stringify(answer)} instead of ${JSON.stringify(row.expected)}`)
      lines.push(`| ${row.name} | ${row.octets.length} | ${name} | – | – | ${answer === 'refused' ? 'refuses it' : row.expected === 'refused' ? 'accepts it' : 'another answer'} |`)
      return false
    })
    for (const { parse } of able) time(parse, row, ms * 3)
    const samples = await interleave(able, rounds, async ({ parse }) => time(parse, row, ms))
    const own = samples.get('wirelet')!
    for (const [name, list] of samples) {
      const { median, min, max } = spread(list)
      const ratio = name === 'wirelet' ? '' : ratioText(pairedRatio(own, list))
      lines.push(`| ${row.name} | ${row.octets.length} | ${name} | ${figure(median)} (${figure(min)}–${figure(max)}) | ${perOctetText(median / row.octets.length)} | ${ratio} |`)
    }
    raw[row.name] = Object.fromEntries(samples)
    process.stderr.write(`${row.name}: ${[...samples].map(([name, list]) => `${name} ${figure(spread(list).median)} ns`).join(', ')}\n`)
  }
  const goals = judged(raw)
  const text = `# Parsers alone\n\n${machineLine()}; medians of ${rounds} interleaved rounds of ${ms} ms. For wirelet, requests of one read lie in the read slab.\n\n${goals.join('\n')}\n\n${lines.join('\n')}\n`
  const folder = join(ROOT, 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'parser.md'), text)
  writeFileSync(join(folder, 'parser.json'), `${JSON.stringify({ machine: machineLine(), rounds, ms, nanoseconds: raw }, null, 1)}\n`)
  process.stdout.write(`${text}\nwritten to bench/results/parser.md and .json\n`)
}

try {
  await main()
} catch (error) {
  process.stderr.write(`bench:parser: ${(error as Error).message}\n`)
  process.exitCode = 1
}
