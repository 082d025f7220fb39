// node:http as it comes.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'

function hello(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 15 })
  response.end('Hello, World!\r\n')
}

async function asynchronous(request, response) {
  await null
  hello(request, response)
}

function headers5(request, response) {
  const { headers } = request
  const [path, query] = request.url.split('?')
  const octets =
    headers.host.length + headers['user-agent'].length + headers.accept.length + headers['accept-language'].length + headers.cookie.length +
    path.length + query.length
  const content = `${octets} octets\r\n`
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': content.length })
  response.end(content)
}

function post(request, response) {
  const chunks = []
  request.on('data', chunk => chunks.push(chunk))
  request.on('end', () => {
    const content = JSON.stringify({ octets: Buffer.concat(chunks).length })
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': content.length })
    response.end(content)
  })
}

function pieces(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/plain' })
  for (let i = 0; i < 1000; i++) response.write('nineteen characters\n')
  response.end()
}

function upload(request, response) {
  let octets = 0
  request.on('data', chunk => { octets += chunk.length })
  request.on('end', () => {
    response.writeHead(200, { 'Content-Type': 'text/plain' })
    response.end(`${octets}\n`)
  })
}

const PIECE = Buffer.alloc(64 * 1024, 'd')
const TIMES = 1024

function download(request, response) {
  response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': PIECE.length * TIMES })
  let left = TIMES
  const more = () => {
    while (left > 0) {
      left--
      if (!response.write(PIECE)) return response.once('drain', more)
    }
    response.end()
  }
  more()
}

const { PORT, SCENARIO, CERTFILE, KEYFILE } = process.env
const handler = { hello, async: asynchronous, headers5, post, pieces, upload, download }[SCENARIO]
const server = CERTFILE === undefined ? createServer(handler) : createSecureServer({ cert: readFileSync(CERTFILE), key: readFileSync(KEYFILE) }, handler)
// Idle connections are measured for longer than its 5 s.
server.keepAliveTimeout = 75_000
server.listen({ port: Number(PORT), host: '127.0.0.1', backlog: 4096 })

if (globalThis.gc) process.on('SIGUSR2', () => globalThis.gc())
