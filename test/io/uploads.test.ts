// A slow application stops the reading, and content of 20 MiB arrives as it was sent, however it is framed and read.
import { createHash } from 'node:crypto'
import * as assert from 'uvu/assert'
import { deferred, get, onEveryTransport, stable, turns } from '../support/harness.ts'
import { mixed, sha256 } from '../support/mixed.ts'

const MiB = 1 << 20

onEveryTransport('a slow application', (h, test) => {
  const TOTAL = 20 * MiB
  const made = new Map<string, ReturnType<typeof make>>()
  const upload = (framing: string): ReturnType<typeof make> => made.get(framing) ?? made.set(framing, make(framing)).get(framing)!
  const make = (framing: string): { head: string; content: Buffer[]; tail: string; hash: string } => {
    const pieces = [...mixed(TOTAL, 11)].map(piece => Buffer.from(piece as string)).filter(piece => piece.length > 0)
    const chunks = pieces.flatMap(piece => [Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')])
    const chunked = framing === 'chunked'
    return {
      head: `POST / HTTP/1.1\r\nHost: a\r\n${chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${TOTAL}`}\r\n\r\n`,
      content: chunked ? chunks : pieces,
      tail: (chunked ? '0\r\n\r\n' : '') + get('/next'),
      hash: sha256(pieces)
    }
  }

  for (const framing of ['length', 'chunked']) {
    for (const way of ['read(n)', 'iteration'] as const) {
      test(`20 MiB, ${framing}, ${way}, with every piece kept to the end: each stays as it was given`, async () => {
        await h.serve(async (environ, startResponse) => {
          const input = environ['wsgi.input']
          const [kept, hash] = [[] as Buffer[], createHash('sha256')]
          const keep = (piece: Buffer): void => {
            kept.push(piece)
            hash.update(piece)
          }
          if (way === 'iteration') for await (const piece of input) keep(piece)
          else for (let piece = await input.read(100_000); piece.length > 0; piece = await input.read(100_000)) keep(piece)
          startResponse(200)
          return [`${hash.digest('hex')} ${sha256(kept)}`]
        })
        const { head, content, hash } = upload(framing)
        const client = await h.connect()
        client.stream.write(head)
        for (const piece of content) client.stream.write(piece)
        if (framing === 'chunked') client.stream.write('0\r\n\r\n')
        assert.is((await client.response()).text, `${hash} ${hash}`)
      })

      test(`20 MiB, ${framing}, ${way}: reading stops until the application goes on; the hash is right`, async () => {
        const gate = deferred()
        await h.serve(async (environ, startResponse) => {
          if (environ.PATH_INFO === '/next') {
            startResponse(200)
            return ['next']
          }
          const hash = createHash('sha256')
          const input = environ['wsgi.input']
          hash.update(await input.read(1000))
          await gate.promise
          if (way === 'iteration') for await (const piece of input) hash.update(piece)
          else {
            for (let piece = await input.read(100_000); piece.length > 0; piece = await input.read(100_000)) {
              hash.update(piece)
              await turns(1)
            }
          }
          startResponse(200)
          return [hash.digest('hex')]
        })
        const { head, content, tail, hash } = upload(framing)
        const client = await h.connect()
        client.stream.write(head)
        for (const piece of content) client.stream.write(piece)
        client.stream.write(tail)
        await turns()
        const waiting = await stable(() => client.stream.writableLength)
        assert.ok(waiting > 4 * MiB, `${waiting} bytes wait at the client`)
        gate.resolve()
        assert.is((await client.response()).text, hash)
        assert.is((await client.response()).text, 'next')
      })
    }
  }
}, { unix: true }).run()
