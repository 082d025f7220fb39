// The memory that incoming bytes are lent from: one slab for every HandleTransport of the thread, because the read callback is synchronous
// and libuv never calls one inside another (docs/handles.md, Reading); what is put aside (gathering.ts) moves to its second half. Nothing here knows
// sockets or HTTP.
import { Buffer } from 'node:buffer'
import { scanner } from '../parser/field-line-scanner.ts'
import { isPoisoned } from './poison.ts'
import type { TransportOwner } from './transport.ts'

/** What one read can bring. */
export const SLAB_SIZE = 65536

/** libuv keeps the raw pointer only: unpooled, never transferred, never resized, never collected. The scanner's memory is all that. */
export const slab: Buffer = scanner?.memory ?? Buffer.allocUnsafeSlow(2 * SLAB_SIZE)

/** The first half, which is read into. */
export const readArea: Buffer = slab.subarray(0, SLAB_SIZE)

/** Whether `size` octets of memory may be kept for the sake of `used` of them: so what is held is at most 1.6 times what the limits count.
 *  A read of 128 KiB into 192 is common, one of between 64 and 128 rare (measured). */
export function worthKeeping(used: number, size: number): boolean {
  return used * 8 >= size * 5
}

/** Lend `bytes[0, length)` for one call; in poison mode whoever kept a view of it sees 0xdb from here on. */
export function lend(owner: TransportOwner, bytes: Buffer, length: number): void {
  owner.onBytes(bytes, 0, length)
  owner.onReadDone(false)
  if (isPoisoned()) bytes.fill(0xdb, 0, length)
}
