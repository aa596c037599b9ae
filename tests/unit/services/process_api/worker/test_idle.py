"""A partition without input: the markers behind its last record are committed, too."""

import asyncio
import contextlib
from collections.abc import Sequence

from shared.bus.memory.log import MemoryRecord
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Record, TopicPartition
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

NUMBER = partition_of(b"C-1", 2)
POSITION = TopicPartition(TOPICS.ingest, NUMBER)


class MarkedReader:
    """Reads records of one partition; at the end, a read that does not wait for ever passes a marker."""

    topic = TOPICS.ingest

    def __init__(self, records: Sequence[MemoryRecord], markers: int) -> None:
        self.positions = {NUMBER: 0}
        self._records = records
        self._markers = markers
        self.waits: list[float | None] = []

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        found = [record for record in self._records if record.offset >= self.positions[NUMBER]][:limit]
        if found:
            self.positions[NUMBER] = found[-1].offset + 1
            return found
        self.waits.append(wait)
        if wait is None:
            await asyncio.Event().wait()
        self.positions[NUMBER] = max(self.positions[NUMBER], len(self._records) + self._markers)
        return ()

    def seek(self, partition: int, offset: int) -> None:
        self.positions[partition] = offset


async def committed(markers: int) -> tuple[list[int], list[float | None]]:
    """Process two records with markers behind them; return the offsets that are committed, and the waits for input."""
    setting = Setting()
    await setting.ingest(1, 2)
    reader = MarkedReader(setting.bus.records(TOPICS.ingest, NUMBER), markers)
    stream = setting.stream()
    running = asyncio.create_task(stream.run_partition(reader))
    await until(lambda: None in reader.waits)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return [transaction.offsets[POSITION] for transaction in setting.bus.submitted], reader.waits


async def test_the_markers_are_committed_once() -> None:
    offsets, waits = await committed(markers=3)
    assert offsets == [2, 5]
    assert waits[-1] is None


async def test_nothing_is_committed_where_there_are_none() -> None:
    offsets, _ = await committed(markers=0)
    assert offsets == [2]
