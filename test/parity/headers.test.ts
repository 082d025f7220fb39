// eventlet wsgi_test.py, TestHttpd: header names and values both ways, paths, and the limits of a head.
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import { onEveryTransport } from '../support/harness.ts'
import { CLOSE, H, hello } from './support.ts'

/** Latin-1 spelling of some octets, as `RawClient.send` writes them. */
function octets(...values: number[]): string {
  return String.fromCharCode(...values)
}

onEveryTransport('parity: headers and paths', (h, test) => {
  /** Serves one request and shows its environ. */
  async function environOf(request: string): Promise<Environ> {
    let seen: Environ | null = null
    await h.serve((environ, startResponse) => {
      seen = { ...environ }
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(request)
    assert.is((await client.response()).status, 200)
    return seen!
  }

  test('test_030_reject_long_header_lines', async () => {
    await h.serve(hello)
    const client = await h.connect()
    await client.send(`GET / HTTP/1.0\r\n${H}long-header: ${'a'.repeat(10000)}\r\n\r\n`).catch(() => {})
    const answer = await client.response()
    // Changed (design §6): 431 (RFC 6585 §5), a line that says HTTP/1.1, and a usual reason phrase.
    assert.is(answer.raw.toString('latin1').split('\r\n')[0], 'HTTP/1.1 431 Request Header Fields Too Large')
    assert.is(answer.header('connection'), 'close')
    assert.is(answer.text, 'a field line is too long\r\n')
  })

  test('test_031_reject_large_headers', async () => {
    await h.serve(hello)
    const client = await h.connect()
    const fields = Array.from({ length: 20 }, (_, i) => `Header-${i}: ${'x'.repeat(7000)}\r\n`).join('')
    await client.send(`GET / HTTP/1.0\r\n${H}${fields}\r\n`).catch(() => {})
    const answer = await client.response()
    assert.is(answer.raw.toString('latin1').split('\r\n')[0], 'HTTP/1.1 431 Request Header Fields Too Large')
    assert.is(answer.text, 'the header section is too long\r\n')
  })

  test('test_header_name_capitalization', async () => {
    const name = 'wiTH-\u00df-LATIN1-\u00ff'
    let refused: unknown = null
    const odd: Application = (_environ, startResponse) => {
      try {
        startResponse('200 oK', [['sOMe-WEirD', 'v1'], [name, 'v2']])
      } catch (error) {
        refused = error
      }
      startResponse('200 oK', [['sOMe-WEirD', 'v1']])
      return ['']
    }
    await h.serve(odd)
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    const answer = await client.response()
    assert.is(answer.reason, 'oK')
    assert.equal(answer.headers[0], ['Some-Weird', 'v1'])
    // Changed: a field name is a token (RFC 9110 §5.1); octets above 0x7f never leave in one.
    assert.is((refused as { code: string }).code, 'ERR_WIRELET_INVALID_HEADER')
  })

  test('test_disable_header_name_capitalization', async () => {
    await h.serve((_environ, startResponse) => {
      startResponse('200 OK', [['eTAg', 'foo']])
      return ['']
    }, { capitalizeResponseHeaders: false })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    assert.equal((await client.response()).headers[0], ['eTAg', 'foo'])
  })

  test('test_headers_raw', async () => {
    const environ = await environOf(`GET / HTTP/1.1\r\n${H}x-ANY_k: one\r\nx-ANY_k: two\r\n\r\n`)
    assert.equal(environ.headers_raw, [['Host', 'localhost'], ['x-ANY_k', 'one'], ['x-ANY_k', 'two']])
  })

  test('test_env_headers', async () => {
    const environ = await environOf(`GET / HTTP/1.1\r\n${H}path-info: foo\r\nx-ANY_k: one\r\nhttp-x-ANY_k: two\r\n\r\n`)
    const keys = Object.keys(environ).filter(key => key.startsWith('HTTP_')).sort()
    assert.equal(keys, ['HTTP_HOST', 'HTTP_PATH_INFO'])
    assert.is(environ.HTTP_PATH_INFO, 'foo')
    assert.is(environ.PATH_INFO, '/')
  })

  test('test_env_header_stripping', async () => {
    const nbsp = octets(0xa0)
    const symbol = octets(0xe2, 0x88, 0x85)
    const environ = await environOf(
      `GET / HTTP/1.1\r\n${H}spaced:   foo bar  \r\ntabbed: foo\tbar\t\r\nnbsp: ${nbsp}foo${nbsp}\r\nnull-set: ${symbol}\r\n\r\n`
    )
    assert.is(environ.HTTP_SPACED, 'foo bar')
    assert.is(environ.HTTP_TABBED, 'foo\tbar')
    assert.is(environ.HTTP_NBSP, `${nbsp}foo${nbsp}`)
    assert.is(environ.HTTP_NULL_SET, symbol)
  })

  test('test_path_info_decoding', async () => {
    const environ = await environOf(`GET /a*b@%40%233 HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    assert.is(environ.PATH_INFO, '/a*b@@#3')
    assert.is(environ.RAW_PATH_INFO, '/a*b@%40%233')
    assert.is(environ.REQUEST_URI, '/a*b@%40%233')
  })

  test('test_path_info_latin1', async () => {
    // Changed (design §6): octets that are UTF-8 as a whole are text; all others stay the latin-1 string that WSGI has.
    assert.is((await environOf(`GET /%E4%BD%A0%E5%A5%BD HTTP/1.1\r\n${H}${CLOSE}\r\n`)).PATH_INFO, '/\u4f60\u597d')
    assert.is(
      (await environOf(`GET /%BD%A5%E5%A0%BD%E4 HTTP/1.1\r\n${H}${CLOSE}\r\n`)).PATH_INFO,
      `/${octets(0xbd, 0xa5, 0xe5, 0xa0, 0xbd, 0xe4)}`
    )
  })
}).run()
