// The Duplex that a taken-over connection on a handle becomes. A net.Socket made over a handle that has read into our slab would silently get no data
// (docs/handles.md, Taking over), so this is our own, with those of its methods that protocols on top of HTTP use. Bytes it gives are owned copies.
import type { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { MAX_TIMER, nextTurn } from './clock.ts'
import {
  type HandleReader,
  type HandleWriter,
  PENDING,
  type StreamHandle,
  UV_ENOTCONN,
  UV_EOF,
  WRITTEN,
  type WriteRequest,
  copyOfSlab,
  errorName,
  shutDown,
  writeBytes,
  writeViews
} from './handle-binding.ts'
import type { Address } from './transport.ts'

type Done = (error?: Error | null) => void

/** Linux's tcp_keepalive_time, which net.Socket's "0: leave it as it is" stands for: the handle refuses 0. */
const DEFAULT_KEEPALIVE_SECONDS = 7200

export class HandleDuplex extends Duplex implements HandleReader, HandleWriter {
  /** Of the peer; undefined for a unix socket, as on a net.Socket. */
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly remoteFamily: string | undefined
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly localFamily: string | undefined
  /** Milliseconds of `setTimeout`, 0 when off. */
  timeout: number = 0
  private readonly handle: StreamHandle
  private reading: boolean = false
  private shutting: boolean = false
  private cutting: boolean = false
  private closedCounts: [number, number] | null = null
  private writeDone: Done | null = null
  private timer: NodeJS.Timeout | null = null
  private queueAtTimer: number = 0

  /** `handle` has used the slab and is not reading; from here on it is ours to close. */
  constructor(handle: StreamHandle, leftover: Buffer | null, ended: boolean, peer: Address, local: Address) {
    super({ allowHalfOpen: true })
    this.handle = handle
    handle.reading = this
    this.remoteAddress = ipOnly(peer, peer.address)
    this.remotePort = ipOnly(peer, peer.port)
    this.remoteFamily = ipOnly(peer, peer.family)
    this.localAddress = ipOnly(local, local.address)
    this.localPort = ipOnly(local, local.port)
    this.localFamily = ipOnly(local, local.family)
    // A taker without an 'error' listener must not lose the process to a peer's reset.
    this.on('error', () => {})
    if (leftover !== null && leftover.length > 0) this.push(leftover)
    if (ended) this.push(null)
    // As a net.Socket does, read ahead: an unread handle never learns that its peer has gone, and an end with nothing before it waits for no reader.
    this.read(0)
  }

  get bytesRead(): number {
    return this.closedCounts?.[0] ?? this.handle.bytesRead
  }

  get bytesWritten(): number {
    return (this.closedCounts?.[1] ?? this.handle.bytesWritten) + this.writableLength
  }

  /** Our end, shaped as net.Socket's: an empty object for a unix socket. */
  address(): { address?: string; port?: number; family?: string } {
    if (this.localAddress === undefined) return {}
    return { address: this.localAddress, port: this.localPort!, family: this.localFamily! }
  }

  setNoDelay(on: boolean = true): this {
    if (!this.destroyed) this.handle.setNoDelay?.(on)
    return this
  }

  setKeepAlive(on: boolean = false, initialDelay: number = 0): this {
    const seconds = Math.floor(initialDelay / 1000) || DEFAULT_KEEPALIVE_SECONDS
    if (!this.destroyed) this.handle.setKeepAlive?.(on, on ? seconds : 0)
    return this
  }

  /** 'timeout' is emitted, and nothing closed, after `ms` without a byte in either direction. 0: off. */
  setTimeout(ms: number, callback?: () => void): this {
    if (this.destroyed) return this
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.timeout = ms
    if (ms > 0) {
      this.queueAtTimer = this.handle.writeQueueSize
      this.timer = setTimeout(() => this.timedOut(), Math.min(ms, MAX_TIMER)).unref()
      if (callback !== undefined) this.once('timeout', callback)
    } else if (callback !== undefined) this.removeListener('timeout', callback)
    return this
  }

  ref(): this {
    if (!this.destroyed) this.handle.ref()
    return this
  }

  unref(): this {
    if (!this.destroyed) this.handle.unref()
    return this
  }

  /** Close so that the peer sees a failure; a plain close over a unix socket, which has no RST. */
  resetAndDestroy(): this {
    if (this.destroyed) return this
    // As in HandleTransport: a shutdown in flight must not meet a reset.
    this.cutting = !this.shutting
    return this.destroy()
  }

  override _read(): void {
    if (this.reading) return
    this.reading = true
    const status = this.handle.readStart()
    if (status !== 0) this.destroy(failure(status, 'read'))
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (chunk.length === 0) done()
    else this.sent(writeBytes(this.handle, chunk, null, this), done)
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
    const views: Uint8Array[] = []
    let length = 0
    for (const { chunk } of chunks) {
      views.push(chunk)
      length += chunk.length
    }
    if (length === 0) done()
    else this.sent(writeViews(this.handle, views, length, [], this), done)
  }

  override _final(done: Done): void {
    this.shutting = true
    const finished = (status: number): void => {
      this.shutting = false
      // "Not connected" is how a shutdown finds a peer that has reset; reading or the next write tells of it.
      done(status === 0 || status === UV_ENOTCONN ? null : failure(status, 'shutdown'))
    }
    const status = shutDown(this.handle, finished)
    if (status !== 0) finished(status)
  }

  override _destroy(error: Error | null, done: Done): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    const { handle } = this
    this.closedCounts = [handle.bytesRead, handle.bytesWritten]
    const closed = (): void => done(error)
    if (!this.cutting || handle.reset === undefined || handle.reset(closed) !== 0) handle.close(closed)
  }

  /** @internal */
  bytesArrived(length: number): undefined {
    this.active()
    if (this.push(copyOfSlab(length)) || this.destroyed) return
    this.reading = false
    this.handle.readStop()
  }

  /** @internal */
  readFailed(status: number): void {
    if (status !== UV_EOF) this.destroy(failure(status, 'read'))
    else {
      this.push(null)
      // Without a reader nobody would learn of the end; with bytes waiting they come first.
      if (this.readableLength === 0) this.read(0)
    }
  }

  /** @internal */
  writeCompleted(_request: WriteRequest, status: number): void {
    const done = this.writeDone
    this.writeDone = null
    this.active()
    done?.(status === 0 ? null : failure(status, 'write'))
  }

  /** @internal A write made before the takeover has failed. */
  writeFailed(status: number): void {
    this.destroy(failure(status, 'write'))
  }

  /** @internal A listener of the taker's threw: theirs to handle, as it would be on a net.Socket. */
  abandon(error: unknown): void {
    this.destroy()
    nextTurn(() => {
      throw error
    })
  }

  private sent(status: number, done: Done): void {
    this.active()
    if (status === PENDING) this.writeDone = done
    else done(status === WRITTEN ? null : failure(status, 'write'))
  }

  private active(): void {
    this.timer?.refresh()
  }

  /** A slow reader of one long write is not idle. */
  private timedOut(): void {
    const queue = this.handle.writeQueueSize
    if (queue !== this.queueAtTimer) {
      this.queueAtTimer = queue
      this.timer?.refresh()
    } else this.emit('timeout')
  }
}

function ipOnly<T>(address: Address, value: T): T | undefined {
  return address.family === 'IPv4' || address.family === 'IPv6' ? value : undefined
}

function failure(status: number, syscall: string): Error {
  const code = errorName(status)
  return Object.assign(new Error(`${syscall} ${code}`), { errno: status, code, syscall })
}
