// What stands behind an environ in its tests: a head parsed from its bytes, and a source that counts how often each part is asked for.
import { Duplex } from 'node:stream'
import type { Outcome } from '../../src/io/cycle.ts'
import type { Address } from '../../src/io/transport.ts'
import { DEFAULT_LIMITS } from '../../src/parser/limits.ts'
import type { RequestHead } from '../../src/parser/request-head.ts'
import { RequestParser } from '../../src/parser/request-parser.ts'
import type { PostHook, TlsInfo } from '../../src/server/application.ts'
import type { EnvironSource } from '../../src/server/environ.ts'
import { Input } from '../../src/server/input.ts'

/** The head of a request given as latin-1 text, one line an argument. */
export function parseHead(...lines: string[]): RequestHead {
  const bytes = Buffer.from(lines.map(line => line + '\r\n').join('') + '\r\n', 'latin1')
  const parser = new RequestParser({ limits: DEFAULT_LIMITS, acceptTransferEncodingWithContentLength: false })
  const end = parser.execute(bytes, 0, bytes.length)
  if (end !== bytes.length) throw new Error(`not a head: ${end} ${lines.join(' | ')}`)
  const head = parser.takeHead(bytes, 0)
  bytes.fill(0xaa)
  return head
}

export class FakeSource implements EnvironSource {
  readonly head: RequestHead
  secure = false
  extra: Readonly<Record<string, unknown>> | null = null
  local: Address = { address: '127.0.0.1', port: 8090, family: 'IPv4' }
  peer: Address = { address: '192.0.2.7', port: 51234, family: 'IPv4' }
  currentTrailers: ReadonlyArray<readonly [string, string]> | null = null
  currentOutcome: Outcome | null = null
  tlsInfo: TlsInfo | null = null
  /** Names of what was asked for, in order. */
  readonly asked: string[] = []

  constructor(...lines: string[]) {
    this.head = parseHead(...lines)
  }

  private ask<T>(name: string, value: T): T {
    this.asked.push(name)
    return value
  }

  peerAddress(): Address { return this.ask('peerAddress', this.peer) }
  localAddress(): Address { return this.ask('localAddress', this.local) }
  makeInput(): Input {
    return this.ask('makeInput', new Input({
      content: null,
      maxBufferedBody: 1024,
      setHundredContinueHeaders() {},
      sendHundredContinue() {},
      takeSocket: () => new Duplex(),
      failureError: failure => new Error(String(failure))
    }))
  }
  errors(): { write(text: string): unknown } { return this.ask('errors', { write: () => true }) }
  makeHooks(): PostHook[] { return this.ask('makeHooks', []) }
  makeSignal(): AbortSignal { return this.ask('makeSignal', new AbortController().signal) }
  get setIdle(): () => void { return this.ask('setIdle', () => {}) }
  get inform(): EnvironSource['inform'] { return this.ask('inform', () => {}) }
  get upgrade(): () => Duplex { return this.ask('upgrade', () => new Duplex()) }
  tls(): TlsInfo | null { return this.ask('tls', this.tlsInfo) }
  trailers(): ReadonlyArray<readonly [string, string]> | null { return this.ask('trailers', this.currentTrailers) }
  outcome(): Outcome | null { return this.ask('outcome', this.currentOutcome) }
}
