// The access log's file: appended to, and opened again when a log rotator has moved it away (SIGUSR1).
import { closeSync, openSync, writeSync } from 'node:fs'

/** Writes at once: lines come in batches (log.ts), land in the page cache, and none is lost when the process ends. */
export class AccessFile {
  private readonly path: string
  private descriptor: number

  /** Throws the system's error if the file cannot be opened. */
  constructor(path: string) {
    this.path = path
    this.descriptor = openSync(path, 'a')
  }

  write(text: string): void {
    const bytes = Buffer.from(text)
    // A regular file takes all, a FIFO may take a part.
    for (let at = 0; at < bytes.length;) at += writeSync(this.descriptor, bytes, at)
  }

  /** Throws the system's error; the old file then stays in use. */
  reopen(): void {
    const descriptor = openSync(this.path, 'a')
    closeSync(this.descriptor)
    this.descriptor = descriptor
  }
}
