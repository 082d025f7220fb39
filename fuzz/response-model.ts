// What a strict client makes of the octets that a server sent on one connection: RFC 9112's grammar for answers as regular expressions. Like
// model.ts it imports nothing. It accepts only what we mean to send: no empty chunk, one SP behind a colon, no whitespace that a reader might trim.

export interface Answer {
  status: number
  reason: string
  version: string
  fields: [name: string, value: string][]
  framing: 'none' | 'length' | 'chunked' | 'close'
  content: string
  trailers: [name: string, value: string][]
  /** The octets ended before the answer did. */
  cut: boolean
  /** 1xx answers before it. */
  interim: Answer[]
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const TEXT = '(?:[\\x21-\\x7e\\x80-\\xff](?:[\\t\\x20-\\x7e\\x80-\\xff]*[\\x21-\\x7e\\x80-\\xff])?)?'
const FIELD = `${TOKEN}: ${TEXT}\\r\\n`
const HEAD = new RegExp(`HTTP/1\\.1 ([1-5][0-9][0-9]) ([\\t\\x20-\\x7e\\x80-\\xff]*)\\r\\n((?:${FIELD})*)\\r\\n`, 'y')
const CHUNK_SIZE = /([1-9a-f][0-9a-f]*|0)\r\n/y
const TRAILERS = new RegExp(`((?:${FIELD})*)\\r\\n`, 'y')

/** The answers to requests of these methods, in order ('' for a request whose method nobody knows). Throws for anything that is not an answer. */
export function readAnswers(text: string, methods: readonly string[]): Answer[] {
  const answers: Answer[] = []
  let interim: Answer[] = []
  let at = 0
  while (at < text.length) {
    const [answer, end] = readAnswer(text, at, methods[answers.length] ?? '')
    at = end
    if (answer.status < 200 && answer.status !== 101) {
      interim.push(answer)
      continue
    }
    answer.interim = interim
    interim = []
    answers.push(answer)
    if (answer.cut) break
  }
  if (interim.length > 0) answers.push({ ...interim.at(-1)!, interim, cut: true })
  return answers
}

export function valuesOf(fields: Answer['fields'], name: string): string[] {
  return fields.filter(field => field[0].toLowerCase() === name).map(field => field[1])
}

function readAnswer(text: string, from: number, method: string): [Answer, number] {
  const answer: Answer = { status: 0, reason: '', version: '1.1', fields: [], framing: 'none', content: '', trailers: [], cut: false, interim: [] }
  const end = text.indexOf('\r\n\r\n', from)
  if (end < 0) return [{ ...answer, cut: true }, text.length]
  HEAD.lastIndex = from
  const head = HEAD.exec(text)
  if (head === null) throw new Error(`no answer: ${JSON.stringify(text.slice(from, end + 4))}`)
  let at = HEAD.lastIndex
  answer.status = Number(head[1])
  answer.reason = head[2]!
  answer.fields = fieldsOf(head[3]!)
  const lengths = valuesOf(answer.fields, 'content-length')
  const codings = valuesOf(answer.fields, 'transfer-encoding')
  if (lengths.length + codings.length > 1) throw new Error('more than one framing')
  if (codings.length > 0 && codings[0] !== 'chunked') throw new Error(`coding ${codings[0]}`)
  if (lengths.length > 0 && !/^[0-9]+$/.test(lengths[0]!)) throw new Error(`length ${lengths[0]}`)
  const { status } = answer
  if ((status < 200 || status === 204) && lengths.length + codings.length > 0) throw new Error(`framing in a ${status}`)
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return [answer, at]
  if (lengths.length > 0) {
    answer.framing = 'length'
    answer.content = text.slice(at, at + Number(lengths[0]))
    answer.cut = answer.content.length < Number(lengths[0])
    return [answer, at + answer.content.length]
  }
  if (codings.length === 0) {
    answer.framing = 'close'
    if (!valuesOf(answer.fields, 'connection').includes('close')) throw new Error('ends with the connection, and does not say so')
    answer.content = text.slice(at)
    return [answer, text.length]
  }
  answer.framing = 'chunked'
  for (;;) {
    CHUNK_SIZE.lastIndex = at
    const size = CHUNK_SIZE.exec(text)
    if (size === null) {
      if (/^(?:0|[1-9a-f][0-9a-f]*)?\r?$/.test(text.slice(at))) return [{ ...answer, cut: true }, text.length]
      throw new Error(`no chunk: ${JSON.stringify(text.slice(at, at + 40))}`)
    }
    at = CHUNK_SIZE.lastIndex
    const length = Number.parseInt(size[1]!, 16)
    if (length === 0) break
    const data = text.slice(at, at + length)
    answer.content += data
    at += data.length
    const crlf = text.slice(at, at + 2)
    if (crlf === '' || crlf === '\r') return [{ ...answer, cut: true }, text.length]
    if (crlf !== '\r\n') throw new Error(`no CRLF behind a chunk: ${JSON.stringify(text.slice(at - 10, at + 10))}`)
    at += 2
  }
  TRAILERS.lastIndex = at
  const trailers = TRAILERS.exec(text)
  if (trailers !== null) {
    answer.trailers = fieldsOf(trailers[1]!)
    return [answer, TRAILERS.lastIndex]
  }
  if (text.indexOf('\r\n\r\n', at - 2) >= 0) throw new Error(`no trailers: ${JSON.stringify(text.slice(at, at + 80))}`)
  return [{ ...answer, cut: true }, text.length]
}

function fieldsOf(lines: string): [string, string][] {
  return lines.split('\r\n').slice(0, -1).map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
}
