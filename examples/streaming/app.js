// Answers that take their time: an async generator, and server-sent events that end when the reader leaves.
//   node dist/cli.js --abort-on-half-close examples/streaming/app.js
//   curl -N http://127.0.0.1:8090/count          five lines, one every 100 ms
//   curl -N http://127.0.0.1:8090/events         a tick every 100 ms, until Ctrl-C
// Without --abort-on-half-close a reader that leaves is noticed at the next failed write; with it at once.
import { setInterval as ticks, setTimeout as sleep } from 'node:timers/promises'

async function* count(to) {
  for (let n = 1; n <= to; n++) {
    // Each piece leaves as soon as the generator waits, although it is smaller than minimumChunkSize.
    yield `${n}\r\n`
    if (n < to) await sleep(100)
  }
}

async function* events(signal) {
  let id = 0
  yield 'retry: 1000\n\n'
  try {
    for await (const _ of ticks(100, null, { signal })) yield `id: ${++id}\nevent: tick\ndata: ${new Date().toISOString()}\n\n`
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    process.stderr.write(`the reader of events left after tick ${id}\n`)
  }
}

export default function app(environ, startResponse) {
  switch (environ.PATH_INFO) {
    case '/count':
      startResponse('200 OK', [['Content-Type', 'text/plain']])
      return count(5)
    case '/events':
      // An endless answer must not delay a drain: the connection says that it may be closed at any time.
      environ['eventlet.set_idle']()
      startResponse('200 OK', [['Content-Type', 'text/event-stream'], ['Cache-Control', 'no-store']])
      return events(environ['wirelet.signal'])
    default:
      startResponse('404 Not Found', [['Content-Type', 'text/plain']])
      return ['try /count or /events\r\n']
  }
}
