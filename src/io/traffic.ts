// What a connection has only while something happens on it: input that waits, the request being answered, output on its way, its share of the turn.
// Lent by the engine, so that an idle connection holds none of it. Knows nothing of states: what it means is the connection's to say.
import { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import type { ContentReader } from './content-reader.ts'
import type { Cycle } from './cycle.ts'
import type { HeadReader } from './head-reader.ts'
import { Outgoing } from './outgoing.ts'
import { isPoisoned } from './poison.ts'

export class Traffic {
  readonly out: Outgoing = new Outgoing()
  cycle: Cycle | null = null
  /** Lent while a head is incomplete. */
  reader: HeadReader | null = null
  /** Input that was read and not interpreted, from `stashStart` on: pipelined requests, or what the turn had no room for. A read that joins it is the last. */
  stash: Buffer | null = null
  stashStart: number = 0
  /** It was read behind the request being answered after a drain had begun: for a takeover alone. */
  stashedInDrain: boolean = false
  /** The stash being interpreted: ours already, its rest need not be copied. */
  owned: Buffer | null = null
  /** What has just arrived in memory of its own: the content may keep it. */
  given: Buffer | null = null
  /** What follows the request being started, while `onHead` runs: part of it goes along in a takeover. */
  rest: Buffer | null = null
  restStart: number = 0
  restEnd: number = 0
  /** Content of the current request that is still to come. */
  incoming: ContentReader | null = null
  /** Octets discarded while lingering. */
  lingered: number = 0
  paused: boolean = false
  peerEnded: boolean = false
  finSent: boolean = false
  /** In a transport's read callback: its end flushes. */
  inRead: boolean = false
  interpreting: boolean = false
  flushScheduled: boolean = false
  turnScheduled: boolean = false
  writableWanted: boolean = false
  turnCycles: number = 0
  turnBytes: number = 0
  turnPieces: number = 0
  pendingHooks: number = 0
  /** What they keep in memory. */
  hookBytes: number = 0
  /** eventlet.set_idle: from then on, and this is kept as long. */
  mayCutAtDrain: boolean = false
  /** After a takeover: the connection as its new owner has it. */
  duplex: Duplex | null = null
  /** The cycle that took it over, until its application returns or the connection closes. */
  taken: Cycle | null = null

  beginTurn(): void {
    this.turnCycles = this.turnBytes = this.turnPieces = 0
  }

  /** `bytes[start, end)` must wait. */
  keep(bytes: Buffer, start: number, end: number): void {
    const { stash, stashStart } = this
    this.stashStart = 0
    if (stash !== null) {
      this.stash = Buffer.concat([stash.subarray(stashStart), bytes.subarray(start, end)])
    } else if (bytes === this.owned) {
      this.stash = bytes
      this.stashStart = start
    } else {
      this.stash = Buffer.from(bytes.subarray(start, end))
    }
  }

  /** Something was read behind the request being answered. */
  get moreInput(): boolean {
    return this.stash !== null || (this.rest !== null && this.restStart < this.restEnd)
  }

  /** Nothing here waits or has to be remembered: the loan of an idle connection may end. Content, a head or a cycle it has none of, and lingering or
   *  taken over it has never been. */
  get over(): boolean {
    return !(this.inRead || this.interpreting || this.flushScheduled || this.turnScheduled || this.paused || this.peerEnded) &&
      this.stash === null && this.pendingHooks === 0 && !this.mayCutAtDrain && this.out.over
  }

  /** As new. Only when `over`. */
  reset(): void {
    this.turnCycles = this.turnBytes = this.turnPieces = this.restStart = this.restEnd = this.stashStart = 0
    this.writableWanted = false
    this.out.reset()
  }
}

/** Of every connection that has borrowed none: reads as nothing there, and must not be written to. Under poison that throws; else it has the shape of
 *  all others, which spares each use of a connection's traffic the test of which shape it is (half a hundredth of a request, measured). */
export const NO_TRAFFIC: Traffic = new Traffic()
if (isPoisoned()) {
  Object.freeze(NO_TRAFFIC.out)
  Object.freeze(NO_TRAFFIC)
}
