// Everything that meets a server, from a process of its own: good clients whose answers are checked octet by octet, slow, hostile and vanishing ones.
//   node soak/traffic.js '{"port":8090,"tlsPort":8443,"seed":1,"workers":40}'
import { Buffer } from 'node:buffer'
import * as net from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { RawClient, type Response } from '../test/support/raw-client.ts'
import { connectTls, connectTo } from '../test/support/sockets.ts'
import { random } from '../test/support/splits.ts'
import { within } from '../test/support/within.ts'

export interface TrafficOptions {
  port: number
  tlsPort: number
  seed: number
  workers: number
  /** Milliseconds between two peers of one worker, at most. */
  pause: number
}

/** By scenario: how often it ran, and what went wrong. */
export interface TrafficReport {
  done: Record<string, number>
  /** Good requests answered as they must be. */
  answered: number
  /** Connections that a full server closed, or refused, before it had read the request. */
  turnedAway: number
  faults: string[]
  /** Milliseconds for which this process was held up at most: beyond a second or two its own deadlines say nothing. */
  heldUp: number
}

const options = JSON.parse(process.argv[2]!) as TrafficOptions
const next = random(options.seed)
const report: TrafficReport = { done: {}, answered: 0, turnedAway: 0, faults: [], heldUp: 0 }
let stopping = false
const lag = monitorEventLoopDelay({ resolution: 20 })
lag.enable()

function below(n: number): number {
  return Math.floor(next() * n)
}

function pick<T>(list: readonly T[]): T {
  return list[below(list.length)]!
}

/** The server was full: no fault of anybody. */
class TurnedAway extends Error {}

async function open(secure = false): Promise<RawClient> {
  try {
    if (!secure) return new RawClient(await connectTo(options.port))
    const raw = await connectTo(options.tlsPort)
    return new RawClient(await connectTls(options.tlsPort, { socket: raw }), raw)
  } catch (error) {
    throw new TurnedAway(String(error))
  }
}

function request(method: string, target: string, fields = '', content: string | Buffer = ''): Buffer {
  return Buffer.concat([Buffer.from(`${method} ${target} HTTP/1.1\r\nHost: soak\r\n${fields}\r\n`, 'latin1'), Buffer.from(content)])
}

function withLength(target: string, content: string | Buffer, fields = ''): Buffer {
  return request('POST', target, `Content-Length: ${content.length}\r\n${fields}`, content)
}

function chunked(target: string, content: Buffer, size: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < content.length; at += size) {
    const part = content.subarray(at, at + size)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'))
  }
  parts.push(Buffer.from('0\r\n\r\n'))
  return request('POST', target, 'Transfer-Encoding: chunked\r\n', Buffer.concat(parts))
}

const STREAMED = Array.from({ length: 32 }, (_, i) => `piece ${i}\n`).join('')
const BIG = Buffer.alloc(16 * 16384, 'x')

/** A request and what its answer must be. */
function goodRequest(): { bytes: Buffer; status: number; body: Buffer } {
  const content = Buffer.alloc(below(3000), 97 + below(26))
  const ok = (bytes: Buffer, body: string | Buffer): { bytes: Buffer; status: number; body: Buffer } => ({ bytes, status: 200, body: Buffer.from(body) })
  switch (below(10)) {
    case 0:
      return ok(request('GET', '/stream'), STREAMED)
    case 1:
      return ok(request('GET', '/late'), 'late')
    case 2:
      return ok(withLength('/echo', content), content)
    case 3:
      return ok(chunked('/echo', content, 1 + below(700)), content)
    case 4:
      return ok(request('GET', '/big'), BIG)
    case 5:
      return ok(request('GET', '/hook'), 'hooked')
    case 6:
      return ok(withLength('/unread', content), 'unread')
    case 7:
      return ok(request('GET', '/write'), 'written '.repeat(20))
    case 8:
      return { bytes: request('GET', '/nowhere'), status: 404, body: Buffer.from('no such path') }
    default:
      return ok(request('GET', '/'), 'Hello, World!\r\n')
  }
}

/** The answer, or TurnedAway if the connection closed before its first octet. */
async function answer(client: RawClient, before: number): Promise<Response> {
  try {
    return await client.response()
  } catch (error) {
    if (client.received === before) throw new TurnedAway(String(error))
    throw error
  }
}

function check(response: Response, wanted: { status: number; body: Buffer }): void {
  if (response.status !== wanted.status) throw new Error(`status ${response.status} instead of ${wanted.status}`)
  if (!response.body.equals(wanted.body)) throw new Error(`another body: ${response.body.length} instead of ${wanted.body.length} octets`)
  report.answered++
}

async function good(client: RawClient): Promise<void> {
  for (let i = 1 + below(12); i > 0 && !stopping; i--) {
    const wanted = goodRequest()
    const before = client.received
    client.send(wanted.bytes).catch(() => {})
    const response = await answer(client, before)
    check(response, wanted)
    if (response.has('connection')) return
    if (below(3) === 0) await delay(below(100))
  }
}

async function pipelined(client: RawClient): Promise<void> {
  const burst = Array.from({ length: 2 + below(30) }, goodRequest)
  client.send(Buffer.concat(burst.map(each => each.bytes))).catch(() => {})
  let last: Response | null = null
  for (const wanted of burst) {
    const before = client.received
    // A full server may end the connection at an answer that says so; what follows it was not read.
    if (last !== null && last.has('connection')) throw new TurnedAway('Connection: close in a burst')
    last = await answer(client, before)
    check(last, wanted)
  }
}

/** An octet now and then until the server has had enough. */
async function drip(client: RawClient, bytes: Buffer, status: number): Promise<void> {
  let over = false
  void client.closed.then(() => (over = true))
  for (const octet of bytes) {
    if (over || client.received > 0) break
    client.stream.write(Buffer.from([octet]))
    await delay(100 + below(200))
  }
  await ends(client)
  if (client.received > 0) {
    const response = await client.response()
    if (response.status !== status) throw new Error(`status ${response.status} instead of ${status}`)
  }
}

/** The server ends it, within its deadlines. */
function ends(client: RawClient): Promise<unknown> {
  return within(14_000, client.closed, 'the server to end the connection')
}

const HOSTILE: string[] = [
  'GET / HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n',
  'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
  'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /' + 'a'.repeat(9000) + ' HTTP/1.1\r\nHost: a\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\n' + 'A: b\r\n'.repeat(101) + '\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nA: ' + 'b'.repeat(9000), '\r\n'.repeat(50), '\0\0\0\0', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'G\rET / HTTP/1.1\n\n',
  'POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n' + '1;' + 'e'.repeat(5000) + '\r\nx\r\n'.repeat(8),
  'POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n' + 'T: ' + 't'.repeat(9000),
  'POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n'
]

const scenarios: Record<string, [weight: number, run: (client: () => Promise<RawClient>, secure: () => Promise<RawClient>) => Promise<unknown>]> = {
  good: [40, async client => await good(await client())],
  pipelined: [8, async client => await pipelined(await client())],
  tls: [10, async (_, secure) => await good(await secure())],
  tlsPipelined: [3, async (_, secure) => await pipelined(await secure())],
  upload: [5, async (client, secure) => {
    const peer = await (below(2) === 0 ? client() : secure())
    const size = below(4 << 20)
    await peer.send(request('POST', '/count', `Content-Length: ${size}\r\nExpect: 100-continue\r\n`)).catch(() => {})
    const before = peer.received
    await peer.interim().catch((error: unknown) => {
      throw peer.received === before ? new TurnedAway(String(error)) : error
    })
    await within(10_000, new Promise(resolve => peer.stream.write(Buffer.alloc(size, 'u'), resolve)), 'the upload')
    check(await peer.response(), { status: 200, body: Buffer.from(String(size)) })
  }],
  tinyChunks: [2, async client => {
    const peer = await client()
    const before = peer.received
    peer.send(chunked('/count', Buffer.alloc(20_000, 'c'), 1)).catch(() => {})
    check(await answer(peer, before), { status: 200, body: Buffer.from('20000') })
  }],
  lines: [2, async client => {
    const peer = await client()
    const before = peer.received
    peer.send(withLength('/lines', 'a line\n'.repeat(500))).catch(() => {})
    check(await answer(peer, before), { status: 200, body: Buffer.from('500') })
  }],
  slowHead: [3, async client => await drip(await client(), request('GET', '/', `A: ${'a'.repeat(300)}\r\n`), 408)],
  slowContent: [3, async client => {
    const peer = await client()
    peer.send(request('POST', '/echo', 'Content-Length: 5000\r\n')).catch(() => {})
    await drip(peer, Buffer.alloc(200, 'd'), 408)
  }],
  slowReader: [3, async (client, secure) => {
    const peer = await (below(3) > 0 ? client() : secure())
    peer.pause()
    await peer.send(request('GET', '/endless')).catch(() => {})
    await delay(9000)
    peer.resume()
    // Cut by now, unless this machine was too busy for deadlines: then it is a reader like any other.
    await Promise.race([peer.closed, delay(500)])
    peer.resetNow()
  }],
  silent: [2, async client => await ends(await client())],
  idle: [3, async client => {
    const peer = await client()
    await good(peer)
    await ends(peer)
  }],
  hostile: [10, async client => {
    const peer = await client()
    peer.send(pick(HOSTILE)).catch(() => {})
    await ends(peer)
  }],
  noise: [4, async (client, secure) => {
    const peer = await (below(2) === 0 ? client() : secure())
    peer.send(Buffer.from(Array.from({ length: 1 + below(3000) }, () => below(256)))).catch(() => {})
    await ends(peer)
  }],
  vanishing: [10, async (client, secure) => {
    const peer = await (below(2) === 0 ? client() : secure())
    const bytes = pick([goodRequest().bytes, request('GET', '/endless'), withLength('/echo', Buffer.alloc(50_000)), request('GET', '/never'), request('GET', '/sse')])
    peer.send(bytes.subarray(0, 1 + below(bytes.length))).catch(() => {})
    await delay(below(30))
    if (below(2) === 0) peer.resetNow()
    else peer.destroy()
  }],
  halfClosed: [3, async client => {
    const peer = await client()
    const wanted = goodRequest()
    const before = peer.received
    peer.send(wanted.bytes).catch(() => {})
    await peer.end()
    check(await answer(peer, before), wanted)
    await ends(peer)
  }],
  failing: [5, async client => {
    const peer = await client()
    peer.send(request('GET', pick(['/throw', '/reject', '/broken', '/short', '/never', '/endless-hook']))).catch(() => {})
    await peer.response().catch(() => {})
    peer.end().catch(() => {})
    await ends(peer)
  }],
  events: [3, async (client, secure) => {
    const peer = await (below(2) === 0 ? client() : secure())
    peer.send(request('GET', '/sse')).catch(() => {})
    await delay(500 + below(1500))
    peer.resetNow()
  }],
  upgrade: [4, async (client, secure) => {
    const peer = await (below(2) === 0 ? client() : secure())
    const before = peer.received
    // The first words come right behind the request.
    peer.send(Buffer.concat([request('GET', '/upgrade', 'Connection: upgrade\r\nUpgrade: echo\r\n'), Buffer.from('hello')])).catch(() => {})
    const first = await peer.interim().catch((error: unknown) => {
      throw peer.received === before ? new TurnedAway(String(error)) : error
    })
    if (first.status !== 101) throw new Error(`status ${first.status} instead of 101`)
    if ((await peer.bytes(5)).toString() !== 'hello') throw new Error('another echo')
    const words = Buffer.alloc(1 + below(50_000), 'w')
    peer.send(words).catch(() => {})
    if (!(await peer.bytes(words.length)).equals(words)) throw new Error('another echo')
    if (below(3) === 0) peer.resetNow()
    else await peer.end()
    await ends(peer)
  }],
  handshake: [3, async () => {
    const socket = net.connect(options.tlsPort, '127.0.0.1')
    socket.on('error', () => {})
    if (below(2) === 0) socket.write(Buffer.from('16030100', 'hex'))
    else if (below(2) === 0) socket.write('GET / HTTP/1.1\r\n\r\n')
    socket.resume()
    await within(14_000, new Promise(resolve => socket.once('close', resolve)), 'the handshake to be given up')
  }],
  crowd: [0.3, async () => {
    const sockets = Array.from({ length: 150 }, () => net.connect(options.port, '127.0.0.1').on('error', () => {}))
    for (const socket of sockets) if (below(2) === 0) socket.write('GET / HTTP/1.1\r\nHost: crowd\r\n\r\n')
    await delay(500 + below(1000))
    for (const socket of sockets) socket.destroy()
  }]
}

const names = Object.keys(scenarios)
const total = names.reduce((sum, name) => sum + scenarios[name]![0], 0)

function choose(): string {
  let at = next() * total
  for (const name of names) {
    at -= scenarios[name]![0]
    if (at < 0) return name
  }
  return names[0]!
}

async function worker(): Promise<void> {
  while (!stopping) {
    const name = choose()
    const opened: RawClient[] = []
    const client = async (secure: boolean): Promise<RawClient> => {
      const peer = await open(secure)
      opened.push(peer)
      return peer
    }
    try {
      await scenarios[name]![1](() => client(false), () => client(true))
      report.done[name] = (report.done[name] ?? 0) + 1
    } catch (error) {
      if (error instanceof TurnedAway) report.turnedAway++
      else if (report.faults.length < 50) report.faults.push(`${new Date().toISOString()} ${name}: ${error instanceof Error ? error.stack : String(error)}`.slice(0, 2000))
    }
    for (const peer of opened) peer.destroy()
    await delay(below(options.pause))
  }
}

const workers = Promise.all(Array.from({ length: options.workers }, worker))
process.on('message', () => (stopping = true))
process.on('disconnect', () => process.exit())
await workers
report.heldUp = Math.round(lag.max / 1e6)
process.send?.(report)
process.disconnect()
