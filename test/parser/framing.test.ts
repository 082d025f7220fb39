import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseContentLength } from '../../src/parser/framing.ts'
import { expectError, expectEvents } from '../support/event-log.ts'
import { poisonedWindow } from '../support/splits.ts'

const framing = suite('parser/framing')

const post = (...lines: string[]): string => ['POST / HTTP/1.1', 'Host: x', ...lines, '', ''].join('\r\n')
// The first octet of the first field line behind Host, and that of the value of a `Content-Length: …` and a `Transfer-Encoding: …` there.
const LINE = 26
const CL_VALUE = LINE + 'Content-Length: '.length
const TE_VALUE = LINE + 'Transfer-Encoding: '.length

framing('neither field: no content, whatever the method', () => {
  for (const method of ['GET', 'POST', 'PUT', 'FOO']) {
    expectEvents(`${method} / HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n`, [
      `head ${method} / 1.1 keep-alive`, 'field Host: x', 'head GET /2 1.1 keep-alive', 'field Host: x'
    ])
  }
})

framing('Content-Length: exactly that many octets, for any method', () => {
  for (const method of ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS', 'FOO']) {
    expectEvents(`${method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: x\r\n\r\n`, [
      `head ${method} / 1.1 keep-alive framing=length 5`, 'field Host: x', 'field Content-Length: 5', 'content "hello"', 'done',
      'head GET /2 1.1 keep-alive', 'field Host: x'
    ])
  }
})

framing('Content-Length: 0 is no content', () => {
  expectEvents(post('Content-Length: 0'), ['head POST / 1.1 keep-alive', 'field Host: x', 'field Content-Length: 0'])
})

framing('fewer octets than announced are incomplete', () => {
  expectEvents(post('Content-Length: 6') + 'hello', [
    'head POST / 1.1 keep-alive framing=length 6', 'field Host: x', 'field Content-Length: 6', 'content "hello"', 'incomplete content'
  ])
})

framing('Content-Length is 1*DIGIT and exact', () => {
  const number = (input: string): number => {
    const { bytes, start, end } = poisonedWindow(Buffer.from(input, 'latin1'))
    return parseContentLength(bytes, start, end)
  }
  for (const [input, value] of [
    ['0', 0], ['5', 5], ['0005', 5], ['4294967296', 4294967296], ['9007199254740991', 9007199254740991], ['0'.repeat(400) + '7', 7]
  ] as const) assert.is(number(input), value, input)
  for (const input of [
    '', '+5', '-5', '-0', '0x5', '1 2', '1_0', '5.0', '1e1', '5a', '5;', '"5"', '5,', '5, 5', 'NaN', '\xb2', '\xa05', '\xd9\xa5',
    '9007199254740992', '9007199254740993', '9223372036854775808', '18446744073709551616', '18446744073709551621', '9'.repeat(400)
  ]) assert.is(number(input), -1, input)
})

framing('an invalid Content-Length', () => {
  for (const value of ['+5', '-0', '0x5', '1 2', '5, 5', '5,', '', '"5"', '9007199254740992']) {
    expectError(post(`Content-Length: ${value}`), `INVALID_CONTENT_LENGTH 400 @${CL_VALUE}`)
  }
})

framing('any second Content-Length, equal or not', () => {
  const second = LINE + 'Content-Length: 5\r\n'.length
  for (const value of ['5', '6', '05', '']) {
    expectError(post('Content-Length: 5', `CONTENT-length: ${value}`), `DUPLICATE_CONTENT_LENGTH 400 @${second}`)
  }
})

framing('Transfer-Encoding: chunked', () => {
  for (const value of ['chunked', 'CHUNKED', 'ChUnKeD', '\t chunked \t']) {
    expectEvents(`${post(`Transfer-Encoding:${value}`)}5\r\nhello\r\n0\r\n\r\n`, [
      'head POST / 1.1 keep-alive framing=chunked', 'field Host: x', `field Transfer-Encoding: ${value.trim()}`, 'content "hello"', 'done'
    ])
  }
})

framing('Transfer-Encoding that does not end in chunked, once', () => {
  for (const value of [
    'chunked, gzip', 'gzip', 'identity', 'identity, chunked', 'chunked, chunked', 'xchunked', 'chunkedx', 'chunke', 'x', "'chunked'"
  ]) {
    const input = post(`Transfer-Encoding: ${value}`)
    expectError(input, `INVALID_TRANSFER_ENCODING 400 @${input.length}`)
  }
  for (const lines of [['chunked', 'chunked'], ['chunked', 'x'], ['identity', 'chunked']]) {
    const input = post(...lines.map(value => `Transfer-Encoding: ${value}`))
    expectError(input, `INVALID_TRANSFER_ENCODING 400 @${input.length}`)
  }
})

framing('Transfer-Encoding that is malformed', () => {
  for (const value of [
    '', ',', ',chunked', 'chunked,', 'gzip,,chunked', 'chunked;foo=bar', 'chunked;q=0.5', 'gzip;x, chunked', '"chunked"', 'x chunked',
    '\xffchunked', '\xa0chunked', 'chunked\xa0'
  ]) expectError(post(`Transfer-Encoding: ${value}`), `INVALID_TRANSFER_ENCODING 400 @${TE_VALUE}`)
})

framing('a coding that is not ours before chunked', () => {
  for (const lines of [['gzip, chunked'], ['x', 'chunked'], ['a , b\t,\tchunked']]) {
    const input = post(...lines.map(value => `Transfer-Encoding: ${value}`))
    expectError(input, `UNSUPPORTED_TRANSFER_CODING 501 @${input.length}`)
  }
})

framing('Transfer-Encoding together with Content-Length', () => {
  for (const lines of [
    ['Content-Length: 6', 'Transfer-Encoding: chunked'], ['Transfer-Encoding: chunked', 'Content-Length: 4'],
    ['Content-Length: 0', 'Transfer-Encoding: chunked'], ['Transfer-Encoding: identity', 'Content-Length: 5']
  ]) {
    const input = post(...lines)
    expectError(input, `UNEXPECTED_CONTENT_LENGTH 400 @${input.length}`)
  }
})

framing('the leniency: chunked wins, and the connection closes', () => {
  const options = { acceptTransferEncodingWithContentLength: true }
  expectEvents(`${post('Content-Length: 6', 'Transfer-Encoding: chunked')}1\r\nG\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n`, [
    'head POST / 1.1 close framing=chunked', 'field Host: x', 'field Content-Length: 6', 'field Transfer-Encoding: chunked', 'content "G"', 'done'
  ], options)
  const zero = post('Connection: keep-alive', 'Transfer-Encoding: chunked', 'Content-Length: 0')
  expectEvents(`${zero}0\r\n\r\n`, [
    'head POST / 1.1 close framing=chunked asked-keep-alive', 'field Host: x', 'field Connection: keep-alive', 'field Transfer-Encoding: chunked',
    'field Content-Length: 0', 'done'
  ], options)
  expectError(post('Transfer-Encoding: chunked', 'Content-Length: x'), 'INVALID_CONTENT_LENGTH 400 @70', options)
  expectError(post('Content-Length: 5', 'Content-Length: 5', 'Transfer-Encoding: chunked'), 'DUPLICATE_CONTENT_LENGTH 400 @45', options)
  const gzip = post('Content-Length: 5', 'Transfer-Encoding: gzip, chunked')
  expectError(gzip, `UNSUPPORTED_TRANSFER_CODING 501 @${gzip.length}`, options)
})

framing('Transfer-Encoding in HTTP/1.0, whatever else there is', () => {
  for (const lines of [['Transfer-Encoding: chunked'], ['Transfer-Encoding: gzip'], ['Content-Length: 5', 'Transfer-Encoding: chunked']]) {
    const input = ['POST / HTTP/1.0', ...lines, '', ''].join('\r\n')
    expectError(input, `TRANSFER_ENCODING_IN_1_0 400 @${input.length}`)
    expectError(input, `TRANSFER_ENCODING_IN_1_0 400 @${input.length}`, { acceptTransferEncodingWithContentLength: true })
  }
})

framing('fields that only look like framing', () => {
  expectEvents(`${post('Content_Length: 5', 'Transfer_Encoding: chunked', 'Content-Encoding: chunked', 'Content-Length: 2')}ab`, [
    'head POST / 1.1 keep-alive framing=length 2', 'field Host: x', 'field Content_Length: 5', 'field Transfer_Encoding: chunked',
    'field Content-Encoding: chunked', 'field Content-Length: 2', 'content "ab"', 'done'
  ])
})

framing.run()
