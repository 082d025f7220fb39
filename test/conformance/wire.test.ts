// Every wire case of the corpus, whole and octet by octet, on both transports.
import { onEveryTransport } from '../support/harness.ts'
import { playAll, wireCases } from './cases.ts'

onEveryTransport('conformance', (h, test) => {
  for (const family of new Set(wireCases.map(({ id }) => id.split('-')[1]!))) {
    const members = wireCases.filter(({ id }) => id.split('-')[1] === family)
    test(`${family}: ${members.length} cases, whole`, () => playAll(h, members, false))
    test(`${family}: ${members.length} cases, octet by octet`, () => playAll(h, members, true))
  }
}).run()
