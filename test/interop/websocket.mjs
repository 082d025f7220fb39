// npm's `ws` on a connection that Wirelet handed over: both ways of taking it, both transports, TLS and unix sockets.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as net from 'node:net'
import * as tls from 'node:tls'
import { WebSocket as UndiciWebSocket } from 'undici'
import { WebSocket, WebSocketServer } from 'ws'
import { ALREADY_HANDLED, CERTIFICATE, TRANSPORTS, cleanup, start, test, until, within } from './support.mjs'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const NOTHING = Buffer.alloc(0)

/** What `ws` wants of a request: a few properties of node:http's. */
function requestOf(environ, socket) {
  const headers = {}
  for (const [name, value] of environ.headers_raw) headers[name.toLowerCase()] = value
  return { method: environ.REQUEST_METHOD, url: environ.REQUEST_URI, headers, socket }
}

/** An application that says everything again over WebSockets. */
function echo(way, seen = []) {
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: true })
  server.on('connection', (socket, request) => {
    seen.push(request.url)
    socket.on('message', (data, binary) => socket.send(data, { binary }))
    socket.on('error', error => seen.push(`error ${error.code}`))
    socket.on('close', code => seen.push(`close ${code}`))
  })
  return (environ, startResponse) => {
    if (environ.HTTP_UPGRADE !== 'websocket') {
      startResponse('426 Upgrade Required', [['Upgrade', 'websocket'], ['Connection', 'upgrade']])
      return ['WebSockets only\n']
    }
    const socket = way === 'upgrade' ? environ['wirelet.upgrade']() : environ['wsgi.input'].getSocket()
    server.handleUpgrade(requestOf(environ, socket), socket, NOTHING, (webSocket, request) => server.emit('connection', webSocket, request))
    return ALREADY_HANDLED
  }
}

function messages(socket) {
  const waiting = []
  const arrived = []
  socket.on('message', (data, binary) => (waiting.length > 0 ? waiting.shift()([data, binary]) : arrived.push([data, binary])))
  return () => within(10_000, arrived.length > 0 ? Promise.resolve(arrived.shift()) : new Promise(resolve => waiting.push(resolve)), 'a message')
}

/** A masked frame of at most 125 bytes. */
function frame(text) {
  const payload = Buffer.from(text)
  const mask = randomBytes(4)
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload.map((byte, i) => byte ^ mask[i % 4])])
}

for (const way of ['getSocket', 'upgrade']) {
  for (const [over, transport] of [['tcp', 'stream'], ['tcp', 'handle'], ['unix', 'stream'], ['unix', 'handle'], ['tls', 'stream']]) {
    const title = `ws, ${way}, ${over}, ${transport}`

    test(`${title}: text, binary, 1 MiB each way, ping, the closing handshake`, async () => {
      const seen = []
      const { server, port, path, log, errors } = await start(echo(way, seen), { over, transport })
      const url = over === 'unix' ? `ws+unix:${path}:/chat?room=1` : `${over === 'tls' ? 'wss' : 'ws'}://localhost:${port}/chat?room=1`
      const socket = new WebSocket(url, { ca: CERTIFICATE })
      cleanup(() => socket.terminate())
      const next = messages(socket)
      await within(5_000, once(socket, 'open'), 'open')
      socket.send('hello')
      assert.deepEqual((await next()).map(String), ['hello', 'false'])
      const large = randomBytes(1 << 20)
      socket.send(large)
      const [data, binary] = await next()
      assert.ok(binary && data.equals(large))
      socket.ping('p')
      assert.equal(String((await within(5_000, once(socket, 'pong'), 'pong'))[0]), 'p')
      for (let i = 0; i < 100; i++) socket.send(`message ${i}`)
      for (let i = 0; i < 100; i++) assert.equal(String((await next())[0]), `message ${i}`)
      socket.close(1000, 'done')
      const [code] = await within(5_000, once(socket, 'close'), 'close')
      assert.equal(code, 1000)
      await until(() => server.connections === 0, 'the connection to be gone')
      assert.deepEqual(seen, ['/chat?room=1', 'close 1000'])
      assert.deepEqual(log.filter(line => line.startsWith('GET')), ['GET /chat?room=1 HTTP/1.1 200 0'])
      assert.deepEqual(errors(), [])
    })

    test(`${title}: the first frame in the segment of the handshake`, async () => {
      const { port, path } = await start(echo(way), { over, transport })
      const socket = over === 'unix' ? net.connect(path) : over === 'tls' ? tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: CERTIFICATE }) : net.connect(port, '127.0.0.1')
      cleanup(() => socket.destroy())
      await within(5_000, once(socket, over === 'tls' ? 'secureConnect' : 'connect'), 'connect')
      const key = randomBytes(16).toString('base64')
      const head = `GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`
      let received = NOTHING
      socket.on('data', chunk => (received = Buffer.concat([received, chunk])))
      socket.write(Buffer.concat([Buffer.from(head), frame('early'), frame('bird')]))
      const expected = Buffer.from('\x81\x05early\x81\x04bird', 'latin1')
      await until(() => received.includes(expected), 'both frames')
      const answer = received.toString('latin1')
      assert.match(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
      assert.ok(answer.includes(`Sec-WebSocket-Accept: ${createHash('sha1').update(key + GUID).digest('base64')}\r\n`))
      socket.destroy()
    })
  }
}

for (const transport of TRANSPORTS) {
  test(`ws, ${transport}: undici's WebSocket as the client`, async () => {
    const { port } = await start(echo('upgrade'), { transport })
    const socket = new UndiciWebSocket(`ws://localhost:${port}/`)
    cleanup(() => socket.close())
    await within(5_000, once(socket, 'open'), 'open')
    socket.send('from undici')
    const [event] = await within(5_000, once(socket, 'message'), 'a message')
    assert.equal(event.data, 'from undici')
    socket.close(1000)
    const [closed] = await within(5_000, once(socket, 'close'), 'close')
    assert.deepEqual([closed.code, closed.wasClean], [1000, true])
  })

  test(`ws, ${transport}: peers that vanish, wrong handshakes, and plain requests beside them`, async () => {
    const seen = []
    const { server, port, errors } = await start(echo('upgrade', seen), { transport })
    const gone = new WebSocket(`ws://localhost:${port}/gone`)
    await within(5_000, once(gone, 'open'), 'open')
    gone._socket.resetAndDestroy()
    await until(() => server.connections === 0, 'the connection to be gone')
    assert.ok(seen.includes('close 1006'), seen.join())
    const answer = await fetch(`http://localhost:${port}/`)
    assert.equal(answer.status, 426)
    assert.equal(answer.headers.get('upgrade'), 'websocket')
    // A version that `ws` refuses, by itself, on the connection that is its own now.
    const wrong = net.connect(port, '127.0.0.1')
    cleanup(() => wrong.destroy())
    let refused = ''
    wrong.setEncoding('latin1').on('data', text => (refused += text))
    wrong.write(`GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`)
    await within(5_000, once(wrong, 'end'), 'the end')
    assert.match(refused, /^HTTP\/1\.1 4\d\d /)
    await until(() => server.outstandingRequests === 0, 'the requests to be over')
    assert.deepEqual(errors(), [])
  })

  test(`ws, ${transport}: a drain does not hang on it, and eventlet.set_idle ends it at once`, async () => {
    for (const idle of [false, true]) {
      const application = echo('upgrade')
      const { server, port } = await start((environ, startResponse) => {
        if (idle) environ['eventlet.set_idle']()
        return application(environ, startResponse)
      }, { transport })
      const socket = new WebSocket(`ws://localhost:${port}/`)
      socket.on('error', () => {})
      await within(5_000, once(socket, 'open'), 'open')
      const ended = once(socket, 'close')
      const begin = performance.now()
      await within(5_000, server.close({ timeout: idle ? 60_000 : 300 }), 'the drain')
      const took = performance.now() - begin
      assert.ok(idle ? took < 3_000 : took > 250, `${took} ms`)
      await within(5_000, ended, 'the client to see it')
    }
  })
}
