// The applications of the soak, the drain and the slow-peer runs: one per thing that a server is asked for, good ones and bad ones.
import { Buffer } from 'node:buffer'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import { ALREADY_HANDLED, type Application } from '../src/server/application.ts'

/** In what a failing application throws: the log may say it, anything else that it says is a fault. */
export const WANTED = 'asked to fail'

const TEXT: [string, string][] = [['Content-Type', 'text/plain']]
const PIECE = Buffer.alloc(16384, 'x')

function* pieces(count: number): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) yield PIECE
}

async function* slowPieces(count: number): AsyncGenerator<string> {
  for (let i = 0; i < count; i++) {
    if (i % 8 === 7) await nextTurn()
    yield `piece ${i}\n`
  }
}

async function* events(signal: AbortSignal): AsyncGenerator<string> {
  for (let i = 0; !signal.aborted; i++) {
    yield `data: ${i}\n\n`
    await delay(100, undefined, { signal }).catch(() => {})
  }
}

/** Path → application. */
export const applications: Record<string, Application> = {
  '/': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return ['Hello, World!\r\n']
  },
  '/big': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return pieces(16)
  },
  '/endless': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return pieces(1e9)
  },
  '/stream': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return slowPieces(32)
  },
  '/late': async (_environ, startResponse) => {
    await delay(10)
    startResponse('200 OK', TEXT)
    return ['late']
  },
  '/echo': async (environ, startResponse) => {
    const content = await environ['wsgi.input'].read()
    startResponse('200 OK', TEXT)
    return [content]
  },
  '/count': async (environ, startResponse) => {
    let count = 0
    for await (const piece of environ['wsgi.input']) count += piece.length
    startResponse('200 OK', TEXT)
    return [String(count)]
  },
  '/lines': async (environ, startResponse) => {
    let lines = 0
    const input = environ['wsgi.input']
    for (let line = await input.readline(); line.length > 0; line = await input.readline()) lines++
    startResponse('200 OK', TEXT)
    return [String(lines)]
  },
  '/unread': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return ['unread']
  },
  '/hook': (environ, startResponse) => {
    environ['eventlet.posthooks'].push([async () => void (await delay(5))], [() => { throw new Error(WANTED) }])
    startResponse('200 OK', TEXT)
    return ['hooked']
  },
  '/endless-hook': (environ, startResponse) => {
    environ['eventlet.posthooks'].push([() => new Promise(() => {})])
    startResponse('200 OK', TEXT)
    return ['hooked']
  },
  '/throw': () => {
    throw new Error(WANTED)
  },
  '/reject': () => Promise.reject(new Error(WANTED)),
  '/broken': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return (function* () {
      yield PIECE
      throw new Error(WANTED)
    })()
  },
  '/short': (_environ, startResponse) => {
    startResponse('200 OK', [...TEXT, ['Content-Length', '100']])
    return ['short']
  },
  '/never': () => new Promise(() => {}),
  '/write': (_environ, startResponse) => {
    const write = startResponse('200 OK', TEXT)
    for (let i = 0; i < 20; i++) void write('written ')
    return []
  },
  '/sse': (environ, startResponse) => {
    startResponse('200 OK', [['Content-Type', 'text/event-stream']])
    return events(environ['wirelet.signal'])
  },
  '/upgrade': (environ) => {
    const duplex = environ['wirelet.upgrade']()
    duplex.on('error', () => {})
    duplex.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
    duplex.pipe(duplex)
    return ALREADY_HANDLED
  }
}

export const application: Application = (environ, startResponse) => {
  const found = applications[environ.PATH_INFO]
  if (found !== undefined) return found(environ, startResponse)
  startResponse('404 Not Found', TEXT)
  return ['no such path']
}
