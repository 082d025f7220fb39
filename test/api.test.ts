// The public surface, declaration by declaration: what dist/index.d.ts exports and everything that those declarations name.
// A difference is not a mistake, but a decision: `npm run update-snapshots` writes the file anew, CHANGELOG says why.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ROOT } from './support/program.ts'

const DIST = join(ROOT, 'dist')
const SNAPSHOT = join(ROOT, 'test', 'api.snapshot.txt')

interface Declarations {
  /** Name → its text, without comments and private members. */
  readonly texts: Map<string, string>
  /** Local name → where it comes from. */
  readonly imported: Map<string, { file: string; name: string }>
  /** Exported name → where it comes from. */
  readonly exported: Map<string, { file: string; name: string }>
}

const read = new Map<string, Declarations>()

function declarationsOf(file: string): Declarations {
  const known = read.get(file)
  if (known !== undefined) return known
  const found: Declarations = { texts: new Map(), imported: new Map(), exported: new Map() }
  read.set(file, found)
  const text = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  for (const [, kind, names, from] of text.matchAll(/^(import|export)(?: type)? \{([^}]*)\} from '(\.[^']+)';/gm)) {
    for (const entry of names!.split(',')) {
      const [, name, alias] = /^\s*(?:type )?([\w$]+)(?: as ([\w$]+))?\s*$/.exec(entry) ?? []
      if (name === undefined) continue
      const source = join(dirname(file), from!).replace(/\.[jt]s$/, '.d.ts')
      ;(kind === 'import' ? found.imported : found.exported).set(alias ?? name, { file: source, name })
    }
  }
  let current: string[] = []
  let depth = 0
  for (const line of text.split('\n')) {
    if (depth === 0 && current.length === 0 && !/^(?:export )?(?:declare |interface |type )/.test(line)) continue
    const bare = line.replace(/'(?:[^'\\]|\\.)*'|`[^`]*`/g, '')
    depth += (bare.match(/[{(]/g)?.length ?? 0) - (bare.match(/[})]/g)?.length ?? 0)
    if (line.trim() !== '' && !/^\s+private /.test(line)) current.push(line)
    if (depth > 0 || !/[;}]\s*$/.test(line)) continue
    const whole = current.join('\n')
    const name = /^(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type|function|const|let|var) ([\w$]+)/.exec(whole)?.[1]
    if (name !== undefined) found.texts.set(name, found.texts.has(name) ? `${found.texts.get(name)}\n${whole}` : whole)
    current = []
  }
  return found
}

/** Everything reachable, as one text. */
function surface(): string {
  const index = join(DIST, 'index.d.ts')
  const sections: string[] = []
  const seen = new Set<string>()
  let queue = [...declarationsOf(index).exported].map(([alias, place]) => ({ ...place, title: alias }))
  for (let round = 0; queue.length > 0; round++) {
    const next: typeof queue = []
    for (const { file, name } of queue.sort((a, b) => a.title < b.title ? -1 : 1)) {
      if (seen.has(`${file}#${name}`)) continue
      seen.add(`${file}#${name}`)
      const { texts, imported } = declarationsOf(file)
      const text = texts.get(name)
      assert.ok(text, `${name} is not declared in ${relative(DIST, file)}`)
      sections.push(`// ${round === 0 ? 'exported' : 'named by the above'}, ${relative(DIST, file)}\n${text}`)
      for (const [word] of text!.matchAll(/[\w$]+/g)) {
        if (texts.has(word)) next.push({ file, name: word, title: word })
        const from = imported.get(word)
        if (from !== undefined) next.push({ ...from, title: from.name })
      }
    }
    queue = next
  }
  return sections.join('\n\n') + '\n'
}

const api = suite('api')

api('the public surface is what it was', () => {
  const now = surface()
  if (process.env['WIRELET_UPDATE'] === '1') writeFileSync(SNAPSHOT, now)
  assert.ok(existsSync(SNAPSHOT), `${SNAPSHOT} is missing: npm run update-snapshots`)
  assert.fixture(now, readFileSync(SNAPSHOT, 'utf8'))
})

api('run time exports are those of the declarations', async () => {
  const exported = Object.keys(await import(pathToFileURL(join(DIST, 'index.js')).href) as object).sort()
  const typesOnly = new Set([...readFileSync(join(DIST, 'index.d.ts'), 'utf8').matchAll(/export type \{([^}]*)\}/g)].flatMap(match => match[1]!.split(',').map(name => name.trim())))
  const declared = [...declarationsOf(join(DIST, 'index.d.ts')).exported]
    .filter(([name]) => !typesOnly.has(name))
    .filter(([, { file, name }]) => /^export declare (?:abstract )?(?:class|const|function)/.test(declarationsOf(file).texts.get(name) ?? ''))
    .map(([name]) => name)
    .sort()
  assert.equal(exported, declared)
})

api('every exported name says what it is for', () => {
  const undocumented: string[] = []
  for (const { file, name } of declarationsOf(join(DIST, 'index.d.ts')).exported.values()) {
    const lines = readFileSync(file, 'utf8').split('\n')
    const at = lines.findIndex(line => new RegExp(`^export (?:declare )?(?:abstract )?(?:class|interface|type|function|const) ${name}\\b`).test(line))
    if (!/\*\/\s*$/.test(lines[at - 1] ?? '')) undocumented.push(name)
  }
  assert.equal(undocumented, [])
})

api.run()
