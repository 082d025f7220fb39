import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { POOLED_SIZE, giveBackBuffer, lentBuffers } from '../../src/io/buffer-pool.ts'
import type { Transport } from '../../src/io/transport.ts'
import { WriteBuffer } from '../../src/io/write-buffer.ts'
import { random } from '../support/splits.ts'

const writeBuffer = suite('write buffer')

/** What a transport is given, per flush: the bytes, and the memory that it owns from then on. */
class Taker {
  readonly flushes: { views: Uint8Array[]; memory: (Buffer | null)[] }[] = []

  write(bytes: Uint8Array, memory: Buffer | null): void {
    this.flushes.push({ views: [bytes], memory: [memory] })
  }
  writeText(text: string): void {
    this.flushes.push({ views: [Buffer.from(text, 'latin1')], memory: [] })
  }
  writeMany(views: Uint8Array[], memory: (Buffer | null)[]): void {
    this.flushes.push({ views, memory })
  }
  get transport(): Transport {
    return this as unknown as Transport
  }
  get bytes(): Buffer {
    return Buffer.concat(this.flushes.flatMap(flush => flush.views))
  }
  get last(): { views: Uint8Array[]; memory: (Buffer | null)[] } {
    return this.flushes.at(-1)!
  }
  giveBack(): void {
    for (const { memory } of this.flushes) for (const one of memory) if (one !== null) giveBackBuffer(one)
    this.flushes.length = 0
  }
}

function latin1(text: string): [string, number] {
  return [text, text.length]
}

const LARGE = POOLED_SIZE / 2 + 1

writeBuffer('nothing gathered: nothing written', () => {
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.flush(taker.transport)
  out.text('', 0)
  out.piece(Buffer.alloc(0))
  out.flush(taker.transport)
  assert.is(taker.flushes.length, 0)
  assert.is(out.bytes, 0)
})

writeBuffer('what is referred to counts apart, until it leaves or is thrown away', () => {
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.text(...latin1('head'))
  assert.is(out.referred, 0)
  out.piece(Buffer.alloc(LARGE))
  out.text('x'.repeat(LARGE), LARGE)
  out.piece(Buffer.alloc(10))
  assert.equal([out.bytes, out.referred], [4 + 2 * LARGE + 10, 2 * LARGE])
  out.flush(taker.transport)
  assert.is(out.referred, 0)
  out.piece(Buffer.alloc(LARGE))
  out.clear()
  assert.is(out.referred, 0)
  taker.giveBack()
})

writeBuffer('small things leave as one view of one pooled buffer', () => {
  const before = lentBuffers()
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.text(...latin1('HTTP/1.1 200 OK\r\n\r\n'))
  out.piece(Buffer.from('abc'))
  out.text('ü', 2)
  assert.is(out.bytes, 24)
  assert.is(lentBuffers(), before + 1)
  out.flush(taker.transport)
  assert.is(out.bytes, 0)
  assert.is(taker.last.views.length, 1)
  assert.is(taker.last.memory[0]!.buffer, taker.last.views[0]!.buffer)
  assert.equal(taker.bytes, Buffer.from('HTTP/1.1 200 OK\r\n\r\nabcü'))
  assert.is(lentBuffers(), before + 1, 'the transport owns it now')
  taker.giveBack()
  assert.is(lentBuffers(), before)
})

writeBuffer('text whose size is its length is latin-1, other text UTF-8', () => {
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.text('\xe9', 1)
  out.text('\xe9', 2)
  out.text('€', 3)
  out.text('\u{1f600}', 4)
  out.flush(taker.transport)
  assert.equal([...taker.bytes], [0xe9, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80])
  taker.giveBack()
})

writeBuffer('short latin-1 text alone leaves as one string and borrows nothing, up to half a pooled buffer', () => {
  const before = lentBuffers()
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.text(...latin1('caf\xe9 '))
  out.text('b'.repeat(LARGE - 6), LARGE - 6)
  assert.is(out.bytes, LARGE - 1)
  assert.is(lentBuffers(), before)
  out.flush(taker.transport)
  assert.equal(taker.last.memory, [])
  assert.equal(taker.bytes, Buffer.from('caf\xe9 ' + 'b'.repeat(LARGE - 6), 'latin1'))
  out.text('c'.repeat(LARGE - 1), LARGE - 1)
  out.text(...latin1('d'))
  assert.is(lentBuffers(), before + 1)
  out.flush(taker.transport)
  assert.is(taker.last.memory.length, 1)
  assert.equal(taker.bytes.toString('latin1', LARGE - 1), 'c'.repeat(LARGE - 1) + 'd')
  taker.giveBack()
  assert.is(lentBuffers(), before)
})

writeBuffer('text behind a large piece that came first comes behind it', () => {
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.piece(Buffer.alloc(LARGE, 'a'))
  out.text(...latin1('b'))
  out.flush(taker.transport)
  assert.is(taker.bytes.toString(), 'a'.repeat(LARGE) + 'b')
  taker.giveBack()
})

for (const [what, follow, octets] of [
  ['UTF-8', (out: WriteBuffer) => out.text('\u20ac', 3), 'e2 82 ac'],
  ['a small piece', (out: WriteBuffer) => out.piece(Buffer.from([1, 2])), '01 02'],
  ['a large piece', (out: WriteBuffer) => out.piece(Buffer.alloc(LARGE, 3)), Array(LARGE).fill('03').join(' ')],
  ['large text', (out: WriteBuffer) => out.text('\x04'.repeat(LARGE), LARGE), Array(LARGE).fill('04').join(' ')]
] as const) {
  writeBuffer(`short text, then ${what}, then text again`, () => {
    const before = lentBuffers()
    const [out, taker] = [new WriteBuffer(), new Taker()]
    out.text(...latin1('\xff'))
    follow(out)
    out.text(...latin1('\xfe'))
    const expected = Buffer.from(`ff ${octets} fe`.replaceAll(' ', ''), 'hex')
    assert.is(out.bytes, expected.length)
    out.flush(taker.transport)
    assert.equal(taker.bytes, expected)
    assert.is(out.bytes, 0)
    taker.giveBack()
    assert.is(lentBuffers(), before)
  })
}

writeBuffer('cleared text does not leave', () => {
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.text(...latin1('gone'))
  out.clear()
  out.flush(taker.transport)
  out.text(...latin1('here'))
  out.flush(taker.transport)
  assert.is(taker.bytes.toString(), 'here')
})

writeBuffer('the same for large text', () => {
  for (const [text, size] of [['\xe9'.repeat(LARGE), LARGE], ['\xe9'.repeat(LARGE), 2 * LARGE], ['€'.repeat(LARGE), 3 * LARGE]] as const) {
    const [out, taker] = [new WriteBuffer(), new Taker()]
    out.text(text, size)
    assert.is(out.bytes, size)
    out.flush(taker.transport)
    assert.equal(taker.bytes, Buffer.from(text, size === LARGE ? 'latin1' : 'utf8'))
    assert.equal(taker.last.memory, [null])
  }
})

writeBuffer('a small piece is copied: its owner may change it at once', () => {
  const [out, taker] = [new WriteBuffer(), new Taker()]
  const piece = Buffer.alloc(LARGE - 1, 'a')
  out.piece(piece)
  piece.fill('b')
  out.flush(taker.transport)
  assert.ok(taker.bytes.every(octet => octet === 0x61))
  taker.giveBack()
})

writeBuffer('a large piece is referred to, in its place among the small ones, and all of them are one write', () => {
  const before = lentBuffers()
  const [out, taker] = [new WriteBuffer(), new Taker()]
  const large = Buffer.alloc(LARGE, 'L')
  out.text(...latin1('before'))
  out.piece(large)
  out.text(...latin1('between'))
  out.piece(large)
  out.text(...latin1('after'))
  out.flush(taker.transport)
  assert.is(taker.flushes.length, 1)
  const { views, memory } = taker.last
  assert.equal(views.map(view => (view === large ? 'large' : Buffer.from(view).toString())), ['before', 'large', 'between', 'large', 'after'])
  assert.equal(memory.map(one => one !== null), [false, false, false, false, true], 'the one pooled buffer goes with its last view')
  taker.giveBack()
  assert.is(lentBuffers(), before)
})

writeBuffer('a pooled buffer that nothing follows goes with the piece behind it', () => {
  const before = lentBuffers()
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.text(...latin1('before'))
  out.piece(Buffer.alloc(LARGE))
  out.flush(taker.transport)
  assert.equal(taker.last.memory.map(one => one !== null), [false, true])
  taker.giveBack()
  assert.is(lentBuffers(), before)
})

writeBuffer('exactly full, and one octet more', () => {
  const before = lentBuffers()
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.piece(Buffer.alloc(POOLED_SIZE / 2, 'a'))
  out.piece(Buffer.alloc(POOLED_SIZE / 2, 'b'))
  assert.is(lentBuffers(), before + 1)
  out.text(...latin1('c'))
  assert.is(lentBuffers(), before + 2)
  out.flush(taker.transport)
  assert.equal(taker.last.views.map(view => view.length), [POOLED_SIZE, 1])
  assert.equal(taker.last.memory.map(one => one !== null), [true, true])
  taker.giveBack()
  assert.is(lentBuffers(), before)
})

writeBuffer('after a flush it begins with another buffer', () => {
  const [out, taker] = [new WriteBuffer(), new Taker()]
  out.piece(Buffer.from('one'))
  out.flush(taker.transport)
  out.piece(Buffer.from('two'))
  out.flush(taker.transport)
  assert.is.not(taker.flushes[0]!.memory[0], taker.flushes[1]!.memory[0])
  assert.is(taker.bytes.toString(), 'onetwo')
  taker.giveBack()
})

writeBuffer('a piece whose memory was given away before it left: nothing is written', () => {
  const before = lentBuffers()
  const [out, taker] = [new WriteBuffer(), new Taker()]
  const piece = new Uint8Array(LARGE)
  out.text(...latin1('head'))
  out.piece(piece)
  structuredClone(piece, { transfer: [piece.buffer] })
  assert.is(out.flush(taker.transport), false)
  assert.is(taker.flushes.length, 0)
  out.clear()
  assert.is(lentBuffers(), before)
})

writeBuffer('clear gives everything back and nothing leaves', () => {
  const before = lentBuffers()
  const [out, taker] = [new WriteBuffer(), new Taker()]
  for (const size of [10, LARGE, 10, LARGE - 1, LARGE - 1, LARGE - 1]) out.piece(Buffer.alloc(size))
  assert.ok(lentBuffers() > before)
  out.clear()
  assert.is(lentBuffers(), before)
  assert.is(out.bytes, 0)
  out.flush(taker.transport)
  assert.is(taker.flushes.length, 0)
  out.text(...latin1('again'))
  out.flush(taker.transport)
  assert.is(taker.bytes.toString(), 'again')
  taker.giveBack()
  assert.is(lentBuffers(), before)
})

writeBuffer('any sequence of texts, pieces and flushes: every octet once and in order, every buffer given back once', () => {
  const before = lentBuffers()
  for (let seed = 1; seed <= 200; seed++) {
    const next = random(seed)
    const [out, taker] = [new WriteBuffer(), new Taker()]
    const expected: Buffer[] = []
    for (let i = 0; i < 40; i++) {
      const size = [1, 30, 4000, LARGE - 1, LARGE, 20_000][Math.floor(next() * 6)]!
      const fill = String.fromCharCode(97 + (i % 26))
      if (next() < 0.1) out.flush(taker.transport)
      else if (next() < 0.5) {
        out.text(fill.repeat(size), size)
        expected.push(Buffer.alloc(size, fill))
      } else {
        out.piece(Buffer.alloc(size, fill))
        expected.push(Buffer.alloc(size, fill))
      }
    }
    out.flush(taker.transport)
    assert.ok(taker.bytes.equals(Buffer.concat(expected)), `seed ${seed}`)
    const memories = taker.flushes.flatMap(flush => flush.memory.filter(one => one !== null))
    assert.is(new Set(memories).size, memories.length, `seed ${seed}: no buffer twice`)
    taker.giveBack()
    assert.is(lentBuffers(), before, `seed ${seed}`)
  }
})

writeBuffer.run()
