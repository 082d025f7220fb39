// What a run found, as it is written to JSON; the goals judged. Pure.
import type { Machine } from './machine.ts'
import type { Sample } from './rounds.ts'
import { pairedRatio, spread, type Ratio, type Spread } from './statistics.ts'
import type { Goal, Work } from './works.ts'

export interface LaneResult {
  name: string
  peer: string
  samples: Sample[]
}

export interface WorkResult {
  name: string
  title: string
  unit: Work['unit']
  better: Work['better']
  goals: Goal[]
  lanes: LaneResult[]
}

export interface Results {
  date: string
  command: string
  machine: Machine
  load: string
  pinned: boolean
  rounds: number
  seconds: number
  versions: Record<string, string>
  /** Lanes that were not measured, and why. */
  left: string[]
  works: WorkResult[]
}

export interface Judged {
  text: string
  /** null: a lane is missing, or has no figure. */
  ratio: Ratio | null
  met: boolean
}

function values(work: WorkResult, name: string): number[] | null {
  return work.lanes.find(lane => lane.name === name)?.samples.map(sample => sample.value) ?? null
}

/** A lane's rounds, or those of the ratio of two. */
function series(work: WorkResult, [name, base]: readonly [string, string?]): number[] | null {
  const above = values(work, name)
  const below = base === undefined ? null : values(work, base)
  if (above === null || (base !== undefined && below === null)) return null
  return below === null ? above : above.map((value, round) => value / below[round]!)
}

export function judge(work: WorkResult, goal: Goal): Judged {
  const side = ([name, base]: readonly [string, string?]): string => base === undefined ? name : `(${name} ÷ ${base})`
  const bound = goal.most === undefined ? `≥ ${goal.least}` : `≤ ${goal.most}`
  const text = `${side(goal.of)} ${bound} × ${side(goal.to)}`
  const of = series(work, goal.of)
  const to = series(work, goal.to)
  if (of === null || to === null) return { text, ratio: null, met: false }
  const ratio = pairedRatio(of, to)
  if (Number.isNaN(ratio.ratio)) return { text, ratio: null, met: false }
  return { text, ratio, met: goal.most === undefined ? ratio.ratio >= goal.least! : ratio.ratio <= goal.most }
}

/** The lane that the work is about. */
export function subject(work: { goals: readonly Goal[] }): string {
  return work.goals[0]?.of[0] ?? 'wirelet'
}

/** Lane over lane, as the rounds paired them; null when either is missing. */
export function between(work: WorkResult, of: string, to: string): Ratio | null {
  const above = values(work, of)
  const below = values(work, to)
  return above === null || below === null ? null : pairedRatio(above, below)
}

export function spreadOf(lane: LaneResult, pick: (sample: Sample) => number = sample => sample.value): Spread {
  return spread(lane.samples.map(pick))
}

/** The best first, those without a figure last: a process that cannot be seen has a rate alone. */
export function ranked(work: WorkResult): LaneResult[] {
  const sign = work.better === 'lower' ? 1 : -1
  const key = (lane: LaneResult): number => {
    const { median } = spreadOf(lane)
    return Number.isNaN(median) ? Number.MAX_VALUE : sign * median
  }
  return work.lanes.filter(lane => lane.samples.length > 0).sort((a, b) => key(a) - key(b))
}

/** As many digits as the spread of a noisy machine bears. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en').replaceAll(',', ' ')
  return value.toFixed(size >= 10 ? 1 : 2)
}
