// Poison mode: borrowed memory is overwritten the moment its loan ends, so that whoever kept a view shows it at once.
// On with WIRELET_POISON=1, or by a test.

let poisoned = process.env['WIRELET_POISON'] === '1'

export function isPoisoned(): boolean {
  return poisoned
}

export function setPoison(on: boolean): void {
  poisoned = on
}
