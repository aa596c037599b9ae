"""What remote files hold, compared with what is published of them."""

import gzip
from datetime import UTC, datetime

import pytest

from services.system_api.sources.file.remote.store import RemoteStore
from shared.errors import Malformed, Unavailable
from tests.unit.services.system_api.sources.file.reading.test_recounting import Published
from tests.unit.services.system_api.sources.file.remote.remote_files import MemoryFolder, rows


async def test_events_of_all_formats_are_counted_and_what_was_lost_is_a_difference(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", *range(250))
    folder.put("b.ndjson", 'no JSON\n{"id":"1"}\n')
    lost = Published(folder.poller())
    await lost.publish(lose=3)
    assert await lost.compared() == (251, 248, [])
    compressed = gzip.compress(b'{"id":"1"}\n{"id":"2"}\n')
    for name, content in (("a.csv", "id\n1\n2\n"), ("a.json", rows(1, 2)), ("a.ndjson.gz", compressed)):
        folder.put(name, content)
        published = Published(folder.poller(f"*.{name.partition('.')[2]}"))
        await published.publish()
        assert await published.compared() == (2, 2, []), name


async def test_a_file_is_compared_up_to_its_saved_position(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", *range(250))
    published = Published(folder.poller())
    await published.publish(drain=False)
    assert await published.compared() == (100, 100, [])


async def test_files_that_are_gone_or_were_replaced_are_named(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", 1, 2)
    folder.write("b.ndjson", 3)
    folder.write("c.ndjson", 4)
    published = Published(folder.poller())
    await published.publish()
    folder.fs.rm(f"/{folder.name}/a.ndjson")
    folder.write("b.ndjson", 3, 5)
    (found,) = (await published.compared())[2]
    assert found.startswith("files that are gone, were rewritten or cannot be read: ")
    assert "a.ndjson" in found
    assert "b.ndjson" in found
    assert (await published.compared())[:2] == (1, 1)


async def test_a_range_needs_times_of_the_rows(folder: MemoryFolder) -> None:
    folder.put("a.ndjson", '{"id":"1","at":"2026-01-01T05:00:00Z"}\n{"id":"2","at":"2026-01-02T05:00:00Z"}\n')
    day = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    timed = Published(folder.poller(time="at"))
    await timed.publish()
    assert (await timed.compared(*day))[:2] == (1, 1)
    untimed = Published(folder.poller())
    await untimed.publish()
    with pytest.raises(Malformed, match="the rows have no time of their own"):
        await untimed.compared(*day)


async def test_a_server_that_fails_is_unavailable(folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.ndjson", 1)
    published = Published(folder.poller())
    await published.publish()

    def fails(_store: RemoteStore, path: str) -> None:
        raise Unavailable(f"{path}: no answer")

    monkeypatch.setattr(RemoteStore, "current", fails)
    with pytest.raises(Unavailable, match="no answer"):
        await published.compared()
