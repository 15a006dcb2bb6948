// ws_client.js URL: what the package ws expects of a WebSocket, through whatever lies between. Prints "done" when all held.
"use strict";
const assert = require("assert");
const crypto = require("crypto");
const { once } = require("events");
const WebSocket = require("ws");

const url = process.argv[2];
const sizes = [0, 1, 125, 126, 65535, 65536, 1 << 20];

async function opened(options) {
  const socket = new WebSocket(url, options);
  await once(socket, "open");
  return socket;
}

async function echoes(socket, data) {
  socket.send(data);
  const [back, isBinary] = await once(socket, "message");
  assert.strictEqual(isBinary, Buffer.isBuffer(data));
  assert.ok(Buffer.compare(back, Buffer.from(data)) === 0, `an echo of ${data.length}`);
}

async function main() {
  for (const perMessageDeflate of [false, true]) {
    const socket = await opened({ perMessageDeflate });
    assert.strictEqual(socket.extensions.includes("permessage-deflate"), perMessageDeflate);
    for (const size of sizes) {
      await echoes(socket, crypto.randomBytes(size));
      await echoes(socket, "ä".repeat(size / 2));
    }
    socket.ping("are you there");
    const [pong] = await once(socket, "pong");
    assert.strictEqual(pong.toString(), "are you there");
    socket.send("in ", { fin: false });
    socket.send("parts", { fin: true });
    assert.strictEqual((await once(socket, "message"))[0].toString(), "in parts");
    socket.send(JSON.stringify({ close: [4001, "as you say"] }));
    const [code, reason] = await once(socket, "close");
    assert.deepStrictEqual([code, reason.toString()], [4001, "as you say"]);
  }
  const all = await Promise.all(Array.from({ length: 50 }, () => opened({})));
  for (let round = 0; round < 20; ++round) await Promise.all(all.map((socket, i) => echoes(socket, `${i} in round ${round}`)));
  await Promise.all(all.map((socket) => { socket.close(1000, "enough"); return once(socket, "close"); }));
  console.log("done");
}

main().catch((problem) => { console.error(problem); process.exit(1); });
