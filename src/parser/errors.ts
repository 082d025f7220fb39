// The one table of what a peer can do wrong: numeric code, name, status and reason.
// The core returns codes and never builds an Error; texts are fixed, so no octet of a request can appear in an answer.

/** Numeric codes of peer errors. Names and numbers are llhttp's where it has one (< 100); ours start at 100. */
export const PeerErrorCode = {
  LF_EXPECTED: 3,
  INVALID_METHOD: 6,
  INVALID_URL: 7,
  INVALID_CONSTANT: 8,
  INVALID_VERSION: 9,
  INVALID_HEADER_TOKEN: 10,
  INVALID_CONTENT_LENGTH: 11,
  INVALID_CHUNK_SIZE: 12,
  INVALID_TRANSFER_ENCODING: 15,
  UNEXPECTED_SPACE: 30,
  CR_EXPECTED: 25,
  UNEXPECTED_CONTENT_LENGTH: 4,
  UNEXPECTED_START: 100,
  URL_TOO_LONG: 101,
  FIELD_LINE_TOO_LONG: 102,
  HEAD_TOO_LONG: 103,
  TOO_MANY_FIELDS: 104,
  INVALID_FIELD_VALUE: 105,
  OBSOLETE_FOLD: 106,
  MISSING_HOST: 107,
  DUPLICATE_HOST: 108,
  INVALID_HOST: 109,
  DUPLICATE_CONTENT_LENGTH: 110,
  DUPLICATE_SINGLETON: 111,
  UNSUPPORTED_TRANSFER_CODING: 112,
  TRANSFER_ENCODING_IN_1_0: 113,
  INVALID_CONNECTION: 114,
  EXPECTATION_FAILED: 115,
  CONNECT_REFUSED: 116,
  TRACE_WITH_CONTENT: 117,
  INVALID_CHUNK_EXT: 118,
  CHUNK_EXT_TOO_LONG: 119,
  CHUNK_END_EXPECTED: 120,
  INVALID_TRAILER: 121,
  FORBIDDEN_TRAILER: 122,
  TRAILERS_TOO_LONG: 123,
  TOO_MANY_EMPTY_LINES: 124,
  BODY_TOO_LARGE: 125,
  INCOMPLETE_HEAD: 126,
  INCOMPLETE_CONTENT: 127,
  HEAD_TIMEOUT: 128,
  BODY_TIMEOUT: 129,
  REQUEST_TIMEOUT: 130,
  HANDLER_TIMEOUT: 131
} as const

export type PeerErrorCode = (typeof PeerErrorCode)[keyof typeof PeerErrorCode]

/** What is known of a code: its public name, the status it is answered with and the reason that the peer reads. */
export interface PeerErrorInfo {
  readonly name: `HPE_${string}`
  readonly status: number
  readonly reason: string
}

const E = PeerErrorCode
const TABLE: Readonly<Record<number, readonly [status: number, reason: string]>> = {
  [E.LF_EXPECTED]: [400, 'a CR is not followed by LF'],
  [E.INVALID_METHOD]: [400, 'the method is not a token'],
  [E.INVALID_URL]: [400, 'the request-target is invalid'],
  [E.INVALID_CONSTANT]: [400, 'the request line does not end in an HTTP version'],
  [E.INVALID_VERSION]: [505, 'only HTTP/1.0 and HTTP/1.1 are spoken here'],
  [E.INVALID_HEADER_TOKEN]: [400, 'a field name is not a token'],
  [E.INVALID_CONTENT_LENGTH]: [400, 'Content-Length is not a number'],
  [E.INVALID_CHUNK_SIZE]: [400, 'a chunk size is not a hexadecimal number'],
  [E.INVALID_TRANSFER_ENCODING]: [400, 'Transfer-Encoding is invalid'],
  [E.UNEXPECTED_SPACE]: [400, 'whitespace where none is allowed'],
  [E.CR_EXPECTED]: [400, 'a line does not end in CRLF'],
  [E.UNEXPECTED_CONTENT_LENGTH]: [400, 'Content-Length and Transfer-Encoding in one message'],
  [E.UNEXPECTED_START]: [400, 'unexpected bytes before the request line'],
  [E.URL_TOO_LONG]: [414, 'the request line is too long'],
  [E.FIELD_LINE_TOO_LONG]: [431, 'a field line is too long'],
  [E.HEAD_TOO_LONG]: [431, 'the header section is too long'],
  [E.TOO_MANY_FIELDS]: [431, 'too many field lines'],
  [E.INVALID_FIELD_VALUE]: [400, 'a field value has an invalid character'],
  [E.OBSOLETE_FOLD]: [400, 'a field line is folded'],
  [E.MISSING_HOST]: [400, 'Host is missing'],
  [E.DUPLICATE_HOST]: [400, 'more than one Host'],
  [E.INVALID_HOST]: [400, 'Host is invalid'],
  [E.DUPLICATE_CONTENT_LENGTH]: [400, 'more than one Content-Length'],
  [E.DUPLICATE_SINGLETON]: [400, 'a field that may stand only once is repeated'],
  [E.UNSUPPORTED_TRANSFER_CODING]: [501, 'a transfer coding is not supported'],
  [E.TRANSFER_ENCODING_IN_1_0]: [400, 'Transfer-Encoding in HTTP/1.0'],
  [E.INVALID_CONNECTION]: [400, 'Connection is invalid'],
  [E.EXPECTATION_FAILED]: [417, 'the expectation cannot be met'],
  [E.CONNECT_REFUSED]: [501, 'this server does not tunnel'],
  [E.TRACE_WITH_CONTENT]: [400, 'TRACE with content'],
  [E.INVALID_CHUNK_EXT]: [400, 'a chunk extension is invalid'],
  [E.CHUNK_EXT_TOO_LONG]: [400, 'the chunk extensions are too long'],
  [E.CHUNK_END_EXPECTED]: [400, 'the data of a chunk are not followed by CRLF'],
  [E.INVALID_TRAILER]: [400, 'a trailer field line is invalid'],
  [E.FORBIDDEN_TRAILER]: [400, 'a field that may not stand in trailers'],
  [E.TRAILERS_TOO_LONG]: [431, 'the trailer section is too long'],
  [E.TOO_MANY_EMPTY_LINES]: [400, 'too many empty lines before the request line'],
  [E.BODY_TOO_LARGE]: [413, 'the content is too large'],
  [E.INCOMPLETE_HEAD]: [400, 'the connection ended inside the header section'],
  [E.INCOMPLETE_CONTENT]: [400, 'the connection ended inside the content'],
  [E.HEAD_TIMEOUT]: [408, 'the header section took too long'],
  [E.BODY_TIMEOUT]: [408, 'the content took too long'],
  [E.REQUEST_TIMEOUT]: [408, 'the request took too long'],
  [E.HANDLER_TIMEOUT]: [503, 'the application took too long']
}

const INFO: PeerErrorInfo[] = []
for (const [key, code] of Object.entries(PeerErrorCode)) {
  const [status, reason] = TABLE[code]!
  INFO[code] = Object.freeze({ name: `HPE_${key}` as const, status, reason })
}

/** The table's row for a code. Total over `PeerErrorCode`. */
export function peerErrorInfo(code: number): PeerErrorInfo {
  return INFO[code]!
}
