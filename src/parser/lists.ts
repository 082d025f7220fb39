// Fields whose value is a list (RFC 9110 §5.6.1): Connection, Transfer-Encoding, TE; and Expect, which is one member here.
// Each line adds its members, as bits, to what the lines before it said. Malformed values answer MALFORMED.
import { BACKSLASH, COMMA, DQUOTE, equalsIgnoreCase, octets, scanQdtext, scanToken, scanWhitespace } from './bytes.ts'

export const MALFORMED = -1

/** Options of Connection that mean something to us. */
export const ConnectionOption = { CLOSE: 1, KEEP_ALIVE: 2, UPGRADE: 4 } as const

/** What the Transfer-Encoding lines amount to. */
export const Codings = {
  /** At least one line. */
  PRESENT: 1,
  /** The last coding so far is chunked. */
  CHUNKED_LAST: 2,
  /** Chunked was applied before another coding, or twice. */
  CHUNKED_INSIDE: 4,
  /** A coding that nobody applies to a message: `identity` (RFC 7230 dropped it). */
  IDENTITY: 8,
  /** A coding that is not ours. */
  UNKNOWN: 16
} as const

const CLOSE = octets('close')
const KEEP_ALIVE = octets('keep-alive')
const UPGRADE = octets('upgrade')
const CHUNKED = octets('chunked')
const IDENTITY = octets('identity')
const TRAILERS = octets('trailers')
const HUNDRED_CONTINUE = octets('100-continue')

/** Connection = #connection-option, a token; empty members are ignored (rules CN-01, CN-09). `bits` plus this line's options, or MALFORMED. */
export function addConnectionOptions(bytes: Buffer, start: number, end: number, bits: number): number {
  let pos = start
  while (pos < end) {
    const option = scanWhitespace(bytes, pos, end)
    pos = scanToken(bytes, option, end)
    if (equalsIgnoreCase(bytes, option, pos, KEEP_ALIVE)) bits |= ConnectionOption.KEEP_ALIVE
    else if (equalsIgnoreCase(bytes, option, pos, CLOSE)) bits |= ConnectionOption.CLOSE
    else if (equalsIgnoreCase(bytes, option, pos, UPGRADE)) bits |= ConnectionOption.UPGRADE
    pos = scanWhitespace(bytes, pos, end)
    if (pos < end && bytes[pos++] !== COMMA) return MALFORMED
  }
  return bits
}

/**
 * Transfer-Encoding = #transfer-coding, narrowed: tokens without parameters and without empty members, since neither has an honest use in a
 * request and both are smugglers' tools (rules TE-07, TE-08). `bits` plus this line's codings, or MALFORMED.
 */
export function addTransferCodings(bytes: Buffer, start: number, end: number, bits: number): number {
  bits |= Codings.PRESENT
  let pos = start
  for (;;) {
    const coding = scanWhitespace(bytes, pos, end)
    pos = scanToken(bytes, coding, end)
    if (pos === coding) return MALFORMED
    if (bits & Codings.CHUNKED_LAST) bits = (bits & ~Codings.CHUNKED_LAST) | Codings.CHUNKED_INSIDE
    if (equalsIgnoreCase(bytes, coding, pos, CHUNKED)) bits |= Codings.CHUNKED_LAST
    else if (equalsIgnoreCase(bytes, coding, pos, IDENTITY)) bits |= Codings.IDENTITY
    else bits |= Codings.UNKNOWN
    pos = scanWhitespace(bytes, pos, end)
    if (pos === end) return bits
    if (bytes[pos++] !== COMMA) return MALFORMED
  }
}

/** Is `trailers` a member of this TE line (RFC 9110 §10.1.4)? Members with parameters are skipped, whatever is in them. */
export function acceptsTrailers(bytes: Buffer, start: number, end: number): boolean {
  let pos = start
  while (pos < end) {
    const member = scanWhitespace(bytes, pos, end)
    const memberEnd = scanToken(bytes, member, end)
    pos = scanWhitespace(bytes, memberEnd, end)
    if ((pos === end || bytes[pos] === COMMA) && equalsIgnoreCase(bytes, member, memberEnd, TRAILERS)) return true
    pos = skipMember(bytes, pos, end)
  }
  return false
}

// Behind the comma that ends this member; a comma inside a quoted-string is none.
function skipMember(bytes: Buffer, pos: number, end: number): number {
  let quoted = false
  for (; pos < end; pos++) {
    const octet = bytes[pos]
    if (quoted) {
      pos = scanQdtext(bytes, pos, end)
      if (bytes[pos] === BACKSLASH) pos++
      else quoted = false
    } else if (octet === DQUOTE) quoted = true
    else if (octet === COMMA) return pos + 1
  }
  return end
}

/** The one expectation there is, alone in its field (rules EX-01, EX-04). */
export function isHundredContinue(bytes: Buffer, start: number, end: number): boolean {
  return equalsIgnoreCase(bytes, start, end, HUNDRED_CONTINUE)
}
