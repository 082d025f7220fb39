// Requests and what attackers do to them: seeds, a dictionary of HTTP, and mutations that know where the lines, the lengths and the chunks are.

import type { Dice } from './dice.ts'

const HOST = 'Host: x\r\n'
const GET = `GET / HTTP/1.1\r\n${HOST}\r\n`

export const SEEDS: readonly string[] = [
  GET,
  'GET /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n',
  'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD /2 HTTP/1.0\r\n\r\n',
  `POST /p HTTP/1.1\r\n${HOST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello${GET}`,
  `POST / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nTransfer-Encoding: chunked\r\nTE: trailers, x;q="\\"a,b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n${GET}`,
  `PUT /x HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5;a=b ; c="d\\"e"\r\nhello\r\nA\r\n0123456789\r\n0;z\r\nX: 1\r\nY:\t 2 \r\n\r\n${GET}`,
  `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTrailer: a\r\n\r\n1\r\na\r\n00\r\nA: 1\r\nB:\r\nC: \xe9\r\n\r\n`,
  '\r\n\r\nGET http://u.example:8080/p?q HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\nUpgrade: websocket\r\nConnection: Upgrade, x\r\n\r\n',
  'GET http://[1:2:3::7.8.9.10]:65535 HTTP/1.1\r\nHost: [v1.a:b]:\r\n\r\n',
  `OPTIONS * HTTP/1.1\r\n${HOST}Content-Type: a/b\r\nRange: bytes=0-\r\nIf-Modified-Since: now\r\nAuthorization: x\r\n\r\n`,
  `CONNECT example.com:443 HTTP/1.1\r\n${HOST}\r\n${GET}`,
  `TRACE / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n${GET}`,
  `DELETE /%zz/^\`{|}?a=%5b HTTP/1.1\r\n${HOST}Cookie: a=b\r\nCookie: c=d\r\nConnection: close\r\n\r\n${GET}`,
  `PATCH / HTTP/1.1\r\n${HOST}Content-Length: 0000000000000000000003\r\nConnection: a, ,keep-alive\r\n\r\nabc${GET}${GET}`,
  `GET / HTTP/1.1\r\n${HOST}${'a: 1\r\n'.repeat(40)}Cookie: a\r\nVia: x\r\n\r\n${GET}`,
  `GET / HTTP/1.1\r\nHOST:\ta%41b\t\r\ncontent_length: 5\r\n__proto__: 1\r\nconstructor:2\r\n\r\n`
]

const NUMBERS = [
  '0', '00', '1', '5', '05', '+5', '-1', '0x5', '5,5', '5, 5', '5 5', '1e1', '5.0', '\xb2', 'a', 'F', '7fffffff', '80000000', 'ffffffff',
  '100000000', '4294967296',
  '1fffffffffffff', '20000000000000', 'ffffffffffffffff', '10000000000000000', '9007199254740991', '9007199254740992', '18446744073709551621',
  '00000000000000005', '0000000000000005', '5;', '5 ', ' 5', '5\t', '31', '9', '65535', '65536'
]

const FIELDS = [
  'Host: x', 'Host:', 'host: [::1]', 'Host: x,y', 'Host: x:', 'Host: x:65536', 'Host: u@x', 'Host: %41', 'Host: [fe80::1%25eth0]',
  'Content-Length: 5', 'Content-Length: 0',
  'Content-Length:', 'content-LENGTH: 5', 'Content_Length: 5', 'Content-Length : 5', 'Transfer-Encoding: chunked', 'transfer-ENCODING:chunked',
  'Transfer-Encoding: gzip, chunked', 'Transfer-Encoding: identity', 'Transfer-Encoding: chunked, chunked', 'Transfer-Encoding: ,chunked',
  'Transfer-Encoding: chunked;q=1', 'Transfer-Encoding: xchunked', 'Transfer-Encoding: \x0bchunked', 'Transfer-Encoding:',
  'Transfer-Encoding : chunked',
  ' Transfer-Encoding: chunked', 'Connection: close', 'Connection: keep-alive', 'Connection: keep-alive, close', 'Connection: Upgrade',
  'Connection: close close',
  'Connection: Transfer-Encoding, content-length', 'Connection:', 'Connection: "close"', 'Upgrade: websocket', 'Upgrade:', 'Upgrade: h2c',
  'Expect: 100-continue',
  'Expect: 100-Continue', 'Expect:', 'Expect: x', 'Expect: 100-continue, x', 'TE: trailers', 'TE: x;q=0, trailers;q=0.5', 'TE: "trailers"',
  'Trailer: x', 'Keep-Alive: timeout=5',
  'Content-Type: a/b', 'Authorization: b', 'Proxy-Authorization: b', 'Range: bytes=0-', 'If-Modified-Since: x', 'If-Unmodified-Since: x',
  'If-None-Match: x',
  'X: y', 'X:', 'X: \xff\xe9', 'X:\x00', 'X\x00: y', 'X', ':', ': y', ' folded', '\tfolded', 'Close: x', 'Max-Forwards: 0', 'Cookie: a',
  'Set-Cookie: a', 'Cache-Control: a'
]

const CHUNKS = [
  '0\r\n\r\n', '5\r\nhello\r\n', '1;a=b\r\nx\r\n', '1;a="b"\r\nx\r\n', '1 ; a = "\\""\r\nx\r\n', '0;a\r\nX: y\r\n\r\n', '0\r\nHost: x\r\n\r\n',
  '0\r\nTransfer-Encoding: x\r\n\r\n',
  'a\r\n0123456789\r\n', 'A;;\r\n', '5\nhello\r\n', '5\r\nhello\n', '5\r\nhelloX\r\n', '1;a="\r\n', '1;a="\r\n"\r\nx\r\n', '1;=b\r\nx\r\n',
  '0x1\r\nx\r\n', '1\r\nx\r\n1\r\ny\r\n'
]

export const DICTIONARY: readonly string[] = [
  '\r\n', '\r', '\n', '\r\n\r\n', '\n\n', '\r\r\n', '\n\r', '\r\n ', ' ', '\t', '  ', ':', ' :', ': ', ',', ';', '=', '"', '\\', '\\"', '#', '?',
  '%', '@', '[', ']', '/', '*', '..',
  '\x00', '\x01', '\x0b', '\x0c', '\x1f', '\x7f', '\x80', '\x85', '\xa0', '\xff', '\xef\xbb\xbf', '%00', '%2f', '%0d%0a', '[::1]', '::', 'v1.x',
  '1.2.3.4', '256.1.1.1',
  'GET ', 'POST ', 'CONNECT x:1 ', 'TRACE ', 'OPTIONS * ', 'HEAD ', 'get ', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'M-SEARCH ', ' HTTP/1.1',
  ' HTTP/1.0', ' HTTP/1.2', ' HTTP/2.0',
  ' HTTP/0.9', ' http/1.1', ' HTTP/1.10', 'http://', 'http://x', 'https://x/', 'HTTP://h:80/p', 'http://u@h/', '//x/', '/', 'chunked', 'identity',
  'gzip', 'close', 'keep-alive',
  'upgrade', '100-continue', GET, ...NUMBERS, ...FIELDS.map(line => line + '\r\n'), ...CHUNKS
]

/** One to several mutations of one of the texts; now and then a request built from scratch. */
export function mutated(dice: Dice, kept: readonly string[], chunkedOnly = false): string {
  const pick = (): string => {
    if (kept.length > 0 && dice.chance(0.75)) return dice.one(kept)
    return chunkedOnly ? contentOf(dice) : dice.one(SEEDS)
  }
  let text = dice.chance(0.15) ? chunkedOnly ? contentOf(dice) : requestOf(dice) : pick()
  for (let n = dice.size(6); n >= 0; n--) text = mutate(dice, text, pick)
  return text.length > 20_000 && dice.chance(0.9) ? text.slice(0, 20_000) : text
}

// At the edges of uri-host [ ":" port ].
const AUTHORITIES = [
  'x', 'x:', 'x:0', 'x:00080', 'x:65535', 'x:65536', 'x:99999', 'x:100000', ':80', '', 'u@x', 'x:8a', 'x y', 'x/', 'x,y', '1.2.3.4', '256.1.1.1',
  'a_b~', '%41', '%2f',
  '%00', '%4', '[::]', '[::1]:80', '[1:2:3:4:5:6:7:8]', '[1:2:3:4:5:6:7:8:9]', '[1::8]', '[1::2::3]', '[12345::]', '[::1.2.3.4]', '[::1.2.3.256]',
  '[1:2:3:4:5:6:7::]',
  '[:1]', '[1:]', '[]', '[::1', '[v1.a:b]', '[v.a]', '[v1.]', '[fe80::1%25a]', '[::1]x', '[::g]'
]

function requestOf(dice: Dice): string {
  const chunked = dice.chance(0.3)
  const length = !chunked && dice.chance(0.4) ? dice.below(12) : -1
  const fields = [`Host: ${dice.chance(0.7) ? 'x' : dice.one(AUTHORITIES)}`]
  for (let n = dice.below(4); n > 0; n--) fields.splice(dice.below(fields.length + 1), 0, dice.one(FIELDS))
  if (chunked) fields.splice(dice.below(fields.length + 1), 0, 'Transfer-Encoding: chunked')
  if (length >= 0) fields.splice(dice.below(fields.length + 1), 0, `Content-Length: ${length}`)
  const method = dice.one(['GET', 'POST', 'HEAD', 'PUT', 'X-Y', 'OPTIONS'])
  const target = dice.one(['/', '/a?b', '/%41', 'http://x/', 'http://x', '*', '//a', '/a[]', `http://${dice.one(AUTHORITIES)}/`])
  const line = `${method} ${target} ${dice.one(['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0'])}`
  const head = [line, ...fields, '', ''].join('\r\n')
  const content = chunked ? contentOf(dice) : length > 0 ? 'GET / HTTP/1.1\r\n'.slice(0, length) : ''
  return head + content + (dice.chance(0.4) ? requestOf(dice) : '')
}

function contentOf(dice: Dice): string {
  let text = ''
  for (let n = dice.below(5); n > 0; n--) {
    const size = 1 + dice.size(dice.chance(0.05) ? 5000 : 40)
    const digits = dice.chance(0.2) ? size.toString(16).toUpperCase().padStart(1 + dice.below(18), '0') : size.toString(16)
    text += `${digits}${dice.chance(0.3) ? extensionOf(dice) : ''}\r\n${'abcdefgh\r\n'.repeat(size).slice(0, size)}\r\n`
  }
  text += dice.one(['0', '00', '0;a', '0;a="b;c"']) + '\r\n'
  for (let n = dice.chance(0.4) ? dice.below(4) : 0; n > 0; n--) text += dice.one(FIELDS) + '\r\n'
  return text + '\r\n'
}

function extensionOf(dice: Dice): string {
  const space = (): string => dice.one(['', '', ' ', '\t', ' \t'])
  const value = dice.one(['', '=v', '=""', '="a;b\\"c"', '="\xe9"', '=5'])
  const named = value === '' ? '' : space() + value[0] + space() + value.slice(1)
  return space() + ';' + space() + dice.one(['a', 'name', '5', '!']) + named + (dice.chance(0.2) ? extensionOf(dice) : '')
}

const FLOODS = ['a', ' ', '\r\n', 'X: y\r\n', ';a', '0', '\xff', '1\r\na\r\n']
const LINE_ENDS = ['\n', '\r', '\n\r', '\r\r\n', '\r\n\n', '\r\n\r\n', ' \r\n', '\r\n ', '\r\x00\n', '\x0b', '\x85', '', '\r \n']
const SPACES = ['', ' ', '\t', '  ', ' \t ', '\x0b', '\x0c', '\xa0', '\r\n ', ' :', ': ', ' ;']

function mutate(dice: Dice, text: string, other: () => string): string {
  // Mostly behind the request line: an error there hides all that follows.
  const from = dice.chance(0.75) ? Math.max(text.indexOf('\r\n', 4), 0) : 0
  const at = from + dice.below(text.length + 1 - from)
  const length = 1 + dice.below(dice.chance(0.5) ? 3 : 24)
  const before = text.slice(0, at)
  switch (dice.below(16)) {
    case 0: return before + text.slice(at + length)
    case 1: return before + dice.one(DICTIONARY) + text.slice(at)
    case 2: return before + dice.one(DICTIONARY) + text.slice(at + length)
    case 3: return before + String.fromCharCode(dice.below(256)) + text.slice(at + 1)
    case 4: return before + text.slice(at, at + length).repeat(1 + dice.below(4)) + text.slice(at)
    case 5: return before + other().slice(dice.below(60))
    case 6: return before + swapCase(text.slice(at, at + length)) + text.slice(at + length)
    case 7: return moveLine(dice, text)
    case 8: return addLine(dice, text)
    case 9: return changeNumber(dice, text, at)
    case 10: return changeLineEnd(dice, text)
    case 11: return changeSpace(dice, text, at)
    case 12: return text + other()
    case 13: return text.slice(0, at)
    case 14: return dice.chance(0.1) ? before + dice.one(FLOODS).repeat(1 + dice.size(3000)) + text.slice(at) : addLine(dice, text)
    default: return other().slice(0, dice.below(200)) + text
  }
}

function swapCase(text: string): string {
  return text.replace(/[a-z]/gi, letter => String.fromCharCode(letter.charCodeAt(0) ^ 0x20))
}

function moveLine(dice: Dice, text: string): string {
  const lines = text.split('\r\n')
  const line = dice.one(lines)
  lines.splice(dice.below(lines.length), dice.below(2), line)
  return lines.join('\r\n')
}

/** A field line where field lines stand. */
function addLine(dice: Dice, text: string): string {
  const ends = [...text.matchAll(/\r\n/g)].map(match => match.index + 2)
  if (ends.length === 0) return text + '\r\n'
  const at = dice.one(ends)
  return text.slice(0, at) + dice.one(FIELDS) + '\r\n' + text.slice(at)
}

/** A lie about a length. */
function changeNumber(dice: Dice, text: string, from: number): string {
  const found = /(?<=[\r\n :])[0-9A-Fa-f]+(?=[\r\n;])/.exec(text.slice(from)) ?? /[0-9]+/.exec(text.slice(from))
  if (found === null) return text
  const at = from + found.index
  const old = Number(found[0])
  const lie = dice.chance(0.5) ? dice.one(NUMBERS) : String(Math.max(0, (Number.isNaN(old) ? 10 : old) + dice.below(5) - 2))
  return text.slice(0, at) + lie + text.slice(at + found[0].length)
}

function changeLineEnd(dice: Dice, text: string): string {
  const ends = [...text.matchAll(/\r\n/g)].map(match => match.index)
  if (ends.length === 0) return text
  const at = dice.one(ends)
  return text.slice(0, at) + dice.one(LINE_ENDS) + text.slice(at + 2)
}

function changeSpace(dice: Dice, text: string, from: number): string {
  const found = /[ \t:;,=]/.exec(text.slice(from))
  if (found === null) return text
  const at = from + found.index
  return text.slice(0, at) + dice.one(SPACES) + (dice.chance(0.5) ? found[0] : '') + text.slice(at + 1)
}
