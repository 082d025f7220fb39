// What the parser room makes of the same octets, in the model's words: RequestParser and ChunkedDecoder fed piece by piece, as a connection would,
// each piece in a window of poisoned memory.

import { ChunkedDecoder } from '../src/parser/chunked-decoder.ts'
import { PeerErrorCode, peerErrorInfo } from '../src/parser/errors.ts'
import { DEFAULT_LIMITS, type Limits } from '../src/parser/limits.ts'
import { Framing, type RequestHead } from '../src/parser/request-head.ts'
import { RequestParser } from '../src/parser/request-parser.ts'
import { poisonedWindow } from '../test/support/splits.ts'
import type { ModelRequest, ModelSettings, Pair } from './model.ts'

export type Observed = Omit<ModelRequest, 'start' | 'contentStart' | 'end'>

export interface Observation {
  requests: Observed[]
  /** A request whose content is not all there. */
  partial: Observed | null
  ending: 'clean' | 'closed' | 'incomplete' | 'error'
  status: number
  code: string
  /** Of an error, from the beginning of the head, or of the content. */
  offset: number
  /** Where in the input the message of the error begins: its head, or its content. */
  base: number
  inContent: boolean
}

const DECLARED = new Set<number>(Object.values(PeerErrorCode))

export function limitsOf(settings: ModelSettings): Limits {
  const { limits } = settings
  return {
    ...DEFAULT_LIMITS,
    urlLengthLimit: limits.requestLine,
    maxFieldLine: limits.fieldLine,
    maxHead: limits.head,
    maxFields: limits.fields,
    maxLeadingEmptyLines: limits.emptyLines,
    maxChunkSizeDigits: limits.chunkDigits,
    maxChunkExt: limits.chunkExt,
    maxTrailers: limits.trailers,
    maxTrailerFields: limits.trailerFields,
    maxBodySize: limits.body
  }
}

export function parserFor(settings: ModelSettings): { parser: RequestParser, decoder: ChunkedDecoder } {
  const limits = limitsOf(settings)
  const parser = new RequestParser({ limits, acceptTransferEncodingWithContentLength: settings.teWithCl })
  parser.secure = settings.secure
  return { parser, decoder: new ChunkedDecoder(limits) }
}

/** A head in the model's words. */
export function observeHead(head: RequestHead): Observed {
  const { text, fields } = head
  const pairs: Pair[] = []
  for (let i = 0; i < fields.length; i += 4) pairs.push([text.slice(fields[i], fields[i + 1]), text.slice(fields[i + 2], fields[i + 3])])
  return {
    method: head.method,
    target: head.target,
    version: head.versionMinor === 1 ? '1.1' : '1.0',
    fields: pairs,
    framing: head.framing === Framing.CHUNKED ? 'chunked' : head.framing === Framing.LENGTH ? 'length' : 'none',
    content: '',
    trailers: [],
    keepAlive: head.keepAlive,
    expectContinue: head.expectContinue,
    upgrade: head.upgrade
  }
}

/** The pieces one after the other through a parser that may have been used before (it is reset first). */
export function observe(pieces: readonly Buffer[], { parser, decoder }: { parser: RequestParser, decoder: ChunkedDecoder }): Observation {
  const seen: Observation = { requests: [], partial: null, ending: 'clean', status: 0, code: '', offset: 0, base: 0, inContent: false }
  let held: Buffer = Buffer.alloc(0)
  let moves = 0
  let position = 0
  let head: RequestHead | null = null
  let remaining = 0
  let decoded = 0
  const sink = {
    onContent(bytes: Buffer, from: number, to: number): void {
      if (from >= to) throw new Error('an empty run of content')
      seen.partial!.content += bytes.toString('latin1', from, to)
    }
  }
  const fail = (code: number, offset: number): Observation => {
    if (!DECLARED.has(code)) throw new Error(`code ${code} is not declared`)
    const { name, status } = peerErrorInfo(code)
    return Object.assign(seen, { ending: 'error', status, code: name, offset, base: position, inContent: head !== null })
  }
  const finish = (): boolean => {
    const { keepAlive } = head!
    seen.requests.push(seen.partial!)
    seen.partial = null
    head = null
    if (!keepAlive) seen.ending = 'closed'
    return keepAlive
  }
  parser.reset()
  for (const piece of pieces) {
    let rest = piece
    while (rest.length > 0) {
      if (head === null) {
        // What is held moves to another place with every piece, as it may in the engine.
        const moved = poisonedWindow(Buffer.concat([held, rest]), 8 + (++moves % 5), 16)
        const { bytes, start, end } = moved
        const result = parser.execute(bytes, start, end)
        if (result < 0) {
          // Sticky: asked again, it says the same.
          if (parser.execute(bytes, start, end) !== result) throw new Error('an error is forgotten')
          return fail(-result, parser.errorOffset)
        }
        if (result === 0) {
          held = Buffer.from(bytes.subarray(start, end))
          break
        }
        head = parser.takeHead(bytes, start)
        held = Buffer.alloc(0)
        seen.partial = observeHead(head)
        remaining = head.contentLength
        decoder.reset()
        decoded = 0
        position += result
        // The head may not look at memory that it was only lent.
        rest = Buffer.from(bytes.subarray(start + result, end))
        bytes.fill(0xaa)
        if (observeHead(head).fields.join('\n') !== seen.partial.fields.join('\n')) throw new Error('the head is a view of lent memory')
        if (head.framing === Framing.NONE && !finish()) return seen
      } else if (head.framing === Framing.LENGTH) {
        const taken = Math.min(remaining, rest.length)
        seen.partial!.content += rest.toString('latin1', 0, taken)
        remaining -= taken
        position += taken
        rest = rest.subarray(taken)
        if (remaining === 0 && !finish()) return seen
      } else {
        const { bytes, start, end } = poisonedWindow(rest)
        const result = decoder.decode(bytes, start, end, sink)
        if (result < 0) {
          if (decoder.decode(bytes, start, end, sink) !== result) throw new Error('an error of the decoder is forgotten')
          return fail(-result, decoder.errorOffset)
        }
        if (!decoder.done && result !== end) throw new Error('the decoder stopped before the end')
        rest = rest.subarray(result - start)
        decoded += result - start
        if (decoder.done) {
          for (let i = 0; i < decoder.trailers.length; i += 2) seen.partial!.trailers.push([decoder.trailers[i]!, decoder.trailers[i + 1]!])
          position += decoded
          if (!finish()) return seen
        }
      }
    }
  }
  seen.ending = head !== null || parser.started ? 'incomplete' : 'clean'
  return seen
}
