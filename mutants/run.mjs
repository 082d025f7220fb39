// Plants one fault at a time in a copy of the built code and asks whether the suite notices.
//   node mutants/run.mjs [regular expression over the faults' names]
// A fault is killed when a test file fails that passes without it; first the files meant for it are run, then, if they noticed nothing, all.
import { spawn } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { faults } from './faults.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
// MUTANTS_BUILD: another compiled tree than build/.
const BUILT = join(ROOT, process.env.MUTANTS_BUILD ?? 'build')
// Inside the project, where node_modules and the test data are found; .gitignore has build*.
const COPY = join(ROOT, 'build-mutants')
const LIMIT_MS = 180_000
/** What `npm run mutants` does not ask: they build, install or measure, and judge no fault. */
const ALL = '^(?!package|bench|baseline|api|readme|tidy|examples)'

const running = new Set()
const end = child => {
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // gone
  }
}
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of running) end(child)
    rmSync(COPY, { recursive: true, force: true })
    process.exit(1)
  })
}

/** The files that fail, or null when the time was up. */
function failing(pattern) {
  return new Promise(resolve => {
    const child = spawn(process.execPath, [join(COPY, 'test/run.js'), pattern], { cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
    running.add(child)
    let output = ''
    let late = false
    child.stdout.setEncoding('utf8').on('data', text => (output += text))
    const timer = setTimeout(() => {
      late = true
      // The runner ends its own children on SIGTERM.
      child.kill('SIGTERM')
      setTimeout(() => end(child), 2_000).unref()
    }, LIMIT_MS)
    child.on('close', code => {
      clearTimeout(timer)
      running.delete(child)
      if (late) return resolve(null)
      const listed = /^failing: (.*)$/m.exec(output)
      resolve(listed !== null ? listed[1].split(' ') : code === 0 ? [] : ['(the runner itself)'])
    })
  })
}

const wanted = process.argv[2] === undefined ? faults : faults.filter(({ id }) => new RegExp(process.argv[2]).test(id))
if (!existsSync(join(BUILT, 'test/run.js'))) throw new Error(`nothing built at ${BUILT}: npm run build:test`)

// The anchors first: a list that no longer fits the code is an error, whatever the tests say.
let broken = 0
for (const { id, file, edits } of wanted) {
  const text = readFileSync(join(BUILT, 'src', file), 'utf8')
  for (const [from] of edits) {
    const times = text.split(from).length - 1
    if (times === 1) continue
    broken++
    console.log(`ANCHOR   ${id}: found ${times} times in ${file}`)
  }
}

rmSync(COPY, { recursive: true, force: true })
cpSync(BUILT, COPY, { recursive: true })
if (!existsSync(join(COPY, 'node_modules')) && !existsSync(join(ROOT, 'node_modules'))) symlinkSync(join(ROOT, 'node_modules'), join(COPY, 'node_modules'))

const patterns = [...new Set(wanted.map(({ tests }) => tests))]
const already = new Set(await failing(patterns.join('|')) ?? [])
if (already.size > 0) console.log(`failing without any fault, left out of the judgement: ${[...already].join(' ')}`)

let killed = 0
const survivors = []
for (const { id, file, edits, tests } of wanted) {
  const path = join(COPY, 'src', file)
  const text = readFileSync(path, 'utf8')
  if (edits.some(([from]) => text.split(from).length !== 2)) continue
  writeFileSync(path, edits.reduce((changed, [from, to]) => changed.replace(from, () => to), text))
  const start = performance.now()
  let noticed = null
  for (const pattern of process.env.MUTANTS_QUICK === '1' ? [tests] : [tests, ALL]) {
    const files = await failing(pattern)
    noticed = files === null ? 'hung' : (files.find(name => !already.has(name)) ?? null)
    if (noticed !== null) break
    if (already.size === 0 && pattern === tests) console.log(`         ${id}: ${tests} did not notice, asking all`)
  }
  writeFileSync(path, text)
  if (noticed === null) survivors.push(id)
  else killed++
  console.log(`${noticed === null ? 'SURVIVED' : 'killed  '} ${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${id}${noticed === null ? '' : `  (${noticed})`}`)
}
rmSync(COPY, { recursive: true, force: true })
if (survivors.length > 0) console.log(`survived: ${survivors.join('; ')}`)
console.log(`${killed} passed, ${survivors.length + broken} failed`)
process.exitCode = survivors.length + broken > 0 ? 1 : 0
