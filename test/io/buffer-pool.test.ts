import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { POOLED_SIZE, borrowBuffer, forgetBuffer, giveBackBuffer, lentBuffers } from '../../src/io/buffer-pool.ts'
import { isPoisoned, setPoison } from '../../src/io/poison.ts'

const pool = suite('buffer pool')

pool('lends buffers of one size, each to one borrower at a time', () => {
  const before = lentBuffers()
  const buffers = Array.from({ length: 20 }, borrowBuffer)
  assert.is(new Set(buffers).size, 20)
  for (const buffer of buffers) assert.is(buffer.length, POOLED_SIZE)
  assert.is(lentBuffers(), before + 20)
  buffers.forEach(giveBackBuffer)
  assert.is(lentBuffers(), before)
})

pool('lends again what was given back', () => {
  const buffer = borrowBuffer()
  giveBackBuffer(buffer)
  assert.is(borrowBuffer(), buffer)
  giveBackBuffer(buffer)
})

pool('each buffer has memory of its own, so that a transport can hold one without holding others', () => {
  const [a, b] = [borrowBuffer(), borrowBuffer()]
  assert.is(a.byteOffset, 0)
  assert.is(a.buffer.byteLength, POOLED_SIZE)
  assert.is.not(a.buffer, b.buffer)
  giveBackBuffer(a)
  giveBackBuffer(b)
})

pool('a forgotten buffer counts as returned and is never lent again', () => {
  const before = lentBuffers()
  const lost = borrowBuffer()
  forgetBuffer()
  assert.is(lentBuffers(), before)
  const later = Array.from({ length: 300 }, borrowBuffer)
  assert.not.ok(later.includes(lost))
  later.forEach(giveBackBuffer)
})

pool('keeps a bounded number of free buffers', () => {
  const first = Array.from({ length: 400 }, borrowBuffer)
  first.forEach(giveBackBuffer)
  const again = Array.from({ length: 400 }, borrowBuffer)
  assert.is(again.filter(buffer => first.includes(buffer)).length, 256)
  again.forEach(giveBackBuffer)
})

pool('poison mode spoils what is given back, and only then', () => {
  const was = isPoisoned()
  const buffer = borrowBuffer().fill('x')
  setPoison(false)
  giveBackBuffer(buffer)
  assert.is(buffer[0], 0x78)
  setPoison(true)
  giveBackBuffer(borrowBuffer())
  assert.ok(buffer.every(octet => octet === 0xdb))
  setPoison(was)
})

pool.run()
