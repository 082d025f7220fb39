// Post hooks: what an application wants done after its answer left, or its peer did. In order, each guarded and bounded in time.
import type { Clock } from '../io/clock.ts'
import type { Environ, PostHook } from './application.ts'
import { describeError, promised } from './describe-error.ts'

/** Runs the hooks one after the other; resolves when the last has settled or timed out. Null when all of them were synchronous. Never rejects. */
export function runHooks(hooks: readonly PostHook[], environ: Environ, clock: Clock, timeout: number, logError: (message: string) => void): Promise<void> | null {
  for (let i = 0; i < hooks.length; i++) {
    const result = callHook(hooks[i]!, environ, logError)
    if (result !== null) return runLater(result, hooks, i + 1, environ, clock, timeout, logError)
  }
  return null
}

async function runLater(
  first: Promise<unknown>,
  hooks: readonly PostHook[],
  next: number,
  environ: Environ,
  clock: Clock,
  timeout: number,
  logError: (message: string) => void
): Promise<void> {
  await bounded(first, clock, timeout, logError)
  for (let i = next; i < hooks.length; i++) {
    const result = callHook(hooks[i]!, environ, logError)
    if (result !== null) await bounded(result, clock, timeout, logError)
  }
}

/** Null when the hook has done its work. */
function callHook(hook: PostHook, environ: Environ, logError: (message: string) => void): Promise<unknown> | null {
  try {
    const [func, args = [], kwargs] = hook
    // The list was the application's to fill: what its function takes is known to it alone.
    const rest = (kwargs === undefined ? args : [...args, kwargs]) as never[]
    return promised(func(environ, ...rest))
  } catch (error) {
    logError(`a post hook failed: ${describeError(error)}`)
    return null
  }
}

function bounded(result: Promise<unknown>, clock: Clock, timeout: number, logError: (message: string) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = Number.isFinite(timeout)
      ? clock.after(timeout, () => {
          logError(`a post hook took longer than ${timeout} ms and is no longer waited for`)
          resolve()
        })
      : null
    const settled = (): void => {
      if (timer !== null) clock.clear(timer)
      resolve()
    }
    result.then(settled, (error: unknown) => {
      logError(`a post hook failed: ${describeError(error)}`)
      settled()
    })
  })
}
