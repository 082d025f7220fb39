// What one peer can make the server hold: many peers of one kind at a time against a server of their own, the memory per connection after a
// collection, and the bound that the limits give. Prints the table of docs/limits.md.
//   node build/soak/memory.js [--connections 1000] [--transport stream|handle|both] [--only PATTERN] [--full]
// --full: 10 000 connections of the worst kind too; `ulimit -n` must allow them. `unshare -n` and a small net.ipv4.tcp_wmem keep the kernel's share down.
import { Buffer } from 'node:buffer'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import * as net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import * as tls from 'node:tls'
import { parseArgs } from 'node:util'
import { DEFAULT_LIMITS as L } from '../src/parser/limits.ts'
import { Child } from '../test/survival/support.ts'
import type { Report } from '../test/survival/child.ts'

const KIB = 1024
const NEVER = 1e9
/** One read: the slab. */
const READ = 65536
/** A connection's own objects, native handle and environ, by transport. */
const OBJECTS = { stream: 14 * KIB, handle: 8 * KIB } as const

interface Peer {
  /** What the peers send, in order; each write waits for the one before. */
  sends: string[]
  /** They read what comes. */
  reads?: boolean
  /** Connections, where not as many as asked for. */
  count?: number
  tls?: boolean
}

interface Row extends Peer {
  name: string
  /** Bytes by the limits, beyond the objects. */
  bound: number
  formula: string
  /** It ends in paused reading: a stream reads one chunk more than we take. */
  pauses?: boolean
}

const head = (target: string, fields: string, method = 'GET'): string => `${method} ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`
const chunked = (target: string): string => head(target, 'Transfer-Encoding: chunked\r\n', 'POST')
const lines = (count: number, length: number): string => `X: ${'x'.repeat(length - 5)}\r\n`.repeat(count)

/** Just below `maxBufferedBody`: now and then a chunk worth a view, among chunks of one octet with as many octets around it as there may be. */
const sparse = `1000\r\n${'c'.repeat(4096)}\r\n${`${'1'.padStart(16, '0')}\r\nc\r\n`.repeat(6000)}`.repeat(100)

/** As long as a head may be. */
const longest = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n${lines(7, 8190)}${lines(1, 8000)}\r\n`

const rows: Row[] = [
  { name: 'no byte', sends: [], bound: 0, formula: '0' },
  { name: 'idle, after a request', sends: [head('/', '')], reads: true, bound: 0, formula: '0' },
  { name: 'head of one byte', sends: ['G'], bound: 8 * KIB, formula: '1 KiB + a parser' },
  { name: 'head, all but its end',
    sends: ['GET / HTTP/1.1\r\nHost: a\r\n', lines(7, 8190), lines(1, 8000).slice(0, -1)],
    bound: 2 * L.maxHead + 8 * KIB, formula: '2 × maxHead + a parser' },
  { name: 'pipelined requests behind one that waits', pauses: true,
    sends: [head('/never', ''), head('/', '').repeat(8000)],
    bound: 2 * READ, formula: '2 reads' },
  { name: 'content that nobody reads', pauses: true,
    sends: [head('/never', 'Content-Length: 9999999\r\n', 'POST'), 'c'.repeat(1 << 20)],
    bound: L.readBuffer + READ, formula: 'readBuffer + 1 read' },
  { name: 'content that nobody reads, chunks of one byte', pauses: true,
    sends: [chunked('/never'), '1\r\nc\r\n'.repeat(200_000)],
    bound: L.readBuffer + READ, formula: 'readBuffer + 1 read' },
  { name: 'content that read() waits for', pauses: true,
    sends: [head('/echo', `Content-Length: ${L.maxBufferedBody}\r\n`, 'POST'), 'c'.repeat(L.maxBufferedBody - 1)], count: 500,
    bound: 2 * L.maxBufferedBody + L.readBuffer + READ, formula: '2 × maxBufferedBody + readBuffer + 1 read' },
  { name: 'the same in chunks that fill little of what is read', pauses: true,
    sends: [chunked('/echo'), sparse], count: 200,
    bound: 2 * L.maxBufferedBody + L.readBuffer + READ, formula: '2 × maxBufferedBody + readBuffer + 1 read' },
  { name: 'answer that nobody takes, text',
    sends: [head('/forever', '')],
    bound: 2 * L.writeHighWater + 4 * KIB, formula: '2 × writeHighWater + minimumChunkSize' },
  { name: 'answer that nobody takes, 16 KiB pieces',
    sends: [head('/endless', '')],
    bound: 2 * L.writeHighWater + 16 * KIB, formula: '2 × writeHighWater + a piece' },
  { name: 'pipelined requests, answers not taken', pauses: true,
    sends: [head('/', '').repeat(200_000)],
    bound: 2 * L.writeHighWater + 2 * READ, formula: '2 × writeHighWater + 2 reads' },
  { name: 'pipelined requests with the longest heads, not taken', pauses: true,
    sends: Array<string>(4000).fill(longest('/')), count: 200,
    bound: 2 * L.writeHighWater + 3 * READ, formula: '2 × writeHighWater + 3 reads' },
  { name: 'a million pieces of one byte, not taken',
    sends: [head('/tiny-pieces', '')],
    bound: 2 * L.writeHighWater + 4 * KIB, formula: '2 × writeHighWater + minimumChunkSize' },
  { name: 'chunk-exts',
    sends: [chunked('/never'), `1;${'e'.repeat(8000)}\r\nx\r\n1;${'e'.repeat(8000)}`],
    bound: 4 * KIB, formula: 'a gathering buffer' },
  { name: 'trailers, all but their end',
    sends: [chunked('/never'), `0\r\n${lines(99, 80)}X: x`],
    bound: 4 * L.maxTrailers + 4 * KIB, formula: '4 × maxTrailers' },
  { name: 'a million chunks, counted',
    sends: [chunked('/count'), '1\r\nc\r\n'.repeat(1_000_000)], count: 20, reads: true,
    bound: L.readBuffer + READ, formula: 'readBuffer + 1 read' },
  { name: 'hooks that never end', pauses: true,
    sends: [head('/endless-hook', '').repeat(40)], reads: true,
    bound: L.readBuffer + 16 * 8 * KIB + 2 * READ, formula: 'readBuffer + 16 cycles + 2 reads' },
  { name: 'hooks that never end, the longest heads', pauses: true,
    sends: Array<string>(20).fill(longest('/endless-hook')), count: 50, reads: true,
    bound: L.readBuffer + L.maxHead + 16 * 8 * KIB + 2 * READ, formula: 'readBuffer + maxHead + 16 cycles + 2 reads' },
  { name: 'lingering, sending on', sends: ['GET / HTTP/1.1\r\n\r\n', 'x'.repeat(1 << 19)], bound: 0, formula: '0' },
  { name: 'TLS, idle after a request', sends: [head('/', '')], reads: true, tls: true, count: 300, bound: 64 * KIB, formula: "OpenSSL's" },
  { name: 'TLS, answer that nobody takes',
    sends: [head('/forever', '')], tls: true, count: 300,
    bound: 2 * L.writeHighWater + 64 * KIB + 64 * KIB, formula: "2 × writeHighWater + a record's copies + OpenSSL's" }
]

// ── Peers, in a process of their own ───────────────────────────────────────────────────────────────────────────────────────────────

interface Orders extends Peer {
  port: number
  connections: number
}

async function peers({ port, connections, sends, reads = false, tls: secure = false }: Orders): Promise<void> {
  const known = new Map<string, Buffer>()
  const bytes = sends.map(text => known.get(text) ?? known.set(text, Buffer.from(text, 'latin1')).get(text)!)
  const open = async (): Promise<void> => {
    const socket = secure ? tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }) : net.connect(port, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, secure ? 'secureConnect' : 'connect')
    if (reads) socket.resume()
    else socket.pause()
    // What does not fit into the kernel's buffers waits here, all of it the same memory.
    for (const each of bytes) socket.write(each)
  }
  let left = connections
  const worker = async (): Promise<void> => {
    while (left-- > 0) await open()
  }
  await Promise.all(Array.from({ length: 20 }, worker))
  process.send!('open')
}

// ── The measurement ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Until nothing moves any more. */
async function settled(server: Child, least: number): Promise<Report> {
  let last = ''
  for (let i = 0, quiet = 0; i < 240; i++) {
    await delay(250)
    const report = await server.report()
    const { stats } = report
    const now = [stats.accepted, stats.bytesRead, stats.bytesWritten].join()
    quiet = now === last && stats.accepted >= least ? quiet + 1 : 0
    last = now
    if (quiet >= 4) return report
  }
  throw new Error('it goes on and on')
}

interface Measured {
  row: string
  transport: string
  connections: number
  heap: number
  buffers: number
  rss: number
  bound: number
  holds: boolean
}

async function measure(row: Row, transport: 'stream' | 'handle', connections: number): Promise<Measured> {
  // Deadlines would end what is being measured. (JSON has no Infinity.)
  const timeouts = { firstByte: NEVER, head: NEVER, body: NEVER, minBodyRate: 0, send: NEVER, minSendRate: 0, linger: NEVER, hook: NEVER }
  const server = await Child.start({ collecting: true, tls: row.tls === true, options: { transport, maxSize: 100_000, keepalive: NEVER, logOutput: false, timeouts } })
  let client: ChildProcess | null = null
  try {
    // Warm: code compiled, pools made.
    const first = await server.connect()
    if (row.tls !== true) {
      for (let i = 0; i < 200; i++) await first.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n').then(() => first.response())
    }
    first.destroy()
    await delay(300)
    await server.report()
    const before = (await server.report()).memory!
    const orders: Orders = { ...row, port: server.port, connections }
    client = fork(import.meta.filename, ['peers'])
    client.send(orders)
    await once(client, 'message')
    const report = await settled(server, connections)
    const after = report.memory!
    if (report.stats.connections < connections) throw new Error(`${row.name}: only ${report.stats.connections} of ${connections} connections are held: ${JSON.stringify(report.stats)}`)
    if (report.faults.length > 0) throw new Error(report.faults.join('\n'))
    const heap = (after.heapUsed - before.heapUsed) / connections
    const buffers = (after.external - before.external) / connections
    const rss = (after.rss - before.rss) / connections
    const bound = row.bound + OBJECTS[transport] + (row.pauses === true && transport === 'stream' ? READ : 0)
    // The RSS has what the allocator and the collector keep besides.
    const holds = heap + buffers <= bound && rss <= bound * 1.25 + (64 << 20) / connections
    return { row: row.name, transport, connections, heap, buffers, rss, bound, holds }
  } finally {
    client?.kill('SIGKILL')
    server.kill()
  }
}

function say(m: Measured, formula: string): void {
  const kib = (bytes: number): string => (bytes / KIB).toFixed(1).padStart(8)
  process.stdout.write(`| ${m.row.padEnd(54)} | ${m.transport.padEnd(6)} | ${String(m.connections).padStart(6)} |${kib(m.heap)} |${kib(m.buffers)} |${kib(m.rss)} |${kib(m.bound)} | ${formula} |${m.holds ? '' : ' EXCEEDED'}\n`)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      connections: { type: 'string', default: '1000' },
      transport: { type: 'string', default: 'both' },
      only: { type: 'string', default: '' },
      full: { type: 'boolean', default: false }
    }
  })
  const pattern = new RegExp(values.only)
  const transports = values.transport === 'both' ? (['stream', 'handle'] as const) : [values.transport as 'stream' | 'handle']
  process.stdout.write('| what a peer does | transport | connections | heap KiB | buffers KiB | RSS KiB | bound KiB | by |\n|---|---|---|---|---|---|---|---|\n')
  const worst = new Map<string, Measured>()
  for (const row of rows.filter(each => pattern.test(each.name))) {
    for (const transport of transports) {
      const measured = await measure(row, transport, row.count ?? Number(values.connections))
      say(measured, row.formula)
      if (!measured.holds) process.exitCode = 1
      // The engine's own worst: what an application asked for is the application's, and TLS is OpenSSL's.
      const before = worst.get(transport)
      if (row.tls !== true && row.count === undefined && (before === undefined || measured.rss > before.rss)) worst.set(transport, measured)
    }
  }
  if (!values.full) return
  for (const transport of transports) {
    const row = rows.find(each => each.name === worst.get(transport)!.row)!
    const measured = await measure(row, transport, 10_000)
    say(measured, row.formula)
    if (!measured.holds) process.exitCode = 1
  }
}

if (process.argv[2] === 'peers') {
  process.on('disconnect', () => process.exit())
  process.once('message', (orders: Orders) => void peers(orders))
} else await main()
