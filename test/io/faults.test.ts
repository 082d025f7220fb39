// Every step of a handful of conversations × every fault, enumerated: whatever happens, whenever it happens, the invariants of support/invariants.ts
// hold. Faults that lose nothing (delays, splits at every place) must not change one byte of what the peer receives.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Outcome } from '../../src/io/cycle.ts'
import { ALREADY_HANDLED, type Piece } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import type { FaultTransport } from '../support/fault-transport.ts'
import { deferred, onEveryTransport, turns, until } from '../support/harness.ts'
import { Scene, type WatchedApplication } from '../support/invariants.ts'
import { cutAt } from '../support/splits.ts'

// ── Conversations ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Text: bytes of the peer. A function: what else happens, by name. */
type Step = string | readonly [name: string, (scene: Scene, peer: FaultTransport) => void]

interface Conversation {
  readonly name: string
  readonly application: WatchedApplication
  readonly options?: ServeOptions
  readonly steps: readonly Step[]
  /** Final statuses when nothing goes wrong. */
  readonly statuses: readonly number[]
  /** What a delay may change: where chunks begin, when each piece of content is answered by one; how much leaves, when an answer is cut off. */
  readonly delaysShow?: 'in chunks' | 'in the cut'
  /** The application fails, or its hooks do: that gets into the log. */
  readonly logs?: boolean
}

const openGates: Step = ['the applications go on', scene => scene.requests.forEach(request => request.gate.release())]
const holdBack: Step = ['the kernel takes 1 000 bytes', (_scene, peer) => peer.hold(1000)]
const takeSome: Step = ['the kernel takes 50 000 more', (_scene, peer) => peer.take(50_000)]
const takeAll: Step = ['the kernel takes all', (_scene, peer) => peer.take()]

function head(text: string): string {
  return `${text}\r\nHost: h\r\n`
}

const hello: WatchedApplication = request => {
  request.start('200 OK', [['Content-Type', 'text/plain']])
  return [request.environ.REQUEST_URI]
}

/** Reads it all, then echoes it. RequestAborted passes through. */
const echo: WatchedApplication = async request => {
  const content = await request.track('read', request.environ['wsgi.input'].read())
  request.start()
  return [content, JSON.stringify(request.environ['wirelet.trailers'])]
}

/** Reads as it arrives and writes at once. */
const pump: WatchedApplication = async request => {
  const write = request.start()
  for await (const piece of request.environ['wsgi.input']) if (!(await write(piece))) break
  return ['.']
}

/** A piece, a wait, a piece. */
const waits: WatchedApplication = request => {
  request.start()
  const pieces: Piece[] = ['first', Buffer.from('second'), 'third ü']
  return request.async(async () => {
    if (pieces.length === 2) await request.gate.passed
    return pieces.shift() ?? null
  })
}

const large: WatchedApplication = request => {
  request.start()
  return ['a'.repeat(30_000), Buffer.alloc(100_000, 'b'), 'ü'.repeat(20_000)]
}

/** 300 KB in pieces of all sizes, by a sync iterable. */
const pieces: WatchedApplication = request => {
  request.start()
  let i = 0
  return request.sync(() => (i++ < 60 ? (i % 2 === 0 ? 'p'.repeat(i * 100) : Buffer.alloc(i * 230, 'q')) : null))
}

/** 300 000 octets by write(), each waited for, until one says that the peer is gone. */
const writes: WatchedApplication = async request => {
  const write = request.start()
  for (let i = 0; i < 30; i++) if (!(await write('w'.repeat(10_000)))) break
  return []
}

/** Its post hook waits. */
const hooked: WatchedApplication = request => {
  request.environ['eventlet.posthooks'].push([() => request.gate.passed])
  return hello(request)
}

const upgrade: WatchedApplication = request => {
  const duplex = request.environ['wirelet.upgrade']()
  duplex.on('data', (bytes: Buffer) => duplex.write(bytes))
  duplex.on('end', () => duplex.end())
  return ALREADY_HANDLED
}

const CONVERSATIONS: Conversation[] = [
  { name: 'GET', application: hello, steps: [head('GET /a HTTP/1.1') + '\r\n'], statuses: [200] },
  { name: 'GET after GET', application: hello, steps: [head('GET /a HTTP/1.1') + '\r\n', head('GET /b HTTP/1.1') + '\r\n'], statuses: [200, 200] },
  {
    name: 'GET, answered later',
    application: async request => {
      await request.gate.passed
      return hello(request)
    },
    steps: [head('GET /a HTTP/1.1') + '\r\n', openGates, head('GET /b HTTP/1.1') + '\r\n'],
    statuses: [200, 200]
  },
  {
    name: 'POST with a length',
    application: echo,
    steps: [head('POST /a HTTP/1.1') + 'Content-Length: 12\r\n\r\n', '01234', '5678901', head('GET /b HTTP/1.1') + '\r\n'],
    statuses: [200, 200]
  },
  {
    name: 'POST chunked, with Expect',
    application: echo,
    steps: [
      head('POST /a HTTP/1.1') + 'Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n', '5;x=y\r\n01234\r\n', '2\r\n56\r\n0\r\nX-T: t\r\n\r\n',
      head('GET /b HTTP/1.1') + '\r\n'
    ],
    statuses: [200, 200]
  },
  {
    name: 'POST whose content nobody reads',
    application: hello,
    steps: [head('POST /a HTTP/1.1') + 'Content-Length: 12\r\n\r\n', '01234', '5678901' + head('GET /b HTTP/1.1') + '\r\n'],
    statuses: [200, 200]
  },
  {
    name: 'content in, answer out',
    application: pump,
    steps: [head('POST /a HTTP/1.1') + 'Transfer-Encoding: chunked\r\n\r\n', '5\r\n01234\r\n', '2\r\n56\r\n', '0\r\n\r\n'],
    statuses: [200],
    delaysShow: 'in chunks'
  },
  {
    name: 'three pipelined, then one',
    application: async request => {
      if (request.environ.REQUEST_URI === '/2') await request.gate.passed
      return hello(request)
    },
    steps: [['1', '2', '3'].map(n => head(`GET /${n} HTTP/1.1`) + '\r\n').join(''), openGates, head('GET /4 HTTP/1.1') + 'Connection: close\r\n\r\n'],
    statuses: [200, 200, 200, 200]
  },
  { name: 'streaming', application: waits, steps: [head('GET /a HTTP/1.1') + '\r\n', openGates], statuses: [200] },
  { name: 'streaming to HTTP/1.0', application: waits, steps: ['GET /a HTTP/1.0\r\n\r\n', openGates], statuses: [200] },
  { name: 'HEAD of a stream', application: waits, steps: [head('HEAD /a HTTP/1.1') + '\r\n', openGates], statuses: [200] },
  { name: 'a large answer', application: large, steps: [holdBack, head('GET /a HTTP/1.1') + '\r\n', takeSome, takeAll], statuses: [200] },
  { name: 'a large answer in pieces', application: pieces, steps: [holdBack, head('GET /a HTTP/1.1') + '\r\n', takeSome, takeSome, takeAll], statuses: [200] },
  { name: 'write() and wait', application: writes, steps: [holdBack, head('GET /a HTTP/1.1') + '\r\n', takeSome, takeSome, takeAll], statuses: [200] },
  {
    name: 'answers that the kernel does not take',
    application: hello,
    steps: [holdBack, head('GET /a HTTP/1.1') + '\r\n', (head('GET /b HTTP/1.1') + '\r\n').repeat(20), takeSome, head('GET /c HTTP/1.1') + '\r\n'],
    statuses: Array.from({ length: 22 }, () => 200)
  },
  { name: 'a bad request', application: hello, steps: [head('GET /a HTTP/1.1') + '\r\nGET\r\n', 'GET /b HTTP/1.1\r\n\r\n', '\r\n\r\n'], statuses: [200, 400] },
  { name: 'bad content', application: echo, steps: [head('POST /a HTTP/1.1') + 'Transfer-Encoding: chunked\r\n\r\n', 'x\r\n', 'more'], statuses: [400] },
  {
    name: 'an application that throws in the midst',
    application: request => {
      request.start()
      let left = 2
      return request.async(async () => {
        await request.gate.passed
        if (left-- === 0) throw new Error('in the midst')
        return 'x'.repeat(5000)
      })
    },
    steps: [head('GET /a HTTP/1.1') + '\r\n', openGates],
    statuses: [],
    delaysShow: 'in the cut',
    logs: true
  },
  {
    name: 'hooks that wait',
    application: hooked,
    steps: [(head('GET /a HTTP/1.1') + '\r\n').repeat(20), openGates, openGates, head('GET /b HTTP/1.1') + '\r\n'],
    statuses: Array.from({ length: 21 }, () => 200),
    logs: true
  },
  { name: 'a takeover', application: upgrade, steps: [head('GET /a HTTP/1.1') + '\r\nfirst', 'second', 'third'], statuses: [] }
]

// ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Happens before the step `at`; returns what becomes of the steps from there on. */
type Fault = (run: Run) => Promise<void> | void

class Run {
  readonly scene: Scene
  readonly peer: FaultTransport
  /** The peer has ended its side or is gone: it sends no more. */
  mute = false
  /** Bytes come one at a time, and the kernel takes one at a time. */
  dripping = false
  /** The next bytes come together with the FIN. */
  endWithNext = false

  constructor(scene: Scene, together: boolean) {
    this.scene = scene
    this.peer = scene.connect()
    this.peer.together = together
  }

  async step(step: Step): Promise<void> {
    const { scene, peer } = this
    if (typeof step !== 'string') step[1](scene, peer)
    else if (!this.mute) {
      if (this.dripping) for (const octet of Buffer.from(step, 'latin1')) peer.receive(Buffer.from([octet]))
      else peer.receive(step, this.endWithNext)
      this.mute = this.endWithNext
    }
    if (this.dripping) {
      for (let i = 0; i < 200; i++) {
        await scene.settle()
        peer.take(1)
      }
    }
    await scene.settle()
  }
}

const LOSSES: Record<string, Fault> = {
  'the next write fails': run => {
    run.peer.writesUntilFailure = 0
  },
  'the write after the next fails': run => {
    run.peer.writesUntilFailure = 1
  },
  'what is pending fails': run => {
    if (run.peer.writesPending > 0) run.peer.failPending()
  },
  'reset': run => {
    run.peer.lose()
    run.mute = true
  },
  'half-close': run => {
    if (!run.mute) run.peer.fin()
    run.mute = true
  },
  'half-close with the bytes': run => {
    run.endWithNext = true
  },
  'half-close, then reset': async run => {
    if (!run.mute) run.peer.fin()
    run.mute = true
    await run.scene.settle()
    run.peer.lose()
  },
  'all deadlines': run => run.scene.pass(100_000),
  'drain begins': run => run.scene.drain(),
  'the server is cut off': run => {
    run.scene.drain()
    void run.scene.server.close({ timeout: 0 })
  },
  'the applications end': run => run.scene.requests.forEach(request => request.gate.release())
}

const DELAYS: Record<string, Fault> = {
  'the kernel takes nothing': run => {
    run.peer.hold()
  },
  'octet by octet': run => {
    run.dripping = true
    run.peer.hold()
  }
}

/** `faults` by the index of the step that they come before; reads are done `together` with those of others, or not. */
function play(of: Conversation, together: boolean, faults: ReadonlyMap<number, Fault>): Promise<Scene> {
  return Scene.play(of.application, of.options ?? {}, async scene => {
    scene.mayFail = of.logs === true
    const run = new Run(scene, together)
    for (let i = 0; i <= of.steps.length; i++) {
      const fault = faults.get(i)
      if (fault !== undefined) {
        await fault(run)
        if (i > 0) await scene.settle()
      }
      if (i < of.steps.length) await run.step(of.steps[i]!)
    }
  })
}

function converse(of: Conversation, together: boolean, at: number, fault: Fault): Promise<Scene> {
  return play(of, together, new Map([[at, fault]]))
}

const NOTHING: Fault = () => {}

/** What the peer received, as far as it must not depend on when. */
function received(scene: Scene, conversation: Conversation): unknown {
  const transport = scene.transports[0]!
  if (conversation.delaysShow === undefined) return transport.wire()
  if (conversation.delaysShow === 'in the cut') return transport.ending
  const { statuses, heads, bodies, cut } = scene.answers(transport)
  return { statuses, heads, bodies, cut }
}

for (const together of [false, true]) for (const conversation of CONVERSATIONS) {
  const faults = suite(`faults: ${conversation.name}${together ? ', read together with others' : ''}`)
  let whole = ''
  let expected: unknown
  let writes = 0

  faults('nothing goes wrong', async () => {
    const scene = await converse(conversation, together, 0, NOTHING)
    whole = scene.transports[0]!.wire()
    expected = received(scene, conversation)
    writes = scene.transports[0]!.writes
    if (!conversation.name.includes('takeover')) assert.equal(scene.answers(scene.transports[0]!).statuses, conversation.statuses)
  })

  for (let at = 0; at <= conversation.steps.length; at++) {
    const place = at === conversation.steps.length ? 'after the last step' : `before step ${at}`
    for (const [name, fault] of Object.entries(LOSSES)) {
      faults(`${name} ${place}`, async () => {
        await converse(conversation, together, at, fault)
      })
    }
    for (const [name, fault] of Object.entries(DELAYS)) {
      if (conversation.steps.includes(holdBack)) continue
      faults(`${name} ${place}`, async () => {
        assert.equal(received(await converse(conversation, together, at, fault), conversation), expected)
      })
    }
  }

  // Two faults, at every two steps: for the long run.
  if (process.env['WIRELET_SLOW'] === '1') {
    const all = Object.entries({ ...LOSSES, 'the kernel takes nothing': DELAYS['the kernel takes nothing']! })
    for (const [firstName, first] of all) {
      faults(`${firstName}, then everything else`, async () => {
        for (const [secondName, second] of all) {
          for (let i = 0; i < conversation.steps.length; i++) {
            for (let j = i + 1; j <= conversation.steps.length; j++) {
              try {
                await play(conversation, together, new Map([[i, first], [j, second]]))
              } catch (error) {
                const { message, details = '' } = error as Error & { details?: string }
                throw new Error(`${firstName} before step ${i}, ${secondName} before step ${j}: ${message} ${details}`)
              }
            }
          }
        }
      })
    }
  }

  faults('each write fails', async () => {
    for (let write = 0; write < writes; write++) {
      const scene = await converse(conversation, together, 0, run => {
        run.peer.writesUntilFailure = write
      })
      assert.is(scene.transports[0]!.wire(), whole.slice(0, scene.transports[0]!.wire().length), `write ${write}`)
    }
  })

  faults('each step of the peer, cut at every place', async () => {
    for (const [index, step] of conversation.steps.entries()) {
      if (typeof step !== 'string') continue
      const bytes = Buffer.from(step, 'latin1')
      for (let cut = 1; cut < bytes.length; cut++) {
        const parts = cutAt(bytes, [cut]).map(part => part.toString('latin1'))
        const steps = [...conversation.steps]
        steps.splice(index, 1, ...parts)
        const scene = await converse({ ...conversation, steps }, together, 0, NOTHING)
        assert.equal(received(scene, conversation), expected, `step ${index} cut at ${cut}`)
      }
    }
  })

  faults.run()
}

// ── On the real transports ───────────────────────────────────────────────────────────────────────────────────────────────────────────

onEveryTransport('faults on a socket', (harness, test) => {
  test('a failed write is no completed answer', async () => {
    const gate = deferred()
    const called = deferred()
    const outcomes: (Outcome | null)[] = []
    const ended = deferred()
    const { server } = await harness.serve(async (environ, start) => {
      environ['eventlet.posthooks'].push([seen => outcomes.push(seen['wirelet.outcome']) === 1 && ended.resolve()])
      called.resolve()
      await gate.promise
      start('200 OK')
      return ['too late']
    })
    const client = await harness.connect()
    // The second request is not interpreted yet, and more comes on top of it: reading pauses, and only a write can find out that the peer is gone.
    await client.send('GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n')
    await called.promise
    const read = server.stats().bytesRead
    await client.send('GET /c')
    await until(() => server.stats().bytesRead > read, 'the rest')
    client.resetNow()
    await turns()
    gate.resolve()
    await ended.promise
    const outcome = outcomes[0]
    assert.is(outcome!.completed, false)
    assert.not.equal(outcome!.reason, '')
    await until(() => server.connections === 0, 'the connection to end')
  })

  test('an answer with Connection: close that is lost in the kernel is no completed answer', async () => {
    const outcomes: (Outcome | null)[] = []
    const ended = deferred()
    await harness.serve((environ, start) => {
      environ['eventlet.posthooks'].push([seen => outcomes.push(seen['wirelet.outcome']) === 1 && ended.resolve()])
      start('200 OK')
      return [Buffer.alloc(16 << 20)]
    })
    const client = await harness.connect()
    client.pause()
    await client.send('GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
    await turns(50)
    client.resetNow()
    await ended.promise
    const outcome = outcomes[0]
    assert.is(outcome!.completed, false)
    assert.not.equal(outcome!.reason, '')
  })
}).run()
