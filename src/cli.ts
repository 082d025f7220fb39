#!/usr/bin/env node
// The command `wirelet`; src/cli/ is its inside.
import { main } from './cli/main.ts'

await main(process.argv.slice(2))
