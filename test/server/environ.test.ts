import * as nodeAssert from 'node:assert'
import { inspect } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Environ } from '../../src/server/application.ts'
import { LazyEnviron, type EnvironSource } from '../../src/server/environ.ts'
import { percentDecode } from '../../src/server/percent-decoding.ts'
import { FakeSource } from './environ-source.ts'

function createEnviron(source: EnvironSource): Environ {
  return new LazyEnviron(source).environ
}

/** The environ of a request given line by line. */
function environOf(...lines: string[]): Environ {
  return createEnviron(new FakeSource(...lines))
}

const GET = ['GET /a%20b/c?x=1&y=%32 HTTP/1.1', 'Host: example.org', 'User-Agent: test', 'X-One: 1']

// ── Keys of the request ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

const request = suite('environ: the request')

request('the get trap is the last own property, where V8 finds it first', () => {
  assert.is(Object.keys(new LazyEnviron(new FakeSource(...GET))).at(-1), 'get')
})

request('a request line becomes the CGI keys', () => {
  const environ = environOf(...GET)
  assert.is(environ.REQUEST_METHOD, 'GET')
  assert.is(environ.SCRIPT_NAME, '')
  assert.is(environ.PATH_INFO, '/a b/c')
  assert.is(environ.RAW_PATH_INFO, '/a%20b/c')
  assert.is(environ.REQUEST_URI, '/a%20b/c?x=1&y=%32')
  assert.is(environ.QUERY_STRING, 'x=1&y=%32')
  assert.is(environ.SERVER_PROTOCOL, 'HTTP/1.1')
  assert.is(environ.GATEWAY_INTERFACE, 'CGI/1.1')
})

request('QUERY_STRING is what follows the first ?, and always there', () => {
  for (const [target, path, query] of [['/', '/', ''], ['/?', '/', ''], ['/?a?b', '/', 'a?b'], ['/p?%3F', '/p', '%3F']]) {
    const environ = environOf(`GET ${target} HTTP/1.1`, 'Host: h')
    assert.is(environ.RAW_PATH_INFO, path)
    assert.is(environ.QUERY_STRING, query)
    assert.ok('QUERY_STRING' in environ)
  }
})

request('SERVER_PROTOCOL is the version of the request', () => {
  assert.is(environOf('GET / HTTP/1.0').SERVER_PROTOCOL, 'HTTP/1.0')
})

request('PATH_INFO is decoded once, octet by octet', () => {
  const cases = [
    ['/plain', '/plain'],
    ['/%2e%2E/%2F', '/..//'],
    ['/%252e', '/%2e'],
    ['/%00', '/\0'],
    ['/%zz%4', '/%zz%4'],
    ['/%', '/%'],
    ['/%4', '/%4'],
    ['/%41', '/A'],
    ['/%%41', '/%A'],
    ['/%4%31', '/%41'],
    ['/caf%C3%A9', '/café'],
    ['/%F0%9F%98%80', '/😀'],
    ['/%EF%BB%BF', '/\ufeff'],
    ['/caf%E9', '/café'],
    ['/%C3%A9/%E9', '/Ã©/é'],
    ['/%C0%AF', '/À¯'],
    ['/%ED%A0%80', '/í\xa0\x80'],
    ['/+', '/+']
  ]
  for (const [raw, decoded] of cases) {
    const environ = environOf(`GET ${raw} HTTP/1.1`, 'Host: h')
    assert.is(environ.PATH_INFO, decoded, raw)
    assert.is(environ.RAW_PATH_INFO, raw)
  }
})

request('percent-decoding keeps what is not encoded', () => {
  const cases = [['', ''], ['abc', 'abc'], ['%', '%'], ['%4', '%4'], ['%41', 'A'], ['x%41y%', 'xAy%'], ['%e2%82%ac%', '€%'], ['%e2%82', 'â\x82'], ['%C3\xa9', 'é']]
  for (const [raw, decoded] of cases) assert.is(percentDecode(raw!), decoded)
})

request('absolute-form: the path is the URI\'s, HTTP_HOST its authority', () => {
  const environ = environOf('GET http://example.org:81/p%41?q HTTP/1.1', 'X-A: 1', 'Host: other', 'X-B: 2')
  assert.is(environ.PATH_INFO, '/pA')
  assert.is(environ.RAW_PATH_INFO, '/p%41')
  assert.is(environ.QUERY_STRING, 'q')
  assert.is(environ.REQUEST_URI, 'http://example.org:81/p%41?q')
  assert.is(environ['HTTP_HOST'], 'example.org:81')
  assert.equal(Object.keys(environ).filter(key => key.startsWith('HTTP_')), ['HTTP_X_A', 'HTTP_HOST', 'HTTP_X_B'])
  assert.is({ ...environ }['HTTP_HOST'], 'example.org:81')
  assert.equal(environ.headers_raw, [['X-A', '1'], ['Host', 'other'], ['X-B', '2']])
})

request('absolute-form without a path has the path /', () => {
  for (const [target, query] of [['http://example.org', ''], ['http://example.org?a=b', 'a=b']]) {
    const environ = environOf(`GET ${target} HTTP/1.1`, 'Host: example.org')
    assert.is(environ.PATH_INFO, '/')
    assert.is(environ.RAW_PATH_INFO, '/')
    assert.is(environ.QUERY_STRING, query)
    assert.is(environ['HTTP_HOST'], 'example.org')
  }
})

request('absolute-form without a Host line: HTTP_HOST stands first', () => {
  const environ = environOf('GET http://example.org/ HTTP/1.0', 'X-A: 1')
  assert.ok('HTTP_HOST' in environ)
  assert.equal(Object.keys(environ).filter(key => key.startsWith('HTTP_')), ['HTTP_HOST', 'HTTP_X_A'])
  assert.is(environ['HTTP_HOST'], 'example.org')
})

request('* stays *', () => {
  const environ = environOf('OPTIONS * HTTP/1.1', 'Host: h')
  assert.is(environ.PATH_INFO, '*')
  assert.is(environ.RAW_PATH_INFO, '*')
  assert.is(environ.REQUEST_URI, '*')
  assert.is(environ.QUERY_STRING, '')
})

request('CONTENT_TYPE and CONTENT_LENGTH have keys of their own, absent when not sent', () => {
  const without = environOf(...GET)
  assert.not('CONTENT_TYPE' in without)
  assert.not('CONTENT_LENGTH' in without)
  assert.is(without.CONTENT_TYPE, undefined)
  assert.not(Object.keys(without).includes('CONTENT_TYPE'))
  const environ = environOf('POST / HTTP/1.1', 'Host: h', 'content-type: Text/Plain; a=b', 'CONTENT-LENGTH: 0012')
  assert.is(environ.CONTENT_TYPE, 'Text/Plain; a=b')
  assert.is(environ.CONTENT_LENGTH, '0012')
  assert.not('HTTP_CONTENT_TYPE' in environ)
  assert.is(environ['HTTP_CONTENT_LENGTH'], undefined)
  assert.equal(Object.keys(environ).filter(key => key.startsWith('HTTP_')), ['HTTP_HOST'])
  assert.is(environOf('POST / HTTP/1.1', 'Host: h', 'Content-Type:').CONTENT_TYPE, '')
})

request('a header becomes HTTP_*, whatever its case', () => {
  const environ = environOf('GET / HTTP/1.1', 'hOsT: h', 'x-fOO-bar9: \t v a l \xe9\t ', 'Path-Info: p', "x!#$%&'*+.^`|~: t", 'X-Empty:', 'K: v')
  assert.is(environ['HTTP_HOST'], 'h')
  assert.is(environ['HTTP_X_FOO_BAR9'], 'v a l é')
  assert.is(environ['HTTP_PATH_INFO'], 'p')
  assert.is(environ["HTTP_X!#$%&'*+.^`|~"], 't')
  assert.is(environ['HTTP_X_EMPTY'], '')
  for (const key of ['HTTP_x_foo_bar9', 'HTTP_X-FOO-BAR9', 'HTTP_X_FOO_BAR', 'HTTP_', 'http_host', 'HTTP_HOST ', 'HTTP_ABSENT', 'HTTP_\u212a']) {
    assert.is(environ[key], undefined, key)
    assert.not(key in environ, key)
  }
})

request('repeated headers join with a comma, cookies with a semicolon', () => {
  const lines = ['GET / HTTP/1.1', 'Host: h', 'Accept: a', 'Cookie: c=1', 'accept: b, c', 'X: y', 'cookie: d=2', 'ACCEPT: ']
  for (const environ of [environOf(...lines), { ...environOf(...lines) }]) {
    assert.is(environ['HTTP_ACCEPT'], 'a, b, c, ')
    assert.is(environ['HTTP_COOKIE'], 'c=1; d=2')
  }
  assert.equal(Object.keys(environOf(...lines)).filter(key => key.startsWith('HTTP_')), ['HTTP_HOST', 'HTTP_ACCEPT', 'HTTP_COOKIE', 'HTTP_X'])
})

request('names with _ are in headers_raw alone', () => {
  const environ = environOf('GET / HTTP/1.1', 'Host: h', 'X_Real_IP: evil', 'X-Real-IP: 1', '__proto__: p', 'Content_Length: 9')
  assert.is(environ['HTTP_X_REAL_IP'], '1')
  assert.not('CONTENT_LENGTH' in environ)
  assert.not('HTTP___PROTO__' in environ)
  assert.equal(environ.headers_raw, [['Host', 'h'], ['X_Real_IP', 'evil'], ['X-Real-IP', '1'], ['__proto__', 'p'], ['Content_Length', '9']])
  assert.equal(Object.keys(environ).filter(key => key.startsWith('HTTP_')), ['HTTP_HOST', 'HTTP_X_REAL_IP'])
})

request('header names never reach a prototype', () => {
  const environ = environOf('GET / HTTP/1.1', 'Host: h', 'constructor: c', 'toString: t', 'hasOwnProperty: h')
  assert.is(environ['HTTP_CONSTRUCTOR'], 'c')
  assert.is(environ['HTTP_TOSTRING'], 't')
  assert.is(environ['constructor'], Object)
  assert.is(environ['toString'], Object.prototype.toString)
  assert.ok(environ.hasOwnProperty('HTTP_HASOWNPROPERTY'))
  assert.not(Object.hasOwn(environ, 'constructor'))
  // Not even a polluted one answers for an absent header.
  const prototype = Object.prototype as unknown as Record<string, unknown>
  prototype['HTTP_X_POLLUTED'] = 'evil'
  try {
    assert.is(environ['HTTP_X_POLLUTED'], undefined)
    assert.not('HTTP_X_POLLUTED' in environ)
    Object.keys(environ)
    assert.is(environ['HTTP_X_POLLUTED'], undefined)
    assert.not('HTTP_X_POLLUTED' in environ)
  } finally {
    delete prototype['HTTP_X_POLLUTED']
  }
})

request('keys of one length and last letter, asked for in turn, are told apart', () => {
  const long = 'A'.repeat(28)
  const environ = environOf('GET / HTTP/1.1', 'Host: h', 'Accept: a', 'Expect: 100-continue', `X-${long}-AT: long`, 'Cookie: c')
  for (let i = 0; i < 2; i++) {
    assert.is(environ['HTTP_ACCEPT'], 'a')
    assert.is(environ['HTTP_EXPECT'], '100-continue')
    assert.is(environ['HTTP_ABSENT'], undefined)
    assert.is(environ['HTTP_IMPACT'], undefined)
    assert.is(environ[`HTTP_X_${long}_AT`], 'long')
    assert.is(environ[`HTTP_X_${long}_BT`], undefined)
    assert.is(environ['HTTP_COOKIE'], 'c')
    assert.is(environ['HTTPS'], undefined)
    assert.is(environ[''], undefined)
  }
})

request('a hundred headers read a hundred times', () => {
  const names = Array.from({ length: 99 }, (_, i) => `X-Header-${i}`)
  const environ = environOf('GET / HTTP/1.1', 'Host: h', ...names.map(name => `${name}: ${name}`))
  for (const name of names) assert.is(environ[`HTTP_${name.toUpperCase().replaceAll('-', '_')}`], name)
  for (const name of names) assert.is(environ[`HTTP_${name.toUpperCase().replaceAll('-', '_')}`], name)
  assert.is(environ['HTTP_X_HEADER_99'], undefined)
  assert.is(environ.PATH_INFO, '/')
})

request.run()

// ── Keys of the connection and the server ────────────────────────────────────────────────────────────────────────────────────────────

const server = suite('environ: the server')

server('addresses of a TCP connection', () => {
  const environ = environOf(...GET)
  assert.equal([environ.SERVER_NAME, environ.SERVER_PORT, environ.REMOTE_ADDR, environ.REMOTE_PORT], ['127.0.0.1', '8090', '192.0.2.7', '51234'])
})

server('addresses of a unix socket, and of nothing', () => {
  const source = new FakeSource(...GET)
  source.local = source.peer = { address: 'unix', port: 0, family: 'unix' }
  const unix = createEnviron(source)
  assert.equal([unix.SERVER_NAME, unix.SERVER_PORT, unix.REMOTE_ADDR, unix.REMOTE_PORT], ['unix', '', 'unix', ''])
  const other = new FakeSource(...GET)
  other.local = other.peer = { address: '', port: 0, family: '' }
  const memory = createEnviron(other)
  assert.equal([memory.SERVER_NAME, memory.SERVER_PORT, memory.REMOTE_ADDR, memory.REMOTE_PORT], ['', '', '', ''])
})

server('the wsgi keys', () => {
  const environ = environOf(...GET)
  assert.equal(environ['wsgi.version'], [1, 0])
  assert.is(environ['wsgi.url_scheme'], 'http')
  assert.is(environ['wsgi.multithread'], false)
  assert.is(environ['wsgi.multiprocess'], false)
  assert.is(environ['wsgi.run_once'], false)
  assert.is(typeof environ['wsgi.errors'].write, 'function')
  assert.is(environ['wsgi.input'], environ['eventlet.input'])
  assert.not('HTTPS' in environ)
  assert.not('eventlet.minimum_write_chunk_size' in environ)
  assert.not('wirelet.sendTrailers' in environ)
})

server('HTTPS is there over TLS only', () => {
  const source = new FakeSource(...GET)
  source.secure = true
  const environ = createEnviron(source)
  assert.is(environ.HTTPS, 'on')
  assert.is(environ['wsgi.url_scheme'], 'https')
  assert.ok(Object.keys(environ).includes('HTTPS'))
  assert.not('HTTPS' in { ...environOf(...GET) })
})

server('each part is asked for when it is first read, once, laid out or not', () => {
  const keys: [string, string][] = [
    ['wsgi.input', 'makeInput'], ['wsgi.errors', 'errors'], ['eventlet.posthooks', 'makeHooks'], ['eventlet.set_idle', 'setIdle'],
    ['wirelet.signal', 'makeSignal'], ['wirelet.inform', 'inform'], ['wirelet.upgrade', 'upgrade'], ['wirelet.tls', 'tls'],
    ['SERVER_NAME', 'localAddress'], ['REMOTE_PORT', 'peerAddress']
  ]
  for (const layOutFirst of [false, true]) {
    for (const [key, name] of keys) {
      const source = new FakeSource(...GET)
      const environ = createEnviron(source)
      assert.ok(key in environ)
      if (layOutFirst) Reflect.ownKeys(environ)
      assert.ok(key in environ)
      assert.equal(source.asked, [], 'nobody looked')
      const value = environ[key]
      assert.is(environ[key], value)
      Object.keys(environ)
      assert.is(environ[key], value)
      assert.is({ ...environ }[key], value)
      assert.is(source.asked.filter(asked => asked === name).length, 1, key)
    }
  }
})

server('trailers and outcome are live until they are there', () => {
  for (const layOutFirst of [false, true]) {
    const source = new FakeSource(...GET)
    const environ = createEnviron(source)
    if (layOutFirst) Reflect.ownKeys(environ)
    assert.is(environ['wirelet.trailers'], null)
    assert.is(environ['wirelet.outcome'], null)
    source.currentTrailers = [['X', 'y']]
    source.currentOutcome = { bytes: 3, completed: true, reason: '' }
    assert.equal(environ['wirelet.trailers'], [['X', 'y']])
    assert.is(environ['wirelet.outcome'], source.currentOutcome)
    const { length } = source.asked
    assert.is(environ['wirelet.trailers'], source.currentTrailers)
    assert.is(environ['wirelet.outcome'], source.currentOutcome)
    assert.is(source.asked.length, length)
  }
})

server('what the application wrote over trailers and outcome stays', () => {
  for (const layOutFirst of [false, true]) {
    const source = new FakeSource(...GET)
    const environ = createEnviron(source)
    if (layOutFirst) Reflect.ownKeys(environ)
    environ['wirelet.outcome'] = null
    Object.defineProperty(environ, 'wirelet.trailers', { enumerable: false })
    source.currentTrailers = [['X', 'y']]
    source.currentOutcome = { bytes: 3, completed: true, reason: '' }
    assert.is(environ['wirelet.trailers'], null)
    assert.is(environ['wirelet.outcome'], null)
    assert.is({ ...environ }['wirelet.outcome'], null)
  }
})

server('the environ option overrides wsgi defaults, adds keys, and gives way to the request (eventlet P4)', () => {
  const custom = Symbol('custom')
  const errors = { write: () => false }
  const extra = {
    'wsgi.multiprocess': true, 'wsgi.errors': errors, 'wsgi.url_scheme': 'https', HTTPS: 'on', 'app.config': { a: 1 }, [custom]: 2,
    REQUEST_METHOD: 'BREW', HTTP_HOST: 'z', HTTP_X_EXTRA: 'e', 'wsgi.input': 'mine', SERVER_NAME: 'www', CONTENT_TYPE: 'text/x', toString: 'own'
  }
  Object.defineProperty(extra, 'hidden', { value: 1, enumerable: false })
  const source = new FakeSource(...GET)
  source.extra = extra
  const environ = createEnviron(source)
  for (const seen of [environ, { ...environ }, environ]) {
    assert.is(seen['wsgi.multiprocess'], true)
    assert.is(seen['wsgi.multithread'], false)
    assert.is(seen['wsgi.errors'], errors)
    assert.is(seen['wsgi.url_scheme'], 'https')
    assert.is(seen.HTTPS, 'on')
    assert.is(seen['app.config'], extra['app.config'])
    assert.is((seen as unknown as Record<symbol, unknown>)[custom], 2)
    assert.is(seen['HTTP_X_EXTRA'], 'e')
    assert.is(seen.CONTENT_TYPE, 'text/x')
    assert.is(seen['toString'], 'own')
    assert.is(seen.REQUEST_METHOD, 'GET')
    assert.is(seen['HTTP_HOST'], 'example.org')
    assert.is(seen.SERVER_NAME, '127.0.0.1')
    assert.is.not(seen['wsgi.input'], 'mine')
    assert.not('hidden' in seen)
  }
  assert.equal(Object.keys(environ).slice(-3), ['app.config', 'HTTP_X_EXTRA', 'toString'])
  assert.is(extra['wsgi.input'], 'mine')
})

server('the environ option may carry a key called __proto__', () => {
  const source = new FakeSource(...GET)
  source.extra = JSON.parse('{"__proto__":{"polluted":1}}')
  const environ = createEnviron(source)
  assert.equal(environ['__proto__'], { polluted: 1 })
  assert.ok(Object.keys(environ).includes('__proto__'))
  assert.is(environ['polluted'], undefined)
  assert.is(Object.getPrototypeOf(environ), Object.prototype)
})

server.run()

// ── A plain dictionary ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

const dictionary = suite('environ: a plain dictionary')

dictionary('keys have a fixed order', () => {
  const source = new FakeSource('POST /p HTTP/1.1', 'Host: h', 'Content-Length: 0', 'B: 1', 'Content-Type: t', 'A: 2')
  source.secure = true
  source.extra = { 'app.key': 1, SCRIPT_NAME: '/x' }
  const environ = createEnviron(source)
  environ['added'] = 1
  environ.PATH_INFO = '/other'
  assert.equal(Object.keys(environ), [
    'REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'RAW_PATH_INFO', 'REQUEST_URI', 'QUERY_STRING', 'CONTENT_TYPE', 'CONTENT_LENGTH',
    'SERVER_PROTOCOL', 'GATEWAY_INTERFACE', 'SERVER_NAME', 'SERVER_PORT', 'REMOTE_ADDR', 'REMOTE_PORT', 'HTTPS', 'headers_raw',
    'wsgi.version', 'wsgi.url_scheme', 'wsgi.input', 'wsgi.errors', 'wsgi.multithread', 'wsgi.multiprocess', 'wsgi.run_once',
    'eventlet.input', 'eventlet.posthooks', 'eventlet.set_idle',
    'wirelet.signal', 'wirelet.inform', 'wirelet.trailers', 'wirelet.outcome', 'wirelet.tls', 'wirelet.upgrade',
    'HTTP_HOST', 'HTTP_B', 'HTTP_A', 'app.key', 'added'
  ])
  assert.is(environ.PATH_INFO, '/other')
  assert.is(environ.SCRIPT_NAME, '')
})

dictionary('copies, entries and comparisons', () => {
  const environ = environOf(...GET)
  const copy = { ...environ }
  assert.is(copy.PATH_INFO, '/a b/c')
  nodeAssert.deepStrictEqual(environ, copy)
  nodeAssert.deepStrictEqual(copy, environ)
  nodeAssert.deepEqual(environ, copy)
  nodeAssert.notDeepStrictEqual(environ, { ...copy, more: 1 })
  assert.equal(environ, copy)
  assert.equal(Object.entries(environ), Object.entries(copy))
  assert.equal(Object.fromEntries(Object.entries(environ)), copy)
  assert.equal(Object.assign({}, environ), copy)
  const seen: string[] = []
  for (const key in environ) seen.push(key)
  assert.equal(seen, Object.keys(copy))
  const { PATH_INFO, ...others } = environ
  assert.is(PATH_INFO, '/a b/c')
  assert.not('PATH_INFO' in others)
})

dictionary('it looks like an object literal', () => {
  const environ = environOf(...GET)
  assert.is(Object.getPrototypeOf(environ), Object.prototype)
  assert.instance(environ, Object)
  assert.is(String(environ), '[object Object]')
  assert.is(typeof environ, 'object')
  assert.is((environ as unknown as { then: unknown }).then, undefined)
  assert.ok('toString' in environ)
  assert.is((environ as unknown as Record<symbol, unknown>)[Symbol.toStringTag], undefined)
  assert.is((environ as unknown as Record<symbol, unknown>)[Symbol.for('nodejs.util.inspect.custom')], undefined)
})

dictionary('JSON.stringify takes it', () => {
  const json = JSON.parse(JSON.stringify(environOf(...GET))) as Record<string, unknown>
  assert.is(json['PATH_INFO'], '/a b/c')
  assert.is(json['HTTP_USER_AGENT'], 'test')
  assert.equal(json['wsgi.version'], [1, 0])
  assert.equal(json['wsgi.input'], {})
  assert.equal(json['wirelet.signal'], {})
  assert.not('wirelet.inform' in json)
})

dictionary('console.log shows what is in it', () => {
  const environ = environOf(...GET)
  environ['mine'] = 5
  assert.is(inspect(environ), inspect({ ...environ }))
  assert.match(inspect(environ), `PATH_INFO: '/a b/c'`)
  assert.match(inspect(environ), 'mine: 5')
  assert.match(inspect({ deep: { environ } }, { depth: 5 }), `PATH_INFO: '/a b/c'`)
  Object.freeze(environ)
  assert.match(inspect(environ), `PATH_INFO: '/a b/c'`)
})

dictionary('hasOwnProperty and property descriptors', () => {
  for (const layOutFirst of [false, true]) {
    const environ = environOf(...GET)
    if (layOutFirst) Reflect.ownKeys(environ)
    for (const [key, there] of [['PATH_INFO', true], ['HTTP_X_ONE', true], ['HTTP_X_TWO', false], ['HTTPS', false], ['toString', false]] as const) {
      assert.is(Object.prototype.hasOwnProperty.call(environ, key), there, key)
      assert.is(Object.hasOwn(environ, key), there, key)
    }
    assert.equal(Object.getOwnPropertyDescriptor(environ, 'HTTP_X_ONE'), { value: '1', writable: true, enumerable: true, configurable: true })
    assert.equal(Object.getOwnPropertyDescriptor(environ, 'SCRIPT_NAME'), { value: '', writable: true, enumerable: true, configurable: true })
    assert.is(Object.getOwnPropertyDescriptor(environ, 'nothing'), undefined)
    assert.is(Object.keys(Object.getOwnPropertyDescriptors(environ)).length, Object.keys(environ).length)
  }
})

dictionary('any key can be assigned, and nobody else is disturbed', () => {
  for (const layOutFirst of [false, true]) {
    const source = new FakeSource(...GET)
    const environ = createEnviron(source) as Record<string, unknown>
    const keys = Object.keys({ ...createEnviron(new FakeSource(...GET)) })
    if (layOutFirst) Reflect.ownKeys(environ)
    for (const key of keys) environ[key] = null
    environ['added'] = undefined
    for (const key of keys) assert.is(environ[key], null, key)
    assert.ok('added' in environ)
    assert.equal(Object.keys(environ), [...keys, 'added'])
    assert.equal(source.asked, [], 'what is overwritten unread is never made')
    assert.is(source.head.method, 'GET')
    assert.is(environOf(...GET).REQUEST_METHOD, 'GET')
  }
})

dictionary('any key can be deleted, and come back at the end', () => {
  const environ = environOf(...GET) as Record<string, unknown>
  environ['mine'] = 1
  assert.ok(delete environ['HTTP_X_ONE'])
  assert.ok(delete environ['wsgi.input'])
  assert.ok(delete environ['mine'])
  assert.ok(delete environ['nothing'])
  for (const key of ['HTTP_X_ONE', 'wsgi.input', 'mine']) {
    assert.not(key in environ)
    assert.is(environ[key], undefined)
    assert.not(Object.keys(environ).includes(key))
  }
  environ['HTTP_X_ONE'] = 'again'
  assert.is(Object.keys(environ).at(-1), 'HTTP_X_ONE')
  for (const key of Object.keys(environ)) delete environ[key]
  assert.equal({ ...environ }, {})
})

dictionary('Object.assign and defineProperty write to it', () => {
  const environ = environOf(...GET)
  assert.is(Object.assign(environ, { PATH_INFO: '/z', more: 1 }), environ)
  assert.is(environ.PATH_INFO, '/z')
  Object.defineProperty(environ, 'fixed', { value: 7 })
  assert.is(environ['fixed'], 7)
  assert.not(Object.keys(environ).includes('fixed'))
  assert.equal(Object.getOwnPropertyDescriptor(environ, 'fixed'), { value: 7, writable: false, enumerable: false, configurable: false })
  assert.throws(() => { environ['fixed'] = 8 }, TypeError)
  assert.throws(() => { delete environ['fixed'] }, TypeError)
  let set: unknown
  Object.defineProperty(environ, 'accessor', {
    get(this: Environ) { return this.PATH_INFO },
    set(this: Environ, value: unknown) { set = [this === environ, value] },
    enumerable: true
  })
  assert.is(environ['accessor'], '/z')
  environ['accessor'] = 3
  assert.equal(set, [true, 3])
  Object.defineProperty(environ, 'SERVER_NAME', { enumerable: false })
  assert.is(environ.SERVER_NAME, '127.0.0.1')
  assert.not(Object.keys(environ).includes('SERVER_NAME'))
})

dictionary('it can be frozen, sealed and closed', () => {
  const frozen = environOf(...GET)
  assert.is(Object.freeze(frozen), frozen)
  assert.ok(Object.isFrozen(frozen))
  assert.throws(() => { frozen.PATH_INFO = '/z' }, TypeError)
  assert.throws(() => { frozen['more'] = 1 }, TypeError)
  assert.is(frozen.PATH_INFO, '/a b/c')
  assert.is(frozen['toString'], Object.prototype.toString)
  nodeAssert.deepStrictEqual(frozen, { ...frozen })
  const sealed = Object.seal(environOf(...GET))
  sealed.PATH_INFO = '/z'
  assert.is(sealed.PATH_INFO, '/z')
  assert.throws(() => { delete sealed.CONTENT_TYPE; delete (sealed as Record<string, unknown>)['PATH_INFO'] }, TypeError)
  const closed = environOf(...GET)
  assert.ok(Object.isExtensible(closed))
  Object.preventExtensions(closed)
  assert.not(Object.isExtensible(closed))
  closed.SCRIPT_NAME = '/s'
  assert.is(closed.SCRIPT_NAME, '/s')
  assert.throws(() => { closed['more'] = 1 }, TypeError)
  assert.is(Object.getPrototypeOf(closed), Object.prototype)
})

dictionary('__proto__ is a key like any other, and the prototype is nobody\'s to change', () => {
  for (const layOutFirst of [false, true]) {
    const environ = environOf(...GET) as Record<string, unknown>
    if (layOutFirst) Reflect.ownKeys(environ)
    assert.is(environ['__proto__'], Object.prototype)
    environ['__proto__'] = { evil: 1 }
    assert.is(environ['evil'], undefined)
    assert.equal(environ['__proto__'], { evil: 1 })
    assert.ok(Object.keys(environ).includes('__proto__'))
    assert.is(Object.getPrototypeOf(environ), Object.prototype)
    assert.throws(() => Object.setPrototypeOf(environ, { evil: 1 }), TypeError)
    assert.is(Object.setPrototypeOf(environ, Object.prototype), environ)
    environ['constructor'] = 'c'
    assert.is(environ['constructor'], 'c')
  }
  assert.is(({} as { evil?: unknown }).evil, undefined)
})

dictionary('an object that inherits from it is its own', () => {
  const environ = environOf(...GET)
  const child = Object.create(environ) as Environ
  assert.is(child.PATH_INFO, '/a b/c')
  assert.is(child['HTTP_X_ONE'], '1')
  child.PATH_INFO = '/child'
  child['more'] = 1
  assert.equal(Object.keys(child), ['PATH_INFO', 'more'])
  assert.is(environ.PATH_INFO, '/a b/c')
  assert.not('more' in environ)
})

dictionary('symbols and numbers are keys too', () => {
  const environ = environOf(...GET) as unknown as Record<string | symbol, unknown>
  const symbol = Symbol('mine')
  environ[symbol] = 1
  environ['7'] = 'seven'
  assert.is(environ[symbol], 1)
  assert.ok(symbol in environ)
  assert.is(environ[7 as unknown as string], 'seven')
  assert.is(Object.keys(environ)[0], '7')
  assert.equal(Object.getOwnPropertySymbols(environ), [symbol])
})

dictionary('the server learns whether anything was written', () => {
  const writes: ((environ: Environ) => unknown)[] = [
    environ => { environ['a'] = 1 }, environ => delete environ.HTTPS, environ => Object.defineProperty(environ, 'a', { value: 1 }), Object.freeze
  ]
  for (const write of writes) {
    const lazy = new LazyEnviron(new FakeSource(...GET))
    Object.entries(lazy.environ)
    lazy.environ['eventlet.posthooks'].push([() => {}])
    assert.is(lazy.written, false)
    write(lazy.environ)
    assert.is(lazy.written, true)
  }
})

dictionary.run()
