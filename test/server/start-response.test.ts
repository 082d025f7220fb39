// startResponse: what may be said when, and what may not go on the wire.
import * as assert from 'uvu/assert'
import type { Headers, Status } from '../../src/server/application.ts'
import { get, onEveryTransport, thrown } from '../support/harness.ts'

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
    const { answer } = await h.ask((_environ, startResponse) => {
      startResponse('200 Fine', [['set-cookie', 'a=1'], ['x-n', 3], ['SET-COOKIE', 'b=2'], ['ETag', '"x"'], ['empty', '']])
      return ['']
    })
    assert.is(answer.reason, 'Fine')
    assert.equal(answer.headers.slice(0, 5), [['Set-Cookie', 'a=1'], ['X-N', '3'], ['Set-Cookie', 'b=2'], ['Etag', '"x"'], ['Empty', '']])
  })

  test('capitalizeResponseHeaders: false leaves names as they are', async () => {
    const { answer } = await h.ask((_environ, startResponse) => {
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
      const { answer } = await h.ask((_environ, startResponse) => {
        startResponse(200, headers)
        return ['']
      })
      assert.equal(answer.headers.slice(0, 4), [['A', '1'], ['B', '2'], ['C', '3'], ['C', '4']])
    })
  }

  test('fetch Headers', async () => {
    const { answer } = await h.ask((_environ, startResponse) => {
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
    const { answer } = await h.ask((_environ, startResponse) => {
      startResponse(200, [['Date', 'Sun, 06 Nov 1994 08:49:37 GMT']])
      return ['']
    })
    assert.is(answer.header('date'), 'Sun, 06 Nov 1994 08:49:37 GMT')
  })

  for (const [name, status, headers] of FORBIDDEN) {
    test(`refused at the call: ${name}`, async () => {
      let code = ''
      const { answer, client } = await h.ask((_environ, startResponse) => {
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
    const { answer } = await h.ask((_environ, startResponse) => {
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
    const { answer } = await h.ask((_environ, startResponse) => {
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
      const { answer } = await h.ask((_environ, startResponse) => {
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
