// An exception in a transport's owner is an error of ours: reported, the end of its connection, and of nothing else.
import { Duplex } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Acceptor } from '../../src/io/acceptor.ts'
import { listen } from '../../src/io/listener.ts'
import { NOBODY, reportInternalError, setInternalErrorHook } from '../../src/io/transport.ts'
import { StreamTransport } from '../../src/io/stream-transport.ts'
import type { TransportOwner } from '../../src/io/transport.ts'
import { turns, until } from '../support/harness.ts'
import { connectTo } from '../support/sockets.ts'

const failures = suite('owners that throw')
let reported: unknown[] = []

failures.before.each(() => {
  reported = []
  setInternalErrorHook(error => reported.push(error))
})

/** Completes its writes when told to. */
class Held extends Duplex {
  private done: (() => void)[] = []
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    this.done.push(done)
  }
  release(): void {
    for (const done of this.done.splice(0)) done()
  }
}

function throwing(method: 'onEnd' | 'onDrained' | 'onClosed'): { owner: TransportOwner; closed: string[] } {
  const closed: string[] = []
  const owner: TransportOwner = { ...NOBODY, onClosed: failure => void closed.push(failure) }
  owner[method] = () => {
    throw new Error(method)
  }
  return { owner, closed }
}

failures('onEnd', async () => {
  const stream = new Held()
  const { owner, closed } = throwing('onEnd')
  new StreamTransport(stream).start(owner)
  stream.push(null)
  await until(() => closed.length > 0, 'the end')
  assert.equal(closed, ['ERR_INTERNAL'])
  assert.match(String(reported[0]), /onEnd/)
  assert.ok(stream.destroyed)
})

failures('onDrained', async () => {
  const stream = new Held()
  const { owner, closed } = throwing('onDrained')
  const transport = new StreamTransport(stream)
  transport.start(owner)
  transport.write(Buffer.from('x'), null)
  await turns()
  stream.release()
  await until(() => closed.length > 0, 'the end')
  assert.equal(closed, ['ERR_INTERNAL'])
  assert.match(String(reported[0]), /onDrained/)
})

failures('onClosed', async () => {
  const stream = new Held()
  const { owner } = throwing('onClosed')
  new StreamTransport(stream).start(owner)
  stream.destroy(new Error('gone'))
  await until(() => reported.length > 0, 'the report')
  assert.match(String(reported[0]), /onClosed/)
})

failures('a hook that throws itself', () => {
  setInternalErrorHook(() => {
    throw new Error('no log')
  })
  reportInternalError(new Error('lost'))
})

failures('more than a thousand pieces that wait: the list does not grow for ever, and their order holds', async () => {
  const written: string[] = []
  const waiting: (() => void)[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(String(chunk))
      waiting.push(done)
    }
  })
  const transport = new StreamTransport(stream)
  const owner: TransportOwner = { ...NOBODY }
  transport.start(owner)
  const pieces = Array.from({ length: 4000 }, (_, i) => Buffer.from(String(i).padStart(16)))
  transport.writeMany([...pieces], pieces.map(() => null))
  while (transport.pendingBytes > 0) {
    waiting.shift()?.()
    await turns(1)
  }
  assert.is(written.join(''), pieces.join(''))
  transport.destroy()
})

failures('onTransport: the connection is closed and the listener goes on', async () => {
  const listener = await listen(0)
  let calls = 0
  const owner = { onTransport() {
    calls++
    throw new Error('onTransport')
  }, admitsHandshake: () => true, onListenerError() {}, onListenerClosed() {}, onHandshakeFailed() {} }
  const acceptor = new Acceptor(listener, 'handle', 1000, owner)
  acceptor.start()
  for (let i = 1; i <= 2; i++) {
    const socket = await connectTo(listener.address().port)
    socket.resume()
    await until(() => socket.readableEnded || socket.destroyed, 'the close')
    assert.is(calls, i)
    assert.is(reported.length, i)
    socket.destroy()
  }
  acceptor.stop()
  await listener.close()
})

failures.run()
