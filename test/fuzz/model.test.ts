// The model is only worth something if it is right by itself: octets in, verdict out, without the parser.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { model, settingsOf, type ModelLimits, type Verdict } from '../../fuzz/model.ts'
import { readAnswers } from '../../fuzz/response-model.ts'

const test = suite('the fuzzers\' model')

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
const CHUNKED = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'

/** `GET / +, POST / "hello" -, error 400`: each request with its content and whether the connection stays, then the end. */
function told({ requests, ending }: Verdict): string {
  const parts = requests.map(({ method, target, content, keepAlive, trailers }) => {
    const body = content === '' ? '' : ` ${JSON.stringify(content)}`
    return `${method} ${target}${body}${trailers.map(pair => ` [${pair.join('=')}]`).join('')} ${keepAlive ? '+' : '-'}`
  })
  if (ending.kind === 'error') parts.push(`error ${ending.statuses.join('/')}`)
  else parts.push(ending.kind === 'incomplete' ? `incomplete ${ending.where}` : ending.kind)
  return parts.join(', ')
}

function says(input: string, expected: string, limits: Partial<ModelLimits> = {}): void {
  assert.is(told(model(input, settingsOf({ limits }))), expected, JSON.stringify(input))
}

test('requests one after the other', () => {
  says('', 'clean')
  says(GET, 'GET / +, clean')
  says(GET + GET, 'GET / +, GET / +, clean')
  says(`\r\n\r\n\r\n\r\n${GET}`, 'GET / +, clean')
  says(`\r\n\r\n\r\n\r\n\r\n${GET}`, 'error 400')
  says('\r\n', 'incomplete empty lines')
  says(`GET / HTTP/1.0\r\n\r\n${GET}`, 'GET / -, closed')
  says(`GET / HTTP/1.0\r\nConnection: a, Keep-Alive\r\n\r\n${GET}`, 'GET / +, GET / +, clean')
  says(`GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: ,CLOSE\r\n\r\n${GET}`, 'GET / -, closed')
})

test('request lines', () => {
  const line = (text: string, expected: string): void => says(`${text}\r\nHost: x\r\n\r\n`, expected)
  for (const target of [
    '/', '//a', '/%zz^`{|}', '/a?b?c', 'http://x', 'HTTP://[::1]:80/a?b', 'http://x?q'
  ]) line(`GET ${target} HTTP/1.1`, `GET ${target} +, clean`)
  for (const target of [
    '', 'a', '*', 'x:80', '/#', '/"', '/<', '/\\', '/\x80', '/\x7f', 'ftp://x/', 'https://x/', 'http:///', 'http://u@x/', 'http://:80/',
    'http://x%00/', 'http://x:65536/'
  ]) {
    line(`GET ${target} HTTP/1.1`, 'error 400')
  }
  line('OPTIONS * HTTP/1.1', 'OPTIONS * +, clean')
  for (const bad of [
    'GET  / HTTP/1.1', 'GET /  HTTP/1.1', 'GET / HTTP/1.1 ', 'GET\t/ HTTP/1.1', ' GET / HTTP/1.1', 'G(T / HTTP/1.1', 'GET / http/1.1',
    'GET / HTTP/1.10', 'GET /'
  ]) line(bad, 'error 400')
  for (const version of ['0.9', '1.2', '2.0']) line(`GET / HTTP/${version}`, 'error 505')
  line('CONNECT x:443 HTTP/1.1', 'error 501')
  line('CONNECT x HTTP/1.1', 'error 400')
  says('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'error 505')
  says('GET / HTTP/1.1\nHost: x\r\n\r\n', 'error 400')
})

test('field lines and what they mean', () => {
  const field = (text: string, expected: string): void => says(`GET / HTTP/1.1\r\nHost: x\r\n${text}\r\n\r\n`, expected)
  for (const good of ['a:b', 'a:', 'a:\t \xff \t', "!#$%&'*+-.^_`|~: 1", 'Content_Length: 5', 'TE: chunked']) field(good, 'GET / +, clean')
  for (const bad of [
    'a : b', ' a: b', 'a', ':', 'a: \0', 'a: b\x7f', 'a: b\rc', 'a: b\nc: d', 'a: b\r\n c', 'Host: x', 'Content-Length: +5',
    'Content-Length: 5, 5', 'Connection: a b'
  ]) {
    field(bad, 'error 400')
  }
  field('Content-Length: 0\r\ncontent-length: 0', 'error 400')
  field('Content-Length: 9007199254740992', 'error 400/413')
  field('Transfer-Encoding: gzip, chunked', 'error 501')
  field('Transfer-Encoding: chunked, chunked', 'error 400')
  field('Transfer-Encoding: chunked\r\nContent-Length: 0', 'error 400')
  field('Expect: 100-continue, x', 'error 417')
  says('GET / HTTP/1.1\r\n\r\n', 'error 400')
  says('GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 'error 400')
  for (const host of [
    'x:', '1.2.3.4:80', '[::1]', '[v1.a]', "a_b~!$&'()*+,;=", '%41'
  ]) says(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 'GET / +, clean')
  for (const host of [
    '', ':80', 'x y', 'x/', '::1', '[::1', '[1::2::3]', '[fe80::1%25a]', '[::256.1.1.1]', 'x:65536', 'x%2f', 'u@x'
  ]) says(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 'error 400')
})

test('content', () => {
  says(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 005\r\n\r\nhello${GET}`, 'POST / "hello" +, GET / +, clean')
  says('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhell', 'incomplete content')
  says(`${CHUNKED}5;a=b ; c="\\""\r\nhello\r\n00;z\r\nX: y\r\n\r\n${GET}`, 'POST / "hello" [X=y] +, GET / +, clean')
  for (const bad of [
    '5 \r\n', '\r\n', '5\n', '0x5\r\n', '5;\r\n', '5;a=\r\n', '5;a="\r\n', '5\r\nhelloX', '5\r\nhello\n', '00000000000000005\r\n', '0\r\n a\r\n',
    '0\r\nHost: x\r\n', '0\r\n\n'
  ]) {
    says(CHUNKED + bad, 'error 400')
  }
  says(`${CHUNKED}20000000000000\r\n`, 'error 400/413')
  says(`${CHUNKED}5;a`, 'incomplete chunk size')
  says(`${CHUNKED}5\r\nhello\r`, 'incomplete chunk data')
  says(`${CHUNKED}0\r\nX: y\r\n\r`, 'incomplete trailers')
})

test('limits: at them, and one beyond', () => {
  const line = 'GET / HTTP/1.1'
  says(GET, 'GET / +, clean', { requestLine: line.length, fieldLine: 7, head: GET.length, fields: 1 })
  says(GET, 'error 414', { requestLine: line.length - 1 })
  says(GET, 'error 431', { fieldLine: 6 })
  says(GET, 'error 431', { head: GET.length - 1 })
  says(GET, 'error 431', { fields: 0 })
  const content = `${CHUNKED}2;ab\r\nhi\r\n0\r\nX: y\r\n\r\n`
  says(content, 'POST / "hi" [X=y] +, clean', { chunkDigits: 1, chunkExt: 3, trailers: 6, trailerFields: 1, body: 2 })
  says(content, 'error 400', { chunkDigits: 0 })
  says(content, 'error 400', { chunkExt: 2 })
  says(content, 'error 431', { trailers: 5 })
  says(content, 'error 431', { trailerFields: 0 })
  says(content, 'error 413', { body: 1 })
})

test('the model of answers takes what is strict and nothing else', () => {
  const told = (text: string, ...methods: string[]): string => readAnswers(text, methods).map(({ interim, status, framing, content, cut }) => (
    `${interim.length > 0 ? '1xx ' : ''}${status} ${framing} ${JSON.stringify(content)}${cut ? ' cut' : ''}`
  )).join(', ')
  assert.is(told('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 204 \r\n\r\n'), '200 length "hi", 204 none ""')
  assert.is(told('HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n'), '1xx 200 chunked "hi"')
  assert.is(told('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nh'), '200 chunked "h" cut')
  assert.is(told('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HEAD'), '200 none ""')
  for (const bad of [
    'HTTP/1.1 200\r\n\r\n', 'HTTP/1.0 200 OK\r\n\r\n', 'HTTP/1.1 200 OK\nA: b\r\n\r\n', 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b \r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n02\r\nhi\r\n0\r\n\r\n', 'HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhiX\r\n'
  ]) assert.throws(() => told(bad), undefined, JSON.stringify(bad))
})

test.run()
