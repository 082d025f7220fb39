// The answer to what never became a request: for the log, in its place behind the requests that were answered before it.
import type { CycleHandler, PeerErrorEvent } from './engine.ts'
import type { Address } from './transport.ts'

/** Something whose last byte is on its way: a cycle or a refusal. */
export interface Ended {
  nextEnded: Ended | null
  /** Everything was handed to the kernel. */
  completed: boolean
  /** '' or why not. */
  reason: string
  /** Bytes that it keeps in memory. */
  readonly size: number
  /** Tell the handler that it is over. */
  tell(handler: CycleHandler): void
}

export class Refusal implements Ended {
  nextEnded: Ended | null = null
  completed = false
  reason = ''
  readonly size: number = 0
  readonly event: PeerErrorEvent
  readonly peer: Address
  readonly bodyBytes: number
  readonly wireBytes: number

  constructor(event: PeerErrorEvent, peer: Address, bodyBytes: number, wireBytes: number) {
    this.event = event
    this.peer = peer
    this.bodyBytes = bodyBytes
    this.wireBytes = wireBytes
  }

  tell(handler: CycleHandler): void {
    handler.onRefusalEnd(this)
  }
}
