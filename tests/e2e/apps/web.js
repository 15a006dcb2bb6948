// What a web application does with HTTP, by Node's own server and the package ws (Debian: node-ws).
//   PUT|POST /sink       answers how many bytes came and their SHA-256
//   GET /text            2 MiB of text, compressed where the client takes gzip
//   GET /file            1 MiB, by ranges too
//   GET /events          Server-Sent Events; POST /emit sends its body to all who listen; GET /finish ends their streams
//   /ws                  a WebSocket that echoes; {"close": [code, reason]} makes it close
"use strict";
const crypto = require("crypto");
const http = require("http");
const zlib = require("zlib");
const { WebSocketServer } = require("ws");

const text = Array.from({ length: 65536 }, (_, i) => `line ${i} of a text that is easy to press\n`).join("").slice(0, 2 << 20);
const file = Buffer.alloc(1 << 20, (() => Buffer.from(Array.from({ length: 251 }, (_, i) => i)))());
const listeners = new Set();

const handlers = {
  "/healthz": (_, response) => response.end("ok\n"),
  "/sink": (request, response) => {
    const hash = crypto.createHash("sha256");
    let bytes = 0;
    request.on("data", (piece) => { bytes += piece.length; hash.update(piece); });
    request.on("end", () => response.end(JSON.stringify({ bytes, sha256: hash.digest("hex"), coding: request.headers["transfer-encoding"] || "" })));
  },
  "/text": (request, response) => {
    if (!/\bgzip\b/.test(request.headers["accept-encoding"] || "")) return response.end(text);
    response.writeHead(200, { "content-encoding": "gzip", vary: "accept-encoding" });
    const gzip = zlib.createGzip();
    gzip.pipe(response);
    gzip.end(text);
  },
  "/file": (request, response) => {
    const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range || "");
    if (!range) return response.end(file);
    const first = range[1] === "" ? file.length - Number(range[2]) : Number(range[1]);
    const last = range[1] === "" || range[2] === "" ? file.length - 1 : Math.min(Number(range[2]), file.length - 1);
    if (first > last) return response.writeHead(416, { "content-range": `bytes */${file.length}` }).end();
    response.writeHead(206, { "content-range": `bytes ${first}-${last}/${file.length}`, "content-length": last - first + 1 });
    response.end(request.method === "HEAD" ? undefined : file.subarray(first, last + 1));
  },
  "/events": (request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": welcome\n\n");
    listeners.add(response);
    request.on("close", () => listeners.delete(response));
  },
  "/emit": (request, response) => {
    let body = "";
    request.on("data", (piece) => { body += piece; });
    request.on("end", () => {
      for (const one of listeners) one.write(`data: ${body}\n\n`);
      response.end(`${listeners.size}\n`);
    });
  },
  "/finish": (_, response) => {
    for (const one of listeners) one.end();
    response.end("finished\n");
  },
};

const server = http.createServer((request, response) => {
  const handler = handlers[request.url.split("?")[0]];
  if (handler) handler(request, response);
  else response.writeHead(404).end();
});
const sockets = new WebSocketServer({ server, path: "/ws", perMessageDeflate: true });
sockets.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    const order = !isBinary && data.toString().startsWith('{"close":') ? JSON.parse(data.toString()) : null;
    if (order) socket.close(...order.close);
    else socket.send(data, { binary: isBinary });
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1");
