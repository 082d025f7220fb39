// What the original's tests share: its applications, its spelling of requests, its log buffer.
import type { Application, Environ, StartResponse } from '../../src/server/application.ts'

export const H = 'Host: localhost\r\n'
export const CLOSE = 'Connection: close\r\n'
export const KEEP_ALIVE = 'Connection: keep-alive\r\n'
export const CHUNKED = 'Transfer-Encoding: chunked\r\n'

/** The original's default application. */
export const hello: Application = (_environ, startResponse) => {
  startResponse('200 OK', [['Content-type', 'text/plain']])
  return ['hello world']
}

/** Three pieces whose number nobody knows before. */
export const chunkedApp: Application = (_environ, startResponse) => {
  startResponse('200 OK', [['Content-type', 'text/plain']])
  return (function* (): Generator<string> {
    yield 'this'
    yield 'is'
    yield 'chunked'
  })()
}

/** Answers with its content: /a read whole, /b in parts of 4 096, /c byte by byte. */
export const chunkedPost: Application = async (environ, startResponse) => {
  startResponse('200 OK', [['Content-type', 'text/plain']])
  const input = environ['wsgi.input']
  if (environ.PATH_INFO === '/a') return [await input.read()]
  const size = environ.PATH_INFO === '/b' ? 4096 : 1
  const pieces: Uint8Array[] = []
  for (let piece = await input.read(size); piece.length > 0; piece = await input.read(size)) pieces.push(piece)
  return pieces
}

/** Reads everything and answers with it. */
export async function echo(environ: Environ, startResponse: StartResponse): Promise<Uint8Array[]> {
  const content = await environ['wsgi.input'].read()
  startResponse('200 OK', [['Content-type', 'text/plain']])
  return [content]
}

/** Anything with `write` is a log. */
export class TextLog {
  text = ''
  write(text: string): void {
    this.text += text
  }
  get lines(): string[] {
    return this.text.split('\n').slice(0, -1)
  }
}
