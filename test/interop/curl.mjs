// curl: HTTP/1.0, uploads with Expect, TLS, keep-alive, and what it makes of an answer that was cut.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CERTFILE, TRANSPORTS, hasProgram, run, skip, start, temporary, test } from './support.mjs'

function sha(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

async function application(environ, startResponse) {
  const input = environ['wsgi.input']
  switch (environ.PATH_INFO) {
    case '/sum': {
      const hash = createHash('sha256')
      for await (const piece of input) hash.update(piece)
      startResponse(201, [['Content-Type', 'text/plain']])
      return [hash.digest('hex')]
    }
    case '/echo':
      startResponse(200)
      return input
    case '/refuse':
      startResponse(403)
      return ['no\n']
    case '/stream':
      startResponse(200)
      return (async function* () {
        for (let i = 0; i < 5; i++) {
          yield `${i}\n`
          await new Promise(resolve => setImmediate(resolve))
        }
      })()
    case '/cut':
      startResponse(200)
      return (async function* () {
        yield 'x'.repeat(10_000)
        await new Promise(resolve => setTimeout(resolve, 20))
        throw new Error('cut on purpose')
      })()
    case '/hints':
      environ['wirelet.inform'](103, [['Link', '</a.css>; rel=preload']])
      startResponse(200)
      return ['hinted\n']
    default:
      startResponse(200, [['Content-Type', 'text/plain']])
      return [`${environ.SERVER_PROTOCOL} ${environ.REQUEST_METHOD} ${environ.REQUEST_URI} ${environ['wsgi.url_scheme']}\n`]
  }
}

async function curl(...words) {
  return await run('curl', ['-sS', '--max-time', '15', '--noproxy', '*', ...words])
}

if (!hasProgram('curl')) skip('curl', 'not on this machine')
else {
  for (const [over, transport] of [['tcp', 'stream'], ['tcp', 'handle'], ['tls', 'stream']]) {
    const on = `curl, ${over}, ${transport}`
    const secure = over === 'tls' ? ['--cacert', CERTFILE] : []
    // Under --http1.0 curl offers `http/1.0` alone by ALPN: a test of its own below.
    const old1 = over === 'tls' ? ['--http1.0', '--no-alpn'] : ['--http1.0']
    const scheme = over === 'tls' ? 'https' : 'http'

    test(`${on}: GET, HEAD, --http1.0, a query`, async () => {
      const { url } = await start(application, { over, transport })
      const get = await curl(...secure, `${url}/a/b?c=d`)
      assert.deepEqual([get.code, get.stdout], [0, `HTTP/1.1 GET /a/b?c=d ${scheme}\n`])
      const head = await curl(...secure, '-I', `${url}/`)
      assert.equal(head.code, 0)
      assert.match(head.stdout, /^HTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)*Content-Length: \d+\r\n(?:[^\r]+\r\n)*\r\n$/)
      const old = await curl(...secure, ...old1, '-i', `${url}/stream`)
      assert.equal(old.code, 0)
      assert.match(old.stdout, /Connection: close\r\n/)
      assert.doesNotMatch(old.stdout, /Transfer-Encoding/)
      assert.ok(old.stdout.endsWith('\r\n\r\n0\n1\n2\n3\n4\n'))
    })

    test(`${on}: chunks, and two URLs on one connection`, async () => {
      const { url, server } = await start(application, { over, transport })
      const stream = await curl(...secure, '-i', `${url}/stream`)
      assert.match(stream.stdout, /Transfer-Encoding: chunked/)
      assert.ok(stream.stdout.endsWith('\r\n\r\n0\n1\n2\n3\n4\n'))
      const before = server.stats().accepted
      const { code, stdout } = await curl(...secure, '-w', '[%{num_connects}]', `${url}/1`, `${url}/2`, `${url}/stream`, `${url}/3`)
      assert.equal(code, 0)
      assert.equal(stdout, `HTTP/1.1 GET /1 ${scheme}\n[1]HTTP/1.1 GET /2 ${scheme}\n[0]0\n1\n2\n3\n4\n[0]HTTP/1.1 GET /3 ${scheme}\n[0]`)
      assert.equal(server.stats().accepted - before, 1)
    })

    test(`${on}: -T with Expect: 100-continue, 3 MiB; chunked from standard input; refused without reading`, async () => {
      const { url, log } = await start(application, { over, transport })
      const content = randomBytes(3 << 20)
      const file = join(temporary(), 'upload')
      writeFileSync(file, content)
      const put = await curl(...secure, '-v', '-H', 'Expect: 100-continue', '-T', file, `${url}/sum`)
      assert.equal(put.code, 0, put.stderr)
      assert.equal(put.stdout, sha(content))
      assert.match(put.stderr, /< HTTP\/1\.1 100 Continue/)
      const chunked = await run('curl', ['-sS', '--noproxy', '*', ...secure, '-T', '-', `${url}/sum`], content)
      assert.equal(chunked.stdout, sha(content))
      const refused = await curl(...secure, '-H', 'Expect: 100-continue', '-T', file, '-o', '/dev/null', '-w', '%{http_code} %{size_upload}', `${url}/refuse`)
      assert.equal(refused.stdout, '403 0')
      assert.ok(log.includes('PUT /refuse HTTP/1.1 403 3'), log.join('\n'))
    })

    test(`${on}: POST forms and multipart; an echo while it is sent`, async () => {
      const { url } = await start(application, { over, transport })
      const form = await curl(...secure, '-d', 'a=1', '-d', 'b=2', `${url}/echo`)
      assert.equal(form.stdout, 'a=1&b=2')
      const multipart = await curl(...secure, '-F', 'name=value', `${url}/echo`)
      assert.match(multipart.stdout, /^-+[\w-]+\r\nContent-Disposition: form-data; name="name"\r\n\r\nvalue\r\n/)
      const content = randomBytes(1 << 20)
      const echoed = await run('curl', ['-sS', '--noproxy', '*', ...secure, '-H', 'Expect:', '--data-binary', '@-', `${url}/echo`], content)
      assert.equal(sha(echoed.bytes), sha(content))
    })

    test(`${on}: an answer that was cut is an error to it, chunked and to HTTP/1.0`, async () => {
      const { url } = await start(application, { over, transport })
      for (const words of [[], old1]) {
        const { code, stderr } = await curl(...secure, ...words, '-o', '/dev/null', `${url}/cut`)
        // 18: partial file, 56: failure in receiving.
        assert.ok(code === 18 || code === 56, `${words} ${code} ${stderr}`)
      }
    })

    test(`${on}: 103 in front of the answer`, async () => {
      const { url } = await start(application, { over, transport })
      const { stdout } = await curl(...secure, '-i', `${url}/hints`)
      assert.match(stdout, /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
      assert.ok(stdout.endsWith('hinted\n'))
    })
  }

  for (const transport of TRANSPORTS) {
    test(`curl, unix, ${transport}: --unix-socket`, async () => {
      const { path } = await start(application, { over: 'unix', transport })
      const { code, stdout } = await curl('--unix-socket', path, 'http://localhost/x')
      assert.deepEqual([code, stdout], [0, 'HTTP/1.1 GET /x http\n'])
    })
  }

  test('curl, tls: --http1.0, which offers http/1.0 by ALPN', async () => {
    const { url } = await start(application, { over: 'tls' })
    const { code, stdout, stderr } = await curl('--cacert', CERTFILE, '--http1.0', `${url}/old`)
    assert.deepEqual([code, stdout], [0, 'HTTP/1.0 GET /old https\n'], stderr)
  })

  test('curl, tls: a certificate that nobody vouches for is refused by it, HTTP/2 is not offered by us', async () => {
    const { url, server } = await start(application, { over: 'tls' })
    assert.equal((await curl(url)).code, 60)
    const { stdout } = await curl('--cacert', CERTFILE, '--http2', '-w', '%{http_version}', '-o', '/dev/null', url)
    assert.equal(stdout, '1.1')
    const plain = await curl(url.replace('https', 'http'))
    assert.ok(plain.code === 52 || plain.code === 56, String(plain.code))
    assert.equal(server.state, 'listening')
  })
}
