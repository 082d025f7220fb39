// One head that did not arrive whole: its octets kept together, and the parser that has seen them. Lent to a connection while it reads a head,
// so that an idle connection holds neither.
import { Buffer } from 'node:buffer'
import type { RequestHead } from '../parser/request-head.ts'
import type { RequestParser } from '../parser/request-parser.ts'
import { isPoisoned } from './poison.ts'

/** First allocation; doubled as needed, bounded by the parser's limits and one read. */
const START = 1024
/** Of a refused request's first line, what the log gets. */
export const REQUEST_LINE_MAX = 1024

export class HeadReader {
  private readonly parser: RequestParser
  private bytes: Buffer
  private length = 0

  constructor(parser: RequestParser, bytes: Buffer, start: number, end: number) {
    this.parser = parser
    this.bytes = Buffer.allocUnsafeSlow(roundUp(START, end - start))
    this.append(bytes, start, end)
  }

  /** As RequestParser.execute, but what is consumed is counted in `bytes` from `start` on. */
  execute(bytes: Buffer, start: number, end: number): number {
    const known = this.length
    this.append(bytes, start, end)
    const result = this.parser.execute(this.bytes, 0, this.length)
    return result > 0 ? result - known : result
  }

  takeHead(): RequestHead {
    return this.parser.takeHead(this.bytes, 0)
  }

  get errorOffset(): number {
    return this.parser.errorOffset
  }

  get asksForHead(): boolean {
    return this.parser.asksForHead(this.bytes, 0)
  }

  /** As far as it was received. */
  get requestLine(): string {
    return requestLine(this.bytes, 0, this.length)
  }

  /** The loan ends. */
  release(): RequestParser {
    if (isPoisoned()) this.bytes.fill(0xdb)
    return this.parser
  }

  private append(bytes: Buffer, start: number, end: number): void {
    const needed = this.length + end - start
    if (this.bytes.length < needed) {
      const larger = Buffer.allocUnsafeSlow(roundUp(this.bytes.length, needed))
      this.bytes.copy(larger, 0, 0, this.length)
      this.bytes = larger
    }
    bytes.copy(this.bytes, this.length, start, end)
    this.length = needed
  }
}

/** The first line of a head, complete or not, for the log. */
export function requestLine(bytes: Buffer, start: number, end: number): string {
  let from = start
  while (from < end && (bytes[from] === 0x0d || bytes[from] === 0x0a)) from++
  const text = bytes.toString('latin1', from, Math.min(end, from + REQUEST_LINE_MAX))
  const stop = text.search(/[\r\n]/)
  return stop < 0 ? text : text.slice(0, stop)
}

function roundUp(size: number, needed: number): number {
  while (size < needed) size *= 2
  return size
}
