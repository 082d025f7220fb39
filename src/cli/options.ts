// Every option, once: the command line, `--help` and README's table are all made from these rows.
// Adding one: a row here, ServeOptions and completeOptions in server/options.ts; the tests say what else is missing.
import { completeOptions, type Settings } from '../server/options.ts'

/** How a value is written on the command line, and what it becomes. */
export type Kind = 'text' | 'choice' | 'size' | 'count' | 'rate' | 'duration' | 'keepalive' | 'boolean' | 'pair'

/** Sections of `--help`. 'api' rows have no flag: they exist for `serve` alone. */
export type Section = 'command' | 'server' | 'limits' | 'timeouts' | 'api'

export interface OptionRow {
  /** Without its dashes; '' for 'api' rows. A boolean has a `--no-` form too. */
  readonly flag: string
  readonly section: Section
  readonly kind: Kind
  /** Stands for the value in `--help`. */
  readonly placeholder: string
  /** Path in ServeOptions; '' for the command's own. */
  readonly ours: string
  /** eventlet's name; '' when it has none. */
  readonly original: string
  /** As the command line would have it. */
  readonly standard: string
  readonly help: string
  readonly choices?: readonly string[]
  /** May be given several times. */
  readonly repeats?: boolean
}

const defaults: Settings = completeOptions({})

function sizeText(bytes: number): string {
  if (bytes === Infinity) return 'off'
  if (bytes >= 1 << 20 && bytes % (1 << 20) === 0) return `${bytes >> 20}m`
  return bytes >= 1 << 10 && bytes % (1 << 10) === 0 ? `${bytes >> 10}k` : String(bytes)
}

function durationText(ms: number): string {
  if (ms === Infinity) return 'off'
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}

function command(flag: string, placeholder: string, standard: string, help: string, more: Partial<OptionRow> = {}): OptionRow {
  return { flag, section: 'command', kind: 'text', placeholder, ours: '', original: '', standard, help, ...more }
}

function server(flag: string, kind: Kind, placeholder: string, ours: string, original: string, standard: string, help: string, more: Partial<OptionRow> = {}): OptionRow {
  return { flag, section: 'server', kind, placeholder, ours, original, standard, help, ...more }
}

function limit(name: keyof Settings['limits'], kind: 'size' | 'count', help: string): OptionRow {
  const standard = kind === 'size' ? sizeText(defaults.limits[name]) : String(defaults.limits[name])
  return { flag: kebab(name), section: 'limits', kind, placeholder: kind === 'size' ? 'SIZE' : 'N', ours: `limits.${name}`, original: '', standard, help }
}

function timeout(name: keyof Settings['timeouts'], help: string, flag: string = `${kebab(name)}-timeout`): OptionRow {
  const standard = durationText(defaults.timeouts[name])
  return { flag, section: 'timeouts', kind: 'duration', placeholder: 'TIME', ours: `timeouts.${name}`, original: '', standard, help }
}

function rate(name: 'minBodyRate' | 'minSendRate', help: string): OptionRow {
  const standard = String(defaults.timeouts[name])
  return { flag: kebab(name), section: 'timeouts', kind: 'rate', placeholder: 'B/S', ours: `timeouts.${name}`, original: '', standard, help }
}

function api(ours: string, original: string, standard: string, help: string): OptionRow {
  return { flag: '', section: 'api', kind: 'text', placeholder: '', ours, original, standard, help }
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, letter => '-' + letter.toLowerCase())
}

export const OPTIONS: readonly OptionRow[] = [
  command('bind', 'WHERE', '127.0.0.1:8090', 'HOST:PORT, [::1]:PORT, unix:PATH, fd://N', { original: 'sock', repeats: true }),
  command('certfile', 'FILE', '', 'serve TLS: certificate and chain, PEM; SIGHUP reads it again'),
  command('keyfile', 'FILE', '', 'serve TLS: the private key, PEM'),
  command('access-log', 'WHERE', '-', '- (stdout), off, or a file; SIGUSR1 opens it again'),
  server('log-format', 'text', 'FORMAT', 'logFormat', 'log_format', "eventlet's line", 'common, combined, json or a %(name)s template'),
  server('log-output', 'boolean', '', 'logOutput', 'log_output', 'on', 'start-up and access lines; errors are logged in any case'),
  server('log-x-forwarded-for', 'boolean', '', 'logXForwardedFor', 'log_x_forwarded_for', 'on', 'client_ip in the log begins with X-Forwarded-For'),
  server('debug', 'boolean', '', 'debug', 'debug', 'off', 'stacks in 500 answers, connections in the log'),
  server('transport', 'choice', 'NAME', 'transport', '', defaults.transport, 'auto, stream or handle', { choices: ['auto', 'stream', 'handle'] }),
  server('environ', 'pair', 'NAME=VALUE', 'environ', 'environ', '', 'put into every environ', { repeats: true }),
  server('max-size', 'count', 'N', 'maxSize', 'max_size', String(defaults.maxSize), 'connections served at once'),
  server('max-http-version', 'choice', 'VERSION', 'maxHttpVersion', 'max_http_version', defaults.maxHttpVersion, 'with HTTP/1.0: no keep-alive, no chunked answers', {
    choices: ['HTTP/1.0', 'HTTP/1.1']
  }),
  server('keepalive', 'keepalive', 'TIME', 'keepalive', 'keepalive', durationText(defaults.keepalive), 'an idle connection stays open this long; off: none does'),
  server('socket-timeout', 'duration', 'TIME', 'socketTimeout', 'socket_timeout', '', 'one value for first byte, head, content and sending'),
  server('url-length-limit', 'size', 'SIZE', 'urlLengthLimit', 'url_length_limit', sizeText(defaults.limits.urlLengthLimit), 'the request line; beyond it 414'),
  server('minimum-chunk-size', 'size', 'SIZE', 'minimumChunkSize', 'minimum_chunk_size', sizeText(defaults.minimumChunkSize), 'join pieces of an answer up to this size'),
  server('flush-when-waiting', 'boolean', '', 'flushWhenWaiting', '', 'on', 'what is held for joining leaves when the application waits'),
  server('capitalize-response-headers', 'boolean', '', 'capitalizeResponseHeaders', 'capitalize_response_headers', 'on', 'content-type leaves as Content-Type'),
  server('abort-on-half-close', 'boolean', '', 'abortOnHalfClose', '', 'off', 'a peer that half-closes counts as gone'),
  server('accept-transfer-encoding-with-content-length', 'boolean', '', 'strictness.acceptTransferEncodingWithContentLength', '', 'off', 'unsafe behind a lax proxy'),
  limit('maxFieldLine', 'size', 'one field line; beyond it 431'),
  limit('maxHead', 'size', 'the whole head; beyond it 431'),
  limit('maxFields', 'count', 'field lines in a head; beyond it 431'),
  limit('maxLeadingEmptyLines', 'count', 'empty lines before a request; beyond it 400'),
  limit('maxChunkSizeDigits', 'count', 'digits of one chunk size; beyond it 400'),
  limit('maxChunkExt', 'size', 'chunk extensions of a message; beyond it 400'),
  limit('maxTrailers', 'size', 'trailers of a message; beyond it 431'),
  limit('maxTrailerFields', 'count', 'trailer lines of a message; beyond it 431'),
  limit('maxBodySize', 'size', 'content of one request; beyond it 413'),
  limit('maxBufferedBody', 'size', 'what a read() without a size may hold; beyond it 413'),
  limit('maxDrain', 'size', 'unread content that is discarded to keep a connection; beyond it: close'),
  limit('readBuffer', 'size', 'content held unread for one request; beyond it reading stops'),
  limit('writeHighWater', 'size', 'answer that the kernel has not taken; beyond it the application waits'),
  limit('maxParked', 'count', 'connections held unread when max-size are served; beyond it: close'),
  timeout('firstByte', 'accept to the first byte; then: close'),
  timeout('handshake', 'the TLS handshake; then: close'),
  timeout('head', 'first byte of a head to its last; then 408'),
  timeout('body', 'content makes no progress; then 408 or cut'),
  rate('minBodyRate', 'average rate of content after rate-grace, bytes per second; below it 408 or cut'),
  timeout('send', 'the peer takes nothing of the answer; then: cut'),
  rate('minSendRate', 'average rate at which the peer takes the answer after rate-grace, bytes per second; below it: cut'),
  timeout('rateGrace', 'how long a transfer runs before its rate is judged', 'rate-grace'),
  timeout('request', 'a whole request; then 408 or cut'),
  timeout('handler', 'application called to head of the answer; then 503'),
  timeout('linger', 'half-closed, waiting for the peer to read the answer and close; then: close'),
  timeout('hook', 'one post hook; then: logged, no longer waited for'),
  timeout('idleGrace', 'used idle connections stay open this long when a drain begins', 'idle-grace'),
  timeout('shutdown', 'the whole drain; then: what is left is destroyed'),
  api('log', 'log', 'stderr', 'a logger (`info`, `debug`, `error`; access lines go to `access` if it has one) or anything with `write`'),
  api('customPool', 'custom_pool', '', 'runs connections: `spawn(task)` and `waitall()`'),
  api('closeListener', '', 'on', '`close()` closes the listener; off leaves it to its owner, as a `dup()` does in the original'),
  api('onPeerError', '', '', 'told of every request refused, before the application or in the midst of it')
]
