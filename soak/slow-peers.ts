// What slow peers cost the good ones: CPU per good request beside a thousand of each kind against that of the quiet server, the worst latency of a
// good request, and the time after which each slow peer was ended. Real time and the default deadlines: a run takes two minutes and a half.
//   node build/soak/slow-peers.js [--each 1000] [--transport stream|handle|both] [--kinds heads,silent] [--seconds 85]
// The readers that take a byte a second fill the kernel's buffers, megabytes each: `unshare -n` and a small net.ipv4.tcp_wmem and tcp_rmem keep that down.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import * as net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Child } from '../test/survival/support.ts'

type Kind = 'heads' | 'contents' | 'readers' | 'silent' | 'idle' | 'handshakes'

/** Seconds, of design §5; a content of one byte a second falls to the average rate first, a reader to the rate or, after the
 *  last octet that the kernel took, to the 60 s without progress. */
const DEADLINES: Record<Kind, readonly [from: number, to: number]> = {
  heads: [30, 30], contents: [20, 20], readers: [20, 70], silent: [10, 10], idle: [75, 75], handshakes: [10, 10]
}
/** Enforced within a second; besides, this process sees an end late while it has a thousand others to look after. */
const LATE = 3
const KINDS = Object.keys(DEADLINES) as Kind[]
const QUIET_SECONDS = 15
const SLOW_SECONDS = 85
const GOOD_CONNECTIONS = 32
/** Of each kind, before the quiet server is measured. */
const FEW = 20
/** Criteria of the issue. */
const MOST_CPU = 1.5
const MOST_LATENCY = 250

interface Role {
  role: 'good' | 'slow'
  port: number
  tlsPort: number
  each: number
  kinds: Kind[]
}

interface Good {
  requests: number
  /** Milliseconds. */
  p99: number
  worst: number
}

/** By kind: how many ended, after how many seconds, with which status, or the error's code where there was none. */
type Slow = Record<Kind, { ended: number; earliest: number; latest: number; statuses: Record<string, number> }>

// ── Good clients ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Milliseconds. */
const BUCKET = 0.05
const BUCKETS = 40_000
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

function goodClients({ port }: Role): void {
  // A histogram: sorting a million figures would itself be the longest wait of all.
  let counts = new Uint32Array(BUCKETS)
  let worst = 0
  for (let i = 0; i < GOOD_CONNECTIONS; i++) {
    const socket = net.connect(port, '127.0.0.1').setNoDelay(true)
    let sent = performance.now()
    const ask = (): void => {
      sent = performance.now()
      socket.write(REQUEST)
    }
    socket.on('connect', ask)
    socket.on('data', (chunk: Buffer) => {
      if (!chunk.subarray(0, 15).equals(Buffer.from('HTTP/1.1 200 OK')) || !chunk.subarray(-5).equals(Buffer.from('ld!\r\n'))) throw new Error(`a wrong answer: ${chunk}`)
      const latency = performance.now() - sent
      worst = Math.max(worst, latency)
      counts[Math.min(BUCKETS - 1, Math.floor(latency / BUCKET))]!++
      ask()
    })
    socket.on('close', () => {
      throw new Error('a good connection ended')
    })
  }
  // Each order begins a new count and answers with the one before.
  process.on('message', () => {
    const requests = counts.reduce((sum, count) => sum + count, 0)
    let bucket = 0
    for (let seen = 0; bucket < BUCKETS && seen < requests * 0.99; bucket++) seen += counts[bucket]!
    process.send!({ requests, p99: bucket * BUCKET, worst } satisfies Good)
    counts = new Uint32Array(BUCKETS)
    worst = 0
  })
}

// ── Slow peers ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function slowPeers({ port, tlsPort, each, kinds }: Role): void {
  const result = Object.fromEntries(KINDS.map(kind => [kind, { ended: 0, earliest: Infinity, latest: 0, statuses: {} }])) as Slow
  const dripping = new Set<net.Socket>()
  const reading = new Set<net.Socket>()
  const open = (kind: Kind): void => {
    let text = ''
    const one = Buffer.alloc(1)
    const onread: net.OnReadOpts = { buffer: one, callback: () => false }
    const socket = net.connect({ port: kind === 'handshakes' ? tlsPort : port, host: '127.0.0.1', ...(kind === 'readers' ? { onread } : {}) })
    let since = performance.now()
    let answered = kind !== 'idle'
    let failure = '0'
    socket.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? String(error)))
    socket.on('connect', () => {
      since = performance.now()
      if (kind === 'heads') socket.write('GET / HTTP/1.1\r\nHost: a\r\nX: ')
      if (kind === 'contents') socket.write('POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n')
      if (kind === 'readers') socket.write('GET /endless HTTP/1.1\r\nHost: a\r\n\r\n')
      if (kind === 'idle') socket.write(REQUEST)
      if (kind === 'handshakes') socket.write(Buffer.from('1603010200010001fc0303', 'hex'))
      if (kind === 'heads' || kind === 'contents') dripping.add(socket)
      if (kind === 'readers') reading.add(socket)
    })
    if (kind !== 'readers') {
      socket.on('data', (chunk: Buffer) => {
        if (answered) text += chunk.toString('latin1')
        // Its own deadline begins with the end of the answer.
        answered = true
        since = kind === 'idle' && text === '' ? performance.now() : since
      })
    }
    socket.on('close', () => {
      dripping.delete(socket)
      reading.delete(socket)
      const seconds = (performance.now() - since) / 1000
      const of = result[kind]
      const status = text.slice(9, 12) || failure
      of.ended++
      of.earliest = Math.min(of.earliest, seconds)
      of.latest = Math.max(of.latest, seconds)
      of.statuses[status] = (of.statuses[status] ?? 0) + 1
      open(kind)
    })
  }
  // Spread over five seconds: what the listener's backlog has no room for would be tried again by the kernel, seconds later.
  for (let i = 0; i < each; i++) for (const kind of kinds) setTimeout(open, (i * 5000) / each, kind)
  let turn = 0
  setInterval(() => {
    turn++
    let i = 0
    for (const socket of dripping) if (i++ % 10 === turn % 10) socket.write('x')
    for (const socket of reading) {
      if (i++ % 10 !== turn % 10) continue
      socket.resume()
      // A reset waits behind what is unread; a write tells of it. To the server it is the beginning of a next request, unread while this one is answered.
      socket.write('G')
    }
  }, 100)
  process.on('message', () => process.send!(result))
}

// ── The measurement ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function start(role: Role): ChildProcess {
  return fork(import.meta.filename, [JSON.stringify(role)])
}

async function ask<T>(child: ChildProcess): Promise<T> {
  const heard = once(child, 'message')
  child.send('report')
  return ((await heard) as [T])[0]
}

interface Window extends Good {
  /** Microseconds of the server's CPU per good request. */
  cpu: number
}

async function window(server: Child, good: ChildProcess, seconds: number): Promise<Window> {
  await ask<Good>(good)
  const before = (await server.report()).cpu
  await delay(seconds * 1000)
  const after = (await server.report()).cpu
  const seen = await ask<Good>(good)
  return { ...seen, cpu: ((after - before) * 1000) / seen.requests }
}

async function measure(transport: 'stream' | 'handle', each: number, kinds: Kind[], seconds: number): Promise<boolean> {
  const server = await Child.start({ alsoTls: true, options: { transport, maxSize: 50_000, logOutput: false } })
  const role = { port: server.port, tlsPort: server.tlsPort, each, kinds }
  const children: ChildProcess[] = []
  const say = (text: string): boolean => process.stdout.write(`${text}\n`)
  try {
    const good = start({ ...role, role: 'good' })
    children.push(good)
    // What the first connection of a kind costs all later ones (a TLSSocket makes net.Socket's code polymorphic: 1.2 x on streams) is no slow peer's doing.
    const few = start({ ...role, role: 'slow', each: FEW })
    await delay(3000)
    few.kill('SIGKILL')
    await delay(3000)
    const quiet = await window(server, good, QUIET_SECONDS)
    const slow = start({ ...role, role: 'slow' })
    children.push(slow)
    await delay(7000)
    const held = (await server.report()).stats.connections
    const beside = await window(server, good, seconds)
    const ends = await ask<Slow>(slow)
    const { stats, faults } = await server.report()
    const line = (name: string, w: Window): unknown =>
      say(`  ${name.padEnd(8)} ${w.requests} good requests, ${w.cpu.toFixed(2)} µs of CPU each, p99 ${w.p99.toFixed(1)} ms, worst ${w.worst.toFixed(1)} ms`)
    say(`${transport}: ${each} of each of ${kinds.join(', ')}; ${held} connections held`)
    line('quiet', quiet)
    line('beside', beside)
    const ratio = beside.cpu / quiet.cpu
    const own = (beside.requests * (beside.cpu - quiet.cpu)) / 1000 / seconds
    say(`  the slow peers' own cost: ${own.toFixed(1)} ms of CPU a second`)
    say(`  CPU per good request: ${ratio.toFixed(2)} × the quiet server's (at most ${MOST_CPU})`)
    let late = false
    for (const kind of kinds) {
      // Too short a run for this one.
      const [from, to] = DEADLINES[kind]
      if (to > seconds) continue
      const { ended, earliest, latest, statuses } = ends[kind]
      // Our own clock starts a little before or after the server's.
      const right = ended >= each * 0.99 && earliest > from - 1 && latest < to + LATE
      late ||= !right
      say(`  ${kind.padEnd(10)} due ${from === to ? to : `${from} to ${to}`} s: ${ended} ended after ${earliest.toFixed(1)} to ${latest.toFixed(1)} s, statuses ${JSON.stringify(statuses)}${right ? '' : '  WRONG'}`)
    }
    say(`  deadlines ${JSON.stringify(stats.deadlines)}`)
    for (const fault of faults) say(`  WRONG ${fault}`)
    return ratio <= MOST_CPU && beside.worst <= MOST_LATENCY && !late && faults.length === 0
  } finally {
    for (const child of children) child.kill('SIGKILL')
    server.kill()
  }
}

const given = process.argv[2]
if (given?.startsWith('{') === true) {
  const role = JSON.parse(given) as Role
  process.on('disconnect', () => process.exit())
  if (role.role === 'good') goodClients(role)
  else slowPeers(role)
} else {
  const { values } = parseArgs({
    options: {
      each: { type: 'string', default: '1000' },
      transport: { type: 'string', default: 'both' },
      kinds: { type: 'string', default: KINDS.join() },
      seconds: { type: 'string', default: String(SLOW_SECONDS) }
    }
  })
  const kinds = values.kinds.split(',') as Kind[]
  const transports = values.transport === 'both' ? (['stream', 'handle'] as const) : [values.transport as 'stream' | 'handle']
  for (const transport of transports) if (!(await measure(transport, Number(values.each), kinds, Number(values.seconds)))) process.exitCode = 1
}
