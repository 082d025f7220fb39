import type { Target } from './target.ts'
export const encoderTarget: Target = { name: 'encoder', guidedBy: [], batch: 1, executions: () => 0, generate: () => 0, check: () => '', smaller: () => [] }
