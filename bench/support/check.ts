// Before anything is timed: the peer must give the right answer, octet for octet where that can be said, and as often as it was asked.
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { octetsOf, type Answer, type Request } from './requests.ts'

export interface Target {
  host: string
  port: number
  secure: boolean
}

export interface Response {
  status: number
  fields: Map<string, string>
  content: Buffer
  /** Octets of the whole message. */
  length: number
}

/** Milliseconds without a word from the peer. */
export const PATIENCE = 15_000

/** The first response in `bytes`, or null while it is incomplete. `ended`: no more will come. */
export function readResponse(bytes: Buffer, ended: boolean): Response | null {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return null
  const [line, ...rest] = bytes.toString('latin1', 0, end).split('\r\n')
  const status = Number(/^HTTP\/1\.[01] (\d{3})\b/.exec(line!)?.[1])
  if (!Number.isInteger(status)) throw new Error(`not a status line: ${line}`)
  const fields = new Map(rest.map(field => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]))
  const start = end + 4
  if (/\bchunked\b/i.test(fields.get('transfer-encoding') ?? '')) return readChunks(bytes, start, status, fields)
  const announced = fields.get('content-length')
  if (announced === undefined) return ended ? { status, fields, content: bytes.subarray(start), length: bytes.length } : null
  const stop = start + Number(announced)
  return bytes.length < stop ? null : { status, fields, content: bytes.subarray(start, stop), length: stop }
}

function readChunks(bytes: Buffer, start: number, status: number, fields: Map<string, string>): Response | null {
  const chunks: Buffer[] = []
  for (let at = start; ;) {
    const line = bytes.indexOf('\r\n', at)
    if (line < 0) return null
    const digits = /^[0-9a-f]{1,8}(?=[\t ]*(?:;|$))/i.exec(bytes.toString('latin1', at, line))
    if (digits === null) throw new Error(`not a chunk size: ${JSON.stringify(bytes.toString('latin1', at, Math.min(line, at + 60)))}`)
    const size = parseInt(digits[0], 16)
    at = line + 2
    if (bytes.length < at + size + 2) return null
    if (size === 0) return { status, fields, content: Buffer.concat(chunks), length: at + 2 }
    chunks.push(bytes.subarray(at, at + size))
    at += size + 2
  }
}

export function open(target: Target, connected: (socket: Socket) => void): Socket {
  const { host, port } = target
  if (!target.secure) {
    const socket: Socket = connectPlain({ host, port }, () => connected(socket))
    return socket
  }
  const socket: Socket = connectTls({ host, port, rejectUnauthorized: false }, () => connected(socket))
  return socket
}

/** Sends the request `times` times at once and gives the answers in order. */
export function ask(target: Target, request: Request, times = 1): Promise<Response[]> {
  return new Promise((resolve, reject) => {
    const answers: Response[] = []
    let bytes: Buffer = Buffer.alloc(0)
    const socket = open(target, connected => connected.write(octetsOf(request).repeat(times), 'latin1'))
    const timer = setTimeout(() => finish(new Error(`${answers.length} of ${times} answers within ${PATIENCE / 1000} s`)), PATIENCE)
    const finish = (error: Error | null): void => {
      clearTimeout(timer)
      socket.destroy()
      if (error === null) resolve(answers)
      else reject(error)
    }
    const take = (ended: boolean): void => {
      for (let answer = readResponse(bytes, ended); answer !== null; answer = readResponse(bytes, ended)) {
        bytes = bytes.subarray(answer.length)
        answers.push(answer)
        if (answers.length === times) return finish(null)
      }
      if (ended) finish(new Error(`closed after ${answers.length} of ${times} answers`))
    }
    const guarded = (ended: boolean): void => {
      try {
        take(ended)
      } catch (error) {
        finish(error as Error)
      }
    }
    socket.on('data', chunk => {
      bytes = Buffer.concat([bytes, chunk])
      guarded(false)
    })
    socket.on('end', () => guarded(true))
    socket.on('error', finish)
  })
}

/** '' or what is wrong with an answer. */
export function fault(response: Response, expected: Answer): string {
  if (response.status !== 200) return `status ${response.status}`
  const type = response.fields.get('content-type') ?? ''
  if (!type.startsWith(expected.type)) return `content-type ${JSON.stringify(type)}, not ${expected.type}`
  const content = response.content.toString('latin1')
  if (content === expected.content) return ''
  return `content ${JSON.stringify(content.slice(0, 60))} (${content.length} octets), not ${JSON.stringify(expected.content.slice(0, 60))} (${expected.content.length})`
}

/** @throws Error when an answer is wrong. */
export async function check(target: Target, request: Request, expected: Answer, pipeline: number): Promise<void> {
  for (const response of await ask(target, request, pipeline)) {
    const wrong = fault(response, expected)
    if (wrong !== '') throw new Error(wrong)
  }
}
