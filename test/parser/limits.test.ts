// Every limit of the parser at the limit, one beyond it, and drip-fed (each expectation runs at every split).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_LIMITS } from '../../src/parser/limits.ts'
import { RequestParser } from '../../src/parser/request-parser.ts'
import { expectError, expectEvents, logConnection } from '../support/event-log.ts'
import { poisonedWindow } from '../support/splits.ts'

const limits = suite('parser/limits')

const OK = { headsOnly: true }

limits('urlLengthLimit: the request line without its CRLF', () => {
  for (const [target, urlLengthLimit] of [[`/${'a'.repeat(20)}`, 34], [`/${'a'.repeat(8178)}`, 8192]] as const) {
    const input = `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`
    assert.is(input.indexOf('\r'), urlLengthLimit)
    expectEvents(input, [`head GET ${target} 1.1 keep-alive`], { ...OK, limits: { urlLengthLimit } })
    expectEvents(`\r\n${input}`, [`head GET ${target} 1.1 keep-alive`], { ...OK, limits: { urlLengthLimit } })
    expectError(input, `URL_TOO_LONG 414 @${urlLengthLimit - 1}`, { limits: { urlLengthLimit: urlLengthLimit - 1 } })
    expectError(`\r\n${input}`, `URL_TOO_LONG 414 @${urlLengthLimit + 1}`, { limits: { urlLengthLimit: urlLengthLimit - 1 } })
  }
})

limits('urlLengthLimit: in the method, in the target, in the version, and against the line\'s own faults', () => {
  const at = (urlLengthLimit: number): object => ({ limits: { urlLengthLimit } })
  const input = 'GET /abc HTTP/1.1\r\nHost: x\r\n\r\n'
  for (const limit of [0, 1, 2, 3, 4, 5, 8, 9, 10, 16]) expectError(input, `URL_TOO_LONG 414 @${limit}`, at(limit))
  // The fault comes first, or stands on the very octet that is too many.
  expectError('GET /\x01bc', 'INVALID_URL 400 @5', at(5))
  expectError('GET /a\x01c', 'URL_TOO_LONG 414 @5', at(5))
  expectError('GET /ab HTTP/2.0\r\n', 'INVALID_VERSION 505 @13', at(16))
  expectError('GET /ab HTTP/2.0\r\n', 'URL_TOO_LONG 414 @15', at(15))
})

limits('the request line may have 8 000 octets by default, and an endless one fails', () => {
  assert.ok(DEFAULT_LIMITS.urlLengthLimit >= 8000)
  expectError(`GET /${'a'.repeat(20000)}`, 'URL_TOO_LONG 414 @8192')
  expectError('A'.repeat(20000), 'URL_TOO_LONG 414 @8192')
})

limits('maxFieldLine: a field line without its CRLF, whitespace included', () => {
  const head = (line: string): string => `GET / HTTP/1.1\r\nHost: x\r\n${line}\r\n\r\n`
  for (const line of ['X: abcdefg', 'Xyzabcdef:', 'X:        ', 'X:     abc', 'X: abc    ']) {
    expectEvents(head(line), ['head GET / 1.1 keep-alive'], { ...OK, limits: { maxFieldLine: line.length } })
    expectError(head(line), `FIELD_LINE_TOO_LONG 431 @${25 + line.length - 1}`, { limits: { maxFieldLine: line.length - 1 } })
  }
  expectError(head(`X: ${'a'.repeat(9000)}`), 'FIELD_LINE_TOO_LONG 431 @8217')
  expectError(head(`X: ${' '.repeat(9000)}`), 'FIELD_LINE_TOO_LONG 431 @8217')
  expectError(head('a'.repeat(9000)), 'FIELD_LINE_TOO_LONG 431 @8217')
  expectError(head('Xabcdefghij\x01'), 'FIELD_LINE_TOO_LONG 431 @35', { limits: { maxFieldLine: 10 } })
  expectError(head('Xabcdefgh\x01'), 'INVALID_HEADER_TOKEN 400 @34', { limits: { maxFieldLine: 10 } })
})

limits('maxHead: everything counts, empty lines and every CRLF', () => {
  for (const input of ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', '\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n']) {
    expectEvents(`${input}`, ['head GET / 1.1 keep-alive'], { ...OK, limits: { maxHead: input.length } })
    expectEvents(`${input}${input}`, ['head GET / 1.1 keep-alive', 'head GET / 1.1 keep-alive'], { ...OK, limits: { maxHead: input.length } })
    for (const maxHead of [1, 2, 3, 7, 14, 15, 16, 20, input.length - 2, input.length - 1]) {
      expectError(input, `HEAD_TOO_LONG 431 @${maxHead}`, { limits: { maxHead } })
    }
  }
})

limits('maxHead: fails as soon as it is certain, without another octet', () => {
  const parser = new RequestParser({ limits: { ...DEFAULT_LIMITS, maxHead: 20 }, acceptTransferEncodingWithContentLength: false })
  const { bytes, start, end } = poisonedWindow(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n'))
  assert.is(parser.execute(bytes, start, start + 19), 0)
  assert.ok(parser.execute(bytes, start, start + 20) < 0)
  assert.is(parser.errorOffset, 20)
  assert.ok(end > start + 20)
})

limits('maxHead by default: 64 KiB in lines of 8 KiB', () => {
  const line = `X: ${'a'.repeat(8192 - 3)}\r\n`
  const base = 'GET / HTTP/1.1\r\nHost: x\r\n'
  const filler = 65536 - base.length - 7 * line.length - 2
  const head = (n: number): string => `${base}${line.repeat(7)}X: ${'b'.repeat(n - 5)}\r\n\r\n`
  assert.is(head(filler).length, 65536)
  expectEvents(head(filler), ['head GET / 1.1 keep-alive'], OK)
  expectError(head(filler + 1), 'HEAD_TOO_LONG 431 @65536')
})

limits('maxFields: field lines of one head', () => {
  const head = (n: number): string => `GET / HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(n - 1)}\r\n`
  expectEvents(head(3), ['head GET / 1.1 keep-alive'], { ...OK, limits: { maxFields: 3 } })
  expectError(head(4), 'TOO_MANY_FIELDS 431 @37', { limits: { maxFields: 3 } })
  expectEvents(head(100), ['head GET / 1.1 keep-alive'], OK)
  expectError(head(101), 'TOO_MANY_FIELDS 431 @619')
  expectError('GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'TOO_MANY_FIELDS 431 @16', { limits: { maxFields: 0 } })
  expectEvents('GET / HTTP/1.0\r\n\r\n', ['head GET / 1.0 close'], { ...OK, limits: { maxFields: 0 } })
})

limits('maxFields beyond what is set aside at first, and switched off', () => {
  const head = `GET / HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(2000)}\r\n`
  for (const maxFields of [2001, Infinity]) {
    const log = logConnection([Buffer.from(head)], { limits: { maxFields } })
    assert.is(log.events.length, 2002)
    assert.is(log.events[2001], 'field X: y')
  }
  assert.match(logConnection([Buffer.from(head)], { limits: { maxFields: 2000 } }).events[0]!, 'TOO_MANY_FIELDS')
})

limits('every head limit switched off: 64 KiB in one field line, and in one request line', () => {
  const off = { urlLengthLimit: Infinity, maxFieldLine: Infinity, maxHead: Infinity, maxFields: Infinity, maxLeadingEmptyLines: Infinity }
  const value = 'v'.repeat(65536)
  expectEvents(`\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nX: ${value}\r\n\r\n`, [
    'head GET / 1.1 keep-alive', 'field Host: x', `field X: ${value}`
  ], { limits: off })
  expectEvents(`GET /${value} HTTP/1.1\r\nHost: x\r\n\r\n`, [`head GET /${value} 1.1 keep-alive`], { ...OK, limits: off })
})

limits('maxLeadingEmptyLines', () => {
  const head = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
  for (const maxLeadingEmptyLines of [0, 1, 7]) {
    const empty = '\r\n'.repeat(maxLeadingEmptyLines)
    expectEvents(empty + head, ['head GET / 1.1 keep-alive'], { ...OK, limits: { maxLeadingEmptyLines } })
    expectError(`\r\n${empty}${head}`, `TOO_MANY_EMPTY_LINES 400 @${empty.length}`, { limits: { maxLeadingEmptyLines } })
  }
})

const CHUNKED = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
const CHUNKED_EVENT = 'head POST / 1.1 keep-alive framing=chunked'

function content(input: string, expected: string[], limit: object): void {
  expectEvents(CHUNKED + input, [CHUNKED_EVENT, ...expected], { ...OK, limits: limit })
}

limits('maxChunkSizeDigits: leading zeros count', () => {
  content('0001\r\nx\r\n0000\r\n\r\n', ['content "x"', 'done'], { maxChunkSizeDigits: 4 })
  content('00001\r\nx\r\n0\r\n\r\n', ['error HPE_INVALID_CHUNK_SIZE 400 @4'], { maxChunkSizeDigits: 4 })
  content('1\r\nx\r\n00000\r\n\r\n', ['content "x"', 'error HPE_INVALID_CHUNK_SIZE 400 @10'], { maxChunkSizeDigits: 4 })
  content(`${'0'.repeat(15)}1\r\nx\r\n${'0'.repeat(16)}\r\n\r\n`, ['content "x"', 'done'], {})
  content(`${'0'.repeat(16)}1\r\nx\r\n0\r\n\r\n`, ['error HPE_INVALID_CHUNK_SIZE 400 @16'], {})
})

limits('maxChunkExt: of the whole message, whitespace and quotes included', () => {
  content('1;abcd\r\nx\r\n0;a="b"\r\n\r\n', ['content "x"', 'done'], { maxChunkExt: 11 })
  content('1;abcd\r\nx\r\n0;a="b"\r\n\r\n', ['content "x"', 'error HPE_CHUNK_EXT_TOO_LONG 400 @17'], { maxChunkExt: 10 })
  content('1 ; \t a\r\nx\r\n0\r\n\r\n', ['content "x"', 'done'], { maxChunkExt: 6 })
  content('1 ; \t a\r\nx\r\n0\r\n\r\n', ['error HPE_CHUNK_EXT_TOO_LONG 400 @6'], { maxChunkExt: 5 })
  content('1;a\r\nx\r\n0\r\n\r\n', ['error HPE_CHUNK_EXT_TOO_LONG 400 @1'], { maxChunkExt: 0 })
  content('1\r\nx\r\n0\r\n\r\n', ['content "x"', 'done'], { maxChunkExt: 0 })
  const half = `;${'a'.repeat(8191)}`
  content(`1${half}\r\nx\r\n0${half}\r\n\r\n`, ['content "x"', 'done'], {})
  content(`1${half}\r\nx\r\n0${half}a\r\n\r\n`, ['content "x"', `error HPE_CHUNK_EXT_TOO_LONG 400 @${1 + 8192 + 5 + 1 + 8192}`], {})
})

limits('maxTrailers: the section with its lines\' CRLFs, without the final one', () => {
  const section = 'A: b\r\nCd:  e \r\n'
  const events = ['trailer A: b', 'trailer Cd: e', 'done']
  content(`0\r\n${section}\r\n`, events, { maxTrailers: section.length })
  for (const maxTrailers of [0, 1, 2, 3, 4, 5, 6, 8, 9, 12, section.length - 2, section.length - 1]) {
    content(`0\r\n${section}\r\n`, [`error HPE_TRAILERS_TOO_LONG 431 @${3 + maxTrailers}`], { maxTrailers })
  }
  content('0\r\n\r\n', ['done'], { maxTrailers: 0 })
  const full = `X: ${'a'.repeat(4091)}\r\n`.repeat(2)
  assert.is(full.length, 8192)
  content(`0\r\n${full}\r\n`, [`trailer X: ${'a'.repeat(4091)}`, `trailer X: ${'a'.repeat(4091)}`, 'done'], {})
  content(`0\r\n${full}Y: \r\n\r\n`, ['error HPE_TRAILERS_TOO_LONG 431 @8195'], {})
})

limits('maxTrailerFields, and maxFieldLine for each of them', () => {
  const line = 'X: y\r\n'
  content(`0\r\n${line.repeat(2)}\r\n`, ['trailer X: y', 'trailer X: y', 'done'], { maxTrailerFields: 2 })
  content(`0\r\n${line.repeat(3)}\r\n`, ['error HPE_TOO_MANY_FIELDS 431 @15'], { maxTrailerFields: 2 })
  content(`0\r\n${line}\r\n`, ['error HPE_TOO_MANY_FIELDS 431 @3'], { maxTrailerFields: 0 })
  content(`0\r\n${line.repeat(101)}\r\n`, ['error HPE_TOO_MANY_FIELDS 431 @603'], {})
  content(`0\r\n${line}X: ab\r\n\r\n`, ['trailer X: y', 'trailer X: ab', 'done'], { maxFieldLine: 26 })
  const long = 'X:  abcdefghijklmnopqrstuvwxyz'
  content(`0\r\n${line}${long}\r\n\r\n`, ['trailer X: y', `trailer X: ${long.slice(4)}`, 'done'], { maxFieldLine: long.length })
  content(`0\r\n${line}${long}\r\n\r\n`, [`error HPE_FIELD_LINE_TOO_LONG 431 @${9 + long.length - 1}`], { maxFieldLine: long.length - 1 })
})

limits('maxBodySize: a length that is announced', () => {
  const head = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n'
  expectEvents(`${head}hello`, ['head POST / 1.1 keep-alive framing=length 5', 'content "hello"', 'done'], { ...OK, limits: { maxBodySize: 5 } })
  expectError(`${head}hello`, `BODY_TOO_LARGE 413 @${head.length}`, { limits: { maxBodySize: 4 } })
  expectEvents('GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n', ['head GET / 1.1 keep-alive'], { ...OK, limits: { maxBodySize: 0 } })
})

limits('maxBodySize: the sum of the chunks, at the digit that tells', () => {
  content('3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n', ['content "hello"', 'done'], { maxBodySize: 5 })
  content('3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n', ['content "hel"', 'error HPE_BODY_TOO_LARGE 413 @8'], { maxBodySize: 5 })
  content('2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n', ['content "hello"', 'done'], { maxBodySize: 5 })
  content('2\r\nhe\r\n1\r\nl\r\n3\r\nlo!\r\n', ['content "hel"', 'error HPE_BODY_TOO_LARGE 413 @13'], { maxBodySize: 5 })
  content('100\r\n', ['error HPE_BODY_TOO_LARGE 413 @1'], { maxBodySize: 15 })
  content('0\r\n\r\n', ['done'], { maxBodySize: 0 })
})

limits.run()
