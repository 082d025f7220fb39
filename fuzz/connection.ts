import type { Target } from './target.ts'
export const connectionTarget: Target = { name: 'connection', guidedBy: [], batch: 1, executions: () => 0, generate: () => 0, check: () => '', smaller: () => [] }
