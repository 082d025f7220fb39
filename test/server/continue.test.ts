// 100 (Continue): automatic on the first read, once; explicit ones; never after the head, never to 1.0; and what an unread expectation costs.
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import { answering, deferred, get, onEveryTransport, turns, until } from '../support/harness.ts'

const HEAD = 'POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n'
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

const echo: Application = async (environ, startResponse) => {
  const content = await environ['wsgi.input'].read()
  startResponse(200)
  return [content]
}

onEveryTransport('100 (Continue)', (h, test) => {
  test('automatic, at the first read, once', async () => {
    await h.serve(async (environ, startResponse) => {
      const input = environ['wsgi.input']
      const content = [await input.read(1), await input.read(2), await input.read()]
      startResponse(200)
      return content
    })
    const client = await h.connect()
    await client.send(HEAD)
    assert.is((await client.interim()).raw.toString('latin1'), CONTINUE)
    await client.send('he')
    await turns()
    await client.send('llo' + get('/up'))
    assert.is((await client.response()).text, 'hello')
    assert.is((await client.response()).text, '', 'the connection lives on')
    assert.is(client.buffered, '')
  })

  test('in any case of its letters', async () => {
    await h.serve(echo)
    const client = await h.connect()
    await client.send(HEAD.replace('100-continue', '100-Continue'))
    assert.is((await client.interim()).status, 100)
  })

  test('not before the application reads', async () => {
    let read: () => Promise<Buffer> = () => Promise.reject(new Error('not called yet'))
    await h.serve((environ, startResponse) => new Promise(resolve => {
      read = async () => {
        const content = await environ['wsgi.input'].read()
        startResponse(200)
        resolve([content])
        return content
      }
    }))
    const client = await h.connect()
    await client.send(HEAD)
    await turns(20)
    assert.is(client.buffered, '')
    const content = read()
    await client.interim()
    await client.send('hello')
    assert.is(String(await content), 'hello')
    assert.is((await client.response()).text, 'hello')
  })

  for (const [name, read] of Object.entries<(input: any) => Promise<unknown>>({
    'readline': input => input.readline(),
    'readlines': input => input.readlines(),
    'discard': input => input.discard(),
    'iteration': async input => { for await (const piece of input) void piece }
  })) {
    test(`${name} asks for the content too`, async () => {
      await h.serve(async (environ, startResponse) => {
        await read(environ['wsgi.input'])
        startResponse(200)
        return ['read']
      })
      const client = await h.connect()
      await client.send(HEAD)
      await client.interim()
      await client.send('hello')
      assert.is((await client.response()).text, 'read')
    })
  }

  test('content that came along needs no asking twice', async () => {
    await h.serve(echo)
    const client = await h.connect()
    await client.send(HEAD + 'hello' + get('/up'))
    const first = await client.bytes(12)
    const rest = first.toString().startsWith('HTTP/1.1 100') ? (await client.bytes(CONTINUE.length - 12), await client.response()) : null
    if (rest !== null) assert.is(rest.text, 'hello')
    assert.is((await client.response()).status, 200)
  })

  test('a chunked request that expects', async () => {
    await h.serve(echo)
    const client = await h.connect()
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n')
    await client.interim()
    await client.send('5\r\nhello\r\n0\r\n\r\n')
    assert.is((await client.response()).text, 'hello')
  })

  test('answered without reading: no 100, and the connection closes, announced', async () => {
    for (const application of [answering('no, thanks'), ((_environ, startResponse) => {
      startResponse(401)
      return ['no'].values()
    }) as Application]) {
      const running = await h.serve(application)
      const client = await h.connect(running)
      await client.send(HEAD)
      assert.is((await client.response()).header('connection'), 'close')
      assert.is((await client.untilEnd()).length, 0)
    }
  })

  test('a late reader of an earlier request asks for nothing of the next one', async () => {
    let first!: Environ
    const called = deferred()
    const gate = deferred()
    await h.serve(async (environ, startResponse) => {
      startResponse(environ.PATH_INFO === '/1' ? 200 : 401)
      if (environ.PATH_INFO === '/1') {
        first = environ
        return ['one']
      }
      called.resolve()
      await gate.promise
      return ['no']
    })
    const client = await h.connect()
    await client.send('POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst')
    assert.is((await client.response()).text, 'one')
    await client.send(HEAD)
    await called.promise
    assert.is(String(await first['wsgi.input'].read(2)), 'fi')
    gate.resolve()
    const answer = await client.response()
    assert.is(answer.status, 401)
    assert.is(answer.header('connection'), 'close')
  })

  test('explicit ones, any number, with headers; then no automatic one', async () => {
    await h.serve(async (environ, startResponse) => {
      const input = environ['wsgi.input']
      input.setHundredContinueResponseHeaders([['x-step', '1']])
      input.sendHundredContinueResponse()
      input.setHundredContinueResponseHeaders({ 'x-step': '2' }, false)
      input.sendHundredContinueResponse()
      const content = await input.read()
      startResponse(200)
      return [content]
    })
    const client = await h.connect()
    await client.send(HEAD)
    assert.equal((await client.interim()).headers, [['X-Step', '1']])
    assert.equal((await client.interim()).headers, [['x-step', '2']])
    await client.send('hello')
    assert.is((await client.response()).text, 'hello')
  })

  test('headers for the automatic one', async () => {
    await h.serve(async (environ, startResponse) => {
      environ['wsgi.input'].setHundredContinueResponseHeaders([['x-token', 'abc']])
      return echo(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(HEAD)
    assert.equal((await client.interim()).headers, [['X-Token', 'abc']])
    await client.send('hello')
    await client.response()
  })

  test('explicit without Expect: sent on 1.1, never to 1.0', async () => {
    await h.serve(async (environ, startResponse) => {
      environ['wsgi.input'].sendHundredContinueResponse()
      return echo(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(HEAD.replace('Expect: 100-continue\r\n', '') + 'hello')
    await client.interim()
    assert.is((await client.response()).text, 'hello')
    const old = await h.connect()
    await old.send(HEAD.replace('1.1', '1.0') + 'hello')
    assert.is((await old.response()).text, 'hello')
  })

  test('none once the head of the answer is sent', async () => {
    const pieces: string[] = []
    await h.serve((environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'x'.repeat(5000)
        environ['wsgi.input'].sendHundredContinueResponse()
        pieces.push(String(await environ['wsgi.input'].read()))
      })()
    })
    const client = await h.connect()
    await client.send(HEAD)
    await until(() => client.received > 5000, 'the first piece')
    await client.send('hello')
    const answer = await client.response()
    assert.is(answer.body.length, 5000)
    assert.is(answer.header('connection'), 'close')
    assert.equal(pieces, ['hello'])
  })

  test("inform: any interim answer before the head, none to 1.0, and 101 is nobody's to say", async () => {
    const codes: string[] = []
    await h.serve((environ, startResponse) => {
      environ['wirelet.inform'](103, [['Link', '</a.css>; rel=preload']])
      environ['wirelet.inform']('102 Processing')
      for (const status of [101, 200]) {
        try {
          environ['wirelet.inform'](status)
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
      }
      startResponse(200)
      return ['done']
    })
    const client = await h.connect()
    await client.send(get() + get('/', '', '1.0'))
    const hints = await client.interim()
    assert.is(hints.status, 103)
    assert.equal(hints.headers, [['Link', '</a.css>; rel=preload']])
    assert.is((await client.interim()).status, 102)
    assert.is((await client.response()).text, 'done')
    assert.is((await client.response()).text, 'done')
    assert.equal(codes, Array(4).fill('ERR_WIRELET_INVALID_HEADER'))
  })
}).run()
