// eventlet wsgi_test.py, TestHttpd: the pieces of an answer: joined, empty, slow to leave; and applications that fail between them.
import * as assert from 'uvu/assert'
import type { Application, Piece } from '../../src/server/application.ts'
import { memoryPair, onEveryTransport, turns, until } from '../support/harness.ts'
import { CLOSE, H, KEEP_ALIVE } from './support.ts'

/** Set before the answer starts, read by the server after the application returned. */
function streaming(minimum: number | null, pieces: () => Iterable<Piece> | AsyncIterable<Piece>, headers: [string, string][] = []): Application {
  return (environ, startResponse) => {
    if (minimum !== null) environ['eventlet.minimum_write_chunk_size'] = minimum
    startResponse('200 OK', [['Content-Type', 'text/plain'], ...headers])
    return pieces()
  }
}

function after(raw: string): string {
  return raw.slice(raw.indexOf('\r\n\r\n') + 4)
}

onEveryTransport('parity: bodies', (h, test) => {
  test('test_partial_writes_are_handled', async () => {
    const counting: Application = (_environ, startResponse) => {
      // The length is a number here.
      startResponse('200 OK', [['Content-Length', 3]])
      return (function* (): Generator<string> {
        yield 'asd'
      })()
    }
    const { server } = await h.serve(counting)
    // A connection that takes one octet at a time.
    const [near, far] = memoryPair(1)
    server.handle(far)
    const client = h.client(near)
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    assert.is((await client.response()).text, 'asd')
    // The transport under test: a peer that stops reading, and more than the kernel holds.
    const block = Buffer.alloc(65536, 'x')
    let produced = 0
    await h.serve(streaming(null, function* () {
      for (let i = 0; i < 400; i++) {
        produced++
        yield block
      }
    }))
    const slow = await h.connect()
    slow.pause()
    await slow.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    let last = -1
    await until(() => {
      const still = produced === last && produced > 0
      last = produced
      return still
    }, 'the iteration to stop')
    assert.ok(produced < 400, 'back-pressure reaches the iterator')
    slow.resume()
    assert.is((await slow.response()).body.length, 400 * 65536)
  })

  test('test_chunked_response_when_app_yields_empty_string', async () => {
    await h.serve(streaming(0, () => ['stuff', '', 'more stuff'].values()))
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    const raw = (await client.response()).raw.toString('latin1')
    assert.is(after(raw), '5\r\nstuff\r\na\r\nmore stuff\r\n0\r\n\r\n')
  })

  test('test_zero_length_chunked_response', async () => {
    await h.serve(streaming(null, () => [''].values()))
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    const answer = await client.response()
    assert.is(answer.header('transfer-encoding'), 'chunked')
    assert.is(after(answer.raw.toString('latin1')), '0\r\n\r\n')
  })

  test('test_minimum_chunk_size_parameter_leaves_httpprotocol_class_member_intact', async () => {
    // There are no classes to change: one server's options are nobody else's.
    const application = streaming(null, () => ['x'.repeat(4096), 'y'.repeat(4096)].values())
    const options = { minimumChunkSize: 8192 }
    const doubled = await h.serve(application, options)
    const plain = await h.serve(application)
    const sizes: number[][] = []
    for (const running of [doubled, plain]) {
      const client = await h.connect(running)
      await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
      sizes.push((await client.response()).chunks!.map(chunk => chunk.length))
    }
    assert.equal(sizes, [[8192], [4096, 4096]])
    assert.equal(options, { minimumChunkSize: 8192 })
  })

  test('test_error_in_chunked_closes_connection', async () => {
    const failing: Application = (environ, startResponse) => {
      environ['eventlet.minimum_write_chunk_size'] = 1
      startResponse('200 OK', [['Content-Type', 'text/plain']])
      return (function* (): Generator<string> {
        yield 'a'.repeat(0x27)
        yield 'b'.repeat(0x25)
        startResponse('500 Internal Server Error', [], new Error('too late'))
        yield 'never'
      })()
    }
    await h.serve(failing)
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    // Cut, not closed: an end would make a close-delimited answer look complete (design §3).
    await client.reset
    const answer = client.buffered
    assert.ok(answer.startsWith('HTTP/1.1 200 OK\r\n'))
    assert.ok(answer.includes('Transfer-Encoding: chunked\r\n'))
    assert.is(after(answer), `27\r\n${'a'.repeat(0x27)}\r\n25\r\n${'b'.repeat(0x25)}\r\n`)
  })

  test('test_exceptions_close_connection', async () => {
    const { errors, access } = await h.serve(() => {
      throw new TypeError('as the test wants it')
    })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    const answer = await client.response()
    assert.is(answer.raw.toString('latin1').split('\r\n')[0], 'HTTP/1.1 500 Internal Server Error')
    assert.is(answer.header('connection'), 'close')
    assert.not(answer.has('transfer-encoding'))
    assert.is(await client.closed, 'end')
    assert.is(errors.length, 1)
    assert.match(errors[0]!, /TypeError: as the test wants it\n {4}at /)
    assert.is(access.length, 1)
  })

  const timingOut = (): AsyncGenerator<string> => (async function* (): AsyncGenerator<string> {
    yield 'partial '
    const signal = AbortSignal.timeout(1)
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    signal.throwIfAborted()
  })()

  test('test_timeouts_in_app_call', async () => {
    // The original's rule to the letter: nothing leaves before it must, so the status can still change.
    const { errors } = await h.serve(streaming(null, timingOut), { flushWhenWaiting: false })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    const answer = await client.response()
    assert.is(answer.status, 500)
    assert.is(answer.header('connection'), 'close')
    assert.is(answer.framing, 'length')
    assert.is(errors.filter(line => line.includes('TimeoutError')).length, 1)
    // By default what is there leaves while the application waits: then it is too late for a 500.
    await h.serve(streaming(null, timingOut))
    const eager = await h.connect()
    await eager.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    await eager.reset
    assert.is(after(eager.buffered), '8\r\npartial \r\n')
  })

  test('test_timeouts_in_app_iter', async () => {
    const { errors } = await h.serve(streaming(1, timingOut, [['Content-Length', '13']]))
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    await client.reset
    const answer = client.buffered
    assert.ok(answer.startsWith('HTTP/1.1 200 OK\r\n'))
    assert.ok(answer.includes('Content-Length: 13\r\n'))
    assert.not(/\r\nconnection:/i.test(answer))
    assert.is(after(answer), 'partial ')
    assert.is(errors.filter(line => line.includes('TimeoutError')).length, 1)
  })

  test('test_unicode_with_only_ascii_characters_works', async () => {
    await h.serve(streaming(null, () => [Buffer.from('bytes, '), 'xxx'].values()))
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    assert.is((await client.response()).text, 'bytes, xxx')
  })

  test('test_unicode_with_nonascii_characters_raises_error', async () => {
    // Changed (design §4): strings are UTF-8 on the wire, and lengths count octets.
    for (const body of [['xxx \u0230'], ['xxx \u0230'].values()]) {
      await h.serve((_environ, startResponse) => {
        startResponse('200 OK', [['Content-Type', 'text/plain; charset=utf-8']])
        return body
      })
      const client = await h.connect()
      await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
      const answer = await client.response()
      assert.is(answer.status, 200)
      assert.equal(answer.body, Buffer.from([0x78, 0x78, 0x78, 0x20, 0xc8, 0xb0]))
    }
  })

  test('test_debug', async () => {
    const failing: Application = () => {
      throw new RangeError('crash for the test')
    }
    await h.serve(failing, { debug: false })
    const quiet = await h.connect()
    await quiet.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    const empty = await quiet.response()
    assert.is(empty.status, 500)
    assert.is(empty.header('connection'), 'close')
    assert.is(empty.framing, 'length')
    assert.is(empty.text, '')
    await h.serve(failing, { debug: true })
    const told = await h.connect()
    await told.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    const full = await told.response()
    assert.is(full.status, 500)
    assert.is(full.header('connection'), 'close')
    assert.is(full.framing, 'length')
    assert.match(full.text, /RangeError: crash for the test\n {4}at /)
  })

  test('test_client_disconnect', async () => {
    const { server, errors } = await h.serve(streaming(null, function* () {
      for (let i = 0; i < 4; i++) yield 'x'.repeat(2469)
    }, [['Content-Length', '9876']]))
    for (let i = 0; i < 10; i++) {
      const client = await h.connect()
      await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
      client.resetNow()
    }
    await until(() => server.connections === 0, 'the connections to be gone')
    assert.equal(errors, [])
    const other = await h.connect()
    await other.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    assert.is((await other.response()).body.length, 9876)
  })

  test('test_no_transfer_encoding_in_empty_response', async () => {
    const site: Application = (environ, startResponse) => {
      if (environ.REQUEST_METHOD === 'DELETE') {
        const write = startResponse('204 No Content', [])
        void write('')
      } else {
        startResponse('304 Not Modified', [])
      }
      return []
    }
    await h.serve(site)
    const client = await h.connect()
    const requests = [`DELETE /a HTTP/1.1\r\n${H}${KEEP_ALIVE}\r\n`, `GET /304 HTTP/1.1\r\n${H}\r\n`, `DELETE /a HTTP/1.1\r\n${H}\r\n`]
    const connections: string[] = []
    const statuses: number[] = []
    for (const request of requests) {
      await client.send(request)
      const answer = await client.response()
      assert.not(answer.has('transfer-encoding'))
      assert.not(answer.has('content-length'))
      statuses.push(answer.status)
      connections.push(answer.header('connection'))
    }
    assert.equal(statuses, [204, 304, 204])
    assert.equal(connections, ['keep-alive', '', ''])
  })

  test('IterableAlreadyHandledTest.test_iterable_app_keeps_socket_open_unless_connection_close_sent', async () => {
    const wrapped = (_environ: Parameters<Application>[0], startResponse: Parameters<Application>[1]): Generator<string> => (function* () {
      startResponse('200 OK', [['Content-type', 'text/plain']])
      for (const piece of [] as string[]) yield piece
    })()
    // As it comes, and with the pieces from elsewhere: what was a proxy to a thread is an async iterable here.
    const proxied: Application = (environ, startResponse) => (async function* () {
      await turns(1)
      yield* wrapped(environ, startResponse)
    })()
    for (const application of [wrapped, proxied]) {
      await h.serve(application)
      const client = await h.connect()
      await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
      const first = await client.response()
      assert.is(first.status, 200)
      assert.not(first.has('connection'))
      await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
      const second = await client.response()
      assert.is(second.header('transfer-encoding'), 'chunked')
      assert.is(after(second.raw.toString('latin1')), '0\r\n\r\n')
      assert.is(await client.closed, 'end')
    }
  })
}).run()
