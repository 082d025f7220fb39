// npm run bench [-- WORK… --peers a,b --rounds N --seconds S --url URL --quick --name NAME]
// In interleaved rounds: starts each server in a process of its own, checks its answers, drives it; and writes what it cost:
// a table (Markdown), the raw figures (JSON) and plots (SVG) to bench/results/.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { tool } from './support/load.ts'
import { machine, positive } from './support/machine.ts'
import { peerNames, prepare, readPeer, ROOT, serves, startPeer, versionOf, type Peer } from './support/peers.ts'
import { svg } from './support/plot.ts'
import { endWithUs, listenerPids, pinned } from './support/process.ts'
import { markdown } from './support/report.ts'
import { figure, subject, type Results, type WorkResult } from './support/results.ts'
import { accessLogFile, interleave, measureAnew, type Sample, type Server } from './support/rounds.ts'
import { parseLoopback } from './support/url.ts'
import { works, worksOfUrl, type Work } from './support/works.ts'

function usage(all: readonly Work[]): string {
  return [
    'usage: npm run bench [-- WORK… --peers NAME,… --rounds 7 --seconds 2 --url URL --quick --name NAME]',
    '',
    ...all.map(work => `  ${work.name.padEnd(16)} ${work.title}`),
    '',
    `  --peers    beside wirelet; of ${peerNames().join(', ')}`,
    '  --quick    3 rounds of 1 s: to see that it works',
    '  --url      a server of yours that runs on this machine, measured beside the others',
    '  --name     of the files in bench/results/ (default: latest)'
  ].join('\n')
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

interface Plan {
  works: Work[]
  rounds: number
  seconds: number
  url: Server | null
  peers: Map<string, Peer>
  /** By --peers. */
  asked: readonly string[]
  results: Results
  save(): void
}

/** `work` with the lanes that were asked for; a peer that the table does not know gets a lane like the subject's. */
function choose(work: Work, asked: readonly string[] | null): Work {
  if (asked === null) return work
  const lanes = work.lanes.filter(lane => lane.peer === 'wirelet' || lane.peer === 'url' || asked.includes(lane.peer))
  const model = work.lanes.find(lane => lane.name === subject(work))!
  const named = model.name === 'wirelet' || model.serving.scenario !== 'hello'
  const added = asked.filter(name => named && !work.lanes.some(lane => lane.peer === name)).map(name => ({ ...model, name, peer: name }))
  return { ...work, lanes: [...lanes, ...added] }
}

/** Installs what is needed; what cannot be had is left out with a word. */
async function gather(plan: Plan): Promise<void> {
  const names = new Set(plan.works.flatMap(work => work.lanes.map(lane => lane.peer)))
  names.delete('url')
  for (const name of names) {
    const peer = readPeer(name)
    const why = await prepare(peer, say)
    if (why === '') {
      plan.peers.set(name, peer)
      plan.results.versions[name] = await versionOf(peer)
    } else leave(plan, `${name}: ${why}`)
  }
}

function leave(plan: Plan, what: string): void {
  plan.results.left.push(what)
  say(`left out: ${what}`)
}

/** Of what a program said, its last line. */
function reason(error: unknown): string {
  return String((error as Error).message).trim().split('\n').at(-1)!
}

/** Somebody's server that runs already; not ours to stop. */
function running(url: URL): Server {
  const secure = url.protocol === 'https:'
  const port = Number(url.port || (secure ? 443 : 80))
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const pids = listenerPids(host, port)
  if (pids.length === 0) say(`${url.href}: its process cannot be seen; throughput and latency only`)
  return { host, port, secure, pids, fate: () => '', stop: async () => {} }
}

async function measureWork(plan: Plan, work: Work, position: string): Promise<WorkResult> {
  const { rounds, seconds } = plan
  const lanes = work.lanes.filter(lane => lane.peer === 'url' || (plan.peers.has(lane.peer) && serves(plan.peers.get(lane.peer)!, lane.serving)))
  for (const name of plan.asked) {
    const told = plan.results.left.some(text => text.startsWith(`${name}: `))
    if (!told && !lanes.some(lane => lane.peer === name)) leave(plan, `${work.name}, ${name}: it has no part in this work (see its scenarios and "secure")`)
  }
  const broken = new Set<string>()
  const samples = await interleave(lanes, rounds, async (lane, round): Promise<Sample | null> => {
    if (broken.has(lane.name)) return null
    try {
      const sample = await measureAnew(lane, async () => lane.peer === 'url' ? plan.url! : startPeer(plan.peers.get(lane.peer)!, lane.serving), seconds)
      const errors = sample.errors > 0 ? `, ${sample.errors} errors` : ''
      say(`[${position}] ${work.name} ${round + 1}/${rounds}  ${lane.name.padEnd(18)} ${figure(sample.value)} ${work.unit}${sample.rate > 0 ? `, ${figure(sample.rate)}${work.unit === 'MiB/CPU s' ? ' MiB' : ''}/s` : ''}${errors}`)
      return sample
    } catch (error) {
      broken.add(lane.name)
      leave(plan, `${work.name}, ${lane.name}: ${reason(error)}`)
      return null
    }
  })
  const { name, title, unit, better, goals } = work
  return {
    name, title, unit, better, goals,
    lanes: lanes.filter(lane => !broken.has(lane.name)).map(({ name, peer }) => ({ name, peer, samples: samples.get(name)! as Sample[] }))
  }
}

function saver(results: Results, name: string): () => void {
  const folder = join(ROOT, 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  const write = (ending: string, text: string): void => writeFileSync(join(folder, `${name}${ending}`), text)
  return () => {
    write('.json', `${JSON.stringify(results, null, 1)}\n`)
    write('.md', markdown(results))
    write('.svg', svg(results))
    for (const work of results.works) write(`-${work.name}.svg`, svg(results, [work]))
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      peers: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      url: { type: 'string' },
      quick: { type: 'boolean', default: false },
      name: { type: 'string', default: 'latest' },
      help: { type: 'boolean', short: 'h', default: false }
    }
  })
  const url = values.url === undefined ? null : parseLoopback(values.url)
  const table = works(accessLogFile())
  if (values.help) {
    process.stdout.write(`${usage(table)}\n`)
    return
  }
  const all = url === null ? table : worksOfUrl(table, url.pathname + url.search, url.protocol === 'https:')
  const asked = values.peers === undefined ? null : [...new Set(values.peers.split(',').filter(name => name !== ''))]
  for (const name of asked ?? []) readPeer(name)
  const chosen = positionals.length === 0 ? all : positionals.map(name => {
    const work = all.find(candidate => candidate.name === name)
    if (work === undefined) throw new Error(`no such work${url === null ? '' : ' for a --url'}: ${name} (have: ${all.map(work => work.name).join(', ')})`)
    return work
  })
  if (!/^[\w.-]+$/.test(values.name)) throw new Error(`--name: not a word: ${values.name}`)
  const rounds = positive('rounds', values.rounds ?? (values.quick ? '3' : '7'))
  const seconds = positive('seconds', values.seconds ?? (values.quick ? '1' : '2'))
  const results: Results = {
    date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    command: `npm run bench${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(' ')}` : ''}`,
    machine: machine(), load: tool, pinned, rounds, seconds, versions: {}, left: [], works: []
  }
  const plan: Plan = { works: chosen.map(work => choose(work, asked)), rounds, seconds, url: url === null ? null : running(url), peers: new Map(), asked: asked ?? [], results, save: saver(results, values.name) }
  say(`load: ${tool}${tool === 'wrk' ? '' : ' (wrk is not installed)'}; ${pinned ? 'server and load each on a core of its own' : 'nothing pinned to a core'}; ${rounds} rounds of ${seconds} s`)
  await gather(plan)
  for (const [i, work] of plan.works.entries()) {
    results.works.push(await measureWork(plan, work, `${i + 1}/${plan.works.length}`))
    // After each work: an interrupted run leaves what it found.
    plan.save()
  }
  process.stdout.write(`${markdown(results)}\nwritten to bench/results/${values.name}.md, .json and .svg\n`)
}

endWithUs()
try {
  await main()
} catch (error) {
  say(`bench: ${(error as Error).message}`)
  process.exitCode = 1
}
// A pipe of a child that was slow to end is no reason to hang.
process.exit()
