// Writes docs/conformance.md from a run of the corpus: rule, section, what we answer; advisories; what the fronts made of the same inputs.
//   node build/test/conformance/report.js
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { Harness } from '../support/harness.ts'
import { advisories, playAll, rules, wireCases } from './cases.ts'
import { programmedCases } from './programmed.ts'

const ROOT = new URL('../../../', import.meta.url)
export const DOCUMENT: URL = new URL('docs/conformance.md', ROOT)
const FRONTS = new URL('test/fronts/results.json', ROOT)

const LEVELS: Record<string, string> = { M: 'MUST', S: 'SHOULD', m: 'MAY', H: 'hardening', '-': 'other' }

interface Row {
  id: string
  rules: string[]
  what: string
  seen: string
}

interface FrontResults {
  versions: Record<string, string>
  inputs: { cases: number; mutations: number; seed: number }
  targets: { name: string; connections: number; sent: number; seen: number; desynchronised: number; refusedByFront: number; refusedByUs: number }[]
  disagreements: { front: string; what: string; count: number; example: string; why: string }[]
}

/** Every case with what was answered. */
export async function collect(): Promise<Row[]> {
  const harness = new Harness({ name: 'report', transport: 'stream', over: 'tcp' })
  let seen = new Map<string, string>()
  await harness.run(async () => {
    seen = await playAll(harness, wireCases, false)
  })
  return [...wireCases.map(({ id, rules, what }) => ({ id, rules, what, seen: seen.get(id)! })), ...programmedCases]
}

/** `W-CL-04-1` to `-14` are `W-CL-04-1 … 14`. */
function ranges(ids: string[]): string {
  const out: string[] = []
  for (let i = 0; i < ids.length; ) {
    const [, stem, number] = /^(.*-P?)([0-9]+)$/.exec(ids[i]!)!
    let last = i
    while (last + 1 < ids.length && ids[last + 1] === `${stem}${Number(number) + last + 1 - i}`) last++
    out.push(last === i ? ids[i]! : `${ids[i]!} … ${Number(number) + last - i}`)
    i = last + 1
  }
  return out.join(', ')
}

function cell(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\uffff]/g, c => JSON.stringify(c).slice(1, -1)).replaceAll('|', '\\|').replaceAll('<', '&lt;')
}

function counted(values: string[]): string {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].map(([value, n]) => (counts.size === 1 && n === 1 ? value : `${value} (${n})`)).join('; ')
}

function ruleTable(rows: Row[]): string[] {
  const lines = ['| rule | section | level | what it asks | what we answer | cases |', '|---|---|---|---|---|---|']
  for (const { id, section, level, rule, also } of rules) {
    const mine = rows.filter(row => row.rules.includes(id))
    const more = also === undefined ? '' : `; ${also}`
    lines.push(`| ${id} | ${section} | ${level} | ${cell(rule)} | ${counted(mine.map(row => row.seen))} | ${ranges(mine.map(row => row.id))}${more} |`)
  }
  return lines
}

function summary(rows: Row[]): string[] {
  const lines = ['| level | rules | cases |', '|---|---|---|']
  for (const [level, name] of Object.entries(LEVELS)) {
    const ids = rules.filter(rule => rule.level === level).map(rule => rule.id)
    lines.push(`| ${name} | ${ids.length} | ${rows.filter(row => ids.includes(row.rules[0]!)).length} |`)
  }
  lines.push(`| all | ${rules.length} | ${rows.length} |`)
  return lines
}

/** The cases of an advisory, `rule:…` resolved. */
export function casesOf(cases: string[], rows: Row[]): Row[] {
  return cases.flatMap(name => rows.filter(row => (name.startsWith('rule:') ? row.rules.includes(name.slice(5)) : row.id === name)))
}

function advisoryTable(rows: Row[], classes: boolean): string[] {
  const lines = [`| advisory | ${classes ? 'class' : 'project'} | our cases | answered |`, '|---|---|---|---|']
  for (const advisory of advisories) {
    if ((advisory.class !== undefined) !== classes) continue
    const mine = casesOf(advisory.cases, rows)
    const names = advisory.cases.map(name => (name.startsWith('rule:') ? ranges(casesOf([name], rows).map(row => row.id)) : name))
    lines.push(`| ${advisory.id} | ${cell(advisory.class ?? advisory.project)} | ${names.join(', ')} | ${counted(mine.map(row => row.seen))} |`)
  }
  return lines
}

function fronts(): string[] {
  if (!existsSync(FRONTS)) return ['`npm run test:fronts` has not been run.']
  const results = JSON.parse(readFileSync(FRONTS, 'utf8')) as FrontResults
  const lines = [
    `Versions: ${Object.entries(results.versions).map(([name, version]) => `${name} ${version}`).join(', ')}. Inputs: ${results.inputs.cases} cases of the corpus and ` +
      `${results.inputs.mutations} mutations of them (seed ${results.inputs.seed}), each on a connection of its own; behind it a fresh connection must get its own answer.`,
    '',
    '| target | connections | requests forwarded by the front | requests seen by Wirelet | desynchronised | refused by the front | refused by Wirelet |',
    '|---|---|---|---|---|---|---|',
    ...results.targets.map(t => `| ${t.name} | ${t.connections} | ${t.sent} | ${t.seen} | ${t.desynchronised} | ${t.refusedByFront} | ${t.refusedByUs} |`),
    '',
    '| with | disagreement | connections | example | why |',
    '|---|---|---|---|---|',
    ...results.disagreements.map(d => `| ${d.front} | ${cell(d.what)} | ${d.count} | ${cell(d.example)} | ${cell(d.why)} |`)
  ]
  return lines
}

export function render(rows: Row[]): string {
  return [
    '# Conformance: what Wirelet answers, rule by rule',
    '',
    'Generated by `node build/test/conformance/report.js` from a run of the corpus in `test/conformance/`; `npm test` fails when this file differs from the run.',
    'Every wire case is played on both transports, whole and octet by octet, and its connection goes on with one more request: behind what was accepted it must',
    'be answered, behind what was refused it must not. Sections: `9112§x` is RFC 9112, `9110§x` RFC 9110, `3986§x` RFC 3986.',
    '`400, close` is an answer with `Connection: close`, a half-close, and no octet of the connection interpreted after it. *cut* is a reset.',
    '',
    '## Cases by strictness',
    '',
    ...summary(rows),
    '',
    '## Rules',
    '',
    ...ruleTable(rows),
    '',
    '## Classes of attacks',
    '',
    ...advisoryTable(rows, true),
    '',
    '## Advisories and tracked bugs of other servers',
    '',
    ...advisoryTable(rows, false),
    '',
    '## Behind and beside other servers',
    '',
    'The same inputs through nginx and HAProxy as fronts, with Wirelet as the origin over kept-alive connections, and to `node:http` directly (`npm run test:fronts`).',
    'A connection is *desynchronised* when the origin saw a request, or content, that the front did not send as such.',
    'What a front sent and the application did not see, Wirelet refused (last column; it closes that upstream connection), or it was TRACE, which never reaches an',
    'application. In the row of `node:http` the requests that it answered stand in the place of those forwarded.',
    '',
    ...fronts(),
    '',
    '## Cases',
    '',
    '| case | sent | answered |',
    '|---|---|---|',
    ...rows.map(row => `| ${row.id} | ${cell(row.what)} | ${row.seen} |`),
    ''
  ].join('\n')
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const rows = await collect()
  writeFileSync(DOCUMENT, render(rows))
  process.stdout.write(`docs/conformance.md: ${rules.length} rules, ${rows.length} cases, ${advisories.length} advisories\n`)
}
