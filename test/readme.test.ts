// What README says, held against what is: its programs are run, its tables compared, its lists counted.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readmeTable } from '../src/cli/help.ts'
import { OPTIONS } from '../src/cli/options.ts'
import { systemClock } from '../src/io/clock.ts'
import type { RequestHead } from '../src/parser/request-head.ts'
import { AccessLog } from '../src/server/access-log.ts'
import { ChunkReadError, listen, serve, type Environ, type Server } from '../src/index.ts'
import { ask, killAll, Program, ROOT, runToEnd } from './support/program.ts'
import { blocks, isCommonJs, onFreePort, readme, replaceSection, rows, section } from './support/readme.ts'
import { collect } from './support/sockets.ts'

const UPDATING = process.env['WIRELET_UPDATE'] === '1'

const document = suite('README')
let project = ''

document.before(() => {
  project = mkdtempSync(join(tmpdir(), 'wl-readme-'))
  mkdirSync(join(project, 'node_modules'))
  symlinkSync(ROOT, join(project, 'node_modules', 'wirelet'), 'junction')
})
document.after.each(async () => {
  killAll()
  await Promise.all(servers.splice(0).map(server => server.close({ timeout: 0 })))
})
document.after(() => rmSync(project, { recursive: true, force: true }))

// ── Its programs ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

for (const [index, { language, code, title }] of blocks().entries()) {
  if (language !== 'js') continue
  document(`program: ${title}`, async () => {
    const file = join(project, `program-${index}.${isCommonJs(code) ? 'cjs' : 'mjs'}`)
    writeFileSync(file, onFreePort(code))
    if (!code.includes('.close(')) {
      const program = new Program(process.execPath, [file], { cwd: project })
      const { status, body } = await ask(await program.port(), 'GET /')
      assert.equal([status, body.toString()], [200, 'Hello, World!\r\n'])
      assert.equal(await program.stop(), { code: null, signal: 'SIGTERM' })
      return
    }
    const { code: exitCode, stdout, stderr } = await runToEnd(process.execPath, [file], { cwd: project })
    assert.is(exitCode, 0, stderr)
    // `console.log(…) // → text`; a line that is logged several times lists its texts.
    const promised = [...code.matchAll(/^.*console\.log\(.*\/\/ → (.+)$/gm)].flatMap(match => match[1]!.split(', '))
    assert.equal(stdout.trimEnd().split('\n'), promised)
  })
}

document('every other block is TypeScript, compiled by package.test.ts, or one of the two commands', () => {
  const other = blocks().filter(({ language }) => language !== 'js')
  assert.equal(other.map(({ language }) => language), ['sh', 'sh', 'ts'])
  assert.equal(other.filter(({ language }) => language === 'sh').map(({ code }) => code), ['npm ci && npm start\n', 'npm ci && npm test\n'])
})

// ── Its tables ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

document('the tables of options are made from the one in src/cli/options.ts', () => {
  const [head, rule, ...lines] = readmeTable().split('\n')
  const tables = { options: ['command', 'server', 'api'], limits: ['limits', 'timeouts'] }
  for (const [name, sections] of Object.entries(tables)) {
    const text = [head, rule, ...lines.filter((_line, i) => sections.includes(OPTIONS[i]!.section)), ''].join('\n')
    if (UPDATING) replaceSection(name, text)
    assert.fixture(section(name), text)
  }
})

document('the table of log names has all of them, and no others', () => {
  const told = rows(section('log names')).flatMap(([cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map(match => match[1]!))
  const settings = { logXForwardedFor: false, clock: systemClock }
  let known = ''
  try {
    new AccessLog({ ...settings, logFormat: '%(unknown)s' }, () => {})
  } catch (error) {
    known = (error as Error).message
  }
  assert.is(told.sort().join(', '), known.replace(/^.*there are /, ''))
  let line = ''
  new AccessLog({ ...settings, logFormat: 'json' }, text => (line = text)).record({
    head: { versionMinor: 1, method: 'GET', target: '/', text: 'RefererUser-Agentx', fields: [0, 7, 17, 18, 7, 17, 17, 18] } as unknown as RequestHead,
    requestLine: 'GET / HTTP/1.1', peer: { address: '::1', port: 1, family: 'IPv6' }, status: 200, bodyLength: 0, wireLength: 0, wallSeconds: 0, loggedAt: 0, reason: 'x', requestId: ''
  })
  const [, keys] = /^`json` writes .* the keys (.*), in this order/m.exec(readme())!
  assert.equal([...keys!.matchAll(/`([^`]+)`/g)].map(match => match[1]!), Object.keys(JSON.parse(line) as object))
})

/** An environ of ours, as it is while the request runs. */
async function environOf(request: string): Promise<Environ> {
  let seen: Environ | null = null
  const server = await quiet((environ, startResponse) => {
    seen = { ...environ }
    startResponse(200)
    return []
  })
  await exchange(server, request)
  return seen!
}

document('the table of the environ has its keys, and no others', async () => {
  const environ = await environOf('POST / HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 0\r\n\r\n')
  const keys = Object.keys(environ).map(key => key.startsWith('HTTP_') ? 'HTTP_*' : key)
  const told = rows(section('environ')).flatMap(([cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map(match => match[1]!))
  assert.equal(told.filter(key => key !== 'HTTPS').sort(), keys.sort())
})

// ── What bad input gets ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const HOST = 'Host: x\r\n'
const get = (lines: string): string => `GET / HTTP/1.1\r\n${HOST}${lines}\r\n`
const post = (lines: string, content: string): string => `POST / HTTP/1.1\r\n${HOST}${lines}\r\n${content}`
const CHUNKED = 'Transfer-Encoding: chunked\r\n'

/** For each row what it speaks of, and the first statuses that the cell beside it names. */
const BAD: readonly (readonly string[])[] = [
  [`GET /${'a'.repeat(8200)} HTTP/1.1\r\n${HOST}\r\n`],
  [get(`X: ${'a'.repeat(8200)}\r\n`), get('X: y\r\n'.repeat(100)), get(`X: ${'a'.repeat(8000)}\r\n`.repeat(9))],
  ['GET / HTTP/1.1\r\n\r\n', get(HOST), 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'],
  [post('Content-Length: 1\r\nContent-Length: 1\r\n', 'x'), post('Content-Length: 1\r\nContent-Length: 2\r\n', 'x'), post('Content-Length: +1\r\n', 'x')],
  [post(`Content-Length: 5\r\n${CHUNKED}`, '0\r\n\r\n')],
  [`POST / HTTP/1.0\r\n${CHUNKED}\r\n0\r\n\r\n`],
  [post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
  ['gzip', 'chunked, gzip', 'chunked, chunked', 'identity', 'identity, chunked'].map(codings => post(`Transfer-Encoding: ${codings}\r\n`, '0\r\n\r\n')),
  [get('X: a\rb\r\n'), get('X: a\nY: b\r\n'), get('X: a\r\n b\r\n'), get('X : a\r\n'), get('X: \x01\r\n')],
  ['"', '<', '>', '\\'].map(bad => `GET /${bad} HTTP/1.1\r\n${HOST}\r\n`),
  ['^', '`', '{', '|', '}', '%'].map(odd => `GET /${odd} HTTP/1.1\r\n${HOST}\r\n`),
  [get('Content-Type: a/b\r\nContent-Type: a/b\r\n'), get('Authorization: a\r\nAuthorization: b\r\n'), get('Range: bytes=0-\r\nRange: bytes=1-\r\n')],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', `GET / HTTP/1.2\r\n${HOST}\r\n`, `GET / HTTP/3.0\r\n${HOST}\r\n`],
  [get('Expect: 200-ok\r\n')],
  ['CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n'],
  [`TRACE / HTTP/1.1\r\n${HOST}\r\n`],
  [post('Content-Length: 1001\r\n', '')],
  [post(CHUNKED, 'z\r\n')]
]

document('the table of bad input says what is answered', async () => {
  let called = 0
  let readError: unknown = null
  let swallows = false
  let whenCalled = (): void => {}
  const server = await quiet(async (environ, startResponse) => {
    called++
    whenCalled()
    await environ['wsgi.input'].read().catch((error: unknown) => {
      readError = error
      if (!swallows) throw error
    })
    startResponse(200)
    return []
  }, 1000)
  const table = rows(section('bad input'))
  assert.is(table.length, BAD.length)
  for (const [index, [what, answer]] of table.entries()) {
    const status = answer!.startsWith('served') ? '200' : /\b\d{3}\b/.exec(answer!)![0]
    for (const request of BAD[index]!) {
      called = 0
      const text = await exchange(server, request)
      assert.is(text.slice(9, 12), status, `${what}: ${JSON.stringify(request.slice(0, 80))} got ${JSON.stringify(text.slice(0, 200))}`)
      const kept = answer!.includes('kept alive') || status === '200'
      assert.is(/^Connection: close\r$/m.test(text), !kept, what)
      assert.is(called > 0, status === '200', what)
    }
  }
  assert.is((await exchange(server, `TRACE / HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`)).slice(9, 12), '400')

  // The last row's second half: the head first, the bad chunk when the application reads, which lets the failure pass or answers all the same.
  for (swallows of [false, true]) {
    const [here, there] = duplexPair()
    server.handle(there)
    readError = null
    whenCalled = () => here.end('z\r\n')
    here.write(post(CHUNKED, ''))
    const text = (await collect(here)).toString('latin1')
    assert.equal(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 400'])
    assert.instance(readError, ChunkReadError)
  }
})

const servers: Server[] = []

async function quiet(application: Parameters<typeof serve>[1], maxBodySize = Infinity): Promise<Server> {
  const server = serve(await listen(0), application, { log: { write() {} }, limits: { maxBodySize } })
  servers.push(server)
  return server
}

/** One connection: everything that is answered; our side ends when the first octets have come. */
async function exchange(server: Server, request: string): Promise<string> {
  const [here, there] = duplexPair()
  server.handle(there)
  here.once('data', () => here.end())
  here.write(Buffer.from(request, 'latin1'))
  return (await collect(here)).toString('latin1')
}

// ── Its lists ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

document('the reading order has every file of src, once', () => {
  const told = [...section('files').matchAll(/\]\((src\/[^)]+)\)/g)].map(match => match[1]!)
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).map(file => `src/${file.replaceAll('\\', '/')}`).filter(file => file.endsWith('.ts'))
  assert.equal([...told].sort(), files.sort())
})

document('every example is listed, and every link leads somewhere', () => {
  for (const name of readdirSync(join(ROOT, 'examples'))) assert.ok(readme().includes(`[${name}](examples/${name}/app.js)`), name)
  const links = [...readme().matchAll(/\]\(([^)#]+)\)/g)].map(match => match[1]!).filter(link => !link.startsWith('http'))
  assert.equal(links.filter(link => !existsSync(join(ROOT, link))), [])
  const anchors = [...readme().matchAll(/\]\(#([^)]+)\)/g)].map(match => match[1]!)
  const headings = [...readme().matchAll(/^#+ (.+)$/gm)].map(match => match[1]!.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-'))
  assert.equal(anchors.filter(anchor => !headings.includes(anchor)), [])
})

document.run()
