import assert from "node:assert/strict";
import { test } from "node:test";

import { Authorization } from "../dist/authorization.js";
import { queryOf } from "../dist/options.js";

const BASE = new URL("http://127.0.0.1:1/");
const CREDENTIALS = { clientId: "billing", clientSecret: "hunter2 ünd" };

function authorization(credentials, signal = new AbortController().signal) {
  return new Authorization(credentials, BASE, signal);
}

test("credentials that cannot be sent are refused without being shown", () => {
  for (const given of [
    { clientId: "billing", clientSecret: "hunter2\n" },
    { clientId: "bill\ring", clientSecret: "hunter2" },
    { token: "hunter2\n" },
  ]) {
    assert.throws(
      () => authorization(given),
      (error) => error instanceof TypeError && /control character/.test(error.message) && !/hunter2/.test(error.message),
    );
  }
});

test("a secret is sent as its bytes in UTF-8", async (t) => {
  const sent = [];
  t.mock.method(globalThis, "fetch", async (_, { headers }) => {
    sent.push(Buffer.from(headers["Client-Secret"], "latin1").toString("utf8"));
    return Response.json({ token: "t" }, { status: 201 });
  });
  assert.equal(await authorization(CREDENTIALS).add(new URLSearchParams()), undefined);
  assert.deepEqual(sent, [CREDENTIALS.clientSecret]);
});

test("a registration or a ticket that never comes is given up, and tried again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const aborted = [];
  t.mock.method(globalThis, "fetch", (_, { signal }) => {
    signal.addEventListener("abort", () => aborted.push(signal.reason));
    return new Promise(() => undefined);
  });
  for (const [given, what] of [
    [CREDENTIALS, "token"],
    [{ ticket: () => new Promise(() => undefined) }, "ticket"],
  ]) {
    const adding = authorization(given).add(new URLSearchParams());
    t.mock.timers.tick(20_000);
    assert.deepEqual(await adding, { code: 1006, reason: `no ${what} within 20 s` });
  }
  assert.deepEqual(aborted, ["no token within 20 s"]);
});

test("a subscription that ends does not wait for a ticket", async () => {
  const stop = new AbortController();
  const adding = authorization({ ticket: () => new Promise(() => undefined) }, stop.signal).add(new URLSearchParams());
  stop.abort("closed");
  assert.deepEqual(await adding, { code: 1006, reason: "closed" });
});

test("what is no ticket is asked for again", async () => {
  const given = ["<!doctype html>", "", undefined, { ticket: "t" }, " a.b-c_d~e\n"];
  const asked = authorization({ ticket: async () => given.shift() });
  for (const reason of ["another text", "another text", "undefined", "object"]) {
    const query = new URLSearchParams();
    assert.deepEqual(await asked.add(query), { code: 1006, reason: `found ${reason} in place of a ticket` });
    assert.equal(query.has("ticket"), false);
  }
  const query = new URLSearchParams();
  assert.equal(await asked.add(query), undefined);
  assert.equal(query.get("ticket"), "a.b-c_d~e");
});

test("filters are part of the query, also with a cursor", () => {
  const filters = { "orders.*": "total > 100" };
  for (const cursor of [undefined, "AaB"]) {
    const query = queryOf({ credentials: CREDENTIALS, channels: ["orders.*"], filters }, cursor, false);
    assert.deepEqual(JSON.parse(query.get("filters")), filters);
  }
  assert.equal(queryOf({ credentials: CREDENTIALS, filters: {} }, undefined, false).has("filters"), false);
});
