import { AsyncLocalStorage, AsyncResource, executionAsyncId, executionAsyncResource } from 'node:async_hooks'
import { createServer, type AddressInfo, connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { leftScope } from '../../src/io/async-stack.ts'
import { internalBinding } from '../../src/io/internal-binding.ts'
import { within } from '../support/within.ts'

const test = suite('async stack')

/** Runs `look` in the native callback of a read. */
async function inNativeCallback<T>(look: () => T): Promise<T> {
  const server = createServer()
  const looked = new Promise<T>((resolve, reject) => {
    server.on('connection', socket => socket.on('error', reject).once('data', () => {
      try {
        resolve(look())
      } catch (error) {
        reject(error as Error)
      }
      socket.destroy()
    }))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
  client.write('x')
  try {
    return await within(5000, looked, 'a read')
  } finally {
    client.destroy()
    server.close()
  }
}

const resource = new AsyncResource('TEST')

test('after a scope in a native callback everything is as before it', async () => {
  await inNativeCallback(() => {
    const [id, current] = [executionAsyncId(), executionAsyncResource()]
    for (let i = 0; i < 3; i++) {
      resource.runInAsyncScope(() => assert.is(executionAsyncResource(), resource))
      leftScope()
      assert.is(executionAsyncId(), id)
      assert.is(executionAsyncResource(), current)
    }
  })
})

test('where Node has the array, no hole is left in it', async () => {
  const resources = internalBinding('async_wrap')?.['execution_async_resources'] as unknown[] | undefined
  if (resources === undefined) return
  await inNativeCallback(() => {
    resource.runInAsyncScope(() => {})
    leftScope()
    assert.is(resources.length, 0)
  })
})

test('called inside a scope it does nothing', async () => {
  const look = (): void => resource.runInAsyncScope(() => {
    leftScope()
    assert.is(executionAsyncResource(), resource)
    assert.is(executionAsyncId(), resource.asyncId())
  })
  await inNativeCallback(look)
  await new Promise<void>(resolve => process.nextTick(() => {
    const id = executionAsyncId()
    look()
    leftScope()
    assert.is(executionAsyncId(), id)
    resolve()
  }))
})

test('what AsyncLocalStorage holds is not touched', async () => {
  const storage = new AsyncLocalStorage<string>()
  await storage.run('outer', () => inNativeCallback(() => {
    const before = storage.getStore()
    storage.run('inner', () => {
      resource.runInAsyncScope(() => {})
      leftScope()
      assert.is(storage.getStore(), 'inner')
    })
    leftScope()
    assert.is(storage.getStore(), before)
  }))
})

test.run()
