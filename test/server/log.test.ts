import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LogSink } from '../../src/server/log.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** Takes what it is given; while `full` it says so and waits for `drain()`. */
class Sink {
  readonly writes: string[] = []
  full = false
  readonly listeners = new Map<string, Set<() => void>>()
  write(text: string): boolean {
    this.writes.push(text)
    return !this.full
  }
  once(event: string, listener: () => void): void {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set())
    this.listeners.get(event)!.add(listener)
  }
  removeListener(event: string, listener: () => void): void {
    this.listeners.get(event)?.delete(listener)
  }
  emit(event: string): void {
    const listeners = [...this.listeners.get(event) ?? []]
    this.listeners.get(event)?.clear()
    for (const listener of listeners) listener()
  }
  count(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0)
  }
}

interface Setup {
  sink: Sink
  clock: FakeClock
  log: LogSink
}

function setup(options: { debug?: boolean; logOutput?: boolean } = {}): Setup {
  const sink = new Sink()
  const clock = new FakeClock()
  return { sink, clock, log: new LogSink({ log: sink, debug: options.debug ?? false, logOutput: options.logOutput ?? true, clock }) }
}

const stream = suite('log to a stream')

stream('lines leave together after 100 ms', () => {
  const { sink, clock, log } = setup()
  log.info('one')
  log.access('two')
  clock.advance(99)
  assert.equal(sink.writes, [])
  clock.advance(1)
  assert.equal(sink.writes, ['one\ntwo\n'])
  assert.is(clock.pending(), 0)
})

stream('64 KiB leave at once', () => {
  const { sink, clock, log } = setup()
  for (let i = 0; i < 64; i++) log.access('x'.repeat(1023))
  assert.is(sink.writes.length, 1)
  assert.is(sink.writes[0]!.length, 65_536)
  assert.is(clock.pending(), 0)
})

stream('debug lines only with the option', () => {
  const quiet = setup()
  quiet.log.debug('accepted')
  quiet.clock.advance(100)
  assert.equal(quiet.sink.writes, [])
  assert.is(quiet.log.wantsDebug, false)
  const loud = setup({ debug: true })
  loud.log.debug('accepted')
  loud.clock.advance(100)
  assert.equal(loud.sink.writes, ['accepted\n'])
})

stream('logOutput: false silences all but errors', () => {
  const { sink, clock, log } = setup({ logOutput: false, debug: true })
  assert.is(log.wantsAccess, false)
  log.info('starting')
  log.access('GET / 200')
  log.debug('accepted')
  log.error('Error: boom')
  clock.advance(100)
  assert.equal(sink.writes, ['Error: boom\n'])
})

stream('a sink that says false is given nothing until it has drained', async () => {
  const { sink, clock, log } = setup()
  sink.full = true
  log.access('one')
  clock.advance(100)
  log.access('two')
  clock.advance(1000)
  assert.equal(sink.writes, ['one\n'])
  const flushed = log.flush()
  sink.full = false
  sink.emit('drain')
  await flushed
  assert.equal(sink.writes, ['one\n', 'two\n'])
  assert.is(sink.count(), 0, 'no listener stays')
})

stream('a sink that fails while it is full does not hold the log up', () => {
  const { sink, clock, log } = setup()
  sink.full = true
  log.access('one')
  clock.advance(100)
  sink.full = false
  sink.emit('error')
  log.access('two')
  clock.advance(100)
  assert.equal(sink.writes, ['one\n', 'two\n'])
})

stream('beyond 1 MiB lines are dropped, and their number is logged', () => {
  const { sink, clock, log } = setup()
  sink.full = true
  log.access('first')
  clock.advance(100)
  const line = 'x'.repeat(1023)
  for (let i = 0; i < 2000; i++) log.access(line)
  sink.full = false
  sink.emit('drain')
  assert.is(sink.writes.length, 2)
  const lines = sink.writes[1]!.split('\n').slice(0, -1)
  assert.is(lines.filter(text => text === line).length, 1024)
  assert.is(lines.at(-1), `(${process.pid}) wirelet: ${2000 - 1024} log lines dropped, the log is too slow`)
  log.access('later')
  clock.advance(100)
  assert.is(sink.writes[2], 'later\n')
})

stream('flush of a stuck sink gives up after a second', async () => {
  const { sink, clock, log } = setup()
  sink.full = true
  log.access('one')
  clock.advance(100)
  let done = false
  const flushed = log.flush().then(() => { done = true })
  clock.advance(999)
  await Promise.resolve()
  assert.is(done, false)
  clock.advance(1)
  await flushed
  assert.is(done, true)
})

stream('flush waits for what a Writable still holds', async () => {
  const taken: string[] = []
  const slow = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done): void {
      setImmediate(() => {
        taken.push(text)
        done()
      })
    }
  })
  const log = new LogSink({ log: slow, debug: false, logOutput: true, clock: new FakeClock() })
  log.access('one')
  await log.flush()
  assert.is(taken[0], 'one\n')
})

stream('a write that throws loses its lines, nothing else', async () => {
  const clock = new FakeClock()
  let broken = true
  const lines: string[] = []
  const log = new LogSink({ log: { write(text: string): void { if (broken) throw new Error('full'); lines.push(text) } }, debug: false, logOutput: true, clock })
  log.access('one')
  clock.advance(100)
  broken = false
  log.access('two')
  await log.flush()
  assert.equal(lines, ['two\n'])
})

stream('an error event of the sink ends nothing', async () => {
  const broken = new Writable({ write(_chunk, _encoding, done): void { done(new Error('EPIPE')) } })
  const log = new LogSink({ log: broken, debug: false, logOutput: true, clock: new FakeClock() })
  log.access('one')
  await log.flush()
  log.access('two')
  await log.flush()
})

stream('what is held at exit is written', () => {
  const directory = mkdtempSync(join(tmpdir(), 'wirelet-log-'))
  try {
    const file = join(directory, 'log')
    const module = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href)
    const script = `
      import { createWriteStream } from 'node:fs'
      import { once } from 'node:events'
      import { LogSink } from ${module('../../src/server/log.js')}
      import { systemClock } from ${module('../../src/io/clock.js')}
      const file = createWriteStream(${JSON.stringify(file)})
      await once(file, 'open')
      for (const log of [null, process.stdout, file]) new LogSink({ log, debug: false, logOutput: true, clock: systemClock }).info('bye')
      process.exit(0)`
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 20_000 })
    assert.is(stderr, 'bye\n')
    assert.is(stdout, 'bye\n')
    assert.is(readFileSync(file, 'utf8'), 'bye\n')
  } finally {
    rmSync(directory, { recursive: true })
  }
})

stream('many servers on one stream share one error listener', () => {
  const shared = new Writable({ write(_chunk, _encoding, done): void { done() } })
  for (let i = 0; i < 20; i++) new LogSink({ log: shared, debug: false, logOutput: true, clock: new FakeClock() })
  assert.is(shared.listenerCount('error'), 1)
})

stream.run()

const logger = suite('log to a logger')

function recorder(more: object = {}): { calls: [string, string][]; log: { info(m: string): void; debug(m: string): void; error(m: string): void } } {
  const calls: [string, string][] = []
  const at = (level: string) => (message: string): void => { calls.push([level, message]) }
  return { calls, log: { info: at('info'), debug: at('debug'), error: at('error'), ...more } }
}

logger('its levels get the lines at once, without line ends, debug always', () => {
  const { calls, log } = recorder()
  const sink = new LogSink({ log, debug: false, logOutput: true, clock: new FakeClock() })
  sink.info('a')
  sink.access('b → “ü” 🙂')
  sink.debug('c')
  sink.error('d')
  assert.equal(calls, [['info', 'a'], ['info', 'b → “ü” 🙂'], ['debug', 'c'], ['error', 'd']])
})

logger('logOutput: false leaves the errors', () => {
  const { calls, log } = recorder()
  const sink = new LogSink({ log, debug: true, logOutput: false, clock: new FakeClock() })
  sink.info('a')
  sink.access('b')
  sink.debug('c')
  sink.error('d')
  assert.equal(calls, [['error', 'd']])
})

logger('an access method takes the access lines; null refuses them', () => {
  const lines: string[] = []
  const with1 = recorder({ access: (line: string) => lines.push(line) })
  new LogSink({ log: with1.log, debug: false, logOutput: true, clock: new FakeClock() }).access('GET')
  assert.equal(lines, ['GET'])
  assert.equal(with1.calls, [])
  const without = recorder({ access: null })
  const sink = new LogSink({ log: without.log, debug: false, logOutput: true, clock: new FakeClock() })
  assert.is(sink.wantsAccess, false)
  sink.access('GET')
  assert.equal(without.calls, [])
})

logger('one that throws harms nobody', () => {
  const log = { info(): void { throw new Error('no') }, debug(): void { throw new Error('no') }, error(): void { throw new Error('no') } }
  const sink = new LogSink({ log, debug: true, logOutput: true, clock: new FakeClock() })
  sink.info('a')
  sink.access('a')
  sink.debug('a')
  sink.error('a')
})

logger.run()
