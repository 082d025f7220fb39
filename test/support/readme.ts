// README's parts, for the tests that keep it true: its programs, and the texts between its markers.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './program.ts'

const FILE = join(ROOT, 'README.md')

export function readme(): string {
  return readFileSync(FILE, 'utf8')
}

export interface Block {
  readonly language: string
  readonly code: string
  /** For a test's name: the nearest heading above, and which block below it this is. */
  readonly title: string
}

/** Fenced code, in order. */
export function blocks(): Block[] {
  const found: Block[] = []
  let heading = ''
  let count = 0
  for (const match of readme().matchAll(/^#+ (.+)$|^```(\w+)\n([\s\S]*?)^```$/gm)) {
    if (match[1] !== undefined) {
      heading = match[1]
      count = 0
    } else {
      found.push({ language: match[2]!, code: match[3]!, title: `${heading} ${++count}` })
    }
  }
  return found
}

/** Whether a program is for CommonJS. */
export function isCommonJs(code: string): boolean {
  return /\brequire\(/.test(code)
}

/** The same program on any free port. */
export function onFreePort(code: string): string {
  return code.replaceAll('listen(8090)', 'listen(0)')
}

/** What stands between `<!-- name -->` and `<!-- /name -->`. */
export function section(name: string): string {
  return sectionPattern(name).exec(readme())?.[2] ?? ''
}

export function replaceSection(name: string, text: string): void {
  writeFileSync(FILE, readme().replace(sectionPattern(name), (_all, open: string, _old, close: string) => open + text + close))
}

function sectionPattern(name: string): RegExp {
  return new RegExp(`(<!-- ${name} -->\\n)([\\s\\S]*?)(<!-- /${name} -->)`)
}

/** Cells of a Markdown table's rows, without its head. */
export function rows(table: string): string[][] {
  return table.split('\n').filter(line => line.startsWith('|')).slice(2)
    .map(line => line.slice(1, -1).split(/(?<!\\)\|/).map(cell => cell.trim()))
}
