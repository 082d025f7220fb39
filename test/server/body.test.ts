// What an application may return, on the wire: every kind of body, framing, coalescing, accounting, ends.
import { Readable } from 'node:stream'
import { runInNewContext } from 'node:vm'
import * as assert from 'uvu/assert'
import type { Application, Body, Piece, PostHook } from '../../src/server/application.ts'
import { deferred, get, onEveryTransport, turns, until } from '../support/harness.ts'
import type { Response } from '../support/raw-client.ts'

/** Serves one body for every request. */
function bodyOf(make: () => unknown, headers: [string, string | number][] = []): Application {
  return (_environ, startResponse) => {
    startResponse(200, headers)
    return make() as Body
  }
}

function* pieces(n: number, size: number): Generator<string> {
  for (let i = 0; i < n; i++) yield 'x'.repeat(size)
}

async function* later<T>(all: Iterable<T>): AsyncGenerator<T> {
  yield* all
}

const sizes = (answer: Response): number[] => answer.chunks!.map(chunk => chunk.length)

const KNOWN_LENGTH: Record<string, () => unknown> = {
  'a string': () => 'aé€😀',
  'a byte array': () => new Uint8Array(Buffer.from('aé€😀')),
  'a Buffer': () => Buffer.from('aé€😀'),
  'an array of mixed pieces': () => ['a', Buffer.from('é'), '', new Uint8Array(0), new Uint8Array(Buffer.from('€')), '😀'],
  'a promise of a string': async () => 'aé€😀',
  'a promise of an array': async () => ['aé€', '😀']
}

const UNKNOWN_LENGTH: Record<string, () => unknown> = {
  'a generator': function* () { yield* ['a', 'é', '', Buffer.from('€😀')] },
  'a Set': () => new Set(['a', 'é€', '😀']),
  'an async generator': async function* () { yield* ['a', 'é', '', Buffer.from('€😀')] },
  'a promise of a generator': async () => ['aé', '€😀'].values(),
  'a Node Readable': () => Readable.from([Buffer.from('aé'), Buffer.from('€😀')]),
  'a web ReadableStream': () => new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from('aé€'))
      controller.enqueue(Buffer.from('😀'))
      controller.close()
    }
  }),
  'a web stream that is not iterable': () => {
    const { body } = new globalThis.Response('aé€😀')
    return { getReader: () => body!.getReader(), cancel: () => body!.cancel() }
  },
  'a Response body': () => new globalThis.Response('aé€😀').body
}

onEveryTransport('bodies', (h, test) => {
  for (const [name, make] of Object.entries(KNOWN_LENGTH)) {
    test(`${name}: Content-Length in bytes of UTF-8`, async () => {
      const { answer, client } = await h.ask(bodyOf(make))
      assert.is(answer.header('content-length'), '10')
      assert.is(answer.text, 'aé€😀')
      assert.is(client.buffered, '')
    })
  }

  for (const [name, make] of Object.entries(UNKNOWN_LENGTH)) {
    test(`${name}: chunked to 1.1, until close to 1.0, with the application's length as it says`, async () => {
      const { answer, client } = await h.ask(bodyOf(make))
      assert.is(answer.framing, 'chunked')
      assert.is(answer.text, 'aé€😀')
      await client.send(get('/', '', '1.0'))
      assert.is((await client.response()).text, 'aé€😀')
      const known = await h.ask(bodyOf(make, [['Content-Length', 10]]))
      assert.is(known.answer.framing, 'length')
      assert.is(known.answer.text, 'aé€😀')
    })
  }

  for (const [name, make, framing] of [
    ['an empty array', () => [], 'length'],
    ['an empty string', () => '', 'length'],
    ['an array of empty pieces', () => ['', new Uint8Array(0)], 'length'],
    ['an empty generator', function* () {}, 'chunked'],
    ['an empty async generator', async function* () {}, 'chunked'],
    ['a generator of empty pieces', function* () { yield* ['', ''] }, 'chunked'],
    ['an empty Readable', () => Readable.from([]), 'chunked']
  ] as [string, () => unknown, string][]) {
    test(`${name}: an empty answer, and the connection goes on`, async () => {
      const { answer, client } = await h.ask(bodyOf(make))
      assert.is(answer.framing, framing)
      assert.is(answer.body.length, 0)
      await client.send(get())
      assert.is((await client.response()).body.length, 0)
      assert.is(client.buffered, '')
    })
  }

  test('a string on a one-byte path: every latin-1 letter is two bytes', async () => {
    const text = Array.from({ length: 96 }, (_, i) => String.fromCharCode(160 + i)).join('')
    for (const make of [() => text, () => [text, text.slice(0, 1)], () => [text].values(), () => later([text])]) {
      const { answer } = await h.ask(bodyOf(make))
      assert.ok(answer.text.startsWith(text))
    }
  })

  test('a surrogate pair in two pieces: each piece is encoded by itself, and every count agrees', async () => {
    const halves = ['a\ud83d', '\ude00b']
    for (const framing of [undefined, 8]) {
      for (const make of [() => halves, () => halves.values(), () => later(halves)]) {
        const { answer, client } = await h.ask(bodyOf(make, framing === undefined ? [] : [['Content-Length', framing]]))
        assert.is(answer.body.toString('hex'), '61efbfbdefbfbd62')
        await client.send(get())
        assert.is((await client.response()).body.length, 8)
        assert.is(client.buffered, '')
      }
    }
    const large = ['x'.repeat(20_000) + '\ud83d', '\ude00' + 'y'.repeat(20_000)]
    const { answer } = await h.ask(bodyOf(() => large.values()), get(), { minimumChunkSize: 50_000 })
    assert.is(answer.body.length, 40_006)
  })

  test('strings and byte arrays in turn stay in order, small and large', async () => {
    const parts = ['é', Buffer.from('1'), 'b'.repeat(9000), Buffer.alloc(9000, 'c'), 'ü', new Uint8Array(Buffer.from('2')), Buffer.alloc(70_000, 'd'), 'e']
    const whole = Buffer.concat(parts.map(part => Buffer.from(part as string)))
    for (const make of [() => parts, () => parts.values(), () => later(parts)]) {
      for (const minimumChunkSize of [0, 4096, 100_000, Infinity]) {
        const { answer } = await h.ask(bodyOf(make), get(), { minimumChunkSize })
        assert.ok(answer.body.equals(whole), `minimum ${minimumChunkSize}`)
      }
    }
  })

  test('byte arrays of another realm, small and large, are bytes like any', async () => {
    for (const size of [3, 9000, 100_000]) {
      const bytes = runInNewContext(`new Uint8Array(${size}).fill(97)`) as Uint8Array
      assert.not(bytes instanceof Uint8Array)
      for (const make of [() => bytes, () => [bytes], () => [bytes].values(), () => later([bytes])]) {
        assert.is((await h.ask(bodyOf(make))).answer.text, 'a'.repeat(size))
      }
      const written: Application = async (_environ, startResponse) => (await startResponse(200)(bytes), [])
      assert.is((await h.ask(written)).answer.text, 'a'.repeat(size))
    }
  })

  test('a view of a larger buffer, and typed arrays of other kinds are refused', async () => {
    const { answer } = await h.ask(bodyOf(() => [Buffer.from('xxabcxx').subarray(2, 5), new Uint8Array(Buffer.from('..def..').buffer.slice(0), 0, 0)]))
    assert.is(answer.text, 'abc')
    for (const piece of [new Uint16Array(2), new ArrayBuffer(2), new DataView(new ArrayBuffer(2))]) {
      assert.is((await h.ask(bodyOf(() => [piece]))).answer.status, 500)
      assert.is((await h.ask(bodyOf(() => [piece].values()))).answer.status, 500)
    }
  })

  test('an array of a subclass, of holes, and one that is empty but for them', async () => {
    class Pieces extends Array<string> {}
    assert.is((await h.ask(bodyOf(() => Pieces.from(['a', 'b'])))).answer.text, 'ab')
    assert.is((await h.ask(bodyOf(() => new Array(3)))).answer.status, 500)
  })

  // ── Coalescing (reference.md W11) ────────────────────────────────────────────────────────────────────────────────────────────────

  for (const [name, wrap] of [['sync', (all: Iterable<Piece>) => all[Symbol.iterator]()], ['async', later]] as [string, (all: Iterable<Piece>) => unknown][]) {
    test(`coalescing, ${name}: joined until the minimum is reached, then one chunk`, async () => {
      assert.equal(sizes((await h.ask(bodyOf(() => wrap(pieces(10, 1000))))).answer), [5000, 5000])
      assert.equal(sizes((await h.ask(bodyOf(() => wrap(pieces(5, 4095))))).answer), [8190, 8190, 4095])
      assert.equal(sizes((await h.ask(bodyOf(() => wrap(pieces(3, 4096))))).answer), [4096, 4096, 4096])
      assert.equal(sizes((await h.ask(bodyOf(() => wrap(pieces(4, 10))), get(), { minimumChunkSize: 25 })).answer), [30, 10])
      assert.equal(sizes((await h.ask(bodyOf(() => wrap(['a', '', 'bc'])), get(), { minimumChunkSize: 0 })).answer), [1, 2])
      assert.equal(sizes((await h.ask(bodyOf(() => wrap(['é', 'é', 'é'])), get(), { minimumChunkSize: 4 })).answer), [4, 2])
    })
  }

  test("environ['eventlet.minimum_write_chunk_size'] overrides, for that request", async () => {
    const { answer, client } = await h.ask((environ, startResponse) => {
      if (environ.PATH_INFO === '/') environ['eventlet.minimum_write_chunk_size'] = 15
      startResponse(200)
      return pieces(4, 10)
    })
    assert.equal(sizes(answer), [20, 20])
    await client.send(get('/other'))
    assert.equal(sizes(await client.response()), [40])
  })

  test('flushWhenWaiting: what is held leaves when an async iterable makes us wait', async () => {
    const gate = deferred()
    await h.serve(bodyOf(async function* () {
      yield 'a'
      yield 'b'
      await gate.promise
      yield 'c'
    }))
    const client = await h.connect()
    await client.send(get())
    await until(() => client.buffered.endsWith('\r\n\r\n2\r\nab\r\n'), 'the held pieces as one chunk')
    gate.resolve()
    assert.equal(sizes(await client.response()), [2, 1])
  })

  test('flushWhenWaiting: false keeps the original rule, to the letter', async () => {
    const gate = deferred()
    await h.serve(bodyOf(async function* () {
      yield 'a'
      await gate.promise
      yield 'b'
    }), { flushWhenWaiting: false })
    const client = await h.connect()
    await client.send(get())
    await turns(20)
    assert.is(client.buffered, '')
    gate.resolve()
    assert.equal(sizes(await client.response()), [2])
  })

  test('a scratch buffer that is yielded again and again', async () => {
    const { answer } = await h.ask(bodyOf(function* () {
      const scratch = Buffer.alloc(1000)
      for (let i = 0; i < 10; i++) yield scratch.fill(48 + i)
    }))
    assert.is(answer.text, Array.from({ length: 10 }, (_, i) => String(i).repeat(1000)).join(''))
  })

  // ── No content ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  for (const [name, make] of Object.entries({ array: () => ['seven..'], generator: () => ['seven..'].values(), 'async generator': () => later(['seven..']) })) {
    test(`HEAD with ${name}: no content, the length where it is known`, async () => {
      const head = 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'
      const { answer, client } = await h.ask(bodyOf(make), head)
      assert.is(answer.header('content-length'), name === 'array' ? '7' : '')
      assert.is(answer.has('transfer-encoding'), false)
      await client.send(head + get())
      await client.response({ method: 'HEAD' })
      assert.is((await client.response()).text, 'seven..')
      const said = await h.ask(bodyOf(make, [['Content-Length', 100]]), head)
      assert.is(said.answer.header('content-length'), '100')
      await said.client.send(head)
      assert.is((await said.client.response({ method: 'HEAD' })).status, 200, 'the length of a HEAD is no promise')
    })

    for (const status of [204, 205, 304]) {
      test(`${status} with ${name}: nothing of it reaches the wire`, async () => {
        const { answer, client } = await h.ask((_environ, startResponse) => {
          startResponse(status)
          return make()
        })
        assert.is(answer.status, status)
        assert.is(answer.has('transfer-encoding'), false)
        assert.is(answer.header('content-length'), status === 205 ? '0' : '')
        await client.send(get())
        assert.is((await client.response()).status, status)
        assert.is(client.buffered, '')
      })
    }
  }

  // ── Content-Length accounting ────────────────────────────────────────────────────────────────────────────────────────────────────

  for (const [name, make] of Object.entries({ array: () => ['123', '45'], generator: () => ['123', '45'].values(), 'async generator': () => later(['123', '45']) })) {
    test(`${name}, more than announced: cut off, logged, closed`, async () => {
      const { answer, client, errors, access } = await h.ask(bodyOf(make, [['Content-Length', 4]]), get() + get('/2'))
      assert.is(answer.text, '1234')
      assert.is((await client.untilEnd()).length, 0)
      assert.is(errors.length, 1)
      assert.match(errors[0]!, /more content than its Content-Length/)
      assert.equal(access, ['GET / HTTP/1.1 200 4 -'])
    })

    test(`${name}, more than announced: the close is announced where it is known in time`, async () => {
      const { answer } = await h.ask(bodyOf(make, [['Content-Length', 4]]))
      if (name === 'array') assert.is(answer.header('connection'), 'close')
    })

    test(`${name}, less than announced: what there is, then a reset`, async () => {
      const { errors } = await h.serve(bodyOf(make, [['Content-Length', 6]]))
      const client = await h.connect()
      await client.send(get() + get('/2'))
      await client.reset
      assert.match(client.buffered, /\r\n\r\n12345$/)
      assert.is(errors.length, 1)
      assert.match(errors[0]!, /shorter than its Content-Length/)
    })
  }

  test('an empty answer where a length was announced is a shortfall too', async () => {
    await h.serve(bodyOf(() => [], [['Content-Length', 1]]))
    const client = await h.connect()
    await client.send(get())
    await client.reset
  })

  test('a large array is streamed with its length, for HEAD and 204 too', async () => {
    const big = Buffer.alloc(50_000, 'b')
    const make = (): Piece[] => ['a'.repeat(50_000), big, 'é'.repeat(10)]
    const { answer, client } = await h.ask(bodyOf(make))
    assert.is(answer.framing, 'length')
    assert.is(answer.body.length, 100_020)
    await client.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n' + get())
    assert.is((await client.response({ method: 'HEAD' })).header('content-length'), '100020')
    assert.is((await client.response()).body.length, 100_020)
    const none = await h.ask((_environ, startResponse) => {
      startResponse(204)
      return make()
    }, get() + get())
    await none.client.response()
    assert.is(none.client.buffered, '')
  })

  // ── Trailers ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('wirelet.sendTrailers: after a chunked answer to a peer that said TE: trailers, and only then', async () => {
    let sum = 0
    const { answer, client } = await h.ask((environ, startResponse) => {
      environ['wirelet.sendTrailers'] = () => [['x-sum', sum], ['x-end', 'yes']]
      startResponse(200, [['Trailer', 'X-Sum']])
      return (function* () {
        for (sum = 0; sum < 3; sum++) yield 'x'
      })()
    }, get('/', 'TE: trailers\r\nConnection: TE\r\n'))
    assert.equal(answer.trailers, [['X-Sum', '3'], ['X-End', 'yes']])
    await client.send(get())
    assert.equal((await client.response()).trailers, [])
  })

  for (const writes of [false, true]) {
    test(`keys of the environ option that steer an answer, the application ${writes ? 'writing' : 'not writing'} another`, async () => {
      const said: unknown[] = []
      const hook = (who: string): PostHook => [environ => said.push([who, environ['wirelet.outcome']?.completed])]
      const { answer, client } = await h.ask((environ, startResponse) => {
        if (writes) environ['other'] = 1
        if (environ.PATH_INFO === '/own') {
          environ['eventlet.posthooks'].push(hook('own'))
          environ['eventlet.minimum_write_chunk_size'] = 5
          environ['wirelet.sendTrailers'] = () => []
        }
        startResponse(200)
        return pieces(3, 4)
      }, get('/', 'TE: trailers\r\nConnection: TE\r\n'), {
        environ: { 'eventlet.minimum_write_chunk_size': 1, 'wirelet.sendTrailers': () => [['X-Sum', '3']], 'eventlet.posthooks': [hook('every')] }
      })
      assert.equal([sizes(answer), answer.trailers], [[4, 4, 4], [['X-Sum', '3']]])
      await until(() => said.length === 1, 'the hook')
      await client.send(get('/own', 'TE: trailers\r\nConnection: TE\r\n'))
      const own = await client.response()
      assert.equal([sizes(own), own.trailers], [[8, 4], []])
      await until(() => said.length === 3, 'the hooks')
      await client.send(get())
      await client.response()
      await until(() => said.length === 4, 'the last hook')
      assert.equal(said, [['every', true], ['every', true], ['own', true], ['every', true]])
    })
  }

  test('trailers that may not be: the answer is cut', async () => {
    for (const name of ['content-length', 'transfer-encoding', 'set-cookie', 'a b']) {
      const running = await h.serve((environ, startResponse) => {
        environ['wirelet.sendTrailers'] = () => [[name, '1']]
        startResponse(200)
        return ['x'.repeat(5000)].values()
      })
      const client = await h.connect(running)
      await client.send(get('/', 'TE: trailers\r\nConnection: TE\r\n'))
      await client.reset
      assert.is(running.errors.length, 1, name)
    }
  })
}).run()
