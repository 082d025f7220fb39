import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { checkHost, checkHostAndPort, VALID } from '../../src/parser/host.ts'
import { poisonedWindow } from '../support/splits.ts'

const host = suite('parser/host')

// Where the host is wrong, counted from its first octet; VALID when it is not.
function check(input: string, checker = checkHost): number {
  const { bytes, start, end } = poisonedWindow(Buffer.from(input, 'latin1'))
  const fault = checker(bytes, start, end)
  return fault === VALID ? VALID : fault - start
}

host('names and addresses with and without a port', () => {
  for (const valid of [
    'x', 'example.com', 'example.com.', 'EXAMPLE.com:80', 'x:', 'x:0', 'x:65535', 'x:00080', '127.0.0.1', '127.0.0.1:8090', '999.999.999.999',
    "a_b-c.d~e!$&'()*+;=", 'a,b', '-', '%41', 'x%C3%A9', 'x%c3%a9:1', '%7E'
  ]) assert.is(check(valid), VALID, valid)
})

host('each fault at its octet', () => {
  for (const [input, fault] of [
    ['', 0], [':80', 0], ['/', 0], ['x/p', 1], ['x?q', 1], ['x#f', 1], ['u@x', 1], ['http://x', 5], ['x y', 1], ['x\ty', 1], ['x\x00', 1],
    ['x\xff', 1], ['x\\y', 1], ['"x"', 0], ['x:8a', 3], ['x:80:80', 4], ['x:-1', 2], ['x:65536', 6], ['x:000000000065536', 16], ['x: 80', 2],
    ['x:99999999999999999999', 6], ['::1', 0], ['x]', 1], ['x[::1]', 1]
  ] as const) assert.is(check(input), fault, input)
})

host('a percent sign hides neither a delimiter nor a control nor a space', () => {
  for (const input of [
    'x%zz', 'x%', 'x%4', 'x%4g', 'x%00', 'x%2f', 'x%2F', 'x%3a80', 'x%40y', 'x%5b', 'x%23', 'x%3f', 'x%20', 'x%25', 'x%2c', 'x%7f',
    'x%0d%0a'
  ]) {
    assert.is(check(input), 1, input)
  }
})

host('IPv6 addresses', () => {
  for (const valid of [
    '::', '::1', '1::', '1:2:3:4:5:6:7:8', '2001:db8::1', '1::8', '1:2:3:4:5:6:7::', '::2:3:4:5:6:7:8', '1:2:3::6:7:8', 'ABCD:ef01::', 'fe80::1',
    '::ffff:192.0.2.1', '1:2:3:4:5:6:1.2.3.4', '::1.2.3.4', '1::255.255.255.255', '1:2:3:4:5::0.0.0.0', '0000::0000'
  ]) {
    assert.is(check(`[${valid}]`), VALID, valid)
    assert.is(check(`[${valid}]:80`), VALID, `${valid} with a port`)
    assert.is(check(`[${valid}]:`), VALID, `${valid} with an empty port`)
  }
})

host('what only looks like an IPv6 address', () => {
  for (const wrong of [
    '', ':', ':::', '1', '1:', ':1', '1:2', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', ':::1', '1:::2', '12345::', '::g', 'zz', '::1%25eth0',
    '::1%eth0', '1:2:3:4:5:6:7:1.2.3.4', '1.2.3.4', '::1.2.3', '::1.2.3.4.5', '::256.1.1.1', '::01.2.3.4', '::1.2.3.4:5', '1.2.3.4::', '::1.2..4',
    '1:2:3:4:5:6:7:8::', '::1:2:3:4:5:6:7:8', '1:2:3:4::5:6:7:8', ' ::1', '::1 ', '::1.2.3.', '::12345.2.3.4'
  ]) assert.is.not(check(`[${wrong}]`), VALID, wrong)
})

host('brackets close, and only a port may follow', () => {
  for (const wrong of ['[', '[]', '[::1', '::1]', '[::1]x', '[::1]80', '[::1]:x', '[::1]]', '[[::1]]', '[::1]:65536', '[::1]/', '[x]', '[127.0.0.1]']) {
    assert.is.not(check(wrong), VALID, wrong)
  }
})

host('IPvFuture', () => {
  for (const valid of ['[v1.x]', '[V1F.a:b]', '[vA.~]', "[v0.!$&'()*+,;=:-._~]:8080"]) assert.is(check(valid), VALID, valid)
  for (const wrong of ['[v1.]', '[v.x]', '[v1x]', '[v1]', '[v]', '[vg.x]', '[v1.x%41]', '[v1.x/]', '[v1.x']) assert.is.not(check(wrong), VALID, wrong)
})

host('CONNECT needs a host and a port', () => {
  for (const valid of ['x:443', '[::1]:443', '1.2.3.4:0', 'x:65535', '12:34']) assert.is(check(valid, checkHostAndPort), VALID, valid)
  for (const wrong of ['', 'x', 'x:', ':443', '[::1]', '[::1]:', '/', '*', '443', 'u@x:80', 'x:99999', 'http://x:80', 'x:80/', 'x:8 0', '1.2.3.4']) {
    assert.is.not(check(wrong, checkHostAndPort), VALID, wrong)
  }
})

host.run()
