// What a noisy machine's figures say: medians, spreads, and ratios of rounds that were run next to each other. Pure.

export interface Spread {
  median: number
  min: number
  max: number
}

export interface Ratio {
  ratio: number
  /** 95 % interval. */
  low: number
  high: number
}

/** Fewer rounds than this prove nothing: all of them on one side of 1 is then more likely than one in twenty by chance. */
export const ROUNDS_FOR_A_VERDICT = 6

const RESAMPLES = 4000

/** Of values sorted upwards, linearly interpolated. */
export function quantile(sorted: readonly number[], q: number): number {
  if (sorted.length === 0) return NaN
  const at = (sorted.length - 1) * q
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (at - below)
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b)
}

export function median(values: readonly number[]): number {
  return quantile(sorted(values), 0.5)
}

/** Of the rounds that gave a figure. */
export function spread(values: readonly number[]): Spread {
  const inOrder = sorted(values.filter(Number.isFinite))
  return { median: quantile(inOrder, 0.5), min: inOrder[0] ?? NaN, max: inOrder.at(-1) ?? NaN }
}

/** Small, seeded and good enough to resample with (mulberry32): the same figures give the same interval. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * `of` / `to`, round by round: both were measured within one round, so the machine's drift from round to round cancels.
 * The figure is the median of the rounds' ratios, the interval a percentile bootstrap over the rounds.
 */
export function pairedRatio(of: readonly number[], to: readonly number[], seed = 1): Ratio {
  const rounds = Math.min(of.length, to.length)
  const ratios = Array.from({ length: rounds }, (_, i) => of[i]! / to[i]!).filter(Number.isFinite)
  if (ratios.length === 0) return { ratio: NaN, low: NaN, high: NaN }
  const next = random(seed)
  const medians = Array.from({ length: RESAMPLES }, () => median(ratios.map(() => ratios[Math.floor(next() * ratios.length)]!)))
  medians.sort((a, b) => a - b)
  return { ratio: median(ratios), low: quantile(medians, 0.025), high: quantile(medians, 0.975) }
}

/** A word only when the interval excludes 1 and there were rounds enough for it to mean anything. */
export function verdict(ratio: Ratio, rounds: number, better: 'lower' | 'higher'): '' | 'better' | 'worse' {
  if (rounds < ROUNDS_FOR_A_VERDICT) return ''
  if (ratio.high < 1) return better === 'lower' ? 'better' : 'worse'
  if (ratio.low > 1) return better === 'lower' ? 'worse' : 'better'
  return ''
}
