// eventlet wsgi_test.py, TestHttpd: Expect: 100-continue.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { onEveryTransport } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'
import { CHUNKED, CLOSE, H } from './support.ts'

const EXPECT = 'Expect: 100-continue\r\n'

/** Refuses what is too long without reading it; else answers with the content. */
const picky: Application = async (environ, startResponse) => {
  if (Number(environ.CONTENT_LENGTH) > 1024) {
    startResponse('417 Expectation Failed', [['Content-Length', '7']])
    return ['failure']
  }
  if (environ.PATH_INFO === '/headers') {
    environ['wsgi.input'].setHundredContinueResponseHeaders([
      ['Hundred-Continue-Header-1', 'H1'],
      ['Hundred-Continue-Header-2', 'H2'],
      ['hundred-continue-header-k', 'Hk']
    ])
  }
  const text = await environ['wsgi.input'].read()
  startResponse('200 OK', [['Content-Length', String(text.length)]])
  return [text]
}

/** Keeps sending until the connection breaks. */
async function sendUntilBroken(client: RawClient): Promise<boolean> {
  const block = Buffer.alloc(65536, 'x')
  try {
    for (let i = 0; i < 1000; i++) await client.send(block)
  } catch {
    return true
  }
  return false
}

async function refusedUnread(client: RawClient): Promise<void> {
  await client.send(`PUT / HTTP/1.1\r\n${H}Content-Length: 1025\r\n${EXPECT}\r\n`)
  const answer = await client.response()
  assert.is(answer.raw.toString('latin1').split('\r\n')[0], 'HTTP/1.1 417 Expectation Failed')
  assert.is(answer.header('connection'), 'close')
  assert.is(answer.text, 'failure')
  await client.send('x'.repeat(25))
  assert.ok(await sendUntilBroken(client), 'what follows is discarded, and not for ever')
  assert.is(client.buffered, '')
}

onEveryTransport('parity: 100 Continue', (h, test) => {
  test('test_024_expect_100_continue', async () => {
    await h.serve(picky)
    await refusedUnread(await h.connect())
    const client = await h.connect()
    for (const value of ['100-continue', '100-Continue']) {
      await client.send(`PUT / HTTP/1.1\r\n${H}Content-Length: 7\r\nExpect: ${value}\r\n\r\ntesting`)
      const interim = await client.interim()
      assert.is(interim.raw.toString('latin1'), 'HTTP/1.1 100 Continue\r\n\r\n')
      assert.is((await client.response()).text, 'testing')
    }
  })

  test('test_024a_expect_100_continue_with_headers', async () => {
    await h.serve(picky)
    await refusedUnread(await h.connect())
    const client = await h.connect()
    await client.send(`PUT /headers HTTP/1.1\r\n${H}Content-Length: 7\r\n${EXPECT}\r\n`)
    const interim = await client.interim()
    assert.is(interim.status, 100)
    assert.equal(interim.headers, [
      ['Hundred-Continue-Header-1', 'H1'],
      ['Hundred-Continue-Header-2', 'H2'],
      ['Hundred-Continue-Header-K', 'Hk']
    ])
    await client.send('testing')
    assert.is((await client.response()).text, 'testing')
  })

  /** Reads one content, sends a second 100 with another header, reads again. */
  const twice = (first: number | undefined): Application => async (environ, startResponse) => {
    const input = environ['wsgi.input']
    input.setHundredContinueResponseHeaders([['Hundred-Continue-Header-1', 'H1'], ['Hundred-Continue-Header-2', 'H2']])
    const before = await input.read(first)
    input.setHundredContinueResponseHeaders([['Hundred-Continue-Header-3', 'H3']])
    input.sendHundredContinueResponse()
    const after = await input.read()
    const text = Buffer.concat([before, after])
    startResponse('200 OK', [['Content-Length', String(text.length)]])
    return [text]
  }

  async function twoInterims(client: RawClient, firstPart: string): Promise<void> {
    const first = await client.interim()
    assert.equal(first.headers, [['Hundred-Continue-Header-1', 'H1'], ['Hundred-Continue-Header-2', 'H2']])
    await client.send(firstPart)
    const second = await client.interim()
    assert.is(second.status, 100)
    assert.equal(second.headers, [['Hundred-Continue-Header-3', 'H3']])
  }

  test('test_024b_expect_100_continue_with_headers_multiple_chunked', async () => {
    await h.serve(twice(undefined))
    const message = (...parts: string[]): string => [...parts, ''].map(part => `${part.length.toString(16)}\r\n${part}\r\n`).join('')
    const client = await h.connect()
    await client.send(`PUT /a HTTP/1.1\r\n${H}${CLOSE}${CHUNKED}${EXPECT}\r\n`)
    await twoInterims(client, message('first', ' message'))
    // Changed (design §6): there the 100 made room for a second chunked body in one request, a way to smuggle. Content ends once.
    const answer = await client.response()
    assert.is(answer.header('content-length'), '13')
    assert.is(answer.text, 'first message')
    await client.send(message(', second message')).catch(() => {})
    assert.is((await client.untilEnd()).length, 0)
    // Without the close it is what it looks like: not a request.
    const kept = await h.connect()
    await kept.send(`PUT /a HTTP/1.1\r\n${H}${CHUNKED}${EXPECT}\r\n`)
    await twoInterims(kept, message('first', ' message'))
    assert.is((await kept.response()).text, 'first message')
    await kept.send(message(', second message'))
    assert.is((await kept.response()).status, 400)
  })

  test('test_024c_expect_100_continue_with_headers_multiple_nonchunked', async () => {
    await h.serve(twice(13))
    const client = await h.connect()
    await client.send(`PUT /a HTTP/1.1\r\n${H}${CLOSE}Content-Length: 29\r\n${EXPECT}\r\n`)
    await twoInterims(client, 'first message')
    await client.send(', second message\r\n')
    const answer = await client.response()
    assert.is(answer.header('content-length'), '29')
    assert.is(answer.text, 'first message, second message')
    assert.is((await client.untilEnd()).length, 0)
  })

  test('test_024d_expect_100_continue_with_eager_app_chunked', async () => {
    const eager: Application = (environ, startResponse) => {
      environ['eventlet.minimum_write_chunk_size'] = 0
      startResponse('202 Accepted', [])
      return (async function* (): AsyncGenerator<string> {
        yield ' '
        const text = (await environ['wsgi.input'].read()).toString('latin1')
        yield ' '
        yield `content: ${text}`
      })()
    }
    await h.serve(eager)
    const client = await h.connect()
    await client.send(`PUT /a HTTP/1.1\r\n${H}${CLOSE}${CHUNKED}${EXPECT}\r\n`)
    // Before any content was sent: the head and a chunk. No 100 any more.
    const head = (await client.bytes('HTTP/1.1 202 Accepted\r\n'.length)).toString('latin1')
    assert.is(head, 'HTTP/1.1 202 Accepted\r\n')
    let rest = ''
    while (!rest.endsWith('\r\n\r\n1\r\n \r\n')) rest += (await client.bytes(1)).toString('latin1')
    await client.send('5\r\nfirst\r\n8\r\n message\r\n0\r\n\r\n')
    assert.is((await client.untilEnd()).toString('latin1'), '1\r\n \r\n16\r\ncontent: first message\r\n0\r\n\r\n')
  })
}).run()
