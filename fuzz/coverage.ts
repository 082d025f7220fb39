// Which blocks of the built code ran since the last question: V8's precise coverage through the inspector, asked once a batch.

import { readFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { fileURLToPath } from 'node:url'

interface ScriptCoverage {
  url: string
  functions: { functionName: string, ranges: { startOffset: number, endOffset: number, count: number }[] }[]
}

/** Per file, for every octet of it, whether it ran. */
export type Snapshot = Map<string, Uint8Array>

export class Coverage {
  private readonly session = new Session()
  private readonly root: string
  private readonly rooms: readonly string[]
  /** What has ever run. */
  private readonly reached: Snapshot = new Map()
  /** What stands in a function. */
  private readonly code: Snapshot = new Map()

  /** `root` is the URL of the build, `rooms` the beginnings of the paths below it that count (`src/parser/`). */
  constructor(root: string, rooms: readonly string[]) {
    this.root = root
    this.rooms = rooms
    this.session.connect()
    this.ask('Profiler.enable')
    this.ask('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
    this.snapshot()
  }

  /** What ran since the last call. */
  snapshot(): Snapshot {
    const { result } = this.ask('Profiler.takePreciseCoverage') as { result: ScriptCoverage[] }
    const now: Snapshot = new Map()
    for (const script of result) {
      if (!script.url.startsWith(this.root)) continue
      const file = script.url.slice(this.root.length)
      if (this.rooms.some(room => file.startsWith(room))) now.set(file, this.read(file, script))
    }
    return now
  }

  /** Of a snapshot, the octets that never ran before, as `file:offset` of each run of them. */
  fresh(now: Snapshot): string[] {
    const found: string[] = []
    for (const [file, ran] of now) {
      const reached = this.reached.get(file)
      let inside = false
      for (let i = 0; i < ran.length; i++) {
        const is = ran[i] === 1 && reached?.[i] !== 1
        if (is && !inside) found.push(`${file}:${i}`)
        inside = is
      }
    }
    return found
  }

  /** Whether a snapshot has the same runs as an earlier `fresh`. */
  static has(now: Snapshot, runs: readonly string[]): boolean {
    return runs.every(run => {
      const [file, at] = run.split(':') as [string, string]
      return now.get(file)?.[Number(at)] === 1
    })
  }

  merge(now: Snapshot): void {
    for (const [file, ran] of now) {
      const reached = this.reached.get(file)
      if (reached === undefined) this.reached.set(file, ran.slice())
      else for (let i = 0; i < ran.length; i++) reached[i]! |= ran[i]!
    }
  }

  forget(): void {
    this.reached.clear()
  }

  /** The share of the code in functions that ever ran, and the lines that never did. */
  report(): { share: number, missing: string[] } {
    let all = 0
    let ran = 0
    const missing: string[] = []
    for (const [file, code] of this.code) {
      const reached = this.reached.get(file) ?? new Uint8Array(code.length)
      code.forEach((each, i) => {
        all += each
        ran += each & reached[i]!
      })
      missing.push(...this.linesMissing(file, code, reached))
    }
    return { share: all === 0 ? 0 : ran / all, missing }
  }

  close(): void {
    this.ask('Profiler.stopPreciseCoverage')
    this.session.disconnect()
  }

  private read(file: string, script: ScriptCoverage): Uint8Array {
    let code = this.code.get(file)
    if (code === undefined) {
      code = new Uint8Array(readFileSync(fileURLToPath(script.url), 'utf8').length)
      this.code.set(file, code)
    }
    // Ranges are nested: an inner one, which comes later, decides for its octets.
    const ran = new Uint8Array(code.length)
    for (const { ranges, functionName } of script.functions) {
      for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset)
      if (functionName !== '') code.fill(1, ranges[0]!.startOffset, ranges[0]!.endOffset)
    }
    for (let i = 0; i < ran.length; i++) ran[i]! &= code[i]!
    return ran
  }

  private linesMissing(file: string, code: Uint8Array, reached: Uint8Array): string[] {
    const lines: string[] = []
    let at = 0
    for (const [number, line] of readFileSync(new URL(file, this.root), 'utf8').split('\n').entries()) {
      const from = at + line.length - line.trimStart().length
      const to = at + line.length
      at = to + 1
      if (!/[a-z]/.test(line) || /^(?:\/\/|\/?\*)/.test(line.trim())) continue
      const counts = (octets: Uint8Array): number => octets.subarray(from, to).reduce((sum, each) => sum + each, 0)
      if (counts(code) === to - from && counts(reached) === 0) lines.push(`${file}:${number + 1}: ${line.trim()}`)
    }
    return lines
  }

  private ask(method: string, params: object = {}): unknown {
    let answer: unknown
    let failure: Error | null = null
    this.session.post(method, params, (error, result) => {
      failure = error
      answer = result
    })
    if (failure !== null) throw failure
    return answer
  }
}
