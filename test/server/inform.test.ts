// Interim answers (RFC 9110 §15.2): `wirelet.inform` for any of them, 100 (Continue) by the input's own methods; test/server/continue.test.ts has its rules.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { get, onEveryTransport, post, turns, until } from '../support/harness.ts'

const EXPECTING = 'POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n'

onEveryTransport('inform', (h, test) => {
  test('103 with its headers, byte for byte, and no Date, no length, no Connection', async () => {
    await h.serve((environ, startResponse) => {
      environ['wirelet.inform'](103, [['link', '</a.css>; rel=preload'], ['link', '</b.js>; rel=preload']])
      startResponse(200)
      return ['done']
    })
    const client = await h.connect()
    await client.send(get())
    const hints = await client.interim()
    assert.is(hints.raw.toString('latin1'), 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n')
    assert.is((await client.response()).text, 'done')
  })

  test('it leaves before the application goes on', async () => {
    let go: () => void = () => {}
    await h.serve(async (environ, startResponse) => {
      environ['wirelet.inform'](103, { Link: '</a.css>; rel=preload' })
      await new Promise<void>(resolve => (go = resolve))
      environ['wirelet.inform']('102 Processing')
      await turns()
      startResponse(200)
      return ['done']
    })
    const client = await h.connect()
    await client.send(get())
    assert.is((await client.interim()).status, 103)
    go()
    const processing = await client.interim()
    assert.equal([processing.status, processing.reason, processing.headers], [102, 'Processing', []])
    assert.is((await client.response()).text, 'done')
  })

  test('any 1xx but 101, with a reason of its own, any number of times', async () => {
    const statuses = [100, 102, 103, 104, '150 Halfway', 199]
    await h.serve((environ, startResponse) => {
      for (const status of statuses) environ['wirelet.inform'](status)
      startResponse(200)
      return []
    })
    const client = await h.connect()
    await client.send(get())
    const seen: (number | string)[] = []
    for (const status of statuses) {
      const answer = await client.interim()
      seen.push(typeof status === 'string' ? `${answer.status} ${answer.reason}` : answer.status)
    }
    assert.equal(seen, statuses)
    await client.response()
  })

  test('headers as pairs, an object, lists; case by the option', async () => {
    for (const capitalizeResponseHeaders of [true, false]) {
      const running = await h.serve((environ, startResponse) => {
        environ['wirelet.inform'](103, { link: ['a', 'b'], 'x-n': 1 })
        environ['wirelet.inform'](103, new Map([['x-m', 'c']]))
        startResponse(200)
        return []
      }, { capitalizeResponseHeaders })
      const client = await h.connect(running)
      await client.send(get())
      const [link, n, m] = capitalizeResponseHeaders ? ['Link', 'X-N', 'X-M'] : ['link', 'x-n', 'x-m']
      assert.equal((await client.interim()).headers, [[link, 'a'], [link, 'b'], [n, '1']])
      assert.equal((await client.interim()).headers, [[m, 'c']])
      await client.response()
    }
  })

  test('none to HTTP/1.0, and none from a server that speaks only that', async () => {
    const application: Application = (environ, startResponse) => {
      environ['wirelet.inform'](103, [['Link', 'x']])
      environ['wsgi.input'].sendHundredContinueResponse()
      startResponse(200)
      return ['done']
    }
    const running = await h.serve(application)
    const client = await h.connect(running)
    await client.send(get('/', '', '1.0'))
    assert.is((await client.response()).text, 'done')
    await client.untilEnd()
    const old = await h.serve(application, { maxHttpVersion: 'HTTP/1.0' })
    const other = await h.connect(old)
    await other.send(get())
    assert.is((await other.response()).text, 'done')
    await other.untilEnd()
  })

  test('none after the head, and none after the end', async () => {
    let inform: ((status: number) => void) | null = null
    await h.serve((environ, startResponse) => {
      const before = inform
      inform = environ['wirelet.inform']
      const write = startResponse(200)
      void write('a')
      environ['wirelet.inform'](103)
      // The one of a request that is over.
      before?.(103)
      return ['b'].values()
    })
    const client = await h.connect()
    for (let i = 0; i < 2; i++) {
      await client.send(get())
      assert.is((await client.response()).text, 'ab')
      inform!(103)
      await turns()
      assert.is(client.buffered, '')
    }
  })

  test('pipelined: each in front of its own answer', async () => {
    await h.serve((environ, startResponse) => {
      environ['wirelet.inform'](103, [['X-For', environ.PATH_INFO]])
      startResponse(200)
      return [environ.PATH_INFO]
    })
    const client = await h.connect()
    await client.send(get('/1') + get('/2') + get('/3'))
    for (const path of ['/1', '/2', '/3']) {
      assert.equal((await client.interim()).headers, [['X-For', path]])
      assert.is((await client.response()).text, path)
    }
  })

  test('wrong ones throw where they are said, and reach no peer', async () => {
    const codes: (string | null)[] = []
    await h.serve((environ, startResponse) => {
      const wrong: (() => void)[] = [
        () => environ['wirelet.inform'](101),
        () => environ['wirelet.inform'](200),
        () => environ['wirelet.inform'](99),
        () => environ['wirelet.inform']('103 bad\r\nreason'),
        () => environ['wirelet.inform'](103, [['bad name', 'x']]),
        () => environ['wirelet.inform'](103, [['Link', 'x\r\nSet-Cookie: a=b']]),
        () => environ['wirelet.inform'](103, [['Transfer-Encoding', 'chunked']]),
        () => environ['wirelet.inform'](103, [['Connection', 'keep-alive']]),
        () => environ['wsgi.input'].setHundredContinueResponseHeaders([['bad name', 'x']])
      ]
      for (const each of wrong) {
        try {
          each()
          codes.push(null)
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
      }
      startResponse(200)
      return ['done']
    })
    const client = await h.connect()
    await client.send(get())
    assert.is((await client.response()).text, 'done')
    assert.equal(codes, Array(9).fill('ERR_WIRELET_INVALID_HEADER'))
  })

  test('an interim answer never has a length', async () => {
    let refused: unknown
    await h.serve((environ, startResponse) => {
      try {
        environ['wirelet.inform'](103, [['Content-Length', '5'], ['Link', 'x']])
      } catch (error) {
        refused = error
      }
      startResponse(200)
      return ['done']
    })
    const client = await h.connect()
    await client.send(get())
    // RFC 9110 §8.6, rules.md RS-05: thrown, and nothing written.
    assert.is((await client.response()).text, 'done')
    assert.is((refused as { code?: string }).code, 'ERR_WIRELET_INVALID_HEADER')
  })

  test('explicit 100s: any number, each with the headers set last', async () => {
    await h.serve(async (environ, startResponse) => {
      const input = environ['wsgi.input']
      for (let i = 0; i < 5; i++) {
        input.setHundredContinueResponseHeaders([['x-step', i]])
        input.sendHundredContinueResponse()
      }
      const content = await input.read()
      startResponse(200)
      return [content]
    })
    const client = await h.connect()
    await client.send(EXPECTING)
    for (let i = 0; i < 5; i++) assert.equal((await client.interim()).headers, [['X-Step', String(i)]])
    await client.send('hello')
    assert.is((await client.response()).text, 'hello')
  })

  test('an explicit 100 takes the place of the automatic one; inform(100) too', async () => {
    for (const how of ['input', 'inform'] as const) {
      const running = await h.serve(async (environ, startResponse) => {
        if (how === 'input') environ['wsgi.input'].sendHundredContinueResponse()
        else environ['wirelet.inform'](100)
        const content = await environ['wsgi.input'].read()
        startResponse(200)
        return [content]
      })
      const client = await h.connect(running)
      await client.send(EXPECTING)
      await client.interim()
      await turns()
      assert.is(client.buffered, '', how)
      await client.send('hello')
      assert.is((await client.response()).text, 'hello')
    }
  })

  test('a 103 before the content is read: then the 100 still comes', async () => {
    await h.serve(async (environ, startResponse) => {
      environ['wirelet.inform'](103, [['Link', 'x']])
      const content = await environ['wsgi.input'].read()
      startResponse(200)
      return [content]
    })
    const client = await h.connect()
    await client.send(EXPECTING)
    assert.is((await client.interim()).status, 103)
    assert.is((await client.interim()).status, 100)
    await client.send('hello')
    assert.is((await client.response()).text, 'hello')
  })

  test('to HEAD as well, and before an error of the application', async () => {
    await h.serve((environ, startResponse) => {
      environ['wirelet.inform'](103)
      if (environ.PATH_INFO === '/broken') throw new Error('as the test wants it')
      startResponse(200)
      return ['done']
    })
    const client = await h.connect()
    await client.send(get().replace('GET', 'HEAD') + get('/broken'))
    assert.is((await client.interim()).status, 103)
    assert.is((await client.response({ method: 'HEAD' })).status, 200)
    assert.is((await client.interim()).status, 103)
    assert.is((await client.response()).status, 500)
  })

  test('counted as wire bytes of its request, not as content', async () => {
    const { access } = await h.serve((environ, startResponse) => {
      environ['wirelet.inform'](103, [['Link', 'x']])
      startResponse(200)
      return ['done']
    }, { logFormat: '%(status_code)d %(body_length)d %(wire_length)d' })
    const client = await h.connect()
    await client.send(post('/', 'content'))
    const hints = await client.interim()
    const answer = await client.response()
    await until(() => access.length > 0, 'the line')
    assert.equal(access, [`200 4 ${hints.raw.length + answer.raw.length}`])
  })
}, { memory: true }).run()
