// Every limit and deadline of the engine, in one place: plain numbers with unit, precedent and default.
// This file knows nothing of clocks or sockets; who enforces a number is said beside it.

/** Byte and count limits on what a peer sends. `Infinity` switches a limit off. */
export interface Limits {
  /** Request line without its CRLF, bytes; exactly this many pass. Beyond: 414. Default 8 192 (RFC 9112 §3 asks for 8 000; eventlet `url_length_limit`). */
  urlLengthLimit: number
  /** One field line without its CRLF, bytes. Beyond: 431. Default 8 192 (gunicorn 8 190, nginx 8 KiB). */
  maxFieldLine: number
  /** The whole head: empty lines, request line, field lines and every CRLF, bytes. Beyond: 431. Default 65 536 (eventlet). */
  maxHead: number
  /** Field lines in one head. Beyond: 431. Default 100 (http.client, gunicorn, hyper). */
  maxFields: number
  /** Empty lines before a request line (RFC 9112 §2.2). Beyond: 400. Default 4. */
  maxLeadingEmptyLines: number
  /** Hex digits of one chunk size, leading zeros included. Beyond: 400. Default 16. */
  maxChunkSizeDigits: number
  /** Chunk extensions of one message, bytes in all (RFC 9112 §7.1.1; hyper 16 KiB). Beyond: 400. Default 16 384. */
  maxChunkExt: number
  /** Trailer section of one message, bytes. Beyond: 431. Default 8 192. */
  maxTrailers: number
  /** Trailer lines of one message. Beyond: 431. Default 100. */
  maxTrailerFields: number
  /** Content of one request, bytes. Beyond: 413 as soon as it is known. Default Infinity. */
  maxBodySize: number
  /** What `read()` without n, `readline` and `readlines` of wsgi.input hold, bytes. Beyond: BodyTooLarge. Default 1 MiB. */
  maxBufferedBody: number
  /** Unread content discarded to keep a connection, and input discarded while lingering, bytes. Beyond: close. Default 1 MiB. */
  maxDrain: number
  /** Content held unread for one request, bytes: beyond it reading stops. At least 1. Default 65 536. */
  readBuffer: number
  /** Response bytes that the kernel has not taken, per connection: beyond it the application's iteration stops. At least 1. Default 65 536. */
  writeHighWater: number
  /** Connections accepted but held unread while `maxSize` are being served. Beyond: closed at accept. Default 1 024. */
  maxParked: number
}

/** Deadlines in milliseconds, `Infinity` switches one off; two rates in bytes per second, 0 switches one off. All are enforced within one second. */
export interface Timeouts {
  /** Accept to the first byte, and how long a parked connection waits for its place. Then: close silently. Default 10 000. */
  firstByte: number
  /** TLS handshake. Then: close silently. Default 10 000 (H2O). */
  handshake: number
  /** First byte of a head to its last, empty lines included. Then: 408. Default 30 000 (granian, hyper). */
  head: number
  /** No progress of the content. Then: 408 if the head of the answer is unsent, else cut. Default 30 000. */
  body: number
  /** Average content rate, bytes per second, judged after `rateGrace`. Default 500. 0: off. */
  minBodyRate: number
  /** The kernel took no byte of the answer. Then: cut. Default 60 000 (nginx send_timeout). */
  send: number
  /** Average rate at which the kernel takes the answer while some is pending, bytes per second, judged after `rateGrace`. Default 500. 0: off. */
  minSendRate: number
  /** How long a transfer runs before its average rate is judged. Default 20 000. */
  rateGrace: number
  /** Head of one request to its answer's end. Then: 408 or cut. Default Infinity (off). */
  request: number
  /** Application called to head of the answer. Then: 503. Default Infinity (off). */
  handler: number
  /** Half-closed, input discarded, until the peer closes (RFC 9112 §9.6). Default 2 000. */
  linger: number
  /** One post hook. Then: logged, no longer waited for. Default 30 000. */
  hook: number
  /** Used idle connections at the start of a drain stay open this long. Default 1 000. */
  idleGrace: number
  /** The whole drain. Then: what is left is destroyed. Default 30 000 (gunicorn graceful_timeout). */
  shutdown: number
}

export const DEFAULT_LIMITS: Readonly<Limits> = Object.freeze({
  urlLengthLimit: 8192,
  maxFieldLine: 8192,
  maxHead: 65536,
  maxFields: 100,
  maxLeadingEmptyLines: 4,
  maxChunkSizeDigits: 16,
  maxChunkExt: 16384,
  maxTrailers: 8192,
  maxTrailerFields: 100,
  maxBodySize: Infinity,
  maxBufferedBody: 1048576,
  maxDrain: 1048576,
  readBuffer: 65536,
  writeHighWater: 65536,
  maxParked: 1024
})

export const DEFAULT_TIMEOUTS: Readonly<Timeouts> = Object.freeze({
  firstByte: 10_000,
  handshake: 10_000,
  head: 30_000,
  body: 30_000,
  minBodyRate: 500,
  send: 60_000,
  minSendRate: 500,
  rateGrace: 20_000,
  request: Infinity,
  handler: Infinity,
  linger: 2_000,
  hook: 30_000,
  idleGrace: 1_000,
  shutdown: 30_000
})
