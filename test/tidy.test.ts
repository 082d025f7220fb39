// The house rules that a machine can check (design §1, §9).
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const BUILT = fileURLToPath(new URL('../', import.meta.url))
const tidy = suite('tidy')

function files(directory: string, ending: string): string[] {
  if (!existsSync(join(ROOT, directory))) return []
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .map(file => join(directory, file))
    .filter(file => file.endsWith(ending) && !file.includes('node_modules'))
    .sort()
}

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8')
}

/** The source without its comments, so that prose about a rule does not break it. A `//` inside a string is cut too: harmless here. */
function code(file: string): string {
  return read(file)
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:'"`\\])\/\/.*$/gm, '$1')
}

/** What a text imports or re-exports, types included. */
function imports(text: string): string[] {
  const found = text.matchAll(/(?:^|[\s;])(?:import|export)\s[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|[\s;])import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g)
  return [...found].map(match => (match[1] ?? match[2] ?? match[3])!)
}

/** `specifier` as a path from the root. */
function target(from: string, specifier: string): string {
  return normalize(join(dirname(from), specifier))
}

function offenders(list: string[], broken: (file: string) => boolean): string[] {
  return list.filter(broken)
}

const sources = files('src', '.ts')
const tests = files('test', '.test.ts').filter(file => !/^test[/\\](?:interop|types)[/\\]/.test(file))
const everything = [...sources, ...files('test', '.ts'), ...files('fuzz', '.ts'), ...files('bench', '.ts'), ...files('soak', '.ts')].filter(file => !file.endsWith('.d.ts'))

tidy('every suite of every test file is run', () => {
  const unrun = offenders(tests, file => {
    const text = code(file)
    const runs = [...text.matchAll(/\.run\(\)/g)].length
    return runs === 0 || runs < [...text.matchAll(/\bsuite(?:<[^>\n]*>)?\(/g)].length
  })
  assert.equal(unrun, [])
})

tidy('no test is singled out or left out', () => {
  assert.equal(offenders(tests, file => /\.(?:only|skip)\(/.test(code(file).replaceAll('|skip)', ''))), [])
})

tidy('the parser knows no platform and no other room', () => {
  const wrong = files('src/parser', '.ts').flatMap(file => imports(code(file))
    .filter(name => !name.startsWith('.') || !target(file, name).startsWith(normalize('src/parser/')))
    .map(name => `${file}: ${name}`))
  assert.equal(wrong, [])
})

tidy('io knows nothing of the server', () => {
  const wrong = files('src/io', '.ts').flatMap(file => imports(code(file))
    .filter(name => name.startsWith('.') && !/^src[/\\](?:io|parser)[/\\]/.test(target(file, name)))
    .map(name => `${file}: ${name}`))
  assert.equal(wrong, [])
})

tidy('the server knows nothing of the public surface or the command', () => {
  const wrong = files('src/server', '.ts').flatMap(file => imports(code(file))
    .filter(name => name.startsWith('.') && !/^src[/\\](?:server|io|parser)[/\\]/.test(target(file, name)))
    .map(name => `${file}: ${name}`))
  assert.equal(wrong, [])
})

tidy('src imports only Node and itself, each by its full name', () => {
  const wrong = sources.flatMap(file => imports(code(file))
    .filter(name => name.startsWith('.') ? !name.endsWith('.ts') || !target(file, name).startsWith('src') : !name.startsWith('node:'))
    .map(name => `${file}: ${name}`))
  assert.equal(wrong, [])
})

tidy('the modules of src form no circle at run time', () => {
  // The compiled files: there type-only imports are gone.
  const graph = new Map(sources.filter(file => !file.endsWith('.d.ts')).map(file => {
    const built = join(BUILT, file.replace(/\.ts$/, '.js'))
    const names = existsSync(built) ? imports(readFileSync(built, 'utf8')) : []
    return [file, names.filter(name => name.startsWith('.')).map(name => target(file, name).replace(/\.js$/, '.ts'))] as const
  }))
  const done = new Set<string>()
  const visit = (file: string, path: string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return []
    for (const next of graph.get(file) ?? []) {
      const circle = visit(next, [...path, file])
      if (circle.length > 0) return circle
    }
    done.add(file)
    return []
  }
  for (const file of graph.keys()) assert.equal(visit(file, []), [])
})

tidy('nothing to do is left behind', () => {
  assert.equal(offenders(everything, file => /\b(?:TO[D]O|FIX[M]E|XX[X])\b/.test(read(file))), [])
})

tidy('no enum, and no `using` that tsc would pad', () => {
  assert.equal(offenders(everything, file => /^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s+\w/m.test(code(file))), [])
  assert.equal(offenders(sources, file => /^\s*(?:await\s+)?using\s+[\w$]/m.test(code(file))), [])
})

tidy('the package depends on nothing', () => {
  const manifest = JSON.parse(read('package.json'))
  for (const key of ['dependencies', 'optionalDependencies', 'peerDependencies']) assert.not(key in manifest, key)
})

tidy('README gives the two commands', () => {
  const readme = read('README.md')
  assert.ok(readme.includes('npm ci && npm start'))
  assert.ok(readme.includes('npm ci && npm test'))
})

tidy("every mutant's fault is planted at exactly one place of what is built", async () => {
  const { faults } = await import(new URL('../../mutants/faults.mjs', import.meta.url).href) as { faults: { id: string; file: string; edits: [string, string][] }[] }
  assert.ok(faults.length > 100)
  for (const { id, file, edits } of faults) {
    const text = readFileSync(join(BUILT, 'src', file), 'utf8')
    for (const [from] of edits) assert.is(text.split(from).length - 1, 1, id)
  }
})

tidy.run()
