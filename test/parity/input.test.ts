// eventlet wsgi_test.py, TestChunkedInput and what TestHttpd has about wsgi.input: reading content, whole, in part, or cut short.
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import { ChunkReadError, RequestAborted } from '../../src/io/errors.ts'
import { deferred, onEveryTransport, turns, until } from '../support/harness.ts'
import { within } from '../support/within.ts'
import { CHUNKED, H } from './support.ts'

const PIECES = ['this', ' is ', 'chunked', '\nline', ' 2', '\n', 'line3', '']
const LINES = 'this is chunked\nline 2\nline3'

function chunked(extension = ''): string {
  return PIECES.map(piece => `${piece.length.toString(16)}${extension}\r\n${piece}\r\n`).join('')
}

/** One release per test server: /yield_spaces waits for it between its two pieces. */
function chunkedSite(released: Promise<void> = Promise.resolve()): Application {
  return async (environ, startResponse) => {
    const input = environ['wsgi.input']
    const path = environ.PATH_INFO
    let pieces: AsyncIterable<string> | Uint8Array[] = []
    if (path === '/short-read') {
      pieces = [await input.read(10)]
    } else if (path === '/lines') {
      pieces = []
      for (let line = await input.readline(); line.length > 0; line = await input.readline()) pieces.push(line)
    } else if (path === '/ping') {
      await input.read()
      pieces = [Buffer.from('pong')]
    } else if (path === '/readline') {
      let count = 0
      pieces = []
      for (let line = await input.readline(); line.length > 0; line = await input.readline(), count++) pieces.push(line)
      pieces.push(Buffer.from(`\nread ${count} lines`))
    } else if (path === '/readlines') {
      const lines = await input.readlines()
      pieces = [...lines, Buffer.from(`\nread ${lines.length} lines`)]
    } else if (path.startsWith('/yield_spaces')) {
      if (path.endsWith('override_min')) environ['eventlet.minimum_write_chunk_size'] = 1
      startResponse('200 OK', [['Content-Type', 'text/plain'], ['Content-Length', '2']])
      return (async function* () {
        yield ' '
        await released
        yield ' '
      })()
    }
    startResponse('200 OK', [['Content-Type', 'text/plain']])
    return pieces
  }
}

onEveryTransport('parity: input', (h, test) => {
  const send = (path: string, body: string, fields = 'Transfer-Encoding: Chunked\r\n'): string => `POST ${path} HTTP/1.1\r\n${H}${fields}\r\n${body}`

  async function ping(client: Awaited<ReturnType<typeof h.connect>>): Promise<void> {
    await client.send(`GET /ping HTTP/1.1\r\n${H}\r\n`)
    assert.is((await client.response()).text, 'pong')
  }

  // Byte for byte the same request since Content-Length beside Transfer-Encoding became an error; three names in the original, three here.
  for (const name of ['test_short_read_with_content_length', 'test_short_read_with_zero_content_length', 'test_short_read']) {
    test(`TestChunkedInput.${name}`, async () => {
      await h.serve(chunkedSite())
      const client = await h.connect()
      await client.send(send('/short-read', chunked()))
      assert.is((await client.response()).text, 'this is ch')
      await ping(client)
    })
  }

  test('TestChunkedInput.test_dirt', async () => {
    await h.serve(chunkedSite())
    const client = await h.connect()
    for (let i = 0; i < 2; i++) {
      // An extension that the grammar allows. There anything goes after the `;`.
      await client.send(send('/ping', chunked('; here="is dirt"')))
      assert.is((await client.response()).text, 'pong')
    }
    // The original's own, words without `=` between them and a NUL: refused, like every octet outside the grammar (design §6).
    for (const extension of ['; here is dirt\0bla', '; here\0', '; here is dirt']) {
      const strict = await h.connect()
      await strict.send(send('/ping', chunked(extension)))
      assert.is((await strict.response()).status, 400)
    }
  })

  test('TestChunkedInput.test_chunked_readline', async () => {
    await h.serve(chunkedSite())
    const client = await h.connect()
    await client.send(send('/lines', chunked()))
    assert.is((await client.response()).text, LINES)
  })

  test('TestChunkedInput.test_chunked_readline_from_input', async () => {
    await h.serve(chunkedSite())
    const client = await h.connect()
    await client.send(send('/readline', chunked()))
    assert.is((await client.response()).text, `${LINES}\nread 3 lines`)
  })

  test('TestChunkedInput.test_chunked_readlines_from_input', async () => {
    await h.serve(chunkedSite())
    const client = await h.connect()
    await client.send(send('/readlines', chunked()))
    assert.is((await client.response()).text, `${LINES}\nread 3 lines`)
  })

  test('TestChunkedInput.test_chunked_readline_wsgi_override_minimum_chunk_size', async () => {
    const release = deferred()
    await h.serve(chunkedSite(release.promise), { flushWhenWaiting: false })
    const client = await h.connect()
    await client.send(send('/yield_spaces/override_min', '', 'Content-Length: 0\r\n'))
    await until(() => client.buffered.endsWith('\r\n\r\n '), 'the head and the first octet')
    await turns()
    assert.ok(client.buffered.endsWith('\r\n\r\n '), 'the second octet waits')
    release.resolve()
    assert.is((await client.response()).text, '  ')
  })

  test('TestChunkedInput.test_chunked_readline_wsgi_not_override_minimum_chunk_size', async () => {
    const release = deferred()
    await h.serve(chunkedSite(release.promise), { flushWhenWaiting: false })
    const client = await h.connect()
    await client.send(send('/yield_spaces', '', 'Content-Length: 0\r\n'))
    await turns(20)
    assert.is(client.buffered, '')
    release.resolve()
    assert.is((await client.response()).text, '  ')
    // Changed by default (design §4): what an iterable that makes us wait has yielded is sent.
    const later = deferred()
    await h.serve(chunkedSite(later.promise))
    const eager = await h.connect()
    await eager.send(send('/yield_spaces', '', 'Content-Length: 0\r\n'))
    await until(() => eager.buffered.endsWith('\r\n\r\n '), 'the head and the first octet')
    later.resolve()
    assert.is((await eager.response()).text, '  ')
  })

  test('TestChunkedInput.test_close_before_finished', async () => {
    const { server } = await h.serve(chunkedSite())
    const client = await h.connect()
    await client.send(send('/short-read', '4\r\nthi'))
    client.destroy()
    await until(() => server.connections === 0 && server.outstandingRequests === 0, 'the connection to be gone')
    const other = await h.connect()
    await ping(other)
  })

  // ── TestHttpd ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('test_019_fieldstorage_compat', async () => {
    // Where Python had cgi.FieldStorage: a platform's form parser reads the content as a stream.
    await h.serve(async (environ, startResponse) => {
      const body = ReadableStream.from(environ['wsgi.input']) as unknown as ReadableStream<Uint8Array>
      const init = { method: 'POST', body, headers: { 'content-type': environ.CONTENT_TYPE! }, duplex: 'half' }
      const form = await new Request('http://localhost/', init as RequestInit).formData()
      startResponse('200 OK', [['Content-Type', 'text/plain']])
      return ['hello! ', String(form.get('a'))]
    })
    const client = await h.connect()
    const fields = `${CHUNKED}Content-Type: application/x-www-form-urlencoded\r\n`
    await client.send(send('/', '4\r\na=oh\r\n4\r\n+hai\r\n0\r\n\r\n', fields))
    assert.is((await client.response()).text, 'hello! oh hai')
  })

  test('test_032_wsgi_input_as_iterable', async () => {
    let steps = 0
    await h.serve(async (environ, startResponse) => {
      const pieces: Uint8Array[] = []
      for await (const piece of environ['wsgi.input']) {
        steps++
        pieces.push(piece)
      }
      startResponse('200 OK', [['Content-Type', 'text/plain']])
      return pieces
    })
    const client = await h.connect()
    const content = 'x'.repeat(1500)
    await client.send(`POST / HTTP/1.0\r\n${H}Content-Length: 1500\r\n\r\n${content}`)
    assert.is((await client.response()).text, content)
    // A piece is what arrived together, never a single octet; here that is all of it.
    assert.is(steps, 1)
  })

  /** Reads once and keeps what came of it. */
  function reading(outcome: { error: unknown; called: boolean }): Application {
    return async (environ: Environ, startResponse) => {
      outcome.called = true
      try {
        await environ['wsgi.input'].read(1024)
      } catch (error) {
        outcome.error = error
      }
      startResponse('200 OK', [['Content-Type', 'text/plain']])
      return ['read']
    }
  }

  /** Sends the head, waits until the application is at its read, sends the rest, and ends. */
  async function abort(rest: string): Promise<unknown> {
    const outcome = { error: null as unknown, called: false }
    const { errors } = await h.serve(reading(outcome))
    const client = await h.connect()
    await client.send(`PUT / HTTP/1.1\r\n${H}${CHUNKED}\r\n`)
    await until(() => outcome.called, 'the application')
    await client.send(rest)
    await client.end()
    await within(5_000, client.closed, 'the connection to close')
    await until(() => outcome.error !== null, 'the read to fail')
    assert.equal(errors, [])
    return outcome.error
  }

  test('test_aborted_chunked_post', async () => {
    const error = await abort('def\r\nsixteen octets..')
    assert.instance(error, RequestAborted)
    // The original's request itself: Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1), refused before the application.
    const outcome = { error: null as unknown, called: false }
    await h.serve(reading(outcome))
    const old = await h.connect()
    await old.send(`PUT / HTTP/1.0\r\n${CHUNKED}\r\ndef\r\nsixteen octets..`)
    assert.is((await old.response()).status, 400)
    assert.is(outcome.called, false)
  })

  test('test_aborted_chunked_post_between_chunks', async () => {
    // Changed (design §3): content that is cut short is RequestAborted wherever the cut is; there ChunkReadError between two chunks.
    assert.instance(await abort(`db\r\n${'x'.repeat(219)}\r\n`), RequestAborted)
  })

  test('test_aborted_chunked_post_bad_chunks', async () => {
    assert.instance(await abort('cats\r\n'), ChunkReadError)
  })
}).run()
