// The end of an iterable: `return()` when it is stopped early, `close()` once in any case.
import { Readable } from 'node:stream'
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { deferred, get, onEveryTransport, turns, until } from '../support/harness.ts'

/** A body that writes down what is done to it. */
function watched(events: string[], pieces: () => Iterator<string> | AsyncIterator<string>, kind: 'sync' | 'async', ending?: () => void): Iterable<string> & { close(): void } {
  const inner = pieces()
  const iterator = {
    next: () => inner.next(),
    return(value?: unknown) {
      events.push('return')
      void inner.return?.()
      return kind === 'sync' ? { done: true, value } : Promise.resolve({ done: true, value })
    }
  }
  return {
    [kind === 'sync' ? Symbol.iterator : Symbol.asyncIterator]: () => iterator,
    close() {
      events.push('close')
      ending?.()
    }
  } as unknown as Iterable<string> & { close(): void }
}

onEveryTransport('the end of an iterable', (h, test) => {
  for (const kind of ['sync', 'async'] as const) {
    const serveWatched = (events: string[], pieces: () => Iterator<string>, ending?: () => void): Application => (environ, startResponse) => {
      startResponse(environ.PATH_INFO === '/204' ? 204 : 200)
      return watched(events, kind === 'sync' ? pieces : () => (async function* () { yield* { [Symbol.iterator]: pieces } })(), kind, ending)
    }

    test(`${kind}: close() once after its end, without return()`, async () => {
      const events: string[] = []
      const { client } = await h.ask(serveWatched(events, () => ['a', 'b'].values()))
      await client.send(get())
      await client.response()
      assert.equal(events, ['close', 'close'])
    })

    test(`${kind}: return() and close() when the answer has no use for the rest`, async () => {
      const events: string[] = []
      await h.ask(serveWatched(events, () => Array.from({ length: 9 }, () => 'x'.repeat(4096)).values()), get('/204'))
      assert.equal(events, ['return', 'close'])
    })

    test(`${kind}: close() when it throws`, async () => {
      const events: string[] = []
      const { answer } = await h.ask(serveWatched(events, function* () { throw new Error('no') }))
      assert.is(answer.status, 500)
      assert.equal(events, ['close'])
    })

    test(`${kind}: return() and close() when the peer leaves`, async () => {
      const events: string[] = []
      const { server } = await h.serve(serveWatched(events, function* () { for (;;) yield 'x'.repeat(65536) }))
      const client = await h.connect()
      client.pause()
      await client.send(get())
      await turns(20)
      client.resetNow()
      await until(() => server.connections === 0, 'closed')
      assert.equal(events, ['return', 'close'])
    })

    test(`${kind}: a close() that throws is logged and harms nobody`, async () => {
      const events: string[] = []
      const { answer, client, errors } = await h.ask(serveWatched(events, () => ['a'].values(), () => { throw new Error('closing') }))
      assert.is(answer.text, 'a')
      await client.send(get())
      assert.is((await client.response()).text, 'a')
      assert.is(errors.length, 2)
      assert.match(errors[0]!, /closing/)
    })
  }

  test('a peer that left before the application returned: its iterable is closed and never begun', async () => {
    const events: string[] = []
    const gate = deferred()
    const { server } = await h.serve(async (_environ, startResponse) => {
      await gate.promise
      startResponse(200)
      return watched(events, () => ['a'].values(), 'sync')
    })
    const client = await h.connect()
    await client.send(get())
    await turns()
    client.resetNow()
    await until(() => server.connections === 0, 'closed')
    gate.resolve()
    await turns()
    assert.equal(events, ['close'])
  })

  test('HEAD: an endless generator is stopped', async () => {
    const events: string[] = []
    await h.ask((_environ, startResponse) => {
      startResponse(200)
      return watched(events, function* () { for (;;) yield 'x'.repeat(1000) }, 'sync')
    }, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.equal(events, ['return', 'close'])
  })

  test('a Content-Length that is reached: the rest is not pulled', async () => {
    const events: string[] = []
    const { answer } = await h.ask((_environ, startResponse) => {
      startResponse(200, { 'Content-Length': 5000 })
      return watched(events, function* () { for (;;) yield 'x'.repeat(5000) }, 'sync')
    })
    assert.is(answer.body.length, 5000)
    assert.equal(events, ['return', 'close'])
  })

  test('an async iterator whose next() is pending when the peer leaves', async () => {
    const events: string[] = []
    const { server, errors } = await h.serve((_environ, startResponse) => {
      startResponse(200)
      return {
        [Symbol.asyncIterator]: () => ({
          next: () => new Promise<IteratorResult<string>>(() => {}),
          return: () => {
            events.push('return')
            return Promise.reject(new Error('return failed'))
          }
        }),
        close: () => events.push('close')
      }
    })
    const client = await h.connect()
    await client.send(get())
    await turns()
    client.resetNow()
    await until(() => server.connections === 0 && events.length === 2, 'told')
    await turns()
    assert.equal(events, ['return', 'close'])
    assert.ok(errors.length <= 1, errors.join('\n'))
  })

  test('a web stream is cancelled, a Readable destroyed, when the peer leaves', async () => {
    const told: string[] = []
    const { server } = await h.serve((environ, startResponse) => {
      startResponse(200)
      if (environ.PATH_INFO === '/web') {
        return new ReadableStream({
          pull: controller => controller.enqueue(new Uint8Array(65536)),
          cancel: () => void told.push('cancelled')
        }) as unknown as AsyncIterable<Uint8Array>
      }
      return new Readable({
        read() { this.push(Buffer.alloc(65536)) },
        destroy(error, done) {
          told.push('destroyed')
          done(error)
        }
      })
    })
    for (const path of ['/web', '/node']) {
      const client = await h.connect()
      await client.send(get(path))
      await until(() => client.received > 1 << 20, 'some of it')
      client.resetNow()
      await until(() => server.connections === 0, 'closed')
    }
    await until(() => told.length === 2, 'both told')
    assert.equal(told, ['cancelled', 'destroyed'])
  })

  for (const when of ['while it waits', 'before it is begun', 'and ending it fails'] as const) {
    test(`a stream that says nothing is ended too when the peer leaves, ${when}`, async () => {
      const told: string[] = []
      const gate = deferred()
      const fails = when === 'and ending it fails'
      const { server, errors } = await h.serve(async (environ, startResponse) => {
        startResponse(200)
        if (when === 'before it is begun') await gate.promise
        if (environ.PATH_INFO === '/web') {
          return new ReadableStream({
            cancel() {
              told.push('cancelled')
              if (fails) throw new Error('cancel failed')
            }
          }) as unknown as AsyncIterable<Uint8Array>
        }
        return new Readable({
          read() {},
          destroy(error, done) {
            told.push('destroyed')
            done(fails ? new Error('destroy failed') : error)
          }
        })
      })
      for (const path of ['/web', '/node']) {
        const client = await h.connect()
        await client.send(get(path))
        await until(() => server.outstandingRequests === 1, 'the request')
        await turns()
        client.resetNow()
        await until(() => server.connections === 0, 'closed')
        gate.resolve()
        await turns()
      }
      await until(() => told.length === 2, 'both told')
      await turns()
      assert.equal(told, ['cancelled', 'destroyed'])
      assert.is(errors.length, fails ? 1 : 0, errors.join('\n'))
    })
  }

  test('a Readable that fails before it is begun is a failure of its answer', async () => {
    const { errors } = await h.serve((_environ, startResponse) => {
      const write = startResponse(200)
      for (let i = 0; i < 4; i++) void write('x'.repeat(65536))
      // The peer has to take that first. The event comes before anybody asks this stream for a piece.
      return new Readable({ read() {} }).destroy(new Error('the source broke'))
    })
    const client = await h.connect()
    await client.send(get())
    await client.closed
    assert.is(errors.length, 1)
    assert.match(errors[0]!, /the source broke/)
  })

  test('the close() of an array', async () => {
    let closed = 0
    const { answer } = await h.ask((_environ, startResponse) => {
      startResponse(200)
      return Object.assign(['a', 'b'], { close: () => { closed++ } })
    })
    assert.is(answer.text, 'ab')
    assert.is(closed, 1)
  })
}).run()
