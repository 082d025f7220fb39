// The field names that the engine itself understands, recognised once per line by length and first letter, then all letters. All other names are the
// application's.
import { equalsIgnoreCase, octets } from './bytes.ts'

export const FieldName = {
  OTHER: 0,
  HOST: 1,
  CONTENT_LENGTH: 2,
  TRANSFER_ENCODING: 3,
  CONNECTION: 4,
  EXPECT: 5,
  UPGRADE: 6,
  TE: 7,
  // Singletons from here on: two programs must not read two values of them.
  CONTENT_TYPE: 8,
  AUTHORIZATION: 9,
  PROXY_AUTHORIZATION: 10,
  RANGE: 11,
  IF_MODIFIED_SINCE: 12,
  IF_UNMODIFIED_SINCE: 13
} as const

export type FieldName = (typeof FieldName)[keyof typeof FieldName]

const NAMES: readonly (readonly [name: string, FieldName])[] = [
  ['host', FieldName.HOST],
  ['content-length', FieldName.CONTENT_LENGTH],
  ['transfer-encoding', FieldName.TRANSFER_ENCODING],
  ['connection', FieldName.CONNECTION],
  ['expect', FieldName.EXPECT],
  ['upgrade', FieldName.UPGRADE],
  ['te', FieldName.TE],
  ['content-type', FieldName.CONTENT_TYPE],
  ['authorization', FieldName.AUTHORIZATION],
  ['proxy-authorization', FieldName.PROXY_AUTHORIZATION],
  ['range', FieldName.RANGE],
  ['if-modified-since', FieldName.IF_MODIFIED_SINCE],
  ['if-unmodified-since', FieldName.IF_UNMODIFIED_SINCE]
]

// No two of them share both length and first letter (a test sees to that), so at most one is compared, and for most fields none.
const WORDS: Uint8Array[] = []
const BY_LENGTH_AND_LETTER = new Uint8Array(32 * 32)
for (const [word, name] of NAMES) {
  WORDS[name] = octets(word)
  BY_LENGTH_AND_LETTER[word.length << 5 | word.charCodeAt(0) & 31] = name
}

/** Which of our names the token in `bytes[start,end)` is, in any case of ASCII. */
export function fieldNameOf(bytes: Buffer, start: number, end: number): FieldName {
  const name = BY_LENGTH_AND_LETTER[(end - start & 31) << 5 | bytes[start]! & 31] as FieldName
  return name !== FieldName.OTHER && equalsIgnoreCase(bytes, start, end, WORDS[name]!) ? name : FieldName.OTHER
}
