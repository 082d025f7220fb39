// The application that the conformance corpus is run against: METHOD, target and length of content, after reading all of it.
//   node dist/cli.js test/support/echo-app.js
export default async function app(environ, startResponse) {
  let length = 0
  for await (const piece of environ['wsgi.input']) length += piece.length
  startResponse('200 OK', [['Content-Type', 'text/plain; charset=iso-8859-1']])
  // The target as it came, octet by octet: a string would leave as UTF-8.
  return [Buffer.from(`${environ.REQUEST_METHOD} ${environ.REQUEST_URI} ${length}`, 'latin1')]
}
