// Work after the answer: a post hook runs when the last byte has left, or when the peer has, and is told which of the two it was.
//   node dist/cli.js examples/posthook/app.js
// Use it for what the peer need not wait for: counters, audit lines, invalidation. A drain waits for hooks (timeouts.hook bounds each).
import { setTimeout as sleep } from 'node:timers/promises'

/** `func(environ, ...args, kwargs)`: kwargs only when the third member of the hook is given. */
async function account(environ, startedAt, { currency }) {
  await sleep(1) // a database, say
  const { bytes, completed, reason } = environ['wirelet.outcome']
  const cost = (bytes / 1024).toFixed(3)
  const how = completed ? 'complete' : `cut short: ${reason}`
  process.stderr.write(`${environ.REQUEST_METHOD} ${environ.REQUEST_URI}: ${bytes} bytes, ${how}, ${cost} ${currency}, after ${Date.now() - startedAt} ms\n`)
}

export default function app(environ, startResponse) {
  environ['eventlet.posthooks'].push([account, [Date.now()], { currency: 'credits' }])
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return ['x'.repeat(2048)]
}
