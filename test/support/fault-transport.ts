// A Transport in memory whose peer and kernel are turned by hand: nothing arrives, completes or fails before the test says so.
// It behaves as HandleTransport does (one shared slab for reading, memory held until a write completes, failures told from the event loop) and
// writes down every breach of the contract in transport.ts, by the engine, as a `violation`.
import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { forgetBuffer, giveBackBuffer } from '../../src/io/buffer-pool.ts'
import type { Address, Transport, TransportOwner } from '../../src/io/transport.ts'

/** How the connection ended. 'destroyed', 'reset' and 'detached' by the engine, 'lost' by the peer or the network, or after both sides' end. */
export type Ending = 'open' | 'destroyed' | 'reset' | 'detached' | 'lost'

/** One call of `write` or `writeMany` that the kernel has not taken whole. */
interface Sending {
  readonly views: readonly Uint8Array[]
  /** The same bytes as they were when given: what differs later was overwritten under the kernel's eyes. */
  readonly copy: Buffer
  readonly memory: readonly (Buffer | null)[]
  taken: number
}

type Arrival = { bytes: Buffer; withEnd: boolean } | 'end' | { lost: string }

/** Lent to every owner, and overwritten the moment a callback returns. */
const slab = Buffer.allocUnsafeSlow(65536)
const SPOILED = 0xdb

const PEER: Address = Object.freeze({ address: '192.0.2.1', port: 40000, family: 'IPv4' })
const HERE: Address = Object.freeze({ address: '192.0.2.2', port: 8090, family: 'IPv4' })

export class FaultTransport implements Transport {
  readonly kind: 'stream' | 'handle' = 'handle'
  readonly secure: boolean = false
  readonly stream: null = null
  pendingBytes: number = 0
  ending: Ending = 'open'
  /** Our FIN is on the wire: everything written before it has left. */
  finSent: boolean = false
  /** After a takeover: the other end of what the application holds. */
  duplex: DetachedDuplex | null = null
  /** Breaches of the contract. */
  readonly violations: string[] = []
  /** Calls of `write` and `writeMany` so far. */
  writes: number = 0
  /** This many more writes succeed; the next fails with `failWith`. */
  writesUntilFailure: number = Infinity
  failWith: string = 'EPIPE'
  /** Reads are done together with those of others: what came behind them was seen before the engine could pause. */
  together: boolean = false
  /** What arrives next has been read, and is interpreted when the engine asks for it. */
  aside: boolean = false
  /** What has been read is about to be interpreted: to ask for it changes nothing. */
  inTurn: boolean = false
  /** Bytes that the kernel takes at once; `take` makes more room. */
  room: number = Infinity
  private owner: TransportOwner | null = null
  private paused: boolean = false
  private endAsked: boolean = false
  private peerEnded: boolean = false
  /** A write failed at once; the owner will be told. */
  private failing: boolean = false
  private readonly arrivals: Arrival[] = []
  private readonly sending: Sending[] = []
  private readonly later: (() => void)[] = []
  private readonly onWire: Buffer[] = []

  // ── The peer and the network ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Bytes that arrive when the engine reads, in one callback; with `withEnd` the FIN comes in the same turn. Text is latin-1. */
  receive(bytes: string | Buffer, withEnd: boolean = false): this {
    const all = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    if (all.length > slab.length) throw new Error('more than one read gives')
    this.arrivals.push({ bytes: all, withEnd })
    return this
  }

  /** The peer's FIN. */
  fin(): this {
    this.arrivals.push('end')
    return this
  }

  /** The peer is gone. Seen at the next read or write, whichever comes first. */
  lose(code: string = 'ECONNRESET'): this {
    this.arrivals.push({ lost: code })
    return this
  }

  /** The kernel takes no more than `room` bytes from here on. */
  hold(room: number = 0): this {
    this.room = room
    return this
  }

  /** The kernel takes `bytes` more of what is pending, and of what comes. */
  take(bytes: number = Infinity): void {
    this.room += bytes
    this.move()
    if (this.pendingBytes === 0) this.completed()
  }

  /** What is pending fails. */
  failPending(code: string = 'EPIPE'): void {
    if (this.sending.length === 0) throw new Error('nothing is pending')
    this.lost(code)
  }

  /** What the kernel has taken so far, latin-1. */
  wire(): string {
    return Buffer.concat(this.onWire).toString('latin1')
  }

  get isReading(): boolean {
    return this.owner !== null && !this.paused && this.ending === 'open' && !this.failing
  }

  get failed(): boolean {
    return this.ending !== 'open' || this.failing
  }

  /** Writes that the kernel has not taken whole. */
  get writesPending(): number {
    return this.sending.length
  }

  get isStarted(): boolean {
    return this.owner !== null
  }

  /** Bytes have arrived that the engine has not read. */
  get unread(): number {
    return this.arrivals.reduce((sum, arrival) => sum + (typeof arrival === 'object' && 'bytes' in arrival ? arrival.bytes.length : 0), 0)
  }

  /** One thing happens, as one poll of the event loop would bring it. False: there was nothing. */
  turn(): boolean {
    const later = this.later.shift()
    if (later !== undefined) {
      later()
      return true
    }
    if (this.ending === 'detached') return this.turnDetached()
    if (!this.isReading) return false
    const arrival = this.arrivals.shift()
    if (arrival === undefined) return false
    if (arrival === 'end') this.deliverEnd()
    else if ('lost' in arrival) this.lost(arrival.lost)
    else {
      this.deliver(arrival.bytes)
      if (arrival.withEnd) {
        // A pause in the callback holds the FIN back, as it does in libuv.
        if (this.isReading || (this.together && !this.failed)) this.deliverEnd()
        else this.arrivals.unshift('end')
      }
    }
    return true
  }

  private deliver(bytes: Buffer): void {
    slab.fill(SPOILED)
    // Never at the slab's start: whoever takes 0 for `start` is found out.
    const start = Math.min(7, slab.length - bytes.length)
    bytes.copy(slab, start)
    this.owner!.onBytes(slab, start, start + bytes.length)
    slab.fill(SPOILED)
    if (!this.failed) this.owner!.onReadDone(this.together)
  }

  private deliverEnd(): void {
    if (this.peerEnded) throw new Error('two ends')
    this.peerEnded = true
    this.owner!.onEnd()
    this.bothEnded()
  }

  private turnDetached(): boolean {
    const arrival = this.arrivals.shift()
    if (arrival === undefined) return false
    const duplex = this.duplex!
    if (arrival === 'end') duplex.push(null)
    else if ('lost' in arrival) duplex.destroy(Object.assign(new Error('lost'), { code: arrival.lost }))
    else {
      duplex.push(arrival.bytes)
      if (arrival.withEnd) duplex.push(null)
    }
    return true
  }

  /** Both directions are over: the socket closes by itself. */
  private bothEnded(): void {
    if (!this.finSent || !this.peerEnded || this.ending !== 'open') return
    this.later.push(() => {
      if (this.ending === 'open') this.lost('')
    })
  }

  private lost(code: string): void {
    if (this.ending !== 'open') return
    this.ending = 'lost'
    this.dropPending()
    this.owner!.onClosed(code)
  }

  private move(): void {
    while (this.sending.length > 0) {
      const first = this.sending[0]!
      const now = Math.min(this.room, first.copy.length - first.taken)
      if (now > 0) this.check(first)
      this.onWire.push(first.copy.subarray(first.taken, first.taken + now))
      first.taken += now
      this.room -= now
      if (first.taken < first.copy.length) return
      this.sending.shift()
      this.pendingBytes -= first.copy.length
      for (const memory of first.memory) if (memory !== null) giveBackBuffer(memory)
    }
  }

  private check(sending: Sending): void {
    if (!Buffer.concat(sending.views).equals(sending.copy)) this.violations.push('bytes changed between write and completion')
  }

  private completed(): void {
    if (this.ending !== 'open') return
    if (this.endAsked) this.shutDown()
    this.owner!.onDrained()
  }

  private shutDown(): void {
    if (this.finSent) return
    this.finSent = true
    this.bothEnded()
  }

  /** Memory of what was pending is left to the collector, as the kernel may still be reading it. `pendingBytes` stays: they never reached the kernel. */
  private dropPending(): void {
    for (const sending of this.sending) for (const memory of sending.memory) if (memory !== null) forgetBuffer()
    this.sending.length = 0
  }

  // ── The contract ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  start(owner: TransportOwner): void {
    if (this.owner !== null) this.violations.push('started twice')
    this.owner = owner
  }

  write(bytes: Uint8Array, memory: Buffer | null): void {
    this.send([bytes], [memory])
  }

  writeText(text: string): void {
    if (/[^\0-\xff]/.test(text)) this.violations.push('writeText with what is not latin-1')
    this.send([Buffer.from(text, 'latin1')], [null])
  }

  writeMany(bytes: Uint8Array[], memory: (Buffer | null)[]): void {
    if (bytes.length !== memory.length) this.violations.push('writeMany with unequal lists')
    this.send([...bytes], [...memory])
  }

  private send(views: Uint8Array[], memory: (Buffer | null)[]): void {
    this.writes++
    const copy = Buffer.concat(views)
    for (let i = 0; i < views.length; i++) {
      if (memory[i] !== null && views[i].buffer !== memory[i]!.buffer) {
        // Allowed for the last view only: the buffer's earlier parts stand before a referred piece.
        if (!views.some(view => view.buffer === memory[i]!.buffer)) this.violations.push('memory of which no view was written')
      }
    }
    if (this.owner === null) this.violations.push('write before start')
    if (copy.length === 0) this.violations.push('an empty write')
    if (this.endAsked) this.violations.push(`write after endWriting: ${JSON.stringify(copy.toString('latin1', 0, 60))}`)
    if (this.ending !== 'open' && this.ending !== 'lost') this.violations.push(`write after the connection was ${this.ending}`)
    if (this.failed || this.endAsked) {
      for (const one of memory) if (one !== null) giveBackBuffer(one)
      return
    }
    const gone = this.arrivals.some(arrival => typeof arrival === 'object' && 'lost' in arrival)
    if (this.writesUntilFailure-- <= 0 || gone) {
      for (const one of memory) if (one !== null) giveBackBuffer(one)
      this.pendingBytes += copy.length
      this.failing = true
      this.later.push(() => this.lost(this.failWith))
      return
    }
    this.sending.push({ views, copy, memory, taken: 0 })
    this.pendingBytes += copy.length
    this.move()
  }

  untakenBytes(): number {
    return this.sending.reduce((sum, sending) => sum + sending.copy.length - sending.taken, 0)
  }

  pauseReading(): void {
    this.paused = true
  }

  resumeReading(): void {
    this.paused = false
  }

  catchUp(): boolean {
    if (this.inTurn) return false
    if (this.aside) {
      this.aside = false
      this.turn()
    }
    return true
  }

  endWriting(): void {
    if (this.ending !== 'open') this.violations.push(`endWriting after the connection was ${this.ending}`)
    if (this.endAsked) this.violations.push('endWriting twice')
    this.endAsked = true
    if (this.ending === 'open' && this.pendingBytes === 0) this.shutDown()
  }

  destroy(): void {
    if (this.ending === 'open' && this.pendingBytes > 0) this.violations.push(`destroyed with ${this.pendingBytes} bytes pending`)
    this.close('destroyed')
  }

  reset(): void {
    this.close('reset')
  }

  private close(how: Ending): void {
    if (this.ending === 'lost') this.violations.push(`${how} after onClosed`)
    if (this.ending === 'detached') this.violations.push(`${how} after detach`)
    if (this.ending !== 'open') return
    this.ending = how
    this.dropPending()
  }

  detach(leftover: Buffer | null): Duplex {
    if (this.ending !== 'open') this.violations.push(`detach after the connection was ${this.ending}`)
    if (leftover !== null && (leftover.buffer === slab.buffer)) this.violations.push('detach with a view of the slab')
    const lost = this.ending !== 'open'
    if (!lost) this.ending = 'detached'
    this.duplex = new DetachedDuplex(this.onWire, leftover)
    if (this.peerEnded) this.duplex.push(null)
    if (lost) this.duplex.destroy()
    return this.duplex
  }

  peerAddress(): Address {
    return PEER
  }

  localAddress(): Address {
    return HERE
  }
}

/** What a takeover gets. */
class DetachedDuplex extends Duplex {
  /** The application ended its side. */
  finished: boolean = false
  private readonly onWire: Buffer[]

  constructor(onWire: Buffer[], leftover: Buffer | null) {
    super({ allowHalfOpen: true })
    this.onWire = onWire
    this.on('error', () => {})
    if (leftover !== null) this.push(leftover)
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.onWire.push(Buffer.from(chunk))
    done()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.finished = true
    done()
  }
}

/** The event loop's turn for the engine: microtasks, ticks and immediates that were due have run. */
export function loopTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Turns the crank of every transport until nothing happens any more. Time stands still. */
export async function settle(...transports: FaultTransport[]): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet++) {
    const before = transports.reduce((sum, transport) => sum + transport.writes, 0)
    for (const transport of transports) if (transport.turn()) quiet = -1
    await loopTurn()
    if (transports.reduce((sum, transport) => sum + transport.writes, 0) !== before) quiet = -1
  }
}
