// Wirelet with its defaults: every check, limit, deadline and the async resource are on. DIST: another build's folder (bench:compare).
import { openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { applications } from './applications.js'

const { PORT, SCENARIO, CERTFILE, KEYFILE, TRANSPORT = 'auto', ACCESS_LOG, DIST = join(import.meta.dirname, '..', '..', '..', 'dist') } = process.env
const { listen, serve, wrapTls } = await import(pathToFileURL(join(DIST, 'index.js')).href)

/** Written as the command writes it: batches, at once. */
function accessLog() {
  const file = openSync(ACCESS_LOG, 'a')
  return { write: text => writeSync(file, text) }
}

const plain = await listen({ port: Number(PORT), backlog: 4096 })
const listener = CERTFILE === undefined ? plain : wrapTls(plain, { certfile: CERTFILE, keyfile: KEYFILE })
serve(listener, applications[SCENARIO], {
  transport: TRANSPORT,
  maxSize: 20_000,
  ...(ACCESS_LOG === undefined ? { logOutput: false } : { log: accessLog() })
})

if (globalThis.gc) process.on('SIGUSR2', () => globalThis.gc())
