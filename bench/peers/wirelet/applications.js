// One application for each scenario, as WSGI has them. The other peers serve the same as similarly as their interfaces allow.
export function hello(environ, startResponse) {
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return ['Hello, World!\r\n']
}

// Waits once, as an application that asks something that is at hand already.
async function asynchronous(environ, startResponse) {
  await null
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return ['Hello, World!\r\n']
}

function headers5(environ, startResponse) {
  const octets =
    environ.HTTP_HOST.length + environ.HTTP_USER_AGENT.length + environ.HTTP_ACCEPT.length + environ.HTTP_ACCEPT_LANGUAGE.length +
    environ.HTTP_COOKIE.length + environ.PATH_INFO.length + environ.QUERY_STRING.length
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return [`${octets} octets\r\n`]
}

async function post(environ, startResponse) {
  const content = await environ['wsgi.input'].read()
  startResponse('200 OK', [['Content-Type', 'application/json']])
  return [JSON.stringify({ octets: content.length })]
}

function* thousand() {
  for (let i = 0; i < 1000; i++) yield 'nineteen characters\n'
}

function pieces(environ, startResponse) {
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return thousand()
}

async function upload(environ, startResponse) {
  let octets = 0
  for await (const piece of environ['wsgi.input']) octets += piece.length
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return [`${octets}\n`]
}

const PIECE = Buffer.alloc(64 * 1024, 'd')
const TIMES = 1024

function* bulk() {
  for (let i = 0; i < TIMES; i++) yield PIECE
}

function download(environ, startResponse) {
  startResponse('200 OK', [['Content-Type', 'application/octet-stream'], ['Content-Length', String(PIECE.length * TIMES)]])
  return bulk()
}

export const applications = { hello, async: asynchronous, headers5, post, pieces, upload, download }
