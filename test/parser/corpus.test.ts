// The public conformance corpus, when it lies beside the project, through the parser room alone and at every split.
// The wire-level runner asks the same of the whole server; here a wrong answer points at the parser.
import { existsSync, readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { logConnection } from '../support/event-log.ts'
import { splitsOf } from '../support/splits.ts'

interface Case {
  id: string
  description: string
  request_b64: string
  expect: {
    outcome: 'accept' | 'reject'
    status: number[]
    requests: number
    close: boolean | null
    echo: [method: string, target: string, length: number][] | null
    body_len: number[] | null
    body_sha256: (string | null)[] | null
  }
}

const CORPUS = '../shared/conformance/corpus-public.json'
const corpus = suite('parser/corpus')

function verify({ id, description, request_b64, expect }: Case): void {
  for (const { name, pieces } of splitsOf(Buffer.from(request_b64, 'base64'))) {
    const log = logConnection(pieces, { headsOnly: true })
    const where = `${id} ${description}, split: ${name}\n${log.events.slice(-4).join('\n')}`
    assert.is(log.requests.length, expect.requests, `${where}\nrequests`)
    if (expect.outcome === 'accept') {
      assert.is(log.errorStatus, 0, where)
      if (expect.close !== null) assert.is(log.closed, expect.close, `${where}\nclose`)
    } else {
      assert.ok(expect.status.includes(log.errorStatus), `${where}\n${log.errorStatus} is not one of ${expect.status}`)
    }
    if (expect.echo) assert.equal(log.requests.map(request => [request.method, request.target, request.length]), expect.echo, where)
    if (expect.body_len) assert.equal(log.requests.map(request => request.length), expect.body_len, where)
    if (expect.body_sha256) assert.equal(log.requests.map(request => request.sha256), expect.body_sha256, where)
  }
}

if (existsSync(CORPUS)) {
  const cases = JSON.parse(readFileSync(CORPUS, 'utf8')) as Case[]
  for (const family of new Set(cases.map(({ id }) => id.replace(/-\d+$/, '')))) {
    const members = cases.filter(({ id }) => id.startsWith(`${family}-`))
    corpus(`${family}: ${members.length} cases`, () => members.forEach(verify))
  }
} else {
  corpus('is not beside the project: nothing to run', () => {})
}

corpus.run()
