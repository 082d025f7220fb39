// Transports under test without an engine: their making, an owner that writes down what they say, and bytes to send through them.
import { Acceptor, type TransportChoice } from '../../src/io/acceptor.ts'
import { POOLED_SIZE, borrowBuffer } from '../../src/io/buffer-pool.ts'
import type { Listener } from '../../src/io/listener.ts'
import type { Transport, TransportOwner } from '../../src/io/transport.ts'
import { PATIENCE } from './sockets.ts'
import { within } from './within.ts'

/** Writes down all that the transport says, and lets a test wait for it. */
export class Recorder implements TransportOwner {
  readonly chunks: Buffer[] = []
  /** Those of them that came in memory of their own. */
  readonly own: Buffer[] = []
  /** `bytes` (once for all that come in a row), `end`, `closed CODE`. */
  readonly log: string[] = []
  /** How many bytes came. */
  received: number = 0
  drains: number = 0
  during: (bytes: Buffer) => void = () => {}
  drained: () => void = () => {}
  private waiting: { test: () => boolean; resolve: () => void }[] = []

  onBytes(bytes: Buffer, start: number, end: number): void {
    const copy = Buffer.from(bytes.subarray(start, end))
    this.chunks.push(copy)
    this.received += copy.length
    if (this.log.at(-1) !== 'bytes') this.log.push('bytes')
    this.during(copy)
    this.wake()
  }
  /** What to say when asked how much is expected; what came because of it is kept as it is, not as a copy. */
  expecting: () => number = () => 0
  onOwnBytes(bytes: Buffer, start: number, end: number): void {
    const own = bytes.subarray(start, end)
    this.chunks.push(own)
    this.own.push(own)
    this.received += own.length
    if (this.log.at(-1) !== 'bytes') this.log.push('bytes')
    this.during(own)
    this.wake()
  }
  /** Whether each read was told to be done together with others. */
  readonly done: boolean[] = []
  onReadDone(together: boolean): void {
    this.done.push(together)
    this.wake()
  }
  expectedBytes(): number {
    return this.expecting()
  }
  onEnd(): void {
    this.log.push('end')
    this.wake()
  }
  onDrained(): void {
    this.drains++
    this.drained()
    this.wake()
  }
  onClosed(failure: string): void {
    this.log.push(`closed ${failure}`)
    this.wake()
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }
  get text(): string {
    return this.bytes.toString('latin1')
  }
  until(what: string, test: () => boolean): Promise<void> {
    if (test()) return Promise.resolve()
    return within(PATIENCE, new Promise<void>(resolve => this.waiting.push({ test, resolve })), `${what} (${this.log.join(', ')})`)
  }
  said(line: string): Promise<void> {
    return this.until(line, () => this.log.includes(line))
  }
  /** The code with which the connection ended, '' for a good end. */
  async closed(): Promise<string> {
    await this.until('the end', () => this.log.some(line => line.startsWith('closed')))
    return this.log.at(-1)!.slice(7)
  }
  private wake(): void {
    this.waiting = this.waiting.filter(({ test, resolve }) => {
      if (!test()) return true
      resolve()
      return false
    })
  }
}

/** A started acceptor, and the first transport that it makes. A failed handshake is that promise's end. */
export function accepting(listener: Listener, choice: TransportChoice): { acceptor: Acceptor; accepted: Promise<Transport> } {
  let acceptor!: Acceptor
  const accepted = new Promise<Transport>((resolve, reject) => {
    acceptor = new Acceptor(listener, choice, 5000, { onTransport: resolve, admitsHandshake: () => true, onListenerClosed() {}, onListenerError: reject, onHandshakeFailed: code => reject(new Error(code)) })
    acceptor.start()
  })
  return { acceptor, accepted }
}

/** Bytes that repeat nowhere near, cheap to make. */
export function pattern(length: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4))
  let x = seed
  for (let i = 0; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  return Buffer.from(words.buffer).subarray(0, length)
}

/** Written as the engine writes: through pooled buffers. */
export function writePooled(transport: Transport, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at += POOLED_SIZE) {
    const memory = borrowBuffer()
    const n = bytes.copy(memory, 0, at, at + POOLED_SIZE)
    transport.write(memory.subarray(0, n), memory)
  }
}
