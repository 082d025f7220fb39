// Bun.serve.
const { PORT, SCENARIO, CERTFILE, KEYFILE } = process.env
const PLAIN = { headers: { 'Content-Type': 'text/plain' } }

function hello() {
  return new Response('Hello, World!\r\n', PLAIN)
}

async function asynchronous() {
  await null
  return new Response('Hello, World!\r\n', PLAIN)
}

function headers5(request) {
  const { headers } = request
  const url = new URL(request.url)
  let octets = url.pathname.length + url.search.length - 1
  for (const name of ['host', 'user-agent', 'accept', 'accept-language', 'cookie']) octets += headers.get(name).length
  return new Response(`${octets} octets\r\n`, PLAIN)
}

async function post(request) {
  const content = await request.arrayBuffer()
  return new Response(JSON.stringify({ octets: content.byteLength }), { headers: { 'Content-Type': 'application/json' } })
}

function* thousand() {
  const encoder = new TextEncoder()
  for (let i = 0; i < 1000; i++) yield encoder.encode('nineteen characters\n')
}

function pieces() {
  return new Response(new ReadableStream({
    start(controller) {
      for (const piece of thousand()) controller.enqueue(piece)
      controller.close()
    }
  }), PLAIN)
}

async function upload(request) {
  let octets = 0
  for await (const piece of request.body) octets += piece.length
  return new Response(`${octets}\n`, PLAIN)
}

const PIECE = new Uint8Array(64 * 1024).fill(0x64)
const TIMES = 1024

function download() {
  let left = TIMES
  return new Response(new ReadableStream({
    pull(controller) {
      if (left-- > 0) controller.enqueue(PIECE.slice())
      else controller.close()
    }
  }), { headers: { 'Content-Type': 'application/octet-stream', 'Content-Length': String(PIECE.length * TIMES) } })
}

Bun.serve({
  port: Number(PORT),
  hostname: '127.0.0.1',
  // Idle connections are measured for longer than its 10 s.
  idleTimeout: 75,
  maxRequestBodySize: 128 * 1024 * 1024,
  fetch: { hello, async: asynchronous, headers5, post, pieces, upload, download }[SCENARIO],
  ...(CERTFILE === undefined ? {} : { tls: { cert: Bun.file(CERTFILE), key: Bun.file(KEYFILE) } })
})

process.on('SIGUSR2', () => Bun.gc(true))
