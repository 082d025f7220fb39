import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ChunkedDecoder } from '../../src/parser/chunked-decoder.ts'
import { PeerErrorCode } from '../../src/parser/errors.ts'
import { DEFAULT_LIMITS } from '../../src/parser/limits.ts'
import { expectEvents } from '../support/event-log.ts'
import type { LogOptions } from '../support/event-log.ts'

const chunked = suite('parser/chunked-decoder')

const HEAD = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
const HEAD_EVENT = 'head POST / 1.1 keep-alive framing=chunked'
const CANARY = 'GET /canary HTTP/1.1\r\nHost: x\r\n\r\n'
const OPTIONS: LogOptions = { headsOnly: true }

// What the content of a chunked request gives, with a request behind it that shows that the end was found, or that nothing is read after an error.
function decoded(content: string, ...events: string[]): void {
  expectEvents(HEAD + content + CANARY, [HEAD_EVENT, ...events, 'done', 'head GET /canary 1.1 keep-alive'], OPTIONS)
}

function refused(content: string, ...events: string[]): void {
  const error = events.pop()!
  expectEvents(HEAD + content + CANARY, [HEAD_EVENT, ...events, `error HPE_${error}`], OPTIONS)
}

const HELLO = 'content "hello"'

chunked('chunks, then the last one', () => {
  decoded('0\r\n\r\n')
  decoded('5\r\nhello\r\n0\r\n\r\n', HELLO)
  decoded('3\r\nhel\r\n1\r\nl\r\n1\r\no\r\n000\r\n\r\n', HELLO)
  decoded('A\r\n0123456789\r\n0\r\n\r\n', 'content "0123456789"')
  decoded('a\r\n0123456789\r\n0\r\n\r\n', 'content "0123456789"')
  decoded('0000000000000005\r\nhello\r\n0\r\n\r\n', HELLO)
  decoded('9\r\nab\r\n0\r\n\r\n\r\n0\r\n\r\n', 'content "ab\\r\\n0\\r\\n\\r\\n"')
  decoded('1\r\nx\r\n'.repeat(60) + '0\r\n\r\n', `content "${'x'.repeat(60)}"`)
})

chunked('a size is 1*HEXDIG', () => {
  for (const [size, offset] of [
    ['0x5', 1], ['+5', 0], ['-5', 0], ['-0', 0], ['0_5', 1], [' 5', 0], ['\t5', 0], ['g', 0], ['5xyz', 1], ['5h', 1], ['', 0], [';a', 0], ['5\x00', 1],
    ['\xef\xbc\x95', 0], ['5,', 1], ['5.', 1], ['00000000000000005', 16], ['10000000000000005', 14], ['"5"', 0], ['\xd9\xa5', 0]
  ] as const) refused(`${size}\r\nhello\r\n0\r\n\r\n`, `INVALID_CHUNK_SIZE 400 @${offset}`)
})

chunked('no size and no sum leaves the integers of a double', () => {
  refused('20000000000000\r\n', 'INVALID_CHUNK_SIZE 400 @13')
  refused('FFFFFFFFFFFFFFFF\r\n', 'INVALID_CHUNK_SIZE 400 @13')
  refused('8000000000000000\r\n', 'INVALID_CHUNK_SIZE 400 @13')
  refused('1\r\nx\r\n1fffffffffffff\r\n', 'content "x"', 'INVALID_CHUNK_SIZE 400 @19')
  refused('1\r\nx\r\n1\r\ny\r\n1ffffffffffffe\r\n', 'content "xy"', 'INVALID_CHUNK_SIZE 400 @25')
  expectEvents(`${HEAD}1\r\nx\r\n1\r\ny\r\n1ffffffffffffd\r\nz`, [HEAD_EVENT, 'content "xyz"', 'incomplete content'], OPTIONS)
  expectEvents(`${HEAD}1fffffffffffff\r\nhello`, [HEAD_EVENT, HELLO, 'incomplete content'], OPTIONS)
  expectEvents(`${HEAD}100000005\r\nhello\r\n0\r\n\r\n`, [HEAD_EVENT, 'content "hello\\r\\n0\\r\\n\\r\\n"', 'incomplete content'], OPTIONS)
})

chunked('lines end in CRLF only', () => {
  refused('5\nhello\r\n0\r\n\r\n', 'CR_EXPECTED 400 @1')
  refused('5\rhello\r\n0\r\n\r\n', 'LF_EXPECTED 400 @2')
  refused('5\r\r\nhello\r\n0\r\n\r\n', 'LF_EXPECTED 400 @2')
  refused('5\rXhello\r\n0\r\n\r\n', 'LF_EXPECTED 400 @2')
  refused('5\r\nhello\r\n0\n\r\n', HELLO, 'CR_EXPECTED 400 @11')
  refused('0\r\n\n', 'CR_EXPECTED 400 @3')
  refused('0\r\n\r\r', 'LF_EXPECTED 400 @4')
  refused('0\r\n\rX', 'LF_EXPECTED 400 @4')
})

chunked('exactly CRLF behind the data', () => {
  refused('5\r\nhello\n0\r\n\r\n', HELLO, 'CHUNK_END_EXPECTED 400 @8')
  refused('5\r\nhello0\r\n\r\n', HELLO, 'CHUNK_END_EXPECTED 400 @8')
  refused('5\r\nhelloXX0\r\n\r\n', HELLO, 'CHUNK_END_EXPECTED 400 @8')
  refused('5\r\nhello\r0\r\n\r\n', HELLO, 'CHUNK_END_EXPECTED 400 @9')
  refused('5\r\nhello\n\r0\r\n\r\n', HELLO, 'CHUNK_END_EXPECTED 400 @8')
  refused('7\r\nhello\r\n0\r\n\r\n', 'content "hello\\r\\n"', 'CHUNK_END_EXPECTED 400 @10')
  refused('5\r\nhello\r\n\r\n\r\n', HELLO, 'INVALID_CHUNK_SIZE 400 @10')
})

chunked('extensions are checked and ignored', () => {
  for (const ext of [
    ';foo', ';foo=bar', ';a;b;c=d', ';a="b;c\\"d";e', ' ; a = b', '\t;\ta\t=\t"x"\t;b', ';a=""', ';a="\xe9\t \\\\\\\x80"', ';!#$%=~', ';a=b ;c', ';a  ;b',
    ';a \t = \t b'
  ]) decoded(`5${ext}\r\nhello\r\n0${ext}\r\n\r\n`, HELLO)
})

chunked('extensions outside the grammar', () => {
  for (const [ext, offset] of [
    [';', 1], [';;a', 1], ['; ', 2], [';a=', 3], [';a= ', 4], [';=b', 1], [' a=b', 1], [' ', 1], ['\t', 1], [';a ', 3], [';a=b ', 5], [';a="b" ', 7],
    [';a b', 3], [';a=b c', 5], [';a@b', 2], [';a=b@', 4], [';a="b"c', 6], [';a="b', 5], [';a="b\\', 6], [';\x00a', 1], [';a\x01', 2], [';a="\x00"', 4],
    [';a="\x7f"', 4], [';a="\\\x01"', 5], [';\xe9', 1], [';a=b=c', 4], [';a==', 3], [';a;', 3], [';a,b', 2], [';"a"', 1]
  ] as const) refused(`5${ext}\r\nhello\r\n0\r\n\r\n`, `INVALID_CHUNK_EXT 400 @${1 + offset}`)
})

chunked('no line end hides in an extension', () => {
  refused('5;\nhello\r\n0\r\n\r\n', 'INVALID_CHUNK_EXT 400 @2')
  refused('5;a\nhello\r\n0\r\n\r\n', 'CR_EXPECTED 400 @3')
  refused('5;a=b\nhello\r\n0\r\n\r\n', 'CR_EXPECTED 400 @5')
  refused('5;a="b"\nhello\r\n0\r\n\r\n', 'CR_EXPECTED 400 @7')
  refused('5;a\rb\r\nhello\r\n0\r\n\r\n', 'LF_EXPECTED 400 @4')
  refused('1;a="\r\nX\r\n0\r\n\r\n', 'INVALID_CHUNK_EXT 400 @5')
  refused('1;a="\nX\r\n0\r\n\r\n', 'INVALID_CHUNK_EXT 400 @5')
  refused('1;a="\\\r\nX\r\n0\r\n\r\n', 'INVALID_CHUNK_EXT 400 @6')
})

chunked('trailers, as received', () => {
  decoded('5\r\nhello\r\n0\r\nX-Sum: abc\r\n\r\n', HELLO, 'trailer X-Sum: abc')
  decoded('0\r\nA: b\r\nC:d\r\nE:\r\nF: \t \r\ng: \t h \xe9\ti \t\r\n\r\n',
    'trailer A: b', 'trailer C: d', 'trailer E: ', 'trailer F: ', 'trailer g: h \xe9\ti')
  decoded('0\r\nX: 1\r\nX: 2\r\n\r\n', 'trailer X: 1', 'trailer X: 2')
  decoded('0\r\nifx: 1\r\nproxy: 2\r\nContent_Length: 5\r\n__proto__: 3\r\n\r\n',
    'trailer ifx: 1', 'trailer proxy: 2', 'trailer Content_Length: 5', 'trailer __proto__: 3')
})

chunked('trailers obey the rules of field lines', () => {
  for (const [section, error] of [
    ['X: y\n\r\n', 'CR_EXPECTED 400 @7'],
    ['X: y\r', 'LF_EXPECTED 400 @8'],
    ['X: a\rb\r\n\r\n', 'LF_EXPECTED 400 @8'],
    ['XX\r\n\r\n', 'INVALID_TRAILER 400 @5'],
    ['XX', 'INVALID_TRAILER 400 @8'],
    ['GET /evil HTTP/1.1\r\n\r\n', 'INVALID_TRAILER 400 @6'],
    ['X : y\r\n\r\n', 'INVALID_TRAILER 400 @4'],
    [': y\r\n\r\n', 'INVALID_TRAILER 400 @3'],
    ['X: \x00\r\n\r\n', 'INVALID_TRAILER 400 @6'],
    ['X: a\x7f\r\n\r\n', 'INVALID_TRAILER 400 @7'],
    ['X\xe9: a\r\n\r\n', 'INVALID_TRAILER 400 @4'],
    ['X: a\r\n b\r\n\r\n', 'OBSOLETE_FOLD 400 @9'],
    [' X: a\r\n\r\n', 'OBSOLETE_FOLD 400 @3'],
    ['X\n', 'CR_EXPECTED 400 @4']
  ] as const) {
    // `XX` runs into the canary's method and then its SP, `X: y\r` into its first letter.
    refused(`0\r\n${section}`, error)
  }
})

chunked('fields that come too late to mean anything', () => {
  for (const name of [
    'Transfer-Encoding', 'Content-Length', 'Host', 'Connection', 'Keep-Alive', 'TE', 'Trailer', 'Upgrade', 'Expect', 'Max-Forwards', 'Authorization',
    'Proxy-Authorization', 'Proxy-Connection', 'Cookie', 'Set-Cookie', 'Cache-Control', 'If-Match', 'If-Modified-Since', 'Range', 'Content-Encoding',
    'Content-Type', 'Content-Range', 'cOnTeNt-LeNgTh', 'HOST', 'PROXY-', 'if-'
  ]) refused(`0\r\n${name}: x\r\n\r\n`, `FORBIDDEN_TRAILER 400 @${3 + name.length}`)
})

chunked('the end of the connection inside the content', () => {
  for (const content of ['', '5', '5\r', '5;a', '5\r\n', '0', '0\r\n', '0\r\n\r', '0\r\nX: y\r\n', '0\r\nX']) {
    expectEvents(HEAD + content, [HEAD_EVENT, 'incomplete content'], OPTIONS)
  }
  for (const content of ['5\r\nhello', '5\r\nhello\r', '5\r\nhello\r\n', '5\r\nhello\r\n0\r\n\r']) {
    expectEvents(HEAD + content, [HEAD_EVENT, HELLO, 'incomplete content'], OPTIONS)
  }
})

const NOWHERE = { onContent: (): void => {} }

chunked('the decoder answers with where it stopped, and is sticky in both ends', () => {
  const decoder = new ChunkedDecoder(DEFAULT_LIMITS)
  const good = Buffer.from('..0\r\nA: b\r\n\r\nGET')
  assert.is(decoder.decode(good, 2, 4, NOWHERE), 4)
  assert.is(decoder.done, false)
  assert.is(decoder.decode(good, 4, good.length, NOWHERE), 13)
  assert.is(decoder.done, true)
  assert.equal(decoder.trailers, ['A', 'b'])
  assert.is(decoder.decode(good, 13, good.length, NOWHERE), 13)

  const bad = Buffer.from('g0\r\n\r\n')
  const kept = decoder.trailers
  decoder.reset()
  assert.equal(decoder.trailers, [])
  assert.equal(kept, ['A', 'b'], 'whoever took the trailers keeps them')
  assert.is(decoder.decode(bad, 0, 1, NOWHERE), -PeerErrorCode.INVALID_CHUNK_SIZE)
  assert.is(decoder.decode(bad, 1, 6, NOWHERE), -PeerErrorCode.INVALID_CHUNK_SIZE)
  decoder.reset()
  assert.is(decoder.decode(bad, 1, 6, NOWHERE), 6)
})

chunked('each run of data is delivered once, as it lies in the input', () => {
  const runs: string[] = []
  const sink = { onContent: (bytes: Buffer, start: number, end: number): void => void runs.push(bytes.toString('latin1', start, end)) }
  const decoder = new ChunkedDecoder(DEFAULT_LIMITS)
  const input = Buffer.from('4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n')
  decoder.decode(input, 0, 5, sink)
  decoder.decode(input, 5, input.length, sink)
  assert.equal(runs, ['ab', 'cd', 'ef'])
})

chunked.run()
