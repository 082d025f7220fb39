// Drives a server over keep-alive connections: with wrk where it is installed, else with autocannon. Reads what either says.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LOAD_CORE, onCore, run, which } from './process.ts'
import { octetsOf, type Request } from './requests.ts'

export type Tool = 'wrk' | 'autocannon'

export interface Order {
  host: string
  port: number
  secure: boolean
  request: Request
  connections: number
  /** Requests sent at once on each connection. */
  pipeline: number
  /** Whole seconds: neither tool knows less. */
  seconds: number
}

export interface LoadResult {
  requests: number
  seconds: number
  /** Milliseconds. */
  p50: number
  p99: number
  /** Broken connections and timeouts. */
  errors: number
  /** Answers with a status other than 2xx; wrk counts from 400 on. */
  refused: number
}

const ROOT = join(import.meta.dirname, '..', '..', '..')

export const tool: Tool = which('wrk') === null ? 'autocannon' : 'wrk'

let folder = ''

/** A file of ours, gone when we are. */
function temporary(name: string, text: string): string {
  if (folder === '') {
    folder = mkdtempSync(join(tmpdir(), 'bench-'))
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  }
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** `text` as a Lua literal, every octet by its number. */
function luaString(text: string): string {
  return `"${[...Buffer.from(text, 'latin1')].map(octet => '\\' + String(octet).padStart(3, '0')).join('')}"`
}

/**
 * wrk asks `wrk.format` once for the octets to send, and by itself counts how many requests they hold. At the end it gives its
 * figures to `done`: exact ones, where its own report rounds.
 */
export function wrkScript(request: Request, pipeline: number): string {
  return [
    `local octets = ${luaString(octetsOf(request).repeat(pipeline))}`,
    'wrk.format = function() return octets end',
    'done = function(summary, latency)',
    '  local e = summary.errors',
    `  io.write(string.format('FIGURES %d %d %d %d %d %d %d %d %d\\n', summary.requests, summary.duration,`,
    '    latency:percentile(50), latency:percentile(99), e.connect, e.read, e.write, e.status, e.timeout))',
    'end',
    ''
  ].join('\n')
}

export function parseWrk(output: string): LoadResult {
  const line = /^FIGURES ([\d ]+)$/m.exec(output)
  if (line === null) throw new Error(`wrk said nothing that counts:\n${output.trim().slice(-1000)}`)
  const [requests, duration, p50, p99, connect, read, write, refused, timeout] = line[1]!.split(' ').map(Number) as [number, number, number, number, number, number, number, number, number]
  // Now and then wrk loses its histogram's end and gives 0 for a high percentile.
  return { requests, seconds: duration / 1e6, p50: p50 / 1e3, p99: p99 < p50 ? NaN : p99 / 1e3, errors: connect + read + write + timeout, refused }
}

interface AutocannonReport {
  duration: number
  errors: number
  timeouts: number
  non2xx: number
  mismatches?: number
  requests: { total: number }
  latency: { p50: number; p99: number }
}

export function parseAutocannon(output: string): LoadResult {
  const report = JSON.parse(output.slice(output.indexOf('{'))) as AutocannonReport
  return {
    requests: report.requests.total,
    seconds: report.duration,
    p50: report.latency.p50,
    p99: report.latency.p99,
    errors: report.errors,
    refused: report.non2xx
  }
}

function origin({ host, port, secure }: Order): string {
  return `${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

export function wrkCommand(order: Order, script: string): string[] {
  return ['wrk', '-t1', '-c', String(order.connections), '-d', `${order.seconds}s`, '--timeout', '10s', '-s', script, `${origin(order)}/`]
}

export function autocannonCommand(order: Order): string[] {
  const { request } = order
  const fields = request.fields.filter(([name]) => name !== 'Content-Length').flatMap(([name, value]) => ['-H', `${name}=${value}`])
  return [
    process.execPath, join(ROOT, 'node_modules', 'autocannon', 'autocannon.js'), '-j', '-n', '-c', String(order.connections), '-d', String(order.seconds),
    '-p', String(order.pipeline), '-m', request.method, ...fields, ...(request.content === '' ? [] : ['-b', request.content]),
    `${origin(order)}${request.target}`
  ]
}

export async function drive(order: Order): Promise<LoadResult> {
  if (tool === 'autocannon') return parseAutocannon(await run(onCore(LOAD_CORE, autocannonCommand(order))))
  const script = temporary('wrk.lua', wrkScript(order.request, order.pipeline))
  return parseWrk(await run(onCore(LOAD_CORE, wrkCommand(order, script))))
}
