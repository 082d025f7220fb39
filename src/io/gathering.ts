// Small reads of one turn of the event loop: put aside as they come, then interpreted one after the other, then answered one after the other, so that
// each of the three finds its caches, and peers on this machine, still warm. Knows neither handles nor HTTP.
import { type Clock, nextTurn } from './clock.ts'
import { isPoisoned } from './poison.ts'
import { SLAB_SIZE, slab } from './read-slab.ts'

/** What bytes are put aside for. */
export interface Gathered {
  /** `slab[start, end)` was read. */
  interpret(start: number, end: number): void
  /** Everything has been interpreted. `together`: there was more than this. */
  answer(together: boolean): void
  /** One of the two threw; it is told no more. */
  abandon(error: unknown): void
}

/** As many reads at most wait for each other. */
export const MAX_GATHERED = 32
/** Octets; so all of them find room in the second half of the slab. */
export const SMALL_READ: number = SLAB_SIZE / MAX_GATHERED
/** Fewer than that do not pay for what it costs to put them aside: hello by 8 connections would be a fifth dearer. */
export const FEW = 8
/** Milliseconds: if interpreting takes longer, answers wait too long for those of others. */
const LONG = 1
/** Reads that nothing waits for, once there were few or it took long. */
const AT_ONCE_AFTER_FEW = 64
const AT_ONCE_AFTER_LONG = 1024

export class Gathering {
  private readonly clock: Clock
  private readonly readers: (Gathered | null)[] = new Array<Gathered | null>(MAX_GATHERED).fill(null)
  private readonly ends: Int32Array = new Int32Array(MAX_GATHERED)
  private count = 0
  /** The first that is not interpreted yet. */
  private next = 0
  /** Reads still to come that nothing waits for. */
  private atOnce = 0
  private readonly onTurnEnd = (): void => this.run()

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** `slab[0, length)` was read for `reader`: put aside. False: it is to be interpreted now, as what was put aside for the same reader has been. */
  add(reader: Gathered, length: number): boolean {
    if (this.atOnce > 0 || length > SMALL_READ) {
      if (this.atOnce > 0) this.atOnce--
      this.catchUp(reader)
      return false
    }
    if (this.count === MAX_GATHERED) {
      const waited = this.waits(reader)
      this.run()
      // What was put aside for it may have led to a takeover.
      if (waited) return false
    }
    const start = this.startOf(this.count)
    slab.copyWithin(start, 0, length)
    if (isPoisoned()) slab.fill(0xdb, 0, length)
    this.readers[this.count] = reader
    this.ends[this.count] = start + length
    if (this.count++ === 0) nextTurn(this.onTurnEnd)
    return true
  }

  /** Before anything else happens to `reader`. False: its bytes wait still, since this is called while those of others are interpreted. */
  catchUp(reader: Gathered): boolean {
    if (!this.waits(reader)) return true
    if (this.next > 0) return false
    this.run()
    return true
  }

  private waits(reader: Gathered): boolean {
    for (let i = this.next; i < this.count; i++) if (this.readers[i] === reader) return true
    return false
  }

  /** What was put aside for `reader`, for somebody else to copy: `reader` will not be told of it. */
  take(reader: Gathered): Uint8Array[] {
    const taken: Uint8Array[] = []
    for (let i = this.next; i < this.count; i++) {
      if (this.readers[i] !== reader) continue
      taken.push(slab.subarray(this.startOf(i), this.ends[i]))
      this.readers[i] = null
    }
    return taken
  }

  private startOf(i: number): number {
    return i === 0 ? SLAB_SIZE : this.ends[i - 1]!
  }

  private run(): void {
    const { count, readers } = this
    if (count === 0) return
    const together = count > 1
    const began = this.clock.now()
    for (let i = 0; i < count; i++) {
      const reader = readers[i]
      this.next = i + 1
      try {
        reader?.interpret(this.startOf(i), this.ends[i]!)
      } catch (error) {
        readers[i] = null
        reader?.abandon(error)
      }
    }
    if (isPoisoned()) slab.fill(0xdb, SLAB_SIZE, this.startOf(count))
    this.pace(count, this.clock.now() - began)
    for (let i = 0; i < count; i++) {
      const reader = readers[i]
      readers[i] = null
      try {
        reader?.answer(together)
      } catch (error) {
        reader?.abandon(error)
      }
    }
    this.count = this.next = 0
  }

  private pace(count: number, took: number): void {
    // In tests both ways take turns, whatever the clock says.
    if (isPoisoned()) this.atOnce = count > 1 ? 0 : 1
    else if (count < FEW) this.atOnce = AT_ONCE_AFTER_FEW
    else if (took > LONG) this.atOnce = AT_ONCE_AFTER_LONG
  }
}
