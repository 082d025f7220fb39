// A server in a process of its own: it keeps the process alive while it listens, and lets it end when it has drained.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as assert from 'uvu/assert'
import { onEveryTransport } from '../support/harness.ts'
import { within } from '../support/within.ts'

onEveryTransport('a process of its own', (h, test) => {
  const script = (body: string): string => `
    import { listen, serve } from ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)}
    const app = (environ, startResponse) => { startResponse(200); return ['hello'] }
    const server = serve(await listen(0), app, { transport: '${h.kind.transport}', logOutput: false })
    ${body}`

  const run = (body: string): ReturnType<typeof runScript> => runScript(script(body))

  async function runScript(text: string): Promise<{ code: unknown; lines: string[] }> {
    const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', text], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    try {
      const [code] = await within(10_000, once(child, 'exit'), 'the process to exit by itself')
      return { code, lines: output.trim().split('\n') }
    } finally {
      child.kill('SIGKILL')
    }
  }

  test('serves, drains with keep-alive connections open, and exits by itself', async () => {
    const { code, lines } = await run(`
      const answers = await Promise.all([1, 2, 3].map(() => fetch(server.url).then(answer => answer.text())))
      console.log(answers.join())
      await server.close({ timeout: 5000 })
      console.log(server.state)`)
    assert.equal([code, lines], [0, ['hello,hello,hello', 'closed']])
  })

  test('exits at once when unref() leaves nothing else to do', async () => {
    const { code, lines } = await run(`server.unref(); console.log('unref')`)
    assert.equal([code, lines], [0, ['unref']])
  })

  for (const [what, setting] of [
    ['a post hook', `app: environ => environ['eventlet.posthooks'].push([() => new Promise(() => {})])`],
    ['a pool', `customPool: { spawn: task => void task(), waitall: () => new Promise(() => {}) }`],
    ['a sink', `log: new Writable({ highWaterMark: 1, write() {} })`]
  ] as const) {
    test(`a drain that waits for ${what}, with nothing in the event loop, comes to its end`, async () => {
      const { code, lines } = await run(`
        import { Writable } from 'node:stream'
        const { app: also = () => {}, ...options } = { ${setting} }
        const other = serve(await listen(0), (environ, startResponse) => { also(environ); return app(environ, startResponse) }, { transport: '${h.kind.transport}', ...options, timeouts: { shutdown: 50 } })
        await server.close()
        await (await fetch(other.url, { headers: { connection: 'close' } })).text()
        await other.close()
        console.log(other.state)`)
      assert.equal([code, lines], [0, ['closed']])
    })
  }

  test('fake timers, set up between the import and listen(), hold nothing', async () => {
    const { code, lines } = await runScript(`
      import { mock } from 'node:test'${script('').replace('const app', 'mock.timers.enable(); const app')}
      console.log(await fetch(server.url, { headers: { connection: 'close' } }).then(answer => answer.text()))
      await server.close()
      console.log(server.state)`)
    assert.equal([code, lines], [0, ['hello', 'closed']])
  })

  test('goes on listening otherwise', async () => {
    const { code, lines } = await run(`
      setTimeout(async () => { console.log(await (await fetch(server.url, { headers: { connection: 'close' } })).text()); await server.close() }, 50)`)
    assert.equal([code, lines], [0, ['hello']])
  })
}).run()
