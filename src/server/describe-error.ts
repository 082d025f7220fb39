// Text for whatever an application throws, and an ear for what rejects later. A thrown value may be hostile (a Proxy, a getter that throws): looking at it must not throw.

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

/** Of what somebody's function returned: if that is a promise and rejects, `failed` is told. Else nobody would be, and the process would end. */
export function heedRejection(result: unknown, failed: (error: unknown) => void): void {
  promised(result)?.then(undefined, failed)
}

/** Null: it is there already. */
export function promised(result: unknown): Promise<unknown> | null {
  return typeof result === 'object' && result !== null && 'then' in result ? Promise.resolve(result) : null
}

/** Causes may form a ring. */
const MAX_CAUSES = 8

function stackOf(error: unknown, depth: number): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined || depth === MAX_CAUSES ? '' : `\ncaused by ${stackOf(error.cause, depth + 1)}`
  return `${String(error.stack ?? error)}${cause}`
}
