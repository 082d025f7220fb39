// No descriptor is left while peers go on connecting: nobody who is served notices, the process neither spins nor ends, and it recovers by itself.
import * as net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { get } from '../support/harness.ts'
import { within } from '../support/within.ts'
import { withChild } from './support.ts'

const LIMIT = 64
const PEERS = 200

for (const transport of ['stream', 'handle'] as const) {
  const tests = suite(`descriptors exhausted (${transport})`)

  tests('no spin, no exit, and the next peer after it is served', () => withChild({ descriptors: LIMIT, options: { transport } }, async child => {
    const served = await child.connect()
    await served.send(get())
    assert.is((await served.response()).status, 200)
    // The kernel accepts them all; libuv closes at once what the process has no descriptor for.
    let closed = 0
    const peers = Array.from({ length: PEERS }, () => net.connect(child.port, '127.0.0.1').on('error', () => {}).on('close', () => closed++).resume())
    const full = await child.until(({ stats }) => stats.connections + closed >= PEERS, 'every peer served or closed')
    assert.ok(full.stats.connections > LIMIT / 4 && full.stats.connections < LIMIT, `${full.stats.connections} connections`)

    // Two seconds in which nothing is asked of it, and new peers are turned away all the while.
    const late = Array.from({ length: 20 }, () => net.connect(child.port, '127.0.0.1').on('error', () => {}).resume())
    const before = await child.report()
    await delay(2000)
    const after = await child.report()
    assert.ok(after.cpu - before.cpu < 200, `${after.cpu - before.cpu} ms of CPU in two seconds`)
    await served.send(get())
    assert.is((await served.response()).status, 200)

    for (const peer of [...peers, ...late]) peer.destroy()
    await child.until(({ stats }) => stats.connections === 1, 'the crowd to be gone')
    const next = await child.connect()
    await next.send(get())
    assert.is((await next.response()).status, 200)
    next.destroy()
    served.destroy()
    const { report, code } = await child.close()
    assert.equal([report.faults, report.lent, code], [[], 0, 0])
  }))

  tests('a peer that was turned away sees its connection end, at once', () => withChild({ descriptors: LIMIT, options: { transport } }, async child => {
    let closed = 0
    const peers = Array.from({ length: PEERS }, () => net.connect(child.port, '127.0.0.1').on('error', () => {}).on('close', () => closed++).resume())
    await child.until(({ stats }) => stats.connections + closed >= PEERS, 'every peer served or closed')
    const last = net.connect(child.port, '127.0.0.1').on('error', () => {}).resume()
    await within(5000, new Promise(resolve => last.once('close', resolve)), 'the end')
    assert.is(last.bytesRead, 0)
    for (const peer of peers) peer.destroy()
    await child.until(({ stats }) => stats.connections === 0, 'the crowd to be gone')
    assert.equal((await child.close()).report.faults, [])
  }))

  tests.run()
}
