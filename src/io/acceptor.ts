// Makes transports of what a listener accepts: plain sockets, or sockets that have made their TLS handshake. Knows no HTTP and keeps no connection.
import type { Socket } from 'node:net'
import type { TLSSocket, Server as TlsServer } from 'node:tls'
import { WireletError } from './errors.ts'
import {
  type ListeningHandle,
  type StreamHandle,
  isListedRuntime,
  isStreamHandle,
  listenWithoutDelay,
  listeningHandle,
  offHandleFault,
  onHandleFault,
  prepareHandles
} from './handle-binding.ts'
import { HandleTransport } from './handle-transport.ts'
import type { Listener } from './listener.ts'
import { StreamTransport, rawSocket } from './stream-transport.ts'
import { TlsHandleTransport } from './tls-handle-transport.ts'
import { type Transport, reportInternalError } from './transport.ts'

/** What connections stand on: `stream` is Node's public API, `handle` libuv's handle (faster, on tested platforms), `auto` the best available. */
export type TransportChoice = 'auto' | 'stream' | 'handle'

export interface AcceptorOwner {
  onTransport(transport: Transport): void
  /** Whether another TLS handshake may begin beside so many; if not, its connection is closed. */
  admitsHandshake(handshakes: number): boolean
  onListenerError(error: Error): void
  /** The listener's owner closed it. */
  onListenerClosed(): void
  /** A TLS handshake that came to nothing, for whatever reason but `destroyHandshakes`. */
  onHandshakeFailed(code: string): void
}

/** Also the listener's Taker; not declared, because that is no part of the public types. */
export class Acceptor {
  private readonly listener: Listener
  private readonly owner: AcceptorOwner
  private readonly tlsServer: TlsServer | null
  private readonly shaking: Set<Socket> = new Set()
  private readonly givenUp: WeakSet<Socket> = new WeakSet()
  /** Node no longer says which socket a TLSSocket stands on: then handshakes cannot be told from connections, and only their timeout ends them. */
  private blind: boolean = false
  private current: 'stream' | 'handle' = 'stream'
  /** The listening handle while its connections come to us, and what it called before. */
  private hooked: ListeningHandle | null = null
  private stock: ListeningHandle['onconnection'] = ignore
  private shapeSeen: boolean = false
  /** Connections come with TCP_NODELAY set: a system call less for each. */
  private noDelayInherited: boolean = false

  /** Throws (`code` 'ERR_WIRELET_TRANSPORT') if 'handle' is asked for and cannot be had; 'auto' then takes 'stream' without a word. */
  constructor(listener: Listener, choice: TransportChoice, handshakeTimeout: number, owner: AcceptorOwner) {
    this.listener = listener
    this.owner = owner
    if (choice === 'handle' || (choice === 'auto' && isListedRuntime())) {
      const obstacle = whyNoHandles(listener)
      if (obstacle === '') this.current = 'handle'
      else if (choice === 'handle') throw new WireletError('ERR_WIRELET_TRANSPORT', `the handle transport is not available ${obstacle}`)
    }
    this.tlsServer = listener.tls === null ? null : this.makeHandshaker(handshakeTimeout)
  }

  /** In use now. */
  get kind(): 'stream' | 'handle' {
    return this.current
  }

  /** TLS handshakes under way. */
  get handshakes(): number {
    return this.shaking.size
  }

  start(): void {
    const { listener } = this
    // What net.Server had accepted before, and whatever it accepts again after a fault, comes this way.
    listener.attach(this, this.tlsServer)
    // A tls.Server of the caller's own makes its handshakes itself.
    if (listener.secure && this.tlsServer === null) listener.server.on('tlsClientError', this.handshakeFailed)
    if (this.current === 'handle') this.hook()
  }

  /** Leave the listener without closing it: later connections are closed at accept. */
  stop(): void {
    this.listener.server.removeListener('tlsClientError', this.handshakeFailed)
    this.unhook()
    this.listener.release()
  }

  destroyHandshakes(): void {
    if (this.blind) return
    for (const socket of this.shaking) {
      this.shaking.delete(socket)
      this.givenUp.add(socket)
      socket.destroy()
    }
  }

  /** @internal From the listener. */
  take(socket: Socket): void {
    const { tlsServer } = this
    if (tlsServer === null) {
      if (!this.listener.own) socket.setNoDelay(true)
      this.owner.onTransport(new StreamTransport(socket, rawSocket(socket), this.listener.unix))
      return
    }
    if (!this.owner.admitsHandshake(this.blind ? 0 : this.shaking.size)) {
      socket.destroy()
      return
    }
    this.shaking.add(socket)
    socket.on('error', ignore)
    socket.once('close', () => this.shaking.delete(socket))
    // A peer that half-closes in its handshake is gone: the TLS stream inherits this, and a StreamTransport allows it again.
    socket.allowHalfOpen = false
    // Documented: a connection given to a tls.Server by its event, whoever accepted it.
    tlsServer.emit('connection', socket)
  }

  /** @internal From the listener. */
  listenerFailed(error: Error): void {
    this.owner.onListenerError(error)
  }

  private hook(): void {
    onHandleFault(this.fallBack)
    // A handshake begins with a net.Socket; the handle is driven after it.
    if (this.tlsServer !== null) return
    const handle = listeningHandle(this.listener.server)
    if (handle === null) return
    this.hooked = handle
    this.stock = handle.onconnection
    this.noDelayInherited = listenWithoutDelay(handle)
    const acceptor = this
    handle.onconnection = function (status, connection) {
      acceptor.accepted(this, status, connection)
    }
  }

  private unhook(): void {
    offHandleFault(this.fallBack)
    if (this.hooked !== null) this.hooked.onconnection = this.stock
    this.hooked = null
  }

  private readonly fallBack = (): void => {
    this.unhook()
    this.current = 'stream'
  }

  /** An exception here would leave a handle that nothing ever closes. */
  private accepted(listening: unknown, status: number, handle: unknown): void {
    if (status !== 0) return
    if (!this.shapeSeen && !isStreamHandle(handle)) {
      const { stock } = this
      this.fallBack()
      stock.call(listening, status, handle)
      return
    }
    this.shapeSeen = true
    const transport = new HandleTransport(handle as StreamHandle, this.listener.unix)
    try {
      if (!this.noDelayInherited) (handle as StreamHandle).setNoDelay?.(true)
      this.owner.onTransport(transport)
    } catch (error) {
      transport.destroy()
      reportInternalError(error)
    }
  }

  /** @internal From the listener. */
  listenerClosed(): void {
    this.owner.onListenerClosed()
  }

  private readonly handshakeFailed = (error: NodeJS.ErrnoException): void => {
    this.owner.onHandshakeFailed(error.code ?? 'ERR_TLS_HANDSHAKE')
  }

  private makeHandshaker(handshakeTimeout: number): TlsServer {
    const server = this.listener.handshaker(handshakeTimeout)
    server.on('secureConnection', socket => {
      const raw = rawSocket(socket)
      if (raw === null) this.blind = true
      else this.shaking.delete(raw)
      this.owner.onTransport(this.secured(socket, raw))
    })
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const raw = rawSocket(socket)
      socket.destroy()
      if (raw !== null) {
        if (this.givenUp.has(raw)) return
        this.shaking.delete(raw)
      }
      this.handshakeFailed(error)
    })
    return server
  }

  /** Inside 'secureConnection': later some bytes would be with the stream already. */
  private secured(socket: TLSSocket, raw: Socket | null): Transport {
    const unix = this.listener.unix
    const transport = this.current === 'handle' && raw !== null ? TlsHandleTransport.over(socket, raw, unix) : null
    return transport ?? new StreamTransport(socket, raw, unix)
  }
}

function whyNoHandles(listener: Listener): string {
  if (!listener.own) return "for a server of the caller's own"
  if (!prepareHandles()) return 'in this runtime'
  return listener.secure || listeningHandle(listener.server) !== null ? '' : 'for this listener'
}

function ignore(): void {}
