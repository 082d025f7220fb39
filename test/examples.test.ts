// Every example, started as its first lines say and asked over the wire. They import dist/: `npm test` builds it first.
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ask, killAll, parseAnswer, Program, ROOT, runToEnd } from './support/program.ts'
import { certificatePath, collect, connectTls, connectTo, readExactly } from './support/sockets.ts'

const DATE = /^Date: (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/m
const ENDED = { code: 0, signal: null }

const examples = suite('examples')
let directory = ''

examples.before(() => {
  directory = mkdtempSync(join(tmpdir(), 'wl-examples-'))
})
examples.after.each(killAll)
examples.after(() => rmSync(directory, { recursive: true, force: true }))

/** By the command. */
function serve(name: string, words: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Program {
  const all = ['dist/cli.js', '--bind', '127.0.0.1:0', ...words, `examples/${name}/app.js`]
  return new Program(process.execPath, all, { env: { ...process.env, ...env } })
}

/** By itself. */
function run(name: string, ...words: string[]): Program {
  return new Program(process.execPath, [`examples/${name}/app.js`, ...words])
}

/** The data of chunked content, and its chunks. */
function unchunk(body: Buffer): string[] {
  const chunks: string[] = []
  for (let at = 0; ;) {
    const line = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.toString('latin1', at, line), 16)
    if (size === 0) {
      assert.is(body.toString('latin1', line), '\r\n\r\n')
      return chunks
    }
    chunks.push(body.toString('utf8', line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}

examples('each has a test here, and says at its top how it is run', () => {
  const names = readdirSync(join(ROOT, 'examples')).sort()
  assert.equal(names, ['baseline', 'embedded', 'files', 'hello', 'posthook', 'streaming', 'tls', 'upload'])
  for (const name of names) {
    const text = readFileSync(join(ROOT, 'examples', name, 'app.js'), 'utf8')
    assert.match(text, new RegExp(`^(?://.*\\n)*// .*node (?:dist/cli\\.js .*)?examples/${name}/app\\.js`), name)
    const imports = [...text.matchAll(/from '([^']+)'/g)].map(match => match[1]!)
    assert.equal(imports.filter(from => !from.startsWith('node:') && from !== '../../dist/index.js'), [], name)
  }
})

examples('hello: byte for byte, and kept alive', async () => {
  const program = serve('hello')
  const socket = await connectTo(await program.port())
  const expected = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\nDate: Mon, 01 Jan 2000 00:00:00 GMT\r\n\r\nHello, World!\r\n'
  for (let i = 0; i < 2; i++) {
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const answer = (await readExactly(socket, expected.length)).toString('latin1')
    assert.match(answer, DATE)
    assert.is(answer.replace(DATE, 'Date: Mon, 01 Jan 2000 00:00:00 GMT'), expected)
  }
  socket.destroy()
  assert.equal(await program.stop(), ENDED)
})

examples('embedded: 404 off the root; SIGTERM drains it', async () => {
  const program = run('embedded', '0')
  const port = await program.port()
  const root = await ask(port, 'GET /?x')
  assert.equal([root.status, root.body.toString()], [200, 'Hello, World!\r\n'])
  const other = await ask(port, 'GET /elsewhere')
  assert.equal([other.status, other.body.toString()], [404, 'Not Found\r\n'])
  assert.equal(await program.stop(), ENDED)
})

examples('streaming: a generator\'s pieces leave one by one', async () => {
  const program = serve('streaming')
  const port = await program.port()
  const { head, body } = await ask(port, 'GET /count')
  assert.match(head, /^Transfer-Encoding: chunked$/m)
  assert.equal(unchunk(body), ['1\r\n', '2\r\n', '3\r\n', '4\r\n', '5\r\n'])
  assert.is((await ask(port, 'GET /')).status, 404)
  assert.equal(await program.stop(), ENDED)
})

for (const words of [['--abort-on-half-close'], []]) {
  examples(`streaming: events end when the reader leaves (${words.join(' ') || 'by default'})`, async () => {
    const program = serve('streaming', words)
    const socket = await connectTo(await program.port())
    socket.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
    let text = ''
    while (!/id: 2\nevent: tick\ndata: \d{4}-[^\n]+Z\n\n/.test(text)) text += (await readExactly(socket, 1)).toString('latin1')
    assert.match(text, /^Content-Type: text\/event-stream\r$/m)
    assert.match(text, /retry: 1000\n\n/)
    socket.destroy()
    await program.says(/the reader of events left after tick \d+\n/)
    assert.equal(await program.stop(), ENDED)
  })
}

examples('streaming: endless events do not hold up a drain', async () => {
  const program = serve('streaming')
  const socket = await connectTo(await program.port())
  socket.on('error', () => {})
  socket.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await readExactly(socket, 100)
  socket.resume()
  assert.equal(await program.stop(), ENDED)
  socket.destroy()
})

examples('upload: hashed while it arrives, kept under its hash, by length and chunked', async () => {
  const uploads = join(directory, 'uploads')
  const program = serve('upload', [], { UPLOADS: uploads, UPLOAD_LIMIT: '300000' })
  const port = await program.port()
  const content = Buffer.alloc(250_000, 'wirelet ')
  const sha256 = createHash('sha256').update(content).digest('hex')
  const stored = await ask(port, 'PUT /', [`Content-Length: ${content.length}`], content)
  assert.equal([stored.status, JSON.parse(stored.body.toString())], [201, { bytes: 250_000, sha256 }])
  assert.equal(readdirSync(uploads), [sha256])
  assert.ok(readFileSync(join(uploads, sha256)).equals(content))

  const chunked = Buffer.concat([Buffer.from('4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\n\r\n')])
  const small = await ask(port, 'POST /', ['Transfer-Encoding: chunked'], chunked)
  assert.equal([small.status, JSON.parse(small.body.toString()).bytes], [201, 6])

  assert.is((await ask(port, 'GET /')).status, 405)
  assert.equal(await program.stop(), ENDED)
})

examples('upload: beyond the limit 413, cut short nothing is kept', async () => {
  const uploads = join(directory, 'limited')
  const program = serve('upload', ['--abort-on-half-close'], { UPLOADS: uploads, UPLOAD_LIMIT: '1000' })
  const port = await program.port()
  const announced = await ask(port, 'PUT /', ['Content-Length: 1001', 'Expect: 100-continue'])
  assert.equal([announced.status, JSON.parse(announced.body.toString())], [413, { error: 'at most 1000 bytes' }])
  const chunk = `400\r\n${'x'.repeat(1024)}\r\n`
  assert.is((await ask(port, 'PUT /', ['Transfer-Encoding: chunked'], chunk + '0\r\n\r\n')).status, 413)

  const socket = await connectTo(port)
  socket.end('PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc')
  await collect(socket)
  socket.destroy()
  assert.equal(await program.stop(), ENDED)
  assert.equal(readdirSync(uploads), [])
})

examples('tls: its certificate by argument, by environment, and without', async () => {
  const files = [certificatePath('localhost.crt'), certificatePath('localhost.key')]
  const program = run('tls', ...files, '0')
  const socket = await connectTls(await program.port())
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  const { status, body } = parseAnswer(await collect(socket))
  assert.is(status, 200)
  assert.match(body.toString(), /^https by TLSv1\.3 and TLS_[A-Z0-9_]+\r\n$/)
  socket.destroy()
  program.child.kill('SIGHUP')
  await program.says(/certificates read again/)
  assert.equal(await program.stop(), ENDED)

  const byEnvironment = new Program(process.execPath, ['examples/tls/app.js'], { env: { ...process.env, CERTFILE: files[0]!, KEYFILE: files[1]!, PORT: '0' } })
  await byEnvironment.port()
  assert.equal(await byEnvironment.stop(), ENDED)

  const { code, stderr } = await runToEnd(process.execPath, ['examples/tls/app.js'])
  assert.equal([code, stderr], [2, 'usage: node examples/tls/app.js CERTFILE KEYFILE [PORT]\n'])
})

examples('files: what lies in the directory, by its type, with its date', async () => {
  const root = join(directory, 'www')
  mkdirSync(join(root, 'sub'), { recursive: true })
  mkdirSync(join(root, 'empty'))
  const big = Buffer.alloc(3_000_000, 'abcdefghijklmnopqrstuvwxyz')
  writeFileSync(join(root, 'index.html'), '<h1>root</h1>')
  writeFileSync(join(root, 'sub', 'index.html'), '<h1>sub</h1>')
  writeFileSync(join(root, 'a b é.txt'), 'a name with é')
  writeFileSync(join(root, 'big.bin'), big)
  writeFileSync(join(root, 'nothing.css'), '')
  utimesSync(join(root, 'index.html'), 784111777.5, 784111777.5) // Sun, 06 Nov 1994 08:49:37 GMT and a half
  const program = run('files', root, '0')
  const port = await program.port()

  const index = await ask(port, 'GET /?query=ignored')
  assert.equal([index.status, index.body.toString()], [200, '<h1>root</h1>'])
  assert.match(index.head, /^Content-Type: text\/html; charset=utf-8$/m)
  assert.match(index.head, /^Content-Length: 13$/m)
  assert.match(index.head, /^Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT$/m)

  const head = await ask(port, 'HEAD /')
  assert.equal([head.status, head.body.length], [200, 0])
  assert.match(head.head, /^Content-Length: 13$/m)

  const since = async (date: string, ...more: string[]): Promise<number> => (await ask(port, 'GET /', [`If-Modified-Since: ${date}`, ...more])).status
  assert.is(await since('Sun, 06 Nov 1994 08:49:37 GMT'), 304)
  assert.is(await since('Sun, 06 Nov 1994 08:49:36 GMT'), 200)
  assert.is(await since('yesterday'), 200)
  assert.is(await since('Sun, 06 Nov 1994 08:49:37 GMT', 'If-None-Match: "x"'), 200)

  assert.is((await ask(port, 'GET /a%20b%20%C3%A9.txt')).body.toString(), 'a name with é')
  assert.ok((await ask(port, 'GET /big.bin')).body.equals(big))
  const empty = await ask(port, 'GET /nothing.css')
  assert.equal([empty.status, empty.body.length], [200, 0])
  const moved = await ask(port, 'GET /sub')
  assert.is(moved.status, 308)
  assert.match(moved.head, /^Location: \/sub\/$/m)
  assert.is((await ask(port, 'GET /sub/')).body.toString(), '<h1>sub</h1>')
  for (const path of ['/empty/', '/nowhere', '/index.html/', '/index.html/x', `/${'n'.repeat(300)}`]) assert.is((await ask(port, `GET ${path}`)).status, 404, path)
  assert.is((await ask(port, 'POST /', ['Content-Length: 0'])).status, 405)

  // A reader that leaves in the middle costs nothing but its connection.
  const leaver = await connectTo(port)
  leaver.write('GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await readExactly(leaver, 1000)
  leaver.destroy()
  assert.is((await ask(port, 'GET /sub/')).status, 200)
  assert.equal(await program.stop(), ENDED)
})

examples('files: nothing that lies outside, however it is spelled', async () => {
  const root = join(directory, 'walled')
  mkdirSync(join(root, 'inner'), { recursive: true })
  writeFileSync(join(directory, 'secret.txt'), 'secret')
  writeFileSync(join(root, '.hidden'), 'hidden')
  writeFileSync(join(root, 'plain.txt'), 'plain')
  symlinkSync(join(directory, 'secret.txt'), join(root, 'link.txt'))
  symlinkSync(directory, join(root, 'up'))
  symlinkSync(join(root, 'plain.txt'), join(root, 'inner', 'alias.txt'))
  symlinkSync('loop', join(root, 'loop'))
  const program = run('files', root, '0')
  const port = await program.port()
  for (const path of ['/../secret.txt', '/inner/../../secret.txt', '/%2e%2e/secret.txt', '/.%2E/secret.txt', '/inner%2F..%2F..%2Fsecret.txt', '/..%5csecret.txt',
    '/plain.txt%00', '/%00', '/plain.txt%0a', '/.hidden', '/%2Ehidden', '/inner/./alias.txt', '//etc/passwd', '/inner//alias.txt', '/%', '/%ff', '/inner%2falias.txt']) {
    const { status, body } = await ask(port, `GET ${path}`)
    assert.is(status, 400, path)
    assert.is(body.toString(), 'not a path of this server\r\n')
  }
  for (const path of ['/link.txt', '/up/secret.txt', '/up/', '/up', '/loop', '/walled']) assert.is((await ask(port, `GET ${path}`)).status, 404, path)
  assert.is((await ask(port, 'GET /inner/alias.txt')).body.toString(), 'plain')
  assert.equal(await program.stop(), ENDED)
})

examples('posthook: told how the answer ended', async () => {
  const program = serve('posthook')
  const port = await program.port()
  await ask(port, 'GET /a')
  await program.says(/^GET \/a: 2048 bytes, complete, 2\.000 credits, after \d+ ms$/m)
  assert.equal(await program.stop(), ENDED)
})

examples('baseline: the two answers of the arenas', async () => {
  const program = serve('baseline')
  const port = await program.port()
  const plain = await ask(port, 'GET /plaintext')
  assert.equal([plain.status, plain.body.toString()], [200, 'Hello, World!'])
  assert.match(plain.head, /^Server: wirelet$/m)
  assert.match(plain.head, DATE)
  const json = await ask(port, 'GET /json')
  assert.equal(JSON.parse(json.body.toString()), { message: 'Hello, World!' })
  assert.match(json.head, /^Content-Type: application\/json$/m)
  assert.equal(await program.stop(), ENDED)
})

examples.run()
