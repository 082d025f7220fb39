// What a server has seen since its start, as plain numbers: counted where it happens, read by `server.stats()`.

/** Deadlines that can end something: by the names of `Timeouts`, rates as what they are the rate of, `idleGrace` as `keepalive`; and `parked`, which is
 *  `firstByte` for one that waits for a place. */
export type DeadlineName = 'firstByte' | 'handshake' | 'head' | 'body' | 'send' | 'keepalive' | 'request' | 'handler' | 'linger' | 'shutdown' | 'parked'

export class Counters {
  /** Connections accepted, parked and refused ones included. */
  accepted = 0
  /** Idle connections closed for newcomers. */
  evicted = 0
  /** Connections that waited for a place. */
  parked = 0
  /** Connections closed at accept, or after waiting in vain. */
  refused = 0
  /** Heads that were complete and valid. */
  requests = 0
  bytesRead = 0
  bytesWritten = 0
  /** Peer errors by name. */
  readonly errors: Map<string, number> = new Map()
  /** Connections and requests ended by each deadline. */
  readonly deadlines: Map<DeadlineName, number> = new Map()

  error(name: string): void {
    this.errors.set(name, (this.errors.get(name) ?? 0) + 1)
  }

  deadline(name: DeadlineName): void {
    this.deadlines.set(name, (this.deadlines.get(name) ?? 0) + 1)
  }
}
