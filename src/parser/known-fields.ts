// What the field lines of one head say to the engine itself, collected line by line: Host, framing, connection, expectations, singletons.
// Knows neither lines nor limits, and decides nothing that needs the whole head.
import { PeerErrorCode } from './errors.ts'
import { FieldName } from './field-names.ts'
import { ABSENT, parseContentLength } from './framing.ts'
import { checkHost, VALID } from './host.ts'
import { acceptsTrailers, addConnectionOptions, addTransferCodings, ConnectionOption, isHundredContinue, MALFORMED } from './lists.ts'
import { Framing } from './request-head.ts'

const E = PeerErrorCode

/** Instead of a position: the line repeats a field that may stand only once. */
export const REPEATED = -1

export class KnownFields {
  contentLength: number = ABSENT
  /** Bits of Codings, of all Transfer-Encoding lines. */
  codings = 0
  /** Bits of ConnectionOption, of all Connection lines. */
  connection = 0
  expectContinue = false
  /** An expectation that nobody here can meet. */
  expectFailed = false
  /** Upgrade names something. */
  upgradeNamed = false
  trailersAccepted = false
  /** Where the value is wrong that `read` refused, as an absolute position, or REPEATED. */
  fault = 0
  /** One bit for each FieldName that was there. */
  private seen = 0

  reset(): void {
    this.contentLength = ABSENT
    this.codings = 0
    this.connection = 0
    this.expectContinue = false
    this.expectFailed = false
    this.upgradeNamed = false
    this.trailersAccepted = false
    this.seen = 0
  }

  get hasHost(): boolean {
    return (this.seen & (1 << FieldName.HOST)) !== 0
  }

  /** One line of a field that is not OTHER. 0, or a PeerErrorCode with `fault`. */
  read(name: FieldName, bytes: Buffer, value: number, end: number, minor: 0 | 1): PeerErrorCode | 0 {
    const bit = 1 << name
    const repeated = (this.seen & bit) !== 0
    this.seen |= bit
    switch (name) {
      case FieldName.HOST:
        if (repeated) return this.refuse(E.DUPLICATE_HOST, REPEATED)
        this.fault = checkHost(bytes, value, end)
        return this.fault === VALID ? 0 : E.INVALID_HOST
      case FieldName.CONTENT_LENGTH:
        if (repeated) return this.refuse(E.DUPLICATE_CONTENT_LENGTH, REPEATED)
        this.contentLength = parseContentLength(bytes, value, end)
        return this.contentLength < 0 ? this.refuse(E.INVALID_CONTENT_LENGTH, value) : 0
      case FieldName.TRANSFER_ENCODING:
        this.codings = addTransferCodings(bytes, value, end, this.codings)
        return this.codings === MALFORMED ? this.refuse(E.INVALID_TRANSFER_ENCODING, value) : 0
      case FieldName.CONNECTION:
        this.connection = addConnectionOptions(bytes, value, end, this.connection)
        return this.connection === MALFORMED ? this.refuse(E.INVALID_CONNECTION, value) : 0
      case FieldName.EXPECT:
        // Not ours in 1.0 (RFC 9110 §10.1.1). A second line is a second member, and no list of expectations can be met.
        if (minor === 0) return 0
        if (repeated || !isHundredContinue(bytes, value, end)) this.expectFailed = true
        else this.expectContinue = true
        return 0
      case FieldName.UPGRADE:
        if (value < end) this.upgradeNamed = true
        return 0
      case FieldName.TE:
        if (minor === 1 && acceptsTrailers(bytes, value, end)) this.trailersAccepted = true
        return 0
      default:
        return repeated ? this.refuse(E.DUPLICATE_SINGLETON, REPEATED) : 0
    }
  }

  /**
   * RFC 9112 §9.3: `close` wins, then 1.1 persists, then 1.0 only with keep-alive.
   * §6.1: with both Transfer-Encoding and Content-Length the connection must not be used again.
   */
  persists(minor: 0 | 1, framing: Framing): boolean {
    if (this.connection & ConnectionOption.CLOSE) return false
    if (framing === Framing.CHUNKED && this.contentLength !== ABSENT) return false
    return minor === 1 || this.asked(ConnectionOption.KEEP_ALIVE)
  }

  /** Connection names the option. */
  asked(option: number): boolean {
    return (this.connection & option) !== 0
  }

  private refuse(code: PeerErrorCode, fault: number): PeerErrorCode {
    this.fault = fault
    return code
  }
}
