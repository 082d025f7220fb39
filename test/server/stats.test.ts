// server.stats(): counters since the start and what is held now, true at every moment a test can ask for.
import * as assert from 'uvu/assert'
import type { ServerStats } from '../../src/server/serve.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { answering, deferred, echoPath, get, onEveryTransport, pass, post, stable, until } from '../support/harness.ts'
import { WAIT } from '../support/raw-client.ts'
import { connectTo } from '../support/sockets.ts'
import { within } from '../support/within.ts'

const NO_STATES = { new: 0, reading: 0, responding: 0, idle: 0, lingering: 0, 'taken over': 0 }

onEveryTransport('stats', (h, test) => {
  test('of a server that nobody has met', async () => {
    const { server } = await h.serve(answering('hello'))
    const nothing: ServerStats = {
      accepted: 0, connections: 0, states: NO_STATES, waiting: 0, handshakes: 0, evicted: 0, parked: 0, refused: 0,
      requests: 0, outstandingRequests: 0, bytesRead: 0, bytesWritten: 0, errors: {}, deadlines: {}
    }
    assert.equal(server.stats(), nothing)
  })

  test('a snapshot: what happens later does not change it', async () => {
    const { server } = await h.serve(answering('hello'))
    const before = server.stats()
    const client = await h.connect()
    await client.send(get())
    await client.response()
    assert.equal([before.accepted, before.requests, before.states], [0, 0, NO_STATES])
    assert.is(server.stats().requests, 1)
  })

  test('every state, each connection in one of them', async () => {
    const gate = deferred()
    const { server } = await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/upgrade') {
        environ['wirelet.upgrade']().on('error', () => {})
        return gate.promise.then(() => [])
      }
      startResponse('200 OK')
      return environ.PATH_INFO === '/wait' ? gate.promise.then(() => ['late']) : ['hello']
    })
    await h.connect()
    const reading = await h.connect()
    await reading.send('GET')
    const responding = await h.connect()
    await responding.send(get('/wait'))
    const idle = await h.connect()
    await idle.send(get())
    await idle.response()
    const lingering = await h.connect()
    await lingering.send('GET / HTTP/1.1\r\n\r\n')
    await lingering.response()
    const taken = await h.connect()
    await taken.send(get('/upgrade'))
    const all = { new: 1, reading: 1, responding: 1, idle: 1, lingering: 1, 'taken over': 1 }
    await until(() => JSON.stringify(server.stats().states) === JSON.stringify(all), 'one of each')
    const { connections, accepted, outstandingRequests } = server.stats()
    assert.equal([connections, accepted], [6, 6])
    assert.is(outstandingRequests, 2, 'the waiting one and the takeover')
    gate.resolve()
    await responding.response()
    await until(() => server.outstandingRequests === 0, 'no request outstanding')
  })

  test('requests and octets: all that was read and written, refused requests in the octets alone', async () => {
    const { server } = await h.serve(answering('hello'))
    const client = await h.connect()
    const good = get() + post('/', 'content')
    await client.send(good)
    const answers = await client.responses(2)
    const bad = 'GET / HTTP/1.1\r\n\r\n'
    await client.send(bad)
    answers.push(await client.response())
    const { requests, bytesRead, bytesWritten } = server.stats()
    assert.is(requests, 2)
    assert.is(bytesRead, good.length + bad.length)
    assert.is(bytesWritten, answers.reduce((sum, each) => sum + each.raw.length, 0))
  })

  test('errors by name, and nothing of one peer in another\'s', async () => {
    const { server } = await h.serve(answering('hello'))
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n', 'GET / HTTP/3.0\r\nHost: a\r\n\r\n', get()]) {
      const client = await h.connect()
      await client.send(bytes)
      await client.response()
    }
    assert.equal(server.stats().errors, { HPE_MISSING_HOST: 2, HPE_INVALID_VERSION: 1 })
  })

  test('deadlines by name: each when it strikes, and only then', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(environ => (environ.PATH_INFO === '/never' ? new Promise(() => {}) : environ['wsgi.input'].read().then(() => [])), {
      clock, keepalive: 5000,
      timeouts: { firstByte: 1000, head: 2000, body: 3000, handler: 4000, linger: 500 }
    })
    await h.connect()
    await (await h.connect()).send('GET')
    await (await h.connect()).send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n')
    await (await h.connect()).send(get('/never'))
    await until(() => server.stats().requests === 2 && server.stats().states.reading === 1, 'everything read')
    assert.equal(server.stats().deadlines, {})
    await pass(clock, 2000)
    assert.equal(server.stats().deadlines, { firstByte: 1 })
    await pass(clock, 8000)
    // A 408 is answered, so its connection lingers: its peer has not closed.
    assert.equal(server.stats().deadlines, { firstByte: 1, head: 1, body: 1, handler: 1, linger: 3 })
    assert.is(server.connections, 0)
  })

  test('keepalive, send and shutdown too', async () => {
    const clock = new FakeClock()
    const piece = Buffer.alloc(65536)
    const { server } = await h.serve((environ, startResponse) => {
      startResponse('200 OK')
      return environ.PATH_INFO === '/much' ? Array.from({ length: 1024 }, () => piece) : ['hello']
    }, { clock, keepalive: 1000, timeouts: { send: 3000, minSendRate: 0, shutdown: 1000 } })
    const idle = await h.connect()
    await idle.send(get())
    await idle.response()
    const stuck = await h.connect()
    stuck.pause()
    await stuck.send(get('/much'))
    await until(() => server.stats().requests === 2, 'both read')
    await stable(() => server.stats().bytesWritten)
    await pass(clock, 6000)
    assert.equal(server.stats().deadlines, { keepalive: 1, send: 1 })
    const again = await h.connect()
    again.pause()
    await again.send(get('/much'))
    await until(() => server.stats().requests === 3, 'read')
    await stable(() => server.stats().bytesWritten)
    const closed = server.close()
    await pass(clock, 1500)
    await closed
    assert.equal(server.stats().deadlines, { keepalive: 1, send: 1, shutdown: 1 })
  })

  test('a shutdown that waits for post hooks alone has cut nothing', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve((environ, startResponse) => {
      environ['eventlet.posthooks'].push([() => new Promise(() => {})])
      return echoPath(environ, startResponse)
    }, { clock, keepalive: false, timeouts: { shutdown: 1000 } })
    const client = await h.connect()
    await client.send(get())
    await client.untilEnd()
    client.destroy()
    await until(() => server.connections === 0, 'its end')
    const closed = server.close()
    await pass(clock, 1500)
    await within(WAIT, closed, 'close()')
    assert.equal(server.stats().deadlines, {})
  })

  test('full: evicted, parked, waiting, refused', async () => {
    const gate = deferred()
    const { server } = await h.serve((environ, startResponse) => {
      startResponse('200 OK')
      return environ.PATH_INFO === '/wait' ? gate.promise.then(() => ['late']) : ['hello']
    }, { maxSize: 2, limits: { maxParked: 1 } })
    const figures = (): number[] => {
      const { accepted, connections, evicted, parked, waiting, refused } = server.stats()
      return [accepted, connections, evicted, parked, waiting, refused]
    }
    const idle = await h.connect()
    await idle.send(get())
    await idle.response()
    const busy = await h.connect()
    await busy.send(get('/wait'))
    await until(() => server.stats().requests === 2, 'busy')
    assert.equal(figures(), [2, 2, 0, 0, 0, 0])

    const newcomer = await h.connect()
    await until(() => server.stats().evicted === 1, 'the idle one evicted')
    await idle.ended
    await newcomer.send(get('/wait'))
    await until(() => server.stats().requests === 3, 'busy')
    assert.equal(figures(), [3, 2, 1, 0, 0, 0])

    const parked = await h.connect()
    await until(() => server.stats().waiting === 1, 'parked')
    const refused = await h.connect()
    await refused.closed
    assert.equal(figures(), [5, 2, 1, 1, 1, 1])

    gate.resolve()
    await parked.send(get())
    assert.is((await parked.response()).text, 'hello')
    assert.equal(figures().slice(3), [1, 0, 1])
  })
}).run()

onEveryTransport('stats of TLS', (h, test) => {
  if (h.kind.over !== 'tls') return
  test('octets are those within TLS, and a handshake is counted while it is under way', async () => {
    const { server, port } = await h.serve(answering('hello'))
    const client = await h.connect()
    await client.send(get())
    const { raw } = await client.response()
    assert.equal([server.stats().bytesRead, server.stats().bytesWritten, server.stats().handshakes], [get().length, raw.length, 0])
    const unfinished = h.client(await connectTo(port))
    await until(() => server.stats().handshakes === 1, 'a handshake under way')
    assert.equal([server.stats().accepted, server.connections], [1, 1])
    unfinished.destroy()
    await until(() => server.stats().handshakes === 0, 'the handshake given up')
  })
}, { tls: true }).run()
