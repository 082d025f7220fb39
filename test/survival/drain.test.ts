// Draining under load, a few rounds of what soak/drain.ts does hundreds of times: no request is lost, everybody is told, the process ends.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { drainRound as drainOnce, HELD_UP, IDLE_GRACE, SHUTDOWN, type Round, type RoundOptions } from '../../soak/drain-round.ts'

/** Again when this process was held up for so long that its clients' pauses outlasted the grace. */
async function drainRound(options: RoundOptions): Promise<Round> {
  for (let again = 0; ; again++) {
    const round = await drainOnce(options)
    if (again === 3 || round.heldUp <= HELD_UP || round.sent === round.answered) return round
  }
}

for (const transport of ['stream', 'handle'] as const) {
  const tests = suite(`draining under load (${transport})`)

  for (const seed of [1, 2, 3]) {
    tests(`40 busy clients: every request answered, every client told, seed ${seed}`, async () => {
      const round = await drainRound({ transport, seed })
      assert.equal([round.lost, round.faults, round.sent - round.answered, round.told, round.code], [[], [], 0, 40, 0])
      assert.ok(round.sent > 40)
      assert.ok(round.took < SHUTDOWN, `${round.took} ms`)
    })
  }

  tests('event streams, upgraded connections, dripped heads and contents: the deadline ends them', async () => {
    const round = await drainRound({ transport, seed: 4, bystanders: true })
    assert.equal([round.lost, round.faults, round.sent - round.answered, round.told, round.code], [[], [], 0, 40, 0])
    assert.ok(round.took > SHUTDOWN - 50 && round.took < SHUTDOWN + 1000, `${round.took} ms`)
  })

  tests('an unfinished handshake holds up nothing', async () => {
    const round = await drainRound({ transport, seed: 5, tls: true })
    assert.equal([round.lost, round.faults, round.code], [[], [], 0])
    assert.ok(round.took < IDLE_GRACE, `${round.took} ms`)
  })

  tests.run()
}
