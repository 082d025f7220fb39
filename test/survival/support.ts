// Servers in processes of their own, seen from their tests; and many clients at once.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { RawClient } from '../support/raw-client.ts'
import { connectTo } from '../support/sockets.ts'
import { within } from '../support/within.ts'
import type { ChildMessage, ChildOptions, Order, Report } from './child.ts'

const PATIENCE = 8_000

export interface Where extends ChildOptions {
  /** Descriptors that the process may have (`ulimit -n`). */
  descriptors?: number
  /** Its reports tell the memory that is left after a collection. */
  collecting?: boolean
}

export class Child {
  readonly process: ChildProcess
  port = 0
  tlsPort = 0
  private readonly clients: RawClient[] = []
  private readonly exited: Promise<number | null>

  private constructor({ descriptors, collecting = false, ...options }: Where) {
    const file = join(import.meta.dirname, 'child.js')
    const command = [process.execPath, '--enable-source-maps', ...(collecting ? ['--expose-gc'] : []), file, JSON.stringify(options)]
    const shell = descriptors === undefined ? [] : ['sh', '-c', `ulimit -n ${descriptors} && exec "$0" "$@"`]
    const [program, ...words] = [...shell, ...command]
    this.process = spawn(program!, words, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.exited = once(this.process, 'exit').then(([code]) => code as number | null)
  }

  static async start(where: Where = {}): Promise<Child> {
    const child = new Child(where)
    const { port, tlsPort } = await child.hear('ready')
    child.port = port
    child.tlsPort = tlsPort
    return child
  }

  /** How it is now. */
  async report(): Promise<Report> {
    const heard = this.hear('report')
    this.order({ kind: 'report' })
    return await heard
  }

  /** Reports until the condition holds. */
  async until(condition: (report: Report) => boolean, what: string): Promise<Report> {
    const start = performance.now()
    for (;;) {
      const report = await this.report()
      if (condition(report)) return report
      if (performance.now() - start > PATIENCE) throw new Error(`not within ${PATIENCE} ms: ${what}; the last report was ${JSON.stringify(report)}`)
      await delay(20)
    }
  }

  /** Drains and ends it: its last report and exit code. */
  async close(timeout?: number): Promise<{ report: Report; code: number | null }> {
    const heard = this.hear('closed')
    this.order(timeout === undefined ? { kind: 'close' } : { kind: 'close', timeout })
    const { report } = await heard
    return { report, code: await within(PATIENCE, this.exited, 'the process to end') }
  }

  async connect(): Promise<RawClient> {
    const client = new RawClient(await connectTo(this.port))
    this.clients.push(client)
    return client
  }

  /** After a test, however it ended. */
  kill(): void {
    for (const client of this.clients) client.destroy()
    this.process.kill('SIGKILL')
  }

  private order(order: Order): void {
    this.process.send(order)
  }

  private hear<K extends ChildMessage['kind']>(kind: K): Promise<Extract<ChildMessage, { kind: K }>> {
    return within(PATIENCE, new Promise((resolve, reject) => {
      const onExit = (code: number | null): void => reject(new Error(`the child ended with ${code}`))
      const onMessage = (message: ChildMessage): void => {
        if (message.kind !== kind) return
        this.process.off('exit', onExit)
        this.process.off('message', onMessage)
        resolve(message as Extract<ChildMessage, { kind: K }>)
      }
      this.process.on('exit', onExit)
      this.process.on('message', onMessage)
    }), `"${kind}" from the child`)
  }
}

/** Runs one test against a child of its own. */
export async function withChild(where: Where, test: (child: Child) => Promise<void>): Promise<void> {
  const child = await Child.start(where)
  try {
    await test(child)
  } finally {
    child.kill()
  }
}
