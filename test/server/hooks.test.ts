// Post hooks: after the answer left or its peer did, in order, each guarded and bounded.
import * as assert from 'uvu/assert'
import type { Application, Environ, PostHook } from '../../src/server/application.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Deferred, deferred, get, onEveryTransport, pass, post, turns, until } from '../support/harness.ts'

/** Answers with its path and leaves these hooks behind. */
function withHooks(...hooks: PostHook[]): Application {
  return (environ, startResponse) => {
    environ['eventlet.posthooks'].push(...hooks)
    startResponse(200)
    return [environ.PATH_INFO]
  }
}

/** A hook that runs until its gate, the next of `gates`, is opened. */
function gated(gates: Deferred[]): PostHook {
  return [() => {
    const gate = deferred()
    gates.push(gate)
    return gate.promise
  }]
}

onEveryTransport('post hooks', (h, test) => {
  test('in order, with environ, arguments and keywords', async () => {
    const calls: unknown[][] = []
    const note = (environ: Environ, ...rest: unknown[]): void => void calls.push([environ.PATH_INFO, ...rest])
    const { log } = await h.serve(withHooks([note], [note, [1, 'two']], [note, [3], { four: 4 }], [note, [], { five: 5 }]))
    const client = await h.connect()
    await client.send(get('/x'))
    await client.response()
    await until(() => calls.length === 4, 'all hooks')
    assert.equal(calls, [['/x'], ['/x', 1, 'two'], ['/x', 3, { four: 4 }], ['/x', { five: 5 }]])
    await until(() => log.some(line => line.startsWith('GET /x')), 'the access line')
  })

  test('once per request, pipelined ones too, each with its own environ and outcome', async () => {
    const seen: string[] = []
    await h.serve(withHooks([environ => seen.push(`${environ.PATH_INFO} ${JSON.stringify(environ['wirelet.outcome'])}`)]))
    const client = await h.connect()
    await client.send(get('/1') + get('/22') + get('/333'))
    await client.responses(3)
    await until(() => seen.length === 3, 'three')
    assert.equal(seen, ['/1', '/22', '/333'].map(path => `${path} {"bytes":${path.length},"completed":true,"reason":""}`))
  })

  test('the outcome is null before, and the environ still tells everything', async () => {
    const seen: unknown[] = []
    await h.serve((environ, startResponse) => {
      seen.push(environ['wirelet.outcome'])
      environ['eventlet.posthooks'].push([async later => {
        await turns()
        seen.push(later === environ, later.HTTP_X_TOKEN, later.QUERY_STRING, later.REMOTE_ADDR === environ.REMOTE_ADDR)
      }])
      startResponse(204)
      return []
    })
    const client = await h.connect()
    await client.send(get('/?q', 'X-Token: abc\r\n') + get('/other?z', 'X-Token: def\r\n'))
    await client.response()
    await until(() => seen.length >= 6, 'both')
    assert.equal(seen.filter(each => each === 'abc' || each === 'def').sort(), ['abc', 'def'])
    assert.is(seen[0], null)
  })

  test('after a 500', async () => {
    const seen: unknown[] = []
    const { errors } = await h.serve(environ => {
      environ['eventlet.posthooks'].push([env => seen.push(env['wirelet.outcome'])])
      throw new Error('oops')
    })
    const client = await h.connect()
    await client.send(get())
    assert.is((await client.response()).status, 500)
    await until(() => seen.length === 1, 'the hook')
    assert.equal(seen, [{ bytes: 0, completed: true, reason: '' }])
    assert.is(errors.length, 1)
  })

  test('when the peer leaves: once, not completed, with a reason', async () => {
    const seen: { completed: boolean; reason: string }[] = []
    const { access, server } = await h.serve((environ, startResponse) => {
      environ['eventlet.posthooks'].push([env => void seen.push(env['wirelet.outcome']!)])
      startResponse(200)
      return environ.PATH_INFO === '/waits' ? new Promise(() => {}) : (function* () { for (;;) yield 'x'.repeat(65536) })()
    })
    for (const path of ['/waits', '/streams']) {
      const client = await h.connect()
      client.pause()
      await client.send(get(path))
      await turns(20)
      client.resetNow()
      await until(() => server.connections === 0, 'closed')
    }
    await until(() => seen.length === 2, 'both hooks')
    for (const outcome of seen) {
      assert.is(outcome.completed, false)
      assert.ok(outcome.reason !== '')
    }
    assert.is(access.length, 2)
    await turns()
    assert.is(seen.length, 2)
  })

  test('when the content was cut short', async () => {
    const seen: unknown[] = []
    await h.serve(async (environ, startResponse) => {
      environ['eventlet.posthooks'].push([() => seen.push('hook')])
      await environ['wsgi.input'].read().catch(error => seen.push(error.code))
      startResponse(200)
      return ['still answered']
    })
    const client = await h.connect()
    await client.send(post('/', 'hello').slice(0, -1))
    await client.end()
    assert.is((await client.response()).text, 'still answered')
    await until(() => seen.length === 2, 'both')
    assert.equal(seen, ['ERR_WIRELET_REQUEST_ABORTED', 'hook'])
  })

  test('one that throws or rejects is logged; the others run, and the access line is written', async () => {
    const seen: string[] = []
    const { errors, access } = await h.serve(withHooks(
      [() => { throw new Error('first') }],
      [() => seen.push('second')],
      [async () => { throw new Error('third') }],
      [() => seen.push('fourth')],
      ['no function' as unknown as PostHook[0]],
      [() => seen.push('sixth')]
    ))
    const client = await h.connect()
    await client.send(get() + get('/2'))
    assert.is((await client.responses(2)).length, 2)
    await until(() => access.length === 2, 'two lines')
    assert.equal(seen.filter(each => each === 'second').length, 2)
    assert.equal(seen.slice().sort(), ['fourth', 'fourth', 'second', 'second', 'sixth', 'sixth'])
    assert.is(errors.length, 6)
    assert.match(errors.join('\n'), /first[^]*third/)
  })

  test('asynchronous ones run one after the other, and the answer does not wait for them', async () => {
    const gate = deferred()
    const seen: string[] = []
    const { access } = await h.serve(withHooks([async () => { seen.push('a'); await gate.promise; seen.push('b') }], [() => seen.push('c')]))
    const client = await h.connect()
    await client.send(get())
    await client.response()
    await turns()
    assert.equal(seen, ['a'])
    await client.send(get('/2'))
    assert.is((await client.response()).text, '/2', 'the next request neither')
    gate.resolve()
    await until(() => seen.length === 6 && access.length === 2, 'all of it')
    assert.equal(seen, ['a', 'a', 'b', 'b', 'c', 'c'])
  })

  test('the list may be replaced; what is no list is ignored', async () => {
    const seen: string[] = []
    const { access } = await h.serve((environ, startResponse) => {
      environ['eventlet.posthooks'].push([() => seen.push('old')])
      if (environ.PATH_INFO === '/new') environ['eventlet.posthooks'] = [[() => seen.push('new')]]
      else environ['eventlet.posthooks'] = null as unknown as PostHook[]
      startResponse(200)
      return ['']
    })
    const client = await h.connect()
    await client.send(get('/new') + get('/none'))
    await client.responses(2)
    await until(() => access.length === 2, 'both lines')
    assert.equal(seen, ['new'])
  })

  test('timeouts.hook: no longer waited for, and logged', async () => {
    const clock = new FakeClock()
    const seen: string[] = []
    const { errors, access } = await h.serve(withHooks([() => new Promise(() => {})], [() => seen.push('after')]), { clock, timeouts: { hook: 5_000 } })
    const client = await h.connect()
    await client.send(get())
    await client.response()
    await turns()
    await pass(clock, 4_999)
    assert.equal([seen, access], [[], []])
    await pass(clock, 1_000)
    assert.equal([seen.length, access.length, errors.length], [1, 1, 1])
    assert.match(errors[0]!, /post hook/)
  })

  test('sixteen cycles with pending hooks: the next request waits until one of them is done', async () => {
    const gates: Deferred[] = []
    let calls = 0
    await h.serve((environ, startResponse) => {
      calls++
      environ['eventlet.posthooks'].push(gated(gates))
      startResponse(200)
      return [String(calls)]
    })
    const client = await h.connect()
    for (let i = 1; i <= 16; i++) {
      await client.send(get())
      assert.is((await client.response()).text, String(i))
    }
    await until(() => gates.length === 16, 'all pending')
    await client.send(get())
    await turns(20)
    assert.is(calls, 16)
    gates[7]!.resolve()
    assert.is((await client.response()).text, '17')
    for (const gate of gates) gate.resolve()
    await until(() => gates.length === 17, 'the last')
    gates[16]!.resolve()
  })

  test('a request that waits for pending hooks is not idle: the keep-alive deadline does not end it', async () => {
    const gates: Deferred[] = []
    const clock = new FakeClock()
    const { server } = await h.serve((environ, startResponse) => {
      environ['eventlet.posthooks'].push(gated(gates))
      startResponse(200)
      return [environ.PATH_INFO]
    }, { clock, keepalive: 1000, timeouts: { hook: Infinity } })
    const client = await h.connect()
    for (let i = 0; i < 16; i++) {
      await client.send(get())
      await client.response()
    }
    await until(() => gates.length === 16, 'all pending')
    await client.send(get('/waits'))
    await turns(20)
    await pass(clock, 5000)
    assert.is(server.connections, 1)
    gates[0]!.resolve()
    assert.is((await client.response()).text, '/waits')
    await until(() => gates.length === 17, 'the last')
    for (const gate of gates) gate.resolve()
  })

  for (const [what, request] of [
    ['long heads', get('/', `X: ${'x'.repeat(8000)}\r\n`.repeat(5))],
    ['content that nobody reads', post('/', 'c'.repeat(40_000))],
    ['content of which a line was read', post('/line', 'l\n' + 'c'.repeat(40_000))]
  ] as const) {
    test(`pending hooks that keep ${what} in memory: the next request waits when they keep readBuffer`, async () => {
      const gates: Deferred[] = []
      let calls = 0
      const { server } = await h.serve(async (environ, startResponse) => {
        // What comes after the answer is no longer kept.
        const all = ++calls * request.length
        if (calls <= 2) await until(() => server.stats().bytesRead === all, 'everything read')
        if (environ.PATH_INFO === '/line') await environ['wsgi.input'].readline()
        environ['eventlet.posthooks'].push(gated(gates))
        startResponse(200)
        return [String(calls)]
      })
      const client = await h.connect()
      for (let i = 1; i <= 2; i++) {
        await client.send(request)
        assert.is((await client.response()).text, String(i))
      }
      await until(() => gates.length === 2, 'both pending')
      await client.send(get())
      await turns(20)
      assert.is(calls, 2)
      gates[0]!.resolve()
      assert.is((await client.response()).text, '3')
      await until(() => gates.length === 3, 'the last')
      for (const gate of gates) gate.resolve()
    })
  }

  test('close() waits for them, within its deadline', async () => {
    const gate = deferred()
    const { server } = await h.serve(withHooks([() => gate.promise]))
    const client = await h.connect()
    await client.send(get('/', 'Connection: close\r\n'))
    await client.response()
    await client.end()
    let closed = false
    const closing = server.close().then(() => (closed = true))
    await until(() => server.connections === 0, 'the connection is gone')
    await turns(20)
    assert.is(closed, false)
    gate.resolve()
    await closing
  })

  test('close() does not wait for one that hangs beyond its deadline', async () => {
    const { server } = await h.serve(withHooks([() => new Promise(() => {})]))
    const client = await h.connect()
    await client.send(get())
    await client.response()
    await turns()
    await server.close({ timeout: 0 })
    assert.is(server.state, 'closed')
  })
}).run()
