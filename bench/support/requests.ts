// The requests that are sent, octet for octet, and what a right answer to each is.

export interface Request {
  method: string
  target: string
  fields: ReadonlyArray<readonly [string, string]>
  content: string
}

export interface Answer {
  /** Start of its Content-Type. */
  type: string
  content: string
}

/** Constant, so that every peer and every run parses the same octets. */
const HOST = 'localhost:8090'

export function request(target: string, fields: ReadonlyArray<readonly [string, string]> = [], method = 'GET', content = ''): Request {
  return { method, target, fields: [['Host', HOST], ...fields], content }
}

export function octetsOf(request: Request): string {
  const fields = request.fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return `${request.method} ${request.target} HTTP/1.1\r\n${fields}\r\n${request.content}`
}

export const HELLO: Answer = { type: 'text/plain', content: 'Hello, World!\r\n' }

export const hello: Request = request('/')

/** Ten fields in a browser's order and length, 703 octets in all. */
export const browser: Request = request('/', [
  ['Connection', 'keep-alive'],
  ['Cache-Control', 'max-age=0'],
  ['Upgrade-Insecure-Requests', '1'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'],
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8'],
  ['Referer', 'http://localhost:8090/articles/2026/on-the-cost-of-a-request?from=overview&page=3'],
  ['Accept-Encoding', 'gzip, deflate, br, zstd'],
  ['Accept-Language', 'en-GB,en;q=0.9,de-AT;q=0.8,de;q=0.7'],
  ['Cookie', 'session=7f3a9c51e8d2460bb1f0a6c4d95e2783; theme=dark; consent=all; visits=1.1731970012.42; lang=en; basket=3a1f09c2d4e8b7651f9e; csrf=Zb4kQ9sT1uWx7yR2mN6pLdHc0vJe5g']
])

/** What the application of `headers5` reads, beside path and query. */
export const READ_FIELDS = ['host', 'user-agent', 'accept', 'accept-language', 'cookie'] as const

export const fiveFields: Request = request('/articles/42?view=full&page=3', [
  ['User-Agent', 'wirelet-bench/1'],
  ['Accept', 'text/html,*/*;q=0.8'],
  ['Accept-Language', 'en-GB,en;q=0.9'],
  ['Cookie', 'session=7f3a9c51e8d2460b']
])

/** Every value counts, so an application that read less would answer wrongly. */
export function fiveFieldsAnswer(): Answer {
  const values = READ_FIELDS.map(name => fiveFields.fields.find(([field]) => field.toLowerCase() === name)![1])
  const [path, query] = fiveFields.target.split('?')
  return { type: 'text/plain', content: `${[...values, path!, query!].join('').length} octets\r\n` }
}

export const closing: Request = request('/', [['Connection', 'close']])

/** 1 024 octets of JSON. */
export const POSTED: string = (() => {
  const rows = Array.from({ length: 20 }, (_, i) => ({ id: 1000 + i, name: `item-${i + 10}`, price: i * 3 + 100 }))
  const text = JSON.stringify({ rows, note: '' })
  return JSON.stringify({ rows, note: 'x'.repeat(1024 - text.length) })
})()

export const post: Request = request('/post', [['Content-Type', 'application/json'], ['Content-Length', '1024']], 'POST', POSTED)
export const POST_ANSWER: Answer = { type: 'application/json', content: '{"octets":1024}' }

export const pieces: Request = request('/pieces')
export const PIECES_ANSWER: Answer = { type: 'text/plain', content: 'nineteen characters\n'.repeat(1000) }

export const BULK = 64 * 1024 * 1024
export const upload: Request = request('/upload', [['Content-Length', String(BULK)]], 'POST')
export const uploadChunked: Request = request('/upload', [['Transfer-Encoding', 'chunked']], 'POST')
export const UPLOAD_ANSWER: Answer = { type: 'text/plain', content: `${BULK}\n` }
export const download: Request = request('/download')
