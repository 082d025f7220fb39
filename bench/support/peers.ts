// Servers to measure: a folder of bench/peers/ each, described by its peer.json. Installed when first needed, started in a process of its own.
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { onCore, run, SERVER_CORE, start, stop, which } from './process.ts'

/** What a server can be asked to serve; docs/performance.md says what each is. */
export const SCENARIOS = ['hello', 'async', 'headers5', 'post', 'pieces', 'upload', 'download'] as const
export type Scenario = (typeof SCENARIOS)[number]

export interface Manifest {
  name: string
  /** Run once in the folder, when `installed` is not there. */
  install?: string[]
  /** A path in the folder that `install` makes. */
  installed?: string
  /** Programs that must be on the PATH; without them the peer is skipped. */
  needs?: string[]
  /** Run in the folder. `node` is the Node that runs the bench. */
  start: string[]
  /** The port it listens on at 127.0.0.1; 0: the one it finds in PORT. */
  port: number
  /** Prints its version; the first version-like word counts. */
  version: string[]
  /** Default: hello. */
  scenarios?: Scenario[]
  /** Serves https when CERTFILE and KEYFILE are set. Default false. */
  secure?: boolean
  /** Collects its garbage on this signal, which makes its memory comparable. */
  collect?: NodeJS.Signals
}

export interface Peer extends Manifest {
  folder: string
}

export interface Serving {
  scenario: Scenario
  secure?: boolean
  env?: Readonly<Record<string, string>>
}

export interface RunningPeer {
  /** Its eldest processes; none: they cannot be seen. */
  pids: readonly number[]
  host: string
  port: number
  secure: boolean
  /** Of its manifest. */
  collect?: NodeJS.Signals | undefined
  /** How it ended; '' while it runs. */
  fate(): string
  stop(): Promise<void>
}

export const ROOT: string = join(import.meta.dirname, '..', '..', '..')
export const PEERS: string = join(ROOT, 'bench', 'peers')
export const CERTIFICATES: string = join(ROOT, 'test', 'support', 'certs')

const KEYS = new Set(['name', 'install', 'installed', 'needs', 'start', 'port', 'version', 'scenarios', 'secure', 'collect'])
const START_WITHIN = 20_000

/** @throws Error that names the file and what is wrong with it. */
export function checkManifest(value: unknown, where: string): Manifest {
  const wrong = (what: string): never => { throw new Error(`${where}: ${what}`) }
  if (typeof value !== 'object' || value === null) return wrong('not an object')
  const manifest = value as Record<string, unknown>
  for (const key of Object.keys(manifest)) if (!KEYS.has(key)) wrong(`unknown key: ${key}`)
  const words = (key: string): boolean => Array.isArray(manifest[key]) && manifest[key].every(word => typeof word === 'string')
  if (typeof manifest['name'] !== 'string' || !/^[\w.-]+$/.test(manifest['name'])) wrong('name must be a word')
  for (const key of ['start', 'version']) if (!words(key) || (manifest[key] as string[]).length === 0) wrong(`${key} must be a list of words`)
  for (const key of ['install', 'needs', 'scenarios']) if (key in manifest && (!words(key) || (manifest[key] as string[]).length === 0)) wrong(`${key} must be a list of words`)
  if (!Number.isInteger(manifest['port']) || (manifest['port'] as number) < 0 || (manifest['port'] as number) > 65_535) wrong('port must be a number')
  if ('install' in manifest && typeof manifest['installed'] !== 'string') wrong('install needs installed: a path that tells when it is done')
  if ('secure' in manifest && typeof manifest['secure'] !== 'boolean') wrong('secure must be true or false')
  if ('collect' in manifest && !Object.hasOwn(constants.signals, String(manifest['collect']))) wrong('collect must be a signal')
  for (const scenario of (manifest['scenarios'] ?? []) as string[]) {
    if (!SCENARIOS.includes(scenario as Scenario)) wrong(`unknown scenario: ${scenario}`)
  }
  return value as Manifest
}

function parsed(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message}`)
  }
}

export function readPeer(name: string): Peer {
  const folder = join(PEERS, name)
  const file = join(folder, 'peer.json')
  if (!existsSync(file)) throw new Error(`no such peer: ${name} (have: ${peerNames().join(', ')})`)
  const manifest = checkManifest(parsed(readFileSync(file, 'utf8'), file), file)
  if (manifest.name !== name) throw new Error(`${file}: its name is not that of its folder`)
  return { ...manifest, folder }
}

export function peerNames(): string[] {
  return readdirSync(PEERS).filter(name => existsSync(join(PEERS, name, 'peer.json'))).sort()
}

export function serves(peer: Peer, serving: Serving): boolean {
  return (peer.scenarios ?? ['hello']).includes(serving.scenario) && (serving.secure !== true || peer.secure === true)
}

function command(words: readonly string[]): string[] {
  return words[0] === 'node' ? [process.execPath, ...words.slice(1)] : [...words]
}

/** Ready to start; otherwise why it is not. */
export async function prepare(peer: Peer, say: (text: string) => void): Promise<string> {
  const missing = (peer.needs ?? []).find(program => which(program) === null)
  if (missing !== undefined) return `${missing} is not installed`
  if (peer.install === undefined || existsSync(join(peer.folder, peer.installed!))) return ''
  say(`installing ${peer.name}: ${peer.install.join(' ')}`)
  try {
    await run(command(peer.install), { cwd: peer.folder, inherit: true })
  } catch (error) {
    return `its installation failed: ${(error as Error).message.split('\n')[0]}`
  }
  return existsSync(join(peer.folder, peer.installed!)) ? '' : `its installation did not make ${peer.installed}`
}

export async function versionOf(peer: Peer): Promise<string> {
  try {
    // nginx prints its version on stderr
    const said = await run(['/bin/sh', '-c', '"$@" 2>&1', 'sh', ...command(peer.version)], { cwd: peer.folder, timeout: START_WITHIN })
    return /\d+\.\d+[\w.+-]*/.exec(said)?.[0] ?? said.trim().split('\n')[0]!
  } catch {
    return 'unknown'
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.resetAndDestroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** Of what a program said, the line that names the error, else the last. */
export function lastWords(said: string): string {
  const lines = said.trim().split('\n')
  // Node and Go say more behind it, Python before.
  return (lines.find(line => /^(?:\w*(?:Error|Exception)\b|(?:error|fatal|panic):)/.test(line)) ?? lines.at(-1)!).trim()
}

/** '' while it runs. */
function fate(child: ChildProcess, said: string): string {
  if (child.exitCode === null && child.signalCode === null) return ''
  return `it ended (${child.signalCode ?? `exit code ${child.exitCode}`}): ${lastWords(said) || 'it said nothing'}`
}

async function untilItListens(child: ChildProcess, port: number, said: () => string): Promise<void> {
  const deadline = performance.now() + START_WITHIN
  while (!(await accepts(port))) {
    const ended = fate(child, said())
    if (ended !== '') throw new Error(ended)
    if (performance.now() > deadline) throw new Error(`does not listen on port ${port} within ${START_WITHIN / 1000} s${said() === '' ? '' : `: ${lastWords(said())}`}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

let scratch = ''

/** A folder for whatever a server has to write, gone when we are. */
function scratchFolder(): string {
  if (scratch === '') {
    scratch = mkdtempSync(join(tmpdir(), 'bench-'))
    process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
  }
  return scratch
}

export async function startPeer(peer: Peer, serving: Serving): Promise<RunningPeer> {
  const port = peer.port === 0 ? await freePort() : peer.port
  // What listens there would be checked, and our own server's CPU time taken for it.
  if (peer.port !== 0 && await accepts(port)) throw new Error(`port ${port} is taken by another program`)
  const secure = serving.secure === true
  const env: NodeJS.ProcessEnv = { ...process.env, ...serving.env, PORT: String(port), SCENARIO: serving.scenario, SCRATCH: scratchFolder(), NODE_ENV: 'production' }
  if (secure) Object.assign(env, { CERTFILE: join(CERTIFICATES, 'localhost.crt'), KEYFILE: join(CERTIFICATES, 'localhost.key') })
  const child = start(onCore(SERVER_CORE, command(peer.start)), { cwd: peer.folder, env, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-4000) })
  child.on('error', error => { said += String(error) })
  try {
    await untilItListens(child, port, () => said)
  } catch (error) {
    if (child.pid !== undefined) await stop(child)
    throw error
  }
  return { pids: [child.pid!], host: '127.0.0.1', port, secure, collect: peer.collect, fate: () => fate(child, said), stop: () => stop(child) }
}
