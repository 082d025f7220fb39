// The two answers that public benchmark arenas ask of every server, by their rules: Server, Date (the engine's own, never older than
// a second), Content-Type and Content-Length on each; the object made and the JSON written anew for each request.
// Serve it with: node dist/cli.js --access-log off examples/baseline/app.js
const PLAIN = [['Server', 'wirelet'], ['Content-Type', 'text/plain']]
const JSON_TYPE = [['Server', 'wirelet'], ['Content-Type', 'application/json']]

export default function app(environ, startResponse) {
  switch (environ.PATH_INFO) {
    case '/plaintext':
      startResponse('200 OK', PLAIN)
      return ['Hello, World!']
    case '/json':
      startResponse('200 OK', JSON_TYPE)
      return [JSON.stringify({ message: 'Hello, World!' })]
    default:
      startResponse('404 Not Found', PLAIN)
      return ['Not Found']
  }
}
