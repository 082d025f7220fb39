// What an application can catch. Codes are API, messages are not.
// Peer errors stay numbers inside the engine and become one of these only where an application is waiting for an answer.

/** Base of every error that Wirelet throws or rejects with. Those of the system and of Node (EADDRINUSE, ENOENT, what OpenSSL says of a key) come as they are. */
export class WireletError extends Error {
  /** Stable, `ERR_WIRELET_…`. */
  readonly code: `ERR_WIRELET_${string}`
  /** The status that answers the request if the application lets the error pass; 500 unless the peer is to blame. */
  readonly status: number = 500

  constructor(code: `ERR_WIRELET_${string}`, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  override get name(): string {
    return this.constructor.name
  }
}

/** The request is over, or its content never comes to its end: the peer left or ended its side, a deadline or a shutdown cut it, its answer has ended. */
export class RequestAborted extends WireletError {
  override readonly status = 400
  constructor(message: string) {
    super('ERR_WIRELET_REQUEST_ABORTED', message)
  }
}

/** The chunked coding of the content is invalid (eventlet `ChunkReadError`). */
export class ChunkReadError extends WireletError {
  override readonly status = 400
  constructor(message: string) {
    super('ERR_WIRELET_CHUNK_READ', message)
  }
}

/** The content is larger than `maxBodySize`, or than `maxBufferedBody` for a read that has to hold it. */
export class BodyTooLarge extends WireletError {
  override readonly status = 413
  constructor(message: string) {
    super('ERR_WIRELET_BODY_TOO_LARGE', message)
  }
}

/** The head of the answer is already on its way. */
export class HeadersSent extends WireletError {
  constructor(message: string) {
    super('ERR_WIRELET_HEADERS_SENT', message)
  }
}

/** A status, header, trailer or length that must not go on the wire. */
export class InvalidHeader extends WireletError {
  constructor(message: string) {
    super('ERR_WIRELET_INVALID_HEADER', message)
  }
}

/** Wirelet was called in a way that makes no sense. */
export class UsageError extends WireletError {
  constructor(message: string) {
    super('ERR_WIRELET_USAGE', message)
  }
}

/** Of options, `group` being the option that they stand in: a name that there is not is a mistake. @throws UsageError */
export function checkNames(group: string, options: object, known: ReadonlySet<string>): void {
  if (typeof options !== 'object' || options === null) throw new UsageError(`${group === '' ? 'the options' : group} must be an object`)
  for (const name of Object.keys(options)) if (!known.has(name)) throw new UsageError(`unknown option: ${group === '' ? '' : `${group}.`}${name}`)
}

/** An AbortController, for one, is none. @throws UsageError */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof (signal as Partial<AbortSignal> | null)?.addEventListener !== 'function') throw new UsageError('signal must be an AbortSignal')
}
