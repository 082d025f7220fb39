// npm run bench:compare REV [REV2] [-- --work hello,pipelined --rounds 10 --seconds 2]
// Two builds of Wirelet against each other in interleaved rounds: REV (from git) and REV2, without it the working tree as it is now.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { tool } from './support/load.ts'
import { machineLine, positive } from './support/machine.ts'
import { readPeer, ROOT, startPeer } from './support/peers.ts'
import { endWithUs, pinned, run } from './support/process.ts'
import { figure, subject } from './support/results.ts'
import { accessLogFile, interleave, measureAnew, type Sample } from './support/rounds.ts'
import { pairedRatio, ROUNDS_FOR_A_VERDICT, spread, verdict } from './support/statistics.ts'
import { works, type Work } from './support/works.ts'

const USAGE = `usage: npm run bench:compare REV [REV2] [-- --work hello,pipelined] [--rounds 10] [--seconds 2] [--transport auto|stream|handle]`

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

const folder = mkdtempSync(join(tmpdir(), 'bench-compare-'))
endWithUs(() => rmSync(folder, { recursive: true, force: true }))

/** Builds the sources in `from` into `to`. */
async function build(from: string, to: string): Promise<void> {
  const tsc = join(from, 'node_modules', 'typescript', 'bin', 'tsc')
  try {
    await run([process.execPath, tsc, '-p', join(from, 'tsconfig.json'), '--outDir', to], { cwd: from })
  } catch (error) {
    // tsc emits all the same: a tree in the middle of a change can be measured.
    if (!existsSync(join(to, 'index.js'))) throw error
    say(`it has type errors: ${(error as Error).message.split('\n')[1] ?? ''}`)
  }
  // The compiled files are ES modules because the package.json beside them says so.
  cpSync(join(from, 'package.json'), join(to, 'package.json'))
}

/** The revision's files, through `git archive`: unlike a worktree it leaves nothing behind in .git, however we end. */
async function checkOut(revision: string): Promise<string> {
  const source = join(folder, `source-${revision}`)
  mkdirSync(source)
  const archive = execFileSync('git', ['archive', '--format=tar', revision], { cwd: ROOT, maxBuffer: 1 << 28 })
  execFileSync('tar', ['-x', '-C', source], { input: archive })
  const lock = (root: string): string => existsSync(join(root, 'package-lock.json')) ? readFileSync(join(root, 'package-lock.json'), 'utf8') : ''
  if (lock(source) === lock(ROOT)) symlinkSync(join(ROOT, 'node_modules'), join(source, 'node_modules'), 'dir')
  else {
    say('its packages are not ours: npm ci')
    await run(['npm', 'ci', '--no-audit', '--no-fund'], { cwd: source })
  }
  return source
}

function row(name: string, samples: readonly Sample[], unit: Work['unit']): string {
  const of = (pick: (sample: Sample) => number): number => spread(samples.map(pick)).median
  const { median, min, max } = spread(samples.map(sample => sample.value))
  const digits = unit === 'µs/request' ? 2 : 0
  const parts = unit === 'bytes/connection' ? '' : `   user ${of(s => s.user).toFixed(2)}  system ${of(s => s.system).toFixed(2)}   ${Math.round(of(s => s.rate))}/s`
  const latency = of(s => s.p99) > 0 ? `   p50 ${of(s => s.p50).toFixed(2)} ms  p99 ${of(s => s.p99).toFixed(2)} ms` : ''
  return `  ${name.padEnd(14)} ${median.toFixed(digits).padStart(8)} ${unit}  (${min.toFixed(digits)}–${max.toFixed(digits)})${parts}${latency}`
}

async function compare(work: Work, builds: ReadonlyMap<string, string>, transport: string, rounds: number, seconds: number): Promise<void> {
  const lane = work.lanes.find(({ name }) => name === subject(work))!
  const peer = readPeer('wirelet')
  const lanes = [...builds].map(([name, dist]) => ({ name, load: lane.load, dist }))
  const samples = await interleave(lanes, rounds, async (build, round) => {
    const serving = { ...lane.serving, env: { ...lane.serving.env, DIST: build.dist, TRANSPORT: transport } }
    const sample = await measureAnew(build, () => startPeer(peer, serving), seconds)
    say(`${work.name} ${round + 1}/${rounds} ${build.name}: ${figure(sample.value)} ${work.unit}${sample.errors > 0 ? `, ${sample.errors} errors` : ''}`)
    return sample
  })
  const [before, after] = [...samples.values()] as [Sample[], Sample[]]
  const ratio = pairedRatio(after.map(s => s.value), before.map(s => s.value))
  const word = verdict(ratio, rounds, work.better)
  const judged = word !== '' ? `: ${lanes[1]!.name} is ${word}` : rounds < ROUNDS_FOR_A_VERDICT ? ` (${ROUNDS_FOR_A_VERDICT} rounds or more give a verdict)` : ': no difference shown'
  process.stdout.write(`${[
    `${work.name}: ${work.title}`,
    ...[...samples].map(([build, list]) => row(build, list, work.unit)),
    `  ${lanes[1]!.name} / ${lanes[0]!.name}: ${ratio.ratio.toFixed(3)}, 95 % interval ${ratio.low.toFixed(3)}–${ratio.high.toFixed(3)}${judged}`
  ].join('\n')}\n\n`)
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      work: { type: 'string', default: 'hello,pipelined' },
      rounds: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '2' },
      transport: { type: 'string', default: 'auto' }
    }
  })
  if (positionals.length < 1 || positionals.length > 2) throw new Error(USAGE)
  const all = works(accessLogFile())
  const chosen = values.work.split(',').map(name => all.find(work => work.name === name) ?? fail(`no such work: ${name} (have: ${all.map(work => work.name).join(', ')})`))
  const rounds = positive('rounds', values.rounds)
  const seconds = positive('seconds', values.seconds)
  const builds = new Map<string, string>()
  for (const revision of positionals) {
    const commit = execFileSync('git', ['rev-parse', '--short', `${revision}^{commit}`], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
    if (builds.has(commit)) throw new Error('both are the same revision')
    say(`building ${commit}`)
    builds.set(commit, join(folder, commit))
    await build(await checkOut(commit), join(folder, commit))
  }
  if (positionals.length === 1) {
    say('building the tree')
    builds.set('tree', join(folder, 'tree'))
    await build(ROOT, join(folder, 'tree'))
  }
  process.stdout.write(`${machineLine()}; load: ${tool}; ${pinned ? 'server and load on cores of their own' : 'nothing pinned'}; ${rounds} rounds of ${seconds} s\n\n`)
  for (const work of chosen) await compare(work, builds, values.transport, rounds, seconds)
}

function fail(message: string): never {
  throw new Error(message)
}

try {
  await main()
} catch (error) {
  say(`bench:compare: ${(error as Error).message}`)
  process.exitCode = 1
}
// A server that was slow to end, or a pipe of its child, is no reason to hang.
process.exit()
