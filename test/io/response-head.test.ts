import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { InvalidHeader } from '../../src/io/errors.ts'
import { contentLengthLine, encodeResponseHead, encodeTrailers, renderRefusal } from '../../src/io/response-head.ts'

const statusLines = suite('response head: status line')
const headers = suite('response head: headers')
const trailers = suite('response head: trailers')

function fields(pairs: unknown, status: string | number = 200, capitalize = true): string {
  return encodeResponseHead(status, pairs as [string, string][], capitalize).fields
}

function refused(call: () => unknown): void {
  assert.throws(call, (error: unknown) => error instanceof InvalidHeader && error.code === 'ERR_WIRELET_INVALID_HEADER')
}

statusLines('as given, or with the usual phrase', () => {
  const lines: [string | number, string][] = [
    ['200 OK', 'HTTP/1.1 200 OK\r\n'], [200, 'HTTP/1.1 200 OK\r\n'], ['200', 'HTTP/1.1 200 OK\r\n'], ['200 ', 'HTTP/1.1 200 \r\n'], ['404 No Such Thing', 'HTTP/1.1 404 No Such Thing\r\n'],
    [599, 'HTTP/1.1 599 Unknown\r\n'], [418, 'HTTP/1.1 418 Unknown\r\n'], ['299 caf\xe9\t!', 'HTTP/1.1 299 caf\xe9\t!\r\n'], [103, 'HTTP/1.1 103 Early Hints\r\n']
  ]
  for (const [status, line] of lines) assert.is(encodeResponseHead(status, undefined, true).statusLine, line)
})

statusLines('what is no status', () => {
  const wrong: unknown[] = [
    99, 600, 0, -1, 200.5, NaN, Infinity, '', '20', '2000', 'OK', '200OK', ' 200 OK', '099 x', '600 x', '200 O\rK', '200 O\nK', '200 OK\r\n',
    '200 \u010a', '200 \0', null, undefined, {}, true
  ]
  for (const status of wrong) refused(() => encodeResponseHead(status as string, undefined, true))
})

statusLines('who has no content', () => {
  for (const status of [100, 103, 204, 205, 304]) assert.ok(encodeResponseHead(status, undefined, true).bodiless, String(status))
  for (const status of [200, 206, 400, 500]) assert.not.ok(encodeResponseHead(status, undefined, true).bodiless, String(status))
})

headers('pairs, an object, lists and iterables', () => {
  const expected = 'A: 1\r\nB: x\r\nB: y\r\n'
  assert.is(fields([['A', '1'], ['B', 'x'], ['B', 'y']]), expected)
  assert.is(fields({ A: 1, B: ['x', 'y'] }), expected)
  assert.is(fields(new Map([['A', '1'], ['B', 'x']])), 'A: 1\r\nB: x\r\n')
  assert.is(fields((function* () {
    yield ['A', 1]
  })()), 'A: 1\r\n')
  assert.is(fields([]), '')
  assert.is(fields(undefined), '')
})

headers('capitals part by part, or as given', () => {
  assert.is(fields([['content-type', 'a'], ['X-CUSTOM-header', 'b'], ['x--y', 'd']]), 'Content-Type: a\r\nX-Custom-Header: b\r\nX--Y: d\r\n')
  assert.is(fields([['eTag', 'c']]), 'Etag: c\r\n')
  assert.is(fields([['content-type', 'a'], ['eTag', 'c']], 200, false), 'content-type: a\r\neTag: c\r\n')
  // The two do not share what they remember.
  assert.is(fields([['content-type', 'a']]), 'Content-Type: a\r\n')
})

headers('what is no header', () => {
  const names: unknown[] = ['', ' ', 'a b', 'a:', 'a\r\n', 'a\n', 'é', 'a\0', 'a(b)', '"a"', 5, null, undefined, {}]
  for (const name of names) refused(() => fields([[name, 'v']]))
  const values: unknown[] = [' a', 'a ', '\ta', 'a\r\nb', 'a\nb', 'a\rb', 'a\0', '\x7f', '\u010a', 'a\u010db', '€']
  values.push(NaN, Infinity, null, undefined, {}, ['a'], true, Symbol('s'))
  for (const value of values) refused(() => fields([['A', value]]))
  for (const list of ['text', 5, null, ['ab'], [null], [[]]]) refused(() => fields(list))
})

headers('what is one', () => {
  const values: [string | number, string][] = [['', ''], ['a', 'a'], ['a b\tc', 'a b\tc'], ['\x80\xff', '\x80\xff'], [0, '0'], [-1.5, '-1.5'], ['!~', '!~']]
  for (const [value, text] of values) assert.is(fields([['A', value]]), `A: ${text}\r\n`)
  assert.is(fields([['!#$%&\'*+-.^_`|~09Az', 'v']], 200, false), '!#$%&\'*+-.^_`|~09Az: v\r\n')
})

headers('names like those of objects are just names', () => {
  assert.is(fields([['__proto__', 'v'], ['toString', 'w']], 200, false), '__proto__: v\r\ntoString: w\r\n')
  assert.is(fields({ constructor: 'v' }), 'Constructor: v\r\n')
})

headers('Content-Length: once, digits, and none where no content can be', () => {
  assert.is(encodeResponseHead(200, { 'content-length': 12 }, true).contentLength, 12)
  assert.is(encodeResponseHead(200, {}, true).contentLength, -1)
  assert.is(fields({ 'content-length': '007' }), 'Content-Length: 007\r\n')
  for (const value of ['-1', '1.0', '0x1', '1 2', '', '1234567890123456', -1, 1.5, 1e21]) refused(() => fields({ 'Content-Length': value }))
  refused(() => fields([['Content-Length', 1], ['content-length', 1]]))
  assert.is(fields({ 'Content-Length': 5 }, 204), '')
  assert.is(fields({ 'Content-Length': 5 }, 205), '')
  refused(() => fields({ 'Content-Length': 5 }, 103))
  assert.is(fields({ 'Content-Length': 5 }, 304), 'Content-Length: 5\r\n')
})

headers('Date: once, and then it is the application\'s', () => {
  assert.ok(encodeResponseHead(200, { date: 'x' }, true).hasDate)
  assert.not.ok(encodeResponseHead(200, {}, true).hasDate)
  refused(() => fields([['Date', 'x'], ['date', 'y']]))
})

headers('of Connection only close, which is not a field but a wish', () => {
  for (const value of ['close', 'Close', 'CLOSE']) {
    const head = encodeResponseHead(200, { Connection: value }, true)
    assert.ok(head.close)
    assert.is(head.fields, '')
  }
  for (const value of ['keep-alive', 'upgrade', 'close, x', 'x-header', '']) refused(() => fields({ connection: value }))
})

headers('hop-by-hop fields are the server\'s', () => {
  for (const name of ['Transfer-Encoding', 'transfer-encoding', 'TRANSFER-ENCODING', 'Keep-Alive', 'Proxy-Connection', 'TE']) {
    refused(() => fields({ [name]: 'x' }))
  }
})

headers('Upgrade: only with 426', () => {
  refused(() => fields({ Upgrade: 'websocket' }))
  const head = encodeResponseHead(426, [['Upgrade', 'TLS/1.0'], ['Connection', 'upgrade']], true)
  assert.ok(head.upgrade)
  assert.is(head.fields, 'Upgrade: TLS/1.0\r\n')
})

headers('a name that was refused once is refused again, one that passed passes', () => {
  for (let i = 0; i < 3; i++) {
    refused(() => fields({ 'Transfer-Encoding': 'chunked' }))
    assert.is(fields({ 'X-Y': 'z' }), 'X-Y: z\r\n')
  }
})

headers('made-up names and statuses do not pile up, and known ones stay right', () => {
  for (let i = 0; i < 2000; i++) {
    assert.is(fields({ [`x-${i}`]: 'v' }), `X-${i}: v\r\n`)
    assert.is(encodeResponseHead(`200 phrase ${i}`, undefined, true).statusLine, `HTTP/1.1 200 phrase ${i}\r\n`)
  }
  refused(() => fields({ 'transfer-encoding': 'chunked' }))
  assert.is(encodeResponseHead(200, { 'content-length': 3 }, true).contentLength, 3)
})

trailers('field lines, checked as headers are', () => {
  assert.is(encodeTrailers([['x-checksum', 'abc'], ['X-Count', 3]], true), 'X-Checksum: abc\r\nX-Count: 3\r\n')
  assert.is(encodeTrailers({ 'x-checksum': 'abc' }, false), 'x-checksum: abc\r\n')
  refused(() => encodeTrailers({ 'x y': 'abc' }, true))
  refused(() => encodeTrailers({ x: 'a\r\nb' }, true))
})

trailers('what may not stand there (RFC 9110 §6.5.1)', () => {
  for (const name of [
    'Content-Length', 'Transfer-Encoding', 'Trailer', 'Host', 'Connection', 'TE', 'Upgrade', 'Keep-Alive', 'Content-Type', 'Content-Encoding',
    'Content-Range', 'Authorization', 'Set-Cookie', 'Cookie', 'Cache-Control', 'Expires', 'Date', 'Location', 'Retry-After', 'Vary', 'If-Match', 'if-none-match', 'Range', 'Expect'
  ]) refused(() => encodeTrailers({ [name]: '1' }, true))
})

trailers('a refusal', () => {
  const head = 'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nDate: x\r\nConnection: close\r\n\r\n'
  assert.is(renderRefusal('HTTP/1.1', 400, 'Date: x\r\n', 'why\r\n', true), `${head}why\r\n`)
  assert.is(renderRefusal('HTTP/1.1', 400, 'Date: x\r\n', 'why\r\n', false), head)
})

const remembered = suite('response head: a value like the last one')

remembered('leaves as it did, another one as itself', () => {
  for (const value of ['one', 'one', 'two', 'one', '', '', 'one']) {
    assert.is(fields([['X-Remembered', value]]), `X-Remembered: ${value}\r\n`)
    assert.is(fields([['x-remembered', value]], 200, false), `x-remembered: ${value}\r\n`)
  }
})

remembered('of another type is judged as itself', () => {
  for (const before of ['', '5', 'null', 'undefined']) {
    fields([['X-Typed', before]])
    assert.is(fields([['X-Typed', 5]]), 'X-Typed: 5\r\n')
    for (const value of [null, undefined, true, [before], new String(before), { toString: () => before }]) refused(() => fields([['X-Typed', value]]))
  }
})

remembered('a refused value is refused again, and forgotten', () => {
  assert.is(fields([['X-Refused', 'good']]), 'X-Refused: good\r\n')
  for (let i = 0; i < 3; i++) refused(() => fields([['X-Refused', 'bad\r\nX: y']]))
  assert.is(fields([['X-Refused', 'good']]), 'X-Refused: good\r\n')
})

remembered('what only some values and answers may say is asked each time', () => {
  for (let i = 0; i < 2; i++) {
    refused(() => fields([['Content-Length', '1'], ['Content-Length', '1']]))
    refused(() => fields([['Transfer-Encoding', 'chunked']]))
    refused(() => fields([['Upgrade', 'h2c']]))
    assert.is(encodeResponseHead(200, [['Connection', 'close']], true).close, true)
    assert.is(encodeResponseHead(200, [['Content-Length', '7']], true).contentLength, 7)
    assert.is(encodeResponseHead(200, [['Date', 'now']], true).hasDate, true)
  }
})

remembered('long values too', () => {
  for (const length of [255, 256, 257, 10_000]) {
    for (const octet of ['a', 'a', 'b']) assert.is(fields([['X-Long', octet.repeat(length)]]), `X-Long: ${octet.repeat(length)}\r\n`)
  }
})

remembered('Content-Length lines: kept ones and others', () => {
  for (const size of [0, 1, 4095, 4096, 2 ** 40, 0]) assert.is(contentLengthLine(size), `Content-Length: ${size}\r\n`)
})

statusLines.run()
remembered.run()
headers.run()
trailers.run()
