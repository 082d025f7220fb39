// Series over time as one SVG: a strip for each, its own scale from 0, the line that the verdict is about.

export interface Series {
  name: string
  unit: string
  values: readonly number[]
  /** Drawn over the second half: value at its start and end. */
  line?: readonly [number, number]
}

const WIDTH = 900
const STRIP = 130
const LEFT = 110
const TOP = 40

/** `times` in seconds. */
export function plot(title: string, times: readonly number[], series: readonly Series[]): string {
  const end = Math.max(times.at(-1) ?? 1, 1)
  const x = (time: number): number => LEFT + ((WIDTH - LEFT - 20) * time) / end
  const strips = series.map((each, i) => {
    const top = TOP + i * STRIP
    const bottom = top + STRIP - 30
    const most = Math.max(...each.values, 1e-9)
    const y = (value: number): number => bottom - ((bottom - top) * value) / most
    const points = each.values.map((value, at) => `${x(times[at]!).toFixed(1)},${y(value).toFixed(1)}`).join(' ')
    const fit = each.line === undefined ? '' : `<line x1="${x(end / 2)}" y1="${y(each.line[0])}" x2="${x(end)}" y2="${y(each.line[1])}" stroke="#c33" stroke-dasharray="6 4"/>`
    return `<text x="8" y="${top + 14}">${each.name}</text><text x="8" y="${top + 32}" fill="#666">max ${most.toFixed(1)} ${each.unit}</text>
<line x1="${LEFT}" y1="${bottom}" x2="${WIDTH - 20}" y2="${bottom}" stroke="#bbb"/><polyline points="${points}" fill="none" stroke="#247" stroke-width="1"/>${fit}`
  })
  const height = TOP + series.length * STRIP + 20
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/><text x="8" y="22" font-size="15">${title}</text>
${strips.join('\n')}
<text x="${LEFT}" y="${height - 6}" fill="#666">0</text><text x="${WIDTH - 20}" y="${height - 6}" fill="#666" text-anchor="end">${(end / 60).toFixed(1)} minutes</text>
</svg>
`
}
