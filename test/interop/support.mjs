// What the interop tests share: the built package, servers that end with their test, programs run to their end, and a list of results.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The package as it is published; WIRELET_INDEX names another build. */
export const { listen, serve, wrapTls, ALREADY_HANDLED } = await import(process.env.WIRELET_INDEX ?? '../../dist/index.js')

const CERTS = fileURLToPath(new URL('../support/certs/', import.meta.url))
export const CERTFILE = join(CERTS, 'localhost.crt')
export const KEYFILE = join(CERTS, 'localhost.key')
export const CERTIFICATE = readFileSync(CERTFILE)
export const TRANSPORTS = ['stream', 'handle']
/** What a test takes at most. */
const DEADLINE = 30_000

const tests = []
const skipped = []
let cleanups = []

export function test(name, body) {
  tests.push({ name, body })
}

export function skip(name, why) {
  skipped.push(`${name}: ${why}`)
}

/** After the test, in the reverse order of the calls. */
export function cleanup(action) {
  cleanups.push(action)
}

export function within(ms, promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

export async function until(condition, what) {
  const start = performance.now()
  while (!condition()) {
    if (performance.now() - start > 10_000) throw new Error(`not within 10 s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** `over`: 'tcp', 'tls' or 'unix'. The server ends with the test. */
export async function start(application, { transport = 'auto', over = 'tcp', ...options } = {}) {
  const log = []
  const push = line => log.push(line)
  const path = over === 'unix' ? join(temporary(), 's') : ''
  const plain = await listen(over === 'unix' ? { path } : { port: 0 })
  const listener = over === 'tls' ? wrapTls(plain, { certfile: CERTFILE, keyfile: KEYFILE }) : plain
  const server = serve(listener, application, { transport, log: { info: push, debug: push, error: push }, logFormat: '%(request_line)s %(status_code)d %(body_length)d', ...options })
  cleanup(() => within(5_000, server.close({ timeout: 0 }), 'the server to close'))
  const { port } = server.address
  return { server, port, path, log, url: `${over === 'tls' ? 'https' : 'http'}://localhost:${port}`, errors: () => log.filter(line => /fail|rror/.test(line)) }
}

export function temporary() {
  const directory = mkdtempSync(join(tmpdir(), 'wl-interop-'))
  cleanup(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Runs a program to its end. */
export function run(command, words, input = null) {
  const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'pipe'] })
  const out = []
  let stderr = ''
  child.stdout.on('data', chunk => out.push(chunk))
  child.stderr.setEncoding('utf8').on('data', text => (stderr += text))
  child.stdin.on('error', () => {})
  child.stdin.end(input ?? undefined)
  cleanup(() => child.kill('SIGKILL'))
  return within(20_000, new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, stdout: Buffer.concat(out).toString('latin1'), bytes: Buffer.concat(out), stderr }))
  }), `${command} ${words.join(' ')}`)
}

export function hasProgram(name) {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Runs what was registered; the last line says how many passed. */
export async function runAll(pattern) {
  let passed = 0
  let failed = 0
  for (const { name, body } of tests) {
    if (pattern !== undefined && !pattern.test(name)) continue
    const begin = performance.now()
    let failure = null
    try {
      await within(DEADLINE, Promise.resolve(body()), 'the test to end')
    } catch (error) {
      failure = error
    }
    for (const action of cleanups.reverse()) {
      try {
        await action()
      } catch (error) {
        failure ??= error
      }
    }
    cleanups = []
    const took = `${((performance.now() - begin) / 1000).toFixed(1)} s`
    if (failure === null) {
      passed++
      console.log(`ok   ${took}  ${name}`)
    } else {
      failed++
      console.log(`FAIL ${took}  ${name}\n${failure.stack ?? failure}`)
    }
  }
  for (const line of skipped) console.log(`skipped  ${line}`)
  if (passed + failed === 0) failed = 1
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0
}
