// The table of design.md §3, a test per cell: a connection is brought into a state, one thing happens, and the whole reaction is stated:
// final statuses sent · how the connection stands · what the application saw · how requests ended. After each, everything else must hold (Scene.play).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ALREADY_HANDLED } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { FaultTransport } from '../support/fault-transport.ts'
import { Scene, type WatchedApplication, type WatchedRequest } from '../support/invariants.ts'

const table = suite('state table')

const GET = 'GET /next HTTP/1.1\r\nHost: h\r\n\r\n'
const POST = 'POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n'
const BAD = 'GET  / HTTP/1.1\r\nHost: h\r\n\r\n'

/** A connection in some state, and what was there before the event. */
class Situation {
  readonly scene: Scene
  readonly peer: FaultTransport
  /** Bytes given to a takeover. */
  readonly toTaker: string[] = []
  private noted = 0
  private statusesBefore = 0
  private cyclesBefore = 0

  constructor(scene: Scene, peer: FaultTransport) {
    this.scene = scene
    this.peer = peer
  }

  get request(): WatchedRequest {
    return this.scene.requests.at(-1)!
  }

  get state(): string {
    return Object.entries(this.scene.engine.states()).find(([, count]) => count > 0)?.[0] ?? 'closed'
  }

  /** What follows counts as reaction. */
  mark(): this {
    this.statusesBefore = this.scene.answers(this.peer).statuses.length
    this.cyclesBefore = this.scene.cycles.filter(cycle => cycle.ends > 0).length
    this.noted = this.request?.notes.length ?? 0
    return this
  }

  /** All that can be seen of it. */
  reaction(): string {
    const { scene, peer } = this
    const words: string[] = []
    const answers = scene.answers(peer)
    for (let i = this.statusesBefore; i < answers.statuses.length; i++) {
      const close = /^connection: .*close/im.test(answers.heads[i]!)
      words.push(`${answers.statuses[i]}${close ? ' close' : ''}`)
    }
    if (answers.cut !== '' && (peer.ending === 'reset' || peer.ending === 'lost')) words.push('cut')
    words.push(peer.ending === 'open' && peer.finSent ? 'half-closed' : peer.ending)
    const { request } = this
    if (request !== undefined) {
      if (request.signal.aborted) words.push('aborted')
      words.push(...request.notes.slice(this.noted))
      if (request.bodies.some(body => body.returns > 0)) words.push('returned')
    }
    if (this.toTaker.length > 0) words.push(`taker: ${this.toTaker.join('|')}`)
    const ended = scene.cycles.filter(cycle => cycle.ends > 0).slice(this.cyclesBefore)
    for (const { outcome } of ended) words.push(outcome!.completed ? 'completed' : `incomplete (${outcome!.reason})`)
    return words.join('; ')
  }
}

interface State {
  readonly application: WatchedApplication
  readonly options?: ServeOptions
  /** Brings the connection there, and says what `Connection.state` must be. */
  reach(at: Situation): Promise<void> | void
  readonly is: string
  /** Makes the engine write, for 'failed write'. Without it what is pending fails. */
  provoke?(at: Situation): void
  /** What 'more bytes' are. */
  readonly more?: string
  /** Milliseconds of the deadline that ends this state. */
  readonly deadline?: number
  readonly secure?: boolean
}

class SecureTransport extends FaultTransport {
  override readonly secure: boolean = true
}

type Happening = (at: Situation, state: State) => Promise<void>

const EVENTS: Record<string, Happening> = {
  'FIN': async at => {
    at.peer.fin()
    await at.scene.settle()
  },
  'reset': async at => {
    at.peer.lose()
    await at.scene.settle()
  },
  'failed write': async (at, state) => {
    if (state.provoke === undefined) at.peer.failPending()
    else {
      at.peer.writesUntilFailure = 0
      state.provoke(at)
    }
    await at.scene.settle()
  },
  'deadline': async (at, state) => {
    const before = at.reaction()
    await at.scene.pass(state.deadline! - 1)
    assert.is(at.reaction(), before, 'before the deadline')
    await at.scene.pass(1001)
  },
  'drain begins': async at => {
    at.scene.drain()
    await at.scene.settle()
  },
  'application ends': async at => {
    at.request.gate.release()
    await at.scene.settle()
  },
  'more bytes': async (at, state) => {
    at.peer.receive(state.more ?? GET)
    await at.scene.settle()
  },
  'more bytes with the FIN': async (at, state) => {
    at.peer.receive(state.more ?? GET, true)
    await at.scene.settle()
  }
}

/** A further step after the event, and the reaction since the state was reached. */
interface Then {
  readonly then: (at: Situation) => Promise<void> | void
  readonly be: string
}

type Cell = string | readonly [string, ...Then[]]

const end: Then['then'] = at => at.scene.requests.forEach(request => request.gate.release())
const rest: Then['then'] = at => void at.peer.receive('0123456789')
const next: Then['then'] = at => void at.peer.receive(GET)
const take: Then['then'] = at => at.peer.take()
const fin: Then['then'] = at => void at.peer.fin()
const after = (ms: number): Then['then'] => at => at.scene.pass(ms)

/** One state: a test for every cell. */
function row(name: string, state: State, cells: Record<string, Cell>): void {
  for (const together of [false, true]) for (const [event, cell] of Object.entries(cells)) {
    table(`${name} × ${event}${together ? ', read together with others' : ''}`, async () => {
      await Scene.play(state.application, state.options ?? {}, async scene => {
        const at = new Situation(scene, scene.connect(state.secure === true ? new SecureTransport() : new FaultTransport()))
        at.peer.together = together
        await state.reach(at)
        assert.is(at.state, state.is, 'the state that was to be reached')
        at.mark()
        await EVENTS[event.replace(/,.*$/, '')]!(at, state)
        const [first, ...more] = typeof cell === 'string' ? [cell] : cell
        assert.is(at.reaction(), first)
        for (const { then, be } of more) {
          await then(at)
          await scene.settle()
          assert.is(at.reaction(), be)
        }
      })
    })
  }
}

// ── Applications ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const hello: WatchedApplication = request => {
  request.start()
  return ['hello']
}

/** The first request waits for its gate; the others are answered. */
const waiting: WatchedApplication = async request => {
  if (request.environ.REQUEST_URI !== '/next') await request.gate.passed
  request.start()
  return ['done']
}

/** Reads all the content, whatever becomes of it, then waits for its gate and answers. */
const reading: WatchedApplication = async request => {
  if (request.environ.REQUEST_URI === '/next') return hello(request)
  void request.track('read', request.environ['wsgi.input'].read()).catch(() => {})
  await request.gate.passed
  request.start()
  return ['done']
}

/** 800 KiB in pieces of 8. */
const streaming: WatchedApplication = request => {
  request.start()
  if (request.environ.REQUEST_URI === '/next') return ['next']
  let left = 100
  return request.sync(() => (left-- > 0 ? 'x'.repeat(8192) : null))
}

/** Two pieces, the second when the gate opens. */
const asynchronous: WatchedApplication = request => {
  request.start()
  if (request.environ.REQUEST_URI === '/next') return ['next']
  let left = 2
  return request.async(async () => {
    if (--left === 0) await request.gate.passed
    return left < 0 ? null : 'piece'
  })
}

const GONE = 'incomplete (the peer is gone (ECONNRESET))'
const BROKEN = 'incomplete (the peer is gone (EPIPE))'
const LATE = 'incomplete (HPE_BODY_TIMEOUT: the content took too long)'
const CUT_SHORT = 'incomplete (HPE_INCOMPLETE_CONTENT: the connection ended inside the content)'

// ── The rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

row('new', { application: hello, reach: () => {}, is: 'new', deadline: 10_000, provoke: at => void at.peer.receive(BAD) }, {
  'FIN': 'destroyed',
  'reset': 'lost',
  'failed write': 'lost',
  'deadline': 'destroyed',
  'drain begins': 'destroyed',
  'more bytes': '200; open; completed',
  'more bytes with the FIN': '200; destroyed; completed'
})

row('reading', {
  application: hello,
  reach: async at => {
    at.peer.receive('GET /a HTTP/1.1\r\nHo')
    await at.scene.settle()
  },
  is: 'reading',
  deadline: 30_000,
  options: { timeouts: { shutdown: 60_000 } },
  more: 'st: h\r\n\r\n',
  provoke: at => void at.peer.receive(' \r\n')
}, {
  'FIN': '400 close; destroyed',
  'reset': 'lost',
  'failed write': 'lost',
  'deadline': ['408 close; half-closed', { then: after(3000), be: '408 close; destroyed' }],
  'drain begins': ['open', { then: at => void at.peer.receive('st: h\r\n\r\n'), be: '200 close; half-closed; completed' }],
  'drain begins, and its head never comes': ['open', { then: after(29_000), be: 'open' }, { then: after(2000), be: '408 close; half-closed' }],
  'more bytes': '200; open; completed',
  'more bytes with the FIN': '200; destroyed; completed'
})

const unread: State = {
  application: waiting,
  reach: async at => {
    at.peer.receive(POST)
    await at.scene.settle()
  },
  is: 'responding',
  options: { timeouts: { minBodyRate: 0 } },
  deadline: 30_000,
  more: '0123456789' + GET,
  provoke: at => at.request.gate.release()
}

row('responding, content unread', unread, {
  'FIN': ['open', { then: end, be: '200 close; destroyed; completed' }],
  'reset': `lost; aborted; ${GONE}`,
  'failed write': `lost; ${BROKEN}`,
  'deadline': `408 close; half-closed; aborted; ${LATE}`,
  'drain begins': ['open', { then: end, be: '200 close; half-closed; completed' }],
  'drain begins, the content comes': ['open', { then: rest, be: 'open' }, { then: end, be: '200 close; half-closed; completed' }],
  'application ends': ['200; open', { then: rest, be: '200; open; completed' }, { then: next, be: '200; 200; open; completed; completed' }],
  'more bytes': ['open', { then: end, be: '200; 200; open; completed; completed' }],
  'more bytes with the FIN': ['open', { then: end, be: '200; 200 close; destroyed; completed; completed' }]
})

row('responding, content unread, minBodyRate', { ...unread, options: {}, deadline: 20_000 }, {
  'deadline': `408 close; half-closed; aborted; ${LATE}`
})

// Whoever waits for a 100 is not slow.
row('responding, 100 awaited', {
  ...unread,
  application: async request => {
    await request.gate.passed
    await request.track('read', request.environ['wsgi.input'].read())
    request.start()
    return ['done']
  },
  reach: async at => {
    at.peer.receive(POST.replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n'))
    await at.scene.settle()
  }
}, {
  'deadline': ['open', { then: end, be: 'open' }, { then: rest, be: '200; open; read: "0123456789"; completed' }],
  'application ends': ['open', { then: after(31_000), be: `408 close; half-closed; aborted; read rejected: RequestAborted; ${LATE}` }],
  'drain begins': ['open', { then: end, be: 'open' }, { then: rest, be: '200 close; half-closed; read: "0123456789"; completed' }],
  'FIN': ['open', { then: end, be: `400 close; destroyed; aborted; read rejected: RequestAborted; ${CUT_SHORT}` }],
  'reset': ['lost; aborted; ' + GONE, { then: end, be: `lost; aborted; read rejected: RequestAborted; ${GONE}` }]
})

row('responding, content arriving', {
  application: reading,
  reach: async at => {
    at.peer.receive(POST + '0123')
    await at.scene.settle()
  },
  is: 'responding',
  options: { timeouts: { minBodyRate: 0 } },
  deadline: 30_000,
  more: '456789' + GET,
  provoke: at => at.request.gate.release()
}, {
  'FIN': ['open; read rejected: RequestAborted', { then: end, be: '200 close; destroyed; read rejected: RequestAborted; completed' }],
  'reset': `lost; aborted; read rejected: RequestAborted; ${GONE}`,
  'failed write': `lost; read rejected: RequestAborted; ${BROKEN}`,
  'deadline': `408 close; half-closed; aborted; read rejected: RequestAborted; ${LATE}`,
  'drain begins': [
    'open',
    { then: at => void at.peer.receive('456789'), be: 'open; read: "0123456789"' },
    { then: end, be: '200 close; half-closed; read: "0123456789"; completed' }
  ],
  'application ends': '200; open; read rejected: RequestAborted',
  'more bytes': ['open; read: "0123456789"', { then: end, be: '200; 200; open; completed; completed' }]
})

const complete: State = {
  application: waiting,
  reach: async at => {
    at.peer.receive('GET /a HTTP/1.1\r\nHost: h\r\n\r\n')
    await at.scene.settle()
  },
  is: 'responding',
  provoke: at => at.request.gate.release()
}

row('responding, content complete', complete, {
  'FIN': ['open', { then: end, be: '200 close; destroyed; completed' }],
  'reset': `lost; aborted; ${GONE}`,
  'failed write': `lost; ${BROKEN}`,
  'drain begins': ['open', { then: end, be: '200 close; half-closed; completed' }, { then: fin, be: '200 close; destroyed; completed' }],
  'application ends': ['200; open; completed', { then: next, be: '200; 200; open; completed; completed' }],
  'more bytes': ['open', { then: end, be: '200; 200; open; completed; completed' }],
  'more bytes with the FIN': ['open', { then: end, be: '200; 200 close; destroyed; completed; completed' }]
})

row('responding, content complete, abortOnHalfClose', { ...complete, options: { abortOnHalfClose: true } }, {
  'FIN': 'reset; aborted; incomplete (the peer closed its side)'
})

row('responding, content complete, handler deadline', { ...complete, options: { timeouts: { handler: 5000 } }, deadline: 5000 }, {
  'deadline': '503 close; half-closed; aborted; incomplete (HPE_HANDLER_TIMEOUT: the application took too long)'
})

row('responding, content complete, request deadline', { ...complete, options: { timeouts: { request: 5000 } }, deadline: 5000 }, {
  'deadline': '408 close; half-closed; aborted; incomplete (HPE_REQUEST_TIMEOUT: the request took too long)'
})

// eventlet.set_idle: a drain need not wait for this one.
row('responding, set_idle', {
  ...complete,
  application: request => {
    request.environ['eventlet.set_idle']()
    return waiting(request)
  }
}, {
  'drain begins': 'reset; aborted; incomplete (the server is shutting down)',
  'application ends': '200; open; completed'
})

/** Of one that is being answered with two behind it, however those were read. */
const twoWaiting: Record<string, Cell> = {
  'drain begins': ['open', { then: end, be: '200; 200; 200 close; half-closed; completed; completed; completed' }],
  'drain begins, then more bytes': [
    'open',
    { then: next, be: 'open' },
    { then: end, be: '200; 200; 200 close; half-closed; completed; completed; completed' }
  ],
  'application ends': '200; 200; 200; open; completed; completed; completed',
  'more bytes': ['open', { then: end, be: '200; 200; 200; 200; open; completed; completed; completed; completed' }]
}

row('responding, pipelined requests waiting', {
  ...complete,
  reach: async at => {
    at.peer.receive(`GET /a HTTP/1.1\r\nHost: h\r\n\r\n${GET}${GET}`)
    await at.scene.settle()
  }
}, {
  'FIN': ['open', { then: end, be: '200; 200; 200 close; destroyed; completed; completed; completed' }],
  'reset': `lost; aborted; ${GONE}`,
  ...twoWaiting
})

row('responding, pipelined requests waiting, those of two reads', {
  ...complete,
  reach: async at => {
    at.peer.receive(`GET /a HTTP/1.1\r\nHost: h\r\n\r\n${GET}`)
    await at.scene.settle()
    at.peer.receive(GET)
    await at.scene.settle()
  }
}, {
  // Reading is paused: the reset shows at the next write, and all three answers are in it.
  'FIN': ['open', { then: end, be: '200; 200; 200; destroyed; completed; completed; completed' }],
  'reset': ['open', { then: end, be: `lost; ${BROKEN}; ${BROKEN}; ${BROKEN}` }],
  ...twoWaiting
})

// The event comes between two turns of the generator, which has used up its share of the first.
const inTurns: State = {
  application: streaming,
  reach: at => {
    at.peer.receive('GET /a HTTP/1.1\r\nHost: h\r\n\r\n').turn()
    assert.ok(at.request.bodies[0]!.nexts < 100, 'the generator has yielded')
  },
  is: 'responding'
}

row('sync generator streaming', { ...inTurns, provoke: () => {} }, {
  'FIN': '200; destroyed; completed',
  'reset': `cut; lost; aborted; returned; ${GONE}`,
  'failed write': `cut; lost; aborted; returned; ${BROKEN}`,
  'drain begins': ['200; open; completed', { then: next, be: '200; 200 close; half-closed; completed; completed' }],
  'more bytes': '200; 200; open; completed; completed',
  'more bytes with the FIN': '200; 200 close; destroyed; completed; completed'
})

row('async generator waiting', {
  application: asynchronous,
  reach: async at => {
    at.peer.receive('GET /a HTTP/1.1\r\nHost: h\r\n\r\n')
    await at.scene.settle()
    assert.ok(at.peer.wire().endsWith('\r\n\r\n5\r\npiece\r\n'), at.peer.wire())
  },
  is: 'responding',
  options: { timeouts: { request: 5000 } },
  deadline: 5000,
  provoke: at => at.request.gate.release()
}, {
  'FIN': ['open', { then: end, be: '200; destroyed; completed' }],
  'reset': `cut; lost; aborted; returned; ${GONE}`,
  'failed write': `cut; lost; ${BROKEN}`,
  'deadline': 'cut; reset; aborted; returned; incomplete (HPE_REQUEST_TIMEOUT: the request took too long)',
  'drain begins': ['open', { then: end, be: '200; open; completed' }, { then: after(1501), be: '200; destroyed; completed' }],
  'drain begins, then more bytes': [
    'open',
    { then: rest, be: 'open' },
    { then: end, be: '200; half-closed; completed' },
    { then: next, be: '200; half-closed; completed' }
  ],
  'application ends': '200; open; completed',
  'more bytes': ['open', { then: end, be: '200; 200; open; completed; completed' }],
  'more bytes with the FIN': ['open', { then: end, be: '200; 200 close; destroyed; completed; completed' }]
})

row('async generator waiting, handler deadline', {
  application: asynchronous,
  reach: async at => {
    at.peer.receive('GET /a HTTP/1.1\r\nHost: h\r\n\r\n')
    await at.scene.settle()
  },
  is: 'responding',
  options: { timeouts: { handler: 5000 } },
  deadline: 5000
}, {
  'deadline': ['open', { then: end, be: '200; open; completed' }]
})

const pressed: State = {
  application: streaming,
  reach: async at => {
    at.peer.hold(10_000).receive('GET /a HTTP/1.1\r\nHost: h\r\n\r\n')
    await at.scene.settle()
    const { nexts } = at.request.bodies[0]!
    assert.ok(nexts >= 8 && nexts <= 17, `${nexts} pieces asked for`)
    await at.scene.settle()
    assert.is(at.request.bodies[0]!.nexts, nexts, 'the generator rests')
  },
  is: 'responding',
  deadline: 60_000
}

row('back-pressured', pressed, {
  'FIN': ['open', { then: take, be: '200; destroyed; completed' }],
  'reset': `cut; lost; aborted; returned; ${GONE}`,
  'failed write': `cut; lost; aborted; returned; ${BROKEN}`,
  'drain begins': ['open', { then: take, be: '200; open; completed' }, { then: after(1501), be: '200; destroyed; completed' }],
  'more bytes': ['open', { then: take, be: '200; 200; open; completed; completed' }],
  'more bytes with the FIN': ['open', { then: take, be: '200; 200 close; destroyed; completed; completed' }]
})

// 70 bytes a second and more is no stall, but below minSendRate: the average is judged after 20 s. Without a rate the stall is.
row('back-pressured, no minSendRate', { ...pressed, options: { timeouts: { minSendRate: 0 } } }, {
  'deadline': 'cut; reset; aborted; returned; incomplete (the peer takes the answer too slowly)'
})

row('back-pressured, minSendRate', { ...pressed, deadline: 20_000 }, {
  'deadline': 'cut; reset; aborted; returned; incomplete (the peer takes the answer too slowly)'
})

/** The kernel takes a large piece at once; `wait` milliseconds later it takes next to nothing of another. */
function twoPieces(wait: number): State {
  return {
    application: request => {
      request.start()
      const pieces = ['x'.repeat(35_000), 'y'.repeat(100_000)]
      return request.async(async () => {
        if (pieces.length === 1) await request.gate.passed
        return pieces.shift() ?? null
      })
    },
    reach: async at => {
      at.peer.hold(40_000).receive('GET /a HTTP/1.1\r\nHost: h\r\n\r\n')
      await at.scene.settle()
      await at.scene.pass(wait)
      at.request.gate.release()
      await at.scene.settle()
    },
    is: 'responding'
  }
}

// 40 000 bytes are enough for 80 s: the stall of 60 s ends it.
row('back-pressured behind what the kernel took at once', { ...twoPieces(0), deadline: 60_000 }, {
  'deadline': 'cut; reset; aborted; returned; incomplete (the peer takes the answer too slowly)'
})

row('back-pressured long after what the kernel took at once', { ...twoPieces(1000), deadline: 20_000 }, {
  'deadline': 'cut; reset; aborted; returned; incomplete (the peer takes the answer too slowly)'
})

const draining: State = {
  application: hello,
  reach: async at => {
    at.peer.receive(POST)
    await at.scene.settle()
    assert.equal(at.scene.answers(at.peer).statuses, [200])
  },
  is: 'responding',
  options: { timeouts: { minBodyRate: 0 } },
  deadline: 30_000,
  more: '0123456789' + GET
}

row('draining unread content', draining, {
  'FIN': 'destroyed; completed',
  'reset': 'lost; completed',
  'deadline': 'half-closed; completed',
  'drain begins': ['open', { then: rest, be: 'open; completed' }, { then: next, be: '200 close; half-closed; completed; completed' }],
  'more bytes': '200; open; completed; completed',
  'more bytes with the FIN': '200; destroyed; completed; completed'
})

row('draining unread content, answer pending', {
  ...draining,
  reach: async at => {
    at.peer.hold(20).receive(POST)
    await at.scene.settle()
  }
}, {
  'reset': `cut; lost; ${GONE}`,
  'failed write': `cut; lost; ${BROKEN}`,
  'FIN': ['open', { then: take, be: '200; destroyed; completed' }],
  'more bytes': ['open', { then: take, be: '200; 200; open; completed; completed' }]
})

const idle: State = {
  application: hello,
  reach: async at => {
    at.peer.receive(GET)
    await at.scene.settle()
  },
  is: 'idle',
  deadline: 75_000,
  provoke: at => void at.peer.receive(GET)
}

/** Five answers of 20 000 octets, of which the kernel takes no more than three. */
row('responding, pipelined answers that nobody takes', {
  application: request => {
    request.start()
    return ['x'.repeat(20_000)]
  },
  reach: async at => {
    at.peer.hold(100).receive(GET.repeat(20))
    await at.scene.settle()
    assert.ok(at.scene.requests.length >= 3 && at.scene.requests.length <= 4, `${at.scene.requests.length} requests begun`)
  },
  is: 'idle'
}, {
  'FIN': ['open', { then: take, be: `${'200; '.repeat(19)}200 close; destroyed${'; completed'.repeat(20)}` }],
  'reset': `cut; lost${`; ${GONE}`.repeat(4)}`,
  'failed write': `cut; lost${`; ${BROKEN}`.repeat(4)}`,
  'drain begins': ['open', { then: take, be: `${'200; '.repeat(19)}200 close; half-closed${'; completed'.repeat(20)}` }]
})

row('idle', idle, {
  'FIN': 'destroyed',
  'reset': 'lost',
  'failed write': `lost; ${BROKEN}`,
  'deadline': 'destroyed',
  'drain begins': ['open', { then: next, be: '200 close; half-closed; completed' }],
  'drain begins, then a head in pieces': [
    'open',
    { then: at => void at.peer.receive(GET.slice(0, 9)), be: 'open' },
    { then: after(2000), be: 'open' },
    { then: at => void at.peer.receive(GET.slice(9)), be: '200 close; half-closed; completed' }
  ],
  'drain begins, then nothing': ['open', { then: after(999), be: 'open' }, { then: after(1001), be: 'destroyed' }],
  'more bytes': '200; open; completed',
  'more bytes with the FIN': '200; destroyed; completed'
})

// A close_notify first: over TLS a bare FIN would look like an attack.
row('idle, TLS', { ...idle, secure: true }, {
  'FIN': 'destroyed',
  'reset': 'lost',
  'deadline': ['half-closed', { then: fin, be: 'destroyed' }],
  'drain begins': ['open', { then: after(2001), be: 'half-closed' }, { then: after(3000), be: 'destroyed' }]
})

row('idle, last answer pending', {
  ...idle,
  reach: async at => {
    at.peer.hold(20).receive(GET)
    await at.scene.settle()
  }
}, {
  'FIN': ['open', { then: take, be: '200; destroyed; completed' }],
  'reset': `cut; lost; ${GONE}`,
  'drain begins': ['open', { then: take, be: '200; open; completed' }, { then: after(2001), be: '200; destroyed; completed' }],
  'more bytes': ['open', { then: take, be: '200; 200; open; completed; completed' }]
})

const lingering: State = {
  application: hello,
  reach: async at => {
    at.peer.receive(BAD)
    await at.scene.settle()
    assert.ok(at.peer.finSent)
  },
  is: 'lingering',
  deadline: 2000
}

row('lingering', lingering, {
  'FIN': 'destroyed',
  'reset': 'lost',
  'deadline': 'destroyed',
  'drain begins': ['half-closed', { then: after(3000), be: 'destroyed' }],
  'more bytes': ['half-closed', { then: fin, be: 'destroyed' }],
  'more bytes with the FIN': 'destroyed'
})

row('lingering, maxDrain reached', { ...lingering, options: { limits: { maxDrain: 100 } }, more: 'x'.repeat(101) }, {
  'more bytes': 'destroyed'
})

row('lingering, maxDrain not reached', { ...lingering, options: { limits: { maxDrain: 100 } }, more: 'x'.repeat(100) }, {
  'more bytes': 'half-closed'
})

row('lingering, answer pending', {
  ...lingering,
  reach: async at => {
    at.peer.hold(20).receive(BAD)
    await at.scene.settle()
    assert.not.ok(at.peer.finSent)
  }
}, {
  'FIN': ['open', { then: take, be: '400 close; destroyed' }],
  'reset': 'cut; lost',
  'failed write': 'cut; lost',
  'drain begins': ['open', { then: take, be: '400 close; half-closed' }],
  'more bytes': ['open', { then: take, be: '400 close; half-closed' }]
})

row('lingering, an answer with close pending', {
  ...lingering,
  reach: async at => {
    at.peer.hold(20).receive('GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
    await at.scene.settle()
  },
  options: { timeouts: { minSendRate: 0 } },
  deadline: 60_000
}, {
  'FIN': ['open', { then: take, be: '200 close; destroyed; completed' }],
  'reset': `cut; lost; ${GONE}`,
  'failed write': `cut; lost; ${BROKEN}`,
  'deadline': 'cut; reset; incomplete (the peer takes the answer too slowly)',
  'drain begins': ['open', { then: take, be: '200 close; half-closed; completed' }],
  'more bytes': ['open', { then: take, be: '200 close; half-closed; completed' }]
})

// ── Takeover ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Takes the connection over; what comes on it is written down. */
function taker(mark: (text: string) => void, setIdle: boolean = false): WatchedApplication {
  return request => {
    if (setIdle) request.environ['eventlet.set_idle']()
    const duplex = request.environ['wirelet.upgrade']()
    duplex.on('data', (bytes: Buffer) => mark(bytes.toString('latin1')))
    duplex.on('end', () => mark('end'))
    duplex.on('close', () => mark('close'))
    return ALREADY_HANDLED
  }
}

function takenOver(first: string, setIdle: boolean = false, options: ServeOptions = {}): State {
  let at: Situation
  return {
    application: taker(text => at.toTaker.push(text), setIdle),
    options,
    reach: async situation => {
      at = situation
      at.peer.receive(first)
      await at.scene.settle()
    },
    is: 'taken over',
    more: 'more',
    deadline: 300_000
  }
}

row('taken over', takenOver('GET /a HTTP/1.1\r\nHost: h\r\n\r\n'), {
  'FIN': 'detached; taker: end',
  'reset': 'detached; taker: close',
  'deadline': 'detached',
  'more bytes': 'detached; taker: more',
  'more bytes with the FIN': 'detached; taker: more|end',
  'drain begins': ['detached', { then: after(29_000), be: 'detached' }, { then: after(2000), be: 'detached; taker: close' }]
})

row('taken over, set_idle', takenOver('GET /a HTTP/1.1\r\nHost: h\r\n\r\n', true), {
  'drain begins': 'detached; taker: close'
})

row('taken over, bytes already read', takenOver('GET /a HTTP/1.1\r\nHost: h\r\n\r\nfirst '), {
  'more bytes': 'detached; taker: first |more'
})

row('taken over, content unread', takenOver(POST), {
  'more bytes': 'detached; taker: more'
})

row('taken over, content arriving', takenOver(POST + '0123'), {
  'more bytes': 'detached; taker: 0123|more'
})

row('taken over, content complete and more', takenOver(POST + '0123456789after '), {
  'more bytes': 'detached; taker: 0123456789after |more'
})

// ── Drain begun ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

row('drain begun, idle within its grace', {
  ...idle,
  reach: async at => {
    await idle.reach(at)
    at.scene.drain()
    await at.scene.settle()
  },
  deadline: 1000
}, {
  'FIN': 'destroyed',
  'reset': 'lost',
  'failed write': `lost; ${BROKEN}`,
  'deadline': 'destroyed',
  'more bytes': ['200 close; half-closed; completed', { then: fin, be: '200 close; destroyed; completed' }],
  'more bytes with the FIN': '200 close; destroyed; completed'
})

row('drain begun, responding', {
  ...complete,
  reach: async at => {
    await complete.reach(at)
    at.scene.drain()
    await at.scene.settle()
  },
  deadline: 30_000
}, {
  'FIN': ['open', { then: end, be: '200 close; destroyed; completed' }],
  'reset': `lost; aborted; ${GONE}`,
  'failed write': `lost; ${BROKEN}`,
  'deadline': 'reset; aborted; incomplete (the server is shutting down)',
  'application ends': '200 close; half-closed; completed',
  // "What is complete in the buffer when a drain starts is answered; later input is discarded."
  'more bytes': ['open', { then: end, be: '200 close; half-closed; completed' }]
})

row('drain begun, lingering', {
  ...lingering,
  reach: async at => {
    await lingering.reach(at)
    at.scene.drain()
    await at.scene.settle()
  }
}, {
  'FIN': 'destroyed',
  'reset': 'lost',
  'deadline': 'destroyed',
  'more bytes': 'half-closed'
})

table.run()
