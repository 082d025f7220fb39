// A real server on fault transports and a clock that stands still, with everything written down that must hold after any run whatever happened in it:
// one outcome per request, hooks once, log line once, iterators closed once, promises settled, buffers back, deadlines off, no answer that is cut
// but looks whole. `Scene.play` runs a scene to its end and checks all of it.
import * as assert from 'uvu/assert'
import { lentBuffers } from '../../src/io/buffer-pool.ts'
import type { Cycle, Outcome } from '../../src/io/cycle.ts'
import type { Engine, PeerErrorEvent } from '../../src/io/engine.ts'
import { listen } from '../../src/io/listener.ts'
import { setInternalErrorHook } from '../../src/io/transport.ts'
import type { Body, Environ, Headers, Piece, Status, Write } from '../../src/server/application.ts'
import type { ALREADY_HANDLED } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { RequestCycle } from '../../src/server/request-cycle.ts'
import { serve, type Server } from '../../src/server/serve.ts'
import { FakeClock } from './fake-clock.ts'
import { FaultTransport, loopTurn, settle } from './fault-transport.ts'
import { PATIENCE } from './sockets.ts'
import { within } from './within.ts'

/** What an application under test gets: the request, watched. */
export type WatchedApplication = (request: WatchedRequest) => Body | typeof ALREADY_HANDLED | Promise<Body | typeof ALREADY_HANDLED>

/** Promises that a test resolves: where an application waits. */
export class Gate {
  private open!: () => void
  readonly passed: Promise<void>

  constructor() {
    this.passed = new Promise(resolve => (this.open = resolve))
  }

  release(): void {
    this.open()
  }
}

export class WatchedRequest {
  readonly environ: Environ
  /** Opened by 'the application ends', and in any case when the run is over. */
  readonly gate: Gate = new Gate()
  readonly notes: string[] = []
  hooks = 0
  outcome: Outcome | null = null
  outcomeAtCall: Outcome | null
  readonly signal: AbortSignal
  aborts = 0
  readonly bodies: WatchedBody[] = []
  readonly pending: Set<string> = new Set()
  private readonly rawStart: (status: Status, headers?: Headers) => Write

  constructor(environ: Environ, start: (status: Status, headers?: Headers) => Write) {
    this.environ = environ
    this.rawStart = start
    this.outcomeAtCall = environ['wirelet.outcome']
    this.signal = environ['wirelet.signal']
    this.signal.addEventListener('abort', () => this.aborts++)
    environ['eventlet.posthooks'].push([
      (seen: Environ) => {
        this.hooks++
        this.outcome = seen['wirelet.outcome']
      }
    ])
  }

  start(status: Status = '200 OK', headers?: Headers): Write {
    const write = this.rawStart(status, headers)
    return piece => this.track('write', write(piece))
  }

  /** A promise that must be settled when the run is over; how it ended goes into the notes. */
  track<T>(what: string, promise: Promise<T>): Promise<T> {
    const name = `${what} #${this.notes.length + this.pending.size}`
    this.pending.add(name)
    promise.then(
      value => {
        this.pending.delete(name)
        this.notes.push(`${what}: ${Buffer.isBuffer(value) ? JSON.stringify(value.toString('latin1')) : String(value)}`)
      },
      (error: Error) => {
        this.pending.delete(name)
        this.notes.push(`${what} rejected: ${error.name}`)
      }
    )
    return promise
  }

  /** A streamed body that counts what is done to it. `next` gives pieces, null at the end. */
  sync(next: () => Piece | null): Iterable<Piece> {
    const body = new WatchedBody()
    this.bodies.push(body)
    const iterator = {
      next: (): IteratorResult<Piece> => body.step(next),
      return: (): IteratorResult<Piece> => body.returned()
    }
    return Object.assign(body, { [Symbol.iterator]: () => body.begin(iterator) })
  }

  async(next: () => Promise<Piece | null>): AsyncIterable<Piece> {
    const body = new WatchedBody()
    this.bodies.push(body)
    const iterator = {
      next: (): Promise<IteratorResult<Piece>> => body.stepLater(next),
      return: async (): Promise<IteratorResult<Piece>> => body.returned()
    }
    return Object.assign(body, { [Symbol.asyncIterator]: () => body.begin(iterator) })
  }
}

/** What a server did to one streamed body. */
export class WatchedBody {
  begun = 0
  nexts = 0
  returns = 0
  closes = 0
  exhausted = false
  failed = false

  begin<T>(iterator: T): T {
    this.begun++
    return iterator
  }

  step(next: () => Piece | null): IteratorResult<Piece> {
    this.nexts++
    try {
      return this.result(next())
    } catch (error) {
      this.failed = true
      throw error
    }
  }

  async stepLater(next: () => Promise<Piece | null>): Promise<IteratorResult<Piece>> {
    this.nexts++
    try {
      return this.result(await next())
    } catch (error) {
      this.failed = true
      throw error
    }
  }

  private result(piece: Piece | null): IteratorResult<Piece> {
    if (piece !== null) return { value: piece, done: false }
    this.exhausted = true
    return { value: undefined, done: true }
  }

  returned(): IteratorResult<Piece> {
    this.returns++
    return { value: undefined, done: true }
  }

  close(): void {
    this.closes++
  }

  problems(): string[] {
    const found: string[] = []
    if (this.begun > 1) found.push(`an iterator was asked for ${this.begun} times`)
    if (this.closes !== 1) found.push(`close() ran ${this.closes} times`)
    if (this.returns > 1) found.push(`return() ran ${this.returns} times`)
    // An async body may come to its end while it is being stopped: then either is right.
    if (this.begun === 1 && !this.exhausted && !this.failed && this.returns !== 1) found.push('an unfinished iterator was not told by return()')
    return found
  }
}

interface CycleRecord {
  cycle: Cycle
  ends: number
  outcome: Outcome | null
  callbacksAfterEnd: number
}

/** Answers on a connection, as a strict reader sees them. */
export interface Answers {
  /** Final statuses, in order. */
  readonly statuses: number[]
  readonly bodies: string[]
  readonly heads: string[]
  /** What is cut off inside the last answer, or ''. */
  readonly cut: string
  /** The last complete answer says that the connection closes. */
  readonly saysClose: boolean
}

/** Splits what a connection received into answers. `methods` of the requests, in order. `ended`: a close-delimited answer is whole. */
export function readAnswers(wire: string, methods: readonly string[], ended: boolean): Answers {
  const statuses: number[] = []
  const bodies: string[] = []
  const heads: string[] = []
  let saysClose = false
  let pos = 0
  const answers = (cut: string): Answers => ({ statuses, bodies, heads, cut, saysClose })
  while (pos < wire.length) {
    const headEnd = wire.indexOf('\r\n\r\n', pos)
    if (headEnd < 0) return answers('head')
    const head = wire.slice(pos, headEnd + 2)
    const match = /^HTTP\/1\.[01] ([0-9]{3}) [^\r\n]*\r\n((?:[!-9;-~]+: ?[^\r\n]*\r\n)*)$/.exec(head)
    assert.ok(match, `no head of an answer: ${JSON.stringify(head.slice(0, 200))}`)
    const status = Number(match[1])
    pos = headEnd + 4
    if (status < 200) continue
    const field = (name: string): string | null => new RegExp(`^${name}: ?(.*)$`, 'im').exec(match[2]!)?.[1]?.trim() ?? null
    const method = methods[statuses.length] ?? 'GET'
    const length = field('content-length')
    let body = ''
    if (method === 'HEAD' || status === 204 || status === 304) {
      // no content
    } else if (field('transfer-encoding') !== null) {
      assert.is(length, null, 'Content-Length beside Transfer-Encoding')
      for (;;) {
        const line = /^([0-9a-f]+)\r\n/.exec(wire.slice(pos, pos + 20))
        if (line === null) return answers('chunk')
        const size = parseInt(line[1]!, 16)
        const from = pos + line[0].length
        if (size === 0) {
          const end = wire.slice(from).search(/^(?:[!-9;-~]+: ?[^\r\n]*\r\n)*\r\n/m)
          if (end !== 0) return answers('last chunk')
          pos = from + /^(?:[!-9;-~]+: ?[^\r\n]*\r\n)*\r\n/.exec(wire.slice(from))![0].length
          break
        }
        if (wire.length < from + size + 2) return answers('chunk')
        assert.is(wire.slice(from + size, from + size + 2), '\r\n', 'the end of a chunk')
        body += wire.slice(from, from + size)
        pos = from + size + 2
      }
    } else if (length !== null) {
      if (wire.length < pos + Number(length)) return answers('content')
      body = wire.slice(pos, pos + Number(length))
      pos += Number(length)
    } else {
      body = wire.slice(pos)
      pos = wire.length
      if (!ended) return answers('content until close')
    }
    statuses.push(status)
    bodies.push(body)
    heads.push(head)
    saysClose = /\bclose\b/.test(field('connection') ?? '')
    if (saysClose) assert.is(pos, wire.length, 'bytes after an answer with Connection: close')
  }
  return answers('')
}

/** Rejections that nobody handled since the last scene opened. */
const unseen: string[] = []
process.on('unhandledRejection', reason => unseen.push(`unhandled rejection: ${String(reason)}`))

export class Scene {
  readonly clock: FakeClock
  readonly server: Server
  readonly engine: Engine
  readonly transports: FaultTransport[] = []
  readonly requests: WatchedRequest[] = []
  readonly cycles: CycleRecord[] = []
  readonly errors: string[] = []
  readonly peerErrors: PeerErrorEvent[] = []
  readonly access: string[] = []
  readonly internal: string[] = []
  /** The application is known to fail: what it logs is no problem. */
  mayFail = false
  private refusals = 0
  private readonly lentBefore: number
  private closing: Promise<void> | null = null

  private constructor(server: Server, clock: FakeClock, lentBefore: number) {
    this.server = server
    this.clock = clock
    this.lentBefore = lentBefore
    this.engine = (server as unknown as { engine: Engine }).engine
  }

  private static async open(application: WatchedApplication, options: ServeOptions = {}): Promise<Scene> {
    const lent = lentBuffers()
    const clock = new FakeClock()
    let scene: Scene
    const log = {
      info(): void {},
      debug(): void {},
      error: (line: string): void => void scene.errors.push(line),
      access: (line: string): void => void scene.access.push(line)
    }
    const watched = (environ: Environ, start: (status: Status, headers?: Headers) => Write): ReturnType<WatchedApplication> => {
      const request = new WatchedRequest(environ, start)
      scene.requests.push(request)
      return application(request)
    }
    const onPeerError = (event: PeerErrorEvent): void => void scene.peerErrors.push(event)
    const server = serve(await listen(0), watched, { log, clock, onPeerError, transport: 'stream', ...options })
    scene = new Scene(server, clock, lent)
    scene.watch()
    return scene
  }

  /** Opens a scene, plays it and finishes it. A failure leaves nothing running. */
  static async play(application: WatchedApplication, options: ServeOptions, act: (scene: Scene) => Promise<void>): Promise<Scene> {
    const scene = await Scene.open(application, options)
    try {
      await act(scene)
      await scene.finish()
    } catch (error) {
      for (const request of scene.requests) request.gate.release()
      void scene.server.close({ timeout: 0 })
      throw error
    }
    return scene
  }

  private watch(): void {
    setInternalErrorHook(error => this.internal.push(String((error as Error).stack ?? error)))
    unseen.length = 0
    const { server } = this
    const records = new Map<Cycle, CycleRecord>()
    const record = (cycle: Cycle): CycleRecord => {
      let found = records.get(cycle)
      if (found === undefined) {
        found = { cycle, ends: 0, outcome: null, callbacksAfterEnd: 0 }
        records.set(cycle, found)
        this.cycles.push(found)
      }
      return found
    }
    const { onHead, onRefusalEnd, onCycleEnd } = server
    server.onHead = cycle => {
      const mine = record(cycle)
      onHead.call(server, cycle)
      const owner = cycle.owner
      if (!(owner instanceof RequestCycle)) return
      const { onWritable, onAborted } = owner
      owner.onWritable = () => {
        if (mine.ends > 0) mine.callbacksAfterEnd++
        onWritable.call(owner)
      }
      owner.onAborted = reason => {
        if (mine.ends > 0) mine.callbacksAfterEnd++
        onAborted.call(owner, reason)
      }
    }
    server.onRefusalEnd = refusal => {
      this.refusals++
      onRefusalEnd.call(server, refusal)
    }
    server.onCycleEnd = cycle => {
      const mine = record(cycle)
      mine.ends++
      mine.outcome = cycle.outcome
      onCycleEnd.call(server, cycle)
    }
  }

  connect(transport: FaultTransport = new FaultTransport()): FaultTransport {
    this.transports.push(transport)
    this.engine.accept(transport)
    return transport
  }

  /** Everything that can happen without time happens. */
  settle(): Promise<void> {
    return settle(...this.transports)
  }

  /** Time passes in steps in which the event loop turns. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      this.clock.advance(Math.min(500, left))
      await loopTurn()
    }
    await this.settle()
  }

  /** Begins to drain, once. */
  drain(): void {
    this.closing ??= this.server.close()
  }

  answers(transport: FaultTransport): Answers {
    const methods = this.cycles.filter(({ cycle }) => cycle.connection.transport === transport).map(({ cycle }) => cycle.head.method)
    const clean = transport.finSent || transport.ending === 'destroyed'
    return readAnswers(transport.wire(), methods, clean)
  }

  /** Lets everything end, in the order given: applications finish, kernels take everything, peers read to the end and close, the server drains.
   *  Then checks what must hold after any run. */
  private async finish(): Promise<void> {
    await this.settle()
    for (const request of this.requests) request.gate.release()
    await this.settle()
    for (const transport of this.transports) transport.take()
    await this.settle()
    // Requests that were parked behind others have come up meanwhile.
    for (const request of this.requests) request.gate.release()
    await this.settle()
    this.drain()
    await this.settle()
    for (const request of this.requests) request.gate.release()
    await this.settle()
    for (const transport of this.transports) transport.duplex?.destroy()
    await this.pass(40_000)
    await within(PATIENCE, this.closing!, 'the drain')
    const problems = this.problems()
    assert.equal(problems, [])
  }

  /** Everything that is not as it must be after a run. */
  private problems(): string[] {
    const found = [...this.internal.map(error => `internal error: ${error}`), ...unseen]
    const say = (what: string): void => void found.push(what)
    for (const { cycle, ends, outcome, callbacksAfterEnd } of this.cycles) {
      const name = `${cycle.head.method} ${cycle.head.target}`
      if (ends !== 1) say(`${name}: ${ends} ends`)
      if (callbacksAfterEnd > 0) say(`${name}: its owner was called after its end`)
      if (outcome !== null && outcome.completed !== (outcome.reason === '')) say(`${name}: outcome ${JSON.stringify(outcome)}`)
    }
    for (const request of this.requests) {
      const name = `${request.environ.REQUEST_METHOD} ${request.environ.REQUEST_URI}`
      if (request.hooks !== 1) say(`${name}: its hook ran ${request.hooks} times`)
      if (request.outcomeAtCall !== null) say(`${name}: an outcome before its end`)
      if (request.outcome === null) say(`${name}: no outcome in its hook`)
      if (request.aborts > 1) say(`${name}: aborted ${request.aborts} times`)
      if (request.signal.aborted !== request.aborts > 0) say(`${name}: aborted without an event`)
      if (request.signal.aborted && request.outcome?.completed === true) say(`${name}: aborted, yet completed`)
      for (const pending of request.pending) say(`${name}: unsettled ${pending}`)
      for (const body of request.bodies) for (const problem of body.problems()) say(`${name}: ${problem}`)
    }
    if (this.access.length !== this.cycles.length + this.refusals) {
      say(`${this.access.length} log lines for ${this.cycles.length} requests and ${this.refusals} refusals`)
    }
    // Each peer error belongs to one of them.
    if (this.refusals > this.peerErrors.length) say(`${this.refusals} refusals, ${this.peerErrors.length} peer errors`)
    if (!this.mayFail) for (const error of this.errors) say(`logged: ${error}`)
    for (const transport of this.transports) this.judge(transport, say)
    if (lentBuffers() !== this.lentBefore) say(`${lentBuffers() - this.lentBefore} buffers not given back`)
    if (this.clock.pending() !== 0) say(`${this.clock.pending()} timers left`)
    if (this.engine.open !== 0) say(`${this.engine.open} connections left`)
    if (this.server.outstandingRequests !== 0) say(`${this.server.outstandingRequests} requests outstanding`)
    if (this.server.state !== 'closed') say(`the server is ${this.server.state}`)
    return found
  }

  private judge(transport: FaultTransport, say: (what: string) => void): void {
    for (const violation of transport.violations) say(violation)
    if (transport.ending === 'open') say('a connection was left open')
    if (transport.ending === 'detached') return
    let answers: Answers
    try {
      answers = this.answers(transport)
    } catch (error) {
      say((error as Error).message)
      return
    }
    const clean = transport.finSent || transport.ending === 'destroyed'
    if (answers.cut !== '' && clean) say(`an answer cut off inside its ${answers.cut} looks like an end`)
    const completed = this.cycles.filter(({ cycle, outcome }) => cycle.connection.transport === transport && outcome?.completed === true)
    if (completed.length > answers.statuses.length) say(`${completed.length} cycles completed, ${answers.statuses.length} answers on the wire`)
  }
}
