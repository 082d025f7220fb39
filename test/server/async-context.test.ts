// Every cycle is an async resource of its own (design §2.6): what one request does to its async context no other one sees.
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import { listen } from '../../src/io/listener.ts'
import { serve } from '../../src/server/serve.ts'
import { get, onEveryTransport, post, stable, turns, until } from '../support/harness.ts'
import { connectTo } from '../support/sockets.ts'

onEveryTransport('async context', (h, test) => {
  const WAYS: Record<string, (als: AsyncLocalStorage<string>, seen: unknown[]) => Application> = {
    'sync': (als, seen) => (environ, startResponse) => {
      seen.push(als.getStore())
      als.enterWith(environ.PATH_INFO)
      startResponse(200)
      return ['x']
    },
    'async': (als, seen) => async (environ, startResponse) => {
      seen.push(als.getStore())
      als.enterWith(environ.PATH_INFO)
      await null
      startResponse(200)
      await turns(1)
      return ['x']
    },
    'generator': (als, seen) => (_environ, startResponse) => {
      seen.push(als.getStore())
      startResponse(200)
      return (function* () {
        als.enterWith('generator')
        yield 'x'.repeat(5000)
        yield 'x'
      })()
    },
    'async generator': (als, seen) => (_environ, startResponse) => {
      seen.push(als.getStore())
      als.enterWith('outer')
      startResponse(200)
      return (async function* () {
        als.enterWith('inner')
        yield 'x'
        await turns(1)
        yield 'x'
      })()
    },
    'a throwing one': (als, seen) => environ => {
      seen.push(als.getStore())
      als.enterWith(environ.PATH_INFO)
      throw new Error('after enterWith')
    }
  }

  for (const [name, way] of Object.entries(WAYS)) {
    test(`enterWith is invisible to every other request: ${name}`, async () => {
      const als = new AsyncLocalStorage<string>()
      const seen: unknown[] = []
      await h.serve(way(als, seen))
      const client = await h.connect()
      if (name === 'a throwing one') {
        await client.send(get())
        await client.response()
        const other = await h.connect()
        await other.send(get())
        await other.response()
      } else {
        await client.send(get('/1') + get('/2') + post('/3', 'x') + get('/4'))
        await client.responses(4)
        await client.send(get('/5'))
        await client.response()
        const other = await h.connect()
        await other.send(get('/6'))
        await other.response()
        assert.is(seen.length, 6)
      }
      assert.ok(seen.every(each => each === undefined), JSON.stringify(seen))
      assert.is(als.getStore(), undefined, 'nor here')
    })
  }

  test('more than one turn of pipelined requests', async () => {
    const als = new AsyncLocalStorage<number>()
    let calls = 0
    let foreign = 0
    await h.serve((_environ, startResponse) => {
      if (als.getStore() !== undefined) foreign++
      als.enterWith(++calls)
      startResponse(200)
      return calls % 3 === 0 ? (async () => [String(als.getStore())])() : calls % 3 === 1 ? [String(als.getStore())] : [String(als.getStore())].values()
    })
    const client = await h.connect()
    await client.send(get().repeat(200))
    const texts = (await client.responses(200)).map(answer => answer.text)
    assert.is(foreign, 0)
    assert.equal(texts, Array.from({ length: 200 }, (_, i) => String(i + 1)))
  })

  test("everything of a request runs in the request's own context", async () => {
    const als = new AsyncLocalStorage<string>()
    const seen: Record<string, unknown> = {}
    const see = (what: string): void => void (seen[what] = als.getStore())
    const application: Application = async (environ, startResponse) => {
      als.enterWith(environ.PATH_INFO)
      environ['eventlet.posthooks'].push([() => see('hook')], [async () => { await null; see('async hook') }])
      await environ['wsgi.input'].read(3)
      see('after read')
      await environ['wsgi.input'].read(3)
      see('after a read that waited')
      const write = startResponse(200)
      await write('x')
      see('after write')
      return (function* () {
        see('generator')
        yield 'y'
        see('generator, later')
      })()
    }
    await h.serve(application)
    const client = await h.connect()
    await client.send(post('/mine', 'abcdef').slice(0, -3))
    await turns()
    await client.send('def' + get('/next'))
    await client.responses(2)
    await client.send(get('/again'))
    await client.response()
    await until(() => 'async hook' in seen, 'the hooks')
    assert.is(new Set(Object.values(seen)).size, 1)
    assert.is(Object.values(seen)[0], '/again')
  })

  test('pulls after back-pressure, and what runs when the peer leaves', async () => {
    const als = new AsyncLocalStorage<string>()
    const seen = new Set<unknown>()
    const ends: string[] = []
    let pulled = 0
    const { server } = await h.serve((environ, startResponse) => {
      als.enterWith('mine')
      environ['wirelet.signal'].addEventListener('abort', AsyncResource.bind(() => ends.push(`signal ${als.getStore()}`)))
      environ['eventlet.posthooks'].push([() => ends.push(`hook ${als.getStore()}`)])
      const write = startResponse(200)
      const body = {
        [Symbol.iterator]: () => ({
          next: () => {
            seen.add(als.getStore())
            pulled++
            return { value: Buffer.alloc(65536), done: false as const }
          },
          return: () => {
            ends.push(`return ${als.getStore()}`)
            return { value: undefined, done: true as const }
          }
        }),
        close: () => ends.push(`close ${als.getStore()}`)
      }
      void write('x').then(() => ends.push(`write ${als.getStore()}`))
      return body
    })
    const client = await h.connect()
    client.pause()
    await client.send(get())
    await until(() => pulled > 0, 'the first pull')
    const stopped = await stable(() => pulled)
    client.resume()
    await until(() => pulled > stopped, 'more pulls')
    client.resetNow()
    await until(() => server.connections === 0, 'closed')
    await turns()
    assert.equal([...seen], ['mine'])
    assert.equal(ends.sort(), ['close mine', 'hook mine', 'return mine', 'signal mine', 'write mine'])
  })

  test('the environ getters that call back do so in the context of their caller', async () => {
    const als = new AsyncLocalStorage<string>()
    let later!: Environ
    await h.serve((environ, startResponse) => {
      later = environ
      als.enterWith('request')
      startResponse(200)
      return ['x']
    })
    const client = await h.connect()
    await client.send(get())
    await client.response()
    als.run('outside', () => {
      assert.is(later.PATH_INFO, '/')
      assert.is(als.getStore(), 'outside')
    })
  })

  test('als.run around serve() is seen by every request: the context of the server is the one it was made in', async () => {
    const als = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const listener = await listen(0)
    const server = als.run('server', () => serve(listener, async (environ, startResponse) => {
      seen.push(als.getStore())
      als.enterWith(environ.PATH_INFO)
      await null
      startResponse(200)
      return ['x']
    }, { transport: h.kind.transport, logOutput: false }))
    const client = h.client(await connectTo(server.address.port))
    await client.send(get('/1') + get('/2'))
    await client.responses(2)
    await client.send(get('/3'))
    await client.response()
    await server.close({ timeout: 0 })
    assert.equal(seen, ['server', 'server', 'server'])
  })
}).run()
