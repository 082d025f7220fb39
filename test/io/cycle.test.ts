// One answer, exact to the octet: framing, accounting, coalescing, and what becomes of the connection. Through a real connection on a fault transport.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Engine, type CycleHandler, type EngineSettings } from '../../src/io/engine.ts'
import type { Cycle } from '../../src/io/cycle.ts'
import { HeadersSent, InvalidHeader } from '../../src/io/errors.ts'
import { encodeResponseHead } from '../../src/io/response-head.ts'
import { DEFAULT_LIMITS, DEFAULT_TIMEOUTS } from '../../src/parser/limits.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FaultTransport, settle, type Ending } from '../support/fault-transport.ts'

const whole = suite('cycle: an answer at once')
const streamed = suite('cycle: a streamed answer')
const interim = suite('cycle: interim answers')
const persistence = suite('cycle: persistence')

const DATE = 'Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n'
const GET = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'

interface Result {
  wire: string
  cycle: Cycle
  transport: FaultTransport
  /** How the connection stood when everything had happened: `transport.ending` says `reset` of all that were still open. */
  ending: Ending
}

/** A request and what is done to its cycle. */
async function exchange(request: string, play: (cycle: Cycle) => void | Promise<void>, settings: Partial<EngineSettings> = {}): Promise<Result> {
  const cycles: Cycle[] = []
  let played: void | Promise<void> = undefined
  const handler: CycleHandler = {
    onHead(cycle) {
      cycles.push(cycle)
      if (cycles.length === 1) played = play(cycle)
      else {
        cycle.setHead(encodeResponseHead(200, undefined, true))
        cycle.answer(['next'], 4)
      }
    },
    onPeerError() {},
    onOpen() {},
    onClose() {},
    onCycleEnd() {},
    onRefusalEnd() {},
    onPoolFailed() {},
    onDeadline() {}
  }
  const clock = new FakeClock()
  const engine = new Engine({
    limits: DEFAULT_LIMITS,
    timeouts: DEFAULT_TIMEOUTS,
    keepalive: 75_000,
    maxSize: 3,
    maxHttpVersion: 'HTTP/1.1',
    minimumChunkSize: 10,
    acceptTransferEncodingWithContentLength: false,
    abortOnHalfClose: false,
    customPool: null,
    clock,
    ...settings
  }, handler)
  const transport = new FaultTransport().receive(request)
  engine.accept(transport)
  await settle(transport)
  await played
  await settle(transport)
  assert.equal(transport.violations, [])
  const result = { wire: transport.wire(), cycle: cycles[0]!, transport, ending: transport.ending }
  engine.destroyAll()
  assert.is(clock.pending(), 0)
  return result
}

/** Head with the usual lines, then the content. */
function answer(lines: string, content = '', status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\n${lines}\r\n${content}`
}

const OK = encodeResponseHead(200, [['A', 'b']], true)

whole('one string: length, date, content; one write', async () => {
  const { wire, cycle, transport } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    cycle.answer(['hello'], 5)
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 5\r\n${DATE}`, 'hello'))
  assert.is(transport.writes, 1)
  assert.equal([cycle.status, cycle.bodyBytes, cycle.wireBytes, cycle.completed, cycle.reason], [200, 5, wire.length, true, ''])
})

whole('strings are UTF-8, byte arrays as they are, in order', async () => {
  const { wire, cycle } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    cycle.answer(['é', Buffer.from([0xff, 0]), '€', new Uint8Array([1]), ''], 8)
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 8\r\n${DATE}`, '\xc3\xa9\xff\0\xe2\x82\xac\x01'))
  assert.is(cycle.wireBytes, wire.length)
})

whole('nothing', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    cycle.answer([], 0)
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 0\r\n${DATE}`))
})

whole('what the application announced stands; its Date too', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.setHead(encodeResponseHead(200, [['Date', 'today'], ['Content-Length', '5']], true))
    cycle.answer(['hello'], 5)
  })
  assert.is(wire, answer('Date: today\r\nContent-Length: 5\r\n', 'hello'))
})

whole('more than announced: cut off, and the connection closes', async () => {
  const { wire, cycle, transport } = await exchange(GET, cycle => {
    cycle.setHead(encodeResponseHead(200, [['Content-Length', '3']], true))
    cycle.answer(['hé', 'llo'], 6)
  })
  assert.is(wire, answer(`Content-Length: 3\r\n${DATE}Connection: close\r\n`, 'h\xc3\xa9'))
  assert.ok(cycle.excess)
  assert.is(cycle.bodyBytes, 3)
  assert.ok(transport.finSent)
})

whole('less than announced: it leaves, and the connection is cut', async () => {
  const { wire, cycle, ending } = await exchange(GET, cycle => {
    cycle.setHead(encodeResponseHead(200, [['Content-Length', '9']], true))
    cycle.answer(['hello'], 5)
  })
  assert.is(wire, answer(`Content-Length: 9\r\n${DATE}`, 'hello'))
  assert.is(ending, 'reset')
  assert.equal([cycle.completed, cycle.reason], [false, 'the answer is shorter than its Content-Length'])
})

whole('HEAD: the head of GET, no content, whatever its length', async () => {
  const { wire, cycle, ending } = await exchange('HEAD / HTTP/1.1\r\nHost: h\r\n\r\n', cycle => {
    cycle.setHead(OK)
    cycle.answer(['hello'], 5)
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 5\r\n${DATE}`))
  assert.equal([cycle.bodyBytes, cycle.completed, ending], [0, true, 'open'])
  const other = await exchange('HEAD / HTTP/1.1\r\nHost: h\r\n\r\n', cycle => {
    cycle.setHead(encodeResponseHead(200, [['Content-Length', '1000']], true))
    cycle.answer([], 0)
  })
  assert.is(other.wire, answer(`Content-Length: 1000\r\n${DATE}`))
  assert.is(other.ending, 'open')
})

whole('204, 205 and 304 have no content on the wire', async () => {
  for (const [status, lines, line] of [[204, '', '204 No Content'], [205, 'Content-Length: 0\r\n', '205 Reset Content'], [304, '', '304 Not Modified']] as const) {
    const { wire, cycle, ending } = await exchange(GET, cycle => {
      cycle.setHead(encodeResponseHead(status, undefined, true))
      cycle.answer(['hello'], 5)
    })
    assert.is(wire, answer(lines + DATE, '', line))
    assert.equal([cycle.bodyBytes, cycle.completed, ending], [0, true, 'open'])
  }
})

whole('a head can be replaced until it is sent', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.setHead(encodeResponseHead(500, undefined, true))
    cycle.setHead(OK)
    cycle.answer(['x'], 1)
    assert.throws(() => cycle.setHead(OK), (error: unknown) => error instanceof HeadersSent)
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 1\r\n${DATE}`, 'x'))
})

whole('after its end a cycle is deaf', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    cycle.answer(['x'], 1)
    cycle.answer(['y'], 1)
    cycle.push('z')
    cycle.write('z')
    cycle.sendHeld()
    cycle.inform(encodeResponseHead(103, undefined, true))
    cycle.end('')
    assert.ok(cycle.writable)
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 1\r\n${DATE}`, 'x'))
})

const CHUNKED = answer(`A: b\r\n${DATE}Transfer-Encoding: chunked\r\n`)

streamed('pieces are joined up to the minimum', async () => {
  const { wire, cycle } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    for (const piece of ['abcd', 'efgh', 'ij', 'k', Buffer.from('lm'), '', Buffer.alloc(0), 'é', 'nopqr']) cycle.push(piece)
    cycle.end('')
  })
  assert.is(wire, `${CHUNKED}a\r\nabcdefghij\r\na\r\nklm\xc3\xa9nopqr\r\n0\r\n\r\n`)
  assert.equal([cycle.bodyBytes, cycle.wireBytes], [20, wire.length])
})

streamed('a large piece goes at once, with what was held', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    cycle.push('ab')
    cycle.push('x'.repeat(26))
    cycle.push('c')
    cycle.end('')
  })
  assert.is(wire, `${CHUNKED}1c\r\nab${'x'.repeat(26)}\r\n1\r\nc\r\n0\r\n\r\n`)
})

streamed('a minimum of 0: every piece is a chunk, an empty one is none', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.minimumChunkSize = 0
    cycle.setHead(OK)
    for (const piece of ['a', '', 'bc', Buffer.alloc(0), Buffer.from('d')]) cycle.push(piece)
    cycle.end('')
  })
  assert.is(wire, `${CHUNKED}1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n\r\n`)
})

streamed('a piece that is held may be changed by its owner', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    const scratch = Buffer.from('abc')
    cycle.push(scratch)
    scratch.fill('x')
    cycle.push(scratch)
    scratch.fill('y')
    cycle.end('')
  })
  assert.is(wire, `${CHUNKED}6\r\nabcxxx\r\n0\r\n\r\n`)
})

streamed('write() sends at once, with what was held; the empty one sends the head', async () => {
  const seen: string[] = []
  await exchange(GET, async cycle => {
    const transport = cycle.connection.transport as FaultTransport
    cycle.setHead(OK)
    cycle.write('')
    await settle()
    seen.push(transport.wire())
    cycle.push('ab')
    await settle()
    seen.push(transport.wire())
    cycle.write('c')
    await settle()
    seen.push(transport.wire())
    cycle.end('')
  })
  assert.equal(seen, [CHUNKED, CHUNKED, `${CHUNKED}3\r\nabc\r\n`])
})

streamed('a known length: no chunks; beyond it write() throws and an iterable is cut', async () => {
  const length = answer(`Content-Length: 4\r\n${DATE}`)
  const head = encodeResponseHead(200, [['Content-Length', 4]], true)
  const thrown = await exchange(GET, cycle => {
    cycle.setHead(head)
    cycle.write('abc')
    assert.throws(() => cycle.write('de'), (error: unknown) => error instanceof InvalidHeader)
    cycle.write('d')
    cycle.end('')
  })
  assert.is(thrown.wire, length + 'abcd')
  assert.ok(thrown.cycle.completed)
  const cut = await exchange(GET, cycle => {
    cycle.setHead(head)
    cycle.push('abc')
    cycle.push('defghijklm')
    assert.ok(cycle.excess)
    cycle.end('')
  })
  assert.is(cut.wire, length + 'abcd')
  assert.ok(cut.transport.finSent)
  const early = await exchange(GET, cycle => {
    cycle.setHead(head)
    assert.throws(() => cycle.write('abcde'), (error: unknown) => error instanceof InvalidHeader)
    assert.not.ok(cycle.headSent, 'a clean 500 is still possible')
    cycle.setHead(encodeResponseHead(500, undefined, true))
    cycle.answer([], 0)
  })
  assert.is(early.wire, answer(`Content-Length: 0\r\n${DATE}`, '', '500 Internal Server Error'))
})

streamed('a short one is cut after what there is', async () => {
  const { wire, ending } = await exchange(GET, cycle => {
    cycle.setHead(encodeResponseHead(200, [['Content-Length', 4]], true))
    cycle.push('abc')
    cycle.end('')
  })
  assert.is(wire, answer(`Content-Length: 4\r\n${DATE}`, 'abc'))
  assert.is(ending, 'reset')
})

streamed('trailers only to those who take them', async () => {
  for (const [fields, last] of [['', '0\r\n\r\n'], ['TE: trailers\r\nConnection: TE\r\n', '0\r\nX-T: 1\r\n\r\n']] as const) {
    const { wire } = await exchange(`GET / HTTP/1.1\r\nHost: h\r\n${fields}\r\n`, cycle => {
      cycle.setHead(OK)
      cycle.push('a')
      cycle.end('X-T: 1\r\n')
    })
    assert.is(wire, `${CHUNKED}1\r\na\r\n${last}`)
  }
})

streamed('to HTTP/1.0: until the connection ends', async () => {
  const { wire, transport } = await exchange('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n', cycle => {
    cycle.setHead(OK)
    cycle.push('abc')
    cycle.end('')
  })
  assert.is(wire, answer(`A: b\r\n${DATE}Connection: close\r\n`, 'abc'))
  assert.ok(transport.finSent)
})

streamed('maxHttpVersion HTTP/1.0: so does it to everybody', async () => {
  const { wire } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    cycle.push('abc')
    cycle.end('')
  }, { maxHttpVersion: 'HTTP/1.0', keepalive: 0 })
  assert.is(wire, `HTTP/1.0 200 OK\r\nA: b\r\n${DATE}Connection: close\r\n\r\nabc`)
})

streamed('HEAD and 304: neither content nor framing that would promise some', async () => {
  const head = await exchange('HEAD / HTTP/1.1\r\nHost: h\r\n\r\n', cycle => {
    cycle.setHead(OK)
    cycle.push('x'.repeat(100))
    assert.ok(cycle.contentless)
    cycle.end('X-T: 1\r\n')
  })
  assert.is(head.wire, answer(`A: b\r\n${DATE}`))
  assert.equal([head.cycle.bodyBytes, head.cycle.wireBytes], [0, head.wire.length])
  const notModified = await exchange(GET, cycle => {
    cycle.setHead(encodeResponseHead(304, [['Content-Length', 100]], true))
    cycle.push('x'.repeat(100))
    cycle.end('')
  })
  assert.is(notModified.wire, answer(`Content-Length: 100\r\n${DATE}`, '', '304 Not Modified'))
  assert.is(notModified.ending, 'open')
})

streamed('an empty piece sends nothing, the head neither, also where nothing is joined', async () => {
  const { wire, transport } = await exchange(GET, cycle => {
    cycle.setHead(OK)
    cycle.minimumChunkSize = 0
    cycle.push('')
    assert.not(cycle.headSent)
    cycle.push('a')
    assert.ok(cycle.headSent)
    cycle.end('')
  })
  assert.is(wire, answer(`A: b\r\n${DATE}Transfer-Encoding: chunked\r\n`, '1\r\na\r\n0\r\n\r\n'))
  assert.is(transport.writes, 1)
})

streamed('a surrogate pair in two pieces is counted as it is sent', async () => {
  for (const pair of ['\u{10000}', '\u{1f600}', '\u{10ffff}']) {
    const { wire } = await exchange(GET, cycle => {
      cycle.setHead(OK)
      cycle.push('a' + pair[0])
      cycle.push(pair[1] + 'b')
      cycle.end('')
    })
    assert.is(wire, `${CHUNKED}8\r\na\xef\xbf\xbd\xef\xbf\xbdb\r\n0\r\n\r\n`)
  }
})

interim('103 before the answer, as often as wished; not after it', async () => {
  const hints = encodeResponseHead(103, [['Link', '</a>']], true)
  const { wire, cycle } = await exchange(GET, cycle => {
    cycle.inform(hints)
    cycle.inform(hints)
    cycle.setHead(OK)
    cycle.answer([], 0)
    cycle.inform(hints)
  })
  const one = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'
  assert.is(wire, one + one + answer(`A: b\r\nContent-Length: 0\r\n${DATE}`))
  assert.is(cycle.wireBytes, wire.length)
})

interim('never to HTTP/1.0', async () => {
  const { wire } = await exchange('GET / HTTP/1.0\r\n\r\n', cycle => {
    cycle.inform(encodeResponseHead(103, undefined, true))
    cycle.sendContinue()
    cycle.setHead(OK)
    cycle.answer([], 0)
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 0\r\n${DATE}Connection: close\r\n`))
})

const EXPECT = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n'
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

interim('100 at the first wish for content, once', async () => {
  const { wire } = await exchange(EXPECT, cycle => {
    const waiter = { onContentChange(): void {} }
    cycle.content!.wait(waiter)
    cycle.content!.wait(waiter)
  })
  assert.is(wire, CONTINUE)
})

interim('an answer without it closes the connection: nobody knows whether content will come', async () => {
  const { wire, transport } = await exchange(EXPECT, cycle => {
    cycle.setHead(OK)
    cycle.answer([], 0)
    cycle.content!.wait({ onContentChange(): void {} })
  })
  assert.is(wire, answer(`A: b\r\nContent-Length: 0\r\n${DATE}Connection: close\r\n`))
  assert.ok(transport.finSent)
})

interim('with the application\'s headers', async () => {
  const { wire } = await exchange(EXPECT, cycle => {
    cycle.continueHead = encodeResponseHead(100, [['X-Go', 'on']], true)
    cycle.content!.wait({ onContentChange(): void {} })
  })
  assert.is(wire, 'HTTP/1.1 100 Continue\r\nX-Go: on\r\n\r\n')
})

/** The Connection and Keep-Alive lines of the answer to `request`, and whether a next request is answered. */
async function fate(request: string, settings: Partial<EngineSettings> = {}, head = OK): Promise<[lines: string, next: boolean]> {
  const { wire } = await exchange(request + GET, cycle => {
    cycle.setHead(head)
    cycle.answer([], 0)
  }, settings)
  const [first] = wire.split('\r\n\r\n')
  return [(first!.match(/^(?:Connection|Keep-Alive): .*$/gm) ?? []).join(' | '), wire.endsWith('next')]
}

persistence('by version and wish', async () => {
  assert.equal(await fate(GET), ['', true])
  assert.equal(await fate('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n'), ['Connection: close', false])
  assert.equal(await fate('GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n'), ['Connection: keep-alive | Keep-Alive: timeout=75', true])
  assert.equal(await fate('GET / HTTP/1.0\r\n\r\n'), ['Connection: close', false])
  assert.equal(await fate('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'), ['Connection: keep-alive | Keep-Alive: timeout=75', true])
})

persistence('Keep-Alive counts whole seconds, and says nothing of less than one', async () => {
  const request = 'GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n'
  assert.equal(await fate(request, { keepalive: 1999 }), ['Connection: keep-alive | Keep-Alive: timeout=1', true])
  assert.equal(await fate(request, { keepalive: 999 }), ['Connection: keep-alive', true])
  assert.equal(await fate(request, { keepalive: Infinity }), ['Connection: keep-alive', true])
  assert.equal(await fate(request, { keepalive: 0 }), ['Connection: close', false])
})

persistence('the application may close', async () => {
  assert.equal(await fate(GET, {}, encodeResponseHead(200, { Connection: 'close' }, true)), ['Connection: close', false])
})

persistence('426 names its Upgrade', async () => {
  const head = encodeResponseHead(426, { Upgrade: 'h2c' }, true)
  assert.equal(await fate(GET, {}, head), ['Connection: upgrade', true])
  assert.equal(await fate('GET / HTTP/1.0\r\n\r\n', {}, head), ['Connection: upgrade, close', false])
})

persistence('unread content: drained up to maxDrain, else the connection closes', async () => {
  const settings = (maxDrain: number): Partial<EngineSettings> => ({ limits: { ...DEFAULT_LIMITS, maxDrain } })
  const post = (length: number, sent = length): string => `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(sent)}`
  assert.equal(await fate(post(100), settings(99)), ['', true], 'it is here already')
  const drained = await exchange(post(100, 0), cycle => {
    cycle.setHead(OK)
    cycle.answer([], 0)
  }, settings(100))
  assert.is(drained.wire, answer(`A: b\r\nContent-Length: 0\r\n${DATE}`))
  assert.not.ok(drained.transport.finSent)
  const closed = await exchange(post(101, 0), cycle => {
    cycle.setHead(OK)
    cycle.answer([], 0)
  }, settings(100))
  assert.is(closed.wire, answer(`A: b\r\nContent-Length: 0\r\n${DATE}Connection: close\r\n`))
  assert.ok(closed.transport.finSent)
})

persistence('unread chunked content: drained up to maxDrain, then the connection closes', async () => {
  const head = 'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n'
  const play = (cycle: Cycle): void => {
    cycle.setHead(OK)
    cycle.answer([], 0)
    const transport = cycle.connection.transport as FaultTransport
    transport.receive('64\r\n' + 'x'.repeat(100) + '\r\n').receive('1\r\nx\r\n0\r\n\r\n').receive(GET)
  }
  const enough = await exchange(head, play, { limits: { ...DEFAULT_LIMITS, maxDrain: 101 } })
  assert.ok(enough.wire.endsWith('next'))
  const tooMuch = await exchange(head, play, { limits: { ...DEFAULT_LIMITS, maxDrain: 100 } })
  assert.is(tooMuch.wire, answer(`A: b\r\nContent-Length: 0\r\n${DATE}`))
  assert.ok(tooMuch.transport.finSent)
})

whole.run()
streamed.run()
interim.run()
persistence.run()
