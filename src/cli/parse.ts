// Words of the command line in, a Command out. Nothing is opened, read or started here.
import type { ListenOptions, ServeOptions } from '../index.ts'
import { OPTIONS, type OptionRow } from './options.ts'
import { usage } from './usage.ts'

/** Where to listen, and how the user wrote it. */
export interface Bind {
  readonly text: string
  readonly where: ListenOptions
}

export interface Command {
  action: 'serve' | 'help' | 'version'
  /** As given: a path or a package. */
  module: string
  /** null: the default export, or `app`. */
  exportName: string | null
  binds: Bind[]
  tls: { certfile: string; keyfile: string } | null
  /** '-', 'off' or a path. */
  accessLog: string
  options: ServeOptions
}

const BY_FLAG = new Map(OPTIONS.filter(row => row.flag !== '').map(row => [row.flag, row]))
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const SUFFIXES: Readonly<Record<string, number>> = { '': 1, k: 1 << 10, m: 1 << 20, g: 1 << 30 }
const DEFAULT_BIND = '127.0.0.1:8090'

/** @throws CommandError with exit code 2 */
export function parseCommand(words: readonly string[]): Command {
  const command: Command = { action: 'serve', module: '', exportName: null, binds: [], tls: null, accessLog: '-', options: {} }
  const own: Record<string, string> = {}
  const positional: string[] = []
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    if (word === '--') {
      positional.push(...words.slice(i + 1))
      break
    }
    if (word === '--help' || word === '-h' || word === '--version') {
      command.action = word === '--version' ? 'version' : 'help'
      return command
    }
    if (!word.startsWith('-') || word === '-') {
      positional.push(word)
      continue
    }
    const equals = word.indexOf('=')
    const name = equals < 0 ? word : word.slice(0, equals)
    const inline = equals < 0 ? null : word.slice(equals + 1)
    const { row, negated } = find(name)
    if (row.kind === 'boolean' || negated) {
      if (inline !== null) throw usage(`${name} takes no value`)
      assign(command.options, row.ours, !negated)
      continue
    }
    const text = inline ?? words[++i]
    if (text === undefined || (inline === null && text.startsWith('--'))) throw usage(`${name} needs a value: ${name} ${row.placeholder}`)
    if (row.flag === 'bind') command.binds.push(parseBind(text))
    else if (row.ours === '') own[row.flag] = text
    else if (row.kind === 'pair') assign(command.options, row.ours, { ...command.options.environ, ...pair(name, text) })
    else assign(command.options, row.ours, value(row, name, text))
  }
  finish(command, own, positional)
  return command
}

function finish(command: Command, own: Readonly<Record<string, string>>, positional: readonly string[]): void {
  const { certfile, keyfile } = own
  if ((certfile === undefined) !== (keyfile === undefined)) throw usage('--certfile and --keyfile go together')
  if (certfile !== undefined && keyfile !== undefined) command.tls = { certfile, keyfile }
  command.accessLog = own['access-log'] ?? '-'
  if (command.accessLog === '') throw usage('--access-log needs -, off or a file')
  if (command.binds.length === 0) command.binds.push(parseBind(DEFAULT_BIND))
  if (positional.length === 0) throw usage('which module? wirelet [options] MODULE[:EXPORT]')
  if (positional.length > 1) throw usage(`one module only, not ${positional.join(' and ')}`)
  // `./a:b.js` has no export, `file:///a.js` neither.
  const [, module, name] = /^(.+):([\p{ID_Start}$_][\p{ID_Continue}$]*)$/u.exec(positional[0]!) ?? []
  command.module = module ?? positional[0]!
  command.exportName = name ?? null
}

function find(name: string): { row: OptionRow; negated: boolean } {
  const plain = BY_FLAG.get(name.slice(2))
  if (name.startsWith('--') && plain !== undefined) return { row: plain, negated: false }
  const negated = name.startsWith('--no-') ? BY_FLAG.get(name.slice(5)) : undefined
  if (negated?.kind === 'boolean' || negated?.kind === 'keepalive') return { row: negated, negated: true }
  throw usage(`there is no option ${name}`)
}

/** `limits.maxHead` names a member of a member. */
function assign(options: ServeOptions, path: string, to: unknown): void {
  const [first, second] = path.split('.') as [string, string | undefined]
  const target = options as Record<string, unknown>
  if (second === undefined) target[first] = to
  else target[first] = { ...target[first] as object | undefined, [second]: to }
}

function value(row: OptionRow, name: string, text: string): unknown {
  switch (row.kind) {
    case 'choice':
      if (!row.choices!.includes(text)) throw usage(`${name} is one of ${row.choices!.join(', ')}, not ${quote(text)}`)
      return text
    case 'size':
      return size(name, text)
    case 'count':
      return count(name, text, row.section === 'limits')
    case 'rate':
      return text === 'off' ? 0 : count(name, text, false)
    case 'duration':
      return duration(name, text)
    case 'keepalive':
      return text === 'on' ? true : text === 'off' ? false : duration(name, text)
    default:
      return text
  }
}

function size(name: string, text: string): number {
  const match = /^(\d{1,15})([kmg]?)$/i.exec(text)
  if (match !== null) return Number(match[1]) * SUFFIXES[match[2]!.toLowerCase()]!
  if (text === 'off') return Infinity
  throw usage(`${name} takes a number of bytes like 65536, 64k or 1m, not ${quote(text)}`)
}

function count(name: string, text: string, canBeOff: boolean): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  if (canBeOff && text === 'off') return Infinity
  throw usage(`${name} takes a whole number, not ${quote(text)}`)
}

function duration(name: string, text: string): number {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h)$/.exec(text)
  if (match !== null) return Number(match[1]) * UNITS[match[2]!]!
  if (text === 'off') return Infinity
  throw usage(/^[\d.]+$/.test(text) ? `${name} needs a unit: ${text}ms or ${text}s` : `${name} takes a time like 500ms, 30s or 5m, not ${quote(text)}`)
}

function pair(name: string, text: string): Record<string, string> {
  const equals = text.indexOf('=')
  if (equals < 1) throw usage(`${name} takes NAME=VALUE, not ${quote(text)}`)
  return { [text.slice(0, equals)]: text.slice(equals + 1) }
}

function parseBind(text: string): Bind {
  if (text.startsWith('unix:')) {
    const path = text.slice(5)
    if (path === '') throw usage('--bind unix: needs a path')
    return { text, where: { path } }
  }
  const fd = /^fd:\/\/(\d{1,9})$/.exec(text)
  if (fd !== null) return { text, where: { fd: Number(fd[1]) } }
  const match = /^(?:\[([\da-f:.%\w]+)\]|([^:[\]/]*)):(\d{1,5})$/i.exec(text)
  if (match === null || Number(match[3]) > 65_535) throw usage(`--bind takes HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N, not ${quote(text)}`)
  const host = match[1] ?? match[2]!
  // A host left out is the default one: being reachable from outside is asked for by name (0.0.0.0, [::]).
  return { text, where: { port: Number(match[3]), ...(host === '' ? {} : { host }) } }
}

function quote(text: string): string {
  return JSON.stringify(text)
}
