// startResponse and write: what may be said when, what may not go on the wire, and what an application's failure looks like from outside.
import * as assert from 'uvu/assert'
import type { Application, Headers, Status, Write } from '../../src/server/application.ts'
import { type Harness, answering, deferred, get, onEveryTransport, post, stable, turns, until } from '../support/harness.ts'

/** The code of what `call` throws. */
function thrown(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return ''
}

async function ask(h: Harness, application: Application, request: string = get(), options = {}) {
  const running = await h.serve(application, options)
  const client = await h.connect()
  await client.send(request)
  return { ...running, client, answer: await client.response() }
}

const FORBIDDEN: [name: string, status: unknown, headers: unknown][] = [
  ['CR LF in a value', 200, [['A', 'b\r\nC: d']]],
  ['LF in a value', 200, [['A', 'b\n']]],
  ['NUL in a value', 200, [['A', 'b\0c']]],
  ['U+010A in a value, whose low byte is LF', 200, [['A', 'b\u010aC: d']]],
  ['a value beyond latin-1', 200, [['A', '€']]],
  ['whitespace around a value', 200, [['A', ' b']]],
  ['a value that is no string', 200, [['A', null]]],
  ['a value that is an object', 200, [['A', { toString: () => 'b' }]]],
  ['NaN as a value', 200, [['A', NaN]]],
  ['a space in a name', 200, [['A B', 'c']]],
  ['a colon in a name', 200, [['A:', 'c']]],
  ['an empty name', 200, [['', 'c']]],
  ['U+010A in a name', 200, [['A\u010a', 'c']]],
  ['no pairs', 200, ['A']],
  ['a string for headers', 200, 'A: b'],
  ['Transfer-Encoding', 200, [['Transfer-Encoding', 'chunked']]],
  ['Keep-Alive', 200, { 'keep-alive': 'timeout=1' }],
  ['Connection: keep-alive', 200, [['Connection', 'keep-alive']]],
  ['Connection: upgrade', 200, [['Connection', 'upgrade']]],
  ['Upgrade', 200, [['Upgrade', 'x']]],
  ['two Content-Lengths', 200, [['Content-Length', 1], ['content-length', 1]]],
  ['a negative Content-Length', 200, [['Content-Length', -1]]],
  ['a fractional Content-Length', 200, [['Content-Length', 1.5]]],
  ['an empty Content-Length', 200, [['Content-Length', '']]],
  ['a Content-Length with a sign', 200, [['Content-Length', '+1']]],
  ['a status below 100', 99, []],
  ['a status beyond 599', 600, []],
  ['an interim status', 103, []],
  ['101', 101, []],
  ['a status that is no number', 'OK', []],
  ['a status of two digits', '20 OK', []],
  ['a fractional status', 200.5, []],
  ['no status', undefined, []],
  ['CR LF in a reason', '200 OK\r\nA: b', []],
  ['U+010A in a reason', '200 O\u010aK', []],
  ['a reason beyond latin-1', '200 €', []]
]

onEveryTransport('startResponse', (h, test) => {
  test('pairs: in order, repeated, numbers, names capitalised', async () => {
    const { answer } = await ask(h, (_environ, startResponse) => {
      startResponse('200 Fine', [['set-cookie', 'a=1'], ['x-n', 3], ['SET-COOKIE', 'b=2'], ['ETag', '"x"'], ['empty', '']])
      return ['']
    })
    assert.is(answer.reason, 'Fine')
    assert.equal(answer.headers.slice(0, 5), [['Set-Cookie', 'a=1'], ['X-N', '3'], ['Set-Cookie', 'b=2'], ['Etag', '"x"'], ['Empty', '']])
  })

  test('capitalizeResponseHeaders: false leaves names as they are', async () => {
    const { answer } = await ask(h, (_environ, startResponse) => {
      startResponse(200, [['x-NAME', '1']])
      return ['']
    }, get(), { capitalizeResponseHeaders: false })
    assert.equal(answer.headers[0], ['x-NAME', '1'])
  })

  for (const [name, headers] of Object.entries<Headers>({
    'an object': { a: '1', b: 2, c: ['3', '4'] },
    'a Map': new Map<string, string | number>([['a', '1'], ['b', 2], ['c', '3'], ['C', '4']]),
    'a generator': (function* () { yield* [['a', '1'], ['b', 2], ['c', '3'], ['c', '4']] as const })()
  })) {
    test(`headers given as ${name}`, async () => {
      const { answer } = await ask(h, (_environ, startResponse) => {
        startResponse(200, headers)
        return ['']
      })
      assert.equal(answer.headers.slice(0, 4), [['A', '1'], ['B', '2'], ['C', '3'], ['C', '4']])
    })
  }

  test('fetch Headers', async () => {
    const { answer } = await ask(h, (_environ, startResponse) => {
      startResponse(200, new globalThis.Headers({ a: '1' }))
      return ['']
    })
    assert.equal(answer.headers[0], ['A', '1'])
  })

  test('statuses: a number, a line, a line without a reason, one nobody knows', async () => {
    const statuses: Status[] = [200, '200 OK', '404', '299 Something', 599, '418 I\xb4m a teapot', '200 ']
    await h.serve((environ, startResponse) => {
      startResponse(statuses[Number(environ.PATH_INFO.slice(1))]!)
      return ['']
    })
    const client = await h.connect()
    const lines: string[] = []
    for (let i = 0; i < statuses.length; i++) {
      await client.send(get(`/${i}`))
      const { status, reason } = await client.response()
      lines.push(`${status} ${reason}`)
    }
    assert.equal(lines, ['200 OK', '200 OK', '404 Not Found', '299 Something', lines[4], '418 I\xb4m a teapot', '200 '])
    assert.match(lines[4]!, /^599 /)
  })

  test("the application's own Date replaces ours", async () => {
    const { answer } = await ask(h, (_environ, startResponse) => {
      startResponse(200, [['Date', 'Sun, 06 Nov 1994 08:49:37 GMT']])
      return ['']
    })
    assert.is(answer.header('date'), 'Sun, 06 Nov 1994 08:49:37 GMT')
  })

  for (const [name, status, headers] of FORBIDDEN) {
    test(`refused at the call: ${name}`, async () => {
      let code = ''
      const { answer, client } = await ask(h, (_environ, startResponse) => {
        code = thrown(() => startResponse(status as Status, headers as Headers))
        startResponse(200)
        return ['ok']
      })
      assert.is(code, 'ERR_WIRELET_INVALID_HEADER')
      assert.is(answer.text, 'ok', 'the call that failed left nothing behind')
      await client.send(get())
      assert.is((await client.response()).status, 200)
    })
  }

  test('twice without excInfo throws; with it, the head is replaced while it can be', async () => {
    const codes: string[] = []
    const { answer } = await ask(h, (_environ, startResponse) => {
      startResponse('200 OK', [['X-First', '1']])
      codes.push(thrown(() => startResponse('200 OK')), thrown(() => startResponse('200 OK', [], null)), thrown(() => startResponse('200 OK', [], undefined)))
      startResponse('503 Later', [['X-Second', '2']], new Error('why'))
      return ['']
    })
    assert.equal(codes, ['ERR_WIRELET_USAGE', 'ERR_WIRELET_USAGE', 'ERR_WIRELET_USAGE'])
    assert.is(answer.status, 503)
    assert.is(answer.has('x-first'), false)
    assert.is(answer.header('x-second'), '2')
  })

  test('excInfo in the middle of a generator: what was held is thrown away', async () => {
    const { answer } = await ask(h, (_environ, startResponse) => {
      startResponse(200)
      return (function* () {
        yield 'half a page'
        startResponse(500, [['Content-Type', 'text/plain']], [null, 'anything but null'])
        yield 'sorry'
      })()
    })
    assert.is(answer.status, 500)
    assert.is(answer.text, 'sorry')
  })

  test('excInfo once the head is sent is thrown; without it HeadersSent', async () => {
    const mine = new Error('mine')
    const seen: unknown[] = []
    await h.serve(async (_environ, startResponse) => {
      await startResponse(200)('gone')
      try {
        startResponse(500, [], mine)
      } catch (error) {
        seen.push(error)
      }
      seen.push(thrown(() => startResponse(500)))
      return []
    })
    const client = await h.connect()
    await client.send(get())
    assert.is((await client.response()).text, 'gone')
    assert.equal(seen, [mine, 'ERR_WIRELET_HEADERS_SENT'])
  })

  test('startResponse as late as before the first piece that is not empty', async () => {
    for (const kind of ['sync', 'async']) {
      const { answer } = await ask(h, (_environ, startResponse) => {
        if (kind === 'sync') {
          return (function* () {
            yield ''
            startResponse('202 Late')
            yield 'x'
          })()
        }
        return (async function* () {
          await null
          startResponse('202 Late')
          yield 'x'
        })()
      })
      assert.is(answer.status, 202)
      assert.is(answer.text, 'x')
    }
  })
}).run()

onEveryTransport('write()', (h, test) => {
  test('each piece is a chunk at once, in order with what the iterable gives', async () => {
    const { answer } = await ask(h, (_environ, startResponse) => {
      const write = startResponse(200)
      void write('one')
      void write('')
      void write(Buffer.from('two'))
      return ['three', 'é']
    })
    assert.equal(answer.chunks!.map(String), ['one', 'two', 'threeé'])
  })

  test('an empty piece sends the head', async () => {
    const gate = deferred()
    await h.serve(async (_environ, startResponse) => {
      await startResponse(200)('')
      await gate.promise
      return []
    })
    const client = await h.connect()
    await client.send(get())
    await until(() => client.buffered.endsWith('\r\n\r\n'), 'the head')
    gate.resolve()
    assert.is((await client.response()).body.length, 0)
  })

  test('with a Content-Length: exact; beyond it the call throws and nothing of it is sent', async () => {
    let code = ''
    const { answer } = await ask(h, (_environ, startResponse) => {
      const write = startResponse(200, [['Content-Length', 5]])
      void write('abc')
      code = thrown(() => write('def'))
      void write('de')
      return []
    })
    assert.is(answer.text, 'abcde')
    assert.is(code, 'ERR_WIRELET_INVALID_HEADER')
  })

  test('what is no piece throws; after the end too', async () => {
    const codes: string[] = []
    let kept!: Write
    const { answer } = await ask(h, (_environ, startResponse) => {
      kept = startResponse(200)
      codes.push(thrown(() => kept(3 as unknown as string)), thrown(() => kept(null as unknown as string)))
      return ['x']
    })
    assert.is(answer.text, 'x')
    codes.push(thrown(() => kept('late')))
    assert.equal(codes, ['ERR_WIRELET_USAGE', 'ERR_WIRELET_USAGE', 'ERR_WIRELET_USAGE'])
  })

  test('resolves true while the peer takes it, false when it has left, and never rejects', async () => {
    const results: boolean[] = []
    const done = deferred()
    const { server } = await h.serve(async (_environ, startResponse) => {
      const write = startResponse(200)
      while (await write(Buffer.alloc(65536))) results.push(true)
      results.push(false, await write('still'), await write('gone'))
      done.resolve()
      return []
    })
    const client = await h.connect()
    client.pause()
    await client.send(get())
    // A full connection keeps write() waiting: the number of pieces taken stands still, at what the kernel holds.
    const taken = await stable(() => results.length)
    assert.ok(taken > 0 && taken < 1000, `${taken} pieces taken`)
    client.resetNow()
    await done.promise
    assert.equal(results.slice(-4), [true, false, false, false])
    await until(() => server.connections === 0, 'closed')
  })

  test('HEAD and 204: accepted, nothing sent', async () => {
    await h.serve(async (environ, startResponse) => {
      const write = startResponse(environ.PATH_INFO === '/204' ? 204 : 200)
      assert.is(await write('abc'), true)
      return ['def']
    })
    const client = await h.connect()
    await client.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n' + get('/204') + get('/204'))
    await client.response({ method: 'HEAD' })
    assert.is((await client.response()).status, 204)
    assert.is((await client.response()).status, 204)
    assert.is(client.buffered, '')
  })
}).run()

const FAILURES: Record<string, Application> = {
  'throws': () => { throw new Error('secret') },
  'throws after startResponse': (_environ, startResponse) => {
    startResponse('200 OK', [['X', 'y'], ['Content-Length', 100]])
    throw new Error('secret')
  },
  'rejects': async () => { throw new Error('secret') },
  'throws in its generator before a byte left': (_environ, startResponse) => {
    startResponse(200)
    return (function* () {
      yield 'held'
      throw new Error('secret')
    })()
  },
  'throws in its async generator before a byte left': (_environ, startResponse) => {
    startResponse(200)
    return (async function* () {
      yield 'held'
      throw new Error('secret')
    })()
  },
  'throws what is no Error': () => { throw 'secret' },
  'never calls startResponse': () => ['x'],
  'never calls startResponse in its generator': function* () { yield 'x' },
  'yields what is no piece': (_environ, startResponse) => {
    startResponse(200)
    return [1, 2].values() as unknown as string[]
  }
}

onEveryTransport('a failing application', (h, test) => {
  for (const [name, application] of Object.entries(FAILURES)) {
    test(`${name}: a clean 500, logged, and the connection closes`, async () => {
      const { answer, client, errors, access } = await ask(h, application, post('/f', 'x') + get('/2'))
      assert.is(answer.status, 500)
      assert.equal(answer.headers.map(pair => pair[0]).sort(), ['Connection', 'Content-Length', 'Content-Type', 'Date'])
      assert.match(answer.header('content-type'), /^text\/plain/)
      assert.is(answer.header('connection'), 'close')
      assert.not.match(answer.text, /secret|\.ts|\.js/)
      assert.is((await client.untilEnd()).length, 0)
      assert.is(errors.length, 1)
      if (/^(?:throws|rejects)/.test(name)) assert.match(errors[0]!, /secret/)
      assert.equal(access.map(line => line.split(' ').slice(0, 4)), [['POST', '/f', 'HTTP/1.1', '500']])
    })
  }

  for (const [value, type] of [[undefined, 'undefined'], [null, 'null'], [42, 'number'], [true, 'boolean'], [{}, 'Object'], [new Date(0), 'Date'], [() => 'x', 'function'], [Symbol('x'), 'symbol'], [[1], 'number'], [['a', null], 'null']] as [unknown, string][]) {
    test(`returns ${type}: 500 and a log line that names it`, async () => {
      for (const wrap of [(x: unknown) => x, async (x: unknown) => x]) {
        const { answer, errors } = await ask(h, ((_environ, startResponse) => {
          startResponse(200)
          return wrap(value)
        }) as Application)
        assert.is(answer.status, 500)
        assert.is(errors.length, 1)
        assert.ok(errors[0]!.includes(type), errors[0])
      }
    })
  }

  test('debug: the stack is in the answer', async () => {
    const { answer } = await ask(h, FAILURES['throws']!, get(), { debug: true })
    assert.is(answer.status, 500)
    assert.match(answer.text, /Error: secret\n +at /)
  })

  for (const [name, body] of Object.entries({
    generator: function* () { yield 'x'.repeat(5000); throw new Error('secret') },
    'async generator': async function* () { yield 'x'.repeat(5000); await turns(); throw new Error('secret') }
  })) {
    test(`${name} that throws after the head left: what there was, then a reset`, async () => {
      const { errors, access } = await h.serve((_environ, startResponse) => {
        startResponse(200)
        return body()
      })
      const client = await h.connect()
      await client.send(get() + get('/2'))
      await client.reset
      assert.match(client.buffered, /\r\n\r\n1388\r\nx{5000}\r\n$/)
      assert.is(errors.length, 1)
      assert.match(access[0]!, /^GET \/ HTTP\/1\.1 200 5000/)
      assert.is(access.length, 1)
    })
  }

  test('one failing request does no harm to others of the server', async () => {
    await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/bad') throw new Error('bad')
      return answering('good')(environ, startResponse)
    })
    const good = await h.connect()
    const bad = await h.connect()
    await good.send(get())
    await good.response()
    await bad.send(get('/bad'))
    assert.is((await bad.response()).status, 500)
    await good.send(get())
    assert.is((await good.response()).text, 'good')
  })
}).run()

/** A body that writes down what is done to it. */
function watched(events: string[], pieces: () => Iterator<string> | AsyncIterator<string>, kind: 'sync' | 'async', ending?: () => void): Iterable<string> & { close(): void } {
  const inner = pieces()
  const iterator = {
    next: () => inner.next(),
    return(value?: unknown) {
      events.push('return')
      void inner.return?.()
      return kind === 'sync' ? { done: true, value } : Promise.resolve({ done: true, value })
    }
  }
  return {
    [kind === 'sync' ? Symbol.iterator : Symbol.asyncIterator]: () => iterator,
    close() {
      events.push('close')
      ending?.()
    }
  } as unknown as Iterable<string> & { close(): void }
}

onEveryTransport('the end of an iterable', (h, test) => {
  for (const kind of ['sync', 'async'] as const) {
    const serveWatched = (events: string[], pieces: () => Iterator<string>, ending?: () => void): Application => (environ, startResponse) => {
      startResponse(environ.PATH_INFO === '/204' ? 204 : 200)
      return watched(events, kind === 'sync' ? pieces : () => (async function* () { yield* { [Symbol.iterator]: pieces } })(), kind, ending)
    }

    test(`${kind}: close() once after its end, without return()`, async () => {
      const events: string[] = []
      const { client } = await ask(h, serveWatched(events, () => ['a', 'b'].values()))
      await client.send(get())
      await client.response()
      assert.equal(events, ['close', 'close'])
    })

    test(`${kind}: return() and close() when the answer has no use for the rest`, async () => {
      const events: string[] = []
      await ask(h, serveWatched(events, () => Array.from({ length: 9 }, () => 'x'.repeat(4096)).values()), get('/204'))
      assert.equal(events, ['return', 'close'])
    })

    test(`${kind}: close() when it throws`, async () => {
      const events: string[] = []
      const { answer } = await ask(h, serveWatched(events, function* () { throw new Error('no') }))
      assert.is(answer.status, 500)
      assert.equal(events, ['close'])
    })

    test(`${kind}: return() and close() when the peer leaves`, async () => {
      const events: string[] = []
      const { server } = await h.serve(serveWatched(events, function* () { for (;;) yield 'x'.repeat(65536) }))
      const client = await h.connect()
      client.pause()
      await client.send(get())
      await turns(20)
      client.resetNow()
      await until(() => server.connections === 0, 'closed')
      assert.equal(events, ['return', 'close'])
    })

    test(`${kind}: a close() that throws is logged and harms nobody`, async () => {
      const events: string[] = []
      const { answer, client, errors } = await ask(h, serveWatched(events, () => ['a'].values(), () => { throw new Error('closing') }))
      assert.is(answer.text, 'a')
      await client.send(get())
      assert.is((await client.response()).text, 'a')
      assert.is(errors.length, 2)
      assert.match(errors[0]!, /closing/)
    })
  }

  test('the close() of an array', async () => {
    let closed = 0
    const { answer } = await ask(h, (_environ, startResponse) => {
      startResponse(200)
      return Object.assign(['a', 'b'], { close: () => { closed++ } })
    })
    assert.is(answer.text, 'ab')
    assert.is(closed, 1)
  })
}).run()
