// The server of a soak, in a process of its own: plain and TLS, deadlines short enough for every one of them to strike many times, a sample a second.
//   node --expose-gc soak/server.js '{"transport":"handle"}'
import { readdirSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import { lentBuffers } from '../src/io/buffer-pool.ts'
import { listen, wrapTls } from '../src/io/listener.ts'
import { setInternalErrorHook } from '../src/io/transport.ts'
import type { ServeOptions } from '../src/server/options.ts'
import { serve, type Server, type ServerStats } from '../src/server/serve.ts'
import { certificate } from '../test/support/sockets.ts'
import { application, WANTED } from './applications.ts'

/** What is sampled. Bytes but for the last three. */
export interface Sample {
  /** Seconds since the start. */
  time: number
  /** After a full collection. */
  heap: number
  rss: number
  /** Buffers and the like, outside the heap. */
  external: number
  handles: number
  fds: number
  connections: number
}

export type ServerMessage =
  | { kind: 'ready'; port: number; tlsPort: number }
  | { kind: 'sample'; sample: Sample }
  | { kind: 'over'; first: Sample; last: Sample; stats: ServerStats[]; lent: number; outstanding: number; resources: string[]; faults: string[] }

const { transport } = JSON.parse(process.argv[2]!) as { transport: 'stream' | 'handle' }
const collect = (globalThis as { gc?: () => void }).gc ?? (() => {})
const started = performance.now()
const faults: string[] = []

// Node makes these lazily, and they count as handles.
void process.stdout
void process.stderr

function fault(text: string): void {
  if (faults.length < 50) faults.push(text.slice(0, 2000))
}

process.on('uncaughtException', error => fault(`uncaught: ${error.stack}`))
process.on('unhandledRejection', error => fault(`unhandled: ${error instanceof Error ? error.stack : String(error)}`))
setInternalErrorHook(error => fault(`internal: ${error instanceof Error ? error.stack : String(error)}`))

// What these applications are meant to do wrong.
const EXPECTED = new RegExp(`${WANTED}|took longer than|shorter than its Content-Length|is shorter|the peer is gone|RequestAborted`)

const options: ServeOptions = {
  transport,
  maxSize: 160,
  keepalive: 3000,
  log: {
    info: () => {},
    debug: () => {},
    access: () => {},
    error: (line: string) => {
      if (!EXPECTED.test(line)) fault(`log: ${line}`)
    }
  },
  limits: { maxParked: 64, maxBodySize: 8 << 20 },
  timeouts: { firstByte: 2000, handshake: 2000, head: 3000, body: 2000, rateGrace: 2000, send: 3000, handler: 3500, linger: 1000, hook: 1000, idleGrace: 500, shutdown: 5000 }
}

const servers: Server[] = []
let outstanding = 0

function sample(): Sample {
  collect()
  const { heapUsed, rss, external } = process.memoryUsage()
  return {
    time: (performance.now() - started) / 1000,
    heap: heapUsed,
    rss,
    external,
    handles: process.getActiveResourcesInfo().length,
    fds: readdirSync('/proc/self/fd').length,
    connections: servers.reduce((sum, server) => sum + server.connections, 0)
  }
}

function tell(message: ServerMessage): void {
  process.send?.(message)
}

/** After the traffic: whatever is still open must come to its end by itself. */
async function finish(first: Sample): Promise<void> {
  clearInterval(sampling)
  const patience = performance.now() + 20_000
  const busy = (): boolean => servers.some(server => server.connections > 0 || server.outstandingRequests > 0 || server.stats().handshakes > 0)
  while (busy() && performance.now() < patience) await delay(100)
  await delay(1500)
  for (let i = 0; i < 5; i++) {
    await nextTurn()
    collect()
  }
  const last = sample()
  outstanding = servers.reduce((sum, server) => sum + server.outstandingRequests, 0)
  const stats = servers.map(server => server.stats())
  await Promise.all(servers.map(server => server.close()))
  tell({ kind: 'over', first, last, stats, lent: lentBuffers(), outstanding, resources: process.getActiveResourcesInfo(), faults })
  process.disconnect()
}

servers.push(serve(await listen(0), application, options))
servers.push(serve(wrapTls(await listen(0), certificate()), application, options))
const first = sample()
const sampling = setInterval(() => tell({ kind: 'sample', sample: sample() }), 1000)
process.on('message', () => void finish(first))
process.on('disconnect', () => setTimeout(() => process.exit(), 1000).unref())
tell({ kind: 'ready', port: servers[0]!.address.port, tlsPort: servers[1]!.address.port })
