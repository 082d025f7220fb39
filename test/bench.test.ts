// The pure parts of the benchmark: its statistics, what it reads from its tools, its table and its plot, its requests and manifests.
import { readFileSync, readdirSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fault, readResponse } from '../bench/support/check.ts'
import { autocannonCommand, parseAutocannon, parseWrk, wrkCommand, wrkScript, type Order } from '../bench/support/load.ts'
import { positive } from '../bench/support/machine.ts'
import { checkManifest, lastWords, peerNames, PEERS, readPeer, serves } from '../bench/support/peers.ts'
import { svg } from '../bench/support/plot.ts'
import { listenedAddress, listenerPids, parsePsTime, parseStat, run, start, stop } from '../bench/support/process.ts'
import { markdown } from '../bench/support/report.ts'
import { browser, BULK as OCTETS, fiveFieldsAnswer, hello, octetsOf, post, POSTED, upload, UPLOAD_ANSWER, uploadChunked, type Request } from '../bench/support/requests.ts'
import { figure, judge, type LaneResult, type Results, type WorkResult } from '../bench/support/results.ts'
import { interleave, measureAnew, type Sample } from '../bench/support/rounds.ts'
import { median, pairedRatio, quantile, random, spread, verdict } from '../bench/support/statistics.ts'
import { parseLoopback } from '../bench/support/url.ts'
import { works, worksOfUrl, type BulkLoad } from '../bench/support/works.ts'

const statistics = suite('bench statistics')

statistics('median, quantile and spread', () => {
  assert.is(median([3, 1, 2]), 2)
  assert.is(median([4, 1, 2, 3]), 2.5)
  assert.is(quantile([0, 10], 0.25), 2.5)
  assert.ok(Number.isNaN(quantile([], 0.5)))
  assert.equal(spread([5, 1, 3]), { median: 3, min: 1, max: 5 })
  assert.equal(spread([5, NaN, 1, 3, Infinity]), { median: 3, min: 1, max: 5 })
})

statistics('the ratio is taken round by round, so a drift of the machine cancels', () => {
  // The machine doubles its cost from round to round; the ratio stays.
  const { ratio, low, high } = pairedRatio([1, 2, 4, 8, 16, 32], [2, 4, 8, 16, 32, 64])
  assert.equal([ratio, low, high], [0.5, 0.5, 0.5])
})

statistics('the interval holds the ratio and is the same each time', () => {
  const of = [10, 11, 9, 10.5, 9.5, 10, 12]
  const to = [10, 10, 10, 10, 10, 10, 10]
  const first = pairedRatio(of, to)
  assert.equal(pairedRatio(of, to), first)
  assert.ok(first.low <= first.ratio && first.ratio <= first.high)
  assert.ok(first.low >= 0.9 && first.high <= 1.2)
})

statistics('a round without a figure does not count', () => {
  assert.is(pairedRatio([NaN, 1], [1, 2]).ratio, 0.5)
  assert.ok(Number.isNaN(pairedRatio([], []).ratio))
})

statistics('a verdict needs an interval without 1, and rounds enough', () => {
  assert.is(verdict({ ratio: 0.9, low: 0.8, high: 0.95 }, 10, 'lower'), 'better')
  assert.is(verdict({ ratio: 0.9, low: 0.8, high: 0.95 }, 10, 'higher'), 'worse')
  assert.is(verdict({ ratio: 1.2, low: 1.1, high: 1.3 }, 10, 'lower'), 'worse')
  assert.is(verdict({ ratio: 0.9, low: 0.8, high: 1.01 }, 10, 'lower'), '')
  assert.is(verdict({ ratio: 0.9, low: 0.8, high: 0.95 }, 3, 'lower'), '')
})

statistics('the random numbers are even and reproducible', () => {
  const [a, b] = [random(7), random(7)]
  const drawn = Array.from({ length: 1000 }, () => a())
  assert.equal(drawn, Array.from({ length: 1000 }, () => b()))
  assert.ok(drawn.every(x => x >= 0 && x < 1))
  assert.ok(Math.abs(drawn.reduce((sum, x) => sum + x) / 1000 - 0.5) < 0.05)
})

statistics.run()

const tools = suite('bench tools')

const ORDER: Order = { host: '127.0.0.1', port: 8090, secure: false, request: hello, connections: 64, pipeline: 16, seconds: 2 }

tools('the wrk script sends exactly the octets, as often as they are pipelined', () => {
  const [line] = wrkScript({ ...hello, target: '/"\\' }, 2).split('\n')
  const octets = String.fromCharCode(...[...line!.matchAll(/\\(\d{3})/g)].map(match => Number(match[1])))
  assert.is(octets, 'GET /"\\ HTTP/1.1\r\nHost: localhost:8090\r\n\r\n'.repeat(2))
  assert.ok(/^local octets = "(?:\\\d{3})+"$/.test(line!))
})

tools('what wrk says at its end is read exactly', () => {
  const output = 'Running 2s test @ http://127.0.0.1:8090/\n  1 threads and 64 connections\nRequests/sec: 156178.92\nFIGURES 312360 2000110 361 3430 1 2 3 4 5\n'
  assert.equal(parseWrk(output), { requests: 312_360, seconds: 2.00011, p50: 0.361, p99: 3.43, errors: 11, refused: 4 })
  assert.ok(Number.isNaN(parseWrk('FIGURES 10 1000000 500 0 0 0 0 0 0\n').p99))
  assert.throws(() => parseWrk('unable to connect to 127.0.0.1:8090 Connection refused\n'), /Connection refused/)
})

tools('what autocannon says is read too', () => {
  const report = { duration: 2.02, errors: 1, timeouts: 0, non2xx: 2, requests: { total: 90_000 }, latency: { p50: 1, p99: 4 } }
  assert.equal(parseAutocannon(`${JSON.stringify(report)}\n`), { requests: 90_000, seconds: 2.02, p50: 1, p99: 4, errors: 1, refused: 2 })
})

tools('the command lines', () => {
  assert.equal(wrkCommand(ORDER, 's.lua'), ['wrk', '-t1', '-c', '64', '-d', '2s', '--timeout', '10s', '-s', 's.lua', 'http://127.0.0.1:8090/'])
  assert.is(wrkCommand({ ...ORDER, secure: true, host: '::1' }, 's.lua').at(-1), 'https://[::1]:8090/')
  const words = autocannonCommand({ ...ORDER, request: post })
  assert.equal(words.slice(-1), ['http://127.0.0.1:8090/post'])
  assert.is(autocannonCommand({ ...ORDER, secure: true, host: '::1' }).at(-1), 'https://[::1]:8090/')
  assert.ok(words.includes(POSTED) && words.includes('Content-Type=application/json'))
  assert.not(words.some(word => word.startsWith('Content-Length=')), 'autocannon counts the octets itself')
})

tools('a line of /proc/PID/stat, whatever the command is called', () => {
  const line = '1234 (a b) c) S 77 1234 1234 0 -1 4194304 100 0 0 0 250 50 7 3 20 0 11 0 5000 1 2'
  assert.equal(parseStat(line, 100), { pid: 1234, parent: 77, cpu: { user: 2.57, system: 0.53 } })
})

tools('a listener is told by its address, too', async () => {
  assert.is(listenedAddress('0100007F', 'LE'), '7f000001')
  assert.is(listenedAddress('7F000001', 'BE'), '7f000001')
  assert.is(listenedAddress('0000000000000000FFFF00000100007F', 'LE'), '7f000001')
  assert.is(listenedAddress('00000000000000000000000001000000', 'LE'), '1'.padStart(32, '0'))
  if (process.platform !== 'linux') return
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.2', resolve))
  const { port } = server.address() as AddressInfo
  assert.equal(listenerPids('127.0.0.2', port), [process.pid])
  for (const host of ['127.0.0.1', '::1', 'localhost']) assert.equal(listenerPids(host, port), [])
  server.close()
})

tools("ps's times", () => {
  assert.is(parsePsTime('0:01.50'), 1.5)
  assert.is(parsePsTime('01:02:03'), 3723)
  assert.is(parsePsTime('1-00:00:01'), 86_401)
})

tools('rounds are interleaved, each in the opposite order of the one before', async () => {
  const order: string[] = []
  const samples = await interleave([{ name: 'a' }, { name: 'b' }, { name: 'c' }], 3, async ({ name }, round) => {
    order.push(name)
    return round
  })
  assert.is(order.join(''), 'abccbaabc')
  assert.equal(samples.get('b'), [0, 1, 2])
})

tools('only this machine is driven', () => {
  for (const url of ['http://localhost:3000/', 'http://127.0.0.1/x?y', 'https://[::1]:8443/', 'http://127.1:80/']) parseLoopback(url)
  for (const url of ['http://example.com/', 'http://10.0.0.1/', 'http://0.0.0.0:80/', 'http://127.0.0.1.example.com/', 'ftp://localhost/', 'localhost:80', 'x']) {
    assert.throws(() => parseLoopback(url), /loopback|http|URL/, url)
  }
})

tools('numbers on the command line', () => {
  assert.is(positive('rounds', '7'), 7)
  for (const text of ['0', '-1', '1.5', 'x', '']) assert.throws(() => positive('rounds', text), /--rounds/)
})

tools.run()

const answers = suite('bench answers')
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')

answers('a response by its length, by its chunks, by its end; null while incomplete', () => {
  const whole = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok'
  assert.is(readResponse(bytes(`${whole}HTTP/1.1`), false)!.length, whole.length)
  for (let cut = 0; cut < whole.length; cut++) assert.is(readResponse(bytes(whole.slice(0, cut)), false), null)
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nA\r\n0123456789\r\n0\r\n\r\n'
  assert.is(readResponse(bytes(chunked), false)!.content.toString(), 'ok0123456789')
  assert.is(readResponse(bytes(chunked.slice(0, -1)), false), null)
  const open = bytes('HTTP/1.0 200 OK\r\n\r\nabc')
  assert.is(readResponse(open, false), null)
  assert.is(readResponse(open, true)!.content.toString(), 'abc')
  assert.throws(() => readResponse(bytes('nonsense\r\n\r\n'), false), /not a status line/)
  const sized = (size: string): Buffer => bytes(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${size}\r\nok\r\n0\r\n\r\n`)
  assert.is(readResponse(sized('2 ;a=b'), false)!.content.toString(), 'ok')
  for (const size of ['zz', '-2', '', '2x']) assert.throws(() => readResponse(sized(size), false), /not a chunk size/, size)
})

answers('a wrong answer is named', () => {
  const expected = { type: 'text/plain', content: 'ok' }
  const response = (status: number, type: string, content: string) => ({ status, fields: new Map([['content-type', type]]), content: bytes(content), length: 0 })
  assert.is(fault(response(200, 'text/plain; charset=utf-8', 'ok'), expected), '')
  assert.match(fault(response(500, 'text/plain', 'ok'), expected), 'status 500')
  assert.match(fault(response(200, 'text/html', 'ok'), expected), 'text/html')
  assert.match(fault(response(200, 'text/plain', 'no'), expected), '"no"')
})

answers('the requests are what they are called', () => {
  assert.is(octetsOf(browser).length, 703)
  assert.is(browser.fields.length, 10)
  assert.is(POSTED.length, 1024)
  JSON.parse(POSTED)
  assert.match(fiveFieldsAnswer().content, /^\d+ octets\r\n$/)
})

answers.run()

const helpers = suite('bench helpers')

/** What the helper for 64 MiB messages says of a server that does `serve` with each connection. */
async function bulk(request: Request, serve: (socket: Socket) => void): Promise<string> {
  const server = createServer(socket => {
    socket.on('error', () => {})
    serve(socket)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const load: BulkLoad = { kind: 'bulk', request, answer: request.method === 'POST' ? UPLOAD_ANSWER : null, connections: 1 }
  try {
    return await run([process.execPath, join(import.meta.dirname, '..', 'bench', 'support', 'bulk.js'), JSON.stringify({ host: '127.0.0.1', port, load, seconds: 0 })])
  } catch (error) {
    return (error as Error).message
  } finally {
    server.close()
  }
}

const UPLOADED = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${UPLOAD_ANSWER.content.length}\r\n\r\n${UPLOAD_ANSWER.content}`

helpers('an upload counts when all of it was sent before the answer', async () => {
  for (const request of [upload, uploadChunked]) {
    let octets = 0
    const said = await bulk(request, socket => socket.on('data', bytes => {
      octets += bytes.length
      const whole = request === upload ? octets === octetsOf(upload).length + OCTETS : bytes.toString('latin1', bytes.length - 5) === '0\r\n\r\n'
      if (whole) socket.write(UPLOADED)
    }))
    assert.is(JSON.parse(said).octets, OCTETS)
    assert.match(await bulk(request, socket => socket.once('data', () => socket.pause().write(UPLOADED))), /answered before the content was sent/)
  }
})

const gone = (pid: number): boolean => {
  try {
    // A zombie that nobody has waited for has ended too.
    return /^\d+ \(.*\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return true
  }
}

async function soon(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 100 && !holds(); i++) await new Promise(resolve => setTimeout(resolve, 20))
  assert.ok(holds(), what)
}

if (process.platform === 'linux') {
  helpers('what a program started ends with it, also when it ended by itself, also outside its group', async () => {
    const program = (then: string): string[] => [process.execPath, '-e', `
      const { spawn } = require('node:child_process')
      const pids = [true, false].map(detached => spawn('sleep', ['60'], { detached, stdio: ['ignore', 'inherit', 'ignore'] }).pid)
      console.log(pids.join(' '))
      ${then}`]
    const started = start(program('setInterval(() => {}, 1000)'))
    const pids = await new Promise<number[]>(resolve => started.stdout!.once('data', text => resolve(String(text).split(' ').map(Number))))
    await stop(started)
    for (const pid of pids) await soon(() => gone(pid), 'stopped')
    // Its own group alone can be found then; a pipe that is held open would keep `run` waiting.
    const said = await run([process.execPath, '-e', "console.log(require('node:child_process').spawn('sleep', ['60'], { stdio: 'inherit' }).pid); process.exit()"])
    await soon(() => gone(Number(said)), 'ended by itself')
  })
}

helpers('a server that answers something else after its load than before is left out', async () => {
  let content = 'ok'
  let answers = 0
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.on('data', () => {
      if (++answers > 10) content = 'no'
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${content}`)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const load = { kind: 'requests' as const, request: hello, answer: null, connections: 1, pipeline: 1 }
  try {
    await measureAnew({ name: 'x', load }, async () => ({ host: '127.0.0.1', port, secure: false, pids: [], fate: () => '', stop: async () => {} }), 1)
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, /^after its load: content "no" \(2 octets\), not "ok" \(2\)$/)
  } finally {
    server.close()
  }
})

helpers.run()

const manifests = suite('bench peers')

manifests('every folder with packages or a server describes itself', () => {
  for (const name of peerNames()) readPeer(name)
  for (const folder of readdirSync(PEERS, { withFileTypes: true }).filter(entry => entry.isDirectory())) {
    if (folder.name !== 'parsers') assert.ok(peerNames().includes(folder.name), folder.name)
  }
})

manifests('a peer with packages has a lock, and depends on nothing that the project does', () => {
  for (const name of [...peerNames(), 'parsers']) {
    let manifest: { dependencies?: Record<string, string> }
    try {
      manifest = JSON.parse(readFileSync(`${PEERS}/${name}/package.json`, 'utf8'))
    } catch {
      continue
    }
    if (manifest.dependencies !== undefined) assert.is(JSON.parse(readFileSync(`${PEERS}/${name}/package-lock.json`, 'utf8')).lockfileVersion, 3, name)
  }
})

manifests('every lane of the table has a peer that serves it', () => {
  for (const work of works('/dev/null')) {
    for (const lane of work.lanes) assert.ok(serves(readPeer(lane.peer), lane.serving), `${work.name}: ${lane.name}`)
    assert.is(new Set(work.lanes.map(lane => lane.name)).size, work.lanes.length, `${work.name}: names differ`)
    const names = work.goals.flatMap(goal => [...goal.of, ...goal.to])
    for (const name of names) assert.ok(work.lanes.some(lane => lane.name === name), `${work.name}: ${name}`)
  }
})

manifests('what is wrong with a manifest is said, with its file', () => {
  const right = { name: 'x', start: ['node', 'server.js'], port: 0, version: ['node', '--version'] }
  assert.equal(checkManifest(right, 'f'), right)
  const wrong: Array<[object, RegExp]> = [
    [{ ...right, name: 'a b' }, /f: name/], [{ ...right, start: [] }, /f: start/], [{ ...right, start: 'node' }, /f: start/], [{ ...right, port: '80' }, /f: port/],
    [{ ...right, port: 70_000 }, /f: port/], [{ ...right, install: ['npm', 'ci'] }, /f: install needs installed/], [{ ...right, other: 1 }, /f: unknown key: other/],
    [{ ...right, scenarios: ['hallo'] }, /f: unknown scenario: hallo/], [{ ...right, secure: 'yes' }, /f: secure/], [{ ...right, collect: 'usr2' }, /f: collect/],
    [{ ...right, collect: 'SIGFOO' }, /f: collect/], [{ ...right, scenarios: [] }, /f: scenarios/], [{ ...right, install: [], installed: 'x' }, /f: install/]
  ]
  for (const [manifest, message] of wrong) assert.throws(() => checkManifest(manifest, 'f'), message)
  assert.throws(() => readPeer('nobody'), /no such peer: nobody/)
})

manifests('what a server says when it fails is told by the line that names the error', () => {
  assert.is(lastWords("/x.js:1\nthrow new Error('no')\n^\n\nError: no database\n    at x.js:1\n\nNode.js v20.0.0\n"), 'Error: no database')
  assert.is(lastWords('Traceback (most recent call last):\n  File "x"\nValueError: no\n'), 'ValueError: no')
  assert.is(lastWords('panic: no\n\ngoroutine 1\nexit status 2\n'), 'panic: no')
  assert.is(lastWords('one\ntwo\n'), 'two')
  assert.is(lastWords(''), '')
})

manifests("somebody's own server is asked what any server can answer", () => {
  const own = worksOfUrl(works('/dev/null'), '/a?b')
  assert.equal(own.map(work => work.name), ['hello', 'browser', 'pipelined', 'close'])
  for (const work of own) {
    const [lane] = work.lanes
    assert.is(lane!.name, 'url')
    assert.ok(lane!.load.kind === 'requests' && lane!.load.request.target === '/a?b' && lane!.load.answer === null)
  }
})

manifests('a server that speaks https is measured beside others that do', () => {
  for (const work of worksOfUrl(works('/dev/null'), '/', true)) {
    assert.ok(work.title.endsWith('over TLS'))
    assert.ok(work.lanes.slice(1).every(lane => lane.serving.secure === true))
  }
})

manifests.run()

const reports = suite('bench reports')

function lane(name: string, values: number[]): LaneResult {
  const sample = (value: number): Sample => ({ value, user: value / 4, system: value * 0.75, rate: 1e6 / value, p50: 0.4, p99: 2, count: 1000, errors: 0 })
  return { name, peer: name.split(' ')[0]!, samples: values.map(sample) }
}

const HELLO: WorkResult = {
  name: 'hello', title: 'hello <world>', unit: 'µs/request', better: 'lower',
  goals: [{ of: ['wirelet'], to: ['node-http'], most: 0.45 }, { of: ['wirelet'], to: ['nginx'], most: 1.2 }, { of: ['wirelet'], to: ['bun'], most: 1 }],
  lanes: [lane('node-http', [20, 22, 21]), lane('wirelet', [8, 8.8, 8.4]), lane('nginx', [5, 5.5, 5.25])]
}
const BULK: WorkResult = {
  name: 'upload', title: 'upload', unit: 'MiB/CPU s', better: 'higher', goals: [{ of: ['wirelet'], to: ['node-http'], least: 1 }],
  lanes: [lane('node-http', [2000]), lane('wirelet', [2500])]
}
const RESULTS: Results = {
  date: '2026-01-01 00:00 UTC', command: 'npm run bench', load: 'wrk', pinned: true, rounds: 3, seconds: 2,
  machine: { system: 'Linux 6', cpu: 'A & B', cores: 2, memoryGiB: 4, node: 'v20.0.0', revision: 'abc' },
  versions: { wirelet: '0.1.0' }, left: ['bun: not installed'], works: [HELLO, BULK]
}

reports('a goal is judged by the median of the rounds', () => {
  const [met, unmet, missing] = HELLO.goals.map(goal => judge(HELLO, goal))
  assert.is(met!.text, 'wirelet ≤ 0.45 × node-http')
  assert.ok(met!.met && Math.abs(met!.ratio!.ratio - 0.4) < 1e-9)
  assert.not(unmet!.met)
  assert.is(missing!.ratio, null)
  assert.ok(judge(BULK, BULK.goals[0]!).met)
})

reports('a goal on growth compares two ratios', () => {
  const lanes = [lane('a 64', [5, 5]), lane('a 4000', [6, 6]), lane('b 64', [10, 10]), lane('b 4000', [11, 11])]
  const judged = judge({ ...HELLO, lanes }, { of: ['a 4000', 'a 64'], to: ['b 4000', 'b 64'], most: 1.1 })
  assert.is(judged.text, '(a 4000 ÷ a 64) ≤ 1.1 × (b 4000 ÷ b 64)')
  assert.ok(Math.abs(judged.ratio!.ratio - 1.2 / 1.1) < 1e-9)
})

reports('the table', () => {
  const text = markdown(RESULTS)
  for (const line of [
    '| hello <world> | wirelet ≤ 0.45 × node-http | 0.40 (0.40–0.40) | met |',
    '| hello <world> | wirelet ≤ 1.2 × nginx | 1.60 (1.60–1.60) | **not met** |',
    '| hello <world> | wirelet ≤ 1 × bun | – | not measured |',
    '|  | µs/request | user | system | ÷ node-http | wirelet ÷ it | requests/s | p50, ms | p99, ms |',
    '| nginx | 5.25 (5.00–5.50) | 1.31 | 3.94 | 0.25 (0.25–0.25) | 1.60 (1.60–1.60) | 190 476 | 0.40 | 2.00 |',
    '  * bun: not installed'
  ]) assert.ok(text.includes(`${line}\n`), line)
  // The best comes first, whichever way is better.
  assert.ok(text.indexOf('| nginx | 5.25') < text.indexOf('| **wirelet** | 8.40'))
  assert.ok(text.indexOf('| **wirelet** | 2 500') < text.indexOf('| node-http | 2 000'))
})

reports('the plot is a well-formed picture with one bar a lane', () => {
  const picture = svg(RESULTS)
  assert.is([...picture.matchAll(/<rect class="(?:bar|ours|floor)"/g)].length, 5)
  assert.is([...picture.matchAll(/class="ours"/g)].length, 2)
  assert.not(picture.includes('NaN'))
  assert.ok(picture.includes('hello &lt;world&gt;') && picture.includes('A &amp; B'))
  // Every element is closed by itself or by its end tag, in order.
  const open: string[] = []
  for (const [, end, name, self] of picture.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (end === '/') assert.is(open.pop(), name)
    else if (self !== '/') open.push(name!)
  }
  assert.equal(open, [])
  for (const [, height, y] of picture.matchAll(/height="(\d+)" viewBox|<text [^>]*y="([\d.]+)"/g)) {
    if (y !== undefined) assert.ok(Number(y) < Number(/height="(\d+)"/.exec(picture)![1]), `text at ${y} is inside`)
    else assert.ok(Number(height) > 0)
  }
})

reports('a lane without figures is left out', () => {
  const empty = { ...HELLO, lanes: [...HELLO.lanes, lane('fastify', [])] }
  assert.not(markdown({ ...RESULTS, works: [empty] }).includes('fastify'))
  assert.not(svg({ ...RESULTS, works: [empty] }).includes('fastify'))
})

reports('a lane whose CPU time cannot be seen has a rate, no ratio and no bar, and comes last', () => {
  const unseen = { ...lane('url', [NaN, NaN]), samples: [1, 2].map(() => ({ ...lane('url', [NaN]).samples[0]!, rate: 50_000 })) }
  const work = { ...HELLO, lanes: [unseen, ...HELLO.lanes], goals: [...HELLO.goals, { of: ['wirelet'] as const, to: ['url'] as const, most: 1 }] }
  const text = markdown({ ...RESULTS, works: [work] })
  assert.ok(text.includes('| url | – | – | – | – | – | 50 000 | 0.40 | 2.00 |\n'))
  assert.ok(text.includes('| wirelet ≤ 1 × url | – | not measured |'))
  assert.ok(text.indexOf('| nginx | 5.25') < text.indexOf('| **wirelet** | 8.40') && text.indexOf('| node-http | 21.0') < text.indexOf('| url |'))
  const picture = svg({ ...RESULTS, works: [work] })
  assert.not(picture.includes('NaN'))
  assert.is([...picture.matchAll(/<rect class="(?:bar|ours|floor)"/g)].length, 3)
})

reports('figures have the digits that a noisy machine bears', () => {
  assert.equal([5.678, 56.78, 567.8, 56_780, 0, NaN].map(figure), ['5.68', '56.8', '568', '56 780', '0.00', '–'])
})

reports.run()
