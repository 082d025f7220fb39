// Target `scanner`: heads that lie in the scanner's memory against the same heads elsewhere, which RequestParser reads line by line by itself.
// Invariants, for every input, split, limit and place in the memory:
//  1. the same answer from every call, the same code at the same offset;
//  2. the same head, in every property;
//  3. what the memory holds behind the end (here: the rest of the input) is not taken for part of the head.

import { scanner } from '../src/parser/field-line-scanner.ts'
import type { RequestParser } from '../src/parser/request-parser.ts'
import { randomCuts } from '../test/support/splits.ts'
import { Dice } from './dice.ts'
import { settingsOf, type ModelLimits } from './model.ts'
import { mutated } from './mutate.ts'
import { parserFor } from './observe.ts'
import { catching, smallerTexts, type Target } from './target.ts'

export interface ScannerCase {
  input: string
  /** The beginning of the input, from the beginning of the memory, or from as far behind as it fits. */
  at?: number
  limits?: Partial<ModelLimits>
  seed?: number
}

let runs = 0

export const scannerTarget: Target<ScannerCase> = {
  name: 'scanner',
  guidedBy: ['src/parser/request-parser', 'src/parser/known-fields', 'src/parser/field-names'],
  batch: 400,
  executions: () => runs,

  generate(dice, kept) {
    const one: ScannerCase = { input: longer(dice, mutated(dice, kept.map(each => each.input))), at: dice.chance(0.2) ? 65_536 : dice.below(40), seed: dice.below(1e9) }
    if (dice.chance(0.3)) one.limits = { [dice.one(['requestLine', 'fieldLine', 'head', 'fields'] as const)]: dice.below(dice.chance(0.5) ? 8 : 120) }
    return one
  },

  check: catching(disagreement),

  * smaller(one) {
    const { limits, at, ...rest } = one
    if (limits !== undefined) yield { ...rest, ...(at === undefined ? {} : { at }) }
    if (at !== undefined) yield { ...rest, ...(limits === undefined ? {} : { limits }) }
    for (const input of smallerTexts(one.input)) yield { ...one, input }
  }
}

/** Runs of letters, blanks or anything here and there, so that what matters comes to lie at every place of a step of sixteen. */
function longer(dice: Dice, text: string): string {
  for (let n = dice.below(4); n > 0; n--) {
    const at = dice.below(text.length + 1)
    const filling = dice.one(['a', 'Z', '~', ' ', '\t', ':', '\xff', String.fromCharCode(dice.below(256))])
    const control = dice.chance(0.2) ? String.fromCharCode(dice.below(33)) : ''
    text = text.slice(0, at) + filling.repeat(dice.size(70)) + control + text.slice(at)
  }
  return text
}

function disagreement(one: ScannerCase): string {
  const { input, at = 0, seed = 1 } = one
  const settings = settingsOf(one)
  if (scanner === null) return 'there is no scanner here'
  const { memory } = scanner
  const bytes = Buffer.from(input, 'latin1').subarray(0, memory.length)
  const from = Math.min(at, memory.length - bytes.length)
  const { next } = new Dice(seed)
  for (const cuts of [[], Array.from({ length: Math.min(bytes.length, 400) }, (_, i) => i), randomCuts(bytes.length, next), randomCuts(bytes.length, next)]) {
    memory.fill(0xaa)
    bytes.copy(memory, from)
    runs++
    const wrong = compare(bytes, memory, from, [...cuts, bytes.length], parserFor(settings).parser, parserFor(settings).parser)
    if (wrong !== '') return `cut at ${cuts.join(' ')}: ${wrong}`
  }
  return ''
}

/** One head after the other, each end of `ends` in turn: what follows a head is taken for a head, content too. */
function compare(bytes: Buffer, memory: Buffer, from: number, ends: readonly number[], plain: RequestParser, scanning: RequestParser): string {
  let start = 0
  for (const end of ends) {
    while (start < end) {
      const result = plain.execute(bytes, start, end)
      const scanned = scanning.execute(memory, from + start, from + end)
      if (result !== scanned) return `${result}, scanned ${scanned}, of ${start}-${end}`
      if (plain.errorOffset !== scanning.errorOffset) return `error at ${plain.errorOffset}, scanned at ${scanning.errorOffset}, of ${start}-${end}`
      if (result < 0) return ''
      if (result === 0) break
      const head = JSON.stringify(plain.takeHead(bytes, start))
      const other = JSON.stringify(scanning.takeHead(memory, from + start))
      if (head !== other) return `\n  ${head}\nscanned:\n  ${other}`
      start += result
    }
  }
  return ''
}
