// A pool of connections (eventlet `GreenPool` as `custom_pool`): so many run at once, the others wait unread. Several servers may share one.
import { UsageError } from '../io/errors.ts'
import type { ConnectionPool } from './options.ts'

/** A pool for `customPool`: at most `size` connections run at once, the others wait unread. Several servers may share one;
 *  `waitall`, and with it `close()` of each, then waits for the connections of all. */
export class Pool implements ConnectionPool {
  /** How many tasks run at once. */
  readonly size: number
  private active = 0
  private readonly waiting: (() => Promise<void>)[] = []
  private idle: (() => void)[] = []

  constructor(size: number) {
    if (!Number.isInteger(size) || size < 1) throw new UsageError('the size of a Pool must be an integer of at least 1')
    this.size = size
  }

  /** Tasks running. */
  get running(): number {
    return this.active
  }

  /** Tasks that wait for one to end. */
  get queued(): number {
    return this.waiting.length
  }

  /** Places free. */
  free(): number {
    return this.size - this.active
  }

  /** Runs the task when there is room for it. */
  spawn(task: () => Promise<void>): void {
    if (this.active < this.size) void this.run(task)
    else this.waiting.push(task)
  }

  /** Resolves when nothing runs and nothing waits. */
  waitall(): Promise<void> {
    return this.active === 0 ? Promise.resolve() : new Promise((resolve) => this.idle.push(resolve))
  }

  private async run(task: () => Promise<void>): Promise<void> {
    this.active++
    let next: (() => Promise<void>) | undefined = task
    while (next !== undefined) {
      try {
        await next()
      } catch {
        // A task answers for its own failures; the pool only counts.
      }
      next = this.waiting.shift()
    }
    if (--this.active > 0) return
    const idle = this.idle
    this.idle = []
    for (const resolve of idle) resolve()
  }
}
