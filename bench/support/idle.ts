// A process of its own: warms a server up, then opens connections, has one request answered on each and leaves them idle.
// Says `ready` when the first count stands, goes on when told to, and says it again at the second.
import { connect, type Socket } from 'node:net'
import { octetsOf } from './requests.ts'
import { PATIENCE, readResponse } from './check.ts'
import type { IdleLoad } from './works.ts'

const { host, port, load } = JSON.parse(process.argv[2]!) as { host: string; port: number; load: IdleLoad }
const octets = octetsOf(load.request)
const WARMING = 64

const held: Socket[] = []

/** Opens one, has `count` requests answered on it one after the other. */
function served(count: number): Promise<Socket> {
  return new Promise(resolve => {
    let left = count
    const socket: Socket = connect({ host, port }, () => socket.write(octets, 'latin1'))
    let bytes: Buffer = Buffer.alloc(0)
    const fail = (reason: string): never => {
      process.stderr.write(`idle connection ${held.length}: ${reason}\n`)
      process.exit(1)
    }
    socket.on('error', error => fail(error.message))
    socket.setTimeout(PATIENCE, () => fail(`nothing for ${PATIENCE / 1000} s`))
    socket.on('data', chunk => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
      const response = readResponse(bytes, false)
      if (response === null) return
      bytes = Buffer.alloc(0)
      if (--left > 0) socket.write(octets, 'latin1')
      else {
        socket.setTimeout(0)
        resolve(socket)
      }
    })
    // A server that closes an idle connection would be measured without it.
    socket.on('end', () => fail('closed'))
  })
}

async function hold(count: number): Promise<void> {
  while (held.length < count) held.push(...(await Promise.all(Array.from({ length: Math.min(WARMING, count - held.length) }, () => served(1)))))
}

const warm = await Promise.all(Array.from({ length: WARMING }, () => served(Math.ceil(load.warmUp / WARMING))))
for (const socket of warm) socket.resetAndDestroy()

await hold(load.from)
process.stdout.write('ready\n')
process.stdin.once('data', () => {
  hold(load.to).then(() => process.stdout.write('ready\n'))
})
// Reset, not closed: so many ports in TIME_WAIT would be missing in the next round.
process.on('SIGTERM', () => {
  for (const socket of held) socket.resetAndDestroy()
  setTimeout(() => process.exit(0), 100)
})
