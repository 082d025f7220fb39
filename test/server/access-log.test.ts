import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { UsageError } from '../../src/io/errors.ts'
import { RequestHead, TargetForm } from '../../src/parser/request-head.ts'
import { AccessLog, type AccessRecord } from '../../src/server/access-log.ts'
import { DEFAULT_LOG_FORMAT } from '../../src/server/options.ts'
import { FakeClock } from '../support/fake-clock.ts'

// Read at the first use of a date: east of Greenwich, a half-hour zone, no daylight saving.
process.env['TZ'] = 'Asia/Kolkata'

/** A head as the parser makes it, for well-formed text. */
function head(text: string): RequestHead {
  const lines = text.split('\r\n')
  const [method, target, version] = lines[0]!.split(' ')
  const fields: number[] = []
  let at = lines[0]!.length + 2
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':')
    if (colon < 0) break
    const value = line.slice(colon + 1)
    const start = at + colon + 1 + (value.length - value.trimStart().length)
    fields.push(at, at + colon, start, start + value.trim().length)
    at += line.length + 2
  }
  const start = method!.length + 1
  return new RequestHead(method!, text, start, start + target!.length, TargetForm.ORIGIN, version === 'HTTP/1.0' ? 0 : 1, fields)
}

function request(text: string, more: Partial<AccessRecord> = {}): AccessRecord {
  return {
    head: head(text), requestLine: text.slice(0, text.indexOf('\r\n')), peer: { address: '192.0.2.7', port: 40_000, family: 'IPv4' },
    status: 200, bodyLength: 13, wireLength: 113, wallSeconds: 0.0001234567, loggedAt: 0, reason: '', requestId: '', ...more
  }
}

const GET = 'GET /a?b=c HTTP/1.1\r\nHost: x\r\nReferer: http://r/\r\nUser-Agent: curl/8\r\n\r\n'

function lines(logFormat: string, records: AccessRecord[], more: { logXForwardedFor?: boolean; clock?: FakeClock } = {}): string[] {
  const written: string[] = []
  const log = new AccessLog({ logFormat, logXForwardedFor: more.logXForwardedFor ?? true, clock: more.clock ?? new FakeClock() }, line => written.push(line))
  for (const record of records) log.record(record)
  return written
}

function line(logFormat: string, record: AccessRecord = request(GET), logXForwardedFor = true): string {
  return lines(logFormat, [record], { logXForwardedFor })[0]!
}

const formats = suite('log formats')

formats('default: eventlet\'s line, local time', () => {
  assert.is(line(DEFAULT_LOG_FORMAT), '192.0.2.7 - - [06/Nov/1994 14:19:37] "GET /a?b=c HTTP/1.1" 200 13 0.000123')
})

formats('default: as its template says, compiled part by part', () => {
  const refused: Partial<AccessRecord> = { head: null, requestLine: '', status: 0, bodyLength: 0, wallSeconds: 0 }
  const proxied = request('GET /"\\ HTTP/1.0\r\nX-Forwarded-For: "\r\n\r\n', { status: 404, bodyLength: 123_456, wallSeconds: 12.5 })
  for (const record of [request(GET), proxied, request(GET, refused), request(GET, { wallSeconds: -1, peer: { address: '', port: 0, family: '' } })]) {
    assert.is(line(DEFAULT_LOG_FORMAT, record), line(`${DEFAULT_LOG_FORMAT}%%`, record).slice(0, -1))
  }
})

formats('default: a refused request carries its reason', () => {
  const refused: AccessRecord = { ...request(GET), head: null, requestLine: 'GET / HTTP/1.1', status: 400, reason: 'HPE_INVALID_HOST: Host is invalid' }
  assert.is(line(DEFAULT_LOG_FORMAT, refused), '192.0.2.7 - - [06/Nov/1994 14:19:37] "GET / HTTP/1.1" 400 13 0.000123 "HPE_INVALID_HOST: Host is invalid"')
})

formats('common and combined', () => {
  assert.is(line('common'), '192.0.2.7 - - [06/Nov/1994:14:19:37 +0530] "GET /a?b=c HTTP/1.1" 200 13')
  assert.is(line('combined'), '192.0.2.7 - - [06/Nov/1994:14:19:37 +0530] "GET /a?b=c HTTP/1.1" 200 13 "http://r/" "curl/8"')
  const bare = request('GET / HTTP/1.0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n')
  assert.is(line('combined', bare), '192.0.2.7 - - [06/Nov/1994:14:19:37 +0530] "GET / HTTP/1.0" 200 13 "-" "-"')
})

formats('json: one object, what is absent left out', () => {
  assert.is(line('json'), '{"time":"1994-11-06T08:49:37Z","peer_ip":"192.0.2.7","peer_port":40000,"method":"GET","target":"/a?b=c","protocol":"HTTP/1.1",'
    + '"status_code":200,"body_length":13,"wire_length":113,"wall_seconds":0.000123,"referer":"http://r/","user_agent":"curl/8"}')
  const evil = request('GET /"\\ HTTP/1.1\r\nUser-Agent: a"\\\x01\x7f\x9b\xff\r\n\r\n')
  const written = line('json', evil)
  assert.match(written, /^[\x20-\x7e]+$/)
  assert.is(JSON.parse(written).user_agent, 'a"\\\x01\x7f\x9b\xff')
  const refused = JSON.parse(line('json', { ...evil, head: null, status: 408, reason: 'HPE_X: y' }))
  assert.equal([refused.method, refused.status_code, refused.reason], [undefined, 408, 'HPE_X: y'])
})

formats('every name, test_026_log_format', () => {
  const all = request('PUT /x HTTP/1.0\r\nX-Request-Id: theirs\r\nreferer: q\r\nUSER-AGENT: u\r\n\r\n', { reason: 'why', requestId: 'ours-1' })
  assert.is(
    line('%(client_ip)s|%(client_port)s|%(date_time)s|%(request_line)s|%(status_code)d|%(body_length)s|%(wall_seconds).6f|%(peer_ip)s|%(peer_port)d|%(wire_length)s'
      + '|%(protocol)s|%(referer)s|%(user_agent)s|%(request_id)s|%(method)s|%(target)s|%(reason)s|%(clf_time)s|%(time)s|100%%', all),
    '192.0.2.7|40000|06/Nov/1994 14:19:37|PUT /x HTTP/1.0|200|13|0.000123|192.0.2.7|40000|113'
      + '|HTTP/1.0|q|u|ours-1|PUT|/x|why|06/Nov/1994:14:19:37 +0530|1994-11-06T08:49:37Z|100%')
})

formats('text that is not given is a dash', () => {
  const refused: AccessRecord = { ...request(GET), head: null, requestLine: '', peer: { address: '', port: 0, family: '' } }
  assert.is(line('%(client_ip)s %(request_line)s %(method)s %(target)s %(protocol)s %(referer)s %(user_agent)s %(request_id)s %(reason)s', refused), '- - - - - - - - -')
})

formats('widths and precisions as in Python', () => {
  assert.is(line('%(method)5s|%(method)-5s|%(status_code)06d|%(wall_seconds).3f|%(wall_seconds)f|%(wall_seconds)d|%(wall_seconds)s'),
    '  GET|GET  |000200|0.000|0.000123|0|0.0001234567')
  // Of text a precision is the most there is of it, and zeros are for numbers.
  assert.is(line('%(method).2s|%(request_line)6.3s|%(target).0s|%(target).99s|%(date_time).11s|%(method)05s|%(status_code)05s'), 'GE|   GET|-|/a?b=c|06/Nov/1994|  GET|  200')
})

formats('a template that cannot be is refused at the start', () => {
  for (const bad of ['%(nope)s', '%(constructor)s', '%s', '%(method)', '%(method)d', '100%', '% (method)s', '%(method', '%(body_length).4d', '%(status_code).2s']) {
    assert.throws(() => line(bad), (error: unknown) => error instanceof UsageError && /^logFormat: /.test(error.message), bad)
  }
})

formats('the time is rendered anew each second, and when the clock is set back', () => {
  const clock = new FakeClock()
  const written: string[] = []
  const log = new AccessLog({ logFormat: '%(date_time)s', logXForwardedFor: true, clock }, text => written.push(text.slice(-8)))
  log.record(request(GET, { loggedAt: clock.now() }))
  clock.advance(999)
  log.record(request(GET, { loggedAt: clock.now() }))
  clock.advance(1)
  log.record(request(GET, { loggedAt: clock.now() }))
  clock.jump(-10_000)
  log.record(request(GET, { loggedAt: clock.now() }))
  assert.equal(written, ['14:19:37', '14:19:37', '14:19:38', '14:19:28'])
})

formats.run()

const escaping = suite('log escaping')

escaping('one request is one line, whatever the peer sent', () => {
  const evil = request('GET /\x00\n"\\\x1b[31m\x7f\xe9 HTTP/1.1\r\nUser-Agent: "a\\b"\x85\r\n\r\n')
  assert.is(line('"%(request_line)s" "%(target)s" "%(user_agent)s"', evil),
    '"GET /\\x00\\x0a\\"\\\\\\x1b[31m\\x7f\\xe9 HTTP/1.1" "/\\x00\\x0a\\"\\\\\\x1b[31m\\x7f\\xe9" "\\"a\\\\b\\"\\x85"')
})

escaping('every byte comes out as printable ASCII, and quotes stay balanced', () => {
  for (let code = 0; code < 256; code++) {
    const record = request(GET, { requestLine: `a${String.fromCharCode(code)}b` })
    for (const format of [DEFAULT_LOG_FORMAT, 'common', 'combined', 'json']) assert.match(line(format, record), /^[\x20-\x7e]+$/)
    assert.match(line('"%(request_line)s"', record), /^"(?:[^"\\]|\\.)*"$/)
  }
})

escaping.run()

const forwarded = suite('client_ip')

forwarded('test_020_x_forwarded_for: every line, spaces out, then the peer', () => {
  const proxied = request('GET / HTTP/1.1\r\nx-forwarded-FOR: 1.2.3.4, \t5.6.7.8\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n')
  assert.is(line('%(client_ip)s', proxied), '1.2.3.4,5.6.7.8,9.9.9.9,192.0.2.7')
  assert.is(line('%(client_ip)s', proxied, false), '192.0.2.7')
  assert.is(line('%(peer_ip)s', proxied), '192.0.2.7')
})

forwarded('empty ones count as none', () => {
  assert.is(line('%(client_ip)s', request('GET / HTTP/1.1\r\nX-Forwarded-For:\r\nX-Forwarded-For:  \r\n\r\n')), '192.0.2.7')
})

forwarded('256 bytes at most', () => {
  const cut = (length: number): string => line('%(client_ip)s', request(`GET / HTTP/1.1\r\nX-Forwarded-For: ${'1'.repeat(length)}\r\n\r\n`))
  assert.is(cut(255), '1'.repeat(255) + ',192.0.2.7')
  assert.is(cut(256), '1'.repeat(256) + ',192.0.2.7')
  assert.is(cut(257), '1'.repeat(256) + ',192.0.2.7')
  assert.is(cut(8000), '1'.repeat(256) + ',192.0.2.7')
})

forwarded('escaped like any other text', () => {
  assert.is(line('%(client_ip)s', request('GET / HTTP/1.1\r\nX-Forwarded-For: "\xff\r\n\r\n')), '\\"\\xff,192.0.2.7')
})

forwarded.run()
