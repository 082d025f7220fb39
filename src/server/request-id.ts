// Request ids for logs: unique across processes and restarts, cheap, and nothing that a peer chose.
import { Buffer } from 'node:buffer'

let prefix = ''
let count = 0

/** For example `0123456789abcdef01-1z`: 72 random bits of the process, then a count. */
export function nextRequestId(): string {
  if (prefix === '') prefix = Buffer.from(crypto.getRandomValues(new Uint8Array(9))).toString('hex')
  return `${prefix}-${(++count).toString(36)}`
}
