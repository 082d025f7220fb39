// The conformance corpus as data: rules, wire cases and advisories beside this file in JSON, and how one wire case is played.
// A case is the octets of one connection and what must come back; the application answers `METHOD target length` after reading all content.
import { readFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { get, until, type Harness, type Running } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'
import { connectTo } from '../support/sockets.ts'

/** From build/test/conformance the sources are three levels up. */
const DATA = new URL('../../../test/conformance/', import.meta.url)

export interface Rule {
  id: string
  section: string
  /** M: MUST, S: SHOULD, m: MAY, H: hardening. */
  level: string
  rule: string
  /** Tests elsewhere that say more about it. */
  also?: string
}

/** Text is latin-1: one character, one octet. */
type Part = string | { repeat: string; times: number }
/** An answer: 200 with this content; a status alone; content in parts; the same several times. */
type Answer = string | { parts: Part[] } | { times: number; answer: string }

export interface WireCase {
  id: string
  rules: string[]
  what: string
  bytes: string | Part[]
  /** Answers before the error, or all of them. */
  answers?: Answer[]
  /** Then this status, `Connection: close`, and nothing more. */
  error?: number
  /** The server closes after the last answer. Without it: the connection answers another request. */
  close?: boolean
  /** The peer half-closes behind its octets. */
  eof?: boolean
  /** false: no good request behind what is refused, because it would belong to it. */
  canary?: boolean
  /** A 100 may come before the answers. */
  interim?: boolean
  options?: ServeOptions
}

export interface Advisory {
  /** One or several, as their databases call them. */
  id: string
  project: string
  /** What they have in common, where the row is about a class. */
  class?: string
  /** Our cases: ids, or `rule:…` for all cases of a rule. */
  cases: string[]
}

function load<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, DATA), 'utf8')) as T
}

export const rules: Rule[] = load('rules.json')
export const wireCases: WireCase[] = load('cases.json')
export const advisories: Advisory[] = load('advisories.json')

function expand(parts: string | Part[]): string {
  if (typeof parts === 'string') return parts
  return parts.map(part => (typeof part === 'string' ? part : part.repeat.repeat(part.times))).join('')
}

const CANARY = get('/canary')

/** Everything that the peer of a case sends. */
export function octetsOf(one: WireCase): Buffer {
  const refused = one.error !== undefined && one.eof !== true && one.canary !== false
  return Buffer.from(expand(one.bytes) + (refused ? CANARY : ''), 'latin1')
}

function answersOf(one: WireCase): string[] {
  return (one.answers ?? []).flatMap(answer => {
    if (typeof answer === 'string') return [answer]
    return 'parts' in answer ? [expand(answer.parts)] : new Array<string>(answer.times).fill(answer.answer)
  })
}

/** The application of the corpus. */
export const echo: Application = async (environ, startResponse) => {
  let length = 0
  for await (const piece of environ['wsgi.input']) length += piece.length
  startResponse('200 OK', [['Content-Type', 'text/plain; charset=iso-8859-1']])
  return [Buffer.from(`${environ.REQUEST_METHOD} ${environ.REQUEST_URI} ${length}`, 'latin1')]
}

/** Larger inputs go in so many writes instead of octet by octet. */
const MOST_WRITES = 1024

async function feed(client: RawClient, bytes: Buffer, octetwise: boolean, eof: boolean): Promise<void> {
  const step = octetwise ? Math.ceil(bytes.length / Math.max(MOST_WRITES, bytes.length <= 4 * MOST_WRITES ? bytes.length : 0)) : bytes.length
  for (let at = 0; at < bytes.length && !client.stream.destroyed; at += step) {
    client.stream.write(bytes.subarray(at, at + step))
    if (octetwise) await turn()
  }
  if (eof) client.stream.end()
}

async function skipInterim(client: RawClient): Promise<void> {
  await until(() => client.buffered.length >= 12, 'an answer')
  if (client.buffered.startsWith('HTTP/1.1 1')) assert.is((await client.interim()).status, 100)
}

/** Plays a case and checks it. What was answered, for the report: `200`, `200, close`, `400, close`. */
export async function play(h: Harness, running: Running, one: WireCase, octetwise: boolean): Promise<string> {
  const client = h.client(await connectTo(running.port))
  const { close = false, eof = false, interim = false, error } = one
  const fed = feed(client, octetsOf(one), octetwise, eof)
  const expected = answersOf(one)
  let seen = ''
  for (const [i, answer] of expected.entries()) {
    if (interim) await skipInterim(client)
    const method = answer.slice(0, answer.indexOf(' '))
    const response = await client.response({ method })
    assert.is(response.version, 'HTTP/1.1')
    if (/^[0-9]{3}$/.test(answer)) {
      assert.is(response.status, Number(answer))
    } else {
      assert.is(`${response.status} ${response.body.toString('latin1')}`, method === 'HEAD' ? '200 ' : `200 ${answer}`)
    }
    if (!eof) assert.is(response.header('connection') === 'close', close && i === expected.length - 1, 'Connection: close')
    seen = String(response.status)
  }
  if (error !== undefined) {
    const response = await client.response()
    assert.is(response.status, error)
    assert.is(response.header('connection'), 'close')
    assert.is(response.header('content-type'), 'text/plain')
    assert.is((await client.untilEnd()).length, 0, 'nothing behind the error')
    seen = `${response.status}, close`
  } else if (close) {
    assert.is((await client.untilEnd()).length, 0, 'nothing behind the last answer')
    if (!eof) seen += ', close'
  } else {
    await fed
    await client.send(get('/probe'))
    assert.is((await client.response()).text, 'GET /probe 0', 'the connection goes on')
    client.stream.end()
    assert.is((await client.untilEnd()).length, 0)
  }
  client.destroy()
  return seen
}

/** Plays many at once, each on a connection of its own; what was answered, by id. */
export async function playAll(h: Harness, cases: WireCase[], octetwise: boolean): Promise<Map<string, string>> {
  const seen = new Map<string, string>()
  const servers = new Map<string, Running>()
  for (const one of cases) {
    const key = JSON.stringify(one.options ?? {})
    if (!servers.has(key)) servers.set(key, await h.serve(echo, one.options ?? {}))
  }
  const queue = [...cases]
  const worker = async (): Promise<void> => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      try {
        seen.set(one.id, await play(h, servers.get(JSON.stringify(one.options ?? {}))!, one, octetwise))
      } catch (error) {
        throw new Error(`${one.id} (${one.what})${octetwise ? ', octet by octet' : ''}: ${(error as Error).message}`)
      }
    }
  }
  await Promise.all(Array.from({ length: 16 }, worker))
  return seen
}
