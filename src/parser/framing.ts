// How the content of a request is delimited: one function under the list of RFC 9112 §6.3, and the number that Content-Length is.
// Knows neither lines nor positions; the lines have been read into bits and a number before.
import { isDigit } from './bytes.ts'
import { PeerErrorCode } from './errors.ts'
import { Codings } from './lists.ts'
import { Framing } from './request-head.ts'

/** No Content-Length line. */
export const ABSENT = -1

/** Content-Length = 1*DIGIT, exactly as a double (2^53 - 1 at most); -1 for anything else. Leading zeros are decimal. */
export function parseContentLength(bytes: Buffer, start: number, end: number): number {
  if (start === end) return -1
  let length = 0
  for (let pos = start; pos < end; pos++) {
    if (!isDigit(bytes[pos]!)) return -1
    length = length * 10 + (bytes[pos]! - 0x30)
    // Exact up to the limit (the digit is subtracted first: a larger sum in between would round), and above it whatever it rounds to.
    if (length > Number.MAX_SAFE_INTEGER) return -1
  }
  return length
}

/**
 * The framing, or minus a PeerErrorCode. `codings`: bits of all Transfer-Encoding lines; `contentLength`: ABSENT or the only line's number.
 * With `acceptBoth` Transfer-Encoding wins over Content-Length, and the caller closes the connection afterwards (§6.1).
 */
export function decideFraming(versionMinor: 0 | 1, codings: number, contentLength: number, acceptBoth: boolean): number {
  // RFC 9112 §6.3:
  // 1. A response to HEAD, or 1xx, 204, 304. (irrelevant to requests)
  // 2. A 2xx response to CONNECT. (irrelevant to requests; CONNECT itself is refused)
  // 3. Transfer-Encoding and Content-Length: an attempt at smuggling. Refused, unless the leniency lets Transfer-Encoding override.
  //    §6.1: a client MUST NOT send Transfer-Encoding in HTTP/1.0, so its framing is faulty whatever it says.
  // 4. Transfer-Encoding with chunked as the final coding: chunked. Not final: the length is unknowable, 400.
  //    §6.1: a coding before it that is not understood: 501; chunked twice: 400. identity, which RFC 7230 dropped: 400.
  if (codings & Codings.PRESENT) {
    if (versionMinor === 0) return -PeerErrorCode.TRANSFER_ENCODING_IN_1_0
    if (contentLength !== ABSENT && !acceptBoth) return -PeerErrorCode.UNEXPECTED_CONTENT_LENGTH
    if (!(codings & Codings.CHUNKED_LAST)) return -PeerErrorCode.INVALID_TRANSFER_ENCODING
    if (codings & (Codings.CHUNKED_INSIDE | Codings.IDENTITY)) return -PeerErrorCode.INVALID_TRANSFER_ENCODING
    if (codings & Codings.UNKNOWN) return -PeerErrorCode.UNSUPPORTED_TRANSFER_CODING
    return Framing.CHUNKED
  }
  // 5. An invalid Content-Length, or one that is repeated in any way: 400. (done where its line is read)
  // 6. A valid Content-Length: that many octets. Fewer are an incomplete request.
  if (contentLength !== ABSENT) return contentLength === 0 ? Framing.NONE : Framing.LENGTH
  // 7. A request with neither: no content.
  return Framing.NONE
  // 8. A response without a declared length. (irrelevant to requests)
}
