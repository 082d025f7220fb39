// One drain under load: 40 clients that keep their connections busy, some bystanders who never end, a close() at a seeded moment, and an account of
// every request that was sent before its client was told `Connection: close`.
import * as net from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import type { RawClient } from '../test/support/raw-client.ts'
import { random } from '../test/support/splits.ts'
import { Child } from '../test/survival/support.ts'

export interface RoundOptions {
  transport: 'stream' | 'handle'
  seed: number
  clients?: number
  /** Peers whose connections only the deadline ends: event streams, upgraded ones, dripped heads. */
  bystanders?: boolean
  /** The listener makes TLS handshakes, and one is never finished. Then there are no other clients. */
  tls?: boolean
}

export interface Round {
  /** Requests sent by clients that had not been told to close. */
  sent: number
  answered: number
  /** What became of the others. */
  lost: string[]
  /** Clients that were told `Connection: close`. */
  told: number
  clients: number
  /** From close() to the end of the drain, milliseconds. */
  took: number
  /** Of the process. */
  code: number | null
  faults: string[]
  /** Milliseconds for which this process was held up at most: then its clients' pauses were that much longer than they meant. */
  heldUp: number
}

export const IDLE_GRACE = 600
export const SHUTDOWN = 1200
const LONGEST_PAUSE = 250
/** Beyond it a pause may have been longer than the grace, and a round that lost requests proves nothing. */
export const HELD_UP: number = IDLE_GRACE - LONGEST_PAUSE - 150

function requestOf(next: () => number): string {
  switch (Math.floor(next() * 6)) {
    case 0:
      return 'GET /late HTTP/1.1\r\nHost: a\r\n\r\n'
    case 1:
      return 'GET /stream HTTP/1.1\r\nHost: a\r\n\r\n'
    case 2:
      return 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello'
    case 3:
      return 'POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
    default:
      return 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  }
}

/** One client until it is told to close. */
async function visit(client: RawClient, pipelining: boolean, next: () => number, round: Round): Promise<void> {
  let open = 0
  try {
    for (let last = false; !last; ) {
      const burst = Array.from({ length: pipelining ? 2 + Math.floor(next() * 7) : 1 }, () => requestOf(next))
      round.sent += open = burst.length
      await client.send(burst.join(''))
      while (open > 0) {
        const response = await client.response()
        if (response.status !== 200) throw new Error(`status ${response.status}`)
        open--
        round.answered++
        if (!response.has('connection')) continue
        last = true
        if (open > 0) throw new Error('told to close in the middle of a burst')
      }
      if (!last) await delay(next() * LONGEST_PAUSE)
    }
    round.told++
    await client.ended
  } catch (error) {
    round.lost.push(`${open} of ${pipelining ? 'a burst' : 'one'}: ${String(error).slice(0, 300)}`)
  }
  client.destroy()
}

async function bystand(child: Child): Promise<RawClient[]> {
  const wanted = [
    'GET /sse HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n',
    'GET / HTTP/1.1\r\nHos',
    'POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc',
    // No byte at all: closed at once.
    ''
  ]
  return await Promise.all([...wanted, ...wanted].map(async bytes => {
    const client = await child.connect()
    if (bytes !== '') await client.send(bytes)
    return client
  }))
}

export async function drainRound({ transport, seed, clients = 40, bystanders = false, tls = false }: RoundOptions): Promise<Round> {
  const next = random(seed)
  const round: Round = { sent: 0, answered: 0, lost: [], told: 0, clients: tls ? 0 : clients, took: 0, code: null, faults: [], heldUp: 0 }
  const lag = monitorEventLoopDelay({ resolution: 10 })
  const child = await Child.start({ tls, options: { transport, timeouts: { idleGrace: IDLE_GRACE, shutdown: SHUTDOWN } } })
  let unfinished: net.Socket | null = null
  lag.enable()
  try {
    if (bystanders) await bystand(child)
    if (tls) {
      unfinished = net.connect(child.port, '127.0.0.1').on('error', () => {})
      await child.until(({ stats }) => stats.handshakes > 0, 'a handshake under way')
    }
    const visits = Array.from({ length: round.clients }, async (_, i) => {
      const client = await child.connect()
      // A generator of its own: the order in which answers come does not change what this client asks.
      return await visit(client, i % 2 === 1, random(seed * 1000 + i), round)
    })
    await child.until(({ stats }) => stats.accepted >= round.clients, 'every client accepted')
    await delay(next() * 500)
    const start = performance.now()
    const closing = child.close()
    const [{ report, code }] = await Promise.all([closing.then(end => (round.took = performance.now() - start, end)), ...visits])
    round.code = code
    round.faults = report.faults
    if (report.lent !== 0) round.faults.push(`${report.lent} buffers lent`)
    if (report.stats.connections !== 0 || report.stats.outstandingRequests !== 0) round.faults.push(`left behind: ${JSON.stringify(report.stats)}`)
  } finally {
    lag.disable()
    round.heldUp = Math.round(lag.max / 1e6)
    unfinished?.destroy()
    child.kill()
  }
  return round
}
