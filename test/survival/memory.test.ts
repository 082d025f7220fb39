// What one peer can make us hold, by what can be counted: requests begun and not ended, octets read and not used. The bytes themselves are measured
// by soak/memory.ts and told in docs/limits.md.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { DEFAULT_LIMITS } from '../../src/parser/limits.ts'
import { answering, get, onEveryTransport, stable, until } from '../support/harness.ts'

/** One read of a transport. */
const READ = 65536
/** Cycles that one turn may begin: so many can wait for the kernel together. */
const TURN_CYCLES = 32

const never: Application = () => new Promise(() => {})
const longestHead = get('/', `X: ${'x'.repeat(8000)}\r\n`.repeat(8))

onEveryTransport('what one peer can make us hold', (h, test) => {
  // A stream reads a chunk ahead of whoever paused it.
  const reads = (n: number): number => (h.kind.transport === 'stream' ? n + 1 : n) * READ

  test('pipelined requests, answers not taken: few of them wait for the kernel', async () => {
    const { server } = await h.serve(answering('hello'))
    const client = await h.connect()
    client.pause()
    client.stream.write(get().repeat(300_000))
    await until(() => server.stats().requests > 0, 'the first ones')
    await stable(() => server.stats().requests)
    assert.ok(server.outstandingRequests <= 2 * TURN_CYCLES, `${server.outstandingRequests} requests wait`)
  })

  test('pipelined requests, answers not taken: their heads count as what is read', async () => {
    const { server } = await h.serve(answering('x'.repeat(10_000)))
    const client = await h.connect()
    client.pause()
    const heads = Buffer.from(longestHead.repeat(16))
    for (let i = 0; i < 100; i++) client.stream.write(heads)
    await until(() => server.stats().requests > 0, 'the first ones')
    await stable(() => server.stats().requests)
    const held = server.outstandingRequests * longestHead.length
    assert.ok(held <= DEFAULT_LIMITS.readBuffer + 2 * longestHead.length, `${held} octets of heads wait`)
  })

  test('pipelined requests behind one that waits: reading stops', async () => {
    const { server } = await h.serve(never)
    const client = await h.connect()
    client.stream.write(get().repeat(100_000))
    await until(() => server.stats().requests === 1, 'the first')
    const read = await stable(() => server.stats().bytesRead)
    assert.ok(read <= reads(2), `${read} octets were read`)
  })

  test('content that nobody reads: reading stops at readBuffer, and one read later', async () => {
    const { server } = await h.serve(never)
    const client = await h.connect()
    client.stream.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n')
    client.stream.write(Buffer.alloc(1 << 20))
    await until(() => server.stats().requests === 1, 'the head')
    const read = await stable(() => server.stats().bytesRead)
    assert.ok(read >= DEFAULT_LIMITS.readBuffer && read <= DEFAULT_LIMITS.readBuffer + reads(1) + 200, `${read} octets were read`)
  })

  for (const [framing, fields, block] of [
    ['with its length', 'Content-Length: 99999999', Buffer.alloc(1 << 20)],
    ['in chunks of 16 KiB', 'Transfer-Encoding: chunked', Buffer.from(`4000\r\n${'c'.repeat(16384)}\r\n`.repeat(64))]
  ] as const) {
    test(`content ${framing} that is read for a while and then no more: reading stops at six times readBuffer`, async () => {
      let taken = 0
      const { server } = await h.serve(async environ => {
        for await (const piece of environ['wsgi.input']) {
          taken += piece.length
          if (taken > 1 << 20) break
        }
        return new Promise(() => {})
      })
      const client = await h.connect()
      client.stream.write(`POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n`)
      for (let i = 0; i < 16; i++) client.stream.write(block)
      await until(() => taken > 1 << 20, 'the reading')
      const read = await stable(() => server.stats().bytesRead)
      const coding = read / 1000
      assert.ok(read - taken <= 6 * DEFAULT_LIMITS.readBuffer + reads(1) + coding, `${read - taken} octets were read and not taken`)
    })
  }

  for (const [what, block] of [
    ['chunks of 16 KiB', `4000\r\n${'c'.repeat(16384)}\r\n`.repeat(64)],
    ['a chunk of 4 KiB among thousands of an octet', `1000\r\n${'c'.repeat(4096)}\r\n${`${'1'.padStart(16, '0')}\r\nc\r\n`.repeat(6000)}`.repeat(4)]
  ] as const) {
    test(`content in ${what}, which the application keeps: at most twice as much memory`, async () => {
      let [content, memory] = [0, 0]
      await h.serve(async (environ, startResponse) => {
        const held = new Set<ArrayBufferLike>()
        for await (const piece of environ['wsgi.input']) {
          content += piece.length
          held.add(piece.buffer)
        }
        for (const { byteLength } of held) memory += byteLength
        startResponse('200 OK')
        return ['kept']
      })
      const client = await h.connect()
      client.stream.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
      for (let i = 0; i < 8; i++) client.stream.write(block)
      client.stream.write('0\r\n\r\n')
      assert.is((await client.response()).text, 'kept')
      assert.ok(memory <= 2 * content, `${memory} octets of memory for ${content} of content`)
    })
  }

  test('content that nobody reads, in chunks of one octet: the same of content, whatever its coding weighs', async () => {
    const { server } = await h.serve(never)
    const client = await h.connect()
    client.stream.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
    client.stream.write('1\r\nc\r\n'.repeat(200_000))
    await until(() => server.stats().requests === 1, 'the head')
    const read = await stable(() => server.stats().bytesRead)
    assert.ok(read <= 6 * DEFAULT_LIMITS.readBuffer + reads(1) + 200, `${read} octets were read`)
  })

  for (const [name, piece] of [['64 octets', 'x'.repeat(64)], ['4 KiB', 'x'.repeat(4096)], ['16 KiB', Buffer.alloc(16384)]] as const) {
    test(`an endless answer that nobody takes, pieces of ${name}: the application is stopped`, async () => {
      let given = 0
      const { server } = await h.serve((_environ, startResponse) => {
        startResponse('200 OK')
        return (function* () {
          for (;;) {
            given += piece.length
            yield piece
          }
        })()
      })
      const client = await h.connect()
      client.pause()
      await client.send(get())
      await until(() => given > 0, 'the first piece')
      await stable(() => given)
      // Past what the kernel has taken.
      const [connection] = (server as unknown as { engine: { connections: Set<{ transport: { untakenBytes(): number } }> } }).engine.connections
      const untaken = connection!.transport.untakenBytes()
      assert.ok(untaken <= 2 * DEFAULT_LIMITS.writeHighWater + piece.length, `${untaken} octets wait`)
      assert.ok(given - server.stats().bytesWritten <= DEFAULT_LIMITS.writeHighWater + 4096 + piece.length)
    })
  }
}).run()
