// Where lines go. Nothing here knows what a line says; access-log.ts writes the access lines, the server all others.
// A log must never stop or end the server: a slow sink costs lines (counted), one that fails, now or by a promise, is ignored.
import { Buffer } from 'node:buffer'
import { writeSync } from 'node:fs'
import type { Clock } from '../io/clock.ts'
import { attempt, heedRejection } from './describe-error.ts'
import type { Logger, Settings } from './options.ts'

/** A batch leaves when it has this many characters, or after BATCH_MS. One write(2) per 64 KiB makes its cost per line vanish. */
const BATCH_SIZE = 65_536
const BATCH_MS = 100
/** So many lines are joined at once. A line is made of a dozen strings: a batch of all of them is slow to write out, and the garbage collector
 *  meets it again and again (200 ns a line). */
const JOINED = 16
/** Characters held for a sink that does not take them; beyond it whole lines are dropped. */
const QUEUE_SIZE = 1_048_576
/** How long `flush` waits for a sink: a stuck one must not keep a server from ending. */
const FLUSH_MS = 1_000

/** Anything with `write`; a stream's 'drain', 'error' and `fd` are used when it has them. */
export interface TextSink {
  write(text: string, done?: () => void): unknown
  on?(event: string, listener: () => void): unknown
  once?(event: string, listener: () => void): unknown
  removeListener?(event: string, listener: () => void): unknown
  readonly writableNeedDrain?: boolean
  readonly writableLength?: number
  readonly fd?: unknown
}

const RESUMING = ['drain', 'error', 'close']

/** Writers that hold lines when the process exits. */
const unflushed = new Set<LineWriter>()
/** Sinks whose 'error' events have our listener: many servers may share one. */
const guarded = new WeakSet<TextSink>()
let exitHooked = false

/** Lines in, batches out. One per sink and server. */
export class LineWriter {
  private readonly sink: TextSink
  private readonly clock: Clock
  private batch = ''
  /** What follows the batch, not joined yet. */
  private lines: string[] = []
  /** Characters held in both. */
  private held = 0
  private dropped = 0
  /** The sink said `false` and has not drained. */
  private blocked = false
  private timer: unknown = null
  private waiting: (() => void)[] = []

  constructor(sink: TextSink, clock: Clock) {
    this.sink = sink
    this.clock = clock
    if (typeof sink.on === 'function' && !guarded.has(sink)) {
      guarded.add(sink)
      // EPIPE of `wirelet app.js | head` among others: without a listener it would end the process.
      sink.on('error', ignore)
    }
  }

  line(text: string): void {
    if (this.held + text.length >= QUEUE_SIZE) {
      this.dropped++
      return
    }
    this.held += text.length + 1
    if (this.lines.push(text) === JOINED) this.join()
    if (this.blocked) return
    if (this.held >= BATCH_SIZE) this.send()
    else if (this.timer === null) {
      this.timer = this.clock.after(BATCH_MS, () => {
        this.timer = null
        this.send()
      })
      holdForExit(this)
    }
  }

  /** Resolves when the sink has taken everything written so far, as far as it can tell, and after FLUSH_MS in any case. */
  flush(): Promise<void> {
    if (!this.blocked) this.send()
    if (!this.blocked && !(this.sink.writableLength! > 0)) return Promise.resolve()
    return new Promise(resolve => {
      const done = (): void => {
        this.clock.clear(patience)
        resolve()
      }
      const patience = this.clock.after(FLUSH_MS, resolve)
      if (this.blocked) this.waiting.push(done)
      else heedRejection(attempt(() => this.sink.write('', done)), ignore) // an empty write tells when those before it are through
    })
  }

  /** At exit nothing asynchronous happens any more. Standard output and error take it at once unless their pipe is full; other streams have it
   *  written to their descriptor. */
  flushNow(): void {
    const text = this.takeAll()
    if (text === '') return
    try {
      const standard = this.sink === process.stdout || this.sink === process.stderr
      if (!standard && typeof this.sink.fd === 'number') writeSync(this.sink.fd, text)
      else heedRejection(this.sink.write(text), ignore)
    } catch {
      // nobody is left to tell
    }
  }

  private send(): void {
    const text = this.takeAll()
    if (text === '') return
    let more: unknown
    try {
      more = this.sink.write(text)
      heedRejection(more, ignore)
    } catch {
      return
    }
    if (more === false && this.sink.writableNeedDrain !== false && typeof this.sink.once === 'function') this.block()
  }

  private block(): void {
    this.blocked = true
    holdForExit(this)
    // A stream that failed or closed never drains; what it is given then is lost, and that is all.
    for (const event of RESUMING) this.sink.once!(event, this.resume)
  }

  private readonly resume = (): void => {
    if (!this.blocked) return
    for (const event of RESUMING) this.sink.removeListener?.(event, this.resume)
    this.blocked = false
    this.send()
    if (this.blocked) return
    const waiting = this.waiting
    this.waiting = []
    for (const done of waiting) done()
  }

  private join(): void {
    this.batch += this.lines.join('\n') + '\n'
    this.lines = []
  }

  /** Everything held, and word of what could not be. Nothing is held any more. */
  private takeAll(): string {
    if (this.dropped > 0) this.lines.push(`(${process.pid}) wirelet: ${this.dropped} log lines dropped, the log is too slow`)
    if (this.lines.length > 0) this.join()
    const text = this.batch
    this.batch = ''
    this.held = this.dropped = 0
    if (this.timer !== null) this.clock.clear(this.timer)
    this.timer = null
    unflushed.delete(this)
    return text
  }
}

function ignore(): void {}

function holdForExit(writer: LineWriter): void {
  unflushed.add(writer)
  if (exitHooked) return
  exitHooked = true
  process.on('exit', () => {
    for (const each of [...unflushed]) each.flushNow()
  })
}

/** The log of one server, by level. */
export class LogSink {
  /** False: no access line need be made. */
  readonly wantsAccess: boolean
  /** False: neither do debug lines. */
  readonly wantsDebug: boolean
  private readonly quiet: boolean
  private readonly logger: Logger | null
  private readonly writer: LineWriter | null

  constructor(settings: Pick<Settings, 'log' | 'logOutput' | 'debug' | 'clock'>) {
    const log = settings.log ?? process.stderr
    this.logger = isLogger(log) ? log : null
    this.writer = this.logger === null ? new LineWriter(log as TextSink, settings.clock) : null
    this.quiet = !settings.logOutput
    this.wantsAccess = settings.logOutput && this.logger?.access !== null
    // A logger has levels of its own to filter by.
    this.wantsDebug = settings.logOutput && (settings.debug || this.logger !== null)
  }

  /** Start, end and the like. */
  info(line: string): void {
    if (this.quiet) return
    if (this.writer !== null) this.writer.line(line)
    else this.tell('info', line)
  }

  /** One per answered or refused request. */
  access(line: string): void {
    if (!this.wantsAccess) return
    if (this.writer !== null) this.writer.line(line)
    // A copy: made of parts of a head, a line would keep the whole of it for as long as the logger keeps the line.
    else this.tell(typeof this.logger!.access === 'function' ? 'access' : 'info', Buffer.from(line).toString())
  }

  /** Connections coming, timing out, going. */
  debug(line: string): void {
    if (!this.wantsDebug) return
    if (this.writer !== null) this.writer.line(line)
    else this.tell('debug', line)
  }

  /** What an application did wrong and what the system refused: never silenced (`logOutput: false` is about the other lines). */
  error(line: string): void {
    if (this.writer !== null) this.writer.line(line)
    else this.tell('error', line)
  }

  /** Everything logged so far has reached the sink. A logger is asked nothing: its own flush is its owner's business. */
  flush(): Promise<void> {
    return this.writer === null ? Promise.resolve() : this.writer.flush()
  }

  private tell(level: keyof Logger, line: string): void {
    try {
      heedRejection(this.logger![level]!(line), ignore)
    } catch {
      // A logger that throws must not take a request, let alone the server, with it.
    }
  }
}

function isLogger(log: object): log is Logger {
  const { info, debug, error } = log as Partial<Logger>
  return typeof info === 'function' && typeof debug === 'function' && typeof error === 'function'
}
