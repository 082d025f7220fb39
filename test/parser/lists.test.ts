import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { expectError, expectEvents } from '../support/event-log.ts'
import { acceptsTrailers, addConnectionOptions, addTransferCodings, Codings, ConnectionOption, MALFORMED } from '../../src/parser/lists.ts'
import { poisonedWindow } from '../support/splits.ts'

const lists = suite('parser/lists')

const { CLOSE, KEEP_ALIVE, UPGRADE } = ConnectionOption

function over<T>(read: (bytes: Buffer, start: number, end: number) => T, input: string): T {
  const { bytes, start, end } = poisonedWindow(Buffer.from(input, 'latin1'))
  return read(bytes, start, end)
}

const connection = (input: string): number => over((bytes, start, end) => addConnectionOptions(bytes, start, end, 0), input)
const codings = (input: string): number => over((bytes, start, end) => addTransferCodings(bytes, start, end, 0), input)

lists('Connection: options in any case and order, empty members ignored', () => {
  for (const [input, bits] of [
    ['', 0], ['close', CLOSE], ['CLOSE', CLOSE], ['keep-alive', KEEP_ALIVE], ['Keep-Alive, close', KEEP_ALIVE | CLOSE], ['closed', 0], ['clos', 0],
    ['x, y', 0], [', ,close,, ', CLOSE], [',', 0], ['Upgrade, HTTP2-Settings', UPGRADE], ['close\t,\tupgrade', CLOSE | UPGRADE], ['te', 0]
  ] as const) assert.is(connection(input), bits, input)
})

lists('Connection: what is no list of tokens', () => {
  for (const input of ['close keep-alive', '"close"', 'close;x', 'x=y', 'close,/', '\xe9', 'a\x80', '(close)', 'keep-alive close', ', close x']) {
    assert.is(connection(input), MALFORMED, input)
  }
})

lists('Transfer-Encoding: what the members amount to', () => {
  const { PRESENT, CHUNKED_LAST, CHUNKED_INSIDE, IDENTITY, UNKNOWN } = Codings
  for (const [input, bits] of [
    ['chunked', PRESENT | CHUNKED_LAST], ['x, chunked', PRESENT | UNKNOWN | CHUNKED_LAST], ['chunked ,x', PRESENT | UNKNOWN | CHUNKED_INSIDE],
    ['chunked,chunked', PRESENT | CHUNKED_INSIDE | CHUNKED_LAST], ['identity', PRESENT | IDENTITY]
  ] as const) assert.is(codings(input), bits, input)
  for (const input of ['', ' ', ',', 'a,', ',a', 'a,,b', 'a b', 'a;b=c', '"a"', 'a,"b"']) assert.is(codings(input), MALFORMED, input)
})

lists('TE: trailers as a member of its own', () => {
  for (const input of ['trailers', 'Trailers', 'gzip;q=0.5, trailers', ', trailers ,', 'x;a="\\",", trailers', 'x;a="b" , trailers']) {
    assert.is(over(acceptsTrailers, input), true, input)
  }
  for (const input of [
    '', 'trailer', 'trailersx', 'trailers;q=1', 'x trailers', 'x;a=", trailers,"', 'x;a=", trailers', 'x;a="\\", trailers',
    'chunked', '"trailers"'
  ]) {
    assert.is(over(acceptsTrailers, input), false, input)
  }
})

// The lines as a head sees them.
const get = (version: string, ...lines: string[]): string => [`GET / HTTP/${version}`, 'Host: x', ...lines, '', ''].join('\r\n')

function persists(version: string, lines: string[], expected: string): void {
  expectEvents(get(version, ...lines), [`head GET / ${version} ${expected}`, 'field Host: x', ...lines.map(line => `field ${line}`)])
}

lists('persistence: close wins, 1.1 persists, 1.0 asks', () => {
  persists('1.1', [], 'keep-alive')
  persists('1.1', ['Connection: keep-alive'], 'keep-alive asked-keep-alive')
  persists('1.1', ['Connection: close'], 'close')
  persists('1.1', ['Connection: keep-alive, Close'], 'close asked-keep-alive')
  persists('1.1', ['Connection: keep-alive', 'Connection: close'], 'close asked-keep-alive')
  persists('1.1', ['Connection: close', 'Connection: keep-alive'], 'close asked-keep-alive')
  persists('1.1', ['Proxy-Connection: close', 'Keep-Alive: timeout=5', 'Close: x'], 'keep-alive')
  persists('1.0', [], 'close')
  persists('1.0', ['Connection: keep-alive'], 'keep-alive asked-keep-alive')
  persists('1.0', ['Connection: keep-alive, close'], 'close asked-keep-alive')
})

lists('a malformed Connection', () => {
  expectError(get('1.1', 'Connection: close x'), 'INVALID_CONNECTION 400 @37')
  expectError(get('1.0', 'Connection: keep-alive', 'Connection: "close"'), 'INVALID_CONNECTION 400 @61')
})

lists('upgrade: on 1.1, with the connection option and something to upgrade to', () => {
  persists('1.1', ['Connection: Upgrade', 'Upgrade: websocket'], 'keep-alive upgrade')
  persists('1.1', ['Upgrade: foo/2', 'Connection: x, upgrade'], 'keep-alive upgrade')
  persists('1.1', ['Upgrade: websocket'], 'keep-alive')
  persists('1.1', ['Connection: Upgrade'], 'keep-alive')
  persists('1.0', ['Connection: Upgrade', 'Upgrade: websocket'], 'close')
})

lists('expectations: 100-continue, alone, on 1.1', () => {
  persists('1.1', ['Expect: 100-continue'], 'keep-alive expect-continue')
  persists('1.1', ['EXPECT: 100-Continue'], 'keep-alive expect-continue')
  persists('1.0', ['Expect: 100-continue'], 'close')
  persists('1.0', ['Expect: y', 'Expect: z'], 'close')
  for (const lines of [
    ['200-ok'], ['y 100-continue'], ['100-continue, 100-continue'], ['100-continue,'], ['100-continue;q'], [''], ['100-continue', '100-continue'],
    ['100-continue', 'x'], ['x', '100-continue']
  ]) {
    const input = get('1.1', ...lines.map(value => `Expect: ${value}`))
    expectError(input, `EXPECTATION_FAILED 417 @${input.length}`)
  }
})

lists('TE: only on 1.1', () => {
  persists('1.1', ['TE: trailers'], 'keep-alive accepts-trailers')
  persists('1.1', ['TE: gzip', 'te: trailers', 'TE: x'], 'keep-alive accepts-trailers')
  persists('1.0', ['TE: trailers'], 'close')
})

lists.run()
