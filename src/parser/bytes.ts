// Octet classes and the leaf scans over them: (bytes, pos, end) -> the first position that does not belong, or `end`.
// Knows no message and no state. Tables are built from the ABNF alphabets quoted beside them and stay private to this file,
// because a table imported into a per-octet loop costs twice as much.

export const HTAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SP = 0x20
export const DQUOTE = 0x22
export const COMMA = 0x2c
export const COLON = 0x3a
export const SEMICOLON = 0x3b
export const EQUALS = 0x3d
export const BACKSLASH = 0x5c

const DIGIT = '0123456789'
const ALPHA = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function range(first: number, last: number): string {
  let octets = ''
  for (let octet = first; octet <= last; octet++) octets += String.fromCharCode(octet)
  return octets
}

function table(members: string, except = ''): Uint8Array {
  const flags = new Uint8Array(256)
  for (const member of members) flags[member.charCodeAt(0)] = 1
  for (const member of except) flags[member.charCodeAt(0)] = 0
  return flags
}

// RFC 5234: VCHAR = %x21-7E. RFC 9110 §5.5: obs-text = %x80-FF
const VCHAR = range(0x21, 0x7e)
const OBS_TEXT = range(0x80, 0xff)

// RFC 9110 §5.6.2: token = 1*tchar
//   tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
const TCHAR = table("!#$%&'*+-.^_`|~" + DIGIT + ALPHA)

// request-target: VCHAR without "#" (a fragment is never sent) and without the four that no browser sends raw (rules RL-15 to RL-18).
// Rules, here and in other comments, are those of docs/conformance.md.
const TARGET = table(VCHAR, '#"<>\\')

// RFC 9110 §5.5: field-value = *( HTAB / SP / VCHAR / obs-text ) once folding is out
const FIELD_VALUE = table('\t ' + VCHAR + OBS_TEXT)

// RFC 9110 §5.6.4: qdtext = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text
const QDTEXT = table('\t ' + VCHAR + OBS_TEXT, '"\\')

// RFC 3986 §2.2, §2.3: unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"
//   sub-delims = "!" / "$" / "&" / "'" / "(" / ")" / "*" / "+" / "," / ";" / "="
const UNRESERVED = table(ALPHA + DIGIT + '-._~')
const REG_NAME = table(ALPHA + DIGIT + '-._~' + "!$&'()*+,;=")

// HEXDIG to its value, -1 elsewhere: arithmetic on letters accepts too much, parseInt far too much.
const HEX = new Int8Array(256).fill(-1)
for (let value = 0; value < 16; value++) {
  HEX['0123456789abcdef'.charCodeAt(value)] = value
  HEX['0123456789ABCDEF'.charCodeAt(value)] = value
}

export function isTchar(octet: number): boolean {
  return TCHAR[octet] === 1
}

/** HTAB / SP / VCHAR / obs-text: a field value's octet, and what may follow the backslash of a quoted-pair. */
export function isFieldValueOctet(octet: number): boolean {
  return FIELD_VALUE[octet] === 1
}

export function isUnreserved(octet: number): boolean {
  return UNRESERVED[octet] === 1
}

export function isDigit(octet: number): boolean {
  return octet >= 0x30 && octet <= 0x39
}

/** The value of a HEXDIG, or -1. */
export function hexValue(octet: number): number {
  return HEX[octet]!
}

// The three scans that nearly all octets of a head pass are hot, hence unrolled by the length of a typical run. Measured per octet on Node 20:
// one at a time 1.0-1.5 ns, four tables 0.7-1.0, eight tables 0.67, eight comparisons 0.51.

export function scanToken(bytes: Buffer, pos: number, end: number): number {
  for (const last = end - 4; pos <= last; pos += 4) {
    if (TCHAR[bytes[pos]!] === 0) return pos
    if (TCHAR[bytes[pos + 1]!] === 0) return pos + 1
    if (TCHAR[bytes[pos + 2]!] === 0) return pos + 2
    if (TCHAR[bytes[pos + 3]!] === 0) return pos + 3
  }
  while (pos < end && TCHAR[bytes[pos]!] === 1) pos++
  return pos
}

export function scanTarget(bytes: Buffer, pos: number, end: number): number {
  for (const last = end - 8; pos <= last; pos += 8) {
    if (TARGET[bytes[pos]!] === 0) return pos
    if (TARGET[bytes[pos + 1]!] === 0) return pos + 1
    if (TARGET[bytes[pos + 2]!] === 0) return pos + 2
    if (TARGET[bytes[pos + 3]!] === 0) return pos + 3
    if (TARGET[bytes[pos + 4]!] === 0) return pos + 4
    if (TARGET[bytes[pos + 5]!] === 0) return pos + 5
    if (TARGET[bytes[pos + 6]!] === 0) return pos + 6
    if (TARGET[bytes[pos + 7]!] === 0) return pos + 7
  }
  while (pos < end && TARGET[bytes[pos]!] === 1) pos++
  return pos
}

export function scanFieldValue(bytes: Buffer, pos: number, end: number): number {
  for (;;) {
    // Eight octets of SP and VCHAR at a time: x - 0x20 is negative below SP, and `>>> 0` makes that large.
    for (const last = end - 8; pos <= last; pos += 8) {
      if ((bytes[pos]! - 0x20) >>> 0 > 0x5e || (bytes[pos + 1]! - 0x20) >>> 0 > 0x5e ||
        (bytes[pos + 2]! - 0x20) >>> 0 > 0x5e || (bytes[pos + 3]! - 0x20) >>> 0 > 0x5e ||
        (bytes[pos + 4]! - 0x20) >>> 0 > 0x5e || (bytes[pos + 5]! - 0x20) >>> 0 > 0x5e ||
        (bytes[pos + 6]! - 0x20) >>> 0 > 0x5e || (bytes[pos + 7]! - 0x20) >>> 0 > 0x5e) break
    }
    // HTAB, obs-text, the end, or an octet that does not belong.
    const stop = pos + 8 < end ? pos + 8 : end
    while (pos < stop && FIELD_VALUE[bytes[pos]!] === 1) pos++
    if (pos < stop || pos === end) return pos
  }
}

/** qdtext: what stands in a quoted-string unescaped. */
export function scanQdtext(bytes: Buffer, pos: number, end: number): number {
  while (pos < end && QDTEXT[bytes[pos]!] === 1) pos++
  return pos
}

/** unreserved / sub-delims: a reg-name without its pct-encoded part. */
export function scanRegName(bytes: Buffer, pos: number, end: number): number {
  while (pos < end && REG_NAME[bytes[pos]!] === 1) pos++
  return pos
}

/** OWS and BWS: *( SP / HTAB ) */
export function scanWhitespace(bytes: Buffer, pos: number, end: number): number {
  while (pos < end && (bytes[pos] === SP || bytes[pos] === HTAB)) pos++
  return pos
}

/** The end of `bytes[start,end)` without trailing SP and HTAB. */
export function trimEnd(bytes: Buffer, start: number, end: number): number {
  while (end > start && (bytes[end - 1] === SP || bytes[end - 1] === HTAB)) end--
  return end
}

/** The octets of `text`, for `equalsIgnoreCase`. */
export function octets(text: string): Uint8Array {
  return Uint8Array.from(text, character => character.charCodeAt(0))
}

/**
 * Is `bytes[start,end)` the word, which is lower-case letters, digits and hyphens? ASCII only, no Unicode folding (rules HF-17).
 * `| 0x20` maps capitals and nothing else onto letters; it also maps CR onto the hyphen, DLE to EM onto digits: no input has those,
 * since every octet that gets here passed a token or field-value scan.
 */
export function equalsIgnoreCase(bytes: Buffer, start: number, end: number, word: Uint8Array): boolean {
  const length = word.length
  if (end - start !== length) return false
  for (let i = 0; i < length; i++) {
    if ((bytes[start + i]! | 0x20) !== word[i]) return false
  }
  return true
}

/** What `bytes.toString('latin1', start, end)` calls in the end, after 30 ns of finding that out. Not in @types/node. */
export function latin1(bytes: Buffer, start: number, end: number): string {
  return (bytes as Buffer & { latin1Slice(start: number, end: number): string }).latin1Slice(start, end)
}
