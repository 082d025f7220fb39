// How the command fails: one line on stderr and an exit code.

/** Exit code 2 for what was asked wrongly, 1 for what could not be done. */
export class CommandError extends Error {
  readonly exitCode: 1 | 2

  constructor(message: string, exitCode: 1 | 2) {
    super(message)
    this.exitCode = exitCode
  }
}

/** A wrong command line. */
export function usage(message: string): CommandError {
  return new CommandError(`${message} (wirelet --help shows how)`, 2)
}
