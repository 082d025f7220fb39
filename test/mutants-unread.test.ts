// A peer that pipelines and does not read: what its requests keep in memory is bounded, not only the octets of their answers.
import * as assert from 'uvu/assert'
import type { Application } from '../src/server/application.ts'
import { get, inMemory, memoryPair, stable, until } from './support/harness.ts'

const REQUESTS = 600

inMemory('mutants/unread answers', (h, test) => {
  test('600 tiny answers that nobody takes: a few dozen requests run, the others wait, and all are answered in the end', async () => {
    let calls = 0
    const application: Application = (_environ, startResponse) => {
      calls++
      startResponse('204 No Content')
      return []
    }
    const { server } = await h.serve(application)
    const [near, far] = memoryPair(64)
    server.handle(far)
    const client = h.client(near)
    client.pause()
    near.write(Buffer.from(get(`/${'x'.repeat(300)}`).repeat(REQUESTS)))
    await until(() => calls > 0, 'the first request')
    assert.ok(await stable(() => calls) <= 100, `${calls} requests ran`)
    client.resume()
    assert.is((await client.responses(REQUESTS)).length, REQUESTS)
    assert.is(calls, REQUESTS)
  })
}).run()
