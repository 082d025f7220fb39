// The canary of design.md §2.5: 200 connections, each request with a token of its own in target, fields and content, looked at after random waits, in a
// post hook, in setImmediate after the end and when everything is over. With borrowed memory poisoned, whoever sees anything but its own is caught.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { borrowBuffer, giveBackBuffer } from '../../src/io/buffer-pool.ts'
import type { Engine } from '../../src/io/engine.ts'
import { isPoisoned, setPoison } from '../../src/io/poison.ts'
import type { Transport, TransportOwner } from '../../src/io/transport.ts'
import type { Application, Environ } from '../../src/server/application.ts'
import { deferred, onEveryTransport, turns, until } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'
import { random } from '../support/splits.ts'

const CONNECTIONS = 200
const ROUNDS = 3
const SPOILED = 0xdb

setPoison(true)

/** A token, long enough that two mixed ones cannot pass for one. */
function tokenOf(connection: number, round: number): string {
  const one = `${connection}.${round}-`
  return one.repeat(1 + ((connection + round) % 40))
}

/** All that a request says of itself must say the same. */
function look(environ: Environ, when: string): string {
  const token = environ.REQUEST_URI.slice('/t/'.length)
  const told = [
    environ.PATH_INFO.slice('/t/'.length), environ.RAW_PATH_INFO.slice('/t/'.length), environ['HTTP_X_TOKEN'], environ['HTTP_X_SECOND'],
    environ.headers_raw.find(([name]) => name === 'X-Token')?.[1]
  ]
  for (const one of told) if (one !== token) throw new Error(`${when}: ${JSON.stringify(one)} instead of ${JSON.stringify(token)}`)
  return token
}

/** What it saw, and everything that it kept. */
class Canary {
  readonly wrong: string[] = []
  readonly kept: { environ: Environ; token: string; content: Buffer[] }[] = []
  /** Looks that are still to come. */
  later = 0
  private readonly next = random(7)

  readonly application: Application = async (environ, startResponse) => {
    const pieces: Buffer[] = []
    const token = this.see(environ, 'at once')
    environ['eventlet.posthooks'].push([
      async (seen: Environ, expected: string) => {
        this.same(this.see(seen, 'in a hook'), expected, 'in a hook')
        await this.wait()
        this.same(this.see(seen, 'after a wait in a hook'), expected, 'after a wait in a hook')
        this.later++
        setImmediate(() => {
          this.same(this.see(seen, 'in setImmediate after the end'), expected, 'in setImmediate')
          this.same(Buffer.concat(pieces).toString('latin1'), expected, 'the content after the end')
          this.later--
        })
      },
      [token]
    ])
    await this.wait()
    this.same(this.see(environ, 'after a wait'), token, 'after a wait')
    const input = environ['wsgi.input']
    switch (Math.floor(this.next() * 4)) {
      case 0:
        pieces.push(await input.read())
        break
      case 1:
        for await (const piece of input) {
          pieces.push(piece)
          await this.wait()
        }
        break
      case 2:
        for (let piece = await input.read(3); piece.length > 0; piece = await input.read(3)) pieces.push(piece)
        break
      default:
        pieces.push(await input.readline(), await input.read())
    }
    await this.wait()
    this.same(this.see(environ, 'after the content'), token, 'after the content')
    this.same(Buffer.concat(pieces).toString('latin1'), token, 'the content')
    if (environ['HTTP_TRANSFER_ENCODING'] !== undefined) this.same(environ['wirelet.trailers']?.[0]?.[1] ?? 'no trailer', token, 'a trailer')
    this.kept.push({ environ, token, content: pieces })
    startResponse('200 OK', [['X-Token', token]])
    return this.next() < 0.5 ? [token] : this.pieces(token)
  }

  private async *pieces(token: string): AsyncGenerator<Buffer> {
    const bytes = Buffer.from(token)
    for (let i = 0; i < bytes.length; i += 17) {
      await this.wait()
      yield bytes.subarray(i, i + 17)
    }
  }

  /** None, microtasks, a tick or turns of the event loop. */
  private async wait(): Promise<void> {
    const kind = Math.floor(this.next() * 4)
    if (kind === 1) for (let i = 0; i < 5; i++) await null
    if (kind === 2) await new Promise<void>(resolve => process.nextTick(resolve))
    if (kind === 3) await turns(1 + Math.floor(this.next() * 3))
  }

  private see(environ: Environ, when: string): string {
    try {
      return look(environ, when)
    } catch (error) {
      this.wrong.push((error as Error).message)
      return ''
    }
  }

  private same(seen: string, expected: string, when: string): void {
    if (seen !== expected) this.wrong.push(`${when}: ${JSON.stringify(seen.slice(0, 80))} instead of ${JSON.stringify(expected.slice(0, 80))}`)
  }

  /** Everything is over: what was kept must still be right. */
  async checkKept(requests: number): Promise<void> {
    await until(() => this.later === 0 && this.kept.length === requests, 'the last looks')
    for (const { environ, token, content } of this.kept) {
      this.same(this.see(environ, 'kept'), token, 'kept')
      this.same(Buffer.concat(content).toString('latin1'), token, 'kept content')
    }
    assert.equal(this.wrong, [])
    assert.is(this.kept.length, requests)
  }
}

/** One request with its token everywhere; `chunk` octets a chunk, 0: with Content-Length. */
function requestOf(token: string, chunk: number): string {
  const head = `POST /t/${token} HTTP/1.1\r\nHost: h\r\nX-Token: ${token}\r\nx-second: ${token}\r\n`
  if (chunk === 0) return `${head}Content-Length: ${token.length}\r\n\r\n${token}`
  let text = `${head}Transfer-Encoding: chunked\r\n\r\n`
  for (let i = 0; i < token.length; i += chunk) {
    const data = token.slice(i, i + chunk)
    text += `${data.length.toString(16)};ext=${i}\r\n${data}\r\n`
  }
  return `${text}0\r\nX-Trailer: ${token}\r\n\r\n`
}

/** Every round's request on its own, cut at random places. */
async function oneByOne(client: RawClient, connection: number, chunk: number): Promise<void> {
  const next = random(connection)
  for (let round = 0; round < ROUNDS; round++) {
    const token = tokenOf(connection, round)
    const text = requestOf(token, chunk)
    const cut = Math.floor(next() * text.length)
    await client.send(text.slice(0, cut))
    if (next() < 0.5) await turns(1)
    await client.send(text.slice(cut))
    const response = await client.response()
    assert.is(response.status, 200)
    assert.is(response.text, token)
    assert.is(response.header('X-Token'), token)
  }
}

async function pipelined(client: RawClient, connection: number, chunk: number): Promise<void> {
  const tokens = Array.from({ length: ROUNDS }, (_, round) => tokenOf(connection, round))
  await client.send(tokens.map(token => requestOf(token, chunk)).join(''))
  for (const [i, response] of (await client.responses(ROUNDS)).entries()) {
    assert.is(response.status, 200)
    assert.is(response.text, tokens[i])
    assert.is(response.header('X-Token'), tokens[i])
  }
}

onEveryTransport('canary', (harness, test) => {
  for (const [name, talk] of Object.entries({ 'one by one': oneByOne, pipelined })) {
    for (const chunk of [0, 2]) {
      test(`${name}, ${chunk === 0 ? 'content with a length' : 'content in many small chunks'}`, async () => {
        assert.ok(isPoisoned())
        const canary = new Canary()
        const running = await harness.serve(canary.application)
        const clients: RawClient[] = []
        for (let i = 0; i < CONNECTIONS; i++) clients.push(await harness.connect(running))
        await Promise.all(clients.map((client, connection) => talk(client, connection, chunk)))
        await canary.checkKept(CONNECTIONS * ROUNDS)
        assert.equal(running.errors, [])
      })
    }
  }

  // Could it fail at all? Whoever keeps a view of what a transport lends finds it spoiled.
  test('a kept view of the read memory shows itself', async () => {
    const views: Buffer[] = []
    const seen: string[] = []
    const answered = deferred()
    const { server } = await harness.serve((_environ, start) => {
      start('200 OK')
      answered.resolve()
      return ['ok']
    })
    const { engine } = server as unknown as { engine: Engine }
    const { accept } = engine
    engine.accept = (transport: Transport) => {
      const { start } = transport
      transport.start = (owner: TransportOwner) => start.call(transport, {
        onBytes(bytes, from, to) {
          const view = bytes.subarray(from, to)
          seen.push(view.toString('latin1'))
          views.push(view)
          owner.onBytes(bytes, from, to)
        },
        onOwnBytes: (bytes, from, to) => owner.onOwnBytes(bytes, from, to),
        onReadDone: together => owner.onReadDone(together),
        expectedBytes: () => owner.expectedBytes(),
        onEnd: () => owner.onEnd(),
        onDrained: () => owner.onDrained(),
        onClosed: failure => owner.onClosed(failure)
      })
      accept.call(engine, transport)
    }
    const client = await harness.connect()
    const request = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'
    await client.send(request)
    await answered.promise
    await client.response()
    assert.equal(seen, [request])
    assert.is(views[0]!.length, request.length)
    assert.ok(views[0]!.every(octet => octet === SPOILED), 'the view is spoiled')
  })
}, { tls: true, memory: true }).run()

const pool = suite('canary: pooled memory')

pool('a kept view of a pooled buffer shows itself', () => {
  const buffer = borrowBuffer()
  buffer.write('an answer')
  const view = buffer.subarray(0, 9)
  giveBackBuffer(buffer)
  assert.ok(view.every(octet => octet === SPOILED))
})

pool.run()
