// An application's mistake costs its own request: the process has no uncaught exception, and everybody else is served as if nothing were.
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ServeOptions } from '../../src/server/options.ts'
import type { RawClient, Response } from '../support/raw-client.ts'
import { get } from '../support/harness.ts'
import { within } from '../support/within.ts'
import { Child, withChild } from './support.ts'

/** Somebody else's request on a connection of its own. */
async function innocent(child: Child): Promise<void> {
  const client = await child.connect()
  await client.send(get('/'))
  assert.is((await within(2000, client.response(), 'an innocent request')).text, 'Hello, World!\r\n')
  client.destroy()
}

async function ask(child: Child, target: string): Promise<{ client: RawClient; response: Response }> {
  const client = await child.connect()
  await client.send(get(target))
  return { client, response: await client.response() }
}

for (const transport of ['stream', 'handle'] as const) {
  const tests = suite(`applications that fail (${transport})`)

  let shared: Child

  const check = async (child: Child, body: (child: Child) => Promise<void>): Promise<void> => {
    await body(child)
    await innocent(child)
    const report = await child.until(({ stats }) => stats.connections === 0 && stats.outstandingRequests === 0, 'nothing left')
    assert.equal([report.faults, report.lent], [[], 0])
  }

  /** Afterwards nothing is left of it. With `options` in a process of its own. */
  const test = (name: string, body: (child: Child) => Promise<void>, options?: ServeOptions): void => {
    tests(name, options === undefined ? () => check(shared, body) : () => withChild({ options: { transport, ...options } }, child => check(child, body)))
  }

  tests.before(async () => {
    shared = await Child.start({ options: { transport } })
  })

  tests.after(async () => {
    try {
      const { report, code } = await shared.close(2000)
      assert.equal([report.faults, report.lent, code], [[], 0, 0])
    } finally {
      shared.kill()
    }
  })

  for (const target of ['/throw', '/reject', '/throw-nothing', '/reject-nothing', '/bad-piece', '/bad-iterator', '/bad-thenable', '/no-body', '/no-start']) {
    test(`${target}: a clean 500, then the end`, async child => {
      const { client, response } = await ask(child, target)
      assert.is(response.status, 500)
      assert.is(response.header('connection'), 'close')
      await client.ended
      client.destroy()
    })
  }

  test('a failure after the head: cut, so that the peer can tell', async child => {
    const client = await child.connect()
    await client.send(get('/broken'))
    assert.is(await client.closed, 'reset')
    const short = await child.connect()
    await short.send(get('/short'))
    assert.is(await short.closed, 'reset')
  })

  test('close() of the body throws: the answer stands', async child => {
    const { client, response } = await ask(child, '/bad-close')
    assert.is(response.text, 'closed badly')
    client.destroy()
  })

  test('return() of the iterator throws when the peer leaves', async child => {
    const client = await child.connect()
    client.pause()
    await client.send(get('/bad-return'))
    await child.until(({ stats }) => stats.bytesWritten > 0, 'the answer under way')
    client.resetNow()
  })

  test('never answers: only its own peer waits, and its leaving ends the request', async child => {
    const client = await child.connect()
    await client.send(get('/never'))
    await child.until(({ stats }) => stats.outstandingRequests === 1, 'the request under way')
    await innocent(child)
    client.resetNow()
  })

  test('never answers, under timeouts.handler: 503', async child => {
    const { client, response } = await ask(child, '/never')
    assert.is(response.status, 503)
    await client.ended
    client.destroy()
  }, { timeouts: { handler: 500 } })

  for (const target of ['/return-late', '/reject-late']) {
    test(`${target}: after the peer left`, async child => {
      const client = await child.connect()
      await client.send(get(target))
      await child.until(({ stats }) => stats.outstandingRequests === 1, 'the request under way')
      client.resetNow()
      await child.until(({ stats }) => stats.connections === 0, 'the connection over')
      await delay(100)
    })
  }

  test('write() after the end throws in the application, and the answer stands', async child => {
    const { client, response } = await ask(child, '/after-the-end')
    assert.is(response.text, 'in time')
    await delay(100)
    await client.send(get('/'))
    assert.is((await client.response()).text, 'Hello, World!\r\n')
    client.destroy()
  })

  for (const target of ['/forever', '/forever-async']) {
    test(`${target}: the others are served while it goes on, to a peer that takes it all`, async child => {
      const client = await child.connect()
      client.stream.removeAllListeners('data')
      client.stream.on('data', () => {})
      await client.send(get(target))
      await child.until(({ stats }) => stats.bytesWritten > 1 << 20, 'the answer under way')
      for (let i = 0; i < 20; i++) await innocent(child)
      client.resetNow()
    })

    test(`${target}: it stops at the high-water mark for a peer that takes nothing`, async child => {
      const client = await child.connect()
      client.pause()
      await client.send(get(target))
      let last = -1
      for (let now = 0; now !== last; now = (await child.report()).stats.bytesWritten) {
        last = now
        await delay(200)
      }
      const before = (await child.report()).cpu
      await delay(500)
      assert.ok((await child.report()).cpu - before < 100, 'it still iterates')
      client.resetNow()
    })
  }

  // Nothing ever becomes due for the wire, so neither back-pressure nor the turn's share of bytes ends the turn.
  for (const target of ['/nothing-forever', '/nothing-forever-async']) {
    test(`${target}: empty pieces without end hold up nobody else either`, async child => {
      const client = await child.connect()
      await client.send(get(target))
      await child.until(({ stats }) => stats.outstandingRequests === 1, 'the request under way')
      await innocent(child)
      client.resetNow()
    }, {})
  }

  test('holds the event loop for 3 s: innocent peers keep their connections (design §2.8)', async child => {
    // Each would be over its deadline if the blocked time counted: idle, in a head, in its content.
    const idle = await child.connect()
    await idle.send(get('/'))
    await idle.response()
    const inHead = await child.connect()
    await inHead.send('GET / HTTP/1.1\r\nHo')
    const inContent = await child.connect()
    await inContent.send('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab')
    const fresh = await child.connect()
    await child.until(({ stats }) => stats.states.idle === 1 && stats.states.reading === 1 && stats.states.responding === 1 && stats.states.new === 1, 'one of each')

    const blocking = await child.connect()
    await blocking.send(get('/block?3000'))
    // Sent while nothing is read: it lies in the kernel when the loop comes back.
    await delay(500)
    await Promise.all([idle.send(get('/')), inHead.send('st: a\r\n\r\n'), inContent.send('cd'), fresh.send(get('/'))])
    assert.is((await blocking.response()).text, 'blocked')
    const answers = await Promise.all([idle, inHead, inContent, fresh].map(client => client.response()))
    assert.equal(answers.map(each => each.status), [200, 200, 200, 200])
    for (const client of [idle, inHead, inContent, fresh, blocking]) client.destroy()
    assert.equal((await child.report()).stats.deadlines, {})
  }, { keepalive: 1500, timeouts: { firstByte: 1500, head: 1500, body: 1500 } })

  test('post hooks that never end: given up, and the connection goes on', async child => {
    const client = await child.connect()
    for (let i = 0; i < 40; i++) {
      await client.send(get('/endless-hook'))
      assert.is((await client.response()).text, 'hooked')
    }
    client.destroy()
  }, { timeouts: { hook: 200 } })

  tests.run()
}
