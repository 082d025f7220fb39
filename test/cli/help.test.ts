import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { helpText, readmeTable } from '../../src/cli/help.ts'
import { OPTIONS } from '../../src/cli/options.ts'

const help = suite('help')

help('fits one screen', () => {
  const lines = helpText().trimEnd().split('\n')
  assert.ok(lines.length >= 24 && lines.length <= 60, `${lines.length} lines`)
  for (const line of lines) assert.ok(line.length <= 100, line)
})

help('names every option and its default', () => {
  const text = helpText()
  for (const { flag, standard } of OPTIONS) {
    if (flag === '') continue
    assert.match(text, new RegExp(`--(\\[no-\\])?${flag}\\b`))
    assert.ok(text.includes(standard), flag)
  }
})

help('the README table has a row for each', () => {
  const lines = readmeTable().split('\n')
  assert.is(lines.length, OPTIONS.length + 2)
  for (const line of lines) assert.is(line.replaceAll('\\|', '').split('|').length, 8, line)
})

help.run()
