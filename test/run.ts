// The test runner: every *.test.js beside this file in a process of its own, two at a time, each under a deadline.
//   node build/test/run.js [pattern]     pattern: a regular expression over the file's path
// uvu waits for ever for a socket that nobody closes and calls a suite without `.run()` a success; here both are failures.
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const DIRECTORY = fileURLToPath(new URL('.', import.meta.url))
const SOURCES = fileURLToPath(new URL('../../test/', import.meta.url))
const AT_ONCE = 2
/** Without a word of a test file, which says each test as it ends: a slow machine may take its time. */
const DEADLINE_MS = process.env['WIRELET_SLOW'] === '1' ? 120_000 : 60_000
/** What is kept of one file's output: its end, where uvu says what failed. */
const OUTPUT_KEPT = 1 << 20

interface Result {
  file: string
  passed: number
  failed: number
  skipped: number
  ms: number
  /** Why the file as such failed, '' when it did not. */
  fault: string
  output: string
}

/** Compiled tests whose source is still there: the build directory keeps those of deleted files. */
function testFiles(pattern: RegExp | null): string[] {
  return readdirSync(DIRECTORY, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.test.js') && (pattern === null || pattern.test(file.replaceAll(sep, '/'))))
    .filter(file => !existsSync(SOURCES) || existsSync(join(SOURCES, file.replace(/js$/, 'ts'))))
    .sort()
}

const running = new Set<ChildProcess>()

/** The whole group: what a test started ends with it. */
function kill(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // nobody is left
  }
}

function run(file: string): Promise<Result> {
  return new Promise(done => {
    const start = performance.now()
    const env = { ...process.env, WIRELET_POISON: '1', NO_COLOR: '1' }
    delete (env as NodeJS.ProcessEnv)['FORCE_COLOR']
    const child = spawn(process.execPath, ['--enable-source-maps', join(DIRECTORY, file)], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    let output = ''
    let late = false
    const collect = (text: string): void => {
      output = (output + text).slice(-OUTPUT_KEPT)
      deadline.refresh()
    }
    const deadline = setTimeout(() => {
      late = true
      kill(child)
    }, DEADLINE_MS)
    child.stdout.setEncoding('utf8').on('data', collect)
    child.stderr.setEncoding('utf8').on('data', collect)
    child.on('error', error => collect(`${error}\n`))
    // A grandchild that lives on would hold the pipes open, and 'close' would never come.
    child.on('exit', () => kill(child))
    child.on('close', (code, signal) => {
      clearTimeout(deadline)
      running.delete(child)
      done(judge(file, output, late, code, signal, performance.now() - start))
    })
  })
}

function judge(file: string, output: string, late: boolean, code: number | null, signal: string | null, ms: number): Result {
  const closing = [...output.matchAll(/^ {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)$/gm)].at(-1)
  const total = Number(closing?.[1] ?? 0)
  const passed = Number(closing?.[2] ?? 0)
  const skipped = Number(closing?.[3] ?? 0)
  let fault = ''
  if (late) fault = `killed: nothing said for ${DEADLINE_MS / 1000} s`
  else if (signal !== null) fault = `ended by ${signal}`
  else if (code !== 0) fault = `exit code ${code}`
  else if (closing === undefined) fault = 'ended before its tests did'
  else if (total === 0) fault = 'no test was run'
  return { file, passed, failed: Math.max(total - passed, fault === '' ? 0 : 1), skipped, ms, fault, output }
}

function report(result: Result): void {
  const ok = result.failed === 0
  const name = relative('.', join(DIRECTORY, result.file))
  const skipped = result.skipped > 0 ? ` ${result.skipped} skipped` : ''
  const counts = `${String(result.passed).padStart(5)} passed ${String(result.failed).padStart(3)} failed${skipped}`
  if (!ok) process.stdout.write(`\n${result.output.trimEnd()}\n`)
  process.stdout.write(`${ok ? 'ok  ' : 'FAIL'} ${(result.ms / 1000).toFixed(1).padStart(5)} s ${counts}  ${name}${result.fault === '' ? '' : ` (${result.fault})`}\n`)
}

async function main(): Promise<void> {
  const pattern = process.argv[2]
  const queue = testFiles(pattern === undefined ? null : new RegExp(pattern))
  const bad: Result[] = []
  let passed = 0
  let failed = 0
  if (queue.length === 0) {
    process.stdout.write(`no test file${pattern === undefined ? '' : ` matches ${pattern}`} in ${DIRECTORY}\n`)
    failed = 1
  }
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await run(file)
      passed += result.passed
      failed += result.failed
      if (result.failed > 0) bad.push(result)
      report(result)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  if (bad.length > 0) process.stdout.write(`\nfailing: ${bad.map(result => result.file).join(' ')}\n`)
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  process.exitCode = failed > 0 ? 1 : 0
}

// The children lead groups of their own, so an interrupt at the terminal does not reach them.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    for (const child of running) kill(child)
    process.exit(1)
  })
}

await main()
