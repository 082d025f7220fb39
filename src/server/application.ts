// The contract between an application and the server (PEP 3333, in JavaScript).
import type { Input } from './input.ts'
import type { Outcome } from '../io/cycle.ts'

/** One piece of a body. Strings are UTF-8 on the wire. Bytes must stay as they are until the request has ended: more than 8 KiB of them are sent from where
 *  they lie. */
export type Piece = string | Uint8Array

/** A web stream of pieces, by what is used of it: TypeScript's DOM library does not say that a `ReadableStream` is iterable. */
export interface WebStream {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Piece | undefined }>
    cancel(): Promise<void>
  }
  cancel(): Promise<void>
}

/** What an application may answer with. A bare string or byte array is one piece; an array has a computed Content-Length. */
export type Body = Piece | Iterable<Piece> | AsyncIterable<Piece> | WebStream

declare const handled: unique symbol
/** The type of ALREADY_HANDLED: an interface, because TypeScript widens a unique symbol that an async function returns. */
export interface AlreadyHandled {
  readonly [handled]: true
}
/** Returned by an application that took the connection over (eventlet `WSGI_LOCAL.already_handled`). */
export const ALREADY_HANDLED: AlreadyHandled = Symbol.for('wirelet.already_handled') as unknown as AlreadyHandled

/** A status: `'200 OK'`, or `200` for the usual reason phrase. */
export type Status = string | number

/** One header's value. Numbers are written in decimal. */
export type HeaderValue = string | number

/** Response headers: pairs in order (a name may repeat), or an object (a value may be a list). */
export type Headers = Iterable<readonly [string, HeaderValue]> | { readonly [name: string]: HeaderValue | readonly HeaderValue[] }

/** Sends one piece at once, uncoalesced. Resolves true when more is welcome, false when the peer is gone. Never rejects. */
export type Write = (piece: Piece) => Promise<boolean>

/** Sets the head of the answer. It leaves with the first piece; until then it can be replaced by a call with `excInfo`.
 *  @throws InvalidHeader for what may not go on the wire, UsageError when called twice without `excInfo` (HeadersSent once the head has been sent),
 *  and `excInfo` itself when it is given and the head has been sent. */
export type StartResponse = (status: Status, headers?: Headers, excInfo?: unknown) => Write

/** The application: called once per request with its environ. */
export type Application = (environ: Environ, startResponse: StartResponse) => Body | AlreadyHandled | Promise<Body | AlreadyHandled>

/** `func(environ, ...args, kwargs)` after the answer left or the peer did; `kwargs` only when given. May be async. */
export type PostHook = readonly [
  func: (environ: Environ, ...rest: never[]) => unknown,
  args?: readonly unknown[],
  kwargs?: Readonly<Record<string, unknown>>
]

/** What a TLS connection tells an application (`wirelet.tls`). */
export interface TlsInfo {
  readonly protocol: string | null
  readonly cipher: string | null
  readonly servername: string | null
  readonly authorized: boolean
  readonly peerCertificate: import('node:tls').PeerCertificate | null
}

/** The request, as WSGI gives it: a plain dictionary to whoever uses it, filled lazily. Keys as in PEP 3333 and eventlet.wsgi. */
export interface Environ {
  /** The method as received. */
  REQUEST_METHOD: string
  SCRIPT_NAME: string
  /** Path, percent-decoded: UTF-8 when the whole is valid, else its octets as latin-1. Never authorise by it alone: see RAW_PATH_INFO. */
  PATH_INFO: string
  /** Path as received, undecoded. */
  RAW_PATH_INFO: string
  /** The request-target exactly as received. */
  REQUEST_URI: string
  /** After the first `?`; '' when there is none. */
  QUERY_STRING: string
  /** Absent when the peer sent none. */
  CONTENT_TYPE?: string
  /** As received; absent when the peer sent none. */
  CONTENT_LENGTH?: string
  /** `HTTP/1.0` or `HTTP/1.1`: the request's own version. */
  SERVER_PROTOCOL: string
  GATEWAY_INTERFACE: string
  SERVER_NAME: string
  SERVER_PORT: string
  REMOTE_ADDR: string
  REMOTE_PORT: string
  /** `'on'` over TLS, else absent. */
  HTTPS?: string
  /** Every field line as received: name and value, in order. */
  headers_raw: ReadonlyArray<readonly [string, string]>
  'wsgi.version': readonly [number, number]
  'wsgi.url_scheme': 'http' | 'https'
  'wsgi.input': Input
  'wsgi.errors': { write(text: string): unknown }
  'wsgi.multithread': boolean
  'wsgi.multiprocess': boolean
  'wsgi.run_once': boolean
  'eventlet.input': Input
  'eventlet.posthooks': PostHook[]
  /** Marks the connection as one that a drain cuts at once. */
  'eventlet.set_idle': () => void
  /** Read after the application returned: overrides `minimumChunkSize` for this answer. */
  'eventlet.minimum_write_chunk_size'?: number
  /** Aborted when the peer is gone or a deadline cut the request. */
  'wirelet.signal': AbortSignal
  /** Sends an interim (1xx) response, 103 among them. Ignored towards HTTP/1.0. */
  'wirelet.inform': (status: Status, headers?: Headers) => void
  /** Trailers received, once the content was read (or thrown away) to its end, and [] if there are none; null before. Never merged into the headers. */
  'wirelet.trailers': ReadonlyArray<readonly [string, string]> | null
  /** Set by the application: called at the end of a chunked answer when the peer said `TE: trailers`. */
  'wirelet.sendTrailers'?: () => Headers
  /** How the request ended; for post hooks, null before. */
  'wirelet.outcome': Outcome | null
  /** Over TLS, else null. */
  'wirelet.tls': TlsInfo | null
  /** Takes the connection over: what was read already comes first. Implies ALREADY_HANDLED. */
  'wirelet.upgrade': () => import('node:stream').Duplex
  [header: `HTTP_${string}`]: string | undefined
  [key: string]: unknown
}
