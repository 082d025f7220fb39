// The outgoing half of a connection: what it has produced, how fast the peer takes it, and which requests wait for their last byte to leave.
// Knows nothing of states and input: when to send is the connection's to say.
import type { Timeouts } from '../parser/limits.ts'
import { POOLED_SIZE } from './buffer-pool.ts'
import type { CycleHandler } from './engine.ts'
import { Progress } from './progress.ts'
import type { Ended } from './refusal.ts'
import type { Transport } from './transport.ts'
import { WriteBuffer } from './write-buffer.ts'

export class Outgoing extends WriteBuffer {
  /** Bytes given to the transport so far. */
  private given = 0
  /** Of them, those that no average counts any more: given when a tick last found nothing pending. */
  private settled = 0
  private progress: Progress | null = null
  /** Cycles and refusals that ended but whose last bytes are not in the kernel: how many, and what they keep in memory. */
  private first: Ended | null = null
  private last: Ended | null = null
  private endedCount = 0
  private endedBytes = 0

  /** Bytes produced that the kernel has not taken, as far as the transport tells. */
  waiting(transport: Transport): number {
    return this.bytes + transport.pendingBytes
  }

  /** Too little to send while the kernel takes nothing: else every turn would leave a pooled buffer there that is nearly empty. */
  small(transport: Transport): boolean {
    return this.bytes < POOLED_SIZE && transport.pendingBytes > 0
  }

  /** Everything to the transport. False: a piece is no longer what it was, and nothing was sent. */
  send(transport: Transport): boolean {
    const { bytes } = this
    if (bytes === 0) return true
    this.given += bytes
    if (!this.flush(transport)) return false
    if (transport.pendingBytes > 0) this.progress ??= new Progress(this.settled)
    return true
  }

  /** Once a tick. Forgotten only when a tick finds nothing pending: the rate of a long answer is its average over all its refills, with what the
   *  kernel took at once. */
  tooSlow(transport: Transport, timeouts: Timeouts): boolean {
    if (transport.pendingBytes === 0) {
      this.progress = null
      this.settled = this.given
    }
    if (this.progress === null) return false
    const { send, minSendRate, rateGrace } = timeouts
    return this.progress.tooSlow(this.given - transport.untakenBytes(), send, minSendRate, rateGrace)
  }

  /** Told when the last byte of it is in the kernel. */
  add(ended: Ended): void {
    if (this.last === null) this.first = ended
    else this.last.nextEnded = ended
    this.last = ended
    this.endedCount++
    this.endedBytes += ended.size
  }

  /** Somebody waits to be told. */
  get hasEnded(): boolean {
    return this.first !== null
  }

  /** Small answers that nobody takes: what their requests keep counts, not only the answers' bytes. */
  crowded(count: number, bytes: number): boolean {
    return this.endedCount >= count || this.endedBytes >= bytes
  }

  /** Their bytes are in the kernel. */
  tell(handler: CycleHandler): void {
    this.endedCount = this.endedBytes = 0
    for (let ended = this.first; ended !== null; ended = this.first) {
      this.first = ended.nextEnded
      if (this.first === null) this.last = null
      ended.nextEnded = null
      ended.completed = ended.reason === ''
      ended.tell(handler)
    }
  }

  /** The connection is over. `reason`: why what was still to leave never will. */
  close(reason: string, transport: Transport, handler: CycleHandler): void {
    if (this.waiting(transport) > 0) for (let ended = this.first; ended !== null; ended = ended.nextEnded) ended.reason ||= reason
    this.clear()
    this.tell(handler)
  }

  /** Nothing gathered, nobody to tell, and no rate that a later answer would count for. */
  get over(): boolean {
    return this.bytes === 0 && this.first === null && this.progress === null
  }

  /** As new. Only when `over`: what was gathered has been cleared by its flush. */
  reset(): void {
    this.given = this.settled = 0
  }
}
