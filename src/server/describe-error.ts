// Text for whatever an application throws. A thrown value may be hostile (a Proxy, a getter that throws): looking at it must not throw.

/** The stack, with its causes; of what is no Error, its text. */
export function describeError(error: unknown): string {
  return attempt(() => stackOf(error, 0)) ?? 'an error that cannot be shown'
}

/** The result, or undefined when there is none without an exception. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

/** Causes may form a ring. */
const MAX_CAUSES = 8

function stackOf(error: unknown, depth: number): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined || depth === MAX_CAUSES ? '' : `\ncaused by ${stackOf(error.cause, depth + 1)}`
  return `${String(error.stack ?? error)}${cause}`
}
