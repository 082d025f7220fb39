// Where connections come from: a listening socket of our own or of the caller, and the TLS settings that belong to it. Who serves them is not known here.
import { Buffer } from 'node:buffer'
import { type BigIntStats, lstatSync, readFileSync, unlinkSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { type AddressInfo, type ListenOptions as NodeListenOptions, type Server, type Socket, connect, createServer } from 'node:net'
import * as tls from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { MAX_TIMER, nextTurn } from './clock.ts'
import { UsageError, checkNames, checkSignal } from './errors.ts'
import { type Address, UNIX } from './transport.ts'

/** Where to listen: a port, a unix socket path or an inherited descriptor. */
export interface ListenOptions {
  /** 0: any free port. */
  port?: number
  /** Default '127.0.0.1', which '' is too: being reachable from outside is asked for by name ('0.0.0.0', '::'). */
  host?: string
  /** Of a unix socket. */
  path?: string
  /** Of the unix socket's file. Default 0o660. */
  mode?: number
  /** Connections that the kernel holds until they are accepted. Default 511. */
  backlog?: number
  /** An inherited listening socket. */
  fd?: number
  /** Closes the listener; a server on it drains. */
  signal?: AbortSignal
}

/** Everything that node:tls's server takes, and the two files by path. ALPN is ours: HTTP/1.1, and 1.0 for clients that offer nothing else (curl --http1.0).
 *  Of `handshakeTimeout` and `serve`'s `timeouts.handshake` the shorter one counts. */
export interface TlsListenOptions extends tls.TlsOptions {
  certfile?: string
  keyfile?: string
}

/** Connections held between `listen()` and `serve()`; beyond it they are closed at accept. */
const MAX_EARLY = 1024
/** What a value may be; whether the system can use it is the system's to say. */
const TYPES: Readonly<Record<string, readonly string[]>> = { port: ['number', 'string'], host: ['string'], mode: ['number'], backlog: ['number'], fd: ['number'] }
const KNOWN = new Set([...Object.keys(TYPES), 'path', 'signal'])
const DEFAULT_MODE = 0o660
const DEFAULT_BACKLOG = 511
/** sockaddr_un's sun_path without its NUL. Node 20 and 22 cut a longer path off silently and bind another file. */
const MAX_PATH = process.platform === 'linux' ? 107 : 103

/** What `setSecureContext` of a tls.Server looks at; it ignores all else without a word. */
const RENEWABLE = new Set([
  'cert', 'key', 'certfile', 'keyfile', 'pfx', 'passphrase', 'ca', 'crl', 'ciphers', 'sigalgs', 'ecdhCurve', 'dhparam', 'honorCipherOrder', 'minVersion', 'maxVersion',
  'secureProtocol', 'secureOptions', 'sessionIdContext', 'sessionTimeout', 'ticketKeys', 'clientCertEngine', 'privateKeyEngine', 'privateKeyIdentifier', 'certificateCompression'
])
const PAIR = ['cert', 'key', 'certfile', 'keyfile'] as const
const ARCHIVE = ['pfx'] as const

/** What a listener's connections and errors go to while it is served. */
export interface Taker {
  take(socket: Socket): void
  listenerFailed(error: Error): void
  /** Its owner closed it: whoever serves it comes to an end. */
  listenerClosed(): void
}

/** accept(2) failures that pass: libuv tries again by itself, and a server must outlive them. */
const PASSING = new Set(['ECONNABORTED', 'ECONNRESET', 'EPROTO', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EPERM', 'EAGAIN', 'EINTR', 'ENETDOWN', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOPROTOOPT', 'EOPNOTSUPP'])

/** A connection could not be accepted, but the listener is sound. */
export function isPassing(error: NodeJS.ErrnoException): boolean {
  return error.syscall === 'accept' && error.code !== undefined && PASSING.has(error.code)
}

/** Between the net.Server and whoever serves it; shared by a listener and the one that `wrapTls` made of it. */
class Intake {
  readonly server: Server
  private taker: Taker | null = null
  private refusing: boolean = false
  private early: Socket[] = []
  private failure: Error | null = null

  constructor(server: Server) {
    this.server = server
    server.on(server instanceof tls.Server ? 'secureConnection' : 'connection', (socket: Socket) => this.arrived(socket))
    server.on('error', (error: Error) => this.failed(error))
    server.on('close', () => this.closed())
  }

  attach(taker: Taker): void {
    if (this.taker !== null) throw new UsageError('this listener is being served already')
    if (!this.server.listening) throw new UsageError('this listener is closed')
    this.taker = taker
    this.refusing = false
    const { early, failure } = this
    this.early = []
    this.failure = null
    if (failure !== null) taker.listenerFailed(failure)
    for (const socket of early) if (!socket.destroyed) taker.take(socket)
  }

  /** From here on connections are closed at accept, until somebody attaches again. */
  release(): void {
    this.taker = null
    this.refusing = true
  }

  /** The listener's owner closed it. */
  closed(): void {
    const { taker } = this
    this.release()
    taker?.listenerClosed()
  }

  dropEarly(): void {
    for (const socket of this.early) socket.destroy()
    this.early = []
  }

  private arrived(socket: Socket): void {
    if (this.taker !== null) this.taker.take(socket)
    else if (this.refusing || this.early.length >= MAX_EARLY) socket.destroy()
    else {
      socket.on('error', ignore)
      this.early.push(socket)
    }
  }

  private failed(error: Error): void {
    if (this.taker !== null) this.taker.listenerFailed(error)
    else this.failure = error
  }
}

/** A bound, listening socket: made by `listen`, given to `serve`. */
export class Listener {
  /** TLS settings, files read; null for plain connections and for a tls.Server of the caller's own. */
  readonly tls: TlsListenOptions | null
  /** Made by `listen()`: not a net.Server of the caller's own. */
  readonly own: boolean
  /** Connections are encrypted, by us or by the caller's own tls.Server. */
  readonly secure: boolean
  /** Of a unix socket, else null; null too for an inherited one, whose path Node does not tell. */
  readonly path: string | null
  /** @internal Its connections have no addresses. */
  readonly unix: boolean
  /** `http://127.0.0.1:8090`, `https://[::1]:8443`. Of a unix socket `http:/run/app.sock`, as the original shows it (`http:unix` where the path is not
   *  known): for people. `new URL` would take `run` for a host; clients want `path`. */
  readonly url: string
  private readonly where: Address
  private readonly intake: Intake
  private tlsServer: tls.Server | null = null
  /** As the caller gave it. */
  private given: TlsListenOptions | null
  private settings: TlsListenOptions | null

  /** @internal Use `listen`, `wrapTls` or `fromServer`. */
  constructor(intake: Intake, options: TlsListenOptions | null, own: boolean) {
    const { server } = intake
    if (!server.listening) throw new UsageError('this server is not listening')
    const bound = server.address()
    this.intake = intake
    this.given = options
    this.tls = this.settings = options === null ? null : usable(options)
    this.own = own
    this.secure = options !== null || server instanceof tls.Server
    this.path = typeof bound === 'string' ? bound : null
    // Null although it listens: a unix socket that Node has not bound itself.
    this.where = bound === null || typeof bound === 'string' ? UNIX : toAddress(bound)
    this.unix = this.where === UNIX
    this.url = (this.secure ? 'https:' : 'http:') + (this.path ?? (this.unix ? 'unix' : '//' + hostAndPort(this.where)))
  }

  get server(): Server {
    return this.intake.server
  }

  /** Where it listens, or listened. */
  address(): Address {
    return this.where
  }

  /** Stop listening. Connections already accepted are whoever serves them's; those that nobody had taken yet are closed. */
  close(): Promise<void> {
    this.intake.dropEarly()
    this.intake.closed()
    return new Promise(resolve => {
      // Its callback would wait for the last connection. The socket is closed, and a unix path unlinked, when close() returns.
      if (this.server.listening) this.server.close()
      nextTurn(resolve)
    })
  }

  ref(): this {
    this.server.ref()
    return this
  }

  unref(): this {
    this.server.unref()
    return this
  }

  /** New certificates for the handshakes to come. Without options the files of `certfile` and `keyfile` are read again. A pair replaces a `pfx`, a `pfx`
   *  a pair, and the passphrase goes with what it opened. Authorities, ciphers and protocol versions may change as well; what a tls.Server keeps for life
   *  may not: `requestCert`, `rejectUnauthorized`, callbacks, `handshakeTimeout` and so on. Throws, changing nothing, if something is unusable or fixed. */
  setSecureContext(options: TlsListenOptions = {}): void {
    const { given } = this
    if (given === null) throw new UsageError('setSecureContext is for a listener made by wrapTls')
    for (const [name, value] of Object.entries(options)) {
      // The same again is no change: many pass what they gave to wrapTls.
      const fixed = !RENEWABLE.has(name) && !isDeepStrictEqual(value, given[name as keyof TlsListenOptions])
      if (fixed) throw new UsageError(`setSecureContext cannot change ${name}`)
    }
    const changed = renewed(given, options)
    const settings = usable(changed)
    this.given = changed
    this.settings = settings
    this.tlsServer?.setSecureContext(settings)
  }

  /** @internal Everything accepted goes to `taker`, what came before it included. New certificates go to `handshaker` from here on: whoever is refused
   *  must not take them away from the one that serves. */
  attach(taker: Taker, handshaker: tls.Server | null = null): void {
    this.intake.attach(taker)
    this.tlsServer = handshaker
  }

  /** @internal */
  release(): void {
    this.intake.release()
  }

  /** @internal A server that makes the handshakes; it does not listen itself, sockets are given to it. */
  handshaker(handshakeTimeout: number): tls.Server {
    return tls.createServer({
      ...this.settings,
      handshakeTimeout: Math.min(handshakeTimeout, this.settings?.handshakeTimeout ?? MAX_TIMER, MAX_TIMER)
    } as tls.TlsOptions)
  }
}

/** Listen at a port of this host, at a unix socket's path, or as the options say. A string of digits is a port, as an environment variable has it.
 *  Rejects with the system's error. */
export async function listen(where: number | string | ListenOptions): Promise<Listener> {
  const options = typeof where === 'number' ? { port: where } : typeof where === 'string' ? fromText(where) : where
  if (typeof options !== 'object' || options === null) throw new UsageError('listen takes a port, a path or options')
  checkNames('', options, KNOWN)
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && TYPES[name]?.includes(typeof value) === false) throw new UsageError(`${name} must be a ${TYPES[name][0]}`)
  }
  checkSignal(options.signal)
  const { port, host, fd, backlog = DEFAULT_BACKLOG, mode = DEFAULT_MODE, signal } = options
  const path = options.path === undefined ? undefined : asPath(options.path)
  if ([port, path, fd].filter(value => value !== undefined).length !== 1) throw new UsageError('listen takes one of port, path and fd')
  signal?.throwIfAborted()
  const abort: NodeListenOptions = signal === undefined ? { backlog } : { backlog, signal }
  if (path === undefined) {
    return made(await bind(fd !== undefined ? { ...abort, fd } : { ...abort, port: port!, host: host || '127.0.0.1' }), signal)
  }
  if (Buffer.byteLength(path) > MAX_PATH) {
    throw Object.assign(new Error(`listen ENAMETOOLONG: a unix socket's path has at most ${MAX_PATH} bytes: ${path}`), { code: 'ENAMETOOLONG', path })
  }
  const server = await bindPath({ ...abort, path })
  // A name that begins with NUL is Linux's abstract namespace: no file, no mode.
  if (!path.startsWith('\0')) {
    await chmod(path, mode).catch((error: unknown) => {
      server.close()
      throw error
    })
  }
  return made(server, signal)
}

/** Node takes a path that reads as a number for a port. */
function asPath(path: string): string {
  if (typeof path !== 'string' || path === '') throw new UsageError('the path of a unix socket must be a string, and not empty')
  return Number(path) >= 0 ? `./${path}` : path
}

function fromText(text: string): ListenOptions {
  return /^\d+$/.test(text) ? { port: Number(text) } : { path: text.replace(/^unix:/, '') }
}

function made(server: Server, signal: AbortSignal | undefined): Listener {
  signal?.throwIfAborted()
  const listener = new Listener(new Intake(server), null, true)
  // Node's own listener of the signal closes the socket, but 'close' waits for the last connection, and connections would not be told.
  const close = (): void => void listener.close()
  signal?.addEventListener('abort', close, { once: true })
  server.once('close', () => signal?.removeEventListener('abort', close))
  return listener
}

/** The same listener, its connections encrypted. Throws if the certificate or the key is missing or unusable. */
export function wrapTls(listener: Listener, options: TlsListenOptions): Listener {
  if (!(listener instanceof Listener)) throw new UsageError('the first argument must be a listener: wrapTls(await listen(…), …)')
  if (listener.secure) throw new UsageError('this listener is encrypted already')
  return new Listener(intakeOf(listener), { ...options }, listener.own)
}

/** A listening net.Server or tls.Server of the caller's own. Its own listeners for connections must leave the sockets alone. What its `close()` says is
 *  heard by its event 'close', which waits for the last connection. */
export function fromServer(server: Server | tls.Server): Listener {
  const intake = intakes.get(server) ?? new Intake(server)
  intakes.set(server, intake)
  return new Listener(intake, null, false)
}

/** Of servers that are not ours: one for each, however often it is served. */
const intakes = new WeakMap<Server, Intake>()

function intakeOf(listener: Listener): Intake {
  return (listener as unknown as { intake: Intake }).intake
}

function bind(options: NodeListenOptions & { fd?: number }): Promise<Server> {
  return new Promise((resolve, reject) => {
    // allowHalfOpen: a peer that has sent its request and FIN is answered. pauseOnConnect: nothing is read before somebody serves.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true })
    const onClose = (): void => reject(options.signal?.reason ?? new Error('closed'))
    server.once('error', reject)
    server.once('close', onClose)
    server.listen(options, () => {
      server.removeListener('error', reject)
      server.removeListener('close', onClose)
      resolve(server)
    })
  })
}

/** A socket file that nobody listens at any more is removed; one in use, and whatever is not a socket, stays. */
async function bindPath(options: NodeListenOptions & { path: string }): Promise<Server> {
  try {
    return await bind(options)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    const stale = await staleFile(options.path)
    if (stale === null) throw error
    // Looked at and removed in one turn: whoever else starts here may have put a socket of its own in its place, or be about to.
    if (isSameFile(stale, fileAt(options.path))) remove(options.path)
    return await bind(options)
  }
}

/** The socket file that a connection to `path` was refused at. */
async function staleFile(path: string): Promise<BigIntStats | null> {
  const file = path.startsWith('\0') ? null : fileAt(path)
  if (file === null || !file.isSocket()) return null
  return await new Promise(resolve => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(null)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED' ? file : null))
  })
}

function fileAt(path: string): BigIntStats | null {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false }) ?? null
}

/** The time too: some file systems give the number of a removed file to the next one. */
function isSameFile(one: BigIntStats, other: BigIntStats | null): boolean {
  return other !== null && one.dev === other.dev && one.ino === other.ino && one.ctimeNs === other.ctimeNs
}

function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    // Another process was quicker.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** Files read, and tried. Throws what is wrong with them. */
function usable(options: TlsListenOptions): TlsListenOptions {
  const settings: TlsListenOptions = { ...options, ALPNProtocols: ['http/1.1', 'http/1.0'] }
  if (options.certfile !== undefined) settings.cert = contentOf('certfile', options.certfile)
  if (options.keyfile !== undefined) settings.key = contentOf('keyfile', options.keyfile)
  // With it Node refuses ALPNProtocols.
  delete (settings as { ALPNCallback?: unknown }).ALPNCallback
  const { SNICallback, handshakeTimeout } = options
  // Node takes a negative one for none.
  if (handshakeTimeout !== undefined && !(handshakeTimeout > 0)) throw new UsageError('handshakeTimeout must be a number of milliseconds above 0')
  // Without one of these Node makes a server whose every handshake fails, and says nothing.
  if (!settings.pfx && !SNICallback && !settings.pskCallback && !settings.secureContext && (!settings.cert || !settings.key)) {
    throw new UsageError('TLS needs a certificate and its key: certfile and keyfile, cert and key, or pfx')
  }
  if (SNICallback !== undefined) settings.SNICallback = guardSni(SNICallback)
  tls.createSecureContext(settings)
  return settings
}

/** A key that is taken for the path of one would be shown by the system's error. */
function contentOf(name: string, path: string): Buffer {
  if (String(path).includes('-----BEGIN')) throw new UsageError(`${name} must be the path of a file; what is in one goes into ${name.replace('file', '')}`)
  return readFileSync(path)
}

/** Node would serve an archive that was there before rather than a certificate that is new, so whatever `options` replace has to go. */
function renewed(given: TlsListenOptions, options: TlsListenOptions): TlsListenOptions {
  const kept = { ...given }
  const replaced = options.pfx !== undefined ? PAIR : PAIR.some(name => options[name] !== undefined) ? ARCHIVE : []
  // A passphrase stays for a successor of the same kind.
  if (replaced.some(name => kept[name] !== undefined)) delete kept.passphrase
  for (const name of replaced) delete kept[name]
  if (options.cert !== undefined) delete kept.certfile
  if (options.key !== undefined) delete kept.keyfile
  return { ...kept, ...options }
}

type SniCallback = NonNullable<tls.TlsOptions['SNICallback']>

/** An exception or rejection of the caller's function fails its handshake and not the process. */
function guardSni(callback: SniCallback): SniCallback {
  return (servername, done) => {
    let answered = false
    const once: typeof done = (error, context) => {
      if (answered) return
      answered = true
      done(error, context)
    }
    try {
      const promise: unknown = callback(servername, once)
      if (promise instanceof Promise) promise.catch((error: unknown) => once(toError(error)))
    } catch (error) {
      once(toError(error))
    }
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error('SNICallback failed with what is no Error', { cause: error })
}

function toAddress(bound: AddressInfo): Address {
  return { address: bound.address, port: bound.port, family: bound.family === 'IPv6' ? 'IPv6' : 'IPv4' }
}

function hostAndPort({ address, port, family }: Address): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
}

function ignore(): void {}
