// Headless Chromium: a page with thirty assets, an answer that streams, an EventSource that reconnects, a WebSocket.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { deflateSync } from 'node:zlib'
import { chromium } from 'playwright-core'
import { WebSocketServer } from 'ws'
import { ALREADY_HANDLED, TRANSPORTS, cleanup, skip, start, temporary, test, until, within } from './support.mjs'

const PATH = process.env.CHROMIUM ?? '/usr/bin/chromium'
const ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'
]

const NUMBERS = Array.from({ length: 10 }, (_, i) => i)
const PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Wirelet</title><link rel="icon" href="data:,">
${NUMBERS.map(i => `<link rel="stylesheet" href="/asset/${i}.css">`).join('\n')}
${NUMBERS.map(i => `<script src="/asset/${i}.js" defer></script>`).join('\n')}
<style>body { font: 16px sans-serif; margin: 2em } img { margin: 2px } td { padding: 2px 1em 2px 0 }</style></head>
<body><h1>Wirelet</h1><p>${NUMBERS.map(i => `<img src="/asset/${i}.png" width="32" height="32" alt="">`).join('')}</p>
<p>${NUMBERS.map(i => `<span class="css${i}">style ${i}</span>`).join(' ')}</p>
<table><tr><td>scripts<td id="scripts"><tr><td>stream<td id="stream"><tr><td>events<td id="events"><tr><td>socket<td id="socket"></table>
<script>
window.scripts = []
async function stream() {
  const reader = (await fetch('/stream')).body.pipeThrough(new TextDecoderStream()).getReader()
  window.pieces = []
  for (;;) {
    const { value, done } = await reader.read()
    if (done) break
    window.pieces.push(value)
    document.querySelector('#stream').textContent += value
  }
  window.streamed = true
}
function events() {
  const source = new EventSource('/events')
  window.events = []
  window.opened = 0
  source.onopen = () => window.opened++
  source.onmessage = event => {
    window.events.push(event.data)
    document.querySelector('#events').textContent = window.events.join(' ')
    if (window.events.length === 6) source.close()
  }
}
function socket() {
  const webSocket = new WebSocket('ws://' + location.host + '/socket')
  webSocket.onopen = () => webSocket.send('from the browser')
  webSocket.onmessage = event => {
    document.querySelector('#socket').textContent = window.echoed = event.data
    webSocket.close()
  }
}
addEventListener('load', () => {
  document.querySelector('#scripts').textContent = window.scripts.sort().join(' ')
  stream()
  events()
  socket()
})
</script></body></html>`

/** A PNG of one colour, 8 × 8. */
function png(red, green, blue) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const bytes = Buffer.alloc(body.length + 8)
    bytes.writeUInt32BE(data.length, 0)
    body.copy(bytes, 4)
    bytes.writeUInt32BE(crc(body), body.length + 4)
    return bytes
  }
  const size = Buffer.from([0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0])
  const row = Buffer.concat([Buffer.from([0]), Buffer.concat(Array(8).fill(Buffer.from([red, green, blue])))])
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', size), chunk('IDAT', deflateSync(Buffer.concat(Array(8).fill(row)))), chunk('IEND', Buffer.alloc(0))])
}

function crc(bytes) {
  let sum = 0xffffffff
  for (const byte of bytes) {
    sum ^= byte
    for (let i = 0; i < 8; i++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  }
  return (sum ^ 0xffffffff) >>> 0
}

function site(seen) {
  const sockets = new WebSocketServer({ noServer: true })
  return (environ, startResponse) => {
    const path = environ.PATH_INFO
    const asset = /^\/asset\/(\d)\.(css|js|png)$/.exec(path)
    if (asset !== null) {
      const [, i, kind] = asset
      const types = { css: 'text/css', js: 'text/javascript', png: 'image/png' }
      const body = { css: `.css${i} { color: hsl(${i * 36} 80% 40%) }`, js: `scripts.push(${i})`, png: png(255 - i * 25, i * 25, 128) }[kind]
      startResponse(200, [['Content-Type', types[kind]], ['Cache-Control', 'no-store']])
      // A third of them in chunks.
      return i % 3 === 0 ? [body].values() : [body]
    }
    if (path === '/') {
      startResponse(200, [['Content-Type', 'text/html; charset=utf-8']])
      return [PAGE]
    }
    if (path === '/stream') {
      startResponse(200, [['Content-Type', 'text/plain; charset=utf-8'], ['X-Content-Type-Options', 'nosniff']])
      return (async function* () {
        for (const word of ['one ', 'zwei ', 'три ', '四 ', 'πέντε']) {
          yield word
          await new Promise(resolve => setTimeout(resolve, 60))
        }
      })()
    }
    if (path === '/events') {
      const last = Number(environ.HTTP_LAST_EVENT_ID ?? 0)
      seen.push(last)
      startResponse(200, [['Content-Type', 'text/event-stream'], ['Cache-Control', 'no-store']])
      return (async function* () {
        yield 'retry: 50\n\n'
        // Two events for each connection: then it ends, and the browser comes again.
        for (let id = last + 1; id <= last + 2; id++) {
          yield `id: ${id}\ndata: event ${id}\n\n`
          await new Promise(resolve => setTimeout(resolve, 20))
        }
      })()
    }
    if (path === '/socket') {
      const headers = Object.fromEntries(environ.headers_raw.map(([name, value]) => [name.toLowerCase(), value]))
      const socket = environ['wirelet.upgrade']()
      sockets.handleUpgrade({ method: 'GET', url: path, headers, socket }, socket, Buffer.alloc(0), webSocket => {
        webSocket.on('message', data => webSocket.send(`${data}, and back`))
      })
      return ALREADY_HANDLED
    }
    startResponse(404)
    return ['nothing here\n']
  }
}

if (!existsSync(PATH)) skip('Chromium', `no ${PATH} on this machine (Debian: apt-get install chromium; or set CHROMIUM)`)
else {
  for (const transport of TRANSPORTS) {
    test(`Chromium, ${transport}: a page with 30 assets, a stream, an EventSource that reconnects, a WebSocket`, async () => {
      const seen = []
      const { port, server, log, errors } = await start(site(seen), { transport })
      const browser = await within(20_000, chromium.launchPersistentContext(temporary(), { executablePath: PATH, headless: true, args: ARGS, viewport: { width: 800, height: 500 } }), 'Chromium to start')
      cleanup(() => browser.close())
      const page = await browser.newPage()
      const answers = []
      const failures = []
      page.on('response', answer => answers.push([new URL(answer.url()).pathname, answer.status()]))
      // The page closes its EventSource when it has what it wants.
      page.on('requestfailed', request => request.url().endsWith('/events') || failures.push(`${request.url()} ${request.failure()?.errorText}`))
      page.on('pageerror', error => failures.push(String(error)))
      page.on('console', message => message.type() === 'error' && failures.push(message.text()))
      await page.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'load' })
      await page.waitForFunction(() => window.streamed && window.events.length === 6 && window.echoed, null, { timeout: 15_000 })
      const state = await page.evaluate(() => ({
        scripts: window.scripts, pieces: window.pieces, events: window.events, opened: window.opened, echoed: window.echoed,
        images: [...document.images].filter(image => image.complete && image.naturalWidth === 8).length,
        colours: new Set([...document.querySelectorAll('span')].map(span => getComputedStyle(span).color)).size
      }))
      assert.deepEqual(state.scripts, NUMBERS)
      assert.equal(state.images, 10)
      assert.equal(state.colours, 10)
      assert.equal(state.pieces.join(''), 'one zwei три 四 πέντε')
      assert.ok(state.pieces.length >= 3, `the stream came in ${state.pieces.length} pieces`)
      assert.deepEqual(state.events, [1, 2, 3, 4, 5, 6].map(id => `event ${id}`))
      assert.deepEqual(seen, [0, 2, 4])
      assert.equal(state.echoed, 'from the browser, and back')
      assert.deepEqual(answers.filter(([path]) => path.startsWith('/asset/')).map(([, status]) => status), Array(30).fill(200))
      assert.deepEqual(failures, [])
      assert.deepEqual(errors(), [])
      // Six at a time by its own rule, one for the WebSocket, and what it opens ahead: connections are used again.
      assert.ok(server.stats().accepted <= 12, `${server.stats().accepted} connections`)
      if (process.env.SCREENSHOT) await page.screenshot({ path: `${process.env.SCREENSHOT}-${transport}.png` })
      // It keeps its connections open: a drain ends them.
      const idle = server.connections
      await within(10_000, server.close({ timeout: 8_000 }), 'the drain')
      assert.ok(idle >= 0)
      await until(() => log.filter(line => line.startsWith('GET /asset/')).length === 30, 'the access lines')
    })
  }
}
