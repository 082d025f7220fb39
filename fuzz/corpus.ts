// fuzz/corpus/<target>.json: cases worth keeping, one a line. One that once failed has a name; the others reach what nothing smaller does.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Entry<Case = any> {
  /** What went wrong with it, once; '' when it is here for what it reaches. */
  name: string
  case: Case
}

// From build/fuzz, and from any other directory that stands beside `fuzz`.
const DIRECTORY = join(import.meta.dirname, '..', '..', 'fuzz', 'corpus')

export function loadCorpus<Case>(target: string): Entry<Case>[] {
  try {
    return JSON.parse(readFileSync(join(DIRECTORY, `${target}.json`), 'utf8')) as Entry<Case>[]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

export function saveCorpus(target: string, entries: readonly Entry[]): void {
  mkdirSync(DIRECTORY, { recursive: true })
  const lines = entries.map(entry => JSON.stringify(entry).replace(/[\x7f-\xff]/g, octet => `\\u00${octet.charCodeAt(0).toString(16)}`))
  writeFileSync(join(DIRECTORY, `${target}.json`), lines.length === 0 ? '[]\n' : `[\n${lines.join(',\n')}\n]\n`)
}
