// A server in a process of its own, for what must not be done to the tests' process: exhausted descriptors, blocked event loops, applications
// that fail. Every uncaught exception and unseen rejection is a fault that its test hears of.
//   node test/survival/child.js '{"options":{…ServeOptions}}', with an IPC channel
import { application, WANTED } from '../../soak/applications.ts'
import { lentBuffers } from '../../src/io/buffer-pool.ts'
import { listen, wrapTls } from '../../src/io/listener.ts'
import { setInternalErrorHook } from '../../src/io/transport.ts'
import type { Application } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { serve, type Server, type ServerStats } from '../../src/server/serve.ts'
import { certificate } from '../support/sockets.ts'

export interface ChildOptions {
  options?: ServeOptions
  tls?: boolean
  /** A second server, for TLS, in the same process. */
  alsoTls?: boolean
}

export type Order = { kind: 'report' } | { kind: 'close'; timeout?: number }

export interface Report {
  kind: 'report'
  /** Milliseconds of CPU since the start. */
  cpu: number
  stats: ServerStats
  /** After a full collection, where the child was started for it. */
  memory: NodeJS.MemoryUsage | null
  lent: number
  faults: string[]
}

export type ChildMessage = { kind: 'ready'; port: number; tlsPort: number } | Report | { kind: 'closed'; report: Report }

const { options = {}, tls = false, alsoTls = false } = JSON.parse(process.argv[2] ?? '{}') as ChildOptions
const faults: string[] = []
const collect = (globalThis as { gc?: () => void }).gc

setInternalErrorHook(error => faults.push(`internal: ${String(error)}`))

const TEXT: [string, string][] = [['Content-Type', 'text/plain']]

/** What only a process of its own should be asked for; the rest is the soak's. */
const own: Record<string, Application> = {
  '/block': (environ, startResponse) => {
    const until = performance.now() + Number(environ.QUERY_STRING)
    while (performance.now() < until) {
      // holds the event loop
    }
    startResponse('200 OK', TEXT)
    return ['blocked']
  },
  '/forever': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return (function* () {
      for (;;) yield 'again '
    })()
  },
  '/forever-async': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return (async function* () {
      for (;;) yield 'again '
    })()
  },
  '/nothing-forever': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return (function* () {
      for (;;) yield ''
    })()
  },
  '/nothing-forever-async': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return (async function* () {
      for (;;) yield ''
    })()
  },
  '/tiny-pieces': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return (function* () {
      for (let i = 0; i < 1_000_000; i++) yield 'x'
    })()
  },
  '/after-the-end': (_environ, startResponse) => {
    const write = startResponse('200 OK', TEXT)
    setTimeout(() => {
      try {
        void write('too late')
        faults.push('write() after the end did not throw')
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_WIRELET_USAGE') faults.push(String(error))
      }
    }, 20)
    return ['in time']
  },
  '/reject-late': (environ) =>
    new Promise((_resolve, reject) => {
      environ['wirelet.signal'].addEventListener('abort', () => setTimeout(() => reject(new Error(WANTED)), 20))
    }),
  '/return-late': (environ, startResponse) =>
    new Promise(resolve => {
      environ['wirelet.signal'].addEventListener('abort', () => setTimeout(() => {
        startResponse('200 OK', TEXT)
        resolve(['nobody hears this'])
      }, 20))
    }),
  '/throw-nothing': () => {
    throw undefined
  },
  '/reject-nothing': () => Promise.reject(),
  '/bad-piece': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return [42] as unknown as string[]
  },
  '/bad-iterator': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return { [Symbol.iterator]: () => ({ next: () => null }) } as unknown as string[]
  },
  '/bad-return': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    const iterator = { next: () => ({ done: false, value: 'x'.repeat(70_000) }), return: () => { throw new Error(WANTED) }, [Symbol.iterator]: () => iterator }
    return iterator as unknown as Iterable<string>
  },
  '/bad-close': (_environ, startResponse) => {
    startResponse('200 OK', TEXT)
    return Object.assign(['closed badly'], { close: () => { throw new Error(WANTED) } })
  },
  '/bad-thenable': () => ({ then: () => { throw new Error(WANTED) } }) as unknown as Promise<string>,
  '/no-body': () => null as unknown as string,
  '/no-start': () => ['no head']
}

const all: Application = (environ, startResponse) => (own[environ.PATH_INFO] ?? application)(environ, startResponse)

function report(server: Server): Report {
  const { user, system } = process.cpuUsage()
  // Its RSS is read from a file, which needs a descriptor.
  const memory = collect === undefined ? null : (collect(), process.memoryUsage())
  return { kind: 'report', cpu: (user + system) / 1000, stats: server.stats(), memory, lent: lentBuffers(), faults }
}

/** A thousand peers that were ended in one sweep come again at once: with a shorter queue the kernel makes them wait, 1, 3 or 7 s. */
const backlog = 4096
const plain = await listen({ port: 0, backlog })
const server = serve(tls ? wrapTls(plain, certificate()) : plain, all, { log: { write: () => true }, ...options })
const second = alsoTls ? serve(wrapTls(await listen({ port: 0, backlog }), certificate()), all, { log: { write: () => true }, ...options }) : null

async function obey(order: Order): Promise<void> {
  if (order.kind === 'report') process.send?.(report(server))
  else {
    await server.close(order.timeout === undefined ? {} : { timeout: order.timeout })
    await second?.close({ timeout: 0 })
    process.send?.({ kind: 'closed', report: report(server) })
    process.disconnect()
  }
}

process.on('uncaughtException', error => faults.push(`uncaught: ${error.stack}`))
process.on('unhandledRejection', error => faults.push(`unhandled: ${error instanceof Error ? error.stack : String(error)}`))
process.on('message', (order: Order) => void obey(order))
process.on('disconnect', () => void server.close({ timeout: 0 }))
process.send?.({ kind: 'ready', port: server.address.port, tlsPort: second?.address.port ?? 0 })
