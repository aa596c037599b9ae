import assert from "node:assert/strict";
import { test } from "node:test";

import { cursorOf, parseEvent, Repeats } from "../dist/events.js";
import { Queue } from "../dist/queue.js";
import { entries } from "../dist/transports.js";

async function read(text, size) {
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
  const found = [];
  for await (const entry of entries(body, () => {})) found.push(entry);
  return found;
}

test("an event stream is read however it is cut", async () => {
  const text = ':\n\nid: AaB\ndata: {"a":"é"}\n\ndata: {\ndata: }\n\nretry: 1\nevent: trelay.closed\ndata: {}\n\ndata: cut';
  const expected = [
    { event: "", data: '{"a":"é"}' },
    { event: "", data: "{\n}" },
    { event: "trelay.closed", data: "{}" },
  ];
  for (const size of [1, 2, 3, 7, 1000]) assert.deepEqual(await read(text, size), expected);
});

test("a message that cannot be read still has its cursor", () => {
  assert.equal(parseEvent("[]"), undefined);
  assert.equal(parseEvent('{"cursor":"AaB",'), undefined);
  assert.equal(cursorOf('{"cursor":"AaB",'), "AaB");
});

test("repeats are recognised by source and id", () => {
  const repeats = new Repeats();
  const event = { source: "/s", id: "1" };
  assert.deepEqual([repeats.isRepeat(event), repeats.isRepeat(event)], [false, true]);
  assert.equal(repeats.isRepeat({ source: "/t", id: "1" }), false);
  const control = { source: "/trelay", id: "1" };
  assert.deepEqual([repeats.isRepeat(control), repeats.isRepeat(control)], [false, false]);
  for (let number = 2; number < 10_010; number++) repeats.isRepeat({ source: "/s", id: String(number) });
  assert.equal(repeats.isRepeat(event), false);
});

test("a snapshot that begins has events that were received before", () => {
  const repeats = new Repeats();
  const event = { source: "/s", id: "1" };
  const snapshot = (phase) => ({ source: "/trelay", type: "trelay.snapshot", id: phase, data: { phase } });
  assert.deepEqual([repeats.isRepeat(event), repeats.isRepeat(event)], [false, true]);
  assert.equal(repeats.isRepeat(snapshot("begin")), false);
  assert.deepEqual([repeats.isRepeat(event), repeats.isRepeat(snapshot("end")), repeats.isRepeat(event)], [false, false, true]);
  assert.equal(repeats.isRepeat({ ...snapshot("begin"), source: "/s" }), false);
  assert.equal(repeats.isRepeat(event), true, "an event of a source is none of Trelay");
});

test("what was put is taken before the end", async () => {
  const queue = new Queue();
  queue.put("first");
  queue.end("done");
  queue.put("second");
  assert.deepEqual([queue.size, queue.characters], [1, 5]);
  const taken = queue.take();
  assert.deepEqual(await taken.next(), { done: false, value: "first" });
  assert.deepEqual(await taken.next(), { done: true, value: "done" });
  assert.deepEqual([queue.size, queue.characters], [0, 0]);
});

test("what is dropped does not count", () => {
  const queue = new Queue();
  queue.put("first");
  queue.cut("done");
  assert.deepEqual([queue.size, queue.characters], [0, 0]);
});
