// Back-pressure: a reader that is slow stops the application, nothing is lost, reordered or sent twice, and memory stays bounded.
import * as assert from 'uvu/assert'
import { lentBuffers } from '../../src/io/buffer-pool.ts'
import type { Piece } from '../../src/server/application.ts'
import { deferred, get, inMemory, memoryPair, onEveryTransport, stable, turns, until } from '../support/harness.ts'
import { connectTo } from '../support/sockets.ts'

const MiB = 1 << 20

onEveryTransport('a slow reader', (h, test) => {
  for (const kind of ['generator', 'async generator', 'write()'] as const) {
    test(`${kind}: stops while the client does not read, and goes on`, async () => {
      const PIECES = 400
      let pulled = 0
      const piece = (i: number): Buffer => Buffer.alloc(65536, i)
      await h.serve(async (_environ, startResponse) => {
        const write = startResponse(200)
        if (kind === 'write()') {
          while (pulled < PIECES) assert.is(await write(piece(pulled++)), true)
          return []
        }
        if (kind === 'generator') return (function* () { while (pulled < PIECES) yield piece(pulled++) })()
        return (async function* () { while (pulled < PIECES) yield piece(pulled++) })()
      })
      const client = await h.connect()
      client.pause()
      await client.send(get())
      await until(() => pulled > 0, 'the first piece')
      const stopped = await stable(() => pulled)
      assert.ok(stopped < PIECES, `stopped after ${stopped} pieces`)
      assert.ok(lentBuffers() < 8, `${lentBuffers()} pooled buffers`)
      client.resume()
      const answer = await client.response()
      assert.is(answer.body.length, PIECES * 65536)
      for (let i = 0; i < PIECES; i++) assert.is(answer.body[i * 65536 + 65535], i % 256)
    })
  }

  for (const [name, make] of Object.entries<() => Piece | Piece[]>({
    'one byte array': () => Buffer.alloc(16 * MiB, 'b'),
    'one string': () => 'b'.repeat(16 * MiB),
    'an array of many': () => Array.from({ length: 256 }, (_, i) => (i % 2 === 0 ? 'b'.repeat(65536) : Buffer.alloc(65536, 'b')))
  })) {
    test(`${name} of 16 MiB to a client that stops reading, with a request behind it`, async () => {
      const called: string[] = []
      await h.serve((environ, startResponse) => {
        called.push(environ.PATH_INFO)
        startResponse(200)
        return environ.PATH_INFO === '/' ? make() : ['behind']
      })
      const client = await h.connect()
      client.pause()
      await client.send(get() + get('/2'))
      await until(() => called.length > 0, 'the first call')
      await stable(() => client.stream.readableLength)
      assert.equal(called, ['/'], 'what is behind a full connection waits')
      client.resume()
      const answer = await client.response()
      assert.is(answer.framing, 'length')
      assert.ok(answer.body.equals(Buffer.alloc(16 * MiB, 'b')))
      assert.is((await client.response()).text, 'behind')
    })
  }

  test('ten thousand pipelined requests to a client that stops reading: bounded, and all answered in order', async () => {
    let called = 0
    const filler = 'f'.repeat(4000)
    const { server } = await h.serve(async (environ, startResponse) => {
      if (called++ % 2 === 0) await null
      startResponse(200)
      return [environ.PATH_INFO, filler]
    })
    const client = await h.connect()
    client.pause()
    const before = process.memoryUsage().arrayBuffers
    const requests = Buffer.from(Array.from({ length: 10_000 }, (_, i) => get(`/${i}`)).join(''))
    client.stream.write(requests)
    await until(() => called > 0, 'the first call')
    const stopped = await stable(() => called, 200)
    assert.ok(stopped < 10_000, `stopped after ${stopped}`)
    assert.ok(lentBuffers() < 16, `${lentBuffers()} pooled buffers`)
    const grown = process.memoryUsage().arrayBuffers - before - requests.length - client.stream.readableLength
    assert.ok(grown < MiB, `${grown} bytes more in buffers`)
    client.resume()
    for (let i = 0; i < 10_000; i++) assert.is((await client.response()).body.length, 4001 + String(i).length, `answer ${i}`)
    assert.is(called, 10_000)
    await until(() => server.outstandingRequests === 0, 'no request is left')
  })

  test('ten thousand tiny answers, the client reading all the time', async () => {
    await h.serve((environ, startResponse) => {
      startResponse(200)
      return [environ.PATH_INFO]
    })
    const client = await h.connect()
    client.stream.write(Array.from({ length: 10_000 }, (_, i) => get(`/${i}`)).join(''))
    for (let i = 0; i < 10_000; i++) assert.is((await client.response()).text, `/${i}`)
  })
}, { tls: true }).run()

inMemory('exactly', (h, test) => {
  test('a reader of one byte at a time', async () => {
    const pieces = (): Piece[] => ['a'.repeat(700), Buffer.alloc(300, 'b'), 'é'.repeat(2000), Buffer.alloc(9000, 'c'), '', 'd']
    const whole = Buffer.concat(pieces().map(piece => Buffer.from(piece as string)))
    const { server } = await h.serve((environ, startResponse) => {
      startResponse(200)
      const all = pieces()
      return environ.PATH_INFO === '/array' ? all : environ.PATH_INFO === '/sync' ? all.values() : (async function* () { yield* all })()
    })
    for (const path of ['/array', '/sync', '/async']) {
      const [near, far] = memoryPair(1)
      server.handle(far)
      near.write(get(path, 'Connection: close\r\n'))
      const bytes: number[] = []
      let ended = false
      near.once('end', () => (ended = true))
      await until(() => {
        for (let i = 0; i < 100; i++) {
          const byte = near.read(1) as Buffer | null
          if (byte === null) break
          bytes.push(byte[0]!)
        }
        return ended
      }, `the end of ${path}`)
      near.end()
      const client = Buffer.from(bytes)
      const body = client.subarray(client.indexOf('\r\n\r\n') + 4)
      if (path === '/array') assert.ok(body.equals(whole))
      else assert.is(body.toString('latin1').replace(/[0-9a-f]+\r\n([^\r]*)\r\n/g, '$1'), whole.toString('latin1'))
    }
  })

  test('the iteration stops at writeHighWater', async () => {
    let pulled = 0
    const { server } = await h.serve((_environ, startResponse) => {
      startResponse(200, { 'Content-Length': 1000 * 1024 })
      return (function* () { for (; pulled < 1000; pulled++) yield 'x'.repeat(1024) })()
    }, { minimumChunkSize: 0, limits: { writeHighWater: 10_240 } })
    const [near, far] = memoryPair(1)
    server.handle(far)
    near.write(get())
    await turns()
    const first = await stable(() => pulled)
    assert.ok(first >= 9 && first <= 40, `${first} pieces of 1 KiB`)
    for (let size = 0; size < 500 * 1024;) {
      size += (near.read() as Buffer | null)?.length ?? 0
      await turns(1)
      assert.ok(pulled * 1024 - size < 64 * 1024, 'never far ahead of the reader')
    }
    near.destroy()
  })

  for (const framing of ['Content-Length: 2097152', 'Transfer-Encoding: chunked']) {
    test(`content held for an application that does not read: readBuffer (${framing})`, async () => {
      const gate = deferred()
      let length = 0
      const { server } = await h.serve(async (environ, startResponse) => {
        await gate.promise
        for await (const piece of environ['wsgi.input']) length += piece.length
        startResponse(200)
        return [String(length)]
      }, { limits: { readBuffer: 100_000 } })
      const [near, far] = memoryPair(16384)
      server.handle(far)
      const client = h.client(near)
      near.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`)
      for (let i = 0; i < 512; i++) near.write(framing.startsWith('C') ? Buffer.alloc(4096) : `1000\r\n${'x'.repeat(4096)}\r\n`)
      if (!framing.startsWith('C')) near.write('0\r\n\r\n')
      await stable(() => near.writableLength)
      const taken = near.writes.reduce((sum, each) => sum + each.length, 0)
      assert.ok(taken > 50_000 && taken < 160_000, `${taken} bytes left the client`)
      gate.resolve()
      assert.is((await client.response()).text, '2097152')
    })
  }

  test('pipelined requests behind one that is being answered: one read more, no more', async () => {
    const gate = deferred()
    const { server } = await h.serve(async (environ, startResponse) => {
      await gate.promise
      startResponse(200)
      return [environ.PATH_INFO]
    })
    const [near, far] = memoryPair(16384)
    server.handle(far)
    const client = h.client(near)
    for (let i = 0; i < 10_000; i++) near.write(get(`/${i}`))
    await stable(() => near.writableLength)
    const taken = near.writes.reduce((sum, each) => sum + each.length, 0)
    assert.ok(taken < 100_000, `${taken} bytes left the client`)
    gate.resolve()
    for (let i = 0; i < 10_000; i++) assert.is((await client.response()).text, `/${i}`)
  })
}).run()

onEveryTransport('many connections that do not read', (h, test) => {
  test('each holds a bounded amount', async () => {
    const { server, port } = await h.serve((_environ, startResponse) => {
      startResponse(200)
      return (function* () { for (;;) yield 'y'.repeat(3000) })()
    })
    const sockets = await Promise.all(Array.from({ length: 20 }, () => connectTo(port)))
    for (const socket of sockets) {
      socket.pause()
      socket.write(get())
    }
    await until(() => server.connections === 20, 'all accepted')
    await turns(50)
    await stable(() => lentBuffers(), 200)
    assert.ok(lentBuffers() <= 20 * 8, `${lentBuffers()} pooled buffers for 20 connections`)
    for (const socket of sockets) socket.destroy()
    await until(() => server.connections === 0, 'all gone')
  })
}).run()
