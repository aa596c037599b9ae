"""Listings of remote files: of many files, and of one that changes while its end is committed."""

import asyncio
from typing import Any

from tests.unit.services.system_api.sources.file.file_poller import until
from tests.unit.services.system_api.sources.file.remote.remote_files import MemoryFolder


async def test_a_listing_of_many_files_lets_other_tasks_run(folder: MemoryFolder) -> None:
    for number in range(2100):
        folder.put(f"{number}.ndjson", "")
    seen = set[int]()

    async def look(files: dict[str, Any]) -> None:
        while True:
            seen.add(len(files))
            await asyncio.sleep(0)

    async with folder.poller().opened() as poller:
        looking = asyncio.create_task(look(poller.source.__dict__["_ledger"].files))
        await poller.source.poll(1)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert {500, 1000, 1500, 2000} <= seen


async def test_a_file_that_changes_before_its_end_is_committed_is_read_as_a_new_one(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", 1)
    async with folder.poller(drop={"after": "delete"}).opened() as poller:
        source: Any = poller.source
        batches = [await source.poll(10)]
        folder.write("a.ndjson", 2, 3)
        batches += [await source.poll(10) for _ in range(3)]
        for batch in batches:
            await source.settle(batch)
        assert [len(batch.records) for batch in batches if batch.records] == [1, 2]
        await until(lambda: folder.names() == [])
