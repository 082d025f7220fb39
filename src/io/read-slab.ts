// The memory that incoming bytes are lent from: one slab for every HandleTransport of the thread, because the read callback is synchronous
// and libuv never calls one inside another (handles.md §3). Nothing here knows sockets or HTTP.
import { Buffer } from 'node:buffer'
import { scanner } from '../parser/field-line-scanner.ts'
import { isPoisoned } from './poison.ts'
import type { TransportOwner } from './transport.ts'

export const SLAB_SIZE = 65536

/** libuv keeps the raw pointer only: unpooled, never transferred, never resized, never collected. The scanner's memory is all that, and 64 KiB. */
export const slab: Buffer = scanner?.memory ?? Buffer.allocUnsafeSlow(SLAB_SIZE)

/** The owner of a transport that has none yet, or none any more: being silent after `destroy` needs no test at each call. */
export const NOBODY: TransportOwner = Object.freeze({
  onBytes(): void {},
  onOwnBytes(): void {},
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

/** Lend `bytes[0, length)` for one call; in poison mode whoever kept a view of it sees 0xdb from here on. */
export function lend(owner: TransportOwner, bytes: Buffer, length: number): void {
  owner.onBytes(bytes, 0, length)
  if (isPoisoned()) bytes.fill(0xdb)
}
