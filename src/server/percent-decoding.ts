// Percent-decoding of a path for PATH_INFO: octets first, characters second. Knows nothing of requests.
import { Buffer, isUtf8 } from 'node:buffer'

/** `text[start, end)` (latin-1: one character is one octet) with every `%XX` replaced by its octet, once; a stray `%` stays.
 *  The octets are read as UTF-8 when all of them together are valid UTF-8, else as latin-1: nothing is ever replaced or lost. */
export function percentDecode(text: string, start: number, end: number): string {
  let plain = start
  while (plain < end && isPlain(text.charCodeAt(plain))) plain++
  if (plain === end) return text.slice(start, end)

  const octets = Buffer.allocUnsafe(end - start)
  let length = octets.write(text.slice(start, plain), 'latin1')
  for (let i = plain; i < end; i++) {
    const octet = text.charCodeAt(i)
    const value = octet === 0x25 /* % */ && i + 2 < end ? hexValue(text.charCodeAt(i + 1)) << 4 | hexValue(text.charCodeAt(i + 2)) : -1
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

/** ASCII, and not a percent sign. */
function isPlain(octet: number): boolean {
  return octet !== 0x25 && octet < 0x80
}

/** Value of a hex digit, -1 for anything else: the sign bit survives the shift and the `|` above. */
function hexValue(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30
  const letter = octet | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
