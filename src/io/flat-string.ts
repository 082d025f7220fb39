// V8 keeps what was joined by `+` as a tree until somebody needs its characters, and writing it out walks that tree each time.
import { Buffer } from 'node:buffer'

/** The same latin-1 text in one piece: for what is made once and written with many answers. */
export function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
