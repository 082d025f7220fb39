// How Node's internal interfaces are got at, silently: null wherever they are not to be had (another runtime, the permission model, a line without
// them). What is done with them is handle-binding.ts's and async-stack.ts's.

/** The internal module of that name. */
export function internalBinding(name: string): Record<string, unknown> | null {
  const { versions, permission } = process as unknown as { versions: Record<string, string | undefined>; permission?: unknown }
  if (versions['bun'] !== undefined || versions['deno'] !== undefined || permission !== undefined) return null
  const { binding: load } = process as unknown as { binding(name: string): Record<string, unknown> }
  // With `noDeprecation` set for the call there is neither DEP0111 on stderr under --pending-deprecation nor death under --throw-deprecation.
  const before = Object.getOwnPropertyDescriptor(process, 'noDeprecation')
  Object.defineProperty(process, 'noDeprecation', { value: true, writable: true, enumerable: true, configurable: true })
  try {
    return load.call(process, name)
  } catch {
    return null
  } finally {
    if (before === undefined) delete (process as { noDeprecation?: boolean }).noDeprecation
    else Object.defineProperty(process, 'noDeprecation', before)
  }
}
