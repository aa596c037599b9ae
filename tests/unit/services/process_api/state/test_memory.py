"""What every store guarantees: in memory and on disk."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.process_api.state import memory
from services.process_api.state.memory import MemoryStore, MemoryStores
from services.process_api.state.rocks import RocksStores
from services.process_api.state.store import Mark, Size, Store


@pytest.fixture(params=["memory", "disk"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with RocksStores.opened(tmp_path / "state") as stores:
        yield stores.store(3)


def table(name: str, *keys: str) -> list[bytes]:
    return [f"{name:5}{key}".encode() for key in keys]


def test_an_empty_store(store: Store) -> None:
    assert store.mark is None
    assert store.get(b"table1") is None
    assert list(store.scan(b"table0", b"table9")) == []
    store.apply({b"tableX": None})


def test_a_scan_is_in_order_and_within_its_table(store: Store) -> None:
    keys = [*table("a", "1", "2", "3"), *table("b", "1", "2")]
    shuffled = random.Random(5).sample(keys, len(keys))
    store.apply({key: key for key in shuffled})
    assert [key for key, _ in store.scan(*table("a", "2", "9"))] == table("a", "2", "3")
    store.apply({keys[1]: None})
    store.apply({keys[1]: b"again", table("a", "25")[0]: b""})
    assert list(store.scan(*table("a", "2", "3"))) == [(keys[1], b"again"), (table("a", "25")[0], b"")]


@pytest.mark.parametrize("name", ["t", "   0e"])
def test_many_scans_between_changes_are_as_a_plain_dict(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(memory, "_AT_ONCE", 3)  # of timers, as in the second table
    rng, model = random.Random(seed), dict[bytes, bytes]()
    for _ in range(400):
        [key] = table(name, str(rng.randrange(60)).zfill(2))
        if rng.random() < 0.4:
            model.pop(key, None)
            store.apply({key: None})
        else:
            model[key] = bytes(str(rng.random()), "ascii")
            store.apply({key: model[key]})
        if rng.random() < 0.3:
            start, stop = sorted(table(name, *(str(rng.randrange(60)).zfill(2) for _ in range(2))))
            assert list(store.scan(start, stop)) == sorted((k, v) for k, v in model.items() if start <= k < stop)
        assert store.get(key) == model.get(key)


def test_the_mark_is_kept_until_the_store_is_cleared(store: Store) -> None:
    store.apply({b"tablea": b"1"}, Mark("epoch", 7, 1000))
    store.apply({b"tableb": b"2"})
    assert store.mark == Mark("epoch", 7, 1000)
    store.clear()
    assert store.mark is None
    assert store.get(b"tablea") is None
    assert list(store.scan(b"table", b"table\xff")) == []


def test_the_stores_of_a_process_are_kept_until_they_are_released() -> None:
    stores = MemoryStores()
    store = stores.store(3)
    assert stores.store(3) is store
    assert stores.store(4) is not store
    stores.release(3)
    stores.release(3)
    assert stores.store(3) is not store


def test_the_sizes_are_those_of_all_that_is_stored(store: Store, seed: int) -> None:
    rng, model = random.Random(seed), dict[bytes, bytes]()
    for _ in range(300):
        key = rng.choice([b"\0\0\0\1", b"\0\0\0\2"]) + rng.choice([b"v", b"w"]) + bytes([rng.randrange(8)])
        value = None if rng.random() < 0.4 else bytes(rng.randrange(20))
        store.apply({key: value})
        model.pop(key, None)
        if value is not None:
            model[key] = value
        for instance in (b"\0\0\0\1", b"\0\0\0\2"):
            mine = {key: value for key, value in model.items() if key.startswith(instance)}
            keys = sum(key[4:5] == b"v" for key in mine)
            size = sum(len(key) + len(value) for key, value in mine.items())
            assert store.sizes.get(instance, Size()) == Size(keys, size)
    store.clear()
    assert store.sizes == {}
