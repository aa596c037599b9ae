import assert from "node:assert/strict";
import { test } from "node:test";

import { Changes, TrelayChangeRefused, TrelayChangeUnanswered } from "../dist/changes.js";
import { Channels, subscribe } from "../dist/index.js";

const subscribed = (channels, reason = "requested") => ({
  source: "/trelay",
  type: "trelay.subscribed",
  data: { channels, reason },
});

/** The changes of some channels, and a connection that answers in turn. */
function parts(channels, ...answers) {
  const handle = new Channels(channels);
  const changes = Channels.changesOf(handle);
  const asked = [];
  const ended = new AbortController();
  const connect = (id = "id") =>
    changes.connected(id, ended.signal, async (body) => {
      asked.push(body);
      return await (answers.shift() ?? { made: true });
    });
  return { handle, changes, asked, connect, ended };
}

test("a change is asked for while there is a connection, and holds for the next one", async () => {
  const { handle, changes, asked, connect } = parts(["a"]);
  const first = handle.subscribe(["b", "c"], { filters: { c: "y = 2" } });
  const second = handle.unsubscribe("a");
  assert.equal(asked.length, 0);
  connect();
  await Promise.all([first, second]);
  assert.deepEqual(asked[0], { connection: "id", subscribe: ["b", "c"], unsubscribe: [], filters: { c: "y = 2" } });
  assert.deepEqual(asked[1], { connection: "id", subscribe: [], unsubscribe: ["a"], filters: {} });
  assert.deepEqual(handle.names, ["b", "c"]);
  assert.deepEqual(changes.filters, { c: "y = 2" });
  await handle.subscribe("c", { filters: { c: null } });
  assert.deepEqual(changes.filters, {});
  assert.equal(changes.waiting, false);
});

test("what the stream tells is an answer as well", async () => {
  let answer;
  const pending = new Promise((resolve) => (answer = resolve));
  const { handle, changes, connect } = parts(["a"], pending);
  const change = handle.subscribe("b");
  changes.received(subscribed(["a", "b"]));
  assert.deepEqual(handle.names, ["a"], "it was not asked for");
  connect();
  changes.received(subscribed(["a", "b"], "granted"));
  changes.received(subscribed(["a"]));
  assert.deepEqual(handle.names, ["a"]);
  changes.received(subscribed(["a", "b"]));
  await change;
  answer({ refused: "malformed", detail: "too late" });
  await handle.subscribe("c");
  assert.deepEqual(handle.names, ["a", "b", "c"]);
});

test("it is asked for again while the connection lives, and on the next one", async () => {
  let abandon;
  const lost = new Promise((resolve) => (abandon = resolve));
  const { handle, changes, asked, connect, ended } = parts(["a"], { wait: 0 }, lost);
  const change = handle.subscribe("b");
  connect();
  while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  ended.abort("lost");
  changes.disconnected();
  abandon({ wait: 0 });
  assert.equal(changes.waiting, true);
  changes.received(subscribed(["a", "b"]));
  assert.deepEqual(handle.names, ["a"], "of a connection that has ended");
  const again = [];
  changes.connected("second", new AbortController().signal, async (body) => {
    again.push(body);
    return { made: true };
  });
  await change;
  assert.equal(again[0].connection, "second");
});

test("a refused change changes nothing, and the last channel stays", async () => {
  const { handle, connect } = parts(["a"], { refused: "channel-not-permitted", detail: "not b" });
  connect();
  await assert.rejects(handle.subscribe("b"), (error) => {
    assert.ok(error instanceof TrelayChangeRefused);
    assert.equal(error.code, "channel-not-permitted");
    return true;
  });
  await assert.rejects(handle.unsubscribe("a"), { name: "TypeError", message: /no channel that is left/ });
  await handle.subscribe("c");
  await handle.unsubscribe("a");
  assert.deepEqual(handle.names, ["c"]);
});

test("the end of the subscription is the answer to what waits", async () => {
  const { handle, changes } = parts(["a"]);
  changes.attach(() => undefined);
  assert.throws(() => changes.attach(() => undefined), TypeError);
  const change = handle.subscribe("b");
  changes.end("disabled");
  await assert.rejects(change, TrelayChangeUnanswered);
  await assert.rejects(handle.subscribe("b"), TrelayChangeUnanswered);
  changes.detach("over");
  changes.attach(() => undefined);
});

test("what cannot be a channel, or fits into no URL, is refused", async () => {
  const { handle, connect } = parts(["a"]);
  connect();
  for (const names of [[], [""], ["a,b"], [" a"]]) {
    assert.throws(() => new Channels(names), TypeError);
    await assert.rejects(handle.subscribe(names), TypeError);
    await assert.rejects(handle.unsubscribe(names), TypeError);
  }
  await assert.rejects(handle.subscribe("b", { filters: { a: "x" } }), TypeError);
  assert.throws(() => new Changes(["a"], { b: "x" }), TypeError);
  const many = [...Array(900).keys()].map((number) => `user.${number}.${"x".repeat(70)}`);
  assert.throws(() => new Channels(many), /characters in a URL/);
  await assert.rejects(handle.subscribe(many), /characters in a URL/);
});

test("filters beside channels that have their own are refused", async () => {
  const options = { credentials: { token: "t" }, channels: new Channels(["a"]), filters: { a: "x" } };
  await assert.rejects(subscribe("http://127.0.0.1:1", options).next(), TypeError);
});
