// A run's results as Markdown. Pure.
import { machineLine } from './machine.ts'
import { between, figure, judge, ranked, spreadOf, subject, type LaneResult, type Results, type WorkResult } from './results.ts'
import type { Ratio } from './statistics.ts'

function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, i) => i === 0 ? '---' : '---:')), ...rows.map(line)].join('\n')
}

export function ratioText(ratio: Ratio | null): string {
  return ratio === null || Number.isNaN(ratio.ratio) ? '–' : `${ratio.ratio.toFixed(2)} (${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)})`
}

function header(results: Results): string {
  const versions = Object.entries(results.versions).map(([name, version]) => `${name} ${version}`).join(', ')
  return [
    `Taken ${results.date} with \`${results.command}\`.`,
    '',
    `* ${machineLine(results.machine)}`,
    `* ${results.rounds} interleaved rounds of ${results.seconds} s; load from ${results.load} (64 MiB messages and idle connections: from a helper in Node); ` +
      (results.pinned ? 'server and load each on a core of its own' : 'nothing pinned to a core'),
    `* ${versions}`,
    "* CPU time is the server process's, seen from outside (its threads and children included). Figures are medians, in brackets the rounds' least and most; of ratios, which are taken round by round, the 95 % interval.",
    ...(results.left.length > 0 ? ['* Not measured:', ...results.left.map(text => `  * ${text}`)] : [])
  ].join('\n')
}

function goals(results: Results): string {
  const rows = results.works.flatMap(work => work.goals.map(goal => {
    const { text, ratio, met } = judge(work, goal)
    return [work.title, text, ratioText(ratio), ratio === null ? 'not measured' : met ? 'met' : '**not met**']
  }))
  if (rows.length === 0) return ''
  return `## What must be reached\n\n${table(['work', 'must', 'is', ''], rows)}\n`
}

type Column = readonly [string, (lane: LaneResult) => string]

function columns(work: WorkResult): Column[] {
  const about = subject(work)
  const list: Column[] = [
    ['', lane => lane.name === about ? `**${lane.name}**` : lane.name],
    [work.unit, lane => {
      const { median, min, max } = spreadOf(lane)
      return Number.isNaN(median) ? '–' : `${figure(median)} (${figure(min)}–${figure(max)})`
    }]
  ]
  if (work.unit !== 'bytes/connection') {
    const per = work.unit === 'µs/request' ? '' : ', µs/MiB'
    list.push([`user${per}`, lane => figure(spreadOf(lane, s => s.user).median)], [`system${per}`, lane => figure(spreadOf(lane, s => s.system).median)])
  }
  if (work.lanes.some(lane => lane.name === 'node-http')) list.push(['÷ node-http', lane => ratioText(between(work, lane.name, 'node-http'))])
  list.push([`${about} ÷ it`, lane => lane.name === about ? '' : ratioText(between(work, about, lane.name))])
  if (work.unit === 'µs/request') {
    list.push(
      ['requests/s', lane => figure(spreadOf(lane, s => s.rate).median)],
      ['p50, ms', lane => figure(spreadOf(lane, s => s.p50).median)],
      ['p99, ms', lane => figure(spreadOf(lane, s => s.p99).median)]
    )
  } else if (work.unit === 'MiB/CPU s') list.push(['MiB/s', lane => figure(spreadOf(lane, s => s.rate).median)])
  if (work.lanes.some(lane => lane.samples.some(sample => sample.errors > 0))) {
    list.push(['errors', lane => String(lane.samples.reduce((sum, sample) => sum + sample.errors, 0))])
  }
  return list
}

function section(work: WorkResult): string {
  const list = columns(work)
  const rows = ranked(work).map(lane => list.map(([, cell]) => cell(lane)))
  return `## ${work.name}: ${work.title}\n\n${table(list.map(([name]) => name), rows)}\n`
}

export function markdown(results: Results): string {
  return ['# Benchmark', header(results), goals(results), ...results.works.map(section)].filter(text => text !== '').join('\n\n').replace(/\n{3,}/g, '\n\n')
}
