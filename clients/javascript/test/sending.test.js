import assert from "node:assert/strict";
import { test } from "node:test";

import { Messages, TrelayQueueFull, TrelayRejected, TrelayUnanswered } from "../dist/messages.js";
import { readAhead, Sender } from "../dist/sending.js";

const accepted = (message) => ({ source: "/trelay", type: "trelay.accepted", data: { message, event: `e-${message}` } });
const rejected = (message) => ({
  source: "/trelay",
  type: "trelay.rejected",
  data: { message, code: "malformed", detail: "why" },
});

/** A sender, its messages, and what its connections are given. */
function parts(limits) {
  const sender = new Sender(limits);
  const messages = Sender.messagesOf(sender);
  const wire = [];
  return { sender, messages, wire, send: (text) => wire.push(JSON.parse(text)) };
}

test("a message returns when it is stored, and throws when it is rejected", async () => {
  const { sender, messages, wire, send } = parts();
  messages.connected(1000, send);
  const first = sender.send({ celsius: 21.5 }, { id: "a" });
  const second = sender.send(new Uint8Array([255]), { id: "b" });
  const third = sender.send("x");
  assert.deepEqual(wire.slice(0, 2), [
    { type: "trelay.message", id: "a", data: { celsius: 21.5 } },
    { type: "trelay.message", id: "b", data_base64: "/w==" },
  ]);
  assert.match(wire[2].id, /^[0-9a-f]{32}$/);
  assert.equal(messages.received({ source: "/sources/x", type: "trelay.accepted", data: { message: 1 } }), false);
  assert.equal(messages.received(accepted(1)), true);
  assert.equal(messages.received(rejected(2)), true);
  assert.equal(messages.received(accepted(3)), true);
  assert.equal(messages.received(accepted(4)), false);
  assert.deepEqual(await first, { id: "a", event: "e-1" });
  await assert.rejects(second, { name: "TrelayRejected", code: "malformed", message: "message b rejected: why (malformed)" });
  await third;
  assert.equal(messages.waiting, false);
});

test("what a connection did not answer is sent again in order", async () => {
  const { sender, messages, wire, send } = parts();
  const all = ["a", "b", "c"].map((id) => sender.send(id, { id }));
  messages.connected(1000, send);
  messages.received(accepted(1));
  messages.disconnected();
  all.push(sender.send("d", { id: "d" }));
  assert.equal(wire.length, 3);
  messages.connected(1000, send);
  assert.deepEqual(wire.slice(3).map(({ id }) => id), ["b", "c", "d"]);
  [1, 2, 3].forEach((number) => messages.received(accepted(number)));
  await Promise.all(all);
});

test("the queue is bounded", async () => {
  const { sender } = parts({ limit: 1 });
  const first = sender.send("a", { timeout: 5 });
  await assert.rejects(sender.send("b"), TrelayQueueFull);
  await assert.rejects(first, { name: "TrelayUnanswered", message: /no answer within 0.005 s; send it again/ });
  await assert.rejects(parts({ limitBytes: 20 }).sender.send("a"), TrelayQueueFull);
});

test("what cannot be sent is refused", async () => {
  const { sender, messages, wire, send } = parts();
  for (const id of ["", "a b", "é", "x".repeat(256)]) await assert.rejects(sender.send(1, { id }), TypeError);
  for (const data of [undefined, () => 1, 1n]) await assert.rejects(sender.send(data), TypeError);
  const early = sender.send("x".repeat(100));
  messages.connected(80, send);
  await assert.rejects(early, { code: "too-large" });
  await assert.rejects(sender.send("x".repeat(100)), TrelayRejected);
  messages.connected(undefined, send);
  await assert.rejects(sender.send("a"), { code: "may-not-send" });
  assert.deepEqual(wire, []);
});

test("events are read ahead while a message waits, and the end is reported", async () => {
  const { sender, messages, send } = parts();
  let stopped = false;
  async function* inner() {
    messages.connected(1000, send);
    for (let number = 0; number < 50; number++) yield number;
    messages.received(accepted(1));
    for (let number = 50; number < 100; number++) yield number;
    throw new Error("client disabled");
  }
  const found = [];
  await assert.rejects(async () => {
    for await (const number of readAhead(inner(), [messages], () => (stopped = true))) {
      if (number === 10) assert.equal((await sender.send("a", { id: "a" })).event, "e-1");
      if (number === 20) await assert.rejects(sender.send("b"), TrelayUnanswered);
      found.push(number);
    }
  }, /client disabled/);
  assert.deepEqual(found, [...Array(100).keys()]);
  assert.equal(stopped, true);
  assert.equal(messages.waiting, false);
});

test("a sender belongs to one subscription at a time", () => {
  const { messages } = parts();
  messages.attach(() => {});
  assert.throws(() => messages.attach(() => {}), /another subscription/);
  messages.detach("closed");
  messages.attach(() => {});
});
