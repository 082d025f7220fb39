// Serves itself over TLS. The certificate (with its chain) and the key are PEM files, given as arguments or by the environment.
//   node examples/tls/app.js CERTFILE KEYFILE [PORT]
//   CERTFILE=… KEYFILE=… node examples/tls/app.js
// SIGHUP reads both files again, for the handshakes to come. To try it in a clone: test/support/certs/localhost.crt and localhost.key.
import { listen, serve, wrapTls } from '../../dist/index.js'

const [certfile = process.env.CERTFILE, keyfile = process.env.KEYFILE, port = process.env.PORT ?? '8443'] = process.argv.slice(2)
if (certfile === undefined || keyfile === undefined) {
  process.stderr.write('usage: node examples/tls/app.js CERTFILE KEYFILE [PORT]\n')
  process.exit(2)
}

function app(environ, startResponse) {
  const { protocol, cipher } = environ['wirelet.tls']
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return [`${environ['wsgi.url_scheme']} by ${protocol} and ${cipher}\r\n`]
}

const listener = wrapTls(await listen(Number(port)), { certfile, keyfile })
const server = serve(listener, app)

process.on('SIGHUP', () => {
  try {
    listener.setSecureContext()
    process.stderr.write('certificates read again\n')
  } catch (error) {
    process.stderr.write(`the certificates stay as they are: ${error.message}\n`)
  }
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close())
await server.finished
