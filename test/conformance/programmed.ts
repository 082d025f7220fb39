// Cases that need an application of their own, a clock, or a peer that waits: the rules for answers above all.
import * as assert from 'uvu/assert'
import { ALREADY_HANDLED, type Application, type Environ, type Headers, type Status } from '../../src/server/application.ts'
import { expires, stuck, timed } from '../support/deadlines.ts'
import { answering, get, post, stable, thrown, turns, until, type Harness } from '../support/harness.ts'
import type { Response } from '../support/raw-client.ts'

export interface ProgrammedCase {
  id: string
  rules: string[]
  what: string
  /** For the report: what is answered, as the run asserts it. */
  seen: string
  run(h: Harness): Promise<void>
}

export const programmedCases: ProgrammedCase[] = []
const counts = new Map<string, number>()

function define(rule: string, what: string, seen: string, run: (h: Harness) => Promise<void>): void {
  const n = (counts.get(rule) ?? 0) + 1
  counts.set(rule, n)
  programmedCases.push({ id: `W-${rule}-P${n}`, rules: [rule], what, seen, run })
}

const CHUNKED = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
const INVALID = 'ERR_WIRELET_INVALID_HEADER'

/** Two requests on one connection, the second pipelined: whatever the first answer does, the second's must follow in order. */
async function two(h: Harness, application: Application, first = get('/first')): Promise<[Response, Response]> {
  await h.serve((environ, startResponse) => (environ.PATH_INFO === '/second' ? answering('second')(environ, startResponse) : application(environ, startResponse)))
  const client = await h.connect()
  await client.send(first + get('/second'))
  const answers: [Response, Response] = [await client.response({ method: first.slice(0, first.indexOf(' ')) }), await client.response()]
  assert.is(answers[1].text, 'second')
  return answers
}

/** What startResponse throws for each head; the request is answered with 200 and without any of it. */
async function refusedHeads(h: Harness, heads: [status: Status, headers?: Headers][]): Promise<void> {
  const codes: string[] = []
  const [answer] = await two(h, (_environ, startResponse) => {
    for (const [status, headers] of heads) codes.push(thrown(() => startResponse(status, headers)))
    startResponse('200 OK', [['X-Good', 'yes']])
    return ['good']
  })
  assert.equal(codes, heads.map(() => INVALID))
  assert.is(answer.status, 200)
  assert.is(answer.text, 'good')
  assert.equal(answer.headers.map(([name]) => name), ['X-Good', 'Content-Length', 'Date'])
}

/** What the application saw of one request. */
async function environOf(h: Harness, request: string, look: (environ: Environ) => unknown): Promise<unknown> {
  let seen: unknown
  await h.ask(async (environ, startResponse) => {
    await environ['wsgi.input'].read()
    seen = look(environ)
    startResponse('200 OK')
    return ['ok']
  }, request)
  return seen
}

define('G-06', 'the application is not called before the last LF of the head', '200', async h => {
  let calls = 0
  await h.serve((environ, startResponse) => {
    calls++
    return answering('ok')(environ, startResponse)
  })
  const client = await h.connect()
  await client.send(get().slice(0, -1))
  await turns()
  assert.is(calls, 0)
  await client.send('\n')
  assert.is((await client.response()).text, 'ok')
})

define('G-10', 'a bad chunk after the answer has begun', 'cut (reset)', async h => {
  await h.serve((environ, startResponse) => {
    void startResponse('200 OK')('begun')
    return environ['wsgi.input']
  })
  const client = await h.connect()
  await client.send(CHUNKED)
  await until(() => client.received > 0, 'the beginning of the answer')
  await client.send('zz\r\n')
  assert.is(await client.closed, 'reset')
  assert.not.match(client.buffered, /\r\n0\r\n\r\n$/)
})

define('VE-07', 'a streamed answer to HTTP/1.0 ends with the connection', '200, close', async h => {
  const { answer } = await h.ask(function* (_environ: Environ, startResponse) {
    startResponse('200 OK')
    yield 'a'
    yield 'b'
  } as Application, 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
  assert.is(answer.framing, 'close')
  assert.is(answer.has('Transfer-Encoding'), false)
  assert.is(answer.text, 'ab')
})

define('HF-16', 'list fields join with a comma, cookies with a semicolon', '200', async h => {
  const seen = await environOf(h, get('/', 'Accept: 1\r\nCookie: a=1\r\nAccept: 2\r\nCookie: b=2\r\n'), environ => [environ.HTTP_ACCEPT, environ.HTTP_COOKIE])
  assert.equal(seen, ['1, 2', 'a=1; b=2'])
})

define('HF-18', '__proto__ and constructor reach no prototype', '200', async h => {
  const seen = await environOf(h, get('/', '__proto__: x\r\nconstructor: y\r\n'), environ => [
    environ.HTTP_CONSTRUCTOR, ({} as Record<string, unknown>)['x'], Object.hasOwn(environ, '__proto__'), environ.headers_raw.length
  ])
  assert.equal(seen, ['y', undefined, false, 3])
})

define('HF-19', 'a name with an underscore overwrites nothing', '200', async h => {
  const seen = await environOf(h, get('/', 'X-Forwarded-For: good\r\nX_Forwarded_For: evil\r\nX_Only: evil\r\n'), environ => [
    environ.HTTP_X_FORWARDED_FOR, environ.HTTP_X_ONLY
  ])
  assert.equal(seen, ['good', undefined])
})

define('TR-02', 'trailers stay apart from the headers', '200', async h => {
  const seen = await environOf(h, `${CHUNKED}0\r\nX-Admin: 1\r\n\r\n`, environ => [
    environ.HTTP_X_ADMIN, environ['wirelet.trailers'], environ.headers_raw.length
  ])
  assert.equal(seen, [undefined, [['X-Admin', '1']], 2])
})

define('HO-10', 'an application refuses a host', '421', async h => {
  const [answer] = await two(h, (environ, startResponse) => {
    assert.is(environ.HTTP_HOST, 'a')
    startResponse('421 Misdirected Request')
    return ['not here']
  })
  assert.is(answer.status, 421)
})

define('CN-05', 'requests behind one that is being answered are not read without end', '-', async h => {
  await h.serve(stuck([]))
  const client = await h.connect()
  await client.send(get())
  client.stream.write(Buffer.from(get('/next').repeat(400_000), 'latin1'))
  const left = await stable(() => client.stream.writableLength)
  assert.ok(left > 0, 'the peer is held back')
})

define('CN-08', 'a head that does not end', '408, close', async h => {
  const { clock, client } = await timed(h, answering('ok'))
  await client.send('GET / HTTP/1.1\r\nHost: a\r\n')
  await turns()
  await expires(clock, 30_000, () => client.received > 0)
  const answer = await client.response()
  assert.is(answer.status, 408)
  assert.is(answer.header('connection'), 'close')
})

define('CN-08', 'an idle connection', 'closed silently', async h => {
  const { clock, client, server } = await timed(h, answering('ok'))
  await client.send(get())
  await client.response()
  await expires(clock, 75_000, () => server.connections === 0)
  assert.is((await client.untilEnd()).length, 0)
})

define('LM-09', 'no octet at all', 'closed silently', async h => {
  const { clock, client, server } = await timed(h, answering('ok'))
  await expires(clock, 10_000, () => server.connections === 0)
  assert.is((await client.untilEnd()).length, 0)
})

define('LM-09', 'a second request that comes one octet a second', '408, close', async h => {
  const { clock, client } = await timed(h, answering('ok'))
  await client.send(get())
  await client.response()
  const before = client.received
  const head = get('/', `X: ${'x'.repeat(60)}\r\n`)
  for (let i = 0; i < 29; i++) {
    await client.send(head[i]!)
    await turns(3)
    clock.advance(1000)
  }
  assert.is(client.received, before)
  clock.advance(1000)
  clock.advance(1000)
  await turns()
  assert.is((await client.response()).status, 408)
})

define('LM-09', 'content that stops', '408, close', async h => {
  const { clock, client } = await timed(h, stuck([], true), { timeouts: { minBodyRate: 0 } })
  await client.send(post('/', 'x'.repeat(10)).slice(0, -5))
  await turns()
  await expires(clock, 30_000, () => client.received > 0)
  assert.is((await client.response()).status, 408)
})

define('LM-09', 'content at 100 octets a second', '408, close', async h => {
  const { clock, client } = await timed(h, stuck([], true))
  await client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n')
  await turns()
  for (let i = 0; i < 22 && client.received === 0; i++) {
    await client.send('x'.repeat(100))
    await turns(3)
    clock.advance(1000)
    await turns(3)
  }
  assert.is((await client.response()).status, 408)
})

define('EX-01', '100 is sent to a peer that waits for it', '100, 200', async h => {
  await h.serve(async (environ, startResponse) => {
    startResponse('200 OK')
    return [await environ['wsgi.input'].read()]
  })
  const client = await h.connect()
  await client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
  assert.is((await client.interim()).status, 100)
  await client.send('hello')
  assert.is((await client.response()).text, 'hello')
})

define('EX-05', 'a final answer without a 100: the content is never read as a request', '200, close', async h => {
  const seen: string[] = []
  await h.serve((environ, startResponse) => {
    seen.push(environ.PATH_INFO)
    return answering('no')(environ, startResponse)
  })
  const client = await h.connect()
  await client.send(`POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n${get('/smuggled')}`)
  const answer = await client.response()
  assert.is(answer.header('connection'), 'close')
  assert.is((await client.untilEnd()).length, 0)
  assert.equal(seen, ['/'])
})

define('EX-07', 'exactly one final answer behind a 100, which has no field of framing', '100, 200', async h => {
  await h.serve(async (environ, startResponse) => {
    const input = environ['wsgi.input']
    const first = await input.read(2)
    const rest = await input.read()
    startResponse('200 OK')
    return [first, rest]
  })
  const client = await h.connect()
  await client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n')
  const interim = await client.interim()
  assert.equal(interim.headers, [])
  await client.send(`3\r\nabc\r\n0\r\n\r\n${get()}`)
  assert.is((await client.response()).text, 'abc')
  assert.is((await client.response()).status, 200)
})

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n'

define('EX-08', 'Upgrade and Expect: 100, then 101', '100, 101', async h => {
  await h.serve(async environ => {
    await environ['wsgi.input'].read()
    environ['wirelet.upgrade']().write(`${SWITCH}raw`)
    return ALREADY_HANDLED
  })
  const client = await h.connect()
  await client.send('POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n')
  assert.is((await client.interim()).status, 100)
  await client.send('x')
  assert.is((await client.interim()).status, 101)
  assert.is(String(await client.bytes(3)), 'raw')
})

define('UP-03', '101 by the application, and what followed the request is its own', '101', async h => {
  await h.serve(environ => {
    const duplex = environ['wirelet.upgrade']()
    duplex.write(SWITCH)
    duplex.pipe(duplex)
    return ALREADY_HANDLED
  })
  const client = await h.connect()
  await client.send(`${get('/', 'Connection: upgrade\r\nUpgrade: raw\r\n')}GET / HTTP/1.1\r\n\r\n`)
  const answer = await client.interim()
  assert.is(answer.status, 101)
  assert.is(answer.header('upgrade'), 'raw')
  assert.is(String(await client.bytes(18)), 'GET / HTTP/1.1\r\n\r\n')
})

define('UP-05', '426 with Upgrade', '426', async h => {
  const [answer] = await two(h, (_environ, startResponse) => {
    startResponse('426 Upgrade Required', [['Upgrade', 'websocket']])
    return ['upgrade']
  })
  assert.is(answer.header('upgrade'), 'websocket')
  assert.is(answer.header('connection'), 'upgrade')
})

define('RS-01', 'names and values that would split or truncate into a split', 'throws; nothing of it on the wire', async h => {
  const names = ['X\r\nY', 'X\nY', 'X:', 'X Y', '', 'X\u0000', 'X\u00e9', 'X\u010a', 'X\u560d', '\uff38']
  const values = ['a\r\nSet-Cookie: b', 'a\nb', 'a\rb', 'a\u0000b', 'a\u010ab', 'a\u010db', 'a\u560ab', '\u{1f60a}', ' a', 'a\t', 'a\u007f', 'a\u001b[31m']
  await refusedHeads(h, [
    ...names.map((name): [Status, Headers] => ['200 OK', [[name, 'x']]]),
    ...values.map((value): [Status, Headers] => ['200 OK', [['X', value]]]),
    ...values.map((value): [Status, Headers] => ['200 OK', { X: ['ok', value] }])
  ])
})

define('RS-02', 'status lines that would split, and numbers out of range', 'throws; nothing of it on the wire', h => refusedHeads(h, [
  ['200 OK\r\nX: y'], ['200 OK\nX: y'], ['200 a\rb'], ['200 a\u0000'], ['200 \u010a'], ['200 \u{1f60a}'], ['200\tOK'], ['99 Low'], ['600 High'], ['1000'],
  ['abc'], [''], ['+20'], [' 200'], [0], [99], [600], [200.5], [Number.NaN], [-200]
]))

define('RS-03', 'nothing of the request in a refusal', '505, close', async h => {
  await h.serve(answering('ok'))
  const client = await h.connect()
  await client.send('GET /target-reflected HTTP/1.7\r\nHost: reflected\r\n\r\n')
  const answer = await client.response()
  assert.is(answer.status, 505)
  assert.is(answer.version, 'HTTP/1.1')
  assert.not.match(answer.raw.toString('latin1'), /reflected|1\.7/)
})

for (const status of [204, 205, 304]) {
  define('RS-04', `content with a ${status} never leaves`, String(status), async h => {
    const [answer] = await two(h, (_environ, startResponse) => {
      startResponse(status)
      return ['HTTP/1.1 200 OK\r\n\r\n']
    })
    assert.is(answer.status, status)
    assert.is(answer.body.length, 0)
  })
}

define('RS-04', 'content to HEAD never leaves, streamed or not', '200', async h => {
  for (const body of [() => ['content'], function* () { yield 'con'; yield 'tent' }]) {
    const [answer] = await two(h, (_environ, startResponse) => {
      startResponse('200 OK')
      return body()
    }, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.is(answer.status, 200)
  }
})

define('RS-05', 'a length for a 204 is dropped, for a 1xx refused', '204', async h => {
  let code = ''
  const [answer] = await two(h, (environ, startResponse) => {
    code = thrown(() => environ['wirelet.inform'](103, [['Content-Length', '5']]))
    startResponse('204 No Content', [['Content-Length', '5']])
    return ['hello']
  })
  assert.is(answer.has('content-length') || answer.has('transfer-encoding'), false)
  assert.ok(code !== '')
})

define('RS-06', 'framing and hop-by-hop fields are the engine\'s', 'throws; nothing of it on the wire', h => refusedHeads(h, [
  ['200 OK', [['Transfer-Encoding', 'chunked']]], ['200 OK', [['transfer-encoding', 'gzip']]], ['200 OK', [['Content-Length', '1'], ['content-length', '1']]],
  ['200 OK', [['Content-Length', '-1']]], ['200 OK', [['Content-Length', '0x1']]], ['200 OK', [['Content-Length', '1, 1']]], ['200 OK', [['Keep-Alive', 'x']]],
  ['200 OK', [['Connection', 'x']]], ['200 OK', [['Connection', 'keep-alive']]], ['200 OK', [['Upgrade', 'h2c']]], ['200 OK', [['TE', 'trailers']]]
]))

define('RS-07', 'a streamed answer is chunked to HTTP/1.1, and a known length is a length', '200', async h => {
  const [streamed] = await two(h, function* (_environ: Environ, startResponse) {
    startResponse('200 OK')
    yield 'a'
  } as Application)
  assert.is(streamed.framing, 'chunked')
  const [whole] = await two(h, answering('a', 'é'))
  assert.is(whole.framing, 'length')
  assert.is(whole.body.length, 3)
})

define('RS-08', 'content shorter than announced', 'cut (reset)', async h => {
  await h.serve((_environ, startResponse) => {
    startResponse('200 OK', [['Content-Length', '10']])
    return ['hello']
  })
  const client = await h.connect()
  await client.send(get() + get())
  assert.is(await client.closed, 'reset')
  assert.not.match(client.buffered, /HTTP\/1\.1 .*HTTP\/1\.1 /s)
})

define('RS-08', 'content longer than announced is cut off', '200, close', async h => {
  await h.serve(function* (_environ: Environ, startResponse) {
    startResponse('200 OK', [['Content-Length', '3']])
    yield 'he'
    yield 'llo HTTP/1.1 200 OK\r\n\r\n'
  } as Application)
  const client = await h.connect()
  await client.send(get() + get())
  const answer = await client.response()
  assert.is(answer.text, 'hel')
  assert.is((await client.untilEnd()).length, 0)
})

define('RS-08', 'write() beyond the announced length', 'throws', async h => {
  let code = ''
  await h.serve((_environ, startResponse) => {
    const write = startResponse('200 OK', [['Content-Length', '3']])
    code = thrown(() => write('hello'))
    return ['abc']
  })
  const client = await h.connect()
  await client.send(get())
  assert.is((await client.response()).text, 'abc')
  assert.is(code, INVALID)
})

define('RS-09', 'HEAD has the length of GET, 304 what the application says', '200, 304', async h => {
  const [head] = await two(h, answering('hello'), 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.is(head.header('content-length'), '5')
  const [unchanged] = await two(h, (_environ, startResponse) => {
    startResponse('304 Not Modified', [['Content-Length', '1234']])
    return []
  })
  assert.is(unchanged.header('content-length'), '1234')
})

define('RS-10', 'Date, once, in refusals too', '200; 400, close', async h => {
  await h.serve(answering('ok'))
  const client = await h.connect()
  await client.send(`${get()}BAD\r\n\r\n`)
  for (let i = 0; i < 2; i++) {
    const answer = await client.response()
    assert.match(answer.header('date'), /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/)
  }
})

define('RS-11', '405 with Allow', '405', async h => {
  const [answer] = await two(h, (_environ, startResponse) => {
    startResponse('405 Method Not Allowed', [['Allow', 'GET, HEAD']])
    return []
  })
  assert.is(answer.header('allow'), 'GET, HEAD')
})

/** A streamed answer with these trailers. */
function trailing(trailers: Headers): Application {
  return function* (environ: Environ, startResponse) {
    environ['wirelet.sendTrailers'] = () => trailers
    startResponse('200 OK')
    yield 'a'
  } as Application
}

define('RS-12', 'trailers to a peer that takes them, and to no other', '200', async h => {
  const [taken] = await two(h, trailing([['X-Sum', '1']]), get('/', 'Connection: TE\r\nTE: trailers\r\n'))
  assert.equal(taken.trailers, [['X-Sum', '1']])
  const [refused] = await two(h, trailing([['X-Sum', '1']]))
  assert.equal(refused.trailers, [])
})

for (const [name, value] of [['Content-Length', '5'], ['Set-Cookie', 'a=b'], ['X', 'a\r\nb'], ['X\n', 'a'], ['If-Match', 'x']]) {
  define('RS-12', `${JSON.stringify(`${name}: ${value}`).slice(1, -1)} is no trailer`, '500, close', async h => {
    await h.serve(trailing([[name!, value!]]))
    const client = await h.connect()
    await client.send(get('/', 'TE: trailers\r\n') + get())
    assert.is((await client.response()).status, 500)
    await client.ended
    assert.is(client.buffered.includes('Set-Cookie') || client.buffered.includes('\r\n0\r\n'), false)
  })
}

define('RS-12', 'a forbidden trailer when the answer has begun', 'cut (reset)', async h => {
  await h.serve(async (environ, startResponse) => {
    environ['wirelet.sendTrailers'] = () => [['Content-Length', '5']]
    await startResponse('200 OK')('begun')
    return []
  })
  const client = await h.connect()
  await client.send(get('/', 'TE: trailers\r\n') + get())
  assert.is(await client.closed, 'reset')
  assert.not.match(client.buffered, /\r\n0\r\n|Content-Length/)
})

define('RS-13', 'empty pieces make no chunk, and the end comes once', '200', async h => {
  const [answer] = await two(h, (environ, startResponse) => {
    environ['eventlet.minimum_write_chunk_size'] = 1
    startResponse('200 OK')
    return ['', 'a', '', Buffer.alloc(0), 'b', ''].values()
  })
  assert.equal(answer.chunks?.map(String), ['a', 'b'])
})

define('RS-13', 'write() of nothing, then of something, then an empty answer', '200', async h => {
  const [answer] = await two(h, async (_environ, startResponse) => {
    const write = startResponse('200 OK')
    await write('')
    await write('a')
    return []
  })
  assert.equal(answer.chunks?.map(String), ['a'])
})

define('RS-14', 'a write after the end', 'throws; nothing on the wire', async h => {
  let write!: (piece: string) => Promise<boolean>
  const [answer] = await two(h, (_environ, startResponse) => {
    write = startResponse('200 OK')
    return ['whole']
  })
  assert.is(answer.text, 'whole')
  assert.is(thrown(() => write('late')), 'ERR_WIRELET_USAGE')
})

define('RS-14', 'answers leave in the order of their requests, however long each takes', '200', async h => {
  const waiting: (() => void)[] = []
  await h.serve(async (environ, startResponse) => {
    if (environ.PATH_INFO === '/slow') await new Promise<void>(resolve => waiting.push(resolve))
    startResponse('200 OK')
    return [environ.PATH_INFO]
  })
  const client = await h.connect()
  await client.send(get('/slow') + get('/fast'))
  await turns()
  assert.is(client.received, 0)
  waiting[0]!()
  assert.equal((await client.responses(2)).map(answer => answer.text), ['/slow', '/fast'])
})

define('RS-15', 'interim heads that would split', 'throws; nothing of it on the wire', async h => {
  const codes: string[] = []
  await h.serve((environ, startResponse) => {
    const inform = environ['wirelet.inform']
    codes.push(thrown(() => inform(103, [['Link', 'a\r\nb']])), thrown(() => inform('103 a\nb')), thrown(() => inform(103, [['L\u010a', 'a']])))
    codes.push(thrown(() => inform(200)))
    inform(103, [['Link', '</a>']])
    return answering('ok')(environ, startResponse)
  })
  const client = await h.connect()
  await client.send(get())
  assert.equal((await client.interim()).headers, [['Link', '</a>']])
  assert.is((await client.response()).text, 'ok')
  assert.equal(codes.slice(0, 3), [INVALID, INVALID, INVALID])
  assert.ok(codes[3] !== '', 'a final status is no interim one')
})

define('LOG', 'escapes, quotes and line ends of a request', 'one printable line', async h => {
  const { access, client } = await h.ask(answering('ok'), get('/%1b[31m%0a"', 'X: y\r\n').replace('"', '%22'), { logFormat: '%(client_ip)s %(request_line)s %(user_agent)s' })
  await client.send(get('/', 'User-Agent: a"b\\c\x9b31m\xff\r\nX-Forwarded-For: 1.2.3.4" "x\r\n'))
  await client.response()
  assert.is(access.length, 2)
  for (const line of access) assert.match(line, /^[\x20-\x7e]*$/)
  assert.not.match(access[1]!, /4" "x/)
})

define('HTTPOXY', 'Proxy: is a header like others, and the process environment stays as it is', '200', async h => {
  const before = process.env['HTTP_PROXY']
  const seen = await environOf(h, get('/', 'Proxy: http://evil/\r\n'), environ => environ.HTTP_PROXY)
  assert.is(process.env['HTTP_PROXY'], before)
  assert.is(seen, 'http://evil/')
})

define('DISCONNECT', 'a peer that resets while its request is answered', '-', async h => {
  const seen: string[] = []
  const { server } = await h.serve(stuck(seen))
  const client = await h.connect()
  await client.send(get())
  await until(() => server.outstandingRequests === 1, 'the request')
  await turns()
  client.resetNow()
  await until(() => server.connections === 0, 'the connection to be gone')
  assert.is(server.outstandingRequests, 0)
})
