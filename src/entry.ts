// The doors of the package. What is behind them is loaded when the first one opens: Node 20 takes half a millisecond a file, and whoever imports
// `wirelet` for a type, an error class or a test pays for seven files and not for sixty.
import type { Server as NetServer } from 'node:net'
import { createRequire } from 'node:module'
// Here already: whatever fakes timers does so after its imports.
import './io/clock.ts'
import type { Listener, ListenOptions, TlsListenOptions } from './io/listener.ts'
import type { Application } from './server/application.ts'
import type { ServeOptions } from './server/options.ts'
import type { Server } from './server/serve.ts'

type Listening = typeof import('./io/listener.ts')
type Serving = typeof import('./server/serve.ts')

let listening: Listening | null = null
let serving: Serving | null = null

/** Binds and listens: a port, `'unix:/path'` or a path, or `{ port, host, path, mode, backlog, fd, signal }`. A string of digits is a port
 *  (`process.env.PORT`); a path of digits is written `'unix:8090'`. The host is 127.0.0.1 unless named.
 *  Rejects with the system's error (EADDRINUSE, EACCES …). */
export async function listen(where: number | string | ListenOptions): Promise<Listener> {
  ;[listening, serving] = await Promise.all([import('./io/listener.ts'), import('./server/serve.ts')])
  return listening.listen(where)
}

/** The same listener, its connections encrypted. @throws if the certificate or the key is missing or unusable. */
export function wrapTls(listener: Listener, options: TlsListenOptions): Listener {
  listening ??= load('./io/listener.js') as Listening
  return listening.wrapTls(listener, options)
}

/** Serves `application` to whoever connects to `listener`, which it takes over. A `net.Server` of the caller's own must be listening;
 *  after its own `close()` the server goes on until its last connection has gone, while `Server.close()` drains at once.
 *  @throws UsageError for a bad option; a WireletError with code ERR_WIRELET_TRANSPORT when `transport: 'handle'` is not available here. */
export function serve(listener: Listener | NetServer, application: Application, options: ServeOptions = {}): Server {
  serving ??= load('./server/serve.js') as Serving
  return serving.serve(listener, application, options)
}

/** For callers that have a listening server of their own and never called `listen`. */
function load(path: string): unknown {
  return createRequire(import.meta.url)(path)
}
