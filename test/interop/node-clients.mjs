// Clients of Node: fetch, node:http with a keep-alive agent, undici pipelining.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import { Client, Pool as UndiciPool, request as undiciRequest, Agent as UndiciAgent } from 'undici'
import { CERTIFICATE, TRANSPORTS, cleanup, start, test, until, within } from './support.mjs'

function sha(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

async function application(environ, startResponse) {
  const input = environ['wsgi.input']
  switch (environ.PATH_INFO) {
    case '/sum': {
      const hash = createHash('sha256')
      for await (const piece of input) hash.update(piece)
      startResponse(200, { 'X-Trailers': JSON.stringify(environ['wirelet.trailers']) })
      return [hash.digest('hex')]
    }
    case '/echo':
      startResponse(200, [['Content-Type', environ.CONTENT_TYPE ?? 'application/octet-stream']])
      return input
    case '/trailers':
      environ['wirelet.sendTrailers'] = () => [['X-Sum', '42']]
      startResponse(200)
      return ['a', 'b'].values()
    case '/hints':
      environ['wirelet.inform'](103, [['Link', '</a.css>; rel=preload']])
      startResponse(200)
      return ['hinted']
    case '/cookies':
      startResponse(200, [['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2']])
      return []
    case '/204':
      startResponse(204)
      return []
    case '/cut':
      startResponse(200)
      return (async function* () {
        yield 'x'.repeat(10_000)
        await new Promise(resolve => setTimeout(resolve, 20))
        throw new Error('cut on purpose')
      })()
    default:
      startResponse(200, [['Content-Type', 'text/plain']])
      return [`${environ.REQUEST_METHOD} ${environ.REQUEST_URI}`]
  }
}

for (const transport of TRANSPORTS) {
  test(`fetch, ${transport}: GET, POST, a streamed request, cookies, an answer read in pieces, an abort`, async () => {
    const { url, server, log } = await start(application, { transport })
    assert.equal(await (await fetch(`${url}/a b?c=ü`)).text(), 'GET /a%20b?c=%C3%BC')
    const json = await fetch(`${url}/echo`, { method: 'POST', body: JSON.stringify({ a: 'ü' }), headers: { 'Content-Type': 'application/json' } })
    assert.deepEqual(await json.json(), { a: 'ü' })
    const pieces = Array.from({ length: 50 }, () => randomBytes(20_000))
    const body = new ReadableStream({
      pull(controller) {
        const piece = pieces[this.at ??= 0]
        if (piece === undefined) controller.close()
        else controller.enqueue(piece)
        this.at++
      }
    })
    assert.equal(await (await fetch(`${url}/sum`, { method: 'POST', body, duplex: 'half' })).text(), sha(Buffer.concat(pieces)))
    const form = new FormData()
    form.set('file', new Blob([randomBytes(100_000)]), 'name.bin')
    assert.match(await (await fetch(`${url}/echo`, { method: 'POST', body: form })).text(), /filename="name\.bin"/)
    assert.deepEqual((await fetch(`${url}/cookies`)).headers.getSetCookie(), ['a=1', 'b=2'])
    assert.equal((await fetch(`${url}/204`)).status, 204)
    assert.equal((await fetch(`${url}/`, { method: 'HEAD' })).headers.get('content-length'), '6')
    await assert.rejects(async () => await (await fetch(`${url}/cut`)).text())
    const controller = new AbortController()
    const aborted = fetch(`${url}/echo`, { method: 'POST', body: new ReadableStream({ start: stream => stream.enqueue(Buffer.from('a')), pull: () => new Promise(() => {}) }), duplex: 'half', signal: controller.signal })
      .then(answer => answer.text())
    aborted.catch(() => {})
    await until(() => server.outstandingRequests === 1, 'the request')
    controller.abort()
    await assert.rejects(aborted)
    await until(() => server.outstandingRequests === 0, 'its end')
    assert.equal(log.filter(line => line.startsWith('(') && /HPE_|rror:(?! cut)/.test(line)).length, 0, log.join('\n'))
  })

  test(`node:http, ${transport}: an agent with keep-alive, Expect, 103, trailers both ways`, async () => {
    const { port, server } = await start(application, { transport })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    cleanup(() => agent.destroy())
    const ask = (path, options = {}, body) => within(10_000, new Promise((resolve, reject) => {
      const request = http.request({ port, host: 'localhost', path, agent, ...options })
      const information = []
      request.on('information', info => information.push([info.statusCode, info.headers.link]))
      request.on('continue', () => {
        information.push([100])
        request.end(body)
      })
      request.on('error', reject)
      request.on('response', answer => {
        const chunks = []
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () => resolve({ answer, text: String(Buffer.concat(chunks)), information, reused: request.reusedSocket, trailers: answer.trailers }))
      })
      if (options.trailers !== undefined) {
        request.write(body)
        request.addTrailers(options.trailers)
        request.end()
      } else if (options.headers?.Expect === undefined) request.end(body)
      else request.flushHeaders()
    }), path)
    for (let i = 0; i < 5; i++) {
      const { text, reused } = await ask(`/${i}`)
      assert.deepEqual([text, reused], [`GET /${i}`, i > 0])
    }
    assert.deepEqual((await ask('/hints')).information, [[103, '</a.css>; rel=preload']])
    const expecting = await ask('/sum', { method: 'POST', headers: { 'Expect': '100-continue', 'Content-Length': 5 } }, 'hello')
    assert.equal(expecting.text, sha('hello'))
    assert.equal(expecting.information[0][0], 100)
    const sent = await ask('/sum', { method: 'POST', headers: { 'Transfer-Encoding': 'chunked', 'Trailer': 'X-End' }, trailers: { 'X-End': 'yes' } }, 'hello')
    assert.deepEqual([sent.text, sent.answer.headers['x-trailers']], [sha('hello'), '[["X-End","yes"]]'])
    assert.deepEqual((await ask('/trailers', { headers: { TE: 'trailers', Connection: 'TE, keep-alive' } })).trailers, { 'x-sum': '42' })
    assert.equal(server.stats().accepted, 1)
  })

  test(`undici, ${transport}: 500 requests on one connection, 10 in the pipeline`, async () => {
    const { url, server, errors } = await start(application, { transport })
    const client = new Client(url, { pipelining: 10 })
    cleanup(() => client.destroy())
    const answers = await Promise.all(Array.from({ length: 500 }, async (_, i) => {
      const { statusCode, body } = await client.request({ path: `/n/${i}`, method: 'GET' })
      return [statusCode, await body.text()]
    }))
    assert.deepEqual(answers, Array.from({ length: 500 }, (_, i) => [200, `GET /n/${i}`]))
    assert.equal(server.stats().accepted, 1)
    assert.equal(server.stats().requests, 500)
    const { body } = await client.request({ path: '/sum', method: 'POST', body: randomBytes(1 << 20) })
    assert.equal((await body.text()).length, 64)
    assert.deepEqual(errors(), [])
  })

  test(`undici, ${transport}: a pool of 8, uploads and downloads at once, then a drain that loses none`, async () => {
    const { url, server } = await start(application, { transport })
    const pool = new UndiciPool(url, { connections: 8, pipelining: 4 })
    cleanup(() => pool.destroy())
    const bodies = Array.from({ length: 40 }, () => randomBytes(200_000))
    const echoes = bodies.map(async body => {
      const answer = await pool.request({ path: '/echo', method: 'POST', body })
      return sha(Buffer.from(await answer.body.arrayBuffer()))
    })
    assert.deepEqual(await Promise.all(echoes), bodies.map(sha))
    const last = Array.from({ length: 40 }, (_, i) => pool.request({ path: `/${i}`, method: 'GET' }).then(async ({ body }) => await body.text(), error => error.code))
    const before = server.stats().requests
    await until(() => server.stats().requests > before, 'some of them')
    const closed = server.close({ timeout: 5_000 })
    const results = await Promise.all(last)
    await within(10_000, closed, 'the drain')
    // Answered whole, or never begun: the client may send those again.
    for (const [i, result] of results.entries()) assert.ok(result === `GET /${i}` || ['UND_ERR_SOCKET', 'ECONNREFUSED', 'ECONNRESET'].includes(result), `${i} ${result}`)
    assert.ok(results.filter(result => result.startsWith('GET')).length > 0)
  })
}

test('over TLS: https with a keep-alive agent, undici, the certificate checked', async () => {
  const { url, port, server } = await start(application, { over: 'tls' })
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: CERTIFICATE })
  cleanup(() => agent.destroy())
  for (let i = 0; i < 3; i++) {
    const request = https.get({ port, host: 'localhost', path: `/${i}`, agent })
    const [answer] = await within(5_000, once(request, 'response'), 'an answer')
    assert.equal(answer.socket.authorized, true)
    let text = ''
    for await (const chunk of answer) text += chunk
    assert.equal(text, `GET /${i}`)
  }
  assert.equal(server.stats().accepted, 1)
  const dispatcher = new UndiciAgent({ connect: { ca: CERTIFICATE }, pipelining: 10, connections: 1, allowH2: true })
  cleanup(() => dispatcher.destroy())
  const texts = await Promise.all(Array.from({ length: 50 }, async (_, i) => await (await undiciRequest(`${url}/${i}`, { dispatcher })).body.text()))
  assert.deepEqual(texts, Array.from({ length: 50 }, (_, i) => `GET /${i}`))
  await assert.rejects(fetch(url), 'a certificate that nobody vouches for')
})
