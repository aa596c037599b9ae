import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { memoryStore, Sender, subscribe } from "../dist/index.js";

/** A socket of the relay. The test opens it, sends over it and loses it. */
class FakeSocket {
  static opened = [];
  static #wanted = [];
  sent = [];
  closed = false;

  constructor(url) {
    this.query = url.searchParams;
    FakeSocket.opened.push(this);
    FakeSocket.#wanted.shift()?.(this);
  }

  /** Return the next socket that is opened. */
  static next() {
    return new Promise((resolve) => FakeSocket.#wanted.push(resolve));
  }

  static clear() {
    FakeSocket.opened.length = 0;
    FakeSocket.#wanted.length = 0;
  }

  connected(cursor) {
    this.onopen();
    this.#receive({ cursor, id: "c", source: "/trelay", type: "trelay.connected", data: { heartbeat: 25, largest_message: 1000 } });
  }

  events(...numbers) {
    numbers.forEach((number) => this.#receive({ cursor: `at${number}`, id: String(number), source: "/s", type: "t" }));
  }

  heartbeat(cursor) {
    this.#receive({ cursor, id: "h", source: "/trelay", type: "trelay.heartbeat", data: {} });
  }

  accept(message) {
    this.#receive({ id: `a${message}`, source: "/trelay", type: "trelay.accepted", data: { message, event: "e" } });
  }

  text(data) {
    this.onmessage({ data });
  }

  lose() {
    this.onclose({ code: 1006, reason: "connection lost" });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  #receive(event) {
    this.onmessage({ data: JSON.stringify(event) });
  }
}

globalThis.WebSocket = FakeSocket;
afterEach(() => FakeSocket.clear());

/** A subscription of one tab. `random` makes the pauses short. */
function tab(store, more = {}) {
  const options = { credentials: { token: "t" }, store, transport: "websocket", random: () => 0, ...more };
  return subscribe("http://relay.test", options);
}

/** Let everything that does not wait for the test go on. */
async function settle() {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Take the first event, `trelay.connected`, over a new socket. */
async function begin(events) {
  const opening = FakeSocket.next();
  const first = events.next();
  const socket = await opening;
  socket.connected("at0");
  assert.equal((await first).value.type, "trelay.connected");
  return socket;
}

async function take(events) {
  const { value } = await events.next();
  return value.source === "/trelay" ? value.type : Number(value.id);
}

test("what waits when the connection is lost is not handed over, and comes again", async () => {
  const store = memoryStore();
  const events = tab(store);
  const socket = await begin(events);
  socket.events(1, 2, 3);
  assert.equal(await take(events), 1);
  socket.lose();
  const opening = FakeSocket.next();
  const next = take(events);
  const again = await opening;
  assert.equal(store.load(), "at1");
  assert.equal(again.query.get("cursor"), "at1");
  again.connected("at1");
  assert.equal(await next, "trelay.connected");
  again.events(2, 3);
  assert.deepEqual([await take(events), await take(events)], [2, 3]);
  await events.return();
});

test("what another tab has taken meanwhile is not handed over, and its cursor stays", async () => {
  const store = memoryStore();
  const events = tab(store);
  const socket = await begin(events);
  socket.events(1, 2, 3);
  assert.equal(await take(events), 1);
  socket.lose();
  store.save("at3"); // another tab
  const opening = FakeSocket.next();
  const next = take(events);
  const again = await opening;
  assert.equal(again.query.get("cursor"), "at3");
  assert.equal(store.load(), "at3");
  again.connected("at3");
  assert.equal(await next, "trelay.connected");
  again.events(4);
  assert.equal(await take(events), 4);
  assert.equal(store.load(), "at3");
  await events.return();
});

test("what was read ahead for a sender is dropped with the connection", async () => {
  const store = memoryStore();
  const sender = new Sender();
  const events = tab(store, { sender });
  const socket = await begin(events);
  socket.events(1, 2, 3);
  assert.equal(await take(events), 1);
  const sending = sender.send("m", { id: "m" }); // the program is busy with event 1
  socket.text('{"cursor":"at4",');
  await settle();
  const opening = FakeSocket.next();
  socket.lose();
  const again = await opening;
  assert.equal(again.query.get("cursor"), "at1"); // not behind what the program has not seen
  store.save("at3"); // another tab was connected in between
  again.connected("at1");
  const third = await FakeSocket.next();
  assert.equal(third.query.get("cursor"), "at3");
  third.connected("at3");
  third.events(4);
  assert.deepEqual(third.sent.map(({ id }) => id), ["m"]);
  third.accept(1);
  await sending;
  assert.equal(await take(events), "trelay.connected");
  assert.equal(store.load(), "at3"); // event 1 was processed, and its cursor is older
  assert.equal(await take(events), 4);
  await events.return();
});

test("a connection that is lost after the answer is not read to the end", async () => {
  const store = memoryStore();
  const sender = new Sender();
  const events = tab(store, { sender });
  const socket = await begin(events);
  socket.events(1, 2, 3);
  assert.equal(await take(events), 1);
  const sending = sender.send("m", { id: "m" });
  await settle();
  socket.accept(1);
  await sending;
  socket.lose();
  const opening = FakeSocket.next();
  const next = take(events);
  const again = await opening;
  again.connected("at1");
  again.events(2);
  assert.equal(await next, "trelay.connected");
  assert.equal(await take(events), 2);
  await events.return();
});

test("the connection is opened again while a message waits behind a full read-ahead", async () => {
  const sender = new Sender();
  const events = tab(memoryStore(), { sender });
  const socket = await begin(events);
  socket.events(...Array(9_000).keys());
  assert.equal(await take(events), 0);
  const sending = sender.send("m", { id: "m" });
  for (let moved = 0; moved < 10; moved++) await settle();
  socket.events(...Array.from({ length: 9_000 }, (_, number) => 9_000 + number));
  for (let moved = 0; moved < 10; moved++) await settle();
  const opening = FakeSocket.next();
  socket.lose();
  const again = await opening;
  again.connected("at0");
  assert.deepEqual(again.sent.map(({ id }) => id), ["m"]);
  again.accept(1);
  await sending;
  await events.return();
});

test("a program that is behind takes what was received, and holds its connection meanwhile", async () => {
  const store = memoryStore();
  const events = tab(store);
  const socket = await begin(events);
  socket.events(...Array(10_050).keys());
  for (let number = 0; number <= 10_000; number++) assert.equal(await take(events), number);
  assert.equal(socket.closed, false);
  const opening = FakeSocket.next();
  const next = take(events);
  assert.equal((await opening).query.get("cursor"), "at10000");
  assert.equal(socket.closed, true);
  FakeSocket.opened.at(-1).connected("at10000");
  assert.equal(await next, "trelay.connected");
  await events.return();
});

test("events of many megabytes do not wait for a program that is behind", async () => {
  const events = tab(memoryStore());
  const socket = await begin(events);
  const data = "x".repeat(8 * 1024 * 1024);
  for (let number = 1; number <= 20; number++) {
    socket.text(JSON.stringify({ cursor: `at${number}`, id: String(number), source: "/s", type: "t", data }));
  }
  for (let number = 1; number <= 8; number++) assert.equal(await take(events), number);
  const opening = FakeSocket.next();
  const next = take(events);
  assert.equal((await opening).query.get("cursor"), "at8");
  FakeSocket.opened.at(-1).connected("at8");
  assert.equal(await next, "trelay.connected");
  await events.return();
});

test("a page that was asleep drops what it had received", async () => {
  const now = Date.now;
  const events = tab(memoryStore());
  try {
    const socket = await begin(events);
    socket.events(1, 2, 3);
    assert.equal(await take(events), 1);
    Date.now = () => now() + 3_600_000; // its timers have not run yet
    const opening = FakeSocket.next();
    const next = take(events);
    const again = await opening;
    assert.equal(again.query.get("cursor"), "at1");
    again.connected("at1");
    assert.equal(await next, "trelay.connected");
  } finally {
    Date.now = now;
  }
  await events.return();
});

test("a message that cannot be read is told once, and skipped", async () => {
  const store = memoryStore();
  const unreadable = [];
  const events = tab(store, { onUnreadable: (text) => unreadable.push(text) });
  const socket = await begin(events);
  socket.text('{"cursor":"at1",');
  socket.events(2);
  assert.equal(await take(events), 2);
  assert.deepEqual(unreadable, ['{"cursor":"at1",']);
  assert.equal(store.load(), "at1");
  await events.return();
});

test("the cursor of a heartbeat is kept behind the events before it, and the heartbeat is not handed over", async () => {
  const store = memoryStore();
  const events = tab(store);
  const socket = await begin(events);
  socket.events(1);
  socket.heartbeat("at7"); // behind events of others
  socket.heartbeat();
  socket.events(8);
  assert.equal(await take(events), 1);
  assert.equal(store.load(), "at0");
  const next = take(events);
  assert.equal(await next, 8);
  assert.equal(store.load(), "at7");
  const opening = FakeSocket.next();
  socket.lose();
  const following = take(events);
  const again = await opening;
  assert.equal(again.query.get("cursor"), "at8");
  again.connected("at8");
  assert.equal(await following, "trelay.connected");
  await events.return();
});
