// A network wait that never ends must fail its test by name, not hang the run: uvu has no timeout of its own.

/** `promise`, or a rejection that names `what` after `ms`. */
export function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
