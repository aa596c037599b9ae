"""Files that were begun: events that are delivered again, after a crash before their checkpoint, have the same ids."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from services.system_api.sources.file.reading.begun import Begun
from services.system_api.sources.source import Batch
from shared.events.headers import PROVENANCE, unpack_provenance
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, dropping, lines, write


def ids(batch: Batch) -> list[str]:
    return [unpack_provenance(dict(record.headers)[PROVENANCE]).id for record in batch.records]


def deliver(poller: FilePoller, batch: Batch) -> list[str]:
    """Deliver the events of a batch, and crash before its checkpoint."""
    poller.checkpoint |= batch.begun
    return ids(batch)


def test_parts_are_given_with_events_and_not_after_they_were_saved() -> None:
    begun = Begun()
    begun.add({"": b"1", "1.a": b"x"})
    assert begun.take({"": b"1"}, events=False) == {}
    begun.add({"": b"2", "2.b": b"y"})
    assert begun.take({"": b"2", "2.b": b"z"}, events=False) == {}
    assert begun.take({}, events=True) == {"1.a": b"x"}
    assert begun.take({}, events=True) == {}


@pytest.mark.parametrize("mode", ["tail", "drop"])
async def test_a_file_that_grows_before_its_checkpoint_keeps_its_ids(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.ndjson"
    poller = dropping(tmp_path) if mode == "drop" else FilePoller(path)
    write(path, 1)
    async with poller.opened():
        delivered = deliver(poller, await poller.source.poll(10))
    write(path, 2)
    async with poller.opened():
        await poller.drain()
    assert poller.data == lines(1, 2)
    assert poller.ids[:1] == delivered


async def test_files_that_are_found_in_another_order_keep_their_ids(tmp_path: Path) -> None:
    poller, first = FilePoller(tmp_path / "*.ndjson"), tmp_path / "a.ndjson"
    write(first, 1)
    async with poller.opened():
        delivered = deliver(poller, await poller.source.poll(10))
    write(tmp_path / "b.ndjson", 2)
    os.utime(tmp_path / "b.ndjson", (1, 1))
    assert await poller.drain_reopened() == lines(1, 2) or poller.data == lines(2, 1)
    assert poller.ids[poller.data.index({"id": "1"})] == delivered[0]


async def test_a_line_that_was_incomplete_when_its_file_was_begun_keeps_its_id(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson")
    write(path, 1, end="")
    async with poller.opened():
        await poller.drain()
        with path.open("a") as file:
            file.write("\n")
        write(path, 2)
        delivered = deliver(poller, await poller.source.poll(10))
    assert await poller.drain_reopened() == lines(1, 2)
    assert poller.ids == delivered


async def test_another_file_with_the_same_inode_has_other_ids(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", FilePoller(tmp_path / "a.ndjson")
    write(path, 1)
    async with poller.opened():
        delivered = deliver(poller, await poller.source.poll(10))
    write(path, 2, mode="w")
    assert await poller.drain_reopened() == lines(2)
    assert set(poller.ids).isdisjoint(delivered)


@pytest.mark.parametrize("seed", range(20))
async def test_at_random_an_id_is_of_one_line_and_a_line_has_one_id(tmp_path: Path, seed: int) -> None:
    """Files that grow, are created and renamed, and a process that is killed before and after each checkpoint."""
    rng, clock = random.Random(seed), ManualClock()
    poller = FilePoller(tmp_path / "*.ndjson", clock, rotated=str(tmp_path / "*.ndjson.*"))
    delivered: dict[str, str] = {}
    written = 0

    async def deliver_all(committed: Any) -> None:
        while True:
            batch = await poller.source.poll(rng.randrange(1, 4))
            poller.checkpoint |= batch.begun if batch.records else {}
            before = len(poller.data)
            checkpoint = dict(poller.checkpoint)
            await poller.commit(batch)
            for identity, row in zip(ids(batch), poller.data[before:], strict=True):
                assert delivered.setdefault(identity, row["id"]) == row["id"], f"seed {seed}: an id of two lines"
            if not committed():
                poller.checkpoint = checkpoint
                return
            if not batch.more:
                return

    for _ in range(40):
        async with poller.opened():
            clock.at += 2
            await deliver_all(lambda: rng.random() < 0.6)
        for name in rng.sample("abc", 2):
            path = tmp_path / f"{name}.ndjson"
            if path.exists() and rng.random() < 0.2:
                path.rename(tmp_path / f"{name}.ndjson.{written:05}")
            count = rng.randrange(1, 4)
            write(path, *range(written, written + count), end=rng.choice(["\n", "\n", "\n\n"]))
            written += count
    async with poller.opened():
        await deliver_all(lambda: True)
        clock.at += 2
        await deliver_all(lambda: True)
    assert sorted(delivered.values(), key=int) == [str(number) for number in range(written)], f"seed {seed}"
