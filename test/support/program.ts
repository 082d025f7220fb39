// A program under test in a process of its own: what it says on stderr, where it listens, how it ends.
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { collect, connectTo, PATIENCE } from './sockets.ts'
import { within } from './within.ts'

/** The project's root: tests run from build/test/. */
export const ROOT: string = fileURLToPath(new URL('../../../', import.meta.url))

export interface Exit {
  readonly code: number | null
  readonly signal: string | null
}

const running = new Set<Program>()

export class Program {
  readonly child: ChildProcess
  readonly exit: Promise<Exit>
  stdout = ''
  stderr = ''

  constructor(command: string, words: readonly string[], options: SpawnOptions = {}) {
    const child = (this.child = spawn(command, words, { cwd: ROOT, ...options, stdio: ['ignore', 'pipe', 'pipe'] }))
    running.add(this)
    child.stdout!.setEncoding('utf8').on('data', (text: string) => { this.stdout += text })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.stderr += text })
    this.exit = new Promise<Exit>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => {
        running.delete(this)
        resolve({ code, signal })
      })
    })
    this.exit.catch(() => running.delete(this))
  }

  /** The first match in what was said on stderr, now or later. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stderr)
      if (match !== null) return match
      if (this.child.exitCode !== null) throw new Error(`ended without saying ${pattern}: ${this.stderr}`)
      await within(PATIENCE, Promise.race([once(this.child.stderr!, 'data'), this.exit]), `${pattern} on stderr, which has ${this.stderr}`)
    }
  }

  /** From the line that a server says when it starts. */
  async port(): Promise<number> {
    return Number((await this.says(/wsgi starting up on https?:\/\/127\.0\.0\.1:(\d+)/))[1])
  }

  async stop(): Promise<Exit> {
    this.child.kill('SIGTERM')
    return await within(PATIENCE, this.exit, 'the program to end')
  }
}

/** Whatever a failed test left behind. */
export function killAll(): void {
  for (const { child } of running) child.kill('SIGKILL')
}

/** Runs to its end. */
export async function runToEnd(command: string, words: readonly string[], options: SpawnOptions = {}, patience: number = 4 * PATIENCE): Promise<Exit & { stdout: string; stderr: string }> {
  const program = new Program(command, words, options)
  const { code, signal } = await within(patience, program.exit, `${command} ${words.join(' ')} to end`)
  return { code, signal, stdout: program.stdout, stderr: program.stderr }
}

export interface Answer {
  readonly status: number
  /** As it came, latin-1, without the empty line. */
  readonly head: string
  readonly body: Buffer
}

/** One answer in these bytes, by Content-Length or to the end; chunked content is left as it came. */
export function parseAnswer(bytes: Buffer): Answer {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) throw new Error(`no answer: ${JSON.stringify(bytes.toString('latin1'))}`)
  const head = bytes.toString('latin1', 0, end)
  return { status: Number(head.slice(9, 12)), head, body: bytes.subarray(end + 4) }
}

/** One request on a connection of its own, closed after the answer. `lines` are further field lines. */
export async function ask(port: number, requestLine: string, lines: readonly string[] = [], content: string | Uint8Array = ''): Promise<Answer> {
  const socket = await connectTo(port)
  socket.write([`${requestLine} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...lines, '', ''].join('\r\n'))
  if (content.length > 0) socket.write(content)
  const answer = parseAnswer(await collect(socket))
  socket.destroy()
  return answer
}
