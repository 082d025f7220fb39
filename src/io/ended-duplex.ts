// What is handed over when the peer had half-closed before the takeover: the stream itself can emit neither the leftover nor another 'end'.
// Knows no HTTP.
import type { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'

export class EndedDuplex extends Duplex {
  readonly stream: Duplex

  constructor(stream: Duplex, leftover: Buffer | null) {
    super({ allowHalfOpen: true })
    this.stream = stream
    stream.once('close', () => this.destroy(stream.errored ?? undefined))
    stream.on('timeout', () => this.emit('timeout'))
    this.on('error', () => {})
    for (let proto = stream; proto instanceof Duplex; proto = Object.getPrototypeOf(proto)) this.borrow(proto)
    if (leftover !== null) this.push(leftover)
    this.push(null)
  }

  /** What the stream has and a Duplex has not: addresses, setNoDelay and their like, TLS. The peer decides whether its taker gets a socket or this. */
  private borrow(from: Duplex): void {
    for (const name of Object.getOwnPropertyNames(from)) {
      if (name in this || name.startsWith('_')) continue
      const get = (): unknown => {
        const value: unknown = Reflect.get(this.stream, name)
        return typeof value === 'function' ? (...args: unknown[]) => this.own(value.apply(this.stream, args)) : value
      }
      // Code written for sockets puts things on them.
      const set = (value: unknown): void => void Reflect.set(this.stream, name, value)
      Object.defineProperty(this, name, { get, set, configurable: true })
    }
  }

  /** A socket's methods return it, so that calls can be chained: the stream itself has nothing to read. */
  private own(result: unknown): unknown {
    return result === this.stream ? this : result
  }

  /** As a net.Socket's, but of what is written here: the stream knows of no more than one piece at a time. */
  destroySoon(): void {
    this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.stream.write(chunk, done)
  }
  override _final(done: (error?: Error | null) => void): void {
    this.stream.end(() => done())
  }
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.stream.destroy()
    done(error)
  }
}
