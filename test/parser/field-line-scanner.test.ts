import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isFieldValueOctet, isTchar } from '../../src/parser/bytes.ts'
import { instantiate, MODULE, scanner } from '../../src/parser/field-line-scanner.ts'
import type { FieldLineScanner } from '../../src/parser/field-line-scanner.ts'
import { slab, SLAB_SIZE } from '../../src/io/read-slab.ts'
import { assemble } from '../support/wat.ts'

const test = suite('parser/field-line-scanner')

const SOURCES = join(import.meta.dirname, '..', '..', '..', 'src', 'parser')
// Without one, because the bytes are wrong, the first test still writes better ones.
const { memory, spans, scan, maxLines } = scanner ?? ({} as FieldLineScanner)

interface Limits { end?: number, head?: number, maxLine?: number, maxLines?: number, at?: number }

/** The lines found in `text`, and behind them what is left. */
function scanned(text: string, { at = 32, end = text.length, head = at, maxLine = 8192, maxLines = 100 }: Limits = {}): string[] {
  memory.fill(0xaa, 0, 1024)
  memory.write(text, at, 'latin1')
  const count = scan(at, at + end, head, maxLine, maxLines)
  const found: string[] = []
  const slice = (from: number, to: number): string => memory.toString('latin1', head + from, head + to)
  for (let i = 0; i < 4 * count; i += 4) found.push(`${slice(spans[i]!, spans[i + 1]!)}=${slice(spans[i + 2]!, spans[i + 3]!)}`)
  return [...found, slice(spans[4 * count]!, at + end - head)]
}

test('the bytes are what the text is assembled to', () => {
  const now = Buffer.from(assemble(readFileSync(join(SOURCES, 'field-line-scanner.wat'), 'utf8'))).toString('base64')
  const file = join(SOURCES, 'field-line-scanner.ts')
  if (process.env['WIRELET_UPDATE'] === '1') writeFileSync(file, readFileSync(file, 'utf8').replace(/MODULE = '[^']*'/, `MODULE = '${now}'`))
  else assert.is(MODULE, now, 'WIRELET_UPDATE=1 writes them anew')
})

test('its memory is what handles read into', () => {
  assert.ok(slab === memory)
  assert.is(slab.length, 2 * SLAB_SIZE)
})

test('whole lines, up to the first that is none', () => {
  assert.equal(scanned('Host: a\r\nX:\r\nY: \t b c \t \r\n\r\nrest'), ['Host=a', 'X=', 'Y=b c', '\r\nrest'])
  assert.equal(scanned('Host: a\r\nX y: b\r\nZ: c\r\n'), ['Host=a', 'X y: b\r\nZ: c\r\n'])
  for (const line of ['', 'X', 'X:', 'X: ', 'X: y', 'X: y\r', 'X: y\n', 'X: y\ry\n', ': y\r\n', ' X: y\r\n', '\tX: y\r\n', 'X : y\r\n', 'X\r\n', '\r\n', '\n', 'X: y\r\r\n']) {
    assert.equal(scanned(`A: b\r\n${line}`), ['A=b', line], JSON.stringify(line))
    assert.equal(scanned(`A: b\r\n${line}\0`), ['A=b', `${line}\0`], JSON.stringify(line))
  }
})

test('what stands behind the end does not count', () => {
  const text = `A: b\r\n${'name'.repeat(9)}: ${'value'.repeat(9)}\r\nC: d\r\n\r\n`
  const lines = text.split('\r\n').slice(0, 3).map(line => line.replace(': ', '='))
  for (let end = 0; end <= text.length; end++) {
    const whole = text.slice(0, end).split('\r\n').length - 1
    const got = scanned(text, { end })
    assert.equal(got.slice(0, -1), lines.slice(0, whole), `end ${end}`)
    assert.is(got.at(-1), text.slice(text.split('\r\n').slice(0, Math.min(whole, 3)).join('\r\n').length + (whole === 0 ? 0 : 2), end), `end ${end}`)
  }
})

test('every octet, at every place of a name and of a value', () => {
  for (let octet = 0; octet < 256; octet++) {
    const character = String.fromCharCode(octet)
    for (let i = 0; i < 34; i++) {
      const word = 'a'.repeat(i) + character + 'a'.repeat(33 - i)
      if (octet !== 0x3a || i === 0) assert.is(scanned(`${word}: b\r\n`).length === 2, isTchar(octet), `${octet} at ${i} of a name`)
      const line = scanned(`X: a${word}a\r\n`)
      assert.equal(line, isFieldValueOctet(octet) ? [`X=a${word}a`, ''] : [`X: a${word}a\r\n`], `${octet} at ${i} of a value`)
    }
  }
})

test('names and values of every length, at every place of a step', () => {
  for (let length = 1; length < 50; length++) {
    for (let at = 0; at < 16; at++) {
      const [name, value] = ['n'.repeat(length), 'v'.repeat(50 - length)]
      assert.equal(scanned(`${name}:${' '.repeat(at)}${value}${'\t'.repeat(at)}\r\nA: b\r\n`, { at }), [`${name}=${value}`, 'A=b', ''])
    }
  }
})

test('limits', () => {
  const text = 'A: bcd\r\nE: fghi\r\nJ: k\r\n'
  assert.equal(scanned(text, { maxLine: 7 }), ['A=bcd', 'E=fghi', 'J=k', ''])
  assert.equal(scanned(text, { maxLine: 6 }), ['A=bcd', 'E: fghi\r\nJ: k\r\n'])
  assert.equal(scanned(text, { maxLine: 5 }), [text])
  assert.equal(scanned(text, { maxLines: 2 }), ['A=bcd', 'E=fghi', 'J: k\r\n'])
  assert.equal(scanned(text, { maxLines: 0 }), [text])
  assert.equal(scanned(text, { head: 7 }), ['A=bcd', 'E=fghi', 'J=k', ''])
})

test('to the last octet of the memory, and as many lines as fit', () => {
  const line = 'A:b\r\n'
  const text = line.repeat(13_107)
  assert.equal(scanned(text.slice(0, 15), { at: memory.length - 15 }), ['A=b', 'A=b', 'A=b', ''])
  assert.equal(scanned(text.slice(0, 13), { at: memory.length - 13 }), ['A=b', 'A=b', 'A:b'])
  assert.equal(scanned(`A:${'v'.repeat(65_532)}`, { at: 0 + 2, maxLine: 65_536 }).length, 1)
  memory.write(text, 0, 'latin1')
  assert.is(scan(0, text.length, 0, 8192, maxLines), maxLines)
  assert.is(spans[4 * maxLines], 5 * maxLines)
  assert.is(memory.toString('latin1', text.length - 5, text.length), line)
})

test('without WebAssembly, or room for its memory, there is none', () => {
  assert.is(instantiate(undefined), null)
  const { WebAssembly: api } = globalThis as unknown as { WebAssembly: NonNullable<Parameters<typeof instantiate>[0]> }
  class NoMemory { constructor() { throw new RangeError('could not allocate memory') } }
  assert.is(instantiate({ ...api, Module: api.Module, Instance: api.Instance, Memory: NoMemory as unknown as typeof api.Memory }), null)
})

test.run()
