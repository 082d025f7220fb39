// examples/baseline by the rules of the public arenas (TechEmpower's among them): which headers there must be, and that nothing is kept too long.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ask, type Response } from '../bench/support/check.ts'
import { request } from '../bench/support/requests.ts'
import { listen, serve, type Application } from '../src/index.ts'
import { within } from './support/within.ts'

const EXAMPLE = join(import.meta.dirname, '..', '..', 'examples', 'baseline', 'app.js')
const { default: app } = (await import(pathToFileURL(EXAMPLE).href)) as { default: Application }

const baseline = suite('baseline')
const DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/

async function answers(target: string, times = 1): Promise<Response[]> {
  const server = serve(await listen(0), app, { logOutput: false })
  try {
    const { port } = server.address
    return await within(5000, ask({ host: '127.0.0.1', port, secure: false }, request(target), times), target)
  } finally {
    await server.close()
  }
}

function assertHeaders({ fields, content }: Response, type: string): void {
  assert.is(fields.get('server'), 'wirelet')
  assert.is(fields.get('content-type'), type)
  assert.is(fields.get('content-length'), String(content.length))
  assert.not(fields.has('transfer-encoding'))
  assert.match(fields.get('date')!, DATE)
  assert.ok(Math.abs(Date.parse(fields.get('date')!) - Date.now()) <= 2000, 'the date is now')
}

baseline('/plaintext', async () => {
  const [response] = await answers('/plaintext')
  assert.is(response!.status, 200)
  assert.is(response!.content.toString(), 'Hello, World!')
  assertHeaders(response!, 'text/plain')
})

baseline('/json', async () => {
  const [response] = await answers('/json')
  assert.is(response!.status, 200)
  assert.equal(JSON.parse(response!.content.toString()), { message: 'Hello, World!' })
  assertHeaders(response!, 'application/json')
})

baseline('sixteen pipelined requests have sixteen whole answers', async () => {
  const all = await answers('/plaintext', 16)
  assert.is(all.length, 16)
  for (const response of all) assertHeaders(response, 'text/plain')
})

baseline('nothing more than the arenas ask for is sent', async () => {
  const [response] = await answers('/plaintext')
  assert.equal([...response!.fields.keys()].sort(), ['content-length', 'content-type', 'date', 'server'])
})

baseline('another target is not found', async () => {
  const [response] = await answers('/')
  assert.is(response!.status, 404)
})

baseline('the JSON is written for each request', () => {
  assert.match(readFileSync(EXAMPLE, 'utf8'), /return \[JSON\.stringify\(\{ message: 'Hello, World!' \}\)\]/)
})

baseline.run()
