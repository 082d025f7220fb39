import { Duplex, Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Content, OVER } from '../../src/io/content.ts'
import { BodyTooLarge, ChunkReadError, RequestAborted, UsageError } from '../../src/io/errors.ts'
import { Input } from '../../src/server/input.ts'
import { cutAt, random, randomCuts } from '../support/splits.ts'
import { within } from '../support/within.ts'

const BAD_CHUNK = 12

/** A request's content by hand: what a connection does, step by step. */
class Peer {
  readonly content: Content
  readonly input: Input
  /** How often someone wanted or took content. */
  wanted = 0
  taken = 0
  readonly calls: unknown[] = []
  /** Called when content is wanted: a connection may decode from within. */
  onWanted: (() => void) | null = null

  constructor(announced = -1, maxBufferedBody = 1000) {
    this.content = new Content({
      onContentWanted: () => {
        this.wanted++
        this.onWanted?.()
      },
      onContentTaken: () => { this.taken++ }
    }, announced)
    this.input = new Input({
      content: this.content,
      maxBufferedBody,
      setHundredContinueHeaders: (...parameters) => { this.calls.push(parameters) },
      sendHundredContinue: () => { this.calls.push('100') },
      takeSocket: () => {
        this.calls.push(this.content.take(Infinity)?.toString() ?? '')
        return new Duplex({ read() {}, write() {} })
      },
      failureError: failure => failure === BAD_CHUNK ? new ChunkReadError('bad') : new RequestAborted(`failure ${failure}`)
    })
  }

  /** Bytes arrive, in one read, from memory that is overwritten at once. */
  send(text: string): this {
    const slab = Buffer.from(`##${text}##`, 'latin1')
    this.content.onContent(slab, 2, slab.length - 2)
    slab.fill(0xaa)
    this.content.changed()
    return this
  }

  end(): this {
    this.content.complete = true
    this.content.changed()
    return this
  }

  fail(failure = OVER): this {
    this.content.fail(failure)
    return this
  }
}

/** A request whose whole content is there. */
function complete(text: string, maxBufferedBody?: number): Peer {
  return new Peer(text.length, maxBufferedBody).send(text).end()
}

const NOWHERE = new Input({
  content: null,
  maxBufferedBody: 10,
  setHundredContinueHeaders() {},
  sendHundredContinue() {},
  takeSocket: () => new Duplex(),
  failureError: () => new Error('no')
})

async function text(promise: Promise<Buffer>): Promise<string> {
  return (await within(1000, promise, 'a read')).toString('latin1')
}

async function texts(promise: Promise<Buffer[]>): Promise<string[]> {
  return (await within(1000, promise, 'the lines')).map(String)
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await within(1000, promise, 'a rejection')
  } catch (error) {
    return error as Error
  }
  throw new Error('it resolved')
}

/** Whether it is still waiting after all that is due has run. */
async function waits(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const note = (): void => { settled = true }
  promise.then(note, note)
  await nextTurn()
  return !settled
}

// ── read ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const read = suite('input: read')

read('without a size, null or a negative one: the rest', async () => {
  for (const size of [undefined, null, -1, -7, Infinity]) {
    const { input } = complete('abcdef')
    assert.is(await text(input.read(2)), 'ab')
    assert.is(await text(input.read(size)), 'cdef')
    assert.is(await text(input.read(size)), '')
    assert.is(await text(input.read(5)), '')
  }
})

read('n bytes, fewer only at the end; 0 is none', async () => {
  const { input } = complete('abcdef')
  assert.is(await text(input.read(0)), '')
  assert.is(await text(input.read(4)), 'abcd')
  assert.is(await text(input.read(1.9)), 'e')
  assert.is(await text(input.read(4)), 'f')
  assert.is(await text(input.read(4)), '')
  assert.is(await text(input.read(0)), '')
})

read('no content at all: everything ends at once', async () => {
  assert.is(await text(NOWHERE.read()), '')
  assert.is(await text(NOWHERE.read(3)), '')
  assert.is(await text(NOWHERE.readline()), '')
  assert.equal(await texts(NOWHERE.readlines()), [])
  assert.is(await NOWHERE.discard(), undefined)
  for await (const piece of NOWHERE) throw new Error(String(piece))
})

read('waits for n bytes', async () => {
  const peer = new Peer()
  const promise = peer.input.read(5)
  assert.ok(await waits(promise))
  peer.send('ab')
  assert.ok(await waits(promise))
  peer.send('cdefg')
  assert.is(await text(promise), 'abcde')
  assert.is(await text(peer.input.read(2)), 'fg')
})

read('waits for the end', async () => {
  const peer = new Peer()
  const promise = peer.input.read()
  peer.send('ab').send('').send('cd')
  assert.ok(await waits(promise))
  peer.end()
  assert.is(await text(promise), 'abcd')
})

read('asks for content when it has to wait, and only then', async () => {
  const there = complete('abc')
  await there.input.read()
  assert.is(there.wanted, 0)
  const peer = new Peer()
  const promise = peer.input.read(1)
  assert.is(peer.wanted, 1)
  peer.send('a')
  await promise
  assert.is(peer.taken, 1)
})

read('content that arrives while it is asked for', async () => {
  const peer = new Peer()
  peer.onWanted = () => {
    peer.onWanted = peer.content.received < 3 ? peer.onWanted : null
    if (peer.content.received < 3) peer.send('x')
    else peer.end()
  }
  assert.is(await text(peer.input.read()), 'xxx')
})

read('takes what is there while it waits, so that more than is ever held can be read', async () => {
  const peer = new Peer()
  const promise = peer.input.read(10_000)
  for (let i = 0; i < 10; i++) {
    peer.send('x'.repeat(1000))
    assert.is(peer.content.held, 0)
  }
  assert.is((await promise).length, 10_000)
})

read('the whole content in one piece is not copied', async () => {
  const peer = complete('a'.repeat(5000), 10_000)
  const piece = peer.content.take(Infinity)!
  peer.content.putBack(piece)
  assert.is(await peer.input.read(), piece)
})

read('many small pieces become one buffer, in order', async () => {
  for (const sizes of [[1], [1, 511, 512, 513, 4095, 4096, 4097, 3, 700, 2], Array.from({ length: 9000 }, () => 1)]) {
    const peer = new Peer(-1, 100_000)
    const promise = peer.input.read()
    let sent = ''
    for (const [i, size] of sizes.entries()) {
      const piece = String.fromCharCode(97 + i % 26).repeat(size)
      sent += piece
      peer.send(piece)
    }
    peer.end()
    assert.ok(await text(promise) === sent, `${sizes.length} pieces`)
  }
})

read('overlapping calls are served in their order', async () => {
  const peer = new Peer()
  const { input } = peer
  const all = Promise.all([
    text(input.read(3)), text(input.readline()), text(input.read(2)), texts(input.readlines(3)), text(input.read()), text(input.read(1))
  ])
  peer.send('abcd').send('e\nf').send('g1\n2\n3\nrest')
  peer.end()
  assert.equal(await within(1000, all, 'all reads'), ['abc', 'de\n', 'fg', ['1\n', '2\n'], '3\nrest', ''])
})

read('a call waits behind an earlier one although it could be served', async () => {
  const peer = new Peer()
  const order: string[] = []
  const first = peer.input.read(5).then(() => order.push('first'))
  const second = peer.input.read(0).then(() => order.push('second'))
  assert.ok(await waits(second))
  peer.send('abcde')
  await Promise.all([first, second])
  assert.equal(order, ['first', 'second'])
})

read('what is there is there after one tick', async () => {
  const { input } = complete('a\nb\ncde')
  const done: string[] = []
  void input.readline().then(() => done.push('readline'))
  void input.read(1).then(() => done.push('read'))
  void input[Symbol.asyncIterator]().next().then(() => done.push('next'))
  await null
  assert.equal(done, ['readline', 'read', 'next'])
})

read('a size must be a number', () => {
  const { input } = complete('abc')
  for (const wrong of ['3', NaN, {}, true]) {
    assert.throws(() => input.read(wrong as number), (error: Error) => error instanceof UsageError)
    assert.throws(() => input.readline(wrong as number), (error: Error) => error instanceof UsageError)
    assert.throws(() => input.readlines(wrong as number), (error: Error) => error instanceof UsageError)
  }
})

read.run()

// ── Bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const bounds = suite('input: maxBufferedBody')

bounds('an announced length beyond it is refused at once', async () => {
  const peer = new Peer(11, 10)
  assert.instance(await rejection(peer.input.read()), BodyTooLarge)
  assert.instance(await rejection(peer.input.readlines()), BodyTooLarge)
  assert.is(peer.wanted, 0)
  assert.is((await rejection(peer.input.read()) as BodyTooLarge).status, 413)
  peer.send('0123456789a').end()
  assert.equal(await peer.input[Symbol.asyncIterator]().next(), { value: Buffer.from('0123456789a'), done: false }, 'piece by piece it can be read, and nothing came before it')
})

bounds('what has been read already does not count', async () => {
  const peer = new Peer(12, 10).send('0123456789ab').end()
  assert.is(await text(peer.input.read(1)), '0')
  assert.instance(await rejection(peer.input.read()), BodyTooLarge)
  assert.is(await text(peer.input.read(1)), '1')
  assert.is(await text(peer.input.read()), '23456789ab')
})

bounds('exactly that many bytes pass', async () => {
  assert.is(await text(complete('0123456789', 10).input.read()), '0123456789')
  const chunked = new Peer(-1, 10)
  const promise = chunked.input.read()
  chunked.send('01234').send('56789')
  assert.ok(await waits(promise))
  chunked.end()
  assert.is(await text(promise), '0123456789')
})

bounds('one more of unknown length is refused when it arrives, and nothing is lost', async () => {
  const peer = new Peer(-1, 10)
  const promise = peer.input.read()
  peer.send('01234').send('56789')
  assert.ok(await waits(promise))
  peer.send('abc')
  assert.instance(await rejection(promise), BodyTooLarge)
  peer.send('d').end()
  assert.is(await text(peer.input.read(20)), '0123456789abcd')
})

bounds('read(n) and iteration have none', async () => {
  const long = 'x'.repeat(5000)
  assert.is(await text(complete(long, 10).input.read(5000)), long)
  assert.is(await text(complete(long, 10).input.read(Infinity)), long)
  const pieces: Buffer[] = []
  for await (const piece of complete(long, 10).input) pieces.push(piece)
  assert.is(Buffer.concat(pieces).toString(), long)
})

bounds('a line that long passes, a longer one does not, unless a size says so', async () => {
  assert.is(await text(complete('012345678\nrest', 10).input.readline()), '012345678\n')
  assert.is(await text(complete('0123456789', 10).input.readline()), '0123456789')
  assert.instance(await rejection(complete('0123456789\n', 10).input.readline()), BodyTooLarge)
  const beyond = complete('one\n0123456789abc\nrest', 10)
  assert.is(await text(beyond.input.readline()), 'one\n')
  assert.instance(await rejection(beyond.input.readline()), BodyTooLarge)
  assert.is(await text(beyond.input.read(40)), '0123456789abc\nrest')
  const { input } = complete('0123456789\n', 10)
  assert.is(await text(input.readline(10)), '0123456789')
  assert.is(await text(input.readline(10)), '\n')
  const drip = new Peer(-1, 3)
  const promise = drip.input.readline()
  drip.send('a').send('b').send('c')
  assert.ok(await waits(promise))
  drip.send('d')
  assert.instance(await rejection(promise), BodyTooLarge)
  drip.end()
  assert.is(await text(drip.input.read(9)), 'abcd')
})

bounds('a line that never ends is refused by readlines too, one octet beyond it', async () => {
  assert.equal(await texts(new Peer(-1, 10).send('0123456789').end().input.readlines()), ['0123456789'])
  const peer = new Peer(-1, 10).send('0123456789a').end()
  assert.instance(await rejection(peer.input.readlines()), BodyTooLarge)
  assert.is(await text(peer.input.read(11)), '0123456789a')
})

bounds('lines count together', async () => {
  // Each costs 128 more than its octets.
  const bound = 10 + 2 * 128
  assert.equal(await texts(complete('012\n456\n89', bound).input.readlines()), ['012\n', '456\n', '89'])
  const peer = new Peer(-1, bound).send('012\n456\n89a').end()
  assert.instance(await rejection(peer.input.readlines()), BodyTooLarge)
  assert.equal(await texts(peer.input.readlines(5)), ['012\n', '456\n'])
  assert.is(await text(peer.input.read()), '89a')
})

bounds.run()

// ── Lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const lines = suite('input: lines')

lines('readline stops at LF, at the size and at the end', async () => {
  const { input } = complete('one\r\ntwo\n\nthree')
  assert.is(await text(input.readline()), 'one\r\n')
  assert.is(await text(input.readline(2)), 'tw')
  assert.is(await text(input.readline(2)), 'o\n')
  assert.is(await text(input.readline(0)), '')
  assert.is(await text(input.readline(-1)), '\n')
  assert.is(await text(input.readline(100)), 'three')
  assert.is(await text(input.readline()), '')
})

lines('a line spans pieces', async () => {
  const peer = new Peer()
  const promise = peer.input.readline()
  peer.send('on').send('e').send(' line')
  assert.ok(await waits(promise))
  peer.send('\nanother').end()
  assert.is(await text(promise), 'one line\n')
  assert.is(await text(peer.input.readline()), 'another')
})

lines('a line reader does not make room for more at every line', async () => {
  const peer = new Peer().send('a\nb\nc\nd\n')
  for (const line of ['a\n', 'b\n', 'c\n', 'd\n']) assert.is(await text(peer.input.readline()), line)
  assert.is(peer.taken, 1)
})

lines('readlines reads all, or as many lines as it takes to have hint bytes', async () => {
  assert.equal(await texts(complete('a\nbb\n\nc').input.readlines()), ['a\n', 'bb\n', '\n', 'c'])
  for (const hint of [0, -1, null]) assert.equal(await texts(complete('a\nb\n').input.readlines(hint)), ['a\n', 'b\n'])
  const { input } = complete('aa\nbb\ncc\ndd')
  assert.equal(await texts(input.readlines(3)), ['aa\n'])
  assert.equal(await texts(input.readlines(4)), ['bb\n', 'cc\n'])
  assert.equal(await texts(input.readlines(100)), ['dd'])
  assert.equal(await texts(input.readlines()), [])
})

lines('reads of every kind share one position', async () => {
  const { input } = complete('ab\ncd\nef\ngh')
  assert.is(await text(input.readline()), 'ab\n')
  assert.is(await text(input.read(1)), 'c')
  assert.is(await text(input.readline()), 'd\n')
  const piece = await input[Symbol.asyncIterator]().next()
  assert.is(String(piece.value), 'ef\ngh')
})

lines.run()

// ── Iteration ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const iteration = suite('input: iteration')

iteration('pieces as they arrive', async () => {
  const peer = new Peer()
  const seen: string[] = []
  const loop = (async () => {
    for await (const piece of peer.input) seen.push(String(piece))
  })()
  for (const piece of ['one', 'two', 'three']) {
    peer.send(piece)
    await nextTurn()
  }
  assert.equal(seen, ['one', 'two', 'three'])
  assert.ok(await waits(loop))
  peer.end()
  await within(1000, loop, 'the end')
})

iteration('leaving early leaves the rest unread', async () => {
  const peer = new Peer().send('one')
  for await (const piece of peer.input) {
    assert.is(String(piece), 'one')
    break
  }
  peer.send('two').end()
  assert.is(await text(peer.input.read()), 'two')
})

iteration('an iterator that was left ends, and another one goes on', async () => {
  const { input } = complete('abc')
  const iterator = input[Symbol.asyncIterator]()
  assert.is(iterator[Symbol.asyncIterator](), iterator)
  await iterator.return!()
  assert.equal(await iterator.next(), { value: undefined, done: true })
  assert.equal((await input[Symbol.asyncIterator]().next()).done, false)
  assert.equal(await input[Symbol.asyncIterator]().next(), { value: undefined, done: true })
})

iteration('Readable.from and ReadableStream.from take it', async () => {
  const chunks: Buffer[] = []
  for await (const chunk of Readable.from(complete('streamed').input)) chunks.push(chunk as Buffer)
  assert.is(Buffer.concat(chunks).toString(), 'streamed')
  const stream = (ReadableStream as unknown as { from(source: unknown): ReadableStream }).from(complete('as a response').input)
  assert.is(await within(1000, new Response(stream).text(), 'the response'), 'as a response')
})

iteration('an input shows nothing of what is behind it', () => {
  const { input } = complete('secret')
  assert.is(JSON.stringify(input), '{}')
  assert.equal(Object.keys(input), [])
})

iteration.run()

// ── Failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const failures = suite('input: content cut short')

failures('every kind of read rejects, now and later', async () => {
  const reads: ((input: Input) => Promise<unknown>)[] = [
    input => input.read(), input => input.read(9), input => input.readline(), input => input.readlines(), input => input.discard(),
    input => input[Symbol.asyncIterator]().next()
  ]
  for (const one of reads) {
    const before = new Peer().fail()
    assert.instance(await rejection(one(before.input)), RequestAborted)
    assert.instance(await rejection(one(before.input)), RequestAborted)
    const pending = new Peer()
    const promise = one(pending.input)
    pending.fail(BAD_CHUNK)
    assert.instance(await rejection(promise), ChunkReadError)
    assert.instance(await rejection(one(pending.input)), ChunkReadError)
  }
})

failures('bytes that arrived do not make it look complete', async () => {
  const reads: ((input: Input) => Promise<unknown>)[] = [input => input.read(), input => input.read(9), input => input.readline(), input => input.readlines()]
  for (const one of reads) {
    const peer = new Peer(9)
    const promise = one(peer.input)
    peer.send('abc').fail()
    assert.instance(await rejection(promise), RequestAborted)
  }
})

failures('what is there in full can still be read', async () => {
  const { input } = new Peer().send('abc\nde').fail()
  assert.is(await text(input.read(2)), 'ab')
  assert.is(await text(input.readline()), 'c\n')
  assert.instance(await rejection(input.readline()), RequestAborted)
})

failures('iteration gives the pieces, then the failure, and goes on failing', async () => {
  const { input } = new Peer().send('abc').fail()
  const iterator = input[Symbol.asyncIterator]()
  assert.is(String((await iterator.next()).value), 'abc')
  assert.instance(await rejection(iterator.next()), RequestAborted)
  assert.instance(await rejection(iterator.next()), RequestAborted)
})

failures('all pending reads reject', async () => {
  const peer = new Peer()
  const pending = [peer.input.read(2), peer.input.readline(), peer.input.read()]
  peer.send('a').fail()
  for (const promise of pending) assert.instance(await rejection(promise), RequestAborted)
})

failures('a failure after the end changes nothing', async () => {
  const peer = complete('abc').fail()
  assert.is(await text(peer.input.read()), 'abc')
})

failures('content that the engine threw away is missed, not taken for the end', async () => {
  const peer = complete('abcdef')
  assert.is(await text(peer.input.read(2)), 'ab')
  peer.content.discard()
  assert.instance(await rejection(peer.input.read()), RequestAborted)
  assert.instance(await rejection(peer.input[Symbol.asyncIterator]().next()), RequestAborted)
})

failures('nothing is reported as unhandled', async () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  try {
    const peer = new Peer()
    void peer.input.read()
    void peer.input.readline()
    void peer.input.readlines()
    void peer.input[Symbol.asyncIterator]().next()
    void peer.input.discard()
    peer.fail()
    void peer.input.read()
    void peer.input[Symbol.asyncIterator]().next()
    await nextTurn()
    await nextTurn()
    assert.equal(unhandled, [])
  } finally {
    process.off('unhandledRejection', note)
  }
})

failures.run()

// ── However it arrives ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

const arrival = suite('input: however the content arrives')

/** What a reader over the whole content gives: the same rules without any waiting. */
class Whole {
  rest: string

  constructor(rest: string) {
    this.rest = rest
  }

  read(size: number): string {
    const taken = this.rest.slice(0, size)
    this.rest = this.rest.slice(taken.length)
    return taken
  }

  readline(size: number): string {
    const at = this.rest.indexOf('\n')
    return this.read(Math.min(size, at < 0 ? Infinity : at + 1))
  }

  readlines(hint: number): string[] {
    const found: string[] = []
    for (let bytes = 0; bytes < hint && this.rest !== ''; bytes += found.at(-1)!.length) found.push(this.readline(Infinity))
    return found
  }
}

arrival('the same reads give the same bytes at any cut, awaited or not', async () => {
  for (let seed = 1; seed <= 400; seed++) {
    const next = random(seed)
    const below = (n: number): number => Math.floor(next() * n)
    const content = Array.from({ length: below(3000) }, () => next() < 0.05 ? '\n' : String.fromCharCode(97 + below(26))).join('')
    const peer = new Peer(next() < 0.5 ? content.length : -1, 1_000_000)
    const whole = new Whole(content)
    const pieces = cutAt(Buffer.from(content), randomCuts(content.length, next)).map(String)
    const arrive = (): void => {
      const piece = pieces.shift()
      if (piece !== undefined) peer.send(piece)
      else if (!peer.content.complete) peer.end()
    }
    // Either from within a read, as from a connection's stash, or between reads.
    if (next() < 0.3) peer.onWanted = () => { if (next() < 0.5) arrive() }
    const results: Promise<unknown>[] = []
    const expected: unknown[] = []
    for (let i = below(12); i >= 0; i--) {
      if (next() < 0.5) arrive()
      const size = next() < 0.2 || i === 0 ? Infinity : below(600)
      const kind = i === 0 ? 0 : below(3)
      if (kind === 0) {
        results.push(peer.input.read(size).then(String))
        expected.push(whole.read(size))
      } else if (kind === 1) {
        results.push(peer.input.readline(size).then(String))
        expected.push(whole.readline(size))
      } else {
        results.push(peer.input.readlines(size).then(list => list.map(String)))
        expected.push(whole.readlines(size || Infinity))
      }
      if (next() < 0.3) await null
    }
    while (!peer.content.complete) arrive()
    assert.equal(await within(1000, Promise.all(results), `seed ${seed}`), expected, `seed ${seed}`)
  }
})

arrival.run()

// ── The rest of it ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const others = suite('input: discard, 100 (Continue), takeover')

others('discard waits for the end and keeps nothing', async () => {
  const peer = new Peer().send('abc\ndef')
  await peer.input.readline()
  const promise = peer.input.discard()
  assert.is(peer.content.held, 0)
  peer.send('more')
  assert.is(peer.content.held, 0)
  assert.ok(await waits(promise))
  peer.end()
  assert.is(await within(1000, promise, 'the end'), undefined)
  assert.is(await text(peer.input.read()), '')
  assert.is(await within(1000, peer.input.discard(), 'again'), undefined)
})

others('discard waits behind a pending read', async () => {
  const peer = new Peer()
  const first = peer.input.read(4)
  const rest = peer.input.discard()
  peer.send('abcdef').end()
  assert.is(await text(first), 'abcd')
  await within(1000, rest, 'the rest')
})

others('100 (Continue) goes to the cycle', () => {
  const peer = new Peer()
  peer.input.setHundredContinueResponseHeaders([['X', 'y']])
  peer.input.setHundredContinueResponseHeaders({ a: 1 }, false)
  peer.input.sendHundredContinueResponse()
  assert.equal(peer.calls, [[[['X', 'y']], true], [{ a: 1 }, false], '100'])
})

others('getSocket gives back what was taken and not read', async () => {
  const peer = new Peer().send('line\nunread ')
  await peer.input.readline()
  peer.send('bytes')
  const socket = peer.input.getSocket()
  assert.instance(socket, Duplex)
  assert.equal(peer.calls, ['unread '])
  assert.is(String(peer.content.take(Infinity)), 'bytes')
  socket.destroy()
})

others('a read that waits at a takeover rejects and gives back its bytes', async () => {
  const peer = new Peer().send('ab')
  const promise = peer.input.read(5)
  peer.input.giveBack()
  assert.is(String(peer.content.take(Infinity)), 'ab')
  peer.fail()
  assert.instance(await rejection(promise), RequestAborted)
})

others.run()
