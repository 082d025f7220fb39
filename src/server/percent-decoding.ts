// Percent-decoding of a path for PATH_INFO: octets first, characters second. Knows nothing of requests.
import { Buffer, isUtf8 } from 'node:buffer'

/** `path` with every `%XX` replaced by its octet, once; a stray `%` stays. The octets are read as UTF-8 when all of them together are valid UTF-8,
 *  else as latin-1: nothing is ever replaced or lost. (Beyond what is encoded the path is ASCII: the parser lets nothing else into a target.) */
export function percentDecode(path: string): string {
  const first = path.indexOf('%')
  if (first < 0) return path

  const octets = Buffer.allocUnsafe(path.length)
  let length = octets.write(path, 0, first, 'latin1')
  for (let i = first; i < path.length; i++) {
    const octet = path.charCodeAt(i)
    const value = octet === 0x25 /* % */ && i + 2 < path.length ? hexValue(path.charCodeAt(i + 1)) << 4 | hexValue(path.charCodeAt(i + 2)) : -1
    if (value < 0) {
      octets[length++] = octet
    } else {
      octets[length++] = value
      i += 2
    }
  }
  const decoded = octets.subarray(0, length)
  return decoded.toString(isUtf8(decoded) ? 'utf8' : 'latin1')
}

/** Value of a hex digit, -1 for anything else: the sign bit survives the shift and the `|` above. */
function hexValue(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30
  const letter = octet | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
