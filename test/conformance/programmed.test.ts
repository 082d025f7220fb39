// The cases of the corpus that need more than octets, on both transports.
import { onEveryTransport } from '../support/harness.ts'
import { programmedCases } from './programmed.ts'

onEveryTransport('conformance', (h, test) => {
  for (const { id, what, run } of programmedCases) test(`${id}: ${what}`, () => run(h))
}).run()
