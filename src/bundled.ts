// What bundlers take for index.ts (the condition `module` in package.json): they do not see what entry.ts loads by `require`, nor need it later.
export { listen, wrapTls } from './io/listener.ts'
export { serve } from './server/serve.ts'
export { formatDateTime } from './server/date-time.ts'
export { ALREADY_HANDLED } from './server/application.ts'
export { Pool } from './server/pool.ts'
export { WireletError, RequestAborted, ChunkReadError, BodyTooLarge, HeadersSent, InvalidHeader, UsageError } from './io/errors.ts'
