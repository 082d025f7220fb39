// Node's internal stream interface: its shape, testing its pieces before use, and the calls that abort when they are given what is wrong.
// Those that cannot (readStop, close, the names of both ends) the transports make themselves. The facts are in docs/handles.md; a wrong call here is a
// SIGABRT, not an exception. Knows no connection.
import { Buffer } from 'node:buffer'
import { getSystemErrorName, types } from 'node:util'
import { internalBinding } from './internal-binding.ts'
import { isPoisoned } from './poison.ts'
import { SLAB_SIZE, readArea, slab } from './read-slab.ts'

// ── The interface, as Node has it ───────────────────────────────────────────────────────────────────────────────────────────────────

/** A libuv TCP or pipe handle as net.Socket wraps it, or what a TLSSocket has in its place. */
export interface StreamHandle {
  useUserBuffer(slab: Uint8Array): number
  onread: OnRead
  readStart(): number
  readStop(): number
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  writev(request: WriteRequest, bytes: Uint8Array[], allBuffers: true): number
  writeLatin1String(request: WriteRequest, text: string): number
  shutdown(request: ShutdownRequest): number
  close(closed?: () => void): void
  ref(): void
  unref(): void
  readonly writeQueueSize: number
  readonly bytesRead: number
  readonly bytesWritten: number
  /** TCP only, like the next four. */
  reset?(closed?: () => void): number
  getpeername?(into: object): number
  getsockname?(into: object): number
  setNoDelay?(on: boolean): number
  setKeepAlive?(on: boolean, seconds: number): number
  /** Ours: who reads from it. A property is the cheapest way back, and cheapest of all this one, which a TCP handle comes with for the flag of a
   *  net.Socket that it never gets: a fourth property would cost each connection 24 bytes (docs/handles.md, Memory). */
  reading: HandleReader
  /** The same on the handle of a TLSSocket, which does use that flag. */
  conn: HandleReader
}

/** Given the bytes where no buffer of ours is in use; may return the buffer for the next ones. */
type OnRead = (this: StreamHandle, bytes?: ArrayBuffer) => Uint8Array | undefined

/** What a handle's bytes go to. Nobody may keep the slab. */
export interface HandleReader {
  /** Memory for the next ones, if it changes: unpooled, and kept alive until then. Whoever has given away what these came in must return other memory. */
  bytesArrived(length: number): Uint8Array | undefined
  /** UV_EOF or an error. */
  readFailed(status: number): void
  /** One of the two threw. */
  abandon(error: unknown): void
}

export interface HandleWriter {
  writeCompleted(request: WriteRequest, status: number): void
  abandon(error: unknown): void
}

type Held = Uint8Array | Uint8Array[] | string | null

/** Once it went asynchronous it belongs to that write for ever (a second use aborts), and what hangs on it keeps the memory alive. */
export interface WriteRequest {
  oncomplete: (this: WriteRequest, status: number) => void
  writer: HandleWriter | null
  /** The view or views that libuv reads from. */
  held: Held
  size: number
  /** The pooled memory below them. */
  memory: Buffer | null | (Buffer | null)[]
}

export interface ShutdownRequest {
  oncomplete: ((this: ShutdownRequest, status: number) => void) | null
}

/** What `server._handle` offers, a cluster worker's plain object too. */
export interface ListeningHandle {
  onconnection: (this: unknown, status: number, handle: unknown) => void
  /** TCP only, and not on a cluster worker's. */
  setNoDelay?(on: boolean): number
}

export const UV_EOF = -4095
export const UV_ENOTCONN = -107
export const UV_ECANCELED = -125
/** Results of `writeBytes`, `writeViews` and `writeText`; negative ones are the system's. */
export const WRITTEN = 0
export const PENDING = 1
/** Not an errno: Node's interface did not do what it does on the lines that we know. */
const BROKEN = -99999
const UV_EBADF = -9

interface Binding {
  WriteWrap: new () => WriteRequest
  ShutdownWrap: new () => ShutdownRequest
  /** Written by native code during each stream call, so it is to be read first of all. */
  state: Int32Array
  kRead: number
  kWritten: number
  kAsync: number
}

// ── Whether it can be had, in the shape that we know ────────────────────────────────────────────────────────────────────────────────

/** Where CI runs every handle test; `auto` trusts no other. */
const LISTED_PLATFORMS = ['linux']
const LISTED_MAJORS = [20, 22, 24, 26]

let binding: Binding | null | undefined
let state: Int32Array = new Int32Array(0)
let kRead = 0
let kWritten = 0
let kAsync = 0
/** The request that every write is tried with: one that completed at once has left it untouched. */
let spare: WriteRequest

/** Whether `auto` may choose handles here. */
export function isListedRuntime(): boolean {
  return LISTED_PLATFORMS.includes(process.platform) && LISTED_MAJORS.includes(Number.parseInt(process.versions.node, 10))
}

/** Get the pieces. False where they are not to be had: another runtime, the permission model, a later Node of another shape, or a self-test that failed. */
export function prepareHandles(): boolean {
  if (binding === undefined) {
    binding = loadBinding()
    if (binding !== null) {
      ;({ state, kRead, kWritten, kAsync } = binding)
      spare = newRequest(binding)
    }
  }
  return binding !== null && !faulty
}

function loadBinding(): Binding | null {
  const found = internalBinding('stream_wrap')
  if (found === null) return null
  const { WriteWrap, ShutdownWrap, streamBaseState: state } = found
  const pieces = { WriteWrap, ShutdownWrap, state, kRead: found['kReadBytesOrError'], kWritten: found['kBytesWritten'], kAsync: found['kLastWriteWasAsync'] }
  return isBinding(pieces) ? pieces : null
}

function isBinding(pieces: Record<keyof Binding, unknown>): pieces is Record<keyof Binding, unknown> & Binding {
  const { WriteWrap, ShutdownWrap, state, kRead, kWritten, kAsync } = pieces
  if (typeof WriteWrap !== 'function' || typeof ShutdownWrap !== 'function' || !(state instanceof Int32Array)) return false
  const indices = [kRead, kWritten, kAsync]
  return new Set(indices).size === 3 && indices.every(index => Number.isInteger(index) && (index as number) >= 0 && (index as number) < state.length)
}

const METHODS = ['useUserBuffer', 'readStart', 'readStop', 'writeBuffer', 'writev', 'writeLatin1String', 'shutdown', 'close', 'ref', 'unref'] as const
const NUMBERS = ['writeQueueSize', 'bytesRead', 'bytesWritten'] as const

/** An accepted handle looks as every line of Node so far has made it. */
export function isStreamHandle(value: unknown): value is StreamHandle {
  if (typeof value !== 'object' || value === null) return false
  const handle = value as Record<string, unknown>
  return (
    METHODS.every(name => typeof handle[name] === 'function') &&
    NUMBERS.every(name => typeof handle[name] === 'number') &&
    'onread' in handle &&
    handle['isStreamBase'] === true
  )
}

/** The listening handle of a server, or null if it has none that can be taken over. A cluster worker's is a plain object. */
export function listeningHandle(server: object): ListeningHandle | null {
  const handle = (server as { _handle?: unknown })._handle
  if (typeof handle !== 'object' || handle === null) return null
  return typeof (handle as Partial<ListeningHandle>).onconnection === 'function' ? (handle as ListeningHandle) : null
}

/** 'ECONNRESET' for -104. */
export function errorName(status: number): string {
  return status === BROKEN || !(status < 0) ? 'ERR_WIRELET_TRANSPORT' : getSystemErrorName(status)
}

/** No small write waits for an acknowledgement, on any connection of this listener: Linux lets them inherit it. False where each has to be told. */
export function listenWithoutDelay(listening: ListeningHandle): boolean {
  return process.platform === 'linux' && listening.setNoDelay !== undefined && listening.setNoDelay(true) === 0
}

// ── First uses: watched, and trusted from then on ───────────────────────────────────────────────────────────────────────────────────

/** Which first uses have been seen to work: bit 0 reading, 1 writeBuffer, 2 writev, 3 writeLatin1String, for TCP; the same for pipes four bits up;
 *  bit 8 reading from TLS. */
let proven = 0
const READ = 1
const WRITE = 2
const WRITEV = 4
const TEXT = 8
const PIPE_SHIFT = 4
const TLS_READ = 256
const faultListeners: Set<() => void> = new Set()
let faulty = false

/** The first use of each kind, on each class of handle, is watched. */
function isProven(handle: StreamHandle, kind: number): boolean {
  return (proven & (kind << shiftOf(handle))) !== 0
}

function shiftOf(handle: StreamHandle): number {
  return handle.getpeername === undefined ? PIPE_SHIFT : 0
}

/** The first read of each class says what later ones rely on: the count is where we look for it, and the bytes are in the slab's bounds. */
function provenRead(handle: StreamHandle, n: number, proof: number): boolean {
  if (n > SLAB_SIZE || n !== handle.bytesRead) {
    fault()
    return false
  }
  proven |= proof
  return true
}

/** The first write of each kind to each class: 0 and a count back, and a plain answer to whether it is still under way. */
function provenWrite(handle: StreamHandle, request: WriteRequest, kind: number, bytes: NonNullable<Held>, length: number): number {
  const before = handle.bytesWritten
  state[kWritten] = state[kAsync] = -1
  const status =
    typeof bytes === 'string' ? handle.writeLatin1String(request, bytes)
    : Array.isArray(bytes) ? handle.writev(request, bytes, true)
    : handle.writeBuffer(request, bytes)
  // A peer that is gone proves nothing.
  if ((typeof status === 'number' && status < 0) || status === undefined) return status
  const isAsync = state[kAsync]
  if (status === 0 && state[kWritten] === length && (isAsync === 0 || isAsync === 1) && handle.bytesWritten === before + length) {
    proven |= kind << shiftOf(handle)
    return 0
  }
  // It may be under way all the same: neither the request nor the memory is used again.
  hold(request, SILENT, bytes, length, null)
  fault()
  return BROKEN
}

const SILENT: HandleWriter = { writeCompleted(): void {}, abandon(): void {} }

function fault(): void {
  faulty = true
  for (const listener of faultListeners) listener()
}

/** `listener` hears when a first read or write shows that handles cannot be used after all. */
export function onHandleFault(listener: () => void): void {
  faultListeners.add(listener)
}

export function offHandleFault(listener: () => void): void {
  faultListeners.delete(listener)
}

// ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Read into the slab from here on; `reader` is called back from the event loop only, never from inside a call of ours. */
export function startReading(handle: StreamHandle, reader: HandleReader): number {
  handle.reading = reader
  const status = handle.useUserBuffer(readArea)
  if (status !== 0) return status
  handle.onread = onRead
  return handle.readStart()
}

/** Back to the slab, outside a read callback; within one that is what `bytesArrived` returns. Each time costs native memory until the handle is closed. */
export function readIntoSlab(handle: StreamHandle): void {
  handle.useUserBuffer(readArea)
}

/** An owned copy of what was just read, with memory of its own. */
export function copyOfSlab(length: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  slab.copy(bytes, 0, 0, length)
  if (isPoisoned()) readArea.fill(0xdb)
  return bytes
}

/** Shared by all plain handles. Anything but `undefined` or a Uint8Array returned aborts the process; an exception would leave a handle that nobody
 *  closes. */
function onRead(this: StreamHandle): Uint8Array | undefined {
  return passOn(this, this.reading, state[kRead], READ << shiftOf(this))
}

function passOn(handle: StreamHandle, reader: HandleReader, n: number, proof: number): Uint8Array | undefined {
  try {
    // 0 is EAGAIN: what waited filled the memory.
    if (n > 0) {
      if ((proven & proof) !== 0 || provenRead(handle, n, proof)) return reader.bytesArrived(n)
      reader.readFailed(BROKEN)
    } else if (n < 0) reader.readFailed(n)
    return undefined
  } catch (error) {
    reader.abandon(error)
    // The handle is closed; should it read all the same, then not into memory that was given away.
    return readArea
  }
}

/** The handle of a TLSSocket that has just made its handshake, for its decrypted bytes to be read by `readDecrypted`. It does not read until then.
 *  Null if it has not the shape we know, or the stream has read something already. Never written to or closed: that stays the socket's
 *  (docs/handles.md, TLS). */
export function takeTlsHandle(socket: object): StreamHandle | null {
  const { _handle: handle, readableLength } = socket as { _handle?: unknown; readableLength?: unknown }
  // `reading` is net.Socket's own knowledge of it: while it is true, as we leave it, the stream never starts or stops the handle.
  if (!isStreamHandle(handle) || typeof handle.onread !== 'function' || (handle as { reading?: unknown }).reading !== true) return null
  if (handle.bytesRead !== 0 || readableLength !== 0 || handle.readStop() !== 0) return null
  if (handle.useUserBuffer(readArea) === 0) return handle
  handle.readStart()
  return null
}

/** What is decrypted goes to `reader` from here on, once reading is started; also, after a `readStop`, the rest of what had arrived together.
 *  Returns how the stream read, for `giveBackReading`. */
export function readDecrypted(handle: StreamHandle, reader: HandleReader): OnRead {
  const stock = handle.onread
  handle.conn = reader
  handle.onread = onDecrypted
  return stock
}

/** The stream reads for itself again, once reading is started. The bytes still come by the slab: it is given copies (docs/handles.md, TLS). */
export function giveBackReading(handle: StreamHandle, stock: OnRead): void {
  handle.onread = function () {
    const n = state[kRead]
    return n > 0 ? stock.call(this, copyOfSlab(n).buffer) : stock.call(this)
  }
}

function onDecrypted(this: StreamHandle): Uint8Array | undefined {
  return passOn(this, this.conn, state[kRead], TLS_READ)
}

// ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** WRITTEN: the kernel has it all. PENDING: `writer` hears of it later, and until then libuv reads the memory. Negative: failed, nothing is held. */
export function writeBytes(handle: StreamHandle, bytes: Uint8Array, memory: Buffer | null, writer: HandleWriter): number {
  if (!types.isUint8Array(bytes)) throw new TypeError('bytes must be a Uint8Array')
  const request = spare
  const status = isProven(handle, WRITE) ? handle.writeBuffer(request, bytes) : provenWrite(handle, request, WRITE, bytes, bytes.length)
  return status === 0 && state[kAsync] === 0 ? WRITTEN : notWritten(status, request, writer, bytes, bytes.length, memory)
}

/** The same for several at once; `views` must not be empty, `length` is their sum. */
export function writeViews(handle: StreamHandle, views: Uint8Array[], length: number, memory: (Buffer | null)[], writer: HandleWriter): number {
  if (views.length === 0 || !views.every(types.isUint8Array)) throw new TypeError('views must be Uint8Arrays')
  const request = spare
  const status = isProven(handle, WRITEV) ? handle.writev(request, views, true) : provenWrite(handle, request, WRITEV, views, length)
  if (status === 0 && state[kAsync] === 0) return WRITTEN
  return notWritten(status, request, writer, views.slice(), length, memory.slice())
}

/** The same for text, of whose characters the low octet leaves. Node copies what does not leave at once. */
export function writeText(handle: StreamHandle, text: string, writer: HandleWriter): number {
  if (typeof text !== 'string') throw new TypeError('text must be a string')
  const request = spare
  const status = isProven(handle, TEXT) ? handle.writeLatin1String(request, text) : provenWrite(handle, request, TEXT, text, text.length)
  return status === 0 && state[kAsync] === 0 ? WRITTEN : notWritten(status, request, writer, null, text.length, null)
}

/** Failed, or under way: then what it reads from is held. */
function notWritten(
  status: number | undefined,
  request: WriteRequest,
  writer: HandleWriter,
  held: Held,
  size: number,
  memory: Buffer | null | (Buffer | null)[]
): number {
  // Undefined: the handle is closed and has no native part any more.
  if (status !== 0) return status ?? UV_EBADF
  hold(request, writer, held, size, memory)
  return PENDING
}

function hold(request: WriteRequest, writer: HandleWriter, held: Held, size: number, memory: Buffer | null | (Buffer | null)[]): void {
  spare = newRequest(binding!)
  request.writer = writer
  request.held = held
  request.size = size
  request.memory = memory
}

function newRequest(from: Binding): WriteRequest {
  const request = new from.WriteWrap()
  request.oncomplete = onWriteComplete
  request.writer = null
  request.held = null
  request.size = 0
  request.memory = null
  return request
}

function onWriteComplete(this: WriteRequest, status: number): void {
  const writer = this.writer!
  try {
    writer.writeCompleted(this, status)
  } catch (error) {
    writer.abandon(error)
  }
  this.writer = null
  this.held = null
  this.memory = null
}

/** Half-close after what is pending; `done` hears of it, if anybody does, unless this returns non-zero. A handle that is shutting down cannot be
 *  reset (-22). */
export function shutDown(handle: StreamHandle, done: ((status: number) => void) | null): number {
  const request = new binding!.ShutdownWrap()
  if (done !== null) request.oncomplete = done
  return handle.shutdown(request)
}
