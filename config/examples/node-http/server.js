'use strict';
const http = require('node:http');

const name = `${process.env.MUSTER_APP}/${process.env.MUSTER_ORDINAL}`;
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain');
  response.setHeader('X-Replica', name);
  response.end(request.url === '/healthz' ? 'ok\n' : `${name} pid ${process.pid}\n`);
});

server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`${name} listens on ${process.env.PORT}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
