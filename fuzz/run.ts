// npm run fuzz -- [target] [seconds] [seed] [--save] [--missing]
//   target    parser, scanner, chunked, connection, encoder, environ, or all (default); `smoke`: a small fixed budget over all of them, for CI;
//             `replay FILE`: one failed case again, from the file that its failure wrote
//   seconds   per target, default 10
//   seed      default: from the clock. Printed; the same seed does the same
//   --save    keep what reached new blocks in fuzz/corpus, minimised
//   --missing list the lines that were not reached

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chunkedTarget } from './chunked.ts'
import { connectionTarget } from './connection.ts'
import { loadCorpus, saveCorpus, type Entry } from './corpus.ts'
import { Coverage } from './coverage.ts'
import { Dice } from './dice.ts'
import { encoderTarget } from './encoder.ts'
import { environTarget } from './environ.ts'
import { parserTarget } from './parser.ts'
import { scannerTarget } from './scanner.ts'
import type { Target } from './target.ts'
import { setPoison } from '../src/io/poison.ts'

const TARGETS: readonly Target[] = [parserTarget, scannerTarget, chunkedTarget, connectionTarget, encoderTarget, environTarget]
const BUILD = new URL('../', import.meta.url).href

/** Cases per target, and the longest they may take on a busy machine. */
const SMOKE = {
  cases: { parser: 3000, scanner: 20000, chunked: 4000, connection: 400, encoder: 500, environ: 1500 } as Record<string, number>,
  seconds: 3.5,
  seed: 4,
  guided: false
}

interface Budget {
  seconds: number
  cases: number
  /** Look for what reaches something new, and vary it. Not in a fixed budget, where the same seed must do the same. */
  guided: boolean
}

interface Options {
  save: boolean
  missing: boolean
}

async function fuzz(target: Target, budget: Budget, seed: number, options: Options): Promise<boolean> {
  console.log(`fuzz ${target.name}: seed ${seed}`)
  const coverage = new Coverage(BUILD, target.guidedBy)
  const started = performance.now()
  const entries = loadCorpus(target.name)
  const kept: Entry[] = [...entries]
  let cases = 0
  let lastNew = started
  let batches = 0

  const failed = async (one: unknown): Promise<boolean> => {
    cases++
    const wrong = await target.check(one)
    if (wrong === '') return false
    await reportFailure(target, one, wrong, seed)
    return true
  }

  let good = true
  for (const entry of entries) if (await failed(entry.case)) good = false
  coverage.merge(coverage.snapshot())

  while (performance.now() - started < 1000 * budget.seconds && cases < budget.cases) {
    const dice = new Dice(Math.imul(seed, 0x9e3779b1) + batches++)
    const pool = kept.map(entry => entry.case)
    const batch = Array.from({ length: Math.min(target.batch, budget.cases - cases) }, () => target.generate(dice, pool))
    for (const one of batch) if (await failed(one)) return false
    const whole = coverage.snapshot()
    if (coverage.fresh(whole).length === 0) continue
    for (const one of budget.guided ? await thoseThatReach(target, coverage, batch) : []) {
      lastNew = performance.now()
      kept.push({ name: '', case: one })
    }
    // What could not be reached a second time: the order, or the clock.
    coverage.merge(whole)
  }
  const { share, missing } = coverage.report()
  const seconds = (performance.now() - started) / 1000
  const found = `${kept.length} kept (${kept.length - entries.length} new), ${(100 * share).toFixed(1)} % of ${target.guidedBy.join(', ')} reached`
  const quiet = `the last of it ${((performance.now() - lastNew) / 1000).toFixed(0)} s ago`
  console.log(`  ${cases} cases, ${target.executions()} runs in ${seconds.toFixed(1)} s, ${found}, ${quiet}${good ? ': no fault' : ''}`)
  if (options.missing) for (const line of missing) console.log(`  never ran: ${line}`)
  if (options.save) saveCorpus(target.name, await essential(target, coverage, kept))
  coverage.close()
  return good
}

/** The cases of a batch that reach something new, each made smaller. Halves are run again until single cases are left. */
async function thoseThatReach(target: Target, coverage: Coverage, batch: readonly unknown[]): Promise<unknown[]> {
  for (const one of batch) await target.check(one)
  const now = coverage.snapshot()
  const fresh = coverage.fresh(now)
  if (fresh.length === 0) return []
  if (batch.length > 1) {
    const half = batch.length >> 1
    return [...await thoseThatReach(target, coverage, batch.slice(0, half)), ...await thoseThatReach(target, coverage, batch.slice(half))]
  }
  const small = await smallest(target, batch[0], async one => {
    if (await target.check(one) !== '') return false
    return Coverage.has(coverage.snapshot(), fresh)
  }, 300)
  coverage.merge(now)
  return [small]
}

/** Smaller and smaller while a condition holds. */
async function smallest(target: Target, one: unknown, holds: (one: unknown) => Promise<boolean>, milliseconds: number): Promise<unknown> {
  const until = performance.now() + milliseconds
  for (let found = true; found && performance.now() < until;) {
    found = false
    for (const smaller of target.smaller(one)) {
      if (performance.now() > until) break
      if (JSON.stringify(smaller) === JSON.stringify(one) || !await holds(smaller)) continue
      one = smaller
      found = true
      break
    }
  }
  return one
}

async function reportFailure(target: Target, one: unknown, wrong: string, seed: number): Promise<void> {
  console.error(`FAILED ${target.name}, seed ${seed}: ${wrong.slice(0, 3000)}`)
  const small = await smallest(target, one, async smaller => await target.check(smaller) !== '', 15_000)
  const file = join(mkdtempSync(join(tmpdir(), 'wirelet-fuzz-')), `${target.name}.json`)
  writeFileSync(file, JSON.stringify({ target: target.name, case: small }, null, 2))
  console.error(`smallest: ${JSON.stringify(small)}\n${(await target.check(small)).slice(0, 3000)}\nagain: node build/fuzz/run.js replay ${file}`)
}

/** No unnamed case in the corpus is longer than this, as JSON. */
const LONGEST = 8000

/** Of what is kept: what has a name, and, the smallest first, what reaches something that the ones before do not; made smaller once more. */
async function essential(target: Target, coverage: Coverage, kept: readonly Entry[]): Promise<Entry[]> {
  const size = (entry: Entry): number => JSON.stringify(entry.case).length
  const result: Entry[] = []
  coverage.forget()
  for (const entry of [...kept].sort((a, b) => Number(b.name !== '') - Number(a.name !== '') || size(a) - size(b))) {
    coverage.snapshot()
    await target.check(entry.case)
    const now = coverage.snapshot()
    const fresh = coverage.fresh(now)
    if (entry.name !== '') {
      result.push(entry)
    } else if (fresh.length > 0) {
      const reaches = async (one: unknown): Promise<boolean> => await target.check(one) === '' && Coverage.has(coverage.snapshot(), fresh)
      const small = size(entry) > 1000 ? await smallest(target, entry.case, reaches, 5000) : entry.case
      if (JSON.stringify(small).length > LONGEST) continue
      result.push({ name: '', case: small })
    }
    coverage.merge(now)
  }
  return result
}

async function replay(file: string): Promise<boolean> {
  const { target: name, case: one } = JSON.parse(readFileSync(file, 'utf8')) as { target: string, case: unknown }
  const target = TARGETS.find(each => each.name === name)
  if (target === undefined) throw new Error(`no target ${name}`)
  const wrong = await target.check(one)
  console.log(wrong === '' ? 'no fault' : wrong)
  return wrong === ''
}

async function main(): Promise<boolean> {
  const flags = process.argv.slice(2).filter(each => each.startsWith('--'))
  const [name = 'all', second = '10', third = String(Date.now() % 1_000_000_000)] = process.argv.slice(2).filter(each => !each.startsWith('--'))
  if (name === 'replay') return replay(second)
  const options = { save: flags.includes('--save'), missing: flags.includes('--missing') }
  const chosen = name === 'all' || name === 'smoke' ? TARGETS : TARGETS.filter(target => target.name === name)
  const numbers = Number(second) > 0 && Number.isSafeInteger(Number(third))
  if (chosen.length === 0 || !numbers || flags.some(flag => !/^--(?:save|missing)$/.test(flag))) {
    console.error(`usage: run.js [${TARGETS.map(target => target.name).join(' | ')} | all | smoke] [seconds] [seed] [--save] [--missing]`)
    console.error('       run.js replay FILE')
    process.exitCode = 2
    return true
  }
  let good = true
  for (const target of chosen) {
    const isSmoke = name === 'smoke'
    const budget = isSmoke ? { ...SMOKE, cases: SMOKE.cases[target.name]! } : { seconds: Number(second), cases: Infinity, guided: true }
    if (!await fuzz(target, budget, isSmoke ? SMOKE.seed : Number(third), options)) good = false
  }
  return good
}

setPoison(true)
try {
  if (!await main()) process.exitCode = 1
} finally {
  for (const target of TARGETS) await target.close?.()
}
