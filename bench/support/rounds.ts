// Lanes measured in interleaved rounds: A B C, C B A, … so that a machine that slows down slows all of them down. Each time in a
// new process: what V8 makes of the same code differs from one to the next, by up to a tenth (docs/performance.md).
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { check, ask } from './check.ts'
import { drive } from './load.ts'
import { cpuTime, LOAD_CORE, onCore, residentBytes, run, start, stop, type CpuTime } from './process.ts'
import type { RunningPeer } from './peers.ts'
import type { BulkLoad, IdleLoad, Lane, Load, RequestLoad } from './works.ts'

export interface Sample {
  /** In the work's unit. */
  value: number
  /** Parts of the CPU time, µs per request; per MiB for bulk. 0 for idle. */
  user: number
  system: number
  /** Requests per second, MiB per second; 0 for idle. */
  rate: number
  /** Milliseconds, of requests alone. */
  p50: number
  p99: number
  /** Requests, MiB, connections: what the figures are a mean over. */
  count: number
  errors: number
}

export type Server = RunningPeer

/** Of a lane: the server it drives, and how. */
interface Driven {
  name: string
  load: Load
  server: Server
}

const MIB = 1024 * 1024
/** Lets compilers and caches get to where they will stay: Wirelet, node:http, Deno and the raw handle cost after two seconds about what
 *  they cost after eight. */
const WARM_UP_SECONDS = 2
/** Long enough for the connections to be there and the counting to begin. */
const CONNECTING_SECONDS = 1

function cpu(driven: Driven): CpuTime {
  return driven.server.pids.length === 0 ? { user: NaN, system: NaN } : cpuTime(driven.server.pids)
}

/** CPU time of the server, and how many units of work it was for. */
async function measureRequests(driven: Driven, load: RequestLoad, seconds: number): Promise<Sample> {
  const order = { ...driven.server, ...load }
  let idle = { requests: 0, user: 0, system: 0 }
  if (load.beyondConnecting === true) {
    // The difference of a longer and a shorter run holds no connecting.
    const before = cpu(driven)
    const { requests } = await drive({ ...order, seconds: CONNECTING_SECONDS })
    const after = cpu(driven)
    idle = { requests, user: after.user - before.user, system: after.system - before.system }
  }
  const before = cpu(driven)
  const result = await drive({ ...order, seconds: load.beyondConnecting === true ? seconds + CONNECTING_SECONDS : seconds })
  const after = cpu(driven)
  if (result.refused > 0) throw new Error(`${result.refused} of ${result.requests} answers under load had another status than 2xx`)
  const requests = result.requests - idle.requests
  const user = ((after.user - before.user - idle.user) / requests) * 1e6
  const system = ((after.system - before.system - idle.system) / requests) * 1e6
  if (!(requests > 0)) throw new Error(`${driven.name}: no request was answered (${result.errors} errors)`)
  return { value: user + system, user, system, rate: result.requests / result.seconds, p50: result.p50, p99: result.p99, count: requests, errors: result.errors }
}

function helper(name: string, options: object): string[] {
  return onCore(LOAD_CORE, [process.execPath, join(import.meta.dirname, `${name}.js`), JSON.stringify(options)])
}

async function measureBulk(driven: Driven, load: BulkLoad, seconds: number): Promise<Sample> {
  const { host, port } = driven.server
  const before = cpu(driven)
  const said = await run(helper('bulk', { host, port, load, seconds }))
  const after = cpu(driven)
  const result = JSON.parse(said) as { octets: number; seconds: number }
  const mib = result.octets / MIB
  const user = after.user - before.user
  const system = after.system - before.system
  return {
    value: mib / (user + system), user: (user / mib) * 1e6, system: (system / mib) * 1e6, rate: mib / result.seconds, p50: 0, p99: 0, count: mib, errors: 0
  }
}

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** After garbage was collected twice, where the server lets us ask for it, and all is quiet. */
async function settledBytes(pids: readonly number[], collect: NodeJS.Signals | undefined): Promise<number> {
  for (let i = 0; i < 2; i++) {
    if (collect !== undefined) for (const pid of pids) process.kill(pid, collect)
    await pause(500)
  }
  return residentBytes(pids)
}

async function measureIdle(driven: Driven, load: IdleLoad): Promise<Sample> {
  const { host, port, pids, collect } = driven.server
  if (pids.length === 0) throw new Error('its process cannot be seen')
  const child = start(helper('idle', { host, port, load }), { stdio: ['pipe', 'pipe', 2] })
  const readings: number[] = []
  // The helper says `ready` at each stage and goes on when it is told to.
  await new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`${driven.name}: the idle connections broke`)))
    child.stdout!.setEncoding('utf8').on('data', () => {
      settledBytes(pids, collect).then(bytes => {
        readings.push(bytes)
        if (readings.length === 2) resolve()
        else child.stdin!.write('go\n')
      }, reject)
    })
  })
  await stop(child)
  const count = load.to - load.from
  return { value: (readings[1]! - readings[0]!) / count, user: 0, system: 0, rate: 0, p50: 0, p99: 0, count, errors: 0 }
}

function measure(driven: Driven, seconds: number): Promise<Sample> {
  const { load } = driven
  if (load.kind === 'requests') return measureRequests(driven, load, seconds)
  return load.kind === 'bulk' ? measureBulk(driven, load, seconds) : measureIdle(driven, load)
}

/** @throws Error saying what the server answered wrongly. */
async function checkAnswers(driven: Driven): Promise<void> {
  const { load, server } = driven
  if (load.kind === 'bulk') {
    // Octets that make no sense to keep: the helper counts them, and knows the right answer.
    await run(helper('bulk', { host: server.host, port: server.port, load, seconds: 0 }))
    return
  }
  return check(server, load.request, load.answer!, load.kind === 'requests' ? load.pipeline : 1)
}

/** `load` with the answer that must come each time: where none is known, the first one. */
async function withAnswer(load: Load, server: Server): Promise<Load> {
  if (load.kind !== 'requests' || load.answer !== null) return load
  const [first] = await ask(server, load.request)
  if (first!.status !== 200) throw new Error(`status ${first!.status}`)
  return { ...load, answer: { type: first!.fields.get('content-type') ?? '', content: first!.content.toString('latin1') } }
}

/** The load looks at no answer's content and counts what was answered before a server went silent: who answers wrongly by now did so for an unknown part of it. */
async function checkAgain(driven: Driven): Promise<void> {
  if (driven.load.kind !== 'requests') return
  try {
    await checkAnswers(driven)
  } catch (error) {
    throw new Error(`after its load: ${(error as Error).message}`)
  }
}

async function warmUp(driven: Driven): Promise<void> {
  const { load } = driven
  if (load.kind === 'requests') await drive({ ...driven.server, ...load, seconds: WARM_UP_SECONDS })
  else if (load.kind === 'bulk') await measureBulk(driven, load, WARM_UP_SECONDS)
}

/**
 * One sample from a server that `begin` starts, and that is stopped behind it.
 * @throws Error saying what it answered wrongly, or why it could not be measured.
 */
export async function measureAnew({ name, load }: Pick<Lane, 'name' | 'load'>, begin: () => Promise<Server>, seconds: number): Promise<Sample> {
  const server = await begin()
  try {
    const driven = { name, load: await withAnswer(load, server), server }
    await checkAnswers(driven)
    await warmUp(driven)
    const sample = await measure(driven, seconds)
    await checkAgain(driven)
    return sample
  } catch (error) {
    // That it is gone says less than what it said.
    const fate = server.fate()
    throw fate === '' ? error : new Error(fate)
  } finally {
    await server.stop()
  }
}

/** Every lane once a round; each round in the opposite order of the one before. */
export async function interleave<T extends { name: string }, S>(
  lanes: readonly T[], rounds: number, measureLane: (lane: T, round: number) => Promise<S>
): Promise<Map<string, S[]>> {
  const samples = new Map<string, S[]>(lanes.map(lane => [lane.name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const lane of round % 2 === 0 ? lanes : [...lanes].reverse()) samples.get(lane.name)!.push(await measureLane(lane, round))
  }
  return samples
}

/** A file for access logs, gone when we are. */
export function accessLogFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'bench-log-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'access.log')
}
