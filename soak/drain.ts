// Drains at random moments, many: counts the requests that were lost (0, or exit code 1).
//   node build/soak/drain.js [--rounds 200] [--seed 1] [--transport stream|handle|both]
import { parseArgs } from 'node:util'
import { drainRound, HELD_UP, IDLE_GRACE, SHUTDOWN } from './drain-round.ts'

const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '200' }, seed: { type: 'string', default: '1' }, transport: { type: 'string', default: 'both' } }
})

let failed = false
for (const transport of flags.transport === 'both' ? (['stream', 'handle'] as const) : [flags.transport as 'stream' | 'handle']) {
  const total = { rounds: 0, void: 0, sent: 0, answered: 0, lost: 0, clients: 0, told: 0, late: 0, badExits: 0, faults: 0 }
  let longest = 0
  let longestAlone = 0
  for (let i = 0; i < Number(flags.rounds); i++) {
    const seed = Number(flags.seed) + i
    const bystanders = i % 4 === 3
    const round = await drainRound({ transport, seed, bystanders })
    if (round.heldUp > HELD_UP && round.sent > round.answered) {
      // Not counted; whoever lets more than a few of them pass has a machine too busy for this.
      if (++total.void > 20) throw new Error('this machine is too busy')
      continue
    }
    // Bystanders cost the whole shutdown deadline, and a second for its enforcement; nothing else costs more than the grace of idle connections.
    const most = bystanders ? SHUTDOWN + 1000 : IDLE_GRACE + 1000
    total.rounds++
    total.sent += round.sent
    total.answered += round.answered
    total.lost += round.sent - round.answered
    total.clients += round.clients
    total.told += round.told
    if (round.took > most) total.late++
    if (round.code !== 0) total.badExits++
    total.faults += round.faults.length
    if (bystanders) longest = Math.max(longest, round.took)
    else longestAlone = Math.max(longestAlone, round.took)
    for (const what of [...round.lost, ...round.faults]) process.stdout.write(`  ${transport} seed ${seed}: ${what}\n`)
  }
  const wrong = total.lost + total.late + total.badExits + total.faults + (total.clients - total.told)
  failed ||= wrong > 0
  process.stdout.write(`${transport}: ${JSON.stringify(total)}, longest ${longestAlone.toFixed(0)} ms, with bystanders ${longest.toFixed(0)} ms: ${wrong === 0 ? 'nothing lost' : 'WRONG'}\n`)
}
process.exitCode = failed ? 1 : 0
