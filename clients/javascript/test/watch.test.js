// A connection from which nothing arrives is ended, whatever happens to the clock.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Elapsed, Watch } from "../dist/watch.js";

const HOUR = 3_600_000;

/** Set the clock, and let monotonic time pass, for one function. */
function at({ clock, steady }, run) {
  const [dateNow, performanceNow] = [Date.now, performance.now];
  const [date, began] = [Date.now(), performance.now()];
  Date.now = () => date + clock;
  performance.now = () => began + steady;
  try {
    return run();
  } finally {
    Date.now = dateNow;
    performance.now = performanceNow;
  }
}

for (const [name, passed, live] of [
  ["a moment later", { clock: 1_000, steady: 1_000 }, true],
  ["after a long silence", { clock: 30_000, steady: 30_000 }, false],
  ["after a silence in which the clock was set back", { clock: -HOUR, steady: 30_000 }, false],
  ["after a sleep in which monotonic time stood still", { clock: HOUR, steady: 0 }, false],
]) {
  test(`${name}, a connection is ${live ? "live" : "lost"}`, () => {
    const watch = new Watch(new AbortController().signal);
    try {
      watch.expect(10);
      assert.equal(
        at(passed, () => watch.live),
        live,
      );
    } finally {
      watch.stop();
    }
  });
}

test("what arrives begins it anew", () => {
  const watch = new Watch(new AbortController().signal);
  try {
    watch.expect(10);
    at({ clock: -HOUR, steady: 20_000 }, () => watch.alive());
    assert.equal(
      at({ clock: -HOUR, steady: 40_000 }, () => watch.live),
      true,
    );
  } finally {
    watch.stop();
  }
});

test("a time is never negative", () => {
  const elapsed = new Elapsed();
  assert.equal(
    at({ clock: -HOUR, steady: 5 }, () => elapsed.milliseconds) >= 5,
    true,
  );
});
