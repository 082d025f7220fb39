// What the original's suite leaves uncovered (reference §2.4), one test each: applications, takeover, the server's life.
import * as assert from 'uvu/assert'
import { ALREADY_HANDLED } from '../../src/server/application.ts'
import { listen } from '../../src/io/listener.ts'
import { serve } from '../../src/server/serve.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { deferred, onEveryTransport, pass, turns, until } from '../support/harness.ts'
import { within } from '../support/within.ts'
import { CLOSE, H, TextLog, hello } from './support.ts'

const GET = `GET / HTTP/1.1\r\n${H}\r\n`

onEveryTransport('parity, uncovered there: answers', (h, test) => {
  test('already_handled', async () => {
    let hooks = 0
    const { access, errors, server } = await h.serve((environ) => {
      environ['eventlet.posthooks'].push([() => hooks++])
      const socket = environ['wsgi.input'].getSocket()
      socket.on('data', (bytes: Uint8Array) => socket.write(bytes))
      socket.on('end', () => socket.end())
      socket.write('mine\r\n')
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    // What came along with the request is the new owner's.
    await client.send(`${GET}first `)
    assert.is((await client.bytes(12)).toString(), 'mine\r\nfirst ')
    await client.send('second')
    assert.is((await client.bytes(6)).toString(), 'second')
    // The server writes nothing of its own; hooks ran, and the log has its line (reference A2).
    assert.is(hooks, 1)
    assert.equal(access, ['GET / HTTP/1.1 200 0 -'])
    await client.end()
    assert.is((await client.untilEnd()).length, 0)
    await until(() => server.connections === 0, 'the connection to be gone')
    assert.equal(errors, [])
  })

  test('already_handled without a takeover is an error of the application', async () => {
    const { errors } = await h.serve(() => ALREADY_HANDLED)
    const client = await h.connect()
    await client.send(GET)
    assert.is((await client.response()).status, 500)
    assert.is(errors.length, 1)
  })

  test('eventlet.set_idle', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve((environ) => {
      const socket = environ['wirelet.upgrade']()
      if (environ.PATH_INFO === '/idle') environ['eventlet.set_idle']()
      socket.on('error', () => {}).resume()
      socket.write('mine')
      return ALREADY_HANDLED
    }, { clock, timeouts: { shutdown: 10_000 } })
    const [idle, busy] = [await h.connect(), await h.connect()]
    await idle.send(`GET /idle HTTP/1.1\r\n${H}\r\n`)
    await busy.send(`GET /busy HTTP/1.1\r\n${H}\r\n`)
    await idle.bytes(4)
    await busy.bytes(4)
    const closing = server.close()
    await within(5_000, idle.closed, 'the idle one to be cut')
    await turns()
    assert.is(server.connections, 1)
    // The other is its owner's until the deadline.
    await pass(clock, 10_500)
    await within(5_000, busy.closed, 'the busy one to be cut')
    await within(5_000, closing, 'the server to close')
  })

  test('close() of the iterable when the peer leaves', async () => {
    for (const streaming of [true, false]) {
      const calls: string[] = []
      const body = {
        async* [Symbol.asyncIterator](): AsyncGenerator<string> {
          try {
            for (;;) {
              yield 'x'.repeat(4096)
              await turns(1)
            }
          } finally {
            calls.push('return')
          }
        },
        close(): void {
          calls.push('close')
        }
      }
      const { server, errors } = await h.serve((_environ, startResponse) => {
        startResponse('200 OK', [])
        return streaming ? body : Object.assign(['short'].values(), { close: () => calls.push('close') })
      })
      const client = await h.connect()
      await client.send(GET)
      await client.bytes(17)
      client.resetNow()
      await until(() => server.connections === 0 && calls.includes('close'), 'the close')
      await turns()
      assert.equal(calls.filter(call => call === 'close'), ['close'], 'once')
      if (streaming) assert.ok(calls.includes('return'))
      assert.equal(errors, [])
    }
  })

  test('an exception inside close()', async () => {
    const hooks: string[] = []
    const { errors, access } = await h.serve((environ, startResponse) => {
      environ['eventlet.posthooks'].push([() => hooks.push('ran')])
      startResponse('200 OK', [])
      return Object.assign(['body'].values(), {
        close(): void {
          throw new Error('in close')
        }
      })
    })
    const client = await h.connect()
    for (let i = 0; i < 2; i++) {
      await client.send(GET)
      assert.is((await client.response()).text, 'body')
    }
    // The original loses hooks and access line with it (E4).
    await until(() => access.length === 2, 'the access lines')
    assert.equal(hooks, ['ran', 'ran'])
    assert.is(errors.filter(line => line.includes('in close')).length, 2)
  })

  test('a post hook that throws', async () => {
    const ran: number[] = []
    const { errors, access } = await h.serve((environ, startResponse) => {
      const broken = (): never => {
        throw new Error('in a hook')
      }
      const rejecting = async (): Promise<never> => broken()
      environ['eventlet.posthooks'].push([() => ran.push(1)], [broken], [() => ran.push(2)], [rejecting], [() => ran.push(3)])
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(GET)
    await client.response()
    await until(() => access.length === 1, 'the access line')
    assert.equal(ran, [1, 2, 3])
    assert.is(errors.filter(line => line.includes('in a hook')).length, 2)
    await client.send(GET)
    assert.is((await client.response()).status, 200)
  })

  test('startResponse twice, and after the body', async () => {
    const codes: unknown[] = []
    const caught = (call: () => unknown): void => {
      try {
        call()
        codes.push('nothing')
      } catch (error) {
        codes.push((error as { code: unknown }).code)
      }
    }
    await h.serve((_environ, startResponse) => {
      const write = startResponse('200 OK', [['X-Which', 'first']])
      caught(() => startResponse('201 Created', []))
      void write('body')
      caught(() => startResponse('202 Accepted', []))
      return []
    })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    const answer = await client.response()
    assert.is(answer.header('x-which'), 'first')
    assert.is(answer.text, 'body')
    // Changed (design §4): there the second call wins in silence.
    assert.equal(codes, ['ERR_WIRELET_USAGE', 'ERR_WIRELET_HEADERS_SENT'])
  })

  test('excInfo before the flush', async () => {
    await h.serve((_environ, startResponse) => {
      startResponse('200 OK', [['X-Which', 'first']])
      return (function* () {
        yield 'held and thrown away'
        startResponse('503 Service Unavailable', [['X-Which', 'second']], new Error('why'))
        yield 'sorry'
      })()
    })
    const client = await h.connect()
    await client.send(GET)
    const answer = await client.response()
    assert.equal([answer.status, answer.header('x-which'), answer.text], [503, 'second', 'sorry'])
  })

  test('an application that returns nothing', async () => {
    for (const nothing of [undefined, null, 7, Promise.resolve(undefined)]) {
      const { errors } = await h.serve((_environ, startResponse) => {
        startResponse('200 OK', [])
        return nothing as never
      })
      const client = await h.connect()
      await client.send(GET)
      const answer = await client.response()
      assert.equal([answer.status, answer.text], [500, ''])
      assert.is(errors.length, 1)
    }
  })

  test('maxSize saturated', async () => {
    const release = deferred()
    const { server } = await h.serve(async (environ, startResponse) => {
      if (environ.PATH_INFO === '/wait') await release.promise
      return hello(environ, startResponse)
    }, { maxSize: 1 })
    const first = await h.connect()
    await first.send(`GET /wait HTTP/1.1\r\n${H}\r\n`)
    await turns()
    const second = await h.connect()
    await second.send(GET)
    await turns()
    assert.equal([server.connections, second.buffered], [1, ''])
    release.resolve()
    // Somebody waits, so this connection makes room.
    assert.is((await first.response()).header('connection'), 'close')
    await first.end()
    assert.is((await second.response()).text, 'hello world')
    // An idle one makes room at once.
    await second.send(GET)
    await second.response()
    const third = await h.connect()
    await third.send(GET)
    assert.is((await third.response()).text, 'hello world')
    await second.closed
  })

  test('keepalive: true does not mean for ever', async () => {
    const clock = new FakeClock()
    await h.serve(hello, { clock, keepalive: true })
    const client = await h.connect()
    await client.send(GET)
    await client.response()
    await pass(clock, 70_000)
    assert.is(client.stream.destroyed || client.stream.readableEnded, false)
    await client.send(GET)
    await client.response()
    // Changed (design §5, §6): 75 s.
    await pass(clock, 77_000)
    assert.is((await client.untilEnd()).length, 0)
  })

  test('lines at the start and at the end', async () => {
    const log = new TextLog()
    const { server } = await h.serve(hello, { log })
    await server.close()
    assert.equal(log.lines.map(line => line.replace(/\d+/g, 'N')), [
      `(N) wsgi starting up on http://N.N.N.N:N (${h.kind.transport} transport)`,
      '(N) wsgi exiting',
      '(N) wsgi exited'
    ])
  })

  test('no application at all', async () => {
    // Changed: there `site=None` listens, and every request is a traceback.
    const listener = await listen(0)
    try {
      assert.throws(() => serve(listener, null as never), TypeError)
    } finally {
      await listener.close()
    }
  })
}).run()
