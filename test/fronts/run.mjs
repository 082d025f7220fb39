// The inputs of the conformance corpus, and mutations of them, through nginx and HAProxy as fronts, with Wirelet as the origin over kept-alive
// connections; and to node:http and Wirelet side by side. The front's log says what it believes it sent, the origin's record what arrived.
//   npm run test:fronts [mutations] [seed]        writes results.json beside this file; docs/conformance.md shows it
// nginx and haproxy come from Debian (apt-get install nginx-light haproxy); a front that is not installed is left out with a word.
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { whyForwarded, whyNode } from './reasons.mjs'

const HERE = import.meta.dirname
const BUILT = process.env.WIRELET_BUILT ?? join(HERE, '../../build/src/index.js')
const { listen, serve } = await import(BUILT)
const MUTATIONS = Number(process.argv[2] ?? 300)
const SEED = Number(process.argv[3] ?? 4)
const HOST = '127.0.0.1'
/** A connection on which nothing came for so long has had its answers. */
const IDLE_MS = 60
/** What the fronts log a digest of. */
const HASHED = 60_000

// ── Inputs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const CANARY = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'

function expand(bytes) {
  return typeof bytes === 'string' ? bytes : bytes.map(part => (typeof part === 'string' ? part : part.repeat.repeat(part.times))).join('')
}

function random(seed) {
  let state = seed >>> 0
  return below => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}

const OCTETS = ['\r', '\n', '\0', ' ', '\t', '\x0b', ';', ',', ':', '0', '5', '\x7f', '\xff', '"']
const WORDS = [
  'Content-Length: 5\r\n', 'Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n', 'transfer-encoding : chunked\r\n', 'Transfer-Encoding: identity\r\n',
  'Connection: close\r\n', 'Connection: keep-alive, Transfer-Encoding\r\n', 'Expect: 100-continue\r\n', 'Host: b\r\n', '0\r\n\r\n', '\r\n\r\n', '\n\n', '5\r\nhello\r\n',
  ' chunked', ';a="\n"', 'X: y\r\n z\r\n', CANARY
]

function mutate(text, other, roll) {
  const at = roll(text.length + 1)
  switch (roll(7)) {
    case 0: return text.slice(0, at) + text.slice(at + 1)
    case 1: return text.slice(0, at) + OCTETS[roll(OCTETS.length)] + text.slice(at)
    case 2: return text.slice(0, at) + OCTETS[roll(OCTETS.length)] + text.slice(at + 1)
    case 3: {
      const line = text.indexOf('\r\n', at)
      return line < 0 ? text + text : text.slice(0, line + 2) + WORDS[roll(WORDS.length)] + text.slice(line + 2)
    }
    case 4: return text.slice(0, at) + text.slice(at).toUpperCase()
    case 5: return text.slice(0, at) + other.slice(roll(other.length + 1))
    default: {
      const start = text.lastIndexOf('\r\n', at) + 2
      const end = text.indexOf('\r\n', at) + 2
      return start < end && start > 1 ? text.slice(0, end) + text.slice(start, end) + text.slice(end) : text + other
    }
  }
}

function inputs() {
  const cases = JSON.parse(readFileSync(join(HERE, '../conformance/cases.json'), 'utf8'))
  const all = cases
    .filter(({ options }) => options === undefined)
    .map(one => ({ id: one.id, text: expand(one.bytes) + (one.error !== undefined && one.eof !== true && one.canary !== false ? CANARY : ''), eof: one.eof === true }))
  const corpus = join(HERE, '../../../shared/conformance/corpus-public.json')
  if (process.env.FRONTS_PUBLIC === '1' && existsSync(corpus)) {
    for (const one of JSON.parse(readFileSync(corpus, 'utf8'))) all.push({ id: one.id, text: Buffer.from(one.request_b64, 'base64').toString('latin1'), eof: false })
  }
  const roll = random(SEED)
  const small = all.filter(({ text }) => text.length < 2000)
  const mutations = []
  while (mutations.length < MUTATIONS) {
    const one = small[roll(small.length)]
    let { text } = one
    for (let n = 1 + roll(3); n > 0; n--) text = mutate(text, small[roll(small.length)].text, roll)
    mutations.push({ id: `${one.id} mutated, ${mutations.length}`, text: text + CANARY, eof: false })
  }
  return { cases: all.length, all: [...all, ...mutations] }
}

// ── One connection ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Everything that came back until the connection ended or fell silent. */
function exchange(port, text, idle = IDLE_MS) {
  return new Promise(resolve => {
    const chunks = []
    const socket = connect({ port, host: HOST, allowHalfOpen: true })
    let timer
    const done = () => {
      clearTimeout(timer)
      socket.destroy()
      resolve(Buffer.concat(chunks).toString('latin1'))
    }
    const arm = () => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        socket.end()
        timer = setTimeout(done, idle)
      }, idle)
    }
    socket.on('connect', () => {
      socket.write(Buffer.from(text, 'latin1'))
      arm()
    })
    socket.on('data', chunk => {
      chunks.push(chunk)
      arm()
    })
    socket.on('end', done)
    socket.on('error', done)
  })
}

/** A fresh connection must get its own answer and no other. */
async function canary(port, target) {
  const answer = await exchange(port, `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 3_000)
  return answer.endsWith(`\r\n\r\nGET ${target} 0`) && answer.startsWith('HTTP/1.1 200') && answer.split('HTTP/1.1 ').length === 2
}

function freePort() {
  return new Promise(resolve => {
    const server = createServer().listen(0, HOST, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

const digest = content => (content.length === 0 || content.length > HASHED ? '-' : createHash('sha256').update(content).digest('hex').slice(0, 16))
const key = ({ method, target, length, sum }) => `${method} ${target} ${length} ${sum}`

// ── The origin ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function origin() {
  const seen = []
  const refused = []
  const server = serve(await listen(0), async (environ, startResponse) => {
    const pieces = []
    for await (const piece of environ['wsgi.input']) pieces.push(piece)
    const content = Buffer.concat(pieces)
    const target = environ.REQUEST_URI
    seen.push({ method: environ.REQUEST_METHOD, target, length: content.length, sum: digest(content) })
    startResponse('200 OK', [['Content-Type', 'text/plain']])
    return [Buffer.from(`${environ.REQUEST_METHOD} ${target} ${content.length}`, 'latin1')]
  }, { logOutput: false, onPeerError: event => refused.push(event.name) })
  return { server, port: server.address.port, seen, refused }
}

// ── The fronts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function version(program, args, pattern) {
  try {
    const text = execFileSync('sh', ['-c', `${program} ${args} 2>&1`], { encoding: 'utf8' })
    return pattern.exec(text)?.[1] ?? 'unknown'
  } catch {
    return null
  }
}

async function listening(port, child) {
  for (let i = 0; i < 200; i++) {
    if (child.exitCode !== null) throw new Error('the front did not start')
    const up = await new Promise(resolve => {
      const socket = connect(port, HOST, () => {
        socket.destroy()
        resolve(true)
      }).on('error', () => resolve(false))
    })
    if (up) return
    await sleep(25)
  }
  throw new Error('the front does not listen')
}

const fronts = {
  nginx: {
    version: () => version('nginx', '-v', /nginx\/(\S+)/),
    async start(originPort) {
      const dir = mkdtempSync(join(tmpdir(), 'wl-nginx-'))
      const port = await freePort()
      const log = join(dir, 'access.log')
      writeFileSync(join(dir, 'nginx.conf'), `
daemon off; master_process off; pid ${dir}/pid; error_log ${dir}/error.log;
events { worker_connections 256; }
http {
  client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
  client_body_buffer_size 256k; client_body_in_single_buffer on; client_max_body_size 16m;
  log_format belief escape=json '{"method":"$request_method","target":"$request_uri","body":"$request_body","upstream":"$upstream_addr","sent":"$upstream_bytes_sent","status":"$status","upstreamStatus":"$upstream_status"}';
  access_log ${log} belief;
  upstream origin { server ${HOST}:${originPort} max_fails=0; keepalive 8; }
  server {
    listen ${HOST}:${port};
    location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_next_upstream off; }
  }
}
`)
      writeFileSync(log, '')
      const child = spawn('nginx', ['-p', dir, '-c', join(dir, 'nginx.conf')], { stdio: 'ignore' })
      await listening(port, child)
      return {
        port,
        // Each upstream address is a try of its own.
        lines: () => readFileSync(log, 'latin1').split('\n').slice(0, -1).flatMap(line => {
          const one = JSON.parse(line)
          const content = Buffer.from(one.body, 'latin1')
          const tries = one.sent === '' || one.sent === '0' ? 0 : one.upstream.split(',').length
          return new Array(tries).fill({ method: one.method, target: one.target, length: content.length, sum: digest(content) })
        }),
        stop: () => stop(child, dir)
      }
    }
  },
  haproxy: {
    version: () => version('haproxy', '-v', /version (\S+)/),
    async start(originPort) {
      const dir = mkdtempSync(join(tmpdir(), 'wl-haproxy-'))
      const port = await freePort()
      writeFileSync(join(dir, 'haproxy.cfg'), `
global
  log stdout len 65535 format raw local0 info
  tune.bufsize 262144
  tune.http.logurilen 65000
defaults
  mode http
  log global
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  timeout http-request 1s
  retries 0
frontend front
  bind ${HOST}:${port}
  option http-buffer-request
  http-request set-var(txn.sum) req.body,sha2(256),hex
  http-request set-var(txn.length) req.body_len
  log-format "BELIEF %{+Q}[capture.req.method] %{+Q}HU %[var(txn.length)] %[var(txn.sum)] %s %ST %ts"
  default_backend origin
backend origin
  http-reuse always
  server one ${HOST}:${originPort}
`)
      const child = spawn('haproxy', ['-db', '-f', join(dir, 'haproxy.cfg')], { stdio: ['ignore', 'pipe', 'ignore'] })
      let text = ''
      child.stdout.setEncoding('latin1').on('data', chunk => (text += chunk))
      await listening(port, child)
      return {
        port,
        lines: () => text.split('\n').slice(0, -1).flatMap(line => {
          const match = /^BELIEF "([^"]*)" "(.*)" (\S+) (\S+) (\S+) (\S+) (\S+)$/.exec(line)
          if (match === null || match[5] !== 'one') return []
          const length = Number(match[3])
          const sum = length === 0 || length > HASHED ? '-' : match[4].toLowerCase().slice(0, 16)
          return [{ method: match[1], target: match[2], length, sum }]
        }),
        stop: () => stop(child, dir)
      }
    }
  }
}

async function stop(child, dir) {
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  await Promise.race([gone, sleep(2_000)])
  if (child.exitCode === null) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
}

/** Removes from both lists what they have in common. */
function settle(believed, seen) {
  for (let i = seen.length - 1; i >= 0; i--) {
    const at = believed.findIndex(one => key(one) === key(seen[i]))
    if (at < 0) continue
    believed.splice(at, 1)
    seen.splice(i, 1)
  }
}

async function through(name, front, all) {
  const { server, port, seen, refused } = await origin()
  const running = await front.start(port)
  const target = { name, connections: 0, sent: 0, seen: 0, desynchronised: 0, refusedByFront: 0, refusedByUs: 0 }
  const disagreements = new Map()
  const problems = []
  const believed = []
  const arrived = []
  let read = 0
  const note = (what, one) => {
    const entry = disagreements.get(what) ?? { front: name, what, count: 0, example: one.id, why: whyForwarded(what) }
    entry.count++
    disagreements.set(what, entry)
  }
  try {
    for (const [i, one] of all.entries()) {
      target.connections++
      await exchange(running.port, one.text)
      const token = `/canary-${i}`
      if (!(await canary(running.port, token))) problems.push(`${one.id}: the next peer's answer is not its own`)
      // The front logs when a request is over: the canary's line closes this input's.
      let lines = running.lines()
      for (let n = 0; n < 400 && !lines.some(line => line.target === token); n++) {
        await sleep(5)
        lines = running.lines()
      }
      const fresh = lines.slice(read)
      read = lines.length
      const forwarded = fresh.filter(line => line.target !== token)
      const here = seen.splice(0).filter(request => request.target !== token)
      if (forwarded.length === 0) target.refusedByFront++
      target.sent += forwarded.length
      target.seen += here.length
      for (const code of refused.splice(0)) {
        target.refusedByUs++
        note(code, one)
      }
      believed.push(...forwarded)
      arrived.push(...here.map(request => ({ ...request, id: one.id })))
      settle(believed, arrived)
    }
    await sleep(500)
    believed.push(...running.lines().slice(read))
    settle(believed, arrived)
  } finally {
    await running.stop()
    await server.close({ timeout: 0 })
  }
  target.desynchronised = arrived.length + problems.length
  for (const request of arrived) problems.push(`${request.id}: the origin saw ${JSON.stringify(key(request))}, which the front did not send`)
  if (process.env.FRONTS_DEBUG === '1') for (const one of believed) console.log('  not seen:', key(one).slice(0, 200))
  return { target, disagreements: [...disagreements.values()], problems, unmatched: believed.length }
}

// ── node:http beside us ────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function beside(all) {
  const ours = await origin()
  const theirs = []
  const peer = createHttpServer((request, response) => {
    const pieces = []
    request.on('data', piece => pieces.push(piece))
    request.on('error', () => {})
    request.on('end', () => {
      const content = Buffer.concat(pieces)
      theirs.push({ method: request.method, target: request.url, length: content.length, sum: digest(content) })
      response.end(`${request.method} ${request.url} ${content.length}`)
    })
  })
  peer.on('clientError', (_error, socket) => socket.destroy())
  await new Promise(resolve => peer.listen(0, HOST, resolve))
  const target = { name: 'node:http, directly', connections: 0, sent: 0, seen: 0, desynchronised: 0, refusedByFront: 0, refusedByUs: 0 }
  const disagreements = new Map()
  for (const one of all) {
    target.connections++
    await Promise.all([exchange(ours.port, one.text), exchange(peer.address().port, one.text)])
    const mine = ours.seen.splice(0).map(key)
    const other = theirs.splice(0).map(key)
    const codes = ours.refused.splice(0)
    target.seen += mine.length
    target.sent += other.length
    target.refusedByUs += codes.length
    if (mine.join('\n') === other.join('\n')) continue
    const what = codes.length > 0 && other.length > mine.length ? `answered there, here ${codes[0]}`
      : codes.length > 0 ? `fewer requests there, here ${codes[0]} after them`
      : other.length < mine.length ? 'fewer requests there' : other.length > mine.length ? 'more requests there' : 'other requests there'
    const entry = disagreements.get(what) ?? { front: 'node:http', what, count: 0, example: one.id, why: whyNode(what) }
    entry.count++
    if (process.env.FRONTS_DEBUG === '1') console.log(`  ${what}: ${one.id} | there ${other.join(', ').slice(0, 80)} | here ${mine.join(', ').slice(0, 80)}`)
    disagreements.set(what, entry)
  }
  await ours.server.close({ timeout: 0 })
  peer.closeAllConnections()
  peer.close()
  return { target, disagreements: [...disagreements.values()] }
}

// ── The run ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const { cases, all } = inputs()
const results = { versions: { node: process.versions.node }, inputs: { cases, mutations: MUTATIONS, seed: SEED }, targets: [], disagreements: [] }
let passed = 0
let failed = 0
for (const [name, front] of Object.entries(fronts)) {
  if (process.env.FRONTS_ONLY !== undefined && process.env.FRONTS_ONLY !== name) continue
  const installed = front.version()
  if (installed === null) {
    console.log(`${name} is not installed: left out`)
    continue
  }
  results.versions[name] = installed
  const { target, disagreements, problems, unmatched } = await through(name, front, all)
  results.targets.push(target)
  results.disagreements.push(...disagreements)
  failed += problems.length
  passed += target.connections - problems.length
  console.log(`${name} ${installed}: ${target.connections} connections, ${target.sent} requests sent by the front, ${target.seen} seen, ${unmatched} of them not seen whole, ${problems.length} desynchronised`)
  for (const problem of problems) console.log(`  ${problem}`)
}
const { target, disagreements } = await beside(all)
results.targets.push(target)
results.disagreements.push(...disagreements)
passed += target.connections
console.log(`node:http ${process.versions.node}: ${target.connections} connections, ${target.sent} requests there, ${target.seen} here`)
for (const one of results.disagreements) {
  if (one.why === '') failed++
  console.log(`  ${one.front}: ${one.what} (${one.count}, ${one.example})${one.why === '' ? ' NOT EXPLAINED' : ''}`)
}
results.disagreements.sort((a, b) => (a.front < b.front ? -1 : a.front > b.front ? 1 : b.count - a.count))
if (process.env.FRONTS_DRY !== '1') writeFileSync(join(HERE, 'results.json'), `${JSON.stringify(results, null, 1)}\n`)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
