// Pooled memory for responses. Who borrows gives back exactly once, and only when nothing (the kernel included) reads it any more.
import { Buffer } from 'node:buffer'
import { isPoisoned } from './poison.ts'

/** Size of a pooled buffer: a pipelined batch of small responses fits, and a slow reader pins no more than this at a time. */
export const POOLED_SIZE = 16384
/** Free buffers kept: 4 MiB at most stay with an idle process. */
const MAX_FREE = 256

const free: Buffer[] = []
let lent = 0

export function borrowBuffer(): Buffer {
  lent++
  return free.pop() ?? Buffer.allocUnsafeSlow(POOLED_SIZE)
}

export function giveBackBuffer(buffer: Buffer): void {
  lent--
  if (isPoisoned()) buffer.fill(0xdb)
  if (free.length < MAX_FREE) free.push(buffer)
}

/** The borrower cannot say when the kernel is done with it: counted as returned, left to the collector. */
export function forgetBuffer(): void {
  lent--
}

/** Buffers borrowed and not yet returned: 0 when nothing is in flight. */
export function lentBuffers(): number {
  return lent
}
