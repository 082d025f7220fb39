// What must not happen to pooled memory; each of these survived as a planted fault (mutants/faults.mjs) before.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { borrowBuffer, giveBackBuffer, lentBuffers } from '../src/io/buffer-pool.ts'
import type { StreamHandle } from '../src/io/handle-binding.ts'
import { HandleTransport } from '../src/io/handle-transport.ts'
import type { Transport } from '../src/io/transport.ts'
import { WriteBuffer } from '../src/io/write-buffer.ts'

const memory = suite('mutants/memory')

memory('a text whose size was given wrongly: only what was encoded leaves', () => {
  const out = new WriteBuffer()
  out.piece(Buffer.from('<'))
  // One character of four bytes, said to be two halves of three.
  out.text('\u{1f600}', 6)
  out.text('>', 1)
  let written = Buffer.alloc(0)
  let lent: Buffer | null = null
  out.flush({ write(bytes: Uint8Array, whose: Buffer | null) {
    written = Buffer.from(bytes)
    lent = whose
  } } as unknown as Transport)
  giveBackBuffer(lent!)
  assert.is(written.toString('utf8'), '<\u{1f600}>')
})

memory('the memory of a write that failed is nobody\'s again: libuv may still be reading it', () => {
  const handle = { close() {}, readStop() {} } as unknown as StreamHandle
  const transport = new HandleTransport(handle, false)
  const before = lentBuffers()
  const buffer = borrowBuffer()
  transport.pendingBytes = 100
  transport.writeCompleted({ memory: buffer, size: 100 } as unknown as Parameters<HandleTransport['writeCompleted']>[0], -104)
  assert.is(lentBuffers(), before)
  const next = borrowBuffer()
  assert.ok(next !== buffer, 'the same buffer again')
  giveBackBuffer(next)
})

memory.run()
