import assert from "node:assert/strict";
import fs, { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";

import { fileStore, localStorageStore, memoryStore } from "../dist/stores.js";

/** The storage of a page, which refuses while it is full. */
class FakeStorage {
  full = false;
  #items = new Map();

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    if (this.full) throw new Error("the quota has been exceeded");
    this.#items.set(key, value);
  }
}

const own = Object.getOwnPropertyDescriptor(globalThis, "localStorage");

function storage(getter) {
  Object.defineProperty(globalThis, "localStorage", { get: getter, configurable: true });
}

afterEach(() => {
  delete globalThis.localStorage;
  if (own !== undefined) Object.defineProperty(globalThis, "localStorage", own);
});

test("a cursor is kept", async () => {
  const folder = await mkdtemp(join(tmpdir(), "trelay-"));
  const path = join(folder, "cursor");
  const kept = new FakeStorage();
  storage(() => kept);
  for (const store of [memoryStore(), fileStore(path), localStorageStore("key")]) {
    assert.equal(await store.load(), undefined);
    await store.save("AaB");
    await store.save("AaC");
    assert.equal(await store.load(), "AaC");
  }
  assert.equal(await fileStore(path).load(), "AaC");
  assert.equal(localStorageStore("key").load(), "AaC");
  assert.deepEqual(await readdir(folder), ["cursor"]);
});

test("a file is on the disk before it replaces the one before", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "trelay-")), "cursor");
  const probe = await fs.open(join(path, ".."), "r");
  const { sync } = Object.getPrototypeOf(probe);
  await probe.close();
  const seen = [];
  Object.getPrototypeOf(probe).sync = async function () {
    const folder = (await this.stat()).isDirectory();
    seen.push([folder ? "folder" : await readFile(`${path}.new`, "utf8"), await readFile(path, "utf8").catch(() => "none")]);
    await sync.call(this);
  };
  try {
    const store = fileStore(path);
    await store.save("first");
    await store.save("second");
  } finally {
    Object.getPrototypeOf(probe).sync = sync;
  }
  assert.deepEqual(seen, [["first", "none"], ["folder", "first"], ["second", "first"]]);
});

test("a file that cannot be written is an error", async () => {
  await assert.rejects(fileStore("/proc/none/cursor").save("AaB"));
});

test("a full storage keeps the cursor in the page, and says so once", () => {
  const kept = new FakeStorage();
  storage(() => kept);
  const problems = [];
  const store = localStorageStore("key", (reason) => problems.push(reason));
  store.save("first");
  kept.full = true;
  store.save("second");
  store.save("third");
  assert.equal(store.load(), "third");
  assert.equal(localStorageStore("key").load(), "first");
  assert.deepEqual(problems, ['localStorage: cannot use "key": the quota has been exceeded']);
  kept.full = false;
  store.save("fourth");
  assert.equal(localStorageStore("key").load(), "fourth");
  kept.full = true;
  store.save("fifth");
  assert.equal(problems.length, 2);
});

test("another tab that has gone on is seen although this one could not save", () => {
  const kept = new FakeStorage();
  storage(() => kept);
  const [one, other] = [localStorageStore("key", () => {}), localStorageStore("key")];
  one.save("first");
  kept.full = true;
  one.save("second");
  kept.full = false;
  other.save("third");
  assert.equal(one.load(), "third");
});

test("a storage that the user does not permit is as good as none", () => {
  storage(() => {
    throw new Error("access is denied");
  });
  const problems = [];
  const store = localStorageStore("key", (reason) => problems.push(reason));
  assert.equal(store.load(), undefined);
  store.save("first");
  store.save("second");
  assert.equal(store.load(), "second");
  assert.deepEqual(problems, ['localStorage: cannot use "key": access is denied']);
});
