// The smallest application.
//   npm start                                    builds, then serves it on http://127.0.0.1:8090/
//   node dist/cli.js examples/hello/app.js       the same without building
export default function app(environ, startResponse) {
  startResponse('200 OK', [['Content-Type', 'text/plain']])
  return ['Hello, World!\r\n']
}
