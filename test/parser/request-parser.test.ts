import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PeerErrorCode } from '../../src/parser/errors.ts'
import { DEFAULT_LIMITS } from '../../src/parser/limits.ts'
import { RequestParser } from '../../src/parser/request-parser.ts'
import { expectError, expectEvents, headEvents } from '../support/event-log.ts'

const parser = suite('parser/request-parser')

const make = (): RequestParser => new RequestParser({ limits: DEFAULT_LIMITS, acceptTransferEncodingWithContentLength: false })
const CANARY = 'GET /canary HTTP/1.1\r\nHost: x\r\n\r\n'

parser('a browser\'s request', () => {
  expectEvents(
    'GET /wp/hello.jpg?a=b HTTP/1.1\r\nHost: www.example.com:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux) Gecko/2010\r\n' +
    'Accept: text/html,*/*;q=0.8\r\nAccept-Encoding:gzip\r\nConnection: keep-alive\r\nCookie: a=b; c="d"\r\nX-Empty:\r\n\r\n',
    [
      'head GET /wp/hello.jpg?a=b 1.1 keep-alive asked-keep-alive',
      'field Host: www.example.com:8080',
      'field User-Agent: Mozilla/5.0 (X11; Linux) Gecko/2010',
      'field Accept: text/html,*/*;q=0.8',
      'field Accept-Encoding: gzip',
      'field Connection: keep-alive',
      'field Cookie: a=b; c="d"',
      'field X-Empty: '
    ]
  )
})

parser('pipelined requests, one after the other', () => {
  expectEvents(`GET /a HTTP/1.1\r\nHost: x\r\n\r\n${CANARY}\r\nHEAD / HTTP/1.0\r\n\r\nGET /never HTTP/1.1\r\n`, [
    'head GET /a 1.1 keep-alive', 'field Host: x', 'head GET /canary 1.1 keep-alive', 'field Host: x', 'head HEAD / 1.0 close'
  ])
})

parser('any token is a method', () => {
  for (const method of ['GET', 'get', 'FOO', "!#$%&'*+-.^_`|~09azAZ", 'PATCH', 'X', 'PRI', 'GETT', 'GE']) {
    expectEvents(`${method} / HTTP/1.1\r\nHost: x\r\n\r\n`, [`head ${method} / 1.1 keep-alive`, 'field Host: x'])
  }
})

parser('the request line has exactly one SP twice', () => {
  for (const [line, expected] of [
    ['GET  / HTTP/1.1', 'UNEXPECTED_SPACE 400 @4'],
    ['GET /  HTTP/1.1', 'UNEXPECTED_SPACE 400 @6'],
    ['GET\t/ HTTP/1.1', 'INVALID_METHOD 400 @3'],
    ['GET\x0b/ HTTP/1.1', 'INVALID_METHOD 400 @3'],
    ['GET\r/ HTTP/1.1', 'INVALID_METHOD 400 @3'],
    ['GET /\tHTTP/1.1', 'INVALID_URL 400 @5'],
    ['GET / HTTP/1.1 ', 'INVALID_CONSTANT 400 @14'],
    ['GET / HTTP/1.1\t', 'INVALID_CONSTANT 400 @14'],
    ['GET /a b HTTP/1.1', 'INVALID_CONSTANT 400 @7'],
    ['GET', 'INVALID_METHOD 400 @3'],
    ['GET ', 'INVALID_URL 400 @4'],
    ['GET \t', 'UNEXPECTED_SPACE 400 @4'],
    ['GET /', 'INVALID_CONSTANT 400 @5'],
    ['GET / ', 'INVALID_CONSTANT 400 @6'],
    ['GET HTTP/1.1', 'INVALID_CONSTANT 400 @12'],
    ['GET /HTTP/1.1', 'INVALID_CONSTANT 400 @13'],
    ['HTTP/1.1', 'INVALID_METHOD 400 @4'],
    ['HTTP/1.1 200 OK', 'INVALID_METHOD 400 @4'],
    ['G\x00ET / HTTP/1.1', 'INVALID_METHOD 400 @1'],
    ['GE(T / HTTP/1.1', 'INVALID_METHOD 400 @2'],
    ['GE\xe9 / HTTP/1.1', 'INVALID_METHOD 400 @2']
  ] as const) expectError(`${line}\r\nHost: x\r\n\r\n${CANARY}`, expected)
})

parser('nothing but empty lines may stand before the request line', () => {
  for (const start of [' ', '\t', '\n', '\x00', '\x0b', '\x7f', '\xef\xbb\xbf', '/', ':', '(']) {
    expectError(`${start}GET / HTTP/1.1\r\nHost: x\r\n\r\n`, 'UNEXPECTED_START 400 @0')
    expectError(`\r\n${start}GET / HTTP/1.1\r\nHost: x\r\n\r\n`, 'UNEXPECTED_START 400 @2')
  }
  expectError(`\rGET / HTTP/1.1\r\nHost: x\r\n\r\n`, 'LF_EXPECTED 400 @1')
  expectError(`\r\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n`, 'LF_EXPECTED 400 @1')
  expectError('\x16\x03\x01\x00\x75\x01', 'UNEXPECTED_START 400 @0')
})

parser('empty lines are skipped, up to four', () => {
  for (let n = 1; n <= 4; n++) expectEvents('\r\n'.repeat(n) + CANARY, ['head GET /canary 1.1 keep-alive', 'field Host: x'])
  expectError('\r\n'.repeat(5) + CANARY, 'TOO_MANY_EMPTY_LINES 400 @8')
  expectEvents('\r\n', ['incomplete head'])
  expectEvents('\r', ['incomplete head'])
})

parser('versions', () => {
  for (const version of ['HTTP/1.2', 'HTTP/1.9', 'HTTP/2.0', 'HTTP/2.1', 'HTTP/3.0', 'HTTP/0.9', 'HTTP/0.0', 'HTTP/9.9', 'HTTP/0.1']) {
    expectError(`GET / ${version}\r\nHost: x\r\n\r\n${CANARY}`, 'INVALID_VERSION 505 @11')
  }
  for (const [version, offset] of [
    ['http/1.1', 6], ['Http/1.1', 7], ['HTTP/1.10', 14], ['HTTP/01.1', 12], ['HTTP/1', 12], ['HTTP/1.', 13], ['HTTP/.1', 11], ['HTTP/1,1', 12],
    ['HTTP/ 1.1', 11], ['HTTP 1.1', 10], ['HTTPS/1.1', 10], ['HTTP/1.1a', 14], ['HTTP/-1.1', 11], ['HTTP/+1.1', 11], ['HTTP/1.\xb9', 13], ['RTSP/1.0', 6],
    ['HTTP/2.0x', 14], ['HTTP/1.1\x00', 14], ['HTTP', 10], ['H', 7]
  ] as const) expectError(`GET / ${version}\r\nHost: x\r\n\r\n${CANARY}`, `INVALID_CONSTANT 400 @${offset}`)
})

parser('the HTTP/2 preface is another version, not a bad target', () => {
  expectError('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'INVALID_VERSION 505 @11')
  expectError('PRI * HTTP/1.1\r\n\r\n', 'INVALID_URL 400 @4')
})

parser('every line ends in CRLF and nothing else', () => {
  for (const [input, expected] of [
    ['GET / HTTP/1.1\nHost: x\r\n\r\n', 'CR_EXPECTED 400 @14'],
    ['GET / HTTP/1.1\rHost: x\r\n\r\n', 'LF_EXPECTED 400 @15'],
    ['GET / HTTP/1.1\r\r\nHost: x\r\n\r\n', 'LF_EXPECTED 400 @15'],
    ['GET /\n', 'CR_EXPECTED 400 @5'],
    ['GET\n', 'CR_EXPECTED 400 @3'],
    ['GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n', 'CR_EXPECTED 400 @23'],
    ['GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n', 'LF_EXPECTED 400 @24'],
    ['GET / HTTP/1.1\r\nHost: x\r\r\n\r\n', 'LF_EXPECTED 400 @24'],
    ['GET / HTTP/1.1\r\nHost: x\r\n\n', 'CR_EXPECTED 400 @25'],
    ['GET / HTTP/1.1\r\nHost: x\r\n\rZ', 'LF_EXPECTED 400 @26'],
    ['GET / HTTP/1.1\r\nHost: x\n\n', 'CR_EXPECTED 400 @23'],
    ['GET / HTTP/1.1\r\nHost\n', 'CR_EXPECTED 400 @20'],
    ['GET / HTTP/1.1\r\nHost:\n', 'CR_EXPECTED 400 @21']
  ] as const) expectError(input + CANARY, expected)
})

parser('the first fault decides, whatever follows it', () => {
  const start = 'GET / HTTP/1.1\r\nHost: x\r\n'
  for (const [lines, expected] of [
    ['Content-Length: x\r\nHost: y', 'INVALID_CONTENT_LENGTH 400 @41'],
    ['Host: y\r\nContent-Length: x', 'DUPLICATE_HOST 400 @25'],
    ['Connection: a b\r\nX y: z', 'INVALID_CONNECTION 400 @37'],
    ['X y: z\r\nConnection: a b', 'UNEXPECTED_SPACE 400 @26']
  ] as const) expectError(`${start}${lines}\r\n\r\n`, expected)
})

const line = (text: string): string => `GET / HTTP/1.1\r\nHost: x\r\n${text}\r\n\r\n${CANARY}`

parser('field names are tokens, and the colon follows at once', () => {
  for (const [text, expected] of [
    ['X-A : b', 'UNEXPECTED_SPACE 400 @28'],
    ['X-A\t: b', 'UNEXPECTED_SPACE 400 @28'],
    ['X A: b', 'UNEXPECTED_SPACE 400 @26'],
    ['X\x00A: b', 'INVALID_HEADER_TOKEN 400 @26'],
    ['X\x85A: b', 'INVALID_HEADER_TOKEN 400 @26'],
    ['X\xa0: b', 'INVALID_HEADER_TOKEN 400 @26'],
    [': b', 'INVALID_HEADER_TOKEN 400 @25'],
    [':', 'INVALID_HEADER_TOKEN 400 @25'],
    ['X-A', 'INVALID_HEADER_TOKEN 400 @28'],
    ['X\r-A: b', 'INVALID_HEADER_TOKEN 400 @26'],
    ['"X": b', 'INVALID_HEADER_TOKEN 400 @25']
  ] as const) expectError(line(text), expected)
  for (const octet of '(),/;<=>?@[\\]{}"') expectError(line(`X${octet}A: b`), 'INVALID_HEADER_TOKEN 400 @26')
})

parser('whitespace before the first field, and folds', () => {
  expectError('GET / HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n', 'UNEXPECTED_SPACE 400 @16')
  expectError('GET / HTTP/1.1\r\n\tX: y\r\nHost: x\r\n\r\n', 'UNEXPECTED_SPACE 400 @16')
  expectError(line('X: a\r\n b'), 'OBSOLETE_FOLD 400 @31')
  expectError(line('X: a\r\n\tb'), 'OBSOLETE_FOLD 400 @31')
  expectError(line('X: a\r\n '), 'OBSOLETE_FOLD 400 @31')
  expectError('GET / HTTP/1.1\r\nHost:\r\n x\r\n\r\n', 'INVALID_HOST 400 @21')
})

parser('field values: HTAB, SP, VCHAR and obs-text, whitespace around them trimmed', () => {
  const accepted = (text: string, value: string): void =>
    expectEvents(`GET / HTTP/1.1\r\nHost: x\r\nX:${text}\r\n\r\n`, ['head GET / 1.1 keep-alive', 'field Host: x', `field X: ${value}`])
  accepted('y', 'y')
  accepted(' \t y \t ', 'y')
  accepted('', '')
  accepted(' \t ', '')
  accepted('a\tb', 'a\tb')
  accepted(' a:b: c', 'a:b: c')
  accepted(' a\x80\xe9\xffb', 'a\x80\xe9\xffb')
  accepted(' \xa0a\x85 ', '\xa0a\x85')
  for (let octet = 0; octet < 0x20; octet++) {
    if (octet === 0x09 || octet === 0x0a || octet === 0x0d) continue
    expectError(line(`X: a${String.fromCharCode(octet)}b`), 'INVALID_FIELD_VALUE 400 @29')
  }
  expectError(line('X: a\x7fb'), 'INVALID_FIELD_VALUE 400 @29')
  expectError(line('X: a\rb'), 'LF_EXPECTED 400 @30')
})

parser('names that mean something in JavaScript are just names', () => {
  expectEvents('GET / HTTP/1.1\r\nHost: x\r\n__proto__: 1\r\nconstructor: 2\r\n\r\n', [
    'head GET / 1.1 keep-alive', 'field Host: x', 'field __proto__: 1', 'field constructor: 2'
  ])
})

parser('Host: one on 1.1, at most one on 1.0, valid always', () => {
  const head = (version: string, ...lines: string[]): string => [`GET / HTTP/${version}`, ...lines, '', ''].join('\r\n')
  expectError(head('1.1'), 'MISSING_HOST 400 @18')
  expectError(head('1.1', 'X: y'), 'MISSING_HOST 400 @24')
  expectError(head('1.1', 'Hos: x', 'Hostt: x'), 'MISSING_HOST 400 @36')
  expectError('GET http://x/ HTTP/1.1\r\n\r\n', 'MISSING_HOST 400 @26')
  expectError('CONNECT x:1 HTTP/1.1\r\n\r\n', 'MISSING_HOST 400 @24')
  expectError('OPTIONS * HTTP/1.1\r\n\r\n', 'MISSING_HOST 400 @22')
  for (const version of ['1.0', '1.1']) {
    expectError(head(version, 'Host: x', 'Host: x'), 'DUPLICATE_HOST 400 @25')
    expectError(head(version, 'Host: x', 'X: y', 'hOST: y'), 'DUPLICATE_HOST 400 @31')
    expectError(head(version, 'Host:'), 'INVALID_HOST 400 @21')
    expectError(head(version, 'Host: u@x'), 'INVALID_HOST 400 @23')
    expectError(head(version, 'Host: x, y'), 'INVALID_HOST 400 @24')
  }
  expectError('GET http://x/ HTTP/1.1\r\nHost: a b\r\n\r\n', 'INVALID_HOST 400 @31')
  expectEvents(head('1.0'), ['head GET / 1.0 close'])
  expectEvents(head('1.1', 'hOsT:\t[::1]:80 '), ['head GET / 1.1 keep-alive', 'field hOsT: [::1]:80'])
})

parser('fields that may stand only once', () => {
  for (const name of [
    'Content-Type', 'authorization', 'Proxy-Authorization', 'RANGE', 'If-Modified-Since', 'If-Unmodified-Since'
  ]) {
    const once = `GET / HTTP/1.1\r\nHost: x\r\n${name}: a\r\n`
    expectEvents(`${once}\r\n`, ['head GET / 1.1 keep-alive', 'field Host: x', `field ${name}: a`])
    expectError(`${once}${name.toUpperCase()}: a\r\n\r\n`, `DUPLICATE_SINGLETON 400 @${once.length}`)
  }
  expectEvents(line('Cookie: a\r\nCookie: b\r\nAccept: c\r\nAccept: d').replace(CANARY, ''), [
    'head GET / 1.1 keep-alive', 'field Host: x', 'field Cookie: a', 'field Cookie: b', 'field Accept: c', 'field Accept: d'
  ])
})

parser('TRACE has no content', () => {
  expectEvents('TRACE / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n', ['head TRACE / 1.1 keep-alive', 'field Host: x', 'field Content-Length: 0'])
  expectError('TRACE / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello', 'TRACE_WITH_CONTENT 400 @48')
  expectError('TRACE / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'TRACE_WITH_CONTENT 400 @57')
})

parser('of several faults that only the end tells, the first of Host, framing, Expect, method', () => {
  const bad = ['Transfer-Encoding: chunked', 'Content-Length: 5', 'Expect: x']
  const head = (...lines: string[]): string => ['CONNECT x:1 HTTP/1.1', ...lines, '', ''].join('\r\n')
  expectError(head(...bad), 'MISSING_HOST 400 @82')
  expectError(head('Host: x', ...bad), 'UNEXPECTED_CONTENT_LENGTH 400 @91')
  expectError(head('Host: x', 'Expect: x'), 'EXPECTATION_FAILED 417 @44')
  expectError(head('Host: x'), 'CONNECT_REFUSED 501 @33')
})

parser('the head owns its text: spans survive the buffer and empty lines before it', () => {
  const input = Buffer.from('\r\n\r\nGET /x HTTP/1.1\r\nHost:  a.b \r\n\r\nrest')
  const p = make()
  const end = p.execute(input, 0, input.length)
  assert.is(input.toString('latin1', end), 'rest')
  const head = p.takeHead(input, 0)
  input.fill(0xaa)
  assert.is(head.text, 'GET /x HTTP/1.1\r\nHost:  a.b \r\n\r\n')
  assert.is(head.target, '/x')
  assert.is(head.fieldCount, 1)
  assert.equal(head.fields, [17, 21, 24, 27])
  assert.ok(Array.isArray(head.fields))
})

parser('a head that is complete stays so until it is taken', () => {
  const input = Buffer.from(CANARY + CANARY)
  const p = make()
  assert.is(p.execute(input, 0, input.length), CANARY.length)
  assert.is(p.execute(input, 0, input.length), CANARY.length)
  assert.ok(p.started)
  p.takeHead(input, 0)
  assert.not(p.started)
  assert.is(p.execute(input, CANARY.length, input.length), CANARY.length)
})

parser('an error is sticky until reset, and a good request parses after it', () => {
  const p = make()
  const bad = Buffer.from('GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nTransfer-Encoding: x')
  const good = Buffer.from(`xx${CANARY}`)
  assert.is(p.execute(bad, 0, bad.length), -PeerErrorCode.DUPLICATE_HOST)
  assert.is(p.execute(good, 2, good.length), -PeerErrorCode.DUPLICATE_HOST)
  assert.is(p.errorOffset, 25)
  assert.ok(p.started)
  p.reset()
  assert.not(p.started)
  assert.is(p.execute(good, 2, good.length), CANARY.length)
  assert.equal(headEvents(p.takeHead(good, 2)), ['head GET /canary 1.1 keep-alive', 'field Host: x'])
})

parser('nothing of one head leaks into the next', () => {
  expectEvents(
    'POST http://y/ HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, upgrade\r\nUpgrade: z\r\nExpect: 100-continue\r\nTE: trailers\r\n' +
    `Content-Length: 1\r\nRange: a\r\nAuthorization: b\r\n\r\n1\r\n${CANARY}`,
    [
      'head POST http://y/ 1.1 keep-alive authority=y framing=length 1 expect-continue upgrade accepts-trailers asked-keep-alive',
      'field Host: x', 'field Connection: keep-alive, upgrade', 'field Upgrade: z', 'field Expect: 100-continue', 'field TE: trailers',
      'field Content-Length: 1', 'field Range: a', 'field Authorization: b', 'content "1"', 'done',
      'head GET /canary 1.1 keep-alive', 'field Host: x'
    ]
  )
})

parser('started: from the first octet on, an empty line\'s too', () => {
  const p = make()
  const input = Buffer.from('\r\n')
  assert.is(p.execute(input, 0, 0), 0)
  assert.not(p.started)
  assert.is(p.execute(input, 0, 1), 0)
  assert.ok(p.started)
})

parser.run()
