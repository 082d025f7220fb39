// Every limit of design §5 on the wire: exactly at it, one beyond it, whole and octet by octet.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { get, onEveryTransport, turns, until } from '../support/harness.ts'

const LIMITS = { maxFieldLine: 100, maxHead: 400, maxFields: 5, maxChunkExt: 20, maxTrailers: 60, maxBodySize: 50, maxLeadingEmptyLines: 2 }
const OPTIONS: ServeOptions = { urlLengthLimit: 60, limits: LIMITS }

const READS: Application = async (environ, startResponse) => {
  const content = await environ['wsgi.input'].read()
  startResponse(200)
  return [String(content.length)]
}

function chunked(body: string): string {
  return `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`
}

function field(name: string, size: number): string {
  return `${name}: ${'v'.repeat(size - name.length - 2)}`
}

/** A request with `over` octets (or lines) more than the limit allows. */
const CASES: [name: string, build: (over: number) => string, status: number, code: string][] = [
  ['urlLengthLimit', over => `GET /${'x'.repeat(60 + over - 'GET / HTTP/1.1'.length)} HTTP/1.1\r\nHost: a\r\n\r\n`, 414, 'HPE_URL_TOO_LONG'],
  ['maxFieldLine', over => get('/', `${field('A', 100 + over)}\r\n`), 431, 'HPE_FIELD_LINE_TOO_LONG'],
  ['maxFields', over => get('/', 'A: b\r\n'.repeat(4 + over)), 431, 'HPE_TOO_MANY_FIELDS'],
  ['maxHead', over => {
    const start = get('/').slice(0, -2) + `${field('A', 90)}\r\n${field('B', 90)}\r\n${field('C', 90)}\r\n`
    return `${start}${field('D', 400 + over - start.length - 4)}\r\n\r\n`
  }, 431, 'HPE_HEAD_TOO_LONG'],
  ['maxHead, empty lines included', over => {
    const start = '\r\n\r\n' + get('/').slice(0, -2) + `${field('A', 90)}\r\n${field('B', 90)}\r\n${field('C', 90)}\r\n`
    return `${start}${field('D', 400 + over - start.length - 4)}\r\n\r\n`
  }, 431, 'HPE_HEAD_TOO_LONG'],
  ['maxLeadingEmptyLines', over => '\r\n'.repeat(2 + over) + get('/'), 400, 'HPE_TOO_MANY_EMPTY_LINES'],
  ['maxBodySize, announced', over => `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${50 + over}\r\n\r\n${'x'.repeat(50 + over)}`, 413, 'HPE_BODY_TOO_LARGE'],
  ['maxBodySize, chunked', over => chunked(`19\r\n${'x'.repeat(25)}\r\n${(25 + over).toString(16)}\r\n${'x'.repeat(25 + over)}\r\n0\r\n\r\n`), 413, 'HPE_BODY_TOO_LARGE'],
  ['chunk-size digits', over => chunked(`${'0'.repeat(15 + over)}1\r\nx\r\n0\r\n\r\n`), 400, 'HPE_INVALID_CHUNK_SIZE'],
  ['maxTrailers', over => chunked(`0\r\n${field('T', 58 + over)}\r\n\r\n`), 431, 'HPE_TRAILERS_TOO_LONG']
]

onEveryTransport('limits', (h, test) => {
  for (const [name, build, status, code] of CASES) {
    for (const how of ['whole', 'octet by octet']) {
      const feed = async (client: Awaited<ReturnType<typeof h.connect>>, bytes: string): Promise<void> => {
        if (how === 'whole') {
          await client.send(bytes)
          return
        }
        for (const octet of bytes) {
          if (client.received > 0) return
          await client.send(octet)
        }
      }

      test(`${name}, ${how}: exactly at it`, async () => {
        const { peerErrors } = await h.serve(READS, OPTIONS)
        const client = await h.connect()
        await feed(client, build(0))
        const answer = await client.response()
        assert.is(answer.status, 200, answer.text)
        assert.equal(peerErrors, [])
      })

      test(`${name}, ${how}: one beyond it`, async () => {
        const { peerErrors } = await h.serve(READS, OPTIONS)
        const client = await h.connect()
        await feed(client, build(1))
        const answer = await client.response()
        assert.is(answer.status, status)
        assert.is(answer.header('connection'), 'close')
        assert.is(peerErrors[0]!.name, code)
        assert.is((await client.untilEnd()).length, 0)
      })
    }
  }

  test('maxChunkExt: over all chunks of a message', async () => {
    const { peerErrors } = await h.serve(READS, OPTIONS)
    const client = await h.connect()
    await client.send(chunked('1;a=bcdefg\r\nx\r\n1;a=bcdefg\r\nx\r\n0\r\n\r\n'))
    assert.is((await client.response()).text, '2')
    await client.send(chunked('1;a=bcdefgh\r\nx\r\n1;a=bcdefghijkl\r\nx\r\n0\r\n\r\n'))
    assert.is((await client.response()).status, 400)
    assert.is(peerErrors[0]!.name, 'HPE_CHUNK_EXT_TOO_LONG')
  })

  test('100 trailer lines pass, 101 do not', async () => {
    await h.serve(READS)
    const client = await h.connect()
    await client.send(chunked(`0\r\n${'A: b\r\n'.repeat(100)}\r\n`))
    assert.is((await client.response()).status, 200)
    await client.send(chunked(`0\r\n${'A: b\r\n'.repeat(101)}\r\n`))
    assert.is((await client.response()).status, 431)
  })

  test('a target that never ends: 414 as soon as it is known', async () => {
    await h.serve(READS)
    const client = await h.connect()
    await client.send(`GET /${'x'.repeat(8192)}`)
    assert.is((await client.response()).status, 414)
  })

  test('a body too large: the application is not called when its length says so', async () => {
    let calls = 0
    await h.serve((environ, startResponse) => {
      calls++
      return READS(environ, startResponse)
    }, OPTIONS)
    const client = await h.connect()
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 51\r\n\r\n')
    assert.is((await client.response()).status, 413)
    assert.is(calls, 0)
  })

  test('a body that turns out too large: read() rejects, the peer gets a 413', async () => {
    let code = ''
    await h.serve(async (environ, startResponse) => {
      await environ['wsgi.input'].read().catch(error => (code = error.code))
      startResponse(200)
      return ['too late']
    }, OPTIONS)
    const client = await h.connect()
    await client.send(chunked('1\r\nx\r\n'))
    await turns()
    await client.send(`32\r\n${'x'.repeat(50)}\r\n0\r\n\r\n`)
    assert.is((await client.response()).status, 413)
    assert.is(code, 'ERR_WIRELET_BODY_TOO_LARGE')
  })

  test('maxBufferedBody: read() beyond it is a 413 if the application lets it pass; read(n) is not bounded', async () => {
    await h.serve(async (environ, startResponse) => {
      const input = environ['wsgi.input']
      if (environ.PATH_INFO === '/all') await input.read()
      let size = 0
      for (let piece = await input.read(7); piece.length > 0; piece = await input.read(7)) size += piece.length
      startResponse(200)
      return [String(size)]
    }, { limits: { maxBufferedBody: 10 } })
    const upload = (path: string): string => `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n${'x'.repeat(11)}`
    const client = await h.connect()
    await client.send(upload('/pieces'))
    assert.is((await client.response()).text, '11')
    await client.send(upload('/all'))
    assert.is((await client.response()).status, 413)
    assert.is((await client.untilEnd()).length, 0)
  })

  test('maxSize: the longest idle connection makes room; when none is idle, newcomers are parked, then refused', async () => {
    const { server } = await h.serve(READS, { maxSize: 2, limits: { maxParked: 1 } })
    const first = await h.connect()
    const second = await h.connect()
    for (const client of [first, second]) {
      await client.send(get())
      await client.response()
    }
    const third = await h.connect()
    await third.send('GET /')
    assert.is((await first.untilEnd()).length, 0)
    await second.send('GET /')
    await turns()
    assert.is(server.connections, 2)
    const parked = await h.connect()
    await parked.send(get())
    await turns()
    assert.is(parked.buffered, '')
    const refused = await h.connect()
    await refused.closed
    await second.send(' HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.is((await second.response()).header('connection'), 'close', 'somebody waits for its place')
    second.destroy()
    assert.is((await parked.response()).status, 200)
    await until(() => server.connections === 2, 'third and parked')
  })
}).run()
