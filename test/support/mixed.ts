// Much content of every kind, the same for the same seed, and its hash.
import { createHash } from 'node:crypto'
import type { Piece } from '../../src/server/application.ts'
import { random } from './splits.ts'

const MiB = 1 << 20

interface Source {
  noise: Buffer
  /** One byte a character in UTF-8, and some with two. */
  ascii: string
  wide: string
}

const sources = new Map<number, Source>()

/** One MiB to cut pieces from; made once for each seed. */
function sourceOf(seed: number): Source {
  const known = sources.get(seed)
  if (known !== undefined) return known
  const next = random(seed)
  const noise = Buffer.alloc(MiB)
  for (let i = 0; i < noise.length; i += 4) noise.writeUInt32LE((next() * 2 ** 32) >>> 0, i)
  const wide = noise.toString('latin1').replace(/[^\x20-\x7e]/g, 'é')
  const source = { noise, ascii: wide.replaceAll('é', 'e'), wide }
  sources.set(seed, source)
  return source
}

/** Strings and byte arrays of all sizes, one-byte and wide, until `total` bytes; the same for the same seed. */
export function* mixed(total: number, seed: number): Generator<Piece> {
  const { noise, ascii, wide } = sourceOf(seed)
  const next = random(seed + 1)
  for (let left = total; left > 0;) {
    const size = Math.floor(next() < 0.5 ? next() * 300 : next() * 200_000)
    const at = Math.floor(next() * (MiB - size))
    const kind = Math.floor(next() * 4)
    let piece: Piece = kind === 0 ? ascii.slice(at, at + size) : kind === 1 ? wide.slice(at, at + size) : kind === 2 ? noise.subarray(at, at + size) : new Uint8Array(noise.subarray(at, at + size))
    if (Buffer.byteLength(piece) > left) piece = Buffer.alloc(left, 'z')
    left -= Buffer.byteLength(piece)
    yield piece
  }
}

export function sha256(pieces: Iterable<Piece>): string {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}
