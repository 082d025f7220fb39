// node:diagnostics_channel for whoever watches: nothing is built or called while a channel has no subscribers.
import { channel, type Channel } from 'node:diagnostics_channel'
import type { Outcome } from '../io/cycle.ts'
import type { PeerErrorEvent } from '../io/engine.ts'
import type { Address } from '../io/transport.ts'
import type { Environ } from './application.ts'

/** `wirelet.connection.start` and `.end`. */
export interface ConnectionMessage {
  readonly server: object
  /** The same object at start and end. */
  readonly connection: object
  readonly peer: Address
}

/** `wirelet.request.start` and `.end`. */
export interface RequestMessage {
  readonly server: object
  readonly connection: object
  readonly environ: Environ
  /** null at the start. */
  readonly status: number | null
  /** null at the start. */
  readonly outcome: Outcome | null
}

/** `wirelet.peer.error`. */
export interface PeerErrorMessage extends PeerErrorEvent {
  readonly server: object
}

// Messages: ConnectionMessage, RequestMessage and PeerErrorMessage, as their names say.
export const connectionStart: Channel = channel('wirelet.connection.start')
export const connectionEnd: Channel = channel('wirelet.connection.end')
export const requestStart: Channel = channel('wirelet.request.start')
export const requestEnd: Channel = channel('wirelet.request.end')
export const peerError: Channel = channel('wirelet.peer.error')
