// Raw clients: as close to the wire as a test can be from JavaScript.
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import * as tls from 'node:tls'
import { within } from './within.ts'

/** Generous: it only bounds a failure. */
export const PATIENCE = 10_000

/** Certificates made for these tests: 100 years, CN=localhost, SAN localhost and 127.0.0.1; renewed.pfx has the passphrase 'wirelet'. From build/test/support the sources are three levels up. */
const CERTS = join(import.meta.dirname, '..', '..', '..', 'test', 'support', 'certs')

export function certificatePath(name: 'localhost.crt' | 'localhost.key' | 'renewed.crt' | 'renewed.key' | 'renewed.pfx'): string {
  return join(CERTS, name)
}

export function certificate(name: 'localhost' | 'renewed' = 'localhost'): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(certificatePath(`${name}.crt`)), key: readFileSync(certificatePath(`${name}.key`)) }
}

/** A path for a unix socket in a directory of its own, which goes with the process: short, because sun_path is. */
export function socketPath(name = 's'): string {
  const directory = mkdtempSync(join(tmpdir(), 'wl-'))
  if (directories.push(directory) === 1) process.on('exit', () => directories.forEach(one => rmSync(one, { recursive: true, force: true })))
  return join(directory, name)
}
const directories: string[] = []

/** Connected, half-open allowed; to a port of 127.0.0.1 or a unix socket's path. */
export async function connectTo(where: number | string): Promise<net.Socket> {
  const socket = typeof where === 'number' ? net.connect({ port: where, host: '127.0.0.1', allowHalfOpen: true }) : net.connect({ path: where, allowHalfOpen: true })
  // Tests that care about its end ask for it; the others must not fail by it.
  socket.on('error', () => {})
  await within(PATIENCE, once(socket, 'connect'), `connect to ${where}`)
  return socket
}

/** Connected and through the handshake, any certificate accepted. */
export async function connectTls(where: number | string | { socket: net.Socket }, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const target = typeof where === 'number' ? { port: where, host: '127.0.0.1' } : typeof where === 'string' ? { path: where } : where
  const socket = tls.connect({ rejectUnauthorized: false, ...target, ...options })
  await within(PATIENCE, once(socket, 'secureConnect'), 'the TLS handshake')
  return socket
}

/** Everything that comes until the end. Rejects if it ends in an error instead. */
export function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return within(
    PATIENCE,
    new Promise<Buffer>((resolve, reject) => {
      stream.once('end', () => resolve(Buffer.concat(chunks)))
      stream.once('error', reject)
      stream.once('close', () => reject(new Error('closed without an end')))
      stream.resume()
    }),
    'the end of the stream'
  )
}

/** Exactly `n` bytes; what comes after them goes back to the stream. */
export function readExactly(stream: Readable, n: number): Promise<Buffer> {
  return within(
    PATIENCE,
    new Promise<Buffer>((resolve, reject) => {
      const chunks: Buffer[] = []
      let have = 0
      const stop = (): void => {
        stream.removeListener('data', onData)
        stream.removeListener('end', onEnd)
        stream.removeListener('error', reject)
      }
      const onData = (chunk: Buffer): void => {
        chunks.push(chunk)
        have += chunk.length
        if (have < n) return
        stop()
        stream.pause()
        const all = Buffer.concat(chunks)
        if (have > n) stream.unshift(all.subarray(n))
        resolve(all.subarray(0, n))
      }
      const onEnd = (): void => {
        stop()
        reject(new Error(`ended after ${have} of ${n} bytes`))
      }
      stream.on('data', onData)
      stream.on('end', onEnd)
      stream.on('error', reject)
      stream.resume()
    }),
    `${n} bytes`
  )
}

/** Whether the connection ended in a reset. Node 20 and 22 read one that comes behind unread bytes as an end; only a write tells then:
 *  after a FIN the first one is accepted, after a RST it is not. */
export async function wasReset(stream: Readable, socket: net.Socket): Promise<boolean> {
  const how = await closing(stream)
  if (how !== 'end') return how === 'ECONNRESET'
  return await within(PATIENCE, new Promise<boolean>(resolve => socket.write('?', error => resolve(error != null))), 'a write')
}

/** How the connection closed: 'end' for a FIN, else the error's code. */
export function closing(stream: Readable): Promise<string> {
  return within(
    PATIENCE,
    new Promise<string>(resolve => {
      stream.once('end', () => resolve('end'))
      stream.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      stream.once('close', () => resolve('close'))
      stream.resume()
    }),
    'the connection to close'
  )
}
