import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Content } from '../../src/io/content.ts'
import { random } from '../support/splits.ts'

const contents = suite('content')

class Source {
  wanted = 0
  taken = 0
  onContentWanted(): void {
    this.wanted++
  }
  onContentTaken(): void {
    this.taken++
  }
}

function make(announced = -1): { content: Content; source: Source; put: (text: string) => void } {
  const source = new Source()
  const content = new Content(source, announced)
  const memory = Buffer.alloc(20_000)
  /** As a decoder does: from memory that is overwritten at once. */
  const put = (text: string): void => {
    memory.fill(0xdb)
    memory.write(text, 5, 'latin1')
    content.onContent(memory, 5, 5 + text.length)
    memory.fill(0xdb)
  }
  return { content, source, put }
}

function all(content: Content): string {
  const pieces: Buffer[] = []
  for (let piece = content.take(Infinity); piece !== null; piece = content.take(Infinity)) pieces.push(piece)
  return Buffer.concat(pieces).toString('latin1')
}

contents('what is put in comes out, as an owned copy', () => {
  const { content, put } = make()
  put('hello ')
  put('world')
  assert.is(content.held, 11)
  assert.is(content.received, 11)
  assert.is(all(content), 'hello world')
  assert.is(content.held, 0)
  assert.is(content.received, 11)
  assert.is(content.take(1), null)
})

contents('large runs are pieces of their own, small ones are gathered', () => {
  const { content, put } = make()
  put('x'.repeat(5000))
  for (let i = 0; i < 3000; i++) put('y')
  put('z'.repeat(4096))
  const lengths: number[] = []
  for (let piece = content.take(Infinity); piece !== null; piece = content.take(Infinity)) lengths.push(piece.length)
  assert.equal(lengths, [5000, 3000, 4096])
})

contents('a million chunks of one octet cost octets and not objects', () => {
  const { content } = make()
  const octet = Buffer.from('a')
  for (let i = 0; i < 1_000_000; i++) content.onContent(octet, 0, 1)
  let pieces = 0
  for (let piece = content.take(Infinity); piece !== null; piece = content.take(Infinity)) pieces++
  assert.ok(pieces <= 250, `${pieces} pieces`)
})

contents('a small content whose length is known has memory of exactly that size', () => {
  const { content, put } = make(10)
  put('0123456789')
  const piece = content.take(Infinity)!
  assert.is(piece.toString(), '0123456789')
  assert.is(piece.length, 10)
})

contents('take gives no more than asked, and keeps the rest', () => {
  const { content, put } = make()
  put('0123456789')
  assert.is(content.take(3)!.toString(), '012')
  assert.is(content.held, 7)
  put('abc')
  assert.is(content.take(100)!.toString(), '3456789')
  assert.is(content.take(100)!.toString(), 'abc')
})

contents('what was taken is never written to again', () => {
  const { content, put } = make()
  put('first')
  const piece = content.take(Infinity)!
  put('second')
  assert.is(piece.toString(), 'first')
  assert.is(all(content), 'second')
  assert.is(piece.toString(), 'first')
})

contents('what is put back comes first', () => {
  const { content, put } = make()
  put('0123456789')
  const piece = content.take(6)!
  content.putBack(piece.subarray(2))
  content.putBack(Buffer.alloc(0))
  assert.is(content.held, 8)
  assert.is(all(content), '23456789')
  content.putBack(Buffer.from('x'))
  assert.is(all(content), 'x')
})

contents('the source hears of every wish and every taking', () => {
  const { content, source, put } = make()
  content.wait({ onContentChange: () => {} })
  assert.is(source.wanted, 1)
  put('ab')
  content.take(1)
  assert.is(source.taken, 1)
  content.take(1)
  content.take(1)
  assert.is(source.taken, 2, 'nothing was taken the third time')
})

contents('a waiter is told once, and may wait again from within', () => {
  const { content, put } = make()
  const log: string[] = []
  const waiter = {
    onContentChange(): void {
      log.push(all(content))
      if (log.length < 3) content.wait(waiter)
    }
  }
  content.wait(waiter)
  for (const text of ['a', 'b', 'c', 'd']) {
    put(text)
    content.changed()
  }
  assert.equal(log, ['a', 'b', 'c'])
})

contents('a failure is told, once, and not after the end', () => {
  const { content } = make()
  let told = 0
  content.wait({ onContentChange: () => told++ })
  content.fail(127)
  assert.is(told, 1)
  assert.is(content.failure, 127)
  content.fail(-1)
  assert.is(content.failure, 127, 'the first failure stands')
  const whole = make().content
  whole.complete = true
  whole.fail(-1)
  assert.is(whole.failure, 0)
})

contents('discarded: what is held goes, what comes is counted and dropped', () => {
  const { content, put } = make()
  put('x'.repeat(5000))
  put('y')
  content.discard()
  assert.is(content.held, 0)
  put('z'.repeat(5000))
  assert.is(content.received, 10_001)
  assert.is(content.held, 0)
  assert.is(content.take(Infinity), null)
})

contents('large runs in memory of ours are views of it, small ones are copied; all of it counts until the last view is taken', () => {
  const { content } = make()
  const memory = Buffer.allocUnsafeSlow(12_000).fill('s', 0, 100).fill('l', 100, 10_000)
  content.enterOwn()
  content.onContent(memory, 0, 100)
  content.onContent(memory, 100, 5100)
  content.onContent(memory, 5100, 10_000)
  content.leaveOwn(memory)
  assert.equal([content.held, content.weight], [10_000, 100 + 12_000])
  assert.is.not(content.take(Infinity)!.buffer, memory.buffer)
  assert.equal([content.held, content.weight], [9900, 12_000])
  assert.is(content.take(Infinity)!.buffer, memory.buffer)
  assert.equal([content.held, content.weight], [4900, 7000])
  assert.is(content.take(Infinity)!.toString(), 'l'.repeat(4900))
  assert.equal([content.held, content.weight], [0, 0])
})

contents('memory of ours that no piece is a view of counts for nothing', () => {
  const { content } = make()
  const memory = Buffer.allocUnsafeSlow(20_000)
  content.enterOwn()
  content.onContent(memory, 0, 100)
  content.leaveOwn(memory)
  assert.is(content.weight, 100)
  content.onContent(memory, 0, 5000)
  assert.is.not(content.take(Infinity)!.buffer, memory.buffer)
  assert.is.not(content.take(Infinity)!.buffer, memory.buffer)
  content.enterOwn()
  content.onContent(memory, 0, 20_000)
  content.leaveOwn(memory)
  content.discard()
  assert.is(content.weight, 0)
})

contents('large and small runs in turn: the small share their gathering buffers', () => {
  const { content, put } = make()
  for (let i = 0; i < 50; i++) {
    put('s')
    put('l'.repeat(4096))
  }
  assert.is(content.memory, content.held + 4096)
  const memory = new Set<ArrayBufferLike>()
  let text = ''
  for (let piece = content.take(Infinity); piece !== null; piece = content.take(Infinity)) {
    memory.add(piece.buffer)
    text += piece.toString()
  }
  assert.is(text, ('s' + 'l'.repeat(4096)).repeat(50))
  assert.is([...memory].reduce((sum, { byteLength }) => sum + byteLength, 0), 51 * 4096)
})

contents('a reader that is always one piece behind: the places of those taken are given up', () => {
  const { content, put } = make()
  put('p'.repeat(4096))
  for (let i = 0; i < 5000; i++) {
    put('p'.repeat(4096))
    assert.is(content.take(Infinity)!.length, 4096)
  }
  assert.ok((content as unknown as { pieces: unknown[] }).pieces.length <= 1026)
  assert.is(all(content), 'p'.repeat(4096))
})

contents('memory of ours is kept for content that is five eighths of it, for less that is copied out', () => {
  for (const length of [12_500, 12_499]) {
    const { content, put } = make()
    const memory = Buffer.allocUnsafeSlow(20_000).fill('m')
    put('b'.repeat(5000))
    content.enterOwn()
    content.onContent(memory, 100, 5100)
    content.onContent(memory, 5200, 5300)
    content.onContent(memory, 7000, 2000 + length)
    content.leaveOwn(memory)
    const kept = length === 12_500
    assert.is(content.weight, 5000 + 100 + (kept ? 20_000 : length))
    memory.fill(kept ? 'm' : '!')
    let rest = ''
    for (let piece = content.take(Infinity); piece !== null; piece = content.take(Infinity)) {
      if (!kept) assert.ok(piece.buffer.byteLength <= Math.max(piece.length, 8192))
      rest += piece.toString()
    }
    assert.is(rest, 'b'.repeat(5000) + 'm'.repeat(100 + length))
    assert.is(content.weight, 0)
  }
})

contents('any sequence of runs, takes and returns: every octet once and in order', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const next = random(seed)
    const { content, put } = make()
    let [given, got] = ['', '']
    for (let i = 0; i < 60; i++) {
      const kind = next()
      if (kind < 0.6) {
        const text = String.fromCharCode(97 + (i % 26)).repeat([1, 2, 700, 4095, 4096, 9000][Math.floor(next() * 6)]!)
        put(text)
        given += text
      } else {
        const piece = content.take(1 + Math.floor(next() * 6000))
        if (piece === null) continue
        const kept = next() < 0.3 ? Math.floor(next() * piece.length) : piece.length
        got += piece.toString('latin1', 0, kept)
        content.putBack(piece.subarray(kept))
      }
      assert.is(content.held, given.length - got.length, `seed ${seed}`)
    }
    assert.is(got + all(content), given, `seed ${seed}`)
  }
})

contents.run()
