// Target `chunked`: content alone through ChunkedDecoder, against the model; more of it, and longer, than the connections of target `parser` carry.
// Invariants: those of `parser`; and what follows the content is not touched.

import { ChunkedDecoder } from '../src/parser/chunked-decoder.ts'
import { peerErrorInfo } from '../src/parser/errors.ts'
import { cutAt, poisonedWindow, randomCuts } from '../test/support/splits.ts'
import { Dice } from './dice.ts'
import { readChunks, settingsOf, type ModelLimits, type ModelRequest } from './model.ts'
import { mutated } from './mutate.ts'
import { limitsOf } from './observe.ts'
import { catching, smallerTexts, type Target } from './target.ts'

export interface ChunkedCase {
  input: string
  limits?: Partial<ModelLimits>
  seed?: number
}

let runs = 0

export const chunkedTarget: Target<ChunkedCase> = {
  name: 'chunked',
  guidedBy: ['src/parser/chunked-decoder', 'src/parser/trailers', 'src/parser/bytes'],
  batch: 200,
  executions: () => runs,

  generate(dice, kept) {
    const one: ChunkedCase = { input: mutated(dice, kept.map(each => each.input), true), seed: dice.below(1e9) }
    if (dice.chance(0.3)) {
      const keys = ['fieldLine', 'chunkDigits', 'chunkExt', 'trailers', 'trailerFields', 'body'] as const
      one.limits = { [dice.one(keys)]: dice.below(dice.chance(0.5) ? 6 : 60) }
    }
    return one
  },

  check: catching(disagreement),

  * smaller(one) {
    if (one.limits !== undefined) yield { input: one.input }
    for (const input of smallerTexts(one.input)) yield { ...one, input }
  }
}

function disagreement(one: ChunkedCase): string {
  const settings = settingsOf(one)
  const place: ModelRequest = {
    start: 0, contentStart: 0, end: 0, method: '', target: '', version: '1.1', fields: [], framing: 'chunked', content: '', trailers: [],
    keepAlive: true, expectContinue: false, upgrade: false
  }
  const verdict = readChunks(one.input, place, settings)
  const bytes = Buffer.from(one.input, 'latin1')
  const decoder = new ChunkedDecoder(limitsOf(settings))
  const whole = run([bytes], decoder)
  const said = `\n  decoder: ${JSON.stringify(whole)}\n  model: ${JSON.stringify(verdict)}`
  if (whole.content !== place.content) return `other content${said}`
  if (!('kind' in verdict)) {
    if (!whole.done || whole.consumed !== place.end) return `does not end at ${place.end}${said}`
    if (JSON.stringify(whole.trailers) !== JSON.stringify(place.trailers.flat())) return `other trailers${said}`
  } else if (verdict.kind === 'error') {
    if (!verdict.statuses.includes(whole.status)) return `not refused with ${verdict.statuses.join(' or ')}${said}`
    if (whole.offset > verdict.to) return `the error is at ${whole.offset}, behind ${verdict.to}${said}`
  } else if (whole.status !== 0 ? !(verdict.kind === 'incomplete' && verdict.may.includes(whole.status)) : whole.done) {
    return `not incomplete${said}`
  }
  const expected = JSON.stringify(whole)
  const { next } = new Dice(one.seed ?? 1)
  const splits: number[][] = [Array.from({ length: Math.max(bytes.length - 1, 0) }, (_, i) => i + 1)]
  if (bytes.length <= 120) for (let cut = 1; cut < bytes.length; cut++) splits.push([cut])
  else for (let n = 0; n < 6; n++) splits.push(randomCuts(bytes.length, next))
  for (const cuts of splits) {
    const seen = JSON.stringify(run(cutAt(bytes, cuts), decoder))
    if (seen !== expected) return `cut at ${cuts.length > 20 ? 'every octet' : cuts.join(' ')}:\n  ${seen}\nwhole:\n  ${expected}`
  }
  return ''
}

interface Run {
  content: string
  done: boolean
  consumed: number
  trailers: string[]
  status: number
  code: string
  offset: number
}

function run(pieces: readonly Buffer[], decoder: ChunkedDecoder): Run {
  runs++
  const seen: Run = { content: '', done: false, consumed: 0, trailers: [], status: 0, code: '', offset: 0 }
  const sink = { onContent: (data: Buffer, from: number, to: number): void => void (seen.content += data.toString('latin1', from, to)) }
  decoder.reset()
  for (const piece of pieces) {
    if (decoder.done || piece.length === 0) break
    const { bytes, start, end } = poisonedWindow(piece)
    const result = decoder.decode(bytes, start, end, sink)
    if (result < 0) {
      const { status, name } = peerErrorInfo(-result)
      return { ...seen, status, code: name, offset: decoder.errorOffset, consumed: 0 }
    }
    seen.consumed += result - start
  }
  return { ...seen, done: decoder.done, trailers: decoder.done ? decoder.trailers : [] }
}
