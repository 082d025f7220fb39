// A Transport over any Duplex: net.Socket, tls.TLSSocket, an in-memory pair. Public Node API only; knows no HTTP.
// What is `protected` is for TlsHandleTransport, which reads in another way and is the same in all else.
import { Buffer } from 'node:buffer'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { forgetBuffer, giveBackBuffer } from './buffer-pool.ts'
import { nextTurn } from './clock.ts'
import { EndedDuplex } from './ended-duplex.ts'
import { isPoisoned } from './poison.ts'
import { lend } from './read-slab.ts'
import { type Address, LOST, NOBODY, type Transport, type TransportOwner, UNIX, UNKNOWN, reportInternalError } from './transport.ts'

/** Handed to the stream at a time. A stream tells nothing of a write before its end, so this is the step in which a slow reader's progress shows:
 *  33 s at 500 B/s, within the 60 s of `timeouts.send`. It is also the size of a pooled buffer and of a TLS record. */
const BATCH = 16384
/** What is left goes at once up to here (49 s at 500 B/s), so that 16 KiB of content with its head is one write. */
const LAST_BATCH = 24576
/** Handed on without a pause to a stream that takes everything at once; then the event loop has its turn. */
const TURN = 1048576

const kTransport: unique symbol = Symbol('wirelet.transport')
type Tied = Duplex & { [kTransport]: StreamTransport }

// The listeners are shared by all transports and find theirs on the stream: five closures per connection would be 350 bytes.
function onData(this: Tied, chunk: unknown): void {
  this[kTransport].chunkArrived(chunk)
}
function onEnd(this: Tied): void {
  this[kTransport].ended()
}
function onError(this: Tied, error: unknown): void {
  this[kTransport].lost(codeOf(error))
}
function onClose(this: Tied): void {
  this[kTransport].closed()
}

export class StreamTransport implements Transport {
  readonly kind: 'stream' | 'handle' = 'stream'
  readonly secure: boolean
  pendingBytes: number = 0
  readonly stream: Duplex
  /** The socket below a TLS one, when known: only it can be reset. */
  private readonly raw: Socket | null
  private readonly unix: boolean
  /** Not a socket: what we write stays visible to the other side as the very same memory. */
  private readonly inMemory: boolean
  protected owner: TransportOwner = NOBODY
  /** Given to `write`, not finished: [first, next) is with the stream, [next, length) waits here, `offset` bytes of `next` are gone. */
  private readonly views: Uint8Array[] = []
  private readonly memories: (Buffer | null)[] = []
  private first: number = 0
  private next: number = 0
  private offset: number = 0
  /** Bytes and callbacks of the batch that the stream is writing. */
  private batchBytes: number = 0
  private batchWrites: number = 0
  /** Callbacks still to come of writes that were complete when `write` returned. */
  private staleCallbacks: number = 0
  private rest: NodeJS.Immediate | null = null
  private ending: boolean = false
  protected dead: boolean = false
  private detached: boolean = false
  private sawEnd: boolean = false
  /** The owner wants no bytes. */
  private paused: boolean = false
  /** Arrived where it could not be interpreted: that comes a tick later, and nothing is read before. */
  private late: Buffer[] | null = null
  /** So did the end: a stream decides on it when its last bytes are taken, before it emits them. */
  private endLate: boolean = false
  /** We are inside a call into the stream: a foreign one may emit synchronously. */
  private calling: boolean = false
  private failure: string | null = null
  private peer: Address | null = null
  private local: Address | null = null
  private readonly written: (error?: Error | null) => void

  constructor(stream: Duplex, raw: Socket | null = rawSocket(stream), unix: boolean = false) {
    this.stream = stream
    this.raw = raw
    this.unix = unix
    this.inMemory = !(stream instanceof Socket)
    this.secure = (stream as { encrypted?: unknown }).encrypted === true
    this.written = error => this.writeDone(error)
    ;(stream as Tied)[kTransport] = this
    stream.allowHalfOpen = true
    stream.on('error', onError)
    stream.on('close', onClose)
  }

  get failed(): boolean {
    return this.dead
  }

  start(owner: TransportOwner): void {
    if (this.dead && this.failure === null) return
    this.owner = owner
    const stream = this.stream
    if (this.failure === null && stream.destroyed) this.failure = stream.errored ? codeOf(stream.errored) : ''
    if (this.failure !== null) {
      this.dead = true
      nextTurn(() => this.deliver())
      return
    }
    stream.on('end', onEnd)
    if (stream.readableEnded) nextTurn(() => this.ended())
    else this.startReading()
  }

  protected startReading(): void {
    this.stream.on('data', onData)
    this.stream.resume()
  }

  write(bytes: Uint8Array, memory: Buffer | null): void {
    this.enqueue(bytes, memory)
    if (this.batchWrites === 0 && this.rest === null) this.pump()
  }

  writeText(text: string): void {
    this.write(Buffer.from(text, 'latin1'), null)
  }

  writeMany(bytes: Uint8Array[], memory: (Buffer | null)[]): void {
    if (this.inMemory) this.copyPooled(bytes, memory)
    for (let i = 0; i < bytes.length; i++) this.enqueue(bytes[i], memory[i])
    if (this.batchWrites === 0 && this.rest === null) this.pump()
  }

  untakenBytes(): number {
    return this.pendingBytes
  }

  pauseReading(): void {
    this.paused = true
    if (!this.dead) this.stream.pause()
  }

  resumeReading(): void {
    this.paused = false
    if (!this.dead && this.late === null) this.stream.resume()
  }

  /** Nothing read ever waits. */
  catchUp(): boolean {
    return true
  }

  endWriting(): void {
    if (this.dead || this.ending) return
    this.ending = true
    if (this.next === this.views.length) this.endStream()
  }

  destroy(): void {
    this.owner = NOBODY
    this.failure = null
    if (this.dead) return
    this.dead = true
    this.dropQueue()
    // All is written and the end was asked for inside this callback: a turn for the stream to say so (close_notify, the other half of a pair).
    if (this.ending && this.pendingBytes === 0 && !this.stream.writableFinished) nextTurn(destroyStream, this.stream)
    else destroyStream(this.stream)
  }

  reset(): void {
    this.owner = NOBODY
    this.failure = null
    if (this.dead) return
    this.dead = true
    this.dropQueue()
    if (this.raw === null) resetSocket(this.stream, this.stream)
    // Resetting a socket from inside a callback of the TLS above it can crash Node (a SIGSEGV on 20 to 26), so not before it has returned.
    else nextTurn(resetSocket, this.stream, this.raw)
  }

  detach(leftover: Buffer | null): Duplex {
    const stream = this.stream
    stream.removeListener('data', onData)
    stream.removeListener('end', onEnd)
    stream.removeListener('close', onClose)
    // Our 'error' listener stays: a taker without one must not lose the process to a peer's reset.
    if (this.dead) {
      this.owner = NOBODY
      return stream
    }
    this.detached = true
    this.handOver(Infinity)
    this.dead = true
    if (this.pendingBytes === 0) this.owner = NOBODY
    if (this.late !== null) leftover = Buffer.concat(leftover === null ? this.late : [leftover, ...this.late])
    this.late = null
    if (this.ending && !stream.writableEnded) stream.end()
    if (stream.readableEnded) return new EndedDuplex(stream, leftover)
    stream.pause()
    // Neither flowing nor paused, as a new stream is: the taker's 'data' listener starts it. Node's own upgrade does the same, there is no method for it.
    ;(stream as { readableFlowing: boolean | null }).readableFlowing = null
    if (leftover !== null && leftover.length > 0) stream.unshift(leftover)
    return stream
  }

  peerAddress(): Address {
    if (this.unix) return UNIX
    if (this.peer !== null) return this.peer
    const { remoteAddress, remotePort } = this.stream as Partial<Socket>
    const address = typeof remoteAddress === 'string' ? toAddress(remoteAddress, remotePort) : this.nowhere
    return address === LOST || address === UNKNOWN ? address : (this.peer = address)
  }

  localAddress(): Address {
    if (this.unix) return UNIX
    if (this.local !== null) return this.local
    const { localAddress, localPort } = this.stream as Partial<Socket>
    const address = typeof localAddress === 'string' ? toAddress(localAddress, localPort) : this.nowhere
    return address === LOST || address === UNKNOWN ? address : (this.local = address)
  }

  /** Of a stream that names no address. Looked at when somebody asks: a socket may not be connected yet when it is handed to us. */
  private get nowhere(): Address {
    const socket = this.raw ?? this.stream
    if (!(socket instanceof Socket) || socket.connecting || (this.secure && this.raw === null)) return UNKNOWN
    return socket.destroyed || socket.localAddress !== undefined ? LOST : UNIX
  }

  /** @internal A 'data' event. */
  chunkArrived(chunk: unknown): void {
    if (this.dead) return
    const bytes = toBuffer(chunk, this.stream.readableEncoding)
    if (bytes === null) {
      this.lost('ERR_INVALID_ARG_TYPE')
      return
    }
    if (this.inMemory || this.calling || this.late !== null) this.postpone(bytes)
    // A foreign stream may go on using its chunk, so what gets poisoned is a copy.
    else this.tell(isPoisoned() ? Buffer.from(bytes) : bytes)
  }

  /** The other end of a pair emits inside our writes, or inside an application that writes to it: interpreted there, these bytes would come before
   *  some that were read earlier and still wait. Copied, because the writer is told at once that it has its memory back. */
  private postpone(bytes: Buffer): void {
    if (this.late === null) {
      this.late = []
      process.nextTick(tellLate, this)
      try {
        this.stream.pause()
      } catch (error) {
        this.abandon(error)
        return
      }
    }
    this.late.push(Buffer.from(bytes))
  }

  /** @internal */
  tellLate(): void {
    // What arrives meanwhile joins the queue; a takeover takes it along.
    for (let bytes = this.late?.shift(); bytes !== undefined && !this.dead; bytes = this.late?.shift()) this.tell(bytes)
    this.late = null
    if (this.dead) return
    if (this.endLate) this.ended()
    else if (!this.paused) {
      try {
        this.stream.resume()
      } catch (error) {
        this.abandon(error)
      }
    }
  }

  private tell(bytes: Buffer): void {
    try {
      lend(this.owner, bytes, bytes.length)
    } catch (error) {
      this.abandon(error)
    }
  }

  /** @internal An 'end' event. */
  ended(): void {
    if (this.sawEnd) return
    if (this.late !== null) {
      this.endLate = true
      return
    }
    // When a write below TLS has met the reset first, Node (20 to 26) loses the write's callback and tells of an end. The peer's address is gone then
    // (as it is after two FINs, hence the last condition).
    if (this.raw !== null && this.peerAddress() !== UNIX && this.raw.remoteAddress === undefined && !this.stream.writableFinished) {
      this.lost('ECONNRESET')
      return
    }
    this.sawEnd = true
    try {
      this.owner.onEnd()
    } catch (error) {
      this.abandon(error)
    }
  }

  /** @internal An 'error' event, or a stream that gives what no byte stream gives. */
  lost(code: string): void {
    if (this.dead) return
    this.dead = true
    this.failure = code
    this.dropQueue()
    destroyStream(this.stream)
    this.deliverSoon()
  }

  /** @internal A 'close' event: orderly only if both directions had ended. */
  closed(): void {
    if (this.dead) return
    this.dead = true
    this.failure = this.sawEnd || this.stream.readableEnded ? '' : 'ERR_STREAM_PREMATURE_CLOSE'
    this.dropQueue()
    this.deliverSoon()
  }

  /** @internal The owner threw: an error of ours, and the end of the connection. */
  abandon(error: unknown): void {
    reportInternalError(error)
    const { owner } = this
    this.reset()
    this.owner = owner
    this.failure = 'ERR_INTERNAL'
    nextTurn(() => this.deliver())
  }

  private deliverSoon(): void {
    if (this.owner === NOBODY) return
    if (this.calling) nextTurn(() => this.deliver())
    else this.deliver()
  }

  private deliver(): void {
    const { owner, failure } = this
    this.owner = NOBODY
    if (failure === null) return
    try {
      owner.onClosed(failure)
    } catch (error) {
      reportInternalError(error)
    }
  }

  private enqueue(bytes: Uint8Array, memory: Buffer | null): void {
    if (this.dead || this.ending || bytes.length === 0) {
      if (memory !== null) giveBackBuffer(memory)
      return
    }
    if (memory !== null && this.inMemory) {
      bytes = Buffer.from(bytes)
      giveBackBuffer(memory)
      memory = null
    }
    this.pendingBytes += bytes.length
    this.views.push(bytes)
    this.memories.push(memory)
  }

  /** Several views may share a pooled buffer, and only the last carries it: all of them are copied before it goes back. */
  private copyPooled(bytes: Uint8Array[], memory: (Buffer | null)[]): void {
    for (let i = 0; i < bytes.length; i++) {
      const { buffer } = bytes[i]
      if (memory.some(one => one !== null && one.buffer === buffer)) bytes[i] = Buffer.from(bytes[i])
    }
  }

  /** Hand on batch after batch while the stream completes them at once (a socket whose kernel buffer has room); the callback goes on with the rest. */
  private pump(): void {
    let turn = TURN
    while (!this.dead && this.next < this.views.length) {
      if (turn <= 0) {
        this.rest = nextTurn(() => this.pumpRest())
        return
      }
      turn -= this.handOver(this.pendingBytes <= LAST_BATCH ? LAST_BATCH : BATCH)
      // Documented as the bytes not yet written: 0 here says that the whole batch went out inside the call.
      if (this.stream.writableLength !== 0 || this.dead) break
      this.staleCallbacks += this.batchWrites
      this.batchFinished()
    }
    if (this.ending && this.next === this.views.length && !this.dead) this.endStream()
  }

  private pumpRest(): void {
    this.rest = null
    this.pump()
    if (this.pendingBytes === 0 && !this.dead) this.tellDrained()
  }

  private handOver(room: number): number {
    const stream = this.stream
    const { views } = this
    const several = views.length - this.next > 1
    let handed = 0
    this.calling = true
    if (several) stream.cork()
    while (handed < room && this.next < views.length) {
      const view = views[this.next]
      const end = Math.min(view.length, this.offset + room - handed)
      const part = end - this.offset === view.length ? view : view.subarray(this.offset, end)
      if (end === view.length) {
        this.next++
        this.offset = 0
      } else this.offset = end
      handed += part.length
      this.batchWrites++
      this.batchBytes += part.length
      stream.write(part, this.written)
    }
    if (several) stream.uncork()
    this.calling = false
    return handed
  }

  private writeDone(error: Error | null | undefined): void {
    if (error) {
      if (this.detached) this.dropQueue()
      else this.lost(codeOf(error))
      return
    }
    if (this.staleCallbacks > 0) {
      this.staleCallbacks--
      return
    }
    if (this.batchWrites === 0 || --this.batchWrites > 0) return
    this.batchFinished()
    if (this.dead && !this.detached) return
    if (this.next < this.views.length) this.pump()
    if (this.pendingBytes === 0) this.tellDrained()
  }

  private batchFinished(): void {
    this.pendingBytes -= this.batchBytes
    this.batchBytes = 0
    this.batchWrites = 0
    const { views, memories, next } = this
    for (let i = this.first; i < next; i++) {
      const memory = memories[i]
      if (memory !== null) giveBackBuffer(memory)
    }
    this.first = next
    if (next === views.length) {
      views.length = 0
      memories.length = 0
      this.first = this.next = 0
    } else if (next > 1024) {
      views.splice(0, next)
      memories.splice(0, next)
      this.first = this.next = 0
    }
  }

  private tellDrained(): void {
    const { owner } = this
    if (this.detached) this.owner = NOBODY
    try {
      owner.onDrained()
    } catch (error) {
      this.abandon(error)
    }
  }

  /** Never back to the pool what the stream has seen: libuv may still be reading it. */
  private dropQueue(): void {
    const { memories } = this
    const touched = this.offset > 0 ? this.next + 1 : this.next
    for (let i = this.first; i < memories.length; i++) {
      const memory = memories[i]
      if (memory === null) continue
      if (i < touched) forgetBuffer()
      else giveBackBuffer(memory)
    }
    if (this.rest !== null) clearImmediate(this.rest)
    this.rest = null
    this.views.length = 0
    memories.length = 0
    this.first = this.next = this.offset = 0
    // `pendingBytes` stays: what will never reach the kernel must not look sent.
    this.batchBytes = this.batchWrites = this.staleCallbacks = 0
  }

  private endStream(): void {
    this.calling = true
    this.stream.end()
    this.calling = false
  }
}

function tellLate(transport: StreamTransport): void {
  transport.tellLate()
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && code !== '' ? code : 'ERR_STREAM'
}

/** RST from `socket`, which is `stream` or what TLS makes it of. What is no socket is destroyed with an error: HTTP/2, for one, makes a reset of it. */
function resetSocket(stream: Duplex, socket: Duplex): void {
  if (stream.destroyed) return
  // libuv refuses to reset while a shutdown is in flight, and net.Socket then forgets the handle. Everything is in the kernel at that point: FIN is right.
  const shuttingDown = stream.writableEnded && !stream.writableFinished && stream.writableLength === 0
  if (socket instanceof Socket && !socket.destroyed && !shuttingDown) {
    try {
      socket.resetAndDestroy()
      // The TLS stream is destroyed by the end of its socket; by us as well, it would be another crash.
      return
    } catch {
      // Not TCP: a unix socket, or TLS over something of the caller's own. It has no RST.
    }
  }
  destroyStream(stream, stream instanceof Socket ? undefined : Object.assign(new Error('the connection was cut'), { code: 'ECONNRESET' }))
}

/** A foreign stream's own `_destroy` may throw. */
function destroyStream(stream: Duplex, error?: Error): void {
  try {
    stream.destroy(error)
  } catch (thrown) {
    reportInternalError(thrown)
  }
}

/** Object-mode and decoding streams give other things than Buffers. */
function toBuffer(chunk: unknown, encoding: BufferEncoding | null): Buffer | null {
  if (Buffer.isBuffer(chunk)) return chunk
  if (typeof chunk === 'string') return Buffer.from(chunk, encoding ?? 'utf8')
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  return null
}

function toAddress(address: string, port: number | undefined): Address {
  return { address, port: port ?? 0, family: address.includes(':') ? 'IPv6' : 'IPv4' }
}

/** The socket that a TLSSocket stands on. Private, so guarded: without it a cut cannot be told from an end. */
export function rawSocket(stream: Duplex): Socket | null {
  const raw = (stream as { _parent?: unknown })._parent
  return raw instanceof Socket ? raw : null
}
