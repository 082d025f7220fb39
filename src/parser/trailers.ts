// Which fields may not stand in a trailer section (RFC 9110 §6.5.1, rules TR-03): those that frame, route, authenticate, modify the request,
// control it or describe its content. They come too late to mean anything, and whoever merges trailers would be misled.

const FORBIDDEN = new Set([
  'transfer-encoding', 'content-length', 'host', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect', 'max-forwards',
  'authorization', 'cookie', 'set-cookie', 'cache-control', 'range', 'content-encoding', 'content-type', 'content-range'
])

/** `name` is as received, in any case of ASCII. */
export function isForbiddenTrailer(name: string): boolean {
  // toLowerCase() folds like ASCII here, because a token has no other letters.
  const lower = name.toLowerCase()
  return FORBIDDEN.has(lower) || lower.startsWith('proxy-') || lower.startsWith('if-')
}
