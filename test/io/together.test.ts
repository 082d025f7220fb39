// What many connections send in one turn of the event loop, answered by all kinds of applications: each gets its own, in order and in time.
import * as assert from 'uvu/assert'
import { setPoison } from '../../src/io/poison.ts'
import type { Application } from '../../src/server/application.ts'
import { type Harness, get, onEveryTransport, post, until } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'

const CONNECTIONS = 40

// Under poison it does not depend on the clock what is put aside.
setPoison(true)

const KINDS: Record<string, (path: string) => ReturnType<Application>> = {
  'an array': path => [path],
  'a string': path => path,
  'a generator': path => [path, '!'].values(),
  'a promise': async path => [path],
  'a promise of later': async path => {
    await new Promise(resolve => setImmediate(resolve))
    return [path]
  },
  'an asynchronous generator': path => (async function* () {
    yield path
    await null
    yield '!'
  })()
}

/** One after the other: libuv accepts one in a turn. */
async function connected(h: Harness, n: number): Promise<RawClient[]> {
  const clients: RawClient[] = []
  while (clients.length < n) clients.push(await h.connect())
  return clients
}

onEveryTransport('together', (h, test) => {
  for (const [name, answer] of Object.entries(KINDS)) {
    test(`${CONNECTIONS} connections, three requests each in one write: ${name}`, async () => {
      await h.serve((environ, startResponse) => {
        startResponse(200)
        return answer(environ.PATH_INFO)
      })
      const clients = await connected(h, CONNECTIONS)
      for (let round = 0; round < 3; round++) {
        await Promise.all(clients.map((client, i) => client.send([0, 1, 2].map(j => get(`/${round}/${i}/${j}`)).join(''))))
        const answers = await Promise.all(clients.map(client => client.responses(3)))
        answers.forEach((three, i) => three.forEach(({ text }, j) => assert.is(text.replace('!', ''), `/${round}/${i}/${j}`)))
      }
    })
  }

  test('all kinds at once, some of them wrong: each connection gets what it asked for', async () => {
    const kinds = Object.values(KINDS)
    const { errors } = await h.serve(async (environ, startResponse) => {
      const i = Number(environ.PATH_INFO.slice(1))
      const content = await environ['wsgi.input'].read()
      if (i % 8 === 7) throw new Error('wrong')
      startResponse(200)
      return kinds[i % kinds.length]!(`${i} ${content.toString()}`) as Promise<string[]>
    })
    const clients = await connected(h, CONNECTIONS)
    await Promise.all(clients.map((client, i) => client.send(i % 10 === 9 ? 'GET\r\n\r\n' : post(`/${i}`, `content of ${i}`))))
    const answers = await Promise.all(clients.map(client => client.response()))
    answers.forEach(({ status, text }, i) => {
      if (i % 10 === 9) assert.is(status, 400)
      else if (i % 8 === 7) assert.is(status, 500)
      else assert.equal([status, text.replace('!', '')], [200, `${i} content of ${i}`])
    })
    assert.is(errors.filter(line => line.includes('wrong')).length, [7, 15, 23, 31].length)
  })

  for (const kind of ['synchronous', 'asynchronous'] as const) {
    test(`on handles all applications (${kind}) have answered before the first answer leaves`, async () => {
      const order: string[] = []
      const application: Application = (environ, startResponse) => {
        environ['eventlet.posthooks'].push([() => order.push('left')])
        startResponse(200)
        order.push('answered')
        return ['x']
      }
      let last = 0
      await h.serve(kind === 'synchronous' ? application : async (environ, startResponse) => {
        // Each waits longer than the one before it, and none for more than microtasks.
        for (let hops = last++ % 8; hops >= 0; hops--) await null
        return application(environ, startResponse) as string[]
      })
      const clients = await connected(h, 8)
      for (let round = 0; round < 2; round++) {
        order.length = 0
        for (const client of clients) void client.send(get())
        await Promise.all(clients.map(client => client.response()))
        await until(() => order.length === 16, 'the hooks')
      }
      if (h.kind.transport === 'handle') assert.is(order.indexOf('left'), 8, order.join(' '))
    })
  }

  for (const size of [9000, 20_000]) {
    test(`an application that fills one buffer of ${size} octets for each request: nobody gets what is another's`, async () => {
      const buffer = Buffer.alloc(size)
      const { server } = await h.serve((environ, startResponse) => {
        startResponse(200)
        // While the kernel has not taken an earlier answer the buffer may not be filled again.
        const free = server.outstandingRequests === 1 ? buffer : Buffer.alloc(size)
        return [free.fill(`${environ.PATH_INFO} `)]
      })
      const clients = await connected(h, CONNECTIONS)
      for (let round = 0; round < 2; round++) {
        clients.forEach((client, i) => void client.send(get(`/${i}/a`) + get(`/${i}/b`)))
        const answers = await Promise.all(clients.map(client => client.responses(2)))
        answers.forEach((two, i) => two.forEach(({ text }, j) => assert.equal([...new Set(text.slice(0, size - 10).split(' '))].slice(0, -1), [`/${i}/${'ab'[j]}`])))
      }
    })
  }

  test('the server closes while requests of one turn are being answered: those that it has begun with are', async () => {
    const { server } = await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/0') void server.close({ timeout: 5000 })
      startResponse(200)
      return [environ.PATH_INFO]
    })
    const clients = await connected(h, 8)
    for (const client of clients) await client.send(get('/before'))
    await Promise.all(clients.map(client => client.response()))
    clients.forEach((client, i) => void client.send(get(`/${i}`)))
    const answers = await Promise.all(clients.map(client => client.response()))
    answers.forEach(({ text }, i) => assert.is(text, `/${i}`))
    assert.is(answers.at(-1)!.header('connection'), 'close')
    await Promise.all(clients.map(client => client.end()))
    await server.finished
  })
}).run()
