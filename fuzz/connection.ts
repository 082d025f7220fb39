// Target `connection`: whole connections over TCP to real servers in this process, on each transport, in poison mode: pipelined requests, valid and
// hostile, in any segments, ended by a FIN, at once or later, or by a reset. Invariants:
//  1. what comes back is what the model says must come back: so many answers, in order, each with its status, its content and its `close`;
//  2. after an error, a `close` or the end there is nothing more, and the connection ends in order (or in a reset, when an answer was cut short);
//  3. while the model says that the connection stays, it stays;
//  4. after a reset, what had come is a beginning of all that;
//  5. nothing is left behind: connections, requests, pooled buffers; and nothing inside fails.

import type { Socket } from 'node:net'
import type { Application } from '../src/server/application.ts'
import { turns } from '../test/support/harness.ts'
import { RawClient } from '../test/support/raw-client.ts'
import { connectTo } from '../test/support/sockets.ts'
import { within } from '../test/support/within.ts'
import type { Dice } from './dice.ts'
import { model, type Ending, type ModelRequest } from './model.ts'
import { mutated } from './mutate.ts'
import { readAnswers, valuesOf, type Answer } from './response-model.ts'
import { PATIENCE, Servers } from './servers.ts'
import { catching, smallerLists, smallerTexts, type Target } from './target.ts'

/** What the application does with a request: read all and answer, answer at once, read a little and answer, send back what it reads. */
type Mode = 'read' | 'ignore' | 'part' | 'echo'
const MODES: readonly Mode[] = ['read', 'read', 'read', 'ignore', 'part', 'echo']

export interface ConnectionCase {
  input: string
  transport: 'stream' | 'handle'
  /** Lengths of the segments; what is left over is the last one. */
  segments: number[]
  /** Turns of the event loop between two segments. */
  pause: number
  end: 'fin' | 'late fin' | 'reset'
  /** The client reads nothing before it has sent all. */
  slow?: boolean
  /** Of the requests, in order; then again from the first. */
  modes: Mode[]
}

interface Expected {
  method: string
  statuses: number[]
  content: string | null
  /** null: either. */
  close: boolean | null
  interim: boolean
  /** It may also begin and be cut short. */
  mayBeCut: boolean
  /** It may be missing. */
  optional: boolean
  /** It may be the last, whatever follows. */
  mayBeLast: boolean
}

let runs = 0
let modes: readonly Mode[] = ['read']
let served = 0

const show = (method: string, target: string, content: string): string => `${method} ${target} ${content.length} ${content}`

const application: Application = (environ, startResponse) => {
  const mode = modes[served++ % modes.length]!
  const { REQUEST_METHOD: method, REQUEST_URI: target } = environ
  const input = environ['wsgi.input']
  if (mode === 'ignore') {
    startResponse('200 OK', [])
    return Buffer.from(show(method, target, ''), 'latin1')
  }
  if (mode === 'echo') {
    startResponse('200 OK', [])
    return input
  }
  return (async () => {
    const content = mode === 'part' ? await input.read(3) : await input.read()
    await null
    startResponse('200 OK', [])
    return Buffer.from(show(method, target, content.toString('latin1')), 'latin1')
  })()
}

const servers = new Servers(application)

export const connectionTarget: Target<ConnectionCase> = {
  name: 'connection',
  guidedBy: ['src/parser/', 'src/io/'],
  batch: 60,
  executions: () => runs,

  generate(dice, kept) {
    const input = dice.chance(0.03) ? large(dice) : mutated(dice, kept.map(each => each.input))
    return {
      ...(dice.chance(0.1) ? { slow: true } : {}),
      input,
      transport: dice.one(['stream', 'handle']),
      segments: segmentsOf(dice, input.length),
      pause: dice.below(4),
      end: dice.one(['fin', 'fin', 'late fin', 'late fin', 'reset']),
      modes: Array.from({ length: 1 + dice.below(3) }, () => dice.one(MODES))
    }
  },

  check: catching(disagreement),

  * smaller(one) {
    for (const segments of smallerLists(one.segments)) if (segments.length < one.segments.length) yield { ...one, segments }
    if (one.pause > 0) yield { ...one, pause: 0 }
    if (one.slow === true) {
      const { slow: _, ...rest } = one
      yield rest
    }
    if (one.modes.length > 1) for (const mode of one.modes) yield { ...one, modes: [mode] }
    for (const input of smallerTexts(one.input)) yield { ...one, input }
  },

  close: () => servers.close()
}

/** More than buffers hold, or than one turn serves. */
function large(dice: Dice): string {
  const length = 20_000 + dice.below(200_000)
  const head = `POST /large HTTP/1.1\r\nHost: x\r\n${dice.chance(0.3) ? 'Expect: 100-continue\r\n' : ''}`
  const chunk = `${(1000).toString(16)};a=b\r\n${'y'.repeat(1000)}\r\n`
  const one = dice.one([
    `${head}Content-Length: ${length}\r\n\r\n${'z'.repeat(length)}`,
    `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(length / 1000)}0\r\n\r\n`,
    `${head}Transfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(length / 100)}0\r\n\r\n`,
    'GET /again HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(length / 1000)
  ])
  return one + (dice.chance(0.5) ? mutated(dice, []) : one)
}

function segmentsOf(dice: Dice, length: number): number[] {
  const segments: number[] = []
  for (let n = dice.chance(0.4) ? 0 : 1 + dice.below(6); n > 0; n--) segments.push(1 + dice.below(dice.chance(0.5) ? 8 : Math.max(length, 1)))
  return segments
}

async function disagreement(one: ConnectionCase): Promise<string> {
  runs++
  const server = await servers.of(one.transport)
  servers.watch()
  const verdict = model(one.input)
  const expected = expectedAnswers(one.input, verdict.requests, verdict.ending, one.modes)
  modes = one.modes
  served = 0
  const socket = await connectTo(server.address.port)
  socket.setNoDelay(true)
  const client = new RawClient(socket)
  if (one.slow === true) client.pause()
  let said = ''
  try {
    await sendAll(client, one, socket)
    if (one.slow === true) {
      await turns(10)
      client.resume()
    }
    if (one.end === 'late fin') {
      await turns(6)
      const stays = verdict.ending.kind === 'clean' || (verdict.ending.kind === 'incomplete' && verdict.ending.may.length === 0)
      const last = readAnswers(client.buffered, expected.map(each => each.method)).at(-1)
      const mayEnd = expected.some(each => each.mayBeLast || each.interim) || (last !== undefined && closes(last))
      if (stays && !mayEnd && socket.readableEnded) return explain('the connection was ended too early')
      socket.end()
    }
    const how = one.end === 'reset' ? 'reset' : await within(PATIENCE, client.closed, 'the connection to end')
    said = client.buffered
    // Octets that come after the server has closed, with nothing unread then, meet a reset (design §3: lingering is for what is unread).
    const late = how === 'reset' && verdict.ending.kind === 'closed' && verdict.ending.at < one.input.length
    // To cut is to reset, which takes along whatever the client has not read, earlier answers among it.
    const lost = (one.slow === true || how === 'reset') && expected.some(each => each.mayBeCut)
    const wrong = compare(readAnswers(said, expected.map(each => each.method)), expected, one.end === 'reset' || late || lost)
    if (wrong !== '') return explain(wrong)
    if (how === 'reset' && one.end !== 'reset' && !late && !expected.some(each => each.mayBeCut)) return explain('the connection was reset')
  } catch (error) {
    return explain((error as Error).message)
  } finally {
    client.destroy()
  }
  return servers.settled(server)

  function explain(wrong: string): string {
    const came = JSON.stringify(said || client.buffered)
    return `${wrong}\n  came: ${came}\n  expected: ${JSON.stringify(expected)}\n  model: ${JSON.stringify(verdict)}`
  }
}

async function sendAll(client: RawClient, one: ConnectionCase, socket: Socket): Promise<void> {
  const bytes = Buffer.from(one.input, 'latin1')
  let from = 0
  for (const length of [...one.segments, bytes.length]) {
    const piece = bytes.subarray(from, from + length)
    from += piece.length
    const last = from === bytes.length
    if (last && one.end === 'fin') socket.end(piece)
    else if (piece.length > 0) socket.write(piece)
    if (last) break
    await turns(one.pause)
  }
  if (one.end !== 'reset') return
  await turns(one.pause)
  client.resetNow()
}

function expectedAnswers(input: string, requests: readonly ModelRequest[], ending: Ending, modes: readonly Mode[]): Expected[] {
  const expected: Expected[] = []
  let called = 0
  for (const request of requests) expected.push(answerTo(request))
  if (!('partial' in ending)) {
    // When the peer's FIN is known by then, the last answer may say that it is the last.
    const last = expected.at(-1)
    if (last !== undefined && last.close === false) last.close = null
    return expected
  }
  // What a front would call a 400; §3: an incomplete head is answered, a few empty lines are not a head.
  const statuses = ending.kind === 'error' ? [...ending.statuses] : [400, ...ending.may]
  // read() alone refuses what is announced as more than it may hold (maxBufferedBody).
  if (ending.partial?.fields.some(([name, value]) => /^content-length$/i.test(name) && Number(value) > 1_048_576) === true) statuses.push(413)
  if (ending.partial === null) {
    const method = /^(?:\r\n){0,4}HEAD /.test(input.slice(requests.at(-1)?.end ?? 0)) ? 'HEAD' : ''
    expected.push({ ...plain, method, statuses, optional: ending.kind === 'incomplete' && ending.where === 'empty lines' })
    return expected
  }
  const mode = modes[called % modes.length]!
  const answer = answerTo(ending.partial)
  if (mode === 'read') expected.push({ ...answer, statuses, content: null, close: true })
  else expected.push({ ...answer, statuses: [200, ...statuses], content: null, close: null, mayBeCut: mode === 'echo' })
  return expected

  function answerTo(request: ModelRequest): Expected {
    const { method, target, content, keepAlive, expectContinue } = request
    // It never reaches the application.
    if (method === 'TRACE') return { ...plain, method, statuses: [501], close: !keepAlive }
    const mode = modes[called++ % modes.length]!
    const seen = mode === 'ignore' ? '' : mode === 'part' ? content.slice(0, 3) : content
    const body = method === 'HEAD' ? '' : mode === 'echo' ? content : show(method, target, seen)
    const interim = expectContinue && request.framing !== 'none'
    // What has no length ends with the connection for HTTP/1.0.
    const last = mode === 'echo' && request.version === '1.0'
    return { ...plain, method, statuses: [200], content: body, close: last ? null : !keepAlive, interim, mayBeLast: last }
  }
}

const plain: Omit<Expected, 'method' | 'statuses'> = {
  content: null, close: true, interim: false, mayBeCut: false, optional: false, mayBeLast: false
}

const closes = (answer: Answer): boolean => valuesOf(answer.fields, 'connection').some(value => value.toLowerCase() === 'close')

function compare(answers: readonly Answer[], expected: readonly Expected[], isReset: boolean): string {
  if (answers.length > expected.length) return `${answers.length} answers, ${expected.length} expected`
  for (const [i, answer] of answers.entries()) {
    const { statuses, content, interim, mayBeCut } = expected[i]!
    // A final answer to who expects a 100, and got none, ends the connection (design §6); whether one was sent depends on what had come by then.
    const without = interim && answer.interim.length === 0
    const close = without ? true : expected[i]!.close
    const mayBeLast = expected[i]!.mayBeLast || without
    const last = i === answers.length - 1
    if (answer.cut) {
      if (!(last && (isReset || mayBeCut))) return `answer ${i} is cut short`
      continue
    }
    if (!statuses.includes(answer.status)) return `answer ${i}: status ${answer.status}`
    if (answer.interim.length > (interim ? 1 : 0) || answer.interim.some(each => each.status !== 100)) return `answer ${i}: interim answers`
    if (content !== null && answer.content !== content && !(answer.framing === 'close' && isReset)) return `answer ${i}: other content`
    if (close !== null && closes(answer) !== close) return `answer ${i}: ${close ? 'no close' : 'close'}`
    if (closes(answer) && !last) return `answers behind one that closes`
    if (answer.status >= 400 && answer.framing !== 'length' && expected[i]!.method !== 'HEAD') return `answer ${i}: a refusal without a length`
    if (last && answers.length < expected.length && mayBeLast && closes(answer)) return ''
  }
  if (isReset) return ''
  const missing = expected.slice(answers.length)
  return missing.every(each => each.optional) ? '' : `${missing.length} answers are missing`
}
