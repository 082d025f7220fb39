import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { loadApplication } from '../../src/cli/load.ts'
import { CommandError } from '../../src/cli/usage.ts'

const load = suite<{ directory: string }>('load')

load.before(context => {
  const directory = context.directory = mkdtempSync(join(tmpdir(), 'wirelet load (%41 #1?) '))
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text)
  write('default.mjs', 'export default () => ["default"]; export const app = () => ["app"]; export const number = 1; export const nothing = null')
  write('named.mjs', 'export const app = () => ["app"]; export const other = () => ["other"]')
  write('neither.mjs', 'export const b = 1, a = 2')
  write('empty.mjs', '')
  write('throws.mjs', '\n\nthrow new TypeError("no database\\nsecond line")')
  write('syntax.mjs', '\nexport default (')
  write('needs.mjs', 'import "no-such-package"')
  write('old.cjs', 'module.exports = () => ["cjs"]')
  write('app.cjs', 'exports.app = () => ["exports.app"]; exports.other = () => ["other"]')
  write('compiled.cjs', 'Object.defineProperty(exports, "__esModule", { value: true }); exports.default = () => ["compiled"]; exports.app = 5')
  write('hidden.cjs', 'module.exports = Object.fromEntries([["app", () => ["hidden"]], ["more", () => ["more"]]])')
  write('beside.mjs', 'export const app = () => ["named"]; export const number = () => ["function"]; export default { app: "a title", number: 5 }')
  write('getter.cjs', 'module.exports = { app: () => ["beside a getter"], get old() { throw new Error("gone") } }')
  write('object.cjs', 'module.exports = { a: 1 }')
  mkdirSync(join(directory, 'node_modules/pkg'), { recursive: true })
  write('node_modules/pkg/package.json', '{ "name": "pkg", "type": "module", "exports": "./main.js" }')
  write('node_modules/pkg/main.js', 'export default () => ["pkg"]')
})

load.after(({ directory }) => rmSync(directory, { recursive: true }))

async function answer(directory: string, module: string, name: string | null = null): Promise<unknown> {
  const application = await loadApplication(module, name, directory) as unknown as () => string[]
  return application()[0]
}

async function failure(directory: string, module: string, name: string | null = null): Promise<string> {
  try {
    await loadApplication(module, name, directory)
  } catch (error) {
    assert.instance(error, CommandError)
    assert.is((error as CommandError).exitCode, 1)
    const { message } = error as CommandError
    assert.not.match(message, /\n/)
    return message.replaceAll(directory, '<cwd>')
  }
  assert.unreachable(module)
  return ''
}

load('a path, with or without ./, absolute, or a file: URL', async ({ directory }) => {
  assert.is(await answer(directory, 'default.mjs'), 'default')
  assert.is(await answer(directory, './default.mjs'), 'default')
  assert.is(await answer(directory, join(directory, 'default.mjs')), 'default')
  assert.is(await answer(directory, pathToFileURL(join(directory, 'default.mjs')).href), 'default')
})

load('a package, found from the working directory', async ({ directory }) => {
  assert.is(await answer(directory, 'pkg'), 'pkg')
})

load('the export asked for, else the default one, else app', async ({ directory }) => {
  assert.is(await answer(directory, 'default.mjs', 'app'), 'app')
  assert.is(await answer(directory, 'named.mjs'), 'app')
  assert.is(await answer(directory, 'named.mjs', 'other'), 'other')
  assert.is(await answer(directory, 'old.cjs'), 'cjs')
  assert.is(await answer(directory, 'app.cjs'), 'exports.app')
  assert.is(await answer(directory, 'app.cjs', 'other'), 'other')
  assert.is(await answer(directory, 'compiled.cjs'), 'compiled')
  assert.is(await answer(directory, 'hidden.cjs'), 'hidden')
  assert.is(await answer(directory, 'hidden.cjs', 'more'), 'more')
  assert.is(await answer(directory, 'beside.mjs', 'app'), 'named')
  assert.is(await answer(directory, 'beside.mjs', 'number'), 'function')
  assert.is(await answer(directory, 'beside.mjs'), 'named')
  assert.is(await answer(directory, 'getter.cjs'), 'beside a getter')
})

load('what is wrong is said in one line', async ({ directory }) => {
  assert.is(await failure(directory, './nope.js'), 'there is no module ./nope.js (looked for <cwd>/nope.js)')
  assert.is(await failure(directory, 'nope'), 'there is no module nope (looked for <cwd>/nope and for a package of that name)')
  assert.is(await failure(directory, 'default.mjs', 'nope'), 'default.mjs has no export nope; it has app, default, nothing, number')
  assert.is(await failure(directory, 'neither.mjs'), 'neither.mjs has no export default or app; it has a, b')
  assert.is(await failure(directory, 'empty.mjs'), 'empty.mjs has no export default or app; it has none at all')
  assert.is(await failure(directory, 'default.mjs', 'number'), 'the export number of default.mjs is no function but number')
  assert.is(await failure(directory, 'object.cjs'), 'the export default of object.cjs is no function but object')
  assert.is(await failure(directory, 'default.mjs', 'nothing'), 'the export nothing of default.mjs is no function but null')
})

load('a module that fails says where', async ({ directory }) => {
  assert.is(await failure(directory, 'throws.mjs'), 'cannot load throws.mjs: TypeError: no database (at <cwd>/throws.mjs:3)')
  assert.match(await failure(directory, 'syntax.mjs'), /^cannot load syntax\.mjs: SyntaxError: .* \((?:at <cwd>\/syntax\.mjs:2|in <cwd>\/syntax\.mjs)\)$/)
  assert.match(await failure(directory, 'needs.mjs'), /^cannot load needs\.mjs: Error: Cannot find package 'no-such-package' imported from <cwd>\/needs\.mjs/)
})

load.run()
