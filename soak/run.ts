// The soak: a server and its traffic in two processes for as long as asked, samples, a plot and a verdict. Exit code 1 when anything leaks or breaks.
//   node build/soak/run.js [--minutes 1] [--transport stream|handle|both] [--seed 1] [--workers 40] [--pause 200]
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { within } from '../test/support/within.ts'
import { plot } from './plot.ts'
import type { Sample, ServerMessage } from './server.ts'
import { slopeOf, type Slope } from './slope.ts'
import type { TrafficOptions, TrafficReport } from './traffic.ts'

type Over = Extract<ServerMessage, { kind: 'over' }>
type Key = 'heap' | 'rss' | 'external' | 'handles' | 'fds'

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    transport: { type: 'string', default: 'both' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '40' },
    pause: { type: 'string', default: '200' }
  }
})

const RESULTS = join(import.meta.dirname, '..', '..', 'soak', 'results')
const MIB = 1 << 20

/** A line that rises by less than this over the second half is called flat whatever its interval: the grain of what is measured.
 *  In its first minutes a process is still finding its level, the code that V8 compiles late included: 0.3 to 0.6 MiB of heap in the second half of
 *  the first minute, nothing after the fifth (measured). What one connection in ten leaves behind would be more. */
const GRAIN: Record<Key, (mean: number, minutes: number) => number> = {
  heap: (_, minutes) => (minutes < 5 ? 3 * MIB / 2 : MIB / 2),
  rss: (mean, minutes) => (minutes < 5 ? 32 * MIB : Math.max(4 * MIB, mean * 0.05)),
  external: () => 2 * MIB,
  handles: mean => Math.max(4, mean * 0.1),
  fds: mean => Math.max(4, mean * 0.1)
}

const children = new Set<ChildProcess>()

function start(file: string, options: object, execArgv: string[] = []): ChildProcess {
  const child = fork(join(import.meta.dirname, file), [JSON.stringify(options)], { execArgv: ['--enable-source-maps', ...execArgv] })
  children.add(child)
  child.on('exit', () => children.delete(child))
  return child
}

/** The server's next message of one kind. */
function said<K extends ServerMessage['kind']>(child: ChildProcess, kind: K, ms: number): Promise<Extract<ServerMessage, { kind: K }>> {
  return within(ms, new Promise((resolve, reject) => {
    child.on('exit', code => reject(new Error(`the server ended with ${code}`)))
    child.on('message', (message: ServerMessage) => {
      if (message.kind === kind) resolve(message as Extract<ServerMessage, { kind: K }>)
    })
  }), `"${kind}" from the server`)
}

interface Result {
  transport: string
  minutes: number
  seed: number
  samples: Sample[]
  over: Over
  traffic: TrafficReport
  slopes: Record<Key, Slope>
  /** Empty: all is well. */
  wrong: string[]
}

function judge(samples: Sample[], minutes: number, over: Over, traffic: TrafficReport): { slopes: Record<Key, Slope>; wrong: string[] } {
  const wrong: string[] = []
  const half = samples.slice(samples.length >> 1)
  const slopes = {} as Record<Key, Slope>
  for (const key of ['heap', 'rss', 'external', 'handles', 'fds'] as const) {
    const slope = slopeOf(half.map(each => each.time), half.map(each => each[key]))
    slopes[key] = slope
    if (slope.low > 0 && slope.growth > GRAIN[key](slope.mean, minutes)) wrong.push(`${key} grows by ${slope.perMinute.toFixed(1)} a minute (${slope.low.toFixed(1)} to ${slope.high.toFixed(1)})`)
  }
  if (over.last.connections !== 0) wrong.push(`${over.last.connections} connections at the end`)
  if (over.outstanding !== 0) wrong.push(`${over.outstanding} requests outstanding at the end`)
  if (over.lent !== 0) wrong.push(`${over.lent} buffers lent at the end`)
  if (over.last.fds > over.first.fds) wrong.push(`${over.last.fds} descriptors at the end, ${over.first.fds} at the start`)
  if (over.last.handles > over.first.handles) wrong.push(`${over.last.handles} handles at the end, ${over.first.handles} at the start`)
  for (const fault of over.faults) wrong.push(`server: ${fault}`)
  for (const fault of traffic.faults) wrong.push(`traffic: ${fault}`)
  if (traffic.answered === 0) wrong.push('no good request was answered')
  return { slopes, wrong }
}

async function soak(transport: 'stream' | 'handle', minutes: number, seed: number): Promise<Result> {
  const samples: Sample[] = []
  const server = start('server.js', { transport }, ['--expose-gc'])
  server.on('message', (message: ServerMessage) => {
    if (message.kind === 'sample') samples.push(message.sample)
  })
  const { port, tlsPort } = await said(server, 'ready', 10_000)
  const options: TrafficOptions = { port, tlsPort, seed, workers: Number(flags.workers), pause: Number(flags.pause) }
  const traffic = start('traffic.js', options)
  const reported = once(traffic, 'message')
  await Promise.race([delay(minutes * 60_000), once(server, 'exit').then(([code]) => Promise.reject(new Error(`the server ended with ${code}`))), once(traffic, 'exit')])
  traffic.send('stop')
  const [report] = (await within(60_000, reported, 'the traffic to end')) as [TrafficReport]
  const ended = said(server, 'over', 60_000)
  server.send('stop')
  const over = await ended
  const { slopes, wrong } = judge(samples, minutes, over, report)
  return { transport, minutes, seed, samples, over, traffic: report, slopes, wrong }
}

function write(result: Result): string {
  mkdirSync(RESULTS, { recursive: true })
  const name = join(RESULTS, `${new Date().toISOString().slice(0, 16).replace(':', '')}-${result.transport}-${result.minutes}min`)
  writeFileSync(`${name}.json`, JSON.stringify(result, null, 1))
  const { samples, slopes } = result
  const seconds = samples.length < 2 ? 0 : samples.at(-1)!.time - samples[samples.length >> 1]!.time
  const line = (slope: Slope, scale: number): [number, number] => {
    const rise = (slope.perMinute * seconds) / 60
    return [(slope.mean - rise / 2) / scale, (slope.mean + rise / 2) / scale]
  }
  writeFileSync(`${name}.svg`, plot(`${result.transport} transport, ${result.minutes} minutes, ${result.traffic.answered} good answers`, samples.map(each => each.time), [
    { name: 'heap after gc', unit: 'MiB', values: samples.map(each => each.heap / MIB), line: line(slopes.heap, MIB) },
    { name: 'RSS', unit: 'MiB', values: samples.map(each => each.rss / MIB), line: line(slopes.rss, MIB) },
    { name: 'external', unit: 'MiB', values: samples.map(each => each.external / MIB), line: line(slopes.external, MIB) },
    { name: 'handles', unit: '', values: samples.map(each => each.handles), line: line(slopes.handles, 1) },
    { name: 'descriptors', unit: '', values: samples.map(each => each.fds), line: line(slopes.fds, 1) },
    { name: 'connections', unit: '', values: samples.map(each => each.connections) }
  ]))
  return name
}

function tell(result: Result, name: string): void {
  const { over, traffic, slopes } = result
  const mib = (bytes: number): string => (bytes / MIB).toFixed(2)
  const say = (text: string): boolean => process.stdout.write(text + '\n')
  say(`${result.transport}: ${result.minutes} min, ${traffic.answered} good answers, ${Object.values(traffic.done).reduce((a, b) => a + b, 0)} peers, ${traffic.turnedAway} turned away; traffic held up for ${traffic.heldUp} ms at most`)
  for (const key of ['heap', 'rss', 'external'] as const) {
    const slope = slopes[key]
    say(`  ${key.padEnd(8)} mean ${mib(slope.mean)} MiB, slope ${mib(slope.perMinute)} (${mib(slope.low)} to ${mib(slope.high)}) MiB/min, at rest ${mib(over.first[key])} before, ${mib(over.last[key])} after`)
  }
  for (const key of ['handles', 'fds'] as const) {
    const slope = slopes[key]
    say(`  ${key.padEnd(8)} mean ${slope.mean.toFixed(1)}, slope ${slope.perMinute.toFixed(2)} (${slope.low.toFixed(2)} to ${slope.high.toFixed(2)})/min, at rest ${over.first[key]} before, ${over.last[key]} after`)
  }
  for (const stats of over.stats) {
    say(`  ${stats.requests} requests, ${stats.accepted} accepted, ${stats.parked} parked, ${stats.evicted} evicted, ${stats.refused} refused, deadlines ${JSON.stringify(stats.deadlines)}, errors ${JSON.stringify(stats.errors)}`)
  }
  say(`  connections ${over.last.connections}, outstanding ${over.outstanding}, lent ${over.lent} at the end; ${name}.svg`)
  for (const each of result.wrong) say(`  WRONG ${each}`)
  say(`  ${result.wrong.length === 0 ? 'flat: nothing leaks' : `${result.wrong.length} things are wrong`}`)
}

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

const transports = flags.transport === 'both' ? (['stream', 'handle'] as const) : [flags.transport as 'stream' | 'handle']
const minutes = Number(flags.minutes)
if (!(minutes > 0)) throw new Error('--minutes takes a number')
let failed = false
// Both at once: each is a server with a core to spare, and the time is what is asked for.
const results = await Promise.all(transports.map((transport, i) => soak(transport, minutes, Number(flags.seed) + i)))
for (const result of results) {
  tell(result, write(result))
  failed ||= result.wrong.length > 0
}
process.exit(failed ? 1 : 0)
