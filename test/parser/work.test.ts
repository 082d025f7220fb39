// Counts octets looked at, not time: the parser must not look again at what it has seen when a head trickles in (rules LM-10).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ChunkedDecoder } from '../../src/parser/chunked-decoder.ts'
import { DEFAULT_LIMITS } from '../../src/parser/limits.ts'
import { RequestParser } from '../../src/parser/request-parser.ts'

const work = suite('parser/work')

// A Buffer that counts how often an octet of it is read by index, which is the only way in which the parser looks at octets.
class CountingBuffer {
  reads = 0
  readonly bytes: Buffer

  constructor(input: string) {
    const target = Buffer.from(input, 'latin1')
    this.bytes = new Proxy(target, {
      get: (buffer, key): unknown => {
        if (typeof key === 'string' && key.charCodeAt(0) <= 0x39) this.reads++
        const value = Reflect.get(buffer, key, buffer) as unknown
        return typeof value === 'function' ? (value as () => unknown).bind(buffer) : value
      }
    })
  }
}

const OFF = { ...DEFAULT_LIMITS, maxFieldLine: Infinity, urlLengthLimit: Infinity, maxHead: Infinity, maxFields: Infinity }

const SHAPES: [name: string, head: string][] = [
  ['a few long lines', `GET / HTTP/1.1\r\nHost: x\r\n${`X: ${'a'.repeat(8000)}\r\n`.repeat(8)}\r\n`],
  ['many short lines', `GET / HTTP/1.1\r\nHost: x\r\n${'Accept: ab\r\n'.repeat(5400)}\r\n`],
  ['one field line', `GET / HTTP/1.1\r\nHost: x\r\nCookie: ${'a'.repeat(65536)}\r\n\r\n`],
  ['one field name', `GET / HTTP/1.1\r\nHost: x\r\n${'a'.repeat(65536)}:\r\n\r\n`],
  ['whitespace around a value', `GET / HTTP/1.1\r\nHost: x\r\nA:${' '.repeat(32768)}b${' '.repeat(32768)}\r\n\r\n`],
  ['a request-target', `GET /${'a'.repeat(65536)} HTTP/1.1\r\nHost: x\r\n\r\n`],
  ['an authority', `GET http://${'a'.repeat(65536)}/ HTTP/1.1\r\nHost: x\r\n\r\n`],
  ['a list of options', `GET / HTTP/1.1\r\nHost: x\r\nConnection: ${'a, '.repeat(21000)}b\r\n\r\n`],
  ['one option in many lines', `GET / HTTP/1.1\r\nHost: x\r\n${'Connection: a\r\n'.repeat(4300)}\r\n`],
  ['quoted parameters of TE', `GET / HTTP/1.1\r\nHost: x\r\nTE: ${'a;b="\\",", '.repeat(6000)}c\r\n\r\n`]
]

// An octet is seen by the scan that passes it, the look at what ended it, and once more where a known name or value is understood.
const LOOKS = 6

for (const [name, head] of SHAPES) {
  work(`a head octet by octet, ${name}: each octet costs the same`, () => {
    const counting = new CountingBuffer(head)
    const parser = new RequestParser({ limits: OFF, acceptTransferEncodingWithContentLength: false })
    let result = 0
    const quarters: number[] = []
    for (let end = 1; end <= head.length; end++) {
      assert.is(result, 0)
      result = parser.execute(counting.bytes, 0, end)
      // At once, because a quadratic parser would take minutes to get to the end.
      if (counting.reads > LOOKS * head.length) assert.unreachable(`${counting.reads} looks after ${end} of ${head.length} octets`)
      if (end % (head.length >> 2) === 0) quarters.push(counting.reads)
    }
    assert.is(result, head.length)
    // Nor does the work grow along the head. (In the first quarter the other lines are read, in the last a value may be understood as a whole.)
    const second = quarters[1]! - quarters[0]!
    const third = quarters[2]! - quarters[1]!
    assert.ok(third < 1.5 * second + 100, `${second} looks in the second quarter, ${third} in the third`)
  })
}

work('chunked content octet by octet: each octet costs the same', () => {
  for (const content of [
    '1\r\nx\r\n'.repeat(8000), `1;${'a'.repeat(16000)}\r\nx\r\n`, '1;a="b"\r\nx\r\n'.repeat(1000), `5000\r\n${'x'.repeat(0x5000)}\r\n`
  ]) {
    const input = `${content}0\r\n${'A: b\r\n'.repeat(100)}\r\n`
    const counting = new CountingBuffer(input)
    const decoder = new ChunkedDecoder(DEFAULT_LIMITS)
    for (let pos = 0; pos < input.length; pos++) assert.is(decoder.decode(counting.bytes, pos, pos + 1, { onContent: () => {} }), pos + 1)
    assert.ok(decoder.done)
    assert.ok(counting.reads < LOOKS * input.length, `${(counting.reads / input.length).toFixed(2)} looks at an octet`)
  }
})

work.run()
