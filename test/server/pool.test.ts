// customPool and maxSize over real sockets: who is read, who waits, who goes.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import type { ConnectionPool } from '../../src/server/options.ts'
import { Pool } from '../../src/server/pool.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { echoPath, get, onEveryTransport, pass, turns, until } from '../support/harness.ts'
import { WAIT } from '../support/raw-client.ts'
import { within } from '../support/within.ts'

/** Answers when the test says so. */
function gated(): { application: Application; waiting: string[]; release(): void } {
  const releases: (() => void)[] = []
  const waiting: string[] = []
  return {
    waiting,
    release: () => releases.shift()!(),
    application: async (environ, startResponse) => {
      waiting.push(environ.PATH_INFO)
      await new Promise<void>(resolve => releases.push(resolve))
      return echoPath(environ, startResponse)
    }
  }
}

const pools = suite('Pool')

pools('waitall resolves when nothing runs and nothing waits, at once where that is so', async () => {
  const pool = new Pool(1)
  await within(WAIT, pool.waitall(), 'an idle pool')
  const finish: (() => void)[] = []
  for (let i = 0; i < 2; i++) pool.spawn(() => new Promise(resolve => finish.push(resolve)))
  let settled = false
  const settling = pool.waitall().then(() => (settled = true))
  for (let i = 0; i < 2; i++) {
    await turns()
    assert.equal([pool.running, settled], [1, false])
    finish[i]!()
  }
  await within(WAIT, settling, 'waitall')
  assert.equal([pool.running, pool.queued], [0, 0])
})

onEveryTransport('customPool', (h, test) => {
  test('Pool(2) shared by two servers: the third connection is not read until one of the others ends', async () => {
    const customPool = new Pool(2)
    const a = await h.serve(echoPath, { customPool })
    const b = await h.serve(echoPath, { customPool })
    const first = await h.connect(a)
    const second = await h.connect(b)
    await first.send(get('/1'))
    await second.send(get('/2'))
    assert.is((await first.response()).text, '/1')
    assert.is((await second.response()).text, '/2')
    assert.equal([customPool.running, customPool.queued, customPool.free()], [2, 0, 0])
    const third = await h.connect(b)
    await third.send(get('/3'))
    await until(() => customPool.queued === 1, 'the third to queue')
    await turns(20)
    assert.is(third.received, 0)
    assert.is(b.server.stats().requests, 1)
    // A keep-alive connection holds its place while it lives; the other server's end makes room here.
    first.destroy()
    assert.is((await third.response()).text, '/3')
    assert.equal([a.server.connections, b.server.connections], [0, 2])
    second.destroy()
    third.destroy()
    await within(WAIT, customPool.waitall(), 'waitall')
    assert.is(customPool.free(), 2)
  })

  test('in the order of their coming', async () => {
    const customPool = new Pool(1)
    const { application, waiting, release } = gated()
    await h.serve(application, { customPool, keepalive: false })
    const clients = []
    for (const path of ['/1', '/2', '/3']) {
      const client = await h.connect()
      await client.send(get(path))
      clients.push(client)
      await until(() => customPool.running + customPool.queued === clients.length, 'it to be known')
    }
    for (const [i, client] of clients.entries()) {
      await until(() => waiting.length === i + 1, 'its request')
      release()
      assert.is((await client.response()).text, `/${i + 1}`)
      await client.untilEnd()
      client.destroy()
    }
    assert.equal(waiting, ['/1', '/2', '/3'])
  })

  test('a queued peer that leaves is no trouble when its turn comes', async () => {
    const customPool = new Pool(1)
    await h.serve(echoPath, { customPool })
    const first = await h.connect()
    await first.send(get('/1'))
    await first.response()
    const gone = await h.connect()
    await gone.send(get('/gone'))
    const last = await h.connect()
    await last.send(get('/last'))
    await until(() => customPool.queued === 2, 'both to queue')
    gone.resetNow()
    await turns()
    first.destroy()
    assert.is((await last.response()).text, '/last')
  })

  test('who waits is bounded: beyond maxParked closed at once, after firstByte closed; its task is for the next newcomer', async () => {
    const clock = new FakeClock()
    const customPool = new Pool(1)
    const { application, waiting, release } = gated()
    const { server } = await h.serve(application, { customPool, clock, limits: { maxParked: 2 } })
    const first = await h.connect()
    await first.send(get('/1'))
    await until(() => waiting.length === 1, 'the request')
    const late = [await h.connect(), await h.connect()]
    await until(() => server.stats().waiting === 2, 'two to wait')
    const refused = await h.connect()
    await refused.closed
    assert.equal([customPool.queued, server.stats().parked, server.stats().refused], [2, 2, 1])
    await pass(clock, 9_500)
    assert.is(server.stats().waiting, 2)
    await pass(clock, 2_000)
    for (const client of late) await client.closed
    assert.equal([customPool.queued, server.stats().waiting, server.stats().refused, server.stats().deadlines.parked], [2, 0, 3, 2])
    const last = await h.connect()
    await last.send(get('/2'))
    await until(() => server.stats().waiting === 1, 'the last to wait')
    assert.is(customPool.queued, 2)
    release()
    const answer = await first.response()
    assert.equal([answer.text, answer.header('connection')], ['/1', 'close'])
    first.destroy()
    await until(() => waiting.length === 2, 'its turn')
    release()
    assert.is((await last.response()).text, '/2')
    assert.equal([customPool.running, customPool.queued, server.connections], [1, 1, 1])
    last.destroy()
    await within(WAIT, customPool.waitall(), 'waitall')
  })

  test('maxParked 0 and a pool that calls a moment later: one may be on its way', async () => {
    const { server } = await h.serve(echoPath, { customPool: { spawn: task => setImmediate(task), waitall: async () => {} }, limits: { maxParked: 0 } })
    const client = await h.connect()
    await client.send(get('/1'))
    assert.is((await client.response()).text, '/1')
    assert.is(server.stats().refused, 0)
  })

  test('an idle connection leaves its place to one that still waits after a tick', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(echoPath, { customPool: new Pool(1), clock })
    const first = await h.connect()
    await first.send(get('/1'))
    assert.is((await first.response()).text, '/1')
    const second = await h.connect()
    await second.send(get('/2'))
    await until(() => server.stats().waiting === 1, 'the second to wait')
    await turns(20)
    assert.equal([second.received, server.stats().evicted], [0, 0])
    await pass(clock, 1000)
    assert.is((await first.untilEnd()).length, 0)
    first.destroy()
    assert.is((await second.response()).text, '/2')
    assert.is(server.stats().evicted, 1)
  })

  test('a spawn() that rejects later costs one of those that wait', async () => {
    const rejects: ((error: Error) => void)[] = []
    const tasks: (() => Promise<void>)[] = []
    const { server, errors } = await h.serve(echoPath, {
      customPool: {
        spawn(task) {
          tasks.push(task)
          return new Promise((_resolve, reject) => rejects.push(reject))
        },
        waitall: async () => {}
      }
    })
    const clients = [await h.connect(), await h.connect()]
    await until(() => server.stats().waiting === 2, 'two to wait')
    rejects[0]!(new Error('no more'))
    await until(() => server.stats().refused === 1, 'one to be closed')
    assert.is(errors.length, 1)
    // The task of a spawn() that failed runs nothing.
    await tasks[0]!()
    assert.equal([server.connections, server.stats().waiting], [0, 1])
    void tasks[1]!()
    await until(() => server.connections === 1, 'the other to be served')
    for (const client of clients) client.destroy()
  })

  test('close() waits for waitall, bounded by its deadline', async () => {
    const clock = new FakeClock()
    let finish: () => void = () => {}
    let waited = 0
    const customPool: ConnectionPool = {
      spawn: task => void task(),
      waitall: () => {
        waited++
        return new Promise<void>(resolve => (finish = resolve))
      }
    }
    const { server } = await h.serve(echoPath, { customPool, clock })
    const closed = server.close()
    let done = false
    void closed.then(() => (done = true))
    await turns(20)
    assert.equal([waited, done, server.state], [1, false, 'draining'])
    finish()
    await within(WAIT, closed, 'close()')
    assert.is(server.state, 'closed')
    // One that never ends.
    const other = await h.serve(echoPath, { customPool, clock })
    const late = other.server.close({ timeout: 2_000 })
    await pass(clock, 2_500)
    await within(WAIT, late, 'close() at its deadline')
  })

  test('the task settles when the connection ends, however it ends; and connections that came too late settle too', async () => {
    const tasks: Promise<void>[] = []
    const delayed: (() => Promise<void>)[] = []
    let delay = false
    const customPool: ConnectionPool = {
      spawn: task => (delay ? delayed.push(task) : tasks.push(task())),
      waitall: () => Promise.resolve()
    }
    const { server } = await h.serve(echoPath, { customPool })
    const served = await h.connect()
    await served.send(get('/', 'Connection: close\r\n'))
    await served.untilEnd()
    served.destroy()
    const reset = await h.connect()
    reset.resetNow()
    await until(() => tasks.length === 2, 'two tasks')
    await within(WAIT, Promise.all(tasks), 'the tasks')
    delay = true
    const late = await h.connect()
    await until(() => delayed.length === 1, 'the third')
    void server.close()
    await turns()
    // Run after the drain: nothing is served any more.
    await within(WAIT, delayed[0]!(), 'the late task')
    await late.closed
    assert.is(server.stats().requests, 1)
  })

  test('a drain does not leave queued connections behind', async () => {
    const customPool = new Pool(1)
    const { application, waiting, release } = gated()
    const { server } = await h.serve(application, { customPool })
    const first = await h.connect()
    await first.send(get('/1'))
    await until(() => waiting.length === 1, 'the request')
    const queued = await h.connect()
    await queued.send(get('/2'))
    await until(() => customPool.queued === 1, 'the other to queue')
    const closed = server.close()
    release()
    const answer = await first.response()
    assert.equal([answer.text, answer.header('connection')], ['/1', 'close'])
    await first.untilEnd()
    first.destroy()
    await within(WAIT, closed, 'the drain')
    await queued.closed
    assert.is(customPool.running, 0)
    assert.equal(waiting, ['/1'])
  })

  const no = (): never => { throw new Error('no more') }
  for (const [how, spawn] of [['throws', no], ['rejects', async () => no()]] as const) {
    test(`a spawn() that ${how}: the connection is closed, the server goes on`, async () => {
      let failing = true
      const { server, errors } = await h.serve(echoPath, { customPool: { spawn: task => failing ? spawn() : task(), waitall: async () => {} } })
      const refused = await h.connect()
      await refused.closed
      assert.equal([refused.received, server.stats().refused, errors.length], [0, 1, 1])
      assert.match(errors[0]!, /spawn\(\) of the pool failed: Error: no more/)
      failing = false
      const served = await h.connect()
      await served.send(get('/1'))
      assert.is((await served.response()).text, '/1')
    })
  }

  test('a spawn() that fails when it has begun, or begins twice: the connection lives, once', async () => {
    let begun: Promise<void>[] = []
    const { server, errors } = await h.serve(echoPath, {
      customPool: {
        spawn(task) {
          begun = [task(), task()]
          no()
        },
        waitall: async () => {}
      }
    })
    const client = await h.connect()
    await client.send(get('/1'))
    assert.is((await client.response()).text, '/1')
    assert.equal([server.connections, server.stats().refused, errors.length], [1, 0, 1])
    client.destroy()
    await within(WAIT, Promise.all(begun), 'the task')
  })

  for (const [how, waitall] of [['throws', no], ['rejects', async () => no()]] as const) {
    test(`a waitall() that ${how}: the drain goes on`, async () => {
      const { server, errors } = await h.serve(echoPath, { customPool: { spawn: task => void task(), waitall } })
      await within(WAIT, server.close(), 'close()')
      await within(WAIT, server.finished, 'finished')
      assert.is(server.state, 'closed')
      assert.match(errors.join(), /waitall\(\) of the pool failed: Error: no more/)
    })
  }

  test('a wrong size is told', () => {
    for (const size of [0, -1, 1.5, NaN, Infinity]) {
      try {
        new Pool(size)
        assert.unreachable()
      } catch (error) {
        assert.is((error as { code: string }).code, 'ERR_WIRELET_USAGE')
      }
    }
  })
}).run()

onEveryTransport('maxSize', (h, test) => {
  test('1, and the one is idle: it makes room for the newcomer', async () => {
    const { server } = await h.serve(echoPath, { maxSize: 1 })
    const first = await h.connect()
    await first.send(get('/1'))
    assert.is((await first.response()).text, '/1')
    const second = await h.connect()
    await second.send(get('/2'))
    assert.is((await second.response()).text, '/2')
    assert.is((await first.untilEnd()).length, 0)
    const { evicted, parked, accepted } = server.stats()
    assert.equal({ evicted, parked, accepted }, { evicted: 1, parked: 0, accepted: 2 })
  })

  test('the longest idle goes first', async () => {
    const { server } = await h.serve(echoPath, { maxSize: 3 })
    const clients = []
    for (const path of ['/1', '/2', '/3']) {
      const client = await h.connect()
      await client.send(get(path))
      await client.response()
      clients.push(client)
    }
    // The first is used again.
    await clients[0]!.send(get('/again'))
    await clients[0]!.response()
    const newcomer = await h.connect()
    await newcomer.send(get('/new'))
    assert.is((await newcomer.response()).text, '/new')
    await clients[1]!.untilEnd()
    for (const i of [0, 2]) {
      await clients[i]!.send(get('/alive'))
      assert.is((await clients[i]!.response()).text, '/alive')
    }
    assert.is(server.stats().evicted, 1)
  })

  test('1, and the one is busy: the newcomer is parked unread; the answer then says close, and the place is free', async () => {
    const { application, waiting, release } = gated()
    const { server } = await h.serve(application, { maxSize: 1 })
    const first = await h.connect()
    await first.send(get('/1'))
    await until(() => waiting.length === 1, 'the request')
    const parked = await h.connect()
    await parked.send(get('/2'))
    await until(() => server.stats().waiting === 1, 'the newcomer to be parked')
    await turns(20)
    assert.equal([waiting, server.connections], [['/1'], 1])
    release()
    const answer = await first.response()
    assert.equal([answer.text, answer.header('connection')], ['/1', 'close'])
    await first.untilEnd()
    first.destroy()
    await until(() => waiting.length === 2, 'the other request')
    release()
    const second = await parked.response()
    // Nobody waits any more: this one is kept.
    assert.equal([second.text, second.has('connection')], ['/2', false])
    assert.is(server.stats().parked, 1)
  })

  test('parked too long: closed silently; beyond maxParked: closed at once', async () => {
    const clock = new FakeClock()
    const { application, waiting } = gated()
    const { server } = await h.serve(application, { maxSize: 1, limits: { maxParked: 1 }, clock })
    const first = await h.connect()
    await first.send(get('/1'))
    await until(() => waiting.length === 1, 'the request')
    const parked = await h.connect()
    await until(() => server.stats().waiting === 1, 'the newcomer to be parked')
    const refused = await h.connect()
    await refused.closed
    assert.is(refused.received, 0)
    assert.is(server.stats().refused, 1)
    await pass(clock, 11_500)
    await parked.closed
    assert.is(parked.received, 0)
    const { refused: all, waiting: left, deadlines } = server.stats()
    assert.equal([all, left, deadlines.parked], [2, 0, 1])
  })

  test('a taken-over or unused connection is not evicted', async () => {
    const { server } = await h.serve(environ => {
      environ['wirelet.upgrade']().write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n')
      return []
    }, { maxSize: 2 })
    const taken = await h.connect()
    await taken.send(get())
    await taken.interim()
    const silent = await h.connect()
    await until(() => server.connections === 2, 'both')
    const newcomer = await h.connect()
    await until(() => server.stats().waiting === 1, 'the newcomer to be parked')
    assert.is(server.stats().evicted, 0)
    silent.destroy()
    await until(() => server.stats().waiting === 0, 'its turn')
    await newcomer.send(get())
    await newcomer.interim()
    newcomer.destroy()
  })

  test('many newcomers at once are all answered, never more than maxSize at a time', async () => {
    let now = 0
    let most = 0
    const { server } = await h.serve(async (environ, startResponse) => {
      most = Math.max(most, ++now)
      await turns(2)
      now--
      return echoPath(environ, startResponse)
    }, { maxSize: 3 })
    const clients = []
    for (let i = 0; i < 20; i++) {
      const client = await h.connect()
      await client.send(get(`/${i}`))
      clients.push(client)
    }
    for (const [i, client] of clients.entries()) {
      assert.is((await client.response()).text, `/${i}`)
      client.destroy()
    }
    assert.ok(most <= 3, String(most))
    assert.is(server.stats().refused, 0)
  })
}, { unix: true }).run()
pools.run()
