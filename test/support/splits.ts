// Feeds one input whole, octet by octet, cut in two at every place, and cut at seeded random places: a parser must not notice (rules G-11).
// Each piece lies in a window of a larger buffer full of 0xAA, so that a read beyond it finds an octet that no grammar wants.
import * as assert from 'uvu/assert'

const POISON = 0xaa

/** A small seeded generator (mulberry32): numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** `bytes[start,end)` of a larger, poisoned buffer. */
export interface Window {
  bytes: Buffer
  start: number
  end: number
}

export function poisonedWindow(content: Buffer, before = 16, after = 16): Window {
  const bytes = Buffer.alloc(before + content.length + after, POISON)
  content.copy(bytes, before)
  return { bytes, start: before, end: before + content.length }
}

export interface Split {
  name: string
  pieces: Buffer[]
}

// Beyond this a cut at every place costs too much: a sample and the ends must do.
const EVERY_CUT = 2048
const SAMPLED_CUTS = 40
const RANDOM_SPLITS = 6

/** All splits of an input. Lazy, because most of the time is spent in the caller's run. */
export function* splitsOf(input: Buffer, seed = 1): Generator<Split> {
  yield { name: 'whole', pieces: [input] }
  yield { name: 'octet by octet', pieces: cutAt(input, Array.from({ length: Math.max(input.length - 1, 0) }, (_, i) => i + 1)) }
  const next = random(seed)
  for (const cut of cutsOf(input.length, next)) yield { name: `cut at ${cut}`, pieces: cutAt(input, [cut]) }
  for (let i = 0; i < RANDOM_SPLITS; i++) {
    const cuts = randomCuts(input.length, next)
    yield { name: `seed ${seed}, cuts at ${cuts.join(' ')}`, pieces: cutAt(input, cuts) }
  }
}

function* cutsOf(length: number, next: () => number): Generator<number> {
  if (length <= EVERY_CUT) {
    for (let cut = 1; cut < length; cut++) yield cut
    return
  }
  for (let i = 1; i <= 8; i++) yield i
  for (let i = 8; i >= 1; i--) yield length - i
  for (let i = 0; i < SAMPLED_CUTS; i++) yield 1 + Math.floor(next() * (length - 1))
}

export function randomCuts(length: number, next: () => number): number[] {
  const cuts = new Set<number>()
  const wanted = 1 + Math.floor(next() * 8)
  for (let i = 0; i < wanted && length > 1; i++) cuts.add(1 + Math.floor(next() * (length - 1)))
  return [...cuts].sort((a, b) => a - b)
}

export function cutAt(input: Buffer, cuts: number[]): Buffer[] {
  const pieces: Buffer[] = []
  let from = 0
  for (const cut of cuts) {
    pieces.push(input.subarray(from, cut))
    from = cut
  }
  pieces.push(input.subarray(from))
  return pieces
}

/** Runs an input at every split and asserts the same events each time. Text is latin-1: one character, one octet. */
export function assertAtEverySplit(input: string | Buffer, run: (pieces: Buffer[]) => string[], expected: string[]): void {
  const bytes = typeof input === 'string' ? Buffer.from(input, 'latin1') : input
  for (const { name, pieces } of splitsOf(bytes)) assert.equal(run(pieces), expected, `split: ${name}`)
}
