// A connection gets at most 32 cycles, or 64 KiB written, in one turn; then the others have theirs (design §1, "The way of a request").
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { get, onEveryTransport, until } from '../support/harness.ts'

const KINDS: Record<string, (order: string[]) => Application> = {
  'sync': order => (environ, startResponse) => {
    order.push(environ.PATH_INFO)
    startResponse(200)
    return [environ.PATH_INFO]
  },
  'async': order => async (environ, startResponse) => {
    order.push(environ.PATH_INFO)
    await null
    startResponse(200)
    return [environ.PATH_INFO]
  },
  'generator': order => (environ, startResponse) => {
    order.push(environ.PATH_INFO)
    startResponse(200)
    return [environ.PATH_INFO].values()
  }
}

onEveryTransport('fairness', (h, test) => {
  for (const [name, application] of Object.entries(KINDS)) {
    test(`a thousand pipelined requests do not keep another connection waiting (${name})`, async () => {
      const order: string[] = []
      await h.serve(application(order))
      const greedy = await h.connect()
      const modest = await h.connect()
      const sent = greedy.send(get('/greedy').repeat(1000))
      void modest.send(get('/modest'))
      assert.is((await modest.response()).text, '/modest')
      const before = order.indexOf('/modest')
      assert.ok(before <= 64, `${before} others first`)
      assert.is((await greedy.responses(1000)).length, 1000)
      await sent
    })

    test(`four greedy connections share (${name})`, async () => {
      const order: string[] = []
      await h.serve(application(order))
      const clients = await Promise.all([1, 2, 3, 4].map(() => h.connect()))
      await Promise.all(clients.map((client, i) => client.send(get(`/${i}`).repeat(300))))
      await Promise.all(clients.map(client => client.responses(300)))
      assert.is(order.length, 1200)
      let run = 0
      for (let i = 1; i < order.length; i++) {
        run = order[i] === order[i - 1] ? run + 1 : 0
        // The last one is alone in the end.
        if (i < 600) assert.ok(run <= 64, `${run} of one connection in a row at ${i}`)
      }
    })
  }

  test('large answers count by their bytes', async () => {
    const order: string[] = []
    await h.serve((environ, startResponse) => {
      order.push(environ.PATH_INFO)
      startResponse(200)
      return [Buffer.alloc(20_000)]
    })
    const greedy = await h.connect()
    const modest = await h.connect()
    const sent = greedy.send(get('/greedy').repeat(200))
    void modest.send(get('/modest'))
    await modest.response()
    assert.ok(order.indexOf('/modest') <= 12, `${order.indexOf('/modest')} others first`)
    await greedy.responses(200)
    await sent
  })

  for (const kind of ['sync', 'async'] as const) {
    test(`an iterable without an end, ${kind}, and a reader that takes it all: others are answered`, async () => {
      let pulled = 0
      let stop = false
      await h.serve((environ, startResponse) => {
        startResponse(200)
        if (environ.PATH_INFO === '/modest') return ['modest']
        if (kind === 'sync') return (function* () { while (!stop && pulled < 50_000) yield (pulled++, 'x'.repeat(4096)) })()
        return (async function* () { while (!stop && pulled < 50_000) yield (pulled++, 'x'.repeat(4096)) })()
      })
      const greedy = await h.connect()
      const modest = await h.connect()
      greedy.stream.removeAllListeners('data').resume()
      await greedy.send(get('/greedy'))
      await until(() => pulled > 0, 'it begins')
      const at = pulled
      await modest.send(get('/modest'))
      assert.is((await modest.response()).text, 'modest')
      assert.ok(pulled - at < 5_000, `${pulled - at} pieces of 4 KiB in the meantime`)
      stop = true
    })
  }
}).run()
