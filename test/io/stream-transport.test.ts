// What only StreamTransport has to bear: streams that are no sockets, and streams that behave unlike any of Node's.
import { Duplex, type DuplexOptions, duplexPair } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { borrowBuffer, lentBuffers } from '../../src/io/buffer-pool.ts'
import { setPoison } from '../../src/io/poison.ts'
import { StreamTransport } from '../../src/io/stream-transport.ts'
import type { TransportOwner } from '../../src/io/transport.ts'
import { turns } from '../support/harness.ts'

const test = suite('stream transport')

class Log implements TransportOwner {
  readonly lines: string[] = []
  onBytes(bytes: Buffer, start: number, end: number): void {
    this.lines.push(`bytes ${bytes.toString('utf8', start, end)}`)
  }
  onOwnBytes(): void {}
  onReadDone(): void {}
  expectedBytes(): number {
    return 0
  }
  onEnd(): void {
    this.lines.push('end')
  }
  onDrained(): void {
    this.lines.push('drained')
  }
  onClosed(failure: string): void {
    this.lines.push(`closed ${failure}`)
  }
}

/** Takes writes when told to, and shows in which portions they came. */
class Slow extends Duplex {
  readonly portions: number[] = []
  readonly chunks: Buffer[] = []
  private done: (() => void) | null = null
  constructor(options: DuplexOptions = {}) {
    super({ allowHalfOpen: true, ...options })
  }
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.portions.push(chunk.length)
    this.chunks.push(chunk)
    this.done = done
  }
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.portions.push(chunks.reduce((sum, { chunk }) => sum + chunk.length, 0))
    for (const { chunk } of chunks) this.chunks.push(chunk)
    this.done = done
  }
  finishWrite(): void {
    const { done } = this
    this.done = null
    done?.()
  }
}

function started(stream: Duplex): { transport: StreamTransport; log: Log } {
  const transport = new StreamTransport(stream)
  const log = new Log()
  transport.start(log)
  return { transport, log }
}

test.before(() => setPoison(true))
test.after(() => setPoison(false))
test.after.each(() => assert.is(lentBuffers(), 0))

test('destroyed while its last write completes, after endWriting: the other side sees an end', async () => {
  const [here, there] = duplexPair()
  let ended = false
  here.on('end', () => (ended = true)).resume()
  const { transport, log } = started(there)
  log.onDrained = () => transport.destroy()
  transport.write(Buffer.from('the last'), null)
  transport.endWriting()
  await turns(4)
  assert.ok(ended)
  assert.ok(there.destroyed)
})

test('what comes inside our own write, or in the middle of what the owner makes of earlier bytes, waits for its turn', async () => {
  for (const writes of ['the transport', 'the owner']) {
    const [here, there] = duplexPair()
    const { transport, log } = started(there)
    let inside = false
    const onBytes = log.onBytes
    log.onBytes = (bytes, start, end) => {
      assert.not(inside)
      inside = true
      onBytes.call(log, bytes, start, end)
      if (log.lines.length === 1) {
        if (writes === 'the owner') here.write('second')
        else transport.write(Buffer.from('answer'), null)
        here.end('third')
      }
      log.lines.push('interpreted')
      inside = false
    }
    here.once('data', () => here.write('second'))
    here.write('first')
    await turns(4)
    assert.equal(log.lines.filter(line => line !== 'drained'), ['bytes first', 'interpreted', 'bytes second', 'interpreted', 'bytes third', 'interpreted', 'end'])
    transport.destroy()
  }
})

test('what waits for its turn is kept as it was, comes after nothing while reading is paused, and goes along in a takeover', async () => {
  const [here, there] = duplexPair()
  const { transport, log } = started(there)
  await turns(1)
  const bytes = Buffer.from('mine')
  here.write(bytes)
  bytes.fill('x')
  transport.pauseReading()
  here.write('yours')
  await turns(4)
  assert.equal(log.lines, ['bytes mine'])
  transport.resumeReading()
  await turns(4)
  assert.equal(log.lines, ['bytes mine', 'bytes yours'])
  here.write('and theirs')
  const duplex = transport.detach(Buffer.from('left '))
  let taken = ''
  duplex.on('data', chunk => (taken += chunk))
  await turns(4)
  assert.is(taken, 'left and theirs')
  duplex.destroy()
})

test('a slow stream is handed at most 24 KiB at a time, so that its progress shows', async () => {
  const stream = new Slow()
  const { transport, log } = started(stream)
  transport.writeMany([Buffer.alloc(200), Buffer.alloc(100_000)], [null, null])
  const seen: number[] = []
  while (transport.untakenBytes() > 0) {
    seen.push(transport.untakenBytes())
    stream.finishWrite()
    await turns(1)
  }
  assert.equal(stream.portions, [16384, 16384, 16384, 16384, 16384, 18280])
  assert.equal(seen, [100200, 83816, 67432, 51048, 34664, 18280])
  assert.equal(log.lines, ['drained'])
})

test('a view is handed on without a copy', async () => {
  const stream = new Slow()
  const { transport } = started(stream)
  const bytes = Buffer.alloc(40_000)
  transport.write(bytes, null)
  assert.is(stream.chunks[0]!.buffer, bytes.buffer)
  transport.destroy()
})

test('pooled memory is never seen by the other side of an in-memory stream', async () => {
  const stream = new Slow()
  const { transport } = started(stream)
  const memory = borrowBuffer()
  memory.write('mine')
  transport.write(memory.subarray(0, 4), memory)
  assert.is(lentBuffers(), 0)
  assert.is(stream.chunks[0]!.toString(), 'mine')
  transport.destroy()
})

test('strings, decoded strings and plain byte arrays come as bytes', async () => {
  const objects = new Slow({ readableObjectMode: true })
  const first = started(objects)
  objects.push('é')
  objects.push(new Uint8Array([0x61]))
  await turns(4)
  assert.equal(first.log.lines, ['bytes é', 'bytes a'])
  const decoding = new Slow()
  decoding.setEncoding('latin1')
  const lengths: number[] = []
  const transport = new StreamTransport(decoding)
  const log = new Log()
  log.onBytes = (_bytes, start, end) => void lengths.push(end - start)
  transport.start(log)
  decoding.push(Buffer.from([0xe9]))
  await turns(4)
  assert.equal(lengths, [1])
})

test('what is no bytes at all ends the connection', async () => {
  const stream = new Slow({ readableObjectMode: true })
  const { log } = started(stream)
  stream.push({ not: 'bytes' })
  stream.push('never seen')
  await turns(4)
  assert.equal(log.lines, ['closed ERR_INVALID_ARG_TYPE'])
  assert.ok(stream.destroyed)
})

test('poison mode leaves a foreign chunk alone', async () => {
  const stream = new Slow()
  const { log } = started(stream)
  const chunk = Buffer.from('theirs')
  stream.push(chunk)
  await turns(4)
  assert.equal(log.lines, ['bytes theirs'])
  assert.is(chunk.toString(), 'theirs')
})

test('a stream that emits its error inside write: onClosed comes afterwards, once', async () => {
  const stream = new Slow({ emitClose: false })
  stream._write = () => {
    stream.emit('error', Object.assign(new Error('at once'), { code: 'EPIPE' }))
  }
  const { transport, log } = started(stream)
  transport.write(Buffer.from('x'), null)
  assert.equal(log.lines, [])
  await turns(4)
  assert.equal(log.lines, ['closed EPIPE'])
  stream.emit('error', new Error('again'))
  stream.emit('close')
  assert.equal(log.lines, ['closed EPIPE'])
})

test('destroyed by somebody else without an end is no orderly close', async () => {
  const stream = new Slow()
  const { log } = started(stream)
  stream.destroy()
  await turns(4)
  assert.equal(log.lines, ['closed ERR_STREAM_PREMATURE_CLOSE'])
})

test('an error before start is told after it', async () => {
  const stream = new Slow()
  const transport = new StreamTransport(stream)
  stream.destroy(Object.assign(new Error('gone'), { code: 'ETIMEDOUT' }))
  await turns(4)
  const log = new Log()
  transport.start(log)
  assert.equal(log.lines, [])
  await turns(4)
  assert.equal(log.lines, ['closed ETIMEDOUT'])
})

test('a stream that had been destroyed before it was wrapped', async () => {
  const stream = new Slow().destroy()
  await turns(4)
  const { log } = started(stream as Slow)
  await turns(4)
  assert.equal(log.lines, ['closed '])
})

test('a stream that does not allow half-open is made to', async () => {
  const stream = new Slow({ allowHalfOpen: false })
  const { transport, log } = started(stream)
  stream.push('question')
  stream.push(null)
  await turns(4)
  assert.equal(log.lines, ['bytes question', 'end'])
  transport.write(Buffer.from('answer'), null)
  assert.is(stream.chunks[0]!.toString(), 'answer')
  transport.destroy()
})

test('detached: none of our listeners but the one for errors is left', () => {
  const stream = new Slow()
  const before = stream.listenerCount('end')
  const { transport } = started(stream)
  assert.is(transport.detach(Buffer.from('leftover')), stream)
  assert.equal([stream.listenerCount('data'), stream.listenerCount('end'), stream.listenerCount('close')], [0, before, 0])
  assert.is(stream.listenerCount('error'), 1)
  assert.is(stream.read()?.toString(), 'leftover')
})

test.run()
