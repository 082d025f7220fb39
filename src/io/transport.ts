// What a connection stands on: bytes in, bytes out, half-close, close, reset. Nothing here knows HTTP.
// Implementations: StreamTransport (any Duplex, public Node API), HandleTransport (libuv's handle) and TlsHandleTransport (a stream that is read by its
// handle); the engine cannot tell which it has.
import type { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'

/** A socket's end. For a unix socket `address` is `'unix'` and `port` 0 (UNIX); `''` and 0 where there is none (an in-memory duplex, UNKNOWN), or where
 *  it was not asked for before the peer reset (LOST). */
export interface Address {
  readonly address: string
  readonly port: number
  readonly family: 'IPv4' | 'IPv6' | 'unix' | ''
}

export const UNIX: Address = Object.freeze({ address: 'unix', port: 0, family: 'unix' })
export const UNKNOWN: Address = Object.freeze({ address: '', port: 0, family: '' })
/** Of a socket that is gone: the kernel forgets it with the connection. */
export const LOST: Address = Object.freeze({ address: '', port: 0, family: '' })

/** The connection, seen from its transport. No method may throw: what is thrown all the same goes to the internal error hook, and ends the connection. */
export interface TransportOwner {
  /** `bytes[start, end)` arrived. The memory is the transport's: whatever is kept must be copied before returning. `onReadDone` follows in the same
   *  turn, perhaps after others were told of their bytes, unless the owner has ended the transport by then. */
  onBytes(bytes: Buffer, start: number, end: number): void
  /** The same, in memory that nobody else will use: the owner may keep it. Only where `expectedBytes` asked for it. */
  onOwnBytes(bytes: Buffer, start: number, end: number): void
  /** Time to write what the bytes led to. `together`: others were told of theirs before it, so that what microtasks are still to add can leave with
   *  what they add for those. */
  onReadDone(together: boolean): void
  /** After much has arrived at once: the size of memory of its own that the next may come in, 0 for the usual loan. A transport need not ask. */
  expectedBytes(): number
  /** The peer will send no more (FIN, close_notify). At most once. Writing is still possible. */
  onEnd(): void
  /** `pendingBytes` has fallen to 0 after having been above it. Never called from inside `write`. */
  onDrained(): void
  /** Gone, for whatever reason but our own `destroy`, `reset` or `detach`. At most once, the last call of all, never from inside a call of ours.
   *  `failure` is '' after an orderly close, else the system's code ('ECONNRESET', 'EPIPE', …). */
  onClosed(failure: string): void
}

export interface Transport {
  /** 'handle': Node's internals are in use. */
  readonly kind: 'stream' | 'handle'
  /** TLS. */
  readonly secure: boolean
  /** Bytes given to `write` whose memory is still in use: 0 when everything reached the kernel. */
  readonly pendingBytes: number
  /** Nothing written from here on arrives: failed, closed or handed over. `onClosed` may be still to come. */
  readonly failed: boolean
  /** Begin to read. Before it nothing is read from the peer: a parked connection costs nothing more. */
  start(owner: TransportOwner): void
  /** Send `bytes`. `memory` is the pooled buffer that they are a view of (given back when the kernel has them), or null when they are nobody's to reuse.
   *  A transport that failed, ended or closed swallows it and gives the memory back; the failure comes through `onClosed`. */
  write(bytes: Uint8Array, memory: Buffer | null): void
  /** The same for text of which every character is one byte (latin-1), not empty. */
  writeText(text: string): void
  /** The same for several, in one system call where the transport can. Views that share a pooled buffer come in order, and `memory` names it at the last of them or behind it. */
  writeMany(bytes: Uint8Array[], memory: (Buffer | null)[]): void
  /** Of `pendingBytes`, those that the kernel has not taken: for deadlines, polled once a tick. */
  untakenBytes(): number
  pauseReading(): void
  resumeReading(): void
  /** What was read and waits to be interpreted with others' is interpreted now. False: it still waits, since this is called from within that. */
  catchUp(): boolean
  /** Half-close after everything written. Reading goes on. */
  endWriting(): void
  /** Close both ways now; what is pending is thrown away. Idempotent. The owner hears nothing more. */
  destroy(): void
  /** Close so that the peer sees a failure (RST where there is one), never a clean end. Idempotent. */
  reset(): void
  /** Hand the connection over as a Duplex; `leftover` (owned by the caller) comes first on it. The transport is done; the owner hears nothing more, but
   *  `onDrained` if something written before is still pending. */
  detach(leftover: Buffer | null): Duplex
  /** The stream below, where there is one: for what only it knows (TLS). */
  readonly stream: Duplex | null
  /** Both stay right after the connection has closed if asked once before. */
  peerAddress(): Address
  localAddress(): Address
}

/** The owner of a transport that has none yet, or none any more: being silent after `destroy` needs no test at each call. */
export const NOBODY: TransportOwner = Object.freeze({
  onBytes(): void {},
  onOwnBytes(): void {},
  onReadDone(): void {},
  expectedBytes: () => 0,
  onEnd(): void {},
  onDrained(): void {},
  onClosed(): void {}
})

let hook: (error: unknown) => void = error => console.error(error)

/** Who hears of an exception of a transport's owner: always an error of ours, never of a peer or an application. */
export function setInternalErrorHook(next: (error: unknown) => void): void {
  hook = next
}

export function reportInternalError(error: unknown): void {
  try {
    hook(error)
  } catch {
    // A broken log must not become an exception inside a native callback.
  }
}
