// `wirelet`: an application served from the command line: opens, serves, listens to signals, ends.
// Worker processes, reloading and a status page are to come; one process is all this file knows.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { UsageError, listen, serve, wrapTls, type Application, type Listener, type ServeOptions, type Server } from '../index.ts'
import { systemClock } from '../io/clock.ts'
import { LineWriter } from '../server/log.ts'
import { AccessFile } from './access-file.ts'
import { helpText } from './help.ts'
import { loadApplication } from './load.ts'
import { OPTIONS } from './options.ts'
import { parseCommand, type Command } from './parse.ts'
import { CommandError } from './usage.ts'

/** Bytes held for a stderr that nobody reads. */
const STDERR_HELD = 1 << 20

export async function main(words: readonly string[]): Promise<void> {
  try {
    const command = parseCommand(words)
    if (command.action === 'help') print(helpText())
    else if (command.action === 'version') print(`${version()}\n`)
    else await run(command)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    say(error.message)
    // Not the natural end: a module that was loaded may hold timers and sockets.
    process.exit(error.exitCode)
  }
}

async function run(command: Command): Promise<void> {
  const application = await loadApplication(command.module, command.exportName, process.cwd())
  const log = new CommandLog(command)
  const listeners = await listenAll(command)
  const servers: Server[] = []
  // Before the start-up line: whoever has read it may send signals.
  handleSignals(servers, listeners, command, log)
  await serveAll(servers, listeners, application, { ...command.options, log })
  // pm2 (wait_ready) and a cluster's primary wait for it.
  process.send?.('ready')
  try {
    await Promise.all(servers.map(server => server.finished))
  } catch (error) {
    await Promise.allSettled(servers.map(server => server.close()))
    await log.flush()
    throw new CommandError(messageOf(error), 1)
  }
  await log.flush()
  process.exit(0)
}

/** Access lines to stdout or a file, in batches; all others to stderr at once. */
class CommandLog {
  /** null: nobody wants access lines. */
  readonly access: ((line: string) => void) | null
  private readonly debugging: boolean
  private readonly file: AccessFile | null
  private readonly writer: LineWriter | null

  constructor({ accessLog, options }: Command) {
    // A closed terminal must not end the server; LineWriter does the same for stdout.
    process.stderr.on('error', ignore)
    this.debugging = options.debug ?? false
    this.file = accessLog === '-' || accessLog === 'off' ? null : attempt(`cannot open the access log ${accessLog}`, () => new AccessFile(accessLog))
    const writer = accessLog === 'off' ? null : new LineWriter(this.file ?? process.stdout, systemClock)
    this.writer = writer
    this.access = writer === null ? null : line => writer.line(line)
  }

  info(line: string): void {
    // Whoever stopped reading stderr must not fill our memory.
    if (process.stderr.writableLength < STDERR_HELD) process.stderr.write(`${line}\n`)
  }

  debug(line: string): void {
    if (this.debugging) this.info(line)
  }

  error(line: string): void {
    this.info(line)
  }

  /** What is held still belongs into the old file. */
  reopen(): void {
    this.writer?.flushNow()
    this.file?.reopen()
  }

  flush(): Promise<void> {
    return this.writer?.flush() ?? Promise.resolve()
  }
}

async function listenAll({ binds, tls }: Command): Promise<Listener[]> {
  const listeners: Listener[] = []
  try {
    for (const { text, where } of binds) {
      const listener = await listen(where).catch((error: unknown) => {
        throw new CommandError(`cannot listen on ${text}: ${messageOf(error)}`, 1)
      })
      listeners.push(listener)
      if (tls !== null) listeners[listeners.length - 1] = attempt(`cannot serve TLS with ${tls.certfile} and ${tls.keyfile}`, () => wrapTls(listener, tls))
    }
  } catch (error) {
    await Promise.allSettled(listeners.map(listener => listener.close()))
    throw error
  }
  return listeners
}

async function serveAll(servers: Server[], listeners: readonly Listener[], application: Application, options: ServeOptions): Promise<void> {
  try {
    for (const listener of listeners) servers.push(serve(listener, application, options))
  } catch (error) {
    await Promise.allSettled([...servers, ...listeners].map(each => each.close()))
    if (error instanceof UsageError) throw new CommandError(asFlag(error.message), 2)
    throw new CommandError(messageOf(error), 1)
  }
}

function handleSignals(servers: readonly Server[], listeners: readonly Listener[], { tls }: Command, log: CommandLog): void {
  let draining = false
  for (const [signal, number] of [['SIGTERM', 15], ['SIGINT', 2]] as const) {
    process.on(signal, () => {
      // What the log holds is written at exit.
      if (draining) process.exit(128 + number)
      draining = true
      for (const server of servers) void server.close().catch(ignore)
    })
  }
  process.on('SIGHUP', () => {
    if (tls === null) return
    try {
      for (const listener of listeners) listener.setSecureContext(tls)
      log.info(`(${process.pid}) certificates read again`)
    } catch (error) {
      log.error(`(${process.pid}) the certificates stay as they are: ${messageOf(error)}`)
    }
  })
  // Without a handler Node would start its inspector.
  process.on('SIGUSR1', () => {
    try {
      log.reopen()
    } catch (error) {
      log.error(`(${process.pid}) the access log stays as it is: ${messageOf(error)}`)
    }
  })
}

/** `finished` tells of failures. */
function ignore(): void {}

function attempt<T>(failing: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw new CommandError(`${failing}: ${messageOf(error)}`, 1)
  }
}

/** The options' names as the user typed them. */
function asFlag(message: string): string {
  const row = OPTIONS.find(({ ours }) => ours !== '' && message.startsWith(ours) && /^(?:[ :]|$)/.test(message.slice(ours.length)))
  return row === undefined || row.flag === '' ? message : `--${row.flag}${message.slice(row.ours.length)}`
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!
}

/** A full disk, a reader that has gone: one line like every other failure. */
function print(text: string): void {
  process.stdout.on('error', error => {
    say(`cannot write: ${messageOf(error)}`)
    process.exit(1)
  })
  process.stdout.write(text)
}

function say(message: string): void {
  process.stderr.write(`wirelet: ${message}\n`)
}

function version(): string {
  // Beside dist/ when installed, one further up in the tests' build.
  for (let url = new URL('.', import.meta.url); ; url = new URL('..', url)) {
    const file = fileURLToPath(new URL('package.json', url))
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
    if (url.pathname === '/') return 'unknown'
  }
}
