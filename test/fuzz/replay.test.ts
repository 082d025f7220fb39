// Every case that a fuzzer has found worth keeping, once more: what failed once must not fail again, and what reached something still passes.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { chunkedTarget } from '../../fuzz/chunked.ts'
import { connectionTarget } from '../../fuzz/connection.ts'
import { loadCorpus } from '../../fuzz/corpus.ts'
import { encoderTarget } from '../../fuzz/encoder.ts'
import { environTarget } from '../../fuzz/environ.ts'
import { parserTarget } from '../../fuzz/parser.ts'
import { scannerTarget } from '../../fuzz/scanner.ts'
import type { Target } from '../../fuzz/target.ts'
import { isPoisoned, setPoison } from '../../src/io/poison.ts'
import { within } from '../support/within.ts'

const TARGETS: readonly Target[] = [parserTarget, scannerTarget, chunkedTarget, connectionTarget, encoderTarget, environTarget]

for (const target of TARGETS) {
  const test = suite(`fuzz corpus: ${target.name}`)
  const wasPoisoned = isPoisoned()
  const entries = loadCorpus(target.name)
  test.before(() => setPoison(true))
  test.after(async () => {
    await target.close?.()
    setPoison(wasPoisoned)
  })

  for (const { name, case: one } of entries.filter(entry => entry.name !== '')) {
    test(name, async () => assert.is(await within(10_000, Promise.resolve(target.check(one)), name), ''))
  }

  test('the cases that reach every part of the code', async () => {
    for (const { case: one } of entries.filter(entry => entry.name === '')) {
      const what = JSON.stringify(one)
      assert.is(await within(10_000, Promise.resolve(target.check(one)), what), '', what)
    }
  })

  test.run()
}
