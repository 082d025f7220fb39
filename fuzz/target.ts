// What the runner asks of a fuzzer. A case is plain JSON (octets are latin-1 strings), so that it can be shrunk, kept and replayed.

import type { Dice } from './dice.ts'

export interface Target<Case = any> {
  readonly name: string
  /** Files of the build whose blocks guide this target: the beginning of their path below `src/`. */
  readonly guidedBy: readonly string[]
  /** Cases in a batch: coverage is read once a batch. */
  readonly batch: number
  /** A new case, or a variation of one that was kept because it reached something. */
  generate(dice: Dice, kept: readonly Case[]): Case
  /** '' or what is wrong with the code under test. It may not throw for any case. */
  check(one: Case): string | Promise<string>
  /** Smaller cases to try when this one fails, the smallest first. */
  smaller(one: Case): Iterable<Case>
  /** Runs of the code under test so far: a case may be run at many splits. */
  executions(): number
  close?(): Promise<void>
}

/** A check that throws for no case: what is thrown is what is wrong. */
export function catching<Case>(check: (one: Case) => string | Promise<string>): (one: Case) => Promise<string> {
  return async one => {
    try {
      return await check(one)
    } catch (error) {
      return `threw ${error instanceof Error ? error.stack : String(error)}`
    }
  }
}

/** Texts with something cut out, large parts first. */
export function* smallerTexts(text: string): Generator<string> {
  for (let size = text.length; size > 0; size >>= 1) {
    for (let at = 0; at < text.length; at += size) yield text.slice(0, at) + text.slice(at + size)
  }
  // Then plainer: a letter for every octet that need not be what it is.
  for (let at = 0; at < text.length; at++) if (/[^\r\na]/.test(text[at]!)) yield text.slice(0, at) + 'a' + text.slice(at + 1)
}

/** Lists with something left out. */
export function* smallerLists<T>(list: readonly T[]): Generator<T[]> {
  for (let size = list.length; size > 0; size >>= 1) {
    for (let at = 0; at < list.length; at += size) yield [...list.slice(0, at), ...list.slice(at + size)]
  }
}
