// The field names that the engine itself understands, recognised once per line by length, then letters. All other names are the application's.
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
  // Singletons from here on: two programs must not read two values of them (design §6).
  CONTENT_TYPE: 8,
  AUTHORIZATION: 9,
  PROXY_AUTHORIZATION: 10,
  RANGE: 11,
  IF_MODIFIED_SINCE: 12,
  IF_UNMODIFIED_SINCE: 13
} as const

export type FieldName = (typeof FieldName)[keyof typeof FieldName]

const HOST = octets('host')
const CONTENT_LENGTH = octets('content-length')
const TRANSFER_ENCODING = octets('transfer-encoding')
const CONNECTION = octets('connection')
const EXPECT = octets('expect')
const UPGRADE = octets('upgrade')
const TE = octets('te')
const CONTENT_TYPE = octets('content-type')
const AUTHORIZATION = octets('authorization')
const PROXY_AUTHORIZATION = octets('proxy-authorization')
const RANGE = octets('range')
const IF_MODIFIED_SINCE = octets('if-modified-since')
const IF_UNMODIFIED_SINCE = octets('if-unmodified-since')

/** Which of our names the token in `bytes[start,end)` is, in any case of ASCII. */
export function fieldNameOf(bytes: Buffer, start: number, end: number): FieldName {
  switch (end - start) {
    case 2:
      return equalsIgnoreCase(bytes, start, end, TE) ? FieldName.TE : FieldName.OTHER
    case 4:
      return equalsIgnoreCase(bytes, start, end, HOST) ? FieldName.HOST : FieldName.OTHER
    case 5:
      return equalsIgnoreCase(bytes, start, end, RANGE) ? FieldName.RANGE : FieldName.OTHER
    case 6:
      return equalsIgnoreCase(bytes, start, end, EXPECT) ? FieldName.EXPECT : FieldName.OTHER
    case 7:
      return equalsIgnoreCase(bytes, start, end, UPGRADE) ? FieldName.UPGRADE : FieldName.OTHER
    case 10:
      return equalsIgnoreCase(bytes, start, end, CONNECTION) ? FieldName.CONNECTION : FieldName.OTHER
    case 12:
      return equalsIgnoreCase(bytes, start, end, CONTENT_TYPE) ? FieldName.CONTENT_TYPE : FieldName.OTHER
    case 13:
      return equalsIgnoreCase(bytes, start, end, AUTHORIZATION) ? FieldName.AUTHORIZATION : FieldName.OTHER
    case 14:
      return equalsIgnoreCase(bytes, start, end, CONTENT_LENGTH) ? FieldName.CONTENT_LENGTH : FieldName.OTHER
    case 17:
      if (equalsIgnoreCase(bytes, start, end, TRANSFER_ENCODING)) return FieldName.TRANSFER_ENCODING
      return equalsIgnoreCase(bytes, start, end, IF_MODIFIED_SINCE) ? FieldName.IF_MODIFIED_SINCE : FieldName.OTHER
    case 19:
      if (equalsIgnoreCase(bytes, start, end, PROXY_AUTHORIZATION)) return FieldName.PROXY_AUTHORIZATION
      return equalsIgnoreCase(bytes, start, end, IF_UNMODIFIED_SINCE) ? FieldName.IF_UNMODIFIED_SINCE : FieldName.OTHER
    default:
      return FieldName.OTHER
  }
}
