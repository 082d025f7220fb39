// Wirelet with its defaults: every check, limit, deadline and the async resource are on. DIST: another build's folder (bench:compare).
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { applications } from './applications.js'

const { PORT, SCENARIO, CERTFILE, KEYFILE, TRANSPORT = 'auto', ACCESS_LOG, DIST = join(import.meta.dirname, '..', '..', '..', 'dist') } = process.env
const { listen, serve, wrapTls } = await import(pathToFileURL(join(DIST, 'index.js')).href)

const plain = await listen({ port: Number(PORT), backlog: 4096 })
const listener = CERTFILE === undefined ? plain : wrapTls(plain, { certfile: CERTFILE, keyfile: KEYFILE })
serve(listener, applications[SCENARIO], {
  transport: TRANSPORT,
  maxSize: 20_000,
  ...(ACCESS_LOG === undefined ? { logOutput: false } : { log: createWriteStream(ACCESS_LOG) })
})

if (globalThis.gc) process.on('SIGUSR2', () => globalThis.gc())
