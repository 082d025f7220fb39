// A program that opens its own socket and serves itself: 200 at `/`, 404 everywhere else.
//   node examples/embedded/app.js [PORT]         http://127.0.0.1:8090/ unless told otherwise; 0 is any free port
// (eventlet's own example has this shape. The URL is printed on stderr.)
import { listen, serve } from '../../dist/index.js'

function app(environ, startResponse) {
  if (environ.PATH_INFO !== '/') {
    startResponse('404 Not Found', [['Content-Type', 'text/plain']])
    return ['Not Found\r\n']
  }
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return ['Hello, World!\r\n']
}

const server = serve(await listen(Number(process.argv[2] ?? 8090)), app)

// A library installs no signal handlers: the program says what a signal means. Here: answer what is in flight, then end.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close())
await server.finished
