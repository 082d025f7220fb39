// The package as its users get it: packed, installed into an empty project, loaded both ways, compiled against. No registry is asked.
// The tarball is made of dist/ as `npm test` has just built it.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ask, killAll, Program, ROOT, runToEnd } from './support/program.ts'
import { blocks, isCommonJs, onFreePort } from './support/readme.ts'

const MAX_TARBALL = 260 * 1024
/** Of CPU, so that other work on the machine does not count (design §9). */
const MAX_IMPORT_MS = 20

interface Packed {
  readonly filename: string
  readonly size: number
  readonly files: readonly { readonly path: string; readonly mode: number }[]
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>
const packaged = suite('package')
let directory = ''
let project = ''
let packed: Packed

/** npm without the machine's cache, its notices or a network. */
async function npm(cwd: string, ...words: string[]): Promise<string> {
  const env: NodeJS.ProcessEnv = { ...process.env, npm_config_cache: join(directory, 'cache'), npm_config_update_notifier: 'false' }
  // A `npm test` around us hands its own settings down.
  for (const name of Object.keys(env)) if (/^npm_(?:package|lifecycle|config_local_prefix|command)/.test(name)) delete env[name]
  const { code, stdout, stderr } = await runToEnd(process.platform === 'win32' ? 'npm.cmd' : 'npm', words, { cwd, env })
  assert.is(code, 0, `npm ${words.join(' ')}: ${stderr}`)
  return stdout
}

packaged.before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'wl-package-'))
  project = join(directory, 'project')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{"private":true}')
  const out = await npm(ROOT, 'pack', '--json', '--ignore-scripts', '--pack-destination', directory)
  packed = (JSON.parse(out.slice(out.indexOf('['))) as Packed[])[0]!
  await npm(project, 'install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', join(directory, packed.filename))
})
packaged.after.each(killAll)
packaged.after(() => rmSync(directory, { recursive: true, force: true }))

packaged('holds what it should and no more', () => {
  const top = new Set(packed.files.map(({ path }) => path.split('/')[0]!))
  assert.equal([...top].sort(), ['CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE', 'README.md', 'dist', 'package.json', 'src'])
  const strange = packed.files.map(({ path }) => path).filter(path => /^(?:dist|src)\//.test(path) && !/^dist\/[\w/-]+(?:\.js|\.d\.ts)$|^src\/[\w/-]+\.(?:ts|wat)$/.test(path))
  assert.equal(strange, [])
  assert.ok(packed.size <= MAX_TARBALL, `${packed.size} bytes`)
  process.stdout.write(`[tarball ${(packed.size / 1024).toFixed(1)} KiB, ${packed.files.length} files] `)
})

packaged('has a file of src behind every file of dist', () => {
  // An old build may lie in dist: `npm run clean`. `npm publish` builds afresh.
  const paths = packed.files.map(({ path }) => path)
  assert.equal(paths.filter(path => /^dist\/.*\.js$/.test(path) && !paths.includes(path.replace(/^dist(.*)\.js$/, 'src$1.ts'))), [])
})

packaged('names no source map, since it has none', () => {
  const installed = join(project, 'node_modules', 'wirelet')
  assert.equal(packed.files.map(({ path }) => path).filter(path => path.startsWith('dist/') && readFileSync(join(installed, path), 'utf8').includes('sourceMappingURL')), [])
})

packaged('its manifest', () => {
  assert.equal(manifest['exports'], { '.': { types: './dist/index.d.ts', module: './dist/bundled.js', default: './dist/index.js' }, './package.json': './package.json' })
  assert.equal(Object.keys((manifest['exports'] as { '.': object })['.']), ['types', 'module', 'default'])
  assert.equal([manifest['type'], manifest['license'], manifest['sideEffects']], ['module', 'MIT', false])
  assert.equal(manifest['engines'], { node: '^20.19.0 || >=22.12.0' })
  for (const key of ['dependencies', 'optionalDependencies', 'peerDependencies', 'bundleDependencies', 'main', 'module']) assert.not(key in manifest, key)
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) assert.not(script in (manifest['scripts'] as object), script)
  assert.equal(Object.keys(manifest['devDependencies'] as object).sort(), ['@types/node', 'autocannon', 'c8', 'typescript', 'uvu'])
})

packaged('its documents name its version', () => {
  assert.ok(readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8').includes(`## [${manifest['version'] as string}]`))
})

for (const { code, title } of blocks().filter(({ language, code }) => language === 'js' && !code.includes('.close('))) {
  const kind = isCommonJs(code) ? 'cjs' : 'mjs'
  packaged(`README's program runs in an empty project (${title}, ${kind})`, async () => {
    writeFileSync(join(project, `program.${kind}`), onFreePort(code))
    const program = new Program(process.execPath, [`program.${kind}`], { cwd: project })
    const { status, head, body } = await ask(await program.port(), 'GET /')
    assert.equal([status, body.toString()], [200, 'Hello, World!\r\n'])
    assert.match(head, /^Content-Type: text\/plain$/m)
    await program.stop()
    assert.not.match(program.stderr, /Warning/)
  })
}

packaged('brings the command', async () => {
  writeFileSync(join(project, 'app.mjs'), 'export const app = (environ, startResponse) => (startResponse(200), environ.RAW_PATH_INFO)')
  const version = await runToEnd(join(project, 'node_modules', '.bin', 'wirelet'), ['--version'], { cwd: project })
  assert.equal([version.code, version.stdout], [0, `${manifest['version'] as string}\n`])
  const program = new Program(join(project, 'node_modules', '.bin', 'wirelet'), ['--bind', '127.0.0.1:0', 'app.mjs'], { cwd: project })
  assert.is((await ask(await program.port(), 'GET /%2F')).body.toString(), '/%2F')
  assert.equal(await program.stop(), { code: 0, signal: null })
})

packaged('tells its own manifest', async () => {
  const { stdout } = await runToEnd(process.execPath, ['-p', "require('wirelet/package.json').name"], { cwd: project })
  assert.is(stdout, 'wirelet\n')
  const inside = await runToEnd(process.execPath, ['-e', "require('wirelet/dist/io/engine.js')"], { cwd: project })
  assert.match(inside.stderr, /ERR_PACKAGE_PATH_NOT_EXPORTED/)
})

packaged('a strict TypeScript project compiles against it, and no `any` reaches it', async () => {
  const consumer = join(project, 'types')
  mkdirSync(consumer)
  writeFileSync(join(consumer, 'package.json'), '{"type":"module"}')
  for (const name of ['tsconfig.json', 'consumer.ts']) cpSync(join(ROOT, 'test', 'types', name), join(consumer, name))
  const [program] = blocks().filter(({ language }) => language === 'ts')
  // README's block has more imports than it uses.
  writeFileSync(join(consumer, 'readme.ts'), `${program!.code}\nexport const more: unknown = [wrapTls, formatDateTime]\n`)
  const words = [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', consumer, '--typeRoots', join(ROOT, 'node_modules', '@types')]
  const { code, stdout } = await runToEnd(process.execPath, words, { cwd: consumer })
  assert.is(stdout, '')
  assert.is(code, 0)
})

packaged('a bundler finds all of it: the same exports, and nothing that only a running program loads', async () => {
  const names = "process.stdout.write(Object.keys(await import('wirelet')).join())"
  const [plain, bundled] = await Promise.all([[], ['--conditions=module']].map(flags => runToEnd(process.execPath, [...flags, '--input-type=module', '-e', names], { cwd: project })))
  assert.is(bundled!.stdout, plain!.stdout)
  const files = [join(project, 'node_modules', 'wirelet', 'dist', 'bundled.js')]
  for (const file of files) {
    const code = readFileSync(file, 'utf8')
    assert.not.match(code, /\bcreateRequire\b|\bimport\(|\bimport\.meta\b/, file)
    for (const [, path] of code.matchAll(/^(?:import|export) .*?'(\.[^']+)';$/gm)) {
      const next = join(file, '..', path!)
      if (!files.includes(next)) files.push(next)
    }
  }
  assert.ok(files.length > 50, `${files.length} files`)
})

packaged('costs little to import', async () => {
  const measure = "const before = process.cpuUsage(); await import('wirelet'); const { user, system } = process.cpuUsage(before); process.stdout.write(String((user + system) / 1000))"
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    const { stdout } = await runToEnd(process.execPath, ['--input-type=module', '-e', measure], { cwd: project })
    times.push(Number(stdout))
  }
  const best = Math.min(...times)
  process.stdout.write(`[import ${best.toFixed(1)} ms of CPU] `)
  assert.ok(best < MAX_IMPORT_MS, `${times.map(ms => ms.toFixed(1)).join(', ')} ms`)
})

packaged.run()
