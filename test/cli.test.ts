// The built command, as its users meet it: words, signals and exit codes in, text and answers out.
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PATIENCE, certificatePath, collect, connectTls, connectTo } from './support/sockets.ts'
import { within } from './support/within.ts'

const CLI = fileURLToPath(new URL('../src/cli.js', import.meta.url))
const PACKAGE = fileURLToPath(new URL('../../package.json', import.meta.url))
const GET = 'GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

const APPLICATION = `
export default async (environ, startResponse) => {
  if (environ.REQUEST_METHOD === 'POST') {
    process.stderr.write('application called\\n')
    await environ['wsgi.input'].read()
  }
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return ['hello ' + (environ['test.name'] ?? 'world')]
}
export const number = 7
setInterval(() => {}, 1e6) // what a database pool does: it would hold the process open
`

interface Exit {
  readonly code: number | null
  readonly signal: string | null
}

class Command {
  readonly child: ChildProcess
  readonly exit: Promise<Exit>
  stdout = ''
  stderr = ''

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout!.setEncoding('utf8').on('data', (text: string) => { this.stdout += text })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.stderr += text })
    this.exit = within(3 * PATIENCE, once(child, 'close'), 'exit').then(([code, signal]: Exit[keyof Exit][]) => ({ code: code as number | null, signal: signal as string | null }))
    this.exit.catch(() => child.kill('SIGKILL'))
  }

  /** The first match in what was said on stderr, now or later. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stderr)
      if (match !== null) return match
      if (this.child.exitCode !== null) throw new Error(`ended without saying ${pattern}: ${this.stderr}`)
      await within(PATIENCE, Promise.race([once(this.child.stderr!, 'data'), once(this.child, 'close')]), `${pattern} on stderr, which has ${this.stderr}`)
    }
  }

  async port(): Promise<number> {
    return Number((await this.says(/https?:\/\/127\.0\.0\.1:(\d+)/))[1])
  }

  async stop(): Promise<Exit> {
    this.child.kill('SIGTERM')
    return await this.exit
  }
}

const cli = suite('wirelet')
let directory = ''
let running: Command[] = []

cli.before(() => {
  directory = mkdtempSync(join(tmpdir(), 'wl-cli-'))
  writeFileSync(join(directory, 'app.mjs'), APPLICATION)
  writeFileSync(join(directory, 'never.mjs'), 'await new Promise(() => {}); export default () => []')
})

cli.after.each(() => {
  for (const { child } of running) child.kill('SIGKILL')
  running = []
})

cli.after(() => rmSync(directory, { recursive: true, force: true }))

function start(...words: string[]): Command {
  const command = new Command(spawn(process.execPath, [CLI, ...words], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] }))
  running.push(command)
  return command
}

/** Runs to its end. */
async function run(...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const command = start(...words)
  const { code } = await command.exit
  return { code, stdout: command.stdout, stderr: command.stderr }
}

function hello(...words: string[]): Command {
  return start('--bind', '127.0.0.1:0', ...words, 'app.mjs')
}

async function get(where: number | string): Promise<string> {
  const socket = await connectTo(where)
  socket.write(GET)
  const answer = (await collect(socket)).toString('latin1')
  socket.destroy()
  return answer
}

async function refused(port: number): Promise<void> {
  for (;;) {
    const socket = net.connect(port, '127.0.0.1')
    const how = await within(PATIENCE, Promise.race([once(socket, 'connect').then(() => 'open'), once(socket, 'error').then(() => 'refused')]), 'a connection').catch(() => 'refused')
    socket.destroy()
    if (how === 'refused') return
  }
}

/** A request whose content is still to come, seen by the application. */
async function inFlight(command: Command): Promise<net.Socket> {
  const socket = await connectTo(await command.port())
  socket.write('POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab')
  await command.says(/application called/)
  return socket
}

cli('--help and --version that cannot be written: one line, exit code 1', async () => {
  for (const option of ['--help', '--version']) {
    const command = start(option)
    command.child.stdout!.destroy()
    assert.is((await command.exit).code, 1)
    assert.is(command.stderr, 'wirelet: cannot write: write EPIPE\n')
  }
})

cli('--help fits one screen', async () => {
  const { code, stdout, stderr } = await run('--help')
  assert.equal([code, stderr], [0, ''])
  const lines = stdout.trimEnd().split('\n')
  assert.ok(lines.length >= 24 && lines.length <= 60)
  assert.ok(lines.every(line => line.length <= 100))
})

cli('--version is the package\'s', async () => {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string }
  assert.equal(await run('--version'), { code: 0, stdout: `${version}\n`, stderr: '' })
})

cli('a wrong command line: one line, exit code 2', async () => {
  for (const words of [[], ['--nope', 'app.mjs'], ['--head-timeout', '30', 'app.mjs'], ['--bind', 'x', 'app.mjs'], ['--certfile', 'x', 'app.mjs'],
    ['--bind', '127.0.0.1:0', '--log-format', '%(nope)s', 'app.mjs'], ['--bind', '127.0.0.1:0', '--max-size', '0', 'app.mjs'],
    ['--bind', '127.0.0.1:0', '--read-buffer', '0', 'app.mjs']]) {
    const { code, stdout, stderr } = await run(...words)
    assert.equal([code, stdout], [2, ''], words.join(' '))
    assert.match(stderr, /^wirelet: [^\n]+\n$/)
    const option = words.find(word => word.startsWith('--') && word !== '--bind')
    if (option !== undefined) assert.ok(stderr.includes(option), stderr)
  }
})

cli('what cannot be done: one line, exit code 1', async () => {
  const taken = net.createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as net.AddressInfo
  try {
    for (const [words, text] of [
      [['./nope.mjs'], /there is no module \.\/nope\.mjs \(looked for .*nope\.mjs\)/],
      [['never.mjs'], /cannot load never\.mjs: its top-level await never settles/],
      [['app.mjs:number'], /the export number of app\.mjs is no function/],
      [['--bind', `127.0.0.1:${port}`, 'app.mjs'], new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE`)],
      [['--bind', '127.0.0.1:0', '--certfile', 'no.crt', '--keyfile', 'no.key', 'app.mjs'], /cannot serve TLS with no\.crt and no\.key: .*ENOENT/],
      [['--bind', '127.0.0.1:0', '--certfile', 'app.mjs', '--keyfile', 'app.mjs', 'app.mjs'], /cannot serve TLS with app\.mjs and app\.mjs: ./],
      [['--access-log', 'no/such/file', 'app.mjs'], /cannot open the access log no\/such\/file: .*ENOENT/]
    ] as const) {
      const { code, stdout, stderr } = await run(...words)
      assert.equal([code, stdout], [1, ''], words.join(' '))
      assert.match(stderr, /^wirelet: [^\n]+\n$/)
      assert.match(stderr, text)
    }
  } finally {
    taken.close()
  }
})

cli('a later bind that fails leaves nothing behind', async () => {
  const path = join(directory, 'left.sock')
  const { code } = await run('--bind', `unix:${path}`, '--bind', `unix:${join(directory, 'no/such/dir')}`, 'app.mjs')
  assert.is(code, 1)
  assert.not(existsSync(path))
})

cli('serves; the access log is on stdout, all else on stderr; SIGTERM ends it', async () => {
  const command = hello('--environ', 'test.name=there')
  const answer = await get(await command.port())
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
  assert.match(answer, /\r\n\r\nhello there$/)
  assert.equal(await command.stop(), { code: 0, signal: null })
  assert.match(command.stdout, /^127\.0\.0\.1 - - \[[^\]]+\] "GET \/x HTTP\/1\.1" 200 11 \d\.\d{6}\n$/)
  assert.not.match(command.stderr, /GET/)
})

cli('SIGINT ends it as well', async () => {
  const command = hello()
  await command.port()
  command.child.kill('SIGINT')
  assert.equal(await command.exit, { code: 0, signal: null })
})

cli('--access-log off, --log-format', async () => {
  const off = hello('--access-log', 'off')
  await get(await off.port())
  await off.stop()
  assert.is(off.stdout, '')
  const json = hello('--log-format', 'json')
  await get(await json.port())
  await json.stop()
  assert.is((JSON.parse(json.stdout) as { target: string }).target, '/x')
})

cli('several binds, a unix socket among them', async () => {
  const path = join(directory, 'app.sock')
  const command = start('--bind', `unix:${path}`, '--bind', '127.0.0.1:0', 'app.mjs')
  const port = await command.port()
  assert.match(await get(path), /hello world$/)
  assert.match(await get(port), /hello world$/)
  assert.equal(await command.stop(), { code: 0, signal: null })
  assert.not(existsSync(path))
})

cli('an inherited socket', async () => {
  const inherited = net.createServer().listen(0, '127.0.0.1')
  await once(inherited, 'listening')
  const { port } = inherited.address() as net.AddressInfo
  const { fd } = (inherited as unknown as { _handle: { fd: number } })._handle
  const command = new Command(spawn(process.execPath, [CLI, '--bind', 'fd://3', 'app.mjs'], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe', fd] }))
  running.push(command)
  inherited.close()
  await command.port()
  assert.match(await get(port), /hello world$/)
  assert.equal(await command.stop(), { code: 0, signal: null })
})

cli('a drain answers the request in flight, and then the process ends', async () => {
  const command = hello()
  const socket = await inFlight(command)
  command.child.kill('SIGTERM')
  await refused(await command.port())
  assert.is(command.child.exitCode, null)
  socket.write('cd')
  const answer = (await collect(socket)).toString('latin1')
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
  assert.match(answer, /\r\nConnection: close\r\n/i)
  assert.match(answer, /hello world$/)
  socket.destroy()
  assert.equal(await command.exit, { code: 0, signal: null })
  assert.match(command.stdout, /"POST \/slow HTTP\/1\.1" 200 11 /)
})

cli('a second signal ends it at once', async () => {
  const command = hello()
  const socket = await inFlight(command)
  socket.on('error', () => {})
  command.child.kill('SIGTERM')
  await refused(await command.port())
  command.child.kill('SIGINT')
  assert.equal(await command.exit, { code: 130, signal: null })
  socket.destroy()
})

cli('--shutdown-timeout bounds the drain', async () => {
  const command = hello('--shutdown-timeout', '100ms')
  const socket = await inFlight(command)
  socket.on('error', () => {})
  assert.equal(await command.stop(), { code: 0, signal: null })
  socket.destroy()
})

cli('SIGUSR1 opens the access log again', async () => {
  const file = join(directory, 'access.log')
  const command = hello('--access-log', file)
  const port = await command.port()
  await get(port)
  renameSync(file, `${file}.1`)
  command.child.kill('SIGUSR1')
  for (const deadline = performance.now() + PATIENCE; !existsSync(file) && performance.now() < deadline;) await get(port)
  await get(port)
  assert.equal(await command.stop(), { code: 0, signal: null })
  const before = readFileSync(`${file}.1`, 'latin1')
  const after = readFileSync(file, 'latin1')
  assert.match(before, /^(?:127\.0\.0\.1 [^\n]* 200 11 [^\n]*\n)+$/)
  assert.match(after, /^(?:127\.0\.0\.1 [^\n]* 200 11 [^\n]*\n)+$/)
  assert.not.match(command.stderr, /Debugger/)
  assert.is(command.stdout, '')
})

cli('SIGHUP reads the certificates again; a bad one changes nothing', async () => {
  const use = (name: 'localhost' | 'renewed'): void => {
    copyFileSync(certificatePath(`${name}.crt`), join(directory, 'tls.crt'))
    copyFileSync(certificatePath(`${name}.key`), join(directory, 'tls.key'))
  }
  use('localhost')
  const command = hello('--certfile', 'tls.crt', '--keyfile', 'tls.key')
  const port = await command.port()
  const fingerprint = async (): Promise<string> => {
    const socket = await connectTls(port)
    const print = socket.getPeerCertificate().fingerprint256
    socket.write(GET)
    assert.match((await collect(socket as Readable)).toString('latin1'), /hello world$/)
    socket.destroy()
    return print
  }
  const first = await fingerprint()
  use('renewed')
  command.child.kill('SIGHUP')
  await command.says(/certificates read again/)
  const second = await fingerprint()
  assert.is.not(second, first)
  writeFileSync(join(directory, 'tls.crt'), 'no certificate')
  command.child.kill('SIGHUP')
  await command.says(/the certificates stay as they are: ./)
  assert.is(await fingerprint(), second)
  assert.equal(await command.stop(), { code: 0, signal: null })
})

cli('SIGHUP without certificates is survived', async () => {
  const command = hello()
  const port = await command.port()
  command.child.kill('SIGHUP')
  assert.match(await get(port), /hello world$/)
  assert.equal(await command.stop(), { code: 0, signal: null })
})

cli('a parent that forked it is told when it is ready', async () => {
  const command = new Command(fork(CLI, ['--bind', '127.0.0.1:0', 'app.mjs'], { cwd: directory, silent: true, execArgv: [] }))
  running.push(command)
  const [message] = await within(PATIENCE, once(command.child, 'message'), 'ready') as [unknown]
  assert.is(message, 'ready')
  assert.match(await get(await command.port()), /hello world$/)
  assert.equal(await command.stop(), { code: 0, signal: null })
})

cli('a reader of stdout that goes away does not end it', async () => {
  const command = hello()
  const port = await command.port()
  command.child.stdout!.destroy()
  for (let i = 0; i < 3; i++) {
    assert.match(await get(port), /hello world$/)
    command.child.kill('SIGUSR1') // what the log holds is written, into the closed pipe
  }
  assert.match(await get(port), /hello world$/)
  assert.equal(await command.stop(), { code: 0, signal: null })
})

cli.run()
