// A StreamTransport over a TLSSocket, but for reading: what is decrypted goes from the handle straight into the slab, past the socket's readable side.
// (Writing by the handle as well would spare another 3 to 5 %, at the price of an abort for a second write while one is pending.) The socket stays
// the owner of its handle, of errors and of the end. What may be done to the handle is in docs/handles.md, TLS. Knows no HTTP.
import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { nextTurn } from './clock.ts'
import { type HandleReader, type StreamHandle, UV_EOF, copyOfSlab, errorName, giveBackReading, readDecrypted, takeTlsHandle } from './handle-binding.ts'
import { lend, slab } from './read-slab.ts'
import { StreamTransport } from './stream-transport.ts'

/** Octets, at most, of held records that are kept as one. */
const JOINED = 4096

export class TlsHandleTransport extends StreamTransport implements HandleReader {
  override readonly kind: 'handle' = 'handle'
  private readonly handle: StreamHandle
  /** How the socket read before us, for whoever takes the connection over. */
  private readonly stock: StreamHandle['onread']
  /** The owner wants bytes. */
  private reading: boolean = false
  /** The handle reads. */
  private flowing: boolean = false
  /** Decrypted while the owner wanted none, and the end behind it. */
  private readonly held: Buffer[] = []
  private endHeld: boolean = false
  private releasing: NodeJS.Immediate | null = null

  /** For a socket in its 'secureConnection' event and no later: bytes may have come with the handshake. Null where its handle cannot be read from. */
  static over(socket: TLSSocket, raw: Socket, unix: boolean): TlsHandleTransport | null {
    const handle = takeTlsHandle(socket)
    return handle === null ? null : new TlsHandleTransport(socket, raw, unix, handle)
  }

  private constructor(socket: TLSSocket, raw: Socket, unix: boolean, handle: StreamHandle) {
    super(socket, raw, unix)
    this.handle = handle
    this.stock = readDecrypted(handle, this)
  }

  protected override startReading(): void {
    this.resumeReading()
  }

  /** The handle reads on until there is something to hold: an unread one never learns that its peer has gone. */
  override pauseReading(): void {
    this.reading = false
  }

  override resumeReading(): void {
    if (this.reading || this.dead) return
    this.reading = true
    if (this.held.length === 0 && !this.endHeld) this.readOn()
    else this.releasing ??= nextTurn(() => this.release())
  }

  /** The TLSSocket, reading as it did before us. */
  override detach(leftover: Buffer | null): Duplex {
    const { stream } = this
    if (this.dead || stream.destroyed) return super.detach(leftover)
    giveBackReading(this.handle, this.stock)
    const duplex = super.detach(leftover)
    for (const bytes of this.held) stream.push(bytes)
    if (this.endHeld) stream.push(null)
    // The stream has asked for bytes before the handshake, and still waits for them.
    else this.readOn()
    return duplex
  }

  /** @internal */
  bytesArrived(length: number): undefined {
    if (this.dead) return
    if (this.reading && this.held.length === 0) {
      lend(this.owner, slab, length)
      return
    }
    // What arrived in one segment is decrypted to its end, whatever we say.
    this.hold(length)
    this.flowing = false
    if (!this.stream.destroyed) this.handle.readStop()
  }

  /** @internal */
  readFailed(status: number): void {
    if (status !== UV_EOF) this.lost(errorName(status))
    else if (this.held.length > 0) this.endHeld = true
    else this.endReading()
  }

  /** Small records are kept together: a peer may send each octet in one of its own. */
  private hold(length: number): void {
    const { held } = this
    const last = held[held.length - 1]
    const bytes = copyOfSlab(length)
    if (last !== undefined && last.length + length <= JOINED) held[held.length - 1] = Buffer.concat([last, bytes])
    else held.push(bytes)
  }

  private readOn(): void {
    if (this.flowing || this.stream.destroyed) return
    this.flowing = true
    const status = this.handle.readStart()
    if (status !== 0) nextTurn(() => this.lost(errorName(status)))
  }

  /** What was held, then the rest. */
  private release(): void {
    this.releasing = null
    const { held } = this
    try {
      while (this.reading && !this.dead && held.length > 0) {
        const bytes = held.shift()!
        lend(this.owner, bytes, bytes.length)
      }
    } catch (error) {
      this.abandon(error)
    }
    if (!this.reading || this.dead) return
    if (!this.endHeld) this.readOn()
    else {
      this.endHeld = false
      this.endReading()
    }
  }

  /** The stream says 'end', and is destroyed when the other half has ended too. */
  private endReading(): void {
    this.stream.push(null)
    this.stream.read(0)
  }
}
