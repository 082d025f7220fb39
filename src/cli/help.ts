// The two texts that are made from the option table: one screen for `--help`, one table for README.
import { OPTIONS, type OptionRow, type Section } from './options.ts'

const COLUMN = 36
/** Two of these side by side make a line of the compact sections. */
const HALF = 48

/** What is off by default needs no `--no-`, though it has one. */
function spelled(row: OptionRow): string {
  if (row.kind === 'boolean') return row.standard === 'on' ? `--[no-]${row.flag}` : `--${row.flag}`
  return `--${row.flag} ${row.placeholder}${row.repeats === true ? '...' : ''}`
}

function rowsOf(section: Section): readonly OptionRow[] {
  return OPTIONS.filter(row => row.section === section)
}

function detailed(section: Section): string[] {
  return rowsOf(section).map(row => {
    const left = `  ${spelled(row)}`
    const standard = row.standard === '' ? '' : ` [${row.standard}]`
    return `${left.padEnd(COLUMN)} ${row.help}${standard}`
  })
}

/** Names and defaults only, filled down the columns. */
function compact(section: Section): string[] {
  const cells = rowsOf(section).map(row => `  ${spelled(row).padEnd(HALF - 10)}${row.standard}`)
  const height = Math.ceil(cells.length / 2)
  return cells.slice(0, height).map((cell, i) => `${cell.padEnd(HALF)}${cells[i + height] ?? ''}`.trimEnd())
}

export function helpText(): string {
  return [
    'Usage: wirelet [options] MODULE[:EXPORT]',
    'Serves the application that an ES module exports: EXPORT, else its default export, else `app`.',
    '',
    ...detailed('command'),
    ...detailed('server'),
    '  --help, --version',
    '',
    'Limits: bytes, or with k or m; off lifts one.',
    ...compact('limits'),
    '',
    'Times: 500ms, 30s, 5m; off waits for ever. Rates: bytes per second.',
    ...compact('timeouts'),
    '',
    'Signals: TERM and INT drain and end, a second one ends at once; HUP reads the certificates again;',
    'USR1 opens the access log again. Exit codes: 2 for a wrong command line, 1 for any other failure.',
    ''
  ].join('\n')
}

const UNIT: Readonly<Record<OptionRow['kind'], string>> = {
  text: '', choice: '', size: 'bytes', count: 'number', rate: 'bytes/s', duration: 'ms', keepalive: 'boolean, ms', boolean: 'boolean', pair: 'object'
}

/** README's table, in Markdown. Sizes and times as the command line has them; in code they are bytes and milliseconds. */
export function readmeTable(): string {
  const lines = OPTIONS.map(row => {
    const cells = [
      row.original === '' ? '' : `\`${row.original}\``,
      row.ours === '' ? '' : `\`${row.ours}\``,
      row.flag === '' ? '' : `\`${spelled(row)}\``,
      UNIT[row.kind],
      row.standard,
      row.help
    ]
    return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  })
  return ['| eventlet | `serve` | `wirelet` | unit | default | what it does |', '|---|---|---|---|---|---|', ...lines].join('\n')
}
