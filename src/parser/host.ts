// The grammar of a host and its port (RFC 3986 §3.2.2, §3.2.3; RFC 9110 §7.2): Host, the authority of an absolute-form, CONNECT's target.
// Each function answers with the position of the first octet that does not fit, or VALID. It knows no field and no target.
import { COLON, hexValue, isDigit, isUnreserved, scanRegName } from './bytes.ts'

export const VALID = -1

const PERCENT = 0x25
const DOT = 0x2e
const LEFT_BRACKET = 0x5b
const RIGHT_BRACKET = 0x5d
const LOWER_V = 0x76
const MAX_PORT = 65535

/** uri-host [ ":" port ], with a host that is not empty; the port may be empty. */
export function checkHost(bytes: Buffer, start: number, end: number): number {
  const colon = scanHost(bytes, start, end)
  if (colon < 0) return -colon - 1
  if (colon === end) return VALID
  return bytes[colon] === COLON ? checkPort(bytes, colon + 1, end) : colon
}

/** uri-host ":" port, as CONNECT needs it: both are there (RFC 9110 §9.3.6). */
export function checkHostAndPort(bytes: Buffer, start: number, end: number): number {
  const wrong = checkHost(bytes, start, end)
  if (wrong !== VALID) return wrong
  // The host is valid, so only a port's digits can stand at the end behind a colon; without one, the last octet is the host's.
  let pos = end
  while (pos > start && isDigit(bytes[pos - 1]!)) pos--
  return pos < end && pos > start && bytes[pos - 1] === COLON ? VALID : end
}

// port = *DIGIT. RFC 3986 sets no bound, TCP does.
function checkPort(bytes: Buffer, start: number, end: number): number {
  let port = 0
  for (let pos = start; pos < end; pos++) {
    if (!isDigit(bytes[pos]!)) return pos
    port = port * 10 + bytes[pos]! - 0x30
    if (port > MAX_PORT) return pos
  }
  return VALID
}

// host = IP-literal / IPv4address / reg-name. Every IPv4address is a reg-name too. The end of the host, or -(position of the fault) - 1.
function scanHost(bytes: Buffer, start: number, end: number): number {
  if (start < end && bytes[start] === LEFT_BRACKET) return scanIpLiteral(bytes, start, end)
  let pos = scanRegName(bytes, start, end)
  while (pos < end && bytes[pos] === PERCENT) {
    if (!isHarmlessPctEncoded(bytes, pos, end)) return -pos - 1
    pos = scanRegName(bytes, pos + 3, end)
  }
  return pos === start ? -pos - 1 : pos
}

// pct-encoded = "%" HEXDIG HEXDIG, and what it hides is unreserved or part of a UTF-8 name: an encoded delimiter, space or NUL
// would become another host for whoever decodes it (rules HO-08).
function isHarmlessPctEncoded(bytes: Buffer, pos: number, end: number): boolean {
  if (pos + 2 >= end) return false
  const high = hexValue(bytes[pos + 1]!)
  const low = hexValue(bytes[pos + 2]!)
  return high >= 0 && low >= 0 && (high >= 8 || isUnreserved(high * 16 + low))
}

// IP-literal = "[" ( IPv6address / IPvFuture ) "]". A zone identifier (RFC 6874) fails both grammars.
function scanIpLiteral(bytes: Buffer, start: number, end: number): number {
  let close = start + 1
  while (close < end && bytes[close] !== RIGHT_BRACKET) close++
  if (close === end) return -end - 1
  const future = (bytes[start + 1]! | 0x20) === LOWER_V
  const wrong = future ? checkIpFuture(bytes, start + 2, close) : checkIpv6(bytes, start + 1, close)
  return wrong === VALID ? close + 1 : -wrong - 1
}

// IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ); `start` is behind the v.
function checkIpFuture(bytes: Buffer, start: number, end: number): number {
  let pos = start
  while (pos < end && hexValue(bytes[pos]!) >= 0) pos++
  if (pos === start || pos === end || bytes[pos] !== DOT) return pos
  const address = ++pos
  for (;;) {
    pos = scanRegName(bytes, pos, end)
    if (pos === end) return pos === address ? pos : VALID
    if (bytes[pos] !== COLON) return pos
    pos++
  }
}

// IPv6address: eight groups of 1*4HEXDIG between colons, of which the last two may be an IPv4address and one run of groups may be "::".
function checkIpv6(bytes: Buffer, start: number, end: number): number {
  let groups = 0
  let elided = false
  let pos = start
  if (pos + 1 < end && bytes[pos] === COLON && bytes[pos + 1] === COLON) {
    elided = true
    pos += 2
    if (pos === end) return VALID
  }
  for (;;) {
    const group = pos
    while (pos < end && pos - group < 4 && hexValue(bytes[pos]!) >= 0) pos++
    if (pos === group) return pos
    if (pos < end && bytes[pos] === DOT) {
      const wrong = checkIpv4(bytes, group, end)
      if (wrong !== VALID) return wrong
      groups += 2
      break
    }
    groups++
    if (pos === end) break
    if (bytes[pos] !== COLON) return pos
    pos++
    if (pos < end && bytes[pos] === COLON) {
      if (elided) return pos
      elided = true
      pos++
      if (pos === end) break
    }
  }
  // RFC 3986: "::" stands for at least one group, as every line of its grammar that has it leaves room for one.
  return (elided ? groups <= 7 : groups === 8) ? VALID : end
}

// IPv4address = dec-octet "." dec-octet "." dec-octet "." dec-octet, without leading zeros.
function checkIpv4(bytes: Buffer, start: number, end: number): number {
  let pos = start
  for (let part = 0; part < 4; part++) {
    if (part > 0) {
      if (pos === end || bytes[pos] !== DOT) return pos
      pos++
    }
    const first = pos
    let value = 0
    while (pos < end && isDigit(bytes[pos]!)) {
      value = value * 10 + bytes[pos]! - 0x30
      if (value > 255 || (pos > first && bytes[first] === 0x30)) return pos
      pos++
    }
    if (pos === first) return pos
  }
  return pos === end ? VALID : pos
}
