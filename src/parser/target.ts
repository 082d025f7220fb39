// The four forms of the request-target (RFC 9112 §3.2). The octets have passed the request-target scan; this file judges their structure.
// The engine neither decodes nor normalises: what the peer sent is what the application gets (rules RL-19).
import { COLON, equalsIgnoreCase, octets } from './bytes.ts'
import { checkHost, checkHostAndPort, VALID } from './host.ts'
import { TargetForm } from './request-head.ts'

const SLASH = 0x2f
const QUESTION_MARK = 0x3f
const ASTERISK = 0x2a
const HTTP = octets('http')
const HTTPS = octets('https')

/** What `parseTarget` found besides its answer, written to one reused object instead of a new one for each request. */
export interface TargetParts {
  /** absolute-form: the span of its authority, absolute positions. */
  authorityStart: number
  authorityEnd: number
  /** Where an invalid target is wrong. */
  fault: number
}

/** The form of the target in `bytes[start,end)`, or -1 with `parts.fault`. `secure`: the peer may ask for https (rules RL-25). */
export function parseTarget(bytes: Buffer, start: number, end: number, method: string, secure: boolean, parts: TargetParts): TargetForm | -1 {
  // authority-form is for CONNECT, and CONNECT has nothing else. Its form does not matter further: the request is refused.
  if (method === 'CONNECT') {
    parts.fault = checkHostAndPort(bytes, start, end)
    return parts.fault === VALID ? TargetForm.ORIGIN : -1
  }
  const first = bytes[start]
  // origin-form = absolute-path [ "?" query ]; "//x" is a path, never an authority.
  if (first === SLASH) return TargetForm.ORIGIN
  // asterisk-form = "*", for OPTIONS alone.
  if (first === ASTERISK) {
    if (end - start === 1 && method === 'OPTIONS') return TargetForm.ASTERISK
    parts.fault = start
    return -1
  }
  return parseAbsoluteForm(bytes, start, end, secure, parts)
}

// absolute-form = absolute-URI, here with the schemes http and https only: scheme "://" host [ ":" port ] path-abempty [ "?" query ].
// Userinfo fails the host's grammar, which is what RFC 9110 §4.2.4 asks for.
function parseAbsoluteForm(bytes: Buffer, start: number, end: number, secure: boolean, parts: TargetParts): TargetForm | -1 {
  let colon = start
  while (colon < end && bytes[colon] !== COLON) colon++
  const known = equalsIgnoreCase(bytes, start, colon, HTTP) || (secure && equalsIgnoreCase(bytes, start, colon, HTTPS))
  if (!known || colon + 2 >= end || bytes[colon + 1] !== SLASH || bytes[colon + 2] !== SLASH) {
    parts.fault = known ? colon : start
    return -1
  }
  const authority = colon + 3
  let authorityEnd = authority
  while (authorityEnd < end && bytes[authorityEnd] !== SLASH && bytes[authorityEnd] !== QUESTION_MARK) authorityEnd++
  parts.fault = checkHost(bytes, authority, authorityEnd)
  if (parts.fault !== VALID) return -1
  parts.authorityStart = authority
  parts.authorityEnd = authorityEnd
  return TargetForm.ABSOLUTE
}
