// The outgoing half of a connection: what it has produced, how fast the peer takes it, and which requests wait for their last byte to leave.
// Knows nothing of states and input: when to send is the connection's to say.
import { POOLED_SIZE } from './buffer-pool.ts'
import type { Engine } from './engine.ts'
import { Progress } from './progress.ts'
import type { Ended } from './refusal.ts'
import type { Transport } from './transport.ts'
import { WriteBuffer } from './write-buffer.ts'

export class Outgoing extends WriteBuffer {
  private readonly engine: Engine
  private readonly transport: Transport
  /** Bytes given to the transport so far. */
  private given = 0
  private progress: Progress | null = null
  /** Cycles and refusals that ended but whose last bytes are not in the kernel: how many, and what they keep in memory. */
  private first: Ended | null = null
  private last: Ended | null = null
  private endedCount = 0
  private endedBytes = 0

  constructor(engine: Engine, transport: Transport) {
    super()
    this.engine = engine
    this.transport = transport
  }

  /** Bytes produced that the kernel has not taken, as far as the transport tells. */
  get waiting(): number {
    return this.bytes + this.transport.pendingBytes
  }

  /** Too little to send while the kernel takes nothing: else every turn would leave a pooled buffer there that is nearly empty. */
  get small(): boolean {
    return this.bytes < POOLED_SIZE && this.transport.pendingBytes > 0
  }

  /** Everything to the transport. False: a piece is no longer what it was, and nothing was sent. */
  send(): boolean {
    const { bytes } = this
    if (bytes === 0) return true
    this.given += bytes
    this.engine.counters.bytesWritten += bytes
    if (!this.flush(this.transport)) return false
    if (this.transport.pendingBytes > 0) this.progress ??= new Progress(this.given - bytes)
    return true
  }

  /** Once a tick. Forgotten only when a tick finds nothing pending: the rate of a long answer is its average over all its refills. */
  tooSlow(): boolean {
    if (this.transport.pendingBytes === 0) this.progress = null
    if (this.progress === null) return false
    const { send, minSendRate, rateGrace } = this.engine.timeouts
    return this.progress.tooSlow(this.given - this.transport.untakenBytes(), send, minSendRate, rateGrace)
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
  tell(): void {
    this.endedCount = this.endedBytes = 0
    for (let ended = this.first; ended !== null; ended = this.first) {
      this.first = ended.nextEnded
      if (this.first === null) this.last = null
      ended.nextEnded = null
      ended.completed = ended.reason === ''
      ended.tell(this.engine.handler)
    }
  }

  /** The connection is over. `reason`: why what was still to leave never will. */
  close(reason: string): void {
    if (this.waiting > 0) for (let ended = this.first; ended !== null; ended = ended.nextEnded) ended.reason ||= reason
    this.clear()
    this.tell()
  }
}
