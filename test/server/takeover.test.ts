// A connection handed over to the application: getSocket() with ALREADY_HANDLED, and upgrade(). The protocols spoken on it are made by hand.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import * as assert from 'uvu/assert'
import { ALREADY_HANDLED, type Application, type Body, type Environ } from '../../src/server/application.ts'
import type { Outcome } from '../../src/io/cycle.ts'
import { FakeClock } from '../support/fake-clock.ts'
import type { Server } from '../../src/server/serve.ts'
import { type Deferred, deferred, get, onEveryTransport, pass, turns, until } from '../support/harness.ts'
import { type RawClient, WAIT } from '../support/raw-client.ts'
import { readExactly } from '../support/sockets.ts'
import { within } from '../support/within.ts'

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n'
const UP = get('/up', 'Connection: Upgrade\r\nUpgrade: raw\r\n')
const LINE = 'GET /up HTTP/1.1 200 0 -'
const MIB = 1 << 20

type Way = 'getSocket' | 'upgrade'
const WAYS: readonly Way[] = ['getSocket', 'upgrade']

function take(environ: Environ, way: Way): Duplex {
  return way === 'upgrade' ? environ['wirelet.upgrade']() : environ['wsgi.input'].getSocket()
}

/** Switches to a protocol that says everything again. */
function echo(way: Way = 'upgrade'): Application {
  return environ => {
    const duplex = take(environ, way)
    duplex.write(SWITCH)
    duplex.pipe(duplex)
    return ALREADY_HANDLED
  }
}

/** Switches, and hands the connection to the test. */
function handing(): { application: Application; duplex: Promise<Duplex> } {
  let resolve!: (duplex: Duplex) => void
  const promise = new Promise<Duplex>(settle => (resolve = settle))
  return {
    duplex: within(WAIT, promise, 'the takeover'),
    application: environ => {
      const duplex = environ['wirelet.upgrade']()
      duplex.write(SWITCH)
      resolve(duplex)
      return ALREADY_HANDLED
    }
  }
}

function event(duplex: Duplex, name: string): Promise<unknown[]> {
  return within(WAIT, once(duplex, name), `'${name}'`)
}

/** Repeats only after 257 × 256 bytes, so that what is lost, doubled or out of order changes the hash. */
function pattern(size: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) + seed) & 0xff
  return bytes
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

onEveryTransport('takeover', (h, test) => {
  const tls = h.kind.over === 'tls'

  for (const way of WAYS) {
    test(`${way}: a protocol switch, its first bytes in the segment of the request`, async () => {
      const { access, errors } = await h.serve(echo(way))
      const client = await h.connect()
      await client.send(UP + 'first')
      assert.is((await client.interim()).raw.toString('latin1'), SWITCH)
      assert.is(String(await client.bytes(5)), 'first')
      await client.send('second')
      assert.is(String(await client.bytes(6)), 'second')
      await client.end()
      assert.is(String(await client.untilEnd()), '')
      assert.equal(access, [LINE])
      assert.equal(errors, [])
    })

    test(`${way}: 1 MiB each way`, async () => {
      const down = pattern(MIB, 1)
      const up = pattern(MIB, 2)
      let received = ''
      const { server } = await h.serve(async environ => {
        const duplex = take(environ, way)
        duplex.write(SWITCH)
        duplex.end(down)
        received = hash(await readExactly(duplex, MIB))
        duplex.resume()
        return ALREADY_HANDLED
      })
      const client = await h.connect()
      // Begins in the segment of the request, so that some of it is leftover and the rest is not.
      await client.send(Buffer.concat([Buffer.from(UP), up.subarray(0, 3000)]))
      await client.send(up.subarray(3000))
      await client.interim()
      assert.is(hash(await client.bytes(MIB)), hash(down))
      await client.end()
      await until(() => received !== '', 'the content')
      assert.is(received, hash(up))
      await until(() => server.connections === 0, 'the end of the connection')
    })
  }

  test('what is read before a deferred takeover comes first, in order', async () => {
    const gate = deferred()
    const { server } = await h.serve(async environ => {
      await gate.promise
      return await echo()(environ, () => { throw new Error('not called') })
    })
    const client = await h.connect()
    await client.send(UP + 'one,')
    await until(() => server.outstandingRequests === 1, 'the request')
    for (const piece of ['two,', 'three,']) {
      await client.send(piece)
      await turns()
    }
    gate.resolve()
    await client.interim()
    assert.is(String(await client.bytes(14)), 'one,two,three,')
  })

  test('content that was not read, then what follows it', async () => {
    await h.serve(async environ => {
      const input = environ['wsgi.input']
      assert.is(String(await input.read(2)), 'he')
      const duplex = input.getSocket()
      duplex.write(SWITCH)
      duplex.pipe(duplex)
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send('POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello+more')
    await client.interim()
    assert.is(String(await client.bytes(8)), 'llo+more')
  })

  test('chunked content that has not come to its end: UsageError, wherever it is cut', async () => {
    const { errors } = await h.serve(environ => {
      environ['wirelet.upgrade']()
      return ALREADY_HANDLED
    })
    const head = 'POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
    for (const content of ['', '5\r\nhello\r\n5\r\nwo', '5\r\nhello\r\n0\r\n']) {
      const client = await h.connect()
      await client.send(head + content)
      assert.is((await client.response()).status, 500)
      assert.match(errors.at(-1)!, /must be read or discarded before the takeover/)
    }
  })

  test('chunked content that was read, or has come whole: then what follows it', async () => {
    await h.serve(async environ => {
      const input = environ['wsgi.input']
      if (environ.QUERY_STRING === 'read') assert.is(String(await input.read()), 'helloworld')
      const duplex = input.getSocket()
      duplex.write(SWITCH)
      duplex.pipe(duplex)
      return ALREADY_HANDLED
    })
    const content = '5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n+more'
    for (const [query, expected] of [['read', '+more'], ['not', 'helloworld+more']] as const) {
      const client = await h.connect()
      await client.send(`POST /up?${query} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n` + content)
      await client.interim()
      assert.is(String(await client.bytes(expected.length)), expected)
    }
  })

  test('a line reader gives back what it looked at', async () => {
    await h.serve(async environ => {
      const input = environ['wsgi.input']
      assert.is(String(await input.readline()), 'a\n')
      const duplex = input.getSocket()
      duplex.write(SWITCH)
      duplex.pipe(duplex)
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send('POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\nb\nc+more')
    await client.interim()
    assert.is(String(await client.bytes(8)), 'b\nc+more')
  })

  test('a request behind it is no request any more', async () => {
    const { server } = await h.serve(echo())
    const client = await h.connect()
    const next = get('/next')
    await client.send(UP + next)
    await client.interim()
    assert.is(String(await client.bytes(next.length)), next)
    assert.is(server.stats().requests, 1)
  })

  test('the answers before it come first', async () => {
    const { access } = await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/up') return echo()(environ, startResponse)
      startResponse(200)
      return [environ.PATH_INFO.repeat(20_000)]
    })
    const client = await h.connect()
    await client.send(get('/1') + get('/2') + UP + 'raw')
    assert.is((await client.response()).text, '/1'.repeat(20_000))
    assert.is((await client.response()).text, '/2'.repeat(20_000))
    await client.interim()
    assert.is(String(await client.bytes(3)), 'raw')
    await until(() => access.length === 3, 'three access lines')
    // The second may still be on its way when the connection is taken over: then it is told of later.
    assert.equal(access.sort(), ['GET /1 HTTP/1.1 200 40000 -', 'GET /2 HTTP/1.1 200 40000 -', LINE])
  })

  test('a request before it, in the same segment, is told of when its answer has left', async () => {
    const { application, duplex } = handing()
    let hooks = 0
    const { server, access } = await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO !== '/first') return application(environ, startResponse)
      environ['eventlet.posthooks'].push([() => hooks++])
      startResponse(200)
      return ['hello']
    })
    const client = await h.connect()
    await client.send(get('/first') + UP)
    assert.is((await client.response()).text, 'hello')
    await client.interim()
    await until(() => access.length === 2, 'both access lines')
    assert.is(hooks, 1)
    assert.is(server.outstandingRequests, 0)
    assert.is(server.stats().states['taken over'], 1)
    ;(await duplex).destroy()
  })

  test('a hook of the request before it that ends the server: there is nothing left to take over, and all is told once', async () => {
    const seen: unknown[] = []
    let hooks = 0
    const { server } = await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/first') {
        environ['eventlet.posthooks'].push([() => void server.close({ timeout: 0 })])
        startResponse(200)
        return ['hello']
      }
      environ['eventlet.posthooks'].push([() => hooks++])
      try {
        environ['wirelet.upgrade']()
      } catch (error) {
        seen.push((error as { code?: string }).code)
        throw error
      }
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send(get('/first') + UP)
    await client.closed
    await until(() => server.state === 'closed', 'the end of the server')
    assert.is(server.connections, 0)
    assert.is(server.outstandingRequests, 0)
    assert.is(hooks, 1)
    // Through TLS the first answer is still pending then.
    if (!tls) assert.equal(seen, ['ERR_WIRELET_REQUEST_ABORTED'])
  })

  test('from a peer of HTTP/1.0 as well', async () => {
    const { access } = await h.serve(echo())
    const client = await h.connect()
    await client.send(get('/up', '', '1.0') + 'old')
    await client.interim()
    assert.is(String(await client.bytes(3)), 'old')
    assert.equal(access, ['GET /up HTTP/1.0 200 0 -'])
  })

  test("the peer's half-close is an 'end'; writing goes on", async () => {
    const { application, duplex: taken } = handing()
    const { server } = await h.serve(application)
    const client = await h.connect()
    await client.send(UP + 'all')
    const duplex = await taken
    const received: Buffer[] = []
    duplex.on('data', (chunk: Buffer) => received.push(chunk))
    const ended = event(duplex, 'end')
    await client.end()
    await ended
    assert.is(String(Buffer.concat(received)), 'all')
    if (!tls) assert.is(duplex.writable, true)
    duplex.end('still here')
    await client.interim()
    assert.is(String(await client.untilEnd()), 'still here')
    await until(() => server.connections === 0, 'the end of the connection')
  })

  /** A client that asks for the switch and sends its end before `gate` lets the application take over; it has read the switch. */
  async function endedFirst(server: Server, gate: Deferred, behind = ''): Promise<RawClient> {
    const client = await h.connect()
    await client.send(UP + behind)
    await client.end()
    await until(() => server.outstandingRequests === 1, 'the request')
    await turns(10)
    gate.resolve()
    await client.interim()
    return client
  }

  test("a half-close before the takeover is an 'end' too", async () => {
    const gate = deferred()
    const { server } = await h.serve(async environ => {
      await gate.promise
      return await echo()(environ, () => { throw new Error('not called') })
    })
    const client = await endedFirst(server, gate, 'all of it')
    assert.is(String(await client.untilEnd()), 'all of it')
    await until(() => server.connections === 0, 'the end of the connection')
  })

  test('whoever sends its end first, the taker has a socket\'s methods', async () => {
    const gate = deferred()
    const seen: unknown[] = []
    const { server } = await h.serve(async environ => {
      await gate.promise
      const duplex = environ['wirelet.upgrade']() as Socket
      duplex.write(SWITCH)
      if (h.kind.over !== 'memory') {
        duplex.setNoDelay(true)
        seen.push(duplex.remoteAddress === (environ.REMOTE_ADDR === 'unix' ? undefined : environ.REMOTE_ADDR))
        duplex.setTimeout(1, () => duplex.end('quiet'))
      } else duplex.end('quiet')
      return ALREADY_HANDLED
    })
    const client = await endedFirst(server, gate)
    assert.is(String(await client.untilEnd()), 'quiet')
    if (h.kind.over !== 'memory') assert.equal(seen, [true])
    await until(() => server.connections === 0, 'the end of the connection')
  })

  test('what stands in for a socket after the peer\'s end can be used like one: chained, assigned to, and destroySoon sends what is written', async () => {
    if (h.kind.over === 'memory') return
    const gate = deferred()
    const big = Buffer.alloc(3_000_000, 'b')
    const seen: unknown[] = []
    const { server } = await h.serve(async environ => {
      await gate.promise
      const duplex = environ['wirelet.upgrade']() as Socket & { server: unknown }
      duplex.server = 5
      seen.push(duplex.server, duplex.setNoDelay(true) === duplex, duplex.setTimeout(0) === duplex)
      duplex.write(SWITCH)
      duplex.write(big)
      duplex.write('last')
      // HandleDuplex has none: nor does Node document it.
      if (typeof duplex.destroySoon === 'function') duplex.destroySoon()
      else duplex.end()
      return ALREADY_HANDLED
    })
    const client = await endedFirst(server, gate)
    const rest = await client.untilEnd()
    assert.is(rest.length, big.length + 4)
    assert.is(String(rest.subarray(-4)), 'last')
    assert.equal(seen, [5, true, true])
    await until(() => server.connections === 0, 'the end of the connection')
  })

  test("the application's half-close: the peer reads an end and may go on", async () => {
    // A TLS client of Node's answers an end with its own.
    if (tls) return
    const { application, duplex: taken } = handing()
    await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const duplex = await taken
    duplex.end('bye')
    await client.interim()
    // Not `untilEnd`: RawClient probes an end with a write.
    await client.bytes(3)
    await turns()
    let more = ''
    duplex.on('data', (chunk: Buffer) => (more += chunk.toString('latin1')))
    const closed = event(duplex, 'close')
    await client.send('more')
    await client.end()
    await closed
    // (It probes whatever is asked.)
    assert.is(more.replace('?', ''), 'more')
  })

  test("a peer's reset: 'close' on the Duplex, nothing thrown, no listener needed", async () => {
    const { application, duplex: taken } = handing()
    const { server, access, errors } = await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const duplex = await taken
    await client.interim()
    const closed = deferred()
    duplex.once('close', () => closed.resolve())
    // A unix socket has no reset: an end, and half of the connection is still the taker's.
    duplex.once('end', () => duplex.end())
    duplex.resume()
    client.resetNow()
    await within(WAIT, closed.promise, "'close'")
    await until(() => server.connections === 0, 'the server to know')
    // Theirs: writes to it are lost, and nobody is hurt.
    duplex.write('into the void')
    await turns()
    assert.equal(access, [LINE])
    assert.equal(errors, [])
  })

  test("a peer's reset: 'error' with its code comes before 'close'", async () => {
    if (!h.hasReset) return
    const { application, duplex: taken } = handing()
    await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const duplex = await taken
    await client.interim()
    const seen: string[] = []
    duplex.on('error', (error: NodeJS.ErrnoException) => seen.push(error.code!))
    duplex.on('close', () => seen.push('close'))
    duplex.resume()
    client.resetNow()
    await until(() => seen.includes('close'), "'close'")
    assert.equal(seen, ['ECONNRESET', 'close'])
  })

  test('destroyed by the application: the peer sees the end, the server a free place', async () => {
    const { application, duplex: taken } = handing()
    const { server } = await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const duplex = await taken
    await client.interim()
    duplex.destroy()
    await client.closed
    await until(() => server.connections === 0, 'the server to know')
  })

  test('counted as a connection while it lasts, as a request only until the application is done', async () => {
    const gate = deferred()
    const { server } = await h.serve(async environ => {
      environ['wirelet.upgrade']().write(SWITCH)
      await gate.promise
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    assert.equal([server.connections, server.outstandingRequests, server.stats().states['taken over']], [1, 1, 1])
    gate.resolve()
    await until(() => server.outstandingRequests === 0, 'the end of the cycle')
    assert.is(server.connections, 1)
    client.destroy()
  })

  // ── The cycle: once ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  for (const way of WAYS) {
    test(`${way}: access line and post hooks once, when the application returns`, async () => {
      const gate = deferred()
      const outcomes: (Outcome | null)[] = []
      const { access, errors } = await h.serve(async environ => {
        environ['eventlet.posthooks'].push([each => outcomes.push(each['wirelet.outcome'])])
        take(environ, way).write(SWITCH)
        await gate.promise
        return ALREADY_HANDLED
      })
      const client = await h.connect()
      await client.send(UP)
      await client.interim()
      await turns()
      assert.equal([access, outcomes], [[], []])
      gate.resolve()
      await until(() => access.length > 0, 'the access line')
      client.resetNow()
      await turns(20)
      assert.equal(access, [LINE])
      assert.equal(outcomes, [{ bytes: 0, completed: true, reason: '' }])
      assert.equal(errors, [])
    })
  }

  test('access line and post hooks once, when the peer leaves before the application returns', async () => {
    let hooks = 0
    const gate = deferred()
    const { server, access, errors } = await h.serve(async environ => {
      environ['eventlet.posthooks'].push([() => hooks++])
      const duplex = environ['wirelet.upgrade']()
      duplex.write(SWITCH)
      duplex.once('end', () => duplex.end()).resume()
      await gate.promise
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    client.resetNow()
    await until(() => server.connections === 0, 'the connection to go')
    gate.resolve()
    await turns(20)
    assert.equal(access, [LINE])
    assert.is(hooks, 1)
    assert.equal(errors, [])
  })

  for (const [what, body] of Object.entries<() => Body>({
    'an empty array': () => [],
    'a string': () => 'never sent',
    'pieces': () => ['never', 'sent'],
    'a generator': () => (function* () { yield 'never sent' })(),
    'an async generator': () => (async function* () { yield 'never sent' })()
  })) {
    // design §4: `upgrade()` implies ALREADY_HANDLED.
    test(`upgrade, then ${what} instead of ALREADY_HANDLED: not sent, and the cycle is over`, async () => {
      const { access } = await h.serve(environ => {
        const duplex = environ['wirelet.upgrade']()
        duplex.write(SWITCH)
        duplex.pipe(duplex)
        return body()
      })
      const client = await h.connect()
      await client.send(UP + 'raw')
      await client.interim()
      assert.is(String(await client.bytes(3)), 'raw')
      await until(() => access.length > 0, 'the access line')
      await client.end()
      assert.is(String(await client.untilEnd()), '')
      assert.equal(access, [LINE])
    })
  }

  test('the close() of a body given after the takeover is called, once', async () => {
    let closed = 0
    await h.serve(environ => {
      const duplex = environ['wirelet.upgrade']()
      duplex.write(SWITCH)
      duplex.pipe(duplex)
      return Object.assign((function* () { yield 'never sent' })(), { close: () => closed++ })
    })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    await client.end()
    await client.untilEnd()
    assert.is(closed, 1)
  })

  test('an application that fails after it: told in the log, no word of it on the wire, and the connection is cut', async () => {
    for (const later of [false, true]) {
      let closed = false
      let outcome: Outcome | null = null
      const running = await h.serve(environ => {
        const duplex = environ['wirelet.upgrade']()
        duplex.once('close', () => (closed = true))
        environ['eventlet.posthooks'].push([seen => (outcome = seen['wirelet.outcome'])])
        // Nobody reads it and nobody will end it: it would hold its place for ever.
        if (later) return Promise.reject(new Error('as the test wants it'))
        throw new Error('as the test wants it')
      })
      const client = await h.connect(running)
      await client.send(UP + 'raw')
      await client.closed
      assert.is(client.received, 0)
      await until(() => closed && running.server.connections === 0, 'the place given back')
      assert.equal(outcome, { bytes: 0, completed: false, reason: 'the application failed' })
      assert.match(running.errors[0]!, 'as the test wants it')
      assert.is(running.errors.length, 1)
      assert.equal(running.access, [LINE])
    }
  })

  // ── Wrong ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  for (const way of WAYS) {
    test(`${way} after the head was sent: HeadersSent, and the answer goes on`, async () => {
      const codes: string[] = []
      await h.serve(async (environ, startResponse) => {
        const write = startResponse(200, [['Content-Length', '4']])
        await write('ab')
        try {
          take(environ, way)
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
        return ['cd']
      })
      const client = await h.connect()
      await client.send(get())
      assert.is((await client.response()).text, 'abcd')
      assert.equal(codes, ['ERR_WIRELET_HEADERS_SENT'])
      await client.send(get())
      assert.is((await client.response()).text, 'abcd')
    })
  }

  test('twice, or startResponse after it: HeadersSent', async () => {
    const codes: unknown[] = []
    const { errors } = await h.serve((environ, startResponse) => {
      const duplex = environ['wirelet.upgrade']()
      for (const wrong of [() => environ['wirelet.upgrade'](), () => environ['wsgi.input'].getSocket(), () => startResponse(200)]) {
        try {
          wrong()
          codes.push(null)
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
      }
      duplex.end(SWITCH)
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    await client.end()
    await client.untilEnd()
    assert.equal(codes, Array(3).fill('ERR_WIRELET_HEADERS_SENT'))
    assert.equal(errors, [])
  })

  test('after the request is over, and by another request: HeadersSent', async () => {
    let kept: Environ | null = null
    let code = ''
    await h.serve((environ, startResponse) => {
      kept ??= environ
      if (environ.PATH_INFO === '/2') {
        try {
          kept['wirelet.upgrade']()
        } catch (error) {
          code = (error as { code: string }).code
        }
      }
      startResponse(200)
      return ['ok']
    })
    const client = await h.connect()
    await client.send(get('/1') + get('/2'))
    await client.responses(2)
    assert.is(code, 'ERR_WIRELET_HEADERS_SENT')
  })

  test('a head set but not sent is no obstacle, and never sent', async () => {
    await h.serve((environ, startResponse) => {
      startResponse(200, [['X-Not', 'sent']])
      return echo()(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(UP + 'raw')
    assert.is((await client.interim()).raw.toString('latin1'), SWITCH)
    assert.is(String(await client.bytes(3)), 'raw')
  })

  test('ALREADY_HANDLED without a takeover: 500', async () => {
    for (const application of [() => ALREADY_HANDLED, async () => ALREADY_HANDLED] as Application[]) {
      const running = await h.serve(application)
      const client = await h.connect(running)
      await client.send(get())
      const answer = await client.response()
      assert.is(answer.status, 500)
      assert.is(answer.text, '')
      assert.is(answer.header('connection'), 'close')
      await client.untilEnd()
      assert.match(running.errors[0]!, 'without taking the connection over')
      assert.equal(running.access, ['GET / HTTP/1.1 500 0 -'])
    }
  })

  test('the signal of a request that took over is not aborted by the takeover', async () => {
    let signal: AbortSignal | null = null
    await h.serve((environ, startResponse) => {
      signal = environ['wirelet.signal']
      return echo()(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    await turns()
    assert.is(signal!.aborted, false)
  })

  test('a read that waits is rejected by the takeover', async () => {
    let code = ''
    await h.serve(async environ => {
      const input = environ['wsgi.input']
      const reading = input.read(10).catch((error: { code: string }) => (code = error.code))
      const duplex = input.getSocket()
      duplex.write(SWITCH)
      duplex.pipe(duplex)
      await reading
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send('POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc')
    await client.interim()
    assert.is(String(await client.bytes(3)), 'abc')
    assert.is(code, 'ERR_WIRELET_REQUEST_ABORTED')
  })

  // ── Deadlines and drains ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('no deadline of ours', async () => {
    const clock = new FakeClock()
    await h.serve(echo(), { clock, keepalive: 1000, timeouts: { request: 1000, handler: 1000, send: 1000 } })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    await pass(clock, 20_000)
    await client.send('alive')
    assert.is(String(await client.bytes(5)), 'alive')
  })

  for (const when of ['before', 'after'] as const) {
    test(`eventlet.set_idle ${when} the takeover: closed when a drain starts`, async () => {
      const { server } = await h.serve(environ => {
        if (when === 'before') environ['eventlet.set_idle']()
        const duplex = environ['wirelet.upgrade']()
        duplex.write(SWITCH)
        if (when === 'after') environ['eventlet.set_idle']()
        return ALREADY_HANDLED
      }, { clock: new FakeClock() })
      const client = await h.connect()
      await client.send(UP)
      await client.interim()
      // The clock stands still: no deadline helps.
      await within(WAIT, server.close(), 'the drain')
      await client.closed
    })
  }

  test('eventlet.set_idle when the drain has begun: closed at once', async () => {
    let setIdle: () => void = () => {}
    const { server } = await h.serve(environ => {
      setIdle = environ['eventlet.set_idle']
      environ['wirelet.upgrade']().write(SWITCH)
      return ALREADY_HANDLED
    }, { clock: new FakeClock() })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    const closed = server.close()
    await turns()
    assert.is(server.connections, 1)
    setIdle()
    await within(WAIT, closed, 'the drain')
    await client.closed
  })

  test('without it: works on during the drain, and no longer than its deadline', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(echo(), { clock })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    const closed = server.close({ timeout: 5_000 })
    await pass(clock, 4_000)
    await client.send('alive')
    assert.is(String(await client.bytes(5)), 'alive')
    assert.is(server.state, 'draining')
    await pass(clock, 1_500)
    await within(WAIT, closed, 'the drain')
    await client.closed
    assert.is(server.connections, 0)
  })

  test('what is read in a drain before the takeover comes first as well', async () => {
    const gate = deferred()
    const { server } = await h.serve(async environ => {
      await gate.promise
      return await echo()(environ, () => { throw new Error('not called') })
    })
    const client = await h.connect()
    await client.send(UP)
    await until(() => server.outstandingRequests === 1, 'the request')
    const closed = server.close()
    await client.send('one,')
    await turns()
    gate.resolve()
    await client.interim()
    await client.send('two')
    assert.is(String(await client.bytes(7)), 'one,two')
    await client.end()
    await closed
  })

  test('a drain ends with the last takeover, not later', async () => {
    const { server } = await h.serve(echo(), { clock: new FakeClock() })
    const client = await h.connect()
    await client.send(UP)
    await client.interim()
    const closed = server.close()
    await turns()
    assert.is(server.state, 'draining')
    await client.end()
    await client.untilEnd()
    await within(WAIT, closed, 'the drain')
  })

  test('server-sent events end with the drain: at its deadline, their iterator returned and their close() called', async () => {
    const clock = new FakeClock()
    const seen: string[] = []
    const { server, access } = await h.serve((environ, startResponse) => {
      startResponse(200, [['Content-Type', 'text/event-stream']])
      environ['wirelet.signal'].addEventListener('abort', () => seen.push('signal'))
      const events = {
        sent: 0,
        [Symbol.asyncIterator](): AsyncIterator<string> {
          return {
            next: () => (this.sent++ === 0 ? Promise.resolve({ value: 'data: 1\n\n', done: false }) : new Promise(() => {})),
            return: () => {
              seen.push('return')
              return Promise.resolve({ value: undefined, done: true })
            }
          }
        },
        close: (): unknown => seen.push('close')
      }
      return events
    }, { clock })
    const client = await h.connect()
    await client.send(get('/sse'))
    await until(() => client.buffered.includes('data: 1'), 'the first event')
    const closed = server.close({ timeout: 5_000 })
    await pass(clock, 4_000)
    assert.is(server.connections, 1)
    await pass(clock, 1_500)
    await within(WAIT, closed, 'the drain')
    const ending = await client.closed
    if (h.hasReset) assert.is(ending, 'reset')
    assert.equal(seen.sort(), ['close', 'return', 'signal'])
    assert.equal(access, ['GET /sse HTTP/1.1 200 9 -'])
  })

  // ── The Duplex ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('has what protocols on a socket use', async () => {
    if (h.kind.over === 'memory') return
    const { application, duplex: taken } = handing()
    const { port } = await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const socket = (await taken) as Socket
    await client.interim()
    assert.is(socket.setNoDelay(true), socket)
    assert.is(socket.setNoDelay(), socket)
    assert.is(socket.setKeepAlive(true, 1000), socket)
    assert.is(socket.unref(), socket)
    assert.is(socket.ref(), socket)
    const own = client.stream as Socket
    if (h.kind.over === 'unix') {
      assert.equal([socket.remoteAddress, socket.remotePort, socket.localAddress, socket.localPort], Array(4).fill(undefined))
    } else {
      assert.equal([socket.remoteAddress, socket.remotePort, socket.remoteFamily], ['127.0.0.1', own.localPort, 'IPv4'])
      assert.equal([socket.localAddress, socket.localPort, socket.localFamily], ['127.0.0.1', port, 'IPv4'])
      assert.equal(socket.address(), { address: '127.0.0.1', port, family: 'IPv4' })
    }
    assert.ok(socket.bytesRead >= 0 && socket.bytesWritten >= SWITCH.length)
    assert.is(socket.destroyed, false)
  })

  test("setTimeout: 'timeout' after silence, nothing closed; 0 turns it off", async () => {
    if (h.kind.over === 'memory') return
    const { application, duplex: taken } = handing()
    await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const socket = (await taken) as Socket
    await client.interim()
    const quiet = deferred()
    assert.is(socket.setTimeout(20, () => quiet.resolve()), socket)
    assert.is(socket.timeout, 20)
    // Both timers of Node's are unref'd.
    const awake = setInterval(() => {}, 10)
    await within(WAIT, quiet.promise, "'timeout'").finally(() => clearInterval(awake))
    assert.is(socket.destroyed, false)
    socket.setTimeout(0)
    socket.write('there')
    assert.is(String(await client.bytes(5)), 'there')
  })

  test('back-pressure: a peer that does not read stops the writer', async () => {
    const { application, duplex: taken } = handing()
    await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const duplex = await taken
    await client.interim()
    client.pause()
    const block = pattern(65_536, 3)
    let written = 0
    while (duplex.write(block)) {
      written += block.length
      assert.ok(written < 64 * MIB, 'it never says no')
      await turns(1)
    }
    written += block.length
    const drained = event(duplex, 'drain')
    client.resume()
    await client.bytes(written)
    await drained
  })

  test('bytes are the application\'s own', async () => {
    const { application, duplex: taken } = handing()
    await h.serve(application)
    const client = await h.connect()
    await client.send(UP + 'first')
    const duplex = await taken
    const kept: Buffer[] = []
    duplex.on('data', (chunk: Buffer) => kept.push(chunk))
    for (const word of ['second', 'third']) {
      await client.send(word)
      await until(() => Buffer.concat(kept).includes(word), word)
    }
    await client.send('fourth')
    await turns(10)
    assert.is(Buffer.concat(kept).toString(), 'firstsecondthirdfourth')
  })

  test('pipes in both directions, ended by the peer in the middle', async () => {
    const { application, duplex: taken } = handing()
    const { server, errors } = await h.serve(application)
    const client = await h.connect()
    await client.send(UP)
    const duplex = await taken
    duplex.pipe(duplex)
    await client.interim()
    client.pause()
    client.stream.write(pattern(65_536, 5))
    await turns()
    client.resetNow()
    await until(() => server.connections === 0, 'the server to know')
    assert.equal(errors, [])
  })
}, { unix: true, tls: true, memory: true }).run()
