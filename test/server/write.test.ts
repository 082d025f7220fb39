// write(): each piece at once, its promise, and what it refuses.
import * as assert from 'uvu/assert'
import type { Write } from '../../src/server/application.ts'
import { deferred, get, onEveryTransport, stable, thrown, turns, until } from '../support/harness.ts'

onEveryTransport('write()', (h, test) => {
  test('each piece is a chunk at once, in order with what the iterable gives', async () => {
    const { answer } = await h.ask((_environ, startResponse) => {
      const write = startResponse(200)
      void write('one')
      void write('')
      void write(Buffer.from('two'))
      return ['three', 'é']
    })
    assert.equal(answer.chunks!.map(String), ['one', 'two', 'threeé'])
  })

  test('a piece whose memory is given away before it has left: the connection is cut, nothing else takes its place', async () => {
    await h.serve((_environ, startResponse) => {
      const piece = new Uint8Array(100_000).fill(0x61)
      void startResponse(200, { 'Content-Length': piece.length })(piece)
      structuredClone(piece, { transfer: [piece.buffer] })
      return []
    })
    const client = await h.connect()
    await client.send(get())
    if (h.hasReset) await client.reset
    else await client.closed
    assert.is(client.buffered, '')
  })

  test('an empty piece sends the head', async () => {
    const gate = deferred()
    await h.serve(async (_environ, startResponse) => {
      await startResponse(200)('')
      await gate.promise
      return []
    })
    const client = await h.connect()
    await client.send(get())
    await until(() => client.buffered.endsWith('\r\n\r\n'), 'the head')
    gate.resolve()
    assert.is((await client.response()).body.length, 0)
  })

  test('with a Content-Length: exact; beyond it the call throws and nothing of it is sent', async () => {
    let code = ''
    const { answer } = await h.ask((_environ, startResponse) => {
      const write = startResponse(200, [['Content-Length', 5]])
      void write('abc')
      code = thrown(() => write('def'))
      void write('de')
      return []
    })
    assert.is(answer.text, 'abcde')
    assert.is(code, 'ERR_WIRELET_INVALID_HEADER')
  })

  test('what is no piece throws; after the end too', async () => {
    const codes: string[] = []
    let kept!: Write
    const { answer } = await h.ask((_environ, startResponse) => {
      kept = startResponse(200)
      codes.push(thrown(() => kept(3 as unknown as string)), thrown(() => kept(null as unknown as string)))
      return ['x']
    })
    assert.is(answer.text, 'x')
    codes.push(thrown(() => kept('late')))
    assert.equal(codes, ['ERR_WIRELET_USAGE', 'ERR_WIRELET_USAGE', 'ERR_WIRELET_USAGE'])
  })

  test('resolves true while the peer takes it, false when it has left, and never rejects', async () => {
    const results: boolean[] = []
    const done = deferred()
    const { server } = await h.serve(async (_environ, startResponse) => {
      const write = startResponse(200)
      while (await write(Buffer.alloc(65536))) results.push(true)
      results.push(false, await write('still'), await write('gone'))
      done.resolve()
      return []
    })
    const client = await h.connect()
    client.pause()
    await client.send(get())
    // A full connection keeps write() waiting: the number of pieces taken stands still, at what the kernel holds.
    const taken = await stable(() => results.length)
    assert.ok(taken > 0 && taken < 1000, `${taken} pieces taken`)
    client.resetNow()
    await done.promise
    assert.equal(results.slice(-4), [true, false, false, false])
    await until(() => server.connections === 0, 'closed')
  })

  test('a promise that waits for room settles when the application has ended before', async () => {
    const settled: boolean[] = []
    await h.serve((_environ, startResponse) => {
      const write = startResponse(200)
      void write(Buffer.alloc(32 << 20)).then(more => settled.push(more))
      return ['the end']
    })
    const client = await h.connect()
    client.pause()
    await client.send(get() + get())
    await turns(20)
    client.resume()
    const answer = await client.response()
    assert.is(answer.body.length, (32 << 20) + 7)
    await until(() => settled.length > 0, 'the promise to settle')
    assert.equal(settled.slice(0, 1), [true])
    await client.response()
  })

  test('many calls without waiting: order and bytes are right, every promise settles', async () => {
    const settled: boolean[] = []
    const { client } = await h.ask(async (_environ, startResponse) => {
      const write = startResponse(200)
      const all: Promise<boolean>[] = []
      for (let i = 0; i < 300; i++) all.push(write(String(i % 10).repeat(10_000)))
      settled.push(...await Promise.all(all))
      return []
    })
    assert.is(settled.length, 300)
    assert.ok(settled.every(each => each))
    assert.is(client.received > 3_000_000, true)
  })

  test('from inside the iterable, and after a wait', async () => {
    const { answer } = await h.ask((_environ, startResponse) => {
      const write = startResponse(200)
      return (async function* () {
        yield 'a'
        await write('b')
        yield 'c'
        await turns(2)
        await write('d')
      })()
    })
    assert.is(answer.text, 'abcd')
  })

  test('a piece that the caller changes after the call', async () => {
    const { answer } = await h.ask(async (_environ, startResponse) => {
      const write = startResponse(200)
      const scratch = Buffer.alloc(100)
      for (let i = 0; i < 10; i++) void write(scratch.fill(48 + i))
      return []
    })
    assert.is(answer.text, Array.from({ length: 10 }, (_, i) => String(i).repeat(100)).join(''))
  })

  test('then the application throws: what was written, then a reset', async () => {
    const { errors } = await h.serve((_environ, startResponse) => {
      void startResponse(200)('begun')
      throw new Error('after write')
    })
    const client = await h.connect()
    await client.send(get())
    await client.reset
    assert.match(client.buffered, /\r\n\r\n5\r\nbegun\r\n$/)
    assert.is(errors.length, 1)
  })

  test('HEAD and 204: accepted, nothing sent', async () => {
    await h.serve(async (environ, startResponse) => {
      const write = startResponse(environ.PATH_INFO === '/204' ? 204 : 200)
      assert.is(await write('abc'), true)
      return ['def']
    })
    const client = await h.connect()
    await client.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n' + get('/204') + get('/204'))
    await client.response({ method: 'HEAD' })
    assert.is((await client.response()).status, 204)
    assert.is((await client.response()).status, 204)
    assert.is(client.buffered, '')
  })
}).run()
