// A Transport on libuv's handle itself, without net.Socket and streams: 4–5 KB less per connection and a third of the time per request.
// What it may and may not do to a handle is in docs/handles.md; the calls that can abort are all in handle-binding.ts. Knows no HTTP.
import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { forgetBuffer, giveBackBuffer } from './buffer-pool.ts'
import { nextTurn, systemClock } from './clock.ts'
import { type Gathered, Gathering } from './gathering.ts'
import {
  type HandleReader,
  type HandleWriter,
  PENDING,
  type StreamHandle,
  UV_ECANCELED,
  UV_EOF,
  WRITTEN,
  type WriteRequest,
  errorName,
  readIntoSlab,
  shutDown,
  startReading,
  writeBytes,
  writeText,
  writeViews
} from './handle-binding.ts'
import { HandleDuplex } from './handle-duplex.ts'
import { SLAB_SIZE, lend, readArea, slab, worthKeeping } from './read-slab.ts'
import { type Address, LOST, NOBODY, type Transport, type TransportOwner, UNIX, reportInternalError } from './transport.ts'

// What is read from the peer.
const PAUSED = 0
const READING = 1
const AT_END = 2
// How far our end is.
const OPEN = 0
/** Asked for, behind what is pending. */
const ENDING = 1
/** A shutdown is under way or done. */
const ENDED = 2
/** Handed over: the handle is no longer ours to use, but what we wrote is still on its way. */
const DETACHED = 3
/** Closed. */
const DEAD = 4

/** A read of so much or more: the peer sends faster than we read, and more is there already. Below it memory of its own does not pay. */
const BULK = SLAB_SIZE >> 1

/** For all handles of the thread: they share the slab. */
const gathering = new Gathering(systemClock)

/** Few fields: an idle connection is this and a Connection. */
export class HandleTransport implements Transport, HandleReader, HandleWriter, Gathered {
  pendingBytes: number = 0
  private readonly handle: StreamHandle
  private owner: TransportOwner = NOBODY
  private input: number = PAUSED
  private output: number = OPEN
  private peer: Address | null
  private local: Address | null
  /** What the next bytes go to, and the owner's with them; null: the slab. */
  private own: Buffer | null = null

  /** `handle` comes from `onconnection` and must pass `isStreamHandle`; from here on it is ours to close. */
  constructor(handle: StreamHandle, unix: boolean) {
    this.handle = handle
    this.peer = this.local = unix ? UNIX : null
  }

  get stream(): null {
    return null
  }

  get kind(): 'handle' {
    return 'handle'
  }

  get secure(): boolean {
    return false
  }

  get failed(): boolean {
    return this.output >= DETACHED
  }

  start(owner: TransportOwner): void {
    if (this.failed) return
    this.owner = owner
    this.input = READING
    const status = startReading(this.handle, this)
    if (status !== 0) this.failLater(errorName(status))
  }

  write(bytes: Uint8Array, memory: Buffer | null): void {
    if (this.output !== OPEN || bytes.length === 0) {
      if (memory !== null) giveBackBuffer(memory)
      return
    }
    const status = writeBytes(this.handle, bytes, memory, this)
    if (status === PENDING) {
      this.pendingBytes += bytes.length
      return
    }
    if (memory !== null) giveBackBuffer(memory)
    if (status !== WRITTEN) this.lost(bytes.length, status)
  }

  writeText(text: string): void {
    if (this.output !== OPEN) return
    const status = writeText(this.handle, text, this)
    if (status === PENDING) this.pendingBytes += text.length
    else if (status !== WRITTEN) this.lost(text.length, status)
  }

  writeMany(bytes: Uint8Array[], memory: (Buffer | null)[]): void {
    let length = 0
    for (let i = 0; i < bytes.length; i++) length += bytes[i].length
    if (this.output !== OPEN || length === 0) {
      release(memory, true)
      return
    }
    const status = writeViews(this.handle, bytes, length, memory, this)
    if (status === PENDING) {
      this.pendingBytes += length
      return
    }
    release(memory, true)
    if (status !== WRITTEN) this.lost(length, status)
  }

  untakenBytes(): number {
    return this.pendingBytes === 0 || this.failed ? 0 : this.handle.writeQueueSize
  }

  pauseReading(): void {
    if (this.input !== READING || this.failed) return
    this.input = PAUSED
    this.handle.readStop()
  }

  resumeReading(): void {
    // After the end readStart would only tell of it again.
    if (this.input !== PAUSED || this.failed || this.owner === NOBODY) return
    this.input = READING
    const status = this.handle.readStart()
    if (status !== 0) this.failLater(errorName(status))
  }

  catchUp(): boolean {
    return gathering.catchUp(this)
  }

  endWriting(): void {
    if (this.output !== OPEN) return
    this.output = ENDING
    // Not before everything is out: a handle that is shutting down cannot be reset, and a plain close would make a cut answer look whole.
    if (this.pendingBytes === 0) this.shutDown()
  }

  destroy(): void {
    this.owner = NOBODY
    this.close()
  }

  reset(): void {
    this.owner = NOBODY
    if (this.failed) return
    const { handle } = this
    const ended = this.output === ENDED
    this.output = DEAD
    // While a shutdown is in flight reset() refuses, and close() after that does nothing: the handle would stay for ever (measured on 20 to 26).
    // All is in the kernel by then, so FIN is the right end.
    if (handle.reset === undefined || ended || handle.reset() !== 0) handle.close()
  }

  detach(leftover: Buffer | null): Duplex {
    if (this.pendingBytes === 0) this.owner = NOBODY
    if (this.failed) return new Duplex().destroy()
    this.peerAddress()
    this.localAddress()
    const ending = this.output !== OPEN
    this.output = DETACHED
    this.handle.readStop()
    if (this.own !== null) readIntoSlab(this.handle)
    const gathered = gathering.take(this)
    if (gathered.length > 0) leftover = Buffer.concat(leftover === null ? gathered : [leftover, ...gathered])
    const duplex = new HandleDuplex(this.handle, leftover, this.input === AT_END, this.peerAddress(), this.localAddress())
    if (ending) duplex.end()
    return duplex
  }

  peerAddress(): Address {
    if (this.peer !== null) return this.peer
    const name = { address: '', port: 0, family: '' as Address['family'] }
    if (this.failed || this.handle.getpeername === undefined || this.handle.getpeername(name) !== 0) return LOST
    return (this.peer = name)
  }

  localAddress(): Address {
    if (this.local !== null) return this.local
    const name = { address: '', port: 0, family: '' as Address['family'] }
    if (this.failed || this.handle.getsockname === undefined || this.handle.getsockname(name) !== 0) return LOST
    return (this.local = name)
  }

  /** @internal */
  bytesArrived(length: number): Uint8Array | undefined {
    const { own } = this
    if (own === null) {
      if (gathering.add(this, length)) return undefined
      const { reading } = this.handle
      if (reading !== this) return reading.bytesArrived(length)
      lend(this.owner, slab, length)
    } else {
      this.own = null
      if (worthKeeping(length, own.length)) {
        this.owner.onOwnBytes(own, 0, length)
        this.owner.onReadDone(false)
      } else lend(this.owner, own, length)
    }
    if (length >= BULK) {
      const size = this.owner.expectedBytes()
      if (size > 0) return (this.own = Buffer.allocUnsafeSlow(size))
    }
    return own === null ? undefined : readArea
  }

  /** @internal */
  interpret(start: number, end: number): void {
    if (!this.failed) this.owner.onBytes(slab, start, end)
  }

  /** @internal */
  answer(together: boolean): void {
    this.owner.onReadDone(together)
  }

  /** @internal */
  readFailed(status: number): void {
    gathering.catchUp(this)
    // What was put aside may have led to a takeover.
    const { reading } = this.handle
    if (reading !== this) {
      reading.readFailed(status)
      return
    }
    if (status !== UV_EOF) {
      this.fail(errorName(status))
      return
    }
    this.input = AT_END
    this.owner.onEnd()
    if (this.output === ENDED) this.fail('')
  }

  /** @internal */
  writeCompleted(request: WriteRequest, status: number): void {
    release(request.memory, status === 0)
    if (status === 0) this.pendingBytes -= request.size
    else {
      const { reading } = this.handle
      if (reading instanceof HandleDuplex && status !== UV_ECANCELED) reading.writeFailed(status)
      if (!this.failed) this.fail(errorName(status))
      return
    }
    if (this.pendingBytes > 0 || this.output === DEAD) return
    if (this.output === ENDING) this.shutDown()
    const { owner } = this
    if (this.output === DETACHED) this.owner = NOBODY
    owner.onDrained()
  }

  /** @internal The owner threw: an error of ours, and the end of the connection. */
  abandon(error: unknown): void {
    reportInternalError(error)
    const { owner } = this
    this.reset()
    this.owner = owner
    nextTurn(() => this.deliver('ERR_INTERNAL'))
  }

  /** Nobody waits for its end: it comes before the loop reads again, and a peer that has reset is seen by reading. To be told would cost a connection
   *  for one answer 0.3 of 17 µs. */
  private shutDown(): void {
    this.output = ENDED
    // Both ends: to close is to end.
    if (this.input === AT_END) {
      this.failLater('')
      return
    }
    const status = shutDown(this.handle, null)
    if (status !== 0) this.failLater(errorName(status))
  }

  private close(): void {
    if (this.failed) return
    this.output = DEAD
    this.handle.close()
  }

  /** Both directions have ended, or one has failed: seen from the event loop. */
  private fail(failure: string): void {
    this.close()
    this.deliver(failure)
  }

  /** A write failed at once. What will never reach the kernel stays pending, so that nobody takes it for sent. */
  private lost(length: number, status: number): void {
    this.pendingBytes += length
    this.failLater(errorName(status))
  }

  /** The same, seen from inside a call of the owner, who hears of it afterwards. */
  private failLater(failure: string): void {
    this.close()
    nextTurn(() => this.deliver(failure))
  }

  private deliver(failure: string): void {
    const { owner } = this
    this.owner = NOBODY
    try {
      owner.onClosed(failure)
    } catch (error) {
      reportInternalError(error)
    }
  }
}

/** Back to the pool only if the kernel has it; after a failure nobody can say what still reads it. */
function release(memory: Buffer | null | (Buffer | null)[], taken: boolean): void {
  if (memory === null) return
  if (Array.isArray(memory)) for (const one of memory) release(one, taken)
  else if (taken) giveBackBuffer(memory)
  else forgetBuffer()
}
