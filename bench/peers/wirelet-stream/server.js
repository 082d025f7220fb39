// The same server over net.Socket, public interfaces of Node only.
process.env.TRANSPORT = 'stream'
await import('../wirelet/server.js')
