// The smallest application. Served by `npm start`, or: node dist/cli.js examples/hello/app.js
export default function app(environ, startResponse) {
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return ['Hello, World!\r\n']
}
