import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FieldName, fieldNameOf } from '../../src/parser/field-names.ts'

const names = suite('parser/field-names')

const OURS = Object.entries(FieldName).filter(([, name]) => name !== FieldName.OTHER).map(([key, name]) => [key.toLowerCase().replaceAll('_', '-'), name] as const)

function nameOf(text: string): FieldName {
  const bytes = Buffer.from(`>>${text}<<`, 'latin1')
  return fieldNameOf(bytes, 2, 2 + text.length)
}

names('every name of ours, in any case', () => {
  assert.is(OURS.length, 13)
  for (const [word, name] of OURS) {
    for (const text of [word, word.toUpperCase(), word[0]!.toUpperCase() + word.slice(1), word.slice(0, -1) + word.at(-1)!.toUpperCase()]) {
      assert.is(nameOf(text), name, text)
    }
  }
})

names('nothing that only resembles one', () => {
  for (const [word] of OURS) {
    assert.is(nameOf(`${word}s`), FieldName.OTHER)
    assert.is(nameOf(word.slice(0, -1)), FieldName.OTHER)
    assert.is(nameOf(word + 'a'.repeat(32)), FieldName.OTHER)
    for (let i = 0; i < word.length; i++) assert.is(nameOf(`${word.slice(0, i)}!${word.slice(i + 1)}`), FieldName.OTHER, `${word} at ${i}`)
    assert.is(nameOf(word.replaceAll('-', '_')), word.includes('-') ? FieldName.OTHER : nameOf(word))
  }
  for (const text of ['Accept', 'Cookie', 'Referer', 'User-Agent', 'X', 'x'.repeat(64), 'K', 'Trailer']) assert.is(nameOf(text), FieldName.OTHER)
})

names.run()
