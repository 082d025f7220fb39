// What is measured: for each work its lanes (one way to serve it by one peer), how they are loaded, and what must be reached.
import type { Scenario, Serving } from './peers.ts'
import * as requests from './requests.ts'
import type { Answer, Request } from './requests.ts'

/** Keep-alive requests at full speed; CPU per request counts. With `beyondConnecting` what the connecting costs is measured apart and taken off. */
export interface RequestLoad {
  kind: 'requests'
  request: Request
  /** null: whatever it answers first. */
  answer: Answer | null
  connections: number
  pipeline: number
  beyondConnecting?: boolean
}

/** 64 MiB messages one after the other; octets per CPU second count. */
export interface BulkLoad {
  kind: 'bulk'
  request: Request
  answer: Answer | null
  connections: number
}

/** Connections that have had one request and wait; memory counts. */
export interface IdleLoad {
  kind: 'idle'
  request: Request
  answer: Answer
  warmUp: number
  from: number
  to: number
}

export type Load = RequestLoad | BulkLoad | IdleLoad

export interface Lane {
  name: string
  peer: string
  serving: Serving
  load: Load
}

/** A ratio of lanes; a second name in `of` and `to`: the ratio's side is itself a ratio. */
export interface Goal {
  of: readonly [string, string?]
  to: readonly [string, string?]
  most?: number
  least?: number
}

export interface Work {
  name: string
  title: string
  unit: 'µs/request' | 'MiB/CPU s' | 'bytes/connection'
  better: 'lower' | 'higher'
  lanes: Lane[]
  goals: Goal[]
}

const CONNECTIONS = 64
const PIPELINE = 16

interface Variant {
  scenario?: Scenario
  secure?: boolean
  env?: Readonly<Record<string, string>>
}

function lane(peer: string, load: Load, variant: Variant = {}, name: string = peer): Lane {
  return { name, peer, serving: { scenario: 'hello', ...variant }, load }
}

function lanes(peers: string, load: Load, variant: Variant = {}): Lane[] {
  return peers.split(' ').map(peer => lane(peer, load, variant))
}

function asking(request: Request, answer: Answer = requests.HELLO, more: Partial<RequestLoad> = {}): RequestLoad {
  return { kind: 'requests', request, answer, connections: CONNECTIONS, pipeline: 1, ...more }
}

function bulk(request: Request, answer: Answer | null): BulkLoad {
  return { kind: 'bulk', request, answer, connections: 4 }
}

function must(of: string, limits: Readonly<Record<string, number>>): Goal[] {
  return Object.entries(limits).map(([to, most]) => ({ of: [of], to: [to], most }))
}

/** Bytes for CPU time: more is better. */
function mustGive(limits: Readonly<Record<string, number>>): Goal[] {
  return Object.entries(limits).map(([to, least]) => ({ of: ['wirelet'], to: [to], least }))
}

function work(name: string, title: string, lanes: Lane[], goals: Goal[], unit: Work['unit'] = 'µs/request'): Work {
  return { name, title, unit, better: unit === 'MiB/CPU s' ? 'higher' : 'lower', lanes, goals }
}

const HELLO = asking(requests.hello)
const PIPELINED = asking(requests.hello, requests.HELLO, { pipeline: PIPELINE })
const FIVE = asking(requests.fiveFields, requests.fiveFieldsAnswer())
const FIVE_UNREAD = asking(requests.fiveFields)
const BUSY = asking(requests.hello, requests.HELLO, { beyondConnecting: true })
const MANY = { ...BUSY, connections: 4000 }
const IDLE: IdleLoad = { kind: 'idle', request: requests.hello, answer: requests.HELLO, warmUp: 20_000, from: 4000, to: 12_000 }
/** V8 grows its young generation between the two readings by 0 to 6 MB, by chance: up to 700 bytes a connection that are none. Held small for every Node server. */
const STEADY = { NODE_OPTIONS: '--max-semi-space-size=1' }
const EVERYBODY = 'wirelet wirelet-stream node-http fastify bun deno nginx'
const SCRIPTED = 'wirelet wirelet-stream node-http bun deno'

function growing(peer: string): Lane[] {
  return [lane(peer, BUSY, {}, `${peer} 64`), lane(peer, MANY, {}, `${peer} 4000`)]
}

/** `accessLog`: a file for the lane that logs. */
export function works(accessLog: string): Work[] {
  return [
    work('hello', 'hello world, keep-alive, 64 connections', lanes(`${EVERYBODY} raw-net raw-handle`, HELLO),
      must('wirelet', { 'node-http': 0.45, fastify: 0.36, bun: 1.1, deno: 1.1, nginx: 1.2, 'raw-handle': 1.35 })),
    work('browser', "hello world with a browser's ten headers (703 bytes)", lanes(EVERYBODY, asking(requests.browser)),
      must('wirelet', { 'node-http': 0.5, bun: 1.2 })),
    work('pipelined', 'hello world, 16 pipelined', lanes(EVERYBODY, PIPELINED), must('wirelet', { 'node-http': 0.15, bun: 0.35, nginx: 0.4 })),
    work('async', 'asynchronous application, hello world',
      [lane('wirelet', HELLO), lane('wirelet', HELLO, { scenario: 'async' }, 'wirelet async'), lane('node-http', HELLO, { scenario: 'async' }, 'node-http async')],
      must('wirelet async', { wirelet: 1.15 })),
    work('async-pipelined', 'asynchronous application, 16 pipelined',
      [lane('wirelet', PIPELINED), lane('wirelet', PIPELINED, { scenario: 'async' }, 'wirelet async'), lane('node-http', PIPELINED, { scenario: 'async' }, 'node-http async')],
      must('wirelet async', { wirelet: 1.5 })),
    work('log', 'access log on, to a file', [lane('wirelet', HELLO), lane('wirelet', HELLO, { env: { ACCESS_LOG: accessLog } }, 'wirelet logging')],
      must('wirelet logging', { wirelet: 1.15 })),
    work('headers5', 'application reads 5 headers, path and query (the same request otherwise)',
      [lane('wirelet', FIVE_UNREAD), lane('wirelet', FIVE, { scenario: 'headers5' }, 'wirelet reading'), lane('node-http', FIVE_UNREAD),
        lane('node-http', FIVE, { scenario: 'headers5' }, 'node-http reading')],
      must('wirelet reading', { wirelet: 1.1 })),
    work('close', 'new connection for each request', lanes(`${EVERYBODY} raw-handle-close`, asking(requests.closing)),
      must('wirelet', { 'node-http': 0.6, bun: 1.5, 'raw-handle-close': 1.25 })),
    work('post', 'JSON POST of 1 KB, read and answered', lanes('wirelet wirelet-stream node-http fastify bun deno', asking(requests.post, requests.POST_ANSWER), { scenario: 'post' }),
      must('wirelet', { 'node-http': 0.5 })),
    work('pieces', '1 000 pieces of 20 bytes in one response', lanes(SCRIPTED, asking(requests.pieces, requests.PIECES_ANSWER), { scenario: 'pieces' }),
      must('wirelet', { 'node-http': 0.3 })),
    work('upload', '64 MiB upload, length-delimited', lanes(SCRIPTED, bulk(requests.upload, requests.UPLOAD_ANSWER), { scenario: 'upload' }),
      mustGive({ 'node-http': 1, bun: 0.9 }), 'MiB/CPU s'),
    work('upload-chunked', '64 MiB upload, chunks of 16 KiB', lanes(SCRIPTED, bulk(requests.uploadChunked, requests.UPLOAD_ANSWER), { scenario: 'upload' }),
      mustGive({ 'node-http': 1, bun: 0.9 }), 'MiB/CPU s'),
    work('download', '64 MiB download in pieces of 64 KiB', lanes(SCRIPTED, bulk(requests.download, null), { scenario: 'download' }),
      mustGive({ 'node-http': 1, bun: 0.9 }), 'MiB/CPU s'),
    work('tls', 'TLS hello world, keep-alive, 64 connections', lanes('wirelet node-http bun deno nginx', HELLO, { secure: true }), must('wirelet', { 'node-http': 0.7 })),
    work('idle', 'resident memory of an idle keep-alive connection, slope from 4 000 to 12 000',
      lanes('wirelet wirelet-stream node-http bun deno nginx raw-handle', IDLE, { env: STEADY }),
      must('wirelet', { 'raw-handle': 1.5, 'node-http': 0.25 }), 'bytes/connection'),
    work('growth', '64 against 4 000 busy connections', ['wirelet', 'nginx', 'node-http', 'raw-handle'].flatMap(growing),
      [{ of: ['wirelet 4000', 'wirelet 64'], to: ['nginx 4000', 'nginx 64'], most: 1.1 }])
  ]
}

/** What can be asked of somebody's own server: whatever it answers first must come back every time. `secure`: it speaks https, and so do those beside it. */
export function worksOfUrl(all: readonly Work[], target: string, secure = false): Work[] {
  return all.filter(({ name }) => ['hello', 'browser', 'pipelined', 'close'].includes(name)).map(work => {
    const { load } = work.lanes[0]!
    if (load.kind !== 'requests') return work
    const others = secure ? work.lanes.map(lane => ({ ...lane, serving: { ...lane.serving, secure } })) : work.lanes
    const title = secure ? `${work.title}, over TLS` : work.title
    return { ...work, title, lanes: [lane('url', { ...load, request: { ...load.request, target }, answer: null }), ...others] }
  })
}
