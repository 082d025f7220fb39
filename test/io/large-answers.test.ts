// 100 MiB of strings and byte arrays through both transports: not a bit is different at the other end.
import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import * as http from 'node:http'
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { type Harness, onEveryTransport } from '../support/harness.ts'
import { mixed, sha256 } from '../support/mixed.ts'
import { within } from '../support/within.ts'

const MiB = 1 << 20

/** By node:http, a parser of somebody else's. */
async function download(h: Harness, port: number, path: string, hash: Hash): Promise<number> {
  let size = 0
  const request = http.get({ port, host: '127.0.0.1', path, agent: false })
  const [response] = await within(5_000, once(request, 'response') as Promise<[http.IncomingMessage]>, 'a response')
  response.on('data', (chunk: Buffer) => {
    size += chunk.length
    hash.update(chunk)
  })
  await within(20_000, once(response, 'end'), `the end of ${path} over ${h.kind.name}`)
  return size
}

onEveryTransport('100 MiB', (h, test) => {
  test('of strings and byte arrays, chunked and with their length: not a bit is different', async () => {
    const TOTAL = 100 * MiB
    const application: Application = (environ, startResponse) => {
      startResponse(200, environ.PATH_INFO === '/length' ? { 'Content-Length': TOTAL } : {})
      if (environ.PATH_INFO === '/length') return mixed(TOTAL, 7)
      return (async function* () { yield* mixed(TOTAL, 7) })()
    }
    const { port } = await h.serve(application)
    const expected = sha256(mixed(TOTAL, 7))
    for (const path of ['/length', '/chunked']) {
      const hash = createHash('sha256')
      assert.is(await download(h, port, path, hash), TOTAL)
      assert.is(hash.digest('hex'), expected)
    }
  })
}).run()
