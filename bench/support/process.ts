// Processes seen from outside: started on a core of their own, their CPU time and memory, ended with all they started.
import { execFileSync, spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { availableParallelism, endianness } from 'node:os'
import { delimiter, join } from 'node:path'

/** Seconds. */
export interface CpuTime {
  user: number
  system: number
}

interface Entry {
  pid: number
  parent: number
  cpu: CpuTime
}

const LINUX = process.platform === 'linux'

/** The program's path, or null. */
export function which(program: string): string | null {
  if (program.includes('/')) return existsSync(program) ? program : null
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, program)
    if (folder !== '' && existsSync(path)) return path
  }
  return null
}

const taskset = LINUX ? which('taskset') : null
/** The server has the first core to itself, the load the second. */
export const pinned: boolean = taskset !== null && availableParallelism() >= 2

export const SERVER_CORE = 0
export const LOAD_CORE = 1

/** `command` on that core where it can be had. taskset and the shell both exec: the pid stays that of the command. */
export function onCore(core: number, command: readonly string[]): string[] {
  const pinnedCommand = pinned ? [taskset!, '-c', String(core), ...command] : [...command]
  if (process.platform === 'win32') return pinnedCommand
  // As many open files as may be had: idle connections are counted by the thousand.
  return ['/bin/sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', ...pinnedCommand]
}

const live = new Set<ChildProcess>()

/** Starts a group of its own, so that `stop` reaches what the child starts. */
export function start(command: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv; stdio?: StdioOptions; timeout?: number } = {}): ChildProcess {
  const child = spawn(command[0]!, command.slice(1), { detached: true, stdio: ['ignore', 'pipe', 'pipe'], ...options })
  live.add(child)
  child.on('error', () => live.delete(child))
  child.on('exit', () => {
    live.delete(child)
    // What it left of its group goes too: a server that fails at start, an installation with a daemon that holds our pipe.
    signalGroup(child, 'SIGKILL')
  })
  return child
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // nobody is left
  }
}

function killEach(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // it ended by itself
    }
  }
}

/** It and what it started, in a group of their own or not. */
function pidsOf(child: ChildProcess): number[] {
  return child.pid === undefined ? [] : family([child.pid]).map(({ pid }) => pid)
}

/** Asked to end, made to after two seconds, with all it started. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const pids = pidsOf(child)
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  signalGroup(child, 'SIGTERM')
  const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), 2000)
  await gone
  clearTimeout(timer)
  killEach(pids.filter(pid => pid !== child.pid))
}

/** Runs to its end; rejects with the end of what it said. */
export function run(command: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv; inherit?: boolean; timeout?: number } = {}): Promise<string> {
  const { inherit = false, ...rest } = options
  return new Promise((resolve, reject) => {
    const child = start(command, { ...rest, ...(inherit ? { stdio: ['ignore', 2, 2] } : {}) })
    let out = ''
    let said = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => { out += text })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { said += text })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) resolve(out)
      else reject(new Error(`${command.join(' ')}: ${signal ?? `exit code ${code}`}\n${(out + said).trimEnd().slice(-2000)}`))
    })
  })
}

/** What is still running when the bench is interrupted ends with it. */
export function endWithUs(cleanUp: () => void = () => {}): void {
  const end = (): void => {
    for (const child of live) {
      const pids = pidsOf(child)
      signalGroup(child, 'SIGKILL')
      killEach(pids)
    }
    cleanUp()
  }
  process.on('exit', end)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))
}

/** Of /proc/PID/stat. 100 wherever it was ever seen, but it may be asked. */
function clockTicks(): number {
  try {
    return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) || 100
  } catch {
    return 100
  }
}

const ticksPerSecond = LINUX ? clockTicks() : 0

/** One line of /proc/PID/stat. The command's name may hold spaces and parentheses: what follows the last one counts. */
export function parseStat(line: string, ticks: number): Entry {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const seconds = (own: number, reaped: number): number => (Number(fields[own]) + Number(fields[reaped])) / ticks
  return { pid: parseInt(line), parent: Number(fields[1]), cpu: { user: seconds(11, 13), system: seconds(12, 14) } }
}

/** `ps` writes [[days-]hours:]minutes:seconds[.hundredths]. */
export function parsePsTime(text: string): number {
  const [days, clock] = text.includes('-') ? [Number(text.split('-')[0]), text.split('-')[1]!] : [0, text]
  return clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + days * 86_400
}

function entries(): Entry[] {
  if (LINUX) {
    return readdirSync('/proc').filter(name => /^\d+$/.test(name)).flatMap(name => {
      try {
        return [parseStat(readFileSync(`/proc/${name}/stat`, 'latin1'), ticksPerSecond)]
      } catch {
        return [] // ended meanwhile
      }
    })
  }
  return execFileSync('ps', ['-A', '-o', 'pid=', '-o', 'ppid=', '-o', 'utime=', '-o', 'time='], { encoding: 'utf8' }).trim().split('\n').map(line => {
    const [pid, parent, utime, time] = line.trim().split(/\s+/)
    const user = parsePsTime(utime!)
    return { pid: Number(pid), parent: Number(parent), cpu: { user, system: parsePsTime(time!) - user } }
  })
}

/** `pids` and what they started: a master with workers is one server. */
function family(pids: readonly number[]): Entry[] {
  const all = entries()
  const members = new Map<number, Entry>()
  const add = (id: number): void => {
    const entry = all.find(candidate => candidate.pid === id)
    if (entry === undefined || members.has(id)) return
    members.set(id, entry)
    for (const child of all) if (child.parent === id) add(child.pid)
  }
  pids.forEach(add)
  return [...members.values()]
}

export function cpuTime(pids: readonly number[]): CpuTime {
  const members = family(pids)
  for (const pid of pids) if (!members.some(member => member.pid === pid)) throw new Error(`process ${pid} is gone`)
  return members.reduce((sum, { cpu }) => ({ user: sum.user + cpu.user, system: sum.system + cpu.system }), { user: 0, system: 0 })
}

/** Resident memory, bytes. */
export function residentBytes(pids: readonly number[]): number {
  return family(pids).reduce((sum, entry) => {
    if (!LINUX) return sum + 1024 * Number(execFileSync('ps', ['-o', 'rss=', '-p', String(entry.pid)], { encoding: 'utf8' }))
    const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${entry.pid}/status`, 'latin1'))
    return sum + 1024 * Number(rss?.[1] ?? 0)
  }, 0)
}

/** The octets of an address in /proc/net/tcp, hexadecimal: it has them in words of the machine's order. An IPv4 address within IPv6 is one of four. */
export function listenedAddress(field: string, order: 'LE' | 'BE' = endianness()): string {
  const words = field.match(/.{8}/g) ?? []
  const octets = words.map(word => order === 'LE' ? word.match(/../g)!.reverse().join('') : word).join('').toLowerCase()
  return octets.startsWith('00000000000000000000ffff') ? octets.slice(24) : octets
}

const LOOPBACK6 = '1'.padStart(32, '0')

/** What a listener's address must be to be reached at `host`, the most specific first; `/proc/net/tcp` has no names. */
function addressesOf(host: string): string[] {
  const hex = (address: string): string => address.split('.').map(octet => Number(octet).toString(16).padStart(2, '0')).join('')
  if (host === '::1') return [LOOPBACK6, '0'.repeat(32)]
  return [...(host === 'localhost' ? [hex('127.0.0.1'), LOOPBACK6] : [hex(host)]), '0'.repeat(8), '0'.repeat(32)]
}

/** Who listens at that loopback address of this machine, the eldest of each family: several with SO_REUSEPORT. None: not ours, not Linux, or not to be seen. */
export function listenerPids(host: string, port: number): number[] {
  if (!LINUX) return []
  const sockets = new Map<string, Set<string>>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    if (!existsSync(table)) continue
    for (const line of readFileSync(table, 'latin1').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/)
      const [address, number] = (fields[1] ?? '').split(':')
      // state 0A: LISTEN
      if (fields[3] !== '0A' || parseInt(number!, 16) !== port) continue
      const key = listenedAddress(address!)
      sockets.set(key, (sockets.get(key) ?? new Set()).add(`socket:[${fields[9]}]`))
    }
  }
  const inodes = sockets.get(addressesOf(host).find(address => sockets.has(address)) ?? '')
  if (inodes === undefined) return []
  const holders = entries().filter(({ pid }) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some(fd => inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`)))
    } catch {
      return false
    }
  })
  const pids = new Set(holders.map(holder => holder.pid))
  return holders.filter(holder => !pids.has(holder.parent)).map(holder => holder.pid)
}
