// Wirelet against real peers: node test/interop/run.mjs [pattern]. Needs the build (npm run build) and this directory's own packages (npm ci).
// What is not on the machine (curl, python3, Chromium) is skipped with a word.
import { runAll } from './support.mjs'

await import('./websocket.mjs')
await import('./curl.mjs')
await import('./node-clients.mjs')
await import('./python.mjs')
await import('./browser.mjs')

const pattern = process.argv[2]
const ok = await runAll(pattern === undefined ? undefined : new RegExp(pattern))
// Nothing of ours may keep the process; a client's pool that does is told by a deadline.
process.exitCode = ok ? 0 : 1
setTimeout(() => {
  console.error('something keeps the process alive:', process.getActiveResourcesInfo().join(' '))
  process.exit(1)
}, 5_000).unref()
