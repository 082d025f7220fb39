// Serves the files of one directory, and nothing else that the machine has.
//   node examples/files/app.js DIRECTORY [PORT]
// What may be asked for is decided on RAW_PATH_INFO, the path as it was sent: PATH_INFO is decoded, and in it an encoded slash looks like any other.
// Not here: ranges, ETags, compression, listings. A front server does those better.
import { constants } from 'node:fs'
import { open, realpath } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import { formatDateTime, listen, serve } from '../../dist/index.js'

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.gif': 'image/gif',
  '.htm': 'text/html; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/vnd.microsoft.icon',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.md': 'text/markdown; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml'
}

const [directory, port = '8090'] = process.argv.slice(2)
if (directory === undefined) {
  process.stderr.write('usage: node examples/files/app.js DIRECTORY [PORT]\n')
  process.exit(2)
}
const ROOT = await realpath(directory)

/** The names in a path, decoded one by one; null when one of them could mean anything but a name. */
function namesIn(rawPath) {
  if (!rawPath.startsWith('/')) return null
  const names = []
  const parts = rawPath.slice(1).split('/')
  for (const [index, part] of parts.entries()) {
    // A slash at the end means the directory itself.
    if (part === '' && index === parts.length - 1) break
    let name
    try {
      name = decodeURIComponent(part)
    } catch {
      return null
    }
    // Empty, dot and hidden names; slashes, backslashes and control characters that came encoded.
    if (name === '' || name.startsWith('.') || /[/\\\x00-\x1f\x7f]/.test(name)) return null
    names.push(name)
  }
  return names
}

/** An open regular file and its facts; null when there is none, or it lies outside. */
async function find(names) {
  let file = null
  try {
    const path = await realpath(join(ROOT, ...names))
    if (path !== ROOT && !path.startsWith(ROOT.endsWith(sep) ? ROOT : ROOT + sep)) return null
    // O_NOFOLLOW: what was a file a moment ago may be a link now. O_NONBLOCK: opening a FIFO must not wait for its writer.
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const facts = await file.stat()
    if (facts.isFile() || facts.isDirectory()) return { path, file, facts }
    await file.close()
    return null
  } catch (error) {
    await file?.close()
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG', 'ENXIO'].includes(error.code)) return null
    throw error
  }
}

/** If-Modified-Since counts whole seconds, and only where no If-None-Match stands beside it (RFC 9110 §13.1.3). */
function unchanged(environ, modified) {
  const since = environ.HTTP_IF_MODIFIED_SINCE
  if (since === undefined || environ.HTTP_IF_NONE_MATCH !== undefined) return false
  return Math.floor(modified / 1000) * 1000 <= Date.parse(since)
}

function text(startResponse, status, line, headers = []) {
  startResponse(status, [['Content-Type', 'text/plain'], ...headers])
  return [line + '\r\n']
}

async function app(environ, startResponse) {
  const method = environ.REQUEST_METHOD
  const path = environ.RAW_PATH_INFO
  if (method !== 'GET' && method !== 'HEAD') return text(startResponse, 405, 'GET and HEAD only', [['Allow', 'GET, HEAD']])
  const names = namesIn(path)
  if (names === null) return text(startResponse, 400, 'not a path of this server')

  let found = await find(names)
  if (found?.facts.isDirectory()) {
    await found.file.close()
    // Relative links need the slash. The path has been checked: it cannot begin with two, which would name another host.
    if (!path.endsWith('/')) return text(startResponse, 308, 'a directory', [['Location', path + '/']])
    found = await find([...names, 'index.html'])
  } else if (found !== null && path.endsWith('/')) {
    await found.file.close()
    found = null
  }
  if (found === null) return text(startResponse, 404, 'not found')

  const { file, facts } = found
  if (!facts.isFile()) {
    await file.close()
    return text(startResponse, 404, 'not found')
  }
  const headers = [['Last-Modified', formatDateTime(facts.mtimeMs)], ['X-Content-Type-Options', 'nosniff']]
  if (unchanged(environ, facts.mtimeMs)) {
    await file.close()
    startResponse(304, headers)
    return []
  }
  startResponse(200, [['Content-Type', TYPES[extname(found.path).toLowerCase()] ?? 'application/octet-stream'], ['Content-Length', facts.size], ...headers])
  if (method === 'HEAD' || facts.size === 0) {
    await file.close()
    return []
  }
  // As many bytes as were announced, even if the file grows meanwhile. Read no faster than the peer takes them, and closed when it leaves.
  return file.createReadStream({ start: 0, end: facts.size - 1 })
}

const server = serve(await listen(Number(port)), app)
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close())
await server.finished
