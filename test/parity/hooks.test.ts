// eventlet wsgi_test.py, TestHttpd: post hooks.
import { AsyncLocalStorage } from 'node:async_hooks'
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import { onEveryTransport, until } from '../support/harness.ts'
import { CHUNKED, H } from './support.ts'

onEveryTransport('parity: post hooks', (h, test) => {
  test('test_029_posthooks', async () => {
    const local = new AsyncLocalStorage<string>()
    const counts = [0, 0]
    const seen: unknown[] = []
    const first = (environ: Environ, value: number, options: { multiplier?: number } = {}): void => {
      seen.push(local.getStore(), environ.PATH_INFO)
      counts[0]! += value * (options.multiplier ?? 1)
    }
    const second = (environ: Environ, value: number, options: { divisor?: number } = {}): void => {
      seen.push(local.getStore(), environ.PATH_INFO)
      counts[1]! += value / (options.divisor ?? 1)
    }
    const hooked: Application = (environ, startResponse) => {
      local.enterWith(`of ${environ.PATH_INFO}`)
      const hooks = environ['eventlet.posthooks']
      if (environ.PATH_INFO === '/1') hooks.push([first, [2], { multiplier: 3 }])
      else hooks.push([first, [4], { multiplier: 5 }], [second, [100], { divisor: 4 }])
      startResponse('200 OK', [['Content-Type', 'text/plain']])
      return (function* (): Generator<string> {
        // Not before the answer.
        yield counts.join()
      })()
    }
    await h.serve(hooked)
    const client = await h.connect()
    await client.send(`GET /1 HTTP/1.1\r\n${H}\r\n`)
    assert.is((await client.response()).text, '0,0')
    await until(() => counts[0] === 6, 'the first hook')
    assert.equal(counts, [6, 0])
    await client.send(`GET /2 HTTP/1.1\r\n${H}\r\n`)
    assert.is((await client.response()).text, '6,0')
    await until(() => counts[1] === 25, 'the other hooks')
    assert.equal(counts, [26, 25])
    assert.equal(seen, ['of /1', '/1', 'of /2', '/2', 'of /2', '/2'])
  })

  test('test_aborted_post_io_error', async () => {
    let called = 0
    const replacing: Application = (environ, startResponse) => {
      environ['eventlet.posthooks'] = [[() => called++, [], {}]]
      startResponse('200 OK', [['Content-Type', 'text/plain']])
      return ['ok']
    }
    const { server, errors } = await h.serve(replacing)
    const client = await h.connect()
    // 0x20 octets announced, 12 sent.
    await client.send(`PUT / HTTP/1.1\r\n${H}${CHUNKED}\r\n20\r\nHello there!`)
    await client.end()
    await until(() => called === 1, 'the hook')
    await until(() => server.connections === 0, 'the connection to be gone')
    assert.equal(errors, [])
    const other = await h.connect()
    await other.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    assert.is((await other.response()).text, 'ok')
  })
}).run()
