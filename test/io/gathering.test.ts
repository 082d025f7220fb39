// Small reads are put aside, interpreted one after the other, and answered after that: in the order they came, none twice, none lost, none too late.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FEW, type Gathered, Gathering, MAX_GATHERED, SMALL_READ } from '../../src/io/gathering.ts'
import { isPoisoned, setPoison } from '../../src/io/poison.ts'
import { SLAB_SIZE, slab } from '../../src/io/read-slab.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { turns } from '../support/harness.ts'

const test = suite('gathering')
const SPOILED = 0xdb

/** Writes down what is said to it and to the others. */
class Reader implements Gathered {
  private readonly name: string
  private readonly said: string[]
  during: (what: string) => void = () => {}
  constructor(name: string, said: string[]) {
    this.name = name
    this.said = said
  }
  interpret(start: number, end: number): void {
    this.said.push(`${this.name} reads ${slab.toString('latin1', start, end)}`)
    this.during('reads')
  }
  answer(together: boolean): void {
    this.said.push(`${this.name} answers${together ? ' together' : ''}`)
    this.during('answers')
  }
  abandon(error: unknown): void {
    this.said.push(`${this.name} is abandoned: ${(error as Error).message}`)
  }
}

interface Scene {
  clock: FakeClock
  gathering: Gathering
  said: string[]
  readers: Reader[]
  read(reader: Reader, text: string): boolean
}

function scene(readers = 3): Scene {
  const clock = new FakeClock()
  const gathering = new Gathering(clock)
  const said: string[] = []
  return {
    clock,
    gathering,
    said,
    readers: Array.from({ length: readers }, (_, i) => new Reader('abcdefghijklmnopqrstuvwxyz'[i] ?? `#${i}`, said)),
    read: (reader, text) => gathering.add(reader, slab.write(text, 0, 'latin1'))
  }
}

const wasPoisoned = isPoisoned()
test.before.each(() => setPoison(false))
test.after(() => setPoison(wasPoisoned))

test('all are interpreted, then all answer, when the turn ends', async () => {
  const { said, read, readers: [a, b, c] } = scene()
  assert.equal([read(a!, 'one'), read(b!, 'two'), read(c!, 'three')], [true, true, true])
  assert.equal(said, [])
  await turns(1)
  assert.equal(said, ['a reads one', 'b reads two', 'c reads three', 'a answers together', 'b answers together', 'c answers together'])
})

test('once in a turn, and again in the next', async () => {
  setPoison(true)
  const { said, read, readers: [a, b] } = scene()
  read(a!, '1')
  read(b!, '2')
  await turns(3)
  read(b!, '3')
  read(a!, '4')
  await turns(3)
  assert.equal(said.filter(line => line.includes('reads')), ['a reads 1', 'b reads 2', 'b reads 3', 'a reads 4'])
  assert.is(said.length, 8)
})

test('one alone is told so', async () => {
  const { said, read, readers: [a] } = scene()
  read(a!, '1')
  await turns(1)
  assert.equal(said, ['a reads 1', 'a answers'])
})

test('after a turn that brought few, the next 64 reads do not wait; after one that brought enough they do', async () => {
  const { said, read, readers } = scene(FEW)
  for (const reader of readers) read(reader, '1')
  await turns(1)
  for (const reader of readers.slice(1)) assert.ok(read(reader, '2'))
  await turns(1)
  assert.is(said.length, 2 * FEW + 2 * (FEW - 1))
  for (let i = 0; i < 64; i++) assert.not(read(readers[i % FEW]!, 'x'), `read ${i}`)
  assert.ok(read(readers[0]!, 'y'))
})

test('as many as have room, then those are due', async () => {
  const { said, read, readers } = scene(MAX_GATHERED + 1)
  const longest = 'x'.repeat(SMALL_READ)
  for (let i = 0; i < MAX_GATHERED; i++) assert.ok(read(readers[i]!, longest))
  assert.is(said.length, 0)
  assert.ok(read(readers.at(-1)!, 'last'))
  assert.is(said.length, 2 * MAX_GATHERED)
  assert.ok(said.slice(0, MAX_GATHERED).every(line => line.endsWith(` reads ${longest}`)))
  await turns(1)
  assert.equal(said.slice(2 * MAX_GATHERED), [`#${MAX_GATHERED} reads last`, `#${MAX_GATHERED} answers`])
})

test('what is one octet too long is for its reader to interpret at once, and what came before it is first', async () => {
  const { said, read, readers: [a, b, c] } = scene()
  read(a!, 'small')
  assert.not(read(b!, 'x'.repeat(SMALL_READ + 1)))
  assert.equal(said, [], 'nothing of it had been put aside')
  assert.ok(read(c!, 'y'))
  assert.not(read(a!, 'x'.repeat(SMALL_READ + 1)))
  assert.equal(said, ['a reads small', 'c reads y', 'a answers together', 'c answers together'])
  await turns(1)
  assert.is(said.length, 4)
})

test('two reads of the same in one turn, in their order', async () => {
  const { said, read, readers: [a, b] } = scene()
  read(a!, 'first')
  read(b!, 'between')
  read(a!, 'second')
  await turns(1)
  assert.equal(said.slice(0, 3), ['a reads first', 'b reads between', 'a reads second'])
})

test('catching up is for those that have something put aside', () => {
  const { said, gathering, read, readers: [a, b, c] } = scene()
  gathering.catchUp(a!)
  read(a!, '1')
  read(b!, '2')
  gathering.catchUp(c!)
  assert.equal(said, [])
  gathering.catchUp(b!)
  assert.equal(said, ['a reads 1', 'b reads 2', 'a answers together', 'b answers together'])
})

test('catching up says whether it did: not while others are interpreted', () => {
  const { gathering, said, read, readers: [a, b, c] } = scene()
  const caught: boolean[] = []
  assert.ok(gathering.catchUp(a!))
  read(a!, '1')
  read(b!, '2')
  a!.during = () => caught.push(gathering.catchUp(a!), gathering.catchUp(b!), gathering.catchUp(c!))
  assert.ok(gathering.catchUp(a!))
  assert.equal(caught, [true, false, true, true, true, true])
  assert.equal(said, ['a reads 1', 'b reads 2', 'a answers together', 'b answers together'])
})

test('no room, and the reader that comes is among those that wait: what it read is its own to interpret', async () => {
  const { said, read, readers } = scene(MAX_GATHERED + 1)
  for (let i = 0; i < MAX_GATHERED; i++) assert.ok(read(readers[i]!, 'x'))
  assert.not(read(readers[5]!, 'y'))
  assert.is(said.length, 2 * MAX_GATHERED)
  for (let i = 0; i < MAX_GATHERED; i++) assert.ok(read(readers[i]!, 'x'))
  assert.ok(read(readers[MAX_GATHERED]!, 'y'))
  assert.is(said.length, 4 * MAX_GATHERED)
  await turns(1)
})

test("fake timers: the turn's end is the event loop's", async () => {
  const { said, read, readers: [a] } = scene()
  const real = globalThis.setImmediate
  globalThis.setImmediate = (() => {}) as unknown as typeof setImmediate
  try {
    read(a!, 'x')
  } finally {
    globalThis.setImmediate = real
  }
  await turns(1)
  assert.is(said.length, 2)
})

test('what is taken is all that was put aside, and is not interpreted', async () => {
  const { said, gathering, read, readers: [a, b] } = scene()
  read(a!, 'first ')
  read(b!, 'between')
  read(a!, 'second')
  const taken = Buffer.concat(gathering.take(a!))
  assert.is(taken.toString(), 'first second')
  assert.equal(gathering.take(a!), [])
  await turns(1)
  assert.equal(said, ['b reads between', 'b answers together'])
})

test('taken while the others are interpreted: only what has not been', async () => {
  const { said, gathering, read, readers: [a, b] } = scene()
  const taken: string[] = []
  b!.during = () => {
    b!.during = () => {}
    taken.push(Buffer.concat(gathering.take(a!)).toString(), Buffer.concat(gathering.take(b!)).toString())
  }
  read(a!, '1')
  read(b!, '2')
  read(a!, '3')
  read(b!, '4')
  await turns(1)
  assert.equal(taken, ['3', '4'])
  assert.equal(said, ['a reads 1', 'b reads 2', 'a answers together', 'b answers together'])
})

for (const when of ['reads', 'answers']) {
  test(`one that throws when it ${when} is abandoned, and the others hear what they would have heard`, async () => {
    const { said, read, readers: [a, b, c] } = scene()
    b!.during = what => {
      if (what === when) throw new Error('wrong')
    }
    read(a!, '1')
    read(b!, '2')
    read(c!, '3')
    await turns(1)
    const expected = ['a reads 1', 'b reads 2', 'c reads 3', 'a answers together', 'b answers together', 'c answers together']
    expected.splice(expected.indexOf(when === 'reads' ? 'b reads 2' : 'b answers together') + 1, 0, 'b is abandoned: wrong')
    assert.equal(said, when === 'reads' ? expected.filter(line => line !== 'b answers together') : expected)
  })
}

test('after more than a millisecond of interpreting, the next 1024 reads do not wait for each other', async () => {
  const { clock, said, read, readers } = scene(FEW)
  const [a, ...others] = readers
  const slow = (ms: number) => (what: string): void => {
    if (what === 'reads') clock.advance(ms)
  }
  a!.during = slow(1)
  for (const reader of [a!, ...others]) read(reader, '1')
  await turns(1)
  a!.during = slow(2)
  for (const reader of [a!, ...others]) assert.ok(read(reader, '2'), 'one millisecond is not too long')
  await turns(1)
  assert.is(said.length, 4 * FEW)
  for (let i = 0; i < 1024; i++) assert.not(read(a!, 'x'), `read ${i}`)
  assert.ok(read(a!, 'y'))
})

test('under poison: what was read is spoiled at once, what was put aside after it was interpreted, and both ways take turns', async () => {
  setPoison(true)
  const { said, read, readers: [a, b] } = scene()
  const spoiled = (from: number, length: number): boolean => slab.subarray(from, from + length).every(octet => octet === SPOILED)
  read(a!, 'first')
  assert.ok(spoiled(0, 5))
  read(b!, 'second')
  a!.during = what => {
    if (what === 'answers') assert.ok(spoiled(SLAB_SIZE, 11))
  }
  await turns(1)
  assert.equal(said.filter(line => line.includes('abandoned')), [])
  assert.is(said.length, 4)
  const ways: boolean[] = []
  for (let i = 0; i < 6; i++) {
    ways.push(read(a!, 'x'))
    await turns(1)
  }
  assert.equal(ways, [true, false, true, false, true, false])
})

test.run()
