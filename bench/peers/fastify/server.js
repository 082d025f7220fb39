// Fastify without its logger; content is taken as it comes, not parsed: the others do not parse it either.
import { readFileSync } from 'node:fs'
import fastify from 'fastify'

const { PORT, SCENARIO, CERTFILE, KEYFILE } = process.env
const app = fastify(CERTFILE === undefined ? {} : { https: { cert: readFileSync(CERTFILE), key: readFileSync(KEYFILE) } })
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, content, done) => done(null, content))

const routes = {
  hello() {
    app.get('/', (request, reply) => {
      reply.type('text/plain').send('Hello, World!\r\n')
    })
  },
  post() {
    app.post('/post', (request, reply) => {
      reply.type('application/json').send(JSON.stringify({ octets: request.body.length }))
    })
  }
}
routes[SCENARIO]()
await app.listen({ port: Number(PORT), host: '127.0.0.1', backlog: 4096 })
