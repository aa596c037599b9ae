import assert from "node:assert/strict";
import { test } from "node:test";

import { Fallback } from "../dist/fallback.js";
import { subscribe } from "../dist/index.js";

const CONNECTED = { cursor: "at0", id: "c", source: "/trelay", type: "trelay.connected", data: { heartbeat: 25 } };
const OPTIONS = { credentials: { token: "t" }, random: () => 0 };

/** What a path does with each WebSocket and each event stream that is opened, in turn. */
class Path {
  opened = [];
  #script;

  constructor(t, ...script) {
    this.#script = script;
    const step = (transport) => {
      this.opened.push(transport);
      return this.#script.shift() ?? assert.fail("nothing else is opened");
    };
    globalThis.WebSocket = class {
      constructor() {
        const act = step("websocket");
        setImmediate(() => act(this));
      }
      close() {}
    };
    t.mock.method(globalThis, "fetch", async () => step("sse")());
    t.after(() => delete globalThis.WebSocket);
  }
}

const event = (number) => ({ cursor: `at${number}`, id: String(number), source: "/s", type: "t" });

const refused = (socket) => socket.onclose({ code: 1006, reason: "" });

/** Opened, and lost before anything has arrived: what some proxies do to WebSockets. */
const swallowed = (code) => (socket) => {
  socket.onopen();
  socket.onclose({ code, reason: "" });
};

const refusedByService = (socket) => {
  socket.onopen();
  socket.onclose({ code: 4005, reason: "already connected" });
};

const serves = (number) => (socket) => {
  socket.onopen();
  for (const found of [CONNECTED, event(number)]) socket.onmessage({ data: JSON.stringify(found) });
  serves.lose = () => socket.onclose({ code: 1006, reason: "" });
};

const streams = (number) => () =>
  new Response([CONNECTED, event(number)].map((found) => `data: ${JSON.stringify(found)}\n\n`).join(""));

/** Take so many events; the socket of the one that `loses` names is lost once it is taken. */
async function take(count, loses) {
  const found = [];
  for await (const { id } of subscribe("http://relay.example.com", OPTIONS)) {
    if (id !== "c") found.push(id);
    if (id === loses) serves.lose();
    if (found.length === count) break;
  }
  return found;
}

for (const [name, act] of [
  ["cannot be opened", refused],
  ["is lost before anything has arrived", swallowed(1006)],
  ["is closed by a proxy before anything has arrived", swallowed(1001)],
]) {
  test(`a WebSocket that ${name} twice is replaced by an event stream`, async (t) => {
    const path = new Path(t, act, act, streams(1));
    assert.deepEqual(await take(1), ["1"]);
    assert.deepEqual(path.opened, ["websocket", "websocket", "sse"]);
  });
}

test("after an event stream that has worked, one WebSocket is tried; if it fails, after two more", async (t) => {
  const path = new Path(t, refused, refused, streams(1), refused, streams(2), streams(3), serves(4));
  assert.deepEqual(await take(4), ["1", "2", "3", "4"]);
  assert.deepEqual(path.opened, ["websocket", "websocket", "sse", "websocket", "sse", "sse", "websocket"]);
});

test("where no WebSocket works, fewer and fewer are tried", () => {
  const fallback = new Fallback();
  const opened = [];
  const open = (sockets, streams = () => true) => {
    opened.push(fallback.streams ? "s" : "w");
    if (fallback.streams) fallback.streamEnded(streams());
    else fallback.socketEnded(sockets, 1006);
  };
  for (let number = 0; number < 40; number++) open(false);
  assert.equal(opened.splice(0).join(""), `wws${"wss"}${"wssss"}${"wssssssss"}${"wssssssssssssssss"}wsss`.slice(0, 40));
  open(false, () => false); // the service is away, too
  assert.equal(fallback.streams, false);
  for (let number = 0; number < 7; number++) open(false);
  assert.equal(opened.splice(0).join(""), "swwswssw");
});

test("a WebSocket that works again is as good as the first one", () => {
  const fallback = new Fallback();
  for (let round = 0; round < 3; round++) {
    fallback.socketEnded(false, 1006);
    if (round === 0) fallback.socketEnded(false, 1006);
    while (fallback.streams) fallback.streamEnded(true);
  }
  fallback.socketEnded(true, 1006);
  fallback.socketEnded(false, 1006);
  assert.equal(fallback.streams, false);
  fallback.socketEnded(false, 1006);
  fallback.streamEnded(true);
  assert.equal(fallback.streams, false);
});

test("a WebSocket that has worked, or that the service has closed, is none that fails", async (t) => {
  const path = new Path(t, refused, serves(1), refused, refusedByService, refused, serves(2));
  assert.deepEqual(await take(2, "1"), ["1", "2"]);
  assert.ok(path.opened.every((transport) => transport === "websocket"));
});
