// For tests of deadlines: a server on a clock of the test's own, and what "within a second of its time" means.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { FakeClock } from './fake-clock.ts'
import { type Harness, type Running, pass, turns } from './harness.ts'
import type { RawClient } from './raw-client.ts'

export interface Timed extends Running {
  clock: FakeClock
  client: RawClient
}

export async function timed(h: Harness, application: Application, options: ServeOptions = {}): Promise<Timed> {
  const clock = new FakeClock()
  const running = await h.serve(application, { clock, ...options })
  return { ...running, clock, client: await h.connect(running) }
}

/** `happened` becomes true after `ms`: not before, and within one second. */
export async function expires(clock: FakeClock, ms: number, happened: () => boolean): Promise<void> {
  await pass(clock, ms - 1)
  assert.is(happened(), false, `before ${ms} ms`)
  await pass(clock, 1001)
  await turns()
  assert.is(happened(), true, `within a second of ${ms} ms`)
}

/** An application that never answers; what befell its signal and its input. */
export function stuck(seen: string[], read = false): Application {
  return (environ) => {
    environ['wirelet.signal'].addEventListener('abort', () => seen.push('signal'))
    if (read) environ['wsgi.input'].read().catch(error => seen.push(error.code))
    return new Promise(() => {})
  }
}

/** 64 MiB in pieces of 64 KiB: more than any kernel buffers. */
export function* endless(): Generator<Buffer> {
  const piece = Buffer.alloc(65536, 'x')
  for (let i = 0; i < 1024; i++) yield piece
}
