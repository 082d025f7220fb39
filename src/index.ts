// The public surface: one explicit export list. Everything else is private by its place.
export { listen, serve, wrapTls } from './entry.ts'
export type { Server, CloseOptions, ServerState, ServerStats } from './server/serve.ts'
export type { Listener, ListenOptions, TlsListenOptions } from './io/listener.ts'
export { formatDateTime } from './server/date-time.ts'
export {
  ALREADY_HANDLED,
  type AlreadyHandled,
  type Application,
  type Body,
  type Environ,
  type Headers,
  type HeaderValue,
  type Piece,
  type PostHook,
  type StartResponse,
  type Status,
  type TlsInfo,
  type Write
} from './server/application.ts'
export type { Input } from './server/input.ts'
export { Pool } from './server/pool.ts'
export { WireletError, RequestAborted, ChunkReadError, BodyTooLarge, HeadersSent, InvalidHeader, UsageError } from './io/errors.ts'
export type { ConnectionMessage, PeerErrorMessage, RequestMessage } from './server/diagnostics.ts'
export type { ConnectionPool, Log, Logger, ServeOptions } from './server/options.ts'
export type { Limits, Timeouts } from './parser/limits.ts'
export type { Outcome } from './io/cycle.ts'
export type { PeerErrorEvent } from './io/engine.ts'
export type { Address } from './io/transport.ts'
export type { TransportChoice } from './io/acceptor.ts'
