// Takes a file of any type, hashes it while it arrives and keeps it under the name of its hash.
//   UPLOADS=/tmp/uploads node dist/cli.js examples/upload/app.js
//   curl -T some.file http://127.0.0.1:8090/     {"bytes":…,"sha256":"…"}
// UPLOADS is the directory (the system's temporary one by default), UPLOAD_LIMIT the size of the largest file in bytes (100 MiB by default).
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const DIRECTORY = process.env.UPLOADS ?? join(tmpdir(), 'wirelet-uploads')
const LIMIT = Number(process.env.UPLOAD_LIMIT ?? 100 * 1024 * 1024)

await mkdir(DIRECTORY, { recursive: true })

class TooLarge extends Error {}

/** Nothing is held but the piece at hand: while the disk is slow, the sender waits. */
async function store(input) {
  const temporary = join(DIRECTORY, `${randomUUID()}.part`)
  const hash = createHash('sha256')
  let bytes = 0
  const file = await open(temporary, 'wx', 0o600)
  try {
    try {
      for await (const piece of input) {
        bytes += piece.length
        if (bytes > LIMIT) throw new TooLarge()
        hash.update(piece)
        await file.writeFile(piece)
      }
    } finally {
      await file.close()
    }
    // Only here is the content complete: an upload that was cut short has thrown above.
    const sha256 = hash.digest('hex')
    await rename(temporary, join(DIRECTORY, sha256))
    return { bytes, sha256 }
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

function json(startResponse, status, value, headers = []) {
  startResponse(status, [['Content-Type', 'application/json'], ...headers])
  return [JSON.stringify(value) + '\n']
}

export default async function app(environ, startResponse) {
  if (environ.REQUEST_METHOD !== 'PUT' && environ.REQUEST_METHOD !== 'POST') {
    return json(startResponse, 405, { error: 'PUT or POST a file' }, [['Allow', 'PUT, POST']])
  }
  // Known beforehand for all but chunked uploads. Refused unread; whoever sent `Expect: 100-continue` sends nothing in vain.
  if (Number(environ.CONTENT_LENGTH ?? 0) > LIMIT) return json(startResponse, 413, { error: `at most ${LIMIT} bytes` })
  try {
    return json(startResponse, 201, await store(environ['wsgi.input']))
  } catch (error) {
    if (error instanceof TooLarge) return json(startResponse, 413, { error: `at most ${LIMIT} bytes` })
    throw error
  }
}
