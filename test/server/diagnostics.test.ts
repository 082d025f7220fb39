// The channels of node:diagnostics_channel: what is published, when, in which order, and that nothing is without a subscriber.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as assert from 'uvu/assert'
import { ALREADY_HANDLED } from '../../src/server/application.ts'
import type { ConnectionMessage, PeerErrorMessage, RequestMessage } from '../../src/server/diagnostics.ts'
import { answering, deferred, get, onEveryTransport, until } from '../support/harness.ts'

type Message = ConnectionMessage & RequestMessage & PeerErrorMessage

interface Heard {
  channel: string
  message: Message
}

const NAMES = ['connection.start', 'connection.end', 'request.start', 'request.end', 'peer.error']

/** Runs `body` while everything that these channels say is written down. */
async function listening(names: string[], body: (heard: Heard[]) => Promise<void>): Promise<void> {
  const heard: Heard[] = []
  const listeners = names.map(name => (message: unknown): void => void heard.push({ channel: name, message: message as Message }))
  names.forEach((name, i) => subscribe(`wirelet.${name}`, listeners[i]!))
  try {
    await body(heard)
  } finally {
    names.forEach((name, i) => unsubscribe(`wirelet.${name}`, listeners[i]!))
  }
}

onEveryTransport('diagnostics', (h, test) => {
  test('a connection and its two requests, in order', () => listening(NAMES, async heard => {
    const { server } = await h.serve(answering('hello'))
    const client = await h.connect()
    await client.send(get('/a') + get('/b'))
    await client.responses(2)
    await client.end()
    await until(() => heard.at(-1)?.channel === 'connection.end', 'the end of the connection')
    const order = heard.map(({ channel }) => channel)
    assert.equal(order[0], 'connection.start')
    assert.equal(order.filter(name => name.startsWith('request')).sort(), ['request.end', 'request.end', 'request.start', 'request.start'])
    assert.is(order.length, 6)
    for (const { message } of heard) {
      assert.is(message.server, server)
      if (message.connection !== undefined) assert.is(message.connection, heard[0]!.message.connection, 'the same object for the whole connection')
    }
    const [start] = heard
    assert.is(start!.message.peer.address, h.kind.over === 'unix' ? 'unix' : '127.0.0.1')
    assert.equal(heard.at(-1)!.message.peer, start!.message.peer)
  }))

  test('start and end of a request share their environ; status and outcome are known at the end', () => listening(['request.start', 'request.end'], async heard => {
    await h.serve(answering('hello'))
    const client = await h.connect()
    await client.send(get('/a?b'))
    await client.response()
    await until(() => heard.length === 2, 'the end')
    const [start, end] = heard.map(({ message }) => message)
    assert.is(start!.environ, end!.environ)
    assert.is(end!.environ.REQUEST_URI, '/a?b')
    assert.equal([start!.status, start!.outcome], [null, null])
    assert.equal([end!.status, end!.outcome], [200, { bytes: 5, completed: true, reason: '' }])
  }))

  test('request.start comes before the application', () => listening(['request.start'], async heard => {
    let before = -1
    await h.serve((_environ, startResponse) => {
      before = heard.length
      startResponse('200 OK')
      return ['hello']
    })
    const client = await h.connect()
    await client.send(get())
    await client.response()
    assert.is(before, 1)
  }))

  test('a request whose peer leaves: one end, with the reason', () => listening(['request.end', 'connection.end'], async heard => {
    const called = deferred()
    await h.serve(() => {
      called.resolve()
      return new Promise(() => {})
    })
    const client = await h.connect()
    await client.send(get())
    await called.promise
    client.resetNow()
    await until(() => heard.length === 2, 'both ends')
    assert.equal(heard.map(({ channel }) => channel), ['request.end', 'connection.end'])
    const { outcome } = heard[0]!.message
    assert.is(outcome!.completed, false)
    assert.match(outcome!.reason, /peer/)
  }))

  test('a failed application: 500, completed', () => listening(['request.end'], async heard => {
    await h.serve(() => {
      throw new Error('asked to fail')
    })
    const client = await h.connect()
    await client.send(get())
    await client.response()
    await until(() => heard.length === 1, 'the end')
    assert.equal([heard[0]!.message.status, heard[0]!.message.outcome!.completed], [500, true])
  }))

  test('a peer error: the event that onPeerError gets, and no request', () => listening(NAMES, async heard => {
    const { server, peerErrors } = await h.serve(answering('hello'))
    const client = await h.connect()
    await client.send('GET / HTTP/1.1\r\n\r\n')
    await client.response()
    const errors = heard.filter(({ channel }) => channel === 'peer.error')
    assert.equal(heard.map(({ channel }) => channel), ['connection.start', 'peer.error'])
    assert.equal(errors[0]!.message, { ...peerErrors[0]!, server } as unknown as Message)
    assert.equal([errors[0]!.message.name, errors[0]!.message.status], ['HPE_MISSING_HOST', 400])
  }))

  test('a takeover: the request ends when the application returns, the connection when its new owner closes it', () => listening(NAMES, async heard => {
    await h.serve(environ => {
      environ['wirelet.upgrade']().on('error', () => {}).resume().end('over')
      return ALREADY_HANDLED
    })
    const client = await h.connect()
    await client.send(get())
    assert.is((await client.untilEnd()).toString(), 'over')
    await client.end()
    await until(() => heard.at(-1)?.channel === 'connection.end', 'the end of the connection')
    assert.equal(heard.map(({ channel }) => channel), ['connection.start', 'request.start', 'request.end', 'connection.end'])
  }))

  test('a subscriber that throws harms no request', () => {
    const failing = (): void => {
      throw new Error('a subscriber failed')
    }
    // Node tells of it in the next tick, as an uncaught exception: the subscriber's own affair.
    const uncaught: unknown[] = []
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', error => uncaught.push(error))
    for (const name of NAMES) subscribe(`wirelet.${name}`, failing)
    return (async () => {
      const { server } = await h.serve(answering('hello'))
      const client = await h.connect()
      await client.send(get())
      assert.is((await client.response()).text, 'hello')
      await client.end()
      await until(() => server.connections === 0, 'the end of the connection')
      assert.is(uncaught.length, 4)
    })().finally(() => {
      for (const name of NAMES) unsubscribe(`wirelet.${name}`, failing)
      process.removeAllListeners('uncaughtException')
      for (const listener of others) process.on('uncaughtException', listener)
    })
  })

  test('without subscribers nothing is made: no environ is read for anybody', async () => {
    // The peer's address costs a system call on a handle; it is asked for when somebody subscribes and not before.
    const { server } = await h.serve(answering('hello'), { logOutput: false, ...({ onPeerError: undefined } as object) })
    const client = await h.connect()
    await client.send(get())
    await client.response()
    const [connection] = (server as unknown as { engine: { connections: Set<{ transport: object }> } }).engine.connections
    assert.is(Reflect.get(connection!.transport, 'peer'), null)
  })
}).run()
