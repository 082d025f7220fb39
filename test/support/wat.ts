// Assembles the one WebAssembly module there is from its text: the part of the text format (WebAssembly 2.0 §6) that field-line-scanner.wat uses,
// folded instructions and one function. A word that it does not know is an error.
type Node = string | Node[]

const I32 = 0x7f
const V128 = 0x7b
const EMPTY_BLOCK = 0x40
const END = 0x0b

const TYPES: Readonly<Record<string, number>> = { i32: I32, v128: V128 }

/** Operands first, then these bytes. */
const PLAIN: Readonly<Record<string, readonly number[]>> = {
  'return': [0x0f],
  'i32.eqz': [0x45], 'i32.eq': [0x46], 'i32.ne': [0x47], 'i32.lt_u': [0x49], 'i32.gt_u': [0x4b], 'i32.ge_u': [0x4f],
  'i32.ctz': [0x68], 'i32.add': [0x6a], 'i32.sub': [0x6b], 'i32.and': [0x71], 'i32.or': [0x72], 'i32.shl': [0x74], 'i32.shr_u': [0x76],
  'i8x16.swizzle': [0xfd, 0x0e], 'i8x16.eq': [0xfd, 0x23], 'i8x16.lt_u': [0xfd, 0x26], 'i8x16.bitmask': [0xfd, 0x64],
  'i8x16.shr_u': [0xfd, 0x6d], 'v128.and': [0xfd, 0x4e], 'v128.andnot': [0xfd, 0x4f], 'v128.or': [0xfd, 0x50]
}

/** With their natural alignment, as the power of two. */
const MEMORY: Readonly<Record<string, readonly [bytes: readonly number[], alignment: number]>> = {
  'i32.load8_u': [[0x2d], 0], 'i32.load16_u': [[0x2f], 1], 'i32.store': [[0x36], 2], 'v128.load': [[0xfd, 0x00], 4]
}

export function assemble(text: string): Uint8Array {
  const [head, ...parts] = parse(text) as string[]
  if (head !== 'module') throw new Error('not a module')
  const [memory, code] = parts as unknown as [Node[], Node[]]
  const [, from, name, [, pages]] = memory as [string, string, string, [string, string]]
  const { params, results, locals, exported, body } = readFunction(code)
  const names = [...params, ...locals].map(each => each.name)
  return Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, vector([[0x60, ...vector(params.map(each => [each.type])), ...vector(results.map(each => [each]))]])),
    ...section(2, vector([[...string(from), ...string(name), 0x02, 0x00, ...unsigned(Number(pages))]])),
    ...section(3, vector([[0]])),
    ...section(7, vector([[...string(exported), 0x00, 0]])),
    ...section(10, vector([sized([...vector(locals.map(each => [1, each.type])), ...sequence(body, names, []), END])]))
  ])
}

function parse(text: string): Node {
  const words = text.replace(/;;.*/g, '').match(/[()]|[^()\s]+/g) ?? []
  let at = 0
  const node = (): Node => {
    const word = words[at++]
    if (word === undefined || word === ')') throw new Error('parentheses do not match')
    if (word !== '(') return word
    const list: Node[] = []
    while (words[at] !== ')') list.push(node())
    at++
    return list
  }
  return node()
}

interface Variable { name: string, type: number }
interface Code { params: Variable[], locals: Variable[], results: number[], exported: string, body: Node[] }

function readFunction([, ...parts]: Node[]): Code {
  const code: Code = { params: [], locals: [], results: [], exported: '', body: [] }
  for (const part of parts as [string, string, string][]) {
    const [word, first, second] = part
    if (word === 'param') code.params.push({ name: first, type: TYPES[second]! })
    else if (word === 'local') code.locals.push({ name: first, type: TYPES[second]! })
    else if (word === 'result') code.results.push(TYPES[first]!)
    else if (word === 'export') code.exported = first
    else code.body.push(part)
  }
  return code
}

function sequence(nodes: readonly Node[], names: readonly string[], labels: readonly string[]): number[] {
  return nodes.flatMap(node => instruction(node as Node[], names, labels))
}

/** `labels`: of the blocks around, the innermost first. */
function instruction([word, ...rest]: Node[], names: readonly string[], labels: readonly string[]): number[] {
  const op = word as string
  const all = (nodes: readonly Node[]): number[] => sequence(nodes, names, labels)
  if (op === 'block' || op === 'loop') {
    const [label, ...body] = rest as [string, ...Node[]]
    return [op === 'block' ? 0x02 : 0x03, EMPTY_BLOCK, ...sequence(body, names, [label, ...labels]), END]
  }
  if (op === 'if') {
    const [condition, [, ...body]] = rest as [Node, Node[]]
    return [...all([condition]), 0x04, EMPTY_BLOCK, ...sequence(body, names, ['', ...labels]), END]
  }
  if (op === 'br' || op === 'br_if') {
    const [label, ...condition] = rest as [string, ...Node[]]
    return [...all(condition), op === 'br' ? 0x0c : 0x0d, ...unsigned(index(labels, label))]
  }
  if (op === 'local.get' || op === 'local.set') {
    const [name, ...value] = rest as [string, ...Node[]]
    return [...all(value), op === 'local.get' ? 0x20 : 0x21, ...unsigned(index(names, name))]
  }
  if (op === 'i32.const') return [0x41, ...signed(Number(rest[0]))]
  if (op === 'v128.const') {
    if (rest.length !== 17 || rest[0] !== 'i8x16') throw new Error(`not sixteen octets: ${rest.join(' ')}`)
    return [0xfd, 0x0c, ...rest.slice(1).map(Number)]
  }
  if (Object.hasOwn(MEMORY, op)) {
    const [bytes, natural] = MEMORY[op]!
    const given = new Map(rest.filter(each => typeof each === 'string').map(each => each.split('=') as [string, string]))
    const alignment = given.has('align') ? Math.log2(Number(given.get('align'))) : natural
    return [...all(rest.filter(each => typeof each !== 'string')), ...bytes, alignment, ...unsigned(Number(given.get('offset') ?? 0))]
  }
  if (Object.hasOwn(PLAIN, op)) return [...all(rest), ...PLAIN[op]!]
  throw new Error(`unknown instruction ${op}`)
}

function index(list: readonly string[], name: string): number {
  const at = list.indexOf(name)
  if (at < 0) throw new Error(`unknown name ${name}`)
  return at
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...sized(content)]
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()]
}

function sized(content: readonly number[]): number[] {
  return [...unsigned(content.length), ...content]
}

function string(quoted: string): number[] {
  const text = JSON.parse(quoted) as string
  return sized([...Buffer.from(text)])
}

// LEB128
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}

function signed(value: number): number[] {
  const rest = value >> 7
  const done = (rest === 0 && (value & 0x40) === 0) || (rest === -1 && (value & 0x40) !== 0)
  return done ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(rest)]
}
