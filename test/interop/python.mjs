// Python's http.client, the strictest of the usual readers: it raises IncompleteRead where others shrug.
import assert from 'node:assert/strict'
import { CERTFILE, hasProgram, run, skip, start, test } from './support.mjs'

const PROGRAM = `
import hashlib, http.client, json, ssl, sys
port, cafile = int(sys.argv[1]), sys.argv[2]
result = {}
if cafile:
    context = ssl.create_default_context(cafile=cafile)
    # By default it takes a reset for an end ("ragged EOF"), whatever the kernel says.
    wrap = context.wrap_socket
    context.wrap_socket = lambda *a, **k: wrap(*a, **{**k, 'suppress_ragged_eofs': False})
    make = lambda: http.client.HTTPSConnection('localhost', port, timeout=10, context=context)
else:
    make = lambda: http.client.HTTPConnection('localhost', port, timeout=10)
connection = make()
sockets = set()
for i in range(3):
    connection.request('GET', '/hello?%d' % i)
    answer = connection.getresponse()
    sockets.add(id(connection.sock))
    result['get %d' % i] = [answer.status, answer.version, answer.read().decode()]
result['one connection'] = len(sockets)
connection.request('HEAD', '/hello')
answer = connection.getresponse()
result['head'] = [answer.status, answer.getheader('Content-Length'), answer.read().decode()]
connection.request('POST', '/sum', body=b'0123456789' * 100000)
result['post'] = connection.getresponse().read().decode()
connection.request('POST', '/sum', body=(b'0123456789' for _ in range(100000)), encode_chunked=True, headers={'Transfer-Encoding': 'chunked'})
result['chunked'] = connection.getresponse().read().decode()
result['expected'] = hashlib.sha256(b'0123456789' * 100000).hexdigest()
connection.request('GET', '/stream')
answer = connection.getresponse()
result['stream'] = [answer.getheader('Transfer-Encoding'), answer.read().decode()]
connection.close()
connection = make()
connection.request('GET', '/cut')
answer = connection.getresponse()
try:
    answer.read()
    result['cut'] = 'complete'
except (http.client.IncompleteRead, ConnectionError, ssl.SSLError) as error:
    result['cut'] = 'failed'
connection.close()
connection = make()
connection._http_vsn, connection._http_vsn_str = 10, 'HTTP/1.0'
connection.request('GET', '/cut')
answer = connection.getresponse()
try:
    answer.read()
    result['cut 1.0'] = 'complete'
except (http.client.IncompleteRead, ConnectionError, ssl.SSLError) as error:
    result['cut 1.0'] = 'failed'
connection.close()
print(json.dumps(result))
`

async function application(environ, startResponse) {
  switch (environ.PATH_INFO) {
    case '/sum': {
      const { createHash } = await import('node:crypto')
      const hash = createHash('sha256')
      for await (const piece of environ['wsgi.input']) hash.update(piece)
      startResponse(200)
      return [hash.digest('hex')]
    }
    case '/stream':
      startResponse(200)
      return (async function* () { for (let i = 0; i < 3; i++) yield `piece ${i};` })()
    case '/cut':
      startResponse(200)
      return (async function* () {
        yield 'x'.repeat(10_000)
        await new Promise(resolve => setTimeout(resolve, 20))
        throw new Error('cut on purpose')
      })()
    default:
      startResponse(200)
      return ['hello']
  }
}

if (!hasProgram('python3')) skip('Python', 'no python3 on this machine')
else {
  for (const [over, transport] of [['tcp', 'stream'], ['tcp', 'handle'], ['tls', 'stream']]) {
    test(`Python's http.client, ${over}, ${transport}`, async () => {
      const { port, server } = await start(application, { over, transport })
      const { code, stdout, stderr } = await run('python3', ['-c', PROGRAM, String(port), over === 'tls' ? CERTFILE : ''])
      assert.equal(code, 0, stderr)
      const { expected, ...result } = JSON.parse(stdout)
      assert.deepEqual(result, {
        'get 0': [200, 11, 'hello'], 'get 1': [200, 11, 'hello'], 'get 2': [200, 11, 'hello'], 'one connection': 1, 'head': [200, '5', ''],
        'post': expected, 'chunked': expected, 'stream': ['chunked', 'piece 0;piece 1;piece 2;'], 'cut': 'failed', 'cut 1.0': 'failed'
      })
      assert.equal(server.stats().accepted, 3)
    })
  }
}
