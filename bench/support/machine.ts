// What the figures were taken on.
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'
import { ROOT } from './peers.ts'

export interface Machine {
  system: string
  cpu: string
  cores: number
  memoryGiB: number
  node: string
  revision: string
}

function revision(): string {
  try {
    const git = (...words: string[]): string => execFileSync('git', words, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' and changes')
  } catch {
    return 'no git'
  }
}

export function machine(): Machine {
  return {
    system: `${type()} ${release()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    revision: revision()
  }
}

export function machineLine(it: Machine = machine()): string {
  return `${it.system}, ${it.cores} × ${it.cpu}, ${it.memoryGiB} GiB, Node ${it.node.slice(1)}, Wirelet ${it.revision}`
}

/** A whole number from a command line. */
export function positive(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: not a number of at least 1: ${text}`)
  return value
}
