// Servers for wire tests: the same tests for every transport, nothing left open after any of them, whatever happened in it.
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { suite } from 'uvu'
import { lentBuffers } from '../../src/io/buffer-pool.ts'
import type { PeerErrorEvent } from '../../src/io/engine.ts'
import { listen, wrapTls } from '../../src/io/listener.ts'
import { setInternalErrorHook } from '../../src/io/transport.ts'
import type { Application } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { serve, type Server } from '../../src/server/serve.ts'
import { FakeClock } from './fake-clock.ts'
import { RawClient, WAIT, type Response } from './raw-client.ts'
import { certificate, connectTls, connectTo, socketPath } from './sockets.ts'
import { within } from './within.ts'

/** What the tests of a suite run over. */
export interface Kind {
  name: string
  transport: 'stream' | 'handle'
  over: 'tcp' | 'unix' | 'tls' | 'memory'
}

const TCP: Kind[] = [
  { name: 'stream', transport: 'stream', over: 'tcp' },
  { name: 'handle', transport: 'handle', over: 'tcp' }
]
const UNIX: Kind[] = [
  { name: 'stream, unix socket', transport: 'stream', over: 'unix' },
  { name: 'handle, unix socket', transport: 'handle', over: 'unix' }
]
const TLS: Kind[] = [
  { name: 'stream, TLS', transport: 'stream', over: 'tls' },
  { name: 'handle, TLS', transport: 'handle', over: 'tls' }
]
const MEMORY: Kind[] = [{ name: 'stream, in memory', transport: 'stream', over: 'memory' }]

/** More than the two transports over TCP. */
export interface Also {
  unix?: boolean
  tls?: boolean
  memory?: boolean
}

/** A server under test and what it said. */
export interface Running {
  server: Server
  /** Of TCP. */
  port: number
  /** Of a unix socket, else ''. */
  path: string
  /** Everything logged, in order. */
  log: string[]
  /** Of it, what is an error. */
  errors: string[]
  /** Of it, the access lines. Default format: status and content bytes, then the reason of what was refused. */
  access: string[]
  peerErrors: PeerErrorEvent[]
  clock: FakeClock | null
}

export interface Asked extends Running {
  client: RawClient
  answer: Response
}

/** Status, content bytes, and what else makes a difference: short enough to be compared whole. */
const LOG_FORMAT = '%(request_line)s %(status_code)d %(body_length)d %(reason)s'

export class Harness {
  readonly kind: Kind
  private readonly servers: Running[] = []
  private readonly clients: RawClient[] = []
  private readonly faults: unknown[] = []

  constructor(kind: Kind) {
    this.kind = kind
  }

  /** A reset can be told from an end: not on unix sockets, which have none. Node reports it as an end through TLS. */
  get hasReset(): boolean {
    return this.kind.over === 'tcp' || this.kind.over === 'memory'
  }

  /** A running server; closed after the test. `logFormat` is `LOG_FORMAT` unless given. */
  async serve(application: Application, options: ServeOptions = {}): Promise<Running> {
    const { transport, over } = this.kind
    const path = over === 'unix' ? socketPath() : ''
    const plain = await listen(over === 'unix' ? { path } : { port: 0 })
    const listener = over === 'tls' ? wrapTls(plain, certificate()) : plain
    const log: string[] = []
    const errors: string[] = []
    const access: string[] = []
    const peerErrors: PeerErrorEvent[] = []
    const logger = {
      info: (line: string): unknown => log.push(line),
      debug: (line: string): unknown => log.push(line),
      error: (line: string): unknown => log.push(line) && errors.push(line),
      access: (line: string): unknown => log.push(line) && access.push(line)
    }
    const onPeerError = (event: PeerErrorEvent): unknown => {
      peerErrors.push(event)
      return options.onPeerError?.(event)
    }
    // Given as undefined: nobody is told.
    const nobody = 'onPeerError' in options && options.onPeerError === undefined
    const server = serve(listener, application, { log: logger, logFormat: LOG_FORMAT, transport, ...options, ...(nobody ? {} : { onPeerError }) })
    const clock = options.clock instanceof FakeClock ? options.clock : null
    const running = { server, port: server.address.port, path, log, errors, access, peerErrors, clock }
    this.servers.push(running)
    return running
  }

  /** A connected client of the server (the last one served): the server knows the connection already. */
  async connect(running: Running = this.servers.at(-1)!): Promise<RawClient> {
    const { server } = running
    const before = server.connections
    const client = await this.open(running)
    // A full server parks or refuses it.
    if (server.state === 'listening') await turnsUntil(() => server.connections > before, 20)
    return client
  }

  /** Serves, connects, sends one request and waits for its answer. */
  async ask(application: Application, request: string = get(), options: ServeOptions = {}): Promise<Asked> {
    const running = await this.serve(application, options)
    const client = await this.connect(running)
    await client.send(request)
    return { ...running, client, answer: await client.response({ method: request.slice(0, request.indexOf(' ')) }) }
  }

  /** A client on a stream of the test's own making. */
  client(stream: Duplex, raw?: Socket): RawClient {
    const client = new RawClient(stream, raw)
    this.clients.push(client)
    return client
  }

  private async open(running: Running): Promise<RawClient> {
    switch (this.kind.over) {
      case 'tls': {
        const raw = await connectTo(running.port)
        return this.client(await connectTls(running.port, { socket: raw }), raw)
      }
      case 'unix':
        return this.client(await connectTo(running.path))
      case 'memory': {
        const [near, far] = memoryPair()
        running.server.handle(far)
        return this.client(near)
      }
      default:
        return this.client(await connectTo(running.port))
    }
  }

  /** Runs one test and closes everything after it; then nothing borrowed may be missing. */
  async run(test: () => unknown): Promise<void> {
    setInternalErrorHook(error => this.faults.push(error))
    let failed = true
    try {
      await within(4 * WAIT, Promise.resolve(test()), 'the test to end')
      failed = false
    } finally {
      await this.close(failed)
    }
  }

  private async close(failed: boolean): Promise<void> {
    const servers = this.servers.splice(0)
    for (const client of this.clients.splice(0)) client.destroy()
    await Promise.all(servers.map(({ server }) => within(WAIT, server.close({ timeout: 0 }), 'the server to close')))
    const faults = this.faults.splice(0)
    if (failed) return
    if (faults.length > 0) throw faults[0]
    for (const { server } of servers) {
      if (server.connections !== 0 || server.outstandingRequests !== 0) {
        throw new Error(`left behind: ${server.connections} connections, ${server.outstandingRequests} requests`)
      }
    }
    // The kernel may still be at work on what was cut.
    if (!(await turnsUntil(() => lentBuffers() <= 0, 200)) || lentBuffers() !== 0) throw new Error(`${lentBuffers()} pooled buffers are missing`)
  }
}

export type Test = (name: string, body: () => unknown) => void

/** Registers the same tests for every transport. `.run()` starts them. */
export function onEveryTransport(name: string, register: (h: Harness, test: Test) => void, also: Also = {}): { run(): void } {
  const kinds = [...TCP, ...(also.unix === true ? UNIX : []), ...(also.tls === true ? TLS : []), ...(also.memory === true ? MEMORY : [])]
  return onKinds(name, kinds, register)
}

/** The same in memory alone: where the test must decide what the transport takes and when. */
export function inMemory(name: string, register: (h: Harness, test: Test) => void): { run(): void } {
  return onKinds(name, MEMORY, register)
}

function onKinds(name: string, kinds: Kind[], register: (h: Harness, test: Test) => void): { run(): void } {
  const suites = kinds.map(kind => {
    const tests = suite(`${name} (${kind.name})`)
    const harness = new Harness(kind)
    register(harness, (title, body) => tests(title, () => harness.run(body)))
    return tests
  })
  return {
    run(): void {
      for (const tests of suites) tests.run()
    }
  }
}

// ── Waiting without sleeping ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Lets `n` turns of the event loop pass: loopback delivers within one, and a few more leave room for both sides' reactions. */
export async function turns(n = 6): Promise<void> {
  for (let i = 0; i < n; i++) await new Promise(resolve => setImmediate(resolve))
}

async function turnsUntil(condition: () => boolean, most: number): Promise<boolean> {
  for (let i = 0; i < most && !condition(); i++) await new Promise(resolve => setImmediate(resolve))
  return condition()
}

/** Turn after turn until the condition holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const start = performance.now()
  while (!condition()) {
    if (performance.now() - start > WAIT) throw new Error(`not within ${WAIT} ms: ${what}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}

/** Turn after turn until a number has not changed for `quiet` of them: a connection that is full stays so. */
export async function stable(value: () => number, quiet = 60): Promise<number> {
  const start = performance.now()
  let last = value()
  for (let unchanged = 0; unchanged < quiet; unchanged++) {
    await new Promise(resolve => setImmediate(resolve))
    if (value() !== last) unchanged = 0
    last = value()
    if (performance.now() - start > WAIT) throw new Error(`still changing after ${WAIT} ms: ${last}`)
  }
  return last
}

/** A promise and what settles it. */
export interface Deferred {
  promise: Promise<void>
  resolve(): void
  reject(error: unknown): void
}

export function deferred(): Deferred {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/** The code of what `call` throws, '' when it does not. */
export function thrown(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return ''
}

/** Moves a fake clock on in ticks, each with some turns of the event loop for what it sets off. */
export async function pass(clock: FakeClock, ms: number, step = 500): Promise<void> {
  for (let left = ms; left > 0; left -= step) {
    clock.advance(Math.min(step, left))
    await turns(3)
  }
}

// ── Requests and applications ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** A request without content. `fields`: complete field lines. */
export function get(target = '/', fields = '', version = '1.1'): string {
  return `GET ${target} HTTP/${version}\r\nHost: a\r\n${fields}\r\n`
}

export function post(target: string, content: string, fields = ''): string {
  return `POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: ${content.length}\r\n${fields}\r\n${content}`
}

/** Answers 200 with these pieces. */
export function answering(...pieces: (string | Uint8Array)[]): Application {
  return (_environ, startResponse) => {
    startResponse('200 OK', [['Content-Type', 'text/plain']])
    return pieces
  }
}

/** Answers with its path. */
export const echoPath: Application = (environ, startResponse) => {
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return [environ.PATH_INFO]
}

// ── In-memory connections ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One side of an in-memory connection. A write is done when the other side's buffer has room again, so that back-pressure is exact.
 *  The server's side takes a corked batch as one write, as a socket does; the client's takes one at a time, or all that it queued would be one. */
export class MemoryEnd extends Duplex {
  other!: MemoryEnd
  /** Each write of this side as its stream saw it: a corked batch is one. */
  readonly writes: Buffer[] = []
  private blocked: (() => void) | null = null

  constructor(highWaterMark: number, batches: boolean) {
    super({ allowHalfOpen: true, readableHighWaterMark: highWaterMark, writableHighWaterMark: highWaterMark })
    this.on('error', () => {})
    if (!batches) (this as { _writev: unknown })._writev = null
  }

  override _read(): void {
    const blocked = this.other.blocked
    this.other.blocked = null
    if (blocked !== null) blocked()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.deliver([chunk], done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.deliver(chunks.map(each => each.chunk), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.other.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.blocked = null
    const { other } = this
    // Both directions ended: an orderly close. Otherwise the other side sees a reset.
    if (!other.destroyed) {
      if (this.readableEnded && !this.writableFinished && error === null) other.push(null)
      else if (this.writableFinished) setImmediate(() => other.readableEnded && other.writableEnded && other.destroy())
      else setImmediate(() => other.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' })))
    }
    done(error)
  }

  private deliver(chunks: Buffer[], done: () => void): void {
    const whole = Buffer.concat(chunks)
    this.writes.push(whole)
    if (this.other.destroyed || this.other.push(whole)) done()
    else this.blocked = done
  }
}

/** Two connected ends, the client's first. */
export function memoryPair(highWaterMark = 65536): [near: MemoryEnd, far: MemoryEnd] {
  const near = new MemoryEnd(highWaterMark, false)
  const far = new MemoryEnd(highWaterMark, true)
  near.other = far
  far.other = near
  return [near, far]
}
