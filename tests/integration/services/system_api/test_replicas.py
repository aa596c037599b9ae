"""Two replicas share a source: one runs it, the other takes over when the lease expires, and the first is fenced."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import file_source, program, published

OPTIONS = PostgresBusOptions()
TAKEOVER_LIMIT = 60.0
"""Seconds for a takeover on a busy machine; on an idle one it takes the six seconds of a lease and a little more."""


def write(path: Path, first: int, count: int) -> None:
    with path.open("a") as file:
        file.write("".join(f'{{"id":"{number}"}}\n' for number in range(first, first + count)))


async def until(bus: Bus, count: int) -> float:
    """Wait until `count` events are published; return the seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(240):
        while len((await published(bus, OPTIONS, ["c"]))["c"]) < count:
            await asyncio.sleep(0.1)
    return time.monotonic() - began


@pytest.mark.timeout(900)
async def test_a_replica_that_crashes_or_hangs_is_replaced_and_repeats_nothing(
    tmp_path: Path, migrated_database: DatabaseOptions, programs: list[Program]
) -> None:
    path = tmp_path / "in" / "a.ndjson"
    path.parent.mkdir()
    write(path, 0, 100)
    sources = {"lines": file_source(path, channel="c")}
    first, second = (
        program(tmp_path, migrated_database.url, OPTIONS, sources, node=node) for node in ("first", "second")
    )
    programs += [first, second]
    async with connect(OPTIONS, migrated_database) as bus:
        await bus.ensure_topics(OPTIONS.topics.all())
        first.start()
        await until(bus, 100)
        second.start()
        await second.ready()
        first.kill()
        write(path, 100, 100)
        assert await until(bus, 200) < TAKEOVER_LIMIT
        first.start()
        await first.ready()
        os.kill(second.pid, signal.SIGSTOP)
        write(path, 200, 100)
        assert await until(bus, 300) < TAKEOVER_LIMIT
        os.kill(second.pid, signal.SIGCONT)  # resumes with its old lease and its pending writes
        write(path, 300, 100)
        await until(bus, 400)
        for replica in (first, second):
            assert await replica.stop() == 0, replica.tail()
        found = await published(bus, OPTIONS, ["c"])
    assert found["c"] == [str(number) for number in range(400)]
