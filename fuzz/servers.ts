// One server on each transport, in this process, for the targets that fuzz over TCP; and whether anything is left behind in them.

import { lentBuffers } from '../src/io/buffer-pool.ts'
import { listen } from '../src/io/listener.ts'
import { setInternalErrorHook } from '../src/io/transport.ts'
import type { Application } from '../src/server/application.ts'
import { serve, type Server } from '../src/server/serve.ts'
import { until } from '../test/support/harness.ts'

/** Bounds a failure; generous, because the machine may be busy. */
export const PATIENCE = 15_000

export class Servers {
  private readonly application: Application
  private readonly servers = new Map<string, Server>()
  private readonly faults: unknown[] = []

  constructor(application: Application) {
    this.application = application
  }

  async of(transport: 'stream' | 'handle'): Promise<Server> {
    const known = this.servers.get(transport)
    if (known !== undefined) return known
    const ignore = (): void => {}
    const log = { info: ignore, debug: ignore, error: ignore }
    const server = serve(await listen({ port: 0 }), this.application, { transport, logOutput: false, log })
    this.servers.set(transport, server)
    return server
  }

  /** Before a case. */
  watch(): void {
    setInternalErrorHook(error => this.faults.push(error))
    this.faults.length = 0
  }

  /** After a case: every connection, request and buffer was given back, and nothing failed inside. */
  async settled(server: Server): Promise<string> {
    const left = (): string => `${server.connections} connections, ${server.outstandingRequests} requests, ${lentBuffers()} buffers`
    try {
      await until(() => server.connections === 0 && server.outstandingRequests === 0 && lentBuffers() === 0, 'nothing to be left')
    } catch {
      return `left behind: ${left()}`
    }
    const fault = this.faults[0]
    return fault === undefined ? '' : `inside: ${(fault as Error).stack ?? String(fault)}`
  }

  async close(): Promise<void> {
    const servers = [...this.servers.values()]
    this.servers.clear()
    await Promise.all(servers.map(server => server.close({ timeout: 0 })))
  }
}
