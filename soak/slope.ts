// Does a series grow? A straight line through block means, with a 95 % interval of its slope. Pure.

export interface Slope {
  /** Per minute. */
  perMinute: number
  low: number
  high: number
  mean: number
  /** What the line gains from its first sample to its last. */
  growth: number
}

/** Samples a second apart are not independent of one another: the line is drawn through the means of so many blocks. */
const BLOCKS = 20
/** Student's t, two-sided 95 %, by degrees of freedom; beyond the table it is as good as the last. */
const T = [NaN, 12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.1, 2.09, 2.09]

/** `times` in seconds. */
export function slopeOf(times: readonly number[], values: readonly number[]): Slope {
  const x = blockMeans(times)
  const y = blockMeans(values)
  const n = x.length
  const meanX = mean(x)
  const meanY = mean(y)
  let sxx = 0
  let sxy = 0
  for (let i = 0; i < n; i++) {
    sxx += (x[i]! - meanX) ** 2
    sxy += (x[i]! - meanX) * (y[i]! - meanY)
  }
  const slope = sxy / sxx
  let rest = 0
  for (let i = 0; i < n; i++) rest += (y[i]! - meanY - slope * (x[i]! - meanX)) ** 2
  const error = Math.sqrt(rest / (n - 2) / sxx) * (T[n - 2] ?? 2.09)
  const seconds = times.at(-1)! - times[0]!
  return { perMinute: slope * 60, low: (slope - error) * 60, high: (slope + error) * 60, mean: meanY, growth: slope * seconds }
}

function blockMeans(values: readonly number[]): number[] {
  const blocks = Math.min(BLOCKS, values.length)
  return Array.from({ length: blocks }, (_, i) => mean(values.slice(Math.floor((i * values.length) / blocks), Math.floor(((i + 1) * values.length) / blocks))))
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
