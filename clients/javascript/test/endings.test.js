import assert from "node:assert/strict";
import { test } from "node:test";

import { Endings, TrelayStopped, waitOf } from "../dist/endings.js";

const highest = () => 1;

test("pauses grow, and begin again after a connection that lasted", () => {
  const endings = new Endings(highest);
  const lost = { code: 1006, reason: "" };
  assert.deepEqual([1, 2, 3].map(() => endings.next(lost, true).pause), [500, 1000, 2000]);
  for (let count = 0; count < 10; count++) endings.next(lost, true);
  assert.equal(endings.next(lost, true).pause, 30_000);
  assert.equal(endings.next({ ...lost, openFor: 10_000 }, true).pause, 500);
});

test("a wait that the service names is kept", () => {
  assert.equal(new Endings(() => 0).next({ code: 4000, reason: "draining; wait=2.5", wait: 2.5 }, true).pause, 2500);
  assert.equal(new Endings(highest).next({ code: 4000, reason: "draining; wait=2.5", wait: 2.5 }, true).pause, 3750);
  assert.equal(waitOf("draining; wait=2.5"), 2.5);
  assert.equal(waitOf("draining; wait=x"), undefined);
});

test("a refused token is renewed once", () => {
  for (const refused of [{ code: 4505, reason: "" }, { code: 4506, reason: "" }, { code: 1006, reason: "", status: 401, problem: "token-refused" }]) {
    const endings = new Endings(highest);
    assert.deepEqual([endings.next(refused, true).renew, endings.next({ code: 1006, reason: "" }, true).renew], [true, false]);
    assert.throws(() => endings.next(refused, true), TrelayStopped);
    endings.connected();
    assert.equal(endings.next(refused, true).renew, true);
    assert.throws(() => new Endings(highest).next(refused, false), TrelayStopped);
  }
});

test("a renewed token is used after a pause, as all subscribers may have to get one at once", () => {
  const endings = new Endings(highest);
  assert.deepEqual(endings.next({ code: 4506, reason: "expired" }, true), {
    pause: 500,
    renew: true,
    reason: "closed with 4506: expired",
  });
});

test("endings that would come again stop", () => {
  for (const code of [4500, 4501, 4504, 4509, 4999, 1002, 1003, 1007, 1009, 1010]) {
    assert.throws(() => new Endings(highest).next({ code, reason: "x" }, true), { name: "TrelayStopped", code });
  }
  for (const status of [400, 403, 404, 413, 426]) {
    assert.throws(() => new Endings(highest).next({ code: 1006, reason: "x", status }, true), { code: status });
  }
  for (const ending of [{ code: 1000 }, { code: 1001 }, { code: 1011 }, { code: 4005 }, { code: 4499 }]) {
    assert.equal(new Endings(highest).next({ reason: "", ...ending }, true).renew, false);
  }
  for (const status of [408, 409, 425, 429, 500, 503]) {
    assert.equal(new Endings(highest).next({ code: 1006, reason: "", status }, true).renew, false);
  }
});

test("what a proxy refuses passes, once the service has accepted a connection", () => {
  for (const status of [302, 403, 404, 421]) {
    const endings = new Endings(highest);
    assert.throws(() => endings.next({ code: 1006, reason: "x", status }, true), { code: status });
    endings.connected();
    assert.equal(endings.next({ code: 1006, reason: "x", status, wait: 7 }, true).pause, 10_500);
    assert.throws(() => endings.next({ code: 1006, reason: "x", status, problem: "client-disabled" }, true), { code: status });
  }
});

test("a wait that no timer takes is shortened: it would end at once", () => {
  const { pause } = new Endings(highest).next({ code: 1006, reason: "", status: 429, wait: 1e10 }, true);
  assert.equal(pause, 2 ** 31 - 1);
});
