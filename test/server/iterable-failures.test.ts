// Iterables and promises that fail at the places where nobody expects it: each costs its own request at most, and leaves a line in the log.
import * as assert from 'uvu/assert'
import { Pool } from '../../src/server/pool.ts'
import type { Application, Body } from '../../src/server/application.ts'
import { answering, deferred, get, onEveryTransport, until, type Harness } from '../support/harness.ts'

const HEAD = 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'

/** The status of what the application makes of `request`; a second request on another connection must be served as ever. */
async function statusOf(h: Harness, application: Application, request = get()): Promise<{ status: number; errors: string[] }> {
  const { answer, errors, server } = await h.ask((environ, startResponse) => {
    return environ.PATH_INFO === '/after' ? answering('after')(environ, startResponse) : application(environ, startResponse)
  }, request)
  assert.is(server.state, 'listening')
  const next = await h.connect()
  await next.send(get('/after'))
  assert.is((await next.response()).text, 'after')
  return { status: answer.status, errors }
}

/** One piece after another, and a `return` that throws. */
function unwilling(async: boolean): Body {
  const step = { value: 'piece', done: false }
  const iterator = {
    next: () => (async ? Promise.resolve(step) : step),
    return() {
      throw new Error('return() refuses')
    }
  }
  return { [async ? Symbol.asyncIterator : Symbol.iterator]: () => iterator } as unknown as Body
}

onEveryTransport('iterables that fail', (h, test) => {
  for (const async of [false, true]) {
    test(`return() that throws (${async ? 'asynchronous' : 'synchronous'}): the answer to HEAD stands`, async () => {
      const { status, errors } = await statusOf(h, (_environ, startResponse) => {
        startResponse('200 OK')
        return unwilling(async)
      }, HEAD)
      assert.is(status, 200)
      assert.match(errors.join('\n'), /return\(\) refuses/)
    })
  }

  test('return() that rejects: the answer to HEAD stands', async () => {
    const body = { [Symbol.asyncIterator]: () => ({ next: async () => ({ value: 'piece', done: false }), return: () => Promise.reject(new Error('later')) }) }
    const { status, errors } = await statusOf(h, (_environ, startResponse) => {
      startResponse('200 OK')
      return body as unknown as Body
    }, HEAD)
    assert.is(status, 200)
    assert.match(errors.join('\n'), /later/)
  })

  test('an asynchronous next() that throws at once: 500', async () => {
    const body = { [Symbol.asyncIterator]: () => ({ next() {
      throw new Error('next() refuses')
    } }) }
    const { status, errors } = await statusOf(h, (_environ, startResponse) => {
      startResponse('200 OK')
      return body as unknown as Body
    })
    assert.is(status, 500)
    assert.match(errors.join('\n'), /next\(\) refuses/)
  })

  for (const [name, malformed] of [
    ['nothing', undefined],
    ['null', null],
    ['a number', 5],
    ['what cannot be looked at', { get done() { throw new Error('no looking') } }]
  ] as const) {
    test(`a next() that gives ${name}: 500, from a synchronous and an asynchronous one`, async () => {
      const iterator = { next: (): unknown => malformed }
      const later = { next: async (): Promise<unknown> => malformed }
      for (const body of [{ [Symbol.iterator]: () => iterator }, { [Symbol.asyncIterator]: () => iterator }, { [Symbol.asyncIterator]: () => later }]) {
        const { status, errors } = await statusOf(h, (_environ, startResponse) => {
          startResponse('200 OK')
          return body as unknown as Body
        })
        assert.is(status, 500)
        assert.is(errors.length, 1)
      }
    })
  }

  test('a next() that gives nothing after a piece: the answer is cut', async () => {
    const gate = deferred()
    const steps = [{ value: 'x', done: false }]
    const { errors } = await h.serve((_environ, startResponse) => {
      startResponse('200 OK')
      return { [Symbol.asyncIterator]: () => ({ next: () => steps.pop() ?? gate.promise }) } as unknown as Body
    })
    const client = await h.connect()
    await client.send(get())
    await until(() => client.received > 0, 'the piece')
    gate.resolve()
    await client.reset
    assert.is(errors.length, 1)
  })

  test('a promise for what cannot be looked at: 500', async () => {
    const body = new Proxy({}, {
      has() {
        throw new Error('no looking')
      }
    })
    const { status, errors } = await statusOf(h, async () => body as Body)
    assert.is(status, 500)
    assert.match(errors.join('\n'), /no looking/)
  })

  for (const [name, empty] of [['asynchronous', async function* () {}], ['synchronous', function* () {}]] as const) {
    test(`an empty ${name} iterable without startResponse: 500`, async () => {
      const { status, errors } = await statusOf(h, () => empty() as Body)
      assert.is(status, 500)
      assert.match(errors.join('\n'), /without calling startResponse/)
    })
  }

  test('a pool goes on when a task of another\'s fails', async () => {
    const pool = new Pool(1)
    pool.spawn(() => Promise.reject(new Error('not ours')))
    await h.serve(answering('ok'), { customPool: pool })
    const client = await h.connect()
    await client.send(get('/', 'Connection: close\r\n'))
    assert.is((await client.response()).text, 'ok')
    await client.end()
    await pool.waitall()
  })

  test('ref() and unref() give the server back', async () => {
    const { server } = await h.serve(answering('ok'))
    assert.is(server.unref().ref(), server)
  })
}).run()
