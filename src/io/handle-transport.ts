// A Transport on libuv's handle itself, without net.Socket and streams: 4–5 KB less per connection and a third of the time per request.
// What it may and may not do to a handle is in handles.md; the calls that can abort are all in handle-binding.ts. Knows no HTTP.
import type { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { forgetBuffer, giveBackBuffer } from './buffer-pool.ts'
import {
  type HandleReader,
  type HandleWriter,
  PENDING,
  type StreamHandle,
  UV_ECANCELED,
  UV_ENOTCONN,
  UV_EOF,
  WRITTEN,
  type WriteRequest,
  errorName,
  shutDown,
  startReading,
  writeBytes,
  writeText,
  writeViews
} from './handle-binding.ts'
import { HandleDuplex } from './handle-duplex.ts'
import { NOBODY, lend, reportInternalError, slab } from './read-slab.ts'
import type { Address, Transport, TransportOwner } from './transport.ts'

const UNIX: Address = Object.freeze({ address: 'unix', port: 0, family: 'unix' })
const UNKNOWN: Address = Object.freeze({ address: '', port: 0, family: '' })

export class HandleTransport implements Transport, HandleReader, HandleWriter {
  readonly stream: null = null
  readonly kind: 'handle' = 'handle'
  readonly secure: boolean = false
  pendingBytes: number = 0
  private readonly handle: StreamHandle
  private readonly unix: boolean
  private owner: TransportOwner = NOBODY
  /** Closed, or handed over: the handle is no longer ours to use. */
  private dead: boolean = false
  private reading: boolean = false
  private sawEnd: boolean = false
  private ending: boolean = false
  /** A shutdown is in flight. */
  private shutting: boolean = false
  private ended: boolean = false
  private successor: HandleDuplex | null = null
  private peer: Address | null = null
  private local: Address | null = null

  /** `handle` comes from `onconnection` and must pass `isStreamHandle`; from here on it is ours to close. */
  constructor(handle: StreamHandle, unix: boolean) {
    this.handle = handle
    this.unix = unix
  }

  get failed(): boolean {
    return this.dead
  }

  start(owner: TransportOwner): void {
    if (this.dead) return
    this.owner = owner
    const { handle } = this
    if (handle.setNoDelay !== undefined) handle.setNoDelay(true)
    this.reading = true
    const status = startReading(handle, this)
    if (status !== 0) this.failLater(errorName(status))
  }

  write(bytes: Uint8Array, memory: Buffer | null): void {
    if (this.dead || this.ending || bytes.length === 0) {
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
    if (this.dead || this.ending) return
    const status = writeText(this.handle, text, this)
    if (status === PENDING) this.pendingBytes += text.length
    else if (status !== WRITTEN) this.lost(text.length, status)
  }

  writeMany(bytes: Uint8Array[], memory: (Buffer | null)[]): void {
    let length = 0
    for (let i = 0; i < bytes.length; i++) length += bytes[i].length
    if (this.dead || this.ending || length === 0) {
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
    return this.pendingBytes === 0 || this.dead ? 0 : this.handle.writeQueueSize
  }

  pauseReading(): void {
    if (!this.reading || this.dead) return
    this.reading = false
    this.handle.readStop()
  }

  resumeReading(): void {
    // After the end readStart would only tell of it again.
    if (this.reading || this.dead || this.sawEnd || this.owner === NOBODY) return
    this.reading = true
    const status = this.handle.readStart()
    if (status !== 0) this.failLater(errorName(status))
  }

  endWriting(): void {
    if (this.dead || this.ending) return
    this.ending = true
    // Not before everything is out: a handle that is shutting down cannot be reset, and a plain close would make a cut answer look whole.
    if (this.pendingBytes === 0) this.shutDown()
  }

  destroy(): void {
    this.owner = NOBODY
    this.close()
  }

  reset(): void {
    this.owner = NOBODY
    if (this.dead) return
    const { handle } = this
    this.dead = true
    // While a shutdown is in flight reset() refuses, and close() after that does nothing: the handle would stay for ever (measured on 20 to 26).
    // All is in the kernel by then, so FIN is the right end.
    if (handle.reset === undefined || this.shutting || handle.reset() !== 0) handle.close()
  }

  detach(leftover: Buffer | null): Duplex {
    this.owner = NOBODY
    if (this.dead) return new Duplex().destroy()
    this.peerAddress()
    this.localAddress()
    this.dead = true
    this.handle.readStop()
    const duplex = new HandleDuplex(this.handle, leftover, this.sawEnd, this.peerAddress(), this.localAddress())
    this.successor = duplex
    if (this.ending) duplex.end()
    return duplex
  }

  peerAddress(): Address {
    if (this.unix) return UNIX
    if (this.peer !== null) return this.peer
    const name = { address: '', port: 0, family: '' as Address['family'] }
    if (this.dead || this.handle.getpeername === undefined || this.handle.getpeername(name) !== 0) return UNKNOWN
    return (this.peer = name)
  }

  localAddress(): Address {
    if (this.unix) return UNIX
    if (this.local !== null) return this.local
    const name = { address: '', port: 0, family: '' as Address['family'] }
    if (this.dead || this.handle.getsockname === undefined || this.handle.getsockname(name) !== 0) return UNKNOWN
    return (this.local = name)
  }

  /** @internal */
  bytesArrived(length: number): void {
    lend(this.owner, slab, length)
  }

  /** @internal */
  readFailed(status: number): void {
    if (status !== UV_EOF) {
      this.fail(errorName(status))
      return
    }
    this.sawEnd = true
    this.reading = false
    this.owner.onEnd()
    if (this.ended && !this.dead) this.fail('')
  }

  /** @internal */
  writeCompleted(request: WriteRequest, status: number): void {
    release(request.memory, status === 0)
    if (status === 0) this.pendingBytes -= request.size
    else {
      if (this.successor !== null && status !== UV_ECANCELED) this.successor.writeFailed(status)
      if (!this.dead) this.fail(errorName(status))
      return
    }
    if (this.pendingBytes > 0 || this.dead) return
    if (this.ending) this.shutDown()
    this.owner.onDrained()
  }

  /** @internal The owner threw: an error of ours, and the end of the connection. */
  abandon(error: unknown): void {
    reportInternalError(error)
    const { owner } = this
    this.reset()
    this.owner = owner
    setImmediate(() => this.deliver('ERR_INTERNAL'))
  }

  private shutDown(): void {
    const status = shutDown(this.handle, result => this.shutDownDone(result))
    if (status !== 0) this.failLater(errorName(status))
    else this.shutting = true
  }

  private shutDownDone(status: number): void {
    this.shutting = false
    if (this.successor !== null || this.dead) return
    if (status !== 0) {
      // "Not connected" any more: the peer has reset.
      this.fail(status === UV_ENOTCONN ? 'ECONNRESET' : errorName(status))
      return
    }
    this.ended = true
    if (this.sawEnd) this.fail('')
  }

  private close(): void {
    if (this.dead) return
    this.dead = true
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
    setImmediate(() => this.deliver(failure))
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
