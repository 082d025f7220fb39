// A source of choices: everything random in a fuzzer comes from one seed.
import { random } from '../test/support/splits.ts'

export class Dice {
  readonly next: () => number

  constructor(seed: number) {
    this.next = random(seed)
  }

  /** 0 … n-1. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  chance(p: number): boolean {
    return this.next() < p
  }

  /** Mostly small, now and then large. */
  size(most: number): number {
    return Math.floor(this.next() ** 3 * (most + 1))
  }
}
