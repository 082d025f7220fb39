import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PeerErrorCode, peerErrorInfo } from '../../src/parser/errors.ts'

const errors = suite('parser/errors')

errors('every code has its own number, a name, a status and a reason', () => {
  const codes = Object.values(PeerErrorCode)
  assert.is(new Set(codes).size, codes.length)
  for (const [key, code] of Object.entries(PeerErrorCode)) {
    const info = peerErrorInfo(code)
    assert.is(info.name, `HPE_${key}`)
    assert.ok(info.status >= 400 && info.status <= 599, key)
    assert.match(info.reason, /^[\x20-\x7e]{5,80}$/, key)
  }
})

errors('a code is positive, so that its negative is distinct from "need more" and from any length', () => {
  for (const code of Object.values(PeerErrorCode)) assert.ok(code > 0)
})

errors.run()
