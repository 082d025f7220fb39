// What an application's failure looks like from outside: a clean 500 while that is possible, a reset once it is not.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { answering, get, onEveryTransport, post, turns, until } from '../support/harness.ts'

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
      const { answer, client, errors, access } = await h.ask(application, post('/f', 'x') + get('/2'))
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
        const { answer, errors } = await h.ask(((_environ, startResponse) => {
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
    const { answer } = await h.ask(FAILURES['throws']!, get(), { debug: true })
    assert.is(answer.status, 500)
    assert.match(answer.text, /Error: secret\n +at /)
  })

  for (const [name, body] of Object.entries({
    generator: function* () { yield 'x'.repeat(500); throw new Error('secret') },
    'async generator': async function* () { yield 'x'.repeat(500); await turns(); throw new Error('secret') }
  })) {
    test(`${name} that throws after the head left: what there was, then a reset`, async () => {
      const { errors, access } = await h.serve((_environ, startResponse) => {
        startResponse(200)
        return body()
      }, { minimumChunkSize: 100 })
      const client = await h.connect()
      await client.send(get() + get('/2'))
      await client.reset
      assert.match(client.buffered, /\r\n\r\n1f4\r\nx{500}\r\n$/)
      assert.is(errors.length, 1)
      assert.match(access[0]!, /^GET \/ HTTP\/1\.1 200 500/)
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

  for (const [name, fails] of Object.entries<() => unknown>({
    'throw': () => { throw new Error('not today') },
    'throw what cannot be shown': () => { throw Object.create(null) },
    'reject': async () => { throw new Error('not today') },
    'reject with what cannot be shown': () => Promise.reject(Object.create(null)),
    'give a thenable that rejects': () => ({ then: (_yes: unknown, no: (error: unknown) => void) => no(new Error('not today')) })
  })) {
    test(`callbacks of the operator that ${name}: the server goes on`, async () => {
      const telling = await h.serve(answering('good'), { onPeerError: fails })
      const bad = await h.connect(telling)
      await bad.send('BAD\r\n\r\n')
      assert.is((await bad.response()).status, 400)
      await until(() => telling.errors.length === 1, 'a line')
      assert.match(telling.errors[0]!, / onPeerError failed: (Error: not today|an error that cannot be shown)/)
      for (const log of [{ info: fails, debug: fails, error: fails, access: fails }, { write: fails }]) {
        const { server } = await h.serve(() => { throw new Error('bad') }, { log })
        const client = await h.connect()
        await client.send(get())
        assert.is((await client.response()).status, 500)
        client.destroy()
        await server.close()
        await turns()
      }
    })
  }
}).run()
