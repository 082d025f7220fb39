import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { OPTIONS } from '../../src/cli/options.ts'
import { parseCommand } from '../../src/cli/parse.ts'
import { CommandError } from '../../src/cli/usage.ts'
import { completeOptions, type ServeOptions } from '../../src/server/options.ts'

/** The message of a command line that is refused. */
function refused(...words: string[]): string {
  try {
    parseCommand(words)
  } catch (error) {
    if (error instanceof CommandError && error.exitCode === 2) return error.message
    throw error
  }
  assert.unreachable(words.join(' '))
  return ''
}

function options(...words: string[]): ServeOptions {
  return parseCommand([...words, 'app.js']).options
}

const words = suite('command line')

words('a module alone', () => {
  const command = parseCommand(['app.js'])
  assert.equal(command, {
    action: 'serve', module: 'app.js', exportName: null, binds: [{ text: '127.0.0.1:8090', where: { port: 8090, host: '127.0.0.1' } }], tls: null, accessLog: '-', options: {}
  })
})

words('MODULE:EXPORT', () => {
  for (const [word, module, name] of [
    ['./a.js:main', './a.js', 'main'], ['pkg:$x1', 'pkg', '$x1'], ['file:///a.js', 'file:///a.js', null], ['file:///a.js:app', 'file:///a.js', 'app'],
    ['./odd:name.js', './odd:name.js', null], ['a.js:', 'a.js:', null], ['a.js:9', 'a.js:9', null]
  ] as const) {
    const command = parseCommand([word])
    assert.equal([command.module, command.exportName], [module, name])
  }
})

words('options stand before or after the module, with = or a space', () => {
  assert.equal(parseCommand(['app.js', '--max-size', '5', '--debug']).options, { maxSize: 5, debug: true })
  assert.equal(parseCommand(['--max-size=5', 'app.js']).options, { maxSize: 5 })
  assert.is(parseCommand(['--debug', '--', '--odd.js']).module, '--odd.js')
  assert.is(parseCommand(['--access-log', '-', 'app.js']).accessLog, '-')
  assert.is(parseCommand(['--access-log', 'off', 'app.js']).accessLog, 'off')
})

words('help and version need no module', () => {
  assert.is(parseCommand(['--help']).action, 'help')
  assert.is(parseCommand(['app.js', '-h']).action, 'help')
  assert.is(parseCommand(['--version']).action, 'version')
})

words('what makes no sense is named', () => {
  assert.match(refused(), /^which module\?/)
  assert.match(refused('a.js', 'b.js'), /^one module only, not a\.js and b\.js/)
  assert.match(refused('--nope', 'a.js'), /^there is no option --nope /)
  assert.match(refused('-x', 'a.js'), /^there is no option -x /)
  assert.match(refused('--no-max-size', 'a.js'), /^there is no option --no-max-size /)
  assert.match(refused('a.js', '--max-size'), /^--max-size needs a value: --max-size N /)
  assert.match(refused('--bind', '--debug', 'a.js'), /^--bind needs a value/)
  assert.match(refused('--debug=yes', 'a.js'), /^--debug takes no value/)
  assert.match(refused('--max-size', '5k', 'a.js'), /^--max-size takes a whole number, not "5k"/)
  assert.match(refused('--max-size', '-5', 'a.js'), /^--max-size takes a whole number/)
  assert.match(refused('--transport', 'udp', 'a.js'), /^--transport is one of auto, stream, handle, not "udp"/)
  assert.match(refused('--environ', 'x', 'a.js'), /^--environ takes NAME=VALUE/)
  assert.match(refused('--certfile', 'x', 'a.js'), /^--certfile and --keyfile go together/)
  assert.match(refused('--close-listener', 'a.js'), /^there is no option/)
  assert.match(refused('--', 'a.js', 'b.js'), /^one module/)
})

words.run()

const values = suite('option values')

values('sizes: bytes, k, m, g, off', () => {
  const head = (text: string): number | undefined => options('--max-head', text).limits!.maxHead
  assert.equal(['4096', '64k', '1M', '2g', 'off'].map(head), [4096, 65_536, 1_048_576, 2_147_483_648, Infinity])
  for (const bad of ['', '1.5k', '-1', '0x10', '1kb', '1_0', ' 1', '1e3']) assert.match(refused('--max-head', bad, 'a.js'), /^--max-head takes a number of bytes/, bad)
})

values('durations need a unit', () => {
  const head = (text: string): number | undefined => options('--head-timeout', text).timeouts!.head
  assert.equal(['500ms', '30s', '1.5s', '2m', '1h', 'off'].map(head), [500, 30_000, 1500, 120_000, 3_600_000, Infinity])
  assert.match(refused('--head-timeout', '30', 'a.js'), /^--head-timeout needs a unit: 30ms or 30s/)
  assert.match(refused('--keepalive', '0', 'a.js'), /^--keepalive needs a unit/)
  for (const bad of ['', 's', '-1s', '1 s', '1d', '1e3s']) assert.match(refused('--head-timeout', bad, 'a.js'), /^--head-timeout takes a time/, bad)
})

values('keepalive: a time, on, off', () => {
  assert.equal(options('--keepalive', '75s'), { keepalive: 75_000 })
  assert.equal(options('--keepalive', 'on'), { keepalive: true })
  assert.equal(options('--keepalive', 'off'), { keepalive: false })
  assert.equal(options('--no-keepalive'), { keepalive: false })
})

values('booleans and their --no-', () => {
  assert.equal(options('--no-log-output', '--log-x-forwarded-for', '--abort-on-half-close'), { logOutput: false, logXForwardedFor: true, abortOnHalfClose: true })
  assert.equal(options('--debug', '--no-debug'), { debug: false })
  assert.equal(options('--accept-transfer-encoding-with-content-length'), { strictness: { acceptTransferEncodingWithContentLength: true } })
})

values('groups collect, environ too', () => {
  assert.equal(options('--max-head', '1k', '--max-fields', 'off', '--min-body-rate', '10', '--min-send-rate', 'off', '--linger-timeout', '1s'), {
    limits: { maxHead: 1024, maxFields: Infinity }, timeouts: { minBodyRate: 10, minSendRate: 0, linger: 1000 }
  })
  assert.equal(options('--environ', 'a=b=c', '--environ', 'd='), { environ: { a: 'b=c', d: '' } })
})

values('--bind', () => {
  const where = (text: string): unknown => parseCommand(['--bind', text, 'a.js']).binds[0]!.where
  assert.equal(where('0.0.0.0:80'), { port: 80, host: '0.0.0.0' })
  assert.equal(where('localhost:0'), { port: 0, host: 'localhost' })
  assert.equal(where('[::1]:8090'), { port: 8090, host: '::1' })
  assert.equal(where(':8090'), { port: 8090 })
  assert.equal(where('unix:/run/a b.sock'), { path: '/run/a b.sock' })
  assert.equal(where('fd://3'), { fd: 3 })
  for (const bad of ['8090', 'localhost', '::1:8090', 'a:65536', 'a:-1', 'a:', '[::1]', 'fd://', 'fd://x', 'http://a:80', 'a:80/']) {
    assert.match(refused('--bind', bad, 'a.js'), /^--bind takes HOST:PORT/, bad)
  }
  assert.match(refused('--bind', 'unix:', 'a.js'), /needs a path/)
  assert.equal(parseCommand(['--bind', ':1', '--bind', 'unix:x', 'a.js']).binds.map(({ text }) => text), [':1', 'unix:x'])
})

values.run()

const table = suite('option table')

table('every option of serve has a row', () => {
  const settings = completeOptions({})
  const names = new Set(OPTIONS.map(row => row.ours).filter(name => name !== ''))
  for (const group of ['limits', 'timeouts'] as const) {
    for (const name of Object.keys(settings[group])) {
      if (name !== 'urlLengthLimit') assert.ok(names.has(`${group}.${name}`), `${group}.${name}`)
    }
  }
  for (const name of Object.keys(settings)) {
    if (['limits', 'timeouts', 'clock'].includes(name)) continue
    assert.ok(names.has(name) || names.has(`strictness.${name}`), name)
  }
})

table('every default is what the command line would read, and what serve has', () => {
  const settings = completeOptions({}) as unknown as Record<string, unknown>
  for (const row of OPTIONS) {
    if (row.ours === '' || row.flag === '' || row.standard === '' || row.flag === 'log-format') continue
    const name = row.kind === 'boolean' ? [`--${row.standard === 'on' ? '' : 'no-'}${row.flag}`] : [`--${row.flag}`, row.standard]
    const completed = completeOptions(options(...name)) as unknown as Record<string, unknown>
    assert.equal(completed, settings, row.flag)
  }
})

table('flags and names are there once', () => {
  const flags = OPTIONS.map(row => row.flag).filter(flag => flag !== '')
  assert.is(new Set(flags).size, flags.length)
  const names = OPTIONS.map(row => row.ours).filter(name => name !== '')
  assert.is(new Set(names).size, names.length)
})

table.run()
