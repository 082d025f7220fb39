// One connection's life (design §3): bytes in, cycles one at a time and in order, bytes out in one write per turn, deadlines, lingering, drain.
// Knows transports, the parser and cycles; knows nothing of environs, applications and logs.
import { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import { PeerErrorCode, peerErrorInfo } from '../parser/errors.ts'
import { Framing, type RequestHead } from '../parser/request-head.ts'
import { leftScope } from './async-stack.ts'
import { ContentReader } from './content-reader.ts'
import type { ContentSource } from './content.ts'
import { Cycle } from './cycle.ts'
import { TICK, type Timed } from './deadlines.ts'
import type { Engine } from './engine.ts'
import { HeadReader, requestLine } from './head-reader.ts'
import { Outgoing } from './outgoing.ts'
import { Refusal } from './refusal.ts'
import { encodeResponseHead, renderRefusal } from './response-head.ts'
import type { Transport, TransportOwner } from './transport.ts'

// States, as in design §3.
const NEW = 0
const READING = 1
const RESPONDING = 2
const IDLE = 3
const LINGERING = 4
const TAKEN_OVER = 5
const CLOSED = 6
const STATE_NAMES = ['new', 'reading', 'responding', 'idle', 'lingering', 'taken over', 'closed'] as const

/** States that a connection on the books can have. */
export type ConnectionState = Exclude<(typeof STATE_NAMES)[number], 'closed'>

/** Fairness: after so many cycles, or so many bytes, in one turn the connection goes on behind the others. */
const TURN_CYCLES = 32
const TURN_BYTES = 65536
/** The same after so many pieces: they may be empty, and an endless iterable of them produces no byte. */
const TURN_PIECES = 4096
/** Cycles whose post hooks are still running: beyond it no further request is read. */
const MAX_PENDING_HOOKS = 16

const TRACE_ANSWER = encodeResponseHead(501, [['Content-Type', 'text/plain']], true)
const TRACE_TEXT = ['TRACE is not supported\r\n']

export class Connection implements TransportOwner, Timed, ContentSource {
  readonly engine: Engine
  readonly transport: Transport
  readonly out: Outgoing
  /** Told when the connection is over (custom pools). */
  whenClosed: (() => void) | null = null
  previousTimed: Timed | null = null
  nextTimed: Timed | null = null
  previousIdle: Connection | null = null
  nextIdle: Connection | null = null
  isIdle = false
  private state = NEW
  private cycle: Cycle | null = null
  /** Virtual time at which the state's own wait ends (first byte, head, idle, linger). */
  private deadline = 0
  /** Lent while a head is incomplete. */
  private reader: HeadReader | null = null
  /** Input that was read and not interpreted: pipelined requests, or what the turn had no room for. Reading is paused meanwhile. */
  private stash: Buffer | null = null
  /** The stash being interpreted: ours already, its rest need not be copied. */
  private owned: Buffer | null = null
  /** What follows the request being started, while `onHead` runs: part of it goes along in a takeover. */
  private rest: Buffer | null = null
  private restStart = 0
  private restEnd = 0
  /** Content of the current request that is still to come. */
  private incoming: ContentReader | null = null
  /** Octets discarded while lingering. */
  private lingered = 0
  private paused = false
  private peerEnded = false
  private finSent = false
  /** In a transport's read callback: its end flushes. */
  private inRead = false
  private interpreting = false
  private flushScheduled = false
  private turnScheduled = false
  private writableWanted = false
  private turnCycles = 0
  private turnBytes = 0
  private turnPieces = 0
  private pendingHooks = 0
  private mayCutAtDrain = false
  /** After a takeover: the connection as its new owner has it. */
  private duplex: Duplex | null = null
  /** The cycle that took it over, until its application returns or the connection closes. */
  private taken: Cycle | null = null

  constructor(engine: Engine, transport: Transport) {
    this.engine = engine
    this.transport = transport
    this.out = new Outgoing(engine, transport)
  }

  start(): void {
    this.deadline = this.engine.deadlines.in(this.engine.timeouts.firstByte)
    this.engine.deadlines.add(this)
    this.transport.start(this)
  }

  // ── Input ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.turnCycles = this.turnBytes = this.turnPieces = 0
    this.engine.counters.bytesRead += end - start
    if (this.stash !== null) {
      this.stashRest(bytes, start, end)
      return
    }
    this.inRead = true
    // Whatever context this callback has: a handle's is none, a stream's that of whoever pushed.
    this.engine.root.runInAsyncScope(this.interpret, this, bytes, start, end)
    leftScope()
    this.settle()
    this.inRead = false
  }

  onEnd(): void {
    this.peerEnded = true
    if (this.stash === null) this.inputEnded()
  }

  /** The peer ended its side, and all that it sent has been interpreted. */
  private inputEnded(): void {
    switch (this.state) {
      case NEW:
        this.destroy()
        return
      case IDLE:
        this.linger()
        return
      case READING:
        this.refuse(PeerErrorCode.INCOMPLETE_HEAD, -1)
        return
      case RESPONDING:
        this.contentEnded()
        return
      case LINGERING:
        this.destroyWhenFlushed()
        return
      default:
    }
  }

  onDrained(): void {
    this.turnCycles = this.turnBytes = this.turnPieces = 0
    if (this.out.bytes > 0) this.flush()
    else this.afterFlush()
    this.goOn()
  }

  onClosed(failure: string): void {
    this.closed(failure === '' ? 'the peer closed the connection' : `the peer is gone (${failure})`)
  }

  /** The turn after a yield. */
  onTurn(): void {
    this.turnScheduled = false
    this.turnCycles = this.turnBytes = this.turnPieces = 0
    this.goOn()
  }

  /** More is welcome on the wire: a waiting application first, then input that waited. */
  private goOn(): void {
    if (this.writableWanted && this.out.waiting < this.engine.limits.writeHighWater) {
      this.writableWanted = false
      this.cycle?.owner?.onWritable()
    }
    this.proceed()
  }

  /** Interpret what was stashed. */
  private proceed(): void {
    const stash = this.stash
    if (this.interpreting) return
    if (stash !== null && this.state < TAKEN_OVER) {
      this.stash = null
      this.owned = stash
      this.engine.root.runInAsyncScope(this.interpret, this, stash, 0, stash.length)
      this.owned = null
    }
    if (this.peerEnded && this.stash === null) this.inputEnded()
    this.settle()
  }

  private interpret(bytes: Buffer, start: number, end: number): void {
    let pos = start
    // Once a drain has begun, what arrives behind a request that is being answered is not interpreted (design §3).
    const last = this.engine.draining && bytes !== this.owned ? this.cycle : null
    this.interpreting = true
    for (;;) {
      if (this.state === RESPONDING) {
        if (this.incoming !== null && pos < end) pos = this.readContent(bytes, pos, end)
        if (this.state !== RESPONDING) continue
        if (pos < end && (last === null || this.cycle !== last)) this.stashRest(bytes, pos, end)
        break
      }
      if (this.state === LINGERING) {
        this.discardInput(end - pos)
        break
      }
      if (pos === end || this.state === CLOSED || this.state === TAKEN_OVER) break
      if (!this.mayStart()) {
        this.stashRest(bytes, pos, end)
        break
      }
      pos = this.readHead(bytes, pos, end)
    }
    this.interpreting = false
    if (this.state === IDLE && this.stash === null) this.enterIdle()
  }

  /** Between requests, nothing read that waits. */
  private enterIdle(): void {
    if (this.engine.crowded) {
      this.linger()
      return
    }
    if (this.engine.draining) this.deadline = this.engine.deadlines.in(this.engine.timeouts.idleGrace)
    this.engine.enterIdle(this)
  }

  private readHead(bytes: Buffer, start: number, end: number): number {
    if (this.reader !== null) return this.readMoreHead(this.reader, bytes, start, end)
    // The usual case: the head is here whole, and the parser is back before this returns.
    const { engine } = this
    const parser = engine.lendParser(this.transport.secure)
    const result = parser.execute(bytes, start, end)
    if (result > 0) {
      const head = parser.takeHead(bytes, start)
      engine.giveBackParser(parser)
      return this.startCycle(head, bytes, start + result, end)
    }
    if (result === 0) {
      this.reader = new HeadReader(parser, bytes, start, end)
      this.state = READING
      engine.leaveIdle(this)
      this.deadline = engine.deadlines.in(engine.timeouts.head)
      return end
    }
    const offset = parser.errorOffset
    engine.giveBackParser(parser)
    this.refuse(-result, offset, requestLine(bytes, start, end))
    return end
  }

  private readMoreHead(reader: HeadReader, bytes: Buffer, start: number, end: number): number {
    const result = reader.execute(bytes, start, end)
    if (result === 0) return end
    if (result < 0) {
      this.refuse(-result, reader.errorOffset)
      return end
    }
    const head = reader.takeHead()
    this.dropHead()
    return this.startCycle(head, bytes, start + result, end)
  }

  private dropHead(): void {
    if (this.reader === null) return
    this.engine.giveBackParser(this.reader.release())
    this.reader = null
  }

  private startCycle(head: RequestHead, bytes: Buffer, start: number, end: number): number {
    const engine = this.engine
    engine.leaveIdle(this)
    this.state = RESPONDING
    this.deadline = Infinity
    this.turnCycles++
    engine.counters.requests++
    const cycle = new Cycle(this, head, engine.deadlines.now, engine.minimumChunkSize)
    this.cycle = cycle
    let pos = start
    if (head.framing !== Framing.NONE && (head.framing === Framing.CHUNKED || head.contentLength > 0)) {
      this.incoming = new ContentReader(head, this, engine.limits)
      cycle.content = this.incoming.content
      // What came with the head is decoded first: an error in it never reaches the application.
      if (pos < end) pos = this.readContent(bytes, pos, end)
      if (this.state !== RESPONDING) return pos
    }
    this.rest = bytes
    this.restStart = pos
    this.restEnd = end
    if (head.method === 'TRACE') {
      cycle.setHead(TRACE_ANSWER)
      cycle.answer(TRACE_TEXT, TRACE_TEXT[0]!.length)
    } else {
      engine.handler.onHead(cycle)
    }
    this.rest = null
    return pos
  }

  private readContent(bytes: Buffer, start: number, end: number): number {
    const cycle = this.cycle!
    const incoming = this.incoming!
    const pos = incoming.read(bytes, start, end)
    if (pos < 0) {
      this.refuse(-pos, incoming.content.received)
      return end
    }
    if (incoming.done) this.incoming = null
    incoming.content.changed()
    if (incoming.done) {
      if (cycle.ended && cycle === this.cycle) this.finish(cycle, !incoming.overDrained)
    } else if (incoming.overDrained) {
      this.finish(cycle, false)
    } else {
      this.adjustReading()
    }
    return pos
  }

  /** The peer ended its side while its request is being answered. */
  private contentEnded(): void {
    const cycle = this.cycle!
    if (this.incoming !== null) {
      const { content } = this.incoming
      this.incoming = null
      cycle.persist = false
      content.fail(PeerErrorCode.INCOMPLETE_CONTENT)
      if (cycle.ended) this.finish(cycle, false)
    } else if (this.engine.abortOnHalfClose) {
      this.cut('the peer closed its side')
    }
  }

  private stashRest(bytes: Buffer, start: number, end: number): void {
    const rest = bytes.subarray(start, end)
    if (this.stash !== null) this.stash = Buffer.concat([this.stash, rest])
    else this.stash = bytes === this.owned ? rest : Buffer.from(rest)
    this.adjustReading()
  }

  /** May the next request of this connection begin now? If not, something that calls `proceed` has been arranged. */
  private mayStart(): boolean {
    if (this.pendingHooks >= MAX_PENDING_HOOKS || this.transport.failed) return false
    if (this.turnCycles >= TURN_CYCLES || this.turnBytes + this.out.bytes >= TURN_BYTES) {
      this.yieldTurn()
      return false
    }
    const { writeHighWater, readBuffer } = this.engine.limits
    const crowded = this.out.crowded(TURN_CYCLES, readBuffer)
    if (!crowded && this.out.waiting < writeHighWater) return true
    this.flush()
    return this.transport.pendingBytes === 0 || (!crowded && this.out.waiting < writeHighWater)
  }

  private yieldTurn(): void {
    if (this.turnScheduled) return
    this.turnScheduled = true
    this.engine.yieldTurn(this)
  }

  private adjustReading(): void {
    const cycle = this.cycle
    const full = this.incoming !== null && cycle !== null && !cycle.ended && this.incoming.content.held >= this.engine.limits.readBuffer
    const pause = (this.stash !== null || full) && this.state !== LINGERING
    if (pause === this.paused || this.state === CLOSED || this.state === TAKEN_OVER) return
    this.paused = pause
    if (pause) this.transport.pauseReading()
    else this.transport.resumeReading()
  }

  private discardInput(octets: number): void {
    this.lingered += octets
    if (this.lingered > this.engine.limits.maxDrain) this.destroyWhenFlushed()
  }

  // ── Content ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  onContentWanted(): void {
    const cycle = this.cycle
    if (cycle === null) return
    if (cycle.head.expectContinue && !cycle.continued && !cycle.headSent) cycle.sendContinue()
    this.adjustReading()
  }

  onContentTaken(): void {
    this.onContentWanted()
  }

  // ── Output ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Something was added to `out`: it leaves at the end of this turn. */
  wrote(): void {
    if (this.inRead || this.interpreting) return
    this.settle()
  }

  /** See that what is in `out` leaves: now if nothing more can come in this turn, else after its microtasks. */
  private settle(): void {
    if (this.out.bytes === 0 && this.state !== LINGERING) {
      if (this.out.hasEnded && this.transport.pendingBytes === 0) this.afterFlush()
      this.adjustReading()
      return
    }
    // Nothing more can come from a request that has ended with nothing read behind it.
    if (this.state !== RESPONDING && (this.inRead || this.stash === null)) this.flush()
    else if (!this.flushScheduled) {
      this.flushScheduled = true
      this.engine.scheduleFlush(this, this.inRead)
    }
    this.adjustReading()
  }

  /** Give what there is to the transport, unless it is worth waiting for more. */
  flush(): void {
    this.flushScheduled = false
    if (!this.out.small || this.state === LINGERING) this.flushNow()
  }

  flushNow(): void {
    if (this.state === CLOSED || this.state === TAKEN_OVER) return
    this.turnBytes += this.out.bytes
    if (!this.out.send()) {
      this.cut('a piece of the answer changed its length before it left')
      return
    }
    if (this.state === LINGERING && !this.finSent) {
      this.finSent = true
      this.transport.endWriting()
    }
    if (this.transport.pendingBytes === 0) this.afterFlush()
  }

  /** Everything is in the kernel. */
  private afterFlush(): void {
    if (this.state === LINGERING && this.finSent) {
      if (this.peerEnded || this.lingered > this.engine.limits.maxDrain) this.destroy()
      else if (this.deadline === Infinity) this.deadline = this.engine.deadlines.in(this.engine.timeouts.linger)
    }
    this.out.tell()
  }

  /** For the application's iteration: false when it should stop until `onWritable`. */
  writable(): boolean {
    const high = this.engine.limits.writeHighWater
    if (this.state !== RESPONDING) return true
    if (this.out.waiting >= high) this.flush()
    if (this.transport.pendingBytes > 0 && this.out.waiting >= high) {
      this.writableWanted = true
      return false
    }
    if (this.turnBytes + this.out.bytes >= TURN_BYTES || ++this.turnPieces > TURN_PIECES) {
      this.writableWanted = true
      this.flush()
      this.yieldTurn()
      return false
    }
    return true
  }

  /** The connection's part of the decision to keep it (RFC 9112 §9.3). */
  mayPersist(cycle: Cycle): boolean {
    const engine = this.engine
    if (engine.keepalive === 0 || engine.crowded) return false
    if (engine.draining ? !this.anotherHead() : this.peerEnded && !this.moreInput()) return false
    // RFC 9110 §10.1.1: after a final answer without a 100 nobody knows whether the content will come.
    if (cycle.content !== null && cycle.head.expectContinue && !cycle.continued) return false
    if (this.incoming === null) return true
    return this.incoming.announcedRest <= engine.limits.maxDrain
  }

  private moreInput(): boolean {
    return this.stash !== null || (this.rest !== null && this.restStart < this.restEnd)
  }

  /** Behind the request being answered another one has been read whole: in a drain it still gets its answer. */
  private anotherHead(): boolean {
    const { stash, rest, engine, incoming } = this
    if (!this.moreInput() || incoming !== null) return false
    const parser = engine.lendParser(this.transport.secure)
    const complete = (stash !== null ? parser.execute(stash, 0, stash.length) : parser.execute(rest!, this.restStart, this.restEnd)) > 0
    engine.giveBackParser(parser)
    return complete
  }

  /** The answer is complete: drain the rest of the request, or finish at once. */
  responseEnded(cycle: Cycle): void {
    if (cycle !== this.cycle) return
    this.writableWanted = false
    if (this.incoming !== null && cycle.persist) {
      this.incoming.discard(this.engine.limits.maxDrain)
      this.wrote()
      return
    }
    this.finish(cycle, cycle.persist)
    if (!this.interpreting) this.proceed()
  }

  /** The answer falls short of its announced length: what there is leaves, then the connection is cut so that the peer can tell. */
  cutShort(cycle: Cycle, reason: string): void {
    cycle.ended = true
    cycle.reason = reason
    this.flushNow()
    this.cut(reason)
  }

  /** The cycle is over but for its bytes on their way. */
  private finish(cycle: Cycle, keep: boolean): void {
    this.cycle = null
    this.incoming?.content.fail(-1)
    this.incoming = null
    this.out.add(cycle)
    if (!keep) {
      this.linger()
      return
    }
    this.state = IDLE
    this.deadline = this.engine.deadlines.in(this.engine.keepalive)
    if (!this.interpreting && this.stash === null) this.enterIdle()
  }

  // ── Errors and ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A peer error: a clear answer if one can still be given, then nothing of this connection is interpreted any more. */
  refuse(code: number, offset: number, line = ''): void {
    if (this.state >= LINGERING) return
    const { name, status, reason } = peerErrorInfo(code)
    const cycle = this.cycle
    const sent = cycle !== null && cycle.headSent
    const head = cycle?.head ?? null
    const peer = this.transport.peerAddress()
    const received = head !== null ? head.text.slice(0, head.text.indexOf('\r')) : (this.reader?.requestLine ?? line)
    const text = reason + '\r\n'
    const before = this.out.bytes
    if (!sent) {
      const withContent = head?.method !== 'HEAD'
      const answer = renderRefusal(this.engine.version, status, this.engine.dates.fieldLine(), text, withContent)
      this.out.text(answer, answer.length)
      if (cycle !== null) {
        cycle.wireBytes += answer.length
        cycle.bodyBytes = withContent ? text.length : 0
        cycle.status = status
        cycle.headSent = true
      }
    }
    const event = { name, status: sent ? 0 : status, reason, offset, requestLine: received, remoteAddress: peer.address, remotePort: peer.port }
    this.engine.counters.error(name)
    this.engine.handler.onPeerError(event)
    if (cycle === null) {
      this.out.add(new Refusal(event, peer, text.length, this.out.bytes - before))
      this.linger()
      return
    }
    cycle.refusal = `${name}: ${reason}`
    if (cycle.ended) {
      // Found while the rest of the request was being thrown away: its answer stands.
      this.finish(cycle, false)
      return
    }
    cycle.reason = cycle.refusal
    cycle.ended = true
    cycle.content?.fail(code)
    cycle.owner?.onAborted(cycle.reason)
    if (sent) {
      this.cut(cycle.reason)
    } else {
      this.finish(cycle, false)
    }
  }

  /** Close in stages (RFC 9112 §9.6): everything out, half-close, read on and discard until the peer closes, so that it can read the answer. */
  private linger(): void {
    if (this.state >= LINGERING) return
    this.engine.leaveIdle(this)
    this.dropHead()
    this.state = LINGERING
    this.stash = null
    this.deadline = Infinity
    if (!this.inRead) this.settle()
    this.adjustReading()
  }

  private destroyWhenFlushed(): void {
    if (this.finSent && this.out.waiting === 0) this.destroy()
  }

  private destroy(): void {
    if (this.state === CLOSED) return
    this.transport.destroy()
    this.closed('the connection was closed')
  }

  /** End it so that the peer sees a failure: a plain close would make a truncated answer look complete. */
  cut(reason: string): void {
    if (this.state === CLOSED) return
    if (this.duplex !== null) this.duplex.destroy()
    else this.transport.reset()
    this.closed(reason)
  }

  private closed(reason: string): void {
    if (this.state === CLOSED) return
    this.state = CLOSED
    this.stash = null
    this.dropHead()
    const cycle = this.cycle
    if (cycle !== null) {
      this.cycle = null
      this.incoming = null
      const wasEnded = cycle.ended
      cycle.ended = true
      cycle.content?.fail(-1)
      if (!wasEnded) {
        cycle.reason ||= reason
        cycle.owner?.onAborted(reason)
      }
      this.out.add(cycle)
    }
    this.out.close(reason)
    if (this.taken !== null) this.applicationReturned(this.taken)
    this.engine.closed(this)
    this.whenClosed?.()
  }

  /** Evicted for a newcomer. */
  closeIdle(): void {
    if (this.state === IDLE) this.destroyOrLinger()
  }

  private destroyOrLinger(): void {
    if (this.out.waiting === 0 && !this.transport.secure) this.destroy()
    else this.linger()
  }

  /** The server begins to drain. */
  drain(): void {
    switch (this.state) {
      case NEW:
        this.destroy()
        return
      case IDLE:
        if (this.stash === null) this.deadline = Math.min(this.deadline, this.engine.deadlines.in(this.engine.timeouts.idleGrace))
        return
      case TAKEN_OVER:
      case RESPONDING:
        if (this.mayCutAtDrain) this.cut('the server is shutting down')
        return
      default:
    }
  }

  /** eventlet.set_idle: a drain may close this connection although a request is being answered. */
  setIdle(): void {
    this.mayCutAtDrain = true
    if (this.engine.draining) this.cut('the server is shutting down')
  }

  /** Hand the connection over with everything that was read and not interpreted. Only the current cycle may ask. */
  takeOver(cycle: Cycle): Duplex {
    this.flushNow()
    cycle.headSent = true
    const parts: Uint8Array[] = []
    const content = cycle.content
    for (let piece = content?.take(Infinity) ?? null; piece !== null; piece = content!.take(Infinity)) parts.push(piece)
    content?.fail(-1)
    if (this.stash !== null) parts.push(this.stash)
    if (this.rest !== null) parts.push(this.rest.subarray(this.restStart, this.restEnd))
    const leftover = parts.length === 0 ? null : Buffer.concat(parts)
    this.state = TAKEN_OVER
    this.stash = this.rest = this.cycle = null
    this.incoming = null
    cycle.ended = true
    this.engine.deadlines.remove(this)
    if (this.transport.pendingBytes === 0) this.out.tell()
    const duplex = this.transport.detach(leftover)
    this.duplex = duplex
    this.taken = cycle
    duplex.once('close', () => this.closed('the connection was closed'))
    return duplex
  }

  get stateName(): ConnectionState | 'closed' {
    return STATE_NAMES[this.state]!
  }

  /** The application returned; if it had taken the connection over its cycle ends, and the connection goes on without us. */
  applicationReturned(cycle: Cycle): void {
    if (this.taken !== cycle) return
    this.taken = null
    cycle.completed = true
    cycle.tell(this.engine.handler)
  }

  /** A cycle's post hooks are still running. */
  holdHooks(): void {
    this.pendingHooks++
  }

  hooksDone(): void {
    if (this.pendingHooks-- >= MAX_PENDING_HOOKS) this.proceed()
  }

  // ── Deadlines ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  onTick(now: number): void {
    if (this.out.tooSlow()) {
      this.engine.expired('send', this)
      this.cut('the peer takes the answer too slowly')
    } else if (this.state === RESPONDING) {
      this.checkCycle(this.cycle!, now)
    } else if (now >= this.deadline) {
      this.waitEnded()
    }
  }

  /** The state's own wait is over. */
  private waitEnded(): void {
    const { engine } = this
    switch (this.state) {
      case NEW:
        engine.expired('firstByte', this)
        this.destroy()
        return
      case READING:
        engine.expired('head', this)
        this.refuse(PeerErrorCode.HEAD_TIMEOUT, -1)
        return
      case IDLE:
        if (this.stash !== null) return
        engine.expired('keepalive', this)
        this.destroyOrLinger()
        return
      case LINGERING:
        engine.expired('linger', this)
        this.destroy()
        return
      default:
    }
  }

  private checkCycle(cycle: Cycle, now: number): void {
    const { engine } = this
    const { timeouts } = engine
    const age = now - cycle.startedAt - TICK
    if (this.incoming !== null && this.contentTooSlow(cycle, this.incoming)) {
      engine.expired('body', this)
      this.refuse(PeerErrorCode.BODY_TIMEOUT, -1)
    } else if (age >= timeouts.request) {
      engine.expired('request', this)
      this.refuse(PeerErrorCode.REQUEST_TIMEOUT, -1)
    } else if (age >= timeouts.handler && !cycle.headSent) {
      engine.expired('handler', this)
      this.refuse(PeerErrorCode.HANDLER_TIMEOUT, -1)
    }
  }

  private contentTooSlow(cycle: Cycle, incoming: ContentReader): boolean {
    // Not the peer's fault: it waits for a 100, or we do not read.
    if (this.paused || (cycle.head.expectContinue && !cycle.continued && !cycle.ended)) return false
    return incoming.tooSlow(this.engine.timeouts)
  }
}
