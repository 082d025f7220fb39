// Pipelined requests: answered one at a time, in order, and everything that one turn produced leaves in one write.
import * as assert from 'uvu/assert'
import { HandleTransport } from '../../src/io/handle-transport.ts'
import { StreamTransport } from '../../src/io/stream-transport.ts'
import type { Application, Body, Environ } from '../../src/server/application.ts'
import { deferred, get, inMemory, memoryPair, onEveryTransport, post, turns, until } from '../support/harness.ts'

/** What the engine gave to transports, write by write, while `during` ran. */
async function writesDuring(during: () => Promise<unknown>): Promise<string[]> {
  const writes: string[] = []
  const undo = [StreamTransport, HandleTransport].map(({ prototype }) => {
    const { write, writeText, writeMany } = prototype
    prototype.write = function (bytes, memory) {
      writes.push(Buffer.from(bytes).toString('latin1'))
      write.call(this, bytes, memory)
    }
    prototype.writeText = function (text) {
      // A StreamTransport's is a write.
      if (prototype === HandleTransport.prototype) writes.push(text)
      writeText.call(this, text)
    }
    prototype.writeMany = function (bytes, memory) {
      writes.push(Buffer.concat(bytes).toString('latin1'))
      writeMany.call(this, bytes, memory)
    }
    return () => Object.assign(prototype, { write, writeText, writeMany })
  })
  try {
    await during()
  } finally {
    for (const each of undo) each()
  }
  return writes
}

/** One answer in every way there is to give it; all end within the turn's microtasks. */
const WAYS: Record<string, (environ: Environ) => Body | Promise<Body>> = {
  '/array': environ => [environ.PATH_INFO],
  '/string': environ => environ.PATH_INFO,
  '/async': async environ => {
    for (let i = 0; i < 5; i++) await null
    return [environ.PATH_INFO]
  },
  '/generator': function* (environ) {
    yield environ.PATH_INFO
  },
  '/async-generator': async function* (environ) {
    await null
    yield environ.PATH_INFO
  },
  '/reads': async environ => [(await environ['wsgi.input'].read()).toString() + environ.PATH_INFO]
}

const everyWay: Application = (environ, startResponse) => {
  startResponse('200 OK')
  return WAYS[environ.PATH_INFO]!(environ)
}

onEveryTransport('pipelining', (h, test) => {
  test('every kind of application in one segment, in order', async () => {
    await h.serve(everyWay)
    const client = await h.connect()
    const paths = [...Object.keys(WAYS), ...Object.keys(WAYS).reverse()]
    await client.send(paths.map(path => get(path)).join(''))
    assert.equal((await client.responses(paths.length)).map(answer => answer.text), paths)
  })

  test('a slow answer holds the ones behind it, and their applications', async () => {
    const gate = deferred()
    const called: string[] = []
    await h.serve(async (environ, startResponse) => {
      called.push(environ.PATH_INFO)
      if (environ.PATH_INFO === '/slow') await gate.promise
      startResponse(200)
      return [environ.PATH_INFO]
    })
    const client = await h.connect()
    await client.send(get('/1') + get('/slow') + get('/3'))
    assert.is((await client.response()).text, '/1')
    await client.send(get('/4'))
    await turns()
    assert.is(client.buffered, '')
    assert.equal(called, ['/1', '/slow'])
    gate.resolve()
    assert.equal((await client.responses(3)).map(answer => answer.text), ['/slow', '/3', '/4'])
  })

  test('nothing after Connection: close is interpreted', async () => {
    const { access, peerErrors } = await h.serve(everyWay)
    const client = await h.connect()
    await client.send(get('/array') + get('/async', 'Connection: close\r\n') + get('/string') + '\x00\x00')
    assert.equal((await client.responses(2)).map(answer => answer.text), ['/array', '/async'])
    assert.is((await client.untilEnd()).length, 0)
    assert.is(access.length, 2)
    assert.equal(peerErrors, [])
  })

  test('content between requests: read, unread, chunked', async () => {
    await h.serve(everyWay)
    const client = await h.connect()
    const chunked = 'POST /reads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
    await client.send(post('/reads', 'GET / HTTP/1.1\r\n') + post('/array', get('/never')) + chunked + chunked.replace('/reads', '/async') + get('/string'))
    assert.equal((await client.responses(5)).map(answer => answer.text), ['GET / HTTP/1.1\r\n/reads', '/array', 'abc/reads', '/async', '/string'])
  })

  test('empty lines between requests', async () => {
    await h.serve(everyWay)
    const client = await h.connect()
    await client.send(`\r\n${get('/array')}\r\n\r\n${get('/async')}\r\n`)
    assert.equal((await client.responses(2)).map(answer => answer.text), ['/array', '/async'])
  })

  for (const path of Object.keys(WAYS)) {
    test(`ten answers of one turn are one write: ${path.slice(1)}`, async () => {
      await h.serve(everyWay)
      const client = await h.connect()
      const writes = await writesDuring(async () => {
        await client.send(get(path).repeat(10))
        for (const answer of await client.responses(10)) assert.is(answer.text, path)
      })
      assert.is(writes.length, 1, writes.join('|'))
    })
  }

  test('ten answers of all ways mixed are one write', async () => {
    await h.serve(everyWay)
    const client = await h.connect()
    const paths = [...Object.keys(WAYS), '/async', '/array', '/async-generator', '/string']
    const writes = await writesDuring(async () => {
      await client.send(paths.map(path => get(path)).join(''))
      await client.responses(10)
    })
    assert.is(writes.length, 1)
  })

  test('one answer, its head and its pieces, is one write', async () => {
    await h.serve((environ, startResponse) => {
      startResponse(200, [['X-Kind', 'mixed']])
      const pieces = ['text ', Buffer.from('bytes '), 'é']
      return environ.PATH_INFO === '/array' ? pieces : environ.PATH_INFO === '/sync' ? pieces.values() : (async function* () { yield* pieces })()
    })
    const client = await h.connect()
    for (const path of ['/array', '/sync', '/async']) {
      const writes = await writesDuring(async () => {
        await client.send(get(path))
        assert.is((await client.response()).text, 'text bytes é')
      })
      assert.is(writes.length, 1, path)
    }
  })

  test('a refusal leaves together with the answers before it', async () => {
    await h.serve(everyWay)
    const client = await h.connect()
    const writes = await writesDuring(async () => {
      await client.send(get('/array') + get('/array') + 'BAD\r\n\r\n')
      await client.responses(2)
      assert.is((await client.response()).status, 400)
    })
    assert.is(writes.length, 1)
  })

  test('five hundred requests in one write, sync and async', async () => {
    const { access } = await h.serve(everyWay)
    const client = await h.connect()
    const paths = Array.from({ length: 500 }, (_, i) => Object.keys(WAYS)[i % 6]!)
    await client.send(paths.map(path => get(path)).join(''))
    assert.equal((await client.responses(500)).map(answer => answer.text), paths)
    await until(() => access.length === 500, 'a line for each')
  })
}, { unix: true, tls: true }).run()

inMemory('writes', (h, test) => {
  test('what the stream sees: one write for ten answers', async () => {
    const { server } = await h.serve(everyWay)
    for (const path of ['/array', '/async']) {
      const [near, far] = memoryPair()
      server.handle(far)
      const client = h.client(near)
      await client.send(get(path).repeat(10))
      await client.responses(10)
      assert.is(far.writes.length, 1, path)
    }
  })

  test('a segment that ends inside a request: what is complete leaves at once', async () => {
    const { server } = await h.serve(everyWay)
    const [near, far] = memoryPair()
    server.handle(far)
    const client = h.client(near)
    await client.send(get('/array') + get('/string').slice(0, -1))
    assert.is((await client.response()).text, '/array')
    await client.send('\n')
    assert.is((await client.response()).text, '/string')
    assert.is(far.writes.length, 2)
  })
}).run()
