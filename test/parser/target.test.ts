import { suite } from 'uvu'
import { expectError, expectEvents } from '../support/event-log.ts'

const target = suite('parser/target')

const HOST = 'Host: x\r\n\r\n'

function accepted(method: string, requestTarget: string, extra = '', secure = false): void {
  expectEvents(`${method} ${requestTarget} HTTP/1.1\r\n${HOST}`, [`head ${method} ${requestTarget} 1.1 keep-alive${extra}`, 'field Host: x'], { secure })
}

function refused(method: string, requestTarget: string, expected: string): void {
  expectError(`${method} ${requestTarget} HTTP/1.1\r\n${HOST}`, expected)
}

target('origin-form, handed on exactly as received', () => {
  for (const path of [
    '/', '/where?q=now&x=%20', '//evil.example/x', '/a/../b/./c', '/%00%2f%zz%', '/?', '/a?b?c/d', '/http://x/', "/-._~!$&'()*+,;=:@", '/^`{|}[]', '/*'
  ]) accepted('GET', path)
})

target('octets that are in no target', () => {
  for (const octet of ['"', '<', '>', '\\', '#', '\x00', '\x01', '\x1f', '\x7f', '\x80', '\xc3\xa9', '\xff', '\t', '\x0b']) {
    refused('GET', `/a${octet}b`, 'INVALID_URL 400 @6')
  }
})

target('absolute-form: http, with its authority', () => {
  accepted('GET', 'http://x', ' authority=x')
  accepted('GET', 'http://y/p?q', ' authority=y')
  accepted('GET', 'HTTP://example.com:8080?q', ' authority=example.com:8080')
  accepted('OPTIONS', 'http://[2001:db8::1]:80/', ' authority=[2001:db8::1]:80')
  accepted('GET', 'http://x:/p@q', ' authority=x:')
})

target('absolute-form behind empty lines', () => {
  expectEvents(`\r\n\r\nGET http://y/p HTTP/1.1\r\n${HOST}`, ['head GET http://y/p 1.1 keep-alive authority=y', 'field Host: x'])
})

target('absolute-form: https only on a secure connection', () => {
  accepted('GET', 'https://x/', ' authority=x', true)
  accepted('GET', 'http://x/', ' authority=x', true)
  refused('GET', 'https://x/', 'INVALID_URL 400 @4')
})

target('absolute-form: other schemes and broken ones', () => {
  for (const wrong of ['ftp://x/', 'httpx://x/', 'htt://x/', 'ws://x/', 'foo', 'foo/bar', 'x:80', 'mailto:a@b', '[::1]', '://x', '?q=1', '@', 'http']) {
    refused('GET', wrong, wrong === 'http' ? 'INVALID_URL 400 @8' : 'INVALID_URL 400 @4')
  }
  for (const wrong of ['http:/x', 'http:x', 'http:', 'http:/', 'http:?//x']) refused('GET', wrong, 'INVALID_URL 400 @8')
})

target('absolute-form: its authority is checked like Host', () => {
  for (const [authority, offset] of [
    ['', 11], [':80', 11], ['u@x', 12], ['u:p@x', 13], ['x:8o', 14], ['x:65536', 17], ['[::1', 15], ['x%00', 12], ['x%2f', 12], ['[fe80::1%25eth0]', 19]
  ] as const) {
    refused('GET', `http://${authority}/p`, `INVALID_URL 400 @${offset}`)
    refused('GET', `http://${authority}?p`, `INVALID_URL 400 @${offset}`)
    refused('GET', `http://${authority}`, `INVALID_URL 400 @${offset}`)
  }
})

target('asterisk-form only with OPTIONS', () => {
  accepted('OPTIONS', '*')
  refused('GET', '*', 'INVALID_URL 400 @4')
  refused('options', '*', 'INVALID_URL 400 @8')
  refused('OPTIONS', '**', 'INVALID_URL 400 @8')
  refused('OPTIONS', '*x', 'INVALID_URL 400 @8')
  refused('OPTIONS', '*?q', 'INVALID_URL 400 @8')
})

target('authority-form only with CONNECT, and CONNECT is refused at the head\'s end', () => {
  refused('CONNECT', 'x:443', 'CONNECT_REFUSED 501 @35')
  refused('CONNECT', '[::1]:443', 'CONNECT_REFUSED 501 @39')
  refused('CONNECT', 'x', 'INVALID_URL 400 @9')
  refused('CONNECT', 'x:', 'INVALID_URL 400 @10')
  refused('CONNECT', 'x:99999', 'INVALID_URL 400 @14')
  refused('CONNECT', '/', 'INVALID_URL 400 @8')
  refused('CONNECT', '*', 'INVALID_URL 400 @9')
  refused('CONNECT', 'http://x/', 'INVALID_URL 400 @13')
  refused('CONNECT', 'u@x:80', 'INVALID_URL 400 @9')
  expectEvents(`connect /x HTTP/1.1\r\n${HOST}`, ['head connect /x 1.1 keep-alive', 'field Host: x'])
})

target.run()
