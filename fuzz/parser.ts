// Target `parser`: whole connections through RequestParser and ChunkedDecoder, against the model. Invariants, for every input, split and limit:
//  1. nothing throws; what fails, fails with a declared code, which is sticky, at an offset inside what the model says is wrong;
//  2. the requests before it are the model's, octet for octet: method, target, version, fields, framing, content, trailers, persistence;
//  3. the split changes nothing: not the requests, not the code, not the offset;
//  4. memory that was lent is not looked at again (poisoned windows);
//  5. a parser that has been through all this still reads a good request after reset().

import { cutAt, randomCuts } from '../test/support/splits.ts'
import { Dice } from './dice.ts'
import { model, MODEL_LIMITS, MODEL_SETTINGS, settingsOf, type ModelLimits, type ModelRequest, type Verdict } from './model.ts'
import { mutated } from './mutate.ts'
import { observe, parserFor, type Observation, type Observed } from './observe.ts'
import { catching, smallerTexts, type Target } from './target.ts'

export interface ParserCase {
  input: string
  limits?: Partial<ModelLimits>
  secure?: boolean
  teWithCl?: boolean
  /** Of the random splits. */
  seed?: number
}

const EVERY_CUT = 90
const GOOD = 'POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a="b"\r\nx\r\n0\r\nA: b\r\n\r\n'

let runs = 0
let used = parserFor(MODEL_SETTINGS)

export const parserTarget: Target<ParserCase> = {
  name: 'parser',
  guidedBy: ['src/parser/'],
  batch: 200,
  executions: () => runs,

  generate(dice, kept) {
    const one: ParserCase = { input: mutated(dice, kept.map(each => each.input)), seed: dice.below(1e9) }
    if (dice.chance(0.3)) one.limits = tinyLimits(dice)
    if (dice.chance(0.1)) one.secure = true
    if (dice.chance(0.15)) one.teWithCl = true
    return one
  },

  check: catching(disagreement),

  * smaller(one) {
    for (const option of ['limits', 'secure', 'teWithCl'] as const) {
      if (one[option] === undefined) continue
      const { [option]: _, ...rest } = one
      yield rest
    }
    for (const input of smallerTexts(one.input)) yield { ...one, input }
  }
}

/** Tiny ones now and then, so that short inputs reach them. */
function tinyLimits(dice: Dice): Partial<ModelLimits> {
  const limits: Partial<ModelLimits> = {}
  const keys = Object.keys(MODEL_LIMITS) as (keyof ModelLimits)[]
  for (let n = dice.below(3); n >= 0; n--) limits[dice.one(keys)] = dice.below(dice.chance(0.5) ? 8 : 80)
  return limits
}

function disagreement(one: ParserCase): string {
  const settings = settingsOf(one)
  const bytes = Buffer.from(one.input, 'latin1')
  const verdict = model(one.input, settings)
  const fresh = parserFor(settings)
  runs++
  const whole = observe([bytes], fresh)
  const wrong = compare(whole, verdict)
  if (wrong !== '') return wrong

  const expected = JSON.stringify(whole)
  for (const cuts of cutsOf(bytes.length, one.seed ?? 1)) {
    runs++
    const seen = JSON.stringify(observe(cutAt(bytes, cuts), fresh))
    if (seen !== expected) return `cut at ${cuts.length > 20 ? 'every octet' : cuts.join(' ')}:\n  ${seen}\nwhole:\n  ${expected}`
  }

  // One that lives long, with whatever limits it was made for, keeps nothing of what it was fed.
  runs += 2
  observe([bytes], used)
  const good = observe([Buffer.from(GOOD)], used)
  if (good.ending !== 'clean' || good.requests[0]?.content !== 'x' || good.requests[0].trailers.join() !== 'A,b') {
    used = parserFor(MODEL_SETTINGS)
    return `a good request after reset(): ${JSON.stringify(good)}`
  }
  return ''
}

function* cutsOf(length: number, seed: number): Generator<number[]> {
  if (length < 2) return
  const { next } = new Dice(seed)
  if (length < 3000) yield Array.from({ length: length - 1 }, (_, i) => i + 1)
  if (length <= EVERY_CUT) for (let cut = 1; cut < length; cut++) yield [cut]
  else for (let n = 0; n < 4; n++) yield [1 + Math.floor(next() * (length - 1))]
  for (let n = 0; n < 3; n++) yield randomCuts(length, next)
}

function plain(request: ModelRequest | Observed): string {
  const { method, target, version, fields, framing, content, trailers, keepAlive, expectContinue, upgrade } = request
  return JSON.stringify({ method, target, version, fields, framing, content, trailers, keepAlive, expectContinue, upgrade })
}

/** '' or how the parser and the model differ. */
export function compare(seen: Observation, { requests, ending }: Verdict): string {
  const said = `\n  parser: ${JSON.stringify(seen)}\n  model: ${JSON.stringify({ requests, ending })}`
  if (seen.requests.length !== requests.length) return `${seen.requests.length} requests, the model has ${requests.length}${said}`
  for (const [i, request] of requests.entries()) if (plain(seen.requests[i]!) !== plain(request)) return `request ${i} differs${said}`

  const partial = 'partial' in ending ? ending.partial : null
  if ((seen.partial === null) !== (partial === null)) return `content begun or not${said}`
  // A trailer section that is not complete shows none of its lines.
  if (partial !== null && plain(seen.partial!) !== plain({ ...partial, trailers: [] })) return `the unfinished request differs${said}`

  if (ending.kind === 'error') {
    if (seen.ending !== 'error') return `accepted: ${seen.ending}${said}`
    if (!ending.statuses.includes(seen.status)) return `status ${seen.status}, the model has ${ending.statuses.join(' or ')}${said}`
    if (seen.inContent !== ending.inContent || seen.base !== ending.from) return `the error is of another message${said}`
    const at = seen.base + seen.offset
    return at >= ending.from && at <= ending.to ? '' : `the error is at ${at}, not within ${ending.from}-${ending.to}${said}`
  }
  if (ending.kind === 'incomplete') {
    if (seen.ending === 'error') return ending.may.includes(seen.status) ? '' : `refused early with ${seen.status}${said}`
    return seen.ending === 'incomplete' ? '' : `not incomplete: ${seen.ending}${said}`
  }
  return seen.ending === ending.kind ? '' : `${seen.ending}, the model has ${ending.kind}${said}`
}
