// Finds the application: a module by path or package name, and one of its exports.
import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { unescape } from 'node:querystring'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Application } from '../index.ts'
import { describeError } from '../server/describe-error.ts'
import { CommandError } from './usage.ts'

/** @throws CommandError with exit code 1: no such module, it failed, or it exports no application */
export async function loadApplication(specifier: string, exportName: string | null, directory: string): Promise<Application> {
  const url = locate(specifier, directory)
  let stuck!: () => void
  // Nothing is left in the event loop, and the module still waits: Node would end with code 13.
  const never = new Promise<never>((_resolve, reject) => {
    stuck = () => reject(new CommandError(`cannot load ${specifier}: its top-level await never settles`, 1))
  })
  process.once('beforeExit', stuck)
  try {
    return pick(await Promise.race([load(url, specifier), never]), specifier, exportName)
  } finally {
    process.removeListener('beforeExit', stuck)
  }
}

async function load(url: string, specifier: string): Promise<Record<string, unknown>> {
  try {
    return await import(url) as Record<string, unknown>
  } catch (error) {
    throw new CommandError(`cannot load ${specifier}: ${describe(error, url)}`, 1)
  }
}

function pick(exports: Readonly<Record<string, unknown>>, specifier: string, exportName: string | null): Application {
  const members = membersOf(exports['default'])
  const names = [...new Set([...Object.keys(exports), ...Object.keys(members)])]
  // A named export wins: what the default export has beside it may be anything. Only what is wanted is read, since a member may be a getter that throws.
  const read = (each: string): unknown => Object.hasOwn(exports, each) && (each !== 'default' || !Object.hasOwn(members, each)) ? exports[each] : members[each]
  const usual = ['default', 'app'].filter(each => names.includes(each))
  const name = exportName ?? usual.find(each => typeof read(each) === 'function') ?? usual[0]
  if (name === undefined || !names.includes(name)) {
    const wanted = exportName ?? 'default or app'
    throw new CommandError(`${specifier} has no export ${wanted}; it has ${names.length === 0 ? 'none at all' : names.sort().join(', ')}`, 1)
  }
  const found = read(name)
  if (typeof found !== 'function') throw new CommandError(`the export ${name} of ${specifier} is no function but ${found === null ? 'null' : typeof found}`, 1)
  return found as Application
}

/** Of a CommonJS module `import` gives `module.exports` as the default export, and of its members those that it could find without running it. What a
 *  compiler made of `export default` is a member of that name. */
function membersOf(whole: unknown): Readonly<Record<string, unknown>> {
  return typeof whole === 'object' && whole !== null ? (whole as Record<string, unknown>) : {}
}

/** A file of that name wins over a package: `wirelet app.js` needs no `./`. */
function locate(specifier: string, directory: string): string {
  if (specifier.startsWith('file:')) return specifier
  const path = resolve(directory, specifier)
  if (isFile(path)) return pathToFileURL(path).href
  if (/^(?:\.{0,2}[/\\]|[A-Za-z]:[/\\])/.test(specifier)) throw new CommandError(`there is no module ${specifier} (looked for ${path})`, 1)
  try {
    return pathToFileURL(createRequire(join(directory, 'wirelet')).resolve(specifier)).href
  } catch {
    throw new CommandError(`there is no module ${specifier} (looked for ${path} and for a package of that name)`, 1)
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}

/** One line: what, and where if the stack knows. */
function describe(error: unknown, url: string): string {
  if (!(error instanceof Error)) return describeError(error).split('\n')[0]!
  const first = `${error.name}: ${error.message}`.split('\n')[0]!
  const place = /(file:\/\/\S+?:\d+)(?::\d+)?\)?$/m.exec(error.stack ?? '')?.[1]
  return place === undefined || first.includes(place) ? `${first} (in ${fileURLToPath(url)})` : `${first} (at ${unescape(place.replace(/^file:\/\//, ''))})`
}
