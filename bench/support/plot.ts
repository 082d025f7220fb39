// A run's results as bars, in SVG by hand. It brings its own background, so it can be read on a light page and on a dark one. Pure.
import { figure, ranked, spreadOf, subject, type LaneResult, type Results, type WorkResult } from './results.ts'

const WIDTH = 860
const MARGIN = 24
const NAMES = 150
/** Right of the longest bar: room for its figures. */
const FIGURES = 170
const BAR = 16
const ROW = 24
const TITLE = 46
const GAP = 18
const FOOT = 44

const STYLE = `
  .page { fill: #ffffff } .title { font-weight: 600 } text { fill: #1f2328; font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Arial, sans-serif }
  .quiet { fill: #59636e; font-size: 12px } .bar { fill: #aeb8c4 } .ours { fill: #2f7de1 } .floor { fill: #d5dbe2 } .spread { stroke: #1f2328; stroke-width: 1.2 } .axis { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #f0f6fc } .quiet { fill: #9198a1 } .bar { fill: #56606c } .ours { fill: #4493f8 } .floor { fill: #333b45 }
    .spread { stroke: #f0f6fc } .axis { stroke: #3d444d }
  }`

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function kind(name: string): string {
  if (name.startsWith('wirelet')) return 'ours'
  return name.startsWith('raw-') ? 'floor' : 'bar'
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}"${attributes}>${escaped(content)}</text>`
}

/** Those that a bar can be drawn of. */
function drawable(work: WorkResult): LaneResult[] {
  return ranked(work).filter(lane => !Number.isNaN(spreadOf(lane).median))
}

/** Height first, then what is drawn from `top` on. */
function panel(work: WorkResult, top: number): [number, string[]] {
  const lanes = drawable(work)
  const longest = Math.max(...lanes.map(lane => spreadOf(lane).max), Number.MIN_VALUE)
  const left = MARGIN + NAMES
  const scale = (WIDTH - MARGIN - FIGURES - left) / longest
  const about = subject(work)
  const drawn = [
    text(MARGIN, top + 18, work.title, ' class="title"'),
    text(MARGIN, top + 35, `${work.unit === 'µs/request' ? 'CPU µs per request' : work.unit}, ${work.better} is better`, ' class="quiet"')
  ]
  const first = top + TITLE
  lanes.forEach((lane, i) => {
    const y = first + i * ROW
    const middle = y + BAR / 2
    const { median, min, max } = spreadOf(lane)
    const x = (value: number): string => (left + Math.max(value, 0) * scale).toFixed(1)
    drawn.push(
      text(left - 8, middle + 4.5, lane.name, ` text-anchor="end"${lane.name === about ? ' class="title"' : ''}`),
      `<rect class="${kind(lane.name)}" x="${left}" y="${y}" width="${(Math.max(median, 0) * scale).toFixed(1)}" height="${BAR}" rx="2"/>`,
      `<path class="spread" d="M${x(min)} ${middle}H${x(max)}M${x(min)} ${middle - 4}v8M${x(max)} ${middle - 4}v8"/>`,
      `<text x="${(left + Math.max(max, 0) * scale + 8).toFixed(1)}" y="${(middle + 4.5).toFixed(1)}">${figure(median)} <tspan class="quiet">(${figure(min)}–${figure(max)})</tspan></text>`
    )
  })
  const height = TITLE + lanes.length * ROW
  drawn.push(`<path class="axis" d="M${left} ${first - 4}V${first + lanes.length * ROW - 4}"/>`)
  return [height, drawn]
}

export function svg(results: Results, works: readonly WorkResult[] = results.works): string {
  const drawn: string[] = []
  let top = MARGIN - 8
  for (const work of works) {
    if (drawable(work).length === 0) continue
    const [height, lines] = panel(work, top)
    drawn.push(...lines)
    top += height + GAP
  }
  const { machine } = results
  const height = top + FOOT
  drawn.push(
    text(MARGIN, height - 32, `${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node.slice(1)}`, ' class="quiet"'),
    text(MARGIN, height - 15, `bars: medians of ${results.rounds} interleaved rounds; lines: least to most; ${results.date.slice(0, 10)}`, ' class="quiet"')
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
    `<title>${escaped(works.map(work => work.title).join('; '))}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="page" width="${WIDTH}" height="${height}" rx="6"/>`,
    ...drawn,
    '</svg>',
    ''
  ].join('\n')
}
