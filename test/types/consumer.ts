// A user's program under the strictest settings. test/package.test.ts compiles it against the installed package; it is never run.
import {
  ALREADY_HANDLED, BodyTooLarge, ChunkReadError, HeadersSent, InvalidHeader, RequestAborted, UsageError, WireletError,
  formatDateTime, listen, serve, wrapTls, type Input, type Listener, type Server,
  type Address, type Application, type Body, type CloseOptions, type ConnectionPool, type Environ, type Headers, type HeaderValue, type Limits,
  type ListenOptions, type Log, type Outcome, type PeerErrorEvent, type Piece, type PostHook, type ServeOptions, type ServerState, type StartResponse,
  type Status, type Timeouts, type TlsInfo, type TlsListenOptions, type TransportChoice, type Write
} from 'wirelet'
import { createServer } from 'node:net'
import { Readable, type Duplex } from 'node:stream'

// ── No `any` reaches the user ──────────────────────────────────────────────────────────────────────────────────────────────────────

type IsAny<T> = 0 extends 1 & T ? true : false
/** Of a type, of its members, and of what its members take and give. */
type AnyIn<T> = IsAny<T> extends true ? true : T extends (...args: infer A) => infer R ? IsAny<A[number]> | IsAny<R> : false
type Members<T> = { [K in keyof T]-?: AnyIn<T[K]> }[keyof T]
const no = <T extends false>(..._proof: T[]): void => {}

no<AnyIn<typeof listen>>()
no<AnyIn<typeof serve>>()
no<AnyIn<typeof wrapTls>>()
no<AnyIn<typeof formatDateTime>>()
no<AnyIn<Application> | AnyIn<StartResponse> | AnyIn<Write> | AnyIn<Body> | AnyIn<Headers> | AnyIn<Piece> | AnyIn<Status> | AnyIn<HeaderValue>>()
no<Members<Environ>>()
no<Members<Input>>()
no<Members<Server>>()
no<Members<Listener>>()
no<Members<ServeOptions>>()
no<Members<Limits> | Members<Timeouts> | Members<Outcome> | Members<Address> | Members<CloseOptions> | Members<ConnectionPool>>()
no<Members<ListenOptions> | Members<TlsListenOptions> | Members<TlsInfo> | Members<PeerErrorEvent> | Members<WireletError>>()
no<IsAny<Parameters<PostHook[0]>[1]>>()
no<AnyIn<ServerState> | AnyIn<TransportChoice> | AnyIn<Log> | IsAny<Awaited<ReturnType<Application>>>>()

// A misspelled key of an environ is `unknown`, a header `string | undefined`, a key that may be missing says so.
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const yes = <T extends true>(..._proof: T[]): void => {}
yes<Equal<Environ['PATH_INFO'], string>>()
yes<Equal<Environ['HTTP_X_ANYTHING'], string | undefined>>()
yes<Equal<Environ['my.middleware'], unknown>>()
yes<Equal<Environ['wsgi.input'], Input>>()
yes<Equal<Environ['wirelet.signal'], AbortSignal>>()
yes<Equal<ReturnType<Environ['wirelet.upgrade']>, Duplex>>()
yes<Equal<Awaited<ReturnType<Write>>, boolean>>()

// ── Every kind of application ──────────────────────────────────────────────────────────────────────────────────────────────────────

const pieces: Application = (environ, startResponse) => {
  startResponse('200 OK', [['Content-Type', 'text/plain'], ['X-Number', 1]])
  return [environ.PATH_INFO, new Uint8Array(1), Buffer.from('x')]
}
const bare: Application = (_environ, startResponse) => {
  startResponse(200, { 'Content-Type': 'text/plain', 'Set-Cookie': ['a=1', 'b=2'] })
  return 'one piece'
}
const later: Application = async (environ, startResponse) => {
  const body = await environ['wsgi.input'].read()
  const write = startResponse(200)
  const more: boolean = await write(body)
  return more ? [] : ['']
}
const generated: Application = function* (_environ: Environ, startResponse: StartResponse) {
  startResponse(200)
  yield 'a'
  yield Buffer.from('b')
}
const generatedLater: Application = async function* (environ: Environ, startResponse: StartResponse) {
  startResponse(200)
  for await (const piece of environ['wsgi.input']) yield piece
}
const readable: Application = (_environ, startResponse) => {
  startResponse(200)
  return Readable.from(['a'])
}
const web: Application = (_environ, startResponse) => {
  startResponse(200)
  return new ReadableStream<Uint8Array>()
}
// As the DOM library has it, which does not say everywhere that it is iterable.
interface DomStream<R> {
  cancel(reason?: unknown): Promise<void>
  getReader(options: { mode: 'byob' }): { read<V extends ArrayBufferView>(view: V): Promise<{ done: boolean; value: V | undefined }> }
  getReader(): {
    read(): Promise<{ done: false; value: R } | { done: true; value: R | undefined }>
    cancel(reason?: unknown): Promise<void>
    releaseLock(): void
  }
}
declare const bytes: DomStream<Uint8Array>, numbers: DomStream<number>
const dom: Application = (_environ, startResponse) => {
  startResponse(200)
  return bytes
}
// @ts-expect-error numbers are no pieces
const noBody: Body = numbers
const taken: Application = (environ) => {
  environ['wirelet.upgrade']().end('HTTP/1.1 101 Switching Protocols\r\n\r\n')
  return ALREADY_HANDLED
}
const full: Application = (environ, startResponse) => {
  const { signal, method } = { signal: environ['wirelet.signal'], method: environ.REQUEST_METHOD }
  const hook: PostHook = [(ended: Environ, tag: string) => void [ended['wirelet.outcome']?.bytes, tag], ['a']]
  environ['eventlet.posthooks'].push(hook)
  environ['wirelet.inform'](103, [['Link', '</a.css>; rel=preload']])
  environ['wirelet.sendTrailers'] = () => [['X-Sum', '1']]
  environ['my.key'] = 1
  delete environ['my.key']
  const protocol: string | null | undefined = environ['wirelet.tls']?.protocol
  const trailers: ReadonlyArray<readonly [string, string]> | null = environ['wirelet.trailers']
  startResponse(500, [], new Error('replaced'))
  return [method, String(signal.aborted), String(protocol), String(trailers?.length), environ.CONTENT_TYPE ?? '', environ['HTTP_COOKIE'] ?? '']
}

// @ts-expect-error a number is no body
const wrong: Application = (_environ, startResponse) => (startResponse(200), 7)
// @ts-expect-error an option that does not exist
const misspelled: ServeOptions = { maxsize: 1 }
// @ts-expect-error exactOptionalPropertyTypes: left out is not undefined
const undefinedOption: ServeOptions = { maxSize: undefined }

// ── Serving ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

class OwnPool implements ConnectionPool {
  spawn(task: () => Promise<void>): void {
    void task()
  }

  async waitall(): Promise<void> {}
}

const options: ServeOptions = {
  log: console, environ: { 'my.key': 1 }, maxSize: 10, minimumChunkSize: 0, keepalive: 5000, logFormat: 'json', limits: { maxBodySize: 1000 },
  timeouts: { head: 1000 }, transport: 'auto', customPool: new OwnPool(), onPeerError: ({ name, status }) => console.error(name, status)
}

export async function main(): Promise<void> {
  for (const app of [pieces, bare, later, generated, generatedLater, readable, web, dom, taken, full, wrong]) {
    await using server: Server = serve(await listen({ port: 0, host: '::1' }), app, options)
    const { port, family }: Address = server.address
    const state: 'listening' | 'draining' | 'closed' = server.state
    console.log(noBody, port, family, state, server.connections, server.outstandingRequests, server.transport, server.ref().unref().url)
    await server.close({ timeout: 100, signal: AbortSignal.timeout(1000) })
    await server.finished
  }
  serve(createServer().listen(0), pieces, { ...misspelled, ...undefinedOption })
  const secure: Listener = wrapTls(await listen('/tmp/a.sock'), { certfile: 'a', keyfile: 'b', minVersion: 'TLSv1.3' })
  secure.setSecureContext()
  try {
    await secure.close()
  } catch (error) {
    if (error instanceof WireletError) console.error(error.code satisfies `ERR_WIRELET_${string}`)
    const kinds = [RequestAborted, ChunkReadError, BodyTooLarge, HeadersSent, InvalidHeader, UsageError]
    console.error(kinds.some(kind => error instanceof kind), formatDateTime(new Date()), formatDateTime(0))
  }
}
