import assert from "node:assert/strict";
import { test } from "node:test";

import { subscribe } from "../dist/index.js";

test("a program that asks for nothing else has each retry on the console", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  t.mock.method(globalThis, "fetch", async () => {
    throw new TypeError("fetch failed");
  });
  const stop = new AbortController();
  const options = { credentials: { token: "t" }, random: () => 0, transport: "sse", signal: stop.signal };
  const events = subscribe("https://relay.example.com", options);
  warn.mock.mockImplementation(() => stop.abort());
  assert.equal((await events.next()).done, true);
  assert.equal(warn.mock.callCount(), 1);
  assert.match(warn.mock.calls[0].arguments[0], /^trelay: .+; retrying in \d+\.\d s$/);
});
