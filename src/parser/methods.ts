// Names of the methods that most requests carry, so that they cost no new string. Any other token is a method just as well.
import { octets } from './bytes.ts'

const KNOWN = ['GET', 'PUT', 'POST', 'HEAD', 'PATCH', 'TRACE', 'DELETE', 'OPTIONS', 'CONNECT'].map(name => ({ name, octets: octets(name) }))

/** The method in `bytes[start,end)`, case-sensitively (RFC 9112 §3.1), or '' when it is none of the usual ones. */
export function knownMethod(bytes: Buffer, start: number, end: number): string {
  // GET first: it is most of the traffic.
  if (end - start === 3 && bytes[start] === 0x47 && bytes[start + 1] === 0x45 && bytes[start + 2] === 0x54) return 'GET'
  for (let i = 1; i < KNOWN.length; i++) {
    if (equals(bytes, start, end, KNOWN[i]!.octets)) return KNOWN[i]!.name
  }
  return ''
}

function equals(bytes: Buffer, start: number, end: number, word: Uint8Array): boolean {
  if (end - start !== word.length) return false
  for (let i = 0; i < word.length; i++) {
    if (bytes[start + i] !== word[i]) return false
  }
  return true
}
