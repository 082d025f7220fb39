// What a connection's octets mean, said a second time: RFC 9112's ABNF as regular expressions over the whole input (latin-1, a character per octet)
// and the choices of rules.md and design.md §5, §6. Slow and plain on purpose. It imports nothing, shares nothing with src, and knows nothing of
// reads, buffers, resuming or sockets: it sees all that arrived at once.
//
// Equivalences, where the order of several faults is the server's own business:
//  * a head with more than one fault: any status that one of the faults justifies, as far as the head had been read when the first fault of *syntax*
//    was complete. Lines are judged in order: a fault in line 3 is never hidden by one in line 7.
//  * a fault in what is not complete yet (a line without its end): the server may refuse at once (`may`) or wait for the rest (which cannot mend it).
//    A limit that is already passed is no such case: it must be refused, or memory is the peer's to spend.

export interface ModelLimits {
  requestLine: number
  fieldLine: number
  head: number
  fields: number
  emptyLines: number
  chunkDigits: number
  chunkExt: number
  trailers: number
  trailerFields: number
  body: number
}

export const MODEL_LIMITS: ModelLimits = {
  requestLine: 8192,
  fieldLine: 8192,
  head: 65_536,
  fields: 100,
  emptyLines: 4,
  chunkDigits: 16,
  chunkExt: 16_384,
  trailers: 8192,
  trailerFields: 100,
  body: Infinity
}

export interface ModelSettings {
  limits: ModelLimits
  /** The connection is TLS: an https target is its own. */
  secure: boolean
  /** The one leniency: Transfer-Encoding beside Content-Length wins, and the connection ends. */
  teWithCl: boolean
}

export const MODEL_SETTINGS: ModelSettings = { limits: MODEL_LIMITS, secure: false, teWithCl: false }

/** What a case asks for, the rest as usual. */
export function settingsOf(one: { limits?: Partial<ModelLimits>; secure?: boolean; teWithCl?: boolean }): ModelSettings {
  return { limits: { ...MODEL_LIMITS, ...one.limits }, secure: one.secure ?? false, teWithCl: one.teWithCl ?? false }
}

export type Pair = [name: string, value: string]

export interface ModelRequest {
  start: number
  /** Behind the head's empty line. */
  contentStart: number
  /** Behind the last octet of the message. */
  end: number
  method: string
  target: string
  version: '1.0' | '1.1'
  fields: Pair[]
  framing: 'none' | 'length' | 'chunked'
  content: string
  trailers: Pair[]
  keepAlive: boolean
  expectContinue: boolean
  upgrade: boolean
}

/** How the input ends. `clean`: at the end of a message. `closed`: a request said so; what follows means nothing. */
export type Ending =
  | { kind: 'clean' | 'closed', at: number }
  | { kind: 'incomplete', at: number, where: Where, may: number[], partial: ModelRequest | null }
  | { kind: 'error', statuses: number[], from: number, to: number, inContent: boolean, partial: ModelRequest | null }

export type Where = 'empty lines' | 'request line' | 'fields' | 'content' | 'chunk size' | 'chunk data' | 'trailers'

export interface Verdict {
  requests: ModelRequest[]
  ending: Ending
}

type Failure = Exclude<Ending, { kind: 'clean' | 'closed' }>

// ---- RFC 9110 §5.6, RFC 9112 §3-§7, RFC 3986 --------------------------------------------------------------------------------------------------

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const OWS = '[ \\t]*'
const QUOTED = '"(?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t \\x21-\\x7e\\x80-\\xff])*"'

const FIELD_LINE = new RegExp(`^(${TOKEN}):${OWS}((?:[\\x21-\\x7e\\x80-\\xff](?:[\\t\\x20-\\x7e\\x80-\\xff]*[\\x21-\\x7e\\x80-\\xff])?)?)${OWS}$`)
const FIELD_LINE_BEGUN = new RegExp(`^(?:\\r|${TOKEN}(?::[\\t\\x20-\\x7e\\x80-\\xff]*\\r?)?)?$`)

const REQUEST_LINE = new RegExp(`^(${TOKEN}) ([\\x21-\\x7e]+) HTTP/([0-9])\\.([0-9])$`)

const HEXDIG = '[0-9A-Fa-f]'
const UNRESERVED = 'A-Za-z0-9._~\\-'
const SUB_DELIMS = "!$&'()*+,;="
// RL-17, RL-18: ^ ` { | } and a stray % are what browsers send; so are [ and ], of which no rule speaks.
const PCHAR = `${UNRESERVED}${SUB_DELIMS}:@%^\`{|}[\\]`
const ORIGIN_FORM = new RegExp(`^/[${PCHAR}/]*(?:\\?[${PCHAR}/?]*)?$`)
const ABSOLUTE_FORM = new RegExp(`^(https?)://([^/?]*)(?:/[${PCHAR}/]*)?(?:\\?[${PCHAR}/?]*)?$`, 'i')

const DEC_OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])'
const IPV4 = `${DEC_OCTET}(?:\\.${DEC_OCTET}){3}`
const H16 = `${HEXDIG}{1,4}`
const LS32 = `(?:${H16}:${H16}|${IPV4})`
const IPV6 = [
  `(?:${H16}:){6}${LS32}`,
  `::(?:${H16}:){5}${LS32}`,
  `(?:${H16})?::(?:${H16}:){4}${LS32}`,
  `(?:(?:${H16}:){0,1}${H16})?::(?:${H16}:){3}${LS32}`,
  `(?:(?:${H16}:){0,2}${H16})?::(?:${H16}:){2}${LS32}`,
  `(?:(?:${H16}:){0,3}${H16})?::${H16}:${LS32}`,
  `(?:(?:${H16}:){0,4}${H16})?::${LS32}`,
  `(?:(?:${H16}:){0,5}${H16})?::${H16}`,
  `(?:(?:${H16}:){0,6}${H16})?::`
].join('|')
const IPV_FUTURE = `[vV]${HEXDIG}+\\.[${UNRESERVED}${SUB_DELIMS}:]+`
const REG_NAME = `(?:[${UNRESERVED}${SUB_DELIMS}]|%${HEXDIG}{2})+`
const AUTHORITY = new RegExp(`^(?:\\[(?:${IPV6}|${IPV_FUTURE})\\]|${REG_NAME})(?::([0-9]*))?$`)
// HO-08: an octet that would mean something else when somebody decodes it: controls, space, and every delimiter of a URI.
const ENCODED_DELIMITER = /%(?:[01][0-9a-f]|2[0-9a-cf]|3[a-f]|40|5[bcd]|7f)/i

const CHUNK_EXT = `${OWS};${OWS}${TOKEN}(?:${OWS}=${OWS}(?:${TOKEN}|${QUOTED}))?`
const CHUNK_LINE = new RegExp(`^(${HEXDIG}+)((?:${CHUNK_EXT})*)$`)
const QUOTE_BEGUN = QUOTED.slice(0, -1) + '\\\\?'
const CHUNK_EXT_BEGUN = `${OWS}(?:;${OWS}(?:${TOKEN}${OWS}(?:=${OWS}(?:${QUOTE_BEGUN})?)?)?)?`
const CHUNK_LINE_BEGUN = new RegExp(`^(?:${HEXDIG}+(?:${CHUNK_EXT})*(?:\\r|${CHUNK_EXT_BEGUN})?)?$`)

const SINGLETONS = [
  'host', 'content-length', 'content-type', 'authorization', 'proxy-authorization', 'range', 'if-modified-since', 'if-unmodified-since'
]
const NOT_IN_TRAILERS = new RegExp('^(?:' + [
  'transfer-encoding', 'content-length', 'host', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect', 'max-forwards', 'authorization',
  'proxy-.*', 'cookie', 'set-cookie', 'cache-control', 'if-.*', 'range', 'content-encoding', 'content-type', 'content-range'
].join('|') + ')$')

/** 2^53 - 1: beyond it a length is no longer exact (CL-07, CH-03). */
const MAX_LENGTH = 9_007_199_254_740_991n

const lower = (text: string): string => text.replace(/[A-Z]/g, letter => letter.toLowerCase())

// ---- the connection -----------------------------------------------------------------------------------------------------------------------------

export function model(input: string, settings: ModelSettings = MODEL_SETTINGS): Verdict {
  const requests: ModelRequest[] = []
  let at = 0
  for (;;) {
    if (at === input.length) return { requests, ending: { kind: 'clean', at } }
    const next = readMessage(input, at, settings)
    if ('kind' in next) return { requests, ending: next }
    requests.push(next)
    at = next.end
    if (!next.keepAlive) return { requests, ending: { kind: 'closed', at } }
  }
}

/** The line at an offset: its text, and whether CRLF, nothing yet (or a lone CR), or something that ends no line follows it. */
function lineAt(input: string, at: number): { text: string, end: 'crlf' | 'open' | 'bare', next: number } {
  const text = /[^\r\n]*/y
  text.lastIndex = at
  const found = text.exec(input)![0]
  const after = input.slice(at + found.length, at + found.length + 2)
  const end = after === '\r\n' ? 'crlf' : after === '' || after === '\r' ? 'open' : 'bare'
  return { text: found, end, next: Math.min(at + found.length + 2, input.length) }
}

/** Not ended within the limit. What stands where the CR had to be is too much as well as wrong. */
function fieldLineTooLong(line: { text: string, end: string }, limits: ModelLimits): boolean {
  return line.text.length > limits.fieldLine || (line.end === 'bare' && line.text.length === limits.fieldLine)
}

function readMessage(input: string, start: number, settings: ModelSettings): ModelRequest | Failure {
  const { limits } = settings
  const empty = /(?:\r\n)*/y
  empty.lastIndex = start
  const emptyLines = empty.exec(input)![0].length / 2
  let at = start + 2 * emptyLines
  const error = (statuses: Iterable<number>, to: number): Failure => (
    { kind: 'error', statuses: [...new Set(statuses)].sort(), from: start, to, inContent: false, partial: null }
  )
  const tooLong = (to: number): boolean => to - start > limits.head
  // Not complete, and no octet more is allowed.
  const full = (): number[] => input.length - start === limits.head ? [431] : []
  if (emptyLines > limits.emptyLines) return error(tooLong(at) ? [400, 431] : [400], at)
  if (/^\r?$/.test(input.slice(at, at + 2))) {
    if (tooLong(input.length)) return error([431], input.length)
    const last = emptyLines === limits.emptyLines && input.endsWith('\r', at + 1)
    return { kind: 'incomplete', at: start, where: 'empty lines', may: last ? [400, ...full()] : full(), partial: null }
  }

  const first = lineAt(input, at)
  const faults: number[] = []
  const lineTooLong = first.text.length > limits.requestLine
  if (lineTooLong) faults.push(414)
  // Two limits passed by one line: the one that was passed first.
  if (tooLong(first.next) && !(lineTooLong && at + limits.requestLine < start + limits.head)) faults.push(431)
  if (first.end === 'bare') {
    // What stands where the CR had to be is too much as well as wrong.
    if (first.text.length === limits.requestLine) faults.push(414)
    return error([...faults, 400, ...versionFault(first.text)], first.next)
  }
  if (first.end === 'open') {
    // Behind a CR only LF may come: the line is what it is.
    const may = input.endsWith('\r') ? requestLineFaults(first.text, settings) : requestLineMay(first.text, settings)
    if (faults.length > 0) return error([...faults, ...may], input.length)
    return { kind: 'incomplete', at: start, where: 'request line', may: [...may, ...full()], partial: null }
  }
  faults.push(...requestLineFaults(first.text, settings))
  if (faults.length > 0) return error(faults, first.next)
  at = first.next

  const [, method, target, major, minor] = REQUEST_LINE.exec(first.text) as unknown as [string, string, string, string, string]
  const request: ModelRequest = {
    start, contentStart: 0, end: 0, method, target, version: `${major}.${minor}` as '1.0' | '1.1', fields: [],
    framing: 'none', content: '', trailers: [], keepAlive: false, expectContinue: false, upgrade: false
  }
  for (;;) {
    const line = lineAt(input, at)
    const soFar = semanticFaults(request, settings, false)
    if (line.text === '' && line.end === 'crlf') {
      if (tooLong(line.next)) return error([...soFar, 431], line.next)
      at = line.next
      break
    }
    const faults: number[] = []
    if (fieldLineTooLong(line, limits)) faults.push(431)
    if (tooLong(line.next)) faults.push(431)
    if (line.end === 'open') {
      const broken = FIELD_LINE_BEGUN.test(input.slice(at)) ? [] : [400]
      const many = request.fields.length >= limits.fields && line.text !== '' ? [431] : []
      if (faults.length > 0) return error([...faults, ...broken, ...soFar], input.length)
      return { kind: 'incomplete', at: start, where: 'fields', may: [...broken, ...many, ...soFar, ...full()], partial: null }
    }
    if (request.fields.length >= limits.fields) faults.push(431)
    const field = line.end === 'bare' ? null : FIELD_LINE.exec(line.text)
    if (field === null) faults.push(400)
    if (faults.length > 0) return error([...faults, ...soFar], line.next)
    request.fields.push([field![1]!, field![2]!])
    at = line.next
  }
  const faulty = semanticFaults(request, settings, true)
  if (faulty.length > 0) return error(faulty, at)
  request.contentStart = at
  request.end = at
  interpret(request, settings)
  return readContent(input, request, settings)
}

// ---- the request line ---------------------------------------------------------------------------------------------------------------------------

function versionFault(line: string): number[] {
  return / HTTP\/(?:[02-9]\.[0-9]|1\.[2-9])$/.test(line) ? [505] : []
}

function requestLineFaults(line: string, settings: ModelSettings): number[] {
  if (line === 'PRI * HTTP/2.0') return [505]
  const parts = REQUEST_LINE.exec(line)
  if (parts === null) return [400, ...versionFault(line)]
  const faults = versionFault(line)
  if (!targetFits(parts[1]!, parts[2]!, settings)) faults.push(400)
  return faults
}

function targetFits(method: string, target: string, settings: ModelSettings): boolean {
  if (method === 'CONNECT') return /:[0-9]+$/.test(target) && authorityFits(target)
  if (target === '*') return method === 'OPTIONS'
  if (ORIGIN_FORM.test(target)) return true
  const absolute = ABSOLUTE_FORM.exec(target)
  if (absolute === null || !authorityFits(absolute[2]!)) return false
  return settings.secure || lower(absolute[1]!) === 'http'
}

/** `uri-host [ ":" port ]`, the host never empty. */
function authorityFits(text: string): boolean {
  const parts = AUTHORITY.exec(text)
  if (parts === null || ENCODED_DELIMITER.test(text)) return false
  return BigInt(parts[1] || '0') <= 65_535n
}

// A request line that has only begun is fine if one of these can end it.
const ENDS = ['P/1.1', '/1.1', '1.1', '.1', '1', '']
const VERSIONS = [' HTTP', 'HTTP', 'TTP', 'TP', 'P', ''].flatMap(part => ENDS.map(end => part + end))
const TARGETS = [
  '', '/', 'x', 'x:1', ':1', '1', '0', '*', '1]', ':1]', '::1]', ':1:1]', 'a]', '.1]', '0.0.1]', '.0.1]', '.x]', '1.x]', ']', '0a', 'Aa', 'a',
  'http://x', 'ttp://x', 'tp://x', 'p://x', '://x', '//x', '/x'
]
const METHODS = ['', ' ', 'PTIONS *', 'TIONS *', 'IONS *', 'ONS *', 'NS *', 'S *', ' *', 'X ', 'X /', ' /', ' http://x', ' x:1']

/** The statuses with which a request line that has only begun may be refused: none if it can still become a good one. */
function requestLineMay(line: string, settings: ModelSettings): number[] {
  const statuses = new Set<number>()
  for (const [middle, target] of [...METHODS.map(each => [each, '']), ...TARGETS.map(each => ['', each])]) {
    for (const version of VERSIONS) {
      const faults = requestLineFaults(line + middle! + target! + version, settings)
      if (faults.length === 0) return []
      for (const status of faults) statuses.add(status)
    }
  }
  return [...statuses]
}

// ---- what the fields mean -----------------------------------------------------------------------------------------------------------------------

function valuesOf(request: ModelRequest, name: string): string[] {
  return request.fields.filter(field => lower(field[0]) === name).map(field => field[1])
}

/** The members of a list field, the empty ones left out. */
function membersOf(request: ModelRequest, name: string): string[] {
  return valuesOf(request, name).join(',').split(',').map(member => member.replace(/^[ \t]+|[ \t]+$/g, '')).filter(member => member !== '')
}

/** Every fault of meaning. Before the head is complete: only those that no later line can mend. */
function semanticFaults(request: ModelRequest, settings: ModelSettings, complete: boolean): number[] {
  const faults: number[] = []
  const hosts = valuesOf(request, 'host')
  if (complete && hosts.length === 0 && request.version === '1.1') faults.push(400)
  if (hosts.some(host => !authorityFits(host))) faults.push(400)
  if (SINGLETONS.some(name => valuesOf(request, name).length > 1)) faults.push(400)
  if (membersOf(request, 'connection').some(member => !new RegExp(`^${TOKEN}$`).test(member))) faults.push(400)
  const lengths = valuesOf(request, 'content-length')
  const codings = valuesOf(request, 'transfer-encoding')
  for (const length of lengths) {
    if (!/^[0-9]+$/.test(length)) {
      faults.push(400)
    } else if (BigInt(length) > MAX_LENGTH) {
      faults.push(400, 413)
    } else if (Number(length) > settings.limits.body && !(settings.teWithCl && (codings.length > 0 || !complete))) {
      // With the leniency a Transfer-Encoding takes its meaning from the number.
      faults.push(413)
    }
  }
  if (codings.length > 0) {
    if (request.version === '1.0') faults.push(400)
    if (lengths.length > 0 && !settings.teWithCl) faults.push(400)
    faults.push(...codingFaults(codings.join(','), complete))
  }
  if (request.version === '1.1') {
    const expectations = valuesOf(request, 'expect')
    if (expectations.length > 1 || expectations.some(value => lower(value) !== '100-continue')) faults.push(417)
  }
  // RL-29: what CONNECT could open is not opened here.
  if (request.method === 'CONNECT') faults.push(501)
  if (request.method === 'TRACE' && (codings.length > 0 || lengths.some(length => /[1-9]/.test(length)))) faults.push(400)
  return faults
}

function codingFaults(list: string, complete: boolean): number[] {
  const members = list.split(',').map(member => lower(member.replace(/^[ \t]+|[ \t]+$/g, '')))
  if (members.length === 1 && members[0] === 'chunked') return []
  const unknown = members.some(member => member !== '' && member !== 'chunked')
  // TE-05: well-formed, ending in chunked, but with a coding that we do not have.
  const well = members.every(member => new RegExp(`^${TOKEN}$`).test(member)) && members.indexOf('chunked') === members.length - 1
  // `identity` was a coding once (RFC 2616): unknown, or no coding at all.
  if (complete && well && !members.includes('identity')) return [501]
  return unknown ? [400, 501] : [400]
}

/** Framing (RFC 9112 §6.3), persistence (§9.3) and intentions of a faultless head. */
function interpret(request: ModelRequest, settings: ModelSettings): void {
  const options = membersOf(request, 'connection').map(lower)
  const length = valuesOf(request, 'content-length')[0]
  const chunked = valuesOf(request, 'transfer-encoding').length > 0
  request.framing = chunked ? 'chunked' : length !== undefined && Number(length) > 0 ? 'length' : 'none'
  request.keepAlive = !options.includes('close') && (request.version === '1.1' || options.includes('keep-alive'))
  if (settings.teWithCl && chunked && length !== undefined) request.keepAlive = false
  request.expectContinue = request.version === '1.1' && valuesOf(request, 'expect').length > 0
  request.upgrade = request.version === '1.1' && options.includes('upgrade') && membersOf(request, 'upgrade').length > 0
}

// ---- content ------------------------------------------------------------------------------------------------------------------------------------

function readContent(input: string, request: ModelRequest, settings: ModelSettings): ModelRequest | Failure {
  if (request.framing === 'none') return request
  if (request.framing === 'chunked') return readChunks(input, request, settings)
  const length = Number(valuesOf(request, 'content-length')[0])
  request.content = input.slice(request.contentStart, request.contentStart + length)
  request.end = request.contentStart + request.content.length
  if (request.content.length === length) return request
  return { kind: 'incomplete', at: request.start, where: 'content', may: [], partial: request }
}

/** Also for chunked content that stands alone: `request` is then nothing but a place for what is found. */
export function readChunks(input: string, request: ModelRequest, settings: ModelSettings): ModelRequest | Failure {
  const { limits } = settings
  let at = request.contentStart
  let extensions = 0
  const error = (statuses: Iterable<number>, to: number): Failure => (
    { kind: 'error', statuses: [...new Set(statuses)].sort(), from: request.contentStart, to, inContent: true, partial: request }
  )
  const wait = (where: Where, may: number[] = []): Failure => ({ kind: 'incomplete', at: request.start, where, may, partial: request })
  for (;;) {
    const line = lineAt(input, at)
    const faults: number[] = []
    if (line.text.match(/^[0-9a-fA-F]*/)![0].length > limits.chunkDigits) faults.push(400)
    if (extensions + line.text.replace(/^[0-9a-fA-F]+/, '').length > limits.chunkExt) faults.push(400)
    if (line.end === 'open') {
      const size = chunkSizeFaults(line.text, request, settings)
      if (faults.length > 0 || !CHUNK_LINE_BEGUN.test(input.slice(at))) return error([400, ...size], input.length)
      return wait('chunk size', size)
    }
    const parts = line.end === 'bare' ? null : CHUNK_LINE.exec(line.text)
    if (parts === null) faults.push(400)
    faults.push(...chunkSizeFaults(line.text, request, settings))
    if (faults.length > 0) return error(faults, line.next)
    extensions += parts![2]!.length
    at = line.next
    const size = Number(BigInt('0x' + parts![1]!))
    if (size === 0) break
    const data = input.slice(at, at + size)
    request.content += data
    at += data.length
    request.end = at
    if (data.length < size) return wait('chunk data')
    const end = input.slice(at, at + 2)
    if (end === '' || end === '\r') return wait('chunk data')
    if (end !== '\r\n') return error([400], at + 2)
    at += 2
  }
  const section = at
  for (;;) {
    const line = lineAt(input, at)
    const faults: number[] = []
    const long = line.next - section > limits.trailers
    if (line.text === '' && line.end === 'crlf') {
      // The last CRLF is not of the section: trailer-section = *( field-line CRLF ).
      request.end = line.next
      return request
    }
    if (fieldLineTooLong(line, limits) || (long && line.text !== '')) faults.push(431)
    if (line.end === 'open') {
      const broken = FIELD_LINE_BEGUN.test(input.slice(at)) ? [] : [400]
      const many = request.trailers.length >= limits.trailerFields && line.text !== '' ? [431] : []
      const name = /^[^:]*(?=:)/.exec(line.text)
      if (name !== null && NOT_IN_TRAILERS.test(lower(name[0]))) broken.push(400)
      if (line.text !== '' && line.next - section === limits.trailers) many.push(431)
      return faults.length > 0 ? error([...faults, ...broken], input.length) : wait('trailers', [...broken, ...many])
    }
    if (request.trailers.length >= limits.trailerFields) faults.push(431)
    const field = line.end === 'bare' ? null : FIELD_LINE.exec(line.text)
    if (field === null || NOT_IN_TRAILERS.test(lower(field[1]!))) faults.push(400)
    if (faults.length > 0) return error(faults, line.next)
    request.trailers.push([field![1]!, field![2]!])
    at = line.next
  }
}

/** A size that cannot be counted, or that passes the limit of the content. */
function chunkSizeFaults(line: string, request: ModelRequest, settings: ModelSettings): number[] {
  const digits = /^[0-9A-Fa-f]+/.exec(line)
  if (digits === null) return []
  const total = BigInt('0x' + digits[0]) + BigInt(request.content.length)
  if (total > MAX_LENGTH) return [400, 413]
  return total > settings.limits.body ? [413] : []
}
