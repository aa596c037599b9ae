"""What files hold, compared with what is published of them."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.system_api.operations.reconciling import reconcile
from services.system_api.sources.file.opening import file_source
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Transaction
from shared.bus.topics import TopicsOptions
from shared.errors import Malformed
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, write

TOPICS = TopicsOptions(partitions=1)
HOURS = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(24)]


class Published:
    """A source, and the bus that it publishes to."""

    def __init__(self, poller: FilePoller) -> None:
        self.poller = poller
        self.bus = MemoryBus()

    async def publish(self, *, lose: int = 0, drain: bool = True) -> None:
        """Poll, and publish all events but the first `lose` ones."""
        await self.bus.ensure_topics(TOPICS.all())
        async with self.poller.opened(), self.bus.writer("w") as writer:
            more = True
            while more:
                batch = await self.poller.poll(100)
                transaction = Transaction()
                transaction.records[TOPICS.ingest] = batch.records[lose:]
                lose = 0
                await writer.commit(transaction)
                more = batch.more and drain

    async def compared(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[int, int, list[str]]:
        opener = file_source("files", self.poller.options, SYSTEM_CLOCK, random.Random(1))
        opened = (opener, dict(self.poller.checkpoint))
        found = await reconcile(self.bus, TOPICS.ingest, "files", opened, since, until)
        return found["upstream"], found["published"], found["not_compared"][2:]


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("a.ndjson", '{"id":"1"}\nno JSON\n\n{"id":"2"}\n{"id":"3"}', {"mode": "tail"}),
        ("a.csv", 'id,text\n1,"two\nlines"\n2\n3,x\n4,y', {"mode": "drop", "origin": ["line"]}),
        ("a.json", '[{"id":"1"}, 2, {"id":"3"}]', {"mode": "drop", "origin": ["record"]}),
    ],
)
async def test_events_are_counted_and_not_rejects(
    tmp_path: Path, name: str, content: str, more: dict[str, Any]
) -> None:
    (tmp_path / name).write_text(content)
    drop: dict[str, Any] = {"drop": {"ready": "renamed"}} if more["mode"] == "drop" else {}
    poller = FilePoller(tmp_path / f"*{Path(name).suffix}", **more, **drop)
    published = Published(poller)
    await published.publish()
    count = len(poller.data)
    assert count >= 2
    assert await published.compared() == (count, count, [])


async def test_what_was_lost_is_a_difference(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", *range(250))
    published = Published(FilePoller(tmp_path / "*.ndjson"))
    await published.publish(lose=7)
    assert await published.compared() == (250, 243, [])


async def test_what_is_behind_the_saved_position_and_before_the_start_is_in_neither_number(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", *range(50))
    published = Published(FilePoller(tmp_path / "*.ndjson", start="end"))
    await published.publish()
    write(tmp_path / "a.ndjson", *range(300))
    await published.publish(drain=False)
    count = len(published.poller.data)
    assert 0 < count < 300
    assert await published.compared() == (count, count, [])
    await published.publish()
    assert await published.compared() == (300, 300, [])


async def test_a_range_compares_rows_with_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    rows = [f'{{"id":"{hour}","at":"{time.isoformat()}"}}\n' for hour, time in enumerate(HOURS)]
    path.write_text("".join(rows) + '{"id":"timeless"}\n')
    published = Published(FilePoller(path, time="at"))
    await published.publish()
    remark = "1 rows without a time of their own"
    assert await published.compared(HOURS[3], HOURS[8]) == (5, 5, [remark])
    assert await published.compared(HOURS[20], None) == (4, 4, [remark])
    assert await published.compared() == (25, 25, [])


async def test_a_range_needs_times(tmp_path: Path) -> None:
    published = Published(FilePoller(tmp_path / "a.ndjson"))
    with pytest.raises(Malformed, match="from, to: the rows have no time of their own; omit from and to, or set time"):
        await published.compared(HOURS[0], HOURS[1])


async def test_files_that_are_gone_or_were_rewritten_are_named(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.ndjson", ord(name), ord(name) + 1)
    published = Published(FilePoller(tmp_path / "*.ndjson"))
    await published.publish()
    (tmp_path / "a.ndjson").unlink()
    write(tmp_path / "b.ndjson", 1, 2, 3, mode="w")
    count, found, (remark,) = await published.compared()
    assert (count, found) == (2, 2)
    assert remark == (
        f"files that are gone, were rewritten or cannot be read: {tmp_path}/a.ndjson, {tmp_path}/b.ndjson"
    )
