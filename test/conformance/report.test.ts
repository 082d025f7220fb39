// The corpus is whole: no rule and no advisory without a case, and docs/conformance.md says what the run says.
import { existsSync, readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { advisories, rules } from './cases.ts'
import { casesOf, collect, DOCUMENT, render } from './report.ts'

const report = suite('conformance/report')
const rows = await collect()

report('every rule has a case, and every case a rule', () => {
  const ids = rules.map(rule => rule.id)
  assert.is(new Set(ids).size, ids.length)
  assert.equal(ids.filter(id => !rows.some(row => row.rules.includes(id))), [])
  assert.equal(rows.filter(row => row.rules.some(id => !ids.includes(id))).map(row => row.id), [])
  assert.is(new Set(rows.map(row => row.id)).size, rows.length)
})

report('every advisory has a case that exists', () => {
  assert.equal(advisories.flatMap(({ id, cases }) => cases.filter(name => casesOf([name], rows).length === 0).map(name => `${id}: ${name}`)), [])
  assert.ok(advisories.every(({ cases }) => cases.length > 0))
})

report('no test that a rule points at is missing', () => {
  const root = new URL('../../../', import.meta.url)
  const named = rules.flatMap(rule => rule.also?.split(', ') ?? [])
  assert.equal(named.filter(file => !existsSync(new URL(file, root))), [])
})

report('docs/conformance.md is what the run says: node build/test/conformance/report.js', () => {
  assert.is(readFileSync(DOCUMENT, 'utf8'), render(rows))
})

report.run()
