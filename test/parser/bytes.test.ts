import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  equalsIgnoreCase, hexValue, isDigit, isFieldValueOctet, isTchar, isUnreserved, octets, scanFieldValue, scanQdtext, scanRegName, scanTarget,
  scanToken, scanWhitespace, trimEnd
} from '../../src/parser/bytes.ts'

const bytes = suite('parser/bytes')

const ALL = Array.from({ length: 256 }, (_, octet) => octet)
const text = (members: number[]): string => Buffer.from(members).toString('latin1')
const matching = (accepts: RegExp): string => text(ALL.filter(octet => accepts.test(String.fromCharCode(octet))))
const scanned = (scan: (bytes: Buffer, pos: number, end: number) => number): string =>
  text(ALL.filter(octet => scan(Buffer.from([octet]), 0, 1) === 1))

bytes('every octet is in the class that the ABNF says', () => {
  const tchar = matching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/)
  assert.is(scanned(scanToken), tchar)
  assert.is(text(ALL.filter(isTchar)), tchar)
  assert.is(scanned(scanTarget), matching(/^[!$%&'()*+,\-./0-9:;=?@A-Z[\]^_`a-z{|}~]$/))
  const value = matching(/^[\t\x20-\x7e\x80-\xff]$/)
  assert.is(scanned(scanFieldValue), value)
  assert.is(text(ALL.filter(isFieldValueOctet)), value)
  assert.is(scanned(scanQdtext), matching(/^[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]$/))
  assert.is(scanned(scanRegName), matching(/^[A-Za-z0-9\-._~!$&'()*+,;=]$/))
  assert.is(text(ALL.filter(isUnreserved)), matching(/^[A-Za-z0-9\-._~]$/))
  assert.is(scanned(scanWhitespace), '\t ')
  assert.is(text(ALL.filter(isDigit)), '0123456789')
})

bytes('hex digits have their values, all else none', () => {
  for (const octet of ALL) {
    const digit = '0123456789abcdef'.indexOf(String.fromCharCode(octet).toLowerCase())
    assert.is(hexValue(octet), digit, `octet ${octet}`)
  }
})

bytes('a scan stops at the first foreign octet at any distance, and never behind the end', () => {
  for (let length = 0; length < 40; length++) {
    const run = Buffer.alloc(64, 'a')
    assert.is(scanFieldValue(run, 3, 3 + length), 3 + length)
    run[3 + length] = 0x0d
    assert.is(scanFieldValue(run, 3, 60), 3 + length)
    assert.is(scanToken(run, 3, 60), 3 + length)
    assert.is(scanTarget(run, 3, 60), 3 + length)
  }
})

bytes('a field value is scanned the same wherever an unusual octet stands', () => {
  for (let at = 0; at < 40; at++) {
    for (let octet = 0; octet < 256; octet++) {
      const run = Buffer.alloc(64, 'a')
      run[3 + at] = octet
      const end = isFieldValueOctet(octet) ? 43 : 3 + at
      assert.is(scanFieldValue(run, 3, 43), end, `octet ${octet} at ${at}`)
    }
  }
  assert.is(scanFieldValue(Buffer.alloc(64, 0xe9), 1, 60), 60)
  assert.is(scanFieldValue(Buffer.alloc(64, '\t\xe9', 'latin1'), 1, 60), 60)
})

bytes('words compare without regard to the case of ASCII letters and to nothing else', () => {
  const word = octets('keep-alive')
  const equals = (input: string): boolean => equalsIgnoreCase(Buffer.from(input, 'latin1'), 0, input.length, word)
  assert.ok(equals('keep-alive'))
  assert.ok(equals('KEEP-ALIVE'))
  assert.ok(equals('Keep-Alive'))
  assert.not(equals('keep_alive'))
  assert.not(equals('keep-aliv'))
  assert.not(equals('keep-alives'))
  assert.not(equals('\xeb\xe5\xe5\xf0-alive'))
  // U+212A, the Kelvin sign, folds to k in Unicode; here it is three octets of no name.
  assert.not(equalsIgnoreCase(Buffer.from('\u212aeep-alive'), 0, 12, word))
})

bytes('trailing whitespace is SP and HTAB', () => {
  const trimmed = (input: string): string => input.slice(0, trimEnd(Buffer.from(input, 'latin1'), 0, input.length))
  assert.is(trimmed('a b \t '), 'a b')
  assert.is(trimmed(' \t'), '')
  assert.is(trimmed('a\xa0'), 'a\xa0')
  assert.is(trimmed('a\x0b'), 'a\x0b')
})

bytes.run()
