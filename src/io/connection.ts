// One connection's life: bytes in, cycles one at a time and in order, bytes out in one write per turn, deadlines, lingering, drain.
// Knows transports, the parser and cycles; knows nothing of environs, applications and logs.
//
// In: `onBytes` interprets what was read, head after head, until something must wait (`stashRest`): the answer under way, the connection's share of the
// turn, room for what is answered. Whatever ends that wait calls `proceed`.
// Out: answers are written into `out` and say so by `wrote`. `settle` decides when it leaves: at once where this turn can add nothing, else after its
// microtasks (`flushLater`, `onFlush`). `flush` may still wait for more while the kernel takes nothing; `flushNow` does not. `afterFlush`: it is all in
// the kernel, and cycles whose last byte was among it are told so.
// An application may be called, and may answer, write, take over or close, within `interpret` and `goOn`: the state is to be looked at anew after them.
import { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import { PeerErrorCode, peerErrorInfo } from '../parser/errors.ts'
import { Framing, type RequestHead } from '../parser/request-head.ts'
import { leftScope } from './async-stack.ts'
import { ContentReader } from './content-reader.ts'
import { Content, OVER, type ContentSource } from './content.ts'
import { Cycle } from './cycle.ts'
import { TICK, type Timed } from './deadlines.ts'
import { RequestAborted, UsageError } from './errors.ts'
import type { Engine } from './engine.ts'
import { flat } from './flat-string.ts'
import { HeadReader, REQUEST_LINE_MAX, requestLine } from './head-reader.ts'
import type { Outgoing } from './outgoing.ts'
import { SLAB_SIZE } from './read-slab.ts'
import { Refusal } from './refusal.ts'
import { encodeResponseHead, renderRefusal } from './response-head.ts'
import { NO_TRAFFIC, type Traffic } from './traffic.ts'
import type { Transport, TransportOwner } from './transport.ts'

// States, in an order that `<` and `>=` rely on: from LINGERING on no request begins any more, from TAKEN_OVER on the input is not ours.
// NEW or IDLE, then READING (unless a head comes whole), RESPONDING, IDLE, and so on; LINGERING and TAKEN_OVER are left for CLOSED alone.
/** No byte yet. */
const NEW = 0
/** A head has begun and is not complete. */
const READING = 1
/** From a complete head to the end of its answer, and of what the request's content still has to be drained. */
const RESPONDING = 2
/** Between requests. Input may wait (`stash`) for its turn or for room. */
const IDLE = 3
/** Nothing more is answered: what there is leaves, our end closes behind it, what the peer still sends is counted and thrown away. */
const LINGERING = 4
/** The application's. */
const TAKEN_OVER = 5
const CLOSED = 6
const STATE_NAMES = ['new', 'reading', 'responding', 'idle', 'lingering', 'taken over', 'closed'] as const

/** States that a connection on the books can have. */
export type ConnectionState = Exclude<(typeof STATE_NAMES)[number], 'closed'>

/** Fairness: after so many cycles, or so many bytes (twice as many where most are in large pieces), in one turn the connection goes on behind the others. */
const TURN_CYCLES = 32
const TURN_BYTES = 65536
/** The same after so many pieces: they may be empty, and an endless iterable of them produces no byte. */
const TURN_PIECES = 4096
/** Cycles whose post hooks are still running: beyond it no further request is read. */
const MAX_PENDING_HOOKS = 16

/** No deadline. A number as small as all others: one field that may hold Infinity costs 16 bytes more in every connection. */
const NEVER = 0

const TRACE_ANSWER = encodeResponseHead(501, [['Content-Type', 'text/plain']], true)
const TRACE_TEXT = ['TRACE is not supported\r\n']

export class Connection implements TransportOwner, Timed, ContentSource {
  readonly engine: Engine
  readonly transport: Transport
  previousTimed: Timed | null = null
  nextTimed: Timed | null = null
  previousIdle: Connection | null = null
  nextIdle: Connection | null = null
  private state = NEW
  /** Virtual time at which the state's own wait ends (first byte, head, idle, linger), or `NEVER`. */
  private deadline = NEVER
  /** Borrowed from the first byte of a request until it is idle again, and kept to the end of one that closes or is taken over. */
  private traffic = NO_TRAFFIC

  constructor(engine: Engine, transport: Transport) {
    this.engine = engine
    this.transport = transport
  }

  get out(): Outgoing {
    return this.traffic.out
  }

  start(): void {
    this.deadline = this.engine.deadlines.in(this.engine.timeouts.firstByte)
    this.engine.deadlines.add(this)
    this.transport.start(this)
  }

  // ── Input ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  onBytes(bytes: Buffer, start: number, end: number): void {
    const traffic = this.borrow()
    this.engine.counters.bytesRead += end - start
    if (traffic.stash !== null) {
      this.stashRest(bytes, start, end, true)
      return
    }
    traffic.beginTurn()
    traffic.inRead = true
    // Whatever context this callback has: a handle's is none, a stream's that of whoever pushed.
    this.engine.root.runInAsyncScope(this.interpret, this, bytes, start, end)
    leftScope()
  }

  onReadDone(together: boolean): void {
    const { traffic } = this
    if (!traffic.inRead) return
    this.settle()
    if (together && this.state === RESPONDING) this.flushLater()
    traffic.inRead = false
    this.giveBack()
  }

  onOwnBytes(bytes: Buffer, start: number, end: number): void {
    const traffic = this.borrow()
    traffic.given = bytes
    this.onBytes(bytes, start, end)
    traffic.given = null
  }

  expectedBytes(): number {
    const { cycle, incoming } = this.traffic
    if (incoming === null || cycle === null || cycle.ended) return 0
    return incoming.expected(this.engine.limits.readBuffer)
  }

  private borrow(): Traffic {
    if (this.traffic === NO_TRAFFIC) this.traffic = this.engine.lendTraffic()
    return this.traffic
  }

  /** At the end of whatever may have been the last to happen: an idle connection has nothing that waits. */
  private giveBack(): void {
    const { traffic } = this
    if (this.state !== IDLE || !traffic.over || traffic === NO_TRAFFIC || this.transport.pendingBytes > 0) return
    this.traffic = NO_TRAFFIC
    this.engine.giveBackTraffic(traffic)
  }

  onEnd(): void {
    const traffic = this.borrow()
    traffic.peerEnded = true
    if (traffic.stash === null) this.inputEnded()
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
        // Nothing but empty lines, which old clients send behind content (RFC 9112 §2.2): no request has begun.
        if (this.traffic.reader?.requestLine === '') this.linger()
        else this.refuse(PeerErrorCode.INCOMPLETE_HEAD, -1)
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
    const traffic = this.borrow()
    traffic.beginTurn()
    if (traffic.out.bytes > 0) this.flush()
    else this.afterFlush()
    this.goOn()
  }

  onClosed(failure: string): void {
    this.closed(failure === '' ? 'the peer closed the connection' : `the peer is gone (${failure})`)
  }

  /** The turn after a yield. */
  onTurn(): void {
    this.traffic.turnScheduled = false
    this.traffic.beginTurn()
    this.goOn()
  }

  /** More is welcome on the wire: a waiting application first, then input that waited. */
  private goOn(): void {
    const { traffic } = this
    if (traffic.writableWanted && traffic.out.waiting(this.transport) < this.engine.limits.writeHighWater) {
      traffic.writableWanted = false
      traffic.cycle?.owner?.onWritable()
    }
    this.proceed()
  }

  /** Interpret what was stashed. */
  private proceed(): void {
    const { traffic } = this
    const { stash } = traffic
    if (traffic.interpreting) return
    if (stash !== null && this.state < TAKEN_OVER) {
      traffic.stash = null
      traffic.owned = stash
      this.engine.root.runInAsyncScope(this.interpret, this, stash, traffic.stashStart, stash.length)
      traffic.owned = null
    }
    if (traffic.peerEnded && traffic.stash === null) this.inputEnded()
    this.settle()
    this.giveBack()
  }

  private interpret(bytes: Buffer, start: number, end: number): void {
    const { traffic } = this
    let pos = start
    // Once a drain has begun, what arrives behind a request that is being answered is not interpreted.
    const last = this.engine.draining && bytes !== traffic.owned ? traffic.cycle : null
    traffic.interpreting = true
    for (;;) {
      if (this.state === RESPONDING) {
        if (traffic.incoming !== null && pos < end) pos = this.readContent(bytes, pos, end)
        if (this.state !== RESPONDING) continue
        if (pos === end) break
        if (last === null || traffic.cycle !== last || !last.headSent) this.stashRest(bytes, pos, end)
        if (last !== null && traffic.cycle === last) {
          // What comes behind it might begin in the middle of a request: nothing is interpreted any more, even if the head of this answer has promised
          // it. Before that head a takeover may still want it.
          last.persist = false
          traffic.stashedInDrain = true
        }
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
    traffic.interpreting = false
    if (this.state === IDLE && traffic.stash === null) this.enterIdle()
    this.flushReferred()
  }

  /** Before another application runs: a piece that is referred to may be a buffer that all requests of an application share. */
  private flushReferred(): void {
    if (this.traffic.out.referred > 0) this.flush()
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
    const { engine, traffic } = this
    if (traffic.reader !== null) return this.readMoreHead(traffic.reader, bytes, start, end)
    // The usual case: the head is here whole, and the parser is back before this returns.
    const parser = engine.lendParser(this.transport.secure)
    const result = parser.execute(bytes, start, end)
    if (result > 0) {
      const head = parser.takeHead(bytes, start)
      engine.giveBackParser(parser)
      return this.startCycle(head, bytes, start + result, end)
    }
    if (result === 0) {
      traffic.reader = new HeadReader(parser, bytes, start, end)
      this.state = READING
      engine.leaveIdle(this)
      this.deadline = engine.deadlines.in(engine.timeouts.head)
      return end
    }
    const offset = parser.errorOffset
    const asksForHead = parser.asksForHead(bytes, start)
    engine.giveBackParser(parser)
    this.refuse(-result, offset, requestLine(bytes, start, end), asksForHead)
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
    const { traffic } = this
    if (traffic.reader === null) return
    this.engine.giveBackParser(traffic.reader.release())
    traffic.reader = null
  }

  private startCycle(head: RequestHead, bytes: Buffer, start: number, end: number): number {
    const { engine, traffic } = this
    engine.leaveIdle(this)
    this.state = RESPONDING
    this.deadline = NEVER
    traffic.turnCycles++
    engine.counters.requests++
    const cycle = new Cycle(this, head, engine.deadlines.now, engine.minimumChunkSize)
    traffic.cycle = cycle
    let pos = start
    if (head.framing === Framing.LENGTH && head.contentLength <= end - pos) {
      // The usual small body came whole with its head: nothing of it is left to read.
      if (head.contentLength > 0) {
        cycle.content = new Content(this, head.contentLength)
        cycle.content.onContent(bytes, pos, pos + head.contentLength)
        cycle.content.complete = true
      }
      pos += head.contentLength
    } else if (head.framing !== Framing.NONE) {
      traffic.incoming = new ContentReader(head, this, engine.limits)
      cycle.content = traffic.incoming.content
      // What came with the head is decoded first: an error in it never reaches the application.
      if (pos < end) pos = this.readContent(bytes, pos, end)
      if (this.state !== RESPONDING) return pos
    }
    traffic.rest = bytes
    traffic.restStart = pos
    traffic.restEnd = end
    if (head.method === 'TRACE') {
      cycle.setHead(TRACE_ANSWER)
      cycle.answer(TRACE_TEXT, TRACE_TEXT[0]!.length)
    } else {
      engine.handler.onHead(cycle)
    }
    traffic.rest = null
    return pos
  }

  private readContent(bytes: Buffer, start: number, end: number): number {
    const { traffic } = this
    const cycle = traffic.cycle!
    const incoming = traffic.incoming!
    const pos = bytes === traffic.given ? incoming.readOwn(bytes, start, end) : incoming.read(bytes, start, end)
    if (pos < 0) {
      this.refuse(-pos, incoming.content.received)
      return end
    }
    if (incoming.done) traffic.incoming = null
    incoming.content.changed()
    if (incoming.done) {
      if (cycle.ended && cycle === traffic.cycle) this.finish(cycle, !incoming.overDrained)
    } else if (incoming.overDrained) {
      this.finish(cycle, false)
    } else {
      this.adjustReading()
    }
    return pos
  }

  /** The peer ended its side while its request is being answered. */
  private contentEnded(): void {
    const { traffic } = this
    const cycle = traffic.cycle!
    if (traffic.incoming !== null) {
      const { content } = traffic.incoming
      traffic.incoming = null
      cycle.persist = false
      content.fail(PeerErrorCode.INCOMPLETE_CONTENT)
      if (cycle.ended) this.finish(cycle, false)
    } else if (this.engine.abortOnHalfClose) {
      this.cut('the peer closed its side')
    }
  }

  private stashRest(bytes: Buffer, start: number, end: number, moreCame = false): void {
    this.traffic.keep(bytes, start, end)
    this.adjustReading(moreCame || end - start > SLAB_SIZE)
  }

  /** May the next request of this connection begin now? If not, something that calls `proceed` has been arranged. */
  private mayStart(): boolean {
    const { traffic, transport } = this
    const { out } = traffic
    this.flushReferred()
    if (this.hooksCrowded || transport.failed) return false
    if (traffic.turnCycles >= TURN_CYCLES || traffic.turnBytes + out.bytes >= TURN_BYTES) {
      this.yieldTurn()
      return false
    }
    const { writeHighWater, readBuffer } = this.engine.limits
    const crowded = out.crowded(TURN_CYCLES, readBuffer)
    if (!crowded && out.waiting(transport) < writeHighWater) return true
    this.flush()
    return transport.pendingBytes === 0 || (!crowded && out.waiting(transport) < writeHighWater)
  }

  private yieldTurn(): void {
    if (this.traffic.turnScheduled) return
    this.traffic.turnScheduled = true
    this.engine.yieldTurn(this)
  }

  /** Input that waits pauses reading once more came on top of it, not before: what has come is often all there is, and stopping and starting costs as
   *  much as three requests. In a drain at once: what comes then is no longer interpreted. */
  private adjustReading(moreCame = false): void {
    const { traffic } = this
    const { cycle, incoming } = traffic
    const full = incoming !== null && cycle !== null && !cycle.ended && incoming.content.weight >= this.engine.limits.readBuffer
    const waits = traffic.stash !== null && (moreCame || traffic.paused || this.engine.draining)
    const pause = (waits || full) && this.state !== LINGERING
    if (pause === traffic.paused || this.state === CLOSED || this.state === TAKEN_OVER) return
    traffic.paused = pause
    if (pause) this.transport.pauseReading()
    else this.transport.resumeReading()
  }

  private discardInput(octets: number): void {
    this.traffic.lingered += octets
    if (this.traffic.lingered > this.engine.limits.maxDrain) this.destroyWhenFlushed()
  }

  // ── Content ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  onContentWanted(content: Content): void {
    const cycle = this.traffic.cycle
    // A hook may still read what an earlier request had sent.
    if (cycle === null || cycle.content !== content) return
    if (cycle.head.expectContinue && !cycle.continued && !cycle.headSent) cycle.sendContinue()
    this.adjustReading()
  }

  onContentTaken(content: Content): void {
    this.onContentWanted(content)
  }

  // ── Output ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Something was added to `out`: it leaves at the end of this turn. */
  wrote(): void {
    if (this.traffic.inRead || this.traffic.interpreting) return
    this.settle()
  }

  /** See that what is in `out` leaves: now if nothing more can come in this turn, else after its microtasks. */
  private settle(): void {
    const { traffic } = this
    if (traffic.out.bytes === 0 && this.state !== LINGERING) {
      if (traffic.out.hasEnded && this.transport.pendingBytes === 0) this.afterFlush()
      this.adjustReading()
      return
    }
    // Nothing more can come from a request that has ended with nothing read behind it.
    if (this.state !== RESPONDING && !traffic.flushScheduled && (traffic.inRead || traffic.stash === null)) this.flush()
    else this.flushLater()
    this.adjustReading()
  }

  /** After the microtasks of this turn. */
  private flushLater(): void {
    const { traffic } = this
    if (traffic.flushScheduled) return
    traffic.flushScheduled = true
    this.engine.scheduleFlush(this, traffic.inRead)
  }

  /** The flush that was scheduled; all may have left before it. */
  onFlush(): void {
    if (this.traffic === NO_TRAFFIC) return
    this.flush()
    this.giveBack()
  }

  /** Give what there is to the transport, unless it is worth waiting for more. */
  private flush(): void {
    this.traffic.flushScheduled = false
    if (!this.traffic.out.small(this.transport) || this.state === LINGERING) this.flushNow()
  }

  flushNow(): void {
    if (this.state === CLOSED || this.state === TAKEN_OVER) return
    const { traffic, transport } = this
    traffic.turnBytes += traffic.out.bytes
    this.engine.counters.bytesWritten += traffic.out.bytes
    if (!traffic.out.send(transport)) {
      this.cut('a piece of the answer changed its length before it left')
      return
    }
    if (this.state === LINGERING && !traffic.finSent) {
      traffic.finSent = true
      transport.endWriting()
    }
    if (transport.pendingBytes === 0) this.afterFlush()
  }

  /** Everything is in the kernel. */
  private afterFlush(): void {
    const { engine, traffic } = this
    if (this.state === LINGERING && traffic.finSent) {
      if (traffic.peerEnded || traffic.lingered > engine.limits.maxDrain) this.destroy()
      else if (this.deadline === NEVER) this.deadline = engine.deadlines.in(engine.timeouts.linger)
    }
    traffic.out.tell(engine.handler)
  }

  /** For the application's iteration: false when it should stop until `onWritable`. */
  writable(): boolean {
    if (this.state !== RESPONDING) return true
    const { traffic, transport } = this
    const { out } = traffic
    const high = this.engine.limits.writeHighWater
    // Large pieces cost no memory of ours. As long as the kernel takes all, twice as many leave in one write: that wakes the peer less often, and a
    // download in pieces of 64 KiB costs 0.8 of the CPU (measured).
    const more = transport.pendingBytes === 0 ? Math.min(out.referred, high) : 0
    if (out.waiting(transport) >= high + more) this.flush()
    if (transport.pendingBytes > 0 && out.waiting(transport) >= high) {
      traffic.writableWanted = true
      return false
    }
    if (traffic.turnBytes + out.bytes >= TURN_BYTES + Math.min(out.referred, TURN_BYTES) || ++traffic.turnPieces > TURN_PIECES) {
      traffic.writableWanted = true
      this.flush()
      this.yieldTurn()
      return false
    }
    return true
  }

  /** The connection's part of the decision to keep it (RFC 9112 §9.3). */
  mayPersist(cycle: Cycle): boolean {
    const { engine, traffic } = this
    if (engine.keepalive === 0 || engine.crowded) return false
    if (engine.draining ? !this.anotherHead() : traffic.peerEnded && !traffic.moreInput) return false
    // RFC 9110 §10.1.1: after a final answer without a 100 nobody knows whether the content will come.
    if (cycle.content !== null && cycle.head.expectContinue && !cycle.continued) return false
    if (traffic.incoming === null) return true
    return traffic.incoming.announcedRest <= engine.limits.maxDrain
  }

  /** Behind the request being answered another one has been read whole: in a drain it still gets its answer. */
  private anotherHead(): boolean {
    const { engine, traffic } = this
    const { stash, stashStart, rest, restStart, restEnd } = traffic
    if (!traffic.moreInput || traffic.incoming !== null || traffic.stashedInDrain) return false
    const parser = engine.lendParser(this.transport.secure)
    const complete = (stash !== null ? parser.execute(stash, stashStart, stash.length) : parser.execute(rest!, restStart, restEnd)) > 0
    engine.giveBackParser(parser)
    return complete
  }

  /** The answer is complete: drain the rest of the request, or finish at once. */
  responseEnded(cycle: Cycle): void {
    const { traffic } = this
    if (cycle !== traffic.cycle) return
    traffic.writableWanted = false
    if (traffic.incoming !== null && cycle.persist) {
      traffic.incoming.discard(this.engine.limits.maxDrain)
      this.wrote()
      return
    }
    this.finish(cycle, cycle.persist)
    if (!traffic.interpreting) this.proceed()
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
    const { traffic } = this
    traffic.cycle = null
    traffic.incoming?.content.fail(OVER)
    traffic.incoming = null
    traffic.out.add(cycle)
    if (!keep) {
      this.linger()
      return
    }
    this.state = IDLE
    this.deadline = this.engine.deadlines.in(this.engine.keepalive)
    if (!traffic.interpreting && traffic.stash === null) this.enterIdle()
  }

  // ── Errors and ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A peer error: a clear answer if one can still be given, then nothing of this connection is interpreted any more. */
  refuse(code: number, offset: number, line = '', asksForHead = false): void {
    if (this.state >= LINGERING) return
    const { name, status, reason } = peerErrorInfo(code)
    const { cycle, out, reader } = this.traffic
    const sent = cycle !== null && cycle.headSent
    const head = cycle?.head ?? null
    const peer = this.transport.peerAddress()
    const received = flat((head?.requestLine ?? reader?.requestLine ?? line).slice(0, REQUEST_LINE_MAX))
    const withContent = !(head !== null ? head.method === 'HEAD' : reader?.asksForHead ?? asksForHead)
    const text = reason + '\r\n'
    const before = out.bytes
    if (!sent) {
      const answer = renderRefusal(this.engine.version, status, this.engine.dates.fieldLine(), text, withContent)
      out.text(answer, answer.length)
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
      out.add(new Refusal(event, peer, withContent ? text.length : 0, out.bytes - before))
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
    const traffic = this.borrow()
    this.engine.leaveIdle(this)
    this.dropHead()
    this.state = LINGERING
    traffic.stash = null
    this.deadline = NEVER
    if (!traffic.inRead) this.settle()
    this.adjustReading()
  }

  private destroyWhenFlushed(): void {
    if (this.traffic.finSent && this.out.waiting(this.transport) === 0) this.destroy()
  }

  private destroy(): void {
    if (this.state === CLOSED) return
    this.transport.destroy()
    this.closed('the connection was closed')
  }

  /** End it so that the peer sees a failure: a plain close would make a truncated answer look complete. */
  cut(reason: string): void {
    if (this.state === CLOSED) return
    const { duplex } = this.traffic
    if (duplex !== null) duplex.destroy()
    else this.transport.reset()
    this.closed(reason)
  }

  private closed(reason: string): void {
    if (this.state === CLOSED) return
    this.state = CLOSED
    if (this.traffic !== NO_TRAFFIC) this.breakOff(this.traffic, reason)
    this.engine.closed(this)
  }

  /** What was under way never comes to its end. The traffic stays ours: turns and hooks may still be coming. */
  private breakOff(traffic: Traffic, reason: string): void {
    const { cycle, out, taken } = traffic
    traffic.stash = null
    this.dropHead()
    if (cycle !== null) {
      traffic.cycle = traffic.incoming = null
      const wasEnded = cycle.ended
      cycle.ended = true
      cycle.content?.fail(OVER)
      if (!wasEnded) {
        cycle.reason ||= reason
        cycle.owner?.onAborted(reason)
      }
      out.add(cycle)
    }
    out.close(reason, this.transport, this.engine.handler)
    if (taken !== null) this.applicationReturned(taken)
  }

  /** Evicted for a newcomer. */
  closeIdle(): void {
    if (this.state === IDLE) this.destroyOrLinger()
  }

  private destroyOrLinger(): void {
    if (this.out.waiting(this.transport) === 0 && !this.transport.secure) this.destroy()
    else this.linger()
  }

  /** The server begins to drain. */
  drain(): void {
    switch (this.state) {
      case NEW:
        // Unless its first bytes are about to be interpreted.
        if (this.transport.catchUp()) this.destroy()
        return
      case IDLE:
        if (this.traffic.stash === null) this.deadline = Math.min(this.deadline, this.engine.deadlines.in(this.engine.timeouts.idleGrace))
        else this.adjustReading()
        return
      case TAKEN_OVER:
      case RESPONDING:
        if (this.traffic.mayCutAtDrain) this.cut('the server is shutting down')
        else this.adjustReading()
        return
      default:
    }
  }

  /** eventlet.set_idle: a drain cuts this connection although a request is being answered. */
  setIdle(): void {
    this.borrow().mayCutAtDrain = true
    if (this.engine.draining) this.cut('the server is shutting down')
  }

  /** Hand the connection over with everything that was read and not interpreted. Only the current cycle may ask. */
  takeOver(cycle: Cycle): Duplex {
    const { engine, traffic, transport } = this
    if (traffic.incoming !== null && cycle.head.framing === Framing.CHUNKED) {
      throw new UsageError('the chunked content must be read or discarded before the takeover: what is left of it cannot be told from what follows')
    }
    this.flushNow()
    // Hooks of earlier requests may have run in it, and ended the connection.
    if (traffic.cycle !== cycle) throw new RequestAborted(cycle.reason)
    cycle.headSent = true
    const parts: Uint8Array[] = []
    const content = cycle.content
    for (let piece = content?.take(Infinity) ?? null; piece !== null; piece = content!.take(Infinity)) parts.push(piece)
    content?.fail(OVER)
    if (traffic.stash !== null) parts.push(traffic.stash.subarray(traffic.stashStart))
    if (traffic.rest !== null) parts.push(traffic.rest.subarray(traffic.restStart, traffic.restEnd))
    const leftover = parts.length === 0 ? null : Buffer.concat(parts)
    this.state = TAKEN_OVER
    traffic.stash = traffic.rest = null
    traffic.cycle = traffic.incoming = null
    cycle.ended = true
    engine.takenOver(this)
    if (transport.pendingBytes === 0) traffic.out.tell(engine.handler)
    const duplex = transport.detach(leftover)
    traffic.duplex = duplex
    traffic.taken = cycle
    duplex.once('close', () => this.closed('the connection was closed'))
    return duplex
  }

  get stateName(): ConnectionState | 'closed' {
    return STATE_NAMES[this.state]!
  }

  /** The application returned; if it had taken the connection over its cycle ends, and the connection goes on without us. */
  applicationReturned(cycle: Cycle): void {
    const { traffic } = this
    if (traffic.taken !== cycle) return
    traffic.taken = null
    cycle.completed = cycle.reason === ''
    cycle.tell(this.engine.handler)
  }

  /** The application failed. A connection that it had taken over has nobody now who would ever end it. */
  applicationFailed(cycle: Cycle): void {
    if (this.traffic.taken !== cycle) return
    cycle.reason = 'the application failed'
    this.cut(cycle.reason)
  }

  /** A cycle's post hooks are still running, and keep `bytes` of memory. */
  holdHooks(bytes: number): void {
    this.traffic.pendingHooks++
    this.traffic.hookBytes += bytes
  }

  /** With the same `bytes`. */
  hooksDone(bytes: number): void {
    const crowded = this.hooksCrowded
    this.traffic.pendingHooks--
    this.traffic.hookBytes -= bytes
    if (crowded) this.proceed()
    else this.giveBack()
  }

  private get hooksCrowded(): boolean {
    const { pendingHooks, hookBytes } = this.traffic
    return pendingHooks >= MAX_PENDING_HOOKS || hookBytes >= this.engine.limits.readBuffer
  }

  // ── Deadlines ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  onTick(now: number): void {
    const { engine, traffic } = this
    if (traffic !== NO_TRAFFIC && traffic.out.tooSlow(this.transport, engine.timeouts)) {
      engine.expired('send', this)
      this.cut('the peer takes the answer too slowly')
    } else if (this.state === RESPONDING) {
      this.checkCycle(traffic.cycle!, now)
    } else if (this.deadline !== NEVER && now >= this.deadline) {
      this.waitEnded()
    } else {
      // What a rate was kept for may have left meanwhile.
      this.giveBack()
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
        if (this.traffic.stash !== null) return
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
    const { incoming } = this.traffic
    const age = now - cycle.startedAt - TICK
    if (incoming !== null && this.contentTooSlow(cycle, incoming)) {
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
    // Not the peer's fault: we do not read, or it was never told to go on. Such a peer owes nothing behind the head of an answer (RFC 9110 §10.1.1), and
    // takes that for as long as it lasts; but nobody is to wait for its content for ever.
    const excused = cycle.head.expectContinue && !cycle.continued && !cycle.ended && !(cycle.headSent && incoming.content.awaited)
    if (this.traffic.paused || excused) return false
    return incoming.tooSlow(this.engine.timeouts)
  }
}
