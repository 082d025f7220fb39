// The address of a peer that is gone by the time somebody wants to know it: the kernel forgets it with the connection.
import * as assert from 'uvu/assert'
import { inspect } from 'node:util'
import type { Application, Environ } from '../../src/server/application.ts'
import type { Server } from '../../src/server/serve.ts'
import { LOST } from '../../src/io/transport.ts'
import { deferred, get, onEveryTransport, turns, until } from '../support/harness.ts'

/** No onPeerError, which wants addresses too. */
const NOBODY = { onPeerError: undefined } as object

onEveryTransport('addresses', (h, test) => {
  /** The logger of the harness takes debug lines, for which addresses are asked at accept anyway. */
  const lines: string[] = []
  const log = { write: (text: string): unknown => lines.push(text) }

  async function resetBehindRequest(server: Server): Promise<void> {
    const client = await h.connect()
    await client.send(get('/gone'))
    await until(() => server.outstandingRequests === 1, 'the request')
    client.resetNow()
    await until(() => server.connections === 0, 'the end of the connection')
  }

  test('the peer resets while its request is answered: the log and the application know who it was', async () => {
    lines.length = 0
    const gate = deferred()
    const seen: unknown[] = []
    const { server } = await h.serve(async environ => {
      await gate.promise
      seen.push(environ.REMOTE_ADDR, environ.REMOTE_PORT)
      return ''
    }, { log, logFormat: '%(peer_ip)s %(peer_port)d %(request_line)s', ...NOBODY })
    await resetBehindRequest(server)
    gate.resolve()
    await until(() => seen.length > 0, 'the application')
    assert.is(seen[0], '127.0.0.1')
    await server.close()
    assert.match(lines.join(''), new RegExp(`^127\\.0\\.0\\.1 ${seen[1]} GET /gone HTTP/1\\.1$`, 'm'))
  })

  test('after the peer\'s reset the environ can be shown and copied, by whoever handles errors and in hooks', async () => {
    lines.length = 0
    const gate = deferred()
    const seen: unknown[] = []
    const look = (environ: Environ): void => {
      seen.push(Object.keys(environ).includes('SERVER_NAME'), { ...environ }.SERVER_NAME, inspect(environ).includes('SERVER_NAME'), environ.SERVER_PORT)
    }
    const { server } = await h.serve(async environ => {
      environ['eventlet.posthooks'].push([look])
      await gate.promise
      look(environ)
      return ''
    }, { log, ...NOBODY })
    await resetBehindRequest(server)
    gate.resolve()
    await until(() => seen.length === 8, 'the application')
    const { address, port } = server.address
    const expected = [true, address, true, String(port)]
    assert.equal(seen, [...expected, ...expected])
  })

  test('we cut it ourselves: the same', async () => {
    lines.length = 0
    const { server } = await h.serve((_environ, startResponse) => {
      startResponse(200)('begun')
      throw new Error('in the middle')
    }, { log, logFormat: '%(peer_ip)s %(request_line)s' })
    const client = await h.connect()
    await client.send(get('/cut'))
    await client.closed
    await server.close()
    assert.match(lines.join(''), /^127\.0\.0\.1 GET \/cut HTTP\/1\.1$/m)
  })

  test('nobody logs, and it resets behind its request: what asks for the address does not get another one, or none', async () => {
    const seen: unknown[] = []
    const ask: Application = environ => {
      for (const key of ['REMOTE_ADDR', 'REMOTE_PORT', 'SERVER_NAME'] as const) {
        try {
          seen.push(environ[key])
        } catch (error) {
          seen.push((error as { code?: string }).code)
        }
      }
      seen.push(Object.keys(environ).includes('REMOTE_ADDR'), inspect(environ).includes("REMOTE_ADDR: ''"))
      throw new Error('never mind')
    }
    const gate = deferred()
    const { server, errors } = await h.serve(async (environ, startResponse) => {
      await gate.promise
      return ask(environ, startResponse) as string
    }, { logOutput: false, ...NOBODY })
    await resetBehindRequest(server)
    gate.resolve()
    await until(() => errors.length > 0, 'the application')
    const code = 'ERR_WIRELET_REQUEST_ABORTED'
    // Our own end is where we listen.
    assert.equal(seen, [code, code, server.address.address, true, true])
  })

  test('it has reset before it is accepted: closed, no application called', async () => {
    let calls = 0
    const { server } = await h.serve(() => {
      calls++
      return ''
    }, { log })
    const { accepted } = server.stats()
    let destroyed = 0
    const transport = { peerAddress: () => LOST, destroy: () => destroyed++ }
    ;(server as unknown as { onTransport(transport: object): void }).onTransport(transport)
    await turns()
    assert.is(destroyed, 1)
    assert.is(server.connections, 0)
    assert.is(server.stats().accepted, accepted + 1)
    assert.is(calls, 0)
  })
}, { tls: true }).run()
